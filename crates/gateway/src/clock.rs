//! The only two impurities: the time, and random bits. Both become arguments from here on.

use std::{sync::OnceLock, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from. Microseconds are the finest unit: the ledger and the database keep no more.
pub trait Clock: Send + Sync {
    /// The time now, truncated to microseconds. Where the clock was set ahead by more than [`SET_MAX`] since the process began, it is the
    /// time that has passed since then: what is recorded meanwhile does not carry the ledger's time with it, which never goes back.
    fn now(&self) -> Timestamp;

    /// What the clock shows. Callers go by theirs: what they sign is held against this.
    fn wall(&self) -> Timestamp {
        self.now()
    }

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
    fn now(&self) -> Timestamp {
        let (wall, unset) = self.both();
        believed(wall, unset)
    }

    #[expect(clippy::disallowed_methods, reason = "the one licensed reading of the clock")]
    fn wall(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn is_steady(&self) -> bool {
        let (wall, unset) = self.both();
        is_steady(wall.duration_since(unset))
    }
}

impl SystemClock {
    /// What the clock shows, and what it would if nobody had set it since the process began.
    fn both(self) -> (Timestamp, Timestamp) {
        static BEGUN: OnceLock<(Timestamp, Duration)> = OnceLock::new();
        let wall = self.wall();
        let (then, begun) = BEGUN.get_or_init(|| (wall, since_boot()));
        let passed = i64::try_from(since_boot().saturating_sub(*begun).as_micros()).unwrap_or(i64::MAX);
        let unset = then.checked_add(SignedDuration::from_micros(passed)).unwrap_or(Timestamp::MAX);
        (wall, unset)
    }
}

/// How long the machine has been up, its sleep included: one that was asleep for a night has not had its clock set.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(up.tv_sec.unsigned_abs(), u32::try_from(up.tv_nsec).unwrap_or_default())
}

/// How long the process has run, as the machine counts it.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static BEGUN: OnceLock<std::time::Instant> = OnceLock::new();
    BEGUN.get_or_init(std::time::Instant::now).elapsed()
}

/// What is gone by: one that was set back is held against the ledger's time, which is there to compare; one that was set ahead against
/// nothing but this.
fn believed(wall: Timestamp, unset: Timestamp) -> Timestamp {
    if wall.duration_since(unset) > SET_MAX { unset } else { wall }
}

/// Whether the wall clock went as far as the clock that nobody can set.
fn is_steady(set_by: SignedDuration) -> bool {
    set_by.unsigned_abs() <= SET_MAX.unsigned_abs()
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
        assert!(is_steady(s(0)) && is_steady(s(300)) && is_steady(s(-300)));
        assert!(!is_steady(s(301)) && !is_steady(s(-301)));
        assert!(!is_steady(SignedDuration::MIN) && !is_steady(SignedDuration::MAX));
        assert!(SystemClock.is_steady());
    }

    #[test]
    fn one_that_is_set_ahead_is_not_gone_by() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(believed(at(1_300), at(1_000)), at(1_300));
        assert_eq!(believed(at(1_000 + 365 * 86_400), at(1_000)), at(1_000));
        assert_eq!(believed(at(0), at(1_000)), at(0));
        assert!(SystemClock.now().duration_since(SystemClock.wall()).abs() < SignedDuration::from_secs(60));
    }
}
