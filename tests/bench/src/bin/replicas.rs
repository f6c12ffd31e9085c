//! One gateway over SQLite, and one, two and three over a PostgreSQL server that is there and empty, in one run:
//! `replicas postgres://… [REQUESTS] [CONNECTIONS]`. Method and figures: `docs/benchmarks.md`.
//!
//! `cargo build --release -p gateway -p bench && target/release/replicas "$url" 4000 32`

#![allow(clippy::print_stdout, reason = "it prints figures")]

use anyhow::Context as _;
use deployment::{Asking, Place, Process, Question, ask_server, count, cpu_s, prepare, run};

const FIRST_PORT: u16 = 29_700;
const NUMBER: &str = "9732110317";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server = arguments.first().context("which server?")?;
    let number = |place: usize, otherwise: usize| {
        arguments.get(place).map_or(Ok(otherwise), |text| text.parse::<usize>())
    };
    let (requests, connections) = (number(1, 4_000)?, number(2, 32)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(compare(server, requests, connections))
}

struct Line {
    name: String,
    round: deployment::Round,
    /// Of the gateways, and of the server.
    cpu_us: (f64, f64),
    /// Entries in a commit that moved the head.
    batch: Option<f64>,
}

async fn compare(server: &str, requests: usize, connections: usize) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let file = tempfile::tempdir()?;
    let places = prepare(file.path(), FIRST_PORT, "concordat.db", 1)?;
    lines.push(measure("SQLite, 1".to_owned(), &places, None, (requests, connections)).await?);
    let folder = tempfile::tempdir()?;
    let places = prepare(folder.path(), FIRST_PORT, server, 3)?;
    for replicas in 1..=3 {
        let name = format!("PostgreSQL, {replicas}");
        let some = places.get(..replicas).unwrap_or_default();
        lines.push(measure(name, some, Some(server), (requests, connections)).await?);
        for place in &places {
            let copy = place.config.with_extension("").join("checkpoint.txt");
            let first = places.first().context("no place")?.config.with_extension("").join("checkpoint.txt");
            if copy != first {
                std::fs::copy(first, copy)?;
            }
        }
    }
    print(&lines, requests, connections);
    Ok(())
}

async fn measure(
    name: String,
    places: &[Place],
    server: Option<&str>,
    (requests, connections): (usize, usize),
) -> anyhow::Result<Line> {
    let first = places.first().context("no place")?;
    let nhs = first.simulate("nhs", FIRST_PORT + 1)?;
    let mut gateways: Vec<Process> = Vec::new();
    for place in places {
        gateways.push(place.serve().await?.0);
    }
    let asking = Asking::of(&first.state, connections)?;
    let questions = |count: usize| {
        let to = places.iter().cycle().take(count);
        let question = Question {
            path: "/v1/disclosures",
            provider: "nhs-pds",
            purpose: "fire-prevention-targeting",
            subject: ("nhs-number", NUMBER),
        };
        to.map(|place| asking.question(place.port, question)).collect::<anyhow::Result<Vec<_>>>()
    };
    run(questions(requests / 4)?, connections).await?;
    let requests_sent = questions(requests)?;
    let processes: Vec<_> = gateways.iter().map(Process::id).collect();
    let (cpu, server_cpu, commits) = (cpu_s(&processes)?, server_cpu_s(server)?, commits(server)?);
    let round = run(requests_sent, connections).await?;
    let per_request = |seconds: f64| seconds * 1e6 / count(requests);
    let cpu_us = (per_request(cpu_s(&processes)? - cpu), per_request(server_cpu_s(server)? - server_cpu));
    let batch = match (commits, self::commits(server)?) {
        (Some((entries, moves)), Some((entries_after, moves_after))) => {
            Some((entries_after - entries) / (moves_after - moves).max(1.0))
        }
        _ => None,
    };
    for gateway in gateways {
        gateway.end()?;
    }
    nhs.end()?;
    Ok(Line { name, round, cpu_us, batch })
}

/// Entries of the ledger, and how often its head was moved: each commit locks it by writing it, and writes it once more.
fn commits(server: Option<&str>) -> anyhow::Result<Option<(f64, f64)>> {
    let Some(server) = server else { return Ok(None) };
    // What the gateways' connections counted is passed on when they have been idle for a second.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let said = ask_server(
        server,
        "SELECT size || ' ' || n_tup_upd / 2 FROM ledger_head, pg_stat_user_tables WHERE relname = 'ledger_head'",
    )?;
    let (entries, moves) = said.split_once(' ').context("two numbers")?;
    Ok(Some((entries.parse()?, moves.parse()?)))
}

/// CPU time of the server's processes.
fn server_cpu_s(server: Option<&str>) -> anyhow::Result<f64> {
    let Some(server) = server else { return Ok(0.0) };
    let data = ask_server(server, "SHOW data_directory")?;
    let postmaster = std::fs::read_to_string(format!("{data}/postmaster.pid"))?;
    let postmaster: u32 = postmaster.lines().next().context("no process")?.trim().parse()?;
    let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let processes: Vec<u32> = children.split_whitespace().filter_map(|one| one.parse().ok()).collect();
    cpu_s(&processes)
}

fn print(lines: &[Line], requests: usize, connections: usize) {
    let base = lines.first().map_or(1.0, |line| line.round.per_second);
    println!("{requests} disclosures that are permitted, over {connections} connections\n");
    println!(
        "| | requests/s | against SQLite | p50 | p99 | CPU per request, gateways | server | entries a commit |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for line in lines {
        let batch = line.batch.map_or_else(String::new, |batch| format!("{batch:.1}"));
        println!(
            "| {} | {:.0} | {:.2}× | {:.1} ms | {:.1} ms | {:.0} µs | {:.0} µs | {batch} |",
            line.name,
            line.round.per_second,
            line.round.per_second / base,
            line.round.p50_ms,
            line.round.p99_ms,
            line.cpu_us.0,
            line.cpu_us.1,
        );
    }
}
