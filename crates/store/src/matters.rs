//! What is said, argued and recorded beside an agreement's course: comments, disputes, benefits, harm. The ledger has every
//! step; these tables are what is read.

use jiff::Timestamp;
use sharing::{AgreementId, OrganisationId};

use crate::{agreements::RequestRow, error::StoreError, open::Store};

/// Most rows of a list.
const LIST_MAX: i64 = 500;

/// A comment, a dispute, a negotiation with a peer, or a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatterRow {
    /// Its name.
    pub id: String,
    /// The agreement.
    pub agreement: String,
    /// `comment`, `dispute`, `negotiation`, `benefit`, `harm` or `evaluation`.
    pub about: String,
    /// How many steps it has taken.
    pub revision: i64,
    /// The version that it is about.
    pub version: i64,
    /// Its state.
    pub state: String,
    /// 1 while signing waits for it.
    pub blocks: i64,
    /// Its course, as JSON.
    pub course: String,
    /// The precedent that was made of it, as JSON.
    pub published: Option<String>,
    /// When time alone may change something.
    pub next_us: Option<i64>,
    /// When it began.
    pub opened_us: i64,
    /// When it took its last step.
    pub moved_us: i64,
}

columns!(MatterRow {
    id,
    agreement,
    about,
    revision,
    version,
    state,
    blocks,
    course,
    published,
    next_us,
    opened_us,
    moved_us
});

/// A step of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatterStepRow {
    /// Of which.
    pub matter: String,
    /// Which step of it, from 1.
    pub revision: i64,
    /// What was done.
    pub action: String,
    /// The organisation of whoever did it; none where time did.
    pub organisation: Option<String>,
    /// Who did it.
    pub person: Option<String>,
    /// The reason, as a code.
    pub reason: Option<String>,
    /// What was written, with the salt of its digest in the ledger.
    pub written: Option<String>,
    /// When.
    pub at_us: i64,
}

columns!(MatterStepRow { matter, revision, action, organisation, person, reason, written, at_us });

/// A step to be taken. It is taken only from the revision that it was decided at.
#[derive(Debug, Clone)]
pub struct MatterMove {
    /// As it is after it. Its revision is one more than the one it is taken from.
    pub row: MatterRow,
    /// The step.
    pub step: MatterStepRow,
    /// Who is told by webhook: every member of the agreement.
    pub tells_members: bool,
    /// Whose connector is sent it as a message.
    pub tells_peer: Option<OrganisationId>,
    /// The request that it answers.
    pub request: Option<RequestRow>,
}

impl Store {
    /// One by its name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn matter(&self, id: &str) -> Result<Option<MatterRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement_matter WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// Those of an agreement that are about this, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn matters(&self, agreement: &AgreementId, about: &str) -> Result<Vec<MatterRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_matter WHERE agreement = $1 AND about = $2 ORDER BY opened_us, id LIMIT $3",
        );
        Ok(rows.bind(agreement.as_str()).bind(about).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Those of an agreement that are about this, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn newest_matters(
        &self,
        agreement: &AgreementId,
        about: &str,
    ) -> Result<Vec<MatterRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_matter WHERE agreement = $1 AND about = $2 ORDER BY opened_us DESC, id DESC LIMIT $3",
        );
        Ok(rows.bind(agreement.as_str()).bind(about).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// One step.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn matter_step(&self, id: &str, revision: i64) -> Result<Option<MatterStepRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement_matter_step WHERE matter = $1 AND revision = $2");
        Ok(row.bind(id).bind(revision).fetch_optional(&self.readers).await?)
    }

    /// The steps of one, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn matter_steps(&self, id: &str) -> Result<Vec<MatterStepRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_matter_step WHERE matter = $1 ORDER BY revision LIMIT $2",
        );
        Ok(rows.bind(id).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Whether signing an agreement waits for a comment.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn is_blocked(&self, agreement: &AgreementId) -> Result<bool, StoreError> {
        let row: Option<i64> = sqlx::query_scalar(
            "SELECT blocks FROM agreement_matter WHERE agreement = $1 AND about = 'comment' AND blocks = 1 LIMIT 1",
        )
        .bind(agreement.as_str())
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.is_some())
    }

    /// The negotiations with peers that are not over: of one agreement, or all of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn open_negotiations(&self, of: Option<&AgreementId>) -> Result<Vec<MatterRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_matter WHERE about = 'negotiation'
                AND state IN ('REQUESTED', 'OFFERED', 'ACCEPTED', 'AGREED', 'VERIFIED')
                AND (CAST($1 AS TEXT) IS NULL OR agreement = $1)
             ORDER BY moved_us, id LIMIT $2",
        );
        Ok(rows.bind(of.map(AgreementId::as_str)).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Those that time alone may have changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn matters_due(&self, at: Timestamp) -> Result<Vec<MatterRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_matter WHERE next_us <= $1 ORDER BY next_us, id LIMIT $2",
        );
        Ok(rows.bind(at.as_microsecond()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// Every precedent, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn precedents(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query_scalar(
            "SELECT published FROM agreement_matter WHERE published IS NOT NULL ORDER BY moved_us DESC, id LIMIT $1",
        );
        Ok(rows.bind(LIST_MAX).fetch_all(&self.readers).await?)
    }
}
