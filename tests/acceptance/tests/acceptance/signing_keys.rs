//! The ledger's signing key is replaced: announced, used beside the old one, handed over. Nobody who verifies is lost on
//! the way, and nobody gets in.

use std::path::{Path, PathBuf};

use acceptance::{World, unused_port};
use gateway::receipts::{Outcome, check, receipts_in};
use ledger::{
    checkpoint::Checkpoint,
    note::{NoteSigner, NoteVerifier},
};
use serde_json::json;
use tempfile::TempDir;
use verify::{Request, VerifyError};

use crate::{
    trail::Over,
    witnesses::{ask, asked_seldom, begin, log_key, one, serve},
};

const NUMBER: &str = "9732110317";

fn run(folder: &Path, verb: &[&str]) -> Result<String, String> {
    let mut command = std::process::Command::new(acceptance::program());
    let done = command.args(verb).arg("--config").arg(folder.join("concordat.toml")).output().unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    if done.status.success() { Ok(out) } else { Err(err) }
}

/// Starts again over the same folder, with the same witness.
async fn again(folder: TempDir, seed: u64, witness: (&str, u16)) -> World {
    let world = World::start_with(folder, seed, |settings| {
        settings.ledger.witnessing = Some(asked_seldom(1, vec![one("gmca", witness.0, witness.1)]));
    })
    .await;
    // The program wrote by the machine's clock, which the test's must not be behind.
    let behind = world.app.store.latest().duration_since(gateway::clock::Clock::now(&world.clock)).as_secs();
    world.clock.advance_s(u64::try_from(behind).unwrap_or(0));
    world
}

async fn newest(world: &World) -> String {
    world.app.store.head().await.unwrap().checkpoint
}

fn verified(folder: &Path, key: &str, older: &[PathBuf]) -> Result<usize, String> {
    let tiles = tempfile::tempdir().unwrap();
    let to = tiles.path().join("tiles").display().to_string();
    run(folder, &["audit", "export", "--format", "tiles", "--to", &to]).unwrap();
    let request =
        Request { path: to.into(), key: Some(key.to_owned()), older: older.to_vec(), ..Request::default() };
    match verify::verify(&request, &mut |_, _| ()) {
        Ok(verified) => Ok(verified.report.handovers),
        Err(VerifyError::Fault(fault)) => Err(fault.code.to_owned()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_key_takes_over_and_everybody_who_has_either_follows() {
    let witness_folder = tempfile::tempdir().unwrap();
    let (witness, port) = (begin(witness_folder.path(), "one", 7), unused_port());
    let with_witness = (witness.as_str(), port);
    let world = again(World::new().await.stop().await, 0, with_witness).await;
    let old = log_key(&world.settings);
    let running = serve(witness_folder.path(), "one", &old, port).await;
    let before = vec![world.send(world.prevention(NUMBER)).await.body];
    assert!(ask(&world).await);
    let older = world.folder.path().join("older-checkpoint");
    std::fs::write(&older, newest(&world).await).unwrap();
    let refused = run(world.folder.path(), &["signing-key", "announce"]).unwrap_err();
    assert!(refused.contains("another process is using"), "{refused}");

    let folder = world.stop().await;
    let file = folder.path().join("ledger-signing.key");
    let old_file = std::fs::read(&file).unwrap();
    let refused = run(folder.path(), &["signing-key", "retire"]).unwrap_err();
    assert!(refused.contains("announce the next one first"), "{refused}");
    let said = run(folder.path(), &["signing-key", "announce"]).unwrap();
    let new = said.lines().next().unwrap().to_owned();
    let refused = run(folder.path(), &["signing-key", "announce"]).unwrap_err();
    assert!(refused.contains("retire the older one first"), "{refused}");
    let both_file = std::fs::read(&file).unwrap();
    // What is interrupted between the ledger and the file is found at the start, and can be mended.
    for (wrong, why) in [
        (old_file.clone(), "which the ledger says is in use"),
        ([both_file.clone(), vec![b'a'; 64]].concat(), "is none of this ledger's"),
    ] {
        std::fs::write(&file, wrong).unwrap();
        let refused = run(folder.path(), &["signing-key", "retire", "--reason", "compromised"]).unwrap_err();
        assert!(
            refused.contains(why) || refused.contains("one key is in use") || refused.contains("announce"),
            "{refused}"
        );
        let settings = gateway::config::load(&folder.path().join("concordat.toml")).unwrap();
        let started = gateway::serve::app(&settings).await.map(drop).unwrap_err();
        assert!(format!("{started:#}").contains(why), "{started:#}");
    }
    std::fs::write(&file, both_file).unwrap();

    // Both sign; either is enough for everybody.
    let world = again(folder, 1_000_000, with_witness).await;
    let during = vec![world.send(world.prevention(NUMBER)).await.body];
    for key in [&old, &new] {
        let key = NoteVerifier::parse(key).unwrap();
        assert!(Checkpoint::open(&newest(&world).await, &key).is_ok());
    }
    assert!(ask(&world).await, "the witness knows the old key alone");
    let receipts = receipts_in(&json!([before, during]));
    let held = |keys: Vec<String>| {
        let keys: Vec<_> = keys.iter().map(|key| NoteVerifier::parse(key).unwrap()).collect();
        (keys, receipts.clone())
    };
    let (keys, stored) = held(vec![old.clone()]);
    let Outcome { checked, newest: kept, keys: followed } =
        check(&stored, &keys, &Over(&world), None).await.unwrap();
    assert!(checked.iter().all(|one| one.wrong.is_none()), "{checked:?}");
    assert_eq!(followed.len(), 1, "nobody has to follow yet");
    for key in [&old, &new] {
        assert_eq!(verified(world.folder.path(), key, std::slice::from_ref(&older)), Ok(0), "{key}");
    }

    // Not before everybody has had time, unless it has to be.
    let folder = world.stop().await;
    let refused = run(folder.path(), &["signing-key", "retire"]).unwrap_err();
    assert!(refused.contains("both sign for 30 days"), "{refused}");
    let two = std::fs::read(&file).unwrap();
    run(folder.path(), &["signing-key", "retire", "--reason", "compromised"]).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    let one_file = std::fs::read(&file).unwrap();
    std::fs::write(&file, two).unwrap();
    let settings = gateway::config::load(&folder.path().join("concordat.toml")).unwrap();
    let started = gateway::serve::app(&settings).await.map(drop).unwrap_err();
    assert!(format!("{started:#}").contains("which the ledger has retired"), "{started:#}");
    std::fs::write(&file, one_file).unwrap();
    let listed = run(folder.path(), &["signing-key", "list"]).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().next().unwrap().contains("retired by entry"), "{listed}");

    let world = again(folder, 2_000_000, with_witness).await;
    let after = world.send(world.prevention(NUMBER)).await.body;
    assert!(Checkpoint::open(&newest(&world).await, &NoteVerifier::parse(&old).unwrap()).is_err());
    // A partner with the old key follows the handover; with a stranger's, not.
    let receipts = receipts_in(&json!([before, during, after]));
    let checked = check(&receipts, &keys, &Over(&world), Some(&kept)).await.unwrap();
    assert!(checked.checked.iter().all(|one| one.wrong.is_none()), "{:?}", checked.checked);
    let followed: Vec<_> = checked.keys.iter().map(ToString::to_string).collect();
    assert_eq!(followed, [old.clone(), new.clone()]);
    let stranger = NoteSigner::from_seed(keys[0].name(), &[9; 32]).verifier_key();
    let strangers = [NoteVerifier::parse(&stranger).unwrap()];
    assert!(check(&receipts, &strangers, &Over(&world), None).await.is_err());
    // A witness needs to be told.
    assert!(!ask(&world).await);
    drop(running);
    let _running = serve(witness_folder.path(), "one", &format!("{old} {new}"), port).await;
    assert!(ask(&world).await);
    // And so do auditors, who can read it in the ledger.
    assert_eq!(verified(world.folder.path(), &old, std::slice::from_ref(&older)), Ok(1));
    assert_eq!(verified(world.folder.path(), &new, std::slice::from_ref(&older)), Ok(0));
    assert_eq!(verified(world.folder.path(), &stranger, &[]), Err("checkpoint".to_owned()));
    run(world.folder.path(), &["audit", "verify"]).unwrap();
    world.verify().await;
}
