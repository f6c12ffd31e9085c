//! FHIR R4: finding the Patient in an answer, and building a smaller Patient from the same places.

use std::ops::Range;

use super::{Cut, ExamineFault, Released, form, identifiers, is_about};
use crate::{
    catalogue::Form,
    identifier::{SubjectIdentifier, SubjectScheme},
    json::write_string,
    reach::{Automaton, FhirNames, KeyId, Kind, Place, Reached, Step},
};

/// The extension that carries an item whose form has no element in Patient, such as an age band.
pub const DISCLOSED_ITEM_URL: &str = "https://concordat.example/fhir/StructureDefinition/disclosed-item";

/// The one Patient about `subject`: the document itself, or the one entry of a searchset that is. An answer with anything in
/// it that a reader has to understand and we do not is refused, and so is one of whose entries it cannot be told whom
/// they are about: the mark that counts may be in there.
///
/// Source: FHIR R4, <https://hl7.org/fhir/R4/extensibility.html#modifierExtension> and
/// <https://hl7.org/fhir/R4/resource.html#implicitRules> (no reader may go on that does not understand them),
/// <https://hl7.org/fhir/R4/search.html#entry> (only `match` is what was looked for).
pub(super) fn patient_in<'a>(
    reached: &Reached,
    document: Place<'a>,
    places: &Automaton,
    subject: &SubjectIdentifier,
) -> Result<Place<'a>, ExamineFault> {
    let names = &places.fhir;
    let is_patient = is_a(names, document, "Patient");
    if !is_patient && !is_a(names, document, "Bundle") {
        return Err(ExamineFault::Unexpected);
    }
    if reached.has_any(&[names.modifier_extension, names.implicit_rules]) {
        return Err(ExamineFault::SubjectMismatch);
    }
    let found = if is_patient { document } else { entry_about(document, places, subject)? };
    if is_current(names, found) { Ok(found) } else { Err(ExamineFault::SubjectMismatch) }
}

fn is_a(names: &FhirNames, place: Place<'_>, resource: &str) -> bool {
    place.member(names.resource_type).is_some_and(|kind| kind.is_text(resource))
}

/// The Patient about `subject` in a Bundle, if it is the only one.
fn entry_about<'a>(
    bundle: Place<'a>,
    places: &Automaton,
    subject: &SubjectIdentifier,
) -> Result<Place<'a>, ExamineFault> {
    let names = &places.fhir;
    if !bundle.member(names.kind).is_some_and(|kind| kind.is_text("searchset")) {
        return Err(ExamineFault::Unexpected);
    }
    let Some(entries) = bundle.member(names.entry) else { return Err(ExamineFault::NoRecord) };
    if entries.kind() != Kind::Array {
        return Err(ExamineFault::Unexpected);
    }
    let mut about = None;
    for entry in entries.children() {
        // What was done to a record, such as that it was deleted.
        if entry.said(names.request).or(entry.said(names.response)).is_some() {
            return Err(ExamineFault::SubjectMismatch);
        }
        let resource = entry.member(names.resource).ok_or(ExamineFault::Unexpected)?;
        let is_outcome = is_a(names, resource, "OperationOutcome");
        if !is_outcome && !is_a(names, resource, "Patient") || !is_found(names, entry, is_outcome) {
            return Err(ExamineFault::Unexpected);
        }
        if is_outcome {
            continue;
        }
        let identifiers = identifiers(places, resource)?;
        let first = identifiers.iter().find(|identifier| identifier.scheme() == subject.scheme());
        // Of two people, or of nobody: the one who is asked for may be meant.
        if !first.is_some_and(|first| is_about(&identifiers, first)) {
            return Err(ExamineFault::SubjectMismatch);
        }
        if is_about(&identifiers, subject) && about.replace(resource).is_some() {
            return Err(ExamineFault::SubjectMismatch);
        }
    }
    about.ok_or(ExamineFault::NoRecord)
}

/// Whether a search found this entry, as far as it says why it is there.
fn is_found(names: &FhirNames, entry: Place<'_>, is_outcome: bool) -> bool {
    let Some(search) = entry.said(names.search) else { return true };
    let mode = search.said(names.mode);
    let is_known = |mode: Place<'_>| mode.is_text(if is_outcome { "outcome" } else { "match" });
    search.kind() == Kind::Object && mode.is_none_or(is_known)
}

/// Whether it is the person's record still: neither taken out of use nor merged into another.
///
/// Source: <https://hl7.org/fhir/R4/patient.html> (`Patient.active`, `Patient.link`, <https://hl7.org/fhir/R4/valueset-link-type.html>).
fn is_current(names: &FhirNames, patient: Place<'_>) -> bool {
    let is_active = patient.said(names.active).is_none_or(|active| active.kind() == Kind::True);
    let leaves_it = |link: Place<'_>| {
        let kind = link.member(names.kind);
        kind.is_some_and(|kind| kind.is_text("replaces") || kind.is_text("seealso"))
    };
    is_active && patient.said(names.link).is_none_or(|links| links.elements().all(leaves_it))
}

/// The released items as a valid, smaller Patient. Values stay in the element they came from; a form that has
/// no element of its own becomes an extension.
///
/// Source: <https://hl7.org/fhir/R4/search.html#summary> (SUBSETTED), <https://hl7.org/fhir/R4/patient.html>.
pub(super) fn smaller_patient(
    cut: &Cut<'_>,
    record: Option<Place<'_>>,
    subject: &SubjectIdentifier,
) -> String {
    let mut out = r#"{"resourceType":"Patient""#.to_owned();
    if *subject.scheme() == SubjectScheme::NhsNumber {
        out.push_str(r#","id":"#);
        write_string(subject.as_str(), &mut out);
    }
    out.push_str(r#","meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#);
    let is_in_place =
        |form: Form| matches!(form, Form::AsIs | Form::Year | Form::Initial | Form::PostcodeDistrict);
    let (kept_in_place, others): (Vec<_>, Vec<_>) =
        cut.released.iter().partition(|released| is_in_place(released.form));
    if let Some(record) = record {
        let mut pruning = Pruning { cut, out, trails: kept_in_place };
        let trails = 0..pruning.trails.len();
        pruning.members(record, trails, 0, |names, key| {
            !["resourceType", "id", "meta", "extension"].contains(&names.text(key))
        });
        out = pruning.out;
    }
    let start = out.len();
    for released in others {
        let before = out.len();
        out.push_str(if before == start { r#","extension":["# } else { "," });
        if !write_extension(released, cut.value(released), &mut out) {
            out.truncate(before);
        }
    }
    if out.len() > start {
        out.push(']');
    }
    out.push('}');
    out
}

/// Writes a value that is a yes, a no or a text as an extension.
fn write_extension(released: &Released<'_>, value: &str, out: &mut String) -> bool {
    let typed = match value.as_bytes().first() {
        Some(b't' | b'f') => "valueBoolean",
        Some(b'"') => "valueString",
        _ => return false,
    };
    let item = released.item.id.as_str();
    let form = released.form.as_str();
    out.push_str(r#"{"url":""#);
    out.push_str(DISCLOSED_ITEM_URL);
    out.push_str(r#"","extension":[{"url":"item","valueCode":"#);
    write_string(item, out);
    out.push_str(r#"},{"url":"form","valueCode":"#);
    write_string(form, out);
    out.push_str(r#"},{"url":"value",""#);
    out.push_str(typed);
    out.push_str(r#"":"#);
    out.push_str(value);
    out.push_str("}]}");
    true
}

/// A record while everything but what was released is taken away.
///
/// A trail is a released item on its way through the record. Those that are followed at a time lie side by side in
/// `trails`, behind the ones of the values around: they are all as many steps along, and all led here.
struct Pruning<'a> {
    cut: &'a Cut<'a>,
    out: String,
    trails: Vec<&'a Released<'a>>,
}

impl<'a> Pruning<'a> {
    /// Writes the value with nothing left but what the trails reach and the discriminators on their way; nothing, where
    /// none of them ends in it.
    fn value(&mut self, place: Place<'_>, trails: Range<usize>, taken: usize) -> bool {
        if trails.is_empty() {
            return false;
        }
        let start = self.out.len();
        match place.kind() {
            Kind::Array => {
                for item in place.children() {
                    let before = self.out.len();
                    self.out.push(if before == start { '[' } else { ',' });
                    if !self.value(item, trails.clone(), taken) {
                        self.out.truncate(before);
                    }
                }
                let is_kept = self.out.len() > start;
                if is_kept {
                    self.out.push(']');
                }
                is_kept
            }
            Kind::Object => {
                self.out.push('{');
                let is_reached = self.members(place, trails, taken, |_, _| true);
                if is_reached {
                    self.out.push('}');
                } else {
                    self.out.truncate(start);
                }
                is_reached
            }
            _ => {
                let ended = self.followed(trails).find(|released| self.ends_at(released, place, taken));
                let Some(released) = ended else { return false };
                let (names, today) = (self.names(), self.cut.today);
                form::write(released.item, released.form, place, names, today, &mut self.out)
            }
        }
    }

    /// Writes the members that are left of an object, each after a comma unless it is the first in its braces; whether a
    /// trail ends in one.
    fn members(
        &mut self,
        place: Place<'_>,
        trails: Range<usize>,
        taken: usize,
        is_wanted: impl Fn(&Automaton, KeyId) -> bool,
    ) -> bool {
        let first = self.trails.len();
        for trail in trails {
            let admitted = self.trails.get(trail).copied();
            let admits =
                |released: &&Released<'_>| arrived_by(released, taken).is_none_or(|step| step.admits(place));
            self.trails.extend(admitted.filter(admits));
        }
        let admitted = first..self.trails.len();
        let (names, mut is_reached) = (self.names(), false);
        for member in place.children().filter(|member| is_wanted(names, member.key())) {
            is_reached |= self.member(place, member, admitted.clone(), taken);
        }
        self.trails.truncate(first);
        is_reached
    }

    fn member(&mut self, place: Place<'_>, member: Place<'_>, trails: Range<usize>, taken: usize) -> bool {
        let (key, before) = (member.key(), self.out.len());
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        let names = self.names();
        self.out.push_str(names.label(key));
        let is_whole = self
            .followed(trails.clone())
            .any(|released| self.ends_at(released, place, taken) && released.item.fields.contains(&key));
        if is_whole && member.write_plain(form::leaves, &mut self.out) {
            return true;
        }
        let first = self.trails.len();
        for trail in trails.clone() {
            let goes_on = |released: &&Released<'_>| {
                released.item.path.steps().get(taken).is_some_and(|step| step.key == key)
            };
            let onward = self.trails.get(trail).copied().filter(goes_on);
            self.trails.extend(onward);
        }
        let is_reached = self.value(member, first..self.trails.len(), taken + 1);
        self.trails.truncate(first);
        if is_reached {
            return true;
        }
        // The value of a discriminator is known already: the trail's filter compared it with a constant.
        let discriminates =
            |released: &Released<'_>| arrived_by(released, taken).is_some_and(|step| step.compares(key));
        if self.followed(trails).any(discriminates) {
            member.write_scalar(&mut self.out);
        } else {
            self.out.truncate(before);
        }
        false
    }

    fn names(&self) -> &'a Automaton {
        &self.cut.examined.places
    }

    fn followed(&self, trails: Range<usize>) -> impl Iterator<Item = &'a Released<'a>> {
        self.trails.get(trails).unwrap_or(&[]).iter().copied()
    }

    /// This very value was released, not merely one like it: the two forms of a record say the same.
    fn ends_at(&self, released: &Released<'_>, place: Place<'_>, taken: usize) -> bool {
        taken == released.item.path.steps().len() && self.cut.places(released).contains(&place.index())
    }
}

/// The step that led a trail to where it is.
fn arrived_by<'a>(released: &Released<'a>, taken: usize) -> Option<&'a Step> {
    taken.checked_sub(1).and_then(|last| released.item.path.steps().get(last))
}
