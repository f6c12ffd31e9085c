//! Public keys by key id, from a JWKS file or an HTTPS URL.
//!
//! A key set is replaced whole or kept: a source that fails, or serves something else than a key set, changes
//! nothing. An unknown key id causes at most one refetch a minute, so that a stranger cannot make us ask.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, ThumbprintHash},
};

use super::jws::is_key_id;

const JWKS_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 50;
const REFETCH_EVERY_S: i64 = 60;

/// Where a key set comes from.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An HTTPS address, trusted through these authorities (a PEM file).
    Url {
        /// The address.
        address: String,
        /// The authorities.
        trusted: PathBuf,
    },
    /// A key set of our own, which settings cannot name.
    #[serde(skip)]
    Own(String),
}

/// A key set that cannot be used. What is wrong is said; nothing of the keys is.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The address does not answer as it must.
    #[error("the key set could not be fetched: {0}")]
    Fetch(&'static str),
    /// Not a key set of asymmetric keys with distinct ids.
    #[error("not a usable key set: {0}")]
    Content(&'static str),
}

/// A public key, and what it may be used with.
pub struct Key {
    pub(super) decoding: DecodingKey,
    algorithms: &'static [Algorithm],
    thumbprint: String,
}

/// A set of public keys that can be refreshed.
pub struct KeySet {
    source: KeySource,
    keys: ArcSwap<HashMap<String, Arc<Key>>>,
    client: Option<reqwest::Client>,
    refetched_at_s: AtomicI64,
    read_at: Mutex<Instant>,
}

impl KeySet {
    /// Reads the key set for the first time.
    ///
    /// # Errors
    /// [`KeysError`]; a deployment does not start with a key set that it cannot read.
    pub async fn load(source: KeySource) -> Result<Self, KeysError> {
        let client = match &source {
            KeySource::File(_) | KeySource::Own(_) => None,
            KeySource::Url { address, trusted } => Some(client(address, trusted)?),
        };
        let set = Self {
            source,
            keys: ArcSwap::default(),
            client,
            refetched_at_s: AtomicI64::new(i64::MIN),
            read_at: Mutex::new(Instant::now()),
        };
        set.refresh().await?;
        Ok(set)
    }

    /// Reads the source again. On an error the keys stay as they are.
    ///
    /// # Errors
    /// [`KeysError`] saying what is wrong with the source.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        let text = match (&self.source, &self.client) {
            (KeySource::Url { address, .. }, Some(client)) => fetch(client, address).await?,
            (KeySource::File(path), _) => tokio::fs::read(path)
                .await
                .map_err(|source| KeysError::File { path: path.display().to_string(), source })?,
            (KeySource::Own(text), _) => text.clone().into_bytes(),
            (KeySource::Url { .. }, None) => return Err(KeysError::Fetch("there is no client for it")),
        };
        self.keys.store(Arc::new(parse(&text)?));
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(())
    }

    /// The key of this id for this algorithm. An unknown id makes the source be read again, once a minute.
    pub async fn key(&self, key_id: &str, algorithm: Algorithm, now: Timestamp) -> Option<Arc<Key>> {
        if !self.keys.load().contains_key(key_id)
            && self.may_refetch(now)
            && let Err(error) = self.refresh().await
        {
            tracing::warn!(%error, "a key set could not be refreshed; the keys known so far stay in use");
        }
        let keys = self.keys.load();
        let key = keys.get(key_id)?;
        key.algorithms.contains(&algorithm).then(|| key.clone())
    }

    /// Whether this very key is still in the set under this id.
    pub(super) fn publishes(&self, key_id: &str, key: &Arc<Key>) -> bool {
        self.keys.load().get(key_id).is_some_and(|current| Arc::ptr_eq(current, key))
    }

    /// Whether a key with this RFC 7638 thumbprint is in the set, under whatever id.
    pub(super) fn has(&self, thumbprint: &str) -> bool {
        self.keys.load().values().any(|key| key.thumbprint == thumbprint)
    }

    /// How long ago its source was read last, and could be.
    pub(super) fn age(&self) -> Duration {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether it comes from an address, which may change it at any time.
    pub(super) fn is_fetched(&self) -> bool {
        matches!(self.source, KeySource::Url { .. })
    }

    fn may_refetch(&self, now: Timestamp) -> bool {
        let last = self.refetched_at_s.load(Ordering::Acquire);
        let due = now.as_second() >= last.saturating_add(REFETCH_EVERY_S);
        due && self
            .refetched_at_s
            .compare_exchange(last, now.as_second(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// As [`outbound::OutOfReach`] has it.
const NOT_ASKED: &str = "its address is, or its name leads to, this machine, its link or a cloud's own services; write 127.0.0.1 or localhost where this machine is meant";

fn client(url: &str, trusted: &PathBuf) -> Result<reqwest::Client, KeysError> {
    if !url.starts_with("https://") {
        return Err(KeysError::Fetch("its address must begin with https://"));
    }
    let pem = std::fs::read(trusted)
        .map_err(|source| KeysError::File { path: trusted.display().to_string(), source })?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|_| KeysError::Fetch("its authorities are not pem"))?;
    outbound::client(url)
        .map_err(|_| KeysError::Fetch(NOT_ASKED))?
        .tls_certs_only(roots)
        .https_only(true)
        .timeout(Duration::from_secs(3))
        .build()
        .map_err(|_| KeysError::Fetch("its authorities cannot be used"))
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, KeysError> {
    let unanswered =
        |error| KeysError::Fetch(if outbound::is_out_of_reach(&error) { NOT_ASKED } else { "no answer" });
    let mut response = client.get(url).send().await.map_err(unanswered)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(KeysError::Fetch("the answer is not 200"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| KeysError::Fetch("the answer broke off"))? {
        body.extend_from_slice(&chunk);
        if body.len() > JWKS_BYTES_MAX {
            return Err(KeysError::Fetch("the answer is too large"));
        }
    }
    Ok(body)
}

fn parse(text: &[u8]) -> Result<HashMap<String, Arc<Key>>, KeysError> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(KeysError::Content("larger than 64 KiB"));
    }
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|_| KeysError::Content("not a json web key set"))?;
    if set.keys.is_empty() || set.keys.len() > KEYS_MAX {
        return Err(KeysError::Content("it must have 1 to 50 keys"));
    }
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        let id = jwk.common.key_id.as_deref().filter(|id| is_key_id(id));
        let id = id.ok_or(KeysError::Content("a key has no usable `kid`"))?;
        let decoding = DecodingKey::from_jwk(jwk).map_err(|_| KeysError::Content("a key cannot be read"))?;
        let thumbprint =
            jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeysError::Content("a key cannot be read"))?;
        let key = Arc::new(Key { decoding, algorithms: algorithms(jwk)?, thumbprint });
        if keys.insert(id.to_owned(), key).is_some() {
            return Err(KeysError::Content("two keys have the same `kid`"));
        }
    }
    Ok(keys)
}

/// What a key may be used with, by its own type: never what a token claims.
fn algorithms(jwk: &Jwk) -> Result<&'static [Algorithm], KeysError> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => Ok(&[ES256]),
            EllipticCurve::P384 => Ok(&[ES384]),
            _ => Err(KeysError::Content("an elliptic curve that is not in use here")),
        },
        AlgorithmParameters::OctetKeyPair(_) => Ok(&[EdDSA]),
        AlgorithmParameters::RSA(_) => Ok(&[PS256, PS384, PS512, RS256, RS384, RS512]),
        AlgorithmParameters::OctetKey(_) => {
            Err(KeysError::Content("a symmetric key; public keys alone are allowed"))
        }
        _ => Err(KeysError::Content("a key of an unknown type")),
    }
}
