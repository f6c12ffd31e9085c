//! Council adult social care: cases that this project generated for the sandbox's fictional people.
//!
//! Telephone numbers are from the ranges that Ofcom keeps for drama; UPRNs are made up.

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
    RequestLog,
    faults::{self, CANARY, Fault},
    nhs,
};

const JSON: &str = "application/json";

/// A person known to the council alone, whose address the council itself withholds.
pub const ADDRESS_WITHHELD: &str = "9990000190";

/// What the references of people begin with whom `concordat load --generate` makes up. All of them have a record.
const MADE_UP: &str = "GEN-";

pub(crate) fn router(log: RequestLog) -> Router {
    Router::new().route("/v1/person-lookups", post(lookup)).with_state(log)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    nhs_number: Option<String>,
    reference: Option<String>,
}

async fn lookup(State(log): State<RequestLog>, body: Bytes) -> Response {
    let asked: Result<Lookup, _> = serde_json::from_slice(&body);
    let Ok(Lookup { nhs_number, reference }) = asked else {
        return error(StatusCode::BAD_REQUEST, "bad_request");
    };
    let (Some(key), true) =
        (nhs_number.as_ref().or(reference.as_ref()), nhs_number.is_some() != reference.is_some())
    else {
        return error(StatusCode::BAD_REQUEST, "exactly_one_of_nhs_number_and_reference");
    };
    log.note("/v1/person-lookups", Some(key));
    log.passed().await;
    if let Some(fault) = faults::triggered_by(key) {
        let number = faults::nhs_number(fault);
        let good = record(&Case { nhs_number: number, reference: key, ..CASES[0] });
        return match faults::transport(fault, JSON, &good.to_string()).await {
            Some(response) => response,
            None => answer(&about_somebody_else(fault, good)),
        };
    }
    if key.strip_prefix(MADE_UP).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return answer(&record(&Case { reference: key, ..Case::ORDINARY }));
    }
    let found = CASES.iter().find(|case| case.nhs_number == key || case.reference == key);
    found.map_or_else(|| error(StatusCode::NOT_FOUND, "not_found"), |case| answer(&record(case)))
}

fn answer(record: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], record.to_string()).into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], json!({"error": code}).to_string()).into_response()
}

#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "answers on a form")]
struct Case<'a> {
    nhs_number: &'a str,
    reference: &'a str,
    serial: u32,
    address_withheld: bool,
    oxygen: bool,
    smoker: bool,
    lives_alone: bool,
    clutter: u8,
    mobility: &'a str,
    hearing: &'a str,
    concern: &'a str,
    outcome: &'a str,
}

impl Case<'_> {
    const ORDINARY: Self = Self {
        nhs_number: "",
        reference: "",
        serial: 0,
        address_withheld: false,
        oxygen: false,
        smoker: false,
        lives_alone: true,
        clutter: 2,
        mobility: "independent",
        hearing: "no_concern",
        concern: "falls",
        outcome: "I want to stay in my own home",
    };
}

const CASES: [Case<'static>; 7] = [
    Case {
        nhs_number: "9732110317",
        reference: "SWR-2041",
        serial: 1,
        oxygen: true,
        smoker: true,
        clutter: 3,
        mobility: "walks_with_frame",
        hearing: "hearing_aids",
        concern: "smoking near home oxygen",
        outcome: "I want to stay in my own home and feel safe at night",
        ..Case::ORDINARY
    },
    Case {
        nhs_number: "9733162043",
        reference: "SWR-2042",
        serial: 2,
        clutter: 6,
        concern: "blocked escape route",
        outcome: "I want help with sorting my things, and nobody throwing them away",
        ..Case::ORDINARY
    },
    Case {
        nhs_number: "9736363015",
        reference: "SWR-2043",
        serial: 3,
        lives_alone: false,
        smoker: true,
        concern: "smoking in bed",
        outcome: "My wife should not have to worry",
        ..Case::ORDINARY
    },
    Case {
        nhs_number: "9736363023",
        reference: "SWR-2044",
        serial: 4,
        mobility: "wheelchair",
        hearing: "profoundly_deaf",
        concern: "would not hear an alarm",
        outcome: "An alarm that I can feel or see",
        ..Case::ORDINARY
    },
    Case { nhs_number: "9000000025", reference: "SWR-2045", serial: 5, ..Case::ORDINARY },
    Case { nhs_number: "9000000017", reference: "SWR-2046", serial: 6, ..Case::ORDINARY },
    Case {
        nhs_number: ADDRESS_WITHHELD,
        reference: "SWR-2047",
        serial: 7,
        address_withheld: true,
        ..Case::ORDINARY
    },
];

const STREETS: [&str; 4] = ["Moss Lane", "Chapel Road", "Barton Street", "Canal View"];
const WORKERS: [&str; 4] = ["Priya Nair", "Tom Ashworth", "Grace Okoro", "Helen Marsh"];

fn record(case: &Case<'_>) -> Value {
    let person = nhs::patient(case.nhs_number).unwrap_or_default();
    let text = |pointer: &str, otherwise: &str| {
        person.pointer(pointer).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    };
    let serial = case.serial as usize;
    let pick = |list: &[&'static str; 4]| list.get(serial % 4).copied().unwrap_or("");
    let lines = person.pointer("/address/0/line").cloned();
    let lines = lines.unwrap_or_else(|| json!([format!("{} {}", serial * 7, pick(&STREETS)), "Stretford"]));
    let key_worker = json!({"name": pick(&WORKERS), "role": "Social worker", "team": "Stretford neighbourhood team",
        "phone": format!("0161 496 0{:03}", 100 + serial)});
    let oxygen =
        json!({"in_use": case.oxygen, "supplier": "Regional oxygen service", "equipment": "concentrator"});
    let co_residents =
        if case.lives_alone { json!([]) } else { json!([{"name": "A. Resident", "relationship": "spouse"}]) };
    json!({
        "person_id": format!("TRF-{:06}", 100_240 + serial),
        "nhs_number": Some(case.nhs_number).filter(|number| !number.is_empty()),
        "uprn": format!("{:012}", 100_012_000_240_u64 + u64::from(case.serial)),
        "referral_reference": case.reference,
        "name": {"family": text("/name/0/family", "Resident"), "given": [text("/name/0/given/0", "Robin")]},
        "date_of_birth": text("/birthDate", "1948-05-01"),
        "sex": text("/gender", "female"),
        "address": {"lines": lines, "postcode": text("/address/0/postalCode", "M32 0TH"), "ward_code": "E05015252"},
        "contact": {"phone": format!("0161 496 0{:03}", 200 + serial), "preferred_contact": "telephone, mornings"},
        "flags": {"address_withheld": case.address_withheld, "deceased_on": null},
        "key_worker": key_worker,
        "care_package": {"status": "active", "started_on": "2025-02-03", "hours_per_week": 6 + case.serial, "provider": "Bridgewater Home Care",
            "visits": [{"day": "Mon", "time": "08:30", "task": "Personal care"}, {"day": "Thu", "time": "12:00", "task": "Meal preparation"}]},
        "needs": {"mobility": {"level": case.mobility, "aids": ["walking frame"]}, "hearing": case.hearing, "sight": "cataracts",
            "cognition": "no_concern"},
        "health": {"home_oxygen": oxygen, "conditions": ["COPD"]},
        "household": {"lives_alone": case.lives_alone, "smoker_in_home": case.smoker, "clutter_rating": case.clutter, "pets": ["cat"],
            "co_residents": co_residents},
        "safe_and_well_referral": {"reference": case.reference, "referred_on": "2026-10-12", "referred_by": pick(&WORKERS),
            "concerns": [case.concern], "access_notes": "key safe by the side door", "best_contact_time": "after 10:00",
            "outcome_wanted": case.outcome},
        "case_notes": [{"on": "2026-10-02", "text": format!("{CANARY}: internal note that stays with the council")}],
        "updated_at": "2026-11-02T09:14:00Z",
    })
}

fn about_somebody_else(fault: Fault, mut record: Value) -> Value {
    let mut set = |key: &str, value: Value| {
        if let Some(members) = record.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
    };
    match fault {
        Fault::Another => return self::record(&CASES[0]),
        Fault::WrongIdentifier => set("nhs_number", json!("9732110317")),
        Fault::Superseded => {
            set("nhs_number", json!("9990000182"));
            set("referral_reference", json!("SWR-9999"));
        }
        _ => {
            set("unheard_of", json!({"deep": [CANARY]}));
            set("key_worker", json!({"name": "Priya Nair", "private_mobile": CANARY}));
        }
    }
    record
}

/// References of the cases, with the person's NHS number.
pub fn references() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().map(|case| (case.reference, case.nhs_number))
}
