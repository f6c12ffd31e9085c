//! Problems as the Dataspace Protocol has them.
//!
//! Source: Dataspace Protocol 2025-1, HTTPS bindings: what is not the caller's is answered as if there were none (404), and what is
//! not possible in a state is a bad request (400).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Problem, Told, with_retry};

/// The one context of messages.
pub const CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";

/// Stands for a name that nobody has given. The schema asks for one in every error.
pub const NO_PID: &str = "urn:uuid:00000000-0000-0000-0000-000000000000";

/// The error, with the provider's and the consumer's names of the negotiation, as far as they are known.
pub fn error(problem: &Problem, of_catalogue: bool, pids: Option<(&str, &str)>) -> Response {
    let wording = problem.wording();
    let status = match wording.status {
        StatusCode::FORBIDDEN => StatusCode::NOT_FOUND,
        StatusCode::CONFLICT => StatusCode::BAD_REQUEST,
        other => other,
    };
    let (code, reason) = (&wording.code, [&wording.detail]);
    let body = if of_catalogue {
        json!({ "@context": [CONTEXT], "@type": "CatalogError", "code": code, "reason": reason })
    } else {
        let (provider, consumer) = pids.unwrap_or((NO_PID, NO_PID));
        json!({
            "@context": [CONTEXT], "@type": "ContractNegotiationError", "providerPid": provider, "consumerPid": consumer,
            "code": code, "reason": reason,
        })
    };
    let mut response = (status, body.to_string()).into_response();
    response.extensions_mut().insert(Told(wording.code));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    with_retry(response, problem.retry_after_s())
}
