//! Negotiations whose token, version or row is not what it was: whose they are, how they end, and what goes on beside them.

use super::*;

/// A request of the fire service's connector with a token that grants something else.
async fn with_token(
    peer: &Peer,
    spoil: Person,
    (method, path): (&'static str, String),
    body: Option<Value>,
) -> Answer {
    let mut request = peer.world.bare("fire", method, &path, PURPOSE);
    (request.body, request.spoil_access) = (body, Some(spoil));
    let (access, _) = peer.world.headers(&request);
    peer.world.send_with(&request, Some(&access), None).await
}

/// The step that begins a version with these terms.
fn vary(terms: Value) -> Value {
    json!({ "step": "vary", "terms": terms, "reason": "less-would-do", "text": "The review asks for less." })
}

/// A token with one detail, for the purpose of these tests but for this member.
fn only_detail(access: &mut Value, member: &str, value: Value) {
    let mut detail = access["authorization_details"][0].clone();
    detail["purpose"] = json!(PURPOSE);
    detail[member] = value;
    access["authorization_details"] = json!([detail]);
}

#[tokio::test]
async fn a_token_for_something_else_is_for_no_negotiation_either() {
    let peer = Peer::with_offer().await;
    let one = peer.begins().await;
    peer.offers(&one).await;
    let others: [(Person, &str); 3] = [
        (|access| only_detail(access, "purpose", json!("vital-interests")), "another purpose"),
        (|access| only_detail(access, "agreement", json!("gm-safe-and-well-referral")), "another agreement"),
        (|access| only_detail(access, "actions", json!(["read"])), "another action"),
    ];
    let path = format!("/dsp/negotiations/{}", one.provider);
    let said = |kind: &str, members: Value| {
        let mut body = json!({
            "@context": [CONTEXT], "@type": kind, "providerPid": one.provider, "consumerPid": one.consumer,
        });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Some(body)
    };
    for (spoil, what) in others {
        for (method, place, body) in [
            ("GET", "", None),
            ("POST", "/request", said("ContractRequestMessage", json!({ "offer": bare_offer() }))),
            ("POST", "/events", said("ContractNegotiationEventMessage", json!({ "eventType": "ACCEPTED" }))),
            ("POST", "/agreement/verification", said("ContractAgreementVerificationMessage", json!({}))),
            ("POST", "/termination", said("ContractNegotiationTerminationMessage", json!({ "code": "1" }))),
        ] {
            let refused = with_token(&peer, spoil, (method, format!("{path}{place}")), body).await;
            assert_eq!(refused.status, StatusCode::NOT_FOUND, "{what}, {place}: {refused:?}");
            is_refused(&refused, "ContractNegotiationError");
        }
    }
    peer.is(&one, "OFFERED").await;
    let ours: Person = |access| only_detail(access, "agreement", json!("pilot"));
    let seen = with_token(&peer, ours, ("GET", path), None).await;
    assert_eq!(seen.status, StatusCode::OK, "one that names this agreement is for it: {seen:?}");
    peer.world.verify().await;
}

/// A version with another title, by this author.
fn varied(title: &str) -> Value {
    let mut terms = one_flow();
    terms["title"] = json!(title);
    terms
}

async fn ends_with_its_version(peer: &Peer, negotiation: &Negotiation) {
    ends_for(peer, negotiation, "version-over").await;
}

async fn ends_for(peer: &Peer, negotiation: &Negotiation, code: &str) {
    let over = peer.hears(negotiation, "ContractNegotiationTerminationMessage", "termination").await;
    assert_eq!(over["code"], code);
    peer.is(negotiation, "TERMINATED").await;
}

#[tokio::test]
async fn a_negotiation_ends_with_its_version_and_goes_on_where_another_is_on_offer() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    // Accepted, and countered by our people: version 1 will never be in force.
    let one = peer.begins().await;
    peer.offers(&one).await;
    peer.accepts(&one).await;
    let counter =
        json!({ "step": "counter", "terms": varied("Second"), "reason": "unclear", "text": "The title." });
    taken(world, "fire", author, counter).await;
    ends_with_its_version(&peer, &one).await;
    // Asked for, and countered: our people offer what is on the table now.
    let second = |offer: Value| {
        let mut offer = offer;
        offer["@id"] = json!("urn:concordat:offer:pilot:2:at-risk");
        offer
    };
    let one = peer.begins_with(second(bare_offer())).await;
    let counter =
        json!({ "step": "counter", "terms": varied("Third"), "reason": "unclear", "text": "The title." });
    taken(world, "nhs", author, counter).await;
    peer.settle().await;
    peer.is(&one, "REQUESTED").await;
    let offered = peer.offers(&one).await;
    assert_eq!(offered["offer"]["@id"], "urn:concordat:offer:pilot:3:at-risk");
    // Offered, and countered: the peer asks for what is on the table now.
    let counter =
        json!({ "step": "counter", "terms": varied("Fourth"), "reason": "unclear", "text": "The title." });
    taken(world, "fire", author, counter).await;
    peer.settle().await;
    peer.is(&one, "OFFERED").await;
    let mut fourth = bare_offer();
    fourth["@id"] = json!("urn:concordat:offer:pilot:4:at-risk");
    assert_eq!(peer.counters(&one, fourth).await.status, StatusCode::OK);
    peer.is(&one, "REQUESTED").await;
    // In force, agreed and verified while it is switched off; then a party leaves: it will not run again.
    agreed_by(world, 4).await;
    peer.hears(&one, "ContractAgreementMessage", "agreement").await;
    let stop =
        json!({ "step": "suspend", "scope": "agreement", "reason": "breach", "text": "A laptop is lost." });
    assert_eq!(world.send(step(world, "nhs", lead, stop)).await.status, StatusCode::OK);
    assert_eq!(peer.verifies(&one).await.status, StatusCode::OK);
    peer.settle().await;
    peer.is(&one, "VERIFIED").await;
    taken(world, "fire", lead, json!({ "step": "exit", "text": "The pilot is over for us." })).await;
    ends_for(&peer, &one, "agreement-over").await;
    world.verify().await;
}

/// The version is agreed, signed and put in force.
async fn agreed_by(world: &World, version: u32) {
    agreed(world).await;
    all_sign(world, version).await;
    put_in_force(world).await;
}

#[tokio::test]
async fn what_ended_takes_its_negotiations_with_it_whatever_is_drafted_beside() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    agreed_by(world, 1).await;
    let stop =
        json!({ "step": "suspend", "scope": "agreement", "reason": "breach", "text": "A laptop is lost." });
    assert_eq!(world.send(step(world, "nhs", lead, stop)).await.status, StatusCode::OK);
    let one = peer.begins().await;
    peer.settle().await;
    peer.is(&one, "REQUESTED").await;
    taken(world, "nhs", author, vary(varied("Second"))).await;
    taken(world, "nhs", lead, json!({ "step": "terminate", "text": "The pilot is over." })).await;
    assert_eq!(
        taken(world, "fire", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await,
        "terminated"
    );
    ends_with_its_version(&peer, &one).await;
    world.verify().await;
}

#[tokio::test]
async fn an_offer_that_is_sent_late_names_the_flow_that_was_offered() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    agreed_by(world, 1).await;
    let stop =
        json!({ "step": "suspend", "scope": "agreement", "reason": "breach", "text": "A laptop is lost." });
    assert_eq!(world.send(step(world, "nhs", lead, stop)).await.status, StatusCode::OK);
    let one = peer.begins().await;
    peer.says.store(500, Ordering::SeqCst);
    let offered = peer.decides(lead, &one, json!({ "step": "offer" })).await;
    assert_eq!(offered.status, StatusCode::OK, "{offered:?}");
    peer.settle().await;
    // Meanwhile somebody drafts a variation whose flow has another name.
    let mut draft = one_flow();
    draft["flows"][0]["id"] = json!("renamed");
    taken(world, "nhs", author, vary(draft)).await;
    peer.says.store(200, Ordering::SeqCst);
    world.clock.advance_s(6);
    let offer = peer.hears(&one, "ContractOfferMessage", "offers").await;
    assert_eq!((&offer["offer"]["@id"], &offer["offer"]["target"]), (&json!(OFFER), &json!(DATASET)));
    // Proposed, it is another flow: nothing of it is offered in this negotiation.
    taken(world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    let again = peer.counters(&one, bare_offer()).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    world.verify().await;
}

#[tokio::test]
async fn a_negotiation_that_cannot_be_read_stops_no_other() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    let spoilt = peer.begins().await;
    let digits = spoilt.provider.trim_start_matches("urn:uuid:").replace('-', "");
    let id = format!("mat_{digits}");
    let row = world.app.store.matter(&id).await.unwrap().unwrap();
    // Another agreement beside it, with a negotiation of its own.
    let begun = world.send(begin(world, &json!({ "id": "second", "terms": one_flow() }))).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let about = |body: Value| by(world.act("nhs", "/v1/agreements/second/steps", PURPOSE, body), author);
    let mut propose = about(json!({ "step": "propose", "text": "Crews visit before a fire does." }));
    propose.if_match = begun.headers.get("etag").cloned();
    let proposed = world.send(propose).await;
    assert_eq!(proposed.status, StatusCode::OK, "{proposed:?}");
    let offer = json!({
        "@id": "urn:concordat:offer:second:1:at-risk", "@type": "Offer", "target": "urn:concordat:dataset:second:at-risk",
        "permission": [{ "action": "use", "constraint": [] }],
    });
    let one = peer.begins_with(offer).await;
    let url = store::scratch::url(&world.settings.ledger.database);
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let spoil = async |course: &str| {
        let update = sqlx::query("UPDATE agreement_matter SET course = $1 WHERE id = $2");
        update.bind(course.to_owned()).bind(id.clone()).execute(&pool).await.unwrap();
    };
    spoil("{}").await;
    let mut withdraw = about(json!({ "step": "withdraw", "text": "Another route is used." }));
    withdraw.if_match = proposed.headers.get("etag").cloned();
    assert_eq!(world.send(withdraw).await.status, StatusCode::OK);
    assert_eq!(pass(&world.app).await.unwrap(), 1, "the other has ended with its agreement");
    peer.hears(&one, "ContractNegotiationTerminationMessage", "termination").await;
    spoil(&row.course).await;
    pool.close().await;
    peer.is(&spoilt, "REQUESTED").await;
    world.verify().await;
}

#[tokio::test]
async fn taking_up_what_is_on_the_table_already_uses_up_its_signed_context() {
    let peer = Peer::with_offer().await;
    let world = &peer.world;
    let ask = json!({ "@context": [CONTEXT], "@type": "CatalogRequestMessage" });
    let catalogue = peer.post("/dsp/catalog/request", ask).await;
    let mut offer = catalogue.body["dataset"][0]["hasPolicy"][0].clone();
    offer["target"] = json!(DATASET);
    offer["obligation"][0]["constraint"][0]["rightOperand"] = json!("P7D");
    let one = peer.begins_with(offer).await;
    // Somebody counters with the same by hand.
    let mut terms = one_flow();
    terms["flows"][0]["obligations"]["retain_days"] = json!(7);
    let counter =
        json!({ "step": "counter", "terms": terms, "reason": "retention-too-long", "text": "A week." });
    taken(world, "nhs", author, counter).await;
    let digits = one.provider.trim_start_matches("urn:uuid:").replace('-', "");
    let path = format!("/v1/agreements/pilot/negotiations/mat_{digits}");
    let adopt = json!({ "step": "adopt", "reason": "retention-too-long", "text": "A week is enough." });
    let mut request = by(world.act("nhs", &format!("{path}/steps"), PURPOSE, adopt), author);
    request.if_match = Some("\"1\"".to_owned());
    let (access, context) = world.headers(&request);
    let adopted = world.send_with(&request, Some(&access), Some(&context)).await;
    assert_eq!((adopted.status, &adopted.body["version"]), (StatusCode::OK, &json!(2)), "{adopted:?}");
    assert_eq!(shown(world, "nhs").await.body["negotiated"]["version"], 2, "nothing was countered");
    // The same signed context, for another step.
    request.body = Some(json!({ "step": "terminate", "text": "No more." }));
    request.if_match = Some("\"2\"".to_owned());
    request.spoil_context = Some(lead);
    let again = world.send_with(&request, Some(&access), Some(&context)).await;
    assert_eq!((again.status, again.code()), (StatusCode::UNAUTHORIZED, "context-replayed"), "{again:?}");
    peer.is(&one, "REQUESTED").await;
    world.verify().await;
}

#[tokio::test]
async fn why_a_peer_ends_it_is_kept() {
    let peer = Peer::with_offer().await;
    let one = peer.begins().await;
    assert_eq!(peer.ends(&one).await.status, StatusCode::OK);
    let digits = one.provider.trim_start_matches("urn:uuid:").replace('-', "");
    let path = format!("/v1/agreements/pilot/negotiations/mat_{digits}");
    let seen = peer.world.send(by(peer.world.bare("nhs", "GET", &path, PURPOSE), lead)).await;
    let thread = seen.body["thread"].as_array().unwrap();
    assert_eq!(thread.last().unwrap()["text"], "1; no longer needed", "{seen:?}");
    peer.world.verify().await;
}
