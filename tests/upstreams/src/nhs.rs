//! NHS PDS FHIR R4, from the sandbox's own records.
//!
//! Source: NHS England, Personal Demographics Service FHIR API.

use std::{sync::LazyLock, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    RequestLog,
    faults::{self, CANARY, Fault},
};

/// Where the service answers.
pub const BASE_PATH: &str = "/personal-demographics/FHIR/R4";

/// How much longer it takes to answer with a record than that there is none, for [`Crowd::Fetched`].
const FETCHING: Duration = Duration::from_millis(20);

/// A number whose record was marked invalid.
pub const INVALIDATED: &str = "9990000174";

const FHIR_JSON: &str = "application/fhir+json";

/// The sandbox's patients, unchanged.
pub const PATIENTS: [&str; 10] = [
    include_str!("../records/pds/patients/Patient.json"),
    include_str!("../records/pds/patients/Patient-Jayne-Smyth.json"),
    include_str!("../records/pds/patients/Sensitive_Patient.json"),
    include_str!("../records/pds/patients/Minimal_Patient.json"),
    include_str!("../records/pds/patients/patient_5900046192.json"),
    include_str!("../records/pds/patients/patient_5900056597.json"),
    include_str!("../records/pds/patients/patient_9732110317.json"),
    include_str!("../records/pds/patients/patient_9733162043.json"),
    include_str!("../records/pds/patients/patient_9736363015.json"),
    include_str!("../records/pds/patients/patient_9736363023.json"),
];

const SEARCHES: [&str; 4] = [
    include_str!("../records/pds/searches/PatientSearch.json"),
    include_str!("../records/pds/searches/PatientSearch-Jayne-Smyth.json"),
    include_str!("../records/pds/searches/Minimal_PatientSearch.json"),
    include_str!("../records/pds/searches/Sensitive_PatientSearch.json"),
];

const RELATED: &str = include_str!("../records/pds/related/RelatedPersonBundle.json");
const NOT_FOUND: &str = include_str!("../records/pds/errors/RESOURCE_NOT_FOUND.json");
const INVALID_ID: &str = include_str!("../records/pds/errors/INVALID_RESOURCE_ID.json");
const INVALIDATED_OUTCOME: &str = include_str!("../records/pds/errors/INVALIDATED_RESOURCE.json");

pub(crate) fn router(log: RequestLog) -> Router {
    let fhir = Router::new()
        .route("/metadata", get(metadata))
        .route("/Patient", get(search))
        .route("/Patient/{id}", get(read))
        .route("/Patient/{id}/RelatedPerson", get(related));
    Router::new().nest(BASE_PATH, fhir).route("/elsewhere", get(elsewhere)).with_state(log)
}

/// Parsed once, so that somebody unknown takes no longer to look for than somebody known.
static PARSED: LazyLock<Vec<Value>> =
    LazyLock::new(|| PATIENTS.iter().filter_map(|text| serde_json::from_str(text).ok()).collect());

/// The patient with this NHS number, as the sandbox has them, or one of a [`Crowd`].
pub fn patient(nhs_number: &str) -> Option<Value> {
    let known = PARSED.iter().find(|patient| patient.get("id").and_then(Value::as_str) == Some(nhs_number));
    known.cloned().or_else(|| Crowd::of(nhs_number).and_then(|crowd| crowd.member(nhs_number)))
}

/// Many people of one kind, for tests that must ask for each of them for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// Their records are marked restricted. Numbers from 9991.
    Restricted,
    /// They have died. Numbers from 9992.
    Dead,
    /// They are young. Numbers from 9993.
    Young,
    /// They are young, and their records take 20 ms to find. Numbers from 9994.
    Fetched,
    /// They are old, and nothing is against telling. Numbers from 9995.
    Old,
    /// Nobody has these numbers, from 9996.
    Nobody,
}

impl Crowd {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Restricted, "9991"),
        (Self::Dead, "9992"),
        (Self::Young, "9993"),
        (Self::Fetched, "9994"),
        (Self::Old, "9995"),
        (Self::Nobody, "9996"),
    ];

    fn of(nhs_number: &str) -> Option<Self> {
        let crowd = Self::ALL.iter().find(|(_, prefix)| nhs_number.starts_with(prefix));
        crowd.filter(|_| is_nhs_number(nhs_number)).map(|(crowd, _)| *crowd)
    }

    /// The crowd's numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = String> {
        let prefix = Self::ALL.iter().find(|(crowd, _)| *crowd == self).map_or("", |(_, prefix)| prefix);
        let numbers = (0..1_000_000).map(move |serial| format!("{prefix}{serial:06}"));
        numbers.filter(|number| is_nhs_number(number))
    }

    fn member(self, nhs_number: &str) -> Option<Value> {
        let mut person = stand_in(nhs_number);
        let (pointer, value) = match self {
            Self::Restricted => ("/meta/security/0/code", "R"),
            Self::Dead => ("/deceasedDateTime", "2024-01-01"),
            Self::Young | Self::Fetched => ("/birthDate", "2010-10-22"),
            Self::Old => ("/birthDate", "1940-10-22"),
            Self::Nobody => return None,
        };
        match person.pointer_mut(pointer) {
            Some(place) => *place = json!(value),
            None => person.as_object_mut()?.extend([(pointer.replace('/', ""), json!(value))]),
        }
        Some(person)
    }
}

async fn read(State(log): State<RequestLog>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    log.note("/Patient/{id}", Some(&id));
    log.passed().await;
    if let Err(refusal) = check_request_id(&headers) {
        return *refusal;
    }
    if !is_nhs_number(&id) {
        return outcome(StatusCode::BAD_REQUEST, INVALID_ID);
    }
    if id == INVALIDATED {
        return outcome(StatusCode::NOT_FOUND, INVALIDATED_OUTCOME);
    }
    if let Some(fault) = faults::triggered_by(&id) {
        let good = stand_in(&id).to_string();
        return match faults::transport(fault, FHIR_JSON, &good).await {
            Some(response) => response,
            None => answer(&headers, &about_somebody_else(fault, &id)),
        };
    }
    if Crowd::of(&id) == Some(Crowd::Fetched) {
        tokio::time::sleep(FETCHING).await;
    }
    match patient(&id) {
        Some(patient) => answer(&headers, &patient),
        None => outcome(StatusCode::NOT_FOUND, NOT_FOUND),
    }
}

async fn related(Path(id): Path<String>, headers: HeaderMap) -> Response {
    match check_request_id(&headers) {
        Err(refusal) => *refusal,
        Ok(()) if patient(&id).is_some() => outcome(StatusCode::OK, RELATED),
        Ok(()) => outcome(StatusCode::NOT_FOUND, NOT_FOUND),
    }
}

async fn search(
    State(log): State<RequestLog>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    log.note("/Patient", None);
    if let Err(refusal) = check_request_id(&headers) {
        return *refusal;
    }
    let wanted = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let (Some(family), Some(birth_date)) = (wanted("family"), wanted("birthdate")) else {
        let diagnostics = "Not enough search parameters were provided to be able to make a search";
        return coded(StatusCode::BAD_REQUEST, "required", "MISSING_VALUE", diagnostics);
    };
    let born = birth_date.trim_start_matches("eq");
    let matches = |bundle: &Value| {
        let patient = bundle.pointer("/entry/0/resource");
        let text =
            |pointer: &str| patient.and_then(|patient| patient.pointer(pointer)).and_then(Value::as_str);
        let gender_fits = wanted("gender").is_none_or(|gender| text("/gender") == Some(gender));
        let family_fits = text("/name/0/family").is_some_and(|name| name.eq_ignore_ascii_case(family));
        family_fits && gender_fits && text("/birthDate") == Some(born)
    };
    let bundles = SEARCHES.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let found = bundles.into_iter().find(matches);
    let none = || json!({"resourceType": "Bundle", "type": "searchset", "total": 0, "entry": []});
    answer(&headers, &found.unwrap_or_else(none))
}

async fn metadata() -> Response {
    let statement = json!({"resourceType": "CapabilityStatement", "status": "active", "kind": "instance",
        "date": "2026-01-01", "fhirVersion": "4.0.1", "format": ["json"],
        "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}, {"code": "search-type"}]}]}]});
    ([(header::CONTENT_TYPE, FHIR_JSON)], statement.to_string()).into_response()
}

/// Where the redirect leads: it would answer.
async fn elsewhere() -> Response {
    ([(header::CONTENT_TYPE, FHIR_JSON)], stand_in(faults::nhs_number(Fault::Redirect)).to_string())
        .into_response()
}

/// PDS needs a UUID in `X-Request-ID` and mirrors it.
fn check_request_id(headers: &HeaderMap) -> Result<(), Box<Response>> {
    match headers.get("x-request-id").map(|value| value.to_str().unwrap_or("")) {
        Some(id) if uuid::Uuid::try_parse(id).is_ok() => Ok(()),
        Some(id) => {
            let diagnostics = format!("Invalid value - '{id}' in header 'X-Request-ID'");
            Err(Box::new(coded(StatusCode::BAD_REQUEST, "value", "INVALID_VALUE", &diagnostics)))
        }
        None => {
            let diagnostics =
                "Invalid request with error - X-Request-ID header must be supplied to access this resource";
            Err(Box::new(coded(
                StatusCode::PRECONDITION_FAILED,
                "required",
                "PRECONDITION_FAILED",
                diagnostics,
            )))
        }
    }
}

fn answer(request: &HeaderMap, resource: &Value) -> Response {
    let mut response = ([(header::CONTENT_TYPE, FHIR_JSON)], resource.to_string()).into_response();
    for name in ["x-request-id", "x-correlation-id"] {
        if let Some(value) = request.get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let version = resource.pointer("/meta/versionId").and_then(Value::as_str).unwrap_or("1");
    if let Ok(tag) = format!("W/\"{version}\"").parse() {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn outcome(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, FHIR_JSON)], body).into_response()
}

fn coded(status: StatusCode, issue: &str, code: &str, diagnostics: &str) -> Response {
    let body = json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": issue,
        "details": {"coding": [{"system": "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode", "version": "1", "code": code}]},
        "diagnostics": diagnostics}]});
    (status, [(header::CONTENT_TYPE, FHIR_JSON)], body.to_string()).into_response()
}

/// Source: NHS Data Dictionary, NHS NUMBER.
pub(crate) fn is_nhs_number(text: &str) -> bool {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 10) else { return false };
    let sum: u32 = digits.iter().take(9).zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    digits.last().copied()
        == Some(match 11 - sum % 11 {
            11 => 0,
            other => other,
        })
}

/// An ordinary record for a number in the 999 range.
fn stand_in(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id,
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": id}],
        "meta": {"versionId": "1", "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "U"}]},
        "name": [{"use": "usual", "family": "Testcase", "given": ["Terry"]}],
        "gender": "female", "birthDate": "1940-02-29",
        "address": [{"use": "home", "line": ["1 Trial Road"], "postalCode": "M1 1AA"}]})
}

fn about_somebody_else(fault: Fault, id: &str) -> Value {
    let mut record = stand_in(id);
    let mut set = |key: &str, value: Value| {
        if let Some(members) = record.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
    };
    match fault {
        Fault::Another => return patient("9732110317").unwrap_or_default(),
        Fault::WrongIdentifier => {
            set(
                "identifier",
                json!([{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9732110317"}]),
            );
        }
        Fault::Superseded => {
            set("id", json!("9990000182"));
            set(
                "identifier",
                json!([{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000182"}]),
            );
        }
        _ => {
            set("text", json!({"status": "generated", "div": format!("<div>{CANARY}</div>")}));
            set("contained", json!([{"resourceType": "Patient", "id": "p1", "name": [{"family": CANARY}]}]));
            set("extension", json!([{"url": "https://example.org/secret", "valueString": CANARY}]));
            set(
                "link",
                json!([{"other": {"reference": "Patient/9732110317", "display": CANARY}, "type": "seealso"}]),
            );
            set("contact", json!([{"name": {"family": CANARY}, "address": {"line": [CANARY]}}]));
            set("unheardOf", json!({"deep": {"deeper": [CANARY]}}));
            set(
                "_birthDate",
                json!({"extension": [{"url": "https://example.org/birthPlace", "valueString": CANARY}]}),
            );
            set(
                "name",
                json!([{"use": "usual", "family": "Testcase", "given": ["Terry"], "text": CANARY,
                "extension": [{"url": "x", "valueString": CANARY}]}, {"use": "old", "family": CANARY}]),
            );
            set(
                "address",
                json!([{"use": "home", "line": ["1 Trial Road"], "postalCode": "M1 1AA", "text": CANARY,
                "extension": [{"url": "x", "valueString": CANARY}]}, {"use": "temp", "line": [CANARY]}]),
            );
        }
    }
    record
}
