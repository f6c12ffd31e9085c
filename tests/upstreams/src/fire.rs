//! Fire home safety: visits that this project generated for the sandbox's fictional people. It holds no NHS
//! numbers: a person is known by the reference that the referring council gave.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    RequestLog, council,
    faults::{self, CANARY, Fault},
    nhs,
};

const JSON: &str = "application/json";

pub(crate) fn router(log: RequestLog) -> Router {
    Router::new().route("/v1/visit-lookups", post(lookup)).with_state(log)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    reference: String,
}

async fn lookup(State(log): State<RequestLog>, body: Bytes) -> Response {
    let Ok(Lookup { reference }) = serde_json::from_slice(&body) else {
        return error(StatusCode::BAD_REQUEST, "bad_request");
    };
    log.note("/v1/visit-lookups", Some(&reference));
    if let Some(fault) = faults::triggered_by(&reference) {
        let good = visit(&reference, "9732110317", 0);
        return match faults::transport(fault, JSON, &good.to_string()).await {
            Some(response) => response,
            None if fault == Fault::Extras => answer(&good),
            None => answer(&visit("SWR-2041", "9732110317", 0)),
        };
    }
    let cases = council::references().enumerate();
    let found = cases.into_iter().find(|(_, (known, _))| *known == reference);
    match found {
        Some((serial, (_, nhs_number))) => answer(&visit(&reference, nhs_number, serial)),
        None => error(StatusCode::NOT_FOUND, "not_found"),
    }
}

fn answer(record: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], record.to_string()).into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], json!({"error": code}).to_string()).into_response()
}

fn visit(reference: &str, nhs_number: &str, serial: usize) -> Value {
    let person = nhs::patient(nhs_number).unwrap_or_default();
    let text = |pointer: &str, otherwise: &str| {
        person.pointer(pointer).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    };
    let lines =
        person.pointer("/address/0/line").cloned().unwrap_or_else(|| json!(["7 Chapel Road", "Stretford"]));
    let birth_year =
        text("/birthDate", "1948-05-01").get(..4).and_then(|year| year.parse::<u16>().ok()).unwrap_or(1948);
    let oxygen = serial == 0;
    json!({
        "case_id": format!("HFSA-2026-{:05}", 4417 + serial),
        "referral_reference": reference,
        "uprn": format!("{:012}", 100_012_000_241_u64 + serial as u64),
        "station_area": "G13 Stretford",
        "occupier": {"family": text("/name/0/family", "Resident"), "given": text("/name/0/given/0", "Robin"), "birth_year": birth_year},
        "premises": {"address_lines": lines, "postcode": text("/address/0/postalCode", "M32 0TH"), "property_type": "semi-detached",
            "floors": 2, "escape_routes": "front and rear doors"},
        "risk": {"score": if oxygen { "high" } else { "medium" }, "smoking": {"smokes": oxygen, "in_bed": false}, "home_oxygen": oxygen,
            "clutter_rating": 3, "mobility": "walks_with_frame", "hearing": "hearing_aids", "cooking": "unattended cooking reported",
            "electric_blanket": true, "emollient_creams": true},
        "visits": [{"on": "2026-10-20", "type": "safe_and_well", "crew": "G13 Blue Watch",
            "interventions": ["smoke alarms fitted: 2", "fire-retardant bedding"], "outcome": "completed"}],
        "return_referral": {"made_on": "2026-10-20",
            "service": {"id": "6f1b3a52-5d1e-4c0c-9a53-0d5a3c1f6b77", "name": "Falls prevention service"}, "needs": ["falls"],
            "outcome_wanted": "A second rail on the stairs, so that I can get to bed safely", "consent_recorded": true},
        "crew_notes": format!("{CANARY}: internal note that stays with the fire service"),
        "updated_at": "2026-10-20T15:02:00Z",
    })
}
