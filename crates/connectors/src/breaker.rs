//! When a record holder keeps failing it is left alone for a while, so that neither it nor we spend our time on it.
//!
//! A breaker looks at record holders, never at people: a question about somebody who does not exist, asked in the place of
//! one that may not be asked, counts like any other, and whoever is asked about while it is open is answered alike. It
//! decides nothing about access. It reads no clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerLimits {
    /// Among how many of the newest outcomes failures are counted.
    pub of: usize,
    /// From how many failures on it opens.
    pub failures: usize,
    /// For how long, the first time.
    pub open_for: Duration,
    /// Each failed probe doubles that, up to this.
    pub open_for_max: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { of: 20, failures: 10, open_for: Duration::from_secs(5), open_for_max: Duration::from_mins(1) }
    }
}

/// How a question went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record holder answered, whatever it said.
    Worked,
    /// It could not be reached, was too slow, or failed.
    Failed,
    /// Nobody waited long enough to tell.
    Unknown,
}

/// Whether questions go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They do.
    Closed,
    /// One does, to see how it goes.
    Probing,
    /// None does.
    Open,
}

#[derive(Debug)]
enum State {
    Closed { newest: VecDeque<bool> },
    Open { until: Instant, lasted: Duration },
    Probing { lasted: Duration },
}

/// Leave to ask once, to be given back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass(u64);

/// One record holder's breaker.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// What began in an earlier state says nothing about this one.
    turn: u64,
}

impl Breaker {
    /// A closed one.
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed { newest: VecDeque::new() }, turn: 0 }
    }

    /// Leave to ask now, or none.
    pub fn pass(&mut self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => Some(Pass(self.turn)),
            State::Open { until, lasted } if now >= until => {
                self.turn_to(State::Probing { lasted });
                Some(Pass(self.turn))
            }
            State::Open { .. } | State::Probing { .. } => None,
        }
    }

    /// How it went.
    pub fn ended(&mut self, pass: Pass, outcome: Outcome, now: Instant) {
        if pass.0 != self.turn {
            return;
        }
        match (&mut self.state, outcome) {
            (State::Closed { newest }, Outcome::Worked | Outcome::Failed) => {
                newest.push_back(outcome == Outcome::Failed);
                if newest.len() > self.limits.of {
                    newest.pop_front();
                }
                if newest.iter().filter(|failed| **failed).count() >= self.limits.failures {
                    self.open(now, self.limits.open_for);
                }
            }
            (State::Probing { .. }, Outcome::Worked) => {
                self.turn_to(State::Closed { newest: VecDeque::new() });
            }
            (State::Probing { lasted }, Outcome::Failed) => {
                let longer = lasted.saturating_mul(2).min(self.limits.open_for_max);
                self.open(now, longer);
            }
            // The next one is the probe.
            (State::Probing { lasted }, Outcome::Unknown) => {
                let lasted = *lasted;
                self.turn_to(State::Open { until: now, lasted });
            }
            (State::Closed { .. }, Outcome::Unknown) | (State::Open { .. }, _) => {}
        }
    }

    /// Whether questions go out.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    fn open(&mut self, now: Instant, lasted: Duration) {
        // A time beyond what the clock can say is no time to wait for.
        let until = now.checked_add(lasted).unwrap_or(now);
        self.turn_to(State::Open { until, lasted });
    }

    fn turn_to(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        of: 6,
        failures: 3,
        open_for: Duration::from_secs(5),
        open_for_max: Duration::from_secs(15),
    };

    /// The same by its whole history, with no state of its own but what happened.
    #[derive(Default)]
    struct Model {
        /// Outcomes since it was last closed.
        since_closed: Vec<bool>,
        open_until: Option<u64>,
        wait: u64,
        probes: bool,
    }

    impl Model {
        fn passes(&mut self, now: u64) -> bool {
            match self.open_until {
                None => !self.probes,
                Some(until) if now >= until => {
                    self.open_until = None;
                    self.probes = true;
                    true
                }
                Some(_) => false,
            }
        }

        fn ended(&mut self, outcome: Outcome, now: u64) {
            match (self.probes, outcome) {
                (true, Outcome::Worked) => *self = Self::default(),
                (true, Outcome::Failed) => {
                    self.wait = (self.wait * 2).min(15);
                    (self.open_until, self.probes) = (Some(now + self.wait), false);
                }
                (true, Outcome::Unknown) => (self.open_until, self.probes) = (Some(now), false),
                (false, Outcome::Unknown) => {}
                (false, outcome) => {
                    self.since_closed.push(outcome == Outcome::Failed);
                    let failed = self.since_closed.iter().rev().take(6).filter(|failed| **failed).count();
                    if failed >= 3 {
                        (self.wait, self.open_until) = (5, Some(now + 5));
                    }
                }
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Move {
        Wait(u64),
        Ask(Outcome),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let outcome = prop_oneof![
            3 => Just(Outcome::Failed),
            3 => Just(Outcome::Worked),
            1 => Just(Outcome::Unknown)
        ];
        let one = prop_oneof![2 => outcome.prop_map(Move::Ask), 1 => (0_u64..9).prop_map(Move::Wait)];
        prop::collection::vec(one, 1..120)
    }

    proptest! {
        #[test]
        fn it_is_what_its_history_says(moves in moves()) {
            let begun = Instant::now();
            let (mut breaker, mut model, mut now) = (Breaker::new(LIMITS), Model::default(), 0);
            for one in moves {
                match one {
                    Move::Wait(seconds) => now += seconds,
                    Move::Ask(outcome) => {
                        let at = begun + Duration::from_secs(now);
                        let pass = breaker.pass(at);
                        prop_assert_eq!(pass.is_some(), model.passes(now));
                        if let Some(pass) = pass {
                            breaker.ended(pass, outcome, at);
                            model.ended(outcome, now);
                        }
                    }
                }
                let open = matches!(breaker.state(), BreakerState::Open);
                prop_assert_eq!(open, model.open_until.is_some());
            }
        }

        /// While it is open nothing goes out, and after that one question at a time until one has worked.
        #[test]
        fn at_most_one_probe_is_on_its_way(moves in moves()) {
            let begun = Instant::now();
            let (mut breaker, mut now) = (Breaker::new(LIMITS), 0);
            let mut probe: Option<Pass> = None;
            for one in moves {
                let at = begun + Duration::from_secs(now);
                match one {
                    Move::Wait(seconds) => {
                        now += seconds;
                        if let Some(pass) = probe.take() {
                            breaker.ended(pass, Outcome::Failed, begun + Duration::from_secs(now));
                        }
                    }
                    Move::Ask(outcome) => {
                        let was = breaker.state();
                        match breaker.pass(at) {
                            Some(pass) if was == BreakerState::Closed => breaker.ended(pass, outcome, at),
                            Some(pass) => {
                                prop_assert!(probe.is_none(), "a second probe");
                                probe = Some(pass);
                            }
                            None => prop_assert!(was != BreakerState::Closed),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_afterwards() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        let late = breaker.pass(now).unwrap();
        for _ in 0..3 {
            let pass = breaker.pass(now).unwrap();
            breaker.ended(pass, Outcome::Failed, now);
        }
        breaker.ended(late, Outcome::Worked, now);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.pass(now), None);
        let probe = breaker.pass(now + Duration::from_secs(5)).unwrap();
        breaker.ended(late, Outcome::Worked, now);
        assert_eq!(breaker.state(), BreakerState::Probing, "an old answer is no probe");
        breaker.ended(probe, Outcome::Worked, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
