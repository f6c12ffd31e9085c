//! When "no such person" is answered.
//!
//! A record that is there takes longer to fetch and to read than one that is not, by how much depends on the record
//! holder. So an answer of "no record is available", for whatever reason, waits for the next of a few fixed times after
//! the question: one step, two, four, eight. Whoever times many answers learns at most which of these it was, and two
//! kinds of refusal are told apart only as often as a time falls between them.
//!
//! Where a record holder takes so much longer for a record that a time does fall between, all such answers about it wait for as long as
//! its records have taken lately.
//!
//! Source: A. Askarov, D. Zhang, A. C. Myers, Predictive black-box mitigation of timing channels, ACM CCS 2010: with
//! times that double, what leaks grows with the logarithm of the longest time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sharing::identifier::ProviderId;

/// How many questions of a record holder's records are remembered.
const RECENT: usize = 256;
/// Of so many of twenty of them a refusal takes as long as the longest.
const OF_TWENTY: usize = 19;

/// How long questions took lately to which a record holder answered with a record.
#[derive(Debug, Default)]
pub struct RecordTimes(Mutex<BTreeMap<ProviderId, Recent>>);

#[derive(Debug, Default)]
struct Recent {
    took: Vec<Duration>,
    next: usize,
}

impl RecordTimes {
    /// A question led to a record, and took this long.
    pub fn took(&self, provider: &ProviderId, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = match all.get_mut(provider) {
            Some(recent) => recent,
            None => all.entry(provider.clone()).or_default(),
        };
        match recent.took.get_mut(recent.next) {
            Some(oldest) => *oldest = took,
            None => recent.took.push(took),
        }
        recent.next = (recent.next + 1) % RECENT;
    }

    /// How long after the question about a record holder an answer goes out that was ready after `ready`. With a step of zero, at once.
    pub fn held_until(&self, provider: &ProviderId, ready: Duration, step: Duration) -> Duration {
        if step.is_zero() { ready } else { held_until(ready.max(self.of_a_record(provider)), step) }
    }

    /// How long most of those took, but for the longest twentieth; zero where there were none.
    fn of_a_record(&self, provider: &ProviderId) -> Duration {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recent) = all.get(provider) else { return Duration::ZERO };
        let mut took = recent.took.clone();
        drop(all);
        took.sort_unstable();
        let most = (took.len() * OF_TWENTY).div_ceil(20).saturating_sub(1);
        took.get(most).copied().unwrap_or_default()
    }
}

/// The next of the times: one step, two, four, eight.
fn held_until(ready: Duration, step: Duration) -> Duration {
    let mut at = step;
    while at < ready && !at.is_zero() {
        at = at.saturating_mul(2);
    }
    at.max(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longest_now_and_then_is_not_waited_for() {
        let (times, provider) = (RecordTimes::default(), "nhs-pds".parse().unwrap());
        let ms = Duration::from_millis;
        assert_eq!(times.of_a_record(&provider), Duration::ZERO);
        times.took(&provider, ms(40));
        assert_eq!(times.of_a_record(&provider), ms(40));
        for _ in 0..18 {
            times.took(&provider, ms(60));
        }
        times.took(&provider, ms(5_000));
        assert_eq!(times.of_a_record(&provider), ms(60));
        assert_eq!(times.of_a_record(&"trafford-asc".parse().unwrap()), Duration::ZERO);
        for _ in 0..RECENT {
            times.took(&provider, ms(10));
        }
        assert_eq!(times.of_a_record(&provider), ms(10), "what was before is forgotten");
    }

    #[test]
    fn times_double_and_nothing_goes_out_before_it_is_ready() {
        let ms = Duration::from_millis;
        for (ready, at) in [(0, 25), (1, 25), (25, 25), (26, 50), (51, 100), (3_000, 3_200)] {
            assert_eq!(held_until(ms(ready), ms(25)), ms(at), "{ready}");
        }
        assert_eq!(held_until(ms(7), Duration::ZERO), ms(7));
        assert_eq!(held_until(Duration::MAX, ms(25)), Duration::MAX);
    }
}
