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
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse, ThumbprintHash},
};

use super::jws::{self, is_key_id};

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

impl Key {
    /// Whether it may be used with this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
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
        self.keys.load().get(key_id).filter(|key| key.is_for(algorithm)).cloned()
    }

    /// Whether there is a key for any of these algorithms: without one, nothing that is signed is ever good.
    pub(super) fn is_for_any(&self, algorithms: impl IntoIterator<Item = Algorithm>) -> bool {
        let keys = self.keys.load();
        algorithms.into_iter().any(|algorithm| keys.values().any(|key| key.is_for(algorithm)))
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

pub(super) fn parse(text: &[u8]) -> Result<HashMap<String, Arc<Key>>, KeysError> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(KeysError::Content("larger than 64 KiB"));
    }
    let not_one = |_| KeysError::Content("not a json web key set");
    let set: JwkSet = serde_json::from_slice(text).map_err(not_one)?;
    let named: Named = serde_json::from_slice(text).map_err(not_one)?;
    if set.keys.is_empty() || set.keys.len() > KEYS_MAX {
        return Err(KeysError::Content("it must have 1 to 50 keys"));
    }
    let mut keys = HashMap::new();
    for (jwk, Alg { alg }) in set.keys.iter().zip(&named.keys) {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(KeysError::Content("a symmetric key; public keys alone are allowed"));
        }
        let id = jwk.common.key_id.as_deref().unwrap_or_default();
        let read = algorithms(jwk, alg.as_deref()).and_then(|algorithms| {
            if !is_key_id(id) {
                return Err(
                    "its `kid` is not 1 to 128 letters, digits and _-.~+/=:@ without two dots in a row",
                );
            }
            let unreadable = |_| "it cannot be read";
            let decoding = DecodingKey::from_jwk(jwk).map_err(unreadable)?;
            let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unreadable)?;
            Ok(Arc::new(Key { decoding, algorithms, thumbprint }))
        });
        let key = match read {
            Ok(key) => key,
            // A set that was refused whole for it would keep keys in use that their owner has taken back.
            Err(why) => {
                let id: String = id.chars().take(128).collect();
                tracing::warn!(key_id = id, why, "a key of a key set is passed over");
                continue;
            }
        };
        if keys.insert(id.to_owned(), key).is_some() {
            return Err(KeysError::Content("two keys have the same `kid`"));
        }
    }
    if keys.is_empty() {
        return Err(KeysError::Content("none of its keys can be used; the log says of each why"));
    }
    Ok(keys)
}

/// What the keys of a set are called good for, of which `jsonwebtoken` keeps no more than what it knows.
#[derive(serde::Deserialize)]
struct Named {
    keys: Vec<Alg>,
}

#[derive(serde::Deserialize)]
struct Alg {
    alg: Option<String>,
}

/// What a key may be used with: what its owner says (RFC 7517, sections 4.2 to 4.4), or else what goes with its type. Never what a token
/// claims. Or why it is of no use.
fn algorithms(jwk: &Jwk, named: Option<&str>) -> Result<&'static [Algorithm], &'static str> {
    let operations = jwk.common.key_operations.as_ref();
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature))
        || operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
    {
        return Err("its `use` or `key_ops` is something else than checking signatures");
    }
    let all = algorithms_of_type(jwk)?;
    let Some(named) = named else { return Ok(all) };
    let named = match named {
        // RFC 9864: names of the same that say the curve, too.
        "Ed25519" => Some(Algorithm::EdDSA),
        "ESP256" => Some(Algorithm::ES256),
        "ESP384" => Some(Algorithm::ES384),
        other => jws::algorithm(other),
    };
    let place = all.iter().position(|algorithm| Some(*algorithm) == named);
    place
        .and_then(|place| all.get(place..=place))
        .ok_or("its `alg` is none for signatures that goes with its type")
}

fn algorithms_of_type(jwk: &Jwk) -> Result<&'static [Algorithm], &'static str> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => Ok(&[ES256]),
            EllipticCurve::P384 => Ok(&[ES384]),
            _ => Err("its elliptic curve is not in use here"),
        },
        AlgorithmParameters::OctetKeyPair(_) => Ok(&[EdDSA]),
        AlgorithmParameters::RSA(rsa) => match weakness(&rsa.n) {
            Some(weakness) => Err(weakness),
            None => Ok(&[PS256, PS384, PS512, RS256, RS384, RS512]),
        },
        _ => Err("it is of an unknown type"),
    }
}

/// Why an RSA key proves nothing, by its modulus.
fn weakness(modulus: &str) -> Option<&'static str> {
    let Ok(modulus) = BASE64URL.decode(modulus) else { return Some("it cannot be read") };
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    if (modulus.len() - leading) * 8 < RSA_BITS_MIN {
        return Some("it is an RSA key of less than 2048 bits");
    }
    ROCA_PRIMES
        .iter()
        .all(|prime| is_power_of_65537(&modulus, *prime))
        .then_some("its private part can be found from it (CVE-2017-15361): its owner has to make another")
}

/// A multiple of eight, so that a modulus of whole bytes has as many.
const RSA_BITS_MIN: usize = 2_048;

/// Moduli that Infineon's library made (ROCA) are powers of 65537 to each of these; of others hardly one in a hundred million is.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a number, in bytes, is a power of 65537 modulo a prime.
fn is_power_of_65537(number: &[u8], prime: u32) -> bool {
    let rest = number.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
    std::iter::successors(Some(1), |power| Some(power * 65_537 % prime))
        .take(prime as usize)
        .any(|power| power == rest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Of the size of an RSA key's modulus.
    const MODULUS: &str = "6OWNmQlcf7fOBj95_pbGwxl4Ke_knlXHd4jqYNwAw11Wt0fslyZYEHgfh2I-6_vGJcbJ20gj3QqgcxZChJptIwQv4KA1JLy4D4Qh1sutBzcaIbUNOkp_DjWiL-8r7em2yxCF8I2i32ycuJSk6eTDX20mZcUb66NC0Oo5s3QgeqoqEH4mxeepsuldzl8K0gzTW0bDPoBikSHZoG1URipY1OUHohXLjpjkZ2z-hjsounandqxe17lwkbj0vd0cg5t2_XkTuj4xdn0OGPH8v7JjjwPCj3x3Bv9Uf-nSHqdMK6epQT--ITRpV14-kai-lRaU7_bFNLJA3qHlEqycd1uKAw";

    /// A power of 65537 modulo each prime up to 167, of that size.
    const INFINEON: &str = "mF6_Jux2N-PiMJ0ljUDA5xYisyvikP-A9h1_fio38BRUqvXxrM9bZN7gOPMvsY4GNVpyDYAQJJPfgMCZ-E_s36RjE4YzPoPn9ib8tQYEfnlFEW3IEyowamb-xHahnLpU1Wj4DToLab3zBQ2t_EumMsihHmLhaKzqZebMV0Dyz-rHh6Mis7z2Xw2a8m2SKQ0a-YbNp0O7w3EmL06TMCD2ndZqzLT-j3bcpUKAWhjwEcrRuRZl2FsVD6SALsrLZPcipMo5RFFwKLulu8EdzHU7tODRWHEhz2nAe78iTn2VEKeIoKi3jTPeupp-mVtou8rf6tuQWjadkvlF-ByI2FJJlw";

    /// A P-256 key (RFC 7515, appendix A.3.1) or an RSA key's shape, with further members.
    fn key(kind: &str, members: &Value) -> Value {
        let mut key = match kind {
            "EC" => json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            _ => json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB" }),
        };
        key["kid"] = format!("{kind}-1").into();
        key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        key
    }

    fn read(keys: &[Value]) -> Result<HashMap<String, Arc<Key>>, String> {
        parse(json!({ "keys": keys }).to_string().as_bytes()).map_err(|error| error.to_string())
    }

    /// What a key is good for beside one that is always good; nothing where it is passed over.
    fn good_for(kind: &str, members: &Value) -> Vec<Algorithm> {
        let (asked, mut other) = (key(kind, members), key("EC", &json!({})));
        other["kid"] = "other".into();
        let keys = read(&[asked, other]).unwrap();
        assert!(keys.contains_key("other"));
        keys.get(&format!("{kind}-1")).map(|key| key.algorithms.to_vec()).unwrap_or_default()
    }

    #[test]
    fn a_key_is_good_for_what_its_owner_says_and_no_more() {
        use Algorithm::{ES256, PS256, RS512};
        assert_eq!(good_for("EC", &json!({})), [ES256]);
        assert_eq!(good_for("EC", &json!({ "alg": "ES256", "use": "sig" })), [ES256]);
        assert_eq!(good_for("EC", &json!({ "alg": "ESP256" })), [ES256]);
        assert_eq!(good_for("RSA", &json!({ "alg": "PS256" })), [PS256]);
        assert_eq!(good_for("RSA", &json!({ "alg": "RS512", "key_ops": ["verify"] })), [RS512]);
        assert_eq!(good_for("RSA", &json!({})).len(), 6);
    }

    #[test]
    fn a_key_that_is_of_no_use_is_passed_over_and_the_others_stay() {
        for (kind, members) in [
            ("RSA", json!({ "use": "enc" })),
            ("RSA", json!({ "use": "enc", "alg": "RSA-OAEP" })),
            ("RSA", json!({ "alg": "RSA-OAEP-256" })),
            ("RSA", json!({ "alg": "RSA-OAEP-512" })),
            ("RSA", json!({ "key_ops": ["encrypt", "wrapKey"] })),
            ("RSA", json!({ "alg": "ES256" })),
            ("RSA", json!({ "alg": "HS256" })),
            ("RSA", json!({ "alg": "EdDSA" })),
            ("RSA", json!({ "alg": "none" })),
            ("EC", json!({ "alg": "PS256" })),
            ("EC", json!({ "alg": "ES384" })),
            ("EC", json!({ "crv": "P-521", "alg": "ES512" })),
        ] {
            assert_eq!(good_for(kind, &members), [], "{kind} {members}");
            let said = read(&[key(kind, &members)]).err().unwrap();
            assert!(said.contains("none of its keys can be used"), "{said}");
        }
        assert!(read(&[key("EC", &json!({ "alg": 7 }))]).is_err(), "that is no key set");
    }

    #[test]
    fn a_key_has_the_name_that_its_owner_gave_it() {
        let key_store = "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let long = "k".repeat(128);
        // The first is the form that NHS CIS2's documentation has.
        for id in ["b/O6OvVv1+y+WgrH5Ui9WTioLt0=", key_store, "signing@council.example", "2026-11~a", &long] {
            let keys = read(&[key("EC", &json!({ "kid": id }))]).unwrap();
            assert_eq!(keys.keys().collect::<Vec<_>>(), [id]);
        }
        let longer = "k".repeat(129);
        for id in ["", " ", "a b", "a\n", "../a", "a\u{e9}", "%61", "a'b", &longer] {
            let keys = read(&[key("EC", &json!({ "kid": id })), key("EC", &json!({}))]).unwrap();
            assert_eq!(keys.keys().collect::<Vec<_>>(), ["EC-1"], "{id:?} is passed over");
        }
    }

    #[test]
    fn an_rsa_key_that_proves_nothing_is_of_no_use() {
        let is_good = |modulus: &str| !good_for("RSA", &json!({ "n": modulus })).is_empty();
        assert!(is_good(MODULUS));
        assert!(!is_good(INFINEON));
        assert_eq!(weakness(INFINEON).map(|why| why.contains("CVE-2017-15361")), Some(true));
        let short = BASE64URL.encode(&BASE64URL.decode(MODULUS).unwrap()[1..]);
        assert!(!is_good(&short));
        let padded = BASE64URL.encode([&[0; 9][..], &[0xff; 255]].concat());
        assert!(!is_good(&padded), "zeros before it are nothing");
        assert!(!is_good("!"));
    }
}
