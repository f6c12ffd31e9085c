//! FHIR R4: finding the Patient in an answer, and building a smaller Patient from the same places.

use jiff::civil::Date;

use super::{ExamineFault, Released, form, identifiers, is_about};
use crate::{
    catalogue::{Form, Provider},
    decide::PermittedItem,
    identifier::{SubjectIdentifier, SubjectScheme},
    json::Json,
    selector::Step,
};

/// The extension that carries an item whose form has no element in Patient, such as an age band.
pub const DISCLOSED_ITEM_URL: &str = "https://concordat.example/fhir/StructureDefinition/disclosed-item";

/// The one Patient about `subject`: the document itself, or the one entry of a searchset that is.
pub(super) fn patient_in(
    document: Json,
    provider: &Provider,
    subject: &SubjectIdentifier,
) -> Result<Json, ExamineFault> {
    match document.member("resourceType").and_then(Json::as_str) {
        Some("Patient") => Ok(document),
        Some("Bundle") => {
            let entries = match document.member("entry") {
                Some(Json::Array(entries)) => entries.as_slice(),
                None => &[],
                Some(_) => return Err(ExamineFault::Unexpected),
            };
            let patients = entries.iter().filter_map(|entry| entry.member("resource"));
            let patients = patients
                .filter(|resource| resource.member("resourceType").and_then(Json::as_str) == Some("Patient"));
            let mut about = patients.filter(|patient| {
                identifiers(provider, patient).is_ok_and(|found| is_about(&found, subject))
            });
            let found = about.next().cloned().ok_or(ExamineFault::NoRecord)?;
            if about.next().is_some() { Err(ExamineFault::SubjectMismatch) } else { Ok(found) }
        }
        _ => Err(ExamineFault::Unexpected),
    }
}

/// A released item on its way through the record: the steps still to go, and the places at their end.
#[derive(Clone, Copy)]
struct Trail<'a> {
    released: &'a Released<'a>,
    taken: usize,
}

impl<'a> Trail<'a> {
    fn steps(&self) -> &'a [Step] {
        self.released.item.select.steps()
    }

    /// The step that led to this node.
    fn arrived_by(&self) -> Option<&'a Step> {
        self.taken.checked_sub(1).and_then(|last| self.steps().get(last))
    }

    /// This very node was released, not merely one like it: the two forms of a record say the same.
    fn ends_at(&self, node: &Json) -> bool {
        self.taken == self.steps().len()
            && self.released.places.iter().any(|place| std::ptr::eq(*place, node))
    }
}

/// The released items as a valid, smaller Patient. Values stay in the element they came from; a form that has
/// no element of its own becomes an extension.
///
/// Source: <https://hl7.org/fhir/R4/search.html#summary> (SUBSETTED), <https://hl7.org/fhir/R4/patient.html>.
pub(super) fn smaller_patient(
    released: &[Released<'_>],
    values: &[(PermittedItem, Json)],
    record: &Json,
    subject: &SubjectIdentifier,
    today: Date,
) -> Json {
    let in_place =
        |form: Form| matches!(form, Form::AsIs | Form::Year | Form::Initial | Form::PostcodeDistrict);
    let kept_in_place = released.iter().filter(|released| in_place(released.form));
    let trails: Vec<_> = kept_in_place.map(|released| Trail { released, taken: 0 }).collect();
    let mut members = vec![("resourceType".to_owned(), Json::string("Patient"))];
    if *subject.scheme() == SubjectScheme::NhsNumber {
        members.push(("id".to_owned(), Json::string(subject.as_str())));
    }
    members.push((
        "meta".to_owned(),
        Json::object([(
            "tag",
            Json::Array(vec![Json::object([
                ("system", Json::string("http://terminology.hl7.org/CodeSystem/v3-ObservationValue")),
                ("code", Json::string("SUBSETTED")),
            ])]),
        )]),
    ));
    if let Some(Json::Object(kept)) = prune(record, &trails, today) {
        let reserved = ["resourceType", "id", "meta", "extension"];
        members.extend(kept.into_iter().filter(|(key, _)| !reserved.contains(&key.as_str())));
    }
    let extensions: Vec<_> =
        values.iter().filter(|(permitted, _)| !in_place(permitted.form)).filter_map(extension).collect();
    if !extensions.is_empty() {
        members.push(("extension".to_owned(), Json::Array(extensions)));
    }
    Json::Object(members)
}

fn extension((permitted, value): &(PermittedItem, Json)) -> Option<Json> {
    let typed = match value {
        Json::Bool(answer) => ("valueBoolean", Json::Bool(*answer)),
        Json::String(text) => ("valueString", Json::string(text.clone())),
        Json::Null | Json::Number(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    let item =
        Json::object([("url", Json::string("item")), ("valueCode", Json::string(permitted.item.as_str()))]);
    let form =
        Json::object([("url", Json::string("form")), ("valueCode", Json::string(permitted.form.as_str()))]);
    let value = Json::object([("url", Json::string("value")), typed]);
    Some(Json::object([
        ("url", Json::string(DISCLOSED_ITEM_URL)),
        ("extension", Json::Array(vec![item, form, value])),
    ]))
}

/// The node with nothing left but what the trails reach and the discriminators on their way.
fn prune(node: &Json, trails: &[Trail<'_>], today: Date) -> Option<Json> {
    if trails.is_empty() {
        return None;
    }
    match node {
        Json::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| prune(item, trails, today)).collect();
            (!kept.is_empty()).then_some(Json::Array(kept))
        }
        Json::Object(members) => prune_object(node, members, trails, today),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            let released = trails.iter().find(|trail| trail.ends_at(node)).map(|trail| trail.released)?;
            form::leaf(released.item, released.form, node, today)
        }
    }
}

fn prune_object(node: &Json, members: &[(String, Json)], trails: &[Trail<'_>], today: Date) -> Option<Json> {
    let admitted = |trail: &&Trail<'_>| trail.arrived_by().is_none_or(|step| step.admits(node));
    let trails: Vec<Trail<'_>> = trails.iter().filter(admitted).copied().collect();
    let mut kept = Vec::new();
    let mut reached = false;
    for (key, value) in members {
        let ends_here = |trail: &Trail<'_>| trail.ends_at(node) && trail.released.item.fields.contains(key);
        let whole = trails.iter().any(ends_here).then(|| form::plain(value)).flatten();
        let onward: Vec<_> = trails
            .iter()
            .filter(|trail| trail.steps().get(trail.taken).is_some_and(|step| step.key == *key))
            .map(|trail| Trail { taken: trail.taken + 1, ..*trail })
            .collect();
        if let Some(value) = whole.or_else(|| prune(value, &onward, today)) {
            reached = true;
            kept.push((key.clone(), value));
        } else if trails.iter().any(|trail| discriminates(trail, key)) {
            kept.push((key.clone(), value.clone()));
        }
    }
    reached.then_some(Json::Object(kept))
}

/// The member is one that the trail's filter compared with a constant, so its value is known already.
fn discriminates(trail: &Trail<'_>, key: &str) -> bool {
    trail.arrived_by().is_some_and(|step| step.filters.iter().any(|(name, _)| name == key))
}
