//! Asking for a person: what is released, what is refused, and what the two leave behind.

use acceptance::World;
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_minimised_permit_leaves_an_intent_and_a_release() {
    let world = World::new().await;
    let answer = world.send(world.prevention("9732110317")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        answer.body["record"],
        json!({
            "person.family_name": "Sanderson",
            "person.given_name": "A",
            "person.birth_date": "80+",
            "person.address": { "line": ["3984 Tomika Greens"], "postalCode": "ZY5T2PX" },
            "person.gender": "male",
        })
    );
    assert_eq!(answer.body["obligations"]["onward_sharing"], false);
    assert_eq!(answer.body["obligations"]["retain_until"], "2027-05-22T12:00:00Z");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(world.last_kinds(2).await, ["intent", "release"]);
    assert_eq!(world.asked["nhs"].asked().len(), 1);
    world.verify().await;
}

#[tokio::test]
async fn items_asked_for_and_not_agreed_are_named() {
    let world = World::new().await;
    let mut request = world.prevention("9732110317");
    request.body.as_mut().unwrap()["items"] = json!(["person.birth_date", "care.gp_practice"]);
    let answer = world.send(request).await;
    assert_eq!(answer.body["record"], json!({ "person.birth_date": "80+" }));
    assert_eq!(answer.body["withheld"], json!([{ "item": "care.gp_practice", "reason_code": "not_agreed" }]));
}

#[tokio::test]
async fn a_refusal_about_the_agreement_asks_nobody() {
    let world = World::new().await;
    let answer = world
        .send(world.question("fire", "nhs-pds", "safe-and-well-referral", ("nhs-number", "9732110317")))
        .await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "no-agreement"));
    assert!(answer.body["receipt"]["log_position"].is_u64());
    assert_eq!(world.last_kinds(1).await, ["refusal"]);
    assert!(world.asked["nhs"].asked().is_empty());
}

#[tokio::test]
async fn a_decision_alone_releases_nothing() {
    let world = World::new().await;
    let mut request = world.prevention("9732110317");
    request.path = "/v1/decisions".to_owned();
    let answer = world.send(request).await;
    assert_eq!((answer.status, &answer.body["decision"]), (StatusCode::OK, &json!("permit")));
    assert!(!answer.body.to_string().contains("Sanderson"), "{}", answer.body);
    assert_eq!(world.last_kinds(2).await, ["intent", "closure"]);
    world.verify().await;
}

/// Everything that depends on the person, against a number that belongs to nobody.
#[tokio::test]
async fn refusals_about_a_person_are_those_of_nobody() {
    let world = World::new().await;
    let unknown = world.send(world.prevention("9990000239")).await;
    assert_eq!((unknown.status, unknown.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    assert_eq!(world.send(world.objection("9736363015")).await.status, StatusCode::CREATED);
    let objected = world.send(world.prevention("9736363015")).await;
    let restricted = world.send(world.prevention("9000000025")).await;
    let restricted_again = world.send(world.prevention("9000000025")).await;
    let too_young = world.send(world.prevention("5900046192")).await;
    let dead = world.send(world.prevention("9000000009")).await;
    for answer in [&objected, &restricted, &restricted_again, &too_young, &dead] {
        assert_eq!(answer.shape(), unknown.shape());
    }
    // The true reasons are in the ledger alone.
    let told: Vec<_> = world.entries().await.iter().map(|entry| format!("{:?}", entry.body)).collect();
    for reason in ["subject-unknown", "objection", "restricted", "out-of-cohort", "deceased"] {
        assert!(told.iter().any(|entry| entry.contains(reason)), "{reason}");
    }
    // The objector was never asked about: a decoy was.
    let asked: Vec<_> = world.asked["nhs"].asked().into_iter().filter_map(|asked| asked.key).collect();
    assert!(!asked.contains(&"9736363015".to_owned()));
    assert!(asked.contains(&upstreams::UNKNOWN_NHS_NUMBER.to_owned()));
    // Two entries each, so that places in the ledger tell nothing either.
    assert_eq!(world.last_kinds(2).await, ["intent", "closure"]);
    world.verify().await;
}

#[tokio::test]
async fn a_restricted_flag_seen_once_holds_for_every_source() {
    let world = World::new().await;
    // The council does not know of the restriction; the NHS does.
    let clinician =
        |world: &World| world.question("nhs", "trafford-asc", "direct-care", ("nhs-number", "9000000025"));
    let social_worker = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9000000025"));
    let answer = world.send(social_worker).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = world.send(clinician(&world)).await;
    let record = answer.body["record"].as_object().unwrap();
    assert!(record.contains_key("person.name"), "{record:?}");
    for locating in ["person.address", "care.key_worker", "care.visits"] {
        assert!(!record.contains_key(locating), "{locating}");
    }
    assert_eq!(answer.body["withheld"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_council_flag_hides_location() {
    let world = World::new().await;
    let number = upstreams::council::ADDRESS_WITHHELD;
    let answer =
        world.send(world.question("nhs", "trafford-asc", "direct-care", ("nhs-number", number))).await;
    assert!(answer.body["record"].get("person.address").is_none(), "{}", answer.body);
    assert!(answer.body["record"].get("needs.mobility").is_some());
}

#[tokio::test]
async fn an_objection_under_one_identifier_holds_under_another() {
    let world = World::new().await;
    assert_eq!(world.send(world.consent("SWR-2042")).await.status, StatusCode::CREATED);
    assert_eq!(world.send(world.referral("SWR-2042")).await.status, StatusCode::OK);
    // The person objects by NHS number; fire asks by the referral's number.
    let mut objection = world.objection("9733162043");
    objection.body.as_mut().unwrap()["purposes"] = json!(["safe-and-well-referral"]);
    assert_eq!(world.send(objection).await.status, StatusCode::CREATED);
    let answer = world.send(world.referral("SWR-2042")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    world.verify().await;
}

#[tokio::test]
async fn an_objection_known_only_through_the_record_is_found_before_release() {
    let world = World::new().await;
    let mut objection = world.objection("9733162043");
    objection.body.as_mut().unwrap()["purposes"] = json!(["safe-and-well-referral"]);
    world.send(objection).await;
    world.send(world.consent("SWR-2042")).await;
    // Nothing has linked the two identifiers yet but the council's own record.
    let answer = world.send(world.referral("SWR-2042")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    assert_eq!(world.asked["council"].asked().len(), 1);
    world.verify().await;
}

#[tokio::test]
async fn what_the_law_leaves_to_a_person_is_referred() {
    let world = World::new().await;
    let answer = world
        .send(world.question(
            "fire",
            "trafford-asc",
            "safeguarding-adult",
            ("local:trafford-council", "SWR-2041"),
        ))
        .await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "referred-to-a-person"));
    assert_eq!(world.last_kinds(1).await, ["referral"]);
    assert!(world.asked["council"].asked().is_empty());
}

#[tokio::test]
async fn a_policy_reload_takes_effect_and_a_broken_one_does_not() {
    let world = World::new().await;
    let agreement = world.folder.path().join("policies/agreements/gm-fire-prevention-over-65s.toml");
    let text = std::fs::read_to_string(&agreement).unwrap();
    std::fs::write(&agreement, text.replace("status = \"active\"", "status = ")).unwrap();
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    assert_eq!(world.last_kinds(1).await, ["policy_set_rejected"]);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK, "the old set stays");
    std::fs::write(&agreement, text.replace("status = \"active\"", "status = \"suspended\"")).unwrap();
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    let answer = world.send(world.prevention("9732110317")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "agreement-not-active"));
    world.verify().await;
}
