//! The console in a real browser, with an OpenID provider that is not ours: what people do there in each role, what it refuses,
//! what attackers try, and that axe finds nothing on any page. `browser/journeys.mjs` has the journeys. What the pages look like
//! is left in `target/console` where `PICTURES=1` is set.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use ::console::{ConsoleSettings, person::Role};
use acceptance::{World, unused_port};
use gateway::{agreements::usage, clock::Clock as _, serve, witnessed::WitnessingSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};

mod honest;
mod listening;
mod negotiating;

use crate::witnesses::{self, Running};

const REFERRED: (&str, &str) = ("local:trafford-council", "SWR-2041");
const SCRIPT: &str =
    "<script>window.broken = 1</script> a neighbour reports smoke and nobody answers the door.";

/// A program of others that says something a line at a time.
struct Program {
    process: Child,
    said: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.process.wait(); // it ends when its input does
    }
}

impl Program {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new("node")
            .arg(here.join("browser").join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (said, input) = (BufReader::new(process.stdout.take().unwrap()), process.stdin.take());
        Self { process, said, input }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.said.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// What it says after this word; it also says things of its own.
    fn hear(&mut self, word: &str) -> String {
        while let Some(line) = self.line() {
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended");
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
    }
}

fn modules(folder: &str) -> String {
    let modules =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target").join(folder).join("node_modules");
    assert!(modules.exists(), "install it first, as ./test does");
    modules.display().to_string()
}

/// A provider at `NOW`, and the console's settings for it.
fn provider(folder: &Path) -> (Program, ConsoleSettings) {
    std::fs::write(folder.join("console-client.secret"), "a secret of this test\n").unwrap();
    let port = unused_port();
    let public_url = format!("https://localhost:{port}");
    let now: jiff::Timestamp = acceptance::NOW.parse().unwrap();
    let now_ms = now.as_millisecond().to_string();
    let folder_name = folder.display().to_string();
    let mut provider =
        Program::start("provider.mjs", &[&modules("issuer"), &folder_name, &public_url, &now_ms]);
    let issuer = format!("https://localhost:{}", provider.hear("ready"));
    let settings = ConsoleSettings {
        listen: ([127, 0, 0, 1], port).into(),
        public_url,
        certificate: folder.join("gateway.pem"),
        key: folder.join("gateway.key"),
        issuer,
        trusted: folder.join("ca.pem"),
        client_id: "concordat-console".to_owned(),
        client_secret: folder.join("console-client.secret"),
        claims: ::console::ClaimNames::default(),
        roles: Role::ALL.into_iter().map(|role| (role, vec![role.as_str().to_owned()])).collect(),
        identity_checks: [("nhs-login-p9".to_owned(), vec!["P9".to_owned()])].into(),
        citizens_of: Some("nhs-england".parse().unwrap()),
        idle_timeout_s: 900,
        absolute_timeout_s: 28_800,
        step_up_s: 300,
        register_url: Some("https://register.example.org/register".to_owned()),
        demonstration: false,
    };
    (provider, settings)
}

/// Something to see on every page, with words in it that a careless page would run.
async fn fill(world: &World) -> Value {
    let mut released = Value::Null;
    for _ in 0..12 {
        let answer = world.send(world.prevention("9732110317")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        released = answer.body["receipt"]["decision_id"].clone();
    }
    let refused = world.question("fire", "nhs-pds", "safe-and-well-referral", ("nhs-number", "9732110317"));
    let refused = world.send(refused).await;
    assert_ne!(refused.status, StatusCode::OK);
    let declaration =
        json!({ "reason_code": "immediate-risk-to-life", "statement": SCRIPT, "cannot_consent": true });
    let declared =
        world.send(world.post("fire", "/v1/break-glass", "vital-interests", REFERRED, declaration)).await;
    assert_eq!(declared.status, StatusCode::CREATED, "{declared:?}");
    let mut urgent = world.question("fire", "trafford-asc", "vital-interests", REFERRED);
    let body = urgent.body.as_mut().unwrap();
    body["items"] = json!(["person.name", "health.home_oxygen"]);
    body["break_glass"] = declared.body["id"].clone();
    assert_eq!(world.send(urgent).await.status, StatusCode::OK);
    let mut one_off = world.question("fire", "trafford-asc", "safeguarding-adult", REFERRED);
    one_off.body.as_mut().unwrap()["items"] = json!(["person.address", "health.home_oxygen"]);
    let one_off = world.send(one_off).await;
    let path = format!("/v1/referrals/{}/request", one_off.body["decision_id"].as_str().unwrap());
    let form = json!({
        "position": "Prevention team leader", "purpose_in_words": SCRIPT, "items_in_words": SCRIPT,
        "harm_if_not_shared": SCRIPT, "retention_and_deletion": "28 days", "needed_by": "2026-11-24T12:00:00Z",
        "contact": "\"><img src=x onerror=window.broken=1>",
    });
    let asked = world.send(world.act("fire", &path, "safeguarding-adult", form)).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    let mut terms = crate::agreements::terms();
    let begin = json!({ "id": "pilot", "terms": terms });
    let mut state = world.send(world.act("nhs", "/v1/agreements", "safeguarding-adult", begin)).await;
    terms["title"] = json!("Adults at risk of fire <img src=x onerror=window.broken=1>");
    terms["flows"][0]["items"][1]["form"] = json!("as-is");
    let hostile = "<img src=x onerror=window.broken=1> because crews ring";
    let steps = [
        ("nhs", json!({ "step": "propose", "text": hostile })),
        ("fire", json!({ "step": "counter", "terms": terms, "reason": "not-enough", "text": hostile })),
    ];
    for (partner, step) in steps {
        let mut request = world.act(partner, "/v1/agreements/pilot/steps", "safeguarding-adult", step);
        request.if_match = state.headers.get("etag").cloned();
        state = world.send(request).await;
        assert_eq!(state.status, StatusCode::OK, "{state:?}");
    }
    let in_file = world.app.policies().set.agreements().next().unwrap().title.clone();
    let refused = refused.body["decision_id"].clone();
    json!({ "released": released, "refused": refused, "in_file": in_file, "managed": "pilot" })
}

/// More entries than anybody waits for, none of which the index takes in meanwhile.
async fn grow(world: &World, entries: usize) {
    const TOGETHER: usize = 10_000;
    let _held = world.app.trail.hold().await;
    for _ in 0..entries / TOGETHER {
        let entry = ledger::entry::Body::AuditRead {
            what: "verified in a test".to_owned(),
            by_operator: "nobody".to_owned(),
            from: 0,
            until: 1,
        };
        let all = store::Submission::of(world.clock.now(), vec![entry; TOGETHER]);
        world.app.store.commit(all).await.unwrap();
    }
}

/// Another agreement, whose records leave only if the person agrees: something for residents to answer.
fn asked_by_consent(agreements: &Path) {
    let text = std::fs::read_to_string(agreements.join("gm-fire-prevention-over-65s.toml")).unwrap();
    let mut text = text.replace("gm-fire-prevention-over-65s", "trafford-homelessness-help");
    for (find, replace) in [
        ("Over-65s fire prevention, Greater Manchester", "Help with a home, Trafford"),
        (
            "organisation = \"gmca\"",
            "organisation = \"trafford-council\"\nprivacy_notice = \"https://trafford.example.org/notice\"",
        ),
        ("recipient = \"gmca\"", "recipient = \"trafford-council\""),
        ("fire-prevention-targeting", "homelessness-referral"),
        ("[\"prevention-officer\", \"unattended\"]", "[\"social-worker\"]"),
        ("cohort = { age_from_years = 65 }\n", ""),
        ("basis = \"not-confidential\"", "basis = \"explicit-consent\""),
    ] {
        assert!(text.contains(find), "{find}");
        text = text.replace(find, replace);
    }
    std::fs::write(agreements.join("trafford-homelessness-help.toml"), text).unwrap();
}

/// A later version of it, with more in it; and another agreement, of which one item alone needs a yes.
async fn asked_for_more(world: &World) {
    let agreements = world.folder.path().join("policies/agreements");
    let item = |id: &str, form: &str| {
        format!(
            "[[flows.items]]\nitem = \"{id}\"\nform = \"{form}\"\njustification = \"Finds the street.\"\n\n"
        )
    };
    let first = "[[flows.items]]\nitem = \"person.family_name\"";
    let path = agreements.join("trafford-homelessness-help.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let more = text.replacen(first, &format!("{}{first}", item("person.postcode", "as-is")), 1);
    assert!(more.contains("version = 2") && more != text, "{text}");
    std::fs::write(&path, more.replacen("version = 2", "version = 3", 1)).unwrap();
    let other = std::fs::read_to_string(agreements.join("gm-fire-prevention-over-65s.toml")).unwrap();
    let other = other
        .replacen("gm-fire-prevention-over-65s", "gmca-warm-homes", 1)
        .replacen("basis = \"not-confidential\"", "basis = \"explicit-consent\"", 1)
        .replacen(first, &format!("{}{first}", item("care.gp_practice", "as-is")), 1);
    std::fs::write(agreements.join("gmca-warm-homes.toml"), other).unwrap();
    let revision = world.app.policies().revision;
    serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::InAnyCase).await;
    assert_eq!(world.app.policies().revision, revision + 1, "they are in order");
}

/// A deployment with a console, and the provider at which people sign in to it, and a witness that has seen the ledger's beginning.
async fn deployment() -> (World, (Program, Running)) {
    let mut started = None;
    let port = unused_port();
    let world = World::with_settings(|settings| {
        let folder = settings.tls.certificate.parent().unwrap();
        asked_by_consent(&folder.join("policies/agreements"));
        let (program, console) = provider(folder);
        settings.console = Some(console);
        let key = witnesses::begin(folder, "gmca", 7);
        let witnessing = witnesses::asked_seldom(1, vec![witnesses::one("gmca", &key, port)]);
        // Time passes, and whether it is witnessed is not what these tests are about.
        settings.ledger.witnessing =
            Some(WitnessingSettings { stop_after_s: None, alarm_after_s: u32::MAX, ..witnessing });
        started = Some(program);
    })
    .await;
    let log = witnesses::log_key(&world.settings);
    let witness = witnesses::serve(world.folder.path(), "gmca", &log, port).await;
    assert!(witnesses::ask(&world).await);
    (world, (started.unwrap(), witness))
}

/// Runs a script of journeys, and lets time pass when it says so.
async fn run(world: &World, (mut provider, _witness): (Program, Running), script: &str, facts: &Value) {
    let base = world.settings.console.as_ref().unwrap().public_url.clone();
    let pictures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/console");
    let pictures = pictures.display().to_string();
    let mut browser = Program::start(script, &[&modules("browser"), &base, &pictures, &facts.to_string()]);
    let mut failed = Vec::new();
    let mut passed = 0;
    let mut within = false;
    let mut done = None;
    while let Some(line) = browser.line() {
        if let Some(seconds) = line.strip_prefix("advance ") {
            world.clock.advance_s(seconds.parse().unwrap());
            usage::catch_up(&world.app).await.unwrap();
            provider.tell(&line);
            provider.hear("changed");
            browser.tell("advanced");
            continue;
        }
        if let Some(entries) = line.strip_prefix("grow ") {
            grow(world, entries.parse().unwrap()).await;
            browser.tell("grown");
            continue;
        }
        if line == "more" {
            asked_for_more(world).await;
            browser.tell("there is more");
            continue;
        }
        passed += usize::from(line.starts_with("ok "));
        within = if line.is_empty() || line.starts_with(' ') { within } else { line.starts_with("FAILED") };
        if let Some(rest) = line.strip_prefix("done ") {
            done = Some(rest.to_owned());
        } else if within {
            failed.push(line);
        }
    }
    assert!(failed.is_empty(), "{passed} passed\n{}", failed.join("\n"));
    assert!(done.is_some_and(|said| said.ends_with("0 journeys failed")), "it ended by itself");
    assert!(passed > 0, "no journey was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_use_the_console() {
    let (world, started) = deployment().await;
    let facts = fill(&world).await;
    run(&world, started, "journeys.mjs", &facts).await;
    // What was read and done there is in the ledger, under the names of whoever did it.
    let entries = world.entries().await;
    let by = |kind: &str, person: &str| {
        entries.iter().any(|entry| {
            let text = serde_json::to_string(&entry.body).unwrap();
            entry.body.kind() == kind && text.contains(person) && text.contains("\"system\":\"console\"")
        })
    };
    for (kind, person) in [
        ("alert_handled", "TRF-IG-1"),
        ("alert_handled", "GMFRS-REV-1"),
        ("grant_made", "TRF-CG-1"),
        ("decision_read", "TRF-AUD-3"),
        ("export_moved", "TRF-AUD-4"),
        ("agreement_moved", "NHS-IG-1"),
        ("subject_record_read", "NHS-PO-1"),
        ("objection_recorded", "resident-1"),
        ("consent_recorded", "resident-1"),
        ("consent_withdrawn", "resident-1"),
        ("consent_recorded", "NHS-PO-1"),
        ("consent_withdrawn", "NHS-PO-1"),
        ("objection_ended", "NHS-PO-1"),
        ("rights_request_moved", "resident-1"),
        ("rights_request_moved", "NHS-IG-1"),
        ("grant_revoked", "TRF-CG-1"),
    ] {
        assert!(by(kind, person), "{kind} by {person}");
    }
    let refused = entries.iter().filter(|entry| entry.body.kind() == "request_refused").count();
    assert!(refused >= 10, "what the API refused is recorded: {refused}");
    world.verify().await;
    let _ = world.clock.now();
}
