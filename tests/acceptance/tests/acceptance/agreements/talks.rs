//! How parties come to agree: comments by clause, disputes and who helps in them, and what is published of how they ended.

use super::*;

/// The pilot, found in order: signing is opened next.
async fn assured() -> World {
    let world = deployment().await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    for partner in ["nhs", "fire"] {
        taken(&world, partner, lead, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await;
    }
    taken(&world, "fire", other, json!({ "step": "assure", "text": "In order." })).await;
    world
}

async fn said(world: &World, partner: &'static str, person: Person, (path, body): (&str, Value)) -> Answer {
    world.send(by(world.act(partner, &format!("/v1/agreements/pilot/{path}"), PURPOSE, body), person)).await
}

pub(super) async fn read(world: &World, partner: &'static str, path: &str) -> Answer {
    world.send(by(world.bare(partner, "GET", &format!("/v1/agreements/{path}"), PURPOSE), lead)).await
}

#[tokio::test]
async fn a_comment_that_signing_waits_for_is_resolved_by_whoever_made_it() {
    let world = assured().await;
    let comment = json!({
        "version": 1, "clause": "/flows/0/items/1", "text": "An age band is too coarse for a visit.",
        "position": "The date of birth", "interest": "Crews must know whether a child lives there",
        "reason": "not-enough", "owner": { "organisation": "nhs-england" }, "due_on": "2026-12-18", "blocking": true,
    });
    let made = said(&world, "fire", lead, ("comments", comment.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((&made.body["state"], &made.body["blocking"]), (&json!("unresolved"), &json!(true)));
    let id = made.body["id"].as_str().unwrap().to_owned();
    // It is listed where one looks before signing, and signing waits.
    let checks = read(&world, "nhs", "pilot/versions/1/checks").await;
    assert_eq!(checks.body["unresolved_comments"][0]["clause"], "/flows/0/items/1", "{checks:?}");
    let refused =
        take(&world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "step-comments-open"));
    let path = format!("comments/{id}/steps");
    let resolve = json!({ "step": "resolve", "text": "Clear now." });
    let reply = json!({ "step": "reply", "text": "A flag says whether a child lives there.", "interest": "Less about others" });
    let replied = said(&world, "nhs", lead, (&path, reply)).await;
    assert_eq!(replied.status, StatusCode::OK, "{replied:?}");
    assert_eq!(replied.body["thread"][1]["interest"], "Less about others");
    assert_eq!(said(&world, "nhs", lead, (&path, resolve.clone())).await.code(), "step-not-yours");
    assert_eq!(said(&world, "fire", other, (&path, resolve.clone())).await.body["state"], "resolved");
    assert_eq!(said(&world, "fire", other, (&path, resolve)).await.code(), "step-not-in-this-state");
    assert_eq!(
        taken(&world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await,
        "awaiting-signature"
    );
    // What does not fit is refused with what to do.
    let edits: [(&str, Value, &str); 5] = [
        ("clause", json!("/flows/9"), "clause"),
        ("version", json!(2), "version"),
        ("due_on", json!("2026-11-01"), "due_on"),
        ("owner", Value::Null, "owner"),
        ("text", json!(" "), "text"),
    ];
    for (member, value, what) in edits {
        let mut body = comment.clone();
        body[member] = value;
        let answer = said(&world, "fire", lead, ("comments", body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(what), "{answer:?}");
    }
    let mut body = comment.clone();
    body["owner"] = json!({ "organisation": "trafford-council" });
    assert_eq!(said(&world, "fire", lead, ("comments", body)).await.code(), "step-owner-not-a-party");
    assert_eq!(said(&world, "council", lead, ("comments", comment)).await.code(), "step-not-a-party");
    let other_agreement =
        said(&world, "fire", lead, ("disputes/mat_00/steps", json!({ "step": "mediate" }))).await;
    assert_eq!(other_agreement.code(), "no-such-entry");
    world.verify().await;
}

#[tokio::test]
async fn a_draft_is_not_commented_on_and_a_counter_says_its_interest() {
    let world = World::new().await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    let comment = json!({ "version": 1, "clause": "", "text": "Too early." });
    assert_eq!(said(&world, "nhs", lead, ("comments", comment)).await.code(), "invalid-request");
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let mut other_terms = terms();
    other_terms["title"] = json!("Adults at risk of fire");
    let counter = json!({
        "step": "counter", "terms": other_terms, "reason": "unclear", "interest": "People read the title first",
        "text": "Whom it is about is not said.",
    });
    taken(&world, "fire", lead, counter).await;
    let steps = read(&world, "nhs", "pilot/steps").await;
    assert_eq!(steps.body["steps"][2]["interest"], "People read the title first", "{steps:?}");
    assert_eq!(steps.body["steps"][2]["text"], "Whom it is about is not said.");
    let taken_name = world.send(begin(&world, &json!({ "id": "precedents", "terms": terms() }))).await;
    assert_eq!(taken_name.code(), "invalid-request");
}

/// A step of the dispute as it is now.
pub(super) async fn argue(
    world: &World,
    partner: &'static str,
    person: Person,
    (id, body): (&str, Value),
) -> Answer {
    let seen = read(world, partner, &format!("pilot/disputes/{id}")).await;
    let path = format!("/v1/agreements/pilot/disputes/{id}/steps");
    let mut request = by(world.act(partner, &path, PURPOSE, body), person);
    request.if_match = seen.headers.get("etag").cloned();
    world.send(request).await
}

pub(super) async fn disputed(world: &World) -> String {
    let dispute = json!({
        "version": 1, "clause": "/flows/0/obligations", "with": ["nhs-england"], "reason": "retention-too-long",
        "text": "GMCA keeps what NHS England sends for too long.", "interest": "Crews need it until the visit.",
    });
    let opened = said(world, "fire", lead, ("disputes", dispute)).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    opened.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_mediator_helps_and_the_parties_end_it_and_publish_it_without_names() {
    let world = in_force().await;
    let id = disputed(&world).await;
    let steps = format!("disputes/{id}/steps");
    let unsaid = said(&world, "fire", lead, (&steps, json!({ "step": "escalate", "text": "Now." }))).await;
    assert_eq!(unsaid.code(), "version-missing");
    let early =
        argue(&world, "council", mediator, (&id, json!({ "step": "comment", "text": "May I?" }))).await;
    assert_eq!(early.code(), "step-not-a-party", "whoever mediates says so first");
    let begun = argue(&world, "council", mediator, (&id, json!({ "step": "mediate" }))).await;
    assert_eq!(begun.body["state"], "mediating", "{begun:?}");
    let mut shorter = terms();
    shorter["flows"][0]["obligations"]["retain_days"] = json!(14);
    let propose = json!({ "step": "propose-terms", "terms": shorter, "text": "A fortnight is enough." });
    let proposed = argue(&world, "council", mediator, (&id, propose)).await;
    assert_eq!(proposed.status, StatusCode::OK, "{proposed:?}");
    let settle = json!({ "step": "settle", "outcome": "terms-change", "text": "GMCA keeps it for 14 days; NHS England sends it later." });
    assert_eq!(argue(&world, "council", mediator, (&id, settle)).await.body["outcome"], "terms-change");
    let accept = json!({ "step": "accept-outcome" });
    assert_eq!(
        argue(&world, "council", mediator, (&id, accept.clone())).await.code(),
        "step-mediator-is-a-party"
    );
    let suspend = json!({ "step": "suspend", "scope": "agreement", "reason": "other", "text": "-" });
    let by_mediator = take(&world, "council", mediator, suspend.clone()).await;
    assert_eq!(
        (by_mediator.status, by_mediator.code()),
        (StatusCode::FORBIDDEN, "step-mediates-here"),
        "{by_mediator:?}"
    );
    // A dispute stops nothing.
    assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    argue(&world, "nhs", lead, (&id, accept.clone())).await;
    let ended = argue(&world, "fire", lead, (&id, accept)).await;
    assert_eq!(ended.body["state"], "resolved", "{ended:?}");
    let afterwards = take(&world, "council", mediator, suspend).await;
    assert_eq!(afterwards.code(), "step-not-a-party", "whoever mediates no more is refused as anybody is");
    let preview = &ended.body["precedent"];
    assert_eq!(
        preview["text"], "[fire service] keeps it for 14 days; [NHS body] sends it later.",
        "{ended:?}"
    );
    // Somebody neutral reads the text first, and takes out what no program knows.
    let publish = json!({ "step": "publish" });
    assert_eq!(argue(&world, "fire", lead, (&id, publish.clone())).await.code(), "step-text-not-confirmed");
    let text = "GMCA keeps it for 14 days; siro of fire, 0161 496 0123, sends it later.";
    let confirm = json!({ "step": "confirm-text", "text": text });
    assert_eq!(argue(&world, "nhs", lead, (&id, confirm.clone())).await.code(), "step-no-authority");
    let read_by = argue(&world, "council", mediator, (&id, confirm)).await;
    assert_eq!(read_by.body["text_confirmed_by"], "trafford-council", "{read_by:?}");
    let preview = &read_by.body["precedent"];
    assert_eq!(
        preview["text"], "[fire service] keeps it for 14 days; [a person], [a number], sends it later.",
        "what is known is taken out of that, too"
    );
    // One party's agreement publishes nothing.
    argue(&world, "fire", lead, (&id, publish.clone())).await;
    assert_eq!(read(&world, "council", "precedents").await.body["precedents"], json!([]));
    assert_eq!(argue(&world, "fire", lead, (&id, publish.clone())).await.code(), "step-not-in-this-state");
    argue(&world, "nhs", lead, (&id, publish)).await;
    let late = json!({ "step": "confirm-text", "text": "Another." });
    assert_eq!(argue(&world, "council", mediator, (&id, late)).await.code(), "step-not-in-this-state");
    let precedents = read(&world, "council", "precedents").await;
    assert_eq!(precedents.body["precedents"][0], *preview, "{precedents:?}");
    for name in ["gmca", "GMCA", "pilot", "nhs-england", "NHS England"] {
        assert!(!precedents.text.contains(name), "{name}: {}", precedents.text);
    }
    world.verify().await;
}

#[tokio::test]
async fn a_dispute_that_waits_too_long_is_taken_further_and_people_are_told() {
    let world = in_force().await;
    let id = disputed(&world).await;
    assert_eq!(watch::pass(&world.app).await.unwrap(), 0);
    world.clock.advance_s(11 * 86_400);
    assert_eq!(watch::pass(&world.app).await.unwrap(), 1);
    let seen = read(&world, "fire", &format!("pilot/disputes/{id}")).await;
    assert_eq!((&seen.body["state"], &seen.body["level"]), (&json!("escalated"), &json!("governance-leads")));
    let told = world.send(world.bare("nhs", "GET", "/v1/alerts", PURPOSE)).await;
    assert!(told.text.contains("agreement-dispute-escalated-governance-leads"), "{told:?}");
    // Whoever began it does not settle it any more; and a level further an office does.
    let settle = json!({ "step": "settle", "outcome": "terms-stand", "text": "As it is." });
    assert_eq!(argue(&world, "fire", lead, (&id, settle.clone())).await.code(), "step-level-decides");
    assert_eq!(argue(&world, "fire", other, (&id, settle.clone())).await.status, StatusCode::OK);
    argue(&world, "fire", lead, (&id, json!({ "step": "escalate", "text": "Not settled." }))).await;
    let accept = json!({ "step": "accept-outcome" });
    let refused = argue(&world, "nhs", lead, (&id, accept.clone())).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::FORBIDDEN, "step-level-decides"),
        "{refused:?}"
    );
    let agreed = argue(&world, "nhs", guardian, (&id, accept)).await;
    assert_eq!(
        agreed.body["agreed"],
        json!(["nhs-england"]),
        "what the level before agreed to is void: {agreed:?}"
    );
    assert_eq!(agreed.body["settled_by"], json!(["caldicott-guardian", "siro"]));
    let withdraw = json!({ "step": "withdraw", "text": "We were wrong." });
    assert_eq!(argue(&world, "nhs", lead, (&id, withdraw.clone())).await.code(), "step-not-yours");
    assert_eq!(argue(&world, "fire", lead, (&id, withdraw)).await.body["state"], "resolved");
    world.clock.advance_s(60 * 86_400);
    assert_eq!(watch::pass(&world.app).await.unwrap(), 0, "what is over waits for nobody");
    let hands = world
        .entries()
        .await
        .into_iter()
        .filter(|entry| matches!(&entry.body, Body::AgreementMatterMoved { by: None, .. }));
    assert_eq!(hands.count(), 1);
    world.verify().await;
}

#[tokio::test]
async fn what_is_sent_again_is_done_once() {
    let world = in_force().await;
    let comment = json!({ "version": 1, "clause": "/title", "text": "Too long." });
    let dispute = json!({
        "version": 1, "clause": "/title", "with": ["nhs-england"], "reason": "unclear", "text": "What is meant?",
    });
    let record = json!({ "kind": "benefit", "text": "A fire was prevented." });
    let sent = async |path: &str, body: &Value, key: &'static str| {
        let mut request =
            by(world.act("fire", &format!("/v1/agreements/pilot/{path}"), PURPOSE, body.clone()), lead);
        request.request_key = Some(key);
        world.send(request).await
    };
    for (path, body, key) in
        [("comments", &comment, "key-1"), ("disputes", &dispute, "key-2"), ("records", &record, "key-3")]
    {
        let first = sent(path, body, key).await;
        assert_eq!(
            (first.status, first.headers["etag"].as_str()),
            (StatusCode::CREATED, "\"1\""),
            "{first:?}"
        );
        let again = sent(path, body, key).await;
        assert_eq!((again.status, &again.body["id"]), (StatusCode::OK, &first.body["id"]), "{again:?}");
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let mut other = body.clone();
        other["text"] = json!("Something else.");
        assert_eq!(sent(path, &other, key).await.code(), "request-key-reused", "{path}");
        // The same key elsewhere is another request, and refused.
        let elsewhere = if path == "comments" { ("disputes", &dispute) } else { ("comments", &comment) };
        assert_eq!(sent(elsewhere.0, elsewhere.1, key).await.code(), "request-key-reused");
        let unsaid = sent(path, body, "not a key").await;
        assert_eq!(unsaid.code(), "invalid-request");
    }
    let comments = read(&world, "nhs", "pilot/comments").await;
    let listed = comments.body["comments"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{comments:?}");
    // Steps, too; and one that was made to what has changed since is refused.
    let steps = format!("comments/{}/steps", listed[0]["id"].as_str().unwrap());
    let reply = json!({ "step": "reply", "text": "Shorter, then." });
    assert_eq!(sent(&steps, &reply, "key-4").await.headers["etag"], "\"2\"");
    let again = sent(&steps, &reply, "key-4").await;
    assert_eq!(
        (again.headers["etag"].as_str(), again.body["thread"].as_array().unwrap().len()),
        ("\"2\"", 2)
    );
    let mut late =
        by(world.act("fire", &format!("/v1/agreements/pilot/{steps}"), PURPOSE, reply.clone()), lead);
    late.if_match = Some("\"1\"".to_owned());
    assert_eq!(world.send(late).await.code(), "version-mismatch");
    let disputes = read(&world, "nhs", "pilot/disputes").await;
    let steps = format!("disputes/{}/steps", disputes.body["disputes"][0]["id"].as_str().unwrap());
    let said = json!({ "step": "comment", "text": "As in the title." });
    assert_eq!(sent(&steps, &said, "key-5").await.body["revision"], 2);
    assert_eq!(sent(&steps, &said, "key-5").await.body["revision"], 2);
    world.verify().await;
}
