//! AuthZEN: the certification scenario's levels over a fixture that is loaded as policy, and people's records.

use acceptance::{Answer, Request, World};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

const PURPOSE: &str = "fire-prevention-targeting";

async fn with_fixture() -> World {
    World::with_files(&[
        ("access/certification.cedar", include_str!("../../fixtures/access/certification.cedar")),
        ("access/certification.json", include_str!("../../fixtures/access/certification.json")),
    ])
    .await
}

fn post(world: &World, path: &str, body: Value) -> Request {
    let mut request = world.act("fire", &format!("/access/v1/{path}"), PURPOSE, body);
    request.request_id = None;
    request
}

fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

fn record(id: &str) -> Value {
    json!({ "type": "record", "id": id })
}

fn archived() -> Value {
    json!({ "type": "record", "id": "record-2", "properties": { "status": "archived" } })
}

fn admin() -> Value {
    json!({ "type": "user", "id": "bob", "properties": { "role": "admin" } })
}

fn ask(subject: Value, action: Value, resource: Value) -> Value {
    json!({ "subject": subject, "action": action, "resource": resource })
}

async fn decision(world: &World, body: Value) -> bool {
    let answer = world.send(post(world, "evaluation", body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.body["decision"].as_bool().unwrap()
}

async fn decisions(world: &World, body: Value) -> Vec<bool> {
    let answer = world.send(post(world, "evaluations", body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let all = answer.body["evaluations"].as_array().unwrap().iter();
    all.map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn basic_core_and_properties() {
    let world = with_fixture().await;
    let name = |name: &str| json!({ "name": name });
    let soft = |soft: bool| json!({ "name": "delete", "properties": { "soft": soft } });
    let with_context = |mut body: Value| {
        body["context"] = json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" });
        body["unknown"] = json!({ "is": "passed over" });
        body
    };
    for (body, expected) in [
        (ask(user("alice"), name("read"), record("record-1")), true),
        (ask(user("alice"), name("write"), record("record-1")), true),
        (ask(user("bob"), name("read"), record("record-1")), true),
        (ask(user("bob"), name("write"), record("record-1")), false),
        (with_context(ask(user("alice"), name("read"), record("record-1"))), true),
        (ask(user("alice"), name("write"), archived()), false),
        (ask(admin(), name("write"), archived()), true),
        (ask(user("alice"), soft(true), record("record-1")), true),
        (ask(user("alice"), soft(false), record("record-1")), false),
        (ask(user("nobody"), name("read"), record("record-1")), false),
        (ask(user("alice"), name("fly"), record("record-1")), false),
    ] {
        for _ in 0..2 {
            assert_eq!(decision(&world, body.clone()).await, expected, "{body}");
        }
    }
    // Without the policies nothing of this is permitted: nothing of it is in the code.
    let bare = World::new().await;
    assert!(!decision(&bare, ask(user("alice"), name("read"), record("record-1"))).await);
}

#[tokio::test]
async fn basic_errors_and_headers() {
    let world = with_fixture().await;
    let good = ask(user("alice"), json!({ "name": "read" }), record("record-1"));
    let without = |pointer: &str| {
        let mut body = good.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
        body
    };
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for body in [
        without("/subject"),
        without("/action"),
        without("/resource"),
        without("/subject/type"),
        without("/subject/id"),
        without("/action/name"),
        without("/resource/type"),
        without("/resource/id"),
        with("/subject", json!("alice")),
        with("/action/name", json!(123)),
        with("/subject", json!({ "type": "user", "id": "alice", "properties": { "level": 1.5 } })),
        json!([]),
    ] {
        let answer = world.send(post(&world, "evaluation", body.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body} {answer:?}");
        assert!(!answer.body.to_string().contains("alice"), "{answer:?}");
    }
    for (text, kind) in [("{\"subject\":", None), ("", None), ("subject=alice", Some("text/plain"))] {
        let mut request = post(&world, "evaluation", json!({}));
        (request.text, request.content_type) = (Some(text.to_owned()), kind);
        assert_eq!(world.send(request).await.status, StatusCode::BAD_REQUEST, "{text}");
    }
    let mut request = post(&world, "evaluation", good);
    request.request_id = Some("any string; really".replace(' ', "_"));
    let echoed = world.send(request).await;
    assert_eq!(echoed.headers["x-request-id"], "any_string;_really");
}

#[tokio::test]
async fn batch_core_and_properties() {
    let world = with_fixture().await;
    let write = json!({ "name": "write" });
    let read = json!({ "name": "read" });
    let active = json!({ "type": "record", "id": "record-1", "properties": { "status": "active" } });
    for (body, expected) in [
        (
            json!({ "subject": user("alice"), "action": read, "evaluations": [{ "resource": record("record-1") }, { "resource": record("record-2") }] }),
            vec![true, true],
        ),
        (
            json!({ "subject": user("bob"), "resource": record("record-1"), "evaluations": [{ "action": read }, { "action": write }] }),
            vec![true, false],
        ),
        (
            json!({ "subject": user("alice"), "action": write, "evaluations": [{ "resource": active }, { "resource": archived() }] }),
            vec![true, false],
        ),
        (
            json!({ "action": write, "resource": archived(), "evaluations": [{ "subject": user("alice") }, { "subject": admin() }] }),
            vec![false, true],
        ),
        (
            json!({ "evaluations": [ask(user("alice"), read.clone(), record("record-1")), ask(user("bob"), write.clone(), record("record-1"))] }),
            vec![true, false],
        ),
        (
            json!({ "subject": user("alice"), "action": read, "context": { "time": "x" }, "evaluations": [{ "resource": record("record-1") }, { "resource": record("record-2"), "context": { "source": "override" } }] }),
            vec![true, true],
        ),
        (
            json!({ "subject": user("alice"), "action": write, "resource": active, "evaluations": [{}, { "resource": archived() }] }),
            vec![true, false],
        ),
        (
            json!({ "subject": user("alice"), "action": read, "options": { "evaluations_semantic": "execute_all" }, "evaluations": [{ "resource": record("record-1") }, {}] }),
            vec![true, false],
        ),
        (
            json!({ "subject": user("bob"), "resource": record("record-1"), "options": { "evaluations_semantic": "deny_on_first_deny" }, "evaluations": [{ "action": read }, { "action": write }, { "action": read }] }),
            vec![true, false],
        ),
        (
            json!({ "subject": user("bob"), "resource": record("record-1"), "options": { "evaluations_semantic": "permit_on_first_permit" }, "evaluations": [{ "action": write }, { "action": read }, { "action": read }] }),
            vec![false, true],
        ),
    ] {
        assert_eq!(decisions(&world, body.clone()).await, expected, "{body}");
    }
    for evaluations in [Value::Null, json!([])] {
        let mut body = ask(user("alice"), read.clone(), record("record-1"));
        if !evaluations.is_null() {
            body["evaluations"] = evaluations;
        }
        let answer = world.send(post(&world, "evaluations", body)).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &json!({ "decision": true })));
    }
    for body in [
        json!({ "evaluations": "all" }),
        json!({ "evaluations": [1] }),
        json!({ "evaluations": vec![json!({}); 21] }),
        json!({ "options": { "evaluations_semantic": "guess" }, "evaluations": [{}] }),
        json!({ "subject": user("alice"), "evaluations": [] }),
    ] {
        assert_eq!(
            world.send(post(&world, "evaluations", body.clone())).await.status,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
}

async fn results(world: &World, path: &str, body: Value, member: &str) -> Vec<String> {
    let answer = world.send(post(world, &format!("search/{path}"), body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let found = answer.body["results"].as_array().unwrap().iter();
    found.map(|one| one[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn search_core_and_properties() {
    let world = with_fixture().await;
    let (read, write) = (json!({ "name": "read" }), json!({ "name": "write" }));
    let users = json!({ "type": "user" });
    for subject in [users.clone(), user("alice")] {
        let mut body = ask(subject, read.clone(), record("record-1"));
        body["page"] = json!({ "limit": 1 });
        assert_eq!(results(&world, "subject", body, "id").await, ["alice", "bob"]);
    }
    assert_eq!(
        results(&world, "subject", ask(users.clone(), write.clone(), archived()), "id").await,
        ["bob"]
    );
    for resource in [json!({ "type": "record" }), record("record-1")] {
        let found = results(&world, "resource", ask(user("alice"), read.clone(), resource), "id").await;
        assert_eq!(found, ["record-1", "record-2"]);
    }
    let found =
        results(&world, "resource", ask(admin(), write.clone(), json!({ "type": "record" })), "id").await;
    assert_eq!(found, ["record-2"]);
    let actions = |subject: Value, resource: Value| json!({ "subject": subject, "resource": resource });
    assert_eq!(
        results(&world, "action", actions(user("alice"), record("record-1")), "name").await,
        ["read", "write"]
    );
    assert_eq!(results(&world, "action", actions(admin(), archived()), "name").await, ["read", "write"]);
    assert!(results(&world, "action", actions(user("nobody"), record("record-1")), "name").await.is_empty());
    assert!(
        results(
            &world,
            "subject",
            ask(json!({ "type": "spaceship" }), read.clone(), record("record-1")),
            "id"
        )
        .await
        .is_empty()
    );
    for (path, body) in [
        ("subject", json!({ "subject": users, "resource": record("record-1") })),
        ("resource", json!({ "action": read, "resource": { "type": "record" } })),
        ("action", json!({ "subject": user("alice") })),
        ("subject", ask(json!({ "type": "user" }), read.clone(), json!({ "type": "record" }))),
        ("resource", ask(json!({ "type": "user" }), read.clone(), json!({ "type": "record" }))),
        ("action", json!({ "subject": { "type": "user" }, "resource": record("record-1") })),
    ] {
        let answer = world.send(post(&world, &format!("search/{path}"), body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn discovery() {
    let world = World::new().await;
    let answer = world.send(world.bare("fire", "GET", "/.well-known/authzen-configuration", PURPOSE)).await;
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (StatusCode::OK, "application/json")
    );
    assert_eq!(answer.body["policy_decision_point"], json!(world.settings.public_url));
    for (name, path) in [
        ("access_evaluation_endpoint", "/access/v1/evaluation"),
        ("access_evaluations_endpoint", "/access/v1/evaluations"),
        ("search_subject_endpoint", "/access/v1/search/subject"),
        ("access_request_endpoint", "/access/v1/requests"),
    ] {
        assert_eq!(answer.body[name], json!(format!("{}{path}", world.settings.public_url)));
    }
}

fn about(number: &str, items: Value) -> Value {
    json!({
        "subject": { "type": "practitioner", "id": "GMFRS-1001" },
        "action": { "name": "disclose", "properties": { "items": items } },
        "resource": { "type": "person-record", "id": number, "properties": { "scheme": "nhs-number", "provider": "nhs-pds" } },
    })
}

fn of_person(world: &World, path: &str, number: &str, body: Value) -> Request {
    let mut request = post(world, path, body);
    request.record = Some(("nhs-number".to_owned(), number.to_owned()));
    request
}

async fn evaluated(world: &World, number: &str) -> Answer {
    world.send(of_person(world, "evaluation", number, about(number, json!("all-agreed")))).await
}

#[tokio::test]
async fn a_persons_record_goes_the_whole_way() {
    let world = with_fixture().await;
    let permit = evaluated(&world, "9732110317").await;
    assert_eq!(permit.body["decision"], true, "{permit:?}");
    let context = &permit.body["context"];
    assert!(!context["items"].as_array().unwrap().is_empty());
    let obligations = context["obligations"].as_array().unwrap();
    assert!(
        obligations.iter().all(|one| one["type"] == "custom" && one["properties"]["vendor"] == "concordat")
    );
    assert!(obligations.iter().any(|one| one["id"] == "delete-by" && one["properties"]["until"].is_string()));
    assert_eq!(world.last_kinds(2).await, ["intent", "closure"]);
    let id = context["evaluation_id"].as_str().unwrap();
    let path = format!("/v1/decisions/{id}/explanation");
    assert_eq!(world.send(world.bare("fire", "GET", &path, PURPOSE)).await.body["result"], "permitted");
    // Restricted, unknown: one answer, but for what counts up.
    let shape = |mut answer: Answer| {
        for name in ["evaluation_id", "receipt"] {
            answer.body["context"][name] = Value::Null;
        }
        answer.shape()
    };
    let restricted = evaluated(&world, "9000000025").await;
    assert_eq!(restricted.body["context"]["reason"], "no-record-available", "{restricted:?}");
    assert_eq!(shape(restricted), shape(evaluated(&world, "9990000166").await));
    // Fewer items are fewer; items that are not named are an error, not everything.
    let few = about("9732110317", json!(["person.birth_date"]));
    let few = world.send(of_person(&world, "evaluation", "9732110317", few)).await;
    assert_eq!(few.body["context"]["items"], json!(["person.birth_date:age-band"]), "{few:?}");
    for (pointer, value, status) in [
        ("/action/properties", json!({ "item": ["person.birth_date"] }), StatusCode::BAD_REQUEST),
        ("/action/name", json!("delete"), StatusCode::BAD_REQUEST),
        ("/resource/properties", json!({ "scheme": "nhs-number" }), StatusCode::BAD_REQUEST),
        ("/resource/id", json!("9000000000"), StatusCode::BAD_REQUEST),
        ("/resource/id", json!("9736363023"), StatusCode::FORBIDDEN),
        ("/subject/id", json!("GMFRS-1002"), StatusCode::FORBIDDEN),
        ("/subject/type", json!("user"), StatusCode::FORBIDDEN),
    ] {
        let mut body = about("9732110317", json!("all-agreed"));
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = world.send(of_person(&world, "evaluation", "9732110317", body)).await;
        assert_eq!(answer.status, status, "{pointer} {answer:?}");
    }
    let mut other = about("9732110317", json!("all-agreed"));
    other["context"] = json!({ "purpose": "direct-care" });
    assert_eq!(
        world.send(of_person(&world, "evaluation", "9732110317", other)).await.status,
        StatusCode::FORBIDDEN
    );
    // No policy in policies/access can say anything about a person.
    let entries = world.entries().await;
    assert!(entries.iter().any(|entry| matches!(&entry.body, Body::Intent(decided) if decided.answer_only)));
    world.verify().await;
}

#[tokio::test]
async fn a_batch_is_about_one_person_and_uses_its_context_once() {
    let world = World::new().await;
    let mut body = about("9732110317", json!("all-agreed"));
    let mut other = body["resource"].clone();
    other["id"] = json!("9736363023");
    body["evaluations"] = json!([{}, { "action": { "name": "disclose", "properties": { "items": ["person.birth_date"] } } }, { "resource": other }]);
    let request = of_person(&world, "evaluations", "9732110317", body);
    let headers = world.headers(&request);
    let answer = world.send_with(&request, Some(&headers.0), Some(&headers.1)).await;
    let all = answer.body["evaluations"].as_array().unwrap();
    assert_eq!(
        all.iter().map(|one| one["decision"] == true).collect::<Vec<_>>(),
        [true, true, false],
        "{answer:?}"
    );
    assert_eq!(all[2]["context"]["reason"], "context-mismatch");
    let again = world.send_with(&request, Some(&headers.0), Some(&headers.1)).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED, "{again:?}");
    world.verify().await;
}

#[tokio::test]
async fn what_may_be_asked_is_listed_and_people_are_not() {
    let world = World::new().await;
    let me = json!({ "type": "practitioner", "id": "GMFRS-1001" });
    let disclose = json!({ "name": "disclose" });
    let holders = ask(me.clone(), disclose.clone(), json!({ "type": "record-holder" }));
    assert_eq!(results(&world, "resource", holders, "id").await, ["nhs-pds"]);
    let items =
        ask(me.clone(), disclose.clone(), json!({ "type": "item", "properties": { "provider": "nhs-pds" } }));
    assert!(results(&world, "resource", items, "id").await.contains(&"person.birth_date".to_owned()));
    let at = |id: &str| json!({ "subject": me, "resource": { "type": "record-holder", "id": id } });
    assert_eq!(results(&world, "action", at("nhs-pds"), "name").await, ["disclose"]);
    assert!(results(&world, "action", at("trafford-asc"), "name").await.is_empty());
    let mut foreign = ask(me.clone(), disclose.clone(), json!({ "type": "record-holder" }));
    foreign["subject"]["id"] = json!("somebody-else");
    assert_eq!(world.send(post(&world, "search/resource", foreign)).await.status, StatusCode::FORBIDDEN);
    let people = json!({ "type": "person-record", "id": "9732110317" });
    for (path, body) in [
        ("resource", ask(me.clone(), disclose.clone(), people.clone())),
        ("subject", ask(json!({ "type": "practitioner" }), disclose, people.clone())),
        ("action", json!({ "subject": me, "resource": people })),
    ] {
        let answer = world.send(post(&world, &format!("search/{path}"), body)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    }
}

#[tokio::test]
async fn a_denial_that_can_be_requested_leads_to_a_named_person() {
    let world = World::new().await;
    let evaluation = json!({
        "subject": { "type": "practitioner", "id": "GMFRS-1001" },
        "action": { "name": "disclose", "properties": { "items": ["person.address", "health.home_oxygen"] } },
        "resource": { "type": "person-record", "id": "SWR-2044", "properties": { "scheme": "local:trafford-council", "provider": "trafford-asc" } },
    });
    let send = |path: &str, body: Value| {
        let mut request = world.act("fire", &format!("/access/v1/{path}"), "safeguarding-adult", body);
        request.record = Some(("local:trafford-council".to_owned(), "SWR-2044".to_owned()));
        request
    };
    let denied = world.send(send("evaluation", evaluation.clone())).await;
    assert_eq!(denied.body["decision"], false, "{denied:?}");
    let context = &denied.body["context"];
    assert_eq!(context["reason"], "referred-to-a-person", "{denied:?}");
    assert!(context["access_request"]["expires_at"].is_string());
    let form = json!({
        "position": "Social worker",
        "purpose_in_words": "To reach the person today about a safeguarding concern.",
        "items_in_words": "The telephone number, to call before visiting.",
        "harm_if_not_shared": "Serious harm if nobody reaches them.",
        "retention_and_deletion": "In the case file; deleted with it.",
        "needed_by": "2026-11-24T12:00:00Z",
        "contact": "duty desk",
    });
    let mut request = evaluation.clone();
    request["context"] = json!({ "form": form });
    request["denial"] = json!({ "evaluation_id": context["evaluation_id"] });
    for (pointer, value) in [
        ("/action/properties/items", json!(["person.birth_date"])),
        ("/resource/properties/provider", json!("nhs-pds")),
        ("/denial/evaluation_id", json!("dec_00000000000000000000000000000000")),
    ] {
        let mut other = request.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        let answer = world.send(send("requests", other)).await;
        assert_eq!(
            answer.body["type"], "urn:openid:authzen:access-request:error:invalid_denial_binding",
            "{pointer} {answer:?}"
        );
    }
    let taken = world.send(send("requests", request.clone())).await;
    assert_eq!(
        (taken.status, &taken.body["task"]["status"]),
        (StatusCode::ACCEPTED, &json!("pending")),
        "{taken:?}"
    );
    assert_eq!(taken.headers["location"], taken.body["task"]["status_endpoint"].as_str().unwrap());
    assert_eq!(world.send(send("requests", request)).await.status, StatusCode::CONFLICT);
    let id = taken.body["task"]["id"].as_str().unwrap().to_owned();
    let status = |partner: &'static str| {
        world.bare(partner, "GET", &format!("/access/v1/requests/{id}"), "safeguarding-adult")
    };
    assert_eq!(world.send(status("fire")).await.body["task"]["status"], "pending");
    let foreign =
        world.send(world.bare("council", "GET", &format!("/access/v1/requests/{id}"), "direct-care")).await;
    assert_eq!(foreign.body["type"], "urn:openid:authzen:access-request:error:unknown_task", "{foreign:?}");
    let review = |action: &str, body: Value| {
        world.act("council", &format!("/v1/referrals/{id}/{action}"), "direct-care", body)
    };
    let took =
        world.send(world.bare("council", "POST", &format!("/v1/referrals/{id}/take"), "direct-care")).await;
    assert_eq!(took.status, StatusCode::OK, "{took:?}");
    let granted = world
        .send(review(
            "decide",
            json!({
                "outcome": "grant", "items": ["person.address:as-is", "health.home_oxygen:yes-no"],
                "lawful_basis": { "article_6": "6(1)(c)", "article_9": "9(2)(g)", "schedule_1": "part 2 paragraph 18" },
                "confidentiality": { "basis": "public-interest" },
                "minutes": 60, "retain_days": 30, "reason": "Proportionate: one number, for one call.",
            }),
        ))
        .await;
    assert_eq!(granted.status, StatusCode::OK, "{granted:?}");
    let done = world.send(status("fire")).await;
    assert_eq!(done.body["task"]["status"], "approved", "{done:?}");
    assert_eq!(done.body["result"]["mode"], "reevaluate");
    let mut again = evaluation;
    again["context"] = json!({ "approval": done.body["result"]["approval"] });
    let permitted = world.send(send("evaluation", again)).await;
    assert_eq!(permitted.body["decision"], true, "{permitted:?}");
    assert_eq!(permitted.body["context"]["grant"], done.body["result"]["approval"]["id"]);
    world.verify().await;
}
