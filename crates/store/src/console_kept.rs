//! What somebody keeps for themselves in the console: searches by name, terms that they have not offered yet. It is theirs alone,
//! has no entry in the ledger, and is forgotten when they say so or when nobody has come back to it. What it says is sealed with a key
//! that is made of one outside the database.

use jiff::Timestamp;

use crate::{error::StoreError, open::Store, row::to_list};

/// Most things of a kind that one person keeps.
const LIST_MAX: i64 = 100;

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// Whose organisation.
    pub organisation: String,
    /// Whose, as the console's provider names them.
    pub person: String,
    /// `search`, `terms` or `words`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is, as JSON.
    pub content: String,
    /// When it was kept.
    pub kept_us: i64,
}

columns!(KeptRow { organisation, person, kind, name, content, kept_us });

/// Where a row is, for its seal: nobody makes it somebody else's by moving it.
fn place(organisation: &str, person: &str, kind: &str, name: &str) -> String {
    to_list(&[organisation, person, kind, name])
}

impl Store {
    /// Keeps something, in place of what had its name. Returns whether it was: a person keeps a hundred things of a kind.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keep(&self, row: &KeptRow) -> Result<bool, StoreError> {
        let statement = "INSERT INTO console_kept (organisation, person, kind, name, content, kept_us) SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM console_kept WHERE organisation = $1 AND person = $2 AND kind = $3 AND name <> $4) < $7 ON CONFLICT (organisation, person, kind, name) DO UPDATE SET content = excluded.content, kept_us = excluded.kept_us";
        let place = place(&row.organisation, &row.person, &row.kind, &row.name);
        let kept = sqlx::query(statement)
            .bind(&row.organisation)
            .bind(&row.person)
            .bind(&row.kind)
            .bind(&row.name)
            .bind(self.wrapping_keys.seal_kept(&place, &row.content)?)
            .bind(row.kept_us)
            .bind(LIST_MAX)
            .execute(&self.writing)
            .await?;
        Ok(kept.rows_affected() > 0)
    }

    /// What somebody keeps of a kind, by name. What cannot be opened any more is left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn kept(
        &self,
        (organisation, person): (&str, &str),
        kind: &str,
    ) -> Result<Vec<KeptRow>, StoreError> {
        let statement = "SELECT * FROM console_kept WHERE organisation = $1 AND person = $2 AND kind = $3 ORDER BY name LIMIT $4";
        let rows = sqlx::query_as(statement).bind(organisation).bind(person).bind(kind).bind(LIST_MAX);
        let rows: Vec<KeptRow> = rows.fetch_all(&self.readers).await?;
        let opened = |row: KeptRow| {
            let place = place(&row.organisation, &row.person, &row.kind, &row.name);
            let content = self.wrapping_keys.open_kept(&place, &row.content)?;
            Some(KeptRow { content, ..row })
        };
        Ok(rows.into_iter().filter_map(opened).collect())
    }

    /// Forgets one thing that somebody keeps.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_kept(
        &self,
        (organisation, person): (&str, &str),
        (kind, name): (&str, &str),
    ) -> Result<(), StoreError> {
        let statement =
            "DELETE FROM console_kept WHERE organisation = $1 AND person = $2 AND kind = $3 AND name = $4";
        let forgotten = sqlx::query(statement).bind(organisation).bind(person).bind(kind).bind(name);
        forgotten.execute(&self.writing).await?;
        Ok(())
    }

    /// Forgets what nobody has come back to.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_kept_before(&self, kind: &str, before: Timestamp) -> Result<u64, StoreError> {
        let statement = "DELETE FROM console_kept WHERE kind = $1 AND kept_us < $2";
        let forgotten = sqlx::query(statement).bind(kind).bind(before.as_microsecond());
        Ok(forgotten.execute(&self.writing).await?.rows_affected())
    }
}
