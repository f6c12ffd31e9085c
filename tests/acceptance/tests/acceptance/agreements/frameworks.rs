//! What agreements are made under: nothing begins under a framework that is unknown, over or not joined, and what runs goes on.

use super::{living::read, *};

const ACCORD: &str = "policies/frameworks/gm-information-sharing-accord.toml";

/// The accord as the operator would write it now.
async fn accord(world: &World, find: &str, replace: &str) {
    let path = world.folder.path().join(ACCORD);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(find), "{find}");
    std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
    gateway::serve::reload_policies(
        &world.app,
        &world.folder.path().join("policies"),
        gateway::policies::Put::IfChanged,
    )
    .await;
}

#[tokio::test]
async fn nothing_is_put_in_force_under_a_framework_that_does_not_carry_it() {
    let world = signed().await;
    let ask = async || {
        take(&world, "nhs", lead, json!({ "step": "activate", "text": "Everybody has signed." })).await
    };
    accord(&world, "organisation = \"gmca\"\n", "organisation = \"gmca\"\nleft_on = \"2026-01-01\"\n").await;
    let refused = ask().await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "step-framework-not-joined"),
        "{refused:?}"
    );
    accord(&world, "left_on = \"2026-01-01\"\n", "").await;
    accord(&world, "title = \"Greater", "title = \"Another Greater").await;
    assert_eq!(ask().await.code(), "step-framework-unknown");
    accord(&world, "title = \"Another Greater", "title = \"Greater").await;
    accord(
        &world,
        "review_on = \"2028-04-01\"\nends_on = \"2030-04-01\"",
        "review_on = \"2025-04-01\"\nends_on = \"2026-04-01\"",
    )
    .await;
    assert_eq!(ask().await.code(), "step-framework-not-in-force");
    let checks = read(&world, "nhs", "/v1/agreements/pilot/versions/1/checks").await;
    assert!(checks.text.contains("framework-not-in-force"), "{checks:?}");
    accord(&world, "ends_on = \"2026-04-01\"", "ends_on = \"2030-04-01\"").await;
    assert_eq!(ask().await.status, StatusCode::OK);
    // What was in order when it was asked for has to be when it is confirmed.
    accord(
        &world,
        "organisation = \"nhs-england\"\n",
        "organisation = \"nhs-england\"\nleft_on = \"2026-01-01\"\n",
    )
    .await;
    let confirm = json!({ "step": "confirm", "text": "I have looked at it." });
    assert_eq!(take(&world, "fire", lead, confirm.clone()).await.code(), "step-framework-not-joined");
    assert_eq!(world.send(question(&world)).await.code(), "referred-to-a-person", "nothing has begun");
    accord(&world, "left_on = \"2026-01-01\"\n", "").await;
    assert_eq!(taken(&world, "fire", lead, confirm).await, "active");
    world.verify().await;
}

#[tokio::test]
async fn what_runs_goes_on_with_the_gap_for_everybody_to_see() {
    let world = in_force().await;
    let listed = read(&world, "fire", "/v1/frameworks").await;
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    let one = &listed.body["frameworks"][0];
    assert_eq!((&one["id"], &one["standing"]), (&json!("gm-information-sharing-accord"), &json!("in-force")));
    assert!(one["agreements"].as_array().unwrap().contains(&json!("pilot")), "{one}");
    assert!(
        !one["agreements"].as_array().unwrap().contains(&json!("trafford-asc-nhs-direct-care")),
        "not theirs: {one}"
    );
    assert_eq!(listed.body["gaps"], json!([]));
    accord(&world, "organisation = \"gmca\"\n", "organisation = \"gmca\"\nleft_on = \"2026-01-01\"\n").await;
    assert_eq!(
        world.send(question(&world)).await.status,
        StatusCode::OK,
        "somebody's safety may depend on it"
    );
    let listed = read(&world, "fire", "/v1/frameworks").await;
    let gaps = listed.body["gaps"].as_array().unwrap();
    let of_pilot = gaps.iter().find(|gap| gap["agreement"] == "pilot").unwrap();
    assert_eq!(of_pilot["code"], "framework-not-joined", "{listed:?}");
    assert!(of_pilot["message"].as_str().unwrap().starts_with("gmca has not joined"), "{of_pilot}");
    let register = living::public(&world, "/register.json").await;
    let pilot = living::pilot(&register);
    assert_eq!(pilot["framework_standing"], "in-force");
    assert_eq!(
        pilot["framework_not_joined"],
        json!(["Greater Manchester Combined Authority (Fire and Rescue Service)"])
    );
    let members = register.body["frameworks"][0]["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    let table = living::public(&world, "/register.csv").await;
    assert!(
        table
            .text
            .lines()
            .next()
            .unwrap()
            .ends_with("versions,framework,framework_standing,assessment_link,assurances,notices"),
        "{}",
        table.text
    );
}
