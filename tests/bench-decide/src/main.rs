//! How long a decision takes, beside other policy engines asked the same question in the same run.
//!
//! 1,000 active agreements are loaded, and 20 consents are held about each of 64 people. Every contestant is asked the
//! same questions in turn, a round at a time, so that whatever else the machine does falls on all of them. A sample is
//! a batch of calls: the clock costs as much as some of what is measured. Batches hide single slow calls, so the
//! decision is measured call by call as well.
//!
//! [`sharing::decide`] is asked twice over: without guardrails, and with the project's own.
//!
//! The others are treated kindly: their requests are built before the clock runs, what they cannot express (which of
//! several consents holds) is worked out for them, and a bare yes or no is all that they return. [`sharing::decide`]
//! returns every rule's outcome, the items, what is withheld, the obligations and the consents it rests on.

use std::{collections::BTreeMap, time::Instant};

use setting::{Case, Setting};
use sharing::PolicySet;

mod casbin_engine;
mod cedar;
mod floor;
mod rego;
mod setting;

/// Samples of each contestant and case.
const SAMPLES: usize = 20_000;
/// Rounds that the samples are spread over.
const ROUNDS: usize = 40;
/// Questions in a setting; a call's number chooses one.
const QUESTIONS: usize = 64;

/// Somebody who answers questions.
struct Contestant {
    name: &'static str,
    /// Calls in a sample.
    batch: usize,
    /// Samples, where a call is too slow for [`SAMPLES`].
    samples: usize,
    /// Answers the question of this number: whether it may be told.
    answer: Box<dyn FnMut(usize, Case) -> bool>,
}

fn main() -> anyhow::Result<()> {
    let setting: &'static Setting = Box::leak(Box::new(Setting::new()));
    let mut contestants = vec![
        contestant("hash look-up and bitset (floor)", 64, SAMPLES, floor::answerer(setting)),
        contestant("sharing::decide", 64, SAMPLES, ours(setting, &setting.policies)),
        contestant("sharing::decide, call by call", 1, SAMPLES, ours(setting, &setting.policies)),
        contestant("sharing::decide, guardrails", 16, SAMPLES, ours(setting, &setting.guarded)),
        contestant("sharing::decide, guardrails, call by call", 1, SAMPLES, ours(setting, &setting.guarded)),
        contestant("cedar, 2 policies over facts", 8, SAMPLES, cedar::generic(setting)?),
        contestant("cedar, 200 static policies", 4, SAMPLES, cedar::of_each_flow(setting)?),
        contestant("regorus, interpreter", 4, SAMPLES, rego::interpreted(setting)?),
        contestant("regorus, virtual machine", 4, SAMPLES, rego::compiled(setting)?),
        contestant("casbin, agreements alone", 1, 2_000, casbin_engine::answerer(setting)?),
    ];
    let only = std::env::args().nth(1);
    contestants.retain(|contestant| only.as_ref().is_none_or(|only| contestant.name.contains(only.as_str())));
    for contestant in &mut contestants {
        for number in 0..QUESTIONS {
            for case in Case::ALL {
                let expected =
                    case == Case::Permit || (!contestant.weighs_consent() && case == Case::NoConsent);
                anyhow::ensure!(
                    (contestant.answer)(number, case) == expected,
                    "{}: {case:?}",
                    contestant.name
                );
            }
        }
    }
    let mut times: BTreeMap<(usize, Case), Vec<f64>> = BTreeMap::new();
    for _ in 0..=ROUNDS {
        let warming_up = times.is_empty();
        for (place, contestant) in contestants.iter_mut().enumerate() {
            for case in Case::ALL {
                let round = sample(contestant, case, contestant.samples / ROUNDS);
                times.entry((place, case)).or_default().extend(round.into_iter().filter(|_| !warming_up));
            }
        }
    }
    println!("| | case | p50 | p99 | p99/p50 | against the floor | allocations | bytes |");
    println!("|---|---|---|---|---|---|---|---|");
    let floor: BTreeMap<Case, f64> =
        Case::ALL.into_iter().map(|case| (case, quantile(times.get_mut(&(0, case)), 0.5))).collect();
    for (place, contestant) in contestants.iter_mut().enumerate() {
        for case in Case::ALL {
            let p50 = quantile(times.get_mut(&(place, case)), 0.5);
            let p99 = quantile(times.get_mut(&(place, case)), 0.99);
            let (count, bytes) = allocations(contestant, case);
            println!(
                "| {} | {} | {} | {} | {:.2} | {:.0}× | {count} | {bytes} |",
                contestant.name,
                case.name(),
                readable(p50),
                readable(p99),
                p99 / p50,
                p50 / floor[&case],
            );
        }
    }
    Ok(())
}

fn contestant(
    name: &'static str,
    batch: usize,
    samples: usize,
    answer: impl FnMut(usize, Case) -> bool + 'static,
) -> Contestant {
    Contestant { name, batch, samples, answer: Box::new(answer) }
}

impl Contestant {
    /// Whether the person's consents are part of what it is asked.
    fn weighs_consent(&self) -> bool {
        !(self.name.starts_with("casbin") || self.name.starts_with("hash"))
    }
}

fn ours(setting: &'static Setting, policies: &'static PolicySet) -> impl FnMut(usize, Case) -> bool {
    move |number, case| {
        let (question, subject) = setting.asked(number, case);
        let decision = sharing::decide::decide(question, policies, subject, setting.at);
        matches!(std::hint::black_box(decision), sharing::Decision::Permit(_))
    }
}

/// Seconds a call, one figure a sample.
#[expect(clippy::cast_precision_loss, reason = "batches are small")]
fn sample(contestant: &mut Contestant, case: Case, samples: usize) -> Vec<f64> {
    let mut number = 0;
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let start = Instant::now();
        for _ in 0..contestant.batch {
            number = (number + 1) % QUESTIONS;
            std::hint::black_box((contestant.answer)(std::hint::black_box(number), case));
        }
        times.push(start.elapsed().as_secs_f64() / contestant.batch as f64);
    }
    times
}

/// Allocations and bytes allocated in one call.
fn allocations(contestant: &mut Contestant, case: Case) -> (u64, u64) {
    let counted = allocation_counter::measure(|| {
        std::hint::black_box((contestant.answer)(1, case));
    });
    (counted.count_total, counted.bytes_total)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a short list"
)]
fn quantile(times: Option<&mut Vec<f64>>, share: f64) -> f64 {
    let Some(times) = times else { return f64::NAN };
    times.sort_by(f64::total_cmp);
    times.get(((times.len() - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn readable(seconds: f64) -> String {
    match seconds * 1e9 {
        ns if ns < 1_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1_000_000.0 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
