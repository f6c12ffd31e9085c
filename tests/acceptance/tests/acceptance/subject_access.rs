//! "Who looked at me, and why?": what people are told, what waits for a review, and what nobody can learn that way.

use acceptance::{Answer, Request, World};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

const PERSON: (&str, &str) = ("local:trafford-council", "SWR-2041");

fn asks(world: &World, person: (&str, &str)) -> Request {
    let body = json!({ "identity_check": "documents-seen" });
    world.post("desk", "/v1/subject-access", "subject-access", person, body)
}

fn officer(world: &World, partner: &'static str, person: (&str, &str)) -> Request {
    world.post(partner, "/v1/subject-access/events", "direct-care", person, json!({}))
}

fn decide(world: &World, partner: &'static str, body: Value) -> Request {
    world.act(partner, "/v1/subject-access/visibility", "direct-care", body)
}

fn events(answer: &Answer) -> &Vec<Value> {
    answer.body["events"].as_array().unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn a_person_is_told_who_asked_and_why_and_what_was_given() {
    let world = World::new().await;
    assert_eq!(world.send(world.consent(PERSON.1)).await.status, StatusCode::CREATED);
    let given = world.send(world.referral(PERSON.1)).await;
    assert_eq!(given.status, StatusCode::OK, "{given:?}");
    world.clock.advance_s(3_600);
    let refused =
        world.send(world.question("fire", "trafford-asc", "fire-prevention-targeting", PERSON)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let told = world.send(asks(&world, PERSON)).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    let [newest, first] = events(&told).as_slice() else { panic!("{told:?}") };
    assert_eq!(newest["outcome"], "nothing was given");
    assert_eq!(first["outcome"], "given");
    assert_eq!(first["when"], "23 November 2026 at 12:00");
    assert_eq!(first["role"], "prevention officer");
    let items: Vec<_> =
        first["items"].as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
    assert!(
        items.contains(&"Date of birth (only as age band)"),
        "what left, not what it was made from: {items:?}"
    );
    let sentence = first["in_words"].as_str().unwrap();
    assert!(sentence.starts_with("On 23 November 2026 at 12:00, "), "{sentence}");
    assert!(sentence.contains("for a fire safety visit to somebody’s home. It was given: "), "{sentence}");
    assert_eq!(told.body["held"]["consents"][0]["status"], "given");
    let text = told.body.to_string();
    assert!(!text.contains("GMFRS-1042") && !text.contains("NHS-C-12"), "staff are not named");
    assert!(!text.contains(PERSON.1), "nor is the person");
    // Being answered is an entry, with how the person was identified.
    let last = world.entries().await.pop().unwrap().body;
    let Body::SubjectRecordRead { what, .. } = last else { panic!("{last:?}") };
    assert_eq!(what, "subject access, documents-seen");
    // A window leaves the rest out.
    let mut later = asks(&world, PERSON);
    later.body.as_mut().unwrap()["from"] = json!("2026-11-23T12:30:00Z");
    assert_eq!(events(&world.send(later).await).len(), 1);
    // Somebody with whom nobody had to do is told so, in the same shape.
    let nobody = world.send(asks(&world, ("local:trafford-council", "SWR-9000"))).await;
    assert_eq!((nobody.status, events(&nobody).len()), (StatusCode::OK, 0));
    assert_eq!(nobody.body["notes"], told.body["notes"]);
}

#[tokio::test]
async fn the_list_of_uses_has_the_data_trackers_shape_and_pages() {
    let world = World::new().await;
    assert_eq!(world.send(world.consent(PERSON.1)).await.status, StatusCode::CREATED);
    for _ in 0..3 {
        assert_eq!(world.send(world.referral(PERSON.1)).await.status, StatusCode::OK);
        world.clock.advance_s(60);
    }
    let uses = |more: Value| {
        let mut body = json!({ "identity_check": "nhs-login-p9" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post("desk", "/v1/subject-access/find-usage", "subject-access", PERSON, body)
    };
    let all = world.send(uses(json!({}))).await;
    let times: Vec<_> =
        all.body["usage"].as_array().unwrap().iter().map(|one| one["logtime"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-23T12:02:00Z", "2026-11-23T12:01:00Z", "2026-11-23T12:00:00Z"]);
    assert_eq!(all.body["usage"][0]["receiver"], "gmca");
    assert_eq!(all.body["usage"][0]["action"], "a fire safety visit to somebody’s home: given");
    let second = world.send(uses(json!({ "offset": 2, "limit": 1 }))).await;
    assert_eq!(second.body["usage"], json!([all.body["usage"][1]]));
    assert_eq!(world.send(uses(json!({ "offset": 9 }))).await.body["usage"], json!([]));
    for wrong in [json!({ "offset": 0 }), json!({ "limit": 0 }), json!({ "limit": 1_001 })] {
        assert_eq!(world.send(uses(wrong)).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn what_could_warn_somebody_waits_for_a_review_and_can_be_withheld_for_a_time() {
    let world = World::new().await;
    let asked = world.question("nhs", "trafford-asc", "safeguarding-adult", PERSON);
    let asked = world.send(asked).await;
    let reference = asked.body["decision_id"].as_str().unwrap().to_owned();
    let told = world.send(asks(&world, PERSON)).await;
    assert_eq!(events(&told).len(), 0, "safeguarding is not told of unasked: {told:?}");
    let looked = world.send(officer(&world, "council", PERSON)).await;
    assert_eq!(events(&looked)[0]["visibility"], "needs-review", "{looked:?}");
    assert_eq!(
        (&events(&looked)[0]["asked_by"], &events(&looked)[0]["told"]["reference"]),
        (&json!("NHS-C-12"), &json!(reference))
    );
    for wrong in [
        json!({ "decision_id": reference, "visibility": "withheld" }),
        json!({ "decision_id": reference, "visibility": "withheld", "until": "2026-12-23T12:00:00Z" }),
        json!({ "decision_id": reference, "visibility": "withheld", "until": "2028-12-23T12:00:00Z", "ground": "crime" }),
        json!({ "decision_id": reference, "visibility": "withheld", "until": "2025-12-23T12:00:00Z", "ground": "crime" }),
        json!({ "decision_id": reference, "visibility": "visible", "ground": "crime" }),
        json!({ "decision_id": reference, "visibility": "needs-review" }),
        json!({ "decision_id": reference, "visibility": "withheld", "until": "2026-12-23T12:00:00Z", "ground": "awkward" }),
    ] {
        let refused = world.send(decide(&world, "council", wrong.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {refused:?}");
    }
    // The one who asked does not decide, nor does a stranger.
    let visible = json!({ "decision_id": reference, "visibility": "visible" });
    let own = world.send(decide(&world, "nhs", visible.clone())).await;
    assert_eq!((own.status, own.code()), (StatusCode::FORBIDDEN, "not-allowed"));
    let mut stranger = decide(&world, "fire", visible.clone());
    stranger.purpose = "fire-prevention-targeting".to_owned();
    assert_eq!(world.send(stranger).await.status, StatusCode::NOT_FOUND);
    let withheld = json!({ "decision_id": reference, "visibility": "withheld", "until": "2026-12-23T12:00:00Z", "ground": "crime" });
    let decided = world.send(decide(&world, "council", withheld)).await;
    assert_eq!(
        (decided.status, &decided.body["visibility"]),
        (StatusCode::OK, &json!("withheld")),
        "{decided:?}"
    );
    assert_eq!(events(&world.send(asks(&world, PERSON)).await).len(), 0);
    // Afterwards the person is told.
    world.clock.advance_s(31 * 86_400);
    assert_eq!(events(&world.send(asks(&world, PERSON)).await).len(), 1);
    let again = world.send(decide(&world, "council", visible)).await;
    assert_eq!(again.body["visibility"], "visible");
    let kinds = world.entries().await.into_iter().filter(|entry| entry.body.kind() == "visibility_decided");
    assert_eq!(kinds.count(), 2);
    world.verify().await;
}

#[tokio::test]
async fn looks_without_a_question_are_told_too_unless_they_could_warn_somebody() {
    let world = World::new().await;
    let search = |purpose| world.post("council", "/v1/consents/search", purpose, PERSON, json!({}));
    assert_eq!(world.send(search("direct-care")).await.status, StatusCode::OK);
    world.clock.advance_s(60);
    assert_eq!(world.send(search("safeguarding-adult")).await.status, StatusCode::OK);
    let elsewhere =
        world.post("fire", "/v1/subject-access/events", "fire-prevention-targeting", PERSON, json!({}));
    assert_eq!(world.send(elsewhere).await.status, StatusCode::OK);
    world.clock.advance_s(60);
    let told = world.send(asks(&world, PERSON)).await;
    let looks = |answer: &Answer, field: &str| {
        let words = |look: &Value| look[field].as_str().unwrap().to_owned();
        answer.body["looks"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer:?}"))
            .iter()
            .map(words)
            .collect::<Vec<_>>()
    };
    // Neither the safeguarding look, nor another organisation's, nor this answer, which has its own receipt.
    assert_eq!(
        looks(&told, "in_words"),
        [
            "On 23 November 2026 at 12:00, somebody at Trafford Council, Adult Social Care (social worker) read your consents and objections for individual health or care."
        ]
    );
    assert!(!told.body.to_string().contains("TRF-SW-77"), "staff are not named: {told:?}");
    assert_eq!(events(&told).len(), 0, "nobody asked for a record");
    // Somebody who was answered in the person's name is seen by the person.
    let again = world.send(asks(&world, PERSON)).await;
    assert_eq!(looks(&again, "what")[0], "answered a request to see your data (documents were seen)");
    let uses = world.post(
        "desk",
        "/v1/subject-access/find-usage",
        "subject-access",
        PERSON,
        json!({ "identity_check": "nhs-login-p9" }),
    );
    assert_eq!(
        world.send(uses).await.body["usage"],
        json!([{ "logtime": "2026-11-23T12:00:00Z", "action": "individual health or care: read your consents and objections", "receiver": "trafford-council" }])
    );
    // An officer sees what waits, and decides; whoever looked does not, nor does another organisation.
    let seen = world.send(officer(&world, "council", PERSON)).await;
    let waits: Vec<_> = seen.body["looks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|look| look["visibility"] == "needs-review")
        .collect();
    let [waits] = waits.as_slice() else { panic!("{seen:?}") };
    let reference = waits["told"]["reference"].as_str().unwrap().to_owned();
    let visible = json!({ "decision_id": reference, "visibility": "visible" });
    let own = world.send(decide(&world, "council", visible.clone())).await;
    assert_eq!((own.status, own.code()), (StatusCode::FORBIDDEN, "not-allowed"), "{own:?}");
    let mut stranger = decide(&world, "fire", visible.clone());
    stranger.purpose = "fire-prevention-targeting".to_owned();
    assert_eq!(world.send(stranger).await.status, StatusCode::NOT_FOUND);
    let mut colleague = decide(&world, "council", visible);
    colleague.spoil_context = Some(|claims| {
        claims["requesting_practitioner"]["id"] = json!("TRF-IG-9");
        claims["sub"] = json!("TRF-IG-9");
    });
    let decided = world.send(colleague).await;
    assert_eq!(
        (decided.status, &decided.body["visibility"]),
        (StatusCode::OK, &json!("visible")),
        "{decided:?}"
    );
    let told = world.send(asks(&world, PERSON)).await;
    assert!(looks(&told, "reference").contains(&reference), "{told:?}");
    for nothing in ["entry-0", "entry-99999", "entry-+3", "entry-", "entry-03"] {
        let body = json!({ "decision_id": nothing, "visibility": "visible" });
        assert_eq!(
            world.send(decide(&world, "council", body)).await.status,
            StatusCode::NOT_FOUND,
            "{nothing}"
        );
    }
    world.verify().await;
}

#[tokio::test]
async fn an_emergency_that_was_declared_is_told_even_if_nothing_was_asked_under_it() {
    let world = World::new().await;
    let declaration = json!({ "reason_code": "immediate-risk-to-life", "statement": "A neighbour reports smoke, nobody answers the door, and an alarm was raised at 11:52.", "cannot_consent": true });
    let declared =
        world.send(world.post("fire", "/v1/break-glass", "vital-interests", PERSON, declaration)).await;
    assert_eq!(declared.status, StatusCode::CREATED, "{declared:?}");
    let seen =
        world.post("fire", "/v1/subject-access/events", "fire-prevention-targeting", PERSON, json!({}));
    let seen = world.send(seen).await;
    let emergency = &seen.body["looks"]
        .as_array()
        .unwrap_or_else(|| panic!("{seen:?}"))
        .iter()
        .find(|look| look["told"]["purpose"] == "an emergency in which a life is at risk")
        .unwrap_or_else(|| panic!("{seen:?}"));
    assert_eq!(emergency["visibility"], "visible");
    let words = emergency["told"]["in_words"].as_str().unwrap();
    assert!(words.contains("declared an emergency (immediate risk to life)"), "{words}");
    assert!(!seen.body.to_string().contains("neighbour"), "the statement is not part of it");
}

#[tokio::test]
async fn an_asker_learns_nothing_from_what_its_own_people_are_told() {
    let world = World::new().await;
    let (hidden, unknown) = ("9000000025", "9990000166");
    for number in [hidden, unknown] {
        assert_eq!(world.send(world.prevention(number)).await.status, StatusCode::NOT_FOUND);
    }
    let seen_by = async |partner: &'static str, number: &'static str| {
        let mut request = officer(&world, partner, ("nhs-number", number));
        if partner == "fire" {
            request = world.post(
                partner,
                "/v1/subject-access/events",
                "fire-prevention-targeting",
                ("nhs-number", number),
                json!({}),
            );
        }
        let answer = world.send(request).await;
        events(&answer)
            .iter()
            .map(|event| (event["visibility"].clone(), event["told"]["outcome"].clone()))
            .collect::<Vec<_>>()
    };
    let plain = vec![(json!("visible"), json!("nothing was given"))];
    assert_eq!(seen_by("fire", hidden).await, plain);
    assert_eq!(seen_by("fire", unknown).await, plain, "the two look alike to who asked");
    assert_eq!(seen_by("nhs", hidden).await[0].0, "needs-review", "the record holder looks at it first");
    assert_eq!(seen_by("nhs", unknown).await, plain);
    assert_eq!(seen_by("council", hidden).await, [], "who has nothing to do with it sees nothing");
}

#[tokio::test]
async fn only_a_desk_that_identified_the_person_may_ask_and_for_that_person_alone() {
    let world = World::new().await;
    for partner in ["council", "fire", "nhs", "auditor"] {
        let mut request = asks(&world, PERSON);
        (request.certificate_of, request.tokens_of) = (partner, partner);
        let refused = world.send(request).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{partner}: {refused:?}");
    }
    let mut unidentified = asks(&world, PERSON);
    unidentified.body.as_mut().unwrap().as_object_mut().unwrap().remove("identity_check");
    assert_eq!(world.send(unidentified).await.status, StatusCode::BAD_REQUEST);
    let mut another = asks(&world, PERSON);
    another.body.as_mut().unwrap()["subject"]["value"] = json!("SWR-2042");
    assert_eq!(world.send(another).await.code(), "context-mismatch");
    let mut other_purpose = asks(&world, PERSON);
    other_purpose.purpose = "direct-care".to_owned();
    assert_ne!(world.send(other_purpose).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_document_is_html_that_needs_nothing_else_and_escapes_what_people_wrote() {
    let world = World::new().await;
    let objection = world.post(
        "council",
        "/v1/objections",
        "fire-prevention-targeting",
        PERSON,
        json!({ "grounds": "I do not want it" }),
    );
    let objection = world.send(objection).await;
    assert_eq!(objection.status, StatusCode::CREATED, "{objection:?}");
    let path = format!("/v1/objections/{}/answer", objection.body["id"].as_str().unwrap());
    let answer = json!({ "outcome": "refused", "grounds": "<script>alert(1)</script> is what we were told", "told_of_remedies": true });
    let answered = world.send(world.act("council", &path, "direct-care", answer)).await;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    let request = asks(&world, PERSON);
    let (access, context) = world.headers(&request);
    let page = world
        .client("desk")
        .post(format!("{}{}", world.settings.public_url, request.path))
        .bearer_auth(access)
        .header("Sharing-Context", context)
        .header("Accept", "text/html")
        .json(request.body.as_ref().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(page.headers()["cache-control"], "no-store");
    let text = page.text().await.unwrap();
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("lang=\"en-GB\""));
    assert_eq!(text.matches("<h1>").count(), 1);
    assert!(!text.contains("<script") && text.contains("&#60;script&#62;"), "{text}");
    assert!(!text.contains("src=") && !text.contains("href="), "it loads nothing");
    assert!(!text.contains(PERSON.1));
}
