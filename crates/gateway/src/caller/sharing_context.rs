//! The `Sharing-Context` header: why, for whom, about whom, now. A JWS for each request, with the claim names of
//! GP Connect's audit token, which was unsigned, and DPoP's binding to method and address (RFC 9449).

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sharing::{
    CaseReference, PurposeClass, SubjectIdentifier, SubjectScheme, identifier::holds_nhs_number, json::Json,
    policy::hexadecimal,
};

use super::{
    CallerFault, Named,
    access_token::{LifetimeFault, lifetime},
    jws::{Claims, JwsFault, Unverified},
    registry::{Capability, System},
};

/// Longest life of a context, in seconds.
pub const LIFETIME_MAX_S: i64 = 300;

/// Names that stand for nobody.
const DEFAULT_USER_NAMES: [&str; 11] = [
    "admin",
    "administrator",
    "system",
    "root",
    "test",
    "user",
    "guest",
    "service",
    "anonymous",
    "generic",
    "default",
];

const CLAIMS: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "exp",
    "nbf",
    "jti",
    "htm",
    "htu",
    "reason_for_request",
    "purpose",
    "case_reference",
    "requested_record",
    "requested_list",
    "requesting_device",
    "requesting_organization",
    "requesting_practitioner",
    "unattended_job",
];

/// What a request says of itself, signed by the calling system.
#[derive(Debug, Clone)]
pub struct Context {
    /// Why.
    pub purpose: PurposeClass,
    /// The piece of work it belongs to.
    pub case_reference: CaseReference,
    /// About whom. None where the request is about nobody.
    pub requested_record: Option<SubjectIdentifier>,
    /// About whom, where it is a list: SHA-256 of the request's body, in hexadecimal.
    pub requested_list: Option<String>,
    /// Its own identifier, good once.
    pub jti: String,
    /// When it expires.
    pub expires: Timestamp,
    /// SHA-256 of the signed context, in hexadecimal.
    pub digest: String,
}

/// The request that a context must be about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) audience: &'a str,
}

/// Checks a context and says which human, or which job's owner, it names.
pub(super) async fn check(
    token: &str,
    system: &System,
    target: Target<'_>,
    now: Timestamp,
) -> Result<(Context, Named), CallerFault> {
    let unverified = Unverified::open(token, "sharing-context+jwt").map_err(|fault| match fault {
        JwsFault::Algorithm => CallerFault::ContextAlgorithm,
        JwsFault::Malformed | JwsFault::Signature => CallerFault::ContextMalformed,
    })?;
    let key = system.context_keys.key(&unverified.key_id, unverified.algorithm, now).await;
    let claims = unverified
        .verify(&key.ok_or(CallerFault::ContextKey)?.decoding)
        .map_err(|_| CallerFault::ContextSignature)?;
    if !claims.has_only(&CLAIMS) {
        return Err(CallerFault::ContextMalformed);
    }
    let life = lifetime(&claims, LIFETIME_MAX_S, now).map_err(|fault| match fault {
        LifetimeFault::Missing => CallerFault::ContextMalformed,
        LifetimeFault::Over => CallerFault::ContextExpired,
        LifetimeFault::NotYet => CallerFault::ContextNotYetValid,
        LifetimeFault::TooLong => CallerFault::ContextLifetime,
    })?;
    check_target(&claims, system, target)?;
    let named = named(&claims, system)?;
    let jti =
        claims.text("jti").filter(|jti| super::jws::is_token_id(jti)).ok_or(CallerFault::ContextMalformed)?;
    let purpose: PurposeClass =
        claims.text("purpose").and_then(|code| code.parse().ok()).ok_or(CallerFault::ContextPurpose)?;
    if claims.text("reason_for_request") != Some(purpose.as_str()) {
        return Err(CallerFault::ContextPurpose);
    }
    let case_reference = claims.text("case_reference").and_then(|text| text.parse().ok());
    let context = Context {
        purpose,
        case_reference: case_reference.ok_or(CallerFault::ContextCase)?,
        requested_record: requested_record(&claims)?,
        requested_list: requested_list(&claims)?,
        jti: jti.to_owned(),
        expires: Timestamp::from_second(life.expires_s).map_err(|_| CallerFault::ContextMalformed)?,
        digest: hexadecimal(&Sha256::digest(token.as_bytes())),
    };
    Ok((context, named))
}

fn check_target(claims: &Claims, system: &System, target: Target<'_>) -> Result<(), CallerFault> {
    if claims.text("iss") != Some(&system.settings.client_id) {
        return Err(CallerFault::ContextSystem);
    }
    let organisation = claims.member("requesting_organization").and_then(|of| of.member("identifier"));
    if organisation.and_then(Json::as_str) != Some(system.settings.organisation.as_str()) {
        return Err(CallerFault::ContextSystem);
    }
    let device = claims.member("requesting_device").and_then(|device| device.member("identifier"));
    if device.and_then(Json::as_str).is_none_or(str::is_empty) {
        return Err(CallerFault::ContextSystem);
    }
    let aimed = claims.text("aud") == Some(target.audience)
        && claims.text("htm") == Some(target.method)
        && claims.text("htu") == Some(target.url);
    if aimed { Ok(()) } else { Err(CallerFault::ContextTarget) }
}

/// A practitioner, or a declared job with a named owner: exactly one, and never a default user name.
fn named(claims: &Claims, system: &System) -> Result<Named, CallerFault> {
    let practitioner = claims.member("requesting_practitioner");
    let job = claims.member("unattended_job");
    let named = match (practitioner, job) {
        (Some(practitioner), None) => {
            let role = practitioner.member("role").and_then(Json::as_str).filter(|role| is_plain(role));
            let role = role.ok_or(CallerFault::ContextPractitioner)?.to_owned();
            if role == Named::UNATTENDED {
                return Err(CallerFault::ContextPractitioner);
            }
            Named::Practitioner { id: person(practitioner)?, role }
        }
        (None, Some(job)) if system.settings.may.contains(&Capability::Unattended) => {
            let owner = job.member("owner").ok_or(CallerFault::ContextPractitioner)?;
            Named::Unattended { owner: person(owner)? }
        }
        _ => return Err(CallerFault::ContextPractitioner),
    };
    // Both are in the ledger, which nobody is ever taken out of again.
    if holds_nhs_number(named.id()) || holds_nhs_number(named.role()) {
        return Err(CallerFault::ContextNamesPerson);
    }
    if claims.text("sub") == Some(named.id()) { Ok(named) } else { Err(CallerFault::ContextPractitioner) }
}

fn person(of: &Json) -> Result<String, CallerFault> {
    let id = of
        .member("id")
        .and_then(Json::as_str)
        .filter(|id| is_plain(id))
        .ok_or(CallerFault::ContextPractitioner)?;
    let login = of.member("local_login").and_then(Json::as_str).unwrap_or("");
    let is_default = |name: &str| DEFAULT_USER_NAMES.iter().any(|default| default.eq_ignore_ascii_case(name));
    if is_default(id) || is_default(login) { Err(CallerFault::ContextDefaultUser) } else { Ok(id.to_owned()) }
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'|' | b':'))
}

fn requested_list(claims: &Claims) -> Result<Option<String>, CallerFault> {
    if claims.member("requested_list").is_none() {
        return Ok(None);
    }
    let digest = claims.text("requested_list").filter(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    });
    digest.map(|digest| Some(digest.to_owned())).ok_or(CallerFault::ContextRecord)
}

fn requested_record(claims: &Claims) -> Result<Option<SubjectIdentifier>, CallerFault> {
    let Some(record) = claims.member("requested_record") else { return Ok(None) };
    let text = |name| record.member(name).and_then(Json::as_str).ok_or(CallerFault::ContextRecord);
    let scheme: SubjectScheme = text("scheme")?.parse().map_err(|_| CallerFault::ContextRecord)?;
    SubjectIdentifier::parse(scheme, text("value")?).map(Some).map_err(|_| CallerFault::ContextRecord)
}
