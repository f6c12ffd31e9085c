//! Agreements in the console: terms written by two at once, comments, a dispute, signatures handed in, use and impact; and what
//! privacy officers look for after a breach. `browser/negotiating.mjs` has the journeys.

use acceptance::World;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{deployment, run};
use crate::agreements::{
    author, begin, by, comes_in_force, lead, office, other, signature_over, taken, terms,
};

const HOSTILE: &str = "<img src=x onerror=window.broken=1>";

/// Two agreements: one that is negotiated, and one, `pilot`, whose second version is to be signed.
async fn fill(world: &World) -> Value {
    let mut released = Value::Null;
    for _ in 0..12 {
        let answer = world.send(world.prevention("9732110317")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        released = answer.body["receipt"]["decision_id"].clone();
    }
    let mut negotiated = terms();
    negotiated["title"] = json!(format!("Visits {HOSTILE}"));
    negotiated["flows"][0]["items"][0]["justification"] = json!(HOSTILE);
    let body = json!({ "id": "negotiated", "terms": negotiated });
    let begun = world.send(by(world.act("nhs", "/v1/agreements", "safeguarding-adult", body), author)).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let step = json!({ "step": "propose", "text": HOSTILE });
    let path = "/v1/agreements/negotiated/steps";
    let mut propose = by(world.act("nhs", path, "safeguarding-adult", step), author);
    propose.if_match = begun.headers.get("etag").cloned();
    let proposed = world.send(propose).await;
    assert_eq!(proposed.status, StatusCode::OK, "{proposed:?}");

    // People are named as the provider of this test names them.
    for (person, role) in [
        ("signatory.nhs-england.siro", "siro"),
        ("signatory.nhs-england.guardian", "caldicott-guardian"),
        ("data-protection-officer.nhs-england.dpo", "dpo"),
    ] {
        office(world, "nhs", person, role).await;
    }
    let begun = world.send(begin(world, &json!({ "id": "pilot", "terms": terms() }))).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    taken(world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let mut countered = terms();
    countered["flows"][0]["items"][1]["form"] = json!("year");
    let counter = json!({ "step": "counter", "terms": countered, "reason": "not-enough", "text": HOSTILE });
    taken(world, "fire", author, counter).await;
    taken(world, "nhs", lead, json!({ "step": "accept", "text": "It is what we need, and no more." })).await;
    taken(world, "fire", lead, json!({ "step": "accept", "text": "It is what we need, and no more." })).await;
    taken(world, "fire", other, json!({ "step": "assure", "text": "Looked at." })).await;
    taken(world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await;
    let signature = async |person, role, version| signature_over(world, "nhs", person, role, version).await;
    json!({
        "released": released,
        "in_file": "gm-fire-prevention-over-65s",
        "siro": signature("signatory.nhs-england.siro", "siro", 2).await,
        "siro_older": signature("signatory.nhs-england.siro", "siro", 1).await,
        "siro_as_guardian": signature("signatory.nhs-england.siro", "caldicott-guardian", 2).await,
        "guardian": signature("signatory.nhs-england.guardian", "caldicott-guardian", 2).await,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn people_negotiate_in_the_console() {
    let (world, started) = deployment().await;
    let facts = fill(&world).await;
    run(&world, started, "negotiating.mjs", &facts).await;
    let entries = world.entries().await;
    let by = |kind: &str, person: &str, more: &str| {
        entries.iter().any(|entry| {
            let text = serde_json::to_string(&entry.body).unwrap();
            entry.body.kind() == kind
                && [person, more, "\"system\":\"console\""].iter().all(|part| text.contains(part))
        })
    };
    for (kind, person, more) in [
        ("agreement_moved", "NHS-IG-1", "counter-proposed"),
        ("agreement_moved", "GMFRS-IG-1", "counter-proposed"),
        ("agreement_moved", "nhs-england.dpo", "advised"),
        ("agreement_signed", "nhs-england.siro", "pilot"),
        ("agreement_matter_moved", "NHS-IG-1", "comment"),
        ("agreement_matter_moved", "TRF-MED-1", "dispute"),
        ("agreement_matter_moved", "NHS-IG-1", "benefit"),
        ("decision_read", "NHS-PO-1", "disclosed"),
    ] {
        assert!(by(kind, person, more), "{kind} by {person}: {more}");
    }
    let signed = entries.iter().filter(|entry| entry.body.kind() == "agreement_signed").count();
    assert_eq!(signed, 1, "no signature that was refused is there");
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_switch_off_and_on_in_the_console() {
    let (world, started) = deployment().await;
    comes_in_force(&world).await;
    run(&world, started, "living.mjs", &Value::Null).await;
    let entries = world.entries().await;
    let moved: Vec<_> = entries
        .iter()
        .filter(|entry| entry.body.kind() == "agreement_moved")
        .map(|entry| serde_json::to_string(&entry.body).unwrap())
        .filter(|text| text.contains("\"system\":\"console\""))
        .collect();
    for (action, person, stops) in [
        ("suspended", "GMFRS-IG-1", "at-risk"),
        ("resumed", "GMFRS-IG-2", ""),
        ("suspended", "NHS-IG-1", "gmca"),
        ("reviewed", "NHS-IG-1", ""),
        ("exited", "GMFRS-IG-1", ""),
    ] {
        let found = moved.iter().any(|text| [action, person, stops].iter().all(|part| text.contains(part)));
        assert!(found, "{action} by {person}: {moved:#?}");
    }
    world.verify().await;
}
