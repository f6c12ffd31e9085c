//! Words about a person, sealed with a key of that person's own: what a consent says beside what decides, why an
//! emergency was declared, what was written in a referral. The ledger holds only their digests.
//!
//! Each person's key is random, and wrapped with a key that is kept outside the database. When the row with the wrapped
//! key is deleted, nobody can read the words again, and every proof of the ledger holds as before.
//!
//! AES-256-GCM with random nonces (NIST SP 800-38D §8.2.2) for both: a key seals far fewer than 2^32 texts.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use sha2::{Digest as _, Sha256};
use sharing::policy::hexadecimal;
use sqlx::AnyPool;
use zeroize::Zeroizing;

use crate::{database::Transaction, error::StoreError, open::Store};

/// What a sealed text begins with.
const PREFIX: &str = "sealed1:";

/// A person's own key, in the clear.
pub(crate) type PersonKey = Zeroizing<[u8; 32]>;

/// Keys that wrap people's keys. The last one wraps; all unwrap, so that one can be replaced.
pub struct WrappingKeys(Vec<(String, Zeroizing<[u8; 32]>)>);

impl std::fmt::Debug for WrappingKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WrappingKeys(..)")
    }
}

impl WrappingKeys {
    /// Takes keys of 32 random bytes, the newest last.
    pub fn new(keys: Vec<[u8; 32]>) -> Self {
        let named = |key: [u8; 32]| {
            let digest = Sha256::new().chain_update(b"concordat wrapping key").chain_update(key).finalize();
            (hexadecimal(digest.get(..8).unwrap_or_default()), Zeroizing::new(key))
        };
        Self(keys.into_iter().map(named).collect())
    }

    /// The name of the key that wraps.
    pub(crate) fn newest(&self) -> Result<&(String, Zeroizing<[u8; 32]>), StoreError> {
        self.0.last().ok_or_else(|| StoreError::Unsafe("there is no wrapping key".to_owned()))
    }

    /// Every key that people's keys are wrapped with must be here.
    pub(crate) async fn check(&self, pool: &AnyPool) -> Result<(), StoreError> {
        self.newest()?;
        // From one name to the next in the index: neither database skips, and there is a row a person.
        let mut used = String::new();
        loop {
            let next: Option<String> =
                sqlx::query_scalar("SELECT min(wrapping_key) FROM subject_key WHERE wrapping_key > $1")
                    .bind(&used)
                    .fetch_one(pool)
                    .await?;
            let Some(next) = next else { return Ok(()) };
            self.named(&next)?;
            used = next;
        }
    }

    fn named(&self, name: &str) -> Result<&Zeroizing<[u8; 32]>, StoreError> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|(_, key)| key);
        found.ok_or_else(|| {
            StoreError::Unsafe(format!(
                "people's keys are wrapped with the key {name}, which the wrapping key file does not hold; put it back"
            ))
        })
    }

    fn wrap(&self, subject: &str, key: &[u8; 32]) -> Result<(String, Vec<u8>), StoreError> {
        let (name, wrapping) = self.newest()?;
        Ok((name.clone(), seal(wrapping, subject, key)?))
    }

    pub(crate) fn unwrap(&self, subject: &str, name: &str, wrapped: &[u8]) -> Result<PersonKey, StoreError> {
        let opened = open(self.named(name)?, subject, wrapped).map(Zeroizing::new);
        let key = opened.and_then(|opened| <[u8; 32]>::try_from(opened.as_slice()).ok());
        key.map(Zeroizing::new).ok_or_else(|| unreadable("subject_key", subject))
    }

    /// Seals what somebody keeps for themselves, for the place where it is kept: elsewhere it does not open.
    pub(crate) fn seal_kept(&self, place: &str, text: &str) -> Result<String, StoreError> {
        let (name, wrapping) = self.newest()?;
        let sealed = seal(&for_what_is_kept(wrapping), place, text.as_bytes())?;
        Ok(format!("{PREFIX}{name}:{}", BASE64.encode(sealed)))
    }

    /// Opens it again. What is not sealed is older than that, and as it is. What does not open, because its key was replaced or because
    /// it was kept somewhere else, is nothing.
    pub(crate) fn open_kept(&self, place: &str, stored: &str) -> Option<String> {
        let Some(sealed) = stored.strip_prefix(PREFIX) else { return Some(stored.to_owned()) };
        let (name, sealed) = sealed.split_once(':')?;
        let wrapping = self.named(name).ok()?;
        let text = open(&for_what_is_kept(wrapping), place, &BASE64.decode(sealed).ok()?)?;
        String::from_utf8(text).ok()
    }

    /// Seals a text with its person's key, giving them one if they have none. Called by the one writer alone.
    pub(crate) async fn seal(
        &self,
        tx: &mut Transaction,
        subject: &str,
        text: &str,
    ) -> Result<String, StoreError> {
        let stored: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT wrapping_key, wrapped FROM subject_key WHERE subject = $1")
                .bind(subject)
                .fetch_optional(&mut **tx)
                .await?;
        let key = if let Some((name, wrapped)) = stored {
            self.unwrap(subject, &name, &wrapped)?
        } else {
            let (key, name, wrapped) = self.fresh(subject)?;
            sqlx::query("INSERT INTO subject_key (subject, wrapping_key, wrapped) VALUES ($1, $2, $3)")
                .bind(subject)
                .bind(name)
                .bind(wrapped)
                .execute(&mut **tx)
                .await?;
            key
        };
        sealed(&key, subject, text)
    }

    /// A key for a person who has none, with what is stored of it: the wrapping key's name, and the key wrapped.
    pub(crate) fn fresh(&self, subject: &str) -> Result<(PersonKey, String, Vec<u8>), StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(key.as_mut()).map_err(|_| no_crypto())?;
        let (name, wrapped) = self.wrap(subject, &key)?;
        Ok((key, name, wrapped))
    }

    /// Wraps every person's key with the newest wrapping key. How many were wrapped with another.
    pub(crate) async fn rewrap(&self, tx: &mut Transaction) -> Result<u64, StoreError> {
        let newest = self.newest()?.0.clone();
        let mut rewrapped = 0;
        loop {
            let old: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
                "SELECT subject, wrapping_key, wrapped FROM subject_key WHERE wrapping_key <> $1 LIMIT 1000",
            )
            .bind(&newest)
            .fetch_all(&mut **tx)
            .await?;
            if old.is_empty() {
                return Ok(rewrapped);
            }
            for (subject, name, wrapped) in old {
                let (name, wrapped) = self.wrap(&subject, &*self.unwrap(&subject, &name, &wrapped)?)?;
                sqlx::query("UPDATE subject_key SET wrapping_key = $1, wrapped = $2 WHERE subject = $3")
                    .bind(name)
                    .bind(wrapped)
                    .bind(subject)
                    .execute(&mut **tx)
                    .await?;
                rewrapped += 1;
            }
        }
    }
}

impl Store {
    /// Opens a text that was sealed for this person. One that never was, being older, is as it is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, the key is gone or the text is not what was sealed.
    pub(crate) async fn unseal(&self, subject: &str, stored: &str) -> Result<String, StoreError> {
        let Some(sealed) = stored.strip_prefix(PREFIX) else { return Ok(stored.to_owned()) };
        let key: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT wrapping_key, wrapped FROM subject_key WHERE subject = $1")
                .bind(subject)
                .fetch_optional(&self.readers)
                .await?;
        let (name, wrapped) = key.ok_or_else(|| unreadable("subject_key", subject))?;
        let key = self.wrapping_keys.unwrap(subject, &name, &wrapped)?;
        let text = BASE64.decode(sealed).ok().and_then(|sealed| open(&key, subject, &sealed));
        text.and_then(|text| String::from_utf8(text).ok()).ok_or_else(|| unreadable("a sealed text", subject))
    }

    pub(crate) async fn unseal_some(
        &self,
        subject: &str,
        stored: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        match stored {
            Some(stored) => self.unseal(subject, &stored).await.map(Some),
            None => Ok(None),
        }
    }
}

/// A key of its own for it, so that a text of the one kind never opens as one of the other.
fn for_what_is_kept(wrapping: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(
        Sha256::new().chain_update(b"concordat console kept").chain_update(wrapping).finalize().into(),
    )
}

/// A text as it is stored, sealed with its person's key.
pub(crate) fn sealed(key: &PersonKey, subject: &str, text: &str) -> Result<String, StoreError> {
    Ok(format!("{PREFIX}{}", BASE64.encode(seal(key, subject, text.as_bytes())?)))
}

/// Nonce, ciphertext and tag.
fn seal(key: &[u8; 32], subject: &str, text: &[u8]) -> Result<Vec<u8>, StoreError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| no_crypto())?;
    let mut sealed = text.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(subject.as_bytes()), &mut sealed);
    let nonce = nonce.map_err(|_| no_crypto())?;
    let mut all = nonce.as_ref().to_vec();
    all.append(&mut sealed);
    Ok(all)
}

fn open(key: &[u8; 32], subject: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = sealed.to_vec();
    let length = key.open_in_place(nonce, Aad::from(subject.as_bytes()), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

pub(crate) fn no_crypto() -> StoreError {
    StoreError::Unsafe("the cryptographic library refused to work".to_owned())
}

fn unreadable(table: &'static str, row: &str) -> StoreError {
    StoreError::CorruptRow { table, row: row.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_opens_with_its_own_key_for_its_own_person_alone() {
        let sealed = seal(&[1; 32], "sub_a", b"words").unwrap();
        assert_eq!(open(&[1; 32], "sub_a", &sealed).unwrap(), b"words");
        assert!(open(&[2; 32], "sub_a", &sealed).is_none());
        assert!(open(&[1; 32], "sub_b", &sealed).is_none());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(open(&[1; 32], "sub_a", &changed).is_none(), "{place}");
        }
        assert!(open(&[1; 32], "sub_a", &sealed[..10]).is_none());
        assert_ne!(seal(&[1; 32], "sub_a", b"words").unwrap(), sealed, "a nonce is used once");
    }

    #[test]
    fn what_is_kept_opens_while_its_key_is_there() {
        let sealed = WrappingKeys::new(vec![[1; 32]]).seal_kept("place", "words").unwrap();
        let opened = |keys: &[[u8; 32]], place| WrappingKeys::new(keys.to_vec()).open_kept(place, &sealed);
        assert_eq!(opened(&[[1; 32], [2; 32]], "place").unwrap(), "words");
        assert!(opened(&[[1; 32]], "another").is_none());
        assert!(opened(&[[2; 32]], "place").is_none(), "its key is gone");
        assert_ne!(*for_what_is_kept(&[1; 32]), [1; 32], "not the key that wraps");
    }

    #[test]
    fn a_key_that_was_replaced_still_unwraps_and_one_that_is_gone_is_named() {
        let old = WrappingKeys::new(vec![[1; 32]]);
        let (name, wrapped) = old.wrap("sub_a", &[9; 32]).unwrap();
        let both = WrappingKeys::new(vec![[1; 32], [2; 32]]);
        assert_eq!(*both.unwrap("sub_a", &name, &wrapped).unwrap(), [9; 32]);
        assert_ne!(both.newest().unwrap().0, name);
        let said = WrappingKeys::new(vec![[2; 32]]).unwrap("sub_a", &name, &wrapped).unwrap_err().to_string();
        assert!(said.contains(&name) && said.contains("put it back"), "{said}");
        assert!(both.unwrap("sub_b", &name, &wrapped).is_err(), "it is wrapped for one person");
    }
}
