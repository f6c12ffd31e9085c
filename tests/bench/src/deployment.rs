//! What several benchmarks do alike: gateways and record holders as processes of their own, questions signed before the
//! clock runs, and what processes and databases use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use gateway::{
    cli::{
        demo::keys::{self, Ports},
        token::Partner,
    },
    clock::{Clock as _, SystemClock, SystemEntropy, uuid},
    mint::{AccessToken, MintingKey, SharingContext},
    tls::CertificateFingerprint,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::Semaphore;

/// A process that ends with this.
pub struct Process(std::process::Child);

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as a service manager does, and waits.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.id().to_string()).status()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// A gateway's folder, settings and ports.
pub struct Place {
    /// Where keys and certificates are.
    pub state: PathBuf,
    /// The settings.
    pub config: PathBuf,
    /// Where partners connect.
    pub port: u16,
    probe: u16,
}

/// The built program, beside this one.
///
/// # Errors
/// When it was not built.
pub fn concordat() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("concordat");
    ensure!(program.exists(), "build the gateway first: cargo build --release -p gateway");
    Ok(program)
}

/// Settings for one practitioner who asks about everybody: it is counted, and stopped by nothing.
pub fn without_budgets() -> String {
    format!(
        "[limits.caller]\nsubjects_per_practitioner_per_day = {max}\nsubjects_per_system_per_day = {max}\n\
         no_record_at_least = {max}\nrun_at_least = {max}\n\
         no_record_per_system_at_least = {max}\nrun_per_system_at_least = {max}\nrecords_about_one_per_day = {max}\n",
        max = u32::MAX
    )
}

/// Gateways over one database: keys in one folder, and each with its own settings and copy of the checkpoint.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(state: &Path, first: u16, database: &str, gateways: u16) -> anyhow::Result<Vec<Place>> {
    prepare_with(state, first, (database, Path::new("policies")), gateways)
}

/// The same with these policies.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare_with(
    state: &Path,
    first: u16,
    (database, policies): (&str, &Path),
    gateways: u16,
) -> anyhow::Result<Vec<Place>> {
    let ports = Ports { gateway: first, nhs: first + 1, council: first + 2, fire: first + 3 };
    let settings = fs::read_to_string(keys::prepare(state, policies, ports)?)?;
    let place = |number: u16| {
        let (port, probe) = (first + if number == 0 { 0 } else { 10 + number }, first + 20 + number);
        let listen = format!("listen = \"127.0.0.1:{port}\"\nprobe_listen = \"127.0.0.1:{probe}\"");
        let text = settings.replacen(&format!("listen = \"127.0.0.1:{first}\""), &listen, 1);
        let text = text.replacen("\"concordat.db\"", &format!("{database:?}"), 1);
        fs::create_dir_all(state.join(format!("gateway-{number}")))?;
        let copy = format!("\"gateway-{number}/checkpoint.txt\"");
        let config = state.join(format!("gateway-{number}.toml"));
        let text = text.replacen("\"checkpoint.txt\"", &copy, 1);
        fs::write(&config, format!("{text}\n{}", without_budgets()))?;
        Ok(Place { state: state.to_owned(), config, port, probe })
    };
    (0..gateways).map(place).collect()
}

impl Place {
    /// Starts a gateway here. Returns it and how long it took until it was ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn serve(&self) -> anyhow::Result<(Process, Duration)> {
        let began = Instant::now();
        let mut command = Command::new(concordat()?);
        command.arg("serve").arg("--config").arg(&self.config).env("RUST_LOG", "warn");
        let process = Process::start(&mut command)?;
        let url = format!("http://127.0.0.1:{}/readyz", self.probe);
        let client = reqwest::Client::builder().no_proxy().build()?;
        while began.elapsed() < Duration::from_mins(5) {
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok((process, began.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the gateway does not become ready")
    }

    /// Starts a simulated record holder, whose port is `step` after the first gateway's.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn simulate(&self, kind: &str, port: u16) -> anyhow::Result<Process> {
        let file = |ending: &str| self.state.join(format!("{kind}-server.{ending}"));
        let mut command = Command::new(concordat()?);
        command.args(["simulate", kind, "--port", &port.to_string(), "--certificate"]).arg(file("pem"));
        command.arg("--key").arg(file("key")).arg("--client-ca").arg(self.state.join("ca.pem"));
        Process::start(&mut command)
    }
}

/// The fire service, which asks.
pub struct Asking {
    client: reqwest::Client,
    access: String,
    own: MintingKey,
    partner: Partner,
    issued_at_s: i64,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `/v1/decisions` or `/v1/disclosures`.
    pub path: &'a str,
    /// The record holder.
    pub provider: &'a str,
    /// For what.
    pub purpose: &'a str,
    /// Scheme and value.
    pub subject: (&'a str, &'a str),
}

impl Asking {
    /// With a token of its own, which is good for ten minutes.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn of(state: &Path, connections: usize) -> anyhow::Result<Self> {
        let read = |name: &str| fs::read_to_string(state.join(name)).with_context(|| name.to_owned());
        let partner: Partner = toml::from_str(&read("fire.partner.toml")?)?;
        let issuer = MintingKey::from_pem(&read("issuer.key")?, "issuer-1")?;
        let own = MintingKey::from_pem(&read("fire-context.key")?, "context-1")?;
        let certificate =
            CertificateFingerprint::of(&CertificateDer::from_pem_slice(read("fire.pem")?.as_bytes())?);
        let purposes: Vec<_> = partner.purposes.iter().map(String::as_str).collect();
        let issued_at_s = SystemClock.now().as_second();
        let access = AccessToken {
            issuer: &partner.issuer,
            audience: &partner.audience,
            client_id: &partner.client_id,
            certificate,
            purposes: &purposes,
            issued_at_s,
            jti: &uuid(&SystemEntropy),
        };
        let access = issuer.sign("at+jwt", &access.claims())?;
        let pem = format!("{}\n{}", read("fire.pem")?, read("fire.key")?);
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(read("ca.pem")?.as_bytes())?])
            .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(connections)
            .build()?;
        Ok(Self { client, access, own, partner, issued_at_s })
    }

    /// A question, signed, to the gateway at this port.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn question(&self, port: u16, question: Question<'_>) -> anyhow::Result<reqwest::RequestBuilder> {
        let Question { path, provider, purpose, subject } = question;
        let context = self.context(path, purpose, Some(subject), None)?;
        let body = serde_json::json!({ "subject": { "scheme": subject.0, "value": subject.1 }, "provider": provider, "purpose": purpose, "case_reference": "BENCH-1" });
        Ok(self.request(port, path, &context).json(&body))
    }

    /// A list of people by NHS number, signed.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn list(
        &self,
        port: u16,
        (provider, purpose): (&str, &str),
        numbers: &[String],
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        const PATH: &str = "/v1/disclosures/list";
        let first =
            serde_json::json!({ "provider": provider, "purpose": purpose, "case_reference": "BENCH-1" });
        let people =
            numbers.iter().map(|number| serde_json::json!({ "scheme": "nhs-number", "value": number }));
        let lines = std::iter::once(first).chain(people).flat_map(|line| [line.to_string(), "\n".to_owned()]);
        let body: String = lines.collect();
        let context = self.context(PATH, purpose, None, Some(&gateway::list::digest(body.as_bytes())))?;
        Ok(self.request(port, PATH, &context).header("Content-Type", "application/x-ndjson").body(body))
    }

    fn request(&self, port: u16, path: &str, context: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("https://localhost:{port}{path}"));
        request.bearer_auth(&self.access).header("Sharing-Context", context)
    }

    fn context(
        &self,
        path: &str,
        purpose: &str,
        record: Option<(&str, &str)>,
        list: Option<&str>,
    ) -> anyhow::Result<String> {
        let context = SharingContext {
            client_id: &self.partner.client_id,
            organisation: &self.partner.organisation,
            audience: &self.partner.audience,
            method: "POST",
            url: &format!("{}{path}", self.partner.public_url),
            purpose,
            case_reference: "BENCH-1",
            record,
            list,
            practitioner: (&self.partner.practitioner, &self.partner.role),
            issued_at_s: self.issued_at_s,
            jti: &uuid(&SystemEntropy),
        };
        self.own.sign("sharing-context+jwt", &context.claims())
    }
}

/// How a round went.
pub struct Round {
    /// Half of the answers came within so many milliseconds.
    pub p50_ms: f64,
    /// Of a hundred answers, all but one came within so many milliseconds.
    pub p99_ms: f64,
    /// Answers in a second.
    pub per_second: f64,
}

/// Sends requests over as many connections, each of which must be answered with 200.
///
/// # Errors
/// When one is not.
pub async fn run(requests: Vec<reqwest::RequestBuilder>, connections: usize) -> anyhow::Result<Round> {
    let (places, began) = (Arc::new(Semaphore::new(connections)), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let place = places.clone().acquire_owned().await?;
        tasks.spawn(async move {
            let began = Instant::now();
            let answer = request.send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            drop(place);
            ensure!(status.is_success(), "{status}: {text}");
            anyhow::Ok(began.elapsed().as_secs_f64() * 1_000.0)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.push(done??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    let per_second = count(times.len()) / elapsed;
    let (p50_ms, p99_ms) = quantiles(&mut times);
    Ok(Round { p50_ms, p99_ms, per_second })
}

/// The half and the ninety-nine hundredths.
pub fn quantiles(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (quantile(times, 500).unwrap_or(0.0), quantile(times, 990).unwrap_or(0.0))
}

/// What so many in a thousand do not exceed, of values in order.
pub fn quantile<T: Copy>(sorted: &[T], of_thousand: usize) -> Option<T> {
    sorted.get((sorted.len() * of_thousand).div_ceil(1_000).saturating_sub(1)).copied()
}

/// A count as a number that divides.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub fn count(count: usize) -> f64 {
    count as f64
}

/// A number of `/proc/PID/status`, in MiB.
///
/// # Errors
/// When the process has ended.
pub fn memory_mib(process: u32, name: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let text = line.context("no such number")?.trim().trim_end_matches(" kB");
    Ok(text.parse::<f64>()? / 1_024.0)
}

/// CPU time of processes, in seconds.
///
/// # Errors
/// When one has ended.
pub fn cpu_s(processes: &[u32]) -> anyhow::Result<f64> {
    let mut ticks = 0_u32;
    for process in processes {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let used = after_name.split_whitespace().skip(11).take(2);
        ticks += used.filter_map(|ticks| ticks.parse::<u32>().ok()).sum::<u32>();
    }
    Ok(f64::from(ticks) / 100.0) // USER_HZ
}

/// What a server says to a question, as `psql` prints it.
///
/// # Errors
/// When it does not answer.
pub fn ask_server(url: &str, question: &str) -> anyhow::Result<String> {
    let said = Command::new("psql").args([url, "-XAtc", question]).output().context("psql")?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}
