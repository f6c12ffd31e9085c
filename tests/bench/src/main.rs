//! CPU time per request of the gateway, permit and deny, beside a bare hyper reverse proxy and nginx, with the same
//! TLS, the same upstream and the same client, in one run. Method and figures: `docs/benchmarks.md`.
//!
//! `cargo build --release -p gateway && cargo run --release -p bench -- 3000 16`

use std::{
    path::{Path, PathBuf},
    process::Stdio,
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
use tokio::{
    process::{Child, Command},
    sync::Semaphore,
};

mod proxy;

/// The person of every question.
const NUMBER: &str = "9732110317";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder, listen, upstream] = arguments.as_slice()
        && mode == "proxy"
    {
        return proxy::run(Path::new(folder), listen.parse()?, upstream.parse()?).await;
    }
    let number = |position: usize, otherwise: usize| {
        arguments
            .get(position)
            .map_or(Ok(otherwise), |text| text.parse())
            .context("the arguments are: requests connections")
    };
    measure(number(0, 3_000)?, number(1, 16)?).await
}

/// A line of the table.
struct Measured {
    name: &'static str,
    cpu_us: f64,
    p50_us: u128,
    p99_us: u128,
    per_second: f64,
}

async fn measure(requests: usize, connections: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ports = Ports { gateway: 29_443, nhs: 29_444, council: 29_445, fire: 29_446 };
    let (proxy_port, nginx_port) = (29_447, 29_448);
    let state = folder.path().to_owned();
    keys::prepare(&state, Path::new("policies"), ports)?;
    let here = std::env::current_exe()?;
    let concordat = here.with_file_name("concordat");
    ensure!(concordat.exists(), "build the gateway first: cargo build --release -p gateway");
    let upstream = spawn(
        Command::new(&concordat)
            .args(["simulate", "nhs", "--port", &ports.nhs.to_string()])
            .args(files(&state, "nhs-server")),
    )?;
    let gateway = spawn(
        Command::new(&concordat)
            .arg("serve")
            .arg("--config")
            .arg(state.join("concordat.toml"))
            .env("RUST_LOG", "warn"),
    )?;
    let proxy = spawn(
        Command::new(&here).arg("proxy").arg(&state).args([proxy_port.to_string(), ports.nhs.to_string()]),
    )?;
    let nginx = nginx(&state, nginx_port, ports.nhs)?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let client = client(&state, connections)?;
    let direct = format!("/personal-demographics/FHIR/R4/Patient/{NUMBER}");
    let mut table = Vec::new();
    for round in ["warm", "measured"] {
        table.clear();
        let plain = |port: u16| {
            (0..requests)
                .map(|_| {
                    client
                        .get(format!("https://localhost:{port}{direct}"))
                        .header("X-Request-ID", uuid(&SystemEntropy))
                })
                .collect::<Vec<_>>()
        };
        if let Some(nginx) = &nginx {
            table.push(run("nginx proxy", vec![pid(nginx)?], plain(nginx_port), connections, 200).await?);
        }
        table.push(run("bare hyper proxy", vec![pid(&proxy)?], plain(proxy_port), connections, 200).await?);
        let permit = questions(&client, &state, "fire-prevention-targeting", requests)?;
        table.push(run("concordat, permit", vec![pid(&gateway)?], permit, connections, 200).await?);
        let deny = questions(&client, &state, "safe-and-well-referral", requests)?;
        table.push(run("concordat, deny", vec![pid(&gateway)?], deny, connections, 403).await?);
        if round == "measured" {
            print(&table, requests, connections);
        }
    }
    drop((upstream, gateway, proxy, nginx));
    Ok(())
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn()?)
}

fn files(state: &Path, name: &str) -> Vec<PathBuf> {
    let file = |suffix: &str| state.join(format!("{name}.{suffix}"));
    vec![
        "--certificate".into(),
        file("pem"),
        "--key".into(),
        file("key"),
        "--client-ca".into(),
        state.join("ca.pem"),
    ]
}

fn pid(child: &Child) -> anyhow::Result<u32> {
    child.id().context("a process has ended")
}

/// nginx with the same certificates, where it is installed.
fn nginx(state: &Path, port: u16, upstream: u16) -> anyhow::Result<Option<Child>> {
    let folder = state.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         upstream nhs {{ server 127.0.0.1:{upstream}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{port} ssl; keepalive_requests 1000000; ssl_certificate {folder}/gateway.pem; ssl_certificate_key {folder}/gateway.key;\n\
         ssl_client_certificate {folder}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;\n\
         location / {{ proxy_pass https://nhs; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_ssl_certificate {folder}/gateway.pem;\n\
         proxy_ssl_certificate_key {folder}/gateway.key; proxy_ssl_trusted_certificate {folder}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_session_reuse on; }} }} }}\n"
    );
    let path = state.join("nginx.conf");
    std::fs::write(&path, config)?;
    match spawn(Command::new("nginx").arg("-c").arg(&path).arg("-p").arg(state).stderr(Stdio::null())) {
        Ok(child) => Ok(Some(child)),
        Err(_) => Ok(None),
    }
}

fn client(state: &Path, connections: usize) -> anyhow::Result<reqwest::Client> {
    let pem = format!(
        "{}\n{}",
        std::fs::read_to_string(state.join("fire.pem"))?,
        std::fs::read_to_string(state.join("fire.key"))?
    );
    Ok(reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(state.join("ca.pem"))?)?])
        .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
        .http1_only() // so that every peer has the same number of connections
        .no_proxy()
        .pool_max_idle_per_host(connections)
        .build()?)
}

/// Questions with a signed context each, made before the clock runs.
fn questions(
    client: &reqwest::Client,
    state: &Path,
    purpose: &str,
    count: usize,
) -> anyhow::Result<Vec<reqwest::RequestBuilder>> {
    let read = |name: &str| std::fs::read_to_string(state.join(name));
    let partner: Partner = toml::from_str(&read("fire.partner.toml")?)?;
    let (issuer, own) = (
        MintingKey::from_pem(&read("issuer.key")?, "issuer-1")?,
        MintingKey::from_pem(&read("fire-context.key")?, "context-1")?,
    );
    let certificate =
        CertificateFingerprint::of(&CertificateDer::from_pem_slice(read("fire.pem")?.as_bytes())?);
    let purposes: Vec<_> = partner.purposes.iter().map(String::as_str).collect();
    let now = SystemClock.now().as_second();
    let (audience, client_id) = (partner.audience.as_str(), partner.client_id.as_str());
    let jti = uuid(&SystemEntropy);
    let access = AccessToken {
        issuer: &partner.issuer,
        audience,
        client_id,
        certificate,
        purposes: &purposes,
        issued_at_s: now,
        jti: &jti,
    };
    let access = issuer.sign("at+jwt", &access.claims())?;
    let url = format!("{}/v1/disclosures", partner.public_url);
    let body = serde_json::json!({ "subject": { "scheme": "nhs-number", "value": NUMBER }, "provider": "nhs-pds", "purpose": purpose, "case_reference": "BENCH-1" });
    let question = |_| {
        let context = SharingContext {
            client_id,
            organisation: &partner.organisation,
            audience,
            method: "POST",
            url: &url,
            purpose,
            case_reference: "BENCH-1",
            record: Some(("nhs-number", NUMBER)),
            practitioner: (&partner.practitioner, &partner.role),
            issued_at_s: now,
            jti: &uuid(&SystemEntropy),
        };
        let context = own.sign("sharing-context+jwt", &context.claims())?;
        Ok(client.post(&url).bearer_auth(&access).header("Sharing-Context", context).json(&body))
    };
    (0..count).map(question).collect()
}

async fn run(
    name: &'static str,
    pids: Vec<u32>,
    requests: Vec<reqwest::RequestBuilder>,
    connections: usize,
    status: u16,
) -> anyhow::Result<Measured> {
    let count = requests.len();
    let places = Arc::new(Semaphore::new(connections));
    let (cpu_before, started) = (cpu_ticks(&pids)?, Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let place = places.clone().acquire_owned().await?;
        tasks.spawn(async move {
            let started = Instant::now();
            let response = request.send().await?;
            let answered = response.status().as_u16();
            response.bytes().await?;
            drop(place);
            anyhow::Ok((answered, started.elapsed().as_micros()))
        });
    }
    let mut times = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        let (answered, time) = done??;
        ensure!(answered == status, "{name}: {answered} instead of {status}");
        times.push(time);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let ticks = cpu_ticks(&pids)? - cpu_before;
    times.sort_unstable();
    let at = |hundredth: usize| times.get(times.len() * hundredth / 100).copied().unwrap_or_default();
    // A tick is 10 ms on Linux (USER_HZ is 100).
    #[expect(clippy::cast_precision_loss, reason = "counts of requests and ticks are small")]
    let (cpu_us, per_second) = (ticks as f64 * 10_000.0 / count as f64, count as f64 / elapsed);
    Ok(Measured { name, cpu_us, p50_us: at(50), p99_us: at(99), per_second })
}

/// User and system time of these processes.
fn cpu_ticks(pids: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        sum += after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn print(table: &[Measured], requests: usize, connections: usize) {
    let base = table.iter().find(|row| row.name == "bare hyper proxy").map_or(1.0, |row| row.cpu_us);
    println!(
        "{requests} requests, {connections} connections, a Patient of 2 KB, TLS 1.3 with client certificates on both sides\n"
    );
    println!(
        "| | CPU per request | against bare hyper | p50 | p99 | requests/s |\n|---|---|---|---|---|---|"
    );
    for row in table {
        println!(
            "| {} | {:.0} µs | {:.1}× | {} µs | {} µs | {:.0} |",
            row.name,
            row.cpu_us,
            row.cpu_us / base,
            row.p50_us,
            row.p99_us,
            row.per_second
        );
    }
}
