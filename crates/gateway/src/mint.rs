//! Minting access tokens and contexts: for `concordat token`, the demonstration and tests.
//!
//! A partner's own authorization server and systems do this in production; nothing in the gateway's service
//! path uses this module.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::{caller::access_token::DETAIL_TYPE, tls::CertificateFingerprint};

/// A key that signs tokens: ES256 or EdDSA, PKCS#8.
pub struct MintingKey {
    key: EncodingKey,
    key_id: String,
    algorithm: Algorithm,
}

/// What an access token says.
pub struct AccessToken<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The gateway.
    pub audience: &'a str,
    /// The system's name at the issuer.
    pub client_id: &'a str,
    /// The certificate it is bound to.
    pub certificate: CertificateFingerprint,
    /// The purposes it allows.
    pub purposes: &'a [&'a str],
    /// Seconds since 1970.
    pub issued_at_s: i64,
    /// Its identifier.
    pub jti: &'a str,
}

/// What a context says.
pub struct SharingContext<'a> {
    /// The system's name at its issuer.
    pub client_id: &'a str,
    /// Its organisation.
    pub organisation: &'a str,
    /// The gateway.
    pub audience: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// The address of the request, without the query.
    pub url: &'a str,
    /// The purpose.
    pub purpose: &'a str,
    /// The case.
    pub case_reference: &'a str,
    /// Scheme and value of the person asked about.
    pub record: Option<(&'a str, &'a str)>,
    /// SHA-256 of the body of a request for a list, in hexadecimal.
    pub list: Option<&'a str>,
    /// The practitioner's identifier and role.
    pub practitioner: (&'a str, &'a str),
    /// Seconds since 1970.
    pub issued_at_s: i64,
    /// Its identifier.
    pub jti: &'a str,
}

impl MintingKey {
    /// Reads a PKCS#8 PEM key.
    ///
    /// # Errors
    /// When it is neither a P-256 key nor an Ed25519 key.
    pub fn from_pem(pem: &str, key_id: &str) -> anyhow::Result<Self> {
        let (key, algorithm) = match EncodingKey::from_ec_pem(pem.as_bytes()) {
            Ok(key) => (key, Algorithm::ES256),
            Err(_) => (EncodingKey::from_ed_pem(pem.as_bytes())?, Algorithm::EdDSA),
        };
        Ok(Self { key, key_id: key_id.to_owned(), algorithm })
    }

    /// The JWKS that publishes the key.
    ///
    /// # Errors
    /// When the public half cannot be computed.
    pub fn jwks(&self) -> anyhow::Result<Value> {
        let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.algorithm)?;
        jwk.common.key_id = Some(self.key_id.clone());
        Ok(json!({ "keys": [jwk] }))
    }

    /// Signs any claims.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, token_type: &str, claims: &Value) -> anyhow::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(token_type.to_owned());
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}

impl AccessToken<'_> {
    /// The claims (RFC 9068).
    pub fn claims(&self) -> Value {
        let detail = |purpose: &&str| json!({ "type": DETAIL_TYPE, "purpose": purpose, "actions": ["read", "decide", "record", "review", "audit", "subject-access", "agree"] });
        json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.client_id,
            "client_id": self.client_id,
            "iat": self.issued_at_s,
            "exp": self.issued_at_s + 600,
            "jti": self.jti,
            "cnf": { "x5t#S256": self.certificate.to_base64url() },
            "authorization_details": self.purposes.iter().map(detail).collect::<Vec<_>>(),
        })
    }
}

impl SharingContext<'_> {
    /// The claims (GP Connect's names, with DPoP's `htm` and `htu`).
    pub fn claims(&self) -> Value {
        let mut claims = json!({
            "iss": self.client_id,
            "sub": self.practitioner.0,
            "aud": self.audience,
            "iat": self.issued_at_s,
            "exp": self.issued_at_s + 300,
            "jti": self.jti,
            "htm": self.method,
            "htu": self.url,
            "reason_for_request": self.purpose,
            "purpose": self.purpose,
            "case_reference": self.case_reference,
            "requesting_device": { "identifier": self.client_id, "model": "demonstration", "version": "1" },
            "requesting_organization": { "identifier": self.organisation },
            "requesting_practitioner": { "id": self.practitioner.0, "role": self.practitioner.1 },
        });
        if let (Some((scheme, value)), Value::Object(members)) = (self.record, &mut claims) {
            members.insert("requested_record".to_owned(), json!({ "scheme": scheme, "value": value }));
        }
        if let (Some(digest), Value::Object(members)) = (self.list, &mut claims) {
            members.insert("requested_list".to_owned(), digest.into());
        }
        claims
    }
}
