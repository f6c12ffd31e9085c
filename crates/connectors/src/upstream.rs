//! One record holder as the gateway sees it: its share of what goes on at once, its breaker, and counts of how it answers.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    FetchFault,
    breaker::{Breaker, BreakerLimits, BreakerState, Outcome, Pass},
};

/// How long a question waits for a place. Questions whose intents were committed together go out together: those are waited for, not
/// a record holder that is slow.
const PLACE_WITHIN: Duration = Duration::from_millis(50);

/// What is counted, in this order.
pub const OUTCOMES: [&str; 11] = [
    "answered",
    "subject-unknown",
    "provider-unreachable",
    "provider-timed-out",
    "provider-busy",
    "provider-error",
    "provider-unexpected-answer",
    "provider-answer-too-large",
    "provider-crowded",
    "provider-resting",
    "provider-out-of-reach",
];

/// How a record holder is, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Questions on their way.
    pub in_flight: usize,
    /// Most at once.
    pub in_flight_max: usize,
    /// Its breaker.
    pub breaker: BreakerState,
    /// How its answers were, in the order of [`OUTCOMES`].
    pub answers: [u64; OUTCOMES.len()],
}

/// What outlives a client that is made again.
pub(crate) struct Upstream {
    places: Semaphore,
    /// So few wait that with their places in the gateway a slow record holder takes little more than those of its own.
    waiting: Semaphore,
    pub(crate) in_flight_max: usize,
    breaker: Mutex<Breaker>,
    answers: [AtomicU64; OUTCOMES.len()],
}

/// A question that may go out. However it ends, the place is free again and the breaker knows.
pub(crate) struct Going<'a> {
    upstream: &'a Upstream,
    pass: Option<Pass>,
    _place: SemaphorePermit<'a>,
}

impl Upstream {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self {
            places: Semaphore::new(in_flight_max),
            waiting: Semaphore::new((in_flight_max / 4).max(1)),
            in_flight_max,
            breaker: Mutex::new(Breaker::new(BreakerLimits::default())),
            answers: Default::default(),
        }
    }

    /// Nobody waits long for a place, nor many: a record holder that is slow would fill all of ours, and nobody else's would be asked.
    pub(crate) async fn go(&self, until: Instant) -> Result<Going<'_>, FetchFault> {
        let going = self.place(until).await.and_then(|place| {
            let pass = self.breaker().pass(Instant::now()).ok_or(FetchFault::Resting)?;
            Ok(Going { upstream: self, pass: Some(pass), _place: place })
        });
        if let Err(fault) = &going {
            self.count(Some(*fault));
        }
        going
    }

    async fn place(&self, until: Instant) -> Result<SemaphorePermit<'_>, FetchFault> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _turn = self.waiting.try_acquire().map_err(|_| FetchFault::Crowded)?;
        let within = until.saturating_duration_since(Instant::now()).min(PLACE_WITHIN);
        let place = tokio::time::timeout(within, self.places.acquire()).await;
        place.ok().and_then(Result::ok).ok_or(FetchFault::Crowded)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            in_flight: self.in_flight_max.saturating_sub(self.places.available_permits()),
            in_flight_max: self.in_flight_max,
            breaker: self.breaker().state(),
            answers: std::array::from_fn(|at| {
                self.answers.get(at).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fault: Option<FetchFault>) {
        let name = fault.map_or("answered", FetchFault::as_str);
        let at = OUTCOMES.iter().position(|known| *known == name);
        if let Some(count) = at.and_then(|at| self.answers.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Going<'_> {
    /// How it went. `was_cut_short`: it had less time than a record holder is given, so that its silence says nothing.
    pub(crate) fn ended(mut self, fault: Option<FetchFault>, was_cut_short: bool) {
        let outcome = match fault {
            Some(FetchFault::TimedOut) if was_cut_short => Outcome::Unknown,
            Some(
                FetchFault::Unreachable
                | FetchFault::OutOfReach
                | FetchFault::TimedOut
                | FetchFault::Busy
                | FetchFault::Status(500..),
            ) => Outcome::Failed,
            _ => Outcome::Worked,
        };
        self.upstream.count(fault);
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            self.upstream.breaker().ended(pass, outcome, Instant::now());
        }
    }
}

impl Drop for Going<'_> {
    /// The caller broke off.
    fn drop(&mut self) {
        self.tell(Outcome::Unknown);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test]
    async fn a_full_record_holder_is_not_waited_for_long_and_by_few() {
        let upstream = Upstream::new(8);
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(upstream.go(later()).await.unwrap());
        }
        let began = Instant::now();
        assert_eq!(upstream.go(later()).await.err(), Some(FetchFault::Crowded));
        assert!(began.elapsed() >= PLACE_WITHIN);
        assert_eq!(upstream.seen().in_flight, 8);
        // Two wait for the places that become free meanwhile; a third is told at once.
        let (mut first, mut second) = (Box::pin(upstream.go(later())), Box::pin(upstream.go(later())));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!(upstream.go(later()).now_or_never().unwrap().err(), Some(FetchFault::Crowded));
        all.pop().unwrap().ended(None, false);
        drop(all);
        drop((first.await.unwrap(), second.await.unwrap()));
        assert_eq!(upstream.seen().in_flight, 0);
        assert!(upstream.go(later()).await.is_ok());
        assert_eq!(upstream.seen().answers[8], 2, "provider-crowded");
    }

    #[tokio::test]
    async fn one_that_fails_rests_and_an_absence_is_no_failure() {
        let upstream = Upstream::new(2);
        for _ in 0..30 {
            upstream.go(later()).await.unwrap().ended(Some(FetchFault::NotFound), false);
            upstream.go(later()).await.unwrap().ended(Some(FetchFault::TimedOut), true);
            upstream.go(later()).await.unwrap().ended(Some(FetchFault::Unexpected), false);
            drop(upstream.go(later()).await.unwrap());
        }
        assert_eq!(upstream.seen().breaker, BreakerState::Closed);
        for _ in 0..10 {
            upstream.go(later()).await.unwrap().ended(Some(FetchFault::TimedOut), false);
        }
        assert_eq!(upstream.seen().breaker, BreakerState::Open);
        assert_eq!(upstream.go(later()).await.err(), Some(FetchFault::Resting));
        let counted = upstream.seen().answers;
        assert_eq!(counted[1], 30, "subject-unknown");
        assert_eq!((counted[3], counted[9]), (40, 1));
    }

    #[tokio::test]
    async fn one_with_a_forbidden_address_is_counted_and_rests() {
        let upstream = Upstream::new(2);
        for _ in 0..10 {
            upstream.go(later()).await.unwrap().ended(Some(FetchFault::OutOfReach), false);
        }
        assert_eq!(upstream.seen().answers.iter().sum::<u64>(), 10);
        assert_eq!(upstream.seen().breaker, BreakerState::Open);
    }
}
