//! Withdrawals and suspensions that race with questions, at three gateways.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Length, loaded, ms, running};
use crate::{
    deployment::{Deployment, Store, signal},
    load::{MADE_UP, Worker},
};

/// How many people each worker's races are about, by turns: as many consents each as somebody may give in a lifetime.
const PEOPLE_EACH: usize = 100;

static PEOPLE: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..4 * PEOPLE_EACH).map(|number| format!("{MADE_UP}{number:05}")).collect());

/// Races until so many were begun: a consent, a question to each gateway at once, the withdrawal somewhere between the first of
/// them being sent and the last being answered, and a question to each gateway when it was acknowledged.
async fn race(worker: Worker, people: &'static [String], left: Arc<AtomicU64>, total: u64) {
    let mut longest = Duration::from_millis(40);
    for person in people.iter().map(String::as_str).cycle() {
        let number = left.fetch_add(1, Ordering::SeqCst);
        if number >= total {
            return;
        }
        let Some(consent) = worker.give(person).await else { continue };
        let begun = Instant::now();
        let asking: Vec<_> = (0..3).map(|_| tokio::spawn(worker.clone().ask(person, 1))).collect();
        // Phases that fill the time that a question takes, each of a thousand alike often.
        sleep(longest.mul_f64(f64::from(u32::try_from(number * 617 % 1_000).unwrap()) / 1_000.0)).await;
        worker.withdraw(person, &consent).await;
        for one in asking {
            one.await.unwrap();
        }
        // As long as this one took, at most twice what was thought.
        longest = (longest * 3 + begun.elapsed().min(longest * 2)) / 4;
        worker.clone().ask(person, 1).await;
    }
}

/// So many races, about everybody at once.
async fn races(workers: &[Worker], total: u64) {
    let begun = Arc::new(AtomicU64::new(0));
    let racing = workers
        .iter()
        .zip(PEOPLE.chunks(PEOPLE_EACH))
        .map(|(worker, people)| tokio::spawn(race(worker.clone(), people, begun.clone(), total)));
    for one in racing.collect::<Vec<_>>() {
        one.await.unwrap();
    }
}

pub async fn withdrawals(length: Length) -> Value {
    let mut running = running(Store::Server, 3, |_, _| {}).await;
    // The usual load would only be in the way.
    let workers = running.pause().await;
    let (begun, mut total) = (Instant::now(), 0);
    // What grows to a bound (what is remembered of tokens, what is read at once for the search index, which is caught up now and
    // then) has, before it is looked at whether anything grows.
    while begun.elapsed() < Duration::from_secs(length.or(0, 150)) {
        races(&workers, 1_000).await;
        total += 1_000;
    }
    running.deployment.note_usage();
    let counted = length.or(300, 10_000);
    races(&workers, counted).await;
    total += counted;
    let counts = running.end(json!({ "races": total })).await;
    let (received, between) = (&counts["received"], counts["withdrawn_before_the_end"].as_u64().unwrap());
    assert!(received.as_u64().unwrap() > total, "only {received} records came: {}", counts["refused"]);
    assert!(between > total / 50, "only {between} withdrawals came between an INTENT and its end");
    counts
}

/// What a gateway's log has when it has put policies in force itself, and not found that another did.
const IN_FORCE: &str = "\"message\":\"policies in force\"";

/// Suspensions of an agreement that questions about it are on their way for, put in force at each gateway by turns, which alone
/// reads the files again; and taken back.
pub async fn suspensions(length: Length) -> Value {
    // More who ask than usually: a suspension is to meet questions.
    let running = loaded(Deployment::start(Store::Server, 3, |_, _| {}).await, &[""; 8]).await;
    let file = running.deployment.folder().join("policies/agreements/gm-fire-prevention-over-65s.toml");
    let active = std::fs::read_to_string(&file).unwrap();
    let suspended = active.replacen("status = \"active\"", "status = \"suspended\"", 1);
    assert_ne!(active, suspended);
    let total = length.or(24, 1_000);
    let mut longest = Duration::ZERO;
    for number in 0..total {
        let replica = &running.deployment.replicas[usize::try_from(number % 3).unwrap()];
        for (op, text) in [("suspend", &suspended), ("resume", &active)] {
            let (begun, said) = (Instant::now(), replica.log_length());
            std::fs::write(&file, text).unwrap();
            let sent_us = running.account.now_us();
            signal("HUP", &[replica.process()]);
            while !replica.said_since(said).contains(IN_FORCE) {
                assert!(begun.elapsed() < Duration::from_secs(30), "{}", replica.said_since(said));
                sleep(Duration::from_millis(1)).await;
            }
            longest = longest.max(begun.elapsed());
            let agreement = "gm-fire-prevention-over-65s";
            running.account.note(&json!({
                "op": op, "agreement": agreement, "sent_us": sent_us, "answered_us": running.account.now_us(),
            }));
            // At another moment of the questions each time.
            sleep(Duration::from_millis(100 + number * 37 % 200)).await;
        }
    }
    let counts = running.end(json!({ "suspensions": total, "in_force_ms_max": ms(longest) })).await;
    let between = counts["suspended_before_the_end"].as_u64().unwrap();
    assert!(between > total / 8, "only {between} suspensions came between an INTENT and its end");
    let (received, refused) = (&counts["received"], &counts["refused_while_suspended"]);
    assert!(
        refused.as_u64().unwrap() > total,
        "only {refused} questions were refused, beside {received} records"
    );
    counts
}
