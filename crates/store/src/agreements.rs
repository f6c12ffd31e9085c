//! Agreements that are managed over the API, and who signs them. The ledger has every step; these tables are what is read.

use jiff::Timestamp;
use sharing::{AgreementId, OrganisationId};
use sqlx::AnyPool;

use crate::{audit::Archive, error::StoreError, open::Store};

/// An agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedRow {
    /// Its name.
    pub id: String,
    /// How many steps it has taken.
    pub revision: i64,
    /// Its state, as people speak of it.
    pub state: String,
    /// Its course, as JSON.
    pub course: String,
    /// The text that the policies in force have of it.
    pub policy_file: Option<String>,
    /// When time alone may change something.
    pub next_us: Option<i64>,
    /// When it took its last step.
    pub moved_us: i64,
}

columns!(ManagedRow { id, revision, state, course, policy_file, next_us, moved_us });

/// Terms of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermsRow {
    /// The version.
    pub version: i64,
    /// The terms, as canonical JSON.
    pub terms: String,
    /// Their SHA-256, in hexadecimal.
    pub terms_sha256: String,
    /// The organisation of whoever wrote them.
    pub organisation: String,
    /// Who wrote them.
    pub author: String,
    /// When.
    pub written_us: i64,
}

columns!(TermsRow { version, terms, terms_sha256, organisation, author, written_us });

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The agreement.
    pub agreement: String,
    /// Which step of it, from 1.
    pub revision: i64,
    /// The version that it was about.
    pub version: i64,
    /// What was done.
    pub action: String,
    /// The state it led to.
    pub state: String,
    /// The organisation of whoever did it; none where time did.
    pub organisation: Option<String>,
    /// Who did it.
    pub person: Option<String>,
    /// How much of the agreement it was about.
    pub scope: Option<String>,
    /// The reason, as a code.
    pub reason: Option<String>,
    /// What was written, with the salt of its digest in the ledger.
    pub written: Option<String>,
    /// When.
    pub at_us: i64,
}

columns!(StepRow {
    agreement,
    revision,
    version,
    action,
    state,
    organisation,
    person,
    scope,
    reason,
    written,
    at_us
});

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRow {
    /// The agreement.
    pub agreement: String,
    /// The version that was signed.
    pub version: i64,
    /// The office in which it was signed.
    pub officer_id: String,
    /// For which organisation.
    pub organisation: String,
    /// By whom.
    pub person: String,
    /// In which role.
    pub role: String,
    /// The step that it was.
    pub revision: i64,
    /// The detached JWS.
    pub signature: String,
    /// When.
    pub signed_us: i64,
}

columns!(SignatureRow {
    agreement,
    version,
    officer_id,
    organisation,
    person,
    role,
    revision,
    signature,
    signed_us
});

/// Somebody who signs or advises for an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficerRow {
    /// The office's name.
    pub id: String,
    /// The organisation.
    pub organisation: String,
    /// Who.
    pub person: String,
    /// Their name, as the register of agreements prints it.
    pub name: String,
    /// The role.
    pub role: String,
    /// The RFC 7638 thumbprint of the key that they sign with.
    pub key_id: Option<String>,
    /// The key, as a JWK.
    pub jwk: Option<String>,
    /// Where they are written to when a dispute comes to their level.
    pub address: Option<String>,
    /// `asked`, `registered` or `ended`.
    pub state: String,
    /// Who asked for it.
    pub asked_by: String,
    /// Who confirmed it.
    pub registered_by: Option<String>,
    /// When it was asked for.
    pub asked_us: i64,
    /// When it began.
    pub registered_us: Option<i64>,
    /// When it ended.
    pub ended_us: Option<i64>,
}

columns!(OfficerRow {
    id,
    organisation,
    person,
    name,
    role,
    key_id,
    jwk,
    address,
    state,
    asked_by,
    registered_by,
    asked_us,
    registered_us,
    ended_us
});

/// A step to be taken. It is taken only from the revision that it was decided at.
#[derive(Debug, Clone)]
pub struct AgreementMove {
    /// The agreement as it is after it. Its revision is one more than the one it is taken from.
    pub row: ManagedRow,
    /// Who may see it from now on.
    pub members: Vec<OrganisationId>,
    /// Who is told of it: whoever may see the version that it is about.
    pub told: Vec<OrganisationId>,
    /// The step.
    pub step: StepRow,
    /// Terms that are new or written again.
    pub terms: Option<TermsRow>,
    /// The signature that it is.
    pub signature: Option<SignatureRow>,
    /// The request that it answers.
    pub request: Option<RequestRow>,
}

/// A request that is not to be carried out twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The system that sent it.
    pub system: String,
    /// Its key.
    pub request_key: String,
    /// SHA-256 of what it asked for.
    pub body_sha256: String,
    /// The agreement, or what is beside its course.
    pub agreement: String,
    /// The step that it led to.
    pub revision: i64,
    /// When.
    pub at_us: i64,
}

columns!(RequestRow { system, request_key, body_sha256, agreement, revision, at_us });

/// A step of an office: it is asked for, begins and ends.
#[derive(Debug, Clone)]
pub enum OfficerMove {
    /// Asked for.
    Ask(Box<OfficerRow>),
    /// A second person confirmed it.
    Register {
        /// Which.
        id: String,
        /// Who.
        by: String,
    },
    /// It is over.
    End {
        /// Which.
        id: String,
    },
}

/// Most rows in one list.
const LIST_MAX: i64 = 500;

async fn managed_files(pool: &AnyPool) -> Result<Vec<(String, String)>, StoreError> {
    let rows =
        sqlx::query_as("SELECT id, policy_file FROM agreement WHERE policy_file IS NOT NULL ORDER BY id");
    Ok(rows.fetch_all(pool).await?)
}

impl Archive {
    /// What the policies in force have to have of agreements: each one's name and text.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn managed_files(&self) -> Result<Vec<(String, String)>, StoreError> {
        managed_files(&self.pool).await
    }
}

impl Store {
    /// One agreement.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn managed(&self, id: &AgreementId) -> Result<Option<ManagedRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement WHERE id = $1").bind(id.as_str());
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// Whether this organisation has to do with an agreement.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn is_member(
        &self,
        id: &AgreementId,
        organisation: &OrganisationId,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query_scalar::<_, i64>(
            "SELECT 1 FROM agreement_member WHERE agreement = $1 AND organisation = $2",
        );
        let row = row.bind(id.as_str()).bind(organisation.as_str()).fetch_optional(&self.readers).await?;
        Ok(row.is_some())
    }

    /// An organisation's agreements, or everybody's, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn all_managed(&self, of: Option<&OrganisationId>) -> Result<Vec<ManagedRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement WHERE CAST($1 AS TEXT) IS NULL
                OR id IN (SELECT agreement FROM agreement_member WHERE organisation = $1)
             ORDER BY id LIMIT $2",
        );
        Ok(rows.bind(of.map(OrganisationId::as_str)).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// What the policies in force have to have of agreements: each one's name and text.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn managed_files(&self) -> Result<Vec<(String, String)>, StoreError> {
        managed_files(&self.readers).await
    }

    /// Agreements that time alone may have changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn managed_due(&self, at: Timestamp) -> Result<Vec<ManagedRow>, StoreError> {
        let rows =
            sqlx::query_as("SELECT * FROM agreement WHERE next_us <= $1 ORDER BY next_us, id LIMIT $2");
        Ok(rows.bind(at.as_microsecond()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// The terms of a version.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn terms(&self, id: &AgreementId, version: u32) -> Result<Option<TermsRow>, StoreError> {
        let row = sqlx::query_as(
            "SELECT version, terms, terms_sha256, organisation, author, written_us
             FROM agreement_version WHERE agreement = $1 AND version = $2",
        );
        Ok(row.bind(id.as_str()).bind(i64::from(version)).fetch_optional(&self.readers).await?)
    }

    /// Every version's terms, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn all_terms(&self, id: &AgreementId) -> Result<Vec<TermsRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT version, terms, terms_sha256, organisation, author, written_us
             FROM agreement_version WHERE agreement = $1 ORDER BY version",
        );
        Ok(rows.bind(id.as_str()).fetch_all(&self.readers).await?)
    }

    /// So many of the steps after one, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn steps(&self, id: &AgreementId, after: i64, limit: i64) -> Result<Vec<StepRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_step WHERE agreement = $1 AND revision > $2 ORDER BY revision LIMIT $3",
        );
        Ok(rows.bind(id.as_str()).bind(after).bind(limit).fetch_all(&self.readers).await?)
    }

    /// So many of the steps before one, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn steps_before(
        &self,
        id: &AgreementId,
        before: i64,
        limit: i64,
    ) -> Result<Vec<StepRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_step WHERE agreement = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3",
        );
        Ok(rows.bind(id.as_str()).bind(before).bind(limit).fetch_all(&self.readers).await?)
    }

    /// The steps by which its versions were written, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn writings(&self, id: &AgreementId) -> Result<Vec<StepRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_step WHERE agreement = $1
                AND action IN ('drafted', 'counter-proposed', 'variation-begun') ORDER BY revision",
        );
        Ok(rows.bind(id.as_str()).fetch_all(&self.readers).await?)
    }

    /// One step.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn step(&self, agreement: &str, revision: i64) -> Result<Option<StepRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement_step WHERE agreement = $1 AND revision = $2");
        Ok(row.bind(agreement).bind(revision).fetch_optional(&self.readers).await?)
    }

    /// The signatures over a version.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn signatures(&self, id: &AgreementId, version: u32) -> Result<Vec<SignatureRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_signature WHERE agreement = $1 AND version = $2 ORDER BY revision",
        );
        Ok(rows.bind(id.as_str()).bind(i64::from(version)).fetch_all(&self.readers).await?)
    }

    /// One office.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn officer(&self, id: &str) -> Result<Option<OfficerRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement_officer WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// An organisation's offices, or everybody's, those that are over last.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn officers(&self, of: Option<&OrganisationId>) -> Result<Vec<OfficerRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_officer WHERE CAST($1 AS TEXT) IS NULL OR organisation = $1
             ORDER BY state = 'ended', organisation, role, id LIMIT $2",
        );
        Ok(rows.bind(of.map(OrganisationId::as_str)).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// The offices that were asked for, are held, or were, with this key: what somebody has signed with it goes on.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn offices_with_key(&self, key_id: &str) -> Result<Vec<OfficerRow>, StoreError> {
        let rows = sqlx::query_as("SELECT * FROM agreement_officer WHERE key_id = $1 ORDER BY id LIMIT $2");
        Ok(rows.bind(key_id).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// The offices that a person holds now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn offices(&self, of: &OrganisationId, person: &str) -> Result<Vec<OfficerRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_officer WHERE organisation = $1 AND person = $2 AND state = 'registered'
             ORDER BY id",
        );
        Ok(rows.bind(of.as_str()).bind(person).fetch_all(&self.readers).await?)
    }

    /// The offices that are held for an organisation now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn offices_of(&self, of: &OrganisationId) -> Result<Vec<OfficerRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM agreement_officer WHERE organisation = $1 AND state = 'registered' ORDER BY id LIMIT $2",
        );
        Ok(rows.bind(of.as_str()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }

    /// The request that a system sent with this key before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn earlier_request(&self, system: &str, key: &str) -> Result<Option<RequestRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM agreement_request WHERE system = $1 AND request_key = $2");
        Ok(row.bind(system).bind(key).fetch_optional(&self.readers).await?)
    }
}
