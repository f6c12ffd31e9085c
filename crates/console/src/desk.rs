//! Asking the API, in this process, for somebody who is signed in. Whatever a page shows or does goes through the same
//! routes that partners' systems use, and is recorded by them.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
    response::Response,
};
use http_body_util::{BodyExt as _, Limited};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sharing::{CaseReference, PurposeClass, SubjectIdentifier, policy::hexadecimal, seen};
use tower::ServiceExt as _;

use crate::{
    Console,
    fault::{Correction, Fault},
    person::Vouched,
    session::Signed,
};

/// Largest answer.
const BYTES_MAX: usize = 16 << 20;

/// A request to the API.
pub(crate) struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    if_match: Option<i64>,
    key: Option<&'a str>,
    form: Option<&'a str>,
    purpose: PurposeClass,
    case_reference: Option<&'a str>,
    record: Option<SubjectIdentifier>,
}

impl<'a> Ask<'a> {
    /// To read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            if_match: None,
            key: None,
            form: None,
            purpose: PurposeClass::ServiceImprovement,
            case_reference: None,
            record: None,
        }
    }

    /// To do something, or to read with a question that is no address.
    pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).unwrap_or_default();
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    /// To what revision a step is made.
    pub(crate) fn made_to(self, revision: i64) -> Self {
        Self { if_match: Some(revision), ..self }
    }

    /// Once, however often it is sent.
    pub(crate) fn once(self, key: &'a str) -> Self {
        Self { key: Some(key).filter(|key| !key.is_empty()), ..self }
    }

    /// From a form that is good once: what is asked with it again, before long, is refused as a context that was used before. For
    /// routes that take no key.
    pub(crate) fn good_once(self, key: &'a str) -> Self {
        Self { form: Some(key).filter(|key| !key.is_empty()), ..self }
    }

    /// For a piece of work.
    pub(crate) fn in_case(self, case_reference: &'a str) -> Self {
        Self { case_reference: Some(case_reference), ..self }
    }

    /// About somebody, and what for.
    pub(crate) fn about(
        self,
        record: SubjectIdentifier,
        purpose: PurposeClass,
        case_reference: &'a str,
    ) -> Self {
        Self { record: Some(record), purpose, case_reference: Some(case_reference), ..self }
    }
}

impl Console {
    /// A key for a form, so that sending it twice does it once.
    pub(crate) fn key(&self) -> String {
        format!("{:032x}", self.gateway.bits())
    }

    /// Asks, and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, signed: &Signed, ask: Ask<'_>) -> Result<T, Fault> {
        let bytes = read(self.answer(signed, ask).await?).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Fault::broken(&error))?;
        // What others wrote is seen whole on every page. Such characters are nowhere in JSON but in its texts.
        let readable = seen::hidden(text).map(|_| seen::readable(text));
        serde_json::from_str(readable.as_deref().unwrap_or(text)).map_err(|error| Fault::broken(&error))
    }

    /// As [`Self::ask`], for what somebody filled in: what they can correct is told apart from what stands in the way.
    pub(crate) async fn attempt<T: DeserializeOwned>(
        &self,
        signed: &Signed,
        ask: Ask<'_>,
    ) -> Result<Result<T, Correction>, Fault> {
        match self.ask(signed, ask).await {
            Ok(done) => Ok(Ok(done)),
            Err(fault) => fault.correction().map(Err).ok_or(fault),
        }
    }

    /// Asks, and hands the answer on: a file.
    pub(crate) async fn answer(&self, signed: &Signed, ask: Ask<'_>) -> Result<Response, Fault> {
        let name: String = signed.name.chars().take(16).collect();
        // A reference ties the session's requests together, and must not look like somebody's number.
        let case = format!("console-{}", name.replace(|digit: char| digit.is_ascii_digit(), "x"));
        let case: CaseReference = ask
            .case_reference
            .unwrap_or(&case)
            .parse()
            .map_err(|_| Fault::refused(StatusCode::BAD_REQUEST, "The case reference does not fit", "case_reference: up to 64 letters, digits, hyphens, dots, slashes or underscores; it must not be the person's number"))?;
        let vouched = Vouched {
            person: signed.person.clone(),
            purpose: ask.purpose,
            case_reference: case,
            record: ask.record,
            once: match ask.form {
                // Nobody uses up what another session's form is good for.
                Some(form) => {
                    hexadecimal(&Sha256::new().chain_update(&signed.name).chain_update(form).finalize())
                }
                None => format!("{:032x}", self.gateway.bits()),
            },
            session: signed.name.clone(),
        };
        let mut request = Request::builder().method(ask.method).uri(&ask.path).extension(vouched);
        if let Some(key) = ask.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(revision) = ask.if_match {
            request = request.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        let body = match ask.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let request = request.body(body).map_err(|_| Fault::not_found())?;
        let response = match self.api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Value = serde_json::from_slice(&read(response).await?).unwrap_or_default();
        let said = |member: &str| problem.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        if status.is_server_error() && said("code") != "index-building" {
            tracing::error!(code = said("code"), "the console's request was not answered");
        }
        Err(Fault::Refused { status, code: said("code"), title: said("title"), detail: said("detail") })
    }
}

async fn read(response: Response) -> Result<Vec<u8>, Fault> {
    let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
    Ok(body.map_err(|error| Fault::broken(&error))?.to_bytes().to_vec())
}
