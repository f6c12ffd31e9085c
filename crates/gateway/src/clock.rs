//! The only two impurities: the time, and random bits. Both become arguments from here on.

use std::{sync::OnceLock, time::Instant};

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from. Microseconds are the finest unit: the ledger and the database keep no more.
pub trait Clock: Send + Sync {
    /// The time now, truncated to microseconds.
    fn now(&self) -> Timestamp;

    /// Whether the time can be believed: it has not been set by more than [`SET_MAX`] since the process began.
    fn is_steady(&self) -> bool {
        true
    }

    /// By how much it may differ from another that others go by; `None` for any.
    fn skew_max(&self) -> Option<SignedDuration> {
        Some(SET_MAX)
    }

    /// Whether another clock, which others go by, shows about the same.
    fn is_near(&self, other: Timestamp) -> bool {
        self.skew_max().is_none_or(|max| self.now().duration_since(other).abs() <= max)
    }
}

/// By how much the clock may be set before nothing is decided by it. Consents, agreements and tokens end by the clock.
pub const SET_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Where random bits come from.
pub trait Entropy: Send + Sync {
    /// 128 fresh random bits.
    fn bits(&self) -> u128;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one licensed reading of the clock")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn is_steady(&self) -> bool {
        static BEGUN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
        let now = self.now();
        let (wall, begun) = BEGUN.get_or_init(|| (now, Instant::now()));
        let passed = SignedDuration::try_from(begun.elapsed()).unwrap_or(SignedDuration::MAX);
        is_steady(now.duration_since(*wall), passed)
    }
}

/// Whether the wall clock went as far as the clock that nobody can set.
fn is_steady(by_wall: SignedDuration, passed: SignedDuration) -> bool {
    by_wall.saturating_sub(passed).unsigned_abs() <= SET_MAX.unsigned_abs()
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        fill(&mut bytes);
        u128::from_be_bytes(bytes)
    }
}

/// Fills `bytes` with random ones. For keys and identifiers.
#[expect(clippy::disallowed_methods, reason = "the one licensed source of randomness")]
pub fn fill(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        // Without randomness nothing this program does is safe.
        std::process::abort();
    }
}

/// A random UUID (version 4) from fresh bits, for request ids.
pub fn uuid(entropy: &dyn Entropy) -> String {
    uuid::Builder::from_random_bytes(entropy.bits().to_be_bytes()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_not_steady_either_way() {
        let s = SignedDuration::from_secs;
        assert!(is_steady(s(1_000), s(1_000)));
        assert!(is_steady(s(1_300), s(1_000)) && is_steady(s(700), s(1_000)));
        assert!(!is_steady(s(1_301), s(1_000)) && !is_steady(s(699), s(1_000)));
        assert!(!is_steady(s(-3_600), s(0)) && !is_steady(SignedDuration::MIN, s(0)));
        assert!(SystemClock.is_steady());
    }
}
