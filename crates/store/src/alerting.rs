//! What alerts need beside their own rows: how far the ledger has been held against the rules, what organisations
//! registered to be compared with, and messages that wait to be delivered.

use jiff::Timestamp;
use sharing::{OrganisationId, policy::hexadecimal};
use sqlx::AnyPool;

use crate::{
    audit::{self, to_i64},
    error::StoreError,
    lookup::LookupKey,
    open::Store,
    row::to_list,
};

/// What an organisation registered to be compared with. Its value is nowhere: only a keyed hash is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRow {
    /// Its name.
    pub id: String,
    /// `identifier`, `surname`, `uprn` or `watched`.
    pub kind: String,
    /// Whose it is.
    pub organisation: String,
    /// Whose own identifier, surname or home it is; empty for a person who is watched.
    pub practitioner: String,
    /// The hash.
    pub hash: Vec<u8>,
    /// When it was registered.
    pub recorded_us: i64,
    /// Until when it holds.
    pub until_us: Option<i64>,
}

columns!(MarkRow { id, kind, organisation, practitioner, hash, recorded_us, until_us });

/// A message on one channel: about an alert, a step of an agreement, or of something beside its course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// `alert`, `agreement` or `matter`.
    pub about: String,
    /// The alert, the agreement, or what is beside its course.
    pub subject: String,
    /// `raised` or `escalated`; of the others, the step's number.
    pub event: String,
    /// `webhook`, `email` or `dataspace`.
    pub channel: String,
    /// Who is told.
    pub organisation: String,
    /// `waiting`, `delivered`, `dead` or `off` (nothing is configured).
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next.
    pub next_us: i64,
    /// What went wrong last.
    pub fault: Option<String>,
}

columns!(DeliveryRow { about, subject, event, channel, organisation, state, attempts, next_us, fault });

/// What messages are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Messages {
    /// Alerts.
    Alerts,
    /// Steps of agreements, and of what is beside their courses.
    Agreements,
}

/// How many alerts of a rule there were, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCount {
    /// The rule.
    pub rule: String,
    /// What the review found; none yet.
    pub outcome: Option<String>,
    /// How many.
    pub alerts: i64,
}

columns!(AlertCount { rule, outcome, alerts });

/// Messages that one organisation can have waiting. Another one is given up at once, and can be put back.
pub(crate) const DELIVERIES_WAITING_MAX: i64 = 10_000;

/// How long messages about agreements are kept that were delivered or given up, in microseconds: 90 days.
pub(crate) const DELIVERIES_KEPT_US: i64 = 90 * 86_400_000_000;

impl LookupKey {
    /// A keyed hash of these parts, for nothing but what `of` says.
    fn alert_hash(&self, of: &str, parts: &[&str]) -> Vec<u8> {
        let mut text = Vec::new();
        for part in std::iter::once(&of).chain(parts) {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part.as_bytes());
        }
        self.hash_parts(&[&text])
    }
}

impl Store {
    /// The hash of what an organisation registers, or of what is compared with it. `owner` is the practitioner for
    /// a surname or a home, so that equal ones of two people have different hashes; else empty.
    pub fn mark_hash(&self, kind: &str, organisation: &str, owner: &str, value: &str) -> Vec<u8> {
        self.lookup_key.alert_hash("alert-mark", &[kind, organisation, owner, value])
    }

    /// When what last raised each of these series happened, in microseconds since 1970; without those that never were.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn alert_causes(&self, series: &[&[u8]]) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
        let list = to_list(&series.iter().map(|one| hexadecimal(one)).collect::<Vec<_>>());
        let causes = sqlx::query_as(
            "SELECT series, MAX(cause_us) FROM alert
             WHERE series IN (SELECT unhex(value) FROM json_each($1)) AND cause_us IS NOT NULL GROUP BY series",
        );
        Ok(causes.bind(list).fetch_all(&self.readers).await?)
    }

    /// What makes another alert the same again, without the names in it.
    pub fn alert_series(&self, organisation: &str, series: &str) -> Vec<u8> {
        self.lookup_key.alert_hash("alert-series", &[organisation, series])
    }

    /// 128 bits for the name of the one alert of this rule, organisation and reference: the same each time, and
    /// nobody without the key can tell from it what it refers to.
    pub fn alert_bits(&self, rule: &str, organisation: &str, reference: &str) -> u128 {
        let hash = self.lookup_key.alert_hash("alert-id", &[rule, organisation, reference]);
        hash.first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }

    /// What is registered with one of these hashes, and the surnames and homes of this practitioner.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn marks(
        &self,
        (organisation, practitioner): (&OrganisationId, &str),
        hashes: &[Vec<u8>],
        at: Timestamp,
    ) -> Result<Vec<MarkRow>, StoreError> {
        let columns = "id, kind, organisation, practitioner, hash, recorded_us, until_us";
        let mut sql =
            format!("SELECT {columns} FROM alert_mark WHERE organisation = $1 AND practitioner = $2");
        if !hashes.is_empty() {
            let places: Vec<_> = (3..hashes.len() + 3).map(|place| format!("${place}")).collect();
            sql.push_str(&format!(
                " UNION SELECT {columns} FROM alert_mark WHERE hash IN ({})",
                places.join(", ")
            ));
        }
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(organisation.as_str()).bind(practitioner);
        let query = hashes.iter().fold(query, sqlx::query::QueryAs::bind);
        let rows: Vec<MarkRow> = query.fetch_all(&self.readers).await?;
        let holds = |row: &MarkRow| row.until_us.is_none_or(|until| at.as_microsecond() < until);
        Ok(rows.into_iter().filter(holds).collect())
    }

    /// A mark by its name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn mark(&self, id: &str) -> Result<Option<MarkRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM alert_mark WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// The first entry that has not been held against the rules.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn alert_position(&self) -> Result<Option<u64>, StoreError> {
        let next: Option<i64> = sqlx::query_scalar("SELECT next_seq FROM alert_position WHERE id = 1")
            .fetch_optional(&self.readers)
            .await?;
        Ok(next.and_then(|next| u64::try_from(next).ok()))
    }

    /// The place of the first entry written at this instant or later. Entries are in order of time.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn first_since(&self, at: Timestamp) -> Result<u64, StoreError> {
        first_since(&self.readers, at).await
    }

    /// Messages that are due.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn due_deliveries(&self, at: Timestamp, limit: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT 'alert' AS about, alert AS subject, event, channel, organisation, state, attempts, next_us, fault
             FROM alert_delivery WHERE state = 'waiting' AND next_us <= $1
             UNION ALL
             SELECT 'agreement' AS about, agreement AS subject, CAST(revision AS TEXT) AS event, 'webhook' AS channel,
                 organisation, state, attempts, next_us, fault
             FROM agreement_delivery WHERE state = 'waiting' AND next_us <= $1
             UNION ALL
             SELECT 'matter' AS about, matter AS subject, CAST(revision AS TEXT) AS event, channel,
                 organisation, state, attempts, next_us, fault
             FROM matter_delivery WHERE state = 'waiting' AND next_us <= $1
             ORDER BY next_us, about, subject, event, channel LIMIT $2",
        );
        Ok(rows.bind(at.as_microsecond()).bind(i64::from(limit)).fetch_all(&self.readers).await?)
    }

    /// An organisation's messages about alerts that wait or were given up, at most 200.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn deliveries(&self, organisation: &OrganisationId) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT 'alert' AS about, alert AS subject, event, channel, organisation, state, attempts, next_us, fault
             FROM alert_delivery WHERE organisation = $1 AND state IN ('waiting', 'dead')
             ORDER BY state, next_us, alert, event, channel LIMIT 200",
        );
        Ok(rows.bind(organisation.as_str()).fetch_all(&self.readers).await?)
    }

    /// As [`Self::deliveries`], about agreements and what is beside their courses.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn agreement_deliveries(&self, of: &OrganisationId) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT 'agreement' AS about, agreement AS subject, CAST(revision AS TEXT) AS event, 'webhook' AS channel,
                 organisation, state, attempts, next_us, fault
             FROM agreement_delivery WHERE organisation = $1 AND state IN ('waiting', 'dead')
             UNION ALL
             SELECT 'matter' AS about, matter AS subject, CAST(revision AS TEXT) AS event, channel,
                 organisation, state, attempts, next_us, fault
             FROM matter_delivery WHERE organisation = $1 AND state IN ('waiting', 'dead')
             ORDER BY state, next_us, about, subject, event LIMIT 200",
        );
        Ok(rows.bind(of.as_str()).fetch_all(&self.readers).await?)
    }

    /// The message to a peer's connector that this step is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn peer_delivery(
        &self,
        matter: &str,
        revision: i64,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        let row = sqlx::query_as(
            "SELECT 'matter' AS about, matter AS subject, CAST(revision AS TEXT) AS event, channel, organisation, state,
                 attempts, next_us, fault
             FROM matter_delivery WHERE matter = $1 AND revision = $2 AND channel = 'dataspace'",
        );
        Ok(row.bind(matter).bind(revision).fetch_optional(&self.readers).await?)
    }

    /// How many alerts an organisation had since then, by rule and outcome; none that are about `but`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn alert_counts(
        &self,
        organisation: &OrganisationId,
        since: Timestamp,
        but: &str,
    ) -> Result<Vec<AlertCount>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT rule, outcome, count(*) AS alerts FROM alert
             WHERE organisation = $1 AND raised_us >= $2
               AND NOT (coalesce(about_organisation, '') = $1 AND coalesce(about_human, '') = $3)
             GROUP BY rule, outcome ORDER BY rule, outcome",
        );
        let rows = rows.bind(organisation.as_str()).bind(since.as_microsecond()).bind(but);
        Ok(rows.fetch_all(&self.readers).await?)
    }
}

/// Looks in halves: there is no index by time, and none is needed.
pub(crate) async fn first_since(pool: &AnyPool, at: Timestamp) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, to_i64(audit::head(pool).await?.size));
    while low < high {
        let middle = low + (high - low) / 2;
        let at_us: Option<i64> = sqlx::query_scalar("SELECT at_us FROM ledger_entry WHERE seq = $1")
            .bind(middle)
            .fetch_optional(pool)
            .await?;
        if at_us.is_some_and(|at_us| at_us < at.as_microsecond()) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(u64::try_from(low).unwrap_or(0))
}
