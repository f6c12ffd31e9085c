//! Lists of growing length beside the same questions asked one by one, in one run: people a second, CPU time a person, and
//! what the gateway's memory grows by. `lists [PEOPLE …]`. Method and figures: `docs/benchmarks.md`.
//!
//! `cargo build --release --workspace && target/release/lists 1000 10000 100000`

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use deployment::{Asking, Question, count, cpu_s, memory_mib, prepare_with, run};
use futures_util::StreamExt as _;
use upstreams::nhs::Crowd;

const FIRST_PORT: u16 = 29_750;
const FOR: (&str, &str) = ("nhs-pds", "fire-prevention-targeting");
const AGREEMENT: &str = "agreements/gm-fire-prevention-over-65s.toml";
/// How many questions are asked one by one, over how many connections.
const ONE_BY_ONE: (usize, usize) = (4_000, 32);

fn main() -> anyhow::Result<()> {
    let lengths = std::env::args().skip(1).map(|text| text.parse());
    let mut lengths: Vec<usize> = lengths.collect::<Result<_, _>>()?;
    if lengths.is_empty() {
        lengths = vec![1_000, 10_000, 100_000];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("| | people/s | CPU a person | memory before | most | bytes of answer | records |");
    println!("|---|---|---|---|---|---|---|");
    runtime.block_on(one_by_one())?;
    for length in lengths {
        runtime.block_on(list(length))?;
    }
    Ok(())
}

/// Old people, whose records are released, and, when there are no more of them, young ones.
fn people(length: usize) -> Vec<String> {
    Crowd::Old.numbers().chain(Crowd::Young.numbers()).take(length).collect()
}

/// The policies as they are, with lists in the one agreement.
fn policies(into: &Path) -> anyhow::Result<()> {
    let copied = std::process::Command::new("cp").args(["-r", "policies"]).arg(into).status()?;
    ensure!(copied.success(), "the policies could not be copied");
    let file = into.join(AGREEMENT);
    let text = std::fs::read_to_string(&file)?;
    let with_lists = text.replacen("roles = [", "list_people_max = 100000\nroles = [", 1);
    ensure!(with_lists != text, "{AGREEMENT} lists no roles");
    std::fs::write(file, with_lists)?;
    Ok(())
}

async fn one_by_one() -> anyhow::Result<()> {
    let (length, connections) = ONE_BY_ONE;
    let folder = tempfile::tempdir()?;
    policies(&folder.path().join("policies"))?;
    let places =
        prepare_with(folder.path(), FIRST_PORT, ("concordat.db", &folder.path().join("policies")), 1)?;
    let place = places.first().context("no place")?;
    let _nhs = place.simulate("nhs", FIRST_PORT + 1)?;
    let (gateway, _) = place.serve().await?;
    let asking = Asking::of(&place.state, connections)?;
    let numbers = people(length);
    let questions = numbers.iter().map(|number| {
        let subject = ("nhs-number", number.as_str());
        asking.question(
            place.port,
            Question { path: "/v1/disclosures", provider: FOR.0, purpose: FOR.1, subject },
        )
    });
    let questions = questions.collect::<anyhow::Result<Vec<_>>>()?;
    let (before, cpu) = (memory_mib(gateway.id(), "VmRSS")?, cpu_s(&[gateway.id()])?);
    let round = run(questions, connections).await?;
    let cpu = cpu_s(&[gateway.id()])? - cpu;
    println!(
        "| {length} one by one, {connections} at once | {:.0} | {:.0} µs | {before:.0} MiB | {:.0} MiB | | {length} |",
        round.per_second,
        cpu * 1e6 / count(length),
        memory_mib(gateway.id(), "VmHWM")?,
    );
    gateway.end()
}

async fn list(length: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    policies(&folder.path().join("policies"))?;
    let places =
        prepare_with(folder.path(), FIRST_PORT, ("concordat.db", &folder.path().join("policies")), 1)?;
    let place = places.first().context("no place")?;
    let _nhs = place.simulate("nhs", FIRST_PORT + 1)?;
    let (gateway, _) = place.serve().await?;
    let asking = Asking::of(&place.state, 1)?;
    // What a first request makes is not what a list does.
    read(asking.list(place.port, FOR, &people(1))?).await?;
    let request = asking.list(place.port, FOR, &people(length))?;
    let (before, cpu) = (memory_mib(gateway.id(), "VmRSS")?, cpu_s(&[gateway.id()])?);
    let is_done = Arc::new(AtomicBool::new(false));
    let most = tokio::spawn({
        let (is_done, process) = (is_done.clone(), gateway.id());
        async move {
            let mut most: f64 = 0.0;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(memory_mib(process, "VmRSS").unwrap_or(0.0));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            most
        }
    });
    let began = Instant::now();
    let answer = read(request).await?;
    let elapsed = began.elapsed().as_secs_f64();
    is_done.store(true, Ordering::Relaxed);
    let cpu = cpu_s(&[gateway.id()])? - cpu;
    println!(
        "| a list of {length} | {:.0} | {:.0} µs | {before:.0} MiB | {:.0} MiB | {} | {} |",
        count(length) / elapsed,
        cpu * 1e6 / count(length),
        most.await?,
        answer.bytes,
        answer.released,
    );
    gateway.end()
}

struct Answer {
    bytes: usize,
    released: u64,
}

/// Reads an answer as it comes, and keeps nothing of it but its last line.
async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    ensure!(status.is_success(), "{status}: {}", response.text().await?);
    let (mut parts, mut bytes, mut last) = (response.bytes_stream(), 0, Vec::new());
    while let Some(part) = parts.next().await {
        let part = part?;
        bytes += part.len();
        last.extend_from_slice(&part);
        let kept = last.len().saturating_sub(8 * 1024);
        last.drain(..kept);
    }
    let text = String::from_utf8_lossy(&last);
    let line = text.lines().last().context("an empty answer")?;
    let end: serde_json::Value = serde_json::from_str(line)?;
    let member = |name| end.get(name);
    ensure!(member("end").is_some_and(|end| end == "completed"), "{line}");
    Ok(Answer { bytes, released: member("released").and_then(serde_json::Value::as_u64).unwrap_or_default() })
}
