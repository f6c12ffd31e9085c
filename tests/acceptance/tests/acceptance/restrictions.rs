//! A mark that only the NHS has, and a record that the council tells.

use acceptance::{Answer, Request, World};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::json;

/// The council knows nothing of this person's mark; the NHS does.
const MARKED: &str = "SWR-2045";
const ORDINARY: &str = "SWR-2044";

async fn referred(world: &World, reference: &str) -> Answer {
    assert_eq!(world.send(world.consent(reference)).await.status, StatusCode::CREATED);
    world.clock.advance_s(60);
    world.send(world.referral(reference)).await
}

/// Settings in which the NHS cannot be reached.
async fn without_nhs() -> World {
    let folder = World::new().await.stop().await;
    World::start_with(folder, 1_000_000, |settings| {
        let nhs = settings.providers.iter_mut().find(|(id, _)| id.as_str() == "nhs-pds").unwrap().1;
        nhs.base_url = Some("https://127.0.0.1:9/nowhere".to_owned());
    })
    .await
}

async fn observed(world: &World) -> Vec<String> {
    let mut entries = world.entries().await;
    match entries.pop().unwrap().body {
        Body::Release { observed, .. } | Body::Closure { observed, .. } => observed,
        other => panic!("{}", other.kind()),
    }
}

#[tokio::test]
async fn the_nhs_is_asked_before_the_council_tells_where_somebody_is() {
    let world = World::new().await;
    let told = referred(&world, ORDINARY).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    assert!(told.body["record"]["person.address"].is_object(), "{told:?}");
    assert_eq!(observed(&world).await, ["restriction-checked:nhs-pds"]);
    let marked = referred(&world, MARKED).await;
    assert_eq!(marked.status, StatusCode::OK, "{marked:?}");
    for located in ["person.address", "person.uprn", "referral.access_notes"] {
        assert!(marked.body["record"].get(located).is_none(), "{located}: {marked:?}");
    }
    assert_eq!(observed(&world).await, ["restriction-checked:nhs-pds", "restricted:nhs-pds"]);
    let withheld = marked.body["withheld"].to_string();
    assert!(withheld.contains("not_available") && !withheld.contains("restrict"), "{withheld}");
    // From now on it is known, whoever is asked.
    let again = world.send(world.referral(MARKED)).await;
    assert!(again.body["record"].get("person.address").is_none(), "{again:?}");
    world.verify().await;
}

#[tokio::test]
async fn without_the_nhs_nothing_is_told_but_in_an_emergency_all_but_the_place() {
    let world = without_nhs().await;
    let told = referred(&world, ORDINARY).await;
    assert_eq!((told.status, told.code()), (StatusCode::BAD_GATEWAY, "provider-unavailable"), "{told:?}");
    let nobody = referred(&world, "SWR-9000").await;
    assert_eq!((nobody.status, nobody.code()), (StatusCode::BAD_GATEWAY, "provider-unavailable"));
    let without_consent = world.send(world.referral("SWR-2043")).await;
    assert_eq!(without_consent.shape(), nobody.shape(), "all three are one answer");
    let person = ("local:trafford-council", ORDINARY);
    let declared = world.send(emergency(&world, person)).await;
    assert_eq!(declared.status, StatusCode::CREATED, "{declared:?}");
    let mut question = world.question("fire", "trafford-asc", "vital-interests", person);
    let body = question.body.as_mut().unwrap();
    body["items"] = json!(["person.name", "person.address", "health.home_oxygen"]);
    body["break_glass"] = declared.body["id"].clone();
    let answer = world.send(question).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.body["record"].get("person.address").is_none(), "{answer:?}");
    assert!(answer.body["record"].get("health.home_oxygen").is_some(), "{answer:?}");
    assert_eq!(observed(&world).await, ["restriction-unconfirmed:nhs-pds"]);
    world.verify().await;
}

fn emergency(world: &World, person: (&str, &str)) -> Request {
    world.post(
        "fire",
        "/v1/break-glass",
        "vital-interests",
        person,
        json!({
            "reason_code": "immediate-risk-to-life",
            "cannot_consent": true,
            "statement": "Smoke seen at the address; the person does not answer and uses oxygen.",
        }),
    )
}

#[tokio::test]
async fn without_the_check_the_address_is_told() {
    // The control: the mark that protects is the one that was asked for.
    let check = "restriction_check = \"nhs-pds\"";
    let world = World::with_policies(&[("catalogue/trafford-asc.toml", check, "")]).await;
    let told = referred(&world, MARKED).await;
    assert!(told.body["record"]["person.address"].is_object(), "{told:?}");
}
