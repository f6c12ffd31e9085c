//! The FHIR face.

use acceptance::{Request, World};
use reqwest::StatusCode;

fn read(world: &World, path: &str, number: &str) -> Request {
    let mut request = world.bare("council", "GET", path, "direct-care");
    request.record = Some(("nhs-number".to_owned(), number.to_owned()));
    request
}

#[tokio::test]
async fn a_smaller_patient_is_still_a_patient() {
    let world = World::new().await;
    let answer = world.send(read(&world, "/fhir/nhs-pds/Patient/9736363023", "9736363023")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/fhir+json");
    assert_eq!(answer.body["meta"]["tag"][0]["code"], "SUBSETTED");
    assert_eq!(answer.body["name"][0]["family"], "MELLOY");
    assert!(answer.body["name"][0].get("period").is_none());
    assert!(answer.body["identifier"][0].get("extension").is_none());
    assert!(answer.headers["sharing-terms"].contains("retain_until"));
    assert_eq!(world.last_kinds(2).await, ["intent", "release"]);
}

#[tokio::test]
async fn search_is_by_identifier_and_nothing_else() {
    let world = World::new().await;
    let path = "/fhir/nhs-pds/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9736363023";
    let answer = world.send(read(&world, path, "9736363023")).await;
    assert_eq!((answer.status, &answer.body["total"]), (StatusCode::OK, &1.into()), "{answer:?}");
    assert_eq!(answer.body["entry"][0]["resource"]["id"], "9736363023");
    for query in [
        "",
        "family=MELLOY",
        "_include=*&identifier=x",
        "identifier=9736363023",
        "identifier=a&identifier=b",
        "_elements=name",
    ] {
        let answer = world.send(read(&world, &format!("/fhir/nhs-pds/Patient?{query}"), "9736363023")).await;
        assert_eq!(
            (answer.status, &answer.body["resourceType"]),
            (StatusCode::BAD_REQUEST, &"OperationOutcome".into()),
            "{query}"
        );
    }
    let extra =
        world.send(read(&world, "/fhir/nhs-pds/Patient/9736363023?_summary=false", "9736363023")).await;
    assert_eq!(extra.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.asked["nhs"].asked().len(), 1);
}

#[tokio::test]
async fn errors_are_operation_outcomes_and_name_nobody() {
    let world = World::new().await;
    for (number, status) in [("9000000000", StatusCode::BAD_REQUEST), ("9990000239", StatusCode::NOT_FOUND)] {
        let answer = world.send(read(&world, &format!("/fhir/nhs-pds/Patient/{number}"), "9990000239")).await;
        assert_eq!((answer.status, &answer.body["resourceType"]), (status, &"OperationOutcome".into()));
        assert!(!answer.body.to_string().contains(number));
    }
    let mismatch = world.send(read(&world, "/fhir/nhs-pds/Patient/9732110317", "9736363023")).await;
    assert_eq!(mismatch.body["issue"][0]["details"]["coding"][0]["code"], "context-mismatch");
    let not_fhir = world.send(read(&world, "/fhir/trafford-asc/Patient/9732110317", "9732110317")).await;
    assert_eq!(not_fhir.status, StatusCode::NOT_FOUND);
    // The record holder's unrequested extras do not get through this face either.
    let extras = upstreams::faults::nhs_number(upstreams::faults::Fault::Extras);
    let answer = world.send(read(&world, &format!("/fhir/nhs-pds/Patient/{extras}"), extras)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.body.to_string().contains(upstreams::faults::CANARY), "{}", answer.body);
}
