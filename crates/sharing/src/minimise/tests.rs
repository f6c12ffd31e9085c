//! The minimiser on real records, with a canary in every place that must not leave.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    PolicySet, Question, SubjectScheme,
    decide::{Asked, Decision, Permit, decide, tests::policies},
    json::{Json, parse},
    purpose::PurposeClass,
    subject::SubjectState,
};

mod canaries;
mod odd;

const SANDERSON: &str =
    include_str!("../../../../tests/upstreams/records/pds/patients/patient_9732110317.json");
const SMITH: &str = include_str!("../../../../tests/upstreams/records/pds/patients/Patient.json");
const RESTRICTED: &str =
    include_str!("../../../../tests/upstreams/records/pds/patients/Sensitive_Patient.json");

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn question(fire: bool, number: &str) -> Question {
    let (recipient, role, purpose) = if fire {
        ("gmca", "prevention-officer", PurposeClass::FirePreventionTargeting)
    } else {
        ("trafford-council", "social-worker", PurposeClass::DirectCare)
    };
    Question {
        recipient: recipient.parse().unwrap(),
        role: role.to_owned(),
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: "nhs-pds".parse().unwrap(),
        purpose,
        subject: SubjectIdentifier::parse(SubjectScheme::NhsNumber, number).unwrap(),
        asked: Asked::AllAgreed,
        list_people: None,
        agreements: None,
    }
}

fn json(text: &str) -> Json {
    parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn permit(policies: &PolicySet, question: &Question) -> Permit {
    match decide(question, policies, &SubjectState::default(), now()) {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn minimised(fire: bool, number: &str, body: &str) -> Result<MinimisedRecord, String> {
    let policies = policies();
    let question = question(fire, number);
    let permit = permit(&policies, &question);
    let provider = policies.provider(&question.provider).unwrap();
    let examined = permit.examine(provider, body.as_bytes()).map_err(|fault| format!("{fault:?}"))?;
    let confirmed = permit.confirm(&question, &policies, &SubjectState::default(), &examined, now());
    let confirmed = confirmed.map_err(|denial| format!("{:?}", denial.reasons))?;
    Ok(confirmed.minimise(provider, &examined, now(), Writing::Patient))
}

#[test]
fn fire_gets_the_minimised_profile_of_a_real_record() {
    let record = minimised(true, "9732110317", SANDERSON).unwrap();
    insta::assert_snapshot!(record.as_json(), @r#"{"person.family_name":"Sanderson","person.given_name":"A","person.birth_date":"80+","person.address":{"line":["3984 Tomika Greens"],"postalCode":"ZY5T2PX"},"person.gender":"male"}"#);
    insta::assert_snapshot!(record.as_fhir_patient().unwrap(), @r#"{"resourceType":"Patient","id":"9732110317","meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},"address":[{"line":["3984 Tomika Greens"],"postalCode":"ZY5T2PX","use":"home"}],"gender":"male","name":[{"family":"Sanderson","given":["A"],"use":"usual"}],"extension":[{"url":"https://concordat.example/fhir/StructureDefinition/disclosed-item","extension":[{"url":"item","valueCode":"person.birth_date"},{"url":"form","valueCode":"age-band"},{"url":"value","valueString":"80+"}]}]}"#);
}

#[test]
fn a_restricted_record_has_no_location_in_either_form() {
    // The source drops them; were it to slip, they must still not leave.
    let slipped = RESTRICTED.replacen("\"gender\"", "\"address\":[{\"use\":\"home\",\"line\":[\"Secret House\"],\"postalCode\":\"M1 1AA\"}],\"telecom\":[{\"system\":\"phone\",\"value\":\"0161 496 0999\"}],\"generalPractitioner\":[{\"identifier\":{\"value\":\"Y99999\"}}],\"gender\"", 1);
    let record = minimised(false, "9000000025", &slipped).unwrap();
    let texts = format!("{}{}", record.as_json(), record.as_fhir_patient().unwrap());
    for secret in ["Secret House", "M1", "0161 496 0999", "Y99999"] {
        assert!(!texts.contains(secret), "{secret}");
    }
    assert!(texts.contains("Smythe"));
    assert_eq!(minimised(true, "9000000025", &slipped).unwrap_err(), "[Deceased, Restricted, OutOfCohort]");
}

#[test]
fn nobody_is_in_what_is_printed_of_a_record() {
    let policies = policies();
    let question = question(true, "9732110317");
    let provider = policies.provider(&question.provider).unwrap();
    let examined = permit(&policies, &question).examine(provider, SANDERSON.as_bytes()).unwrap();
    assert_eq!(format!("{examined:?}"), "Examined(..)");
    let record = minimised(true, "9732110317", SANDERSON).unwrap();
    assert_eq!(format!("{record:?}"), "MinimisedRecord(items: 5)");
}

#[test]
fn a_record_about_somebody_else_is_refused() {
    assert_eq!(minimised(true, "9733162043", SANDERSON).unwrap_err(), "SubjectMismatch");
    let inside = SANDERSON.replace("\"value\": \"9732110317\"", "\"value\": \"9733162043\"");
    assert_ne!(inside, SANDERSON);
    assert_eq!(minimised(true, "9732110317", &inside).unwrap_err(), "SubjectMismatch");
    let nameless = SANDERSON.replace("\"id\": \"9732110317\",", "").replace("identifier", "identifiers");
    assert_eq!(minimised(true, "9732110317", &nameless).unwrap_err(), "SubjectMismatch");
    assert_eq!(minimised(true, "9732110317", "[]").unwrap_err(), "Unexpected");
    assert_eq!(
        minimised(true, "9732110317", r#"{"resourceType":"OperationOutcome"}"#).unwrap_err(),
        "Unexpected"
    );
    let twice = SANDERSON.replacen('{', "{\"id\":\"9732110317\",", 1);
    assert!(minimised(true, "9732110317", &twice).unwrap_err().contains("DuplicateKey"));
}

#[test]
fn a_bundle_is_filtered_entry_by_entry() {
    let bundle = |entries: &[&str]| {
        let entries: Vec<_> = entries.iter().map(|patient| format!("{{\"resource\":{patient}}}")).collect();
        format!("{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[{}]}}", entries.join(","))
    };
    let record = minimised(true, "9732110317", &bundle(&[SMITH, SANDERSON, RESTRICTED])).unwrap();
    let text = record.as_fhir_patient().unwrap();
    assert!(text.contains("Sanderson") && !text.contains("Smith") && !text.contains("Smythe"));
    assert_eq!(minimised(true, "9732110317", &bundle(&[SMITH])).unwrap_err(), "NoRecord");
    assert_eq!(
        minimised(true, "9732110317", &bundle(&[SANDERSON, SANDERSON])).unwrap_err(),
        "SubjectMismatch"
    );
    assert_eq!(minimised(true, "9732110317", &bundle(&[])).unwrap_err(), "NoRecord");
}

#[test]
fn every_sign_of_restriction_counts_and_no_other_mark_does() {
    for (code, is_restricted) in [("U", false), ("R", true), ("V", true), ("REDACTED", true)] {
        let marked = SANDERSON.replacen("\"code\": \"U\"", &format!("\"code\": \"{code}\""), 1);
        let outcome = minimised(true, "9732110317", &marked);
        assert_eq!(outcome.is_err(), is_restricted, "{code}");
    }
    let two = SANDERSON.replacen("\"security\": [", "\"security\": [{\"code\":\"R\"},", 1);
    assert_ne!(two, SANDERSON);
    assert_eq!(
        minimised(true, "9732110317", &two).unwrap_err(),
        "[Restricted]",
        "one mark of several is enough"
    );
}

#[test]
fn an_address_that_is_not_in_force_stays() {
    let moved = SANDERSON.replacen(
        "\"start\": \"2024-05-01\"",
        "\"start\": \"2024-05-01\", \"end\": \"2026-11-22\"",
        1,
    );
    let record = minimised(true, "9732110317", &moved).unwrap();
    assert!(!record.as_json().contains("Tomika"));
    assert!(!record.as_fhir_patient().unwrap().contains("Tomika"));
    assert_eq!(record.absent().iter().map(ToString::to_string).collect::<Vec<_>>(), ["person.address"]);
}

#[test]
fn a_postcode_is_as_old_as_its_address() {
    let district = |body: &str| {
        let record = minimised(false, "9732110317", body).unwrap();
        json(record.as_json()).member("person.postcode").and_then(Json::as_str).map(str::to_owned)
    };
    assert_eq!(district(SANDERSON).as_deref(), Some("ZY5T"));
    let moved =
        SANDERSON.replace("\"start\": \"2024-05-01\"", "\"start\": \"2024-05-01\", \"end\": \"2026-11-22\"");
    assert_eq!(district(&moved), None);
    let unreadable = SANDERSON.replace("\"start\": \"2024-05-01\"", "\"start\": \"some time in May\"");
    assert_eq!(district(&unreadable), None, "a period that cannot be read is not one in force");
}

#[test]
fn yes_or_no_is_said_once_for_a_list() {
    let policies = policies();
    let places = policies.provider(&"gmfrs-prevention".parse().unwrap()).unwrap().places();
    let (number, item) = places.item(&"visit.history".parse().unwrap()).unwrap();
    let said = |record: &str, form: Form| {
        let reached = Reached::read(places, record.as_bytes(), &Limits::default()).unwrap();
        let facts = RecordFacts::default();
        let examined = Examined {
            reached,
            record: 0,
            places: Arc::clone(places),
            facts,
            has_odd_marks: false,
            marked_by: None,
        };
        let here = examined.reached.place(0).unwrap();
        let found = places.plan.find(here, [number].into_iter().collect(), |_, _| true);
        let mut cut = Cut::of(&examined, Some(&found), london_day(now()));
        cut.release(number, item, form).then_some(cut.out)
    };
    let visits = r#"{"visits":[{"on":"a"},{"on":"b"}]}"#;
    assert_eq!(said(visits, Form::YesNo).as_deref(), Some("{\"visit.history\":true"));
    let whole = "{\"visit.history\":[{\"on\":\"a\"},{\"on\":\"b\"}]";
    assert_eq!(said(visits, Form::AsIs).as_deref(), Some(whole));
    // One that says yes is enough, wherever it stands.
    let answers = [
        (r#"[false, "oxygen"]"#, Some("true")),
        ("[false, 0]", Some("false")),
        (r#"["no", {"on": "a"}]"#, Some("true")),
        (r#"[null, "unknown", "n/a"]"#, None),
    ];
    for (visits, answer) in answers {
        let told = said(&format!("{{\"visits\":{visits}}}"), Form::YesNo);
        assert_eq!(told, answer.map(|answer| format!("{{\"visit.history\":{answer}")), "{visits}");
    }
}

#[test]
fn a_record_is_found_nothing_in_by_another_catalogue() {
    let (policies, others) = (policies(), policies());
    let question = question(true, "9732110317");
    let permit = permit(&policies, &question);
    let provider = policies.provider(&question.provider).unwrap();
    let examined = permit.examine(provider, SANDERSON.as_bytes()).unwrap();
    let confirmed = permit.confirm(&question, &policies, &SubjectState::default(), &examined, now()).unwrap();
    assert_eq!(confirmed.minimise(provider, &examined, now(), Writing::Patient).items().count(), 5);
    let other = others.provider(&question.provider).unwrap();
    let record = confirmed.minimise(other, &examined, now(), Writing::Patient);
    assert_eq!((record.as_json(), record.absent().len()), ("{}", 5));
    assert!(examined.resembles(other, |_, _| true).is_empty());
    assert_eq!(examined.resembles(provider, |_, _| true), [Familiar::Surname]);
}

#[test]
fn nothing_prints_a_value() {
    let record = minimised(true, "9732110317", SANDERSON).unwrap();
    assert_eq!(format!("{record:?}"), "MinimisedRecord(items: 5)");
}

fn any_json() -> impl Strategy<Value = Json> {
    let keys = [
        "resourceType",
        "id",
        "identifier",
        "name",
        "use",
        "family",
        "given",
        "address",
        "line",
        "extension",
        "value",
        "system",
    ];
    let texts = ["Patient", "9732110317", "usual", "home", "https://fhir.nhs.uk/Id/nhs-number", "x"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        prop::sample::select(texts.to_vec()).prop_map(Json::string),
    ];
    leaf.prop_recursive(4, 48, 5, move |inner| {
        let member = (prop::sample::select(keys.to_vec()), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Json::Array),
            prop::collection::btree_map(
                prop::sample::select(keys.to_vec()),
                member.prop_map(|(_, value)| value),
                0..6
            )
            .prop_map(|members| Json::Object(
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn odd_records_never_panic_and_never_leak_an_unlisted_key(mut members in prop::collection::btree_map("name|address|identifier|gender|extension|contained|[a-z]{1,6}", any_json(), 0..6)) {
        members.insert("resourceType".to_owned(), Json::string("Patient"));
        members.insert("id".to_owned(), Json::string("9732110317"));
        members.insert("birthDate".to_owned(), Json::string("1940-01-01"));
        let body = Json::Object(members.into_iter().collect()).to_text();
        if let Ok(record) = minimised(true, "9732110317", &body) {
            let listed = ["person.family_name", "person.given_name", "person.birth_date", "person.address", "person.gender"];
            prop_assert!(record.items().all(|item| listed.contains(&item.item.as_str())));
            let Json::Object(members) = json(record.as_fhir_patient().unwrap()) else { panic!("an object") };
            let known = ["resourceType", "id", "meta", "name", "address", "gender", "birthDate", "extension"];
            prop_assert!(members.iter().all(|(key, _)| known.contains(&key.as_str())));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(minimised(true, "9732110317", &String::from_utf8_lossy(&bytes)).is_err());
    }
}
