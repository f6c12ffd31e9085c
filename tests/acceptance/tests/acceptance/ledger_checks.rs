//! The ledger as a whole: tampering is noticed at start, and nothing personal is in it.

use acceptance::World;
use clap::Parser as _;
use gateway::{cli, config, serve};

async fn restarted(world: World, tamper: &[&'static str]) -> Result<(), String> {
    let folder = world.stop().await;
    let settings = config::load(&folder.path().join("concordat.toml")).unwrap();
    for statement in tamper {
        assert!(store::scratch::edit(&settings.ledger.database, statement).await > 0, "the edit was made");
    }
    serve::app(&settings).await.map(drop).map_err(|error| format!("{error:#}"))
}

async fn with_a_few_entries() -> World {
    let world = World::new().await;
    for number in ["9732110317", "9733162043", "9990000239"] {
        world.send(world.prevention(number)).await;
    }
    world
}

#[tokio::test]
async fn an_untouched_database_starts_again() {
    assert_eq!(restarted(with_a_few_entries().await, &[]).await, Ok(()));
}

#[tokio::test]
async fn a_truncated_database_does_not_start() {
    let world = with_a_few_entries().await;
    let said =
        restarted(world, &["DELETE FROM ledger_entry WHERE seq = (SELECT max(seq) FROM ledger_entry)"]).await;
    assert!(said.clone().unwrap_err().contains("the ledger's head says"), "{said:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_database_does_not_start() {
    let world = with_a_few_entries().await;
    let folder = world.stop().await;
    let database = folder.path().join("concordat.db");
    let older = folder.path().join("older.db");
    let backup = "import sqlite3, sys; s = sqlite3.connect(sys.argv[1]); d = sqlite3.connect(sys.argv[2]); s.backup(d); d.close()";
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(
            std::process::Command::new("python3")
                .args(["-c", backup])
                .arg(from)
                .arg(to)
                .status()
                .unwrap()
                .success()
        );
    };
    copy(&database, &older);
    let world = World::start(folder, 1_000).await;
    world.send(world.prevention("9732110317")).await;
    let folder = world.stop().await;
    for leftover in ["concordat.db-wal", "concordat.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(leftover));
    }
    std::fs::copy(&older, &database).unwrap();
    let settings = config::load(&folder.path().join("concordat.toml")).unwrap();
    let said = serve::app(&settings).await.map(drop).map_err(|error| format!("{error:#}")).unwrap_err();
    assert!(said.contains("it was truncated or is an older copy"), "{said}");
}

#[tokio::test]
async fn a_rewritten_tree_does_not_start() {
    let world = with_a_few_entries().await;
    let said = restarted(
        world,
        &["UPDATE ledger_node SET hash = (SELECT hash FROM ledger_node WHERE level = 0 AND position = 0) WHERE level = (SELECT max(level) FROM ledger_node)"],
    )
    .await;
    assert!(said.unwrap_err().contains("does not match its tree"));
}

#[tokio::test]
async fn two_processes_on_one_file_are_refused_and_two_on_one_server_are_not() {
    let world = World::new().await;
    let second = serve::app(&world.settings).await.map(drop).map_err(|error| format!("{error:#}"));
    match world.settings.ledger.database {
        store::Database::File(_) => assert!(second.unwrap_err().contains("another process is using")),
        store::Database::Server(_) => assert_eq!(second, Ok(())),
    }
}

#[tokio::test]
async fn a_ledger_exported_as_tiles_or_lines_verifies_alone() {
    let folder = with_a_few_entries().await.stop().await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (config, tiles, lines) = (at("concordat.toml"), at("tiles"), at("ledger.ndjson"));
    let audit = async |arguments: &[&str]| {
        let arguments = ["concordat", "audit"].iter().chain(arguments);
        cli::run(cli::Arguments::parse_from(arguments)).await.map_err(|error| format!("{error:#}"))
    };
    let to_tiles = ["export", "--config", &config, "--format", "tiles", "--to", &tiles];
    audit(&to_tiles).await.unwrap();
    audit(&["export", "--config", &config, "--out", &lines]).await.unwrap();
    assert!(audit(&to_tiles).await.unwrap_err().contains("is not empty"));
    let nowhere = audit(&["export", "--config", &config, "--format", "tiles"]).await;
    assert!(nowhere.unwrap_err().contains("--to"));
    let roots = [&tiles, &lines].map(|path| {
        let request = verify::Request {
            path: path.into(),
            older: vec![at("checkpoint.txt").into()],
            ..verify::Request::default()
        };
        verify::verify(&request, &mut |_, _| ()).unwrap().report.root
    });
    assert_eq!(roots[0], roots[1]);
    for path in [&tiles, &lines] {
        audit(&["verify", "--export", path, "--checkpoint", &at("checkpoint.txt")]).await.unwrap();
    }
    let bundle = std::fs::read_dir(folder.path().join("tiles/tile/entries/000.p")).unwrap().next().unwrap();
    let bundle = bundle.unwrap().path();
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let said = audit(&["verify", "--export", &tiles]).await.unwrap_err();
    assert!(said.contains("entry 0 is the first that is not in order"), "{said}");
}

#[tokio::test]
async fn no_leaf_and_no_table_names_anybody() {
    let world = World::new().await;
    let values = acceptance::personal_values();
    assert!(
        values.iter().any(|value| value == "9732110317") && values.iter().any(|value| value == "Sanderson")
    );
    world.send(world.prevention("9732110317")).await;
    world.send(world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9736363023"))).await;
    world.send(world.objection("9736363015")).await;
    world.send(world.prevention("9736363015")).await;
    world.send(world.consent("SWR-2044")).await;
    world.send(world.referral("SWR-2044")).await;
    world.verify().await;
    let leaves = world.app.store.leaves(0, 1_000).await.unwrap();
    let database = world.settings.ledger.database.clone();
    let folder = world.stop().await;
    let mut everything: Vec<u8> = leaves.into_iter().flat_map(|leaf| leaf.bytes).collect();
    everything.extend(store::scratch::bytes(&database));
    everything.extend(std::fs::read(folder.path().join("checkpoint.txt")).unwrap());
    let text = String::from_utf8_lossy(&everything);
    let found: Vec<_> = values.iter().filter(|value| text.contains(value.as_str())).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn an_export_from_the_command_line_is_an_entry_and_one_in_part_verifies() {
    let world = with_a_few_entries().await;
    let folder = world.stop().await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = at("concordat.toml");
    let export = async |arguments: &[&str]| {
        let verb = ["concordat", "audit", "export", "--config", config.as_str()];
        cli::run(cli::Arguments::parse_from(verb.iter().chain(arguments)))
            .await
            .map_err(|error| format!("{error:#}"))
    };
    for format in ["csv", "parquet", "fhir-audit-event", "ocsf"] {
        let out = at(format);
        export(&["--format", format, "--out", &out]).await.unwrap();
        assert!(std::fs::metadata(&out).unwrap().len() > 100, "{format}");
        let filtered = export(&["--format", format, "--kind", "release", "--out", &out]).await.unwrap_err();
        assert!(filtered.contains("needs the format ndjson"), "{filtered}");
    }
    let part = at("part");
    let asked =
        ["--organisation", "gmca", "--from", "2026-11-01T00:00:00Z", "--kind", "release", "--out", &part];
    export(&asked).await.unwrap();
    let request = verify::Request { path: part.into(), ..verify::Request::default() };
    let report = verify::verify(&request, &mut |_, _| ()).unwrap().report;
    assert_eq!(report.kinds.keys().copied().collect::<Vec<_>>(), ["log_opened", "release"]);
    assert!(report.withheld > 0 && !report.order_checked);
    // Where that it was read cannot be noted, nothing is exported.
    let notes = folder.path().join("concordat.reads");
    let count = std::fs::read_dir(&notes).unwrap().count();
    std::fs::rename(&notes, folder.path().join("kept")).unwrap();
    std::fs::write(&notes, "in the way").unwrap();
    let unnoted = export(&["--out", &at("unnoted")]).await.unwrap_err();
    assert!(unnoted.contains("nothing is exported unless that is recorded"), "{unnoted}");
    assert!(!folder.path().join("unnoted").exists());
    std::fs::remove_file(&notes).unwrap();
    std::fs::rename(folder.path().join("kept"), &notes).unwrap();
    std::fs::write(notes.join("broken.json"), "{}").unwrap();
    // The gateway takes the notes in.
    let world = World::start(folder, 1_000).await;
    let folder = gateway::audit_reads::folder(&world.settings.ledger.beside());
    let reads = async || {
        let entries = world.entries().await.into_iter();
        entries
            .filter_map(|entry| match entry.body {
                ledger::entry::Body::AuditRead { what, by_operator, .. } => Some((what, by_operator)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    for _ in 0..200 {
        if reads().await.len() >= count && folder.join("broken.refused").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let reads = reads().await;
    assert_eq!(reads.len(), count, "{reads:?}");
    assert!(
        reads
            .iter()
            .any(|(what, _)| what
                == "export ndjson organisation gmca, kind release, from 2026-11-01T00:00:00Z")
    );
    assert!(reads.iter().all(|(_, by)| !by.is_empty()));
    assert!(folder.join("broken.refused").exists());
}
