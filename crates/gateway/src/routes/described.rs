//! What the API's description says beside what each route says of itself.

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Type,
        path::{Operation, ParameterBuilder, ParameterIn},
    },
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
    for (address, path) in &mut document.paths.paths {
        let operations = [
            ("get", &mut path.get),
            ("put", &mut path.put),
            ("post", &mut path.post),
            ("delete", &mut path.delete),
            ("patch", &mut path.patch),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(name(method, address));
            if address.starts_with("/v1/") {
                refusals(operation);
            }
            if method == "post" && address.starts_with("/v1/agreements") {
                written(operation);
            }
        }
    }
    document
}

/// A name that no other operation has: `post_v1_consents_id_withdraw`.
fn name(method: &str, address: &str) -> String {
    let words = address.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |name, word| format!("{name}_{word}"))
}

/// What every request has that changes something about agreements.
fn written(operation: &mut Operation) {
    for (name, about) in [
        (
            "If-Match",
            "The revision that the step is made to, as its `ETag` said it. docs/agreements.md says where it is needed",
        ),
        (
            "Idempotency-Key",
            "Sent again with this key, the request is done once: the answer has `Idempotency-Replayed: true`",
        ),
    ] {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(text))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
    let all = &mut operation.responses.responses;
    if let (Some(made), false) = (all.get("201").cloned(), all.contains_key("200")) {
        all.insert("200".to_owned(), made);
    }
}

fn refusals(operation: &mut Operation) {
    let all = &mut operation.responses.responses;
    if operation.request_body.is_some() {
        for (status, about) in [("413", "The body is too large"), ("415", "The body is of another type")] {
            let refused = || RefOr::T(ResponseBuilder::new().description(about).build());
            all.entry(status.to_owned()).or_insert_with(refused);
        }
    }
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
