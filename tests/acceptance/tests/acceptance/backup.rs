//! Drills: a backup is made while the gateway answers, the database is lost, and what is put back is held against what is
//! kept elsewhere.

use std::path::Path;

use acceptance::World;
use ledger::{checkpoint::Checkpoint, note::NoteSigner};
use reqwest::StatusCode;
use serde_json::{Value, json};

const NUMBER: &str = "9732110317";

struct Ran {
    ok: bool,
    out: String,
    err: String,
}

fn run(folder: &Path, verb: &[&str]) -> Ran {
    let mut command = std::process::Command::new(acceptance::program());
    let done = command.args(verb).arg("--config").arg(folder.join("concordat.toml")).output().unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    Ran { ok: done.status.success(), out, err }
}

fn check(folder: &Path, more: &[&str]) -> (bool, Value) {
    let ran = run(folder, &[&["restore", "check", "--json"], more].concat());
    let found = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{} {}", ran.out, ran.err));
    (ran.ok, found)
}

/// Changes a database file from another process, and says how many rows it changed.
fn changed(database: &Path, statement: &str) -> u64 {
    let code = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2]).rowcount); c.commit(); c.close()";
    let mut python = std::process::Command::new("python3");
    let done = python.args(["-c", code]).arg(database).arg(statement).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().parse().unwrap()
}

fn sql(database: &Path, statement: &str) {
    assert_eq!(changed(database, statement), 1);
}

/// The database is gone, and the backup's takes its place.
fn put_back(folder: &Path, backup: &Path) {
    for ending in ["", "-wal", "-shm", ".trail", ".trail-wal", ".trail-shm"] {
        let _ = std::fs::remove_file(format!("{}/concordat.db{ending}", folder.display()));
    }
    std::fs::copy(backup.join("concordat.db"), folder.join("concordat.db")).unwrap();
}

/// A world, a backup of it that was made while it answered, and the answers before and meanwhile.
async fn backed_up() -> (World, tempfile::TempDir, Vec<Value>) {
    let world = World::new().await;
    assert_eq!(world.send(world.consent("SWR-2041")).await.status, StatusCode::CREATED);
    let mut answers = vec![world.send(world.referral("SWR-2041")).await.body];
    let to = tempfile::tempdir().unwrap();
    let (folder, into) = (world.folder.path().to_owned(), to.path().join("of-today"));
    let copying =
        tokio::task::spawn_blocking(move || run(&folder, &["backup", "--to", &into.display().to_string()]));
    while !copying.is_finished() {
        answers.push(world.send(world.prevention(NUMBER)).await.body);
    }
    let ran = copying.await.unwrap();
    assert!(ran.ok && ran.out.contains("read back and verified"), "{} {}", ran.out, ran.err);
    (world, to, answers)
}

#[tokio::test]
async fn a_backup_that_has_everything_is_shown_to_and_is_gone_on_with() {
    let (world, to, _) = backed_up().await;
    let folder = world.stop().await;
    // The last backup, of a gateway at rest.
    let backup = to.path().join("at-rest");
    let ran = run(folder.path(), &["backup", "--to", &backup.display().to_string()]);
    assert!(ran.ok, "{}", ran.err);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(backup.join("concordat.db")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    put_back(folder.path(), &backup);
    let (whole, found) = check(folder.path(), &[]);
    assert!(whole, "{found}");
    assert_eq!(
        (&found["checkpoints"], &found["faults"], &found["entries_lost"]),
        (&json!(2), &json!([]), &json!(0))
    );
    let world = World::start(folder, 3_000_000).await;
    // The consent is still there.
    let again = world.send(world.referral("SWR-2041")).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    let notes = gateway::audit_reads::folder(&world.settings.ledger.beside());
    gateway::audit_reads::take_in(&world.app, &notes).await.unwrap();
    let read =
        world.entries().await.into_iter().any(
            |entry| matches!(entry.body, ledger::entry::Body::AuditRead { what, .. } if what == "backup"),
        );
    assert!(read, "making a backup is an entry");
    world.verify().await;
}

#[tokio::test]
async fn what_a_backup_lacks_is_named_by_what_others_keep() {
    let (world, to, mut answers) = backed_up().await;
    let later = world.send(world.prevention(NUMBER)).await;
    let lost =
        later.body["receipt"]["decision_id"].as_str().unwrap_or_else(|| panic!("{later:?}")).to_owned();
    answers.push(later.body);
    let folder = world.stop().await;
    let kept = folder.path().join("kept.json");
    std::fs::write(&kept, serde_json::to_string(&answers).unwrap()).unwrap();
    let receipts = ["--receipts", &kept.display().to_string()].map(str::to_owned);
    let receipts: Vec<_> = receipts.iter().map(String::as_str).collect();
    let (whole, found) = check(folder.path(), &receipts);
    assert!(whole, "before the loss: {found}");
    assert_eq!(found["receipts"], json!(answers.len()));
    // A receipt whose own checkpoint, signed with the ledger's key, is of another history over as many entries.
    let seed = gateway::config::read_keys(&folder.path().join("ledger-signing.key")).unwrap();
    let settings = gateway::config::load(&folder.path().join("concordat.toml")).unwrap();
    let forked = |size: u64| {
        let signer = NoteSigner::from_seed(&settings.ledger.origin, &seed[0]);
        let over = Checkpoint { origin: settings.ledger.origin.clone(), size, root: [7; 32] };
        let mut answer = answers[0].clone();
        answer["receipt"]["checkpoint"] = over.sign_with(&[signer]).into();
        let file = folder.path().join("forked.json");
        std::fs::write(&file, answer.to_string()).unwrap();
        check(folder.path(), &["--receipts", &file.display().to_string()])
    };
    let (whole, found) = forked(found["entries"].as_u64().unwrap());
    assert!(!whole && found["faults"].to_string().contains("the checkpoint in the receipt of"), "{found}");
    let (whole, found) = forked(1);
    assert!(!whole && found["faults"].to_string().contains("does not cover its entry"), "{found}");
    assert_eq!(found["decisions_lost"], json!([]), "a false receipt is no loss");
    // One that says that it is of another decision.
    let of_release = answers.iter().find(|answer| answer["receipt"]["record_salt"].is_string()).unwrap();
    let mut edited = of_release.clone();
    edited["receipt"]["decision_id"] = "dec_00000000000000000000000000000000".into();
    let file = folder.path().join("edited.json");
    std::fs::write(&file, edited.to_string()).unwrap();
    let (whole, found) = check(folder.path(), &["--receipts", &file.display().to_string()]);
    assert!(!whole && found["faults"].to_string().contains("the receipt was changed"), "{found}");

    put_back(folder.path(), &to.path().join("of-today"));
    let (whole, found) = check(folder.path(), &receipts);
    assert!(!whole);
    assert!(found["entries_lost"].as_u64().unwrap() > 0, "{found}");
    assert!(found["decisions_lost"].as_array().unwrap().contains(&json!(lost)), "{found}");
    assert_eq!(
        found["receipts"].as_u64().unwrap() + found["decisions_lost"].as_array().unwrap().len() as u64,
        answers.len() as u64,
        "each is one or the other"
    );
    // Nor does it help to put the copy back along with the database: the one that was synced says more.
    let synced = folder.path().join("checkpoint.txt.synced");
    let newer = std::fs::read(folder.path().join("checkpoint.txt")).unwrap();
    assert!(run(folder.path(), &["audit", "checkpoint", "--write"]).ok);
    let (whole, found) = check(folder.path(), &[]);
    assert!(whole, "the operator has said that this is the ledger: {found}");
    std::fs::write(&synced, newer).unwrap();
    let (whole, found) = check(folder.path(), &[]);
    assert!(!whole && found["entries_lost"].as_u64().unwrap() > 0, "{found}");
    let ran = run(folder.path(), &["serve"]);
    assert!(!ran.ok && ran.err.contains("were checkpointed"), "{}{}", ran.out, ran.err);
    // Without the copies, a partner's receipt is enough to notice; without either, nothing is said to be in order.
    std::fs::remove_file(folder.path().join("checkpoint.txt")).unwrap();
    std::fs::remove_file(&synced).unwrap();
    let (whole, found) = check(folder.path(), &receipts);
    assert!(!whole && found["decisions_lost"].as_array().unwrap().contains(&json!(lost)), "{found}");
    let ran = run(folder.path(), &["restore", "check"]);
    assert!(!ran.ok && ran.err.contains("nothing to hold the database against"), "{}", ran.err);
}

#[tokio::test]
async fn a_backup_that_was_changed_or_not_finished_is_refused() {
    let (world, to, _) = backed_up().await;
    let folder = world.stop().await;
    let backup = to.path().join("of-today");
    let named = backup.display().to_string();
    let ran = run(folder.path(), &["backup", "--to", &named]);
    assert!(!ran.ok && ran.err.contains("is not empty"), "{}", ran.err);
    let manifest = std::fs::read_to_string(backup.join("backup.json")).unwrap();
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    let ran = run(folder.path(), &["restore", "check", "--backup", &named]);
    assert!(!ran.ok && ran.err.contains("was not finished"), "{}", ran.err);
    std::fs::write(backup.join("backup.json"), manifest).unwrap();
    // An entry that says something else, in the file itself.
    sql(
        &backup.join("concordat.db"),
        "update ledger_entry set leaf = cast(replace(cast(leaf as text), 'gmca', 'gmcb') as blob) where seq = (select min(seq) from ledger_entry where kind = 'intent')",
    );
    let ran = run(folder.path(), &["restore", "check", "--backup", &named]);
    assert!(!ran.ok && ran.err.contains("is not the file that was backed up"), "{}", ran.err);
    // Put back all the same, it is found out by the tree.
    put_back(folder.path(), &backup);
    acceptance::lose_checkpoints(folder.path());
    let head = tempfile::NamedTempFile::new().unwrap();
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(backup.join("backup.json")).unwrap()).unwrap();
    std::fs::write(head.path(), manifest["checkpoint"].as_str().unwrap()).unwrap();
    let (whole, found) = check(folder.path(), &["--checkpoint", &head.path().display().to_string()]);
    assert!(!whole && found["faults"].as_array().unwrap().len() == 1, "{found}");
}

#[tokio::test]
async fn the_wrong_keys_and_other_ledgers_are_told_apart_from_loss() {
    let (world, ..) = backed_up().await;
    let another = World::new().await;
    let stranger = another.send(another.prevention(NUMBER)).await.body;
    let foreign = another.app.store.head().await.unwrap().checkpoint;
    let folder = world.stop().await;
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let receipts = path("stranger.json", &stranger.to_string());
    let (whole, found) = check(folder.path(), &["--receipts", &receipts]);
    assert!(
        !whole && found["faults"][0].as_str().unwrap().contains("is not signed by this ledger"),
        "{found}"
    );
    assert_eq!(found["entries_lost"], 0, "another ledger's word is no loss");
    let checkpoint = path("foreign.txt", &foreign);
    let (whole, found) = check(folder.path(), &["--checkpoint", &checkpoint]);
    assert!(
        !whole && found["faults"][0].as_str().unwrap().contains("is no checkpoint of this ledger"),
        "{found}"
    );
    for (file, words) in [
        ("lookup.key", "the look-up key is not the one"),
        ("wrapping.key", "people's keys are wrapped"),
        ("ledger-signing.key", "signing key file lacks"),
    ] {
        let file = folder.path().join(file);
        let kept = std::fs::read(&file).unwrap();
        std::fs::write(&file, "5a".repeat(32)).unwrap();
        let (whole, found) = check(folder.path(), &[]);
        assert!(!whole && found["faults"][0].as_str().unwrap().contains(words), "{found}");
        std::fs::write(&file, kept).unwrap();
    }
}

#[tokio::test]
async fn a_newer_programs_database_is_refused_and_the_schema_is_told() {
    let world = World::new().await;
    let ran = run(world.folder.path(), &["migrate", "status"]);
    assert!(ran.ok && ran.out.contains("0001  applied  ledger"), "{} {}", ran.out, ran.err);
    let database = world.settings.ledger.database.clone();
    let ran = run(world.folder.path(), &["migrate"]);
    match database {
        store::Database::File(_) => {
            assert!(!ran.ok && ran.err.contains("another process is using"), "{}", ran.err)
        }
        // Beside running gateways: what is added they do not see.
        store::Database::Server(_) => {
            assert!(ran.ok && ran.out.contains("up to date"), "{} {}", ran.out, ran.err)
        }
    }
    let folder = world.stop().await;
    let ran = run(folder.path(), &["migrate"]);
    assert!(ran.ok && ran.out.contains("up to date"), "{} {}", ran.out, ran.err);
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 select 9999, 'of tomorrow', success, checksum, 0 from _sqlx_migrations where version = 1";
    assert_eq!(store::scratch::edit(&database, newer).await, 1);
    for verb in [["migrate"].as_slice(), &["migrate", "status"], &["serve"], &["restore", "check"]] {
        let ran = run(folder.path(), verb);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!ran.ok && said.contains("newer program"), "{verb:?}: {said}");
    }
    // One that says that programs of today may go on with it.
    let step = "insert into schema_step (version, runs_beside) values (9999, 1)";
    assert_eq!(store::scratch::edit(&database, step).await, 1);
    for verb in [["migrate"].as_slice(), &["migrate", "status"]] {
        let ran = run(folder.path(), verb);
        assert!(ran.ok, "{verb:?}: {}{}", ran.out, ran.err);
    }
    let world = World::start(folder, 1_000).await;
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
}

/// What no gateway could start or go on with, although every entry is there.
#[tokio::test]
async fn what_a_restored_database_lacks_of_its_schema_is_named() {
    let (world, _to, _answers) = backed_up().await;
    let database = world.settings.ledger.database.clone();
    let folder = world.stop().await;
    let (whole, found) = check(folder.path(), &[]);
    assert!(whole, "{found}");
    for (damage, words) in [
        ("DROP TABLE console_session", "the database lacks console_session."),
        (
            "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2",
            "migration 2 began and did not end",
        ),
        ("DELETE FROM _sqlx_migrations WHERE version = 2", "later migrations, and not migration 2"),
    ] {
        store::scratch::edit(&database, damage).await;
        let (whole, found) = check(folder.path(), &[]);
        assert!(!whole && found["faults"].to_string().contains(words), "{damage}: {found}");
        let ran = run(folder.path(), &["serve"]);
        assert!(!ran.ok && ran.err.contains(words), "{damage}: {}{}", ran.out, ran.err);
    }
    let ran = run(folder.path(), &["migrate", "status"]);
    assert!(
        !ran.ok && ran.out.contains("0002  forgotten") && ran.err.contains("was deleted"),
        "{}{}",
        ran.out,
        ran.err
    );
}

/// What can go missing beside the entries, which are all there, each with what says so.
const DAMAGES: [(&str, &str); 29] = [
    ("DELETE FROM objection", "is about an objection that is not in the database"),
    ("UPDATE objection SET status = 'withdrawn'", "an objection ("),
    ("UPDATE objection SET recipients = '[\"london-fire-brigade\"]'", "an objection ("),
    ("UPDATE consent SET status = 'given', ended_us = NULL WHERE status = 'withdrawn'", "a consent ("),
    // Which of a yes and a no is the later one is told by their times.
    ("UPDATE consent SET ended_us = given_us WHERE status = 'withdrawn'", "a consent ("),
    ("UPDATE consent SET ended_us = NULL WHERE status = 'withdrawn'", "a consent ("),
    ("UPDATE consent SET given_us = 1900000000000000 WHERE status = 'given'", "a consent ("),
    ("UPDATE ledger_node SET hash = zeroblob(32)", "the tree beside the entries"),
    ("UPDATE consent SET subject = (SELECT subject FROM objection)", "a consent ("),
    ("UPDATE consent SET expires_us = 1 WHERE status = 'given'", "a consent ("),
    (
        r#"UPDATE consent SET shown = '{"agreement":"a","version":1,"flow":"f","digest":"","provider":"p","items":[],"retain_days":1,"onward_sharing":true}'"#,
        "a consent (",
    ),
    ("DELETE FROM consent WHERE status = 'given'", "is about a consent that is not in the database"),
    (
        "INSERT INTO consent (id, subject, consent_type, status, controller, recipients, purposes, given_us, recorded_by,
            recorded_us, details) SELECT 'x', subject, consent_type, status, controller, recipients, purposes, given_us,
            recorded_by, recorded_us, details FROM consent WHERE status = 'given'",
        "the database has a consent (x) that no entry is about",
    ),
    ("UPDATE subject_fact SET ended_us = NULL", "a relationship, grant or emergency ("),
    ("UPDATE subject_fact SET body = replace(body, 'TRF-SW-77', 'TRF-SW-78')", "a relationship, grant or emergency ("),
    ("DELETE FROM subject_identifier WHERE pseudonym = (SELECT subject FROM objection)", "no identifier leads to"),
    ("UPDATE subject SET person_group = pseudonym WHERE person_group <> pseudonym", "are one person by the entries"),
    ("UPDATE subject SET restricted = 0 WHERE restricted = 1", "a person is restricted, and the database does not"),
    ("UPDATE subject SET deceased = 0 WHERE deceased = 1", "a person has died, and the database does not"),
    ("UPDATE policy_set SET revision = revision - 1", "the policies in force are not those"),
    ("UPDATE policy_agreement SET status = 'suspended' WHERE agreement = 'gm-fire-prevention-over-65s'", "is not in force as entry"),
    (
        "UPDATE policy_archive SET files = replace(files, 'retain_days', 'retain_dayz')
            WHERE revision = (SELECT max(revision) FROM policy_archive)",
        "of the policies is not kept as the ledger announced it",
    ),
    ("UPDATE agreement SET policy_file = NULL", "the agreement is not kept as it is in force"),
    ("UPDATE agreement SET revision = revision - 1", "an agreement ("),
    ("UPDATE agreement_version SET terms = replace(terms, 'person.family_name', 'person.home')", "a version of an agreement ("),
    ("DELETE FROM agreement_signature WHERE role = 'siro'", "is about a signature that is not in the database"),
    ("UPDATE agreement_officer SET person = 'TRF-SW-77' WHERE role = 'siro'", "an office for agreements ("),
    ("UPDATE legal_hold SET lifted_us = 1", "is about a legal hold that is not in the database"),
    ("UPDATE event_visibility SET state = 'visible', until_us = NULL, ground = NULL", "a decision on what a person is told ("),
];

#[tokio::test]
async fn what_a_database_lost_beside_its_entries_is_named() {
    let world = crate::agreements::in_force().await;
    let person = ("nhs-number", NUMBER);
    let sent = async |request| {
        let answer = world.send(request).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer.body
    };
    let consent = sent(world.consent("SWR-2041")).await;
    // Known by either identifier, and by the record the same person.
    sent(world.prevention(NUMBER)).await;
    let referred = sent(world.referral("SWR-2041")).await;
    let withheld = json!({
        "decision_id": referred["receipt"]["decision_id"], "visibility": "withheld", "until": "2026-12-23T12:00:00Z",
        "ground": "crime",
    });
    sent(world.act("council", "/v1/subject-access/visibility", "direct-care", withheld)).await;
    let withdraw = format!("/v1/consents/{}/withdraw", consent["id"].as_str().unwrap());
    sent(world.bare("council", "POST", &withdraw, "safe-and-well-referral")).await;
    sent(world.consent("SWR-2042")).await;
    sent(world.objection(NUMBER)).await;
    let claim = json!({ "kind": "self-claimed", "until": "2026-11-23T20:00:00Z", "reason": "Duty call, case opened." });
    let claimed = sent(world.post("council", "/v1/relationships", "direct-care", person, claim)).await;
    let end = format!("/v1/relationships/{}/end", claimed["id"].as_str().unwrap());
    sent(world.bare("council", "POST", &end, "direct-care")).await;
    let reason = json!({ "reason": "Claim TRF-LEGAL-2026-14, letter before action" });
    sent(world.post("council", "/v1/holds", "direct-care", person, reason)).await;
    for number in ["9000000025", "9000000009"] {
        let refused = world.send(world.prevention(number)).await;
        assert_eq!(refused.code(), "no-record-available", "{number}: {refused:?}");
    }
    world.verify().await;
    let folder = world.stop().await;
    let (whole, found) = check(folder.path(), &[]);
    assert!(whole, "{found}");
    let file = folder.path().join("concordat.db");
    let kept = tempfile::tempdir().unwrap();
    std::fs::copy(&file, kept.path().join("concordat.db")).unwrap();
    for (damage, said) in DAMAGES {
        assert!(changed(&file, damage) > 0, "it changes nothing: {damage}");
        let (whole, found) = check(folder.path(), &[]);
        let faults = found["faults"].as_array().unwrap();
        assert!(
            !whole && faults.iter().any(|fault| fault.as_str().unwrap().contains(said)),
            "{damage}: {found}"
        );
        assert!(!found.to_string().contains(NUMBER), "it names nobody");
        put_back(folder.path(), kept.path());
    }
    let (whole, found) = check(folder.path(), &[]);
    assert!(whole, "{found}");
}
