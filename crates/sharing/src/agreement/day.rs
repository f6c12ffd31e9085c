//! Days of agreements: each begins at midnight in Europe/London, summer time included.

use std::{fmt, sync::LazyLock};

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::Deserialize;

/// A day and the instant at which it begins in Europe/London, summer time included: worked out once, when the
/// agreement is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Date")]
pub struct LondonDay {
    day: Date,
    pub(super) begins: Timestamp,
}

impl LondonDay {
    /// The day.
    pub fn day(self) -> Date {
        self.day
    }
}

impl From<Date> for LondonDay {
    fn from(day: Date) -> Self {
        let begins = day.to_zoned(LONDON.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp());
        Self { day, begins }
    }
}

impl fmt::Display for LondonDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.day.fmt(formatter)
    }
}

/// The zone is compiled in; were it missing, UTC is at most one hour late and never early.
static LONDON: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC));

/// Where days and years are counted.
pub(crate) fn london() -> TimeZone {
    LONDON.clone()
}

/// The instant at which this day begins in Europe/London.
pub fn london_midnight(day: impl Into<LondonDay>) -> Timestamp {
    day.into().begins
}

/// The calendar day in Europe/London at this instant.
pub fn london_day(at: Timestamp) -> Date {
    LONDON.to_datetime(at).date()
}

/// The last day for the whole of which something holds that ends at this instant, where that is a midnight in Europe/London.
pub fn last_whole_day(until: Timestamp) -> Option<Date> {
    let local = LONDON.to_datetime(until);
    local.date().yesterday().ok().filter(|_| local.time() == Time::midnight())
}

/// The hour of the day in Europe/London at this instant, 0 to 23.
pub fn london_hour(at: Timestamp) -> u8 {
    u8::try_from(LONDON.to_datetime(at).hour()).unwrap_or(0)
}

/// The time of day in Europe/London at this instant.
pub(crate) fn london_time(at: Timestamp) -> jiff::civil::Time {
    LONDON.to_datetime(at).time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_in_london() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        assert_eq!(london_midnight(day("2026-04-01")).to_string(), "2026-03-31T23:00:00Z", "summer time");
        assert_eq!(london_midnight(day("2026-12-01")).to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(london_midnight(day("2028-02-29")).to_string(), "2028-02-29T00:00:00Z", "leap day");
        assert_eq!(london_day("2026-03-31T23:00:00Z".parse().unwrap()), day("2026-04-01"));
    }
}
