//! What waits for people: requests for one-off disclosures, and alerts. Lists hold references, never identities.

use jiff::Timestamp;
use sharing::{OrganisationId, Pseudonym};

use crate::{error::StoreError, open::Store};

/// A request for a one-off disclosure, as it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralRow {
    /// The decision that it followed, which is its name.
    pub decision_id: String,
    /// About whom: a pseudonym.
    pub subject: String,
    /// The organisation that asks.
    pub recipient: String,
    /// The practitioner who asks.
    pub practitioner: String,
    /// The record holder.
    pub provider: String,
    /// The organisation that answers for the record holder.
    pub holder: String,
    /// For what.
    pub purpose: String,
    /// The items asked for, as a JSON list.
    pub asked: String,
    /// `waiting-for-form`, `requested`, `taken`, `question-asked`, `granted` or `refused`.
    pub state: String,
    /// When it was opened.
    pub opened_us: i64,
    /// By when it should be decided.
    pub due_us: i64,
    /// The named person who took it.
    pub taken_by: Option<String>,
    /// What the requester wrote, as JSON.
    pub form: String,
    /// What was decided and why, as JSON.
    pub outcome: Option<String>,
}

columns!(ReferralRow {
    decision_id,
    subject,
    recipient,
    practitioner,
    provider,
    holder,
    purpose,
    asked,
    state,
    opened_us,
    due_us,
    taken_by,
    form,
    outcome
});

/// A step of a referral. It is taken only from one of the states named.
#[derive(Debug, Clone)]
pub struct ReferralMove {
    /// Which.
    pub decision_id: String,
    /// The states from which it may be taken.
    pub from: &'static [&'static str],
    /// The state it leads to.
    pub to: &'static str,
    /// By when it should be decided from now on.
    pub due: Option<Timestamp>,
    /// Who has taken it.
    pub taken_by: Option<String>,
    /// What the requester wrote.
    pub form: Option<String>,
    /// What was decided and why.
    pub outcome: Option<String>,
    /// A question or an answer: who of which organisation wrote it, and what.
    pub message: Option<(OrganisationId, String, String)>,
}

/// A question or an answer about a referral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralMessage {
    /// The organisation of whoever wrote it.
    pub organisation: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at_us: i64,
    /// What.
    pub text: String,
}

columns!(ReferralMessage { organisation, author, at_us, text });

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Its name.
    pub id: String,
    /// What raised it.
    pub rule: String,
    /// The organisation whose privacy officers are told.
    pub organisation: String,
    /// The decision, emergency or relationship that it is about.
    pub reference: String,
    /// `open`, `triaged`, `escalated` or `closed`.
    pub state: String,
    /// When it was raised.
    pub raised_us: i64,
    /// By when it has to be reviewed.
    pub due_us: i64,
    /// When it was escalated, being overdue.
    pub escalated_us: Option<i64>,
    /// Who handled it last.
    pub handled_by: Option<String>,
    /// When.
    pub handled_us: Option<i64>,
    /// What the review found.
    pub outcome: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// How much it matters: `low`, `medium` or `high`.
    pub severity: String,
    /// The organisation of whoever caused it.
    pub about_organisation: Option<String>,
    /// Whoever caused it, by their organisation's identifier: they neither see it nor handle it.
    pub about_human: Option<String>,
    /// What makes another one the same again, as a keyed hash.
    pub series: Option<Vec<u8>>,
    /// When what caused it was recorded.
    pub cause_us: Option<i64>,
}

columns!(AlertRow {
    id,
    rule,
    organisation,
    reference,
    state,
    raised_us,
    due_us,
    escalated_us,
    handled_by,
    handled_us,
    outcome,
    note,
    severity,
    about_organisation,
    about_human,
    series,
    cause_us
});

/// A step of an alert. It is taken only from one of the states named.
#[derive(Debug, Clone)]
pub struct AlertMove {
    /// Which.
    pub id: String,
    /// The states from which it may be taken.
    pub from: &'static [&'static str],
    /// When it was handled last, as whoever takes it has read it: what somebody wrote meanwhile is not written over.
    pub handled_us: Option<i64>,
    /// The state it leads to.
    pub to: &'static str,
    /// Who took it; nobody when time did.
    pub by: Option<String>,
    /// What the review found, and why.
    pub review: Option<(String, String)>,
}

/// Most rows in one list.
const LIST_MAX: i64 = 200;

impl Store {
    /// One referral.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn referral(&self, decision_id: &str) -> Result<Option<ReferralRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM referral WHERE decision_id = $1").bind(decision_id);
        let row: Option<ReferralRow> = row.fetch_optional(&self.readers).await?;
        match row {
            Some(row) => self.unsealed(row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn unsealed(&self, mut row: ReferralRow) -> Result<ReferralRow, StoreError> {
        row.form = self.unseal(&row.subject, &row.form).await?;
        row.outcome = self.unseal_some(&row.subject, row.outcome).await?;
        Ok(row)
    }

    /// What was asked and answered about a referral, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn referral_messages(&self, decision_id: &str) -> Result<Vec<ReferralMessage>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT organisation, author, at_us, text FROM referral_message WHERE decision_id = $1 ORDER BY position",
        );
        let mut rows: Vec<ReferralMessage> = rows.bind(decision_id).fetch_all(&self.readers).await?;
        let of: Option<String> = sqlx::query_scalar("SELECT subject FROM referral WHERE decision_id = $1")
            .bind(decision_id)
            .fetch_optional(&self.readers)
            .await?;
        for row in &mut rows {
            row.text = self.unseal(of.as_deref().unwrap_or_default(), &row.text).await?;
        }
        Ok(rows)
    }

    /// The referrals that this organisation holds records for or has asked for, those due first at the top.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn referrals(&self, organisation: &OrganisationId) -> Result<Vec<ReferralRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM referral WHERE holder = $1 OR recipient = $1
             ORDER BY state IN ('granted', 'refused'), due_us, decision_id LIMIT $2",
        );
        let rows: Vec<ReferralRow> =
            rows.bind(organisation.as_str()).bind(LIST_MAX).fetch_all(&self.readers).await?;
        let mut unsealed = Vec::with_capacity(rows.len());
        for row in rows {
            unsealed.push(self.unsealed(row).await?);
        }
        Ok(unsealed)
    }

    /// One alert.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn alert(&self, id: &str) -> Result<Option<AlertRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM alert WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// This organisation's alerts, open ones and those due first at the top.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn alerts(&self, organisation: &OrganisationId) -> Result<Vec<AlertRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM alert WHERE organisation = $1 ORDER BY state = 'closed', due_us, id LIMIT $2",
        );
        Ok(rows.bind(organisation.as_str()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Alerts that nobody has reviewed in time and that have not been escalated yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn overdue_alerts(&self, at: Timestamp) -> Result<Vec<AlertRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM alert WHERE state IN ('open', 'triaged') AND escalated_us IS NULL AND due_us <= $1 ORDER BY due_us LIMIT $2",
        );
        Ok(rows.bind(at.as_microsecond()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Whose pseudonym this is, as the domain reads it.
    ///
    /// # Errors
    /// [`StoreError`] when the row cannot be read.
    pub fn subject_of(row: &ReferralRow) -> Result<Pseudonym, StoreError> {
        let corrupt = |_| StoreError::CorruptRow { table: "referral", row: row.decision_id.clone() };
        row.subject.parse().map_err(corrupt)
    }
}
