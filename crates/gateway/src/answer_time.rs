//! When "no such person" is answered.
//!
//! A record that is there takes longer to fetch and to read than one that is not, by how much depends on the record
//! holder. So an answer of "no record is available", for whatever reason, waits for the next of a few fixed times after
//! the question: one step, two, four, eight. Whoever times many answers learns at most which of these it was, and two
//! kinds of refusal are told apart only as often as a time falls between them.
//!
//! Source: A. Askarov, D. Zhang, A. C. Myers, Predictive black-box mitigation of timing channels, ACM CCS 2010: with
//! times that double, what leaks grows with the logarithm of the longest time.

use std::time::Duration;

/// How long after the question an answer goes out that was ready after `ready`. With a step of zero, at once.
pub fn held_until(ready: Duration, step: Duration) -> Duration {
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
    fn times_double_and_nothing_goes_out_before_it_is_ready() {
        let ms = Duration::from_millis;
        for (ready, at) in [(0, 25), (1, 25), (25, 25), (26, 50), (51, 100), (3_000, 3_200)] {
            assert_eq!(held_until(ms(ready), ms(25)), ms(at), "{ready}");
        }
        assert_eq!(held_until(ms(7), Duration::ZERO), ms(7));
        assert_eq!(held_until(Duration::MAX, ms(25)), Duration::MAX);
    }
}
