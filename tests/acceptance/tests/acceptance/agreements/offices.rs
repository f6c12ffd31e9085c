//! Who holds which offices, what they may in them, and where they are told.

use std::collections::BTreeSet;

use super::{
    talks::{argue, disputed},
    *,
};
use crate::alerts::Receivers;

async fn ask(world: &World, partner: &'static str, body: Value) -> Answer {
    world.send(by(world.act(partner, "/v1/agreement-officers", PURPOSE, body), lead)).await
}

async fn confirm(world: &World, partner: &'static str, asked: &Answer) -> Answer {
    let path = format!("/v1/agreement-officers/{}/confirm", asked.body["id"].as_str().unwrap());
    world.send(by(world.bare(partner, "POST", &path, PURPOSE), other)).await
}

/// Puts somebody in an office that signs nothing, with an address.
async fn in_office(world: &World, partner: &'static str, person: &str, role: &str) {
    let address = format!("{person}@{partner}.example.org");
    let asked = ask(
        world,
        partner,
        json!({ "person": person, "name": "A. Person", "role": role, "address": address }),
    )
    .await;
    assert_eq!((asked.status, &asked.body["address"]), (StatusCode::CREATED, &json!(address)), "{asked:?}");
    assert_eq!(confirm(world, partner, &asked).await.status, StatusCode::OK);
}

fn to(mails: &[Value]) -> BTreeSet<Vec<String>> {
    mails.iter().map(|mail| serde_json::from_value(mail["to"].clone()).unwrap()).collect()
}

#[tokio::test]
async fn each_level_of_a_dispute_reaches_its_people_and_is_theirs_to_settle() {
    let (receivers, world) = Receivers::world(|_| {}).await;
    for (person, role) in [("keeper", "governance-lead"), ("dpo", "dpo"), ("chair", "board")] {
        in_office(&world, "fire", person, role).await;
    }
    in_office(&world, "nhs", "keeper", "governance-lead").await;
    proposed(&world, &terms()).await;
    let id = disputed(&world).await;
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    assert_eq!(receivers.received("mails"), Vec::<Value>::new(), "practitioners talk among themselves");
    let further = async || {
        let before = receivers.received("mails").len();
        let escalated =
            argue(&world, "fire", lead, (&id, json!({ "step": "escalate", "text": "Not settled." }))).await;
        assert_eq!(escalated.status, StatusCode::OK, "{escalated:?}");
        gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
        (escalated.body["level"].as_str().unwrap().to_owned(), to(&receivers.received("mails")[before..]))
    };
    let officers = "ig@gmca.example.org".to_owned();
    let keeper_of = |partner: &str| format!("keeper@{partner}.example.org");
    // The record holder's organisation has no channels: its lead is told all the same.
    let told = BTreeSet::from([vec![officers.clone(), keeper_of("fire")], vec![keeper_of("nhs")]]);
    assert_eq!(further().await, ("governance-leads".to_owned(), told));
    let settle = json!({ "step": "settle", "outcome": "terms-stand", "text": "As it is." });
    assert_eq!(
        argue(&world, "fire", other, (&id, settle.clone())).await.code(),
        "step-level-decides",
        "there is a lead"
    );
    let settled = argue(&world, "fire", keeper, (&id, settle.clone())).await;
    assert_eq!(
        (settled.status, &settled.body["settled_by"]),
        (StatusCode::OK, &json!(["governance-lead"])),
        "{settled:?}"
    );
    let told = BTreeSet::from([vec![officers.clone(), "dpo@fire.example.org".to_owned()]]);
    assert_eq!(further().await, ("dpo-and-caldicott".to_owned(), told));
    let told = BTreeSet::from([vec![officers.clone(), "siro@gmca.example.org".to_owned()]]);
    assert_eq!(further().await, ("siros".to_owned(), told));
    let top = vec![officers.clone(), "siro@gmca.example.org".to_owned(), "chair@fire.example.org".to_owned()];
    assert_eq!(further().await, ("boards".to_owned(), BTreeSet::from([top.clone()])));
    assert_eq!(argue(&world, "fire", chair, (&id, settle)).await.status, StatusCode::OK);
    // Their time runs out too, and they are told.
    let before = receivers.received("mails").len();
    world.clock.advance_s(31 * 86_400);
    assert_eq!(watch::pass(&world.app).await.unwrap(), 1);
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    assert_eq!(to(&receivers.received("mails")[before..]), BTreeSet::from([top]));
    let wire = format!("{:?}", receivers.received("mails"));
    for name in ["pilot", "keeps what NHS England", "A. Person"] {
        assert!(!wire.contains(name), "{name}: {wire}");
    }
    world.verify().await;
}

#[tokio::test]
async fn an_address_is_its_organisations_and_an_address() {
    let world = World::new().await;
    in_office(&world, "nhs", "keeper", "governance-lead").await;
    let listed = async |partner| {
        let answer =
            world.send(by(world.bare(partner, "GET", "/v1/agreement-officers", PURPOSE), lead)).await;
        let all = answer.body["officers"].as_array().unwrap().clone();
        all.iter().find(|officer| officer["role"] == "governance-lead").cloned()
    };
    assert_eq!(listed("nhs").await.unwrap()["address"], "keeper@nhs.example.org");
    assert_eq!(listed("fire").await, None);
    let to_a_mediator = listed("council").await.unwrap();
    assert_eq!(to_a_mediator["address"], Value::Null, "{to_a_mediator}");
    let role = json!({ "person": "x", "name": "A. Person", "role": "board" });
    for (address, fits) in
        [("chair@nhs.example.org", true), ("chair", false), ("a@b.example\r\nBcc: c@d.example", false)]
    {
        let mut body = role.clone();
        body["address"] = json!(address);
        let answer = ask(&world, "nhs", body).await;
        assert_eq!(answer.status == StatusCode::CREATED, fits, "{address}: {answer:?}");
    }
    // Whoever signs nothing has no key.
    let mut keyed = role;
    keyed["key"] = signature::public_key(&key(&world, "nhs", "x")).unwrap();
    let answer = ask(&world, "nhs", keyed).await;
    assert!(answer.body["detail"].as_str().unwrap().contains("signs nothing"), "{answer:?}");
    assert!(
        world
            .entries()
            .await
            .iter()
            .all(|entry| !serde_json::to_string(&entry.body).unwrap().contains("keeper@"))
    );
}

#[tokio::test]
async fn a_person_holds_several_offices_and_signs_in_one() {
    let world = to_be_signed().await;
    // The SIRO is the information asset owner too, with the same key.
    office(&world, "nhs", "siro", "iao").await;
    assert_eq!(sign(&world, "nhs", (siro, "siro"), "siro", 1).await.status, StatusCode::OK);
    let twice = sign(&world, "nhs", (siro, "siro"), "iao", 1).await;
    assert_eq!((twice.status, twice.code()), (StatusCode::FORBIDDEN, "step-signs-twice"), "{twice:?}");
    assert_eq!(
        sign(&world, "nhs", (assets, "assets"), "iao", 1).await.status,
        StatusCode::OK,
        "another holds it"
    );
    let seen = shown(&world, "nhs").await;
    let party = &seen.body["negotiated"]["parties"]
        .as_array()
        .unwrap()
        .iter()
        .find(|party| party["organisation"] == "nhs-england")
        .unwrap()
        .clone();
    assert_eq!((&party["signed"], &party["state"]), (&json!(["siro", "iao"]), &json!("reviewing")));
    world.verify().await;
}

#[tokio::test]
async fn a_data_protection_officer_holds_no_other_office() {
    let world = World::new().await;
    office(&world, "nhs", "dpo", "dpo").await;
    let board = json!({ "person": "dpo", "name": "A. Person", "role": "board" });
    let refused = ask(&world, "nhs", board.clone()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body["detail"].as_str().unwrap().contains("Art 38(6)"), "{refused:?}");
    assert_eq!(ask(&world, "fire", board).await.status, StatusCode::CREATED, "of another organisation");
    // Both were asked for before either was confirmed.
    let adviser = ask(&world, "nhs", json!({ "person": "x", "name": "A. Person", "role": "dpo" })).await;
    let chair = ask(&world, "nhs", json!({ "person": "x", "name": "A. Person", "role": "board" })).await;
    assert_eq!(confirm(&world, "nhs", &adviser).await.status, StatusCode::OK);
    let refused = confirm(&world, "nhs", &chair).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
}
