//! Every rule that was looked at and what it came to, without an allocation: there is room for each rule once.

use std::{fmt, ops::Deref};

use super::{Outcome, Reason, Rule, Step};

/// The rules that were looked at, in order, and what each came to.
#[derive(Clone, Copy)]
pub struct Trace {
    steps: [Step; Rule::ALL.len()],
    len: usize,
}

impl Trace {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let step = Step { rule: Rule::Purpose, outcome: Outcome::NotApplicable };
        Self { steps: [step; Rule::ALL.len()], len: 0 }
    }

    /// Adds what a rule came to. No rule is looked at twice; were one, a failure would still not be lost.
    pub(super) fn push(&mut self, rule: Rule, outcome: Outcome) {
        debug_assert!(self.len < self.steps.len(), "a rule was looked at twice");
        let is_full = self.len >= self.steps.len();
        let place = if is_full { self.steps.last_mut() } else { self.steps.get_mut(self.len) };
        if let Some(place) = place.filter(|_| !is_full || outcome.reason().is_some()) {
            *place = Step { rule, outcome };
        }
        self.len = self.steps.len().min(self.len + 1);
    }

    /// The reasons of the rules that failed, in order.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.iter().filter_map(|step| step.outcome.reason())
    }

    /// Some rule failed.
    pub fn has_failed(&self) -> bool {
        self.reasons().next().is_some()
    }
}

impl Deref for Trace {
    type Target = [Step];

    fn deref(&self) -> &[Step] {
        self.steps.get(..self.len).unwrap_or(&self.steps)
    }
}

impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Trace {}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_rule_once() {
        let mut trace = Trace::new();
        assert!(trace.is_empty() && !trace.has_failed());
        for rule in Rule::ALL {
            trace.push(rule, Outcome::Pass);
        }
        assert_eq!(trace.iter().map(|step| step.rule).collect::<Vec<_>>(), Rule::ALL);
        assert!(!trace.has_failed());
        assert_eq!(std::mem::size_of::<Step>(), 2);
    }
}
