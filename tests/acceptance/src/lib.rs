//! The harness: a whole gateway in this process, over real TLS on loopback, with real simulators, a real SQLite
//! database, a clock that stands still until it is moved, and seeded identifiers.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use gateway::{
    app::App,
    cli::demo::keys::{self, Ports},
    clock::{Clock, Entropy},
    config::{self, Settings},
    serve,
};
use jiff::Timestamp;
use ledger::entry::Entry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use upstreams::{Kind, RequestLog, TlsMaterial};

mod partners;
pub mod tls;

use partners::sendable;
pub use partners::{Answer, Partners, Request, answer};

/// When the tests take place.
pub const NOW: &str = "2026-11-23T12:00:00Z";

/// A clock that stands still.
#[derive(Clone)]
pub struct StoppedClock(Arc<AtomicU64>, Arc<AtomicBool>);

impl StoppedClock {
    /// As if somebody had set the machine's clock, or set it right again.
    pub fn be_steady(&self, is_steady: bool) {
        self.1.store(is_steady, Ordering::Relaxed);
    }

    /// As if somebody had set it back before the process began.
    pub fn go_back_s(&self, seconds: u64) {
        self.0.fetch_sub(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Another clock that shows the same now, and is moved by itself.
    #[must_use]
    pub fn another(&self) -> Self {
        Self(
            Arc::new(AtomicU64::new(self.0.load(Ordering::SeqCst))),
            Arc::new(AtomicBool::new(self.1.load(Ordering::Relaxed))),
        )
    }

    /// Shows what another shows now.
    pub fn be_like(&self, other: &dyn Clock) {
        self.0.store(other.now().as_microsecond().unsigned_abs(), Ordering::SeqCst);
    }

    /// Moves the clock.
    pub fn advance_s(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap()).unwrap()
    }

    fn is_steady(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    // The database's goes on.
    fn skew_max(&self) -> Option<jiff::SignedDuration> {
        None
    }
}

/// Counts instead of being random: identifiers are the same in every run.
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn bits(&self) -> u128 {
        // Spread, so that a pseudonym's order says nothing about when it was made.
        let count = u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1;
        count.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

/// A whole deployment.
pub struct World {
    /// Its folder.
    pub folder: TempDir,
    /// Its settings.
    pub settings: Settings,
    /// The running gateway.
    pub app: Arc<App>,
    /// Its clock.
    pub clock: StoppedClock,
    /// What each record holder was asked.
    pub asked: BTreeMap<&'static str, RequestLog>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    partners: Partners,
}

/// Another gateway over a [`World`]'s database.
pub struct Replica {
    /// The running gateway.
    pub app: Arc<App>,
    /// Where it listens.
    pub port: u16,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Replica {
    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }

    /// Ends it as if its process had died: nothing more is sent or committed, and nothing is said.
    pub async fn die(self) {
        self.app.store.close().await;
        self.serving.abort();
    }
}

/// A private PostgreSQL server, gone when this is dropped.
pub struct Server {
    folder: TempDir,
    /// The address of its database `postgres`.
    pub url: String,
}

impl Server {
    /// Starts one with these settings, `name=value`.
    #[expect(clippy::unused_async, reason = "it waits for a program")]
    pub async fn start(settings: &[&str]) -> Self {
        let (folder, port) = (Self::folder(), unused_port());
        let at = folder.path().join("server");
        let port = port.to_string();
        let mut arguments = vec!["start", at.to_str().unwrap(), &port];
        arguments.extend(settings);
        let url = script(&arguments).trim().to_owned();
        Self { folder, url }
    }

    /// Stops it: `immediate` as a crash does, `fast`, or `smart`.
    pub fn stop(&self, mode: &str) {
        script(&["stop", self.at().to_str().unwrap(), mode]);
    }

    /// Starts it again.
    pub fn again(&self) {
        script(&["again", self.at().to_str().unwrap()]);
    }

    /// Makes a base backup of it, by this name in its folder.
    pub fn copy(&self, name: &str) {
        script(&["copy", self.at().to_str().unwrap(), name, &self.port().to_string()]);
    }

    /// Puts a base backup in the place of its data, and what the archive has of later.
    pub fn restore(&self, name: &str, archive: Option<&str>) {
        let at = self.at();
        let arguments = ["restore", at.to_str().unwrap(), name, archive.unwrap_or("")];
        script(&arguments);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
    }

    /// Its processes, the first of which is the one that starts the others.
    pub fn processes(&self) -> Vec<u32> {
        let said = script(&["processes", self.at().to_str().unwrap()]);
        said.lines().map(|line| line.trim().parse().unwrap()).collect()
    }

    /// Another server that follows this one.
    pub async fn standby(&self) -> Self {
        Self::standby_of(self.port()).await
    }

    /// A server that follows the one at this port.
    #[expect(clippy::unused_async, reason = "it waits for a program")]
    pub async fn standby_of(primary: u16) -> Self {
        let (folder, port) = (Self::folder(), unused_port());
        let at = folder.path().join("server");
        let (port, primary) = (port.to_string(), primary.to_string());
        let url = script(&["standby", at.to_str().unwrap(), &port, &primary]).trim().to_owned();
        Self { folder, url }
    }

    /// Makes a standby one that writes.
    pub fn promote(&self) {
        script(&["promote", self.at().to_str().unwrap()]);
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, name: &str, value: &str) {
        let database = store::Database::Server(self.url.clone());
        store::scratch::tell(&database, format!("ALTER SYSTEM SET {name} = '{value}'")).await;
        store::scratch::tell(&database, "SELECT pg_reload_conf()".to_owned()).await;
    }

    /// Tells the server something.
    pub async fn tell(&self, statement: &str) {
        store::scratch::tell(&store::Database::Server(self.url.clone()), statement.to_owned()).await;
    }

    /// What the server says to a question about a number.
    pub async fn ask(&self, question: &'static str) -> i64 {
        store::scratch::ask(&store::Database::Server(self.url.clone()), question).await
    }

    fn folder() -> TempDir {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../postgres");
        let _ = std::process::Command::new(program).arg("stop").arg(self.at()).output(); // it may be stopped
    }
}

fn script(arguments: &[&str]) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../postgres");
    let ran = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// A port for a program that starts later, and perhaps again: outside of those that the system hands out for a moment, and nobody else's
/// of the tests for as long as this process lives: whoever has its file locked has it.
pub fn unused_port() -> u16 {
    static HELD: Mutex<Vec<std::fs::File>> = Mutex::new(Vec::new());
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ports"));
    std::fs::create_dir_all(folder).unwrap();
    let first = u16::try_from(std::process::id() * 37 % 2_640).unwrap();
    let mut ports = (0..2_640).map(|step| 30_000 + (first + step) % 2_640);
    let free = ports.find_map(|port| {
        let file = std::fs::File::create(folder.join(port.to_string())).unwrap();
        let is_free = file.try_lock().is_ok() && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        is_free.then_some((port, file))
    });
    let (port, file) = free.unwrap();
    HELD.lock().unwrap().push(file);
    port
}

async fn free_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

impl Deref for World {
    type Target = Partners;

    fn deref(&self) -> &Partners {
        &self.partners
    }
}

impl World {
    /// A deployment with the project's policies and a fresh database.
    pub async fn new() -> Self {
        Self::with_settings(|_| {}).await
    }

    /// As [`Self::new`], with settings that were changed.
    pub async fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&policies, &folder.path().join("policies"));
        Self::start_with(folder, 0, change).await
    }

    /// A deployment whose policy files were edited: path below the folder, what to find, what to put there.
    pub async fn with_policies(edits: &[(&str, &str, &str)]) -> Self {
        let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&policies, &folder.path().join("policies"));
        for (path, find, replace) in edits {
            let path = folder.path().join("policies").join(path);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(find), "{find}");
            std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
        }
        Self::start(folder, 0).await
    }

    /// A deployment with more policy files: path below the folder, and text.
    pub async fn with_files(files: &[(&str, &str)]) -> Self {
        let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&policies, &folder.path().join("policies"));
        for (path, text) in files {
            let path = folder.path().join("policies").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        Self::start(folder, 0).await
    }

    /// A deployment over a folder that may have a database already.
    pub async fn start(folder: TempDir, seed: u64) -> Self {
        Self::start_with(folder, seed, |_| {}).await
    }

    /// A deployment on this PostgreSQL server.
    pub async fn on(server: &str) -> Self {
        let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&policies, &folder.path().join("policies"));
        Self::start_on(Some(server), folder, 0, |_| {}).await
    }

    /// A deployment over a folder whose database is on this server.
    pub async fn again_on(server: &str, folder: TempDir, seed: u64) -> Self {
        Self::start_on(Some(server), folder, seed, |_| {}).await
    }

    /// As [`Self::start`], with settings that were changed.
    pub async fn start_with(folder: TempDir, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(None, folder, seed, change).await
    }

    /// Another gateway over the same database, with its own files and port.
    pub async fn replica(&self, number: u64) -> Replica {
        self.replica_by(number, self.clock.clone()).await
    }

    /// As [`Self::replica`], with a clock of its own.
    pub async fn replica_by(&self, number: u64, clock: StoppedClock) -> Replica {
        let folder = self.folder.path().join(format!("replica-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (listener, port) = free_port().await;
        let mut settings = self.settings.clone();
        settings.ledger.checkpoint_copy = folder.join("checkpoint.txt");
        std::fs::copy(&self.settings.ledger.checkpoint_copy, &settings.ledger.checkpoint_copy).unwrap();
        let entropy = Arc::new(Counting(AtomicU64::new(number << 32)));
        let app = serve::build(&settings, Arc::new(clock), entropy).await.unwrap();
        let shutdown = self.shutdown.child_token();
        let serving = tokio::spawn({
            let (app, shutdown) = (app.clone(), shutdown.clone());
            async move { serve::serve_on(listener, &settings, app, shutdown).await.unwrap() }
        });
        Replica { app, port, shutdown, serving }
    }

    async fn start_on(
        server: Option<&str>,
        folder: TempDir,
        seed: u64,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let ((gateway, gateway_port), (nhs, nhs_port)) = (free_port().await, free_port().await);
        let ((council, council_port), (fire, fire_port)) = (free_port().await, free_port().await);
        let ports = Ports { gateway: gateway_port, nhs: nhs_port, council: council_port, fire: fire_port };
        let path = keys::prepare(folder.path(), &folder.path().join("policies"), ports).unwrap();
        let database = match server {
            Some(server) => store::scratch::on(server, folder.path()).await,
            None => store::scratch::database(folder.path()).await,
        };
        if let store::Database::Server(url) = database {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("\"concordat.db\"", &format!("\"{url}\""))).unwrap();
        }
        let mut settings = config::load(&path).unwrap();
        change(&mut settings);
        let shutdown = CancellationToken::new();
        let mut asked = BTreeMap::new();
        for (kind, name, listener) in
            [(Kind::Nhs, "nhs", nhs), (Kind::Council, "council", council), (Kind::Fire, "fire", fire)]
        {
            let log = RequestLog::default();
            asked.insert(name, log.clone());
            let read = |file: String| std::fs::read_to_string(folder.path().join(file)).unwrap();
            let tls = TlsMaterial {
                certificate_chain_pem: read(format!("{name}-server.pem")),
                key_pem: read(format!("{name}-server.key")),
                client_ca_pem: read("ca.pem".to_owned()),
            };
            let stop = shutdown.clone();
            tokio::spawn(async move {
                upstreams::serve(kind, listener, tls, log, async move { stop.cancelled().await })
                    .await
                    .unwrap();
            });
        }
        let start: Timestamp = NOW.parse().unwrap();
        let start = AtomicU64::new(start.as_microsecond().unsigned_abs());
        let clock = StoppedClock(Arc::new(start), Arc::new(AtomicBool::new(true)));
        let entropy = Arc::new(Counting(AtomicU64::new(seed)));
        let app = serve::build(&settings, Arc::new(clock.clone()), entropy).await.unwrap();
        if settings.ledger.database.is_shared() {
            // A gateway that starts takes the policies that are in force. As SIGUSR1 does:
            serve::reload_policies(&app, &settings.policies, gateway::policies::Put::InAnyCase).await;
        }
        let serving = tokio::spawn({
            let (settings, app, shutdown) = (settings.clone(), app.clone(), shutdown.clone());
            async move { serve::serve_on(gateway, &settings, app, shutdown).await.unwrap() }
        });
        let partners = Partners::of(folder.path(), Arc::new(clock.clone()), seed);
        Self { folder, settings, app, clock, asked, shutdown, serving, partners }
    }

    /// Stops everything and gives the folder back.
    pub async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.app.store.close().await;
        self.folder
    }

    /// Sends a request with its headers.
    pub async fn send(&self, request: Request) -> Answer {
        let headers = self.headers(&request);
        self.send_with(&request, Some(&headers.0), Some(&headers.1)).await
    }

    /// Sends a request with other headers.
    pub async fn send_with(&self, request: &Request, access: Option<&str>, context: Option<&str>) -> Answer {
        let client = self.client(request.certificate_of);
        let sent = sendable(&client, &self.settings.public_url, request, (access, context));
        answer(sent.send().await.unwrap()).await
    }

    /// Every entry of the ledger.
    pub async fn entries(&self) -> Vec<Entry> {
        let size = self.app.store.head().await.unwrap().size;
        let leaves = self.app.store.leaves(0, u32::try_from(size).unwrap()).await.unwrap();
        leaves.iter().map(|leaf| Entry::decode(&leaf.bytes).unwrap()).collect()
    }

    /// The kinds of the newest entries.
    pub async fn last_kinds(&self, count: usize) -> Vec<&'static str> {
        let entries = self.entries().await;
        entries.iter().skip(entries.len().saturating_sub(count)).map(|entry| entry.body.kind()).collect()
    }

    /// Verifies the ledger, order rules included, and that the tables are what its entries make of them.
    pub async fn verify(&self) -> ledger::verify::Report {
        let head = self.app.store.head().await.unwrap();
        let public_key = match self.entries().await.first().map(|entry| &entry.body) {
            Some(ledger::entry::Body::LogOpened { public_key, .. }) => public_key.clone(),
            _ => String::new(),
        };
        let mut verifier = ledger::verify::Verifier::new(&public_key).unwrap();
        for leaf in self.app.store.leaves(0, u32::try_from(head.size).unwrap()).await.unwrap() {
            verifier.entry(&leaf.bytes).unwrap();
        }
        assert_eq!(self.faults_of_tables().await, Vec::<String>::new());
        verifier.finish(&head.checkpoint).unwrap()
    }

    /// Where the tables are not what the entries make of them.
    pub async fn faults_of_tables(&self) -> Vec<String> {
        let archive = store::Archive::open(&self.settings.ledger.database, None).await.unwrap();
        for _ in 0..100 {
            let mut projected = store::Projected::default();
            let entries = self.entries().await;
            entries.iter().for_each(|entry| projected.follow(entry));
            let found =
                gateway::backup::check_tables(&archive, entries.len() as u64, projected).await.unwrap();
            if let Some(found) = found {
                return found;
            }
        }
        vec!["the ledger is never at rest".to_owned()]
    }
}

/// Takes away what says from outside of a stopped deployment's database how far its ledger had come.
pub fn lose_checkpoints(folder: &std::path::Path) {
    for copy in ["checkpoint.txt", "checkpoint.txt.synced"] {
        let _ = std::fs::remove_file(folder.join(copy)); // the second is not written at once
    }
}

/// Copies a folder and what is in it.
pub fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every text of the demonstration's records that could name somebody.
pub fn personal_values() -> Vec<String> {
    let mut values = Vec::new();
    let wanted = ["family", "given", "line", "postalCode", "birthDate", "value", "id"];
    for patient in upstreams::nhs::PATIENTS {
        let patient: Value = serde_json::from_str(patient).unwrap();
        collect(&patient, "", &wanted, &mut values);
    }
    values.retain(|value| value.len() >= 5 && value != "P1-VR");
    values.extend(upstreams::council::references().map(|(reference, _)| reference.to_owned()));
    values.sort();
    values.dedup();
    values
}

fn collect(json: &Value, key: &str, wanted: &[&str], out: &mut Vec<String>) {
    match json {
        Value::Object(members) => members.iter().for_each(|(name, value)| collect(value, name, wanted, out)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, wanted, out)),
        Value::String(text) if wanted.contains(&key) => out.push(text.clone()),
        _ => {}
    }
}

/// The built program.
pub fn program() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(std::path::Path::parent).unwrap().join("concordat");
    assert!(program.exists(), "build the program first, as ./test does");
    program
}
