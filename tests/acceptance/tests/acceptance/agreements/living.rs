//! What an agreement's parties, and the public, see of it while it lives: the register, its use, pilots, messages, and the
//! command line against a running gateway.

use std::time::Duration;

use gateway::{agreements::usage, alerts::evaluate};
use ledger::{
    entry::Body,
    trail::{Field, Term},
};
use store::{Submission, trail::TrailQuery};
use tokio_util::sync::CancellationToken;

use super::*;

pub(super) async fn read(world: &World, partner: &'static str, path: &str) -> Answer {
    world.send(by(world.bare(partner, "GET", path, PURPOSE), lead)).await
}

pub(super) async fn public(world: &World, path: &str) -> Answer {
    let url = format!("{}{path}", world.settings.public_url);
    acceptance::answer(world.client("fire").get(url).send().await.unwrap()).await
}

/// The pilot, as the register has it.
pub(super) fn pilot(register: &Answer) -> Value {
    let listed = register.body["agreements"].as_array().unwrap();
    listed.iter().find(|agreement| agreement["id"] == "pilot").unwrap().clone()
}

/// What follows the ledger takes in what there is, and not what comes meanwhile: it would not end while anybody asks.
#[tokio::test(flavor = "multi_thread")]
async fn counting_ends_although_somebody_goes_on_and_on() {
    let world = in_force().await;
    let stop = CancellationToken::new();
    let going_on: Vec<_> = (0..8)
        .map(|_| {
            let (app, stop) = (world.app.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let entry = Body::HandshakeRefused { reason: "unknown-issuer".to_owned(), count: 1 };
                    app.store.commit(Submission::of(app.clock.now(), vec![entry])).await.unwrap();
                }
            })
        })
        .collect();
    let longest = Duration::from_mins(1);
    for _ in 0..3 {
        let counted =
            tokio::time::timeout(longest, usage::catch_up(&world.app)).await.expect("it ends").unwrap();
        assert!(counted > 0);
        tokio::time::timeout(longest, evaluate::catch_up(&world.app)).await.expect("it ends").unwrap();
        tokio::time::timeout(longest, world.app.trail.catch_up(&world.app.store))
            .await
            .expect("it ends")
            .unwrap();
    }
    stop.cancel();
    for one in going_on {
        one.await.unwrap();
    }
    // All of them are taken in once they have stopped.
    usage::catch_up(&world.app).await.unwrap();
    evaluate::catch_up(&world.app).await.unwrap();
    let size = world.app.trail.catch_up(&world.app.store).await.unwrap();
    assert_eq!(world.app.store.alert_position().await.unwrap(), Some(size));
    let of_kind = vec![vec![Term::new(Field::Kind, "handshake_refused")]];
    let found =
        world.app.trail.find(&TrailQuery { all_of: of_kind, ..TrailQuery::default() }, u32::MAX).await;
    let kept = world.entries().await;
    let written = kept.iter().filter(|entry| matches!(entry.body, Body::HandshakeRefused { .. })).count();
    assert_eq!(found.unwrap().len(), written);
    // While little is left nobody counts before the minute is over, and then it is counted at once.
    let refused = |count| {
        Submission::of(
            world.app.clock.now(),
            vec![Body::HandshakeRefused { reason: "unknown-issuer".to_owned(), count: 1 }; count],
        )
    };
    world.app.store.commit(refused(499)).await.unwrap();
    assert_eq!(usage::keep_up(&world.app).await.unwrap(), 0);
    world.app.store.commit(refused(1)).await.unwrap();
    assert_eq!(usage::keep_up(&world.app).await.unwrap(), 500);
    assert_eq!(
        world.app.store.use_position().await.unwrap().unsigned_abs(),
        world.app.store.head().await.unwrap().size
    );
}

#[tokio::test]
async fn the_register_says_what_is_in_force_and_how_much_it_is_used_and_names_nobody() {
    let world = in_force().await;
    for _ in 0..9 {
        assert_eq!(world.send(question(&world)).await.status, StatusCode::OK);
    }
    usage::catch_up(&world.app).await.unwrap();
    let register = public(&world, "/register.json").await;
    assert_eq!(register.status, StatusCode::OK, "{register:?}");
    let listed = register.body["agreements"].as_array().unwrap();
    let before = pilot(&register);
    assert_eq!(before["usage"], json!([]), "a quarter that goes on says nothing");
    assert_eq!(before["versions"][0]["came_of"], "drafted");
    assert_eq!(before["flows"][0]["provider_basis"], "Article 6(1)(e)");
    assert!(listed.iter().any(|agreement| agreement["id"] == "gm-safe-and-well-referral"), "files too");
    // The quarter is over: counts, rounded.
    world.clock.advance_s(60 * 86_400);
    usage::catch_up(&world.app).await.unwrap();
    assert_eq!(usage::catch_up(&world.app).await.unwrap(), 0);
    let register = public(&world, "/register.json").await;
    let pilot = pilot(&register);
    assert_eq!(
        pilot["usage"][0],
        json!({ "quarter": "2026-Q4", "questions": 10, "permits": 10, "refusals": 0, "referrals": 0, "no_record": 0, "releases": 10 })
    );
    let (page, table) = (public(&world, "/register").await, public(&world, "/register.csv").await);
    assert!(page.text.contains("2026-Q4") && page.text.contains("Adults at risk of fire"), "{}", page.text);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    assert_eq!(page.headers["content-security-policy"], policy);
    assert!(table.text.starts_with("agreement,title,version"), "{}", table.text);
    for text in [&page.text, &table.text, &register.text] {
        for name in ["siro of fire", "M. Lister", "Head of Prevention", "In order", NUMBER] {
            assert!(!text.contains(name), "{name}");
        }
    }
    // The parties see more of it, and others nothing.
    let used = read(&world, "fire", "/v1/agreements/pilot/usage").await;
    let flow = &used.body["flows"][0];
    assert_eq!((&flow["flow"], &flow["busiest_day"]), (&json!("at-risk"), &json!(10)), "{used:?}");
    assert_eq!(flow["never_released"], json!([]));
    assert_eq!(used.body["flows"][1]["never_released"].as_array().unwrap().len(), 2, "nobody used it");
    let desk = world.send(world.bare("desk", "GET", "/v1/agreements/pilot/usage", "subject-access")).await;
    assert_eq!(desk.code(), "not-registered-for-this");
    let ropa = read(&world, "fire", "/v1/ropa").await;
    let roles: Vec<_> = ropa.body["activities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["reference"].clone(), one["role"].clone()))
        .collect();
    assert!(roles.contains(&(json!("pilot/at-risk"), json!("receives"))), "{ropa:?}");
    let table = read(&world, "nhs", "/v1/ropa.csv").await;
    assert!(table.text.contains("pilot/at-risk,discloses"), "{}", table.text);
    world.verify().await;
}

/// What counts say after somebody asked about one person twelve times and got nothing.
async fn counted_after(number: &str, objects: bool) -> Vec<Value> {
    let world = in_force().await;
    if objects {
        assert_eq!(world.send(world.objection(number)).await.status, StatusCode::CREATED);
    }
    for _ in 0..12 {
        let answer = world.send(world.prevention(number)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "no-record-available"));
    }
    world.clock.advance_s(86_400);
    let impact = read(&world, "fire", "/v1/agreements/pilot/versions/1/impact").await;
    assert_eq!(impact.status, StatusCode::OK, "{impact:?}");
    world.clock.advance_s(60 * 86_400);
    usage::catch_up(&world.app).await.unwrap();
    let register = public(&world, "/register.json").await;
    let mut said = vec![json!({
        "in_force": impact.body["in_force"], "proposed": impact.body["proposed"], "items": impact.body["items"],
    })];
    for one in register.body["agreements"].as_array().unwrap() {
        said.push(json!([one["id"], one["usage"]]));
        let path = format!("/v1/agreements/{}/usage", one["id"].as_str().unwrap());
        let used = read(&world, "fire", &path).await;
        if used.status == StatusCode::OK {
            said.push(used.body["flows"].clone());
        }
    }
    said.push(json!(public(&world, "/register.csv").await.text));
    said.push(json!(public(&world, "/register").await.text));
    said
}

#[tokio::test]
async fn no_count_tells_somebody_about_whom_nothing_is_said_from_nobody() {
    let nobody = counted_after("9990000239", false).await;
    assert_eq!(nobody[0]["in_force"]["no_record"], json!(10), "{}", nobody[0]);
    assert_eq!(nobody[0]["proposed"]["no_record"], json!(10), "{}", nobody[0]);
    assert!(nobody.iter().any(|said| said[1][0]["no_record"] == json!(10)), "{nobody:?}");
    for (number, objects) in [("9736363015", true), ("9000000009", false), ("9000000025", false)] {
        assert_eq!(counted_after(number, objects).await, nobody, "{number}");
    }
}

#[tokio::test]
async fn good_and_harm_are_recorded_by_those_who_know() {
    let world = in_force().await;
    let path = "/v1/agreements/pilot/records";
    let note = |partner, body: Value| by(world.act(partner, path, PURPOSE, body), lead);
    let benefit = json!({ "kind": "benefit", "flow": "at-risk", "text": "Three fires were prevented." });
    let noted = world.send(note("fire", benefit.clone())).await;
    assert_eq!(noted.status, StatusCode::CREATED, "{noted:?}");
    let harm =
        json!({ "kind": "harm", "reason": "too-late", "text": "The visit came a week after it was needed." });
    assert_eq!(world.send(note("fire", harm.clone())).await.status, StatusCode::CREATED);
    let mut unsaid = harm.clone();
    unsaid.as_object_mut().unwrap().remove("reason");
    assert_eq!(world.send(note("fire", unsaid)).await.code(), "invalid-request");
    let mut elsewhere = benefit.clone();
    elsewhere["flow"] = json!("nowhere");
    assert_eq!(world.send(note("fire", elsewhere)).await.code(), "invalid-request");
    let used = read(&world, "nhs", "/v1/agreements/pilot/usage").await;
    assert_eq!(used.body["benefits"][0]["said"][0]["text"], "Three fires were prevented.");
    assert_eq!(used.body["harm"][0]["said"][0]["reason"], "too-late");
    // Whoever mediates sees, and is no party.
    assert_eq!(world.send(note("council", benefit)).await.code(), "step-not-a-party");
    world.verify().await;
}

#[tokio::test]
async fn harm_of_waiting_is_recorded_before_anything_is_in_force() {
    let world = deployment().await;
    let path = "/v1/agreements/pilot/records";
    let note = |partner, body: &Value| by(world.act(partner, path, PURPOSE, body.clone()), lead);
    let harm =
        json!({ "kind": "harm", "reason": "too-late", "text": "A visit would have found the candles." });
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    assert_eq!(world.send(note("fire", &harm)).await.code(), "no-such-entry", "a draft is its authors'");
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    assert_eq!(world.send(note("fire", &harm)).await.status, StatusCode::CREATED);
    let benefit = json!({ "kind": "benefit", "text": "Three fires were prevented." });
    assert_eq!(world.send(note("fire", &benefit)).await.code(), "step-not-in-force");
    assert_eq!(world.send(note("council", &benefit)).await.code(), "step-not-in-force", "a mediator sees it");
    assert_eq!(world.send(note("council", &harm)).await.code(), "step-not-a-party");
    world.verify().await;
}

#[tokio::test]
async fn a_proposal_shows_what_it_would_have_answered() {
    let world = in_force().await;
    for _ in 0..8 {
        world.send(question(&world)).await;
    }
    world.clock.advance_s(86_400);
    let mut narrower = terms();
    narrower["flows"][0]["items"].as_array_mut().unwrap().remove(0);
    let vary = json!({ "step": "vary", "terms": narrower, "reason": "less-would-do", "text": "The review asks for less." });
    taken(&world, "nhs", author, vary).await;
    let path = "/v1/agreements/pilot/versions/2/impact";
    assert_eq!(read(&world, "fire", path).await.code(), "no-such-entry", "a draft is its authors'");
    // Nor does anything else say that there is one; and it stays so when it is taken back.
    let seen = async |partner| {
        let (shown, steps) =
            (shown(&world, partner).await, read(&world, partner, "/v1/agreements/pilot/steps").await);
        let versions = shown.body["versions"].as_array().unwrap().len();
        (shown.body["negotiated"]["state"].clone(), versions, steps.text.contains("variation-begun"))
    };
    assert_eq!(seen("nhs").await, (json!("draft"), 2, true));
    for partner in ["fire", "council"] {
        assert_eq!(seen(partner).await, (Value::Null, 1, false), "{partner}");
    }
    let impact = read(&world, "nhs", path).await;
    assert_eq!(impact.status, StatusCode::OK, "{impact:?}");
    assert_eq!(
        (&impact.body["in_force"]["permit"], &impact.body["proposed"]["permit"]),
        (&json!(10), &json!(10))
    );
    let items = impact.body["items"].as_array().unwrap();
    let name = json!({ "item": "person.family_name:as-is", "in_force": 10, "proposed": 0 });
    assert!(items.contains(&name), "{items:?}");
    taken(&world, "nhs", author, json!({ "step": "withdraw", "text": "Not now." })).await;
    assert_eq!(seen("fire").await, (Value::Null, 1, false));
    assert_eq!(read(&world, "fire", "/v1/agreements/pilot/versions/2").await.code(), "no-such-entry");
    assert_eq!(read(&world, "nhs", "/v1/agreements/pilot/versions/2").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_changes_what_is_in_force_says_why() {
    let world = signed().await;
    for body in [json!({ "step": "activate" }), json!({ "step": "activate", "text": " " })] {
        let unsaid = take(&world, "nhs", lead, body).await;
        assert_eq!((unsaid.status, unsaid.code()), (StatusCode::BAD_REQUEST, "invalid-request"));
        assert!(unsaid.body["detail"].as_str().unwrap().starts_with("text: say why"), "{unsaid:?}");
    }
    taken(&world, "nhs", lead, json!({ "step": "activate", "text": "Winter begins." })).await;
    let unsaid = take(&world, "fire", lead, json!({ "step": "confirm" })).await;
    assert!(unsaid.body["detail"].as_str().unwrap().starts_with("text: say why"), "{unsaid:?}");
    taken(&world, "fire", lead, json!({ "step": "confirm", "text": "All of it is there." })).await;
    let mut narrower = terms();
    narrower["flows"][0]["items"].as_array_mut().unwrap().remove(0);
    let mut vary = json!({ "step": "vary", "terms": narrower, "text": "Nobody used the name of A. Person." });
    let unsaid = take(&world, "nhs", author, vary.clone()).await;
    assert!(unsaid.body["detail"].as_str().unwrap().contains("reason"), "{unsaid:?}");
    vary["reason"] = json!("less-would-do");
    taken(&world, "nhs", author, vary).await;
    taken(&world, "nhs", author, json!({ "step": "propose", "text": "Crews visit before a fire does." }))
        .await;
    for (partner, person) in [("nhs", lead as Person), ("fire", lead)] {
        taken(
            &world,
            partner,
            person,
            json!({ "step": "accept", "text": "It is what we need, and no more." }),
        )
        .await;
    }
    taken(&world, "fire", other, json!({ "step": "assure", "text": "In order." })).await;
    taken(&world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await;
    all_sign(&world, 2).await;
    taken(&world, "nhs", lead, json!({ "step": "activate", "text": "It is narrower." })).await;
    taken(&world, "fire", lead, json!({ "step": "confirm", "text": "It is." })).await;
    let steps = read(&world, "fire", "/v1/agreements/pilot/steps").await;
    let said = |action: &str| {
        let steps = steps.body["steps"].as_array().unwrap().iter();
        let texts = steps.filter(|step| step["action"] == action).map(|step| step["text"].clone());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(said("activation-asked"), ["Winter begins.", "It is narrower."]);
    assert_eq!(said("confirmed"), ["All of it is there.", "It is."]);
    assert_eq!(said("variation-begun"), ["Nobody used the name of A. Person."]);
    // The register says why in a code and its words; what people wrote is theirs.
    let register = public(&world, "/register.json").await;
    let listed = register.body["agreements"].as_array().unwrap();
    let version = &listed.iter().find(|one| one["id"] == "pilot").unwrap()["versions"][1];
    assert_eq!(
        (&version["reason"], &version["why"]),
        (&json!("less-would-do"), &json!("less data would do"))
    );
    for path in ["/register", "/register.csv", "/register.json"] {
        let text = public(&world, path).await.text;
        assert!(text.contains("less-would-do") && text.contains("less data would do"), "{path}: {text}");
        assert!(!text.contains("A. Person"), "{path}: {text}");
    }
    let entries = world.entries().await;
    let digests = entries.iter().filter(|entry| {
        let Body::AgreementMoved { action, text_sha256, .. } = &entry.body else { return false };
        ["activation-asked", "confirmed", "variation-begun"].contains(&action.as_str())
            && text_sha256.is_some()
    });
    assert_eq!(digests.count(), 5, "each entry has the digest of why");
    world.verify().await;
}

#[tokio::test]
async fn a_pilot_ends_and_becomes_permanent_only_when_it_was_evaluated() {
    let world = World::new().await;
    let edits: [(Person, &str); 3] = [
        (|terms| terms["pilot"]["measures"] = json!([]), "measures"),
        (|terms| terms["ends_on"] = json!("2028-11-01"), "12 months"),
        (|terms| terms["review_on"] = terms["ends_on"].clone(), "reviewed before it ends"),
    ];
    for (edit, said) in edits {
        let mut pilot = terms();
        pilot["ends_on"] = json!("2027-11-01");
        pilot["pilot"] = json!({ "measures": ["Visits within a week"] });
        edit(&mut pilot);
        let answer = world.send(begin(&world, &json!({ "id": "pilot", "terms": pilot }))).await;
        assert!(answer.body["detail"].as_str().unwrap().contains(said), "{answer:?}");
    }
}

#[tokio::test]
async fn a_step_is_told_to_the_parties_webhooks() {
    let (receivers, world) = crate::alerts::Receivers::world(|_| {}).await;
    world.send(begin(&world, &json!({ "id": "pilot", "terms": terms() }))).await;
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    assert_eq!(receivers.received("webhooks").len(), 0, "a draft is its authors'");
    receivers.answer("500");
    let propose = json!({ "step": "propose", "text": "CANARY what we want." });
    taken(&world, "nhs", author, propose).await;
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    let path = "/v1/agreements/deliveries";
    let waiting = read(&world, "fire", path).await;
    assert_eq!(waiting.body["deliveries"][0]["state"], "waiting", "{waiting:?}");
    // Tried for three days, and given up.
    for _ in 0..12 {
        world.clock.advance_s(86_400);
        gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    }
    let dead = read(&world, "fire", path).await;
    assert_eq!(
        (&dead.body["deliveries"][0]["state"], &dead.body["deliveries"][0]["fault"]),
        (&json!("dead"), &json!("refused"))
    );
    assert_eq!(read(&world, "nhs", path).await.body["deliveries"], json!([]), "theirs alone");
    receivers.answer("ok");
    let retry =
        world.send(by(world.bare("fire", "POST", "/v1/agreements/deliveries/retry", PURPOSE), lead)).await;
    assert_eq!(retry.body["deliveries"][0]["state"], "waiting", "{retry:?}");
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    let told = receivers.received("webhooks");
    let told = told.last().unwrap();
    assert_eq!(told["verified"], json!(true), "{told}");
    let said: Value = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
    assert_eq!((&said["type"], &said["data"]["state"]), (&json!("agreement.moved"), &json!("proposed")));
    assert!(!told["body"].as_str().unwrap().contains("CANARY"), "{told}");
    // Comments and disputes are told of, too, with no word of what was said.
    let comment = json!({ "version": 1, "clause": "/title", "text": "CANARY too long." });
    let path = |what: &str| format!("/v1/agreements/pilot/{what}");
    let made = world.send(by(world.act("nhs", &path("comments"), PURPOSE, comment), lead)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let dispute = json!({
        "version": 1, "clause": "/title", "with": ["gmca"], "reason": "unclear", "text": "CANARY what is meant?",
    });
    let opened = world.send(by(world.act("nhs", &path("disputes"), PURPOSE, dispute), lead)).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    let before = receivers.received("webhooks").len();
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    let told = receivers.received("webhooks");
    let bodies: Vec<Value> = told[before..]
        .iter()
        .map(|one| serde_json::from_str(one["body"].as_str().unwrap()).unwrap())
        .collect();
    let said: Vec<_> = bodies.iter().map(|said| (&said["type"], &said["data"]["action"])).collect();
    assert_eq!(said.len(), 2, "{bodies:?}");
    assert!(said.contains(&(&json!("agreement.comment.moved"), &json!("made"))), "{said:?}");
    assert!(said.contains(&(&json!("agreement.dispute.moved"), &json!("opened"))), "{said:?}");
    assert!(
        told.iter().all(|one| one["verified"] == true && !one["body"].as_str().unwrap().contains("CANARY"))
    );
    let ids: std::collections::BTreeSet<_> =
        told.iter().map(|one| one["headers"]["webhook-id"].to_string()).collect();
    assert!(ids.len() >= 3, "a message has a name of its own: {ids:?}");
    // Given up at once, listed, and forgotten when nobody has asked for it in ninety days.
    receivers.answer("gone");
    let reply = json!({ "step": "reply", "text": "What is?" });
    let steps = path(&format!("comments/{}/steps", made.body["id"].as_str().unwrap()));
    assert_eq!(world.send(by(world.act("fire", &steps, PURPOSE, reply), lead)).await.status, StatusCode::OK);
    gateway::alerts::deliver::deliver_due(&world.app).await.unwrap();
    let deliveries = "/v1/agreements/deliveries";
    let dead = read(&world, "fire", deliveries).await;
    assert_eq!(
        (&dead.body["deliveries"][0]["matter"], &dead.body["deliveries"][0]["state"]),
        (&made.body["id"], &json!("dead"))
    );
    world.clock.advance_s(89 * 86_400);
    gateway::retention::apply(&world.app).await.unwrap();
    assert_eq!(read(&world, "fire", deliveries).await.body["deliveries"].as_array().unwrap().len(), 1);
    world.clock.advance_s(2 * 86_400);
    gateway::retention::apply(&world.app).await.unwrap();
    assert_eq!(read(&world, "fire", deliveries).await.body["deliveries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_of_another_program_comes_in_row_by_row() {
    let world = World::new().await;
    world.clock.be_like(&gateway::clock::SystemClock);
    let make = |kind: &str| {
        let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = world.folder.path().join(format!("{kind}.xlsx")).display().to_string();
        let made = std::process::Command::new(base.join("../../target/third-party/bin/python"))
            .arg(base.join("workbooks/make.py"))
            .args([kind, &file])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        file
    };
    let (mixed, many, more) = (make("mixed"), make("many"), make("more"));
    // The program's own clock goes on while it works.
    world.clock.be_like(&gateway::clock::SystemClock);
    world.clock.advance_s(60);
    let (ran, said) = run(&world, "nhs", "author", &["import", &mixed]);
    assert!(!ran && said.contains("row 4: owner: a formula without a value"), "{said}");
    assert!(
        said.contains("row 5: effective_on: write the day as 2027-02-01")
            && said.contains("2 rows are wrong"),
        "{said}"
    );
    let (ran, said) = run(&world, "nhs", "author", &["import", "--partial", &mixed]);
    assert!(ran && said.contains("care-one: a draft") && !said.contains("care-two: a draft"), "{said}");
    let kept =
        world.send(by(world.bare("nhs", "GET", "/v1/agreements/care-one/versions/1", PURPOSE), author)).await;
    assert_eq!(
        (&kept.body["effective_on"], &kept.body["ends_on"], &kept.body["owner"]),
        (&json!("2027-01-01"), &json!("2029-01-01"), &json!("Head of Care")),
        "{kept:?}"
    );
    let flows: Vec<_> =
        kept.body["flows"].as_array().unwrap().iter().map(|flow| flow["id"].clone()).collect();
    assert_eq!(flows, ["there", "again"], "merged cells are those of each row");
    assert_eq!(kept.body["flows"][1]["obligations"]["retain_days"], 365);
    // Five thousand rows, and the last is wrong: it is named, and nothing is begun.
    let (ran, said) = run(&world, "nhs", "author", &["import", &many]);
    assert!(!ran && said.contains("row 5001: retain_days"), "{said}");
    assert!(said.contains("nothing was begun: 1 row is wrong"), "{said}");
    let (ran, said) = run(&world, "nhs", "author", &["import", &more]);
    assert!(!ran && said.contains("more than 5000 rows"), "{said}");
}

#[tokio::test]
async fn an_organisation_that_takes_anothers_place_asks_in_it_and_the_other_no_more() {
    let world = deployment().await;
    offices(&world).await;
    let mut wider = terms();
    for flow in wider["flows"].as_array_mut().unwrap() {
        flow["roles"] = json!(["prevention-officer", "social-worker"]);
    }
    wider["flows"].as_array_mut().unwrap().truncate(1);
    proposed(&world, &wider).await;
    agreed(&world).await;
    all_sign(&world, 1).await;
    put_in_force(&world).await;
    let ask = |partner| world.question(partner, "nhs-pds", PURPOSE, ("nhs-number", NUMBER));
    assert_eq!(world.send(ask("fire")).await.status, StatusCode::OK);
    assert_eq!(world.send(ask("council")).await.code(), "referred-to-a-person", "it is no party");
    let succeed =
        json!({ "step": "succeed", "of": "gmca", "by": "trafford-council", "text": "Prevention has moved." });
    let outside = take(&world, "council", lead, succeed.clone()).await;
    assert_eq!(outside.code(), "step-not-a-party", "nobody makes themselves a party");
    // Begun before it: a dispute, and a draft that the others are told of and do not read.
    let dispute = super::talks::disputed(&world).await;
    taken(&world, "fire", lead, succeed).await;
    assert_eq!(world.send(ask("council")).await.code(), "referred-to-a-person", "asked for is not confirmed");
    // Whoever takes it and whoever gives records to it agree, both.
    let confirm = json!({ "step": "confirm", "text": "I have looked at it." });
    assert_eq!(take(&world, "fire", other, confirm.clone()).await.code(), "step-same-party");
    assert_eq!(take(&world, "council", other, confirm.clone()).await.code(), "step-successor-siro");
    office(&world, "council", "siro", "siro").await;
    taken(&world, "council", siro, confirm).await;
    assert_eq!(world.send(ask("council")).await.code(), "referred-to-a-person", "nor is one of two");
    taken(&world, "nhs", lead, json!({ "step": "confirm", "text": "I have looked at it." })).await;
    let released = world.send(ask("council")).await;
    assert_eq!(released.status, StatusCode::OK, "{released:?}");
    assert_ne!(world.send(ask("fire")).await.status, StatusCode::OK, "one place, one organisation");
    // Everybody can see whose word it rests on.
    let register = public(&world, "/register.json").await;
    let listed =
        register.body["agreements"].as_array().unwrap().iter().find(|one| one["id"] == "pilot").unwrap();
    let party = |name: &str| {
        let parties = listed["parties"].as_array().unwrap();
        parties.iter().find(|party| party["name"].as_str().unwrap().contains(name)).unwrap().clone()
    };
    let (old, new) = (party("Greater Manchester"), party("Trafford"));
    assert_eq!((&new["signed_as"], &new["in_place_of"]), (&json!([]), &json!([old["name"]])), "{listed}");
    assert_eq!((&old["signed_as"], &old["place_taken_by"]), (&json!(["siro"]), &new["name"]), "{listed}");
    // It has the place in the dispute that was begun before, too.
    let seen = read(&world, "council", &format!("/v1/agreements/pilot/disputes/{dispute}")).await;
    assert_eq!(seen.body["between"], json!(["nhs-england", "trafford-council"]), "{seen:?}");
    let comment = json!({ "step": "comment", "text": "It is ours now." });
    let told = |partner| super::talks::argue(&world, partner, lead, (&dispute, comment.clone()));
    assert_eq!(told("fire").await.code(), "step-not-a-party");
    assert_eq!(told("council").await.status, StatusCode::OK);
    // It takes part in what is said of it, as a party, and the other does no more.
    let comment = json!({
        "version": 1, "clause": "/title", "text": "It is ours now.", "owner": { "organisation": "nhs-england" }, "blocking": true,
    });
    let said = async |partner| {
        let path = "/v1/agreements/pilot/comments";
        world.send(by(world.act(partner, path, PURPOSE, comment.clone()), lead)).await
    };
    assert_eq!(said("council").await.status, StatusCode::CREATED);
    assert_eq!(said("fire").await.code(), "step-not-a-party");
    let exit = json!({ "step": "exit", "text": "We have merged." });
    assert_eq!(take(&world, "fire", lead, exit).await.code(), "step-left-already");
    world.verify().await;
}

#[tokio::test]
async fn whoever_provides_is_the_controller_or_nothing_is_put_in_force() {
    let world = deployment().await;
    offices(&world).await;
    let mut processed = terms();
    processed["parties"][0]["controller"] = json!("processor");
    proposed(&world, &processed).await;
    agreed(&world).await;
    all_sign(&world, 1).await;
    let refused =
        take(&world, "nhs", lead, json!({ "step": "activate", "text": "Everybody has signed." })).await;
    assert_eq!(refused.code(), "step-provider-not-controller", "{refused:?}");
    assert_eq!(world.send(question(&world)).await.code(), "referred-to-a-person");
}

#[tokio::test]
async fn checks_find_data_that_goes_in_a_circle_and_assurances_that_run_out() {
    let assured = "kind = \"fire\"\nassurances = [{ scheme = \"dspt\", link = \"https://dspt.example.org/gmca\", expires_on = \"2026-12-31\" }]";
    let world = World::with_policies(&[("organisations/gmca.toml", "kind = \"fire\"", assured)]).await;
    let codes = async |world: &World, id: &str| {
        let checks = read(world, "nhs", &format!("/v1/agreements/{id}/versions/1/checks")).await;
        assert_eq!(checks.status, StatusCode::OK, "{checks:?}");
        let findings = checks.body["findings"].as_array().unwrap().clone();
        findings.into_iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut round = terms();
    let mut back = round["flows"][0].clone();
    (back["id"], back["provider"], back["recipient"]) =
        (json!("back"), json!("gmfrs-prevention"), json!("nhs-england"));
    back["items"] =
        json!([{ "item": "visit.history", "form": "as-is", "justification": "To see what came of it." }]);
    (back["roles"], back["identifiers"]) = (json!(["clinician"]), json!(["local:trafford-council"]));
    round["flows"] = json!([round["flows"][0], back]);
    round["flows"][1]["confidentiality"] = json!({ "basis": "public-interest" });
    for flow in round["flows"].as_array_mut().unwrap() {
        flow["obligations"]["onward_sharing"] = json!(true);
    }
    // The public register's table says of what runs how its parties are assured.
    let table = public(&world, "/register.csv").await.text;
    assert!(table.contains("dspt until 2026-12-31 (https://dspt.example.org/gmca)"), "{table}");
    let begun = world.send(begin(&world, &json!({ "id": "pilot", "terms": round }))).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let found = codes(&world, "pilot").await;
    assert!(
        found.iter().any(|code| code == "circular") && found.iter().any(|code| code == "assurance-ends"),
        "{found:?}"
    );
    round["flows"][1]["obligations"]["onward_sharing"] = json!(false);
    world.send(begin(&world, &json!({ "id": "one-way", "terms": round }))).await;
    assert!(!codes(&world, "one-way").await.iter().any(|code| code == "circular"));
}

fn run(world: &World, partner: &str, person: &str, arguments: &[&str]) -> (bool, String) {
    let folder = world.folder.path();
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = std::process::Command::new(acceptance::program());
    let (verb, rest) = arguments.split_first().unwrap();
    command.args(["agreement", verb, "--partner", &file(&format!("{partner}.partner.toml"))]);
    command.args(["--trusted", &file("ca.pem"), "--case", "ISA-7", "--practitioner", person]);
    let ran = command.args(rest).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_an_agreement_from_a_file_to_a_signature() {
    let world = World::new().await;
    world.clock.be_like(&gateway::clock::SystemClock);
    office(&world, "fire", "siro", "siro").await;
    let file = |name: &str| world.folder.path().join(name).display().to_string();
    let mut body = terms();
    body["id"] = json!("pilot");
    std::fs::write(file("pilot.json"), body.to_string()).unwrap();
    let (ran, said) = run(&world, "nhs", "author", &["new", &file("pilot.json")]);
    assert!(ran && said.contains("\"draft\""), "{said}");
    let (ran, said) = run(&world, "nhs", "author", &["new", &file("pilot.json")]);
    assert!(!ran && said.contains("there is an agreement of this name"), "{said}");
    let (ran, said) = run(&world, "fire", "lead", &["show", "pilot"]);
    assert!(!ran && said.contains("404"), "a draft is its authors': {said}");
    let (ran, said) = run(&world, "nhs", "author", &["propose", "pilot", "--text", "To prevent fires."]);
    assert!(ran && said.contains("\"proposed\""), "{said}");
    for partner in ["nhs", "fire"] {
        taken(&world, partner, lead, json!({ "step": "accept", "text": "It is what we need, and no more." }))
            .await;
    }
    taken(&world, "fire", other, json!({ "step": "assure", "text": "In order." })).await;
    taken(&world, "nhs", lead, json!({ "step": "open-signing", "text": "Everybody has agreed." })).await;
    let sign = ["sign", "pilot", "--version", "1", "--role", "siro", "--key"];
    let (ran, said) = run(
        &world,
        "fire",
        "lead",
        &[&sign[..], &[&key_file(&world, "fire", "siro").display().to_string()]].concat(),
    );
    assert!(!ran && said.contains("no such office"), "{said}");
    let (ran, said) = run(
        &world,
        "fire",
        "siro",
        &[&sign[..], &[&key_file(&world, "fire", "siro").display().to_string()]].concat(),
    );
    assert!(ran && said.contains("\"signed\""), "{said}");
    let (ran, said) =
        run(&world, "fire", "lead", &["export", "pilot", "--version", "1", "--out", &file("bundle.json")]);
    assert!(ran, "{said}");
    let key = world.app.store.verifiers()[0].to_string();
    let mut verify = std::process::Command::new(acceptance::program());
    let ran = verify.args(["agreement", "verify", "--key", &key, &file("bundle.json")]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("signed for gmca by siro") && said.contains("not put in force"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_agreements_come_in_from_a_spreadsheet_whole_or_not_at_all() {
    let world = World::new().await;
    world.clock.be_like(&gateway::clock::SystemClock);
    let file = world.folder.path().join("register.csv").display().to_string();
    let heading = "id,external_reference,title,framework,effective_on,ends_on,review_on,owner,breach_contact,assessment,assessment_outcome,\
        assessment_completed_on,assessment_current_until,flow,provider,provider_party,recipient,purpose,identifiers,roles,\
        provider_basis,recipient_basis,confidentiality,retain_days,items,justification";
    let row = |id: &str, item: &str| {
        format!(
            "{id},ISG-17,Care,The accord,2027-01-01,2029-01-01,2028-01-01,Head of Care,b@example.org,DPIA-1,accepted,2026-10-01,\
             2029-02-01,there,nhs-pds,nhs-england,trafford-council,direct-care,nhs-number,social-worker,\
             6(1)(e); 9(2)(h); part 1 paragraph 2,6(1)(e); 9(2)(h); part 1 paragraph 2,implied-consent,365,{item},To care"
        )
    };
    let write = |rows: &[String]| std::fs::write(&file, format!("{heading}\n{}\n", rows.join("\n"))).unwrap();
    write(&[row("care-one", "person.name"), row("care-two", "person.blood_group")]);
    let (ran, said) = run(&world, "nhs", "author", &["import", &file]);
    assert!(!ran && said.contains("row 3: care-two") && said.contains("blood_group"), "{said}");
    let none = world.send(by(world.bare("nhs", "GET", "/v1/agreements/care-one", PURPOSE), author)).await;
    assert_eq!(none.code(), "no-such-entry", "nothing was begun");
    let (ran, said) = run(&world, "nhs", "author", &["import", "--partial", &file]);
    assert!(ran && said.contains("care-one: a draft"), "{said}");
    // The same file goes on where it stopped; with other terms it is another agreement, and the name is taken.
    write(&[row("care-one", "person.name"), row("care-three", "person.name")]);
    let (ran, said) = run(&world, "nhs", "author", &["import", &file]);
    assert!(
        ran && said.contains("care-one: a draft already") && said.contains("care-three: a draft"),
        "{said}"
    );
    write(&[row("care-one", "person.birth_date")]);
    let (ran, said) = run(&world, "nhs", "author", &["import", &file]);
    assert!(!ran && said.contains("row 2: care-one") && said.contains("of this name"), "{said}");
    // What the gateway finds wrong with a flow is said of its row.
    let second = row("care-four", "person.blood_group").replace(",there,", ",again,");
    write(&[row("care-four", "person.name"), second]);
    let (ran, said) = run(&world, "nhs", "author", &["import", &file]);
    assert!(!ran && said.contains("row 3: care-four") && !said.contains("row 2"), "{said}");
    let kept =
        world.send(by(world.bare("nhs", "GET", "/v1/agreements/care-one/versions/1", PURPOSE), author)).await;
    assert_eq!(kept.body["external_reference"], "ISG-17", "{kept:?}");
    // And from a template.
    let new = [
        "new",
        "--from",
        "hospital-discharge",
        "--id",
        "discharge",
        "--provider",
        "nhs-pds",
        "--provider-party",
        "nhs-england",
        "--recipient",
        "trafford-council",
        "--effective-on",
        "2027-02-01",
        "--framework",
        "The accord",
        "--owner",
        "Head of Care",
        "--breach-contact",
        "b@example.org",
        "--assessment",
        "DPIA-2",
    ];
    let (ran, said) = run(&world, "nhs", "author", &new);
    assert!(ran && said.contains("\"draft\""), "{said}");
    let (ran, said) = run(&world, "nhs", "author", &["new", "--from", "nothing"]);
    assert!(!ran && said.contains("required"), "{said}");
}

#[tokio::test]
async fn what_is_switched_off_while_the_record_is_fetched_is_not_released() {
    let world = in_force().await;
    let asking = world.question("fire", "nhs-pds", PURPOSE, ("nhs-number", "9990000204"));
    let switched_off = async {
        while world.asked["nhs"].asked().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let scope = json!({ "flow": "at-risk" });
        let suspend =
            json!({ "step": "suspend", "scope": scope, "reason": "breach", "text": "A laptop is lost." });
        world.send(step(&world, "fire", lead, suspend)).await
    };
    let (answer, switched_off) = tokio::join!(world.send(asking), switched_off);
    assert_eq!(switched_off.status, StatusCode::OK, "{switched_off:?}");
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    let entries = world.entries().await;
    assert!(!entries.iter().any(|entry| matches!(entry.body, Body::Release { .. })), "nothing left");
    world.verify().await;
}
