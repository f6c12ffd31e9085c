//! CPU time per request of the gateway, permit and deny, beside nginx, nginx that asks a decision service, and a bare hyper
//! reverse proxy, with the same TLS, the same upstream and the same client, in one run. Method and figures:
//! `docs/benchmarks.md`.
//!
//! `(cd tests/decision-service && cargo build --release)`
//! `cargo build --profile dist -p gateway -p bench && target/dist/bench 4000 1 16 64`
//!
//! The first number is how many requests a round has; the others are the connections to measure with. With
//! `--database postgres://..` the gateway keeps its ledger there. With `--observed` it takes part twice more: with nothing
//! observed, and with every span sent to a collector. `bench rates` is of the gateway alone: see `rates`.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use contestants::{Contestants, GATEWAY, HYPER, NGINX, NGINX_ASKING, TRACED, UNOBSERVED, cpu, memory, pid};
use gateway::{
    cli::token::Partner,
    clock::{Clock as _, SystemClock, SystemEntropy, uuid},
    mint::{AccessToken, MintingKey, SharingContext},
    tls::CertificateFingerprint,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio_rustls::TlsConnector;

mod client;
mod contestants;
mod proxy;
mod rates;
mod upstream;

/// Who asks, by turns. Nobody asks about anybody often enough for an alert, as with real work: a prime, so that their turns and
/// those of the people asked about do not meet.
const PRACTITIONERS: usize = 211;

/// Rounds that each contestant has by turns; the first warms up.
const ROUNDS: usize = 4;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--loud").collect();
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if let [mode, folder, listen, upstream] = arguments.as_slice() {
        let (folder, listen, upstream) = (Path::new(folder), listen.parse(), upstream.parse());
        let runtime = threads.enable_all().build()?;
        match mode.as_str() {
            "proxy" => return runtime.block_on(proxy::run(folder, listen?, upstream?)),
            "holder" => return runtime.block_on(upstream::run(folder, listen?)),
            _ => {}
        }
    }
    let mut numbers = Vec::new();
    let (mut database, mut people, mut is_observed, mut of_rates) = (None, None, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--database" {
            database = rest.next().cloned();
        } else if argument == "--people" {
            people = Some(rest.next().context("how many people?")?.parse()?);
        } else if argument == "rates" {
            of_rates = true;
        } else if argument == "--observed" {
            is_observed = true;
        } else {
            numbers.push(argument.parse().context("the arguments are: requests connections...")?);
        }
    }
    // One thread: the client shares the processors with what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if of_rates {
        let seconds = |place: usize, without: u32| {
            numbers.get(place).map_or(Ok(without), |seconds| u32::try_from(*seconds))
        };
        let wanted = rates::Wanted {
            seconds: seconds(0, 15)?,
            steady_seconds: seconds(1, 60)?,
            database: database.as_deref(),
            people,
        };
        return runtime.block_on(rates::run(&wanted));
    }
    let (requests, connections) = match numbers.split_first() {
        Some((requests, connections)) if !connections.is_empty() => (*requests, connections.to_vec()),
        _ => (4_000, vec![1, 16, 64]),
    };
    runtime.block_on(measure(requests, &connections, database.as_deref(), is_observed))
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Patient,
    Bundle,
}

/// One round of a contestant.
#[derive(Clone, Copy)]
struct Round {
    cpu: Duration,
    p50: Duration,
    p99: Duration,
    per_second: f64,
    bytes: usize,
}

/// A line of the table.
struct Row {
    name: &'static str,
    rounds: Vec<Round>,
}

async fn measure(
    requests: usize,
    connections: &[usize],
    database: Option<&str>,
    is_observed: bool,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path();
    let running = contestants::start(state, database, is_observed).await?;
    let (people, bundled) = upstream::people()?;
    let bundled = vec![bundled];
    let connector = client::connector(state)?;
    let at_rest = memory(pid(&running.gateway)?)?.0;
    for &open in connections {
        for (size, numbers) in [(Size::Patient, &people), (Size::Bundle, &bundled)] {
            let asking = Asking { state, connector: &connector, numbers, requests, open };
            print(&asking.all(&running, size).await?, size, requests, open);
        }
    }
    let (after, most) = memory(pid(&running.gateway)?)?;
    let ready = running.gateway_ready.as_millis();
    let program = std::fs::metadata(&running.concordat)?.len() / 1_000_000;
    say(&format!(
        "gateway: {at_rest} MB at rest, {after} MB after all, {most} MB at most; ready in {ready} ms; the program has {program} MB"
    ));
    Ok(())
}

struct Asking<'a> {
    state: &'a Path,
    connector: &'a TlsConnector,
    /// About whom, by turns.
    numbers: &'a [String],
    requests: usize,
    open: usize,
}

impl Asking<'_> {
    /// Every contestant by turns.
    async fn all(&self, running: &Contestants, size: Size) -> anyhow::Result<Vec<Row>> {
        let (gateway, hyper) = (pid(&running.gateway)?, pid(&running.hyper)?);
        let nginx = pid(&running.nginx)?;
        let asking = [pid(&running.nginx_asking)?, pid(&running.decisions)?];
        let mut rows: Vec<Row> = Vec::new();
        for round in 0..ROUNDS {
            let mut turns = vec![
                ("nginx proxy", self.round(&[nginx], NGINX, self.plain()?, 200).await?),
                ("nginx + `auth_request`", self.round(&asking, NGINX_ASKING, self.plain()?, 200).await?),
                ("bare hyper proxy", self.round(&[hyper], HYPER, self.plain()?, 200).await?),
                (
                    "concordat, permit",
                    self.round(&[gateway], GATEWAY, self.governed("fire-prevention-targeting")?, 200).await?,
                ),
            ];
            if let Some(observed) = &running.observed {
                let asked = || self.governed("fire-prevention-targeting");
                let (unobserved, traced) = (pid(&observed.unobserved)?, pid(&observed.traced)?);
                turns.push((
                    "concordat, permit, nothing observed",
                    self.round(&[unobserved], UNOBSERVED, asked()?, 200).await?,
                ));
                let round = self.round(&[traced], TRACED, asked()?, 200).await?;
                turns.push(("concordat, permit, every span to a collector", round));
            }
            if size == Size::Patient {
                let each = self.governed_each("fire-prevention-targeting")?;
                turns.push((
                    "concordat, permit, a new token each",
                    self.round(&[gateway], GATEWAY, each, 200).await?,
                ));
                let deny = self.governed("safe-and-well-referral")?;
                turns.push(("concordat, deny", self.round(&[gateway], GATEWAY, deny, 403).await?));
            }
            for (name, measured) in turns {
                match rows.iter_mut().find(|row| row.name == name) {
                    Some(row) => row.rounds.push(measured),
                    None if round == 0 => rows.push(Row { name, rounds: Vec::new() }),
                    None => {}
                }
            }
        }
        Ok(rows)
    }

    async fn round(
        &self,
        pids: &[u32],
        port: u16,
        requests: Vec<Vec<u8>>,
        status: u16,
    ) -> anyhow::Result<Round> {
        let count = u32::try_from(requests.len())?;
        let mut before = Duration::ZERO;
        let began = || {
            before = cpu(pids)?;
            Ok(())
        };
        let answered = client::ask(self.connector, port, requests, self.open, status, began).await?;
        let used = cpu(pids)?.saturating_sub(before);
        let at = |of_thousand| deployment::quantile(&answered.times, of_thousand).unwrap_or_default();
        Ok(Round {
            cpu: used / count,
            p50: at(500),
            p99: at(990),
            per_second: f64::from(count) / answered.elapsed.as_secs_f64(),
            bytes: answered.bytes,
        })
    }

    /// Requests to a proxy, with the token that one of them has checked.
    fn plain(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let token = Signing::of(self.state)?.token()?;
        let path = upstream::BASE_PATH;
        let request = |number: &String| {
            let id = uuid(&SystemEntropy);
            format!(
                "GET {path}{number} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nPurpose: fire-prevention-targeting\r\nX-Request-ID: {id}\r\n\r\n"
            )
            .into_bytes()
        };
        Ok(self.asked().map(request).collect())
    }

    /// Questions to the gateway, with a signed context each, made before the clock runs; with one access token, as a partner has it.
    fn governed(&self, purpose: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let partner = Signing::of(self.state)?;
        let token = partner.token()?;
        self.questions(&partner, purpose, || Ok(token.clone()))
    }

    /// As [`Self::governed`], with a token for each, which nobody has checked before.
    fn governed_each(&self, purpose: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let partner = Signing::of(self.state)?;
        self.questions(&partner, purpose, || partner.token())
    }

    fn questions(
        &self,
        partner: &Signing,
        purpose: &str,
        token: impl Fn() -> anyhow::Result<String>,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let request = |(place, number): (usize, &String)| {
            partner.question(&token()?, purpose, number, place % PRACTITIONERS)
        };
        self.asked().enumerate().map(request).collect()
    }

    fn asked(&self) -> impl Iterator<Item = &String> {
        self.numbers.iter().cycle().take(self.requests)
    }
}

/// What the asking partner signs with, and its issuer.
struct Signing {
    partner: Partner,
    issuer: MintingKey,
    own: MintingKey,
    certificate: CertificateFingerprint,
}

impl Signing {
    fn of(state: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(state.join(name));
        Ok(Self {
            partner: toml::from_str(&read("fire.partner.toml")?)?,
            issuer: MintingKey::from_pem(&read("issuer.key")?, "issuer-1")?,
            own: MintingKey::from_pem(&read("fire-context.key")?, "context-1")?,
            certificate: CertificateFingerprint::of(&CertificateDer::from_pem_slice(
                read("fire.pem")?.as_bytes(),
            )?),
        })
    }

    /// A question to the gateway, with a signed context.
    fn question(
        &self,
        token: &str,
        purpose: &str,
        number: &str,
        practitioner: usize,
    ) -> anyhow::Result<Vec<u8>> {
        let body = serde_json::json!({ "subject": { "scheme": "nhs-number", "value": number }, "provider": "nhs-pds", "purpose": purpose, "case_reference": "BENCH-1" })
            .to_string();
        let practitioner = format!("{}-{practitioner}", self.partner.practitioner);
        let context = self.context(purpose, number, &practitioner)?;
        let length = body.len();
        let request = format!(
            "POST /v1/disclosures HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nSharing-Context: {context}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Ok(request.into_bytes())
    }

    fn token(&self) -> anyhow::Result<String> {
        let purposes: Vec<_> = self.partner.purposes.iter().map(String::as_str).collect();
        let token = AccessToken {
            issuer: &self.partner.issuer,
            audience: &self.partner.audience,
            client_id: &self.partner.client_id,
            certificate: self.certificate,
            purposes: &purposes,
            issued_at_s: SystemClock.now().as_second(),
            jti: &uuid(&SystemEntropy),
        };
        self.issuer.sign("at+jwt", &token.claims())
    }

    fn context(&self, purpose: &str, number: &str, practitioner: &str) -> anyhow::Result<String> {
        let url = format!("{}/v1/disclosures", self.partner.public_url);
        let context = SharingContext {
            client_id: &self.partner.client_id,
            organisation: &self.partner.organisation,
            audience: &self.partner.audience,
            method: "POST",
            url: &url,
            purpose,
            case_reference: "BENCH-1",
            record: Some(("nhs-number", number)),
            list: None,
            practitioner: (practitioner, &self.partner.role),
            issued_at_s: SystemClock.now().as_second(),
            jti: &uuid(&SystemEntropy),
        };
        self.own.sign("sharing-context+jwt", &context.claims())
    }
}

impl Row {
    /// The round whose CPU time is in the middle.
    fn middle(&self) -> anyhow::Result<Round> {
        let mut rounds = self.rounds.clone();
        rounds.sort_by_key(|round| round.cpu);
        rounds.get(rounds.len() / 2).copied().context("there was no round")
    }
}

fn print(rows: &[Row], size: Size, requests: usize, connections: usize) {
    let base = rows.iter().find(|row| row.name.contains("auth_request")).and_then(|row| row.middle().ok());
    let base = base.map_or(1.0, |round| round.cpu.as_secs_f64());
    let what = if size == Size::Patient { "Patient of 2 KB" } else { "Bundle of 50 KB" };
    say(&format!(
        "{what}, {connections} connections, {requests} requests a round, the middle of {} rounds\n",
        ROUNDS - 1
    ));
    say("| | CPU per request | against nginx + `auth_request` | p50 | p99 | requests/s | bytes of body |");
    say("|---|---|---|---|---|---|---|");
    for row in rows {
        let Ok(round) = row.middle() else { continue };
        say(&format!(
            "| {} | {} µs | {:.2}× | {:.2} ms | {:.2} ms | {:.0} | {} |",
            row.name,
            round.cpu.as_micros(),
            round.cpu.as_secs_f64() / base,
            round.p50.as_secs_f64() * 1e3,
            round.p99.as_secs_f64() * 1e3,
            round.per_second,
            round.bytes,
        ));
    }
    say("");
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn say(line: &str) {
    println!("{line}");
}
