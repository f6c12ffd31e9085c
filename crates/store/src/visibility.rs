//! What privacy officers decided about telling a person of an event.

use jiff::Timestamp;

use crate::{error::StoreError, open::Store, row::to_list};

/// One decision; a later one of the same organisation takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibilityRow {
    /// The event: the decision that it was.
    pub decision_id: String,
    /// The organisation that decided.
    pub organisation: String,
    /// `visible` or `withheld`.
    pub state: String,
    /// Until when it is withheld.
    pub until_us: Option<i64>,
    /// On which ground.
    pub ground: Option<String>,
    /// Who decided.
    pub decided_by: String,
    /// When.
    pub decided_us: i64,
}

columns!(VisibilityRow { decision_id, organisation, state, until_us, ground, decided_by, decided_us });

impl VisibilityRow {
    /// Whether it withholds the event at this instant.
    pub fn withholds(&self, at: Timestamp) -> bool {
        self.state == "withheld" && self.until_us.is_none_or(|until| at.as_microsecond() < until)
    }
}

impl Store {
    /// What was decided about these events.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn visibility(&self, decisions: &[String]) -> Result<Vec<VisibilityRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM event_visibility WHERE decision_id IN (SELECT value FROM json_each($1))",
        );
        Ok(rows.bind(to_list(decisions)).fetch_all(&self.readers).await?)
    }
}
