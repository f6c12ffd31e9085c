use proptest::prelude::*;

use super::*;

fn example() -> Said {
    Said {
        status: ConsentStatus::Given,
        consent_type: ConsentType::ConfidentialityConsent,
        patient: (format!("{LOCAL}trafford-council"), "SWR-2044".to_owned()),
        controller: "trafford-council".to_owned(),
        recipients: vec!["gmca".to_owned()],
        purposes: vec!["safe-and-well-referral".to_owned()],
        data_categories: vec!["needs".to_owned()],
        given_by: GivenBy::Person,
        given_at: Some("2026-10-12T10:00:00Z".parse().unwrap()),
        expires_at: Some("2027-10-12T10:00:00Z".parse().unwrap()),
        method: "in-person".to_owned(),
        notice_version: "SW-2".to_owned(),
        evidence_reference: Some("LCS/88".to_owned()),
    }
}

/// Puts a value into a resource at a JSON pointer; a pointer ending in `-` appends.
fn with(pointer: &str, value: Value) -> Value {
    let mut resource = write(&example(), None, None);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match resource.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.insert(name.to_owned(), value)),
        Value::Array(values) if name == "-" => values.push(value),
        Value::Array(values) => values[name.parse::<usize>().unwrap()] = value,
        _ => unreachable!(),
    }
    resource
}

fn without(pointer: &str) -> Value {
    let mut resource = write(&example(), None, None);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    resource.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    resource
}

fn where_of(resource: &Value) -> Vec<(&'static str, String)> {
    read(resource).unwrap_err().into_iter().map(|issue| (issue.code, issue.expression)).collect()
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let coding = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let cases = [
        ("/text", json!({ "status": "generated", "div": "<div>x</div>" }), "Consent.text"),
        ("/contained", json!([{ "resourceType": "Patient" }]), "Consent.contained"),
        ("/modifierExtension", json!([{ "url": "x", "valueBoolean": true }]), "Consent.modifierExtension"),
        ("/implicitRules", json!("https://x.example/rules"), "Consent.implicitRules"),
        ("/language", json!("cy"), "Consent.language"),
        ("/extension/-", json!({ "url": "x", "valueString": "y" }), "Consent.extension[2]"),
        ("/identifier", json!([{ "value": "1" }]), "Consent.identifier"),
        ("/status", json!("draft"), "Consent.status"),
        ("/status", json!("maybe"), "Consent.status"),
        ("/status", json!("inactive"), "Consent.status.extension"),
        ("/scope", coding(SCOPE, "research"), "Consent.scope.coding[0]"),
        ("/scope", coding(SCOPE, "treatment"), "Consent.scope"),
        ("/scope/text", json!("privacy"), "Consent.scope.text"),
        ("/category", json!([coding("http://loinc.org", "59284-0")]), "Consent.category[0].coding[0]"),
        ("/category/-", coding(CONSENT_TYPE, "preference"), "Consent.category"),
        ("/patient", json!([{}, {}]), "Consent.patient"),
        ("/patient/display", json!("Jane Smith"), "Consent.patient.display"),
        ("/patient/reference", json!("Patient/9000000009"), "Consent.patient.reference"),
        ("/patient/identifier/period", json!({ "end": "2020" }), "Consent.patient.identifier.period"),
        ("/dateTime", json!("2026-10"), "Consent.dateTime"),
        ("/dateTime", json!("2026-10-12T10:00:00"), "Consent.dateTime"),
        ("/performer/-", json!({ "type": "Patient" }), "Consent.performer"),
        ("/performer/0/type", json!("Practitioner"), "Consent.performer[0].type"),
        ("/performer/0/type", json!("RelatedPerson"), "Consent.performer[0]"),
        (
            "/organization/-",
            json!({ "identifier": { "system": ORGANISATION, "value": "gmca" } }),
            "Consent.organization",
        ),
        ("/organization/0/identifier/system", json!("urn:x"), "Consent.organization[0].identifier.system"),
        ("/sourceAttachment", json!({ "data": "AA==" }), "Consent.sourceAttachment"),
        ("/policy", json!([{ "uri": "https://x.example" }]), "Consent.policy"),
        ("/policyRule/coding", json!([{ "code": "OPTIN" }]), "Consent.policyRule.coding"),
        ("/verification", json!([{ "verified": true }]), "Consent.verification"),
        ("/provision/type", json!("deny"), "Consent.provision.type"),
        ("/provision/provision", json!([{ "type": "deny" }]), "Consent.provision.provision"),
        ("/provision/securityLabel", json!([{ "code": "R" }]), "Consent.provision.securityLabel"),
        ("/provision/class", json!([{ "code": "Observation" }]), "Consent.provision.class"),
        ("/provision/code", json!([{ "text": "x" }]), "Consent.provision.code"),
        ("/provision/data", json!([{ "meaning": "instance" }]), "Consent.provision.data"),
        ("/provision/dataPeriod", json!({ "end": "2020" }), "Consent.provision.dataPeriod"),
        (
            "/provision/actor/0/role",
            coding(PARTICIPATION, "CST"),
            "Consent.provision.actor[0].role.coding[0]",
        ),
        ("/provision/action/-", coding(ACTION, "use"), "Consent.provision.action[1].coding[0]"),
        (
            "/provision/purpose/0/system",
            json!("http://terminology.hl7.org/CodeSystem/v3-ActReason"),
            "Consent.provision.purpose[0]",
        ),
        ("/provision/purpose/0/code", json!("TREAT"), "Consent.provision.purpose[0]"),
        ("/provision/period/start", json!("2026-10-13T10:00:00Z"), "Consent.provision.period.start"),
        ("/provision/period/end", json!("2027"), "Consent.provision.period.end"),
        ("/meta/profile", json!(["https://x.example"]), "Consent.meta.profile"),
        ("/meta/security", json!([{ "code": "R" }]), "Consent.meta.security"),
        ("/_dateTime", json!({ "extension": [{ "url": "x" }] }), "Consent.dateTime"),
        ("/Jane Smith", json!(1), "Consent"),
    ];
    for (pointer, value, expected) in cases {
        let found = where_of(&with(pointer, value));
        assert!(found.iter().any(|(_, expression)| expression == expected), "{pointer}: {found:?}");
        let told = format!("{:?}", read(&with(pointer, json!({ "Jane Smith": 1 }))));
        assert!(!told.contains("Jane"), "{told}");
    }
}

#[test]
fn what_must_be_there_is_asked_for_by_name() {
    for pointer in [
        "/status",
        "/scope",
        "/category",
        "/patient",
        "/patient/identifier",
        "/performer",
        "/organization",
        "/policyRule",
        "/provision",
        "/extension",
        "/provision/actor",
        "/provision/purpose",
        "/provision/action",
        "/provision/actor/0/role",
        "/provision/actor/0/reference",
        "/patient/identifier/value",
    ] {
        let found = where_of(&without(pointer));
        let part = pointer.rsplit('/').next().unwrap();
        assert!(found.iter().any(|(_, expression)| expression.contains(part)), "{pointer}: {found:?}");
    }
    assert_eq!(read(&json!([])).unwrap_err()[0].expression, "Consent");
    assert_eq!(
        read(&json!({ "resourceType": "Patient" })).unwrap_err()[0].expression,
        "Consent.resourceType"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut resource = with("/provision/type", json!("deny"));
    resource["text"] = json!({ "status": "empty" });
    resource["patient"]["display"] = json!("x");
    assert_eq!(where_of(&resource).len(), 3);
}

#[test]
fn a_period_ends_with_its_last_instant() {
    let expires = |end: &str| read(&with("/provision/period/end", json!(end))).unwrap().expires_at.unwrap();
    for (end, first_outside) in [
        ("2027-03-28T00:59:59Z", "2027-03-28T01:00:00Z"),
        ("2027-03-28T01:59:59+01:00", "2027-03-28T01:00:00Z"),
        ("2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
        ("2027-01-01T00:00:00.5Z", "2027-01-01T00:00:00.6Z"),
        ("2027-01-01T00:00:00.999999Z", "2027-01-01T00:00:01Z"),
    ] {
        assert_eq!(expires(end), first_outside.parse::<Timestamp>().unwrap(), "{end}");
    }
    assert_eq!(where_of(&with("/provision/period/end", json!("2027-02-29T00:00:00Z"))).len(), 1);
    assert_eq!(where_of(&with("/provision/period/end", json!("2027-01-01T00:00:00.1234567Z"))).len(), 1);
}

#[test]
fn next_of_kin_and_a_property_attorney_have_no_authority() {
    for authority in ["next-of-kin", "property-attorney", ""] {
        let proxy = json!({ "type": "RelatedPerson", "extension": [
            { "url": AUTHORITY, "valueCode": authority },
            { "url": CAPACITY, "valueString": "cannot weigh the information" },
        ]});
        assert!(!where_of(&with("/performer/0", proxy)).is_empty(), "{authority}");
    }
}

fn said() -> impl Strategy<Value = Said> {
    use ConsentStatus as S;
    let status = prop::sample::select(vec![
        S::Requested,
        S::Given,
        S::Renewed,
        S::Refused,
        S::Expired,
        S::Withdrawn,
        S::Revoked,
        S::Invalidated,
        S::Unknown,
    ]);
    let kind = prop::sample::select(vec![
        ConsentType::GdprConsent,
        ConsentType::ConfidentialityConsent,
        ConsentType::ConsentToService,
        ConsentType::Preference,
    ]);
    let words = "[ -~é]{0,20}x[ -~]{0,20}";
    let given_by = prop_oneof![
        Just(GivenBy::Person),
        (
            prop::sample::select(vec![
                ProxyAuthority::HealthAndWelfareAttorney,
                ProxyAuthority::CourtDeputy,
                ProxyAuthority::ParentalResponsibility,
            ]),
            words,
        )
            .prop_map(|(authority, capacity_statement)| GivenBy::Proxy { authority, capacity_statement }),
    ];
    let purposes =
        prop::sample::subsequence(vec!["direct-care", "research", "safe-and-well-referral"], 1..=3);
    let instant = (0..4_000_000_000_000_000_i64).prop_map(|us| Timestamp::from_microsecond(us).unwrap());
    let whole = (0..4_000_000_000_i64).prop_map(|s| Timestamp::from_second(s).unwrap());
    let expires = prop::option::of(prop_oneof![instant.clone(), whole]);
    (
        (status, kind, prop::collection::vec("[a-z]{3,8}", 1..4), purposes, given_by),
        (
            prop::option::of(instant),
            expires,
            words,
            prop::option::of(words),
            prop::collection::vec(words, 1..3),
        ),
    )
        .prop_map(|((status, consent_type, recipients, purposes, given_by), rest)| {
            let (given_at, expires_at, notice_version, evidence_reference, data_categories) = rest;
            Said {
                status,
                consent_type,
                recipients,
                purposes: purposes.into_iter().map(str::to_owned).collect(),
                given_by,
                given_at,
                expires_at,
                notice_version,
                evidence_reference,
                data_categories,
                ..example()
            }
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(said in said()) {
        let resource = write(&said, Some("con_1"), Some("v"));
        prop_assert_eq!(read(&resource), Ok(said.clone()));
        // And through text, as it travels.
        let text: Value = serde_json::from_str(&resource.to_string()).unwrap();
        prop_assert_eq!(read(&text), Ok(said));
    }

    /// Whatever else is put anywhere into a resource, either it is refused or it is one that says the same.
    #[test]
    fn nothing_is_dropped_in_silence(said in said(), name in "[a-zA-Z]{1,12}", place in 0_usize..40) {
        let mut resource = write(&said, None, None);
        let mut objects = Vec::new();
        pointers(&resource, "", &mut objects);
        let pointer = objects[place % objects.len()].clone();
        let members = resource.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
        let was_there = members.insert(name.clone(), json!("something"));
        prop_assume!(was_there.is_none());
        let ours = ["id", "dateTime", "versionId", "lastUpdated", "type", "system", "display"];
        prop_assume!(!ours.contains(&name.as_str()));
        prop_assert!(read(&resource).is_err(), "{} at {}", name, pointer);
    }
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            members.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), found));
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(place, value)| pointers(value, &format!("{at}/{place}"), found));
        }
        _ => {}
    }
}
