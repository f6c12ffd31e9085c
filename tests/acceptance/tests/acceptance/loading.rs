//! `concordat load`: what it writes is what recording one by one writes, and nothing is served over half of it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use acceptance::World;
use gateway::{
    clock::{Clock as _, SystemClock},
    config, serve,
};
use ledger::entry::Body;
use tempfile::TempDir;

/// A deployment that has run and is stopped.
async fn stopped() -> TempDir {
    World::new().await.stop().await
}

/// The deployment again, its clock at the time that the program went by: the ledger's time does not go back.
async fn again(folder: TempDir, seed: u64) -> World {
    let world = World::start(folder, seed).await;
    let behind_s = SystemClock.now().duration_since(world.clock.now()).as_secs();
    world.clock.advance_s(u64::try_from(behind_s + 1).unwrap_or(0));
    world
}

/// What the program said, and whether it went well.
fn load(folder: &Path, arguments: &[&str]) -> (bool, String) {
    load_dying(folder, arguments, "")
}

/// As [`load`], ending at this place.
fn load_dying(folder: &Path, arguments: &[&str], place: &str) -> (bool, String) {
    load_for("trafford-council", folder, arguments, place)
}

fn load_for(organisation: &str, folder: &Path, arguments: &[&str], place: &str) -> (bool, String) {
    let armed = folder.join("die-at");
    std::fs::write(&armed, place).unwrap();
    let mut command = std::process::Command::new(acceptance::program());
    command.arg("load").arg("--config").arg(folder.join("concordat.toml"));
    command.args(["--organisation", organisation]).args(arguments);
    let ran = command.env("CONCORDAT_DIE_AT", &armed).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(said).unwrap())
}

/// Why a gateway does not start over it.
async fn refused_start(folder: &Path) -> String {
    let settings = config::load(&folder.join("concordat.toml")).unwrap();
    for _ in 0..100 {
        match serve::app(&settings).await {
            Ok(_) => return "it starts".to_owned(),
            // A server notices only after a moment that a process was killed.
            Err(error) if format!("{error:#}").contains("another process is using") => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => return format!("{error:#}"),
        }
    }
    "another process is said to use it, for ever".to_owned()
}

fn row(reference: &str, status: &str) -> String {
    let row = serde_json::json!({
        "subject": { "scheme": "local:trafford-council", "value": reference },
        "consent_type": "confidentiality-consent", "status": status, "controller": "trafford-council",
        "recipients": ["gmca"], "purposes": ["safe-and-well-referral"], "data_categories": ["needs"],
        "given_by": { "who": "person" }, "given_at": "2026-10-12T10:00:00Z", "method": "in-person",
        "notice_version": "SW-2",
    });
    format!("{row}\n")
}

/// Three thousand people, two of whom the council knows by these references, two thousand with a consent.
fn file(folder: &Path) -> PathBuf {
    let mut text = row("SWR-2041", "given") + &row("SWR-2042", "given") + &row("SWR-2042", "refused");
    for number in 0..3_000 {
        if number % 3 == 0 {
            let subject = format!("{{\"scheme\":\"local:trafford-council\",\"value\":\"OLD-{number}\"}}");
            writeln!(text, "{{\"subject\":{subject}}}").unwrap();
        } else {
            text += &row(&format!("OLD-{number}"), "given");
        }
    }
    let path = folder.join("people.ndjson");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_file_is_loaded_verified_and_decides() {
    let folder = stopped().await;
    let path = file(folder.path());
    let (well, said) = load(folder.path(), &["--people", path.to_str().unwrap()]);
    assert!(
        well && said.contains("3003 rows loaded: 3002 people who were not known, 2003 consents"),
        "{said}"
    );

    let world = again(folder, 1 << 32).await;
    let report = world.verify().await;
    assert_eq!((report.kinds["consent_recorded"], report.kinds["load_moved"]), (2_003, 2));
    let permitted = world.send(world.referral("SWR-2041")).await;
    assert_eq!(permitted.status, 200, "{permitted:?}");
    assert_eq!(world.send(world.referral("SWR-2042")).await.status, 404, "a refusal outweighs a consent");
    assert_eq!(world.send(world.referral("SWR-2045")).await.status, 404, "nobody consented");
    // It reads as one that was recorded over the API, opened with the person's key.
    let entries = world.entries().await;
    let mut ids = entries.iter().filter_map(|entry| match &entry.body {
        Body::ConsentRecorded { consent_id, .. } => Some(consent_id.clone()),
        _ => None,
    });
    let id = ids.next_back().unwrap();
    let path = format!("/v1/consents/{id}");
    let read = world.send(world.bare("council", "GET", &path, "safe-and-well-referral")).await;
    assert_eq!((read.status.as_u16(), read.body["details"]["notice_version"].as_str()), (200, Some("SW-2")));
    assert_eq!(read.body["given_by"]["who"], "person");
    let withdraw = format!("{path}/withdraw");
    let withdrawn = world.send(world.bare("council", "POST", &withdraw, "safe-and-well-referral")).await;
    assert_eq!(withdrawn.status, 200, "{withdrawn:?}");
    world.verify().await;

    // Beside a gateway nothing is loaded, and what was loaded before is not loaded again.
    let settings = world.folder.path().join("people.ndjson");
    let the_same = ["--people", settings.to_str().unwrap()];
    let (well, said) = load(world.folder.path(), &the_same);
    assert!(!well && said.contains("another process is using"), "{said}");
    let folder = world.stop().await;
    let (well, said) = load(folder.path(), &the_same);
    assert!(!well && said.contains("the same was loaded before"), "{said}");
    let (well, said) = load(folder.path(), &["--generate", "5"]);
    assert!(!well && said.contains("people who were not made up"), "{said}");
}

#[tokio::test]
async fn columns_say_the_same_as_lines() {
    let folder = stopped().await;
    let path = folder.path().join("people.csv");
    let text = "subject_scheme,subject_value,consent_type,status,controller,recipients,purposes,data_categories,given_by,given_at,method,notice_version\n\
        local:trafford-council,SWR-2041,confidentiality-consent,given,trafford-council,gmca,safe-and-well-referral,needs;home,person,2026-10-12T10:00:00Z,in-person,SW-2\n\
        nhs-number,9990000018,,,,,,,,,,\n";
    std::fs::write(&path, text).unwrap();
    let (well, said) = load(folder.path(), &["--people", path.to_str().unwrap()]);
    assert!(well && said.contains("2 rows loaded: 2 people who were not known, 1 consents"), "{said}");
    let world = again(folder, 1 << 32).await;
    assert_eq!(world.send(world.referral("SWR-2041")).await.status, 200);
    world.verify().await;
}

#[tokio::test]
async fn a_file_with_a_fault_is_told_row_by_row_and_nothing_of_it_is_loaded() {
    let folder = stopped().await;
    let good = row("SWR-2041", "given");
    let faults = [
        (good.replace("gmca", "nobody-knows"), "recipients: name 1 to 20 registered organisations"),
        (good.replace("SWR-2041", "SECRET 99"), "subject: a local reference is 1 to 40"),
        (good.replace("\"given\"", "\"withdrawn\""), "recorded as given, refused or requested"),
        (good.replace("notice_version", "notice_SECRET"), "a member that is not known here"),
        (good.replace("2026-10-12T10:00:00Z", "9999-01-01T00:00:00Z"), "not in the future"),
        ("{\"subject\":{\"scheme\":\"nhs-number\",\"value\":\"9434765SECRET\"}}\n".to_owned(), "ten digits"),
        ("not SECRET json\n".to_owned(), "not usable json"),
        (format!("{{\"subject\":\"{}\"}}\n", "SECRET".repeat(20_000)), "at most 64 KiB"),
    ];
    let mut text = good.clone();
    for (fault, _) in &faults {
        text += fault;
    }
    let path = folder.path().join("people.ndjson");
    std::fs::write(&path, text + &good).unwrap();
    let (well, said) = load(folder.path(), &["--people", path.to_str().unwrap()]);
    assert!(!well && said.contains("8 of 10 rows are not in order; nothing was loaded"), "{said}");
    for (line, (_, words)) in (2..).zip(&faults) {
        let told = said.lines().find(|told| told.contains(&format!("people.ndjson:{line}: ")));
        assert!(told.is_some_and(|told| told.contains(words)), "line {line} {words}: {said}");
    }
    assert!(!said.contains("SECRET"), "{said}");
    for (name, text) in [("people.txt", ""), ("people.csv", "nhs\n9990000018\n"), ("empty.ndjson", "\n")] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let (well, said) = load(folder.path(), &["--people", path.to_str().unwrap()]);
        assert!(!well, "{name}: {said}");
    }
    let world = again(folder, 1 << 32).await;
    let report = world.verify().await;
    assert!(!report.kinds.contains_key("load_moved") && !report.kinds.contains_key("consent_recorded"));
}

#[tokio::test]
async fn a_file_has_no_more_about_one_person_than_anybody_may_record_in_a_day() {
    let folder = stopped().await;
    let path = folder.path().join("people.ndjson");
    let check = |yes: usize, no: usize| {
        let text = row("SWR-2041", "given").repeat(yes) + &row("SWR-2041", "refused").repeat(no);
        std::fs::write(&path, text + &row("SWR-2042", "given")).unwrap();
        load(folder.path(), &["--people", path.to_str().unwrap(), "--check"])
    };
    let (well, said) = check(200, 400);
    assert!(well, "a no has room of its own: {said}");
    let (well, said) = check(201, 0);
    assert!(!well && said.contains("people.ndjson:201: too many consents about one person"), "{said}");
    let (well, said) = check(200, 401);
    assert!(
        !well && said.contains("1 of 602 rows are not in order") && said.contains("ndjson:601: "),
        "{said}"
    );
}

const PEOPLE: &[&str] = &["--generate", "25000", "--consents", "2000"];

#[tokio::test]
async fn an_interrupted_load_is_gone_on_with_and_nothing_is_served_before() {
    let folder = stopped().await;
    // Killed before the first portion is committed, and after it.
    for place in ["load-written", "load-committed"] {
        let (well, said) = load_dying(folder.path(), PEOPLE, place);
        assert!(!well, "{place}: {said}");
        let said = refused_start(folder.path()).await;
        assert!(said.contains("a load that began at") && said.contains("is unfinished"), "{said}");
    }
    let (well, said) = load(folder.path(), &["--generate", "25000", "--consents", "2001"]);
    assert!(!well && said.contains("another load is unfinished"), "{said}");
    let (well, said) = load(folder.path(), PEOPLE);
    assert!(well && said.contains("interrupted after 20000 rows and goes on"), "{said}");
    assert!(said.contains("25000 rows loaded: 25000 people who were not known, 2000 consents"), "{said}");
    // More of them may follow; the same may not.
    let (well, said) = load(folder.path(), &["--generate", "10", "--consents", "10", "--from", "24995"]);
    assert!(well && said.contains("5 people who were not known, 10 consents"), "{said}");
    let world = again(folder, 1 << 32).await;
    let report = world.verify().await;
    assert_eq!((report.kinds["consent_recorded"], report.kinds["load_moved"]), (2_010, 4));
    let head = world.app.store.head().await.unwrap();
    assert_eq!(head.size, report.entries);
}

#[tokio::test]
async fn an_abandoned_load_has_no_consent_in_effect() {
    let folder = stopped().await;
    let path = file(folder.path());
    let arguments = ["--people", path.to_str().unwrap()];
    let (well, said) = load_dying(folder.path(), &arguments, "load-committed");
    assert!(!well, "{said}");
    // Both are parties to every consent of it.
    for other in [&arguments[..], &["--abandon"]] {
        let (well, said) = load_for("gmca", folder.path(), other, "");
        assert!(!well && said.contains("begun for trafford-council"), "{said}");
    }
    let (well, said) = load(folder.path(), &["--abandon"]);
    assert!(well && said.contains("2002 consents that it had recorded are invalidated"), "{said}");
    let (well, said) = load(folder.path(), &["--abandon"]);
    assert!(!well && said.contains("there is nothing to abandon"), "{said}");
    let world = again(folder, 1 << 32).await;
    assert_eq!(world.send(world.referral("SWR-2041")).await.status, 404, "its consent was invalidated");
    let report = world.verify().await;
    assert_eq!(report.kinds["consent_status_changed"], 2_002);
    // What was abandoned may be loaded after all.
    let folder = world.stop().await;
    let (well, said) = load(folder.path(), &arguments);
    assert!(well && said.contains("0 people who were not known, 2003 consents"), "{said}");
    let world = again(folder, 2 << 32).await;
    assert_eq!(world.send(world.referral("SWR-2041")).await.status, 200);
    world.verify().await;
}
