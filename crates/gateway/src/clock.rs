//! The only two impurities: the time, and random bits. Both become arguments from here on.

use jiff::Timestamp;

/// Where the time comes from. Microseconds are the finest unit: the ledger and the database keep no more.
pub trait Clock: Send + Sync {
    /// The time now, truncated to microseconds.
    fn now(&self) -> Timestamp;
}

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
