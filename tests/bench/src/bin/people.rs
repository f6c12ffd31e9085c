//! How everything grows with the number of people: `people FOLDER PEOPLE...` on a file, `people FOLDER postgres://… PEOPLE...`
//! on a server that is there and empty. Half of the people have a consent. Method and figures: `docs/benchmarks.md`.
//!
//! `cargo build --release -p gateway -p bench && target/release/people /var/tmp/people 10000 100000 1000000`

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use deployment::{Asking, Place, Question, concordat, count, cpu_s, memory_mib, prepare, quantiles, run};
use gateway::{
    clock::{Clock as _, SystemClock},
    config, serve,
};
use sharing::{Pseudonym, PurposeClass, SubjectIdentifier};
use store::{About, Store};

const SCHEME: &str = "local:trafford-council";
/// People looked up, and people asked about.
const LOOKED_UP: u64 = 4_000;
const ASKED: u64 = 1_000;
const FIRST_PORT: u16 = 29_600;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let folder = PathBuf::from(arguments.next().context("in which folder?")?);
    let server = arguments.next_if(|argument| argument.starts_with("postgres://"));
    let sizes: Vec<u64> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    ensure!(sizes.is_sorted() && !sizes.is_empty(), "how many people, fewer first?");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(grow(&folder, server.as_deref(), &sizes))
}

async fn grow(folder: &Path, server: Option<&str>, sizes: &[u64]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let database = server.map_or_else(|| folder.join("concordat.db").display().to_string(), str::to_owned);
    let places = prepare(folder, FIRST_PORT, &database, 1)?;
    let place = places.first().context("no place")?;
    println!(
        "| people | consents | load: people/s | its memory | disk | a person | opening the store | until ready | memory, then | look-up p50 | p99 | decision, 1 connection p50 | p99 | 16 connections p50 | p99 | decisions/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut before = 0;
    for people in sizes {
        let (rate, load_mib) = load(place, before, *people)?;
        before = *people;
        let bytes = disk(folder, server)?;
        let (opened_ms, (look_up, look_up_99)) = look_up(place, *people).await?;
        let served = decide(place, *people).await?;
        println!(
            "| {people} | {} | {rate:.0} | {load_mib:.0} MiB | {:.2} GB | {:.0} B | {opened_ms:.0} ms | {:.2} s | {:.0} MiB, {:.0} MiB | {look_up:.2} ms | {look_up_99:.2} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.0} |",
            people / 2,
            bytes / 1e9,
            bytes / people_of(*people),
            served.ready_s,
            served.memory_mib.0,
            served.memory_mib.1,
            served.alone.p50_ms,
            served.alone.p99_ms,
            served.many.p50_ms,
            served.many.p99_ms,
            served.many.per_second,
        );
    }
    Ok(())
}

fn people_of(people: u64) -> f64 {
    count(usize::try_from(people).unwrap_or(usize::MAX))
}

/// Loads the people from `before` on. Returns how many a second, and how much memory it needed.
fn load(place: &Place, before: u64, people: u64) -> anyhow::Result<(f64, f64)> {
    let more = people - before;
    let began = Instant::now();
    let mut command = Command::new(concordat()?);
    command.arg("load").arg("--config").arg(&place.config).args(["--organisation", "trafford-council"]);
    command.args(["--generate", &more.to_string(), "--consents", &(more / 2).to_string()]);
    let mut child =
        command.args(["--from", &before.to_string()]).stdout(std::process::Stdio::null()).spawn()?;
    let mut mib = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        mib = mib.max(memory_mib(child.id(), "VmHWM").unwrap_or(0.0));
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    ensure!(status.success(), "the load failed");
    Ok((people_of(more) / began.elapsed().as_secs_f64(), mib))
}

fn disk(folder: &Path, server: Option<&str>) -> anyhow::Result<f64> {
    if let Some(url) = server {
        return Ok(deployment::ask_server(url, "SELECT pg_database_size(current_database())")?.parse()?);
    }
    let sizes = ["concordat.db", "concordat.db-wal"].map(|name| std::fs::metadata(folder.join(name)));
    Ok(sizes.into_iter().flatten().map(|file| people_of(file.len())).sum())
}

/// A person, spread over all of them: each time another one.
fn person(step: u64, people: u64) -> u64 {
    step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % people
}

/// Through the store's own read path, in this process: how long opening took, and a look-up of a person with all that is
/// held about them, most of it for the first time.
async fn look_up(place: &Place, people: u64) -> anyhow::Result<(f64, (f64, f64))> {
    let settings = config::load(&place.config)?;
    let began = Instant::now();
    let store = Store::open(serve::store_settings(&settings)?, SystemClock.now()).await?;
    let opened_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let mut times = Vec::new();
    for step in 1..=LOOKED_UP {
        let identifier =
            SubjectIdentifier::parse(SCHEME.parse()?, &format!("GEN-{:09}", person(step, people)))?;
        let began = Instant::now();
        let found = store.resolve(&identifier, Pseudonym::from_random(0)).await?;
        let about = About {
            purpose: PurposeClass::SafeAndWellReferral,
            identifiers: std::slice::from_ref(&identifier),
            at: SystemClock.now(),
        };
        let state = store.subject_state_about(std::slice::from_ref(&found.pseudonym), about).await?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        ensure!(found.known && state.names.len() == 1, "a person is not there");
    }
    store.leave(SystemClock.now()).await?;
    store.close().await;
    Ok((opened_ms, quantiles(&mut times)))
}

struct Served {
    ready_s: f64,
    memory_mib: (f64, f64),
    alone: deployment::Round,
    many: deployment::Round,
}

/// Through a gateway and a record holder, over TLS: people who have consented, each of them once.
async fn decide(place: &Place, people: u64) -> anyhow::Result<Served> {
    let council = place.simulate("council", FIRST_PORT + 2)?;
    // The council is not always told that a record is restricted, so that the NHS is asked too.
    let nhs = place.simulate("nhs", FIRST_PORT + 1)?;
    let (gateway, ready) = place.serve().await?;
    let ready_mib = memory_mib(gateway.id(), "VmRSS")?;
    // It indexes the entries that were loaded, beside the requests; with many that takes minutes.
    for _ in 0..60 {
        let before = cpu_s(&[gateway.id()])?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if cpu_s(&[gateway.id()])? - before < 0.05 {
            break;
        }
    }
    let asking = Asking::of(&place.state, 16)?;
    // Every second one has a consent; one in ten of those lets nothing through.
    let consented = (1..).map(|step| person(step, people) | 1).filter(|number| {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        spread % 20 > 1
    });
    let questions = consented.take(usize::try_from(2 * ASKED)?).map(|number| {
        let value = format!("GEN-{number:09}");
        let question = Question {
            path: "/v1/decisions",
            provider: "trafford-asc",
            purpose: "safe-and-well-referral",
            subject: (SCHEME, &value),
        };
        asking.question(place.port, question)
    });
    let mut questions = questions.collect::<anyhow::Result<Vec<_>>>()?;
    let second = questions.split_off(usize::try_from(ASKED)?);
    let alone = run(questions, 1).await?;
    let many = run(second, 16).await?;
    let memory_mib = (ready_mib, memory_mib(gateway.id(), "VmRSS")?);
    gateway.end()?;
    council.end()?;
    nhs.end()?;
    Ok(Served { ready_s: ready.as_secs_f64(), memory_mib, alone, many })
}
