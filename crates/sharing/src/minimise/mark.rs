//! Whether a record is marked restricted. Only what the catalogue lists as unrestricted is: a code that nobody has heard
//! of is a mark, and so is a place that cannot be read.

use crate::{
    reach::{Automaton, Kind, Place, ReachedMark, Step},
    restriction::Marking,
};

/// What one place says, the gravest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// It is another place: a filter on the way says so.
    Elsewhere,
    Nothing,
    Unrestricted,
    /// Something is there, and is not of the shape that the place has.
    Unreadable,
    Marked,
}

/// What the record says, and the document that it is in: a Bundle's own labels are about each resource in it.
///
/// Source: <https://hl7.org/fhir/R4/security-labels.html>; a Bundle has the labels of the gravest resource in it.
pub(super) fn marking(places: &Automaton, record: Place<'_>, document: Place<'_>) -> Marking {
    let around = Some(document).filter(|document| document.index() != record.index());
    let said = places.restricted.iter().map(|mark| {
        let steps = mark.path.steps();
        let around = around.map_or(Said::Nothing, |document| mark.said(None, steps, document, false));
        match mark.said(None, steps, record, false) {
            Said::Elsewhere | Said::Nothing if mark.required => around.max(Said::Unreadable),
            said => around.max(said),
        }
    });
    match said.max() {
        Some(Said::Marked) => Marking::Restricted,
        Some(Said::Unreadable) => Marking::Unconfirmed,
        _ => Marking::Clear,
    }
}

impl ReachedMark {
    /// What is said from this value on. An element of a list is there to say something.
    fn said(&self, by: Option<&Step>, steps: &[Step], value: Place<'_>, is_listed: bool) -> Said {
        let said = match (value.kind(), steps.split_first()) {
            (Kind::Null, _) => Said::Nothing,
            (Kind::Array, _) if is_listed => Said::Unreadable,
            (Kind::Array, _) => {
                let each = value.children().map(|element| self.said(by, steps, element, true));
                return each.max().unwrap_or(Said::Unreadable);
            }
            (_, onward) => match (by.map_or(Some(true), |by| by.may_admit(value)), onward) {
                (Some(false), _) => Said::Elsewhere,
                (Some(true), None) => self.said_at(value),
                (Some(true), Some((step, rest))) if value.kind() == Kind::Object => value
                    .member(step.key)
                    .map_or(Said::Nothing, |value| self.said(Some(step), rest, value, false)),
                (Some(true), Some(_)) | (None, _) => Said::Unreadable,
            },
        };
        if is_listed && said == Said::Nothing { Said::Unreadable } else { said }
    }

    fn said_at(&self, value: Place<'_>) -> Said {
        let is_listed = |text: &str| self.unless.iter().any(|listed| listed == text);
        let is_unrestricted = match value.kind() {
            Kind::False => self.unless.is_empty() || is_listed("false"),
            Kind::True => is_listed("true"),
            _ => value.as_text().is_some_and(|text| is_listed(&text)),
        };
        if is_unrestricted { Said::Unrestricted } else { Said::Marked }
    }
}
