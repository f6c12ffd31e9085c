//! What is written about people is sealed, held, forgotten by the schedule and on request; the ledger proves as before.

use acceptance::{Answer, Request, World};
use gateway::retention;
use ledger::{
    entry::{Blind, Body},
    tree::{hexadecimal, leaf_hash},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

const PERSON: (&str, &str) = ("local:trafford-council", "SWR-2044");
const YEAR_S: u64 = 366 * 86_400;

fn colleague(mut request: Request) -> Request {
    request.spoil_context = Some(|claims| {
        claims["sub"] = json!("TRF-SW-90");
        claims["requesting_practitioner"]["id"] = json!("TRF-SW-90");
    });
    request
}

fn about(world: &World, path: &str, body: Value) -> Request {
    world.post("council", path, "direct-care", PERSON, body)
}

async fn consent(world: &World) -> String {
    let mut request = world.consent(PERSON.1);
    request.body.as_mut().unwrap()["evidence_reference"] = json!("canary-evidence-77");
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

async fn withdraw(world: &World, id: &str) -> Answer {
    world.send(world.bare("council", "POST", &format!("/v1/consents/{id}/withdraw"), "direct-care")).await
}

/// The bytes of every file of the database.
fn database(world: &World) -> Vec<u8> {
    let path = world.settings.ledger.beside().display().to_string();
    let trail = [".trail", ".trail-wal"];
    let trail = trail.iter().filter_map(|end| std::fs::read(format!("{path}{end}")).ok()).flatten();
    store::scratch::bytes(&world.settings.ledger.database).into_iter().chain(trail).collect()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

async fn forgotten(world: &World) -> Vec<(String, Vec<String>, Vec<String>)> {
    let entries = world.entries().await.into_iter();
    entries
        .filter_map(|entry| match entry.body {
            Body::RecordsForgotten { ground, records, people, .. } => Some((ground, records, people)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn what_is_written_about_people_is_sealed_and_its_digest_cannot_be_guessed() {
    let world = World::new().await;
    let id = consent(&world).await;
    let bytes = database(&world);
    assert!(holds(&bytes, id.as_bytes()), "this is the database");
    assert!(!holds(&bytes, b"canary-evidence-77"), "the words are sealed");
    let read = world.send(world.bare("council", "GET", &format!("/v1/consents/{id}"), "direct-care")).await;
    assert_eq!(read.body["details"]["evidence_reference"], "canary-evidence-77", "{read:?}");
    // Whoever knows every word but the salt makes another digest.
    let digest = world.entries().await.into_iter().find_map(|entry| match entry.body {
        Body::ConsentRecorded { record_sha256, .. } => Some(record_sha256),
        _ => None,
    });
    let digest = digest.unwrap();
    let mut details = read.body["details"].clone();
    assert_eq!(gateway::kept::digest(&id, &details.to_string()), digest);
    details.as_object_mut().unwrap().remove("salt").unwrap();
    assert_ne!(gateway::kept::digest(&id, &details.to_string()), digest);
    // Without the wrapping key nothing would be readable: the gateway does not start, and says which key is missing.
    let settings = world.settings.clone();
    let folder = world.stop().await;
    std::fs::write(&settings.ledger.wrapping_key, format!("{}\n", "7".repeat(64))).unwrap();
    let refused = gateway::serve::app(&settings).await.err().unwrap().to_string();
    assert!(refused.contains("wrapping key file does not hold; put it back"), "{refused}");
    drop(folder);
}

#[tokio::test]
async fn what_was_released_cannot_be_guessed_from_the_ledger_and_can_be_shown_by_who_received_it() {
    let world = World::new().await;
    let released = world.send(world.prevention("9732110317")).await;
    assert_eq!(released.status, StatusCode::OK, "{released:?}");
    let digest = world.entries().await.into_iter().find_map(|entry| match entry.body {
        Body::Release { record_sha256, .. } => Some(record_sha256),
        _ => None,
    });
    let record = released.body["record"].to_string();
    let salt = released.body["receipt"]["record_salt"].as_str().unwrap();
    assert_eq!(gateway::kept::digest(salt, &record), digest.clone().unwrap());
    assert_ne!(gateway::kept::digest("", &record), digest.unwrap());
    let leaves: Vec<_> = world.entries().await.iter().map(|entry| entry.encode().unwrap()).collect();
    assert!(!leaves.iter().any(|leaf| holds(leaf, salt.as_bytes())), "the ledger does not have the salt");
    assert!(!holds(&database(&world), salt.as_bytes()), "nor has the database");
    let refused = world.send(world.prevention("9990000166")).await;
    assert!(refused.body["receipt"].get("record_salt").is_none());
}

/// A receipt has the place and the hash of an entry that says one of a few things at a time that its caller knows. Whoever could
/// make each of them up would know from the hash which one it is: whether somebody is restricted, objected, or is not there.
#[tokio::test]
async fn why_there_was_no_record_cannot_be_guessed_from_the_receipt() {
    let world = World::new().await;
    assert_eq!(world.send(world.objection("9736363015")).await.status, StatusCode::CREATED);
    let mut seen = std::collections::HashSet::new();
    for number in ["9990000166", "9000000025", "9736363015"] {
        let refused = world.send(world.prevention(number)).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{refused:?}");
        let receipt = &refused.body["receipt"];
        let entry = world.entries().await.into_iter().nth(receipt["log_position"].as_u64().unwrap() as usize);
        let entry = entry.unwrap();
        assert_eq!(receipt["leaf_hash"], hexadecimal(&leaf_hash(&entry.encode().unwrap())));
        let blind = entry.blind.expect("every entry has one");
        assert!(seen.insert(serde_json::to_string(&blind).unwrap()), "no two have the same");
        // Everything else being known.
        for guess in [None, Some(Blind::new([0; 16])), Some(Blind::new([255; 16]))] {
            let guess = ledger::entry::Entry { blind: guess, ..entry.clone() }.encode().unwrap();
            assert_ne!(receipt["leaf_hash"], hexadecimal(&leaf_hash(&guess)));
        }
    }
    let entries = world.entries().await;
    let blinds: std::collections::HashSet<_> =
        entries.iter().map(|entry| serde_json::to_string(&entry.blind.unwrap()).unwrap()).collect();
    assert_eq!(blinds.len(), entries.len());
    world.verify().await;
}

#[tokio::test]
async fn the_schedule_forgets_what_has_ended_and_never_what_protects() {
    let world = World::new().await;
    let id = consent(&world).await;
    let objected = world.send(world.objection("9736363015")).await;
    assert_eq!(objected.status, StatusCode::CREATED);
    let restricted = world.send(world.prevention("9000000025")).await;
    assert_eq!(restricted.status, StatusCode::NOT_FOUND);
    world.clock.advance_s(20 * YEAR_S);
    assert_eq!(retention::apply(&world.app).await.unwrap(), 0, "nothing has ended");
    assert_eq!(withdraw(&world, &id).await.status, StatusCode::OK);
    world.clock.advance_s(5 * YEAR_S);
    assert_eq!(retention::apply(&world.app).await.unwrap(), 0, "not yet");
    world.clock.advance_s(2 * YEAR_S);
    // The consent goes; then, being alone with nothing, the person.
    assert!(retention::apply(&world.app).await.unwrap() >= 1);
    world.clock.advance_s(2 * YEAR_S);
    retention::apply(&world.app).await.unwrap();
    let forgotten = forgotten(&world).await;
    assert!(forgotten.iter().all(|(ground, ..)| ground == "retention"));
    assert!(forgotten.iter().any(|(_, records, _)| *records == [id.clone()]), "{forgotten:?}");
    let gone: Vec<_> = forgotten.into_iter().flat_map(|(_, _, people)| people).collect();
    let named = |wanted: fn(&Body) -> Option<&String>| {
        let world = &world;
        async move { world.entries().await.iter().find_map(|entry| wanted(&entry.body).cloned()).unwrap() }
    };
    let consenter = named(|body| match body {
        Body::ConsentRecorded { subject, .. } => Some(subject),
        _ => None,
    });
    let objector = named(|body| match body {
        Body::ObjectionRecorded { subject, .. } => Some(subject),
        _ => None,
    });
    let hidden = named(|body| match body {
        Body::Intent(decided) | Body::Refusal(decided) => Some(&decided.subject),
        _ => None,
    });
    assert!(gone.contains(&consenter.await));
    assert!(!gone.contains(&objector.await), "an objection in force is never forgotten");
    assert!(!gone.contains(&hidden.await), "nor somebody whose address could kill");
    let bytes = database(&world);
    assert!(holds(&bytes, b"records_forgotten"), "this is the database");
    // The objection is still held, and every proof holds.
    let path = format!("/v1/objections/{}", objected.body["id"].as_str().unwrap());
    let read = world.send(world.bare("council", "GET", &path, "direct-care")).await;
    assert_eq!((read.status, &read.body["status"]), (StatusCode::OK, &json!("received")), "{read:?}");
    world.verify().await;
}

#[tokio::test]
async fn an_erasure_takes_two_people_and_leaves_what_is_in_force() {
    let world = World::new().await;
    let id = consent(&world).await;
    let ask = || about(&world, "/v1/erasures", json!({ "ground": "consent-withdrawn" }));
    let asked = world.send(ask()).await;
    assert_eq!((asked.status, &asked.body["state"]), (StatusCode::CREATED, &json!("asked")), "{asked:?}");
    assert_eq!(
        (&asked.body["forgotten"], &asked.body["stays"]),
        (&json!(0), &json!(["1 consents: still in force"]))
    );
    let path = format!("/v1/erasures/{}/carry-out", asked.body["id"].as_str().unwrap());
    let carry_out = || world.bare("council", "POST", &path, "direct-care");
    let alone = world.send(carry_out()).await;
    assert_eq!((alone.status, alone.code()), (StatusCode::FORBIDDEN, "not-allowed"));
    let foreign = world.send(world.bare("nhs", "POST", &path, "direct-care")).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "no-such-entry"));
    assert_eq!(withdraw(&world, &id).await.status, StatusCode::OK);
    world.clock.advance_s(60);
    let seal = {
        let file = wrapped_key(&world, &id).await;
        assert!(holds(&database(&world), &file));
        file
    };
    let done = world.send(colleague(carry_out())).await;
    assert_eq!((done.status, &done.body["state"]), (StatusCode::OK, &json!("done")), "{done:?}");
    assert_eq!((&done.body["forgotten"], &done.body["stays"]), (&json!(1), &json!([])));
    let again = world.send(colleague(carry_out())).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "wrong-state"));
    assert_eq!(done.body["overwritten"], true);
    // The key is in no file any more: what was sealed is lost, wherever a copy of it is.
    assert!(!holds(&database(&world), &seal), "the wrapped key is overwritten");
    let read = world.send(world.bare("council", "GET", &format!("/v1/consents/{id}"), "direct-care")).await;
    assert_eq!(read.status, StatusCode::NOT_FOUND);
    let forgotten = forgotten(&world).await;
    assert!(forgotten.iter().any(|(ground, records, _)| ground == "erasure" && *records == [id.clone()]));
    assert!(
        forgotten.iter().any(|(_, _, people)| people.len() == 1),
        "nobody holds anything: the person goes"
    );
    // The person is a stranger now, and the ledger proves what it proved.
    let fresh = consent(&world).await;
    assert_ne!(fresh, id);
    let subjects: std::collections::BTreeSet<_> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::ConsentRecorded { subject, .. } => Some(subject),
            _ => None,
        })
        .collect();
    assert_eq!(subjects.len(), 2, "the old pseudonym leads nowhere");
    world.verify().await;
}

/// Whoever reads the file keeps what they may yet read in its log, with what was deleted. It is said, and overwritten afterwards;
/// nobody's commit waits for them meanwhile.
#[tokio::test]
async fn an_erasure_beside_a_reader_says_that_it_is_not_overwritten_yet() {
    let world = World::new().await;
    if world.settings.ledger.database.is_shared() {
        return; // a server overwrites it when it is vacuumed
    }
    let id = consent(&world).await;
    let asked = world.send(about(&world, "/v1/erasures", json!({ "ground": "consent-withdrawn" }))).await;
    assert_eq!(withdraw(&world, &id).await.status, StatusCode::OK);
    world.clock.advance_s(60);
    let seal = wrapped_key(&world, &id).await;
    let pool = sqlx::AnyPool::connect(&store::scratch::url(&world.settings.ledger.database)).await.unwrap();
    let mut reading = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM ledger_entry").fetch_one(&mut *reading).await.unwrap();
    let path = format!("/v1/erasures/{}/carry-out", asked.body["id"].as_str().unwrap());
    let done = world.send(colleague(world.bare("council", "POST", &path, "direct-care"))).await;
    assert_eq!((&done.body["state"], &done.body["overwritten"]), (&json!("done"), &json!(false)), "{done:?}");
    assert!(!world.app.store.is_scrubbed());
    assert!(holds(&database(&world), &seal), "the reader may yet read it");
    reading.rollback().await.unwrap();
    pool.close().await;
    assert!(world.app.store.scrub().await.unwrap() && world.app.store.is_scrubbed());
    assert!(!holds(&database(&world), &seal));
    world.verify().await;
}

/// Forgotten while the record holder thinks: the record stays where it is, and the old pseudonym is not taken up again.
#[tokio::test]
async fn an_erasure_while_the_record_is_on_its_way_stops_it() {
    let world = World::with_settings(|settings| {
        settings.providers.values_mut().for_each(|provider| provider.timeout_ms = 8_000)
    })
    .await;
    let person = ("nhs-number", "9732110317");
    let ask = || world.send(world.prevention(person.1));
    let undisturbed = ask().await;
    assert_eq!(undisturbed.status, StatusCode::OK, "the same without an erasure: {undisturbed:?}");
    let holder = &world.asked["nhs"];
    let asked = holder.asked().len();
    holder.wait();
    let erase = async {
        while holder.asked().len() == asked {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let body = json!({ "ground": "no-longer-necessary" });
        let erasure = world.send(world.post("council", "/v1/erasures", "direct-care", person, body)).await;
        let path = format!("/v1/erasures/{}/carry-out", erasure.body["id"].as_str().unwrap());
        let done = world.send(colleague(world.bare("council", "POST", &path, "direct-care"))).await;
        assert_eq!((done.status, &done.body["state"]), (StatusCode::OK, &json!("done")), "{done:?}");
        holder.go_on();
    };
    let ((), answer) = tokio::join!(erase, ask());
    assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "unsettled"), "{answer:?}");
    assert_eq!(world.last_kinds(2).await, ["records_forgotten", "closure"]);
    let (.., people) = forgotten(&world).await.pop().unwrap();
    let again = ask().await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    let entries = world.entries().await;
    let Some(Body::Release { subjects, .. }) = entries.last().map(|entry| &entry.body) else { panic!() };
    assert!(subjects.iter().all(|subject| !people.contains(subject)), "the old pseudonym leads nowhere");
    assert_eq!(world.verify().await.kinds["release"], 2);
}

/// The wrapped key of the person whose consent this is, as the database has it.
async fn wrapped_key(world: &World, consent: &str) -> Vec<u8> {
    let url = store::scratch::url(&world.settings.ledger.database);
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let key: Vec<u8> = sqlx::query_scalar(
        "SELECT wrapped FROM subject_key JOIN consent ON consent.subject = subject_key.subject WHERE consent.id = $1",
    )
    .bind(consent)
    .fetch_one(&pool)
    .await
    .unwrap();
    pool.close().await;
    key
}

#[tokio::test]
async fn a_hold_stops_forgetting_until_somebody_else_lifts_it() {
    let world = World::new().await;
    let id = consent(&world).await;
    assert_eq!(withdraw(&world, &id).await.status, StatusCode::OK);
    let reason = json!({ "reason": "Claim TRF-LEGAL-2026-14, letter before action" });
    let held = world.send(about(&world, "/v1/holds", reason.clone())).await;
    assert_eq!((held.status, &held.body["about"]), (StatusCode::CREATED, &json!("one person")), "{held:?}");
    let everything = world.send(world.act("nhs", "/v1/holds", "direct-care", reason.clone())).await;
    assert_eq!(everything.body["about"], "everything");
    let short = world.send(about(&world, "/v1/holds", json!({ "reason": "claim" }))).await;
    assert_eq!(short.status, StatusCode::BAD_REQUEST);
    world.clock.advance_s(10 * YEAR_S);
    assert_eq!(retention::apply(&world.app).await.unwrap(), 0);
    let erasure = world.send(about(&world, "/v1/erasures", json!({ "ground": "no-longer-necessary" }))).await;
    assert_eq!(erasure.body["forgotten"], 0);
    assert!(erasure.body["stays"][0].as_str().unwrap().contains("legal hold"));
    let listed = world.send(world.bare("council", "GET", "/v1/holds", "direct-care")).await;
    assert_eq!(listed.body["holds"].as_array().unwrap().len(), 1, "the other is another organisation's");
    assert_eq!(listed.body["holds"][0]["reason"], reason["reason"]);
    assert!(!holds(&database(&world), b"letter before action, "), "sealed");
    for (partner, hold) in [("nhs", &everything), ("council", &held)] {
        let path = format!("/v1/holds/{}/lift", hold.body["id"].as_str().unwrap());
        let mine = world.send(world.bare(partner, "POST", &path, "direct-care")).await;
        assert_eq!((mine.status, mine.code()), (StatusCode::FORBIDDEN, "not-allowed"));
        let ended = world.send(colleague(world.bare(partner, "POST", &path, "direct-care"))).await;
        assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
        let again = world.send(colleague(world.bare(partner, "POST", &path, "direct-care"))).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
        if partner == "nhs" {
            assert_eq!(retention::apply(&world.app).await.unwrap(), 0, "the other hold stands");
        }
    }
    assert!(retention::apply(&world.app).await.unwrap() > 0);
    assert_eq!(forgotten(&world).await[0].1, [id]);
    world.verify().await;
}

#[tokio::test]
async fn keys_are_replaced_and_everybody_is_found_again() {
    let world = World::new().await;
    let id = consent(&world).await;
    assert_eq!(world.send(world.objection("9736363015")).await.status, StatusCode::CREATED);
    let refused = world.send(world.prevention("9736363015")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let before = world.entries().await.len();
    let program = acceptance::program();
    let settings = world.folder.path().join("concordat.toml");
    let run = |verb: &str| {
        let mut command = std::process::Command::new(&program);
        command.args(["privacy", verb, "--config"]).arg(&settings).output().unwrap()
    };
    let running = run("replace-lookup-key");
    assert!(!running.status.success());
    assert!(String::from_utf8_lossy(&running.stderr).contains("another process is using"), "{running:?}");
    let (lookup, wrapping) =
        (world.settings.ledger.lookup_key.clone(), world.settings.ledger.wrapping_key.clone());
    let (old_lookup, old_wrapping) = (std::fs::read(&lookup).unwrap(), std::fs::read(&wrapping).unwrap());
    let opt_outs = gateway::opt_outs::folder(&world.settings.ledger.beside());
    let folder = world.stop().await;
    // What waits was hashed with the key of now: it would be nobody's afterwards.
    std::fs::create_dir_all(&opt_outs).unwrap();
    std::fs::write(opt_outs.join("ndo_1.json"), b"{}").unwrap();
    let waits = run("replace-lookup-key");
    assert!(!waits.status.success(), "{waits:?}");
    assert!(String::from_utf8_lossy(&waits.stderr).contains("opt-out check waits"), "{waits:?}");
    std::fs::remove_file(opt_outs.join("ndo_1.json")).unwrap();
    for verb in ["replace-lookup-key", "replace-wrapping-key", "replace-lookup-key"] {
        let done = run(verb);
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(std::fs::read_to_string(&lookup).unwrap().lines().count(), 3);
    assert_eq!(std::fs::read_to_string(&wrapping).unwrap().lines().count(), 1);
    assert_ne!(std::fs::read(&wrapping).unwrap(), old_wrapping);
    // With the key of before the gateway does not start: it would find nobody's objections.
    let new_lookup = std::fs::read(&lookup).unwrap();
    std::fs::write(&lookup, old_lookup).unwrap();
    let refused_start = run("replace-wrapping-key");
    assert!(
        String::from_utf8_lossy(&refused_start.stderr).contains("nobody's objections would be found"),
        "{refused_start:?}"
    );
    std::fs::write(&lookup, new_lookup).unwrap();
    let world = World::start(folder, 1_000_000).await;
    // The program wrote by the machine's clock, which the test's must not be behind.
    let behind = world.app.store.latest().duration_since(gateway::clock::Clock::now(&world.clock)).as_secs();
    world.clock.advance_s(u64::try_from(behind).unwrap_or(0));
    let after = world.entries().await;
    let kinds: Vec<_> = after[before..].iter().map(|entry| entry.body.kind()).collect();
    assert_eq!(kinds, ["lookup_key_replaced", "wrapping_key_replaced", "lookup_key_replaced"]);
    let still = world.send(world.prevention("9736363015")).await;
    assert_eq!(still.status, StatusCode::NOT_FOUND, "the objection is found");
    let reasons = world.entries().await.into_iter().rev().find_map(|entry| match entry.body {
        Body::Refusal(decided) => Some(decided.reasons),
        _ => None,
    });
    assert_eq!(reasons.unwrap(), ["objection"]);
    let read = world.send(world.bare("council", "GET", &format!("/v1/consents/{id}"), "direct-care")).await;
    assert_eq!(read.body["details"]["evidence_reference"], "canary-evidence-77", "{read:?}");
    world.verify().await;
}
