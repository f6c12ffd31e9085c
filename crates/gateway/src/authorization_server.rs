//! Our own issuer of access tokens, for partners that have no authorization server. Off unless the settings have an
//! `[authorization_server]`.
//!
//! It has no users, no secrets and no sessions: a registered system shows its certificate, signs an assertion, and gets a
//! token for that certificate. What the tokens allow is decided by agreements at every request; here it can only be less
//! than what the system is registered for.
//!
//! Source: RFC 6749 section 4.4, RFC 7523, RFC 8705, RFC 9068, RFC 9396, RFC 8414.

use std::{collections::HashSet, path::PathBuf};

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::json::{self, Json, Limits};

use crate::{
    caller::{
        Action, Capability, Grant, System,
        access_token::{DETAIL_TYPE, read_details},
        client_assertion::{self, AssertionFault},
        keys::{KeySet, KeySource, KeysError},
        registry::{Issuer, RegistryError},
    },
    tls::CertificateFingerprint,
};

/// Where tokens are asked for, below the public address.
pub const TOKEN_PATH: &str = "/oauth2/token";

/// Where the keys are that verify them.
pub const KEYS_PATH: &str = "/oauth2/jwks.json";

/// The one kind of assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Most authorization details in one token.
const DETAILS_MAX: usize = 20;

/// Longest life of a token that settings can ask for, in seconds.
const LIFETIME_MAX_S: i64 = 900;

/// What a deployment sets of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationServerSettings {
    /// P-256 keys, PKCS#8 in PEM. The first signs; all are published, so that keys can take over from each other.
    pub signing_keys: Vec<PathBuf>,
    /// How long a token lives, in seconds.
    #[serde(default = "default_lifetime_s")]
    pub token_lifetime_s: i64,
}

fn default_lifetime_s() -> i64 {
    300
}

/// The issuer, ready for use.
pub struct AuthorizationServer {
    /// Its name: the gateway's own address (RFC 8414: the metadata is below it).
    pub name: String,
    audience: String,
    key: EncodingKey,
    key_id: String,
    jwks: Value,
    lifetime_s: i64,
}

/// A token that was issued, and what goes with it.
pub struct Issued {
    /// The token.
    pub access_token: String,
    /// How long it lives, in seconds.
    pub expires_in_s: i64,
    /// When it ends, in seconds since 1970.
    pub expires_s: i64,
    /// Its own identifier.
    pub token_id: String,
}

/// A request for a token, its form read and nothing checked of who sent it.
pub struct TokenRequest {
    assertion: String,
    details: Value,
    /// What is asked for.
    pub grants: Vec<Grant>,
}

/// What is wrong with a request for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// A parameter is there twice.
    Repeated,
    /// A parameter is missing: its name.
    Missing(&'static str),
    /// Another grant than `client_credentials`.
    GrantType,
    /// Another kind of assertion.
    AssertionType,
    /// A second way of saying who one is.
    SecondMethod,
    /// Scopes do not exist here.
    Scope,
    /// A token for somebody else.
    Target,
    /// The details are not understood.
    Details,
    /// The details ask for what the system is not registered for.
    DetailsTooWide,
    /// The client is not who it says.
    Client(AssertionFault),
    /// The certificate is of no registered system, or has expired.
    Certificate(&'static str),
}

impl TokenFault {
    /// The error of RFC 6749 section 5.2 (and RFC 8707, RFC 9396).
    pub fn error(self) -> &'static str {
        match self {
            Self::Repeated | Self::Missing(_) | Self::SecondMethod => "invalid_request",
            Self::GrantType => "unsupported_grant_type",
            Self::Scope => "invalid_scope",
            Self::Target => "invalid_target",
            Self::Details | Self::DetailsTooWide => "invalid_authorization_details",
            Self::AssertionType | Self::Client(_) | Self::Certificate(_) => "invalid_client",
        }
    }

    /// The stable code under which the ledger has it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Repeated => "token-request-repeated-parameter",
            Self::Missing(_) => "token-request-missing-parameter",
            Self::GrantType => "token-request-grant-type",
            Self::AssertionType => "client-assertion-type",
            Self::SecondMethod => "token-request-second-method",
            Self::Scope => "token-request-scope",
            Self::Target => "token-request-target",
            Self::Details => "token-request-details",
            Self::DetailsTooWide => "token-request-not-registered-for-this",
            Self::Client(fault) => fault.wording().0,
            Self::Certificate(code) => code,
        }
    }

    /// What to do, in words that RFC 6749 allows: ASCII, no quotation marks, no backslashes.
    pub fn description(self) -> String {
        let words = match self {
            Self::Missing(name) => return format!("the parameter {name} is missing"),
            Self::Repeated => "a parameter is there twice",
            Self::GrantType => "the one grant_type here is client_credentials",
            Self::AssertionType => {
                "send client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            }
            Self::SecondMethod => {
                "authenticate with client_assertion alone: no Authorization header and no client_secret"
            }
            Self::Scope => "there are no scopes here: say in authorization_details what the token is for",
            Self::Target => "resource must be this gateway's address or audience",
            Self::Details => {
                "authorization_details is a JSON array of 1 to 20 objects with type, purpose, actions and at most agreement; see docs/calling.md"
            }
            Self::DetailsTooWide => {
                "the system is not registered for an action that authorization_details names"
            }
            Self::Client(fault) => fault.wording().1,
            Self::Certificate(_) => {
                "no system is registered with this client certificate, or it has expired; tell the operator"
            }
        };
        words.to_owned()
    }
}

impl AuthorizationServer {
    /// Reads the signing keys' texts (PEM), for a gateway at this address whose tokens have this audience.
    ///
    /// # Errors
    /// [`RegistryError`] saying what is wrong with the settings or a key; nothing of the keys.
    pub fn new(
        signing_keys_pem: &[impl AsRef<str>],
        lifetime_s: i64,
        (public_url, audience): (&str, &str),
    ) -> Result<Self, RegistryError> {
        let of = || "[authorization_server]".to_owned();
        if !(30..=LIFETIME_MAX_S).contains(&lifetime_s) {
            return Err(RegistryError::Invalid(format!("{}: token_lifetime_s is 30 to 900", of())));
        }
        let unusable = |_| RegistryError::Keys {
            of: of(),
            source: KeysError::Content("a signing key is not a P-256 key as PKCS#8 in PEM"),
        };
        let (mut published, mut signer) = (Vec::new(), None);
        for pem in signing_keys_pem {
            let key = EncodingKey::from_ec_pem(pem.as_ref().as_bytes()).map_err(unusable)?;
            let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(unusable)?;
            let key_id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
            jwk.common.key_id = Some(key_id.clone());
            published.push(jwk);
            signer.get_or_insert((key, key_id));
        }
        let (key, key_id) =
            signer.ok_or_else(|| RegistryError::Invalid(format!("{}: it has no signing_keys", of())))?;
        Ok(Self {
            name: public_url.trim_end_matches('/').to_owned(),
            audience: audience.to_owned(),
            key,
            key_id,
            jwks: json!({ "keys": published }),
            lifetime_s,
        })
    }

    /// Itself, as whoever checks its tokens sees it.
    pub(crate) async fn issuer(&self) -> Result<Issuer, RegistryError> {
        let keys = KeySet::load(KeySource::Own(self.jwks.to_string())).await;
        let keys =
            keys.map_err(|source| RegistryError::Keys { of: "[authorization_server]".to_owned(), source })?;
        let (name, algorithms) = (self.name.clone(), vec![Algorithm::ES256]);
        Ok(Issuer { name, algorithms, keys, token_lifetime_max_s: self.lifetime_s })
    }

    /// Its public keys (RFC 7517).
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// Its metadata (RFC 8414).
    pub fn metadata(&self) -> Value {
        let base = &self.name;
        json!({
            "issuer": base,
            "token_endpoint": format!("{base}{TOKEN_PATH}"),
            "jwks_uri": format!("{base}{KEYS_PATH}"),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": client_assertion::ALGORITHMS,
            "tls_client_certificate_bound_access_tokens": true,
            "authorization_details_types_supported": [DETAIL_TYPE],
            "protected_resources": [base],
        })
    }

    /// Reads a form (RFC 6749 section 4.4.2). Parameters that are not known are ignored, as the standard has it.
    ///
    /// # Errors
    /// [`TokenFault`] with the first thing that is wrong.
    pub fn read(&self, form: &[(String, String)]) -> Result<TokenRequest, TokenFault> {
        let mut names = HashSet::new();
        if !form.iter().all(|(name, _)| names.insert(name)) {
            return Err(TokenFault::Repeated);
        }
        let text = |wanted| value_of(form, wanted);
        if text("grant_type").ok_or(TokenFault::Missing("grant_type"))? != "client_credentials" {
            return Err(TokenFault::GrantType);
        }
        if text("client_secret").is_some() {
            return Err(TokenFault::SecondMethod);
        }
        let kind = text("client_assertion_type").ok_or(TokenFault::Missing("client_assertion_type"))?;
        if kind != ASSERTION_TYPE {
            return Err(TokenFault::AssertionType);
        }
        let assertion = text("client_assertion").ok_or(TokenFault::Missing("client_assertion"))?;
        if text("scope").is_some() {
            return Err(TokenFault::Scope);
        }
        if text("resource").is_some_and(|resource| resource != self.name && resource != self.audience) {
            return Err(TokenFault::Target);
        }
        let details = text("authorization_details").ok_or(TokenFault::Missing("authorization_details"))?;
        let (details, grants) = asked_for(details).ok_or(TokenFault::Details)?;
        Ok(TokenRequest { assertion: assertion.to_owned(), details, grants })
    }

    /// Checks that the request is this system's, and asks for no more than it is registered for.
    ///
    /// # Errors
    /// [`TokenFault`] with the first thing that is wrong.
    pub async fn check(
        &self,
        request: &TokenRequest,
        system: &System,
        now: Timestamp,
    ) -> Result<client_assertion::Assertion, TokenFault> {
        let assertion = client_assertion::check(&request.assertion, system, &self.name, now).await;
        let assertion = assertion.map_err(TokenFault::Client)?;
        let may = |action: &Action| {
            capabilities(*action).iter().any(|capability| system.settings.may.contains(capability))
        };
        if !request.grants.iter().flat_map(|grant| &grant.actions).all(may) {
            return Err(TokenFault::DetailsTooWide);
        }
        Ok(assertion)
    }

    /// A token for this system and certificate (RFC 9068, RFC 8705, RFC 9396).
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn issue(
        &self,
        request: &TokenRequest,
        system: &System,
        certificate: CertificateFingerprint,
        (now, token_id): (Timestamp, String),
    ) -> Result<Issued, jsonwebtoken::errors::Error> {
        let expires_s = now.as_second().saturating_add(self.lifetime_s);
        let claims = json!({
            "iss": self.name,
            "aud": self.audience,
            "sub": system.settings.client_id,
            "client_id": system.settings.client_id,
            "iat": now.as_second(),
            "exp": expires_s,
            "jti": token_id,
            "cnf": { "x5t#S256": certificate.to_base64url() },
            "authorization_details": request.details,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        let access_token = jsonwebtoken::encode(&header, &claims, &self.key)?;
        Ok(Issued { access_token, expires_in_s: self.lifetime_s, expires_s, token_id })
    }
}

impl TokenRequest {
    /// What is asked for, as it goes into the token and back to the client.
    pub fn details(&self) -> &Value {
        &self.details
    }

    /// Whether a client name that was sent beside the assertion is this one.
    pub fn names(form: &[(String, String)], client_id: &str) -> bool {
        value_of(form, "client_id").is_none_or(|value| value == client_id)
    }
}

/// A parameter's value, where it has one.
fn value_of<'a>(form: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let found = form.iter().find(|(name, value)| name == wanted && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

/// Reads `authorization_details` strictly; the same reading that the gateway does of a token.
fn asked_for(text: &str) -> Option<(Value, Vec<Grant>)> {
    let limits = Limits { bytes_max: 8 * 1024, depth_max: 4, values_max: 400 };
    let read = json::parse(text.as_bytes(), &limits).ok()?;
    let Json::Array(details) = &read else { return None };
    if details.len() > DETAILS_MAX {
        return None;
    }
    let grants = read_details(&read)?;
    if grants.iter().any(|grant| grant.actions.is_empty()) {
        return None;
    }
    Some((serde_json::from_str(text).ok()?, grants))
}

/// What a system must be registered for to do this: one of these.
fn capabilities(action: Action) -> &'static [Capability] {
    match action {
        Action::Read | Action::Decide => &[Capability::Ask],
        Action::Record => &[Capability::Record],
        Action::Review => &[Capability::Review],
        Action::Audit => &[Capability::Audit],
        Action::SubjectAccess => &[Capability::SubjectAccess],
        Action::Agree => &[
            Capability::Draft,
            Capability::Approve,
            Capability::Mediate,
            Capability::Sign,
            Capability::Negotiate,
        ],
    }
}
