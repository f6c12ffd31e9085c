//! How long the console's pages take, with few entries in the ledger and with many: `console FOLDER ENTRIES...`, fewest first. What
//! was made in FOLDER is measured again if it is there. Method and figures: `docs/benchmarks.md`.
//!
//! `cargo build --release -p gateway -p bench && target/release/console /var/tmp/console 10000 10000000`

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use browser::Browser;
use deployment::{Process, concordat, count, cpu_s, memory_mib};
use gateway::{
    cli::demo::{
        history,
        keys::{self, Ports},
    },
    clock::{Clock as _, SystemClock},
    config, serve,
};
use jiff::{SignedDuration, Timestamp};
use store::{Change, Store, Submission, trail::TrailIndex};
use tokio::net::TcpListener;

#[path = "console/browser.rs"]
mod browser;
#[path = "console/ledger.rs"]
mod ledger;

const FIRST_PORT: u16 = 29_700;
/// How often each page is asked for, after once that does not count.
const ROUNDS: usize = 50;
/// Entries in one submission, and submissions at once.
const BULK: usize = 250;
const BULK_AT_ONCE: usize = 8;
/// Half of the entries are older than the story, spread over so many days.
const DAYS_BEFORE: i64 = 365;

/// Whoever signs in, one a role.
const PEOPLE: [&str; 10] = [
    "TRF-IG-1",
    "TRF-PO-2",
    "TRF-CG-1",
    "TRF-SIRO-1",
    "GMFRS-REV-1",
    "GMFRS-DPO-1",
    "TRF-MED-1",
    "TRF-AUD-3",
    "TRF-OP-1",
    "resident-1",
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("in which folder?")?);
    let sizes: Vec<u64> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    ensure!(sizes.is_sorted() && !sizes.is_empty(), "how many entries, fewest first?");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut all = Vec::new();
        for entries in &sizes {
            let state = folder.join(entries.to_string());
            make(&state, *entries).await?;
            all.push(measure(&state).await?);
            print(&sizes, &all);
        }
        Ok(())
    })
}

/// The demonstration's months of activity, with half of the other entries before them and half after.
async fn make(state: &Path, entries: u64) -> anyhow::Result<()> {
    if state.join("made").exists() {
        return Ok(());
    }
    let began = Instant::now();
    let config_path = prepare(state)?;
    let now = SystemClock.now();
    let story = now.checked_sub(SignedDuration::from_hours(history::DAYS * 24 + 1))?;
    let first = story.checked_sub(SignedDuration::from_hours(DAYS_BEFORE * 24))?;
    fill(&config_path, (0, entries / 2), (first, story)).await?;
    let settings = config::load(&config_path)?;
    let holders = ["nhs", "council", "fire"].into_iter().zip(1..);
    let holders = holders.map(|(kind, step)| simulate(state, kind, FIRST_PORT + step));
    let holders = holders.collect::<anyhow::Result<Vec<_>>>()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let listener = TcpListener::bind(("127.0.0.1", FIRST_PORT)).await?;
    history::write(listener, &settings, state).await?;
    drop(holders);
    let now = SystemClock.now();
    let yesterday = now.checked_sub(SignedDuration::from_hours(20))?;
    fill(&config_path, (entries / 2, entries), (yesterday, now)).await?;
    std::fs::write(state.join("made"), "")?;
    println!("{entries} entries made in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn prepare(state: &Path) -> anyhow::Result<PathBuf> {
    let ports =
        Ports { gateway: FIRST_PORT, nhs: FIRST_PORT + 1, council: FIRST_PORT + 2, fire: FIRST_PORT + 3 };
    let config = keys::prepare(state, Path::new("policies"), ports)?;
    keys::add_console(state, &config, FIRST_PORT + 4, FIRST_PORT + 5)?;
    Ok(config)
}

fn simulate(state: &Path, kind: &str, port: u16) -> anyhow::Result<Process> {
    let file = |ending: &str| state.join(format!("{kind}-server.{ending}"));
    let mut command = Command::new(concordat()?);
    command.args(["simulate", kind, "--port", &port.to_string(), "--certificate"]).arg(file("pem"));
    command.arg("--key").arg(file("key")).arg("--client-ca").arg(state.join("ca.pem"));
    Process::start(&mut command)
}

/// Appends entries through the store, as the gateway does, and has them indexed and counted, so that nothing waits to be.
async fn fill(
    config_path: &Path,
    (from, until): (u64, u64),
    (begin, end): (Timestamp, Timestamp),
) -> anyhow::Result<()> {
    let settings = config::load(config_path)?;
    let store = store::Settings { skew_max: None, ..serve::store_settings(&settings)? };
    let store = Arc::new(Store::open(store, begin).await?);
    let mut trail = settings.ledger.beside().into_os_string();
    trail.push(".trail");
    let index = TrailIndex::open(Path::new(&trail)).await?;
    let mut bodies = ledger::bodies(from).take(usize::try_from(until - from)?);
    let step = end.duration_since(begin).as_micros() / i128::from((until - from).max(1));
    let mut at_us = i128::from(begin.as_microsecond());
    let indexing = async {
        loop {
            index.catch_up(&store).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        #[expect(unreachable_code, reason = "it says what the loop may fail with")]
        anyhow::Ok(())
    };
    let filling = async {
        loop {
            let batches: Vec<Vec<_>> =
                (0..BULK_AT_ONCE).map(|_| bodies.by_ref().take(BULK).collect()).collect();
            if batches.iter().all(Vec::is_empty) {
                return anyhow::Ok(());
            }
            let sent = batches.into_iter().filter(|batch| !batch.is_empty()).map(|batch| {
                at_us += step * i128::try_from(batch.len()).unwrap_or(0);
                let at = i64::try_from(at_us).ok().and_then(|at_us| Timestamp::from_microsecond(at_us).ok());
                let submission = Submission::of(at.unwrap_or(begin), batch);
                store.commit(submission)
            });
            for committed in futures_util::future::join_all(sent).await {
                committed?;
            }
        }
    };
    tokio::select! {
        filled = filling => filled?,
        failed = indexing => failed?,
    }
    index.catch_up(&store).await?;
    // The rules for alerts and the counts of use begin after them: what they would find is a story of its own.
    let size = store.head().await?.size;
    let mut seen = Submission::of(end, Vec::new());
    let counted = store.use_position().await?;
    seen.changes.push(Change::EvaluatedUntil(size));
    seen.changes.push(Change::CountUse { from: counted, until: i64::try_from(size)?, counts: Vec::new() });
    store.commit(seen).await?;
    store.leave(end).await?;
    store.close().await;
    Ok(())
}

/// A page, and how long it took.
struct Timed {
    who: &'static str,
    bytes: usize,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

type Pages = BTreeMap<String, Timed>;

/// Starts the demonstration over what was made, signs in as each role, and asks for every page that links lead to.
async fn measure(state: &Path) -> anyhow::Result<(Pages, f64)> {
    let mut command = Command::new(concordat()?);
    command.arg("demo").arg("--state").arg(state).args(["--port", &FIRST_PORT.to_string()]);
    let gateway = Process::start(&mut command)?;
    let (base, provider) =
        (format!("https://localhost:{}", FIRST_PORT + 4), format!("https://localhost:{}", FIRST_PORT + 5));
    browser::until_ready(state, &base).await?;
    quiet(gateway.id()).await?;
    let mut pages = Pages::new();
    for who in PEOPLE {
        let mut browser = Browser::open(state, &base)?;
        browser.sign_in(&provider, who).await?;
        for (name, request) in pages_of(&mut browser, who).await? {
            let timed = time(&mut browser, who, &request).await.with_context(|| format!("{who}: {name}"))?;
            match pages.entry(name) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(timed)),
                std::collections::btree_map::Entry::Occupied(mut slowest) => {
                    if slowest.get().p95_ms < timed.p95_ms {
                        slowest.insert(timed);
                    }
                }
            }
        }
    }
    let mib = memory_mib(gateway.id(), "VmHWM")?;
    gateway.end()?;
    Ok((pages, mib))
}

/// Waits until the gateway has nothing left to do beside requests.
async fn quiet(process: u32) -> anyhow::Result<()> {
    let mut quiet = 0;
    for _ in 0..900 {
        let before = cpu_s(&[process])?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        quiet = if cpu_s(&[process])? - before < 0.05 { quiet + 1 } else { 0 };
        if quiet == 3 {
            return Ok(());
        }
    }
    anyhow::bail!("the gateway is not done with the ledger")
}

/// What is asked for: a page, or what a form sends.
type Request = (String, Option<String>);

/// Follows links, one of each kind of page, and adds searches and forms.
async fn pages_of(browser: &mut Browser, who: &str) -> anyhow::Result<Vec<(String, Request)>> {
    let mut waiting = vec!["/my-data".to_owned(), "/".to_owned()];
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let searches = [
        "/trail?kind=release",
        "/trail?kind=refusal&reason=purpose-not-agreed",
        "/trail?purpose=fire-prevention-targeting&organisation=gmca",
        "/trail?kind=refusal&provider=trafford-asc",
        "/trail?practitioner=P-7",
        "/trail?case_reference=CASE-4711",
        "/trail?item=person.birth_date:age-band&kind=release",
        "/trail?kind=referral",
    ];
    while let Some(path) = waiting.pop() {
        let name = browser::kind(&path);
        if !seen.insert(name.clone()) {
            continue;
        }
        let answer = browser.ask(&(path.clone(), None)).await?;
        if answer.status != 200 {
            continue;
        }
        if path == "/trail" {
            waiting.extend(searches.map(str::to_owned));
        }
        waiting.extend(browser::links(&answer.text));
        found.push((name, (path, None)));
    }
    let is_there = |path: &str| found.iter().any(|(_, (of, _))| of == path);
    let (is_officer, may_look) = (is_there("/disclosed") || is_there("/trail"), is_there("/person"));
    let mut forms = Vec::new();
    if may_look {
        let csrf = browser.csrf("/person").await?;
        let of = "scheme=nhs-number&value=9732110317&purpose=subject-access&case_reference=IG-1";
        forms.push((
            "/person, looked up".to_owned(),
            ("/person".to_owned(), Some(format!("csrf={csrf}&{of}"))),
        ));
    }
    if is_officer {
        let csrf = browser.csrf("/trail").await?;
        let day = SystemClock.now().checked_sub(SignedDuration::from_hours(72))?.strftime("%Y-%m-%d");
        for (name, agreement) in [("any agreement", ""), ("one agreement", "gm-fire-prevention-over-65s")] {
            let of = format!("recipient=gmca&agreement={agreement}&from={day}&until=&case_reference=INC-1");
            let form = ("/disclosed".to_owned(), Some(format!("csrf={csrf}&{of}")));
            forms.push((format!("/disclosed, 72 hours, {name}"), form));
        }
    }
    println!("{who}: {} pages", found.len() + forms.len());
    found.extend(forms);
    Ok(found)
}

async fn time(browser: &mut Browser, who: &'static str, request: &Request) -> anyhow::Result<Timed> {
    let mut times = Vec::with_capacity(ROUNDS);
    let first = browser.ask(request).await?;
    ensure!(first.status == 200, "{}", first.status);
    for _ in 0..ROUNDS {
        let answer = browser.ask(request).await?;
        ensure!(answer.status == 200, "{}", answer.status);
        times.push(answer.took.as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |hundredth: usize| times.get(times.len() * hundredth / 100).copied().unwrap_or(0.0);
    let max_ms = times.last().copied().unwrap_or(0.0);
    Ok(Timed { who, bytes: first.text.len(), p50_ms: at(50), p95_ms: at(95), max_ms })
}

fn print(sizes: &[u64], all: &[(Pages, f64)]) {
    let Some((last, _)) = all.last() else { return };
    let most = sizes.get(all.len().saturating_sub(1)).unwrap_or(&0);
    let few = sizes.first().unwrap_or(&0);
    println!(
        "| page | slowest for | bytes | p50, {few} entries | p95 | p50, {most} entries | p95 | max | p95, times |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, timed) in last {
        let before = all.first().and_then(|(first, _)| first.get(name));
        let ms = |of: Option<f64>| of.map_or_else(String::new, |ms| format!("{ms:.1} ms"));
        let times = before.map(|before| format!("{:.1}×", timed.p95_ms / before.p95_ms)).unwrap_or_default();
        println!(
            "| `{name}` | {} | {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {times} |",
            timed.who,
            timed.bytes,
            ms(before.map(|before| before.p50_ms)),
            ms(before.map(|before| before.p95_ms)),
            timed.p50_ms,
            timed.p95_ms,
            timed.max_ms,
        );
    }
    let worst = last.values().map(|timed| timed.p95_ms).fold(0.0, f64::max);
    let mean = last.values().map(|timed| timed.p50_ms).sum::<f64>() / count(last.len().max(1));
    println!("{} pages; the slowest p95 {worst:.1} ms; p50 on average {mean:.1} ms", last.len());
    let memory: Vec<_> = all.iter().map(|(_, mib)| format!("{mib:.0} MiB")).collect();
    println!("memory of the gateway: {}", memory.join(", "));
}
