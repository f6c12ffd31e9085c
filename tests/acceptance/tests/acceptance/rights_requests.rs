//! Complaints and corrections: recorded once, answered by the right controller in the law's time, sealed, and no way to learn of events
//! that a person is not told of.

use ::console::person::Role;
use acceptance::{Answer, Request, World};
use gateway::retention;
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::own_consents::desk_for;

const PERSON: (&str, &str) = ("nhs-number", "9732110317");
const ROUTE: &str = "/v1/rights-requests";

fn colleague(mut request: Request) -> Request {
    request.spoil_context = Some(|claims| {
        claims["sub"] = json!("TRF-SW-90");
        claims["requesting_practitioner"]["id"] = json!("TRF-SW-90");
    });
    request
}

fn complaint(world: &World, more: Value) -> Request {
    let mut body = json!({ "right": "complaint", "text": "Somebody asked about me. canary-words-61" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post("council", ROUTE, "direct-care", PERSON, body)
}

fn correction(world: &World, more: Value) -> Request {
    let mut body = json!({ "right": "rectification", "item": "my address", "text": "I moved in October. canary-words-62" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post("council", ROUTE, "direct-care", PERSON, body)
}

async fn done(world: &World, request: Request, status: StatusCode) -> Answer {
    let answer = world.send(request).await;
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

fn id(answer: &Answer) -> &str {
    answer.body["id"].as_str().unwrap()
}

fn step(world: &World, partner: &'static str, of: &Answer, step: &str, body: Value) -> Request {
    world.act(partner, &format!("{ROUTE}/{}/{step}", id(of)), "direct-care", body)
}

/// The council asks the NHS about the person, whose number the gateway then knows in the council's name.
async fn event(world: &World) -> String {
    let asked = world.question("council", "nhs-pds", "direct-care", PERSON);
    let answer = world.send(asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["receipt"]["decision_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_complaint_is_acknowledged_and_answered_and_the_person_reads_it() {
    let world = World::new().await;
    let made = done(&world, complaint(&world, json!({})), StatusCode::CREATED).await;
    assert_eq!(made.body["state"], "received");
    assert_eq!(made.body["controller"], "trafford-council");
    assert_eq!(made.body["acknowledge_due"], "2026-12-23T12:00:00Z", "30 days");
    assert!(made.body.get("answer_due").is_none(), "the law sets no time for the outcome: {made:?}");
    assert_eq!(made.body["said"]["by"]["who"], "person");
    // What waits is listed without its words; which time has passed is said.
    let listed = done(&world, world.bare("council", "GET", ROUTE, "direct-care"), StatusCode::OK).await;
    let [one] = listed.body["rights_requests"].as_array().unwrap().as_slice() else { panic!("{listed:?}") };
    assert_eq!((&one["id"], &one["overdue"]), (&made.body["id"], &json!(false)));
    assert!(!listed.body.to_string().contains("canary-words"), "{listed:?}");
    world.clock.advance_s(30 * 86_400);
    let listed = done(&world, world.bare("council", "GET", ROUTE, "direct-care"), StatusCode::OK).await;
    assert_eq!(listed.body["rights_requests"][0]["overdue"], true);
    let acknowledged =
        done(&world, step(&world, "council", &made, "acknowledge", json!({})), StatusCode::OK).await;
    assert_eq!(
        (&acknowledged.body["state"], &acknowledged.body["overdue"]),
        (&json!("acknowledged"), &json!(false))
    );
    let again =
        done(&world, step(&world, "council", &made, "acknowledge", json!({})), StatusCode::CONFLICT).await;
    assert_eq!(again.code(), "wrong-state");
    let answer = json!({ "outcome": "partly-upheld", "answer": "You were not told that we would ask. canary-words-63", "told_of_remedies": true });
    let answered =
        done(&world, step(&world, "council", &made, "answer", answer.clone()), StatusCode::OK).await;
    assert_eq!(answered.body["outcome"], "partly-upheld");
    assert_eq!(answered.body["text"], "Somebody asked about me. canary-words-61");
    assert_eq!(answered.body["answered_by"], "TRF-SW-77", "officers see who answered");
    done(&world, step(&world, "council", &made, "answer", answer), StatusCode::CONFLICT).await;
    // The person reads what they wrote and the answer, and no name of staff.
    let mut search = world.post("council", "/v1/consents/search", "direct-care", PERSON, json!({}));
    search.case = "OWN-1";
    let held = done(&world, search, StatusCode::OK).await;
    assert_eq!(
        held.body["rights_requests"][0]["answer"],
        "You were not told that we would ask. canary-words-63"
    );
    assert!(held.body["rights_requests"][0].get("answered_by").is_none(), "{held:?}");
    let actions: Vec<_> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::RightsRequestMoved { action, right, outcome, .. } => Some((action, right, outcome)),
            _ => None,
        })
        .collect();
    let wanted = [("received", None), ("acknowledged", None), ("answered", Some("partly-upheld".to_owned()))];
    assert_eq!(actions, wanted.map(|(action, outcome)| (action.to_owned(), "complaint".to_owned(), outcome)));
    let text = store::scratch::bytes(&world.settings.ledger.database);
    assert!(!text.windows(12).any(|window| window == b"canary-words"), "the words are sealed");
    world.verify().await;
}

#[tokio::test]
async fn a_correction_goes_to_whoever_holds_the_record_within_a_month() {
    let world = World::new().await;
    let decision = event(&world).await;
    let made =
        done(&world, correction(&world, json!({ "decision_id": decision })), StatusCode::CREATED).await;
    assert_eq!(made.body["controller"], "nhs-england", "it holds the record");
    assert_eq!(made.body["answer_due"], "2026-12-23T12:00:00Z", "one calendar month");
    // Whoever passed it on sees it and cannot answer it.
    let answer = json!({ "outcome": "corrected", "answer": "We have written to your GP and it is mended." });
    let passed =
        done(&world, step(&world, "council", &made, "answer", answer.clone()), StatusCode::FORBIDDEN).await;
    assert_eq!(passed.code(), "not-allowed");
    let mine = world.bare("council", "GET", &format!("{ROUTE}/{}", id(&made)), "direct-care");
    done(&world, colleague(mine), StatusCode::OK).await;
    let answered = done(&world, step(&world, "nhs", &made, "answer", answer), StatusCode::OK).await;
    assert_eq!(
        (&answered.body["state"], &answered.body["outcome"]),
        (&json!("answered"), &json!("corrected"))
    );
    world.verify().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_repeats_no_words() {
    let world = World::new().await;
    let decision = event(&world).await;
    let mine = json!({ "who": "proxy", "authority": "court-deputy", "capacity_statement": "Found to lack capacity in May." });
    let proxy = |evidence: Value| json!({ "said": { "by": mine, "method": "in-writing", "evidence_reference": evidence } });
    let cases = [
        json!({ "text": "short" }),
        json!({ "item": "my address" }),
        json!({ "right": "portability" }),
        json!({ "controller": "somebody-else" }),
        json!({ "decision_id": "dec_00000000000000000000000000000000" }),
        json!({ "decision_id": decision, "controller": "gmca" }),
        json!({ "unknown": 1 }),
        json!({ "said": { "by": { "who": "next-of-kin" }, "method": "online", "evidence_reference": null } }),
        proxy(Value::Null),
    ];
    for more in cases {
        let answer = world.send(complaint(&world, more.clone())).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "invalid-request"),
            "{more}: {answer:?}"
        );
        assert!(!answer.body.to_string().contains("canary-words"));
    }
    done(&world, complaint(&world, proxy(json!("Order 12 of 2026"))), StatusCode::CREATED).await;
    let mut of_another = complaint(&world, json!({}));
    of_another.record = Some(("nhs-number".to_owned(), "9736363015".to_owned()));
    assert_eq!(world.send(of_another).await.code(), "context-mismatch");
    // An answer that disappoints says where the person can go, and one of the other right is none.
    let made = done(&world, complaint(&world, json!({})), StatusCode::CREATED).await;
    for answer in [
        json!({ "outcome": "not-upheld", "answer": "It was right, and here is why it was." }),
        json!({ "outcome": "corrected", "answer": "It was right, and here is why it was." }),
        json!({ "outcome": "upheld", "answer": "Sorry." }),
    ] {
        done(&world, step(&world, "council", &made, "answer", answer), StatusCode::BAD_REQUEST).await;
    }
    // Recording is for those who record, answering for those who review.
    let fire = world.post(
        "fire",
        ROUTE,
        "fire-prevention-targeting",
        PERSON,
        json!({ "right": "complaint", "text": "ten letters or more" }),
    );
    assert_eq!(world.send(fire).await.status, StatusCode::FORBIDDEN);
    let desk = done(&world, world.bare("desk", "GET", ROUTE, "subject-access"), StatusCode::FORBIDDEN).await;
    assert_eq!(desk.code(), "not-registered-for-this");
    // There is none for whoever has nothing to do with it, as if it were not there.
    let there = world.send(world.bare("nhs", "GET", &format!("{ROUTE}/{}", id(&made)), "direct-care")).await;
    let nowhere = world
        .send(world.bare(
            "nhs",
            "GET",
            &format!("{ROUTE}/rrq_00000000000000000000000000000000"),
            "direct-care",
        ))
        .await;
    assert_eq!((there.status, there.shape()), (StatusCode::NOT_FOUND, nowhere.shape()));
}

#[tokio::test]
async fn an_event_that_the_person_is_not_told_of_is_none() {
    let world = World::new().await;
    // Safeguarding waits for a review before the person is told.
    let person = ("local:trafford-council", "SWR-2042");
    let told = |answer: &Answer| {
        let receipt = &answer.body["receipt"]["decision_id"];
        receipt.as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    let hidden = told(&world.send(world.question("nhs", "trafford-asc", "safeguarding-adult", person)).await);
    let others = told(&world.send(world.question("council", "nhs-pds", "direct-care", PERSON)).await);
    let nothing = "dec_00000000000000000000000000000000".to_owned();
    let mut shapes = Vec::new();
    for decision in [hidden, others, nothing] {
        let body = json!({ "right": "complaint", "text": "ten letters or more", "decision_id": decision });
        let answer = world.send(world.post("council", ROUTE, "direct-care", person, body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        shapes.push(answer.shape());
    }
    assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "{shapes:?}");
}

#[tokio::test]
async fn nobody_answers_a_complaint_about_their_own_question() {
    let world = World::new().await;
    let decision = event(&world).await;
    let made = done(&world, complaint(&world, json!({ "decision_id": decision })), StatusCode::CREATED).await;
    let answer = json!({ "outcome": "not-upheld", "answer": "I was right to ask about you.", "told_of_remedies": true });
    for (what, body) in [("acknowledge", json!({})), ("answer", answer.clone())] {
        let own = done(&world, step(&world, "council", &made, what, body), StatusCode::FORBIDDEN).await;
        assert_eq!(own.code(), "not-allowed");
    }
    let read = || world.bare("council", "GET", &format!("{ROUTE}/{}", id(&made)), "direct-care");
    done(&world, read(), StatusCode::FORBIDDEN).await;
    done(&world, colleague(read()), StatusCode::OK).await;
    done(&world, colleague(step(&world, "council", &made, "answer", answer)), StatusCode::OK).await;
    world.verify().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_complaint() {
    let world = World::new().await;
    let keyed = |more: Value| {
        let mut request = complaint(&world, more);
        request.request_key = Some("once-1");
        request
    };
    let made = done(&world, keyed(json!({})), StatusCode::CREATED).await;
    let again = done(&world, keyed(json!({})), StatusCode::OK).await;
    assert_eq!(made.body["id"], again.body["id"]);
    assert_eq!(again.headers.get("idempotency-replayed").unwrap(), "true");
    let other =
        done(&world, keyed(json!({ "text": "Something else happened." })), StatusCode::UNPROCESSABLE_ENTITY)
            .await;
    assert_eq!(other.code(), "request-key-reused");
    // On their way at once, they are one.
    let at_once = |text: &str| {
        let mut request = complaint(&world, json!({ "text": text }));
        request.request_key = Some("once-2");
        request
    };
    let (one, other) = tokio::join!(
        world.send(at_once("The same thing, twice at once.")),
        world.send(at_once("The same thing, twice at once."))
    );
    assert_eq!(one.body["id"], other.body["id"], "{one:?} {other:?}");
    let received = world.entries().await.into_iter().filter(
        |entry| matches!(&entry.body, Body::RightsRequestMoved { action, .. } if action == "received"),
    );
    assert_eq!(received.count(), 2);
}

#[tokio::test]
async fn an_answered_one_is_forgotten_in_time_and_an_open_one_never() {
    let world = World::new().await;
    let open = done(&world, complaint(&world, json!({})), StatusCode::CREATED).await;
    let closed = done(&world, correction(&world, json!({})), StatusCode::CREATED).await;
    let answer = json!({ "outcome": "corrected", "answer": "We have mended your address." });
    done(&world, step(&world, "council", &closed, "answer", answer), StatusCode::OK).await;
    world.clock.advance_s(20 * 366 * 86_400);
    retention::apply(&world.app).await.unwrap();
    let read = |of: &Answer| world.bare("council", "GET", &format!("{ROUTE}/{}", id(of)), "direct-care");
    done(&world, read(&closed), StatusCode::NOT_FOUND).await;
    done(&world, read(&open), StatusCode::OK).await;
    world.verify().await;
}

#[tokio::test]
async fn one_person_cannot_bury_the_others() {
    let world = World::new().await;
    let mut last = None;
    for number in 0..20 {
        let text = json!({ "text": format!("Complaint number {number} of many") });
        last = Some(done(&world, complaint(&world, text), StatusCode::CREATED).await);
    }
    let more = done(&world, complaint(&world, json!({})), StatusCode::CONFLICT).await;
    assert_eq!(more.code(), "wrong-state");
    let answer = json!({ "outcome": "upheld", "answer": "You are right, and we are sorry." });
    done(&world, step(&world, "council", &last.unwrap(), "answer", answer), StatusCode::OK).await;
    done(&world, complaint(&world, json!({})), StatusCode::CREATED).await;
}

/// What the console lets a resident ask for has the capabilities that officers have. The desk's outermost layer tells them apart.
#[tokio::test]
async fn a_resident_reaches_what_is_theirs_whatever_a_page_asks() {
    let world = World::new().await;
    let recorded = done(&world, world.consent("SWR-2044"), StatusCode::CREATED).await;
    let consent = format!("/v1/consents/{}", id(&recorded));
    let as_role = async |role, once| desk_for(&world, role, ("trafford-council", PERSON.1), once).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let routes = [
        ("GET", consent.clone()),
        ("POST", format!("{consent}/status")),
        ("POST", "/v1/consents".to_owned()),
        ("POST", "/v1/consents/search".to_owned()),
        ("GET", "/v1/rights-requests".to_owned()),
        ("POST", "/v1/objections/obj_00000000000000000000000000000000/answer".to_owned()),
        ("GET", "/v1/alerts".to_owned()),
        ("POST", "/v1/trail/search".to_owned()),
    ];
    for (number, (method, path)) in routes.iter().enumerate() {
        let desk = as_role(Role::Citizen, u32::try_from(number).unwrap()).await;
        let asked = client.request(method.parse().unwrap(), format!("{desk}{path}")).send().await.unwrap();
        assert_eq!(asked.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    let officer = as_role(Role::PrivacyOfficer, 100).await;
    let read = client.get(format!("{officer}{consent}")).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK, "an officer reads it: {read:?}");
}
