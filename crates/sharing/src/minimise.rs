//! Cutting a record down: only what a [`ConfirmedPermit`] lists leaves, in the form it lists.
//!
//! The record is taken apart by allow-list alone. A key nobody listed is dropped at every depth; narrative,
//! contained resources, links and extensions have no way through. A record that is not about the person asked
//! for is refused whole. `crate::reach` goes over the bytes, and what follows works on the places that it noted:
//! values go from the answer to the release as text.

use std::{ops::Range, sync::Arc};

use jiff::{Timestamp, civil::Date};
use sha2::{Digest, Sha256};

use crate::{
    agreement::london_day,
    catalogue::{Form, Protocol, Provider},
    decide::{ConfirmedPermit, PermittedItem},
    identifier::{ItemId, ProviderId, SubjectIdentifier},
    json::{JsonError, Limits},
    policy::hexadecimal,
    reach::{Automaton, Finds, Kind, Path, Place, Reached, ReachedItem, ReachedSign},
    restriction::{Marking, RestrictionCheck},
    subject::RecordFacts,
};

mod fhir;
mod form;
mod mark;

pub use fhir::DISCLOSED_ITEM_URL;
pub use form::age_years;

/// A record holder's answer that is about the person asked for. Its content can be read only through
/// [`ConfirmedPermit::minimise`].
pub struct Examined {
    reached: Reached,
    /// Where in it the record begins.
    record: u32,
    /// What it was read by.
    places: Arc<Automaton>,
    facts: RecordFacts,
    /// What the record itself says of restriction cannot be read, or is missing.
    has_odd_marks: bool,
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

    /// What the record itself says of restriction.
    pub(crate) fn own_marking(&self) -> Marking {
        match (self.facts.restricted, self.has_odd_marks) {
            (true, _) => Marking::Restricted,
            (false, true) => Marking::Unconfirmed,
            (false, false) => Marking::Clear,
        }
    }

    /// With what another record holder says about restriction. One mark is enough: none is taken off.
    #[must_use]
    pub fn checked(mut self, check: &RestrictionCheck, marking: Marking) -> Self {
        self.facts.unconfirmed = self.has_odd_marks || marking == Marking::Unconfirmed;
        if marking == Marking::Restricted && !self.facts.restricted {
            self.facts.restricted = true;
            self.marked_by = Some(check.by().clone());
        }
        self
    }

    /// Whether a surname or a UPRN in the record is the practitioner's own, as `is_own` tells. A value is lent to
    /// it and kept nowhere: what comes out is yes or no.
    pub fn resembles(&self, provider: &Provider, is_own: impl Fn(Familiar, &str) -> bool) -> Vec<Familiar> {
        let Some(record) = self.record(provider) else { return Vec::new() };
        let places =
            [(Familiar::Surname, self.places.surname.as_ref()), (Familiar::Uprn, self.places.uprn.as_ref())];
        let found = |(which, path): &(Familiar, Option<&Path>)| {
            let is_own = |place: Place<'_>| place.as_text().is_some_and(|text| is_own(*which, &text));
            path.is_some_and(|path| path.any(record, is_own))
        };
        places.into_iter().filter(found).map(|(which, _)| which).collect()
    }

    /// The record, for whom it was read by this very version of the record holder's file; by another's places, nothing
    /// of it may be found.
    fn record(&self, provider: &Provider) -> Option<Place<'_>> {
        self.reached.place(self.record).filter(|_| Arc::ptr_eq(&self.places, provider.places()))
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
    /// About somebody else, or about nobody that can be told; or no longer the person's record, or not one that means what
    /// it says.
    #[error("the answer is not about the person asked for")]
    SubjectMismatch,
    /// A search that found nobody.
    #[error("the answer holds no record")]
    NoRecord,
}

/// A record cut down to what may leave. It is the only thing that a release can be made from:
///
/// ```compile_fail
/// let record = sharing::MinimisedRecord { items: Vec::new() };
/// ```
pub struct MinimisedRecord {
    items: Vec<PermittedItem>,
    absent: Vec<ItemId>,
    text: String,
    patient: Option<String>,
    source_time: Option<String>,
}

impl std::fmt::Debug for MinimisedRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MinimisedRecord(items: {})", self.items.len())
    }
}

impl MinimisedRecord {
    /// The items in it, by name and form.
    pub fn items(&self) -> impl Iterator<Item = &PermittedItem> {
        self.items.iter()
    }

    /// Items that may leave and that the source does not give.
    pub fn absent(&self) -> &[ItemId] {
        &self.absent
    }

    /// The record as compact JSON: one object keyed by item name. Each call is a disclosure.
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// The record as a smaller FHIR R4 Patient tagged SUBSETTED, compact JSON, where [`Writing::Patient`] was asked for and the
    /// source speaks FHIR. Each call is a disclosure.
    pub fn as_fhir_patient(&self) -> Option<&str> {
        self.patient.as_deref()
    }

    /// When the source last changed the record, as it says.
    pub fn source_time(&self) -> Option<&str> {
        self.source_time.as_deref()
    }

    /// SHA-256 of a salt and [`Self::as_json`], in hexadecimal. Without the salt a record of a few yeses and noes could
    /// be guessed from its digest: only whoever has it, with the record, can show the two belong together.
    pub fn digest(&self, salt: &str) -> String {
        hexadecimal(&Sha256::new().chain_update(salt).chain_update(&self.text).finalize())
    }
}

/// Reads a record holder's answer about `subject`.
pub(crate) fn examine(
    provider: &Provider,
    subject: &SubjectIdentifier,
    body: &[u8],
) -> Result<Examined, ExamineFault> {
    let places = provider.places();
    let reached = Reached::read(places, body, &Limits::default())?;
    let document = reached.place(0).filter(|document| document.kind() == Kind::Object);
    let document = document.ok_or(ExamineFault::Unexpected)?;
    let record = match provider.provider.protocol {
        Protocol::Json => document,
        Protocol::FhirR4Patient => fhir::patient_in(&reached, document, places, subject)?,
    };
    let identifiers = identifiers(places, record)?;
    if !is_about(&identifiers, subject) {
        return Err(ExamineFault::SubjectMismatch);
    }
    let birth_date = places.birth_date.as_ref();
    let birth_date = birth_date.and_then(|path| path.first_text(record, |text| text.parse().ok()));
    let source_time = places.source_time.as_ref();
    let source_time = source_time.and_then(|path| path.first_text(record, plausible_time));
    let marking = mark::marking(places, record, document);
    let has_odd_marks = marking == Marking::Unconfirmed;
    let facts = RecordFacts {
        identifiers,
        restricted: marking == Marking::Restricted,
        unconfirmed: has_odd_marks || provider.subject.restriction_check.is_some(),
        deceased: places.deceased.iter().any(|sign| shows(sign, record)),
        birth_date,
        source_time,
    };
    let record = record.index();
    Ok(Examined { record, reached, places: Arc::clone(places), facts, has_odd_marks, marked_by: None })
}

/// Every identifier in the record. One that is not of its scheme makes the whole record unusable.
fn identifiers(places: &Automaton, record: Place<'_>) -> Result<Vec<SubjectIdentifier>, ExamineFault> {
    let mut found: Vec<SubjectIdentifier> = Vec::new();
    for (scheme, path) in &places.identifiers {
        let is_unusable = |place: Place<'_>| {
            if place.kind() == Kind::Null {
                return false;
            }
            let Some(text) = place.as_text() else { return true };
            let Ok(identifier) = SubjectIdentifier::parse(scheme.clone(), &text) else { return true };
            if !found.contains(&identifier) {
                found.push(identifier);
            }
            false
        };
        if path.any(record, is_unusable) {
            return Err(ExamineFault::SubjectMismatch);
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

fn shows(sign: &ReachedSign, record: Place<'_>) -> bool {
    let is_listed = |text: &str| sign.equals.iter().any(|listed| listed == text);
    sign.path.any(record, |place| match place.kind() {
        Kind::Null | Kind::False => false,
        _ if sign.equals.is_empty() => true,
        Kind::Clear | Kind::Plain | Kind::Escaped | Kind::OddlyEscaped => {
            place.as_text().is_some_and(|text| is_listed(&text))
        }
        Kind::True => is_listed("true"),
        Kind::Number | Kind::Array | Kind::Object => false,
    })
}

/// Only a time is passed on as one: the place may hold anything.
fn plausible_time(text: &str) -> Option<String> {
    text.parse::<Timestamp>().ok().map(|time| time.to_string())
}

/// As what a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// As items alone.
    Items,
    /// As a FHIR Patient, too, for who asked for one.
    Patient,
}

impl ConfirmedPermit {
    /// Cuts the record down. `at` is when ages and periods are reckoned.
    pub fn minimise(
        &self,
        provider: &Provider,
        examined: &Examined,
        at: Timestamp,
        writing: Writing,
    ) -> MinimisedRecord {
        let permit = self.permit();
        let (record, places) = (examined.record(provider), &*examined.places);
        let today = london_day(at);
        let known = || permit.items().iter().map(|permitted| places.item(&permitted.item));
        let wanted = known().flatten().map(|(number, _)| number).collect();
        let found = record.map(|record| {
            places.plan.find(record, wanted, |period, place| form::in_force(period, place, today))
        });
        let mut cut = Cut::of(examined, found.as_ref(), today);
        let (mut items, mut absent) = (Vec::with_capacity(permit.items().len()), Vec::new());
        for (permitted, item) in permit.items().iter().zip(known()) {
            if item.is_some_and(|(number, item)| cut.release(number, item, permitted.form)) {
                items.push(permitted.clone());
            } else {
                absent.push(permitted.item.clone());
            }
        }
        cut.out.push('}');
        let is_patient = writing == Writing::Patient && provider.provider.protocol == Protocol::FhirR4Patient;
        let patient = is_patient.then(|| fhir::smaller_patient(&cut, record, permit.subject()));
        MinimisedRecord {
            items,
            absent,
            text: cut.out,
            patient,
            source_time: examined.facts.source_time.clone(),
        }
    }
}

/// A record while it is cut down.
struct Cut<'a> {
    examined: &'a Examined,
    /// Where the permitted items are.
    found: Option<&'a Finds>,
    today: Date,
    /// The values that leave, as text.
    out: String,
    /// The places that they were read from.
    places: Vec<u32>,
    released: Vec<Released<'a>>,
}

/// An item that leaves.
struct Released<'a> {
    item: &'a ReachedItem,
    form: Form,
    /// Its value, in [`Cut::out`].
    value: Range<usize>,
    /// The places of the record that it is read from, in [`Cut::places`].
    places: Range<usize>,
}

impl<'a> Cut<'a> {
    fn of(examined: &'a Examined, found: Option<&'a Finds>, today: Date) -> Self {
        // A part of a record leaves, rarely most of it.
        let mut out = String::with_capacity(64 + examined.reached.length() / 4);
        out.push('{');
        Self { examined, found, today, out, places: Vec::new(), released: Vec::new() }
    }

    /// Writes the item's name and its value as it leaves: the first that there is, or all of them where the item is a
    /// list. Yes or no is said once, because a list of it would tell how many there are: yes where any place says so. Nothing is written
    /// where the source says nothing.
    fn release(&mut self, number: usize, item: &'a ReachedItem, form: Form) -> bool {
        let (before, first_place) = (self.out.len(), self.places.len());
        if before > 1 {
            self.out.push(',');
        }
        self.out.push_str(&item.label);
        let value = self.out.len();
        let is_list = item.many && form != Form::YesNo;
        let says = |index, what| {
            let place = self.examined.reached.place(index);
            place.is_some_and(|place| form::yes_no(place) == Some(what))
        };
        let found = || self.found.iter().flat_map(|found| found.of(number));
        // Of several places one that says yes is enough, wherever it stands.
        let yes = (form == Form::YesNo).then(|| found().find(|index| says(*index, true))).flatten();
        for index in yes.into_iter().chain(found()) {
            let Some(place) = self.examined.reached.place(index) else { break };
            let end = self.out.len();
            if is_list {
                self.out.push(if end == value { '[' } else { ',' });
            }
            if !form::write(item, form, place, &self.examined.places, self.today, &mut self.out) {
                self.out.truncate(end);
                continue;
            }
            self.places.push(index);
            if !is_list {
                break;
            }
        }
        if self.places.len() == first_place {
            self.out.truncate(before);
            return false;
        }
        if is_list {
            self.out.push(']');
        }
        let (value, places) = (value..self.out.len(), first_place..self.places.len());
        self.released.push(Released { item, form, value, places });
        true
    }

    /// The value of a released item, as it is written.
    fn value(&self, released: &Released<'_>) -> &str {
        self.out.get(released.value.clone()).unwrap_or("")
    }

    /// The places of the record that a released item is read from.
    fn places(&self, released: &Released<'_>) -> &[u32] {
        self.places.get(released.places.clone()).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests;
