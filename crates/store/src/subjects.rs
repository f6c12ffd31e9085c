//! What is held about a person, read at decision time in one snapshot. Never cached.

use sharing::{ConsentId, ObjectionId, Pseudonym, SubjectState};

use crate::{
    error::StoreError,
    open::Store,
    row::{ConsentRow, ObjectionRow, RawConsent, RawObjection, to_list},
};

const NAMES: &str = "SELECT pseudonym, person_group, revision, restricted, deceased FROM subject
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
        let rows: Vec<(String, String, i64, i64, i64)> =
            sqlx::query_as(NAMES).bind(to_list(names)).fetch_all(&mut *snapshot).await?;
        let is_one_person = rows.windows(2).all(|pair| matches!(pair, [one, other] if one.1 == other.1));
        let mut state = SubjectState { is_one_person, ..SubjectState::default() };
        for (text, _, revision, restricted, deceased) in rows {
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

impl Store {
    /// The policy set in force: its revision and digest.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn policy_set(&self) -> Result<Option<(i64, String)>, StoreError> {
        let row = sqlx::query_as("SELECT revision, digest FROM policy_set WHERE id = 1");
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// What is held about a person, in full, for those who may read it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn held_about(
        &self,
        name: &Pseudonym,
    ) -> Result<(Vec<ConsentRow>, Vec<ObjectionRow>), StoreError> {
        let state = self.subject_state(std::slice::from_ref(name)).await?;
        let names: Vec<_> = state.names.into_iter().map(|(name, _)| name).collect();
        let consents: Vec<RawConsent> =
            sqlx::query_as(CONSENTS).bind(to_list(&names)).fetch_all(&self.readers).await?;
        let objections: Vec<RawObjection> =
            sqlx::query_as(OBJECTIONS).bind(to_list(&names)).fetch_all(&self.readers).await?;
        Ok((
            consents.into_iter().map(ConsentRow::try_from).collect::<Result<_, _>>()?,
            objections.into_iter().map(ObjectionRow::try_from).collect::<Result<_, _>>()?,
        ))
    }
}
