//! Everything that runs beside the client, each as a process of its own, and what each of them has used.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use gateway::cli::demo::keys::{self, Ports};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

/// Every port, on 127.0.0.1.
pub(crate) const GATEWAY: u16 = 29_443;
const HOLDER: u16 = 29_444;
pub(crate) const HYPER: u16 = 29_447;
pub(crate) const NGINX: u16 = 29_448;
pub(crate) const NGINX_ASKING: u16 = 29_449;
const DECISIONS: u16 = 29_450;
/// The gateway with nothing observed, and with all that can be.
pub(crate) const UNOBSERVED: u16 = 29_451;
pub(crate) const TRACED: u16 = 29_452;
const COLLECTOR: u16 = 29_453;
const COLLECTOR_GRPC: u16 = 29_454;

/// The collector, where `./test` puts it.
const COLLECTS: &str = "target/third-party/rotel/rotel/rotel-agent";

/// The decision service's program, which is of a workspace of its own.
const DECIDES: &str = "tests/decision-service/target/release/decision-service";

/// An agreement over one more item, so that a third of a large record leaves.
const TELEPHONES: &str = "\n[[flows.items]]\nitem = \"person.telephone\"\nform = \"as-is\"\njustification = \"Made up for the benchmark.\"\n";

/// What is measured, and what it needs.
pub(crate) struct Contestants {
    pub(crate) gateway: Child,
    pub(crate) hyper: Child,
    pub(crate) nginx: Child,
    pub(crate) nginx_asking: Child,
    pub(crate) decisions: Child,
    /// From the start of the gateway's process until it took a connection.
    pub(crate) gateway_ready: Duration,
    /// The gateway's program.
    pub(crate) concordat: PathBuf,
    pub(crate) observed: Option<Observed>,
    _holder: Child,
}

/// The gateway twice more, to tell what it costs to observe it.
pub(crate) struct Observed {
    /// Without metrics and without a line for each request.
    pub(crate) unobserved: Child,
    /// With metrics, lines, and every span sent to a collector.
    pub(crate) traced: Child,
    _collector: Child,
}

/// The gateway with a record holder, and nobody else.
pub(crate) struct Alone {
    pub(crate) gateway: Child,
    concordat: PathBuf,
    settings: PathBuf,
    _holder: Child,
}

/// Makes keys and settings in a folder, with more settings, loads people, each with a consent, and starts the gateway.
pub(crate) async fn alone(
    state: &Path,
    database: Option<&str>,
    more: &str,
    people: Option<u64>,
) -> anyhow::Result<Alone> {
    let concordat = concordat()?;
    let settings = settings(state, database, more)?;
    if let Some(people) = people.map(|people| people.to_string()) {
        let began = Instant::now();
        let mut load = Command::new(&concordat);
        load.arg("load").arg("--config").arg(&settings).args(["--organisation", "trafford-council"]);
        let load = load.args(["--generate", &people, "--consents", &people]).output().await?;
        ensure!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
        crate::say(&format!(
            "{people} people with a consent each were loaded in {} s",
            began.elapsed().as_secs()
        ));
    }
    let holder = of_ours(state, "holder", HOLDER)?;
    answers(HOLDER).await?;
    let gateway = spawn(Command::new(&concordat).arg("serve").arg("--config").arg(&settings))?;
    answers(GATEWAY).await?;
    Ok(Alone { gateway, concordat, settings, _holder: holder })
}

impl Alone {
    /// Ends the gateway as a service manager does. How many releases its ledger has, which is verified.
    pub(crate) async fn end(mut self, state: &Path) -> anyhow::Result<u64> {
        std::process::Command::new("kill").arg(pid(&self.gateway)?.to_string()).status()?;
        self.gateway.wait().await?;
        releases(&self.concordat, &self.settings, state)
    }
}

/// How many releases the ledger has, verified.
fn releases(concordat: &Path, settings: &Path, state: &Path) -> anyhow::Result<u64> {
    let export = state.join("ledger.ndjson");
    let exported = std::process::Command::new(concordat)
        .args(["audit", "export", "--out"])
        .arg(&export)
        .arg("--config")
        .arg(settings)
        .output()?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let verified =
        std::process::Command::new(concordat).args(["audit", "verify", "--export"]).arg(&export).output()?;
    let (said, wrong) =
        (String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
    ensure!(verified.status.success(), "{said}{wrong}");
    let text = std::io::BufReader::new(std::fs::File::open(&export)?);
    let mut releases = 0;
    for line in std::io::BufRead::lines(text) {
        releases += u64::from(line?.contains("\"kind\":\"release\""));
    }
    Ok(releases)
}

fn concordat() -> anyhow::Result<PathBuf> {
    let concordat = std::env::current_exe()?.with_file_name("concordat");
    ensure!(concordat.exists(), "build the gateway first, with the same profile");
    Ok(concordat)
}

/// Keys, and settings with more in them.
fn settings(state: &Path, database: Option<&str>, more: &str) -> anyhow::Result<PathBuf> {
    let ports = Ports { gateway: GATEWAY, nhs: HOLDER, council: 29_445, fire: 29_446 };
    let settings = keys::prepare(state, &policies(state)?, ports)?;
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, format!("{text}\n{more}\n{}", deployment::without_budgets()))?;
    if let Some(database) = database {
        set_database(&settings, database)?;
    }
    Ok(settings)
}

fn of_ours(state: &Path, mode: &str, listen: u16) -> anyhow::Result<Child> {
    let here = std::env::current_exe()?;
    spawn(Command::new(here).arg(mode).arg(state).args([listen.to_string(), HOLDER.to_string()]))
}

/// Makes keys and settings in a folder and starts everybody.
pub(crate) async fn start(
    state: &Path,
    database: Option<&str>,
    is_observed: bool,
) -> anyhow::Result<Contestants> {
    let concordat = concordat()?;
    let settings = settings(state, database, "")?;
    let holder = of_ours(state, "holder", HOLDER)?;
    let hyper = of_ours(state, "proxy", HYPER)?;
    ensure!(
        Path::new(DECIDES).exists(),
        "build the decision service first: cd tests/decision-service && cargo build --release"
    );
    let decisions = spawn(Command::new(DECIDES).arg(state).arg(DECISIONS.to_string()))?;
    let (nginx, nginx_asking) = (nginx(state, NGINX, false)?, nginx(state, NGINX_ASKING, true)?);
    for port in [HOLDER, HYPER, DECISIONS, NGINX, NGINX_ASKING] {
        answers(port).await?;
    }
    let started = Instant::now();
    let gateway = spawn(Command::new(&concordat).arg("serve").arg("--config").arg(&settings))?;
    answers(GATEWAY).await?;
    let gateway_ready = started.elapsed();
    let observed = if is_observed { Some(observed(&concordat, state, &settings).await?) } else { None };
    Ok(Contestants {
        gateway,
        hyper,
        nginx,
        nginx_asking,
        decisions,
        gateway_ready,
        concordat,
        observed,
        _holder: holder,
    })
}

async fn observed(concordat: &Path, state: &Path, settings: &Path) -> anyhow::Result<Observed> {
    ensure!(Path::new(COLLECTS).exists(), "run ./test once: it installs the collector");
    let collector = spawn(
        Command::new(COLLECTS)
            .args(["start", "--exporter", "blackhole"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{COLLECTOR}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{COLLECTOR_GRPC}")]),
    )?;
    answers(COLLECTOR).await?;
    let at = format!("http://127.0.0.1:{COLLECTOR}/v1");
    let unobserved = "metrics = false\nlog_filter = \"off\"".to_owned();
    let traced = format!("otlp_endpoint = \"{at}/traces\"\notlp_metrics_endpoint = \"{at}/metrics\"");
    let text = std::fs::read_to_string(settings)?;
    let start = async |port: u16, telemetry: &str| {
        let own = state.join(format!("observed-{port}.toml"));
        let text = text
            .replacen(&format!(":{GATEWAY}\""), &format!(":{port}\""), 1)
            .replacen("\"concordat.db\"", &format!("\"observed-{port}.db\""), 1)
            .replacen("\"checkpoint.txt\"", &format!("\"observed-{port}.txt\""), 1);
        std::fs::write(&own, format!("{text}\n[telemetry]\n{telemetry}\n"))?;
        let child = spawn(Command::new(concordat).arg("serve").arg("--config").arg(&own))?;
        answers(port).await?;
        anyhow::Ok(child)
    };
    Ok(Observed {
        unobserved: start(UNOBSERVED, &unobserved).await?,
        traced: start(TRACED, &traced).await?,
        _collector: collector,
    })
}

/// The project's own policies, with one item more in the agreement that is asked under.
fn policies(state: &Path) -> anyhow::Result<PathBuf> {
    let copy = state.join("policies");
    for entry in std::fs::read_dir("policies").context("run it where policies/ is")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let folder = copy.join(entry.file_name());
            std::fs::create_dir_all(&folder)?;
            for file in std::fs::read_dir(entry.path())? {
                let file = file?;
                std::fs::copy(file.path(), folder.join(file.file_name()))?;
            }
        } else {
            std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
    }
    let agreement = copy.join("agreements/gm-fire-prevention-over-65s.toml");
    let text = std::fs::read_to_string(&agreement)? + TELEPHONES;
    std::fs::write(&agreement, text)?;
    Ok(copy)
}

fn set_database(settings: &Path, database: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(settings)?;
    let changed: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with("database = ") {
                format!("database = \"{database}\"")
            } else {
                line.to_owned()
            }
        })
        .collect();
    Ok(std::fs::write(settings, changed.join("\n"))?)
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null());
    if std::env::args().all(|argument| argument != "--loud") {
        quiet.stderr(Stdio::null());
    }
    Ok(quiet.kill_on_drop(true).spawn()?)
}

/// Waits until somebody takes connections.
async fn answers(port: u16) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(started.elapsed() < Duration::from_mins(1), "nobody answers on port {port}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// nginx with the same certificates, alone or asking the decision service about every request.
fn nginx(state: &Path, port: u16, asks: bool) -> anyhow::Result<Child> {
    let folder = state.display();
    let ask = if asks { "auth_request /decide;" } else { "" };
    let decide = "location = /decide { internal; proxy_pass http://decisions; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
        proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; }";
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.{port}.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         proxy_buffers 16 16k; proxy_buffer_size 16k; proxy_busy_buffers_size 64k;\n\
         upstream nhs {{ server 127.0.0.1:{HOLDER}; keepalive 64; keepalive_requests 1000000; }}\n\
         upstream decisions {{ server 127.0.0.1:{DECISIONS}; keepalive 64; keepalive_requests 1000000; }}\n\
         server {{ listen 127.0.0.1:{port} ssl; keepalive_requests 1000000; ssl_certificate {folder}/gateway.pem; ssl_certificate_key {folder}/gateway.key;\n\
         ssl_client_certificate {folder}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;\n\
         {decide}\n\
         location / {{ {ask} proxy_pass https://nhs; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_ssl_certificate {folder}/gateway.pem;\n\
         proxy_ssl_certificate_key {folder}/gateway.key; proxy_ssl_trusted_certificate {folder}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_session_reuse on; }} }} }}\n"
    );
    let path = state.join(format!("nginx.{port}.conf"));
    std::fs::write(&path, config)?;
    spawn(Command::new("nginx").arg("-c").arg(&path).arg("-p").arg(state)).context("nginx is not installed")
}

/// The process of a child.
pub(crate) fn pid(child: &Child) -> anyhow::Result<u32> {
    child.id().context("a process has ended")
}

/// Time on a processor of every thread of these processes.
pub(crate) fn cpu(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for pid in pids {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // One that has just ended has no more to say.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Memory that a process has now and had at most, in MB.
pub(crate) fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}
