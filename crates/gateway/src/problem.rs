//! Every answer that is not a success, in one place: status, code and words.
//!
//! RFC 9457 problem details, or an OperationOutcome on FHIR routes. The words say what to do next. Nothing here
//! holds a personal value, a record holder's text or an internal error: those are logged once, where they occur.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sharing::{Reason, agreement};
use store::trail::Behind;

use crate::{authorization_server::TokenFault, caller::CallerError, fhir::Unmapped, receipt::Receipt};

pub mod dataspace;

/// The prefix of every problem's `type`. Each has a section of that name in `docs/problems.md`.
pub const TYPE_BASE: &str = "https://concordat.example/problems/";

/// The prefix of the AuthZEN Access Request profile's problem types.
const ACCESS_REQUEST_ERROR: &str = "urn:openid:authzen:access-request:error:";

/// What went wrong, as far as the caller may know.
#[derive(Debug)]
pub enum Problem {
    /// The request cannot be read. The sentence names the member, never its value.
    InvalidRequest(String),
    /// A FHIR resource says something that cannot be kept, or lacks something.
    Unmapped(Vec<Unmapped>),
    /// An AuthZEN access request that cannot be taken.
    AccessRequest(AccessRequestFault),
    /// A FHIR resource has changed since the caller read it.
    VersionMismatch,
    /// A change to something that others may be changing has to say which version it is made to.
    VersionMissing,
    /// An idempotency key was sent before with another request.
    RequestKeyReused,
    /// A step of an agreement is not possible, or not for this person.
    Step(agreement::lifecycle::Refusal),
    /// The request has another media type than JSON.
    UnsupportedMediaType,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The body has no length that is said beforehand.
    LengthRequired,
    /// The request is for another host.
    MisdirectedRequest,
    /// There is no such route.
    NoSuchRoute,
    /// The route does not know this method.
    MethodNotAllowed,
    /// The caller is not who they must be.
    Caller(CallerError),
    /// The signed context is about another person, purpose or case than the request.
    ContextMismatch(&'static str),
    /// A request for an access token that was refused.
    Token(TokenFault),
    /// The access token does not cover the purpose and action.
    NotGranted,
    /// The system is not registered for this kind of request.
    CapabilityMissing,
    /// The signed context was used before.
    ContextReplayed,
    /// The agreement does not allow it, or a guardrail, with what the guardrails say to a practitioner.
    Refused(Vec<Reason>, Vec<String>),
    /// The law leaves it to a person.
    Referred,
    /// No record can be released: unknown, or not to be told. The two cannot be told apart.
    NoRecordAvailable,
    /// There is no such consent or objection, or it is not the caller's to see.
    NoSuchEntry,
    /// Somebody else has to do it.
    NotAllowed(&'static str),
    /// The flow has released as many records today as its agreement allows.
    CeilingReached,
    /// The practitioner or system has asked about as many people today as it may.
    BudgetReached,
    /// The practitioner or system has declared emergencies about as many people today as it may.
    EmergenciesReached,
    /// Too many of the practitioner's questions led to no record, or went through identifiers in a row.
    Throttled,
    /// It is not in a state that allows this.
    WrongState(&'static str),
    /// The record holder cannot be reached, is slow or is failing.
    ProviderUnavailable,
    /// The record holder's answer was not used.
    ProviderAnswerRefused,
    /// The ledger cannot be written, so nothing is asked or released.
    LedgerUnavailable,
    /// What is kept cannot be read now. Something that the request was to record may have been recorded.
    StoreUnavailable,
    /// Too few witnesses have seen the ledger lately, and the operator wants nothing released then.
    LedgerUnwitnessed,
    /// The machine's clock was set while the process ran.
    ClockNotSteady,
    /// The process is about to stop.
    Draining,
    /// The organisation has recorded as much about this person in a day as it may.
    TooManyRecords,
    /// Too many requests are being worked on.
    Overloaded,
    /// Too many requests of this system are being worked on.
    TooManyAtOnce,
    /// The system's rate is used up, for so many seconds.
    TooManyRequests(u16),
    /// The index of the trail has far to go.
    IndexBuilding(Behind),
    /// The deadline passed.
    TookTooLong,
    /// The deadline passed while something was being recorded.
    MayBeRecorded,
    /// What the decision rests on keeps changing.
    Unsettled,
    /// A fault of ours.
    Internal,
}

/// What is wrong with an AuthZEN access request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessRequestFault {
    /// It is not about the evaluation that it names.
    InvalidDenialBinding,
    /// There is no such task, or it is not the caller's.
    UnknownTask,
}

/// Which shape errors take on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// RFC 9457.
    Problem,
    /// FHIR R4 OperationOutcome.
    Fhir,
    /// AuthZEN: a status and a message.
    AuthZen,
    /// RFC 6749 section 5.2.
    OAuth,
    /// Dataspace Protocol 2025-1: `CatalogError`.
    DataspaceCatalogue,
    /// Dataspace Protocol 2025-1: `ContractNegotiationError`.
    DataspaceNegotiation,
}

/// A problem on its way out, with what ties it to the ledger.
#[derive(Debug)]
pub struct Refusal {
    /// What went wrong.
    pub problem: Problem,
    /// The ledger's receipt, where the refusal was a decision.
    pub receipt: Option<Receipt>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, receipt: None }
    }
}

/// Which problem an answer tells of, for whoever counts them.
#[derive(Debug, Clone)]
pub struct Told(pub String);

struct Wording {
    status: StatusCode,
    code: String,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// The stable code, also the last part of the `type` URI.
    pub fn code(&self) -> String {
        self.wording().code
    }

    #[expect(clippy::too_many_lines, reason = "one exhaustive match: status, code and words side by side")]
    fn wording(&self) -> Wording {
        let say = |status, code: &str, title, detail: &str| Wording {
            status,
            code: code.to_owned(),
            title,
            detail: detail.to_owned(),
        };
        match self {
            Self::InvalidRequest(what) => {
                say(StatusCode::BAD_REQUEST, "invalid-request", "The request cannot be read", what)
            }
            Self::Unmapped(_) => say(
                StatusCode::UNPROCESSABLE_ENTITY,
                "cannot-be-mapped",
                "The resource says something that cannot be kept",
                "nothing was recorded; each element that is named has to be mended or left out",
            ),
            Self::AccessRequest(AccessRequestFault::InvalidDenialBinding) => say(
                StatusCode::BAD_REQUEST,
                "invalid_denial_binding",
                "The access request is not about that evaluation",
                "send the subject, action and resource of the evaluation that was denied to you, and its evaluation_id",
            ),
            Self::AccessRequest(AccessRequestFault::UnknownTask) => say(
                StatusCode::NOT_FOUND,
                "unknown_task",
                "There is no such access request",
                "check the id that was returned when it was handed in",
            ),
            Self::VersionMismatch => say(
                StatusCode::PRECONDITION_FAILED,
                "version-mismatch",
                "The resource has changed since it was read",
                "read it again and send the change with the new version in If-Match",
            ),
            Self::VersionMissing => say(
                StatusCode::PRECONDITION_REQUIRED,
                "version-missing",
                "The change does not say what it is made to",
                "read it, and send its ETag as If-Match, so that nobody's change is lost",
            ),
            Self::RequestKeyReused => say(
                StatusCode::UNPROCESSABLE_ENTITY,
                "request-key-reused",
                "The idempotency key was used for another request",
                "nothing was done; send a new Idempotency-Key with a new request, and the same one only with the same request",
            ),
            Self::Step(refusal) => {
                let status = match refusal.kind() {
                    agreement::lifecycle::Kind::Person => StatusCode::FORBIDDEN,
                    agreement::lifecycle::Kind::State => StatusCode::CONFLICT,
                };
                let code = format!("step-{}", refusal.as_str());
                say(status, &code, "The agreement cannot take this step", refusal.advice())
            }
            Self::UnsupportedMediaType => say(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is not JSON",
                "send the body as application/json (on fhir routes application/fhir+json, for a search a form, for a list application/x-ndjson), without compression",
            ),
            Self::BodyTooLarge => say(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large",
                "a request body is at most 64 KiB, one with the terms of an agreement 512 KiB, a list 8 MiB; ask for fewer items, or fewer people",
            ),
            Self::BodyTooSlow => say(
                StatusCode::REQUEST_TIMEOUT,
                "body-too-slow",
                "The body did not arrive in time",
                "send the whole body at once",
            ),
            Self::LengthRequired => say(
                StatusCode::LENGTH_REQUIRED,
                "length-required",
                "The body's length is not said",
                "send the body with a content-length, not in chunks",
            ),
            Self::MisdirectedRequest => say(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected-request",
                "The request is for another host",
                "name this gateway's own host, as its address is written",
            ),
            Self::NoSuchRoute => say(
                StatusCode::NOT_FOUND,
                "no-such-route",
                "There is no such route",
                "the routes are listed in the openapi document at /openapi.json",
            ),
            Self::MethodNotAllowed => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The route does not know this method",
                "the methods are listed in the openapi document at /openapi.json",
            ),
            Self::Caller(error) => {
                let status = StatusCode::from_u16(error.status_hint()).unwrap_or(StatusCode::UNAUTHORIZED);
                say(status, error.code(), "The caller was not accepted", &error.detail())
            }
            Self::Token(fault) => {
                let status = match fault.error() {
                    "invalid_client" => StatusCode::UNAUTHORIZED,
                    _ => StatusCode::BAD_REQUEST,
                };
                say(status, fault.code(), "No access token was issued", &fault.description())
            }
            Self::ContextMismatch(what) => say(
                StatusCode::FORBIDDEN,
                "context-mismatch",
                "The signed context is about something else",
                what,
            ),
            Self::NotGranted => say(
                StatusCode::FORBIDDEN,
                "not-granted",
                "The access token does not cover this",
                "get an access token whose authorization_details name this purpose and action",
            ),
            Self::CapabilityMissing => say(
                StatusCode::FORBIDDEN,
                "not-registered-for-this",
                "The system is not registered for this",
                "ask the operator to register the system for this kind of request",
            ),
            Self::ContextReplayed => say(
                StatusCode::UNAUTHORIZED,
                "context-replayed",
                "The signed context was used before",
                "sign a new sharing-context, with a new jti, for every request",
            ),
            Self::Refused(reasons, guardrails) => refused(reasons, guardrails),
            Self::Referred => say(
                StatusCode::FORBIDDEN,
                "referred-to-a-person",
                "A person has to decide this",
                "no agreement that is in force covers it: there is none, or it is switched off or over. A one-off disclosure may be lawful: say why you need it at /v1/referrals/{decision_id}/request, and a named person of the record holder decides",
            ),
            Self::NoRecordAvailable => say(
                StatusCode::NOT_FOUND,
                "no-record-available",
                "No record is available",
                "no record can be released for this identifier and purpose; check the identifier against your source",
            ),
            Self::NoSuchEntry => say(
                StatusCode::NOT_FOUND,
                "no-such-entry",
                "There is no such entry",
                "check the identifier that was returned when it was recorded",
            ),
            Self::NotAllowed(what) => {
                say(StatusCode::FORBIDDEN, "not-allowed", "Somebody else has to do this", what)
            }
            Self::CeilingReached => say(
                StatusCode::TOO_MANY_REQUESTS,
                "ceiling-reached",
                "The agreement's daily ceiling is reached",
                "nothing was released; wait for tomorrow, or ask the agreement's owner whether the ceiling still fits",
            ),
            Self::BudgetReached => say(
                StatusCode::TOO_MANY_REQUESTS,
                "subject-budget-reached",
                "You have asked about as many people today as you may",
                "nobody was asked; wait for tomorrow, or have the operator raise the budget if your work needs it",
            ),
            Self::EmergenciesReached => say(
                StatusCode::TOO_MANY_REQUESTS,
                "emergencies-reached",
                "Emergencies were declared about as many people today as may be",
                "none was declared; have a colleague declare it, or telephone the record holder. In a major incident the operator raises the bound at once",
            ),
            Self::TooManyRecords => say(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-records",
                "Your organisation has recorded as much about this person in a day as it may",
                "nothing was recorded; look for a system of yours that repeats itself, and tell the operator if this is real work. What was given can be taken back all the while",
            ),
            Self::Throttled => say(
                StatusCode::TOO_MANY_REQUESTS,
                "guessing-suspected",
                "Your questions look like guesses",
                "nobody was asked; too many of your questions led to no record, or went through identifiers in a row. Your privacy officers are told. Go on in the next hour",
            ),
            Self::WrongState(what) => {
                say(StatusCode::CONFLICT, "wrong-state", "It cannot be changed in this way", what)
            }
            Self::ProviderUnavailable => say(
                StatusCode::BAD_GATEWAY,
                "provider-unavailable",
                "The record holder is not answering",
                "nothing was released; try again later, or contact the record holder directly if it is urgent",
            ),
            Self::ProviderAnswerRefused => say(
                StatusCode::BAD_GATEWAY,
                "provider-answer-refused",
                "The record holder's answer was not used",
                "nothing was released; the record holder has to look at it: quote the decision to its contact",
            ),
            Self::LedgerUnavailable => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger-unavailable",
                "The audit ledger cannot be written",
                "nothing was asked and nothing was released; try again in a minute",
            ),
            Self::StoreUnavailable => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "What is kept cannot be read now",
                "nothing was released; try again in a minute; if this was to record something, it may have been: read it before you send it again",
            ),
            Self::LedgerUnwitnessed => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger-unwitnessed",
                "The audit ledger has not been witnessed for too long",
                "nothing was asked and nothing was released; the operator is alarmed; try again in a few minutes",
            ),
            Self::ClockNotSteady => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "clock-not-steady",
                "The gateway's clock cannot be believed",
                "nothing was asked and nothing was released; the operator is alarmed; try again in a few minutes",
            ),
            Self::Overloaded => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many requests are being worked on",
                "nothing was asked and nothing was released; try again in a few seconds",
            ),
            Self::Draining => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "The gateway is about to stop",
                "whoever has no line was not asked about: send them in another list, which another replica or the restarted one takes",
            ),
            Self::TooManyAtOnce => say(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-at-once",
                "Too many of your requests are being worked on",
                "nothing was asked and nothing was released; wait for answers before you send more",
            ),
            Self::TooManyRequests(_) => say(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Your system's rate is used up",
                "nothing was asked and nothing was released; send more slowly: the ratelimit headers say how much is left",
            ),
            Self::IndexBuilding(behind) => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "index-building",
                "The index for searching is being made",
                &being_made(behind),
            ),
            Self::TookTooLong => say(
                StatusCode::GATEWAY_TIMEOUT,
                "took-too-long",
                "The request took too long",
                "nothing was released; try again later, or contact the record holder directly if it is urgent",
            ),
            Self::MayBeRecorded => say(
                StatusCode::GATEWAY_TIMEOUT,
                "may-be-recorded",
                "It took too long, and may have been recorded",
                "what you asked to be recorded may have been, or may be yet: read it, or send it again with the same Idempotency-Key if you gave one; what was taken back already is answered with wrong-state",
            ),
            Self::Unsettled => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "unsettled",
                "What the decision rests on keeps changing",
                "nothing was released; try again in a few seconds",
            ),
            Self::Internal => say(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here",
                "nothing was released; quote the request id to the operator",
            ),
        }
    }

    /// What to do next, in words.
    pub fn detail(&self) -> String {
        self.wording().detail
    }

    fn retry_after_s(&self) -> Option<u16> {
        match self {
            Self::LedgerUnavailable
            | Self::StoreUnavailable
            | Self::LedgerUnwitnessed
            | Self::ClockNotSteady => Some(60),
            Self::Overloaded | Self::Unsettled | Self::Draining => Some(5),
            Self::TooManyAtOnce => Some(1),
            Self::BudgetReached | Self::Throttled | Self::TooManyRecords | Self::EmergenciesReached => {
                Some(3_600)
            }
            Self::TooManyRequests(seconds) => Some(*seconds),
            Self::ProviderUnavailable => Some(30),
            Self::IndexBuilding(behind) => Some(ready_in_s(behind)),
            _ => None,
        }
    }
}

/// When to come back: not sooner than a few seconds, nor later than an hour.
fn ready_in_s(behind: &Behind) -> u16 {
    behind.ready_in_s.map_or(60, |seconds| u16::try_from(seconds.clamp(5, 3_600)).unwrap_or(3_600))
}

fn being_made(behind: &Behind) -> String {
    let ready = match behind.ready_in_s {
        None => "how long it takes is not known yet".to_owned(),
        Some(seconds @ ..=90) => format!("it is ready in about {} seconds", seconds.max(5)),
        Some(seconds) => format!("it is ready in about {} minutes", seconds.div_ceil(60)),
    };
    format!("it has {} of {} entries; {ready}; decisions are made as ever", behind.taken, behind.size)
}

/// Only reasons about the agreement are told. There is always one, or the answer is another.
fn refused(reasons: &[Reason], guardrails: &[String]) -> Wording {
    let told: Vec<_> = reasons.iter().filter(|reason| !reason.depends_on_person()).collect();
    let advice = told.iter().map(|reason| reason.advice().to_owned());
    Wording {
        status: StatusCode::FORBIDDEN,
        code: told.first().map_or("refused", |reason| reason.as_str()).to_owned(),
        title: "The agreement does not allow this",
        detail: advice.chain(guardrails.iter().cloned()).collect::<Vec<_>>().join("; "),
    }
}

impl Refusal {
    /// RFC 9457 problem details, where they are part of an answer.
    pub fn details(&self, request_id: Option<&str>) -> Value {
        let mut body = problem_details(&self.problem.wording(), request_id, self.receipt.as_ref());
        if let (Problem::IndexBuilding(behind), Value::Object(members)) = (&self.problem, &mut body) {
            members.insert("entries_indexed".to_owned(), behind.taken.into());
            members.insert("entries".to_owned(), behind.size.into());
        }
        body
    }

    /// The answer, in the route's shape.
    pub fn into_response(self, face: Face, request_id: Option<&str>) -> Response {
        let wording = self.problem.wording();
        let decision = self.receipt.as_ref().map(|receipt| receipt.decision_id.clone());
        let (kind, body) = match face {
            Face::AuthZen => {
                let code = &wording.code;
                return self.plain(&wording, format!("{} ({code})", wording.detail));
            }
            Face::OAuth => {
                return with_retry(self.problem.oauth(&wording), self.problem.retry_after_s());
            }
            Face::DataspaceCatalogue | Face::DataspaceNegotiation => {
                return dataspace::error(&self.problem, face == Face::DataspaceCatalogue, None);
            }
            Face::Problem => ("application/problem+json", self.details(request_id)),
            Face::Fhir => {
                let elements = match &self.problem {
                    Problem::Unmapped(elements) => elements.as_slice(),
                    _ => &[],
                };
                ("application/fhir+json", operation_outcome(&wording, decision.as_deref(), elements))
            }
        };
        let mut response = (wording.status, body.to_string()).into_response();
        response.extensions_mut().insert(Told(wording.code));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.problem.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if wording.status == StatusCode::UNAUTHORIZED {
            headers
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        response
    }
}

impl Problem {
    /// Source: RFC 6749 section 5.2; `temporarily_unavailable` and `server_error` are of section 4.1.2.1.
    fn oauth(&self, wording: &Wording) -> Response {
        let (status, error) = match (self, wording.status.as_u16()) {
            (Self::Token(fault), _) => (wording.status, fault.error()),
            (_, 400..=499) => (wording.status, "invalid_request"),
            (_, 503 | 504) => (wording.status, "temporarily_unavailable"),
            _ => (wording.status, "server_error"),
        };
        let detail = match self {
            Self::UnsupportedMediaType => {
                "send the request as application/x-www-form-urlencoded, without compression"
            }
            _ => wording.detail.as_str(),
        };
        // The standard allows ASCII without quotation marks and backslashes.
        let said: String =
            detail.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        let body = json!({ "error": error, "error_description": said });
        let mut response = (status, body.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn with_retry(mut response: Response, seconds: Option<u16>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl Refusal {
    /// AuthZEN knows four statuses, and a message. Source: Authorization API 1.0, error responses.
    fn plain(&self, wording: &Wording, message: String) -> Response {
        let status = match wording.status.as_u16() {
            413 | 415 | 422 => StatusCode::BAD_REQUEST,
            _ => wording.status,
        };
        let mut response = (status, message).into_response();
        response.extensions_mut().insert(Told(wording.code.clone()));
        with_retry(response, self.problem.retry_after_s())
    }
}

fn problem_details(wording: &Wording, request_id: Option<&str>, receipt: Option<&Receipt>) -> Value {
    let mut body = json!({
        "type": match wording.code.as_str() {
            "invalid_denial_binding" | "unknown_task" => format!("{ACCESS_REQUEST_ERROR}{}", wording.code),
            code => format!("{TYPE_BASE}{code}"),
        },
        "title": wording.title,
        "status": wording.status.as_u16(),
        "detail": wording.detail,
        "code": wording.code,
    });
    if let Value::Object(members) = &mut body {
        if let Some(id) = request_id {
            members.insert("request_id".to_owned(), id.into());
        }
        if let Some(receipt) = receipt {
            members.insert("decision_id".to_owned(), receipt.decision_id.clone().into());
            members.insert("receipt".to_owned(), serde_json::to_value(receipt).unwrap_or_default());
        }
    }
    body
}

/// Source: <https://hl7.org/fhir/R4/operationoutcome.html>; issue types from
/// <http://hl7.org/fhir/issue-type>.
fn operation_outcome(wording: &Wording, decision: Option<&str>, elements: &[Unmapped]) -> Value {
    let issue_type = match wording.status.as_u16() {
        400 | 408 | 411 | 413 | 415 => "invalid",
        401 => "login",
        403 => "forbidden",
        404 => "not-found",
        405 => "not-supported",
        409 | 412 => "conflict",
        422 => "processing",
        429 | 502..=504 => "transient",
        _ => "exception",
    };
    let diagnostics = match decision {
        Some(id) => format!("{} (decision {id})", wording.detail),
        None => wording.detail.clone(),
    };
    let details = json!({ "coding": [{ "system": TYPE_BASE.trim_end_matches('/'), "code": wording.code, "display": wording.title }] });
    let mut issues: Vec<_> = elements
        .iter()
        .map(|element| {
            json!({
                "severity": "error",
                "code": element.code,
                "details": details,
                "diagnostics": element.said,
                "expression": [element.expression],
            })
        })
        .collect();
    if issues.is_empty() {
        issues.push(json!({ "severity": "error", "code": issue_type, "details": details, "diagnostics": diagnostics }));
    }
    json!({ "resourceType": "OperationOutcome", "issue": issues })
}
