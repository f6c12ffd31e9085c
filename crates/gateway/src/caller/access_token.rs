//! Access tokens: RFC 9068, bound to the client certificate (RFC 8705), with RFC 9396 authorization details.

use std::sync::Arc;

use jiff::Timestamp;
use sharing::{AgreementId, PurposeClass, json::Json};
use subtle::ConstantTimeEq as _;

use super::{
    CallerFault,
    jws::{Claims, JwsFault, Unverified},
    registry::{Issuer, System},
    verified::{self, Verified},
};
use crate::tls::CertificateFingerprint;

/// The `type` of our authorization details.
pub const DETAIL_TYPE: &str = "https://concordat.example/authorization/person-disclosure";

/// Leeway for clocks, in seconds.
pub const LEEWAY_S: i64 = 5;

/// What an access token allows: one of its authorization details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The agreement it is limited to.
    pub agreement: Option<AgreementId>,
    /// The purpose.
    pub purpose: PurposeClass,
    /// The actions.
    pub actions: Vec<Action>,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask for a record.
    Read,
    /// Ask for a decision without a record.
    Decide,
    /// Record or read consents and objections.
    Record,
    /// Review alerts, referrals and decisions.
    Review,
    /// Search the trail.
    Audit,
    /// Answer people who ask who asked about them.
    SubjectAccess,
    /// Work on agreements.
    Agree,
}

impl Action {
    /// The action's name in `actions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decide => "decide",
            Self::Record => "record",
            Self::Review => "review",
            Self::Audit => "audit",
            Self::SubjectAccess => "subject-access",
            Self::Agree => "agree",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Read,
            Self::Decide,
            Self::Record,
            Self::Review,
            Self::Audit,
            Self::SubjectAccess,
            Self::Agree,
        ];
        all.into_iter().find(|action| action.as_str() == text)
    }
}

/// Checks a system's access token and returns what it allows.
pub(super) async fn check(
    token: &str,
    system: &System,
    certificate: CertificateFingerprint,
    audience: &str,
    now: Timestamp,
) -> Result<Arc<[Grant]>, CallerFault> {
    let digest = verified::digest(token);
    let known = |keys| system.verified.grants(&digest, certificate, keys, now);
    if let Some(grants) = system.key_sets().find_map(known) {
        return Ok(grants);
    }
    let unverified = Unverified::open(token, "at+jwt").map_err(|fault| match fault {
        JwsFault::Algorithm => CallerFault::TokenAlgorithm,
        JwsFault::Malformed | JwsFault::Signature => CallerFault::TokenMalformed,
    })?;
    let issuer = unverified.claimed_issuer().and_then(|name| system.issuer_named(name));
    let issuer = issuer.ok_or(CallerFault::TokenIssuer)?;
    if !issuer.algorithms.contains(&unverified.algorithm) {
        return Err(CallerFault::TokenAlgorithm);
    }
    let key = issuer.keys.key(&unverified.key_id, unverified.algorithm, now).await;
    let key = key.ok_or(CallerFault::TokenKey)?;
    let key_id = unverified.key_id.clone();
    let claims = unverified.verify(&key.decoding).map_err(|_| CallerFault::TokenSignature)?;
    let (grants, life) = check_claims(&claims, (system, issuer), certificate, audience, now)?;
    let grants: Arc<[Grant]> = grants.into();
    let Lifetime { not_before_s, expires_s } = life;
    let verified = Verified { grants: grants.clone(), certificate, key, key_id, not_before_s, expires_s };
    system.verified.keep(digest, verified);
    Ok(grants)
}

fn check_claims(
    claims: &Claims,
    (system, issuer): (&System, &Issuer),
    certificate: CertificateFingerprint,
    audience: &str,
    now: Timestamp,
) -> Result<(Vec<Grant>, Lifetime), CallerFault> {
    if claims.text("iss") != Some(&issuer.name) {
        return Err(CallerFault::TokenIssuer);
    }
    if claims.text("aud") != Some(audience) {
        return Err(CallerFault::TokenAudience);
    }
    let life = lifetime(claims, issuer.token_lifetime_max_s, now).map_err(|fault| match fault {
        LifetimeFault::Missing => CallerFault::TokenMalformed,
        LifetimeFault::Over => CallerFault::TokenExpired,
        LifetimeFault::NotYet => CallerFault::TokenNotYetValid,
        LifetimeFault::TooLong => CallerFault::TokenLifetime,
    })?;
    let bound =
        claims.member("cnf").and_then(|confirmation| confirmation.member("x5t#S256")).and_then(Json::as_str);
    let expected = certificate.to_base64url();
    if !bound.is_some_and(|bound| bool::from(bound.as_bytes().ct_eq(expected.as_bytes()))) {
        return Err(CallerFault::TokenNotBound);
    }
    if claims.text("client_id") != Some(&system.settings.client_id) {
        return Err(CallerFault::TokenClient);
    }
    if claims.text("sub").is_none_or(str::is_empty) || claims.text("jti").is_none_or(str::is_empty) {
        return Err(CallerFault::TokenMalformed);
    }
    grants(claims).map(|grants| (grants, life)).ok_or(CallerFault::TokenDetails)
}

/// From when until when a token is good, but for the leeway, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) not_before_s: i64,
    pub(super) expires_s: i64,
}

/// What is wrong with a token's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LifetimeFault {
    Missing,
    Over,
    NotYet,
    TooLong,
}

/// `exp` and `iat` are required, `nbf` is honoured, and the whole life is bounded.
pub(super) fn lifetime(claims: &Claims, longest_s: i64, now: Timestamp) -> Result<Lifetime, LifetimeFault> {
    let now = now.as_second();
    let (Some(expires), Some(issued)) = (claims.seconds("exp"), claims.seconds("iat")) else {
        return Err(LifetimeFault::Missing);
    };
    let not_before = match claims.member("nbf") {
        None => issued,
        Some(_) => claims.seconds("nbf").ok_or(LifetimeFault::Missing)?,
    };
    if now >= expires.saturating_add(LEEWAY_S) {
        return Err(LifetimeFault::Over);
    }
    let not_before_s = issued.max(not_before);
    if not_before_s > now.saturating_add(LEEWAY_S) {
        return Err(LifetimeFault::NotYet);
    }
    if expires.saturating_sub(issued) > longest_s {
        return Err(LifetimeFault::TooLong);
    }
    Ok(Lifetime { not_before_s, expires_s: expires })
}

/// Every detail must be understood: one that is not makes the token useless.
fn grants(claims: &Claims) -> Option<Vec<Grant>> {
    claims.member("authorization_details").and_then(read_details)
}

/// What authorization details allow, if every one of them is understood.
pub fn read_details(details: &Json) -> Option<Vec<Grant>> {
    let Json::Array(details) = details else { return None };
    let grants: Option<Vec<_>> = details.iter().map(grant).collect();
    grants.filter(|grants| !grants.is_empty())
}

fn grant(detail: &Json) -> Option<Grant> {
    let Json::Object(members) = detail else { return None };
    let known = ["type", "agreement", "purpose", "actions"];
    let text = |name| detail.member(name).and_then(Json::as_str);
    if text("type") != Some(DETAIL_TYPE) || !members.iter().all(|(name, _)| known.contains(&name.as_str())) {
        return None;
    }
    let agreement = match detail.member("agreement") {
        None => None,
        Some(_) => Some(text("agreement")?.parse().ok()?),
    };
    let Some(Json::Array(actions)) = detail.member("actions") else { return None };
    let actions: Option<Vec<_>> =
        actions.iter().map(|action| action.as_str().and_then(Action::parse)).collect();
    Some(Grant { agreement, purpose: text("purpose")?.parse().ok()?, actions: actions? })
}
