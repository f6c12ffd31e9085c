//! From an identifier to a pseudonym, through a keyed hash: the database holds no identifier.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sharing::{Pseudonym, SubjectIdentifier};
use zeroize::Zeroizing;

use crate::{error::StoreError, open::Store};

/// The key of the hash. Without it the table of pseudonyms says nothing.
pub struct LookupKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for LookupKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LookupKey(..)")
    }
}

impl LookupKey {
    /// Takes 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    pub(crate) fn hash(&self, identifier: &SubjectIdentifier) -> Vec<u8> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_ref()) else {
            return Vec::new(); // HMAC takes keys of any length
        };
        mac.update(identifier.scheme().to_string().as_bytes());
        mac.update(b"|");
        mac.update(identifier.as_str().as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

/// An identifier and the pseudonym it stands for, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The pseudonym.
    pub pseudonym: Pseudonym,
    /// Whether the database knew it. If not, commit a [`crate::Change::KnowSubject`] with whatever names it.
    pub known: bool,
    pub(crate) lookup_hash: Vec<u8>,
}

impl Store {
    /// The pseudonym of an identifier. An unknown one is given `fresh`, which is not stored until it is committed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn resolve(
        &self,
        identifier: &SubjectIdentifier,
        fresh: Pseudonym,
    ) -> Result<Resolved, StoreError> {
        let lookup_hash = self.lookup_key.hash(identifier);
        let known: Option<String> =
            sqlx::query_scalar("SELECT pseudonym FROM subject_identifier WHERE lookup_hash = $1")
                .bind(&lookup_hash)
                .fetch_optional(&self.readers)
                .await?;
        let Some(text) = known else {
            return Ok(Resolved { pseudonym: fresh, known: false, lookup_hash });
        };
        let corrupt = |_| StoreError::CorruptRow { table: "subject_identifier", row: "by hash".to_owned() };
        Ok(Resolved { pseudonym: text.parse().map_err(corrupt)?, known: true, lookup_hash })
    }
}
