//! Many people in one request.

use std::collections::BTreeMap;

use acceptance::{Request, World};
use futures_util::StreamExt as _;
use gateway::receipts::{check, receipts_in_text};
use ledger::{entry::Body, note::NoteVerifier, tree::hexadecimal};
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest as _, Sha256};

use crate::{trail::Over, witnesses::log_key};

const PREVENTION: &str = "agreements/gm-fire-prevention-over-65s.toml";
const KNOWN: &str = "9732110317";
/// Its record holder answers after a pause.
const PAUSING: &str = "9990000204";

/// With a flow that may be asked by lists of so many, and further edits.
async fn world(people_max: u32, edits: &[(&str, &str, &str)]) -> World {
    let lists = format!("list_people_max = {people_max}\nroles = [");
    let mut all = vec![(PREVENTION, "roles = [", lists.as_str())];
    all.extend(edits);
    World::with_policies(&all).await
}

/// NHS numbers of the range for tests that nobody has here.
fn strangers() -> impl Iterator<Item = String> {
    (999_100_000..999_999_999_u64).filter_map(|nine| {
        let digits = nine.to_string();
        let sum: u32 = digits
            .chars()
            .zip((2..=10).rev())
            .map(|(digit, weight)| digit.to_digit(10).unwrap() * weight)
            .sum();
        match 11 - sum % 11 {
            10 => None,
            11 => Some(format!("{digits}0")),
            check => Some(format!("{digits}{check}")),
        }
    })
}

fn list(world: &World, numbers: &[String]) -> Request {
    let mut lines = vec![json!({
        "provider": "nhs-pds", "purpose": "fire-prevention-targeting", "case_reference": "CASE-1",
    })];
    lines.extend(numbers.iter().map(|number| json!({ "scheme": "nhs-number", "value": number })));
    let text: String = lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
    let mut request = world.bare("fire", "POST", "/v1/disclosures/list", "fire-prevention-targeting");
    request.content_type = Some("application/x-ndjson");
    request.text = Some(text);
    request
}

fn lines(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn people(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line.get("position").is_some()).collect()
}

#[tokio::test]
async fn a_list_is_answered_person_by_person_and_each_chunk_is_recorded_before_it_leaves() {
    let world = world(150, &[]).await;
    // Somebody who is known, somebody who objects, and strangers.
    assert_eq!(world.send(world.objection("9733162043")).await.status, 201);
    let mut numbers = vec![KNOWN.to_owned(), "9733162043".to_owned()];
    numbers.extend(strangers().take(118));
    let answer = world.send(list(&world, &numbers)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let lines = lines(&answer.text);
    assert_eq!(lines[0]["people"], 120);
    let list_id = lines[0]["list_id"].as_str().unwrap();
    let people = people(&lines);
    let positions: Vec<_> = people.iter().map(|line| line["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (0..120).collect::<Vec<_>>(), "one line a person, in order");

    let alone = world.send(world.prevention(KNOWN)).await;
    assert_eq!(people[0]["answer"], "released");
    assert_eq!(people[0]["record"], alone.body["record"], "as if asked alone");
    assert_eq!(people[0]["obligations"]["purpose"], alone.body["obligations"]["purpose"]);
    assert!(people[0]["receipt"]["record_salt"].is_string());
    // Who objects cannot be told from who is unknown.
    let shape = |line: &Value| {
        let mut members: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        members.extend(line["receipt"].as_object().unwrap().keys().cloned());
        (line["answer"].clone(), members)
    };
    assert_eq!(people[1]["answer"], "no-record-available");
    for stranger in &people[2..] {
        assert_eq!(shape(stranger), shape(people[1]));
    }
    let chunks: Vec<_> = lines.iter().filter(|line| line.get("chunk").is_some()).collect();
    assert_eq!(chunks.len(), 4);
    assert_eq!((chunks[0]["answered"].as_u64(), chunks[0]["released"].as_u64()), (Some(32), Some(1)));
    let last = lines.last().unwrap();
    assert_eq!((last["end"].as_str(), last["answered"].as_u64()), (Some("completed"), Some(120)));

    // What came is, to the letter, what the ledger has the digest of.
    let line: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(answer.text.lines().nth(1).unwrap()).unwrap();
    let salt = people[0]["receipt"]["record_salt"].as_str().unwrap();
    let digest = Sha256::new().chain_update(salt).chain_update(line["record"].get()).finalize();
    let entries = world.entries().await;
    let decision = people[0]["receipt"]["decision_id"].as_str().unwrap();
    let released = entries.iter().find_map(|entry| match &entry.body {
        Body::Release { decision_id, record_sha256, .. } if decision_id == decision => Some(record_sha256),
        _ => None,
    });
    assert_eq!(released, Some(&hexadecimal(&digest)));
    // Each receipt holds, with the checkpoint of its chunk.
    let stored = receipts_in_text(&answer.text).unwrap();
    assert_eq!(stored.len(), 120);
    let key = NoteVerifier::parse(&log_key(&world.settings)).unwrap();
    let outcome = check(&stored, &[key], &Over(&world), None).await.unwrap();
    assert!(outcome.checked.iter().all(|one| one.wrong.is_none()), "{:?}", outcome.checked);
    let other = answer.text.replacen("\"log_position\":", "\"log_position\":1", 1);
    let spoilt = receipts_in_text(&other).unwrap();
    let outcome =
        check(&spoilt, &[NoteVerifier::parse(&log_key(&world.settings)).unwrap()], &Over(&world), None)
            .await
            .unwrap();
    assert!(outcome.checked.iter().any(|one| one.wrong.is_some()));

    // The ledger has each person's question and end, and each chunk after all of its ends.
    let entries = world.entries().await;
    let of_list = |body: &Body| match body {
        Body::Intent(decided) | Body::Refusal(decided) => {
            decided.list.as_ref().is_some_and(|list| list.list_id == list_id && list.people == 120)
        }
        _ => false,
    };
    assert_eq!(entries.iter().filter(|entry| of_list(&entry.body)).count(), 120);
    let moved: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::ListMoved { action, answered, .. } => Some((entry.seq, action.as_str(), *answered)),
            _ => None,
        })
        .collect();
    let said: Vec<_> = moved.iter().map(|(_, action, answered)| (*action, *answered)).collect();
    assert_eq!(said, [("chunk", 32), ("chunk", 64), ("chunk", 96), ("chunk", 120), ("completed", 120)]);
    for (line, (from, until)) in chunks.iter().zip([(0, 32), (32, 64), (64, 96), (96, 120)]) {
        let gate = line["log_position"].as_u64().unwrap();
        for person in &people[from..until] {
            assert!(person["receipt"]["log_position"].as_u64().unwrap() < gate);
        }
    }
    world.verify().await;
}

#[tokio::test]
async fn a_list_is_agreed_by_itself_and_nobody_is_asked_about_when_it_is_not() {
    let world = world(2, &[]).await;
    let numbers: Vec<_> = strangers().take(3).collect();
    let asked = world.asked["nhs"].asked().len();
    let refused = world.send(list(&world, &numbers)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "list-not-allowed"), "{refused:?}");
    let permitted = world.send(list(&world, &numbers[..2])).await;
    assert_eq!(permitted.status, 200, "{permitted:?}");
    assert_eq!(world.asked["nhs"].asked().len(), asked + 2);
    let single = World::new().await;
    let refused = single.send(list(&single, &numbers[..1])).await;
    assert_eq!(refused.code(), "list-not-allowed", "a flow for single look-ups is none for a list of one");
    assert!(!single.entries().await.iter().any(|entry| entry.body.kind() == "list_began"));
}

#[tokio::test]
async fn a_list_that_is_not_in_order_is_refused_whole_and_the_line_is_named() {
    let world = world(100, &[]).await;
    let numbers: Vec<_> = strangers().take(3).collect();
    let good = list(&world, &numbers).text.unwrap();
    let head = good.lines().next().unwrap().to_owned();
    let person = |number: &str| json!({ "scheme": "nhs-number", "value": number }).to_string();
    let of = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    let (one, two) = (person(&numbers[0]), person(&numbers[1]));
    let wrong = person("9732110318");
    for (text, said) in [
        (String::new(), "line 1"),
        (of(&[&head]), "line 2"),
        (of(&[&one, &two]), "line 1"),
        (of(&[&head, &one, "", &two]), "line 3"),
        (of(&[&head, &one, &wrong]), "line 3: subject:"),
        (of(&[&head, &one, &two, &one]), "line 4: somebody is named"),
        (
            of(&[&head, &one, "{\"scheme\":\"nhs-number\",\"scheme\":\"nhs-number\",\"value\":\"1\"}"]),
            "line 3",
        ),
        (of(&[&head, &one, "\u{feff}{}"]), "line 3"),
        (good.replace("CASE-1", "CASE-2"), "case_reference"),
        (good.replace("fire-prevention-targeting", "direct-care"), "purpose"),
        (good.replace("nhs-pds", "nobody-at-all"), "The agreement does not allow"),
    ] {
        let mut request = list(&world, &numbers);
        request.text = Some(text.clone());
        let refused = world.send(request).await;
        assert!((400..=403).contains(&refused.status.as_u16()), "{text}: {refused:?}");
        let told = format!(
            "{} {}",
            refused.body["title"].as_str().unwrap(),
            refused.body["detail"].as_str().unwrap()
        );
        assert!(told.contains(said), "{text}: {told}");
        assert!(!told.contains("9732110318"), "{told}");
    }
    // Another list than the one that was signed, and one for a person.
    let mut request = list(&world, &numbers);
    let (access, context) = world.headers(&request);
    request.text = Some(of(&[&head, &one]));
    let refused = world.send_with(&request, Some(&access), Some(&context)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "context-mismatch"), "{refused:?}");
    let mut request = list(&world, &numbers);
    request.record = Some(("nhs-number".to_owned(), numbers[0].clone()));
    assert_eq!(world.send(request).await.code(), "context-mismatch");
    // The same context twice.
    let request = list(&world, &numbers);
    let (access, context) = world.headers(&request);
    assert_eq!(world.send_with(&request, Some(&access), Some(&context)).await.status, 200);
    let again = world.send_with(&request, Some(&access), Some(&context)).await;
    assert_eq!((again.status.as_u16(), again.code()), (401, "context-replayed"));
    let began = world.entries().await.iter().filter(|entry| entry.body.kind() == "list_began").count();
    assert_eq!(began, 1, "nothing else began");
}

#[tokio::test]
async fn a_list_stops_at_the_ceiling_of_its_flow_and_says_so() {
    let world =
        world(100, &[(PREVENTION, "identifiers = [", "releases_per_day_max = 1\nidentifiers = [")]).await;
    let mut numbers = vec![KNOWN.to_owned(), PAUSING.to_owned()];
    numbers.extend(strangers().take(90));
    assert_eq!(world.send(world.prevention(KNOWN)).await.status, 200);
    let answer = world.send(list(&world, &numbers)).await;
    let lines = lines(&answer.text);
    let last = lines.last().unwrap();
    assert_eq!(last["end"], "stopped", "{last}");
    assert_eq!(last["problem"]["code"], "ceiling-reached");
    let people = people(&lines);
    assert_eq!(people[0]["problem"]["code"], "ceiling-reached");
    assert!(people.len() < 90, "who had not been asked about was not: {}", people.len());
    assert_eq!(last["answered"].as_u64().unwrap(), u64::try_from(people.len()).unwrap());
    let entries = world.entries().await;
    let Body::ListMoved { action, reason, .. } = &entries.last().unwrap().body else { panic!("no end") };
    assert_eq!((action.as_str(), reason.as_deref()), ("stopped", Some("ceiling-reached")));
    assert_eq!(world.verify().await.open_intents, Vec::<String>::new());
}

#[tokio::test]
async fn a_list_of_strangers_is_taken_for_guessing() {
    let world = world(1_000, &[]).await;
    let numbers: Vec<_> = strangers().take(600).collect();
    let answer = world.send(list(&world, &numbers)).await;
    let last = lines(&answer.text).pop().unwrap();
    assert_eq!(
        (last["end"].as_str(), last["problem"]["code"].as_str()),
        (Some("stopped"), Some("guessing-suspected"))
    );
    assert!((200..300).contains(&last["answered"].as_u64().unwrap()), "{last}");
}

#[tokio::test]
async fn what_is_suspended_meanwhile_stops_the_next_chunk() {
    let world = world(500, &[]).await;
    let mut numbers: Vec<_> = strangers().take(180).collect();
    // The second chunk waits for somebody's answer.
    numbers.insert(40, PAUSING.to_owned());
    let request = list(&world, &numbers);
    let mut body = begin(&world, &request).await;
    let mut read = Vec::new();
    while !read.windows(8).any(|part| part == b"\"chunk\":") {
        read.extend(body.next().await.unwrap().unwrap());
    }
    let file = world.folder.path().join("policies").join(PREVENTION);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("status = \"active\"", "status = \"suspended\"")).unwrap();
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    while let Some(part) = body.next().await {
        read.extend(part.unwrap());
    }
    let lines = lines(std::str::from_utf8(&read).unwrap());
    let last = lines.last().unwrap();
    // For somebody whose record was on its way it is the first; for everybody after them the second.
    let code = last["problem"]["code"].as_str().unwrap();
    assert!(["policy-changed", "agreement-not-active"].contains(&code), "{last}");
    assert!(last["answered"].as_u64().unwrap() < 181);
    world.verify().await;
}

/// A record that is there before another's of its chunk is not released yet: what is taken back meanwhile stops it.
#[tokio::test]
async fn what_is_taken_back_while_a_chunk_waits_stops_its_record() {
    let world = world(10, &[]).await;
    let request = list(&world, &[KNOWN.to_owned(), PAUSING.to_owned()]);
    let asked = world.asked["nhs"].asked().len();
    let mut body = begin(&world, &request).await;
    let mut read = Vec::new();
    let objecting = async {
        while world.asked["nhs"].asked().len() < asked + 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Long enough for the first record to be there, and not for the second.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.send(world.objection(KNOWN)).await
    };
    let reading = async {
        while let Some(part) = body.next().await {
            read.extend(part.unwrap());
        }
    };
    let (objected, ()) = tokio::join!(objecting, reading);
    assert_eq!(objected.status, 201, "{objected:?}");
    let lines = lines(std::str::from_utf8(&read).unwrap());
    let people = people(&lines);
    assert_eq!(
        (&people[0]["answer"], &people[1]["answer"]),
        (&json!("no-record-available"), &json!("released"))
    );
    assert!(people[0].get("record").is_none(), "{}", people[0]);
    let objection = objected.body["receipt"]["log_position"].as_u64().unwrap();
    assert!(people[1]["receipt"]["log_position"].as_u64().unwrap() > objection, "it came before the end");
    world.verify().await;
}

/// The places of the last entries tell as much as times do.
#[tokio::test]
async fn where_the_last_entries_are_does_not_tell_whether_a_record_decided_against_it() {
    let world = world(10, &[]).await;
    let mut numbers: Vec<_> = strangers().take(4).collect();
    // Restricted by its record; objected to; whose record comes last.
    numbers.extend(["9000000025", "9733162043", PAUSING].map(str::to_owned));
    assert_eq!(world.send(world.objection("9733162043")).await.status, 201);
    let request = list(&world, &numbers);
    let asked = world.asked["nhs"].asked().len();
    let mut body = begin(&world, &request).await;
    let marking = async {
        while world.asked["nhs"].asked().len() < asked + numbers.len() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.send(world.consent("SWR-2044")).await
    };
    let mut read = Vec::new();
    let reading = async {
        while let Some(part) = body.next().await {
            read.extend(part.unwrap());
        }
    };
    let (marked, ()) = tokio::join!(marking, reading);
    let mark = marked.body["receipt"]["log_position"].as_u64().unwrap();
    for person in people(&lines(std::str::from_utf8(&read).unwrap())) {
        assert!(person["receipt"]["log_position"].as_u64().unwrap() > mark, "{person}");
    }
    world.verify().await;
}

/// Whose record decided against it is known only when the whole chunk is there, and is then held like any "no record"; whoever has
/// no record at all is as long.
#[tokio::test]
async fn how_long_a_chunk_takes_does_not_tell_whether_a_record_decided_against_it() {
    let world = world(10, &[]).await;
    let restricted = "9000000025".to_owned();
    for other in [restricted, strangers().next().unwrap()] {
        let begun = std::time::Instant::now();
        let answer = world.send(list(&world, &[PAUSING.to_owned(), other])).await;
        let lines = lines(&answer.text);
        assert_eq!(people(&lines)[1]["answer"], "no-record-available");
        // The record that pauses for a second came in the step that ends after 1.6 s.
        assert!(begun.elapsed().as_millis() >= 1_600, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn whoever_waits_for_a_record_holder_that_does_not_answer_is_answered() {
    let world = world(10, &[]).await;
    let hangs = upstreams::faults::nhs_number(upstreams::faults::Fault::Slow).to_owned();
    let answer = world.send(list(&world, &[KNOWN.to_owned(), hangs])).await;
    let lines = lines(&answer.text);
    let people = people(&lines);
    assert_eq!((&people[0]["answer"], &people[1]["answer"]), (&json!("released"), &json!("not-answered")));
    assert_eq!(people[1]["problem"]["code"], "provider-unavailable");
    assert_eq!(lines.last().unwrap()["end"], "completed");
    world.verify().await;
}

#[tokio::test]
async fn whoever_breaks_off_leaves_nothing_open() {
    let world = world(500, &[]).await;
    let mut numbers: Vec<_> = strangers().take(150).collect();
    numbers.insert(40, PAUSING.to_owned());
    let request = list(&world, &numbers);
    let mut body = begin(&world, &request).await;
    let mut read = Vec::new();
    while !read.windows(8).any(|part| part == b"\"chunk\":") {
        read.extend(body.next().await.unwrap().unwrap());
    }
    drop(body);
    let stopped = async {
        loop {
            let entries = world.entries().await;
            if let Some(Body::ListMoved { action, reason, .. }) =
                entries.iter().rev().map(|entry| &entry.body).find(|body| body.kind() == "list_moved")
                && action == "stopped"
            {
                return reason.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(std::time::Duration::from_secs(20), stopped).await.unwrap();
    assert_eq!(reason.as_deref(), Some("caller-gone"));
    let settled = async {
        while !world.verify().await.open_intents.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), settled).await.unwrap();
    // And its place is free again: two lists at once are a system's share.
    let few: Vec<_> = strangers().skip(300).take(2).collect();
    assert_eq!(world.send(list(&world, &few)).await.status, 200);
    world.verify().await;
}

#[tokio::test]
async fn a_system_has_two_lists_at_once() {
    let world = world(10, &[]).await;
    let requests: Vec<_> = (0..3_usize)
        .map(|which| list(&world, &[PAUSING.to_owned(), strangers().nth(which).unwrap()]))
        .collect();
    let (one, two) = (begin(&world, &requests[0]).await, begin(&world, &requests[1]).await);
    let third = {
        let (access, context) = world.headers(&requests[2]);
        world.send_with(&requests[2], Some(&access), Some(&context)).await
    };
    assert_eq!((third.status.as_u16(), third.code()), (429, "too-many-at-once"), "{third:?}");
    drop((one, two));
}

/// Sends a list and gives its answer as it comes.
async fn begin(
    world: &World,
    request: &Request,
) -> std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<Vec<u8>>>>> {
    let (access, context) = world.headers(request);
    let client = world.client("fire");
    let sent = client.post(format!("{}/v1/disclosures/list", world.settings.public_url));
    let sent = sent.bearer_auth(access).header("Sharing-Context", context);
    let sent = sent.header("Content-Type", "application/x-ndjson").body(request.text.clone().unwrap());
    let response = sent.send().await.unwrap();
    assert_eq!(response.status(), 200);
    Box::pin(response.bytes_stream().map(|part| part.map(|part| part.to_vec())))
}

#[tokio::test]
async fn a_list_that_takes_longer_than_a_connection_may_be_old_is_answered_to_its_end() {
    let world = World::with_settings(|settings| {
        let file = settings.policies.join(PREVENTION);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("roles = [", "list_people_max = 500\nroles = [", 1)).unwrap();
        settings.limits.connection_max_age_s = 1;
        settings.limits.drain_timeout_s = 0;
    })
    .await;
    let mut numbers = vec![PAUSING.to_owned()];
    numbers.extend(strangers().take(110));
    let mut body = begin(&world, &list(&world, &numbers)).await;
    let began = std::time::Instant::now();
    let mut read = Vec::new();
    while let Some(part) = body.next().await {
        read.extend(part.expect("the connection was cut"));
    }
    assert!(began.elapsed() > std::time::Duration::from_secs(1));
    let lines = lines(std::str::from_utf8(&read).unwrap());
    assert_eq!(lines.last().unwrap()["end"], "completed");
    world.verify().await;
}
