//! Idempotency keys: a request that is sent twice with one key is one request.

use axum::http::{HeaderMap, HeaderValue};
use ledger::canonical::to_canonical_json;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sharing::policy::hexadecimal;

use crate::problem::Problem;

/// A key, with the digest of what is asked with it.
pub(super) struct RequestKey {
    pub(super) key: String,
    pub(super) digest: String,
}

/// The header as it came.
pub(super) fn header(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get("idempotency-key").cloned()
}

/// The key of a request of this person to this path, where there is one.
pub(super) fn of(
    key: Option<&HeaderValue>,
    (path, person): (&str, &str),
    asked: &impl Serialize,
) -> Result<Option<RequestKey>, Problem> {
    let Some(key) = key else { return Ok(None) };
    let plain = key.to_str().ok().filter(|key| {
        (1..=64).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    });
    let invalid = || {
        let said = "idempotency-key: 1 to 64 letters, digits, hyphens, dots or underscores";
        Problem::InvalidRequest(said.to_owned())
    };
    let key = plain.ok_or_else(invalid)?.to_owned();
    let whole = || Problem::InvalidRequest("numbers are whole numbers".to_owned());
    let canonical = to_canonical_json(&serde_json::json!([path, person, asked])).map_err(|_| whole())?;
    Ok(Some(RequestKey { key, digest: hexadecimal(&Sha256::digest(canonical)) }))
}
