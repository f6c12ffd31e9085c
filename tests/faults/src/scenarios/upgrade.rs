//! Upgrades: a newer program beside older ones, and back.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use store::{Database, scratch};

use super::{Length, ORDINARY, Running, loaded, running};
use crate::deployment::{Deployment, Replica, Store};

/// What a program of tomorrow does to the schema that one of today may run beside.
const ADDS: [&str; 4] = [
    "ALTER TABLE subject ADD COLUMN of_tomorrow BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE consent ADD COLUMN of_tomorrow BIGINT NOT NULL DEFAULT 0",
    "INSERT INTO schema_step (version, runs_beside) VALUES (9000, 1)",
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT 9000, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
];
/// And what it does that takes something away.
const TAKES_AWAY: [&str; 2] = [
    "INSERT INTO schema_step (version, runs_beside) VALUES (9001, 9001)",
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT 9001, 'of the day after', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
];

async fn tell(running: &Running, statements: &[&str]) {
    let (server, folder) = (running.deployment.server.as_ref().unwrap(), running.deployment.folder());
    let (start, _) = server.url.rsplit_once('/').unwrap();
    let database = Database::Server(format!("{start}/{}", scratch::name(folder)));
    for statement in statements {
        scratch::tell(&database, (*statement).to_owned()).await;
    }
}

/// Replaces a gateway as one is that a load balancer leaves out meanwhile.
async fn replace(running: &mut Running, number: usize, change: impl FnOnce(&mut Replica)) {
    let port = running.deployment.replicas[number].port;
    running.ports.lock().unwrap().retain(|other| *other != port);
    let replica = &mut running.deployment.replicas[number];
    replica.terminate().await;
    change(replica);
    replica.start();
    assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
    running.ports.lock().unwrap().push(port);
    running.answers_within(Duration::from_secs(20)).await;
}

/// The schema is changed under gateways that run, which then are started again on it; until it has what they may not run beside.
pub async fn beside(_: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let failed_before = running.account.failed();
    tell(&running, &ADDS).await;
    running.answers_within(Duration::from_secs(20)).await;
    for number in 0..2 {
        replace(&mut running, number, |_| {}).await;
    }
    let broken = running.account.failed() - failed_before;
    tell(&running, &TAKES_AWAY).await;
    let port = running.deployment.replicas[1].port;
    running.ports.lock().unwrap().retain(|other| *other != port);
    let replica = &mut running.deployment.replicas[1];
    replica.terminate().await;
    replica.start();
    assert!(replica.ends_within(Duration::from_secs(20)).await, "it started on a schema that is not for it");
    assert!(replica.said().contains("a newer program has used it"), "{}", replica.said());
    replica.kill();
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "restarted_on_a_newer_schema": 2, "refused_on_one_that_takes_away": 1, "requests_broken_off": broken })).await
}

/// What every release knows, of what the load needs.
const ACTIONS: [&str; 3] = ["read", "decide", "record"];
/// The settings of a gateway of the previous release are beside those of this one.
const OF_PREVIOUS: &str = "previous.toml";

fn of_previous(replica: &mut Replica) {
    let Some(program) = crate::previous() else { return };
    let settings = replica.config.with_extension(OF_PREVIOUS);
    if !settings.exists() {
        fs::write(&settings, known_to(program, &replica.config)).unwrap();
    }
    replica.program = Some(program.to_owned());
    replica.config = settings;
}

fn of_now(replica: &mut Replica) {
    replica.program = None;
    if let Some(name) = replica.config.to_str().and_then(|name| name.strip_suffix(OF_PREVIOUS)) {
        replica.config = format!("{name}toml").into();
    }
}

/// Settings without what a program does not know yet; and the policies without it: whoever upgrades had none of that.
fn known_to(program: &Path, settings: &Path) -> String {
    let mut text = fs::read_to_string(settings).unwrap();
    let tried = settings.with_extension("tried.toml");
    for _ in 0..100 {
        fs::write(&tried, &text).unwrap();
        let said = Command::new(program).args(["check-config", "--config"]).arg(&tried).output().unwrap();
        if said.status.success() {
            return text;
        }
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let (file, line, what) = said.lines().find_map(placed).unwrap_or_else(|| panic!("{said}"));
        if Path::new(file) == tried {
            text = without(&text, line, what);
        } else {
            let file = settings.parent().unwrap().join("policies").join(file);
            let policy = fs::read_to_string(&file).unwrap();
            fs::write(&file, without_entry(&policy, line)).unwrap();
        }
    }
    panic!("the previous release does not take settings and policies without what is new");
}

/// File, line and what is wrong there.
fn placed(said: &str) -> Option<(&str, usize, &str)> {
    let (place, what) = said.trim().trim_start_matches("error: ").split_once(": ")?;
    let (file, line) = place.rsplit_once(':')?;
    Some((file, line.parse().ok()?, what))
}

fn without(text: &str, line: usize, what: &str) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let unknown = lines[line - 1].clone();
    if what.starts_with("unknown variant") {
        let name = format!("\"{}\"", what.split('`').nth(1).unwrap());
        lines[line - 1] = unknown.replace(&format!("{name}, "), "").replace(&format!(", {name}"), "");
        assert_ne!(lines[line - 1], unknown, "{what}");
    } else {
        assert!(what.starts_with("unknown field"), "{what}");
        // A table goes with what is in it.
        let table = lines[line..].iter().take_while(|line| !line.starts_with('['));
        let more = if unknown.starts_with('[') { table.count() } else { 0 };
        lines.drain(line - 1..line + more);
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// A policy file without the entry that the line is in.
fn without_entry(text: &str, line: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let begins = |line: &&str| line.starts_with("[[");
    let from = lines[..line].iter().rposition(begins).unwrap();
    let until = lines[from + 1..].iter().position(begins).map_or(lines.len(), |more| from + 1 + more);
    lines[..from].iter().chain(&lines[until..]).flat_map(|line| [*line, "\n"]).collect()
}

/// The program of the previous release, then this one's beside it, then this one's alone, then back; over a server and over a file,
/// again and again. Where this one's schema has what the previous one may not run beside, going back is refused, and said.
pub async fn from_previous(length: Length) -> Value {
    let (on_server, went_back) = over_server(length.or(1, 20)).await;
    let (on_file, file_went_back) = over_file(length.or(1, 20)).await;
    json!({
        "server": on_server, "server_went_back": went_back, "file": on_file, "file_went_back": file_went_back,
    })
}

async fn over_server(rounds: u64) -> (Value, bool) {
    let deployment = Deployment::start(Store::Server, 2, |_, replica| of_previous(replica)).await;
    deployment.partners.only_actions(&ACTIONS);
    let mut running = loaded(deployment, &ORDINARY).await;
    let mut goes_back = true;
    for _ in 0..rounds {
        for number in 0..2 {
            replace(&mut running, number, of_now).await;
        }
        goes_back = is_let_back(&mut running).await;
        if !goes_back {
            break;
        }
        for number in 0..2 {
            replace(&mut running, number, of_previous).await;
        }
    }
    let broken = running.account.failed();
    (running.end(json!({ "rounds": rounds, "requests_broken_off": broken })).await, goes_back)
}

/// Whether the second gateway may be of the previous release again. Afterwards it is as it was.
async fn is_let_back(running: &mut Running) -> bool {
    let port = running.deployment.replicas[1].port;
    running.ports.lock().unwrap().retain(|other| *other != port);
    let replica = &mut running.deployment.replicas[1];
    replica.terminate().await;
    of_previous(replica);
    replica.start();
    let refused = replica.ends_within(Duration::from_secs(5)).await;
    if refused {
        assert!(replica.said().contains("newer program"), "{}", replica.said());
        replica.kill();
    } else {
        replica.terminate().await;
    }
    of_now(replica);
    replica.start();
    assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
    running.ports.lock().unwrap().push(port);
    !refused
}

async fn over_file(rounds: u64) -> (Value, bool) {
    let deployment = Deployment::start(Store::File, 1, |_, replica| of_previous(replica)).await;
    deployment.partners.only_actions(&ACTIONS);
    let mut running = loaded(deployment, &ORDINARY).await;
    for _ in 0..rounds {
        let replica = &mut running.deployment.replicas[0];
        replica.terminate().await;
        of_now(replica);
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
        running.answers_within(Duration::from_secs(20)).await;
        let replica = &mut running.deployment.replicas[0];
        replica.terminate().await;
        of_previous(replica);
        replica.start();
        if replica.ends_within(Duration::from_secs(5)).await {
            assert!(replica.said().contains("newer program"), "{}", replica.said());
            replica.kill();
            of_now(replica);
            replica.start();
            assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
            running.answers_within(Duration::from_secs(20)).await;
            return (running.end(json!({ "rounds": 1 })).await, false);
        }
        assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
        running.answers_within(Duration::from_secs(20)).await;
    }
    (running.end(json!({ "rounds": rounds })).await, true)
}
