//! What the API's description says beside what each route says of itself.

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, path::Operation},
};

use crate::receipt::Receipt;

/// A count that tells nothing of few: a number that is rounded to five, or `*` for one to seven.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Count {
    /// Rounded to five, or nought.
    Number(u64),
    /// `*`.
    Few(String),
}

/// How much of an agreement is switched off: `"agreement"`, `{"party": "…"}` or `{"flow": "…"}`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopScope {
    /// All of it.
    Agreement,
    /// Every flow from or to this party.
    Party(String),
    /// One flow.
    Flow(String),
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct ProblemDetails {
    /// Its kind, as an address. docs/problems.md has them all.
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What it is and what to do.
    detail: String,
    /// The kind as a code: the last part of `type`.
    code: String,
    /// The request's `X-Request-ID`, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The decision, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    /// Where it is recorded, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// The same document, with what every refusal under `/v1/` has.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ProblemDetails::name().into_owned(), ProblemDetails::schema());
    for (_, path) in document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/v1/")) {
        let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
        operations.into_iter().flatten().for_each(refusals);
    }
    document
}

fn refusals(operation: &mut Operation) {
    let all = &mut operation.responses.responses;
    let unread = || RefOr::T(ResponseBuilder::new().description("The request cannot be read").build());
    all.entry("400".to_owned()).or_insert_with(unread);
    for (_, response) in all.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        if let RefOr::T(response) = response {
            told(response);
        }
    }
}

fn told(response: &mut Response) {
    if response.content.is_empty() {
        let problem = Ref::from_schema_name(ProblemDetails::name());
        let content = ContentBuilder::new().schema(Some(problem)).build();
        response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
    }
}
