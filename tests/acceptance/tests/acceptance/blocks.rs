//! Closed ranges go to an archive, are read back, leave the database, and everything still finds them. The archive is a
//! folder, and an object store that speaks S3: the s3s project's server, which checks signatures, over HTTP.

use std::path::{Path, PathBuf};

use acceptance::World;
use gateway::{
    blocks::{self, BlockSettings, Place},
    config::Settings,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use serde_json::json;
use store::Archive;

const NUMBER: &str = "9732110317";
/// A range of 256 entries, and some.
const QUESTIONS: usize = 135;

fn settings(to: Place) -> BlockSettings {
    BlockSettings {
        to,
        endpoint: None,
        region: None,
        access_key: None,
        secret_key: None,
        trusted: None,
        entries: 256,
        detach_after_days: Some(30),
    }
}

async fn with(change: impl FnOnce(&mut Settings)) -> World {
    let world = World::with_settings(change).await;
    for _ in 0..QUESTIONS {
        world.send(world.prevention(NUMBER)).await;
    }
    world
}

async fn in_folder() -> (World, tempfile::TempDir) {
    let archive = tempfile::tempdir().unwrap();
    let to = Place::Folder(archive.path().to_owned());
    let world = with(|all| all.ledger.blocks = Some(settings(to))).await;
    (world, archive)
}

/// An S3 server on loopback over a folder with one bucket.
async fn s3(folder: &Path) -> String {
    std::fs::create_dir(folder.join("ledger")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    service.set_auth(SimpleAuth::from_single("concordat", "a secret of the test"));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let connections = Builder::new(TokioExecutor::new());
                let _ = connections.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    format!("http://{address}")
}

/// Archives, lets the time pass, and lets the leaves go.
async fn archived(world: &World) {
    let before = world.entries().await;
    let search = json!({ "reference": decision(&before[5..]) });
    let search = || world.act("auditor", "/v1/trail/search", "service-improvement", search.clone());
    let found_before = world.send(search()).await.body["entries"].clone();
    assert!(found_before.as_array().unwrap().len() >= 2, "{found_before}");
    assert_eq!(blocks::work(&world.app).await.unwrap(), 1);
    assert_eq!(blocks::work(&world.app).await.unwrap(), 0, "it is done once");
    assert!(!world.app.store.is_detached(5).await.unwrap(), "it stays for a time");
    world.clock.advance_s(30 * 24 * 3_600);
    assert_eq!(blocks::work(&world.app).await.unwrap(), 1);
    for seq in [1, 5, 255] {
        assert!(world.app.store.is_detached(seq).await.unwrap(), "{seq}");
    }
    assert!(!world.app.store.is_detached(0).await.unwrap(), "the ledger's key stays");
    assert!(!world.app.store.is_detached(256).await.unwrap());
    let moved: Vec<_> =
        world.entries().await.into_iter().filter(|entry| entry.body.kind() == "block_moved").collect();
    assert_eq!(moved.len(), 2, "archiving and detaching are entries");
    // Everything is where it was, byte for byte.
    let after = world.entries().await;
    assert_eq!(after[..before.len()], before[..]);
    world.verify().await;
    assert_eq!(world.send(search()).await.body["entries"], found_before, "search finds them");
    let index = world.app.store.tile("tile/entries/000".parse().unwrap()).await.unwrap().unwrap();
    assert!(index.len() > 256 * 100, "and so do those who read tiles");
    let explained = format!("/v1/decisions/{}/explanation", decision(&before[5..]));
    assert_eq!(
        world.send(world.bare("fire", "GET", &explained, "fire-prevention-targeting")).await.status,
        200
    );
}

fn decision(entries: &[ledger::entry::Entry]) -> String {
    entries.iter().find_map(|entry| entry.body.decision_id()).unwrap().to_owned()
}

#[tokio::test]
async fn a_closed_range_goes_to_a_folder_and_everything_still_finds_it() {
    let (world, archive) = in_folder().await;
    archived(&world).await;
    // What is there are plain tlog-tiles, and Parquet.
    for name in ["tile/entries/000", "tile/0/000", "blocks/0-256.json", "blocks/0-256.parquet"] {
        assert!(archive.path().join(name).exists(), "{name}");
    }
    let table = std::fs::read(archive.path().join("blocks/0-256.parquet")).unwrap();
    assert!(table.starts_with(b"PAR1"));
    // The index is made again from both.
    let folder = world.stop().await;
    for ending in [".trail", ".trail-wal", ".trail-shm"] {
        let _ = std::fs::remove_file(format!("{}/concordat.db{ending}", folder.path().display()));
    }
    let to = Place::Folder(archive.path().to_owned());
    let world = World::start_with(folder, 9_000_000, |all| all.ledger.blocks = Some(settings(to))).await;
    world.clock.advance_s(31 * 24 * 3_600);
    let search = json!({ "reference": decision(&world.entries().await[5..]) });
    let found = world.send(world.act("auditor", "/v1/trail/search", "service-improvement", search)).await;
    assert!(found.body["entries"].as_array().unwrap().len() >= 2, "{found:?}");
    // The command line too, by the same settings; without them it says what is missing.
    let file = world.folder.path().join("concordat.toml");
    let verify = || {
        let mut command = std::process::Command::new(acceptance::program());
        command.args(["audit", "verify", "--config"]).arg(&file).output().unwrap()
    };
    let refused = verify();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("[ledger.blocks]"), "{refused:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let named = format!("{text}\n[ledger.blocks]\nto = \"{}\"\nentries = 256\n", archive.path().display());
    std::fs::write(&file, named).unwrap();
    let verified = verify();
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test]
async fn a_closed_range_goes_to_an_object_store() {
    let (keys, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let endpoint = s3(bucket.path()).await;
    let key = |name: &str, text: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        Some(path)
    };
    let to = BlockSettings {
        endpoint: Some(endpoint.clone()),
        access_key: key("id", "concordat"),
        secret_key: key("secret", "a secret of the test"),
        ..settings("s3://ledger/of/concordat".to_owned().into())
    };
    let world = with(|all| all.ledger.blocks = Some(to.clone())).await;
    archived(&world).await;
    assert!(bucket.path().join("ledger/of/concordat/tile/entries/000").exists());
    drop(world);
    // With another key it gets nowhere, and removes nothing.
    let wrong = BlockSettings { secret_key: key("wrong", "another secret"), ..to };
    let world = with(|all| all.ledger.blocks = Some(wrong)).await;
    let refused = format!("{:#}", blocks::work(&world.app).await.unwrap_err());
    assert!(refused.contains("entries 0 to 256"), "{refused}");
    assert!(world.app.store.blocks().await.unwrap().is_empty());
}

fn flip(path: PathBuf) {
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_back_is_not_removed() {
    for name in ["tile/entries/000", "tile/0/000", "blocks/0-256.json", "blocks/0-256.parquet"] {
        let (world, archive) = in_folder().await;
        assert_eq!(blocks::work(&world.app).await.unwrap(), 1);
        flip(archive.path().join(name));
        world.clock.advance_s(30 * 24 * 3_600);
        let refused = blocks::work(&world.app).await.unwrap_err();
        assert!(!world.app.store.is_detached(5).await.unwrap(), "{name}: {refused:#}");
        world.verify().await;
    }
    // What somebody else put there first is not overwritten.
    let (world, archive) = in_folder().await;
    std::fs::create_dir_all(archive.path().join("tile/entries")).unwrap();
    std::fs::write(archive.path().join("tile/entries/000"), "something else").unwrap();
    let refused = format!("{:#}", blocks::work(&world.app).await.unwrap_err());
    assert!(refused.contains("never overwritten"), "{refused}");
    assert_eq!(std::fs::read(archive.path().join("tile/entries/000")).unwrap(), b"something else");
}

#[tokio::test]
async fn an_archive_that_changed_later_is_noticed_and_says_nothing_wrong() {
    let (world, archive) = in_folder().await;
    archived(&world).await;
    flip(archive.path().join("tile/entries/000"));
    let reader = Archive::open(&world.settings.ledger.database, blocks::source(&world.settings).unwrap())
        .await
        .unwrap();
    let mut faults = 0;
    for seq in 1..256 {
        match reader.leaves(seq, 1).await {
            Ok(leaves) => assert!(!leaves[0].bytes.is_empty()),
            Err(error) => {
                assert!(error.to_string().contains("archive"), "{error}");
                faults += 1;
            }
        }
    }
    assert!(faults >= 1);
    // What happens now does not depend on it.
    assert_eq!(world.send(world.prevention(NUMBER)).await.status, 200);
    std::fs::remove_dir_all(archive.path().join("tile")).unwrap();
    assert_eq!(world.send(world.prevention(NUMBER)).await.status, 200);
}
