//! What named people may permit: break-glass and its review, one-off disclosures, relationships, daily ceilings.

use acceptance::{Answer, World};
use gateway::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

const REFERRED: (&str, &str) = ("local:trafford-council", "SWR-2041");
const RESTRICTED: (&str, &str) = ("local:trafford-council", "SWR-2045");
const EMERGENCY: &str =
    "A neighbour reports smoke, nobody answers the door, and a lifeline alarm was raised at 11:52.";

fn declaration() -> Value {
    json!({ "reason_code": "immediate-risk-to-life", "statement": EMERGENCY, "cannot_consent": true })
}

async fn declare(world: &World, person: (&str, &str)) -> Answer {
    world.send(world.post("fire", "/v1/break-glass", "vital-interests", person, declaration())).await
}

async fn ask_under(world: &World, person: (&str, &str), id: &Value, items: Value) -> Answer {
    let mut question = world.question("fire", "trafford-asc", "vital-interests", person);
    let body = question.body.as_mut().unwrap();
    body["items"] = items;
    body["break_glass"] = id.clone();
    world.send(question).await
}

fn named(claims: &mut Value, name: &str) {
    claims["sub"] = name.into();
    claims["requesting_practitioner"]["id"] = name.into();
}

/// Nobody reviews thousands of them.
#[tokio::test]
async fn emergencies_are_bounded_for_a_practitioner_and_for_a_system() {
    let world = World::with_settings(|settings| {
        settings.limits.caller.emergencies_per_practitioner_per_day = 2;
        settings.limits.caller.emergencies_per_system_per_day = 3;
    })
    .await;
    let declare_as = |named: fn(&mut Value), person| {
        let mut declaring = world.post("fire", "/v1/break-glass", "vital-interests", person, declaration());
        declaring.spoil_context = Some(named);
        world.send(declaring)
    };
    let manager = |claims: &mut Value| named(claims, "GMFRS-1");
    let commander = |claims: &mut Value| named(claims, "GMFRS-2");
    let third = |claims: &mut Value| named(claims, "GMFRS-3");
    let another = ("local:trafford-council", "SWR-2043");
    for person in [REFERRED, RESTRICTED, REFERRED] {
        let declared = declare_as(manager, person).await;
        assert_eq!(declared.status, StatusCode::CREATED, "again about the same person is one: {declared:?}");
    }
    let refused = declare_as(|claims| named(claims, "gmfrs-1"), another).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "emergencies-reached"), "{refused:?}");
    assert_eq!(refused.headers["retry-after"], "3600");
    assert_eq!(world.last_kinds(1).await, ["request_refused"]);
    assert_eq!(declare_as(commander, another).await.status, StatusCode::CREATED);
    assert_eq!(declare_as(third, REFERRED).await.code(), "emergencies-reached", "all of the system's");
    // What was declared goes on, and a question counts as a question.
    let declared = declare_as(manager, REFERRED).await;
    assert_eq!(declared.status, StatusCode::CREATED);
    world.clock.advance_s(86_400);
    assert_eq!(declare_as(third, another).await.status, StatusCode::CREATED, "the next day");
    world.verify().await;
}

#[tokio::test]
async fn break_glass_tells_what_a_crew_needs_and_is_reviewed() {
    let world = World::new().await;
    let items = json!(["person.name", "person.address", "health.home_oxygen", "care.package"]);
    let mut without = world.question("fire", "trafford-asc", "vital-interests", REFERRED);
    without.body.as_mut().unwrap()["items"] = items.clone();
    let referred = world.send(without).await;
    assert_eq!((referred.status, referred.code()), (StatusCode::FORBIDDEN, "referred-to-a-person"));
    let declared = declare(&world, REFERRED).await;
    assert_eq!(declared.status, StatusCode::CREATED, "{declared:?}");
    assert_eq!(declared.body["until"], "2026-11-23T13:00:00Z");
    assert_eq!(declared.body["review_due"], "2026-11-26T12:00:00Z");
    let told = ask_under(&world, REFERRED, &declared.body["id"], items.clone()).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    assert_eq!(told.body["record"]["health.home_oxygen"], true);
    assert!(told.body["record"].get("person.address").is_some());
    assert!(told.body["record"].get("care.package").is_none(), "not an item for emergencies");
    assert_eq!(told.body["break_glass"], declared.body["id"]);
    assert!(told.body.get("agreement").is_none());
    assert!(told.body["obligations"]["in_words"][0].as_str().unwrap().contains("vital-interests"));
    // The practitioner's own organisation is alerted at once, and the record holder once it was used.
    let own = world.send(world.bare("fire", "GET", "/v1/alerts", "vital-interests")).await;
    let alert = own.body["alerts"][0].clone();
    assert_eq!((&alert["rule"], &alert["reference"]), (&json!("break-glass-declared"), &declared.body["id"]));
    let holder = world.send(world.bare("council", "GET", "/v1/alerts", "direct-care")).await;
    assert_eq!(holder.body["alerts"][0]["rule"], "break-glass-used");
    // Nobody reviews their own.
    let path = format!("/v1/alerts/{}/review", alert["id"].as_str().unwrap());
    let finding =
        json!({ "outcome": "justified", "note": "The call log and the crew's report agree with it." });
    let own_review = world.send(world.act("fire", &path, "vital-interests", finding.clone())).await;
    assert_eq!((own_review.status, own_review.code()), (StatusCode::FORBIDDEN, "not-allowed"));
    let mut colleague = world.act("fire", &path, "vital-interests", finding.clone());
    colleague.spoil_context = Some(|claims| {
        claims["sub"] = json!("GMFRS-2000");
        claims["requesting_practitioner"]["id"] = json!("GMFRS-2000");
    });
    // Before they say what they found, they read what was declared.
    let read = format!("/v1/alerts/{}", alert["id"].as_str().unwrap());
    let read = world.send(world.bare("fire", "GET", &read, "vital-interests")).await;
    assert_eq!(read.body["statement"], EMERGENCY, "{read:?}");
    assert_eq!(read.body["emergency"]["reason"], "immediate-risk-to-life");
    assert_eq!(read.body["emergency"]["until"], "2026-11-23T13:00:00Z");
    let asked = read.body["emergency"]["asked"].as_array().unwrap();
    assert_eq!((asked.len(), &asked[0]["provider"]), (1, &json!("trafford-asc")), "{asked:?}");
    assert_eq!((&asked[0]["decided"], &asked[0]["items"]), (&json!("intent"), &items));
    let used = holder.body["alerts"][0]["id"].as_str().unwrap();
    let used = world.send(world.bare("council", "GET", &format!("/v1/alerts/{used}"), "direct-care")).await;
    assert!(used.body.get("statement").is_none(), "it is for whoever has to review it: {used:?}");
    let reviewed = world.send(colleague).await;
    assert_eq!(
        (reviewed.status, &reviewed.body["state"]),
        (StatusCode::OK, &json!("closed")),
        "{reviewed:?}"
    );
    assert_eq!(reviewed.body["statement"], EMERGENCY);
    let found = &reviewed.body["findings"][0];
    assert_eq!((&found["by"], &found["outcome"]), (&json!("GMFRS-2000"), &json!("justified")));
    assert_eq!(found["note"], finding["note"]);
    assert_eq!(reviewed.body["handled_by"], "GMFRS-2000");
    // A second reviewer finds something else: nothing of either is lost.
    let as_second = |claims: &mut Value| {
        claims["sub"] = json!("GMFRS-3000");
        claims["requesting_practitioner"]["id"] = json!("GMFRS-3000");
    };
    let second = |path: &str, body: Value| {
        let mut asked = world.act("fire", path, "vital-interests", body);
        asked.spoil_context = Some(as_second);
        asked
    };
    let otherwise =
        json!({ "outcome": "not-justified", "note": "The call log has no such call at that time." });
    let late = world.send(second(&path, otherwise.clone())).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{late:?}");
    let again = path.replace("/review", "/reopen");
    let short = world.send(second(&again, json!({ "note": "short" }))).await;
    assert_eq!(short.status, StatusCode::BAD_REQUEST, "{short:?}");
    let own = world
        .send(world.act("fire", &again, "vital-interests", json!({ "note": "It was mine, after all." })))
        .await;
    assert_eq!((own.status, own.code()), (StatusCode::FORBIDDEN, "not-allowed"));
    let reopened = world.send(second(&again, json!({ "note": "The call log has no such call." }))).await;
    assert_eq!(reopened.body["state"], "triaged", "{reopened:?}");
    let twice = world.send(second(&again, json!({ "note": "The call log has no such call." }))).await;
    assert_eq!(twice.status, StatusCode::CONFLICT, "{twice:?}");
    let closed = world.send(second(&path, otherwise)).await;
    let outcomes: Vec<_> =
        closed.body["findings"].as_array().unwrap().iter().map(|one| (&one["by"], &one["outcome"])).collect();
    assert_eq!(
        outcomes,
        [
            (&json!("GMFRS-2000"), &json!("justified")),
            (&json!("GMFRS-3000"), &json!("taken-up-again")),
            (&json!("GMFRS-3000"), &json!("not-justified")),
        ]
    );
    assert_eq!(closed.body["outcome"], "not-justified");
    // Another organisation's alert is none of theirs.
    let foreign = world.send(world.act("council", &path, "direct-care", finding)).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    // It ends by itself.
    world.clock.advance_s(3_600);
    let late = ask_under(&world, REFERRED, &declared.body["id"], items).await;
    assert_eq!((late.status, late.code()), (StatusCode::FORBIDDEN, "referred-to-a-person"));
    world.verify().await;
    // What was written to explain the emergency is not in the ledger.
    for entry in world.entries().await {
        assert!(!String::from_utf8(entry.encode().unwrap()).unwrap().contains("neighbour"));
    }
}

#[tokio::test]
async fn an_emergency_never_tells_where_a_restricted_person_is() {
    let world = World::new().await;
    // The NHS marks the record; the council's own copy does not. A flag from any source wins once it is known.
    assert_eq!(world.send(world.prevention("9000000025")).await.code(), "no-record-available");
    let declared = declare(&world, RESTRICTED).await;
    let items = json!(["person.name", "person.address", "person.telephone", "health.home_oxygen"]);
    let told = ask_under(&world, RESTRICTED, &declared.body["id"], items).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    assert!(told.body["record"].get("person.name").is_some());
    for locating in ["person.address", "person.telephone"] {
        assert!(told.body["record"].get(locating).is_none());
    }
    let where_only = ask_under(&world, RESTRICTED, &declared.body["id"], json!(["person.address"])).await;
    assert_eq!((where_only.status, where_only.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    let nhs = world.send(world.bare("nhs", "GET", "/v1/alerts", "direct-care")).await;
    assert_eq!(nhs.body["alerts"][0]["rule"], "restricted-attempt");
    let nobody = ("local:trafford-council", "SWR-9999");
    let about_nobody = declare(&world, nobody).await;
    let unknown = ask_under(&world, nobody, &about_nobody.body["id"], json!(["person.address"])).await;
    assert_eq!(where_only.shape(), unknown.shape());
    // Each attempt alerts the record holder, and never the organisation that asked.
    let holder = world.send(world.bare("council", "GET", "/v1/alerts", "direct-care")).await;
    let rules: Vec<_> =
        holder.body["alerts"].as_array().unwrap().iter().map(|alert| &alert["rule"]).collect();
    assert_eq!(rules.iter().filter(|rule| **rule == "restricted-attempt").count(), 2, "{rules:?}");
    let asker = world.send(world.bare("fire", "GET", "/v1/alerts", "vital-interests")).await;
    assert!(!asker.body.to_string().contains("restricted"));
    world.verify().await;
}

#[tokio::test]
async fn declarations_that_cannot_be_are_refused() {
    let world = World::new().await;
    let cases = [
        (
            "fire-prevention-targeting",
            "/reason_code",
            json!("immediate-risk-to-life"),
            "purpose: break-glass",
        ),
        ("vital-interests", "/reason_code", json!("curiosity"), "`reason_code` is not"),
        ("vital-interests", "/statement", json!("urgent"), "statement: say in 20"),
        ("vital-interests", "/minutes", json!(0), "minutes: 1 to 240"),
        ("vital-interests", "/minutes", json!(241), "minutes: 1 to 240"),
    ];
    for (purpose, pointer, value, said) in cases {
        let mut body = declaration();
        body["minutes"] = json!(60);
        *body.pointer_mut(pointer).unwrap() = value;
        let refused = world.send(world.post("fire", "/v1/break-glass", purpose, REFERRED, body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        assert!(refused.body["detail"].as_str().unwrap().contains(said), "{refused:?}");
    }
    let mut another = world.post("fire", "/v1/break-glass", "vital-interests", REFERRED, declaration());
    another.record = Some(("local:trafford-council".to_owned(), "SWR-2042".to_owned()));
    let refused = world.send(another).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "context-mismatch"));
}

#[tokio::test]
async fn a_review_that_nobody_makes_is_escalated() {
    let world = World::new().await;
    let declared = declare(&world, REFERRED).await;
    assert_eq!(declared.status, StatusCode::CREATED);
    world.clock.advance_s(72 * 3_600 - 1);
    assert_eq!(gateway::alerts::escalate_overdue(&world.app).await.unwrap(), 0);
    world.clock.advance_s(1);
    assert_eq!(gateway::alerts::escalate_overdue(&world.app).await.unwrap(), 1);
    assert_eq!(gateway::alerts::escalate_overdue(&world.app).await.unwrap(), 0, "once");
    let alerts = world.send(world.bare("fire", "GET", "/v1/alerts", "vital-interests")).await;
    assert_eq!(alerts.body["alerts"][0]["state"], "escalated");
    assert_eq!(alerts.body["alerts"][0]["escalated_at"], "2026-11-26T12:00:00Z");
    world.verify().await;
}

fn form() -> Value {
    json!({
        "position": "Prevention team leader",
        "purpose_in_words": "A safeguarding concern after a home visit: signs of neglect.",
        "items_in_words": "The address and the oxygen flag, to visit safely with the social worker.",
        "harm_if_not_shared": "The person may be left without heating and oxygen in a house full of paper.",
        "retention_and_deletion": "Kept with the safeguarding case for 28 days, then deleted.",
        "needed_by": "2026-11-24T12:00:00Z",
        "contact": "prevention@gmfrs.example.org",
    })
}

fn grant(items: &Value) -> Value {
    json!({
        "outcome": "grant",
        "items": items,
        "lawful_basis": { "article_6": "6(1)(c)", "article_9": "9(2)(g)", "schedule_1": "part 2 paragraph 18" },
        "confidentiality": { "basis": "public-interest" },
        "minutes": 120,
        "retain_days": 28,
        "reason": "Section 42 duty; the harm of not sharing outweighs the intrusion.",
    })
}

async fn grant_again(world: &World, items: &Value) -> Answer {
    let id = safeguarding(world).await.body["decision_id"].as_str().unwrap().to_owned();
    let at = |action: &str| format!("/v1/referrals/{id}/{action}");
    let asked = world.send(world.act("fire", &at("request"), "safeguarding-adult", form())).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    world.send(world.bare("council", "POST", &at("take"), "direct-care")).await;
    world.send(world.act("council", &at("decide"), "direct-care", grant(items))).await
}

async fn safeguarding(world: &World) -> Answer {
    let mut question = world.question("fire", "trafford-asc", "safeguarding-adult", REFERRED);
    question.body.as_mut().unwrap()["items"] = json!(["person.address", "health.home_oxygen"]);
    world.send(question).await
}

#[tokio::test]
async fn a_named_person_allows_a_one_off_disclosure() {
    let world = World::new().await;
    let referred = safeguarding(&world).await;
    assert_eq!(referred.code(), "referred-to-a-person");
    let id = referred.body["decision_id"].as_str().unwrap().to_owned();
    let at = |step: &str| format!("/v1/referrals/{id}/{step}");
    // Nothing to decide before the requester has said why.
    let early = world.send(world.bare("council", "POST", &at("take"), "direct-care")).await;
    assert_eq!((early.status, early.code()), (StatusCode::CONFLICT, "wrong-state"));
    let asked = world.send(world.act("fire", &at("request"), "safeguarding-adult", form())).await;
    assert_eq!((asked.status, &asked.body["state"]), (StatusCode::OK, &json!("requested")), "{asked:?}");
    assert_eq!(asked.body["due"], "2026-11-24T12:00:00Z", "sooner than usual, since it is needed then");
    let list = world.send(world.bare("council", "GET", "/v1/referrals", "direct-care")).await;
    assert_eq!(list.body["referrals"][0]["decision_id"], json!(id));
    assert!(!list.body.to_string().contains("SWR-2041"), "a list identifies nobody");
    // To decide it, somebody has to have taken it.
    let items = json!(["person.address:as-is", "health.home_oxygen:yes-no"]);
    let untaken = world.send(world.act("council", &at("decide"), "direct-care", grant(&items))).await;
    assert_eq!((untaken.status, untaken.code()), (StatusCode::CONFLICT, "wrong-state"));
    let taken = world.send(world.bare("council", "POST", &at("take"), "direct-care")).await;
    assert_eq!((&taken.body["state"], &taken.body["taken_by"]), (&json!("taken"), &json!("TRF-SW-77")));
    let question = json!({ "text": "Is the person aware of this request?" });
    let questioned = world.send(world.act("council", &at("ask"), "direct-care", question)).await;
    assert_eq!(questioned.body["state"], "question-asked", "{questioned:?}");
    let reply = json!({ "text": "Yes, they were told on the visit and did not object." });
    let answered = world.send(world.act("fire", &at("answer"), "safeguarding-adult", reply)).await;
    assert_eq!(answered.body["messages"].as_array().map(Vec::len), Some(2), "{answered:?}");
    // A grant is no wider than the question and the law.
    let too_wide = [
        (json!(["care.package:as-is"]), "items[0]"),
        (json!(["health.home_oxygen:as-is"]), "items[0]"),
        (json!([]), "items: name at least one"),
    ];
    for (items, said) in too_wide {
        let refused = world.send(world.act("council", &at("decide"), "direct-care", grant(&items))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.body["detail"].as_str().unwrap().contains(said), "{refused:?}");
    }
    let unlawful = [
        ("/lawful_basis/schedule_1", json!("part 2 paragraph 14"), "lawful_basis, for items[1]"),
        ("/lawful_basis/article_6", json!("6(1)(a)"), "lawful_basis, for items[0]"),
        ("/confidentiality/basis", json!("implied-consent"), "confidentiality, for items[1]"),
        ("/minutes", json!(20_000), "minutes"),
        ("/reason", json!("ok"), "reason: say why"),
    ];
    for (pointer, value, said) in unlawful {
        let mut body = grant(&items);
        *body.pointer_mut(pointer).unwrap() = value;
        let refused = world.send(world.act("council", &at("decide"), "direct-care", body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{pointer}");
        assert!(refused.body["detail"].as_str().unwrap().contains(said), "{refused:?}");
    }
    let granted = world.send(world.act("council", &at("decide"), "direct-care", grant(&items))).await;
    assert_eq!((granted.status, &granted.body["state"]), (StatusCode::OK, &json!("granted")), "{granted:?}");
    let told = safeguarding(&world).await;
    assert_eq!(told.status, StatusCode::OK, "{told:?}");
    assert_eq!(told.body["grant"], granted.body["outcome"]["grant_id"]);
    assert_eq!(told.body["record"]["health.home_oxygen"], true);
    // It can be taken back, by the record holder alone, and made again.
    let words = json!({ "text": "The visit was called off." });
    let refused = world.send(world.act("fire", &at("revoke"), "safeguarding-adult", words.clone())).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{refused:?}");
    let revoked = world.send(world.act("council", &at("revoke"), "direct-care", words.clone())).await;
    assert_eq!((revoked.status, &revoked.body["state"]), (StatusCode::OK, &json!("revoked")), "{revoked:?}");
    assert_eq!(safeguarding(&world).await.code(), "referred-to-a-person");
    let twice = world.send(world.act("council", &at("revoke"), "direct-care", words)).await;
    assert_eq!((twice.status, twice.code()), (StatusCode::CONFLICT, "wrong-state"));
    let granted_again = grant_again(&world, &items).await;
    assert_eq!(granted_again.status, StatusCode::OK, "{granted_again:?}");
    assert_eq!(safeguarding(&world).await.status, StatusCode::OK);
    // It is one person's, one practitioner's, and ends.
    let mut other =
        world.question("fire", "trafford-asc", "safeguarding-adult", ("local:trafford-council", "SWR-2042"));
    other.body.as_mut().unwrap()["items"] = json!(["person.address"]);
    assert_eq!(world.send(other).await.code(), "referred-to-a-person");
    let mut colleague = world.question("fire", "trafford-asc", "safeguarding-adult", REFERRED);
    colleague.spoil_context = Some(|claims| {
        claims["sub"] = json!("GMFRS-2000");
        claims["requesting_practitioner"]["id"] = json!("GMFRS-2000");
    });
    assert_eq!(world.send(colleague).await.code(), "referred-to-a-person");
    world.clock.advance_s(120 * 60);
    assert_eq!(safeguarding(&world).await.code(), "referred-to-a-person");
    let again = world.send(world.act("council", &at("decide"), "direct-care", grant(&items))).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "wrong-state"), "decided once");
    world.verify().await;
    for entry in world.entries().await {
        let leaf = String::from_utf8(entry.encode().unwrap()).unwrap();
        assert!(!leaf.contains("neglect") && !leaf.contains("Section 42"), "texts stay beside the ledger");
    }
}

#[tokio::test]
async fn a_refused_request_stays_refused_and_others_cannot_see_it() {
    let world = World::new().await;
    let referred = safeguarding(&world).await;
    let id = referred.body["decision_id"].as_str().unwrap().to_owned();
    let at = |step: &str| format!("/v1/referrals/{id}/{step}");
    let foreign = world.send(world.act("council", &at("request"), "direct-care", form())).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    world.send(world.act("fire", &at("request"), "safeguarding-adult", form())).await;
    let twice = world.send(world.act("fire", &at("request"), "safeguarding-adult", form())).await;
    assert_eq!((twice.status, twice.code()), (StatusCode::CONFLICT, "wrong-state"));
    let nhs = world.send(world.bare("nhs", "GET", &format!("/v1/referrals/{id}"), "direct-care")).await;
    assert_eq!((nhs.status, nhs.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    let own = world.send(world.bare("fire", "POST", &at("take"), "safeguarding-adult")).await;
    assert_eq!(
        (own.status, own.code()),
        (StatusCode::NOT_FOUND, "no-such-entry"),
        "the asker decides nothing"
    );
    world.send(world.bare("council", "POST", &at("take"), "direct-care")).await;
    let mut other = world.bare("council", "POST", &at("take"), "direct-care");
    other.spoil_context = Some(|claims| {
        claims["sub"] = json!("TRF-SW-78");
        claims["requesting_practitioner"]["id"] = json!("TRF-SW-78");
    });
    assert_eq!(world.send(other).await.code(), "wrong-state", "somebody else has it");
    let refusal =
        json!({ "outcome": "refuse", "reason": "The duty team visits today; nothing more is needed." });
    let refused = world.send(world.act("council", &at("decide"), "direct-care", refusal)).await;
    assert_eq!(refused.body["state"], "refused", "{refused:?}");
    assert_eq!(safeguarding(&world).await.code(), "referred-to-a-person");
    world.verify().await;
}

#[tokio::test]
async fn a_refusal_about_a_person_can_be_put_to_a_named_person_and_tells_nothing() {
    let world = World::new().await;
    let refused = world.send(world.prevention("9000000025")).await; // restricted
    let unknown = world.send(world.prevention("9990000166")).await; // nobody
    let ask = |answer: &Answer| {
        let path = format!("/v1/referrals/{}/request", answer.body["decision_id"].as_str().unwrap());
        world.act("fire", &path, "fire-prevention-targeting", form())
    };
    let (one, other) = (world.send(ask(&refused)).await, world.send(ask(&unknown)).await);
    assert_eq!((one.status, &one.body["state"]), (StatusCode::OK, &json!("requested")), "{one:?}");
    assert_eq!(one.shape(), other.shape());
    // A visit that nobody consented to is no one-off disclosure: that is what safeguarding is for.
    let no_consent = world.send(world.referral("SWR-2044")).await;
    let no_one_off = world.send(ask(&no_consent)).await;
    assert_eq!(
        (no_one_off.status, no_one_off.code()),
        (StatusCode::FORBIDDEN, "not-allowed"),
        "{no_one_off:?}"
    );
}

#[tokio::test]
async fn a_guardrail_forbids_what_everything_else_permits() {
    let local = "policies/guardrails/local.cedar";
    let world = World::new().await;
    let text = r#"@id("local-test")
@about("ABOUT")
@practitioner("SAID")
@officer("the local rule about Mondays")
forbid(principal, action, resource) when { context.purpose == Purpose::"fire-prevention-targeting" };
"#;
    for (about, status, code) in [
        ("agreement", StatusCode::FORBIDDEN, "guardrail-forbids"),
        ("person", StatusCode::NOT_FOUND, "no-record-available"),
    ] {
        // What is about a person says to a practitioner what "no such person" says, or it is not loaded.
        let said = if about == "agreement" {
            "not on Mondays"
        } else {
            "no record can be released; check the identifier against your source"
        };
        let text = text.replace("ABOUT", about).replace("SAID", said);
        std::fs::write(world.folder.path().join(local), text).unwrap();
        let folder = world.folder.path().join("policies");
        gateway::policies::reload(&world.app, &folder, gateway::policies::Put::InAnyCase).await.unwrap();
        let refused = world.send(world.prevention("9732110317")).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{refused:?}");
        assert_eq!(refused.body["detail"].as_str().unwrap().contains("not on Mondays"), about == "agreement");
        // Whoever is asked about: known, restricted, or nobody.
        for number in ["9990000166", "9000000025"] {
            let other = world.send(world.prevention(number)).await;
            assert_eq!(refused.shape(), other.shape(), "{about}");
        }
        let objected = world.send(world.objection("9732110317")).await;
        let while_objected = world.send(world.prevention("9732110317")).await;
        assert_eq!(while_objected.shape(), refused.shape(), "{about}");
        let path = format!("/v1/objections/{}/withdraw", objected.body["id"].as_str().unwrap());
        world.send(world.bare("council", "POST", &path, "direct-care")).await;
        world.send(world.prevention("9732110317")).await;
        let mut named = world.entries().await.into_iter().rev().filter_map(|entry| match entry.body {
            ledger::entry::Body::Refusal(decided) => Some(decided.guardrails),
            _ => None,
        });
        assert_eq!(named.next().unwrap(), ["local-test"]);
    }
    world.verify().await;
}

#[tokio::test]
async fn a_flow_may_ask_for_a_relationship() {
    let agreement = "agreements/trafford-asc-nhs-direct-care.toml";
    let needs = "roles = [\"social-worker\", \"occupational-therapist\"]\nrelationship = [\"referral\", \"self-claimed\"]";
    let world = World::with_policies(&[(
        agreement,
        "roles = [\"social-worker\", \"occupational-therapist\"]",
        needs,
    )])
    .await;
    let person = ("nhs-number", "9732110317");
    let question = || world.question("council", "nhs-pds", "direct-care", person);
    let before = world.send(question()).await;
    assert_eq!((before.status, before.code()), (StatusCode::FORBIDDEN, "no-relationship"));
    let claim = json!({ "kind": "self-claimed", "until": "2026-11-23T20:00:00Z", "reason": "Duty call, case opened." });
    let claimed =
        world.send(world.post("council", "/v1/relationships", "direct-care", person, claim.clone())).await;
    assert_eq!(claimed.status, StatusCode::CREATED, "{claimed:?}");
    assert_eq!(claimed.body["practitioner"], "TRF-SW-77");
    assert_eq!(world.send(question()).await.status, StatusCode::OK);
    let alerts = world.send(world.bare("council", "GET", "/v1/alerts", "direct-care")).await;
    assert_eq!(alerts.body["alerts"][0]["rule"], "relationship-self-claimed");
    let path = format!("/v1/relationships/{}/end", claimed.body["id"].as_str().unwrap());
    let foreign = world.send(world.bare("nhs", "POST", &path, "direct-care")).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    let ended = world.send(world.bare("council", "POST", &path, "direct-care")).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    assert_eq!(world.send(question()).await.code(), "no-relationship");
    let twice = world.send(world.bare("council", "POST", &path, "direct-care")).await;
    assert_eq!((twice.status, twice.code()), (StatusCode::CONFLICT, "wrong-state"));
    // The NHS refers the person to the council: then the council has one too.
    let referral = json!({
        "kind": "referral", "organisation": "trafford-council", "until": "2027-01-01T00:00:00Z", "reason": "Discharge REF-7",
    });
    let referred = world.send(world.post("nhs", "/v1/relationships", "direct-care", person, referral)).await;
    assert_eq!(referred.status, StatusCode::CREATED, "{referred:?}");
    assert_eq!(world.send(question()).await.status, StatusCode::OK);
    for (pointer, value, said) in [
        ("/until", json!("2026-11-25T20:00:00Z"), "until:"),
        ("/until", json!("2026-11-23T11:00:00Z"), "until:"),
        ("/reason", json!(""), "reason:"),
        ("/kind", json!("friend"), "`kind` is not"),
    ] {
        let mut body = claim.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let refused =
            world.send(world.post("council", "/v1/relationships", "direct-care", person, body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.body["detail"].as_str().unwrap().contains(said), "{refused:?}");
    }
    world.verify().await;
}

/// Otherwise a partner sorts numbers into people and nobody for the rest of the day.
#[tokio::test]
async fn a_ceiling_that_is_reached_tells_nobody_from_somebody() {
    let agreement = "agreements/gm-fire-prevention-over-65s.toml";
    let world =
        World::with_policies(&[(agreement, "roles = [", "releases_per_day_max = 2\nroles = [")]).await;
    world.send(world.objection("9736363015")).await;
    let decide = |number: &str| {
        let mut request = world.prevention(number);
        "/v1/decisions".clone_into(&mut request.path);
        request
    };
    for _ in 0..3 {
        assert_eq!(world.send(decide("9732110317")).await.status, StatusCode::OK, "a decision is no release");
    }
    for _ in 0..2 {
        assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    }
    let asked = world.asked["nhs"].asked().len();
    // Somebody who could be told of, somebody who objected, and nobody.
    let mut shapes = Vec::new();
    for number in ["9732110317", "9736363015", "9990000166"] {
        for request in [world.prevention(number), decide(number)] {
            let refused = world.send(request).await;
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (429, "ceiling-reached"),
                "{number}: {refused:?}"
            );
            shapes.push(refused.shape());
        }
    }
    assert!(shapes.iter().step_by(2).all(|shape| *shape == shapes[0]), "{shapes:?}");
    assert_eq!(world.asked["nhs"].asked().len(), asked, "nobody was asked");
    // What has no such ceiling goes on.
    let councils = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
    assert_eq!(world.send(councils).await.status, StatusCode::OK);
    world.verify().await;
}

/// An agreement beside it that is not in force is nothing to rest on, and what is reached while somebody is asked about counts for them.
#[tokio::test]
async fn a_ceiling_tells_nobody_from_somebody_beside_what_waits_and_at_its_edge() {
    let world = World::with_settings(|settings| {
        let folder = settings.policies.join("agreements");
        let path = folder.join("gm-fire-prevention-over-65s.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let later = text
            .replace("gm-fire-prevention-over-65s", "gm-fire-prevention-later")
            .replace("effective_on = \"2026-04-01\"", "effective_on = \"2027-04-01\"");
        assert_ne!(later, text);
        std::fs::write(folder.join("gm-fire-prevention-later.toml"), later).unwrap();
        std::fs::write(&path, text.replace("roles = [", "releases_per_day_max = 1\nroles = [")).unwrap();
    })
    .await;
    let holder = &world.asked["nhs"];
    let (asked, pool) = (
        holder.asked().len(),
        sqlx::AnyPool::connect(&store::scratch::url(&world.settings.ledger.database)).await.unwrap(),
    );
    holder.wait();
    let reach = async {
        while holder.asked().len() == asked {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // As if another question had led to a release meanwhile.
        let flow = "gm-fire-prevention-over-65s/single-look-up";
        let day = sharing::agreement::london_day(world.clock.now()).to_string();
        let release = "INSERT INTO flow_use (flow, day, releases) VALUES ($1, $2, 1)";
        sqlx::query(release).bind(flow).bind(day).execute(&pool).await.unwrap();
        holder.go_on();
    };
    let ((), edge) = tokio::join!(reach, world.send(world.prevention("9990000166")));
    assert_eq!((edge.status.as_u16(), edge.code()), (429, "ceiling-reached"), "{edge:?}");
    pool.close().await;
    world.send(world.objection("9736363015")).await;
    let asked = holder.asked().len();
    for number in ["9732110317", "9736363015", "9990000166"] {
        assert_eq!(world.send(world.prevention(number)).await.code(), "ceiling-reached", "{number}");
    }
    assert_eq!(holder.asked().len(), asked, "nobody was asked");
}

#[tokio::test]
async fn a_flow_stops_at_its_daily_ceiling() {
    let agreement = "agreements/gm-fire-prevention-over-65s.toml";
    let world =
        World::with_policies(&[(agreement, "roles = [", "releases_per_day_max = 2\nroles = [")]).await;
    for _ in 0..2 {
        assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    }
    let third = world.send(world.prevention("9732110317")).await;
    assert_eq!((third.status, third.code()), (StatusCode::TOO_MANY_REQUESTS, "ceiling-reached"), "{third:?}");
    world.clock.advance_s(12 * 3_600); // midnight in London
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    world.verify().await;
}
