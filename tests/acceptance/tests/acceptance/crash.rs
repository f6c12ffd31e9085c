//! Dying in the middle: a caller that breaks off, and a process that is killed.

use std::{path::Path, process::Stdio, time::Duration};

use acceptance::World;
use ledger::entry::Body;
use upstreams::faults::{Fault, nhs_number};

async fn eventually(world: &World, holds: impl Fn(&[ledger::entry::Entry]) -> bool) -> bool {
    for _ in 0..100 {
        if holds(&world.entries().await) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

fn abandoned(entries: &[ledger::entry::Entry]) -> bool {
    entries.iter().any(|entry| matches!(&entry.body, Body::Closure { outcome, .. } if outcome == "abandoned"))
}

/// Sends a request, and gives up once the record holder was asked.
async fn break_off(world: &World, request: acceptance::Request) {
    let asked = world.asked["nhs"].asked().len();
    let asking = async {
        while world.asked["nhs"].asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = world.send(request) => panic!("answered, though the record holder takes a minute: {answer:?}"),
        () = asking => {}
    }
}

#[tokio::test]
async fn a_caller_that_breaks_off_leaves_a_closed_question() {
    let world = World::new().await;
    break_off(&world, world.prevention(nhs_number(Fault::Slow))).await;
    assert!(eventually(&world, abandoned).await);
    assert!(world.verify().await.open_intents.is_empty());
}

/// Otherwise the places of later entries would tell whether a decoy or the person was asked for.
#[tokio::test]
async fn a_caller_that_breaks_off_a_refusal_leaves_the_same_two_entries() {
    let world = World::new().await;
    let catalogue = world.folder.path().join("policies/catalogue/nhs-pds.toml");
    let text = std::fs::read_to_string(&catalogue).unwrap();
    std::fs::write(&catalogue, text.replace(upstreams::UNKNOWN_NHS_NUMBER, nhs_number(Fault::Slow))).unwrap();
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    world.send(world.objection("9732110317")).await;
    break_off(&world, world.prevention("9732110317")).await;
    assert!(eventually(&world, abandoned).await);
    assert_eq!(world.last_kinds(2).await, ["refusal", "closure"]);
    world.verify().await;
}

/// Something changes while the record holder is thinking: what commits first wins.
async fn meanwhile<F: Future<Output = ()>>(world: &World, change: F) -> acceptance::Answer {
    let asked = world.asked["council"].asked().len();
    let ((), answer) = tokio::join!(
        async {
            while world.asked["council"].asked().len() == asked {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            change.await;
        },
        world.send(world.referral("FAULT-PAUSING")),
    );
    answer
}

#[tokio::test]
async fn a_withdrawal_while_the_record_is_on_its_way_stops_it() {
    let world = World::new().await;
    let consent = world.send(world.consent("FAULT-PAUSING")).await;
    let undisturbed = meanwhile(&world, async {}).await;
    assert_eq!(undisturbed.status, 200, "the same without a withdrawal: {undisturbed:?}");
    let path = format!("/v1/consents/{}/withdraw", consent.body["id"].as_str().unwrap());
    let withdraw = async {
        let withdrawn = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
        assert_eq!(withdrawn.status, 200);
    };
    let answer = meanwhile(&world, withdraw).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "no-record-available"));
    assert_eq!(world.last_kinds(3).await, ["intent", "consent_withdrawn", "closure"]);
    assert_eq!(world.verify().await.kinds["release"], 1);
}

#[tokio::test]
async fn an_objection_and_a_suspension_on_the_way_stop_it_too() {
    let world = World::new().await;
    world.send(world.consent("FAULT-PAUSING")).await;
    let agreement = world.folder.path().join("policies/agreements/gm-safe-and-well-referral.toml");
    let text = std::fs::read_to_string(&agreement).unwrap();
    let suspend = async {
        std::fs::write(&agreement, text.replace("status = \"active\"", "status = \"suspended\"")).unwrap();
        gateway::serve::reload_policies(
            &world.app,
            &world.settings.policies,
            gateway::policies::Put::IfChanged,
        )
        .await;
    };
    let answer = meanwhile(&world, suspend).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "policy-changed"));
    std::fs::write(&agreement, &text).unwrap();
    gateway::serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::IfChanged)
        .await;
    let object = async {
        let mut objection = world.objection(nhs_number(Fault::Pausing));
        objection.body.as_mut().unwrap()["purposes"] = serde_json::json!(["safe-and-well-referral"]);
        assert_eq!(world.send(objection).await.status, 201);
    };
    let answer = meanwhile(&world, object).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "no-record-available"));
    assert_eq!(world.verify().await.kinds.get("release"), None);
}

/// The whole program, killed outright while questions are open, again and again over one database. Every record
/// that a client received is in the ledger as released, and every question ends.
#[tokio::test]
async fn a_killed_process_releases_nothing_unrecorded() {
    let program = acceptance::program();
    let state = tempfile::tempdir().unwrap();
    let (port, _held) = free_run_of_ports().await;
    let mut received = Vec::new();
    for round in 0..6_u64 {
        let mut demo = start(&program, state.path(), port).await;
        let clients: Vec<_> =
            (0..6).map(|_| tokio::spawn(ask(program.clone(), state.path().to_owned(), port))).collect();
        tokio::time::sleep(Duration::from_millis(100 + 60 * round)).await;
        demo.kill().await.unwrap(); // SIGKILL
        for client in clients {
            received.extend(client.await.unwrap());
        }
    }
    // One start more closes what was open; then nothing is killed, so that the test itself sees a release.
    let mut demo = start(&program, state.path(), port).await;
    let last = ask(program.clone(), state.path().to_owned(), port).await;
    assert!(last.is_some(), "the gateway works after all those kills");
    received.extend(last);
    check(&program, state.path(), &received);
    demo.kill().await.unwrap();
}

/// The ledger verifies and leaves no question open, names nobody, and has every record that a client received as released.
fn check(program: &Path, state: &Path, received: &[String]) {
    let config = state.join("concordat.toml");
    let export = state.join("ledger.ndjson");
    let audit = |arguments: &[&std::ffi::OsStr]| {
        std::process::Command::new(program).arg("audit").args(arguments).output().unwrap()
    };
    let exported =
        audit(&["export".as_ref(), "--config".as_ref(), config.as_ref(), "--out".as_ref(), export.as_ref()]);
    assert!(exported.status.success(), "{exported:?}");
    let verified = audit(&["verify".as_ref(), "--config".as_ref(), config.as_ref()]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && !said.contains("still open"), "{said} {verified:?}");
    let leaves = std::fs::read(&export).unwrap();
    // Nobody is named in the program's own log, nor in what it exports.
    let said = format!(
        "{}{}",
        std::fs::read_to_string(state.join("gateway.log")).unwrap(),
        String::from_utf8_lossy(&leaves)
    );
    assert!(said.contains("answered"));
    for value in acceptance::personal_values() {
        assert!(!said.contains(&value), "{value}");
    }
    let entries: Vec<_> = leaves
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| ledger::entry::Entry::decode(line).unwrap())
        .collect();
    let released: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::Release { decision_id, .. } => Some(decision_id.as_str()),
            _ => None,
        })
        .collect();
    for decision_id in received {
        assert!(
            released.contains(&decision_id.as_str()),
            "{decision_id} was received and is not in the ledger"
        );
    }
}

/// Six ports that follow each other, and what keeps other tests from taking the same: the run's last port, held
/// for as long as the test goes on. Each test is a process of its own, so nothing inside the process could say it.
async fn free_run_of_ports() -> (u16, tokio::net::TcpListener) {
    for port in (20_000..30_000).step_by(10) {
        let Ok(held) = tokio::net::TcpListener::bind(("127.0.0.1", port + 9)).await else { continue };
        let mut bound = Vec::new();
        for next in port..port + 6 {
            bound.extend(tokio::net::TcpListener::bind(("127.0.0.1", next)).await);
        }
        if bound.len() == 6 {
            return (port, held);
        }
    }
    panic!("no free ports");
}

async fn start(program: &Path, state: &Path, port: u16) -> tokio::process::Child {
    start_with(program, state, port, |_| {}).await
}

async fn start_with(
    program: &Path,
    state: &Path,
    port: u16,
    change: impl Fn(&mut tokio::process::Command),
) -> tokio::process::Child {
    let policies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut said = String::new();
    for _ in 0..20 {
        let mut command = tokio::process::Command::new(program);
        change(&mut command);
        let mut demo = command
            .args(["demo", "--no-history", "--port", &port.to_string(), "--state"])
            .arg(state)
            .arg("--policies")
            .arg(&policies)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(state.join("demo.err")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // The simulators of the round before may still be letting go of their ports: then it ends, and is tried again.
        while demo.try_wait().unwrap().is_none() {
            let probe = tokio::net::TcpStream::connect(("127.0.0.1", port + 3)).await.is_ok()
                && std::fs::read_to_string(state.join("gateway.log"))
                    .is_ok_and(|log| log.contains("serving"))
                && answers(program, state, port).await;
            if probe {
                return demo;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        said = std::fs::read_to_string(state.join("demo.err")).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the demonstration did not start: {said}");
}

async fn answers(program: &Path, state: &Path, port: u16) -> bool {
    let state = state.display();
    let _ = program;
    let command = format!("curl -K {state}/fire.curl https://localhost:{port}/healthz");
    let ran = tokio::process::Command::new("sh").arg("-c").arg(command).output().await.unwrap();
    String::from_utf8_lossy(&ran.stdout).contains("ok")
}

/// One question; the decision if a record came back.
async fn ask(program: std::path::PathBuf, state: std::path::PathBuf, port: u16) -> Option<String> {
    let (program, state) = (program.display(), state.display());
    let body = "{\"subject\":{\"scheme\":\"nhs-number\",\"value\":\"9732110317\"},\"provider\":\"nhs-pds\",\"purpose\":\"fire-prevention-targeting\",\"case_reference\":\"K-1\"}";
    let command = format!(
        "{program} token --partner {state}/fire.partner.toml --purpose fire-prevention-targeting --case K-1 --record nhs-number=9732110317 \
         | curl -K {state}/fire.curl -H @- https://localhost:{port}/v1/disclosures -d '{body}'"
    );
    let ran = tokio::process::Command::new("sh").arg("-c").arg(command).output().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&ran.stdout).ok()?;
    answer.get("record")?;
    Some(answer["receipt"]["decision_id"].as_str().unwrap().to_owned())
}

/// Every place at which the process can die on the way of a question, and in the writer of the ledger.
const PLACES: [&str; 10] = [
    "intent-recorded",
    "record-fetched",
    "before-release",
    "release-recorded",
    "before-entries",
    "entries-inserted",
    "before-commit",
    "committed",
    "copy-written",
    "copied",
];

/// The program dies at every step, over one database; after each death it starts again, and everything that a client ever
/// received is in the ledger.
#[tokio::test]
async fn a_process_that_dies_at_any_step_releases_nothing_unrecorded() {
    let program = acceptance::program();
    let state = tempfile::tempdir().unwrap();
    let armed = state.path().join("die-at");
    let (port, _held) = free_run_of_ports().await;
    let mut received = Vec::new();
    for place in PLACES {
        let mut demo = start_with(&program, state.path(), port, |command| {
            command.env("CONCORDAT_DIE_AT", &armed);
        })
        .await;
        received.extend(ask(program.clone(), state.path().to_owned(), port).await);
        std::fs::write(&armed, place).unwrap();
        let clients: Vec<_> =
            (0..4).map(|_| tokio::spawn(ask(program.clone(), state.path().to_owned(), port))).collect();
        let died = tokio::time::timeout(Duration::from_secs(30), demo.wait()).await;
        assert!(!died.unwrap_or_else(|_| panic!("{place} was never reached")).unwrap().success(), "{place}");
        for client in clients {
            received.extend(client.await.unwrap());
        }
        std::fs::remove_file(&armed).unwrap();
        let mut demo = start(&program, state.path(), port).await;
        check(&program, state.path(), &received);
        demo.kill().await.unwrap();
    }
    assert!(received.len() >= PLACES.len());
    // The checker finds a record that was received and is not in the ledger.
    let invented = ["dec_00000000000000000000000000000000".to_owned()];
    let found = std::panic::catch_unwind(|| check(&program, state.path(), &invented));
    assert!(found.is_err(), "a release that nobody recorded would be noticed");
}

/// A disk that says it could not keep what was written: nobody is told otherwise, and the process must be started again.
#[tokio::test]
async fn a_disk_that_fails_to_sync_releases_nothing_more() {
    let program = acceptance::program();
    let state = tempfile::tempdir().unwrap();
    let (port, _held) = free_run_of_ports().await;
    let mut demo = start_with(&program, state.path(), port, |command| {
        // fiu-run -x, without its shell script between this test and the process.
        command.env("LD_PRELOAD", "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so");
        command.env("FIU_CTRL_FIFO", state.path().join("fiu"));
        command.env("FIU_ENABLE", "");
    })
    .await;
    assert!(ask(program.clone(), state.path().to_owned(), port).await.is_some(), "it works with a good disk");
    let before = released(&program, state.path());
    let gateway = demo.id().unwrap();
    for point in ["posix/io/sync/fsync", "posix/io/sync/fdatasync"] {
        let failing = std::process::Command::new("fiu-ctrl")
            .args(["-f"])
            .arg(state.path().join("fiu"))
            .args(["-c", &format!("enable name={point}"), &gateway.to_string()])
            .output()
            .unwrap();
        assert!(failing.status.success(), "{failing:?}");
    }
    for _ in 0..3 {
        assert!(ask(program.clone(), state.path().to_owned(), port).await.is_none(), "nothing is released");
    }
    let ready = curl(state.path(), &format!("https://localhost:{port}/readyz")).await;
    assert!(ready.contains("failing"), "{ready}");
    demo.kill().await.unwrap();
    // With a good disk again it starts, checks everything, and goes on.
    let mut demo = start(&program, state.path(), port).await;
    let after = ask(program.clone(), state.path().to_owned(), port).await;
    assert!(after.is_some());
    check(&program, state.path(), &[after.unwrap()]);
    assert!(released(&program, state.path()) > before);
    demo.kill().await.unwrap();
}

fn released(program: &Path, state: &Path) -> usize {
    let verified = std::process::Command::new(program)
        .args(["audit", "verify", "--config"])
        .arg(state.join("concordat.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let line = said.lines().find(|line| line.trim().ends_with(" release"));
    line.map_or(0, |line| line.split_whitespace().next().unwrap().parse().unwrap())
}

async fn curl(state: &Path, url: &str) -> String {
    let command = format!("curl -K {}/fire.curl {url}", state.display());
    let ran = tokio::process::Command::new("sh").arg("-c").arg(command).output().await.unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// SQLite would go on writing to a file that nobody can find any more.
#[tokio::test]
async fn a_database_that_is_removed_or_replaced_while_it_is_used_is_noticed() {
    for end in ["", "-wal"] {
        let world = World::new().await;
        assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
        let file = std::path::PathBuf::from(format!("{}{end}", world.settings.ledger.beside().display()));
        let copy = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, copy).unwrap();
        let answer = world.send(world.prevention("9732110317")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "ledger-unavailable"), "{end}: {answer:?}");
        assert!(!world.app.store.is_writable());
    }
}

/// SQLite would write behind the end of what is left, where the next start does not look.
#[tokio::test]
async fn a_database_that_is_cut_off_while_it_is_used_is_noticed() {
    for end in ["", "-wal"] {
        let world = World::new().await;
        let store::Database::File(file) = &world.settings.ledger.database else { return };
        assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
        // Some of it is in the database, some in the log.
        world.app.store.scrub().await.unwrap();
        assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
        let file = std::fs::File::options().write(true).open(format!("{}{end}", file.display())).unwrap();
        file.set_len(0).unwrap();
        let entry = ledger::entry::Body::HandshakeRefused { reason: "timed-out".to_owned(), count: 1 };
        let submission = store::Submission::of(acceptance::NOW.parse().unwrap(), vec![entry]);
        assert!(world.app.store.commit(submission).await.is_err(), "{end}: it was acknowledged");
        for _ in 0..500 {
            if !world.app.store.is_writable() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(!world.app.store.is_writable(), "{end}");
        let answer = world.send(world.prevention("9732110317")).await;
        assert_eq!(answer.status, 503, "{end}: {answer:?}");
    }
}

/// The copy of the checkpoint tells that a database was put back: for a while it may fail, not for long.
#[tokio::test]
async fn a_checkpoint_copy_that_cannot_be_written_is_put_up_with_for_a_minute() {
    let world = World::new().await;
    let copy = world.settings.ledger.checkpoint_copy.clone();
    std::fs::remove_file(&copy).unwrap();
    std::fs::create_dir(&copy).unwrap();
    std::fs::write(copy.join("in the way"), "").unwrap();
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    assert!(world.app.store.is_writable());
    std::fs::remove_dir_all(&copy).unwrap();
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    assert!(copy.is_file(), "it is written again");
}

#[tokio::test]
async fn a_clock_that_is_set_releases_nothing_until_it_is_right_again() {
    let world = World::new().await;
    world.send(world.objection("9736363015")).await;
    let ready = async || {
        let url = format!("{}/readyz", world.settings.public_url);
        world.client("fire").get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!((world.send(world.prevention("9732110317")).await.status.as_u16(), ready().await), (200, 200));
    world.clock.be_steady(false);
    let mut shapes = Vec::new();
    for number in ["9732110317", "9736363015", "9990000166"] {
        let answer = world.send(world.prevention(number)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "clock-not-steady"));
        shapes.push(answer.shape());
    }
    assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "whoever the person is");
    assert_eq!(ready().await, 503);
    world.clock.be_steady(true);
    assert_eq!((world.send(world.prevention("9732110317")).await.status.as_u16(), ready().await), (200, 200));
    // Set back before the process began: the ledger is ahead of it.
    world.clock.go_back_s(290);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    world.clock.go_back_s(20);
    assert_eq!(
        (world.send(world.prevention("9732110317")).await.code().to_owned(), ready().await),
        ("clock-not-steady".to_owned(), 503)
    );
    world.clock.advance_s(310);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    world.verify().await;
}

/// The real clock of a real process, moved by an hour either way while it runs.
#[tokio::test]
async fn the_machines_clock_is_watched() {
    let program = acceptance::program();
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let library = if Path::new(library).exists() {
        library.to_owned()
    } else {
        let found = std::process::Command::new("sh")
            .args(["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"])
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    };
    let state = tempfile::tempdir().unwrap();
    let time = state.path().join("faketime");
    std::fs::write(&time, "+0").unwrap();
    let (port, _held) = free_run_of_ports().await;
    let mut demo = start_with(&program, state.path(), port, |command| {
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &time);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    })
    .await;
    let ready = async || curl(state.path(), &format!("https://localhost:{port}/readyz")).await;
    assert!(!ready().await.contains("failing"));
    for moved in ["+3600", "-3600"] {
        std::fs::write(&time, moved).unwrap();
        let said = ready().await;
        assert!(said.contains("failing") && said.contains("clock-steady"), "{moved}: {said}");
    }
    std::fs::write(&time, "+0").unwrap();
    assert!(!ready().await.contains("failing"));
    demo.kill().await.unwrap();
}
