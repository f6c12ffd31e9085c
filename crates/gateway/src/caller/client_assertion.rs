//! How a system says who it is when it asks for an access token: a JWT signed with a key that is registered for this system
//! alone (`private_key_jwt`), beside its client certificate.
//!
//! Source: RFC 7523 section 3; FAPI 2.0 Security Profile section 5.3.2.1 for the one audience.

use jiff::Timestamp;

use super::{
    access_token::LEEWAY_S,
    jws::{Claims, JwsFault, Unverified, is_token_id},
    registry::System,
};

/// Longest life of an assertion, in seconds.
pub const LIFETIME_MAX_S: i64 = 300;

/// The algorithms that an assertion may be signed with, those that are preferred first. NHS suppliers have RS512 keys.
pub const ALGORITHMS: [&str; 7] = ["ES256", "PS256", "EdDSA", "ES384", "PS384", "PS512", "RS512"];

/// What is left of a good assertion: it is not taken again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// Its identifier.
    pub jti: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// What is wrong with an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its code and its words below")]
pub enum AssertionFault {
    NoKeys,
    Malformed,
    Algorithm,
    Key,
    Signature,
    Client,
    Audience,
    Times,
    Expired,
    NotYetValid,
    Lifetime,
    Identifier,
    Replayed,
}

impl AssertionFault {
    /// The stable code, and what to do.
    pub fn wording(self) -> (&'static str, &'static str) {
        match self {
            Self::NoKeys => (
                "client-assertion-no-keys",
                "no token_keys are registered for this system; send the operator its public keys",
            ),
            Self::Malformed => (
                "client-assertion-malformed",
                "client_assertion is not a signed JWT with alg, kid and at most typ JWT or client-authentication+jwt, without jku, x5u, jwk, x5c or crit",
            ),
            Self::Algorithm => (
                "client-assertion-algorithm",
                "sign the client_assertion with ES256, PS256 or EdDSA; ES384, PS384, PS512 and RS512 are taken too",
            ),
            Self::Key => (
                "client-assertion-key",
                "the client_assertion names a kid that is not registered for this system and algorithm",
            ),
            Self::Signature => {
                ("client-assertion-signature", "the signature of the client_assertion does not verify")
            }
            Self::Client => (
                "client-assertion-client",
                "iss and sub of the client_assertion, and client_id where it is sent, must be the client_id of the system whose certificate is shown",
            ),
            Self::Audience => (
                "client-assertion-audience",
                "aud of the client_assertion must be the issuer of the metadata at /.well-known/oauth-authorization-server, one string",
            ),
            Self::Times => (
                "client-assertion-times",
                "exp of the client_assertion, and iat and nbf where they are sent, must be whole seconds since 1970",
            ),
            Self::Expired => {
                ("client-assertion-expired", "the client_assertion has expired; sign a new one each time")
            }
            Self::NotYetValid => {
                ("client-assertion-not-yet-valid", "the client_assertion is not valid yet; check the clocks")
            }
            Self::Lifetime => {
                ("client-assertion-lifetime", "a client_assertion expires within 300 seconds from now")
            }
            Self::Identifier => (
                "client-assertion-identifier",
                "the client_assertion needs a jti of 1 to 64 letters, digits, dots, dashes and underscores",
            ),
            Self::Replayed => (
                "client-assertion-replayed",
                "the client_assertion was used before; sign a new one, with a new jti, each time",
            ),
        }
    }
}

/// Checks an assertion of this system, made for this authorization server.
///
/// # Errors
/// The first thing that is wrong with it.
pub async fn check(
    token: &str,
    system: &System,
    audience: &str,
    now: Timestamp,
) -> Result<Assertion, AssertionFault> {
    let keys = system.token_keys.as_ref().ok_or(AssertionFault::NoKeys)?;
    let unverified = Unverified::open_any(token, is_assertion_type).map_err(|fault| match fault {
        JwsFault::Algorithm => AssertionFault::Algorithm,
        JwsFault::Malformed | JwsFault::Signature => AssertionFault::Malformed,
    })?;
    let is_taken = ALGORITHMS.iter().any(|name| super::jws::algorithm(name) == Some(unverified.algorithm));
    if !is_taken {
        return Err(AssertionFault::Algorithm);
    }
    let key = keys.key(&unverified.key_id, unverified.algorithm, now).await.ok_or(AssertionFault::Key)?;
    let claims = unverified.verify(&key.decoding).map_err(|_| AssertionFault::Signature)?;
    let client = Some(system.settings.client_id.as_str());
    if claims.text("iss") != client || claims.text("sub") != client {
        return Err(AssertionFault::Client);
    }
    if claims.text("aud") != Some(audience) {
        return Err(AssertionFault::Audience);
    }
    let expires = check_times(&claims, now)?;
    let jti = claims.text("jti").filter(|jti| is_token_id(jti)).ok_or(AssertionFault::Identifier)?.to_owned();
    Ok(Assertion { jti, expires: Timestamp::from_second(expires).map_err(|_| AssertionFault::Times)? })
}

/// Assertions had no type of their own for a decade, so none and `JWT` are taken; a token of another kind is not.
fn is_assertion_type(kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| {
        kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("client-authentication+jwt")
    })
}

/// `iat` is optional in RFC 7523, so the life is bounded from now, and from `iat` where it is there.
fn check_times(claims: &Claims, now: Timestamp) -> Result<i64, AssertionFault> {
    let now = now.as_second();
    let optional = |name| match claims.member(name) {
        None => Ok(None),
        Some(_) => claims.seconds(name).map(Some).ok_or(AssertionFault::Times),
    };
    let expires = claims.seconds("exp").ok_or(AssertionFault::Times)?;
    let (issued, not_before) = (optional("iat")?, optional("nbf")?);
    if now >= expires.saturating_add(LEEWAY_S) {
        return Err(AssertionFault::Expired);
    }
    let begins = issued.into_iter().chain(not_before).max();
    if begins.is_some_and(|begins| begins > now.saturating_add(LEEWAY_S)) {
        return Err(AssertionFault::NotYetValid);
    }
    let is_long = issued.is_some_and(|issued| expires.saturating_sub(issued) > LIFETIME_MAX_S);
    if is_long || expires.saturating_sub(now) > LIFETIME_MAX_S + LEEWAY_S {
        return Err(AssertionFault::Lifetime);
    }
    Ok(expires)
}
