//! Withdrawals that race with questions, at three gateways.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Length, running};
use crate::{deployment::Store, load::Worker};

/// Races until so many were begun: a consent, a question to each gateway at once, the withdrawal somewhere between the first of
/// them being sent and the last being answered, and a question to each gateway when it was acknowledged.
async fn race(worker: Worker, person: &'static str, left: Arc<AtomicU64>, total: u64) {
    let mut longest = Duration::from_millis(40);
    loop {
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
async fn races(people: &[(Worker, &'static str)], total: u64) {
    let begun = Arc::new(AtomicU64::new(0));
    let racing = people
        .iter()
        .map(|(worker, person)| tokio::spawn(race(worker.clone(), person, begun.clone(), total)));
    for one in racing.collect::<Vec<_>>() {
        one.await.unwrap();
    }
}

pub async fn withdrawals(length: Length) -> Value {
    let mut running = running(Store::Server, 3, |_, _| {}).await;
    // The usual load would only be in the way.
    let people = running.pause().await;
    let (warm, total) = (length.or(0, 1_000), length.or(300, 10_000));
    // What grows to a bound (what is remembered of a day, of tokens, of pages) has, before it is looked at whether anything grows.
    races(&people, warm).await;
    running.deployment.note_usage();
    races(&people, total).await;
    let total = warm + total;
    let counts = running.end(json!({ "races": total })).await;
    let between = counts["withdrawn_before_the_end"].as_u64().unwrap();
    assert!(between > total / 50, "only {between} withdrawals came between an INTENT and its end");
    counts
}
