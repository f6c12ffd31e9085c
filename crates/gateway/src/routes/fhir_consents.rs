//! Consent records for FHIR R4 clients: create, read, search by person, change of status.
//!
//! The person is never in an address: a search is a POST, and a Consent that is read names its patient by the
//! ledger's pseudonym. What cannot be kept is refused with an OperationOutcome that names the element.
//!
//! Source: <https://hl7.org/fhir/R4/consent.html>, <https://hl7.org/fhir/R4/http.html>.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sharing::{
    SubjectIdentifier,
    policy::hexadecimal,
    subject::{ConsentRecord, ConsentStatus},
};
use store::{Change, ConsentRow};

use super::{
    consents::{self, ConsentRequest, change_status, commit, record_asked, resolve, visible},
    disclosures::check_context,
    fhir::ascii,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id},
    fault::internal,
    fhir::{
        Unmapped,
        consent::{self, LOCAL, NHS_NUMBER, PSEUDONYM, Said, element_of},
    },
    problem::{Face, Problem, Refusal},
    receipt::Receipt,
};

const ROUTE: &str = "/fhir/Consent";

/// Record a consent as a FHIR R4 Consent.
#[utoipa::path(post, path = "/fhir/Consent", tag = "fhir",
    request_body(content = Object, content_type = "application/fhir+json", description = "A Consent of the profile in docs/fhir-consent.md"),
    responses((status = 201, description = "The Consent", content_type = "application/fhir+json"),
        (status = 400, description = "OperationOutcome"), (status = 401, description = "OperationOutcome"),
        (status = 403, description = "OperationOutcome"),
        (status = 422, description = "OperationOutcome: each element that cannot be kept")))]
pub async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.fhir_resource(app.limits.body_bytes_max).await.and_then(|resource| {
            let said = consent::read(&resource).map_err(Problem::Unmapped)?;
            Ok((request_of(&said)?, said.patient))
        });
        let (asked, patient) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, ROUTE).await),
        };
        let (row, receipt) = record_asked(&app, &received, &asked, ROUTE).await.map_err(by_element)?;
        let mut response = answer(StatusCode::CREATED, &row, patient, &receipt, app.now());
        let location = format!("{}{ROUTE}/{}", app.authenticator.public_url, row.record.id);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    })
    .await
}

/// Read a consent as a FHIR R4 Consent. Its patient is the ledger's pseudonym. Reading is recorded.
#[utoipa::path(get, path = "/fhir/Consent/{id}", tag = "fhir", params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "The Consent", content_type = "application/fhir+json"),
        (status = 401, description = "OperationOutcome"), (status = 404, description = "OperationOutcome")))]
pub async fn read(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        let entry = received.read_of(row.subject.as_str(), "consent");
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        let receipt = Receipt::of(&id, &committed);
        Ok(answer(StatusCode::OK, &row, pseudonym(&row), &receipt, app.now()))
    })
    .await
}

/// Change a consent's status: send the Consent as it was read, with another status. It takes effect on the next
/// decision. Nothing else can be changed: record a new consent.
#[utoipa::path(put, path = "/fhir/Consent/{id}", tag = "fhir", params(("id" = String, Path, description = "The consent")),
    request_body(content = Object, content_type = "application/fhir+json", description = "The Consent as it was read, with another status"),
    responses((status = 200, description = "The Consent", content_type = "application/fhir+json"),
        (status = 400, description = "OperationOutcome"), (status = 401, description = "OperationOutcome"),
        (status = 404, description = "OperationOutcome"), (status = 409, description = "OperationOutcome: the status cannot follow the one it has"),
        (status = 412, description = "OperationOutcome: it has changed since it was read"),
        (status = 422, description = "OperationOutcome: each element that cannot be kept or changed")))]
pub async fn update(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/fhir/Consent/{id}";
        let if_match = request.headers().get(header::IF_MATCH).cloned();
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.fhir_resource(app.limits.body_bytes_max).await;
        let asked = asked.and_then(|resource| {
            if resource.get("id").and_then(Value::as_str) != Some(id.as_str()) {
                let issue = Unmapped::new("invalid", "Consent.id", "must be the id in the address");
                return Err(Problem::Unmapped(vec![issue]));
            }
            consent::read(&resource).map_err(Problem::Unmapped)
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let row = visible(&app, &received, &id).await?;
        let changed = match change_asked(&app, &received, &row, &asked, if_match.as_ref()).await? {
            Ok(expires_at) => change_status(&app, &received, &row, asked.status, expires_at, None).await?,
            Err(problem) => Err(problem),
        };
        match changed {
            Ok((row, receipt)) => Ok(answer(StatusCode::OK, &row, pseudonym(&row), &receipt, app.now())),
            Err(problem) => Err(received.refuse(&app, problem, route).await),
        }
    })
    .await
}

/// Search for a person's consents by `patient.identifier`, in the body and nowhere else. Searching is recorded.
#[utoipa::path(post, path = "/fhir/Consent/_search", tag = "fhir",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`patient.identifier`: a system, `|` and a value"),
    responses((status = 200, description = "A searchset Bundle of what the caller's organisation may see", content_type = "application/fhir+json"),
        (status = 400, description = "OperationOutcome"), (status = 401, description = "OperationOutcome"),
        (status = 403, description = "OperationOutcome")))]
pub async fn search(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/fhir/Consent/_search";
        let has_query = request.uri().query().is_some();
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let form = received.form(app.limits.body_bytes_max).await;
        let asked = form.and_then(|form| {
            let [(name, value)] = form.as_slice() else { return Err(one_parameter()) };
            let patient = value.split_once('|').filter(|_| name == "patient.identifier" && !has_query);
            let (system, value) = patient.ok_or_else(one_parameter)?;
            let patient = (system.to_owned(), value.to_owned());
            let subject = subject_of(&patient)?;
            let identifier = subject.parse()?;
            check_context(&received.context, &identifier)?;
            Ok((identifier, patient))
        });
        let (identifier, patient) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let (rows, receipt) = held(&app, &received, &identifier).await?;
        let now = app.now();
        let entries = rows.iter().map(|row| {
            json!({
                "fullUrl": format!("{}{ROUTE}/{}", app.authenticator.public_url, row.record.id),
                "resource": resource(row, patient.clone(), now),
                "search": { "mode": "match" },
            })
        });
        let entries: Vec<_> = entries.collect();
        let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": entries.len() });
        if let (Value::Object(members), false) = (&mut bundle, entries.is_empty()) {
            members.insert("entry".to_owned(), entries.into());
        }
        Ok(fhir(StatusCode::OK, &bundle, &receipt))
    })
    .await
}

/// A search whose parameters would be in an address is refused.
pub async fn search_by_address(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        Err(received.refuse(&app, one_parameter(), ROUTE).await)
    })
    .await
}

/// What this FHIR server can do.
#[utoipa::path(get, path = "/fhir/metadata", tag = "fhir",
    responses((status = 200, description = "A CapabilityStatement", content_type = "application/fhir+json")))]
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    let interaction = |codes: &[&str]| codes.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>();
    let body = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-23",
        "kind": "instance",
        "software": { "name": "Concordat", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "Consent-aware disclosure between public services", "url": format!("{}/fhir", app.authenticator.public_url) },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Patients are below /fhir/{provider}/Patient, one base for each record holder.",
            "security": { "description": "Mutual TLS, an access token bound to the certificate (RFC 8705), and a signed Sharing-Context header for each request." },
            "resource": [{
                "type": "Consent",
                "profile": consent::PROFILE,
                "interaction": interaction(&["create", "read", "update", "search-type"]),
                "versioning": "versioned-update",
                "updateCreate": false,
                "searchParam": [{
                    "name": "patient.identifier",
                    "type": "token",
                    "documentation": "By POST to _search alone, so that no identifier is in an address.",
                }],
            }],
        }],
    });
    ([(header::CONTENT_TYPE, "application/fhir+json")], body.to_string()).into_response()
}

async fn respond(id: Option<String>, work: impl Future<Output = Result<Response, Refusal>>) -> Response {
    work.await.unwrap_or_else(|refusal| refusal.into_response(Face::Fhir, id.as_deref()))
}

fn one_parameter() -> Problem {
    Problem::InvalidRequest(
        "search by POST to /fhir/Consent/_search, with the one parameter patient.identifier as a form in the body, as `system|value`: an identifier does not belong into an address, and other parameters are refused, not ignored".to_owned(),
    )
}

fn subject_of((system, value): &(String, String)) -> Result<Subject, Problem> {
    let scheme = match system.strip_prefix(LOCAL) {
        Some(organisation) => format!("local:{organisation}"),
        None if system == NHS_NUMBER => "nhs-number".to_owned(),
        None => {
            let said =
                format!("must be {NHS_NUMBER}, or {LOCAL} and the organisation that issued the reference");
            let issue = Unmapped::new("code-invalid", "Consent.patient.identifier.system", said);
            return Err(Problem::Unmapped(vec![issue]));
        }
    };
    Ok(Subject { scheme, value: value.clone() })
}

fn request_of(said: &Said) -> Result<ConsentRequest, Problem> {
    let method = serde_json::from_value(said.method.clone().into()).map_err(|_| {
        let said = "the method must be in-person, by-telephone, in-writing or online";
        Problem::Unmapped(vec![Unmapped::new("code-invalid", element_of("method"), said)])
    })?;
    Ok(ConsentRequest {
        subject: subject_of(&said.patient)?,
        consent_type: said.consent_type,
        status: said.status,
        controller: said.controller.clone(),
        recipients: said.recipients.clone(),
        purposes: said.purposes.clone(),
        data_categories: said.data_categories.clone(),
        given_by: said.given_by.clone(),
        given_at: said.given_at.map(|at| at.to_string()),
        method,
        notice_version: said.notice_version.clone(),
        expires_at: said.expires_at.map(|at| at.to_string()),
        evidence_reference: said.evidence_reference.clone(),
    })
}

/// A refusal by one of our own checks names one of our members; FHIR clients read the element.
fn by_element(mut refusal: Refusal) -> Refusal {
    if let Problem::InvalidRequest(said) = &refusal.problem
        && let Some((member, rest)) = said.split_once(": ")
    {
        let issue = Unmapped::new("business-rule", element_of(member), rest);
        refusal.problem = Problem::Unmapped(vec![issue]);
    }
    refusal
}

/// Whether a consent that was sent is the one that is held but for its status; answers with a renewal's end.
async fn change_asked(
    app: &App,
    received: &Received,
    row: &ConsentRow,
    asked: &Said,
    if_match: Option<&HeaderValue>,
) -> Result<Result<Option<Timestamp>, Problem>, Refusal> {
    let version = format!("W/\"{}\"", version(&row.record));
    if if_match.is_some_and(|sent| *sent != version) {
        return Ok(Err(Problem::VersionMismatch));
    }
    let refuse =
        |code, expression: &str, said: &str| Problem::Unmapped(vec![Unmapped::new(code, expression, said)]);
    if !is_patient_of(app, received, row, &asked.patient).await? {
        return Ok(Err(refuse("business-rule", "Consent.patient", "is not whose consent this is")));
    }
    let held = said_of(row, asked.patient.clone());
    let renewal = asked.status == ConsentStatus::Renewed;
    let mut differences = held.differences(asked);
    // A proxy's consent is the same; a person's names the patient in the way that they were asked by.
    differences.retain(|element| !(renewal && *element == element_of("expires_at")));
    if let Some(element) = differences.first() {
        let said = "only the status of a recorded consent can change (and the end of one that is renewed): record a new consent";
        return Ok(Err(refuse("business-rule", element, said)));
    }
    let longer = asked.expires_at != held.expires_at;
    if renewal && longer && asked.expires_at.is_none_or(|end| end <= app.now()) {
        return Ok(Err(refuse("business-rule", element_of("expires_at"), "a renewal ends in the future")));
    }
    Ok(Ok(asked.expires_at.filter(|_| renewal && longer)))
}

/// The pseudonym that was read, or the identifier that it was recorded under; the second only for the organisation
/// that recorded it, since for others the answer would tell who is behind the pseudonym.
async fn is_patient_of(
    app: &App,
    received: &Received,
    row: &ConsentRow,
    patient: &(String, String),
) -> Result<bool, Refusal> {
    if *patient == pseudonym(row) {
        return Ok(true);
    }
    if row.recorded_by != received.caller.organisation {
        return Ok(false);
    }
    let parsed = subject_of(patient).and_then(|subject| subject.parse());
    let Some(identifier) = parsed.ok().filter(|one| check_context(&received.context, one).is_ok()) else {
        return Ok(false);
    };
    Ok(resolve(app, &identifier).await?.pseudonym == row.subject)
}

async fn held(
    app: &App,
    received: &Received,
    identifier: &SubjectIdentifier,
) -> Result<(Vec<ConsentRow>, Receipt), Refusal> {
    let subject = resolve(app, identifier).await?;
    let name = subject.pseudonym.clone();
    let entry = received.read_of(name.as_str(), "consents");
    let committed = commit(app, received, entry, vec![Change::KnowSubject(subject)]).await?;
    let (mut rows, ..) =
        app.store.held_about(&name, None).await.map_err(|error| Refusal::from(internal(&error)))?;
    rows.retain(|row| consents::may_see(row, &received.caller.organisation));
    Ok((rows, Receipt::of(name.as_str(), &committed)))
}

fn pseudonym(row: &ConsentRow) -> (String, String) {
    (PSEUDONYM.to_owned(), row.subject.to_string())
}

fn said_of(row: &ConsentRow, patient: (String, String)) -> Said {
    let details: Value = serde_json::from_str(&row.details).unwrap_or_default();
    let text = |name: &str| details.get(name).and_then(Value::as_str).map(str::to_owned);
    let categories = details.get("data_categories").and_then(Value::as_array);
    let record = &row.record;
    Said {
        status: record.status,
        consent_type: record.consent_type,
        patient,
        controller: record.controller.to_string(),
        recipients: record.recipients.iter().map(ToString::to_string).collect(),
        purposes: record.purposes.iter().map(ToString::to_string).collect(),
        data_categories: categories
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        given_by: record.given_by.clone(),
        given_at: Some(record.given_at),
        expires_at: record.expires_at,
        method: text("method").unwrap_or_default(),
        notice_version: text("notice_version").unwrap_or_default(),
        evidence_reference: text("evidence_reference"),
    }
}

fn resource(row: &ConsentRow, patient: (String, String), now: Timestamp) -> Value {
    let mut said = said_of(row, patient);
    let has_run_out = said.expires_at.is_some_and(|end| end <= now);
    if has_run_out && matches!(said.status, ConsentStatus::Given | ConsentStatus::Renewed) {
        said.status = ConsentStatus::Expired;
    }
    consent::write(&said, Some(row.record.id.as_str()), Some(&version(&row.record)))
}

/// Changes with whatever of a consent can change.
fn version(record: &ConsentRecord) -> String {
    let state = format!("{:?} {:?} {:?}", record.status, record.ended_at, record.expires_at);
    hexadecimal(&Sha256::digest(state)).chars().take(16).collect()
}

fn answer(
    status: StatusCode,
    row: &ConsentRow,
    patient: (String, String),
    receipt: &Receipt,
    now: Timestamp,
) -> Response {
    let mut response = fhir(status, &resource(row, patient, now), receipt);
    if let Ok(tag) = HeaderValue::from_str(&format!("W/\"{}\"", version(&row.record))) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The receipt is in a header, where FHIR clients that know nothing of it leave it.
fn fhir(status: StatusCode, body: &Value, receipt: &Receipt) -> Response {
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/fhir+json")], body.to_string()).into_response();
    let receipt = serde_json::to_string(receipt).unwrap_or_default();
    if let Ok(receipt) = HeaderValue::from_str(&ascii(&receipt)) {
        response.headers_mut().insert(HeaderName::from_static("sharing-receipt"), receipt);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_refusals_name_the_element() {
        let invalid = |said: &str| Refusal::from(Problem::InvalidRequest(said.to_owned()));
        let named = |said: &str| match by_element(invalid(said)).problem {
            Problem::Unmapped(issues) => issues.first().map(|issue| issue.expression.clone()),
            _ => None,
        };
        assert_eq!(named("controller: not registered").as_deref(), Some("Consent.organization"));
        assert_eq!(named("expires_at: later").as_deref(), Some("Consent.provision.period.end"));
        assert_eq!(named("something without a member"), None);
        let scheme = sharing::SubjectScheme::NhsNumber.to_string();
        let named = subject_of(&(NHS_NUMBER.to_owned(), "1".to_owned()));
        assert_eq!(named.map(|one| one.scheme).ok(), Some(scheme));
    }
}
