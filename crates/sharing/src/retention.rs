//! How long what has ended is kept: `policies/retention.toml`. Without the file nothing is ever forgotten.
//!
//! Source: UK GDPR Art 5(1)(e), storage limitation; Art 30(1)(f), time limits for erasure.

use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;

use crate::agreement::london;

/// The schedule, as its file is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Consents that ran out, were refused or taken back, once the person has no other in force.
    pub consents: Keep,
    /// Objections and dissents that were refused or taken back. One in force is never forgotten.
    pub objections: Keep,
    /// Relationships, grants and emergencies.
    pub exceptions: Keep,
    /// Requests for one-off disclosures that were decided or never made.
    pub referrals: Keep,
    /// Alerts that were closed.
    pub alerts: Keep,
    /// People about whom nothing else is held, since anybody last had to do with them. Restricted people are never
    /// forgotten by themselves.
    pub people: Keep,
}

/// How long, and why just so long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Whole years after the end, 1 to 100, counted in Europe/London.
    pub years: u8,
    /// The rule that it follows, for whoever asks.
    pub why: String,
}

impl Retention {
    /// Every kind, with how long it is kept.
    pub fn all(&self) -> [(&'static str, &Keep); 6] {
        [
            ("consents", &self.consents),
            ("objections", &self.objections),
            ("exceptions", &self.exceptions),
            ("referrals", &self.referrals),
            ("alerts", &self.alerts),
            ("people", &self.people),
        ]
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let wrong = |(name, keep): (&str, &Keep)| {
            if !(1..=100).contains(&keep.years) {
                return Some(format!("`{name}.years` must be 1 to 100"));
            }
            (keep.why.trim().chars().count() < 10).then(|| {
                format!("`{name}.why` must name the rule that the time follows, in 10 characters or more")
            })
        };
        self.all().into_iter().filter_map(wrong).collect()
    }
}

impl Keep {
    /// What ended before this instant has been kept long enough.
    pub fn cutoff(&self, at: Timestamp) -> Timestamp {
        let years = i64::from(self.years).years();
        let then = at.to_zoned(london()).checked_sub(years).map(|zoned| zoned.timestamp());
        then.unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_counted_in_london() {
        let keep = Keep { years: 1, why: "a rule".to_owned() };
        // Half past midnight in London, while it is still the day before in UTC.
        let at: Timestamp = "2025-06-30T23:30:00Z".parse().unwrap();
        assert_eq!(keep.cutoff(at), "2024-06-30T23:30:00Z".parse().unwrap());
        // From winter to winter, over the leap day.
        let at: Timestamp = "2025-02-28T12:00:00Z".parse().unwrap();
        assert_eq!(keep.cutoff(at), "2024-02-28T12:00:00Z".parse().unwrap());
        assert_eq!(keep.cutoff(Timestamp::MIN), Timestamp::MIN);
    }
}
