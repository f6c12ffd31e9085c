//! The simulators answer as their README says.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

async fn sent(kind: Kind, request: Request<Body>) -> (StatusCode, Value) {
    let response = router(kind, RequestLog::default()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes =
        response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn read(path: &str) -> (StatusCode, Value) {
    let uri = format!("{}{path}", nhs::BASE_PATH);
    sent(Kind::Nhs, Request::get(uri).header("X-Request-ID", ID).body(Body::empty()).unwrap()).await
}

async fn post(kind: Kind, path: &str, body: Value) -> (StatusCode, Value) {
    sent(kind, Request::post(path).body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn nhs_answers_the_sandbox_records_unchanged() {
    for text in nhs::PATIENTS {
        let expected: Value = serde_json::from_str(text).unwrap();
        let (status, patient) = read(&format!("/Patient/{}", expected["id"].as_str().unwrap())).await;
        assert_eq!((status, patient), (StatusCode::OK, expected));
    }
    let (_, restricted) = read("/Patient/9000000025").await;
    for absent in ["address", "telecom", "generalPractitioner", "contact"] {
        assert!(restricted.get(absent).is_none(), "a restricted record must never gain its {absent}");
    }
}

#[tokio::test]
async fn nhs_refuses_as_pds_does() {
    let code =
        |outcome: &Value| outcome["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap().to_owned();
    let (status, outcome) = read(&format!("/Patient/{UNKNOWN_NHS_NUMBER}")).await;
    assert_eq!((status, code(&outcome).as_str()), (StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND"));
    let (status, outcome) = read("/Patient/9000000000").await;
    assert_eq!((status, code(&outcome).as_str()), (StatusCode::BAD_REQUEST, "INVALID_RESOURCE_ID"));
    let (status, outcome) = read(&format!("/Patient/{}", nhs::INVALIDATED)).await;
    assert_eq!((status, code(&outcome).as_str()), (StatusCode::NOT_FOUND, "INVALIDATED_RESOURCE"));
    let uri = format!("{}/Patient/9000000009", nhs::BASE_PATH);
    let (status, _) = sent(Kind::Nhs, Request::get(&uri).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    let odd = Request::get(&uri).header("X-Request-ID", "1").body(Body::empty()).unwrap();
    assert_eq!(code(&sent(Kind::Nhs, odd).await.1), "INVALID_VALUE");
}

#[tokio::test]
async fn nhs_searches() {
    let (_, found) = read("/Patient?family=Smith&gender=female&birthdate=eq2010-10-22").await;
    assert_eq!(found["total"], 1);
    let (_, none) = read("/Patient?family=Nobody&gender=female&birthdate=eq2010-10-22").await;
    assert_eq!((&none["resourceType"], &none["total"]), (&json!("Bundle"), &json!(0)));
    assert_eq!(read("/Patient?family=Smith").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn council_and_fire_answer_the_same_case_twice() {
    for (reference, number) in council::references() {
        let by_reference = post(Kind::Council, "/v1/person-lookups", json!({ "reference": reference })).await;
        let by_number = post(Kind::Council, "/v1/person-lookups", json!({ "nhs_number": number })).await;
        assert_eq!(by_reference, by_number);
        assert_eq!(by_number.1["nhs_number"], number);
        let (status, visit) = post(Kind::Fire, "/v1/visit-lookups", json!({ "reference": reference })).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!visit.to_string().contains(number), "fire holds no NHS numbers");
        assert_eq!(visit["uprn"], by_number.1["uprn"], "one home");
    }
    let both = json!({ "reference": "SWR-2041", "nhs_number": "9732110317" });
    assert_eq!(post(Kind::Council, "/v1/person-lookups", both).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        post(Kind::Fire, "/v1/visit-lookups", json!({ "reference": "SWR-0000" })).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn every_number_in_the_tables_is_a_valid_one() {
    let faults = faults::ALL.iter().map(|(_, number, _)| *number);
    let cases = council::references().map(|(_, number)| number);
    for number in faults.chain(cases).chain([UNKNOWN_NHS_NUMBER, nhs::INVALIDATED]) {
        assert!(nhs::is_nhs_number(number), "{number}");
    }
    let (_, large) = post(Kind::Council, "/v1/person-lookups", json!({ "reference": "FAULT-LARGE" })).await;
    assert!(large["filler"].as_str().unwrap().len() >= 10_000_000);
}
