//! What is held about a person, read at decision time in one snapshot. Never cached.

use sharing::{ConsentId, ObjectionId, Pseudonym, SubjectState};

use crate::{
    error::StoreError,
    open::Store,
    row::{ConsentRow, ObjectionRow, RawConsent, RawObjection, to_list},
};

const NAMES: &str = "SELECT pseudonym, revision, restricted, deceased FROM subject
    WHERE person_group IN (SELECT person_group FROM subject
        WHERE pseudonym IN (SELECT value FROM json_each($1)))
    ORDER BY pseudonym";
const CONSENTS: &str = "SELECT * FROM consent WHERE subject IN (SELECT value FROM json_each($1)) ORDER BY id";
const OBJECTIONS: &str =
    "SELECT * FROM objection WHERE subject IN (SELECT value FROM json_each($1)) ORDER BY id";

impl Store {
    /// Everything held under these names and under every name linked with them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn subject_state(&self, names: &[Pseudonym]) -> Result<SubjectState, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let rows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(NAMES).bind(to_list(names)).fetch_all(&mut *snapshot).await?;
        let mut state = SubjectState::default();
        for (text, revision, restricted, deceased) in rows {
            let name: Pseudonym =
                text.parse().map_err(|_| StoreError::CorruptRow { table: "subject", row: text.clone() })?;
            state.names.push((name, revision));
            state.restricted |= restricted != 0;
            state.deceased |= deceased != 0;
        }
        let all: Vec<_> = state.names.iter().map(|(name, _)| name.clone()).collect();
        let consents: Vec<RawConsent> =
            sqlx::query_as(CONSENTS).bind(to_list(&all)).fetch_all(&mut *snapshot).await?;
        let objections: Vec<RawObjection> =
            sqlx::query_as(OBJECTIONS).bind(to_list(&all)).fetch_all(&mut *snapshot).await?;
        for raw in consents {
            state.consents.push(ConsentRow::try_from(raw)?.record);
        }
        for raw in objections {
            state.objections.push(ObjectionRow::try_from(raw)?.record);
        }
        Ok(state)
    }

    /// One consent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn consent(&self, id: &ConsentId) -> Result<Option<ConsentRow>, StoreError> {
        let raw: Option<RawConsent> = sqlx::query_as("SELECT * FROM consent WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await?;
        raw.map(ConsentRow::try_from).transpose()
    }

    /// One objection.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn objection(&self, id: &ObjectionId) -> Result<Option<ObjectionRow>, StoreError> {
        let raw: Option<RawObjection> = sqlx::query_as("SELECT * FROM objection WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await?;
        raw.map(ObjectionRow::try_from).transpose()
    }
}
