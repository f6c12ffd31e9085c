//! What breaks. Each scenario runs under load, ends in order, and is checked.

use std::{
    path::Path,
    pin::Pin,
    process::Command,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    apart,
    crowds::{goes_on, handshakes, one_of_twenty_is_noisy},
    deployment::{Deployment, Replica, Store},
    held::{long_list, unended},
    load::{Account, Load, PEOPLE, Ports, Worker},
    overload::five_times,
};

mod disk;
mod network;
mod outside;
mod power;
mod process;
mod races;
mod replaced;
mod server;
mod upgrade;

/// How long a scenario takes, and how often it does what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// For every run of the tests.
    Short,
    /// For figures.
    Long,
}

impl Length {
    /// One of two numbers.
    pub fn or(self, short: u64, long: u64) -> u64 {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

type Run = fn(Length) -> Pin<Box<dyn Future<Output = Value> + Send>>;

/// A fault, and what it is called in `docs/reliability.md`.
pub struct Scenario {
    /// Its numbers in the plan.
    pub id: &'static str,
    /// What breaks.
    pub name: &'static str,
    /// Does it. What was counted comes back.
    pub run: Run,
}

macro_rules! scenarios {
    ($list:ident: $($id:literal $name:literal $run:expr,)*) => {
        /// Scenarios.
        pub const $list: &[Scenario] = &[$(Scenario { id: $id, name: $name, run: |length| Box::pin($run(length)) },)*];
    };
}

scenarios! { ALL:
    "F01" "a file's gateway is killed" process::killed_on_a_file,
    "F01 F14" "gateways are killed at random" process::killed,
    "F02" "the power fails" power::fails,
    "F02" "the power fails, and the disk had lied" power::fails_and_the_disk_lied,
    "F03" "the server is stopped at once and started" server::server_restarts,
    "F04" "the server hangs" server::server_hangs,
    "F14" "a connection breaks at COMMIT" server::cut_at_commit,
    "F15" "a gateway is cut off from the server" server::partitioned,
    "F15" "the network is cut" network_apart,
    "F14 F23" "the server fails over to its synchronous standby" server::failover,
    "F23" "the server fails over to a standby that lacks entries" server::failover_that_loses,
    "F14" "a gateway is stopped, and goes on when its questions were closed" process::stopped,
    "F05" "no space is left for a file" disk::no_space,
    "F05" "a small disk is full" small_and_full_apart,
    "F06" "a disk can only be read any more" only_read_apart,
    "F08" "the file under a gateway is taken away" disk::taken_away,
    "F09" "a disk hangs" hangs_apart,
    "L5" "the disk takes 20 ms to sync" disk::slow_disk,
    "F10 T45" "record holders fail in fifteen ways" outside::record_holders_fail,
    "F11" "a record holder goes away and comes back" outside::record_holder_flaps,
    "F12" "one gateway's clock is wrong" outside::clock_wrong,
    "F13" "withdrawals race with questions" races::withdrawals,
    "F13" "suspensions race with questions" races::suspensions,
    "F16" "callers break off" process::callers_break_off,
    "F17 F18" "certificates and keys are replaced" replaced::keys_replaced,
    "F18" "a partner's certificate is revoked, and its authority is no longer trusted" replaced::certificates_refused,
    "F19" "policy files are broken" replaced::broken_policies,
    "F20" "a gateway is replaced behind its socket" replaced::replaced_behind_its_socket,
    "F20" "gateways are replaced one after the other" replaced::replaced_in_turn,
    "F20" "a newer program changes the schema beside gateways that run" upgrade::beside,
    "F21" "memory and processor are short" process::starved,
    "F22" "file descriptors run out" process::no_descriptors,
    "F25" "the collector of traces hangs" outside::collector_hangs,
    "L4" "connections are opened as fast as they are taken" handshakes,
    "L6" "one partner of twenty asks fifty times as much as it may" one_of_twenty_is_noisy,
    "T30 T31" "a partner sends what does not end" unended,
    "L3" "five times as many questions as can be answered" five_times,
}

// What runs in namespaces of its own (`apart`).
scenarios! { APART:
    "F15" "the network is cut" network::cut,
    "F05" "a small disk is full" disk::small_and_full,
    "F06" "a disk can only be read any more" disk::only_read,
    "F09" "a disk hangs" disk::hangs,
}

// Which says nothing in a short time.
scenarios! { LONG:
    "L8" "the load goes on" goes_on,
    "lists" "a list of fifty thousand people" long_list,
}

// Which needs a program of another time.
scenarios! { WITH_PREVIOUS:
    "F20" "gateways are upgraded from the previous release" upgrade::from_previous,
}

async fn network_apart(length: Length) -> Value {
    apart::run("the network is cut", length).await
}

async fn small_and_full_apart(length: Length) -> Value {
    apart::run("a small disk is full", length).await
}

async fn only_read_apart(length: Length) -> Value {
    apart::run("a disk can only be read any more", length).await
}

async fn hangs_apart(length: Length) -> Value {
    apart::run("a disk hangs", length).await
}

/// A deployment under load.
pub struct Running {
    /// What is loaded.
    pub deployment: Deployment,
    account: Arc<Account>,
    ports: Ports,
    load: Load,
}

/// Two that ask for a record that does not change.
const ORDINARY: [&str; 2] = ["", ""];

/// A deployment under the usual load.
pub async fn running(store: Store, gateways: usize, change: impl Fn(usize, &mut Replica)) -> Running {
    loaded(Deployment::start(store, gateways, change).await, &ORDINARY).await
}

async fn loaded(deployment: Deployment, steady: &[&'static str]) -> Running {
    let account = Arc::new(Account::new(&deployment.folder().join("account.jsonl")));
    let ports: Ports = Arc::new(Mutex::new(deployment.replicas.iter().map(|replica| replica.port).collect()));
    let load = Load::start(&deployment.partners, &account, &ports, steady);
    let mut running = Running { deployment, account, ports, load };
    for _ in 0..WARM {
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.deployment.note_usage();
    running
}

/// How often five records come before what a gateway uses is looked at.
const WARM: usize = 6;

impl Running {
    /// How long it takes until records come again.
    async fn answers_within(&self, longest: Duration) -> Duration {
        let (begun, before) = (Instant::now(), self.account.received.load(Ordering::Relaxed));
        while self.account.received.load(Ordering::Relaxed) < before + 5 {
            assert!(begun.elapsed() < longest, "no records come");
            sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    /// Nothing can be recorded until `until`; whoever asks within is given nothing.
    async fn unrecordable<F: Future<Output = ()>>(&mut self, until: F) {
        // What was committed just before may still be on its way to whoever asked.
        let from = self.account.now_us() + 200_000;
        until.await;
        self.deployment.nothing_recordable(from, self.account.now_us());
    }

    /// Stops the load; as many to ask instead as asked about people whose consent changes.
    async fn pause(&mut self) -> Vec<Worker> {
        let load = std::mem::replace(&mut self.load, Load::none());
        load.stop().await;
        let stop = tokio_util::sync::CancellationToken::new();
        let worker =
            |number| Worker::new(number, &self.deployment.partners, &self.account, &self.ports, &stop);
        (0..PEOPLE.len()).map(worker).collect()
    }

    /// Stops the load and has everything checked.
    pub async fn end(self, mut more: Value) -> Value {
        self.load.stop().await;
        let counts = self.deployment.check().await;
        let members = more.as_object_mut().unwrap();
        members.extend(counts.as_object().cloned().unwrap_or_default());
        more
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

impl Running {
    /// As [`Self::end`], where so many requests were broken off that are in nobody's account.
    async fn end_with_unnoticed(mut self, more: Value, unnoticed: u64) -> Value {
        self.deployment.unnoticed(unnoticed);
        self.end(more).await
    }
}

/// A command, which has to succeed.
pub fn shell(folder: &Path, command: &str) {
    let ran = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn preloaded(replica: &mut Replica, libraries: &str) {
    replica.environment.push(("LD_PRELOAD".to_owned(), libraries.to_owned()));
}

/// A library that stands before the C library's functions.
fn compiled(folder: &Path, name: &str, source: &str) -> std::path::PathBuf {
    let (file, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    std::fs::write(&file, source).unwrap();
    shell(folder, &format!("cc -O1 -Wall -shared -fPIC -o {} {} -ldl", library.display(), file.display()));
    library
}

/// A run in which nothing breaks, checked; and then the same with faults planted in what the checker reads.
pub async fn controls() {
    let running = running(Store::Server, 2, |_, _| {}).await;
    for _ in 0..4 {
        running.answers_within(Duration::from_secs(20)).await;
    }
    // Faults are planted in what was released by consent, and in what was refused.
    let begun = Instant::now();
    while running.account.by_consent() < 5 || running.account.refused() < 5 {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "nothing is released by consent, or nothing refused"
        );
        sleep(Duration::from_millis(10)).await;
    }
    running.load.stop().await;
    running.deployment.check().await;
    let controls = Path::new(env!("CARGO_MANIFEST_DIR")).join("controls.py");
    let found = Command::new("python3").arg(controls).arg(running.deployment.folder()).output().unwrap();
    assert!(
        found.status.success(),
        "{}{}",
        String::from_utf8_lossy(&found.stdout),
        String::from_utf8_lossy(&found.stderr)
    );
}
