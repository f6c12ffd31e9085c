//! Complaints of people about what was shared, and requests that something be corrected: who answers them, and by when.

use jiff::Timestamp;
use sharing::{OrganisationId, Pseudonym};

use crate::{error::StoreError, open::Store, row::to_list};

/// Most rows of a list.
const LIST_MAX: i64 = 200;

/// One complaint or request. Its words are sealed in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsRow {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub subject: String,
    /// `complaint` or `rectification`.
    pub about_right: String,
    /// The decision that it is about.
    pub decision_id: Option<String>,
    /// The controller that answers it.
    pub organisation: String,
    /// The organisation that the person told.
    pub recorded_by: String,
    /// `received`, `acknowledged` or `answered`.
    pub state: String,
    /// When it was received.
    pub received_us: i64,
    /// By when it has to be acknowledged.
    pub acknowledge_due_us: i64,
    /// By when it has to be answered, where the law sets a time.
    pub answer_due_us: Option<i64>,
    /// When it was acknowledged.
    pub acknowledged_us: Option<i64>,
    /// When it was answered.
    pub answered_us: Option<i64>,
    /// Who answered, by their organisation's identifier.
    pub answered_by: Option<String>,
    /// What was found.
    pub outcome: Option<String>,
    /// What the person wrote and who said it, as JSON with a salt.
    pub details: String,
    /// The answer, as JSON with a salt.
    pub answer: Option<String>,
    /// The system that sent it with an idempotency key.
    pub request_system: Option<String>,
    /// That key.
    pub request_key: Option<String>,
}

columns!(RightsRow {
    id,
    subject,
    about_right,
    decision_id,
    organisation,
    recorded_by,
    state,
    received_us,
    acknowledge_due_us,
    answer_due_us,
    acknowledged_us,
    answered_us,
    answered_by,
    outcome,
    details,
    answer,
    request_system,
    request_key
});

/// A step of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsMove {
    /// Which.
    pub id: String,
    /// From which states it is possible.
    pub from: &'static [&'static str],
    /// The state afterwards.
    pub to: &'static str,
    /// Who took it.
    pub by: String,
    /// What was found, and the answer as JSON with a salt.
    pub answer: Option<(String, String)>,
}

impl Store {
    /// One by its name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn rights_request(&self, id: &str) -> Result<Option<RightsRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM rights_request WHERE id = $1").bind(id);
        Ok(self.opened_rights(row.fetch_all(&self.readers).await?).await?.pop())
    }

    /// The one that a system sent with this key before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn earlier_rights_request(
        &self,
        system: &str,
        key: &str,
    ) -> Result<Option<RightsRow>, StoreError> {
        let row =
            sqlx::query_as("SELECT * FROM rights_request WHERE request_system = $1 AND request_key = $2")
                .bind(system)
                .bind(key);
        Ok(self.opened_rights(row.fetch_all(&self.readers).await?).await?.pop())
    }

    /// Those that an organisation answers: what waits first, by what is due first; then the newest answers.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn rights_requests(&self, organisation: &OrganisationId) -> Result<Vec<RightsRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM rights_request WHERE organisation = $1
             ORDER BY CASE WHEN state = 'answered' THEN 1 ELSE 0 END, answered_us DESC,
                CASE WHEN state = 'received' THEN acknowledge_due_us ELSE coalesce(answer_due_us, received_us) END, id
             LIMIT $2",
        );
        let rows = rows.bind(organisation.as_str()).bind(LIST_MAX).fetch_all(&self.readers).await?;
        self.opened_rights(rows).await
    }

    /// Those of one person, under any of these names, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn rights_requests_of(&self, names: &[Pseudonym]) -> Result<Vec<RightsRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM rights_request WHERE subject IN (SELECT value FROM json_each($1))
             ORDER BY received_us DESC, id LIMIT $2",
        );
        let rows = rows.bind(to_list(names)).bind(LIST_MAX).fetch_all(&self.readers).await?;
        self.opened_rights(rows).await
    }

    async fn opened_rights(&self, mut rows: Vec<RightsRow>) -> Result<Vec<RightsRow>, StoreError> {
        for row in &mut rows {
            row.details = self.unseal(&row.subject, &row.details).await?;
            row.answer = self.unseal_some(&row.subject, row.answer.take()).await?;
        }
        Ok(rows)
    }
}

impl RightsRow {
    /// Whether a time that the law sets has passed.
    pub fn is_overdue(&self, at: Timestamp) -> bool {
        let due = match self.state.as_str() {
            "received" => Some(self.acknowledge_due_us.min(self.answer_due_us.unwrap_or(i64::MAX))),
            "acknowledged" => self.answer_due_us,
            _ => None,
        };
        due.is_some_and(|due| due <= at.as_microsecond())
    }
}
