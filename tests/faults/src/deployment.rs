//! Gateways, record holders and a database, each a process of its own.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use acceptance::{Partners, Server};
use gateway::{
    cli::demo::keys::{self, Ports},
    clock::SystemClock,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{load::MADE_UP, proxy::Proxy, usage::Usage};

/// What the gateways keep the ledger in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// One gateway over a SQLite file.
    File,
    /// Several over a PostgreSQL server.
    Server,
}

/// Where a gateway runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its own address.
    pub host: String,
    /// Where it finds the server; through a proxy on loopback where that is not said.
    pub server: Option<String>,
    /// A command that it, and record holders of its own beside it, are started by.
    pub through: Vec<String>,
}

impl Default for Place {
    /// Beside everything else.
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), server: None, through: Vec::new() }
    }
}

/// What a deployment is made on.
#[derive(Default)]
pub struct Site {
    /// The database server; a file where there is none.
    pub server: Option<Server>,
    /// A gateway for each.
    pub places: Vec<Place>,
    /// Makes the folder that the file is in.
    pub disk: Option<fn(&Path)>,
}

/// One gateway.
pub struct Replica {
    /// Where partners connect.
    pub port: u16,
    /// Another program than the one that was built.
    pub program: Option<PathBuf>,
    host: String,
    /// What stands between it and the server.
    pub proxy: Option<Proxy>,
    probe: u16,
    /// Its settings.
    pub config: PathBuf,
    log: PathBuf,
    /// What its process finds in its environment.
    pub environment: Vec<(String, String)>,
    /// A command that its process is started by: its arguments end with the program's.
    pub through: Vec<String>,
    child: Option<Child>,
}

/// A deployment; its processes end with it.
pub struct Deployment {
    folder: TempDir,
    /// Its partners.
    pub partners: Arc<Partners>,
    /// Its gateways.
    pub replicas: Vec<Replica>,
    /// Its database server.
    pub server: Option<Server>,
    holders: Vec<Holder>,
    faults: Vec<Value>,
    unnoticed: u64,
    usage: Vec<Usage>,
}

/// A record holder.
struct Holder {
    kind: &'static str,
    port: u16,
    through: Vec<String>,
    child: Child,
}

/// The built program.
pub fn program() -> PathBuf {
    beside("concordat")
}

/// A program that was built with this one.
pub fn beside(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("build the programs first: cargo build --workspace"))
}

/// Sends a signal.
pub fn signal(name: &str, processes: &[u32]) {
    let processes: Vec<_> = processes.iter().map(ToString::to_string).collect();
    // One that has ended already is none.
    let _ =
        Command::new("kill").arg(format!("-{name}")).args(processes).stderr(Stdio::null()).status().unwrap();
}

impl Deployment {
    /// Starts the database, the record holders and so many gateways.
    pub async fn start(store: Store, gateways: usize, change: impl Fn(usize, &mut Replica)) -> Self {
        let server = match store {
            Store::File => None,
            Store::Server => Some(Server::start(&["max_connections=200"]).await),
        };
        Self::start_on(server, gateways, change).await
    }

    /// As [`Self::start`], on a server that is there.
    pub async fn start_on(
        server: Option<Server>,
        gateways: usize,
        change: impl Fn(usize, &mut Replica),
    ) -> Self {
        Self::start_in(Site { server, places: vec![Place::default(); gateways], disk: None }, change).await
    }

    /// As [`Self::start`], where it is said.
    pub async fn start_in(site: Site, change: impl Fn(usize, &mut Replica)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateways = site.places.len();
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        acceptance::copy_folder(&policies, &folder.path().join("policies"));
        let ports: Vec<_> = (0..4 + 2 * gateways).map(|_| acceptance::unused_port()).collect();
        let at = Ports { gateway: ports[0], nhs: ports[1], council: ports[2], fire: ports[3] };
        let settings = keys::prepare(folder.path(), &folder.path().join("policies"), at).unwrap();
        let mut settings = fs::read_to_string(settings).unwrap();
        if let Some(disk) = site.disk {
            disk(&folder.path().join("disk"));
            // A server has its own.
            settings = settings.replacen(
                "\"concordat.db\"",
                "\"disk/concordat.db\"",
                usize::from(site.server.is_none()),
            );
        }
        let holders = [("nhs", at.nhs), ("council", at.council), ("fire", at.fire)];
        let mut started = Vec::new();
        let mut through: Vec<_> = site.places.iter().map(|place| &place.through).collect();
        through.dedup(); // those that are in one place share them
        for through in through {
            started.extend(holders.map(|(kind, port)| Holder {
                kind,
                port,
                through: through.clone(),
                child: simulator(folder.path(), through, kind, port),
            }));
        }
        let seed = u64::from(std::process::id()) << 32;
        let partners = Arc::new(Partners::of(folder.path(), Arc::new(SystemClock), seed).keeping_tokens());
        let mut deployment = Self {
            partners,
            replicas: Vec::new(),
            server: site.server,
            holders: started,
            faults: Vec::new(),
            unnoticed: 0,
            usage: Vec::new(),
            folder,
        };
        for (number, place) in site.places.iter().enumerate() {
            let (port, probe) = (ports[4 + 2 * number], ports[5 + 2 * number]);
            deployment.add(number, place, &settings, (at.gateway, port, probe), &change).await;
        }
        deployment
    }

    async fn add(
        &mut self,
        number: usize,
        place: &Place,
        settings: &str,
        (public, port, probe): (u16, u16, u16),
        change: &impl Fn(usize, &mut Replica),
    ) {
        let folder = self.folder.path().join(format!("gateway-{number}"));
        fs::create_dir(&folder).unwrap();
        let mut text = settings
            .replacen(
                &format!("listen = \"127.0.0.1:{public}\""),
                &format!("listen = \"{host}:{port}\"\nprobe_listen = \"{host}:{probe}\"", host = place.host),
                1,
            )
            .replacen("\"checkpoint.txt\"", &format!("\"gateway-{number}/checkpoint.txt\""), 1);
        let mut proxy = None;
        if let Some(server) = &self.server {
            if number == 0 {
                store::scratch::on(&server.url, self.folder.path()).await;
            }
            let database = store::scratch::name(self.folder.path());
            let address = if let Some(address) = &place.server {
                address.clone()
            } else {
                let before = Proxy::before(server.port()).await;
                let address = format!("127.0.0.1:{}", before.port);
                proxy = Some(before);
                address
            };
            let url = format!("\"postgres://concordat@{address}/{database}\"");
            text = text.replacen("\"concordat.db\"", &url, 1);
        }
        let config = self.folder.path().join(format!("gateway-{number}.toml"));
        // Workers that ask again and again about whoever has withdrawn, or about made-up people one after the other, look like
        // somebody who guesses.
        let max = u32::MAX;
        let limits = ["no_record", "run", "no_record_per_system", "run_per_system"]
            .map(|of| format!("{of}_at_least = {max}"));
        let lifted = format!("{}\nrecords_about_one_per_day = {max}", limits.join("\n"));
        fs::write(&config, format!("{text}\n[limits.caller]\n{lifted}\n")).unwrap();
        let log = self.folder.path().join(format!("gateway-{number}.log"));
        let mut replica = Replica {
            port: reachable(&place.host, port).await,
            proxy,
            program: None,
            host: place.host.clone(),
            probe,
            config,
            log,
            environment: Vec::new(),
            through: place.through.clone(),
            child: None,
        };
        change(number, &mut replica);
        if number > 0 {
            // The newest checkpoint of a ledger that others have begun.
            let first = self.folder.path().join("gateway-0/checkpoint.txt");
            fs::copy(first, folder.join("checkpoint.txt")).unwrap();
        }
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(30)).await, "{}", replica.said());
        self.replicas.push(replica);
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Notes that from one moment to another (microseconds of the account) nothing could be recorded, so that nothing may
    /// have been released.
    pub fn nothing_recordable(&mut self, from_us: u64, until_us: u64) {
        self.faults.push(json!({ "from_us": from_us, "until_us": until_us }));
    }

    /// As [`Self::nothing_recordable`], of the gateway at one port.
    pub fn nothing_recordable_at(&mut self, port: u16, from_us: u64, until_us: u64) {
        self.faults.push(json!({ "port": port, "from_us": from_us, "until_us": until_us }));
    }

    /// Notes that so many more requests were broken off, which are in nobody's account.
    pub fn unnoticed(&mut self, count: u64) {
        self.unnoticed += count;
    }

    /// Notes what its gateways use while nothing has broken.
    pub fn note_usage(&mut self) {
        let now = self.replicas.iter().map(|replica| Usage::of(replica.process()).unwrap_or_default());
        let before = std::mem::take(&mut self.usage);
        let before = before.into_iter().chain(std::iter::repeat(Usage::default()));
        self.usage = now.zip(before).map(|(now, before)| now.or_more(before)).collect();
    }

    /// What each gateway used before, and what it uses when that has settled, or after a minute all the same.
    async fn usage_settled(&self) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut settled = Vec::new();
        for (replica, before) in self.replicas.iter().zip(&self.usage) {
            let mut now = Usage::of(replica.process());
            while now.is_some_and(|now| !now.is_within_a_tenth_of(*before)) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(250)).await;
                now = Usage::of(replica.process());
            }
            if let Some(now) = now {
                settled.push(json!({ "before": before, "after": now }));
            }
        }
        settled.into()
    }

    /// Ends the record holders of a kind.
    pub fn end_holders(&mut self, kind: &str) {
        self.holders.iter_mut().filter(|holder| holder.kind == kind).for_each(Holder::end);
    }

    /// Starts those that were ended.
    pub fn start_holders(&mut self, kind: &str) {
        for holder in self.holders.iter_mut().filter(|holder| holder.kind == kind) {
            holder.child = simulator(self.folder.path(), &holder.through, kind, holder.port);
        }
    }

    /// A second process with a gateway's settings.
    pub fn another_of(&self, number: usize) -> Replica {
        let first = &self.replicas[number];
        let mut second = Replica {
            port: first.port,
            program: first.program.clone(),
            host: first.host.clone(),
            proxy: None,
            probe: first.probe,
            config: first.config.clone(),
            log: first.log.clone(),
            environment: first.environment.clone(),
            through: first.through.clone(),
            child: None,
        };
        second.start();
        second
    }

    /// A subcommand of the program, over the first gateway's settings.
    pub fn run(&self, verb: &[&str]) -> std::process::Output {
        Command::new(program()).args(verb).arg("--config").arg(&self.replicas[0].config).output().unwrap()
    }

    /// Waits until no question is open, exports the ledger, has it verified, and has everything checked. What the checker
    /// counted comes back.
    pub async fn check(&self) -> Value {
        let export = self.folder.path().join("ledger.ndjson");
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let _ = fs::remove_file(&export);
            let exported = self.run(&["audit", "export", "--out", export.to_str().unwrap()]);
            assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
            let verified =
                Command::new(program()).args(["audit", "verify", "--export"]).arg(&export).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stdout).into_owned();
            assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
            if !said.contains("still open") {
                break;
            }
            assert!(Instant::now() < deadline, "questions stay open: {said}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let personal = [acceptance::personal_values(), vec![MADE_UP.to_owned()]].concat();
        let inputs = json!({
            "unrecordable": self.faults,
            "unnoticed": self.unnoticed,
            "usage": self.usage_settled().await,
            "personal": personal,
            "logs": self.replicas.iter().map(|replica| &replica.log).collect::<Vec<_>>(),
        });
        fs::write(self.folder.path().join("inputs.json"), inputs.to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("check.py");
        let checked = Command::new("python3").arg(script).arg(self.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
        serde_json::from_str(&said).unwrap()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            replica.kill();
        }
        for holder in &mut self.holders {
            holder.end();
        }
        if std::thread::panicking() {
            for replica in &self.replicas {
                let said = replica.said();
                let last: Vec<_> = said.lines().rev().take(15).collect();
                eprintln!(
                    "{}:\n{}",
                    replica.log.display(),
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
        }
    }
}

/// Where partners reach a gateway: its name is that of this machine, whose network it may not be in.
async fn reachable(host: &str, port: u16) -> u16 {
    match host {
        "127.0.0.1" => port,
        _ => Proxy::before_host(host, port).await.port,
    }
}

/// A program, started by a command.
fn started_by(through: &[String], program: PathBuf) -> Command {
    match through.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

impl Holder {
    fn end(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn simulator(folder: &Path, through: &[String], kind: &str, port: u16) -> Child {
    let file = |name: &str| folder.join(name);
    started_by(through, program())
        .args(["simulate", kind, "--port", &port.to_string(), "--certificate"])
        .arg(file(&format!("{kind}-server.pem")))
        .arg("--key")
        .arg(file(&format!("{kind}-server.key")))
        .arg("--client-ca")
        .arg(file("ca.pem"))
        .stdin(Stdio::piped()) // it ends when this does
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Replica {
    /// Starts its process.
    pub fn start(&mut self) {
        self.start_with(|_| {});
    }

    /// Starts its process with something changed.
    pub fn start_with(&mut self, change: impl FnOnce(&mut Command)) {
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = started_by(&self.through, self.program.clone().unwrap_or_else(program));
        command.args(["serve", "--config"]).arg(&self.config).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        change(&mut command);
        self.child = Some(command.spawn().unwrap());
    }

    /// Changes its settings.
    pub fn change_settings(&self, find: &str, replace: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(find), "{find}");
        fs::write(&self.config, text.replacen(find, replace, 1)).unwrap();
    }

    /// Adds to its settings.
    pub fn append_settings(&self, more: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, format!("{text}\n{more}")).unwrap();
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends its process at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended
            child.wait().unwrap();
        }
    }

    /// Ends its process as a service manager does, and waits for it.
    pub async fn terminate(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal("TERM", &[child.id()]);
        let deadline = Instant::now() + Duration::from_secs(40);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The deployment's folder.
    pub fn folder(&self) -> PathBuf {
        self.config.parent().unwrap().to_owned()
    }

    /// Whether its process ends by itself in this time.
    pub async fn ends_within(&mut self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        !self.is_running()
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// What its load balancer sees: the status of `/readyz`, and which checks failed.
    pub async fn ready(&self) -> Option<(u16, String)> {
        let url = format!("http://{}:{}/readyz", self.host, self.probe);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(12)).build().unwrap();
        let answer = client.get(url).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Whether it becomes ready in this time.
    pub async fn is_ready_within(&self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        while Instant::now() < deadline {
            if self.ready().await.is_some_and(|(status, _)| status == 200) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// How long its log is.
    pub fn log_length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// What its log has after so many bytes.
    pub fn said_since(&self, length: u64) -> String {
        let mut log = fs::File::open(&self.log).unwrap();
        log.seek(SeekFrom::Start(length)).unwrap();
        let mut said = Vec::new();
        log.read_to_end(&mut said).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Its log.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
