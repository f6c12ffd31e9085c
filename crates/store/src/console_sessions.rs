//! Who is signed in to the console. Rows come and go without an entry in the ledger: what somebody does there has its own.
//!
//! All replicas share them. What a row says is sealed by the console, with a key that only the browser's cookie leads to.

use jiff::Timestamp;

use crate::{error::StoreError, open::Store};

/// A session, or somebody who is signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// A digest of what the browser keeps.
    pub id: String,
    /// `session` or `sign-in`.
    pub kind: String,
    /// What it says, sealed.
    pub sealed: String,
    /// When it began.
    pub begun_us: i64,
    /// When it was last used.
    pub seen_us: i64,
    /// When the person last proved who they are.
    pub authenticated_us: i64,
}

columns!(SessionRow { id, kind, sealed, begun_us, seen_us, authenticated_us });

impl Store {
    /// Keeps a session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keep_session(&self, row: &SessionRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO console_session (id, kind, sealed, begun_us, seen_us, authenticated_us) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&row.id)
        .bind(&row.kind)
        .bind(&row.sealed)
        .bind(row.begun_us)
        .bind(row.seen_us)
        .bind(row.authenticated_us)
        .execute(&self.writing)
        .await?;
        Ok(())
    }

    /// The session of this name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM console_session WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// Says that a session is in use.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn see_session(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let statement = "UPDATE console_session SET seen_us = $2 WHERE id = $1 AND seen_us < $2";
        sqlx::query(statement).bind(id).bind(at.as_microsecond()).execute(&self.writing).await?;
        Ok(())
    }

    /// Ends a session and gives back what it was: to one of several who ask at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn end_session(&self, id: &str) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query_as("DELETE FROM console_session WHERE id = $1 RETURNING *").bind(id);
        Ok(row.fetch_optional(&self.writing).await?)
    }

    /// Forgets sessions that were last used, or began, too long ago.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_sessions(&self, seen: Timestamp, begun: Timestamp) -> Result<u64, StoreError> {
        let statement = "DELETE FROM console_session WHERE seen_us < $1 OR begun_us < $2";
        let forgotten = sqlx::query(statement).bind(seen.as_microsecond()).bind(begun.as_microsecond());
        Ok(forgotten.execute(&self.writing).await?.rows_affected())
    }

    /// Forgets who began to sign in before this and did not come back.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_sign_ins(&self, begun: Timestamp) -> Result<u64, StoreError> {
        let statement = "DELETE FROM console_session WHERE kind = 'sign-in' AND seen_us < $1";
        let forgotten = sqlx::query(statement).bind(begun.as_microsecond());
        Ok(forgotten.execute(&self.writing).await?.rows_affected())
    }

    /// The keys that sign the ledger's checkpoints, for whoever checks a proof here.
    pub fn ledger_keys(&self) -> &[ledger::note::NoteVerifier] {
        &self.verifiers
    }
}
