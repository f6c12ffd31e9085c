//! How much agreements are used, counted from the ledger beside the requests: how many questions, releases and items of each
//! flow in each quarter. It names nobody, and can be counted again from the ledger at any time.

use crate::{change::Ceiling, error::StoreError, open::Store};

/// A count of something about a flow in a quarter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseCount {
    /// The agreement.
    pub agreement: String,
    /// The flow.
    pub flow: String,
    /// The quarter, as `2026-Q4`.
    pub quarter: String,
    /// `permit`, `deny`, `refer`, `reason`, `release`, `item` or `day`.
    pub what: String,
    /// The reason, the item with its form, or the day.
    pub name: String,
    /// How many.
    pub count: i64,
}

columns!(UseCount { agreement, flow, quarter, what, name, count });

impl Store {
    /// Whether all of these flows have made as many releases as they may. A release is held against it again in its transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn are_reached(&self, ceilings: &[Ceiling]) -> Result<bool, StoreError> {
        for ceiling in ceilings {
            let releases: Option<i64> =
                sqlx::query_scalar("SELECT releases FROM flow_use WHERE flow = $1 AND day = $2")
                    .bind(&ceiling.flow)
                    .bind(&ceiling.day)
                    .fetch_optional(&self.readers)
                    .await?;
            if releases.unwrap_or(0) < i64::from(ceiling.releases_max) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first entry of the ledger that is not counted.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn use_position(&self) -> Result<i64, StoreError> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT next_seq FROM agreement_use_position WHERE id = 1")
                .fetch_optional(&self.readers)
                .await?;
        Ok(next.unwrap_or(0))
    }

    /// What was counted of an agreement, or of all, in quarters before this one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn uses(&self, agreement: Option<&str>, before: &str) -> Result<Vec<UseCount>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT agreement, flow, quarter, what, name, uses AS count FROM agreement_use
             WHERE (CAST($1 AS TEXT) IS NULL OR agreement = $1) AND quarter < $2
             ORDER BY agreement, flow, quarter, what, name",
        );
        Ok(rows.bind(agreement).bind(before).fetch_all(&self.readers).await?)
    }
}
