//! Taking entries away needs two people, every step is an entry, and a download that broke off is gone on with.

use acceptance::{Answer, Request, World};
use gateway::exporting::asked;
use ledger::{entry::Body, export::Manifest};
use reqwest::StatusCode;
use serde_json::{Value, json};

const NUMBER: &str = "9732110317";

fn purpose_of(partner: &str) -> &'static str {
    if partner == "auditor" { "service-improvement" } else { "direct-care" }
}

fn ask(world: &World, body: Value) -> Request {
    world.act("auditor", "/v1/exports", "service-improvement", body)
}

fn step(world: &World, partner: &'static str, id: &str, verb: &str) -> Request {
    world.bare(partner, "POST", &format!("/v1/exports/{id}/{verb}"), purpose_of(partner))
}

fn get(world: &World, partner: &'static str, path: &str) -> Request {
    world.bare(partner, "GET", &format!("/v1/exports/{path}"), purpose_of(partner))
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

fn named(claims: &mut Value, person: &str) {
    claims["sub"] = json!(person);
    claims["requesting_practitioner"]["id"] = json!(person);
}

/// A deployment where something was disclosed, and an export of it that waits.
async fn waiting() -> (World, String) {
    let world = World::new().await;
    for _ in 0..3 {
        assert_eq!(world.send(world.prevention(NUMBER)).await.status, StatusCode::OK);
    }
    let id = id(&world.send(ask(&world, json!({ "format": "ndjson" }))).await);
    (world, id)
}

async fn approve(world: &World, id: &str) {
    let approved = world.send(step(world, "council", id, "approve")).await;
    assert_eq!(approved.status, StatusCode::OK, "{approved:?}");
    written(world, id).await;
}

/// Until the gateway has written it, which it does by itself.
async fn written(world: &World, id: &str) {
    for _ in 0..200 {
        let _ = asked::work(&world.app).await;
        if world.app.store.export(id).await.unwrap().unwrap().state != "approved" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it is not written");
}

async fn fetch(world: &World, request: &Request, range: Option<&str>) -> (StatusCode, Vec<u8>) {
    let (access, context) = world.headers(request);
    let url = format!("{}{}", world.settings.public_url, request.path);
    let mut sent = world.client(request.certificate_of).get(url).bearer_auth(access);
    sent = sent.header("Sharing-Context", context);
    if let Some(range) = range {
        sent = sent.header("Range", range);
    }
    let answer = sent.send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

async fn file(world: &World, id: &str) -> (StatusCode, Vec<u8>) {
    fetch(world, &get(world, "auditor", &format!("{id}/file")), None).await
}

async fn moves(world: &World, id: &str) -> Vec<String> {
    let entries = world.entries().await;
    let moved = entries.iter().filter_map(|entry| match &entry.body {
        Body::ExportRequested { export_id, .. } if export_id == id => Some("requested".to_owned()),
        Body::ExportMoved { export_id, action, from_byte, .. } if export_id == id => {
            Some(from_byte.map_or(action.clone(), |from| format!("{action} from {from}")))
        }
        _ => None,
    });
    moved.collect()
}

#[tokio::test]
async fn two_people_take_an_export_away_and_an_outsider_verifies_it() {
    let (world, id) = waiting().await;
    let listed = world.send(world.bare("council", "GET", "/v1/exports", "direct-care")).await;
    assert_eq!(listed.body["exports"][0]["id"], json!(id), "the second person finds it");
    assert_eq!(listed.body["exports"][0]["state"], "requested");
    approve(&world, &id).await;
    let shown = world.send(get(&world, "auditor", &id)).await;
    assert_eq!(shown.body["state"], "ready", "{shown:?}");
    let (status, lines) = file(&world, &id).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(moves(&world, &id).await, ["requested", "approved", "ready", "downloaded"]);
    // A download that broke off is gone on with, and that is an entry too.
    let path = get(&world, "auditor", &format!("{id}/file"));
    let (status, first) = fetch(&world, &path, Some("bytes=0-99")).await;
    assert_eq!((status, first.len()), (StatusCode::PARTIAL_CONTENT, 100));
    let path = get(&world, "auditor", &format!("{id}/file"));
    let (status, rest) = fetch(&world, &path, Some("bytes=100-")).await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert_eq!([first, rest].concat(), lines);
    assert_eq!(moves(&world, &id).await[4..], ["downloaded from 0", "downloaded from 100"]);
    let manifest = world.send(get(&world, "auditor", &format!("{id}/manifest"))).await;
    let manifest: Manifest = serde_json::from_value(manifest.body).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("export");
    std::fs::write(&out, &lines).unwrap();
    std::fs::write(verify::manifest_path(&out), serde_json::to_string(&manifest).unwrap()).unwrap();
    let key = Some(world.app.store.verifiers()[0].to_string());
    let request = verify::Request { path: out, key, ..verify::Request::default() };
    let report = verify::verify(&request, &mut |_, _| ()).unwrap().report;
    assert_eq!((report.entries, report.withheld), (manifest.until, 0));
    assert_eq!(report.kinds["release"], 3);
    let digest = world.entries().await.into_iter().find_map(|entry| match entry.body {
        Body::ExportMoved { file_sha256, .. } => file_sha256,
        _ => None,
    });
    assert_eq!(digest.as_ref(), Some(&manifest.file_sha256), "the ledger says which bytes left");
    world.verify().await;
}

#[tokio::test]
async fn every_format_is_written() {
    let (world, _) = waiting().await;
    for (format, begins) in
        [("csv", &b"seq,"[..]), ("parquet", b"PAR1"), ("fhir-audit-event", b"{"), ("ocsf", b"{")]
    {
        let id = id(&world.send(ask(&world, json!({ "format": format }))).await);
        approve(&world, &id).await;
        let (status, bytes) = file(&world, &id).await;
        assert_eq!(status, StatusCode::OK, "{format}");
        assert!(bytes.starts_with(begins) && bytes.len() > 200, "{format}");
    }
    world.verify().await;
}

#[tokio::test]
async fn one_person_is_not_enough() {
    let (world, id) = waiting().await;
    // Nobody approved.
    let refused = world.send(get(&world, "auditor", &format!("{id}/file"))).await;
    assert_eq!(refused.code(), "wrong-state");
    // The same person, also from another system of their organisation.
    assert_eq!(world.send(step(&world, "auditor", &id, "approve")).await.code(), "not-allowed");
    let mut elsewhere = step(&world, "council", &id, "approve");
    elsewhere.spoil_context = Some(|claims| named(claims, "TRF-AUD-3"));
    assert_eq!(world.send(elsewhere).await.code(), "not-allowed");
    // Another organisation's officer does not even see it.
    assert_eq!(world.send(step(&world, "nhs", &id, "approve")).await.code(), "no-such-entry");
    let listed = world.send(world.bare("nhs", "GET", "/v1/exports", "direct-care")).await;
    assert_eq!(listed.body["exports"], json!([]));
    assert_eq!(moves(&world, &id).await, ["requested"]);
    // Somebody else approves, and only who asked takes it.
    approve(&world, &id).await;
    let refused = world.send(get(&world, "council", &format!("{id}/file"))).await;
    assert_eq!(refused.code(), "not-allowed");
    assert_eq!(file(&world, &id).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_export_runs_out_and_is_deleted() {
    let (world, id) = waiting().await;
    approve(&world, &id).await;
    assert_eq!(world.send(step(&world, "council", &id, "approve")).await.code(), "wrong-state");
    let on_disk = world.app.exports.file(&id);
    assert!(on_disk.exists());
    world.clock.advance_s(24 * 3_600);
    let late = world.send(get(&world, "auditor", &format!("{id}/file"))).await;
    assert_eq!(late.code(), "wrong-state", "{late:?}");
    asked::work(&world.app).await.unwrap();
    assert!(!on_disk.exists() && !verify::manifest_path(&on_disk).exists(), "nothing of it stays");
    assert_eq!(moves(&world, &id).await, ["requested", "approved", "ready", "expired"]);
    // A request that waited too long cannot be approved.
    let forgotten = self::id(&world.send(ask(&world, json!({ "format": "csv" }))).await);
    world.clock.advance_s(7 * 24 * 3_600);
    assert_eq!(world.send(step(&world, "council", &forgotten, "approve")).await.code(), "wrong-state");
    // One that was refused.
    let refused = self::id(&world.send(ask(&world, json!({ "format": "csv" }))).await);
    assert_eq!(world.send(step(&world, "council", &refused, "refuse")).await.status, StatusCode::OK);
    assert_eq!(world.send(get(&world, "auditor", &format!("{refused}/file"))).await.code(), "wrong-state");
    assert_eq!(moves(&world, &refused).await, ["requested", "refused"]);
    world.verify().await;
}

#[tokio::test]
async fn an_export_about_a_person_names_them_by_pseudonym_and_withholds_the_others() {
    let (world, _) = waiting().await;
    world.send(world.prevention("9736363023")).await;
    let person = ("nhs-number", NUMBER);
    let asked =
        world.post("auditor", "/v1/exports", "service-improvement", person, json!({ "format": "ndjson" }));
    let id = id(&world.send(asked).await);
    approve(&world, &id).await;
    let (status, lines) = file(&world, &id).await;
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(status, StatusCode::OK);
    let requested = world.entries().await.into_iter().find_map(|entry| match entry.body {
        Body::ExportRequested { export_id, subjects, selected_by, .. } if export_id == id => {
            Some((subjects, selected_by))
        }
        _ => None,
    });
    let (subjects, selected_by) = requested.unwrap();
    assert_eq!(selected_by, ["subject"]);
    assert!(!lines.contains(NUMBER) && lines.contains(&subjects[0]));
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (withheld, shown): (Vec<_>, Vec<_>) =
        parsed.into_iter().partition(|line: &Value| line.get("withheld").is_some());
    assert!(withheld.len() > 2, "{lines}");
    assert_eq!(shown.iter().filter(|entry| entry["kind"] == "release").count(), 3);
    for entry in shown.iter().filter(|entry| entry["kind"] != "log_opened") {
        let text = entry.to_string();
        let ends = entry["kind"] == "closure" || entry["kind"] == "release";
        assert!(ends || subjects.iter().any(|subject| text.contains(subject)), "{text}");
    }
}

#[tokio::test]
async fn a_privacy_officer_takes_only_what_they_may_see() {
    let (world, _) = waiting().await;
    // The council's export, asked for by its auditor, is not the NHS's to see; what was asked of its records is.
    let id =
        id(&world.send(world.act("nhs", "/v1/exports", "direct-care", json!({ "format": "ndjson" }))).await);
    let mut approve = step(&world, "nhs", &id, "approve");
    approve.spoil_context = Some(|claims| named(claims, "NHS-C-99"));
    assert_eq!(world.send(approve).await.status, StatusCode::OK);
    written(&world, &id).await;
    let (status, lines) = fetch(&world, &get(&world, "nhs", &format!("{id}/file")), None).await;
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(lines.contains("\"kind\":\"release\"") && !lines.contains("trafford-internal-audit"), "{lines}");
    assert!(lines.lines().filter(|line| line.contains("withheld")).count() > 1);
    let all = world.act("nhs", "/v1/exports", "direct-care", json!({ "format": "parquet" }));
    assert_eq!(world.send(all).await.code(), "invalid-request", "it cannot show what it leaves out");
}

#[tokio::test]
async fn what_cannot_be_asked_or_written_is_said() {
    let (world, waiting) = waiting().await;
    for (body, says) in [
        (json!({ "format": "xlsx" }), "format"),
        (json!({}), "format"),
        (json!({ "format": "tiles" }), "format"),
        (json!({ "format": "csv", "agreement": "a" }), "ndjson"),
        (json!({ "format": "csv", "from": "yesterday" }), "from"),
        (json!({ "format": "csv", "kinds": vec!["release"; 101] }), "kinds"),
        (json!({ "format": "csv", "everything": true }), "not known"),
    ] {
        let answer = world.send(ask(&world, body)).await;
        assert_eq!(answer.code(), "invalid-request");
        assert!(answer.body["detail"].as_str().unwrap().contains(says), "{answer:?}");
    }
    let absent = world.send(step(&world, "auditor", "exp_0", "approve")).await;
    assert_eq!(absent.code(), "no-such-entry");
    // A disk that does not take it: it failed, it says so, and nothing is left.
    let folder = world.app.exports.file(&waiting).parent().unwrap().to_owned();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir(folder.join(format!("{waiting}.part"))).unwrap();
    let approved = world.send(step(&world, "council", &waiting, "approve")).await;
    assert_eq!(approved.status, StatusCode::OK);
    written(&world, &waiting).await;
    assert_eq!(moves(&world, &waiting).await, ["requested", "approved", "failed"]);
    let refused = world.send(get(&world, "auditor", &format!("{waiting}/file"))).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("could not be written"), "{refused:?}");
}

/// An export of the command line that was killed goes on where it was, and the whole of it verifies.
#[tokio::test]
async fn an_export_that_broke_off_is_gone_on_with() {
    let (world, _) = waiting().await;
    let out = world.folder.path().join("export.ndjson");
    let settings = world.folder.path().join("concordat.toml").display().to_string();
    let run = || {
        let mut command = std::process::Command::new(acceptance::program());
        command.args(["audit", "export", "--config", &settings, "--out"]).arg(&out).output().unwrap()
    };
    assert!(run().status.success());
    let whole = std::fs::read(&out).unwrap();
    for (cut, added) in [(whole.len() / 2, &b""[..]), (whole.len() / 3, b"{\"withheld\":\"00"), (0, b"")] {
        std::fs::remove_file(&out).unwrap();
        let part = [&whole[..cut], added].concat();
        std::fs::write(out.with_extension("ndjson.part"), part).unwrap();
        let begun = json!({ "origin": "concordat.example/demo", "format": "ndjson", "filter": {} });
        std::fs::write(out.with_extension("ndjson.part.json"), begun.to_string()).unwrap();
        let done = run();
        assert!(done.status.success(), "{done:?}");
        assert!(std::fs::read(&out).unwrap().starts_with(&whole), "cut at {cut}");
        let request = verify::Request { path: out.clone(), ..verify::Request::default() };
        verify::verify(&request, &mut |_, _| ()).unwrap();
        assert!(!out.with_extension("ndjson.part.json").exists());
    }
    // What is not of this ledger is not gone on with.
    let mut other = whole.clone();
    other[20] ^= 1;
    std::fs::write(out.with_extension("ndjson.part"), &other[..whole.len() / 2]).unwrap();
    let begun = json!({ "origin": "concordat.example/demo", "format": "ndjson", "filter": {} });
    std::fs::write(out.with_extension("ndjson.part.json"), begun.to_string()).unwrap();
    let refused = run();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not those of the checkpoint"), "{refused:?}");
}

/// Whoever leads from now on and whoever led until now may both come to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_two_come_to_is_written_once_and_stays() {
    let (world, _) = waiting().await;
    for _ in 0..5 {
        let id = id(&world.send(ask(&world, json!({ "format": "fhir-audit-event" }))).await);
        let approved = world.send(step(&world, "council", &id, "approve")).await;
        assert_eq!(approved.status, StatusCode::OK, "{approved:?}");
        let at_once: Vec<_> = (0..4)
            .map(|_| {
                let app = world.app.clone();
                tokio::spawn(async move { asked::work(&app).await })
            })
            .collect();
        for one in at_once {
            one.await.unwrap().unwrap();
        }
        assert_eq!(file(&world, &id).await.0, StatusCode::OK);
        assert_eq!(moves(&world, &id).await, ["requested", "approved", "ready", "downloaded"]);
    }
}
