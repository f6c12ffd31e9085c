//! Signatures over agreements: detached JWS (RFC 7515, appendix F) with EdDSA (Ed25519) or ES256.
//!
//! What is signed is the canonical form (RFC 8785) of the terms. The protected header says which terms, and who signs for
//! whom in which role, so that a signature cannot be moved to another version, role or organisation.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash},
};
use serde::{Deserialize, Serialize};
use sharing::json::Json;
use store::{OfficerRow, StoreError};

use crate::{app::App, caller::jws};

/// The `typ` of a signature's protected header.
pub const TYPE: &str = "agreement-signature+jws";

/// How far the clocks of whoever signs and of the gateway may be apart, in seconds.
pub const SKEW_S: i64 = 60;

/// Longest signature, in bytes.
const SIGNATURE_BYTES_MAX: usize = 4 * 1024;

/// Members of the protected header, and no others.
const MEMBERS: [&str; 10] = [
    "agreement",
    "alg",
    "kid",
    "organisation",
    "role",
    "signatory",
    "signed_at",
    "terms_sha256",
    "typ",
    "version",
];

/// What a signature says that it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The agreement.
    pub agreement: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its terms.
    pub terms_sha256: String,
    /// For which organisation.
    pub organisation: String,
    /// Who, by their organisation's identifier.
    pub signatory: String,
    /// In which role.
    pub role: String,
    /// When: seconds since 1970.
    pub signed_at: i64,
}

/// A signature that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each is its message")]
pub enum SignatureFault {
    #[error(
        "the signature is not a detached jws (`header..signature`) with exactly the documented members in its header"
    )]
    Malformed,
    #[error("sign with ed25519 (EdDSA) or p-256 (ES256), with the key that is registered")]
    Algorithm,
    #[error("the signature names another key than the one that is registered for this office")]
    Key,
    #[error("the signature says that it is over other terms, or of another person, organisation or role")]
    Statement,
    #[error("the signature does not verify over the canonical form of the terms")]
    Signature,
}

/// Reads a public key for signing agreements: Ed25519 or P-256. Returns it as it is kept, and its RFC 7638 thumbprint.
///
/// # Errors
/// [`SignatureFault::Algorithm`] for any other key, and for one with a private part.
pub fn key(jwk: &serde_json::Value) -> Result<(String, String), SignatureFault> {
    if ["d", "k", "p", "q"].iter().any(|private| jwk.get(private).is_some()) {
        return Err(SignatureFault::Algorithm);
    }
    let parsed: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| SignatureFault::Algorithm)?;
    algorithm(&parsed)?;
    DecodingKey::from_jwk(&parsed).map_err(|_| SignatureFault::Algorithm)?;
    let thumbprint = parsed.thumbprint(ThumbprintHash::SHA256).map_err(|_| SignatureFault::Algorithm)?;
    Ok((jwk.to_string(), thumbprint))
}

/// What stands against an office's key: a signature is one person's, so that its key is nobody else's, and no system's.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn shared_key(app: &App, office: &OfficerRow) -> Result<Option<&'static str>, StoreError> {
    let Some(key_id) = &office.key_id else { return Ok(None) };
    if app.authenticator.registry.load().has_key(key_id) {
        return Ok(Some(
            "key: it is a system's; whoever signs needs a key of their own, that no program uses for itself",
        ));
    }
    let with_it = app.store.offices_with_key(key_id).await?;
    let is_own =
        |other: &OfficerRow| (&other.organisation, &other.person) == (&office.organisation, &office.person);
    if with_it.iter().all(is_own) {
        Ok(None)
    } else {
        Ok(Some("key: it is registered for somebody else; each person signs with a key of their own"))
    }
}

/// Says at the start which offices cannot be signed in, because their key is not one person's.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn warn_of_shared_keys(app: &App) -> Result<(), StoreError> {
    for office in app.store.officers(None).await?.iter().filter(|office| office.state != "ended") {
        if let Some(fault) = shared_key(app, office).await? {
            tracing::error!(
                office = office.id,
                organisation = office.organisation,
                fault,
                "an office cannot be signed in: end it and register another key"
            );
        }
    }
    Ok(())
}

fn algorithm(jwk: &Jwk) -> Result<Algorithm, SignatureFault> {
    match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Ok(Algorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Ok(Algorithm::ES256),
        _ => Err(SignatureFault::Algorithm),
    }
}

/// Checks a signature over terms with a registered key, and that it says of itself just this.
///
/// # Errors
/// [`SignatureFault`] with the first thing that is wrong.
pub fn verify(
    detached: &str,
    canonical: &str,
    (jwk, key_id): (&str, &str),
    expected: &Statement,
) -> Result<(), SignatureFault> {
    let (header, statement) = open(detached)?;
    let key: Jwk = serde_json::from_str(jwk).map_err(|_| SignatureFault::Algorithm)?;
    let algorithm = algorithm(&key)?;
    let text = |name| header.member(name).and_then(Json::as_str);
    if text("alg").and_then(jws::algorithm) != Some(algorithm) {
        return Err(SignatureFault::Algorithm);
    }
    let thumbprint = key.thumbprint(ThumbprintHash::SHA256).map_err(|_| SignatureFault::Algorithm)?;
    if text("kid") != Some(key_id) || thumbprint != key_id {
        return Err(SignatureFault::Key);
    }
    if statement != *expected {
        return Err(SignatureFault::Statement);
    }
    let (encoded, signature) = detached.split_once("..").ok_or(SignatureFault::Malformed)?;
    let input = format!("{encoded}.{}", BASE64URL.encode(canonical));
    let decoding = DecodingKey::from_jwk(&key).map_err(|_| SignatureFault::Algorithm)?;
    match jsonwebtoken::crypto::verify(signature, input.as_bytes(), &decoding, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(SignatureFault::Signature),
    }
}

/// What a signature says of itself. Nothing of it is checked yet.
///
/// # Errors
/// [`SignatureFault::Malformed`] when it is none.
pub fn statement(detached: &str) -> Result<Statement, SignatureFault> {
    open(detached).map(|(_, statement)| statement)
}

fn open(detached: &str) -> Result<(Json, Statement), SignatureFault> {
    let malformed = SignatureFault::Malformed;
    if detached.len() > SIGNATURE_BYTES_MAX {
        return Err(malformed);
    }
    let (header, signature) = detached.split_once("..").ok_or(malformed)?;
    if signature.contains('.') || BASE64URL.decode(signature).is_err() {
        return Err(malformed);
    }
    let header = jws::part(header).map_err(|_| malformed)?;
    let Json::Object(members) = &header else { return Err(malformed) };
    let exact = members.len() == MEMBERS.len() && MEMBERS.iter().all(|name| header.member(name).is_some());
    let text = |name: &str| header.member(name).and_then(Json::as_str).map(str::to_owned).ok_or(malformed);
    let number = |name: &str| match header.member(name) {
        Some(Json::Number(digits)) => digits.parse::<i64>().map_err(|_| malformed),
        _ => Err(malformed),
    };
    if !exact || text("typ")? != TYPE {
        return Err(malformed);
    }
    let statement = Statement {
        agreement: text("agreement")?,
        version: u32::try_from(number("version")?).map_err(|_| malformed)?,
        terms_sha256: text("terms_sha256")?,
        organisation: text("organisation")?,
        signatory: text("signatory")?,
        role: text("role")?,
        signed_at: number("signed_at")?,
    };
    Ok((header, statement))
}

/// Signs terms, for whoever holds a key in PKCS #8: `concordat agreement sign`, and the tests.
///
/// # Errors
/// When the key cannot sign.
pub fn sign(pem: &str, canonical: &str, statement: &Statement) -> anyhow::Result<String> {
    let bytes = pem.as_bytes();
    let (key, algorithm) = match EncodingKey::from_ed_pem(bytes) {
        Ok(key) => (key, Algorithm::EdDSA),
        Err(_) => (EncodingKey::from_ec_pem(bytes)?, Algorithm::ES256),
    };
    let jwk = Jwk::from_encoding_key(&key, algorithm)?;
    let mut header = serde_json::to_value(statement)?;
    if let Some(members) = header.as_object_mut() {
        let name = if algorithm == Algorithm::EdDSA { "EdDSA" } else { "ES256" };
        members.insert("alg".to_owned(), name.into());
        members.insert("kid".to_owned(), jwk.thumbprint(ThumbprintHash::SHA256)?.into());
        members.insert("typ".to_owned(), TYPE.into());
    }
    let encoded = BASE64URL.encode(header.to_string());
    let input = format!("{encoded}.{}", BASE64URL.encode(canonical));
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, algorithm)?;
    Ok(format!("{encoded}..{signature}"))
}

/// The public part of a key in PKCS #8, as a JWK.
///
/// # Errors
/// When it is not a key for signing agreements.
pub fn public_key(pem: &str) -> anyhow::Result<serde_json::Value> {
    let bytes = pem.as_bytes();
    let jwk = match EncodingKey::from_ed_pem(bytes) {
        Ok(key) => Jwk::from_encoding_key(&key, Algorithm::EdDSA)?,
        Err(_) => Jwk::from_encoding_key(&EncodingKey::from_ec_pem(bytes)?, Algorithm::ES256)?,
    };
    Ok(serde_json::to_value(jwk)?)
}

#[cfg(test)]
mod tests;
