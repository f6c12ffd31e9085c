//! How fast the ledger takes entries, proves them and finds them: `ledger COUNT FOLDER`, FOLDER new or empty. What exports
//! and verification cost is measured by `exports.py` over the same folder. Method and figures: `docs/benchmarks.md`.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it prints figures"
)]

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gateway::clock::{Clock as _, SystemClock};
use jiff::Timestamp;
use ledger::{
    entry::{Body, Entry},
    trail::{self, Term},
};
use store::{
    LookupKey, Settings, Store, Submission, WrappingKeys,
    trail::{TrailIndex, TrailQuery},
};
use third_party::{ORIGIN, entries};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Entries in one submission, and submissions at once, when only how many come in matters.
const BULK: usize = 250;
const BULK_AT_ONCE: usize = 8;
const ROUND: Duration = Duration::from_secs(4);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().context("how many entries?")?.parse()?;
    let folder = PathBuf::from(arguments.next().context("in which folder?")?);
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(count, &folder))
}

async fn open(folder: &Path) -> anyhow::Result<Store> {
    let seed = [11; 32];
    std::fs::write(folder.join("signing.key"), "0b".repeat(32))?;
    let settings = Settings {
        database: store::Database::File(folder.join("concordat.db")),
        checkpoint_copy: folder.join("checkpoint.txt"),
        origin: ORIGIN.to_owned(),
        signing_seeds: Zeroizing::new(vec![seed]),
        lookup_key: LookupKey::new([1; 32]),
        wrapping_keys: WrappingKeys::new(vec![[2; 32]]),
        archived: None,
        skew_max: None,
        queue_max: 4_096,
        readers_max: 4,
    };
    Ok(Store::open(settings, now()).await?)
}

/// A refusal is one entry by itself, as most are.
fn one(number: u64) -> Body {
    let mut body = entries::refusal(number);
    if let Body::Refusal(decided) = &mut body {
        decided.decision_id = format!("dec_bench_{number}");
    }
    body
}

async fn run(count: u64, folder: &Path) -> anyhow::Result<()> {
    say(&format!("disk: {:.0} synced writes of 4 KiB a second, one at a time", synced_writes(folder)?));
    let scratch = tempfile::tempdir_in(folder)?;
    let store = Arc::new(open(scratch.path()).await?);
    for waiting in [1, 16, 64] {
        let single = round(&store, waiting, true).await?;
        let grouped = round(&store, waiting, false).await?;
        say(&format!(
            "{waiting:>3} waiting: one commit a record {:>6.0}/s p50 {:>7.2} ms p99 {:>7.2} ms; group commit {:>6.0}/s p50 {:>7.2} ms p99 {:>7.2} ms; {:.1}x",
            single.rate,
            single.p50_ms,
            single.p99_ms,
            grouped.rate,
            grouped.p50_ms,
            grouped.p99_ms,
            grouped.rate / single.rate
        ));
    }
    store.close().await;
    drop(store);

    let store = Arc::new(open(folder).await?);
    let began = Instant::now();
    fill(&store, count).await?;
    let took = began.elapsed().as_secs_f64();
    say(&format!("{count} entries appended, {BULK} a submission: {:.0} entries/s", count as f64 / took));
    prove(&store, count).await?;
    search(&store, folder, count).await?;
    store.close().await;
    Ok(())
}

struct Measured {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// As many tasks as are waiting, each committing one record after another; alone, one at a time over all of them.
async fn round(store: &Arc<Store>, waiting: usize, alone: bool) -> anyhow::Result<Measured> {
    let turn = Arc::new(Mutex::new(()));
    let until = Instant::now() + ROUND;
    let tasks: Vec<_> = (0..waiting)
        .map(|task| {
            let (store, turn) = (store.clone(), turn.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut number = (task as u64) << 32;
                while Instant::now() < until {
                    let began = Instant::now();
                    let _mine = if alone { Some(turn.lock().await) } else { None };
                    store.commit(Submission::of(now(), vec![one(number)])).await?;
                    times.push(began.elapsed().as_secs_f64() * 1_000.0);
                    number += 1;
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / ROUND.as_secs_f64();
    let (p50_ms, p99_ms) = quantiles(&mut times);
    Ok(Measured { rate, p50_ms, p99_ms })
}

async fn fill(store: &Arc<Store>, count: u64) -> anyhow::Result<()> {
    let key = store.verifiers().first().context("no key")?.to_string();
    // The store opened the ledger itself.
    let mut bodies = entries::bodies(&key).skip(1).take(usize::try_from(count - 1)?);
    loop {
        let batches: Vec<Vec<Body>> =
            (0..BULK_AT_ONCE).map(|_| bodies.by_ref().take(BULK).collect()).collect();
        if batches.iter().all(Vec::is_empty) {
            return Ok(());
        }
        // In their order: the queue is taken in the order in which it was filled.
        let sent = batches.into_iter().filter(|batch| !batch.is_empty()).map(|batch| {
            let store = store.clone();
            async move { store.commit(Submission::of(now(), batch)).await }
        });
        for committed in futures_util::future::join_all(sent).await {
            committed?;
        }
    }
}

async fn prove(store: &Arc<Store>, count: u64) -> anyhow::Result<()> {
    let (mut proofs, mut consistencies) = (Vec::new(), Vec::new());
    for step in 0..1_000_u64 {
        let index = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
        let began = Instant::now();
        store.proof(index).await?.context("no proof")?;
        proofs.push(began.elapsed().as_secs_f64() * 1_000.0);
        let began = Instant::now();
        store.consistency(index.max(1)).await?.context("no proof")?;
        consistencies.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let ((p50, p99), (consistent, consistent_p99)) = (quantiles(&mut proofs), quantiles(&mut consistencies));
    say(&format!(
        "inclusion proof: p50 {p50:.2} ms p99 {p99:.2} ms; consistency proof: p50 {consistent:.2} ms p99 {consistent_p99:.2} ms"
    ));
    Ok(())
}

async fn search(store: &Arc<Store>, folder: &Path, count: u64) -> anyhow::Result<()> {
    let index = TrailIndex::open(&folder.join("concordat.db.trail")).await?;
    let began = Instant::now();
    index.catch_up(store).await?;
    let took = began.elapsed().as_secs_f64();
    say(&format!("index of the trail: {:.0} entries/s", count as f64 / took));
    // What entries all over the ledger can be found by.
    let mut by_field = std::collections::BTreeMap::<&str, Vec<Term>>::new();
    for step in 0..400_u64 {
        let place = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
        let leaf = store.leaves(place, 1).await?.into_iter().next().context("no entry")?;
        let entry = Entry::decode(&leaf.bytes)?;
        for term in trail::terms(&entry, None) {
            by_field.entry(term.field.as_str()).or_default().push(term);
        }
    }
    for (field, terms) in by_field {
        let mut times = Vec::new();
        for term in terms.into_iter().take(100) {
            let query = TrailQuery { all_of: vec![vec![term]], ..TrailQuery::default() };
            let began = Instant::now();
            let places = index.find(&query, 50).await?;
            let leaves = store.leaves_at(&places).await?;
            let entries =
                leaves.iter().map(|leaf| Entry::decode(&leaf.bytes)).collect::<Result<Vec<_>, _>>()?;
            store.deciding(&entries).await?;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        let searches = times.len();
        let (p50, p99) = quantiles(&mut times);
        say(&format!(
            "search by {field:<14} p50 {p50:>7.2} ms p99 {p99:>7.2} ms ({searches} searches, the newest 50 entries each)"
        ));
    }
    Ok(())
}

/// The physical limit of whoever keeps one record at a time.
fn synced_writes(folder: &Path) -> anyhow::Result<f64> {
    let path = folder.join("synced");
    let mut file = File::create(&path)?;
    let (began, mut writes) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        writes += 1;
    }
    std::fs::remove_file(&path)?;
    Ok(f64::from(writes) / began.elapsed().as_secs_f64())
}

fn quantiles(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or(0.0)
    };
    (at(0.5), at(0.99))
}

fn say(line: &str) {
    println!("{line}");
}

fn now() -> Timestamp {
    SystemClock.now()
}
