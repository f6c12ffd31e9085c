//! Cutting a record down: only what a [`ConfirmedPermit`] lists leaves, in the form it lists.
//!
//! The record is taken apart by allow-list alone. A key nobody listed is dropped at every depth; narrative,
//! contained resources, links and extensions have no way through. A record that is not about the person asked
//! for is refused whole.

use jiff::{Timestamp, civil::Date};
use sha2::{Digest, Sha256};

use crate::{
    agreement::london_day,
    catalogue::{DataItem, Form, Protocol, Provider, Sign},
    decide::{ConfirmedPermit, PermittedItem},
    identifier::{ItemId, ProviderId, SubjectIdentifier},
    json::{Json, JsonError, Limits, parse},
    policy::hexadecimal,
    restriction::{Marking, RestrictionCheck},
    selector::Selector,
    subject::RecordFacts,
};

mod fhir;
mod form;

pub use form::age_years;

/// A record holder's answer that is about the person asked for. Its content can be read only through
/// [`ConfirmedPermit::minimise`].
pub struct Examined {
    record: Json,
    facts: RecordFacts,
    /// The record holder whose mark it is, where another's than the record's own.
    marked_by: Option<ProviderId>,
}

impl std::fmt::Debug for Examined {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Examined(..)")
    }
}

impl Examined {
    /// What the record says about its person that bears on the decision.
    pub fn facts(&self) -> &RecordFacts {
        &self.facts
    }

    /// With what another record holder says about restriction. One mark is enough: none is taken off.
    #[must_use]
    pub fn checked(mut self, check: &RestrictionCheck, marking: Marking) -> Self {
        self.facts.unconfirmed = marking == Marking::Unconfirmed;
        if marking == Marking::Restricted && !self.facts.restricted {
            self.facts.restricted = true;
            self.marked_by = Some(check.by().clone());
        }
        self
    }

    /// Whether a surname or a UPRN in the record is the practitioner's own, as `is_own` tells. A value is lent to
    /// it and kept nowhere: what comes out is yes or no.
    pub fn resembles(&self, provider: &Provider, is_own: impl Fn(Familiar, &str) -> bool) -> Vec<Familiar> {
        let places = [
            (Familiar::Surname, provider.subject.surname.as_ref()),
            (Familiar::Uprn, provider.subject.uprn.as_ref()),
        ];
        let found = |(which, place): &(Familiar, Option<&Selector>)| {
            let values = place.iter().flat_map(|place| place.select(&self.record));
            values.filter_map(Json::as_str).any(|value| is_own(*which, value))
        };
        places.into_iter().filter(found).map(|(which, _)| which).collect()
    }

    /// Who marked it restricted, where another record holder did.
    pub fn marked_by(&self) -> Option<&ProviderId> {
        self.marked_by.as_ref()
    }
}

/// What a practitioner can have in common with the person of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Familiar {
    /// The surname.
    Surname,
    /// The home.
    Uprn,
}

/// Why a record holder's answer was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExamineFault {
    /// Not a document that can be read safely.
    #[error("the answer is not usable json: {0}")]
    Json(#[from] JsonError),
    /// Not the kind of document that the catalogue expects.
    #[error("the answer is not the kind of document that the catalogue expects")]
    Unexpected,
    /// About somebody else, or about nobody that can be told.
    #[error("the answer is not about the person asked for")]
    SubjectMismatch,
    /// A search that found nobody.
    #[error("the answer holds no record")]
    NoRecord,
}

/// A record cut down to what may leave. It is the only thing that a release can be made from:
///
/// ```compile_fail
/// let record = sharing::MinimisedRecord { values: Vec::new() };
/// ```
pub struct MinimisedRecord {
    values: Vec<(PermittedItem, Json)>,
    absent: Vec<ItemId>,
    patient: Option<Json>,
    source_time: Option<String>,
}

impl std::fmt::Debug for MinimisedRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MinimisedRecord(items: {})", self.values.len())
    }
}

impl MinimisedRecord {
    /// The items in it, by name and form.
    pub fn items(&self) -> impl Iterator<Item = &PermittedItem> {
        self.values.iter().map(|(item, _)| item)
    }

    /// Items that may leave and that the source does not give.
    pub fn absent(&self) -> &[ItemId] {
        &self.absent
    }

    /// The record as one object keyed by item name. Each call is a disclosure.
    pub fn to_json(&self) -> Json {
        Json::Object(
            self.values.iter().map(|(item, value)| (item.item.as_str().to_owned(), value.clone())).collect(),
        )
    }

    /// The record as a smaller FHIR R4 Patient tagged SUBSETTED, where the source speaks FHIR. Each call is a
    /// disclosure.
    pub fn fhir_patient(&self) -> Option<&Json> {
        self.patient.as_ref()
    }

    /// When the source last changed the record, as it says.
    pub fn source_time(&self) -> Option<&str> {
        self.source_time.as_deref()
    }

    /// SHA-256 of a salt and [`Self::to_json`] as compact text, in hexadecimal. Without the salt a record of a few
    /// yeses and noes could be guessed from its digest: only whoever has it, with the record, can show the two belong
    /// together.
    pub fn digest(&self, salt: &str) -> String {
        hexadecimal(&Sha256::digest(format!("{salt}{}", self.to_json().to_text())))
    }
}

/// Reads a record holder's answer about `subject`.
pub(crate) fn examine(
    provider: &Provider,
    subject: &SubjectIdentifier,
    body: &[u8],
) -> Result<Examined, ExamineFault> {
    let document = parse(body, &Limits::default())?;
    let record = match provider.provider.protocol {
        Protocol::Json if matches!(document, Json::Object(_)) => document,
        Protocol::Json => return Err(ExamineFault::Unexpected),
        Protocol::FhirR4Patient => fhir::patient_in(document, provider, subject)?,
    };
    let identifiers = identifiers(provider, &record)?;
    if !is_about(&identifiers, subject) {
        return Err(ExamineFault::SubjectMismatch);
    }
    let places = &provider.subject;
    let birth_date = places
        .birth_date
        .as_ref()
        .and_then(|place| place.first_str(&record))
        .and_then(|text| text.parse().ok());
    let source_time =
        places.source_time.as_ref().and_then(|place| place.first_str(&record)).and_then(plausible_time);
    let facts = RecordFacts {
        identifiers,
        restricted: places.restricted.iter().any(|sign| shows(sign, &record)),
        unconfirmed: places.restriction_check.is_some(),
        deceased: places.deceased.iter().any(|sign| shows(sign, &record)),
        birth_date,
        source_time,
    };
    Ok(Examined { record, facts, marked_by: None })
}

/// Every identifier in the record. One that is not of its scheme makes the whole record unusable.
fn identifiers(provider: &Provider, record: &Json) -> Result<Vec<SubjectIdentifier>, ExamineFault> {
    let mut found: Vec<SubjectIdentifier> = Vec::new();
    for place in &provider.subject.identifiers {
        for value in place.select.select(record) {
            if *value == Json::Null {
                continue;
            }
            let text = value.as_str().ok_or(ExamineFault::SubjectMismatch)?;
            let identifier = SubjectIdentifier::parse(place.scheme.clone(), text);
            let identifier = identifier.map_err(|_| ExamineFault::SubjectMismatch)?;
            if !found.contains(&identifier) {
                found.push(identifier);
            }
        }
    }
    Ok(found)
}

/// The asked identifier is there, and no other identifier of the same scheme is.
fn is_about(identifiers: &[SubjectIdentifier], subject: &SubjectIdentifier) -> bool {
    let mut same_scheme =
        identifiers.iter().filter(|identifier| identifier.scheme() == subject.scheme()).peekable();
    same_scheme.peek().is_some() && same_scheme.all(|identifier| identifier == subject)
}

fn shows(sign: &Sign, record: &Json) -> bool {
    sign.select.select(record).into_iter().any(|value| match value {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) if !sign.equals.is_empty() => sign.equals.contains(text),
        Json::Bool(true) if !sign.equals.is_empty() => sign.equals.iter().any(|text| text == "true"),
        _ => sign.equals.is_empty(),
    })
}

/// Only a time is passed on as one: the place may hold anything.
fn plausible_time(text: &str) -> Option<String> {
    text.parse::<Timestamp>().ok().map(|time| time.to_string())
}

impl ConfirmedPermit {
    /// Cuts the record down. `at` is when ages and periods are reckoned.
    pub fn minimise(&self, provider: &Provider, examined: &Examined, at: Timestamp) -> MinimisedRecord {
        let today = london_day(at);
        let (mut values, mut released, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for permitted in self.permit().items() {
            let item = provider.item(&permitted.item);
            match item.and_then(|item| release(item, permitted.form, &examined.record, today)) {
                Some((places, value)) => {
                    values.push((permitted.clone(), value));
                    released.push(places);
                }
                None => absent.push(permitted.item.clone()),
            }
        }
        let patient = (provider.provider.protocol == Protocol::FhirR4Patient).then(|| {
            fhir::smaller_patient(&released, &values, &examined.record, self.permit().subject(), today)
        });
        MinimisedRecord { values, absent, patient, source_time: examined.facts.source_time.clone() }
    }
}

/// An item that leaves, and the places of the record that it is read from.
struct Released<'a> {
    item: &'a DataItem,
    form: Form,
    places: Vec<&'a Json>,
}

/// The item's value as it leaves: the first that there is, or all of them where the item is a list. Yes or no is
/// said once, because a list of it would tell how many there are.
fn release<'a>(
    item: &'a DataItem,
    form: Form,
    record: &'a Json,
    today: Date,
) -> Option<(Released<'a>, Json)> {
    let in_force = item.select.select_where(record, |place| form::in_force(item, place, today));
    let found = in_force.into_iter().filter_map(|place| Some((place, form::leaf(item, form, place, today)?)));
    let all = item.many && form != Form::YesNo;
    let (places, mut values): (Vec<_>, Vec<_>) = found.take(if all { usize::MAX } else { 1 }).unzip();
    let value = if all && !values.is_empty() { Json::Array(values) } else { values.pop()? };
    Some((Released { item, form, places }, value))
}

#[cfg(test)]
mod tests;
