//! The ledger as it is served to those who verify it, and as it is searched.

use acceptance::{Answer, Request, World};
use gateway::receipts::{Outcome, check};
use ledger::{
    checkpoint::Checkpoint,
    entry::{Body, Entry},
    note::NoteVerifier,
    proof::TlogProof,
    tile::{self, TileRef},
    tree::{Frontier, leaf_hash},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

const NUMBER: &str = "9732110317";

async fn fetched(world: &World, certificate_of: &str, path: &str) -> (StatusCode, Vec<u8>) {
    let url = format!("{}/.well-known/audit/{path}", world.settings.public_url);
    let answer = world.client(certificate_of).get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

fn key(world: &World) -> NoteVerifier {
    world.app.store.verifiers()[0].clone()
}

fn search(world: &World, partner: &'static str, body: Value) -> Request {
    let purpose = if partner == "auditor" { "service-improvement" } else { "direct-care" };
    world.act(partner, "/v1/trail/search", purpose, body)
}

fn kinds(answer: &Answer) -> Vec<String> {
    let entries = answer.body["entries"].as_array().unwrap_or_else(|| panic!("{answer:?}")).iter();
    entries.map(|entry| entry["leaf"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_ledger_is_served_as_tiles_to_registered_certificates_and_entries_to_auditors() {
    let world = World::new().await;
    for _ in 0..3 {
        assert_eq!(world.send(world.prevention(NUMBER)).await.status, StatusCode::OK);
    }
    let (status, note) = fetched(&world, "fire", "checkpoint").await;
    assert_eq!(status, StatusCode::OK);
    let checkpoint = Checkpoint::open(std::str::from_utf8(&note).unwrap(), &key(&world)).unwrap();
    let name = |of: &str| {
        TileRef {
            of: of.parse::<u8>().map_or(tile::TileOf::Entries, tile::TileOf::Hashes),
            index: 0,
            width: u16::try_from(checkpoint.size).unwrap(),
        }
        .to_string()
    };
    let (status, hashes) = fetched(&world, "fire", &name("0")).await;
    assert_eq!(status, StatusCode::OK);
    let mut frontier = Frontier::empty();
    for hash in tile::hashes_in(name("0").parse().unwrap(), &hashes).unwrap() {
        frontier.push(hash);
    }
    assert_eq!(frontier.root(), checkpoint.root, "the tile's hashes make the signed root");
    let (status, _) = fetched(&world, "fire", &name("entries")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, bundle) = fetched(&world, "auditor", &name("entries")).await;
    assert_eq!(status, StatusCode::OK);
    let mut frontier = Frontier::empty();
    for leaf in tile::entries_in(name("entries").parse().unwrap(), &bundle).unwrap() {
        frontier.push(leaf_hash(leaf));
    }
    assert_eq!(frontier.root(), checkpoint.root, "and so do the entries");
    assert_eq!(world.last_kinds(1).await, ["audit_read"]);
    for (path, expected) in [
        ("tile/0/001", StatusCode::NOT_FOUND),
        ("tile/0/000", StatusCode::NOT_FOUND),
        ("tile/7/000", StatusCode::NOT_FOUND),
        ("tile/0/x018446744073709551615/000", StatusCode::NOT_FOUND),
        ("tile/entries/../../etc", StatusCode::NOT_FOUND),
        ("proof/999999", StatusCode::NOT_FOUND),
        ("proof/x", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(fetched(&world, "auditor", path).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn a_receipt_is_proved_against_a_later_checkpoint() {
    let world = World::new().await;
    let answer = world.send(world.prevention(NUMBER)).await;
    let refused = world.send(world.prevention("9990000239")).await;
    for _ in 0..5 {
        world.send(world.prevention(NUMBER)).await;
    }
    for receipt in [&answer.body["receipt"], &refused.body["receipt"]] {
        let position = receipt["log_position"].as_u64().unwrap();
        let (status, text) = fetched(&world, "fire", &format!("proof/{position}")).await;
        assert_eq!(status, StatusCode::OK);
        let proof = TlogProof::parse(std::str::from_utf8(&text).unwrap()).unwrap();
        let leaf = world.app.store.leaves(position, 1).await.unwrap().remove(0);
        let shown = proof.verify(&leaf.bytes, &key(&world), &[]).unwrap();
        assert!(shown.checkpoint.size > position + 1, "a later checkpoint than the receipt's own");
        assert!(proof.verify(b"another", &key(&world), &[]).is_err());
        assert_eq!(receipt["leaf_hash"], ledger::tree::hexadecimal(&leaf_hash(&leaf.bytes)));
    }
}

/// The gateway as a partner's tool asks it.
pub(crate) struct Over<'a>(pub(crate) &'a World);

impl gateway::receipts::Proofs for Over<'_> {
    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let (status, bytes) = fetched(self.0, "fire", path).await;
        anyhow::ensure!(status == StatusCode::OK, "{status}");
        Ok(String::from_utf8(bytes)?)
    }
}

#[tokio::test]
async fn partners_receipts_catch_a_history_that_was_rewritten() {
    let world = World::new().await;
    let mut stored = Vec::new();
    for number in [NUMBER, "9990000239", NUMBER] {
        stored.push(world.send(world.prevention(number)).await.body);
    }
    let receipts = gateway::receipts::receipts_in(&json!(stored));
    assert_eq!(receipts.len(), 3);
    let keys = [key(&world)];
    let Outcome { checked, newest: kept, .. } = check(&receipts, &keys, &Over(&world), None).await.unwrap();
    assert!(checked.iter().all(|one| one.wrong.is_none()), "{checked:?}");
    world.send(world.prevention(NUMBER)).await;
    let Outcome { checked, .. } = check(&receipts, &keys, &Over(&world), Some(&kept)).await.unwrap();
    assert!(checked.iter().all(|one| one.wrong.is_none()), "{checked:?}");
    // A receipt that was altered; one of another ledger.
    let mut altered = stored.clone();
    altered[0]["receipt"]["leaf_hash"] = json!("00".repeat(32));
    altered[1]["receipt"]["log_position"] = json!(1);
    let altered = gateway::receipts::receipts_in(&json!(altered));
    let Outcome { checked, .. } = check(&altered, &keys, &Over(&world), None).await.unwrap();
    assert_eq!(checked.iter().filter(|one| one.wrong.is_some()).count(), 2, "{checked:?}");
    // The same keys, the same questions, another history: whoever holds a receipt of the first notices.
    let database = world.settings.ledger.database.clone();
    let folder = world.stop().await;
    store::scratch::lose(&database, folder.path()).await;
    acceptance::lose_checkpoints(folder.path());
    let rewritten = World::start(folder, 5_000_000).await;
    for number in [NUMBER, "9736363023", NUMBER, NUMBER, NUMBER, NUMBER] {
        rewritten.send(rewritten.prevention(number)).await;
    }
    assert_eq!(self::key(&rewritten).name(), keys[0].name());
    let Outcome { checked, .. } = check(&receipts, &keys, &Over(&rewritten), None).await.unwrap();
    assert!(checked.iter().all(|one| one.wrong.is_some()), "{checked:?}");
    let kept = check(&receipts, &keys, &Over(&rewritten), Some(&kept)).await.map(drop);
    assert!(kept.unwrap_err().to_string().contains("does not extend the checkpoint that was kept"));
}

#[tokio::test]
async fn an_auditor_finds_by_what_an_auditor_asks() {
    let world = World::new().await;
    let released = world.send(world.prevention(NUMBER)).await;
    world.clock.advance_s(60);
    world.send(world.prevention("9000000025")).await;
    world.send(world.referral("SWR-2042")).await;
    let id = released.body["receipt"]["decision_id"].as_str().unwrap();
    let find = |body: Value| world.send(search(&world, "auditor", body));
    assert_eq!(kinds(&find(json!({ "reference": id })).await), ["release", "intent"]);
    assert_eq!(
        kinds(&find(json!({ "reason": "restricted", "purpose": "fire-prevention-targeting" })).await),
        ["closure"]
    );
    assert_eq!(kinds(&find(json!({ "reason": "consent-absent" })).await), ["closure", "refusal"]);
    assert_eq!(kinds(&find(json!({ "item": "person.birth_date", "kind": "release" })).await), ["release"]);
    assert_eq!(kinds(&find(json!({ "agreement": "gm-fire-prevention-over-65s", "kind": "release", "practitioner": "GMFRS-1001" })).await), ["release"]);
    assert_eq!(kinds(&find(json!({ "provider": "trafford-asc" })).await), ["closure", "refusal"]);
    assert_eq!(
        kinds(&find(json!({ "case_reference": "CASE-1", "from": "2026-11-23T12:01:00Z" })).await).len(),
        4
    );
    assert!(
        kinds(&find(json!({ "organisation": "gmca", "until": "2026-11-23T11:00:00Z" })).await).is_empty()
    );
    assert!(kinds(&find(json!({ "practitioner": "nobody" })).await).is_empty());
    // The leaf is the ledger's own.
    let answer = find(json!({ "reference": id })).await;
    let leaf = answer.body["entries"][0]["leaf"].clone();
    assert_eq!(serde_json::from_value::<Entry>(leaf).unwrap().body.kind(), "release");
    // Page by page comes to the same.
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    let end = world.app.store.head().await.unwrap().size.to_string();
    loop {
        let from = cursor.clone().unwrap_or_else(|| end.clone());
        let page = find(
            json!({ "organisation": "gmca", "limit": 2, "cursor": from, "until": "2026-11-23T12:01:30Z" }),
        )
        .await;
        seen.extend(kinds(&page));
        match page.body["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    let said: Vec<_> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::DecisionRead { what, .. } => Some(what),
            _ => None,
        })
        .collect();
    assert!(
        said.contains(&"trail by kind, item".to_owned()) || said.contains(&"trail by item, kind".to_owned()),
        "{said:?}"
    );
    for bad in [
        json!({}),
        json!({ "from": "yesterday" }),
        json!({ "cursor": "x", "kind": "release" }),
        json!({ "colour": "red" }),
    ] {
        assert_eq!(find(bad.clone()).await.code(), "invalid-request", "{bad}");
    }
}

/// Whoever reads a decision leaves an entry that refers to it: what it is made of is found all the same.
#[tokio::test]
async fn a_decision_is_found_however_often_it_was_read() {
    let world = World::new().await;
    let told = world.send(world.prevention(NUMBER)).await;
    let id = told.body["receipt"]["decision_id"].clone();
    let path = format!("/v1/decisions/{}/explanation", id.as_str().unwrap());
    for _ in 0..4 {
        let read = world.send(world.bare("auditor", "GET", &path, "service-improvement")).await;
        assert_eq!(read.status, StatusCode::OK, "{read:?}");
    }
    let newest = world.send(search(&world, "auditor", json!({ "reference": id, "limit": 4 }))).await;
    assert_eq!(kinds(&newest), ["decision_read"; 4]);
    let made_of = ["intent", "refusal", "referral", "release", "closure"];
    let found = json!({ "reference": id, "kinds": made_of, "limit": 4 });
    let found = world.send(search(&world, "auditor", found)).await;
    assert_eq!(kinds(&found), ["release", "intent"]);
    let many: Vec<_> = (0..21).map(|number| format!("kind-{number}")).collect();
    for wrong in [json!([]), json!(many)] {
        let refused = world.send(search(&world, "auditor", json!({ "reference": id, "kinds": wrong }))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    }
}

#[tokio::test]
async fn a_persons_trail_is_found_under_every_name_and_looking_is_in_it() {
    let world = World::new().await;
    world.send(world.prevention("9736363023")).await;
    world.send(world.consent("SWR-2044")).await;
    world.clock.advance_s(60);
    // The council's record links the referral with the number.
    assert_eq!(world.send(world.referral("SWR-2044")).await.status, StatusCode::OK);
    let mut by_number =
        search(&world, "auditor", json!({ "subject": { "scheme": "nhs-number", "value": "9736363023" } }));
    by_number.record = Some(("nhs-number".to_owned(), "9736363023".to_owned()));
    let found = world.send(by_number).await;
    let kinds_found = kinds(&found);
    assert_eq!(kinds_found.iter().filter(|kind| *kind == "release").count(), 2, "{kinds_found:?}");
    assert!(kinds_found.contains(&"consent_recorded".to_owned()));
    assert_eq!(kinds_found[0], "subject_record_read", "that somebody looked is in it");
    let unsigned =
        search(&world, "auditor", json!({ "subject": { "scheme": "nhs-number", "value": "9736363023" } }));
    assert_eq!(world.send(unsigned).await.code(), "context-mismatch");
}

#[tokio::test]
async fn officers_see_what_was_asked_of_their_own_records() {
    let world = World::new().await;
    world.send(world.prevention("9000000025")).await;
    let all = json!({ "purpose": "fire-prevention-targeting" });
    assert_eq!(kinds(&world.send(search(&world, "nhs", all.clone())).await), ["closure", "intent"]);
    assert!(kinds(&world.send(search(&world, "council", all.clone())).await).is_empty());
    let mut asker = search(&world, "fire", all);
    PREVENTION.clone_into(&mut asker.purpose);
    let asker = world.send(asker).await;
    assert!(kinds(&asker).is_empty(), "why there was no record is not for whoever asked: {asker:?}");
    let mut nobody = search(&world, "fire", json!({ "kind": "release" }));
    PREVENTION.clone_into(&mut nobody.purpose);
    nobody.spoil_access = Some(|claims| {
        for detail in claims["authorization_details"].as_array_mut().unwrap() {
            detail["actions"] = json!(["read"]);
        }
    });
    assert_eq!(world.send(nobody).await.code(), "not-granted");
}

const PREVENTION: &str = "fire-prevention-targeting";

#[tokio::test]
async fn everyone_whose_data_went_somewhere_in_one_call() {
    let world = World::new().await;
    for number in [NUMBER, "9736363023", NUMBER] {
        assert_eq!(world.send(world.prevention(number)).await.status, StatusCode::OK);
    }
    world.send(world.prevention("9990000239")).await;
    let ask = |agreement: Value, from: &str| {
        let mut body = json!({ "recipient": "gmca", "from": from, "until": "2026-11-24T00:00:00Z" });
        if !agreement.is_null() {
            body["agreement"] = agreement;
        }
        world.act("auditor", "/v1/trail/disclosed", "service-improvement", body)
    };
    let answer = world.send(ask(json!("gm-fire-prevention-over-65s"), "2026-11-23T00:00:00Z")).await;
    assert_eq!(answer.body["releases"].as_array().map(Vec::len), Some(3), "{answer:?}");
    assert_eq!(answer.body["people"], 2);
    assert!(answer.body["items"].as_array().unwrap().contains(&json!("person.birth_date:age-band")));
    assert_eq!(answer.body["releases"][0]["case_reference"], "CASE-1");
    let none = world.send(ask(json!("gm-safe-and-well-referral"), "2026-11-23T00:00:00Z")).await;
    assert_eq!(none.body["people"], 0, "{none:?}");
    let later = world.send(ask(Value::Null, "2026-11-23T13:00:00Z")).await;
    assert_eq!(later.body["releases"], json!([]));
    let nhs = world.act(
        "nhs",
        "/v1/trail/disclosed",
        "direct-care",
        json!({ "recipient": "gmca", "from": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z" }),
    );
    assert_eq!(world.send(nhs).await.body["people"], 2, "the record holder may ask it too");
}

#[tokio::test]
async fn decisions_are_counted_exactly_and_by_whoever_may_see_them() {
    let world = World::new().await;
    for number in [NUMBER, "9736363023", NUMBER] {
        assert_eq!(world.send(world.prevention(number)).await.status, StatusCode::OK);
    }
    world.send(world.prevention("9000000025")).await; // restricted: permitted, and then not released
    world.send(world.referral("SWR-2042")).await; // no consent
    let day = |by: Value| json!({ "by": by, "from": "2026-11-23", "until": "2026-11-24" });
    let count = |partner: &'static str, body: Value| {
        let purpose = if partner == "auditor" { "service-improvement" } else { "direct-care" };
        world.act(partner, "/v1/trail/counts", purpose, body)
    };
    let all = world.send(count("auditor", day(json!(["provider"])))).await;
    assert_eq!(
        all.body["counts"],
        json!([
            { "outcome": "allowed", "provider": "nhs-pds", "decisions": 4 },
            { "outcome": "not_released", "provider": "nhs-pds", "decisions": 1 },
            { "outcome": "not_released", "provider": "trafford-asc", "decisions": 1 },
            { "outcome": "refused", "provider": "trafford-asc", "decisions": 1 },
            { "outcome": "released", "provider": "nhs-pds", "decisions": 3 },
        ]),
        "{all:?}"
    );
    let reasons = world.send(count("auditor", day(json!(["reason", "weekday"])))).await;
    let has = |outcome: &str, reason: &str| {
        let wanted = json!({ "outcome": outcome, "reason": reason, "weekday": "1", "decisions": 1 });
        reasons.body["counts"].as_array().unwrap().contains(&wanted)
    };
    assert!(has("not_released", "restricted"), "{reasons:?}");
    assert!(has("not_released", "consent-absent") && has("refused", "consent-absent"), "{reasons:?}");
    // Noon in London; another day has none.
    let hours = world.send(count("auditor", day(json!(["day", "hour"])))).await;
    assert_eq!(hours.body["counts"][0]["hour"], "12", "{hours:?}");
    let before = json!({ "by": [], "from": "2026-11-20", "until": "2026-11-23" });
    assert_eq!(world.send(count("auditor", before)).await.body["counts"], json!([]));
    // A record holder's officers count what was asked of it; whoever asked does not learn why there was nothing.
    let council = world.send(count("council", day(json!(["provider"])))).await;
    let providers: Vec<_> =
        council.body["counts"].as_array().unwrap().iter().map(|count| &count["provider"]).collect();
    assert_eq!(providers, ["trafford-asc", "trafford-asc"], "{council:?}");
    let mut asker = count("fire", day(json!(["reason"])));
    PREVENTION.clone_into(&mut asker.purpose);
    assert_eq!(world.send(asker).await.body["counts"], json!([]));
    // It is in the ledger that somebody counted, and each thing is counted once when the index is made anew.
    assert_eq!(world.last_kinds(1).await, ["decision_read"]);
    for (bad, says) in [
        (
            json!({ "by": ["reason", "hour"], "from": "2026-11-23", "until": "2026-11-24" }),
            "not counted together",
        ),
        (
            json!({ "by": ["provider", "provider"], "from": "2026-11-23", "until": "2026-11-24" }),
            "at most once",
        ),
        (json!({ "by": [], "from": "2026-11-23", "until": "2026-11-23" }), "a day after"),
        (json!({ "by": [], "from": "yesterday", "until": "2026-11-23" }), "from: a day"),
        (json!({ "by": ["person"], "from": "2026-11-23", "until": "2026-11-24" }), ""),
    ] {
        let refused = world.send(count("auditor", bad.clone())).await;
        assert_eq!(refused.code(), "invalid-request", "{bad}");
        assert!(refused.body["detail"].as_str().unwrap_or_default().contains(says), "{refused:?}");
    }
    let file = world.settings.ledger.beside().with_extension("db.trail");
    let folder = world.stop().await;
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
    let world = World::start(folder, 1_000_000).await;
    let again = world
        .send(world.act("auditor", "/v1/trail/counts", "service-improvement", day(json!(["provider"]))))
        .await;
    assert_eq!(again.body["counts"], all.body["counts"]);
}

/// Every entry is said to be a release, and the last to be nothing else.
const POINTED_ELSEWHERE: &str = "
import sqlite3, sys
index = sqlite3.connect(sys.argv[1])
[[last]] = index.execute('select max(seq) from written')
assert last < 1024, 'all of it in one block'
[[release]] = index.execute(\"select id from name where term = 'kind:release'\")
def read(places):
    if len(places) == 128:
        return int.from_bytes(places, 'little')
    return sum(1 << int.from_bytes(places[at:at + 2], 'little') for at in range(0, len(places), 2))
changed = 0
for name, places in index.execute('select name, places from posting').fetchall():
    was = read(places)
    now = (2 << last) - 1 if name == release else was & ~(1 << last)
    changed += name != release and now != was
    index.execute('update posting set places = ? where name = ?', (now.to_bytes(128, 'little'), name))
assert changed
index.commit()
";

#[tokio::test]
async fn an_index_that_is_lost_or_wrong_changes_nothing() {
    let world = World::new().await;
    world.send(world.prevention(NUMBER)).await;
    let find = json!({ "kind": "release" });
    assert_eq!(kinds(&world.send(search(&world, "auditor", find.clone())).await), ["release"]);
    let file = world.settings.ledger.beside().with_extension("db.trail");
    let folder = world.stop().await;
    // Somebody points the index's terms at other entries.
    let status =
        std::process::Command::new("python3").args(["-c", POINTED_ELSEWHERE]).arg(&file).status().unwrap();
    assert!(status.success());
    let world = World::start(folder, 1_000_000).await;
    assert_eq!(kinds(&world.send(search(&world, "auditor", find.clone())).await), ["release"]);
    let folder = world.stop().await;
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
    let world = World::start(folder, 2_000_000).await;
    assert_eq!(kinds(&world.send(search(&world, "auditor", find)).await), ["release"]);
}

/// Nothing can be taken into the index while this is there.
async fn held_back(world: &World) -> sqlx::SqliteConnection {
    use sqlx::{ConnectOptions as _, Executor as _};
    let mut file = world.settings.ledger.beside().into_os_string();
    file.push(".trail");
    let mut index = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    index.execute("BEGIN IMMEDIATE").await.unwrap();
    index
}

#[tokio::test]
async fn whoever_searches_while_the_index_is_made_is_told_how_far_it_is() {
    use sqlx::Connection as _;
    let world = World::new().await;
    assert_eq!(world.send(world.prevention(NUMBER)).await.status, StatusCode::OK);
    let index = held_back(&world).await;
    for _ in 0..11 {
        let read = Body::AuditRead {
            what: "verified in a test".to_owned(),
            by_operator: "nobody".to_owned(),
            from: 0,
            until: 1,
        };
        let all = store::Submission::of(world.app.now(), vec![read; 1_000]);
        world.app.store.commit(all).await.unwrap();
    }
    let size = world.app.store.head().await.unwrap().size;
    let person = ("nhs-number", NUMBER);
    let told = json!({ "identity_check": "documents-seen" });
    let requests = [
        search(&world, "auditor", json!({ "kind": "release" })),
        world.act(
            "auditor",
            "/v1/trail/counts",
            "service-improvement",
            json!({ "by": ["day"], "from": "2026-11-01", "until": "2026-12-01" }),
        ),
        world.post("desk", "/v1/subject-access", "subject-access", person, told.clone()),
        world.post("desk", "/v1/subject-access/find-usage", "subject-access", person, told.clone()),
    ];
    for request in requests {
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "index-building"),
            "{answer:?}"
        );
        assert_eq!(answer.headers["retry-after"], "60", "how long it takes is not known yet");
        assert_eq!(answer.body["entries"], size, "{answer:?}");
        let taken = answer.body["entries_indexed"].as_u64().unwrap();
        assert!(size - taken > 10_000, "{answer:?}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{taken} of {size} entries")), "{detail}");
    }
    assert_eq!(
        world.app.store.head().await.unwrap().size,
        size,
        "nothing is recorded of what was not answered"
    );
    // Whoever decides, and whoever wants to take something back, does not wait for it.
    assert_eq!(world.send(world.prevention(NUMBER)).await.status, StatusCode::OK);
    let held = json!({ "identity_check": "documents-seen", "held_only": true });
    let held = world.send(world.post("desk", "/v1/subject-access", "subject-access", person, held)).await;
    assert_eq!((held.status, &held.body["events"]), (StatusCode::OK, &json!([])), "{held:?}");
    let ready = gateway::routes::health::readyz(axum::extract::State(world.app.clone())).await;
    assert_eq!(ready.0, StatusCode::OK);
    index.close().await.unwrap();
    // Somebody searched: it is made without anybody waiting for the next minute.
    for turn in 0.. {
        let answer = world.send(search(&world, "auditor", json!({ "kind": "release" }))).await;
        if answer.status == StatusCode::OK {
            assert_eq!(kinds(&answer), ["release", "release"]);
            break;
        }
        assert_eq!(answer.code(), "index-building", "{answer:?}");
        assert!(turn < 1_000, "it is not made");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
