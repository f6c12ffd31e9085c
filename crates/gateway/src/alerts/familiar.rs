//! The practitioner and the person: whether they are one, colleagues, of one name or one home, or the person is
//! watched. Compared in memory with keyed hashes that organisations registered; a value is hashed and forgotten, and
//! what is kept is the alert, never what was equal.
//!
//! What an organisation registered itself it may always be told of. What a record shows (another identifier, the
//! surname, the home) is told only where the record was, and never the home of somebody who is restricted: an alert
//! must not say what the answer kept back.

use jiff::Timestamp;
use sharing::{
    OrganisationId, SubjectIdentifier,
    alerting::{Kind, Tell},
    minimise::Familiar,
};
use store::{Change, MarkRow, MarksWanted};
use subtle::ConstantTimeEq as _;

use super::{human, once};
use crate::{app::App, caller::Caller};

/// What is registered that bears on a question.
pub struct Known {
    marks: Vec<MarkRow>,
    practitioner: String,
}

/// The kinds that compare.
const KINDS: [Kind; 5] =
    [Kind::OwnRecord, Kind::Colleague, Kind::SameSurname, Kind::SameUprn, Kind::WatchedSubject];

/// The hash of a practitioner's own identifier, for colleagues too: one for each organisation.
pub fn identifier_hash(app: &App, organisation: &str, identifier: &SubjectIdentifier) -> Vec<u8> {
    let value = format!("{}|{}", identifier.scheme(), identifier.as_str());
    app.store.mark_hash("identifier", organisation, "", &value)
}

/// The hash of somebody an organisation watches.
pub fn watched_hash(app: &App, organisation: &str, identifier: &SubjectIdentifier) -> Vec<u8> {
    let value = format!("{}|{}", identifier.scheme(), identifier.as_str());
    app.store.mark_hash("watched", organisation, "", &value)
}

/// The hash of a practitioner's surname or home: one for each practitioner, so that equal ones are not seen to be.
pub fn own_hash(app: &App, which: Familiar, organisation: &str, practitioner: &str, value: &str) -> Vec<u8> {
    let value = match which {
        Familiar::Surname => plain_name(value),
        Familiar::Uprn => value.trim().trim_start_matches('0').to_owned(),
    };
    app.store.mark_hash(kind_of(which), organisation, practitioner, &value)
}

/// The kind of mark.
pub fn kind_of(which: Familiar) -> &'static str {
    match which {
        Familiar::Surname => "surname",
        Familiar::Uprn => "uprn",
    }
}

/// Letters alone, in lower case: `O'Neil` and `ONEIL` are one name.
fn plain_name(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

/// What has to be looked up: the same whatever is known of the person. `None` where no rule compares anything.
pub fn wanted(
    app: &App,
    caller: &Caller,
    holder: Option<&OrganisationId>,
    identifiers: &[SubjectIdentifier],
) -> Option<MarksWanted> {
    let set = app.policies().set;
    if KINDS.iter().all(|kind| set.alerts().of(*kind).is_none()) {
        return None;
    }
    let own = caller.organisation.as_str();
    let mut hashes = Vec::new();
    for identifier in identifiers {
        hashes.push(identifier_hash(app, own, identifier));
        hashes.push(watched_hash(app, own, identifier));
        let holder = holder.filter(|holder| holder.as_str() != own);
        hashes.extend(holder.map(|holder| watched_hash(app, holder.as_str(), identifier)));
    }
    Some(MarksWanted { organisation: own.to_owned(), practitioner: caller.named.id().to_owned(), hashes })
}

impl Known {
    /// What was found of it.
    pub fn of(caller: &Caller, wanted: Option<&MarksWanted>, marks: Vec<MarkRow>) -> Self {
        // The practitioner's own identifiers come with their surnames: they count where they are this person's.
        let is_asked = |mark: &MarkRow| match mark.kind.as_str() {
            "identifier" | "watched" => wanted.is_some_and(|wanted| wanted.hashes.contains(&mark.hash)),
            _ => true,
        };
        let marks = marks.into_iter().filter(is_asked).collect();
        Self { marks, practitioner: caller.named.id().to_owned() }
    }

    /// Whether this surname or home is the practitioner's.
    pub fn is_own(&self, app: &App, organisation: &OrganisationId, which: Familiar, value: &str) -> bool {
        let mut own = self.marks.iter().filter(|mark| mark.kind == kind_of(which)).peekable();
        if own.peek().is_none() {
            return false;
        }
        let hash = own_hash(app, which, organisation.as_str(), &self.practitioner, value);
        own.any(|mark| bool::from(mark.hash.ct_eq(&hash)))
    }

    /// What the identifiers show, and whose privacy officers that concerns.
    pub fn kinds(&self, caller: &Caller) -> Vec<(Kind, OrganisationId)> {
        let mut found = Vec::new();
        for mark in &self.marks {
            let kind = match mark.kind.as_str() {
                "identifier" if mark.practitioner == self.practitioner => Kind::OwnRecord,
                "identifier" => Kind::Colleague,
                "watched" => Kind::WatchedSubject,
                _ => continue,
            };
            let told = match mark.organisation.parse::<OrganisationId>() {
                Ok(watching) if kind == Kind::WatchedSubject => watching,
                _ => caller.organisation.clone(),
            };
            if !found.contains(&(kind, told.clone())) {
                found.push((kind, told));
            }
        }
        found
    }
}

/// The changes that raise what was found, each once for the decision.
pub fn alerts(
    app: &App,
    caller: &Caller,
    found: &[(Kind, OrganisationId)],
    decision: &str,
    at: Timestamp,
) -> Vec<Change> {
    let (set, about) = (app.policies().set, human(caller));
    let raised = found.iter().filter_map(|(kind, told)| {
        let rule = set.alerts().of(*kind)?;
        let as_whom = if *told == caller.organisation { Tell::Asker } else { Tell::Holder };
        if rule.exempts(&about, at) || !rule.tell.contains(&as_whom) {
            return None;
        }
        Some(Change::RaiseAlert(Box::new(once(app, rule, told, decision, &about, at))))
    });
    raised.collect()
}
