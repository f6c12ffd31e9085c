//! The gateway asks witnesses: enough different organisations, alarm, fail-closed, and what a witness notices that nobody
//! here can. The witnesses are the program itself, as processes, and some that lie.

use std::{path::Path, process::Child, sync::Arc, time::Duration};

use acceptance::{World, unused_port};
use axum::{Router, http::StatusCode as Status, response::IntoResponse as _, routing::post};
use gateway::{
    config::Settings,
    witnessed::{WitnessSettings, WitnessingSettings},
};
use ledger::{
    checkpoint::Checkpoint,
    entry::Body,
    note::{Cosigner, NoteSigner, NoteVerifier},
};
use reqwest::StatusCode;

/// A witness that runs until it is dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn log_key(settings: &Settings) -> String {
    let seed = gateway::config::read_key(&settings.ledger.signing_key).unwrap();
    NoteSigner::from_seed(&settings.ledger.origin, &seed).verifier_key()
}

/// Keys and state of a witness, and its public key.
pub(crate) fn begin(folder: &Path, name: &str, seed: u8) -> String {
    let (key, state) = (folder.join(format!("{name}.wkey")), folder.join(format!("{name}.wstate")));
    std::fs::write(&key, format!("{}\n", format!("{seed:02x}").repeat(32))).unwrap();
    let begun = std::process::Command::new(acceptance::program())
        .args(["witness", "begin", "--name", &format!("{name}.example/ledgers"), "--key"])
        .arg(&key)
        .arg("--state")
        .arg(&state)
        .output()
        .unwrap();
    assert!(begun.status.success(), "{begun:?}");
    String::from_utf8(begun.stdout).unwrap().trim().to_owned()
}

pub(crate) async fn serve(folder: &Path, name: &str, logs: &str, port: u16) -> Running {
    let started = std::process::Command::new(acceptance::program())
        .args(["witness", "serve", "--name", &format!("{name}.example/ledgers"), "--key"])
        .arg(folder.join(format!("{name}.wkey")))
        .arg("--state")
        .arg(folder.join(format!("{name}.wstate")))
        .args(logs.split(' ').flat_map(|log| ["--log", log]))
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .stdout(std::process::Stdio::null())
        .spawn();
    let running = Running(started.unwrap());
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return running;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the witness does not come up");
}

pub(crate) fn one(organisation: &str, key: &str, port: u16) -> WitnessSettings {
    WitnessSettings {
        organisation: organisation.parse().unwrap(),
        key: key.to_owned(),
        url: format!("http://127.0.0.1:{port}"),
        trusted: None,
        certificate: None,
        key_file: None,
    }
}

pub(crate) fn asked_seldom(needed: usize, witnesses: Vec<WitnessSettings>) -> WitnessingSettings {
    WitnessingSettings { needed, every_s: 3_600, alarm_after_s: 300, stop_after_s: Some(600), witnesses }
}

pub(crate) async fn ask(world: &World) -> bool {
    world.app.witnessing.as_ref().unwrap().ask(&world.app.store, &world.clock).await.unwrap()
}

async fn ready(world: &World) -> StatusCode {
    world.client("fire").get(format!("{}/readyz", world.settings.public_url)).send().await.unwrap().status()
}

async fn checkpoint(world: &World, path: &str) -> (StatusCode, String) {
    let url = format!("{}/.well-known/audit/{path}", world.settings.public_url);
    let answer = world.client("fire").get(url).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn enough_different_organisations_cosign_and_two_of_one_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three"];
    let keys: Vec<_> = names.iter().zip(1..).map(|(name, seed)| begin(folder.path(), name, seed)).collect();
    let ports = [unused_port(), unused_port(), unused_port()];
    let world = World::with_settings(|settings| {
        let witnesses = vec![
            one("gmca", &keys[0], ports[0]),
            one("nhs-england", &keys[1], ports[1]),
            one("nhs-england", &keys[2], ports[2]),
        ];
        settings.ledger.witnessing = Some(asked_seldom(2, witnesses));
    })
    .await;
    let log = log_key(&world.settings);
    assert!(!ask(&world).await, "nobody is there yet");
    assert_eq!(checkpoint(&world, "checkpoint/witnessed").await.0, StatusCode::NOT_FOUND);
    let mut running = Vec::new();
    for (name, port) in names.iter().zip(ports) {
        running.push(serve(folder.path(), name, &log, port).await);
    }
    assert!(ask(&world).await);
    let (status, note) = checkpoint(&world, "checkpoint/witnessed").await;
    assert_eq!(status, StatusCode::OK);
    let verifiers: Vec<_> = keys.iter().map(|key| NoteVerifier::parse(key).unwrap()).collect();
    let log = NoteVerifier::parse(&log).unwrap();
    let opened = Checkpoint::open_witnessed(&note, &log, &verifiers).unwrap();
    assert_eq!(opened.cosignatures.len(), 3);
    assert_eq!(checkpoint(&world, "checkpoint").await.1, note, "the newest is the witnessed one");
    // Without the first, two are left, and they are one organisation's.
    drop(running.remove(0));
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    assert!(!ask(&world).await);
    assert_eq!(checkpoint(&world, "checkpoint/witnessed").await.1, note, "it stays as it was");
    assert_ne!(checkpoint(&world, "checkpoint").await.1, note);
    // It comes back with its state; one of the others may be missing.
    running.push(serve(folder.path(), "one", &log_key(&world.settings), ports[0]).await);
    drop(running.remove(0));
    assert!(ask(&world).await);
    let (_, later) = checkpoint(&world, "checkpoint/witnessed").await;
    let later = Checkpoint::open_witnessed(&later, &log, &verifiers).unwrap();
    assert!(later.checkpoint.size > opened.checkpoint.size);
    assert_eq!(later.cosignatures.len(), 2);
    // What was witnessed outlives the process.
    let settings = world.settings.ledger.witnessing.clone();
    let restarted = World::start_with(world.stop().await, 1_000_000, |changed| {
        changed.ledger.witnessing = settings;
    })
    .await;
    assert!(restarted.app.witnessing.as_ref().unwrap().newest().is_some());
}

#[tokio::test]
async fn unwitnessed_for_too_long_is_alarmed_then_releases_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let key = begin(folder.path(), "one", 1);
    let port = unused_port();
    let world = World::with_settings(|settings| {
        settings.ledger.witnessing = Some(asked_seldom(1, vec![one("gmca", &key, port)]));
    })
    .await;
    assert_eq!(world.send(world.objection("9736363015")).await.status, StatusCode::CREATED);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    assert_eq!(ready(&world).await, StatusCode::OK);
    world.clock.advance_s(301);
    assert!(!ask(&world).await);
    assert_eq!(ready(&world).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        world.send(world.prevention("9732110317")).await.status,
        StatusCode::OK,
        "alarmed, and not stopped"
    );
    world.clock.advance_s(300);
    let mut shapes = Vec::new();
    for number in ["9732110317", "9736363015", "9000000025", "9990000166"] {
        let stopped = world.send(world.prevention(number)).await;
        assert_eq!((stopped.status, stopped.code()), (StatusCode::SERVICE_UNAVAILABLE, "ledger-unwitnessed"));
        shapes.push(stopped.shape());
    }
    assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "whoever the person is");
    let last = world.entries().await.pop().unwrap().body;
    assert!(matches!(&last, Body::RequestRefused { code, .. } if code == "ledger-unwitnessed"), "{last:?}");
    let _running = serve(folder.path(), "one", &log_key(&world.settings), port).await;
    assert!(ask(&world).await);
    assert_eq!(ready(&world).await, StatusCode::OK);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    world.verify().await;
}

/// A witness that answers the same to everything.
async fn liar(status: u16, answer: String) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    let routes = Router::new().route(
        "/add-checkpoint",
        post(move || async move { (Status::from_u16(status).unwrap(), answer.to_string()).into_response() }),
    );
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    port
}

#[tokio::test]
async fn what_is_no_cosignature_of_this_checkpoint_counts_for_nothing() {
    let witness = Cosigner::from_seed("one.example/ledgers", &[1; 32]);
    let stranger = Cosigner::from_seed("one.example/ledgers", &[2; 32]);
    let elsewhere = "elsewhere.example\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let good_of_another_log = witness.cosign(elsewhere, 1_795_000_000);
    for (status, answer) in [
        (200, String::new()),
        (200, "garbage".to_owned()),
        (200, good_of_another_log.clone()),
        (200, stranger.cosign(elsewhere, 1_795_000_000)),
        (200, "x".repeat(100_000)),
        (200, format!("{good_of_another_log}{good_of_another_log}")),
        (409, "not a number".to_owned()),
        (409, "0".to_owned()),
        (404, String::new()),
        (500, String::new()),
        (302, String::new()),
    ] {
        let port = liar(status, answer.clone()).await;
        let world = World::with_settings(|settings| {
            let key = witness.verifier_key();
            settings.ledger.witnessing = Some(asked_seldom(1, vec![one("gmca", &key, port)]));
        })
        .await;
        assert!(!ask(&world).await, "{status} {answer:.40}");
        let witnessing = world.app.witnessing.as_ref().unwrap();
        assert!(witnessing.newest().is_none());
        assert!(
            witnessing.is_in_order(gateway::clock::Clock::now(&world.clock)),
            "a fault is no contradiction"
        );
    }
    // It says that it has seen more than there is, or something else: that is alarmed at once.
    for (status, answer) in [(409, "999999"), (422, "")] {
        let port = liar(status, answer.to_owned()).await;
        let world = World::with_settings(|settings| {
            let key = witness.verifier_key();
            settings.ledger.witnessing = Some(asked_seldom(1, vec![one("gmca", &key, port)]));
        })
        .await;
        assert!(!ask(&world).await);
        assert_eq!(ready(&world).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(world.send(world.prevention("9732110317")).await.code(), "ledger-unwitnessed");
    }
}

/// A witness that has cosigned more than it is asked about, because another replica asked it meanwhile; then it cosigns.
/// It says when it is asked first, and is told what it has cosigned.
async fn ahead(
    cosigner: Cosigner,
    asked: tokio::sync::oneshot::Sender<()>,
    sizes: tokio::sync::oneshot::Receiver<u64>,
) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let first = Arc::new(tokio::sync::Mutex::new(Some((asked, sizes))));
    let cosigner = Arc::new(cosigner);
    let add = move |body: String| async move {
        if let Some((asked, size)) = first.lock().await.take() {
            asked.send(()).unwrap();
            let size = size.await.unwrap();
            return (Status::CONFLICT, format!("{size}\n")).into_response();
        }
        let note = ledger::witness::AddCheckpoint::parse(&body).unwrap().checkpoint;
        let text = note.rsplit_once("\n\n").unwrap().0;
        cosigner.cosign(&format!("{text}\n"), 1_795_000_000).into_response()
    };
    let routes = Router::new().route("/add-checkpoint", post(add));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    port
}

#[tokio::test]
async fn a_witness_that_another_replica_asked_meanwhile_contradicts_nothing() {
    let witness = Cosigner::from_seed("one.example/ledgers", &[1; 32]);
    let key = witness.verifier_key();
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    let (say, sizes) = tokio::sync::oneshot::channel();
    let port = ahead(witness, asked, sizes).await;
    let world = World::with_settings(|settings| {
        settings.ledger.witnessing = Some(asked_seldom(1, vec![one("gmca", &key, port)]));
    })
    .await;
    let (witnessed, ()) = tokio::join!(ask(&world), async {
        is_asked.await.unwrap();
        assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
        say.send(world.app.store.head().await.unwrap().size).unwrap();
    });
    assert!(witnessed, "what was committed meanwhile is there");
    assert_eq!(ready(&world).await, StatusCode::OK);
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    world.verify().await;
}

#[tokio::test]
async fn an_older_copy_that_is_put_back_with_its_checkpoint_is_noticed_by_the_witness_alone() {
    let folder = tempfile::tempdir().unwrap();
    let key = begin(folder.path(), "one", 1);
    let port = unused_port();
    let witnessing = asked_seldom(1, vec![one("gmca", &key, port)]);
    let of = |settings: &mut Settings| settings.ledger.witnessing = Some(witnessing.clone());
    let world = World::with_settings(of).await;
    let _running = serve(folder.path(), "one", &log_key(&world.settings), port).await;
    assert!(ask(&world).await);
    let database = world.settings.ledger.beside();
    let copy = world.settings.ledger.checkpoint_copy.clone();
    // The one that is synced once a second is not always there yet.
    let files: Vec<_> = [database.clone(), copy.clone(), store::synced_copy(&copy)].into();
    let state = world.stop().await;
    let older: Vec<_> = files.iter().map(|file| std::fs::read(file).ok()).collect();
    let world = World::start_with(state, 1_000_000, of).await;
    assert_eq!(world.send(world.prevention("9732110317")).await.status, StatusCode::OK);
    assert!(ask(&world).await);
    let state = world.stop().await;
    for (file, content) in files.iter().zip(older) {
        match content {
            Some(content) => std::fs::write(file, content).unwrap(),
            None => drop(std::fs::remove_file(file)),
        }
    }
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", database.display()));
    }
    let world = World::start_with(state, 2_000_000, of).await;
    assert_eq!(
        world.send(world.prevention("9732110317")).await.status,
        StatusCode::OK,
        "nothing here can tell"
    );
    assert!(!ask(&world).await);
    assert_eq!(ready(&world).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.send(world.prevention("9732110317")).await.code(), "ledger-unwitnessed");
}

#[tokio::test]
async fn settings_that_promise_more_than_they_keep_do_not_start() {
    let (one_key, other_key) = (
        Cosigner::from_seed("one.example/w", &[1; 32]).verifier_key(),
        Cosigner::from_seed("two.example/w", &[1; 32]).verifier_key(),
    );
    let log = NoteSigner::from_seed("log.example", &[7; 32]).verifier_key();
    let cases = [
        (asked_seldom(2, vec![one("gmca", &one_key, 1)]), "two of one organisation are one"),
        (asked_seldom(0, vec![one("gmca", &one_key, 1)]), "needed is 0"),
        (asked_seldom(1, vec![one("gmca", &log, 1)]), "no witness's key"),
        (
            asked_seldom(1, vec![one("gmca", &one_key, 1), one("nhs-england", &other_key, 2)]),
            "must have one of its own",
        ),
        (
            asked_seldom(
                1,
                vec![WitnessSettings { url: "http://example.org".to_owned(), ..one("gmca", &one_key, 1) }],
            ),
            "must begin with https://",
        ),
    ];
    let world = World::new().await;
    let base = world.settings.clone();
    let _state = world.stop().await;
    for (witnessing, said) in cases {
        let mut settings = base.clone();
        settings.ledger.witnessing = Some(witnessing);
        let refused = format!("{:#}", gateway::serve::app(&settings).await.err().unwrap());
        assert!(refused.contains(said), "{said}: {refused}");
    }
}
