//! What breaks. Each scenario runs under load, ends in order, and is checked.

use std::{
    fs,
    path::Path,
    pin::Pin,
    process::Command,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use acceptance::Server;
use gateway::mint::MintingKey;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    deployment::{Deployment, Replica, Store, signal},
    load::{Account, Load, Ports},
    overload::five_times,
    proxy::{Mode, Proxy},
};

/// How long a scenario takes, and how often it does what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// For every run of the tests.
    Short,
    /// For figures.
    Long,
}

impl Length {
    fn or(self, short: u64, long: u64) -> u64 {
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
    ($($id:literal $name:literal $run:ident,)*) => {
        /// Every scenario.
        pub const ALL: &[Scenario] = &[$(Scenario { id: $id, name: $name, run: |length| Box::pin($run(length)) },)*];
    };
}

scenarios! {
    "F01" "a file's gateway is killed" killed_on_a_file,
    "F01 F14" "gateways are killed at random" killed,
    "F03" "the server is stopped at once and started" server_restarts,
    "F04" "the server hangs" server_hangs,
    "F14" "a connection breaks at COMMIT" cut_at_commit,
    "F15" "a gateway is cut off from the server" partitioned,
    "F14 F23" "the server fails over to its synchronous standby" failover,
    "F23" "the server fails over to a standby that lacks entries" failover_that_loses,
    "F14" "a gateway is stopped, and goes on when its questions were closed" stopped,
    "F05" "no space is left for a file" no_space,
    "L5" "the disk takes 20 ms to sync" slow_disk,
    "F10 T45" "record holders fail in fifteen ways" record_holders_fail,
    "F12" "one gateway's clock is an hour ahead" clock_ahead,
    "F16" "callers break off" callers_break_off,
    "F17 F18" "certificates and keys are replaced" keys_replaced,
    "F19" "policy files are broken" broken_policies,
    "F20" "a gateway is replaced behind its socket" replaced_behind_its_socket,
    "F20" "gateways are replaced one after the other" replaced_in_turn,
    "F22" "file descriptors run out" no_descriptors,
    "F25" "the collector of traces hangs" collector_hangs,
    "L3" "five times as many questions as can be answered" five_times,
}

/// A deployment under load.
struct Running {
    deployment: Deployment,
    account: Arc<Account>,
    ports: Ports,
    load: Load,
}

/// Two that ask for a record that does not change.
const ORDINARY: [&str; 2] = ["", ""];

async fn running(store: Store, gateways: usize, change: impl Fn(usize, &mut Replica)) -> Running {
    loaded(Deployment::start(store, gateways, change).await, &ORDINARY).await
}

async fn loaded(deployment: Deployment, steady: &[&'static str]) -> Running {
    let account = Arc::new(Account::new(&deployment.folder().join("account.jsonl")));
    let ports: Ports = Arc::new(Mutex::new(deployment.replicas.iter().map(|replica| replica.port).collect()));
    let load = Load::start(&deployment.partners, &account, &ports, steady);
    let running = Running { deployment, account, ports, load };
    running.answers_within(Duration::from_secs(20)).await;
    running
}

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

    /// Stops the load and has everything checked.
    async fn end(self, mut more: Value) -> Value {
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

async fn killed_on_a_file(length: Length) -> Value {
    let mut running = running(Store::File, 1, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for round in 0..length.or(4, 500) {
        sleep(Duration::from_millis(100 + round * 53 % 400)).await;
        let replica = &mut running.deployment.replicas[0];
        replica.kill();
        let begun = Instant::now();
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
        slowest = slowest.max(begun.elapsed());
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "kills": length.or(4, 500), "ready_again_ms_max": ms(slowest) })).await
}

/// A run in which nothing breaks, checked; and then the same with faults planted in what the checker reads.
pub async fn controls() {
    let running = running(Store::Server, 2, |_, _| {}).await;
    for _ in 0..4 {
        running.answers_within(Duration::from_secs(20)).await;
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

async fn killed(length: Length) -> Value {
    let mut running = running(Store::Server, 3, |_, _| {}).await;
    for round in 0..length.or(5, 500) {
        sleep(Duration::from_millis(200 + round * 53 % 300)).await;
        let replica = &mut running.deployment.replicas[usize::try_from(round * 7 % 3).unwrap()];
        replica.kill();
        sleep(Duration::from_millis(100)).await;
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "kills": length.or(5, 500) })).await
}

async fn server_restarts(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..length.or(2, 20) {
        sleep(Duration::from_millis(700)).await;
        let server = running.deployment.server.take().unwrap();
        server.stop("immediate");
        server.again();
        running.deployment.server = Some(server);
        slowest = slowest.max(running.answers_within(Duration::from_secs(20)).await);
    }
    running.end(json!({ "restarts": length.or(2, 20), "records_again_ms_max": ms(slowest) })).await
}

async fn server_hangs(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let processes = running.deployment.server.as_ref().unwrap().processes();
    signal("STOP", &processes);
    running.unrecordable(sleep(Duration::from_secs(length.or(8, 60)))).await;
    let unready = running.deployment.replicas[0].ready().await;
    assert!(unready.is_none_or(|(status, _)| status == 503), "ready without a database");
    signal("CONT", &processes);
    let recovered = running.answers_within(Duration::from_secs(30)).await;
    let idle = running.deployment.server.as_ref().unwrap().ask(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND xact_start < now() - interval '11 s'",
    );
    assert_eq!(idle.await, 0, "a transaction is held open");
    running.end(json!({ "hung_s": length.or(8, 60), "records_again_ms": ms(recovered) })).await
}

async fn cut_at_commit(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    for _ in 0..length.or(3, 100) {
        for mode in [Mode::CutBeforeCommit, Mode::CutAfterCommit] {
            let proxy = running.deployment.replicas[0].proxy.clone().unwrap();
            let before = proxy.cuts();
            proxy.set(mode);
            let begun = Instant::now();
            while proxy.cuts() == before {
                assert!(begun.elapsed() < Duration::from_secs(20), "nothing was committed");
                sleep(Duration::from_millis(2)).await;
            }
            proxy.set(Mode::Pass);
            running.answers_within(Duration::from_secs(20)).await;
        }
    }
    let cuts = running.deployment.replicas[0].proxy.as_ref().unwrap().cuts();
    running.end(json!({ "cuts": cuts })).await
}

async fn partitioned(length: Length) -> Value {
    let running = running(Store::Server, 3, |_, _| {}).await;
    let mut slowest = Duration::ZERO;
    for mode in [Mode::Hole, Mode::Deaf, Mode::Refuse] {
        let replica = &running.deployment.replicas[1];
        let proxy = replica.proxy.clone().unwrap();
        proxy.set(mode);
        sleep(Duration::from_secs(length.or(4, 40))).await;
        let ready = replica.ready().await;
        assert!(ready.is_none_or(|(status, _)| status == 503), "{mode:?}: ready without a database");
        // The others go on: whoever held the head has lost it.
        running.answers_within(Duration::from_secs(30)).await;
        proxy.set(Mode::Pass);
        let begun = Instant::now();
        assert!(replica.is_ready_within(Duration::from_mins(1)).await, "{mode:?}: {}", replica.said());
        slowest = slowest.max(begun.elapsed());
    }
    running.end(json!({ "partitions": 3, "ready_again_ms_max": ms(slowest) })).await
}

async fn failover(_: Length) -> Value {
    let primary = Server::start(&["wal_level=replica", "max_wal_senders=4", "max_connections=200"]).await;
    let standby = primary.standby().await;
    primary.set("synchronous_standby_names", "*").await;
    let running = running_on(primary, 2).await;
    sleep(Duration::from_secs(1)).await;
    running.deployment.server.as_ref().unwrap().stop("immediate");
    standby.promote();
    for replica in &running.deployment.replicas {
        replica.proxy.as_ref().unwrap().point_at(standby.port());
    }
    let recovered = running.answers_within(Duration::from_secs(40)).await;
    running.end(json!({ "records_again_ms": ms(recovered) })).await
}

async fn running_on(server: Server, gateways: usize) -> Running {
    loaded(Deployment::start_on(Some(server), gateways, |_, _| {}).await, &ORDINARY).await
}

/// The negative control: an asynchronous standby that was behind. Every gateway notices, and nobody is given anything.
async fn failover_that_loses(_: Length) -> Value {
    let primary = Server::start(&["wal_level=replica", "max_wal_senders=4", "max_connections=200"]).await;
    let mut running = running_on(primary, 2).await;
    let between = Proxy::before(running.deployment.server.as_ref().unwrap().port()).await;
    let standby = Server::standby_of(between.port).await;
    // The standby hears nothing more, and what is acknowledged meanwhile it does not have.
    sleep(Duration::from_millis(500)).await;
    between.set(Mode::Hole);
    running.answers_within(Duration::from_secs(20)).await;
    running.answers_within(Duration::from_secs(20)).await;
    running.deployment.server.as_ref().unwrap().stop("immediate");
    between.set(Mode::Refuse);
    standby.promote();
    for replica in &running.deployment.replicas {
        replica.proxy.as_ref().unwrap().point_at(standby.port());
    }
    let before = running.account.received.load(Ordering::Relaxed);
    sleep(Duration::from_secs(10)).await;
    let after = running.account.received.load(Ordering::Relaxed);
    for replica in &mut running.deployment.replicas {
        let said = replica.said();
        assert!(said.contains("does not extend them"), "{said}");
        assert!(
            replica.ready().await.is_none_or(|(status, _)| status == 503),
            "ready on a ledger that lost entries"
        );
        // Started again it refuses too: the copy of its checkpoint has more.
        replica.kill();
        replica.start();
        sleep(Duration::from_secs(3)).await;
        assert!(!replica.is_running(), "it started on a ledger that lost entries");
        assert!(replica.said().contains("were checkpointed"), "{}", replica.said());
    }
    running.load.abort();
    json!({ "received_after_the_loss": after - before, "gateways_refused": 2 })
}

async fn stopped(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let process = running.deployment.replicas[0].process();
    for _ in 0..length.or(1, 10) {
        signal("STOP", &[process]);
        // The load balancer notices.
        let port = running.deployment.replicas[0].port;
        running.ports.lock().unwrap().retain(|other| *other != port);
        sleep(Duration::from_secs(18)).await; // longer than the others wait for it
        running.answers_within(Duration::from_secs(20)).await;
        signal("CONT", &[process]);
        assert!(running.deployment.replicas[0].is_ready_within(Duration::from_secs(30)).await);
        running.ports.lock().unwrap().push(port);
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.end(json!({ "stops": length.or(1, 10) })).await
}

fn preloaded(replica: &mut Replica, libraries: &str) {
    replica.environment.push(("LD_PRELOAD".to_owned(), libraries.to_owned()));
}

async fn no_space(length: Length) -> Value {
    let fifo = tempfile::tempdir().unwrap();
    let control = fifo.path().join("fiu");
    let mut running = running(Store::File, 1, |_, replica| {
        preloaded(replica, "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so");
        replica.environment.push(("FIU_CTRL_FIFO".to_owned(), control.display().to_string()));
        replica.environment.push(("FIU_ENABLE".to_owned(), String::new()));
    })
    .await;
    let process = running.deployment.replicas[0].process();
    let full = |is_full: bool| {
        for point in ["posix/io/rw/pwrite", "posix/io/rw/pwrite64"] {
            // 28 is ENOSPC.
            let what = if is_full {
                format!("enable name={point},failinfo=28")
            } else {
                format!("disable name={point}")
            };
            let told = Command::new("fiu-ctrl")
                .arg("-f")
                .arg(&control)
                .args(["-c", &what, &process.to_string()])
                .output();
            let told = told.unwrap();
            assert!(told.status.success(), "{told:?}");
        }
    };
    let mut restarts = 0;
    for _ in 0..length.or(1, 20) {
        full(true);
        running.unrecordable(sleep(Duration::from_secs(2))).await;
        full(false);
        // It goes on by itself, or says that it has to be started again.
        if !running.deployment.replicas[0].is_ready_within(Duration::from_secs(5)).await {
            let replica = &mut running.deployment.replicas[0];
            assert!(replica.said().contains("restart the process"), "{}", replica.said());
            replica.kill();
            replica.start();
            restarts += 1;
            assert!(replica.is_ready_within(Duration::from_secs(20)).await);
            break;
        }
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "times_full": length.or(1, 20), "restarts": restarts })).await
}

const SLOW: &str = r"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slow(const char *name, int fd) {
    usleep(20000);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}
int fsync(int fd) { return slow(__func__, fd); }
int fdatasync(int fd) { return slow(__func__, fd); }
";

async fn slow_disk(length: Length) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("slow.c"), folder.path().join("slow.so"));
    fs::write(&source, SLOW).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .args(["-ldl"])
        .status();
    assert!(compiled.unwrap().success());
    let count = async |library: Option<&Path>| {
        let change = |_, replica: &mut Replica| {
            if let Some(library) = library {
                preloaded(replica, &library.display().to_string());
            }
        };
        let running = running(Store::File, 1, change).await;
        let before = running.account.received.load(Ordering::Relaxed);
        sleep(Duration::from_secs(length.or(4, 60))).await;
        let received = running.account.received.load(Ordering::Relaxed) - before;
        (received, running.end(json!({})).await)
    };
    let (quick, _) = count(None).await;
    let (slow, mut counts) = count(Some(&library)).await;
    assert!(slow > 0);
    let members = counts.as_object_mut().unwrap();
    members.insert("records_with_the_disk_as_it_is".to_owned(), quick.into());
    members.insert("records_with_the_slow_disk".to_owned(), slow.into());
    counts
}

async fn record_holders_fail(length: Length) -> Value {
    let faults = upstreams::faults::ALL.iter().map(|(_, number, _)| *number);
    let steady: Vec<&str> = faults.chain(["", ""]).collect();
    let running = loaded(Deployment::start(Store::Server, 2, |_, _| {}).await, &steady).await;
    sleep(Duration::from_secs(length.or(5, 120))).await;
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "ways": upstreams::faults::ALL.len() })).await
}

async fn clock_ahead(_: Length) -> Value {
    let found =
        Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"]).output().unwrap();
    let library = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    fs::write(&time, "+0").unwrap();
    let running = running(Store::Server, 2, |number, replica| {
        if number == 1 {
            preloaded(replica, &library);
            for (name, value) in [
                ("FAKETIME_TIMESTAMP_FILE", time.to_str().unwrap()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ] {
                replica.environment.push((name.to_owned(), value.to_owned()));
            }
        }
    })
    .await;
    for moved in ["+3600", "-3600"] {
        fs::write(&time, moved).unwrap();
        sleep(Duration::from_secs(1)).await;
        let (status, said) = running.deployment.replicas[1].ready().await.unwrap();
        assert!(status == 503 && said.contains("clock-steady"), "{moved}: {said}");
        running.answers_within(Duration::from_secs(20)).await;
        fs::write(&time, "+0").unwrap();
        assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(20)).await);
    }
    assert!(
        running.deployment.replicas[0].ready().await.is_some_and(|(status, _)| status == 200),
        "the other stays right"
    );
    running.end(json!({ "jumps": 2 })).await
}

async fn callers_break_off(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let (client, partners) =
        (running.deployment.partners.client("fire"), running.deployment.partners.clone());
    let total = length.or(200, 10_000);
    for number in 0..total {
        let port = running.deployment.replicas[usize::try_from(number % 2).unwrap()].port;
        let request = partners.prevention("9732110317");
        let longest = Duration::from_micros(number * 7919 % 60_000);
        let _ = tokio::time::timeout(longest, partners.send_to(&client, port, &request)).await;
    }
    let stuck = running.deployment.server.as_ref().unwrap().ask(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'",
    );
    assert_eq!(stuck.await, 0);
    running.end_with_unnoticed(json!({ "broken_off": total }), total).await
}

impl Running {
    /// As [`Self::end`], where so many requests were broken off that are in nobody's account.
    async fn end_with_unnoticed(mut self, more: Value, unnoticed: u64) -> Value {
        self.deployment.unnoticed(unnoticed);
        self.end(more).await
    }
}

/// Another certificate of the gateway's, with another key.
const CERTIFICATE: &str = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout next.key -out next.csr -subj /CN=gateway &&
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=clientAuth,serverAuth\n' > next.ext &&
    openssl x509 -req -in next.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile next.ext -out gateway.pem && mv next.key gateway.key";

fn shell(folder: &Path, command: &str) {
    let ran = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

async fn keys_replaced(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let folder = running.deployment.folder().to_owned();
    let failed_before = running.account.failed();
    for round in 0..length.or(3, 50) {
        shell(&folder, CERTIFICATE);
        let name = format!("issuer-key-{round}");
        shell(
            &folder,
            &format!("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"),
        );
        // The new key is published beside the others before anything is signed with it.
        let published = folder.join("issuer.jwks.json");
        let mut keys: Value = serde_json::from_str(&fs::read_to_string(&published).unwrap()).unwrap();
        let pem = fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
        let next = MintingKey::from_pem(&pem, &name).unwrap().jwks().unwrap();
        keys["keys"].as_array_mut().unwrap().push(next["keys"][0].clone());
        fs::write(&published, keys.to_string()).unwrap();
        for replica in &running.deployment.replicas {
            signal("HUP", &[replica.process()]);
        }
        sleep(Duration::from_secs(1)).await;
        running.deployment.partners.issue_with(&name);
        running.answers_within(Duration::from_secs(10)).await;
    }
    // Nobody was refused for it either.
    let refused = running.account.unauthenticated();
    assert_eq!(refused, 0, "somebody's token was refused");
    assert_eq!(running.account.failed(), failed_before, "a request failed");
    running.end(json!({ "replacements": length.or(3, 50) })).await
}

async fn broken_policies(length: Length) -> Value {
    let running = running(Store::Server, 2, |_, _| {}).await;
    let file = running.deployment.folder().join("policies/agreements/gm-safe-and-well-referral.toml");
    let good = fs::read(&file).unwrap();
    let failed_before = running.account.failed();
    let total = length.or(10, 100);
    for number in 0..total {
        let mut bad = good.clone();
        let place = usize::try_from(number).unwrap() * 97 % bad.len();
        match number % 3 {
            0 => bad.truncate(place),
            1 => bad[place] = 0xff,
            _ => bad.splice(place..place, *b"\n[[[\n").for_each(drop),
        }
        fs::write(&file, bad).unwrap();
        signal("HUP", &[running.deployment.replicas[0].process()]);
        running.answers_within(Duration::from_secs(10)).await;
    }
    fs::write(&file, &good).unwrap();
    signal("HUP", &[running.deployment.replicas[0].process()]);
    running.answers_within(Duration::from_secs(10)).await;
    assert_eq!(running.account.failed(), failed_before, "a request failed");
    running.end(json!({ "broken_files": total })).await
}

/// As a service manager does: the socket is its own, and a new process takes it when the old one has ended.
async fn replaced_behind_its_socket(length: Length) -> Value {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    // The shell hands standard input on as descriptor 3, and says so.
    let shell = ["sh", "-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"];
    let passed = |command: &mut Command| {
        let socket = std::os::fd::OwnedFd::from(socket.try_clone().unwrap());
        command.stdin(socket);
    };
    let mut deployment = Deployment::start(Store::File, 1, |_, _| {}).await;
    deployment.replicas[0].terminate().await;
    deployment.replicas[0].through = shell.map(str::to_owned).into();
    deployment.replicas[0].port = port;
    deployment.replicas[0].start_with(passed);
    let mut running = loaded(deployment, &ORDINARY).await;
    let total = length.or(4, 20);
    for _ in 0..total {
        sleep(Duration::from_millis(500)).await;
        let replica = &mut running.deployment.replicas[0];
        replica.terminate().await;
        replica.start_with(passed);
        running.answers_within(Duration::from_secs(20)).await;
    }
    assert_eq!(running.account.unconnected(), 0, "a connection was refused");
    let broken = running.account.failed();
    running.end(json!({ "replacements": total, "requests_broken_off": broken })).await
}

async fn replaced_in_turn(length: Length) -> Value {
    let mut running = running(Store::Server, 2, |_, _| {}).await;
    let rounds = length.or(1, 10);
    for _ in 0..rounds {
        for number in 0..2 {
            let port = running.deployment.replicas[number].port;
            // The load balancer sends nobody there any more.
            running.ports.lock().unwrap().retain(|other| *other != port);
            running.deployment.replicas[number].terminate().await;
            running.deployment.replicas[number].start();
            assert!(running.deployment.replicas[number].is_ready_within(Duration::from_secs(20)).await);
            running.ports.lock().unwrap().push(port);
            running.answers_within(Duration::from_secs(10)).await;
        }
    }
    let broken = running.account.failed();
    running.end(json!({ "replacements": 2 * rounds, "requests_broken_off": broken })).await
}

async fn no_descriptors(_: Length) -> Value {
    let limited = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"].map(str::to_owned);
    let running = running(Store::Server, 2, |number, replica| {
        if number == 1 {
            replica.through = limited.to_vec();
        }
    })
    .await;
    let port = running.deployment.replicas[1].port;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.extend(std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    }
    running.answers_within(Duration::from_secs(20)).await;
    sleep(Duration::from_secs(3)).await;
    drop(held);
    assert!(running.deployment.replicas[1].is_ready_within(Duration::from_secs(20)).await);
    running.end(json!({ "connections_held": 200 })).await
}

async fn collector_hangs(length: Length) -> Value {
    // It takes connections and never answers.
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = collector.accept().await {
            held.push(stream);
        }
    });
    let running = running(Store::Server, 2, move |number, replica| {
        if number == 1 {
            replica.append_settings(&format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n"));
        }
    })
    .await;
    sleep(Duration::from_secs(length.or(3, 60))).await;
    running.answers_within(Duration::from_secs(10)).await;
    running.end(json!({})).await
}
