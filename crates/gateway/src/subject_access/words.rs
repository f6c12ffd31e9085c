//! Events in words that whoever they are about can read.

use jiff::{Timestamp, tz::TimeZone};
use ledger::entry::Actor;
use serde::Serialize;
use sharing::{PolicySet, agreement::last_whole_day, explain};
use utoipa::ToSchema;

use super::{Event, Outcome};

/// An event as the person is told of it. It names no staff: that takes a review.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Told {
    /// When, as an RFC 3339 time.
    pub at: String,
    /// When, in words, in London.
    pub when: String,
    /// Who asked: the organisation.
    pub organisation: String,
    /// In which role.
    pub role: String,
    /// What for, in words.
    pub purpose: String,
    /// Whose record.
    pub record_holder: String,
    /// What was given, in words.
    pub items: Vec<String>,
    /// What came of it, in words.
    pub outcome: &'static str,
    /// The name under which to ask about it.
    pub reference: String,
    /// All of it in one sentence.
    pub in_words: String,
}

/// The event in words.
pub fn told(set: &PolicySet, event: &Event) -> Told {
    let decided = &event.decided;
    let organisation = explain::organisation(set, &decided.recipient);
    let record_holder = explain::record_holder(set, &decided.provider);
    let items = event.items.iter().map(|item| explain::released_item(set, &decided.provider, item));
    let items: Vec<_> = items.collect();
    let role = role(&decided.by);
    let purpose = explain::purpose(&decided.purpose);
    let outcome = match event.outcome {
        Outcome::Given => "given",
        Outcome::NotGiven => "nothing was given",
        Outcome::AskedOnly => "only asked whether it could be given",
        Outcome::Unknown => "not finished",
    };
    let came_of_it = match event.outcome {
        Outcome::Given => format!("It was given: {}.", items.join("; ")),
        Outcome::NotGiven => "Nothing was given.".to_owned(),
        Outcome::AskedOnly => "It asked only whether it could be given; nothing was.".to_owned(),
        Outcome::Unknown => "The request was not finished.".to_owned(),
    };
    let when = in_london(event.at);
    let in_words = format!(
        "On {when}, {organisation} ({role}) asked {record_holder} about you for {purpose}. {came_of_it}"
    );
    Told {
        at: event.at.to_string(),
        when,
        organisation,
        role,
        purpose,
        record_holder,
        items,
        outcome,
        reference: decided.decision_id.clone(),
        in_words,
    }
}

/// In which role somebody acted.
pub(super) fn role(by: &Actor) -> String {
    match (&by.role, &by.unattended_owner) {
        (Some(role), _) => role.replace('-', " "),
        (None, Some(_)) => "an automatic check".to_owned(),
        (None, None) => "not stated".to_owned(),
    }
}

/// Until when something holds, as people write it: what ends at midnight holds for the whole day before.
pub(crate) fn until(at: Timestamp) -> String {
    last_whole_day(at)
        .map_or_else(|| in_london(at), |day| format!("the end of {}", day.strftime("%-d %B %Y")))
}

/// A time as people write it.
pub(crate) fn in_london(at: Timestamp) -> String {
    let zone = TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%-d %B %Y at %H:%M").to_string()
}
