//! Load that goes on and on, that one of many partners makes, or that is connections alone.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use acceptance::tls;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    deployment::{Deployment, Replica, Store},
    load::{Account, Answered, Ports, STEADY, open_loop},
    scenarios::{Length, running, shell},
    usage::Usage,
};

/// What each partner may ask in a minute, and how often the noisy one asks instead.
const QUOTA: u64 = 120;
const TIMES: u64 = 50;

/// Nineteen systems of the fire service's, beside the one that the demonstration has, which is the noisy one.
static QUIET: LazyLock<Vec<String>> =
    LazyLock::new(|| (1..20).map(|number| format!("quiet-{number:02}")).collect());

/// Each with a certificate of its own, and the same keys.
fn with_the_quiet(_: usize, replica: &mut Replica) {
    let folder = replica.folder();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (partner, settings) = (read("fire.partner.toml"), fs::read_to_string(&replica.config).unwrap());
    let block = settings.split("\n\n").find(|block| block.contains("id = \"gmca-prevention\"")).unwrap();
    let own = digest(&folder, "fire");
    let mut more = format!("[limits.partner]\nrequests_per_minute = {QUOTA}\nburst = 20\n");
    for name in &*QUIET {
        shell(
            &folder,
            &format!(
                "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} &&
                printf 'extendedKeyUsage=clientAuth\\n' > {name}.ext && cp fire-context.key {name}-context.key &&
                openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
            ),
        );
        let renamed = |text: &str| text.replace("gmca-prevention", name).replace("GMFRS-1001", name);
        fs::write(
            folder.join(format!("{name}.partner.toml")),
            renamed(&partner).replace("fire.pem", &format!("{name}.pem")),
        )
        .unwrap();
        more += &format!("\n{}\n", renamed(block).replace(&own, &digest(&folder, name)));
    }
    replica.append_settings(&more);
}

/// By which settings know a certificate.
fn digest(folder: &Path, name: &str) -> String {
    let command = format!("openssl x509 -in {name}.pem -outform der | sha256sum | cut -c1-64");
    let said = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// Load over a deployment of one gateway, and its account.
struct Crowd {
    deployment: Deployment,
    account: Arc<Account>,
    ports: Ports,
}

impl Crowd {
    fn over(deployment: Deployment) -> Self {
        let account = Arc::new(Account::new(&deployment.folder().join("account.jsonl")));
        let ports: Ports = Arc::new(Mutex::new(vec![deployment.replicas[0].port]));
        Self { deployment, account, ports }
    }

    async fn ask(&self, partner: &'static str, rate: (u64, u64)) -> Answered {
        open_loop((&self.deployment.partners, &self.account, &self.ports), (partner, STEADY), rate).await
    }

    /// A question a second from each of the quiet ones.
    async fn ask_quietly(&self, seconds: u64) -> Answered {
        let asking = QUIET.iter().map(|name| self.ask(name, (1, seconds)));
        join_all(asking).await.into_iter().reduce(Answered::and).unwrap()
    }
}

/// One of twenty partners asks fifty times as much as it may: it is turned away, and nobody else is.
pub async fn one_of_twenty_is_noisy(length: Length) -> Value {
    let seconds = length.or(8, 120);
    let crowd = Crowd::over(Deployment::start(Store::File, 1, with_the_quiet).await);
    let calm = crowd.ask_quietly(seconds).await;
    let too_much = (QUOTA * TIMES / 60, seconds);
    let (kept, noisy) = tokio::join!(crowd.ask_quietly(seconds), crowd.ask("fire", too_much));
    let asked = 19 * seconds;
    assert_eq!((calm.records(), kept.records()), (asked, asked), "somebody else was turned away");
    let turned_away = noisy.statuses.get(&429).copied().unwrap_or(0);
    assert_eq!(noisy.records() + turned_away, too_much.0 * seconds, "{:?}", noisy.statuses);
    assert!(noisy.records() <= 20 + QUOTA * (seconds + 2) / 60, "more than it may: {:?}", noisy.statuses);
    sleep(Duration::from_millis(1_500)).await; // the last counts are written within a second
    let counts = crowd.deployment.check().await;
    json!({
        "others_asked": asked, "others_answered": kept.records(), "noisy_asked": too_much.0 * seconds,
        "noisy_answered": noisy.records(), "noisy_turned_away": turned_away,
        "others_us": { "p50": [calm.took_us(50), kept.took_us(50)], "p99": [calm.took_us(99), kept.took_us(99)] },
        "checked": counts,
    })
}

/// How many open connections at once, one after the other.
const OPENING: usize = 8;

/// One partner opens connections as fast as they are taken, each with a whole handshake; another asks as before.
pub async fn handshakes(length: Length) -> Value {
    let seconds = length.or(5, 60);
    let mut crowd = Crowd::over(Deployment::start(Store::File, 1, |_, _| {}).await);
    let calm = crowd.ask("fire", (10, seconds)).await;
    crowd.deployment.note_usage();
    let (stop, opened) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let connector = tls::connector(crowd.deployment.folder(), "council", "http/1.1");
    let port = crowd.deployment.replicas[0].port;
    let storm: Vec<_> = (0..OPENING)
        .map(|_| {
            let (stop, opened, connector) = (stop.clone(), opened.clone(), connector.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let taken = tls::connect(&connector, port).await.is_ok();
                    opened.fetch_add(u64::from(taken), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let kept = crowd.ask("fire", (10, seconds)).await;
    stop.cancel();
    for one in storm {
        one.await.unwrap();
    }
    let opened = opened.load(Ordering::Relaxed);
    assert_eq!((calm.records(), kept.records()), (10 * seconds, 10 * seconds), "a question was not answered");
    assert!(opened > 10 * seconds, "only {opened} connections were opened");
    let counts = crowd.deployment.check().await;
    json!({
        "handshakes_a_second": opened / seconds, "asked": 10 * seconds, "answered": kept.records(),
        "asked_us": { "p50": [calm.took_us(50), kept.took_us(50)], "p99": [calm.took_us(99), kept.took_us(99)] },
        "checked": counts,
    })
}

/// The usual load for an hour. Memory may grow by a megabyte in an hour, once it has filled what fills.
pub async fn goes_on(length: Length) -> Value {
    let (minutes, every) = (length.or(3, 60), Duration::from_secs(length.or(1, 15)));
    let mut running = running(Store::File, 1, |_, _| {}).await;
    let process = running.deployment.replicas[0].process();
    let until = Instant::now() + Duration::from_mins(minutes);
    // A sixth of the time is for what fills at first.
    sleep(Duration::from_mins(minutes) / 6).await;
    running.deployment.note_usage();
    let mut seen = Vec::new();
    while Instant::now() < until {
        sleep(every).await;
        seen.push(Usage::of(process).unwrap());
    }
    let an_hour = slope_kib(&seen) * 3_600.0 / every.as_secs_f64();
    assert!(
        length == Length::Short || an_hour < 1_024.0,
        "memory grew by {an_hour:.0} KiB in an hour: {seen:?}"
    );
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    let mut counts = running
        .end(json!({ "minutes": minutes, "descriptors": [first.descriptors, last.descriptors] }))
        .await;
    if length == Length::Long {
        counts["kib_an_hour"] = json!(an_hour.round());
    }
    counts
}

/// By how much memory grows from one reading to the next: the line of least squares.
fn slope_kib(seen: &[Usage]) -> f64 {
    let memory = seen.iter().map(|usage| f64::from(u32::try_from(usage.memory_kib).unwrap()));
    let points: Vec<(f64, f64)> = (0..).map(f64::from).zip(memory).collect();
    let count = f64::from(u32::try_from(points.len()).unwrap());
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, memory) = (mean(|point| point.0), mean(|point| point.1));
    let by = points.iter().map(|point| (point.0 - at) * (point.1 - memory)).sum::<f64>();
    by / points.iter().map(|point| (point.0 - at).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_what_each_reading_adds() {
        let seen = |memory: [u64; 4]| memory.map(|memory_kib| Usage { memory_kib, ..Usage::default() });
        assert!((slope_kib(&seen([10, 12, 14, 16])) - 2.0).abs() < 1e-9);
        assert!(slope_kib(&seen([50, 10, 10, 50])).abs() < 1e-9);
    }
}
