//! The power fails: what a process had not synced is gone, or some of it, sector by sector (`power.c`, `power.py`).

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, Running, compiled, preloaded, running, shell};
use crate::deployment::{Replica, Store, program};

const SOURCE: &str = include_str!("../../power.c");

/// A gateway over a file, of whose writing a journal is kept; once [`LYING`] is there, files with a name in `lies` (each
/// between colons) are said to be synced and are not.
async fn journalled(libraries: &Path, lies: &str) -> Running {
    let library = compiled(libraries, "power", SOURCE);
    running(Store::File, 1, |_, replica: &mut Replica| {
        preloaded(replica, &library.display().to_string());
        let folder = replica.folder();
        let more = [
            ("POWER_FOLDER", folder.clone()),
            ("POWER_JOURNAL", folder.join("power.journal")),
            ("POWER_LYING", folder.join(LYING)),
            ("POWER_LIES", lies.into()),
        ];
        replica.environment.extend(more.map(|(name, value)| (name.to_owned(), value.display().to_string())));
    })
    .await
}

/// Says that the disk begins to lie.
const LYING: &str = "lying";

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
    let mut running = journalled(libraries.path(), "").await;
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

/// The negative control: a disk that says of the database that it is synced, and it is not. Entries that partners have
/// receipts for are gone. The copy of the checkpoint is on a disk that keeps its word, and at most a second old: the gateway
/// does not start. If the same disk had the copy, which went back too, it starts, and only whoever has a later checkpoint,
/// such as a receipt's, can tell. Nor does a gateway start that is set to `synchronous = NORMAL`.
pub async fn fails_and_the_disk_lied(_: Length) -> Value {
    let mut without = lied_to(DATABASE).await;
    let replica = &mut without.deployment.replicas[0];
    replica.start();
    assert!(replica.ends_within(Duration::from_secs(20)).await, "it started on a ledger that lost entries");
    let said = replica.said();
    let held = said.split("the database holds ").nth(1).unwrap_or_else(|| panic!("{said}"));
    let held: u64 = held.split(' ').next().unwrap().parse().unwrap();
    assert!(said.contains("were checkpointed"), "{said}");
    without.load.abort();
    let folder = without.deployment.folder();
    let places = receipts(folder).into_iter().filter_map(|receipt| receipt["log_position"].as_u64());
    let lost = places.filter(|at| *at >= held).count();
    assert!(lost > 0, "nothing was lost, so that the test could not fail");
    let normal_refused = is_refused_with_normal(folder);
    json!({
        "receipts_of_lost_entries": lost, "refused_to_start": true, "normal_refused": normal_refused,
        "receipt_contradicts": the_copy_went_back_too().await,
    })
}

/// The database and its log.
const DATABASE: &str = ":concordat.db:concordat.db-wal:";
/// These, and the folder of the copy of the checkpoint: no name in it is the one that was written.
const DATABASE_AND_COPY: &str = ":concordat.db:concordat.db-wal:gateway-0:";

/// A gateway's files after the power failed; since more than a second the disk had lied about these.
async fn lied_to(lies: &str) -> Running {
    let libraries = tempfile::tempdir().unwrap();
    let mut running = journalled(libraries.path(), lies).await;
    running.answers_within(Duration::from_secs(20)).await;
    fs::write(running.deployment.folder().join(LYING), "").unwrap();
    // The copy is forced to its disk at most once a second.
    sleep(Duration::from_millis(1500)).await;
    running.answers_within(Duration::from_secs(20)).await;
    power_fails(&mut running, 0);
    running.deployment.replicas[0].environment.clear();
    running
}

async fn the_copy_went_back_too() -> bool {
    let mut running = lied_to(DATABASE_AND_COPY).await;
    running.load.abort();
    let newest = receipts(running.deployment.folder())
        .into_iter()
        .max_by_key(|receipt| receipt["log_position"].as_u64());
    let replica = &mut running.deployment.replicas[0];
    replica.start();
    assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
    let checkpoint = running.deployment.folder().join("receipt.checkpoint");
    fs::write(&checkpoint, newest.unwrap()["checkpoint"].as_str().unwrap()).unwrap();
    let in_order = running.deployment.run(&["audit", "verify"]);
    assert!(in_order.status.success(), "{}", String::from_utf8_lossy(&in_order.stderr));
    let held = running.deployment.run(&["audit", "verify", "--checkpoint", checkpoint.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&held.stdout).into_owned() + &String::from_utf8_lossy(&held.stderr);
    assert!(!held.status.success() && said.contains("the end was cut off"), "{said}");
    true
}

/// Receipts that partners have.
fn receipts(folder: &Path) -> Vec<Value> {
    let account = fs::read_to_string(folder.join("account.jsonl")).unwrap();
    let lines = account.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["receipt"].clone()).filter(|receipt| receipt["log_position"].is_u64()).collect()
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
