//! What an agreement's steps say afterwards, and how they are read.

use super::*;

#[tokio::test]
async fn steps_are_read_a_page_at_a_time_from_either_end() {
    let world = World::new().await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    for title in ["one", "two", "three"] {
        let mut terms = terms();
        terms["title"] = json!(title);
        taken(&world, "nhs", author, json!({ "step": "revise", "terms": terms })).await;
    }
    let page = async |query: &str| {
        let path = format!("/v1/agreements/pilot/steps?{query}");
        let answer = world.send(by(world.bare("nhs", "GET", &path, PURPOSE), lead)).await;
        let steps = answer.body["steps"].as_array().cloned().unwrap_or_default();
        let revisions: Vec<_> = steps.iter().filter_map(|step| step["revision"].as_i64()).collect();
        (revisions, answer.body["next"].as_str().map(str::to_owned))
    };
    assert_eq!(page("limit=3").await, (vec![1, 2, 3], Some("3".to_owned())));
    assert_eq!(page("limit=3&cursor=3").await, (vec![4], None));
    assert_eq!(page("order=newest&limit=3").await, (vec![4, 3, 2], Some("2".to_owned())));
    assert_eq!(page("order=newest&cursor=2").await, (vec![1], None));
    let path = "/v1/agreements/pilot/steps?limit=501";
    let refused = world.send(by(world.bare("nhs", "GET", path, PURPOSE), lead)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "invalid-request"));
}

#[tokio::test]
async fn a_review_keeps_the_use_that_it_was_held_over() {
    let world = in_force().await;
    let use_it = async || {
        for _ in 0..9 {
            assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
        }
        // The quarter is over.
        world.clock.advance_s(60 * 86_400);
        gateway::agreements::usage::catch_up(&world.app).await.unwrap();
    };
    let used = async || {
        let request = world.bare("fire", "GET", "/v1/agreements/pilot/usage", PURPOSE);
        world.send(by(request, lead)).await.body["flows"].clone()
    };
    use_it().await;
    let harm = json!({ "kind": "harm", "reason": "too-late", "text": "It came a week too late." });
    let path = "/v1/agreements/pilot/records";
    let noted = world.send(by(world.act("fire", path, PURPOSE, harm), lead)).await;
    let before = used().await;
    let reviewed = json!({ "step": "reviewed", "next_on": "2027-11-20", "text": "It is used and it helps." });
    taken(&world, "nhs", lead, reviewed).await;
    // What is used afterwards changes what is counted, and not what was looked at.
    use_it().await;
    world.clock.advance_s(60 * 86_400);
    assert_ne!(used().await, before);
    let path = "/v1/agreements/pilot/steps?order=newest&limit=1";
    let steps = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    let step = &steps.body["steps"][0];
    assert_eq!(
        (&step["action"], &step["looked_at"]["version"]),
        (&json!("reviewed"), &json!(1)),
        "{steps:?}"
    );
    assert_eq!(step["looked_at"]["flows"], before);
    assert_eq!(step["looked_at"]["records"]["harm"], json!([noted.body["id"]]));
    world.verify().await;
}

#[tokio::test]
async fn a_key_is_one_persons_and_no_systems() {
    let world = to_be_signed().await;
    let ask = async |partner: &'static str, person: &str, pem: &str| {
        let key = signature::public_key(pem).unwrap();
        let body = json!({ "person": person, "name": "A. Person", "role": "iao", "key": key });
        world.send(by(world.act(partner, "/v1/agreement-officers", PURPOSE, body), lead)).await
    };
    let said = |answer: &Answer| answer.body["detail"].as_str().unwrap_or_default().to_owned();
    let guardians = key(&world, "nhs", "guardian");
    for partner in ["nhs", "fire"] {
        let anothers = ask(partner, "assets", &guardians).await;
        assert_eq!(anothers.status, StatusCode::BAD_REQUEST, "{anothers:?}");
        assert!(said(&anothers).contains("registered for somebody else"), "{anothers:?}");
    }
    let own = std::fs::read_to_string(world.folder.path().join("fire-context.key")).unwrap();
    let a_systems = ask("nhs", "assets", &own).await;
    assert!(said(&a_systems).contains("it is a system's"), "{a_systems:?}");
    // One person may hold several offices with their key.
    assert_eq!(ask("nhs", "guardian", &guardians).await.status, StatusCode::CREATED);
    // Nor is it anybody else's when its office is over: what was signed with it goes on.
    let later = office(&world, "fire", "keeper", "iao").await;
    let path = format!("/v1/agreement-officers/{later}/end");
    let ended = world.send(by(world.bare("fire", "POST", &path, PURPOSE), lead)).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    let anothers = ask("nhs", "assets", &key(&world, "fire", "keeper")).await;
    assert!(said(&anothers).contains("registered for somebody else"), "{anothers:?}");
}

#[tokio::test]
async fn what_a_recipient_says_of_its_items_stands_beside_what_was_released() {
    let world = in_force().await;
    let path = "/v1/agreements/pilot/records";
    let note =
        async |partner, body: Value| world.send(by(world.act(partner, path, PURPOSE, body), lead)).await;
    let used = async || {
        let request = world.bare("nhs", "GET", "/v1/agreements/pilot/usage", PURPOSE);
        let answer = world.send(by(request, lead)).await;
        let flows = answer.body["flows"].as_array().unwrap().clone();
        (flows.into_iter().find(|flow| flow["flow"] == "at-risk").unwrap(), answer.body["item_use"].clone())
    };
    let (name, age) = ("person.family_name:as-is", "person.birth_date:age-band");
    let says = |items: Value| json!({ "kind": "item-use", "flow": "at-risk", "items": items, "text": "Looked at by the crews." });
    let said = note("fire", says(json!({ name: true, age: false }))).await;
    assert_eq!((said.status, &said.body["items"][age]), (StatusCode::CREATED, &json!(false)), "{said:?}");
    let (flow, _) = used().await;
    assert_eq!(
        (&flow["released_unused"], &flow["never_released"]),
        (&json!([]), &json!([name, age])),
        "nothing was released"
    );
    for _ in 0..12 {
        assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    }
    world.clock.advance_s(60 * 86_400);
    gateway::agreements::usage::catch_up(&world.app).await.unwrap();
    let (flow, records) = used().await;
    assert_eq!(
        flow["items"][0],
        json!({ "item": name, "releases": 10, "used": true, "said_by": "gmca", "said_on": "2026-11-23" })
    );
    assert_eq!((&flow["released_unused"], &flow["never_released"]), (&json!([age]), &json!([])), "{flow}");
    assert_eq!(records[0]["said"][0]["text"], "Looked at by the crews.");
    // What is said last stands; what is left out nothing is said of.
    assert_eq!(note("fire", says(json!({ age: true }))).await.status, StatusCode::CREATED);
    let (flow, _) = used().await;
    assert_eq!((&flow["released_unused"], &flow["items"][0]["used"]), (&json!([]), &json!(true)), "{flow}");
    // The review keeps it.
    let reviewed = json!({ "step": "reviewed", "next_on": "2027-11-20", "text": "The year is of use." });
    taken(&world, "nhs", lead, reviewed).await;
    let steps = world
        .send(by(world.bare("fire", "GET", "/v1/agreements/pilot/steps?order=newest&limit=1", PURPOSE), lead))
        .await;
    let looked_at = &steps.body["steps"][0]["looked_at"];
    assert_eq!(looked_at["records"]["item-use"].as_array().unwrap().len(), 2, "{looked_at}");
    assert!(looked_at["flows"].as_array().unwrap().contains(&flow), "{looked_at}");
    // Whoever gives the items cannot know, nor anybody else; and only items of the flow are said anything of.
    assert_eq!(note("nhs", says(json!({ age: true }))).await.code(), "step-not-the-recipient");
    assert_eq!(note("council", says(json!({ age: true }))).await.code(), "step-not-the-recipient");
    let unread: [(&str, Value); 5] = [
        ("items", says(json!({}))),
        ("items", says(json!({ "person.birth_date:as-is": true }))),
        ("flow", json!({ "kind": "item-use", "items": { age: true }, "text": "x" })),
        ("flow", json!({ "kind": "item-use", "flow": "nowhere", "items": { age: true }, "text": "x" })),
        ("items", json!({ "kind": "benefit", "flow": "at-risk", "items": { age: true }, "text": "x" })),
    ];
    for (member, body) in unread {
        let answer = note("fire", body).await;
        assert_eq!(answer.code(), "invalid-request", "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(member), "{member}: {answer:?}");
    }
    world.verify().await;
}

#[tokio::test]
async fn that_a_next_version_is_drafted_is_said_and_what_it_says_is_not() {
    let world = in_force().await;
    let mut next = terms();
    next["title"] = json!("CANARY-TITLE");
    let vary = json!({ "step": "vary", "terms": next, "reason": "changed", "text": "CANARY-TEXT" });
    taken(&world, "fire", author, vary.clone()).await;
    for partner in ["nhs", "fire"] {
        let seen = shown(&world, partner).await;
        assert_eq!(seen.body["drafted_by"], "gmca", "{seen:?}");
        assert_eq!(seen.body.get("negotiated").is_some(), partner == "fire", "{seen:?}");
        let steps =
            world.send(by(world.bare(partner, "GET", "/v1/agreements/pilot/steps", PURPOSE), lead)).await;
        assert_eq!(steps.text.contains("CANARY-TEXT"), partner == "fire", "{steps:?}");
    }
    assert_eq!(take(&world, "nhs", author, vary).await.code(), "step-already-negotiated");
    taken(&world, "fire", author, json!({ "step": "withdraw", "text": "Not now." })).await;
    assert_eq!(shown(&world, "nhs").await.body.get("drafted_by"), None);
}
