//! FHIR R4 Consents, in and out.

use acceptance::{Answer, Request, World};
use reqwest::StatusCode;
use serde_json::{Value, json};

const FHIR: &str = "application/fhir+json";
const OURS: &str = "https://concordat.example/fhir";

fn consent(reference: &str) -> Value {
    let organisation = |id: &str| json!({ "type": "Organization", "identifier": { "system": format!("{OURS}/Id/organisation"), "value": id } });
    let patient = json!({ "identifier": { "system": format!("{OURS}/Id/local/trafford-council"), "value": reference } });
    let coded = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let hl7 = "http://terminology.hl7.org/CodeSystem";
    json!({
        "resourceType": "Consent",
        "extension": [
            { "url": format!("{OURS}/StructureDefinition/consent-method"), "valueCode": "in-person" },
            { "url": format!("{OURS}/StructureDefinition/data-category"), "valueString": "needs" },
        ],
        "status": "active",
        "scope": coded(&format!("{hl7}/consentscope"), "patient-privacy"),
        "category": [coded(&format!("{OURS}/CodeSystem/consent-type"), "confidentiality-consent")],
        "patient": patient,
        "dateTime": "2026-10-12T10:00:00Z",
        "performer": [patient],
        "organization": [organisation("trafford-council")],
        "policyRule": { "text": "SW-2" },
        "provision": {
            "period": { "end": "2027-10-11T23:59:59Z" },
            "actor": [{
                "role": coded(&format!("{hl7}/v3-ParticipationType"), "IRCP"),
                "reference": organisation("gmca"),
            }],
            "action": [coded(&format!("{hl7}/consentaction"), "disclose")],
            "purpose": [{ "system": format!("{OURS}/CodeSystem/purpose"), "code": "safe-and-well-referral" }],
        },
    })
}

fn send(world: &World, method: &'static str, path: &str, reference: &str, body: Option<Value>) -> Request {
    let mut request = world.bare("council", method, path, "safe-and-well-referral");
    request.record = Some(("local:trafford-council".to_owned(), reference.to_owned()));
    request.body = body;
    request.content_type = Some(FHIR);
    request
}

fn create(world: &World, reference: &str, body: Value) -> Request {
    send(world, "POST", "/fhir/Consent", reference, Some(body))
}

fn expressions(answer: &Answer) -> Vec<String> {
    let issues = answer.body["issue"].as_array().unwrap();
    issues.iter().map(|issue| issue["expression"][0].as_str().unwrap_or("").to_owned()).collect()
}

fn search(world: &World, form: &str) -> Request {
    let mut request = send(world, "POST", "/fhir/Consent/_search", "SWR-2044", None);
    request.content_type = Some("application/x-www-form-urlencoded");
    request.text = Some(form.to_owned());
    request
}

#[tokio::test]
async fn a_consent_that_is_recorded_as_fhir_decides_like_any_other() {
    let world = World::new().await;
    assert_eq!(world.send(world.referral("SWR-2044")).await.code(), "no-record-available");
    let created = world.send(create(&world, "SWR-2044", consent("SWR-2044"))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.headers["content-type"], FHIR);
    assert!(created.headers["sharing-receipt"].contains("log_position"), "{:?}", created.headers);
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert!(created.headers["location"].ends_with(&format!("/fhir/Consent/{id}")));
    assert_eq!(created.body["provision"]["period"]["end"], "2027-10-11T23:59:59Z");
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK);
    // The same record, as the other face has it.
    let path = format!("/v1/consents/{id}");
    let plain = world.send(world.bare("council", "GET", &path, "safe-and-well-referral")).await;
    assert_eq!(plain.body["expires_at"], "2027-10-12T00:00:00Z");
    assert_eq!(plain.body["details"]["notice_version"], "SW-2");
    // Read back, it names the person by pseudonym; sent back with another status, it changes.
    let path = format!("/fhir/Consent/{id}");
    let held = world.send(world.bare("council", "GET", &path, "safe-and-well-referral")).await;
    assert_eq!(held.body["patient"]["identifier"]["system"], format!("{OURS}/Id/pseudonym"));
    assert!(!held.body.to_string().contains("SWR-2044"));
    let mut ended = held.body.clone();
    ended["status"] = json!("inactive");
    let unclear = world.send(send(&world, "PUT", &path, "SWR-2044", Some(ended.clone()))).await;
    assert_eq!(expressions(&unclear), ["Consent.status.extension"], "{unclear:?}");
    ended["_status"] = json!({ "extension": [{ "url": format!("{OURS}/StructureDefinition/consent-status"), "valueCode": "withdrawn" }] });
    let mut stale = send(&world, "PUT", &path, "SWR-2044", Some(ended.clone()));
    stale.if_match = Some("W/\"0000000000000000\"".to_owned());
    assert_eq!(world.send(stale).await.status, StatusCode::PRECONDITION_FAILED);
    let mut current = send(&world, "PUT", &path, "SWR-2044", Some(ended.clone()));
    current.if_match = Some(held.headers["etag"].clone());
    let withdrawn = world.send(current).await;
    assert_eq!(
        (withdrawn.status, &withdrawn.body["status"]),
        (StatusCode::OK, &json!("inactive")),
        "{withdrawn:?}"
    );
    assert_ne!(withdrawn.headers["etag"], held.headers["etag"]);
    assert_eq!(world.send(world.referral("SWR-2044")).await.code(), "no-record-available");
    let again = world.send(send(&world, "PUT", &path, "SWR-2044", Some(ended))).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let kinds: Vec<_> = world.entries().await.iter().map(|entry| entry.body.kind()).collect();
    for kind in ["consent_recorded", "consent_withdrawn", "subject_record_read"] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    world.verify().await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_element_and_nothing_is_recorded() {
    let world = World::new().await;
    let spoilt = |spoil: fn(&mut Value)| {
        let mut body = consent("SWR-2044");
        spoil(&mut body);
        body
    };
    let cases: [(fn(&mut Value), &str); 12] = [
        (|body| body["provision"]["provision"] = json!([{ "type": "deny" }]), "Consent.provision.provision"),
        (|body| body["provision"]["type"] = json!("deny"), "Consent.provision.type"),
        (|body| body["provision"]["data"] = json!([{ "meaning": "instance" }]), "Consent.provision.data"),
        (|body| body["provision"]["purpose"][0]["code"] = json!("TREAT"), "Consent.provision.purpose[0]"),
        (|body| body["organization"][0]["identifier"]["value"] = json!("nobody"), "Consent.organization"),
        (
            |body| body["provision"]["actor"][0]["reference"]["identifier"]["value"] = json!("x y"),
            "Consent.provision.actor",
        ),
        (|body| body["patient"]["display"] = json!("Jane Smith"), "Consent.patient.display"),
        (
            |body| body["patient"]["identifier"]["system"] = json!("urn:oid:2.16"),
            "Consent.patient.identifier.system",
        ),
        (|body| body["dateTime"] = json!("2026-10-12"), "Consent.dateTime"),
        (|body| body["dateTime"] = json!("2027-01-01T00:00:00Z"), "Consent.dateTime"),
        (
            |body| body["provision"]["period"]["end"] = json!("2020-01-01T00:00:00Z"),
            "Consent.provision.period.end",
        ),
        (|body| body["extension"][0]["valueCode"] = json!("by-pigeon"), "Consent.extension"),
    ];
    for (spoil, element) in cases {
        let mut body = spoilt(spoil);
        body["performer"] = json!([body["patient"]]);
        let answer = world.send(create(&world, "SWR-2044", body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{element}: {answer:?}");
        assert!(expressions(&answer).iter().any(|found| found == element), "{element}: {answer:?}");
        assert!(!answer.body.to_string().contains("Jane"));
    }
    // Another person than the signed context's; not JSON; another media type; too much.
    let other = world.send(create(&world, "SWR-2042", consent("SWR-2044"))).await;
    assert_eq!(other.body["issue"][0]["details"]["coding"][0]["code"], "context-mismatch", "{other:?}");
    let mut broken = create(&world, "SWR-2044", json!({}));
    broken.text = Some("{\"resourceType\":\"Consent\",\"resourceType\":\"Consent\"}".to_owned());
    assert_eq!(world.send(broken).await.status, StatusCode::BAD_REQUEST);
    let mut xml = create(&world, "SWR-2044", consent("SWR-2044"));
    xml.content_type = Some("application/fhir+xml");
    assert_eq!(world.send(xml).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let huge = spoilt(|body| body["policyRule"]["text"] = json!("x".repeat(70_000)));
    assert_eq!(world.send(create(&world, "SWR-2044", huge)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let kinds: Vec<_> = world.entries().await.iter().map(|entry| entry.body.kind()).collect();
    assert!(!kinds.contains(&"consent_recorded"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "request_refused").count(), 16);
}

#[tokio::test]
async fn a_search_is_by_person_in_the_body_and_shows_what_the_caller_may_see() {
    let world = World::new().await;
    let created = world.send(create(&world, "SWR-2044", consent("SWR-2044"))).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let person = format!("patient.identifier={OURS}/Id/local/trafford-council%7CSWR-2044");
    let found = world.send(search(&world, &person)).await;
    assert_eq!((found.status, &found.body["total"]), (StatusCode::OK, &json!(1)), "{found:?}");
    assert_eq!(found.body["entry"][0]["resource"]["id"], created.body["id"]);
    assert_eq!(found.body["entry"][0]["resource"]["patient"]["identifier"]["value"], "SWR-2044");
    for form in
        ["", "patient=1", "status=active", "patient.identifier=SWR-2044", &format!("{person}&_count=5")]
    {
        let refused = world.send(search(&world, form)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{form}");
    }
    let mut in_address = search(&world, "");
    in_address.method = "GET";
    in_address.path = format!("/fhir/Consent?{person}");
    in_address.text = None;
    assert_eq!(world.send(in_address).await.status, StatusCode::BAD_REQUEST);
    // An organisation that it does not name sees none, nor the consent itself.
    let mut foreign = search(&world, &person);
    (foreign.certificate_of, foreign.tokens_of) = ("nhs", "nhs");
    "direct-care".clone_into(&mut foreign.purpose);
    let foreign = world.send(foreign).await;
    assert_eq!((foreign.status, &foreign.body["total"]), (StatusCode::OK, &json!(0)), "{foreign:?}");
    let path = format!("/fhir/Consent/{}", created.body["id"].as_str().unwrap());
    let foreign = world.send(world.bare("nhs", "GET", &path, "direct-care")).await;
    assert_eq!(
        (foreign.status, &foreign.body["resourceType"]),
        (StatusCode::NOT_FOUND, &json!("OperationOutcome"))
    );
}

#[tokio::test]
async fn only_the_status_changes_and_nobody_learns_whose_it_is() {
    let world = World::new().await;
    let mut wider = consent("SWR-2044");
    let mut nhs = wider["provision"]["actor"][0].clone();
    nhs["reference"]["identifier"]["value"] = json!("nhs-england");
    wider["provision"]["actor"].as_array_mut().unwrap().push(nhs);
    let created = world.send(create(&world, "SWR-2044", wider)).await;
    let id = created.body["id"].as_str().unwrap().to_owned();
    let path = format!("/fhir/Consent/{id}");
    let held = world.send(world.bare("council", "GET", &path, "safe-and-well-referral")).await.body;
    let changed = |element: &str, value: Value| {
        let mut body = held.clone();
        body["status"] = json!("entered-in-error");
        *body.pointer_mut(element).unwrap() = value;
        body
    };
    for (pointer, value, element) in [
        ("/policyRule/text", json!("SW-3"), "Consent.policyRule.text"),
        ("/dateTime", json!("2026-10-12T10:00:01Z"), "Consent.provision.period.start"),
        ("/provision/period/end", json!("2030-01-01T00:00:00Z"), "Consent.provision.period.end"),
        ("/provision/purpose/0/code", json!("direct-care"), "Consent.provision.purpose"),
        ("/id", json!("con_00000000000000000000000000000000"), "Consent.id"),
    ] {
        let answer = world.send(send(&world, "PUT", &path, "SWR-2044", Some(changed(pointer, value)))).await;
        assert_eq!(expressions(&answer), [element], "{answer:?}");
    }
    // The NHS may see it, and may end it as it read it, but cannot try out who it is about.
    let local = json!({ "type": "Patient", "identifier": { "system": format!("{OURS}/Id/local/trafford-council"), "value": "SWR-2044" } });
    let mut named = held.clone();
    (named["patient"], named["performer"]) = (local.clone(), json!([local]));
    named["status"] = json!("entered-in-error");
    let mut probe = send(&world, "PUT", &path, "SWR-2044", Some(named.clone()));
    (probe.certificate_of, probe.tokens_of) = ("nhs", "nhs");
    "direct-care".clone_into(&mut probe.purpose);
    assert_eq!(expressions(&world.send(probe).await), ["Consent.patient"]);
    let wrong = send(&world, "PUT", &path, "SWR-2042", Some(named.clone()));
    assert_eq!(expressions(&world.send(wrong).await), ["Consent.patient"]);
    let right = world.send(send(&world, "PUT", &path, "SWR-2044", Some(named))).await;
    assert_eq!(
        (right.status, &right.body["status"]),
        (StatusCode::OK, &json!("entered-in-error")),
        "{right:?}"
    );
}

#[tokio::test]
async fn a_renewal_ends_later_and_the_server_says_what_it_can() {
    let world = World::new().await;
    let created = world.send(create(&world, "SWR-2044", consent("SWR-2044"))).await;
    let path = format!("/fhir/Consent/{}", created.body["id"].as_str().unwrap());
    let mut renewed = created.body.clone();
    renewed["_status"] = json!({ "extension": [{ "url": format!("{OURS}/StructureDefinition/consent-status"), "valueCode": "renewed" }] });
    renewed["provision"]["period"]["end"] = json!("2020-01-01T00:00:00Z");
    let past = world.send(send(&world, "PUT", &path, "SWR-2044", Some(renewed.clone()))).await;
    assert_eq!(expressions(&past), ["Consent.provision.period.end"], "{past:?}");
    renewed["provision"]["period"]["end"] = json!("2028-10-11T23:59:59Z");
    let renewed = world.send(send(&world, "PUT", &path, "SWR-2044", Some(renewed))).await;
    assert_eq!(renewed.body["provision"]["period"]["end"], "2028-10-11T23:59:59Z", "{renewed:?}");
    let statement = world.send(world.bare("council", "GET", "/fhir/metadata", "direct-care")).await;
    assert_eq!(statement.body["rest"][0]["resource"][0]["type"], "Consent");
    // Expired is what it says once it has run out, though nobody changed it.
    world.clock.advance_s(3 * 365 * 24 * 3600);
    let run_out = world.send(world.bare("council", "GET", &path, "safe-and-well-referral")).await;
    assert!(matches!(run_out.status, StatusCode::OK | StatusCode::FORBIDDEN), "{run_out:?}");
}
