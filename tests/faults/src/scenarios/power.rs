//! The power fails: what a process had not synced is gone, or some of it, sector by sector (`power.c`, `power.py`).

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, Running, compiled, preloaded, running, shell};
use crate::deployment::{Replica, Store, program};

const SOURCE: &str = include_str!("../../power.c");

/// A gateway over a file, of whose writing a journal is kept; files that end with `lies` are said to be synced and are not.
async fn journalled(libraries: &Path, lies: Option<&str>) -> Running {
    let library = compiled(libraries, "power", SOURCE);
    running(Store::File, 1, |_, replica: &mut Replica| {
        preloaded(replica, &library.display().to_string());
        let folder = replica.folder();
        let more = [("POWER_FOLDER", folder.clone()), ("POWER_JOURNAL", folder.join("power.journal"))];
        let more = more.map(|(name, value)| (name.to_owned(), value.display().to_string()));
        replica.environment.extend(more);
        replica.environment.extend(lies.map(|lies| ("POWER_LIES".to_owned(), lies.to_owned())));
    })
    .await
}

/// Ends the process and leaves its files as `seed` has it. What was lost comes back.
fn power_fails(running: &mut Running, seed: u64) -> Value {
    running.deployment.replicas[0].kill();
    let folder = running.deployment.folder();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("power.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(folder.join("power.journal")).arg(seed.to_string()).env("POWER_FOLDER", folder);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn count(lost: &Value, of: &str) -> u64 {
    lost[of].as_u64().unwrap()
}

pub async fn fails(length: Length) -> Value {
    let libraries = tempfile::tempdir().unwrap();
    let mut running = journalled(libraries.path(), None).await;
    let (mut sectors, mut names) = (0, 0);
    let total = length.or(6, 200);
    for round in 0..total {
        sleep(Duration::from_millis(150 + round * 53 % 400)).await;
        // Every third time all that was not synced is lost.
        let lost = power_fails(&mut running, if round % 3 == 0 { 0 } else { round });
        sectors += count(&lost, "sectors_unsynced");
        names += count(&lost, "names_lost");
        let replica = &mut running.deployment.replicas[0];
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "round {round}: {}", replica.said());
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.end(json!({ "failures": total, "sectors_unsynced": sectors, "names_lost": names })).await
}

/// The negative control: what SQLite promises with `synchronous = NORMAL` and not more, a commit that is not synced. Entries
/// that partners have receipts for are gone; the gateway notices, and does not start. Nor does one that is set to NORMAL.
pub async fn fails_and_the_disk_lied(_: Length) -> Value {
    let libraries = tempfile::tempdir().unwrap();
    let mut running = journalled(libraries.path(), Some("-wal")).await;
    for _ in 0..3 {
        running.answers_within(Duration::from_secs(20)).await;
    }
    power_fails(&mut running, 0);
    let folder = running.deployment.folder().to_owned();
    let replica = &mut running.deployment.replicas[0];
    replica.environment.clear();
    replica.start();
    assert!(replica.ends_within(Duration::from_secs(20)).await, "it started on a ledger that lost entries");
    let said = replica.said();
    let held = said.split("the database holds ").nth(1).unwrap_or_else(|| panic!("{said}"));
    let held: u64 = held.split(' ').next().unwrap().parse().unwrap();
    assert!(said.contains("were checkpointed"), "{said}");
    running.load.abort();
    let account = fs::read_to_string(folder.join("account.jsonl")).unwrap();
    let receipts = account.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lost = receipts.filter(|line| line["receipt"]["log_position"].as_u64().is_some_and(|at| at >= held));
    let lost = lost.count();
    assert!(lost > 0, "nothing was lost, so that the test could not fail");
    json!({ "receipts_of_lost_entries": lost, "refused_to_start": true, "normal_refused": is_refused_with_normal(&folder) })
}

const NORMAL: &str = "import pathlib, sys
file = pathlib.Path(sys.argv[1]); said = file.read_bytes()
assert b'PRAGMA synchronous = full;' in said
file.write_bytes(said.replace(b'PRAGMA synchronous = full;', b'PRAGMA synchronous = 1   ;'))";

/// The program with another word in it than `full`.
fn is_refused_with_normal(folder: &Path) -> bool {
    let changed = folder.join("with-normal");
    fs::copy(program(), &changed).unwrap();
    shell(folder, &format!("python3 -c \"{NORMAL}\" with-normal"));
    for file in ["concordat.db", "concordat.db-wal", "gateway-0/checkpoint.txt"] {
        let _ = fs::remove_file(folder.join(file)); // it begins anew
    }
    let ran = Command::new(&changed)
        .args(["serve", "--config"])
        .arg(folder.join("gateway-0.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(!ran.status.success() && said.contains("does not keep its promises"), "{said}");
    true
}
