//! Alerts: what raises one, who is told and who is not, and what happens to it.

use acceptance::{Answer, World};
use gateway::alerts::{deliver, evaluate};
use ledger::entry::Body;
use reqwest::StatusCode;
use serde_json::{Value, json};

const PERSON: &str = "9732110317"; // Sanderson, formerly Killen
const COLLEAGUE: &str = "9736363015"; // Mooney
const OTHER: &str = "9736363023"; // Melloy
const NOBODY: &str = "9990000166";

fn as_officer(claims: &mut Value) {
    claims["sub"] = json!("IG-1");
    claims["requesting_practitioner"] = json!({ "id": "IG-1", "role": "privacy-officer" });
}

fn purpose_of(partner: &str) -> &'static str {
    if partner == "fire" { "fire-prevention-targeting" } else { "direct-care" }
}

/// As a privacy officer, who is nobody that asked for anything.
async fn officer(
    world: &World,
    partner: &'static str,
    method: &'static str,
    path: &str,
    body: Value,
) -> Answer {
    let mut request = world.bare(partner, method, path, purpose_of(partner));
    request.body = (!body.is_null()).then_some(body);
    request.spoil_context = Some(as_officer);
    world.send(request).await
}

async fn alerts(world: &World, partner: &'static str) -> Vec<Value> {
    evaluate::catch_up(&world.app).await.unwrap();
    let answer = officer(world, partner, "GET", "/v1/alerts", Value::Null).await;
    answer.body["alerts"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

async fn rules(world: &World, partner: &'static str) -> Vec<String> {
    let mut rules: Vec<_> =
        alerts(world, partner).await.iter().map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect();
    rules.sort();
    rules
}

async fn ask(world: &World, number: &str) -> Answer {
    world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", number))).await
}

async fn register(world: &World, partner: &'static str, body: Value) -> Answer {
    officer(world, partner, "POST", "/v1/alerts/practitioners", body).await
}

fn identifier(number: &str) -> Value {
    json!([{ "scheme": "nhs-number", "value": number }])
}

#[tokio::test]
async fn practitioners_who_ask_about_themselves_or_each_other_are_told_of_and_not_told() {
    let world = World::new().await;
    assert_eq!(ask(&world, PERSON).await.status, StatusCode::OK);
    assert!(rules(&world, "council").await.is_empty(), "nothing is registered yet");
    let own = json!({ "practitioner": "TRF-SW-77", "identifiers": identifier(PERSON), "surnames": ["O'Sander-son "] });
    let registered = register(&world, "council", own.clone()).await;
    assert_eq!((registered.status, &registered.body["marks"]), (StatusCode::OK, &json!(2)), "{registered:?}");
    let colleague =
        json!({ "practitioner": "TRF-SW-78", "identifiers": identifier(COLLEAGUE), "surnames": ["MELLOY"] });
    register(&world, "council", colleague).await;
    assert_eq!(ask(&world, PERSON).await.status, StatusCode::OK);
    assert_eq!(rules(&world, "council").await, ["own-record"], "another surname is not theirs");
    register(
        &world,
        "council",
        json!({ "practitioner": "TRF-SW-77", "identifiers": identifier(PERSON), "surnames": ["sander-son"] }),
    )
    .await;
    ask(&world, PERSON).await;
    assert_eq!(rules(&world, "council").await, ["own-record", "own-record", "same-surname"]);
    ask(&world, COLLEAGUE).await;
    ask(&world, OTHER).await; // whose surname is another practitioner's
    ask(&world, NOBODY).await;
    let told = rules(&world, "council").await;
    assert_eq!(told, ["colleague", "own-record", "own-record", "same-surname"]);
    assert!(rules(&world, "nhs").await.is_empty(), "it is the asker's organisation's affair");
    // Whoever caused it does not see it, cannot read it, and cannot handle it.
    let listed = world.send(world.bare("council", "GET", "/v1/alerts", "direct-care")).await;
    assert_eq!(listed.body["alerts"], json!([]), "{listed:?}");
    let id = alerts(&world, "council").await[0]["id"].as_str().unwrap().to_owned();
    let finding = json!({ "outcome": "false-positive", "note": "There is nothing to see here at all." });
    for (method, path, body) in [
        ("GET", format!("/v1/alerts/{id}"), Value::Null),
        ("POST", format!("/v1/alerts/{id}/acknowledge"), Value::Null),
        ("POST", format!("/v1/alerts/{id}/review"), finding.clone()),
        ("POST", format!("/v1/alerts/{id}/reopen"), json!({ "note": "There is something to see here." })),
    ] {
        let mut request = world.bare("council", method, &path, "direct-care");
        request.body = (!body.is_null()).then_some(body);
        let refused = world.send(request).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::NOT_FOUND, "no-such-entry"), "{path}");
    }
    let counted = world.send(world.bare("council", "GET", "/v1/alerts/rules", "direct-care")).await;
    let raised =
        counted.body["rules"].as_array().unwrap().iter().map(|rule| rule["raised"].as_i64().unwrap());
    assert_eq!(raised.sum::<i64>(), 0, "nor do numbers tell them");
    // A system without the capability gets nowhere near.
    let auditor = world.send(world.bare("auditor", "GET", "/v1/alerts", "service-improvement")).await;
    assert_eq!(auditor.status, StatusCode::FORBIDDEN, "{auditor:?}");
    // Nobody registers their own, and so nobody forgets it.
    let mut forget = world.act(
        "council",
        "/v1/alerts/practitioners",
        "direct-care",
        json!({ "practitioner": "TRF-SW-77" }),
    );
    let refused = world.send(forget).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "not-allowed"));
    forget = world.act(
        "council",
        "/v1/alerts/practitioners",
        "direct-care",
        json!({ "practitioner": "TRF-SW-77" }),
    );
    forget.spoil_context = Some(as_officer);
    assert_eq!(world.send(forget).await.body["marks"], 0);
    ask(&world, PERSON).await;
    assert_eq!(rules(&world, "council").await.len(), 4, "forgotten is forgotten");
    world.verify().await;
    // What was registered is nowhere, in the database or the ledger.
    let database = world.settings.ledger.beside();
    for ending in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{ending}", database.display())).unwrap_or_default();
        for value in ["sander", "Sander", "MELLOY", PERSON, COLLEAGUE] {
            assert!(!bytes.windows(value.len()).any(|window| window == value.as_bytes()), "{value}");
        }
    }
}

#[tokio::test]
async fn equal_surnames_of_two_practitioners_have_different_hashes() {
    let world = World::new().await;
    for practitioner in ["TRF-SW-77", "TRF-SW-78"] {
        let body = json!({ "practitioner": practitioner, "surnames": ["Sanderson"] });
        assert_eq!(register(&world, "council", body).await.status, StatusCode::OK);
    }
    let council: sharing::OrganisationId = "trafford-council".parse().unwrap();
    let marks = |who: &'static str| world.app.store.marks((&council, who), &[], now());
    let (one, other) = (marks("TRF-SW-77").await.unwrap(), marks("TRF-SW-78").await.unwrap());
    assert_eq!((one.len(), other.len()), (1, 1));
    assert_ne!(one[0].hash, other[0].hash);
}

fn now() -> jiff::Timestamp {
    acceptance::NOW.parse().unwrap()
}

#[tokio::test]
async fn a_home_in_common_is_told_where_the_record_was_told_and_never_of_a_restricted_person() {
    let world = World::new().await;
    let homes = json!({ "practitioner": "GMFRS-1001", "uprns": ["100012000241", "100012000245"] });
    assert_eq!(register(&world, "fire", homes).await.status, StatusCode::OK);
    // Without consent there is no record, and no alert that says whose home it would have been.
    assert_eq!(world.send(world.referral("SWR-2041")).await.code(), "no-record-available");
    assert!(rules(&world, "fire").await.is_empty());
    assert_eq!(world.send(world.consent("SWR-2041")).await.status, StatusCode::CREATED);
    assert_eq!(world.send(world.referral("SWR-2041")).await.status, StatusCode::OK);
    assert_eq!(rules(&world, "fire").await, ["same-uprn"]);
    // Restricted: an emergency tells the name and not the place, and no alert tells the place either.
    world.send(world.prevention("9000000025")).await;
    let person = ("local:trafford-council", "SWR-2045");
    let declaration = json!({ "reason_code": "immediate-risk-to-life", "statement": "A neighbour reports smoke, and nobody answers.", "cannot_consent": true });
    let declared =
        world.send(world.post("fire", "/v1/break-glass", "vital-interests", person, declaration)).await;
    let mut question = world.question("fire", "trafford-asc", "vital-interests", person);
    question.body.as_mut().unwrap()["items"] = json!(["person.name"]);
    question.body.as_mut().unwrap()["break_glass"] = declared.body["id"].clone();
    assert_eq!(world.send(question).await.status, StatusCode::OK);
    assert_eq!(rules(&world, "fire").await, ["break-glass-declared", "same-uprn"]);
}

#[tokio::test]
async fn somebody_who_is_watched_is_told_of_to_whoever_watches() {
    let world = World::new().await;
    let watch = |partner: &'static str, number: &str, until: &str| {
        let mut request = world.post(
            partner,
            "/v1/alerts/watched",
            "direct-care",
            ("nhs-number", number),
            json!({ "until": until }),
        );
        request.spoil_context = Some(as_officer);
        request
    };
    let watched = world.send(watch("nhs", OTHER, "2026-11-24T12:00:00Z")).await;
    assert_eq!(watched.status, StatusCode::CREATED, "{watched:?}");
    for (number, until, code) in [
        (OTHER, "2026-11-23T12:00:00Z", "invalid-request"),
        (OTHER, "2028-11-23T12:00:00Z", "invalid-request"),
    ] {
        assert_eq!(world.send(watch("nhs", number, until)).await.code(), code);
    }
    let mut another = watch("nhs", OTHER, "2026-11-24T12:00:00Z");
    another.record = Some(("nhs-number".to_owned(), PERSON.to_owned()));
    assert_eq!(world.send(another).await.code(), "context-mismatch");
    ask(&world, OTHER).await;
    ask(&world, PERSON).await;
    assert_eq!(rules(&world, "nhs").await, ["watched-subject"], "the record holder watches");
    assert!(rules(&world, "council").await.is_empty(), "it is not told whom others watch");
    world.clock.advance_s(24 * 3_600 - 1);
    ask(&world, OTHER).await;
    assert_eq!(rules(&world, "nhs").await.len(), 2);
    world.clock.advance_s(1);
    ask(&world, OTHER).await;
    assert_eq!(rules(&world, "nhs").await.len(), 2, "it ends by itself");
    let ended = watched.body["id"].as_str().unwrap();
    assert!(world.app.store.mark(ended).await.unwrap().is_some());
    gateway::retention::apply(&world.app).await.unwrap();
    assert_eq!(world.app.store.mark(ended).await.unwrap(), None, "and is forgotten");
    let again = world.send(watch("nhs", OTHER, "2026-11-25T12:00:00Z")).await;
    let path = format!("/v1/alerts/watched/{}/end", again.body["id"].as_str().unwrap());
    assert_eq!(officer(&world, "council", "POST", &path, Value::Null).await.code(), "no-such-entry");
    assert_eq!(officer(&world, "nhs", "POST", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(officer(&world, "nhs", "POST", &path, Value::Null).await.code(), "no-such-entry");
    ask(&world, OTHER).await;
    assert_eq!(rules(&world, "nhs").await.len(), 2);
    world.verify().await;
}

#[tokio::test]
async fn what_is_counted_is_raised_beside_the_requests_once_and_across_a_restart() {
    let world = World::new().await;
    evaluate::catch_up(&world.app).await.unwrap();
    // While the evaluator stands still, questions are answered as ever.
    let held = world.app.evaluator.hold().await;
    for _ in 0..5 {
        assert_eq!(world.send(world.prevention(PERSON)).await.status, StatusCode::OK);
    }
    drop(held);
    assert!(rules(&world, "fire").await.is_empty(), "five are work");
    let entries_before = world.entries().await.len();
    let evaluated = world.app.store.alert_position().await.unwrap();
    let folder = world.stop().await;
    let world = World::start(folder, 1_000_000).await;
    for _ in 0..2 {
        world.send(world.prevention(PERSON)).await;
    }
    assert!(rules(&world, "fire").await.is_empty(), "seven are work");
    let eighth = world.send(world.prevention(PERSON)).await;
    let found = alerts(&world, "fire").await;
    assert_eq!(
        (found.len(), &found[0]["rule"]),
        (1, &json!("repeat-look-ups")),
        "counted across the restart"
    );
    assert_eq!(found[0]["reference"], eighth.body["receipt"]["decision_id"]);
    assert_eq!(
        (&found[0]["severity"], &found[0]["review_due"]),
        (&json!("medium"), &json!("2026-11-26T12:00:00Z"))
    );
    // Again from the same place, as after a crash before the place was written: nothing twice.
    let mut back = store::Submission::of(now(), Vec::new());
    back.changes.push(store::Change::EvaluatedUntil(evaluated.unwrap()));
    world.app.store.commit(back).await.unwrap();
    let folder = world.stop().await;
    let world = World::start(folder, 2_000_000).await;
    world.send(world.prevention(PERSON)).await;
    assert_eq!(rules(&world, "fire").await, ["repeat-look-ups"], "and the ninth says nothing new");
    assert!(world.entries().await.len() > entries_before);
    assert_eq!(world.app.store.alert_position().await.unwrap(), Some(world.entries().await.len() as u64 - 1));
    // No entry says that something was noticed, and no caller who counts places learns it.
    let kinds: Vec<_> = world.entries().await.iter().map(|entry| entry.body.kind()).collect();
    assert!(kinds.iter().all(|kind| !kind.starts_with("alert")), "{kinds:?}");
    world.verify().await;
}

#[tokio::test]
async fn rules_that_count_find_what_they_look_for_in_a_real_ledger() {
    let world = World::new().await;
    evaluate::catch_up(&world.app).await.unwrap();
    // Refused about the agreement, then asked for another purpose.
    let refused =
        world.send(world.question("fire", "nhs-pds", "safe-and-well-referral", ("nhs-number", PERSON))).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    world.send(world.prevention(PERSON)).await;
    assert_eq!(rules(&world, "fire").await, ["purpose-shopping"]);
    // Identifiers that lead nowhere, or to people of whom nothing is told: the rule cannot tell either.
    // Far from each other, or it would be another rule.
    for number in 0..15 {
        let number = (9_990_001_000_u64 + number * 1_000..9_990_001_020 + number * 1_000)
            .find(|number| number.to_string().parse::<sharing::NhsNumber>().is_ok())
            .unwrap();
        world.send(world.prevention(&number.to_string())).await;
    }
    assert_eq!(rules(&world, "fire").await, ["enumeration", "purpose-shopping"]);
    let mut placeholder = world.prevention(OTHER);
    placeholder.case = "TEST-1";
    placeholder.body.as_mut().unwrap()["case_reference"] = json!("TEST-1");
    assert_eq!(world.send(placeholder).await.status, StatusCode::OK);
    world.clock.advance_s(8 * 3_600); // 20:00 in London
    world.send(world.prevention(OTHER)).await;
    assert_eq!(
        rules(&world, "fire").await,
        ["enumeration", "out-of-hours", "placeholder-case", "purpose-shopping"]
    );
    assert!(rules(&world, "nhs").await.is_empty());
    // What other thresholds would have raised, over the same ledger.
    let archive = store::Archive::open(&world.settings.ledger.database, None).await.unwrap();
    let set = world.app.policies().set;
    let shipped = std::fs::read_to_string(world.folder.path().join("policies/alerts/rules.toml")).unwrap();
    let lower = shipped.replace("at_least = 8", "at_least = 2").replace("at_least = 15", "at_least = 16");
    let file = sharing::policy::PolicyFile { path: "alerts/rules.toml".to_owned(), text: lower };
    let lower = sharing::alerting::AlertRules::load(&[file]).unwrap();
    let period = ("2026-11-23T00:00:00Z".parse().unwrap(), "2026-11-24T00:00:00Z".parse().unwrap());
    let of = |counts: &std::collections::BTreeMap<(String, String), u64>, rule: &str| {
        counts.get(&(rule.to_owned(), "gmca".to_owned())).copied().unwrap_or(0)
    };
    let now = gateway::cli::alerts::tried(&archive, &set, set.alerts(), period).await.unwrap();
    let then = gateway::cli::alerts::tried(&archive, &set, &lower, period).await.unwrap();
    for rule in ["enumeration", "out-of-hours", "placeholder-case", "purpose-shopping"] {
        assert_eq!(of(&now, rule), 1, "what was raised is what trying the rules in force says: {now:?}");
    }
    assert_eq!((of(&now, "repeat-look-ups"), of(&then, "repeat-look-ups")), (0, 2), "{then:?}");
    assert_eq!(of(&then, "enumeration"), 0);
}

#[tokio::test]
async fn an_alert_is_triaged_and_closed_and_what_was_found_is_counted() {
    let world = World::new().await;
    world.send(world.prevention("9000000025")).await;
    let found = alerts(&world, "nhs").await;
    assert_eq!(
        (found.len(), &found[0]["rule"], &found[0]["state"]),
        (1, &json!("restricted-attempt"), &json!("open"))
    );
    assert!(found[0]["officer"].as_str().unwrap().contains("restricted"));
    assert!(rules(&world, "fire").await.is_empty(), "who asked is not told");
    let id = found[0]["id"].as_str().unwrap();
    let path = |verb: &str| format!("/v1/alerts/{id}/{verb}");
    let triaged = officer(&world, "nhs", "POST", &path("acknowledge"), Value::Null).await;
    assert_eq!((triaged.status, &triaged.body["state"]), (StatusCode::OK, &json!("triaged")), "{triaged:?}");
    assert_eq!(officer(&world, "nhs", "POST", &path("acknowledge"), Value::Null).await.code(), "wrong-state");
    // Nobody closed it: escalated once, and triaged again it is not escalated again.
    world.clock.advance_s(24 * 3_600);
    gateway::alerts::escalate_overdue(&world.app).await.unwrap();
    assert_eq!(alerts(&world, "nhs").await[0]["state"], "escalated");
    assert_eq!(
        officer(&world, "nhs", "POST", &path("acknowledge"), Value::Null).await.body["state"],
        "triaged"
    );
    assert_eq!(gateway::alerts::escalate_overdue(&world.app).await.unwrap(), 0);
    let short = json!({ "outcome": "false-positive", "note": "no" });
    assert_eq!(officer(&world, "nhs", "POST", &path("review"), short).await.code(), "invalid-request");
    let finding = json!({ "outcome": "false-positive", "note": "The test record of the service itself." });
    let closed = officer(&world, "nhs", "POST", &path("review"), finding.clone()).await;
    assert_eq!(
        (&closed.body["state"], &closed.body["outcome"]),
        (&json!("closed"), &json!("false-positive"))
    );
    assert_eq!(officer(&world, "nhs", "POST", &path("review"), finding).await.code(), "wrong-state");
    world.send(world.prevention("9000000025")).await;
    let answer = officer(&world, "nhs", "GET", "/v1/alerts/rules?over=7d", Value::Null).await;
    let rule = answer.body["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["id"] == "restricted-attempt")
        .unwrap()
        .clone();
    assert_eq!(
        (&rule["raised"], &rule["false_positive"], &rule["open"]),
        (&json!(2), &json!(1), &json!(1)),
        "{rule}"
    );
    assert_eq!(
        officer(&world, "nhs", "GET", "/v1/alerts/rules?over=7", Value::Null).await.code(),
        "invalid-request"
    );
    let actions: Vec<_> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::AlertHandled { action, .. } => Some(action),
            _ => None,
        })
        .collect();
    assert_eq!(actions, ["triaged", "escalated", "triaged", "reviewed"]);
    world.verify().await;
}

/// What privacy officers receive with: programs that are not ours.
pub(crate) struct Receivers {
    webhook: std::process::Child,
    mail: std::process::Child,
    folder: std::path::PathBuf,
}

impl Drop for Receivers {
    fn drop(&mut self) {
        for child in [&mut self.webhook, &mut self.mail] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(arguments: &[&str]) -> (std::process::Child, u16) {
    use std::io::BufRead as _;
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = std::process::Command::new(base.join("../../target/third-party/bin/python"))
        .arg(base.join("receivers/receiver.py"))
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

impl Receivers {
    /// A world whose fire service is told by webhook and by mail.
    pub(crate) async fn world(spoil: impl FnOnce(&mut gateway::config::Settings)) -> (Self, World) {
        let mut started = None;
        let world = World::with_settings(|settings| {
            let folder = settings.ledger.beside().parent().unwrap().to_owned();
            let file = |name: &str| folder.join(name).display().to_string();
            std::fs::write(file("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
            std::fs::write(file("mode"), "ok").unwrap();
            let (certificate, key) = (file("gateway.pem"), file("gateway.key"));
            let (webhook, port) =
                start(&["webhook", &certificate, &key, &file("secret"), &file("mode"), &file("webhooks")]);
            let (mail, mail_port) = start(&["mail", &certificate, &key, &file("mails")]);
            let text = format!(
                "[smtp]\nhost = \"localhost\"\nport = {mail_port}\nsecurity = \"starttls\"\nfrom = \"concordat@gateway.example.org\"\n\
                 trusted = {:?}\n[organisations.gmca]\nemail = [\"ig@gmca.example.org\"]\nescalation_email = [\"siro@gmca.example.org\"]\n\
                 webhook = {{ url = \"https://localhost:{port}/alerts\", secret = {:?}, trusted = {:?} }}\n",
                file("ca.pem"), file("secret"), file("ca.pem")
            );
            settings.alerts = toml::from_str(&text).unwrap();
            spoil(settings);
            started = Some(Self { webhook, mail, folder });
        })
        .await;
        (started.unwrap(), world)
    }

    pub(crate) fn answer(&self, mode: &str) {
        std::fs::write(self.folder.join("mode"), mode).unwrap();
    }

    pub(crate) fn received(&self, what: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join(what)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const STATEMENT: &str = "CANARY-STATEMENT smoke at Tomika Greens, nobody answers the door.";

async fn declare(world: &World) -> String {
    let person = ("local:trafford-council", "SWR-2041");
    let declaration =
        json!({ "reason_code": "immediate-risk-to-life", "statement": STATEMENT, "cannot_consent": true });
    let mut request = world.post("fire", "/v1/break-glass", "vital-interests", person, declaration);
    request.case = "CANARY-CASE";
    let declared = world.send(request).await;
    assert_eq!(declared.status, StatusCode::CREATED, "{declared:?}");
    declared.body["id"].as_str().unwrap().to_owned()
}

async fn waiting(world: &World) -> Vec<(String, String, i64, String)> {
    let answer = officer(world, "fire", "GET", "/v1/alerts/deliveries", Value::Null).await;
    let rows = answer.body["deliveries"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("").to_owned();
    rows.iter()
        .map(|row| {
            (text(row, "channel"), text(row, "state"), row["attempts"].as_i64().unwrap(), text(row, "fault"))
        })
        .collect()
}

#[tokio::test]
async fn officers_are_told_by_webhook_and_mail_and_what_goes_out_names_nobody() {
    let (receivers, world) = Receivers::world(|_| {}).await;
    let declared = declare(&world).await;
    deliver::deliver_due(&world.app).await.unwrap();
    let (webhooks, mails) = (receivers.received("webhooks"), receivers.received("mails"));
    assert_eq!((webhooks.len(), mails.len()), (1, 1), "{:?}", waiting(&world).await);
    assert_eq!((&webhooks[0]["verified"], &webhooks[0]["forged"]), (&json!(true), &json!(false)));
    let alert = alerts(&world, "fire").await[0].clone();
    let said: Value = serde_json::from_str(webhooks[0]["body"].as_str().unwrap()).unwrap();
    let url = format!("{}/v1/alerts/{}", world.settings.public_url, alert["id"].as_str().unwrap());
    assert_eq!(
        said,
        json!({
            "type": "alert.raised",
            "timestamp": "2026-11-23T12:00:00Z",
            "data": { "alert": alert["id"], "rule": "break-glass-declared", "severity": "high", "review_due": "2026-11-26T12:00:00Z", "url": url },
        })
    );
    assert_eq!((&mails[0]["tls"], &mails[0]["to"]), (&json!(true), &json!(["ig@gmca.example.org"])));
    let mail = mails[0]["content"].as_str().unwrap();
    assert!(mail.contains(&format!("new alert {}", alert["id"].as_str().unwrap())), "{mail}");
    assert!(
        mail.contains("Review due:  2026-11-26T12:00:00Z") && mail.contains("declared an emergency"),
        "{mail}"
    );
    // Overdue: whoever is told then, too.
    world.clock.advance_s(72 * 3_600);
    gateway::alerts::escalate_overdue(&world.app).await.unwrap();
    deliver::deliver_due(&world.app).await.unwrap();
    let (webhooks, mails) = (receivers.received("webhooks"), receivers.received("mails"));
    assert_eq!((webhooks.len(), mails.len()), (2, 2));
    assert!(webhooks[1]["body"].as_str().unwrap().contains("alert.escalated"));
    assert_ne!(webhooks[0]["headers"]["webhook-id"], webhooks[1]["headers"]["webhook-id"]);
    assert_eq!(mails[1]["to"], json!(["ig@gmca.example.org", "siro@gmca.example.org"]));
    // Everything that went over the wire, whole.
    let subjects: Vec<String> = world
        .entries()
        .await
        .into_iter()
        .filter_map(|entry| match entry.body {
            Body::BreakGlassDeclared { subject, .. } => Some(subject),
            _ => None,
        })
        .collect();
    let wire = format!("{webhooks:?}{mails:?}");
    let canaries = [
        "GMFRS-1001",
        "SWR-2041",
        "CANARY",
        "Tomika",
        "9732110317",
        "Sanderson",
        "prevention-officer",
        &declared,
        &subjects[0],
    ];
    for canary in canaries {
        assert!(!wire.contains(canary), "{canary}: {wire}");
    }
    assert!(waiting(&world).await.is_empty());
}

#[tokio::test]
async fn a_receiver_that_fails_loses_nothing_and_holds_nobody_up() {
    let (mut receivers, world) = Receivers::world(|_| {}).await;
    let tried = async |world: &World, seconds: u64| {
        world.clock.advance_s(seconds);
        deliver::deliver_due(&world.app).await.unwrap();
        waiting(world).await
    };
    receivers.answer("500");
    declare(&world).await;
    let row = |state: &str, attempts, fault: &str| {
        vec![("webhook".to_owned(), state.to_owned(), attempts, fault.to_owned())]
    };
    assert_eq!(tried(&world, 0).await, row("waiting", 1, "refused"));
    assert_eq!(tried(&world, 4).await, row("waiting", 1, "refused"), "not before its time");
    receivers.answer("redirect");
    assert_eq!(tried(&world, 1).await, row("waiting", 2, "redirected"));
    assert!(
        receivers.received("webhooks").iter().all(|one| one["path"] == "/alerts"),
        "and it was not followed"
    );
    // While a receiver hangs, questions are answered, and another organisation's messages are none of it.
    receivers.answer("hang");
    world.clock.advance_s(300);
    let app = world.app.clone();
    let hanging = tokio::spawn(async move { deliver::deliver_due(&app).await.unwrap() });
    while receivers.received("webhooks").len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.send(world.prevention(PERSON)).await.status, StatusCode::OK);
    assert!(!hanging.is_finished());
    receivers.webhook.kill().unwrap();
    receivers.webhook.wait().unwrap();
    hanging.await.unwrap();
    assert_eq!(waiting(&world).await, row("waiting", 3, "unreachable"));
    assert_eq!(receivers.received("mails").len(), 1, "mail went its own way");
    for (attempts, hours) in [(4, 1), (5, 2), (6, 5), (7, 10), (8, 14), (9, 20)] {
        assert_eq!(tried(&world, hours * 3_600).await, row("waiting", attempts, "unreachable"));
    }
    assert_eq!(tried(&world, 24 * 3_600).await, row("dead", 10, "unreachable"), "given up, and there to see");
    // The same messages after a restart, with a receiver that works: nothing was lost.
    let ids: std::collections::BTreeSet<_> = receivers
        .received("webhooks")
        .iter()
        .map(|one| one["headers"]["webhook-id"].clone().to_string())
        .collect();
    assert_eq!(ids.len(), 1, "one message has one name, however often it is sent");
    let again = officer(&world, "fire", "POST", "/v1/alerts/deliveries/retry", Value::Null).await;
    assert_eq!(again.body["deliveries"][0]["state"], "waiting", "{again:?}");
    receivers.answer("gone");
    assert_eq!(tried(&world, 0).await[0].1, "waiting", "the receiver is still down");
}

#[tokio::test]
async fn a_receiver_with_another_authoritys_certificate_gets_nothing() {
    let (receivers, world) = Receivers::world(|settings| {
        // An authority that signed neither receiver's certificate.
        let beside = settings.ledger.beside();
        let folder = beside.parent().unwrap();
        let (key, other) = (folder.join("other.key"), folder.join("other.pem"));
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=other",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&other)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        settings.alerts.smtp.as_mut().unwrap().trusted = Some(other.clone());
        for tell in settings.alerts.organisations.values_mut() {
            tell.webhook.as_mut().unwrap().trusted.clone_from(&other);
        }
    })
    .await;
    declare(&world).await;
    deliver::deliver_due(&world.app).await.unwrap();
    let rows = waiting(&world).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|(_, state, _, fault)| state == "waiting" && fault == "unreachable"), "{rows:?}");
    assert!(receivers.received("webhooks").is_empty() && receivers.received("mails").is_empty());
}

#[tokio::test]
async fn settings_that_would_tell_people_in_the_clear_are_refused() {
    let world = World::new().await;
    let set = world.app.policies().set;
    let file = |name: &str| world.folder.path().join(name).display().to_string();
    std::fs::write(file("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    std::fs::write(file("short"), "whsec_AAAA").unwrap();
    let webhook = |url: &str, secret: &str| {
        format!(
            "[organisations.gmca]\nwebhook = {{ url = {url:?}, secret = {:?}, trusted = {:?} }}\n",
            file(secret),
            file("ca.pem")
        )
    };
    let smtp = |host: &str, security: &str| {
        format!(
            "[smtp]\nhost = {host:?}\nport = 25\nsecurity = {security:?}\nfrom = \"a@b.example\"\ntrusted = {:?}\n",
            file("ca.pem")
        )
    };
    for (text, said) in [
        (webhook("http://localhost/x", "secret"), "https://"),
        (webhook("https://localhost/x", "short"), "whsec_"),
        (webhook("https://localhost/x", "secret").replace("gmca", "nobody"), "no policy file defines it"),
        (smtp("mail.example.org", "loopback"), "loopback"),
        ("[organisations.gmca]\nemail = [\"a@b.example\"]\n".to_owned(), "[alerts.smtp]"),
        (
            format!("{}[organisations.gmca]\nemail = [\"not an address\"]\n", smtp("localhost", "tls")),
            "is not an e-mail address",
        ),
    ] {
        let mut settings = world.settings.clone();
        settings.alerts = toml::from_str(&text).unwrap();
        let error = format!("{:#}", gateway::serve::notifier(&settings, &set).unwrap_err());
        assert!(error.contains(said), "{text}: {error}");
    }
    let mut settings = world.settings.clone();
    settings.alerts =
        toml::from_str(&(smtp("localhost", "loopback") + &webhook("https://localhost/x", "secret"))).unwrap();
    gateway::serve::notifier(&settings, &set).unwrap();
}

#[tokio::test]
async fn what_is_registered_is_found_again_when_the_look_up_key_was_replaced() {
    let world = World::new().await;
    let own = json!({ "practitioner": "TRF-SW-77", "identifiers": identifier(PERSON) });
    assert_eq!(register(&world, "council", own).await.status, StatusCode::OK);
    let settings = world.folder.path().join("concordat.toml");
    let folder = world.stop().await;
    let mut replace = std::process::Command::new(acceptance::program());
    let replaced =
        replace.args(["privacy", "replace-lookup-key", "--config"]).arg(settings).output().unwrap();
    assert!(replaced.status.success(), "{replaced:?}");
    let world = World::start(folder, 1_000_000).await;
    let behind = world.app.store.latest().duration_since(gateway::clock::Clock::now(&world.clock)).as_secs();
    world.clock.advance_s(u64::try_from(behind).unwrap_or(0) + 1);
    assert_eq!(ask(&world, PERSON).await.status, StatusCode::OK);
    assert_eq!(rules(&world, "council").await, ["own-record"]);
    world.verify().await;
}
