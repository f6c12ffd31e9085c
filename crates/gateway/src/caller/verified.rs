//! Access tokens whose signature was checked, so that the next request with the same one does not pay for it again.
//!
//! A token is known again by its SHA-256, within one registered system: registrations that are read again begin with
//! nothing. It counts no longer than it says itself, only with the certificate that it was checked with, and only while its
//! issuer still publishes the key. Replay is no concern of this: tokens are good many times, contexts once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    access_token::{Grant, LEEWAY_S},
    keys::{Key, KeySet},
};
use crate::tls::CertificateFingerprint;

/// Most tokens in each of the two halves. Only good ones are kept, so that nobody but an issuer can fill it.
const TOKENS_MAX: usize = 1_024;

/// A token by which it is known again.
pub(super) type TokenDigest = [u8; 32];

/// A token that was good when it was checked.
pub(super) struct Verified {
    /// What it allows.
    pub(super) grants: Arc<[Grant]>,
    /// The certificate that it was shown with and is bound to.
    pub(super) certificate: CertificateFingerprint,
    /// The key that it was signed with.
    pub(super) key: Arc<Key>,
    /// What its issuer calls that key.
    pub(super) key_id: String,
    /// The first second at which it is good, but for the leeway.
    pub(super) not_before_s: i64,
    /// The first second at which it is not.
    pub(super) expires_s: i64,
}

/// The tokens of one system. When a half is full it becomes the older one, and what was in that is forgotten.
#[derive(Default)]
pub(crate) struct VerifiedTokens(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    newer: HashMap<TokenDigest, Arc<Verified>>,
    older: HashMap<TokenDigest, Arc<Verified>>,
}

/// What a token is known by.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

impl VerifiedTokens {
    /// What a token allows, if it was checked and all that it rested on still holds.
    pub(super) fn grants(
        &self,
        token: &TokenDigest,
        certificate: CertificateFingerprint,
        keys: &KeySet,
        now: Timestamp,
    ) -> Option<Arc<[Grant]>> {
        let known = {
            let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            halves.newer.get(token).or_else(|| halves.older.get(token))?.clone()
        };
        let now = now.as_second();
        let holds = now < known.expires_s
            && known.not_before_s <= now.saturating_add(LEEWAY_S)
            && known.certificate == certificate
            && keys.publishes(&known.key_id, &known.key);
        holds.then(|| known.grants.clone())
    }

    /// Keeps a token that was checked.
    pub(super) fn keep(&self, token: TokenDigest, verified: Verified) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.newer.len() >= TOKENS_MAX {
            halves.older = std::mem::take(&mut halves.newer);
        }
        halves.newer.insert(token, Arc::new(verified));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let halves = self.0.lock().unwrap();
        halves.newer.len() + halves.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::keys::KeySource, mint::MintingKey};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000 + seconds).unwrap()
    }

    fn certificate(name: &str) -> CertificateFingerprint {
        CertificateFingerprint::of(name.as_bytes())
    }

    struct Issuer {
        folder: tempfile::TempDir,
        keys: KeySet,
    }

    impl Issuer {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let source = KeySource::File(folder.path().join("keys.json"));
            publish(&folder, &["one", "two"]);
            Self { keys: KeySet::load(source).await.unwrap(), folder }
        }

        async fn verified(&self) -> Verified {
            let key = self.keys.key("one", jsonwebtoken::Algorithm::ES256, at(0)).await.unwrap();
            Verified {
                grants: Arc::new([]),
                certificate: certificate("own"),
                key,
                key_id: "one".to_owned(),
                not_before_s: 1_000,
                expires_s: 1_060,
            }
        }
    }

    fn publish(folder: &tempfile::TempDir, names: &[&str]) {
        let keys: Vec<_> = names
            .iter()
            .map(|name| {
                let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
                MintingKey::from_pem(&pem, name).unwrap().jwks().unwrap()["keys"][0].clone()
            })
            .collect();
        let text = serde_json::json!({ "keys": keys }).to_string();
        std::fs::write(folder.path().join("keys.json"), text).unwrap();
    }

    #[tokio::test]
    async fn a_token_counts_while_all_that_it_rests_on_does() {
        let issuer = Issuer::new().await;
        let tokens = VerifiedTokens::default();
        let token = digest("a.b.c");
        let counts =
            |seconds, who: &str| tokens.grants(&token, certificate(who), &issuer.keys, at(seconds)).is_some();
        assert!(!counts(1, "own"), "nobody has checked it");
        tokens.keep(token, issuer.verified().await);
        assert!(counts(1, "own"));
        assert!(!counts(1, "another"), "it is bound to a certificate");
        assert!(counts(59, "own"));
        assert!(!counts(60, "own"), "never beyond its end, not even for the leeway of clocks");
        assert!(!counts(-6, "own"), "a clock that was set back makes it no older");
        assert!(tokens.grants(&digest("a.b.d"), certificate("own"), &issuer.keys, at(1)).is_none());
        // The issuer takes the key back.
        publish(&issuer.folder, &["two"]);
        issuer.keys.refresh().await.unwrap();
        assert!(!counts(1, "own"), "its key is gone");
    }

    #[tokio::test]
    async fn another_key_of_the_same_name_is_another_key() {
        let issuer = Issuer::new().await;
        let tokens = VerifiedTokens::default();
        let token = digest("a.b.c");
        tokens.keep(token, issuer.verified().await);
        publish(&issuer.folder, &["one"]);
        issuer.keys.refresh().await.unwrap();
        assert!(tokens.grants(&token, certificate("own"), &issuer.keys, at(1)).is_none());
    }

    #[tokio::test]
    async fn tokens_are_bounded() {
        let issuer = Issuer::new().await;
        let tokens = VerifiedTokens::default();
        for number in 0..5 * TOKENS_MAX {
            tokens.keep(digest(&number.to_string()), issuer.verified().await);
            assert!(tokens.len() <= 2 * TOKENS_MAX);
        }
        let last = digest(&(5 * TOKENS_MAX - 1).to_string());
        assert!(tokens.grants(&last, certificate("own"), &issuer.keys, at(1)).is_some());
        assert!(tokens.grants(&digest("0"), certificate("own"), &issuer.keys, at(1)).is_none());
    }
}
