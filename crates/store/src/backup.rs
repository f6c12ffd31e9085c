//! Copies of the database for backups, and whether one can be gone on with.

use std::path::Path;

use crate::{Archive, LookupKey, StoreError, WrappingKeys, lookup};

impl Archive {
    /// Copies the whole database, as it is at one moment, into a new file. The gateway goes on writing meanwhile.
    /// What was deleted is not in the copy.
    ///
    /// # Errors
    /// [`StoreError`] when the database or the file fails; the file must not be there yet.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return Err(StoreError::Unsafe(
                "a PostgreSQL server is backed up with its own tools, pg_basebackup and archived WAL: see docs/backup.md"
                    .to_owned(),
            ));
        }
        sqlx::query("VACUUM INTO $1").bind(file.display().to_string()).execute(&self.pool).await?;
        Ok(())
    }

    /// Whether the file's own structure is whole.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] with what is not, or when the database fails.
    pub async fn check_structure(&self) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return Ok(()); // pg_verifybackup and pg_amcheck are for that
        }
        let found: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check(3)").fetch_all(&self.pool).await?;
        if found == ["ok"] {
            return Ok(());
        }
        Err(StoreError::Unsafe(format!("the database file is damaged: {}", found.join("; "))))
    }

    /// Whether the key files are those that the database was written with.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] with what to put back, or when the database fails.
    pub async fn check_keys(
        &self,
        lookup_key: &LookupKey,
        wrapping: &WrappingKeys,
    ) -> Result<(), StoreError> {
        lookup::written_with(&self.pool, lookup_key).await?;
        wrapping.check(&self.pool).await
    }

    /// The newest migration that was applied to the database.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn schema(&self) -> Result<i64, StoreError> {
        Ok(crate::migrating::applied(&self.database, &self.pool).await?.last().copied().unwrap_or(0))
    }

    /// Whether this program may use the database, whatever newer programs did to it.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] with what to do, or when the database fails.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        crate::migrating::check(&self.database, &self.pool).await
    }

    /// How many questions were open when the file was written. They are closed as indeterminate at the next start.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn open_questions(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM open_intent").fetch_one(&self.pool).await?)
    }
}
