//! From an identifier to a pseudonym, through a keyed hash: the database holds no identifier.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sharing::{Pseudonym, SubjectIdentifier, policy::hexadecimal};
use sqlx::AnyPool;
use zeroize::Zeroizing;

use crate::{error::StoreError, open::Store};

/// The key of the hash. Without it the table of pseudonyms says nothing.
///
/// The table holds no identifier, so a key that is replaced cannot be applied to identifiers again. A new key is applied
/// to the hashes instead: a hash is made with the oldest key, hashed again with the next, and so on. Who has the older
/// keys and the table as it is now has nothing without the newest.
pub struct LookupKey(Vec<Keyed>);

/// A key as HMAC has it once it has taken it in. It is forgotten when it is dropped.
pub(crate) type Keyed = Hmac<Sha256>;

impl std::fmt::Debug for LookupKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LookupKey(..)")
    }
}

impl LookupKey {
    /// Takes 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self::chain(vec![bytes])
    }

    /// Takes keys of 32 random bytes, the oldest first.
    pub fn chain(keys: Vec<[u8; 32]>) -> Self {
        Self(keys.into_iter().map(|key| taken_in(&Zeroizing::new(key))).collect())
    }

    pub(crate) fn hash(&self, identifier: &SubjectIdentifier) -> Vec<u8> {
        let scheme = identifier.scheme().to_string();
        self.hash_parts(&[scheme.as_bytes(), identifier.as_str().as_bytes()])
    }

    /// The hash of these parts, which hold no `|` but between them.
    pub(crate) fn hash_parts(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.0.iter().fold(parts.join(&b'|'), |text, key| hash_with(key, &text))
    }

    /// These keys, and one more on top.
    pub(crate) fn with(&self, key: [u8; 32]) -> Self {
        Self(self.0.iter().cloned().chain([taken_in(&Zeroizing::new(key))]).collect())
    }

    /// A value by which the same keys are known again. It tells nothing of them.
    pub fn check_value(&self) -> String {
        let hash = self.hash_parts(&[b"concordat", b"look-up key check"]);
        hexadecimal(hash.get(..16).unwrap_or_default())
    }
}

/// A key is taken in once: that is half of what a hash costs. HMAC fills one up with zeros to a block (RFC 2104 §2).
pub(crate) fn taken_in(key: &[u8; 32]) -> Keyed {
    let mut block = Zeroizing::new([0; 64]);
    let (start, _) = block.split_at_mut(key.len());
    start.copy_from_slice(key);
    Keyed::new((&*block).into())
}

/// The hash of a text; of a hash, what takes its place when a key is added.
pub(crate) fn hash_with(key: &Keyed, text: &[u8]) -> Vec<u8> {
    key.clone().chain_update(text).finalize().into_bytes().to_vec()
}

/// The keys must be those that the database was written with. With others nobody would be found: no objection, no
/// refusal, no mark.
pub(crate) async fn check(pool: &AnyPool, key: &LookupKey) -> Result<(), StoreError> {
    if !written_with(pool, key).await? {
        let insert = sqlx::query("INSERT INTO key_check (name, value) VALUES ('lookup', $1)");
        insert.bind(key.check_value()).execute(pool).await?;
    }
    Ok(())
}

/// Whether the database was written with this key; `false` when it was with none yet. With another it is an error.
pub(crate) async fn written_with(pool: &AnyPool, key: &LookupKey) -> Result<bool, StoreError> {
    let found = key.check_value();
    let written: Option<String> =
        sqlx::query_scalar("SELECT value FROM key_check WHERE name = 'lookup'").fetch_optional(pool).await?;
    match written {
        Some(written) if written == found => Ok(true),
        Some(_) => Err(StoreError::Unsafe(
            "the look-up key is not the one that this database was written with, so nobody's objections would be found; put the key file back. If replacing the key was interrupted, the new file lies beside it and ends in `.next`: rename it over the old one"
                .to_owned(),
        )),
        None => Ok(false),
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
    /// The check value of the key by which people are looked up.
    pub fn lookup_check(&self) -> String {
        self.lookup_key.check_value()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.3, its key filled up, which HMAC does not tell apart.
    #[test]
    fn a_key_is_taken_in_as_the_rfc_has_it() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let hash = hexadecimal(&LookupKey::new(key).hash_parts(&[b"what do ya want for nothing?"]));
        assert_eq!(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let chained = LookupKey::chain(vec![key, [7; 32]]).hash_parts(&[b"a", b"b"]);
        assert_eq!(chained, hash_with(&taken_in(&[7; 32]), &hash_with(&taken_in(&key), b"a|b")));
    }
}
