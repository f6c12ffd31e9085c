//! Records with a canary in every place: what comes out is exactly what was permitted, in both forms.

use std::collections::BTreeSet;

use super::*;
use crate::{
    identifier::ConsentId,
    subject::{ConsentRecord, ConsentStatus, ConsentType},
};

/// Replaces every scalar of a record by a canary that names its place, but for what identifies its person and
/// tells its parts apart; opens every period; and adds members that nobody listed to every object.
fn planted(json: &Json, place: &str) -> Json {
    match json {
        Json::Object(members) => {
            let mut planted: Vec<_> = members
                .iter()
                .map(|(key, value)| {
                    let value = match key.as_str() {
                        "period" => Json::object([("start", Json::string("1999-01-01"))]),
                        _ if is_needed(place, key) => value.clone(),
                        _ => planted(value, &format!("{place}/{key}")),
                    };
                    (key.clone(), value)
                })
                .collect();
            for extra in ["text", "contained", "_modifierExtension", "_family", "unlisted"] {
                if !members.iter().any(|(key, _)| key == extra) {
                    let value = Json::object([("div", Json::string(format!("canary:{place}/{extra}")))]);
                    planted.push((extra.to_owned(), value));
                }
            }
            Json::Object(planted)
        }
        Json::Array(items) => Json::Array(
            items
                .iter()
                .enumerate()
                .map(|(position, item)| planted(item, &format!("{place}/{position}")))
                .collect(),
        ),
        Json::Null => Json::Null,
        Json::Bool(_) | Json::Number(_) | Json::String(_) => Json::string(format!("canary:{place}")),
    }
}

/// What the record must keep to be this person's record at all, and for a filter to find its way.
fn is_needed(place: &str, key: &str) -> bool {
    let part = place.split('/').nth(1).unwrap_or_default();
    let steps = place.split('/').count();
    match (part, key) {
        ("", _) => {
            let kept =
                ["resourceType", "id", "birthDate", "date_of_birth", "nhs_number", "referral_reference"];
            kept.contains(&key) || key == "flags"
        }
        ("meta", "code") => true,
        ("identifier", "system" | "value") => !place.contains("extension"),
        ("name" | "address", "use") | ("telecom", "system") | ("extension", "url") => steps == 3,
        _ => false,
    }
}

/// The places whose canaries are in a text.
fn canaries(text: &str) -> BTreeSet<String> {
    let found = text.split("canary:").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    found.collect()
}

fn smith_alive_and_old() -> Json {
    let alive =
        SMITH.replace("deceasedDateTime", "multipleBirthString").replace("2010-10-22\"", "1940-10-22\"");
    crate::json::parse(alive.as_bytes(), &Limits::default()).unwrap()
}

fn places(listed: &[&str]) -> BTreeSet<String> {
    listed.iter().map(|place| (*place).to_owned()).collect()
}

#[test]
fn only_permitted_places_leave_of_a_record_full_of_canaries() {
    let body = planted(&smith_alive_and_old(), "").to_text();
    let all = body.matches("canary:").count();
    assert!(all > 150, "the record is full of them: {all}");
    let address: Vec<_> = (0..5).map(|line| format!("/address/0/line/{line}")).collect();
    let mut fire = places(&["/name/0/family", "/gender", "/address/0/postalCode"]);
    fire.extend(address.clone());
    let mut council = places(&[
        "/name/0/prefix/0",
        "/name/0/given/0",
        "/name/0/family",
        "/gender",
        "/address/0/postalCode",
        "/telecom/0/value",
        "/telecom/0/use",
        "/generalPractitioner/0/identifier/value",
    ]);
    council.extend(address);
    for (is_fire, expected) in [(true, fire), (false, council)] {
        let record = minimised(is_fire, "9000000009", &body).unwrap();
        assert_eq!(canaries(record.as_json()), expected);
        assert_eq!(canaries(record.as_fhir_patient().unwrap()), expected, "the FHIR form says the same");
        let number = record.as_json().contains("9000000009");
        assert_eq!(number, !is_fire, "the NHS number is in the council's agreement and not in fire's");
    }
}

#[test]
fn a_restricted_record_full_of_canaries_gives_no_location() {
    let body = planted(&smith_alive_and_old(), "").to_text();
    let restricted = body.replace("\"code\":\"U\"", "\"code\":\"R\"");
    assert_ne!(body, restricted);
    let record = minimised(false, "9000000009", &restricted).unwrap();
    let expected = places(&["/name/0/prefix/0", "/name/0/given/0", "/name/0/family", "/gender"]);
    assert_eq!(canaries(record.as_json()), expected);
    assert_eq!(canaries(record.as_fhir_patient().unwrap()), expected);
    assert_eq!(minimised(true, "9000000009", &restricted).unwrap_err(), "[Restricted]");
}

/// Every array twice over.
fn doubled(json: &Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.iter().chain(items).map(doubled).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.clone(), doubled(value))).collect())
        }
        scalar => scalar.clone(),
    }
}

#[test]
fn the_fhir_form_says_no_more_than_the_other_where_a_source_repeats_itself() {
    let body = planted(&doubled(&smith_alive_and_old()), "").to_text();
    for is_fire in [true, false] {
        let record = minimised(is_fire, "9000000009", &body).unwrap();
        let said = canaries(record.as_json());
        assert_eq!(canaries(record.as_fhir_patient().unwrap()), said);
        assert!(
            said.contains("/address/0/postalCode") && !said.contains("/address/2/postalCode"),
            "{said:?}"
        );
    }
    let two_names = SANDERSON.replacen("\"Adrian\"", "\"Adrian\", \"Zachary\"", 1);
    assert_ne!(two_names, SANDERSON);
    let record = minimised(true, "9732110317", &two_names).unwrap();
    let texts = format!("{}{}", record.as_json(), record.as_fhir_patient().unwrap());
    assert!(!texts.contains("\"Z\""), "one initial was agreed: {texts}");
}

/// A council's record: what the catalogue lists, beside what it does not.
const COUNCIL: &str = r#"{"person_id":"x","nhs_number":"9732110317","uprn":"x","referral_reference":"SWR-2041",
"name":{"family":"x","given":["x"],"preferred":"x"},"date_of_birth":"1936-06-21","sex":"x",
"address":{"lines":["x"],"postcode":"x","ward_code":"x"},"contact":{"phone":"x","email":"x"},
"flags":{"address_withheld":false,"deceased_on":null},"key_worker":{"name":"x","role":"x","phone":"x","home":"x"},
"care_package":{"status":"x","started_on":"x","hours_per_week":10,"visits":[{"day":"x","time":"x","notes":"x"}]},
"needs":{"mobility":{"level":"x","aids":["x"]},"hearing":"x","sight":"x","cognition":"x"},
"health":{"home_oxygen":{"in_use":true,"supplier":"x"},"conditions":["x"]},
"household":{"lives_alone":true,"smoker_in_home":true,"clutter_rating":3,"co_residents":[{"name":"x"}]},
"safe_and_well_referral":{"reference":"x","referred_by":"x","concerns":["x","x"],"access_notes":"x",
"best_contact_time":"x","outcome_wanted":"x"},"case_notes":[{"on":"x","text":"x"}],"updated_at":"x"}"#;

fn referral_consent() -> SubjectState {
    let consent = ConsentRecord {
        id: ConsentId::from_random(1),
        consent_type: ConsentType::ConfidentialityConsent,
        status: ConsentStatus::Given,
        controller: "trafford-council".parse().unwrap(),
        recipients: vec!["gmca".parse().unwrap()],
        purposes: vec![PurposeClass::SafeAndWellReferral],
        recorded_at: Timestamp::UNIX_EPOCH,
        given_at: Timestamp::UNIX_EPOCH,
        given_by: crate::subject::GivenBy::Person,
        expires_at: None,
        ended_at: None,
        shown: None,
    };
    SubjectState { consents: vec![consent], ..SubjectState::default() }
}

fn referred(reference: &str, body: &str) -> Result<MinimisedRecord, String> {
    referred_after(reference, body, Some(&nhs_says("9732110317", "U")))
}

fn referred_after(reference: &str, body: &str, said: Option<&str>) -> Result<MinimisedRecord, String> {
    let policies = policies();
    let question = Question {
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: "trafford-asc".parse().unwrap(),
        purpose: PurposeClass::SafeAndWellReferral,
        subject: SubjectIdentifier::parse("local:trafford-council".parse().unwrap(), reference).unwrap(),
        ..question(true, "9732110317")
    };
    let state = referral_consent();
    let Decision::Permit(permit) = decide(&question, &policies, &state, now()) else { panic!("a permit") };
    let provider = policies.provider(&question.provider).unwrap();
    let examined = permit.examine(provider, body.as_bytes()).map_err(|fault| format!("{fault:?}"))?;
    let check = permit.restriction_check(provider, &policies, &examined).unwrap();
    let examined = match said {
        Some(said) => {
            let asked = policies.provider(check.by()).unwrap();
            let marking = check.read(asked, said.as_bytes()).map_err(|fault| format!("{fault:?}"))?;
            examined.checked(&check, marking)
        }
        None => examined,
    };
    let confirmed = permit.confirm(&question, &policies, &state, &examined, now());
    Ok(confirmed.map_err(|denial| format!("{:?}", denial.reasons))?.minimise(
        provider,
        &examined,
        now(),
        Writing::Patient,
    ))
}

/// What the NHS says of a person, who may be marked.
fn nhs_says(number: &str, mark: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{number}","meta":{{"security":[{{"code":"{mark}"}}]}}}}"#)
}

#[test]
fn a_second_record_holders_mark_hides_where_somebody_is() {
    let told = |said: Option<&str>, body: &str| {
        let released = referred_after("SWR-2041", body, said)?;
        Ok::<_, String>(released.items().any(|item| item.item.as_str() == "person.address"))
    };
    let number = "9732110317";
    assert_eq!(told(Some(&nhs_says(number, "U")), COUNCIL), Ok(true));
    for mark in ["R", "V"] {
        assert_eq!(told(Some(&nhs_says(number, mark)), COUNCIL), Ok(false), "{mark}");
    }
    assert_eq!(told(None, COUNCIL), Ok(false), "nobody was asked");
    let found_nobody = r#"{"resourceType":"Bundle","type":"searchset","total":0}"#;
    assert_eq!(told(Some(found_nobody), COUNCIL), Ok(false), "nobody could say");
    // The record's own mark is not taken off.
    let withheld = COUNCIL.replace("\"address_withheld\":false", "\"address_withheld\":true");
    assert_eq!(told(Some(&nhs_says(number, "U")), &withheld), Ok(false));
    // A record that names no number, so that there is nobody to ask about.
    let nameless = COUNCIL.replacen("\"9732110317\"", "null", 1);
    assert_ne!(nameless, COUNCIL);
    assert_eq!(told(Some(&nhs_says(number, "U")), &nameless), Ok(false));
    // One that names two.
    let two = COUNCIL.replacen("\"9732110317\"", "[\"9732110317\",\"9736363023\"]", 1);
    assert_eq!(told(Some(&nhs_says(number, "U")), &two), Ok(false));
    // An answer about somebody else is none.
    assert_eq!(told(Some(&nhs_says("9736363023", "U")), COUNCIL).unwrap_err(), "SubjectMismatch");
    assert_eq!(told(Some("{}"), COUNCIL).unwrap_err(), "Unexpected");
}

#[test]
fn only_permitted_places_leave_of_a_council_record() {
    let record = crate::json::parse(COUNCIL.as_bytes(), &Limits::default()).unwrap();
    let body = planted(&record, "").to_text();
    let expected = places(&[
        "/name/family",
        "/name/given/0",
        "/address/lines/0",
        "/address/postcode",
        "/uprn",
        "/needs/mobility/level",
        "/needs/hearing",
        "/household/clutter_rating",
        "/safe_and_well_referral/concerns/0",
        "/safe_and_well_referral/concerns/1",
        "/safe_and_well_referral/access_notes",
        "/safe_and_well_referral/best_contact_time",
        "/safe_and_well_referral/outcome_wanted",
    ]);
    let released = referred("SWR-2041", &body).unwrap();
    assert_eq!(canaries(released.as_json()), expected);
    assert!(released.as_fhir_patient().is_none());
    assert!(!released.as_json().contains("9732110317"), "fire holds no NHS numbers");
    let withheld = body.replace("\"address_withheld\":false", "\"address_withheld\":true");
    let located = ["/address", "/uprn", "/safe_and_well_referral/access_notes"];
    let unlocated: BTreeSet<_> = expected
        .into_iter()
        .filter(|place| !located.iter().any(|located| place.starts_with(located)))
        .collect();
    assert_eq!(canaries(referred("SWR-2041", &withheld).unwrap().as_json()), unlocated);
}

#[test]
fn a_council_record_is_refused_unless_every_identifier_in_it_can_be_believed() {
    let refused = |find: &str, replace: &str| {
        let changed = COUNCIL.replacen(find, replace, 1);
        assert_ne!(changed, COUNCIL);
        referred("SWR-2041", &changed).unwrap_err()
    };
    assert!(referred("SWR-2041", COUNCIL).is_ok());
    assert_eq!(referred("SWR-2042", COUNCIL).unwrap_err(), "SubjectMismatch");
    assert_eq!(refused("\"SWR-2041\"", "[\"SWR-2041\",\"SWR-2042\"]"), "SubjectMismatch");
    assert_eq!(refused("\"SWR-2041\"", "2041"), "SubjectMismatch");
    assert_eq!(refused("\"SWR-2041\"", "null"), "SubjectMismatch");
    assert_eq!(
        refused("9732110317", "9732110318"),
        "SubjectMismatch",
        "no number at all, so nobody's record"
    );
    assert_eq!(refused("\"deceased_on\":null", "\"deceased_on\":\"2026-01-01\""), "[Deceased]");
    assert_eq!(referred("SWR-2041", &format!("[{COUNCIL}]")).unwrap_err(), "Unexpected");
}

#[test]
fn an_object_where_a_text_was_expected_stays() {
    // A source that changes its shape must not take an unlisted member along.
    let widened = [
        ("\"hearing\":\"x\"", "\"hearing\":{\"aids\":true,\"note\":\"canary:hearing\"}"),
        ("\"lines\":[\"x\"]", "\"lines\":[\"x\",{\"previous\":\"canary:lines\"}]"),
        ("\"family\":\"x\"", "\"family\":{\"birth_name\":\"canary:family\"}"),
        ("\"concerns\":[\"x\",\"x\"]", "\"concerns\":[\"x\",{\"about\":\"canary:concerns\"}]"),
        ("\"uprn\":\"x\"", "\"uprn\":[{\"of_parents\":\"canary:uprn\"}]"),
    ];
    let body = widened.iter().fold(COUNCIL.to_owned(), |body, (find, replace)| {
        assert!(body.contains(find), "{find}");
        body.replacen(find, replace, 1)
    });
    let released = referred("SWR-2041", &body).unwrap();
    assert_eq!(canaries(released.as_json()), places(&[]));
    let absent: Vec<_> = released.absent().iter().map(ToString::to_string).collect();
    assert_eq!(absent, ["person.uprn", "needs.hearing"]);
    assert!(released.as_json().contains("\"referral.concerns\":[\"x\"]"));

    let gender = planted(&smith_alive_and_old(), "").to_text();
    let gender = gender.replacen("\"canary:/gender\"", "{\"at_birth\":\"canary:gender\"}", 1);
    let released = minimised(true, "9000000009", &gender).unwrap();
    for form in [released.as_json(), released.as_fhir_patient().unwrap()] {
        assert!(!canaries(form).contains("gender") && canaries(form).contains("/name/0/family"));
    }
}
