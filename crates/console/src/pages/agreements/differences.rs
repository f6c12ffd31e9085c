//! What differs between two versions, with what the API calls by its place and its codes in words.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::Value;
use sharing::{PolicySet, explain};

use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    page::{self, Frame, render, words},
    session::Signed,
};

#[derive(Deserialize)]
pub(super) struct Differences {
    pub(super) differences: Vec<Difference>,
}

#[derive(Deserialize)]
pub(super) struct Difference {
    place: String,
    direction: String,
    from: Option<Value>,
    to: Option<Value>,
}

#[derive(Template)]
#[template(path = "diff.html")]
struct DiffPage {
    frame: Frame,
    differences: Vec<Changed>,
}

/// A difference in words.
pub(super) struct Changed {
    /// Where it is in the terms, as they are written.
    pub(super) place: String,
    /// The same in words.
    pub(super) said: String,
    pub(super) direction: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// Differences in words.
pub(super) fn changed(set: &PolicySet, found: Vec<Difference>) -> Vec<Changed> {
    let absent = || "Not there".to_owned();
    let changed = |one: Difference| {
        let said = |value: &Option<Value>| value.as_ref().map_or_else(absent, |value| in_words(set, value));
        let (mut from, mut to) = (said(&one.from), said(&one.to));
        // What differs does not read alike: then it is as it is written.
        if from == to {
            let written = |value: Option<Value>| value.map_or_else(absent, |value| value.to_string());
            (from, to) = (written(one.from), written(one.to));
        }
        let said = place_in_words(set, &one.place);
        Changed { said, place: one.place, direction: one.direction, from, to }
    };
    found.into_iter().map(changed).collect()
}

/// `flows[at-risk].items[person.birth_date].form` as `Flow at-risk, Date of birth, form`.
fn place_in_words(set: &PolicySet, place: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = place;
    while !rest.is_empty() {
        let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
        let keyed = after.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let Some(after) = keyed
            .map(|(_, after)| after)
            .or_else(|| after.strip_prefix('.'))
            .or_else(|| after.is_empty().then_some(""))
        else {
            // What nobody expects is said as it is.
            parts.push(rest.to_owned());
            break;
        };
        parts.push(match (name, keyed.map(|(key, _)| key)) {
            ("flows", Some(key)) => format!("flow {key}"),
            ("items", Some(key)) => explain::item(set, "", key),
            ("parties", Some(key)) => explain::organisation(set, key),
            (name, Some(key)) => format!("{} {key}", words(name)),
            (name, None) => words(name),
        });
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    Correction::of(&parts.join(", ")).text
}

/// What a member of the terms says.
fn in_words(set: &PolicySet, value: &Value) -> String {
    match value {
        Value::Null => "Nothing".to_owned(),
        Value::String(text) if text.is_empty() => "No text".to_owned(),
        Value::Bool(true) => "Yes".to_owned(),
        Value::Bool(false) => "No".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => of_text(set, text),
        Value::Array(all) if all.is_empty() => "None".to_owned(),
        Value::Array(all) => all.iter().map(|one| in_words(set, one)).collect::<Vec<_>>().join("; "),
        Value::Object(members) => {
            let said =
                members.iter().map(|(name, value)| format!("{}: {}", words(name), in_words(set, value)));
            said.collect::<Vec<_>>().join("; ")
        }
    }
}

/// A day as people write it; an item and an organisation by name, with the code behind it; anything else as it was written.
fn of_text(set: &PolicySet, text: &str) -> String {
    if text.parse::<jiff::civil::Date>().is_ok() {
        return page::day(text);
    }
    let item = explain::item(set, "", text);
    let name = if item == text { explain::organisation(set, text) } else { item };
    if name == text { name } else { format!("{name} ({text})") }
}

/// Two versions.
#[derive(Deserialize)]
pub(crate) struct Between {
    from: Option<u32>,
    to: Option<u32>,
}

/// What differs between two versions.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
    Query(between): Query<Between>,
) -> Result<Response, Fault> {
    let segment = crate::pages::segment(&id);
    let Between { from: Some(from), to: Some(to) } = between else {
        return Ok(Redirect::to(&format!("/agreements/{segment}")).into_response());
    };
    let path = format!("/v1/agreements/{segment}/diff?from={from}&to={to}");
    let found: Differences = console.ask(&signed, Ask::get(path)).await?;
    let frame = Frame::of(&signed, format!("{id}: version {from} and version {to}"), "/agreements")
        .back_to(format!("/agreements/{segment}"), "The agreement");
    let differences = changed(&console.gateway.policies(), found.differences);
    Ok(render(&DiffPage { frame, differences }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::examples::policies as set;

    #[test]
    fn places_and_values_are_words() {
        let set = set();
        let place = |text| place_in_words(&set, text);
        assert_eq!(
            place("flows[at-risk].items[person.birth_date].form"),
            "Flow at-risk, Date of birth, form"
        );
        assert_eq!(
            place("parties[gmca].data_protection_officer"),
            format!("{}, data protection officer", explain::organisation(&set, "gmca"))
        );
        assert_eq!(place("ends_on"), "Ends on");
        assert_eq!(place("what[is.it"), "What[is.it", "what nobody expects is said as it is");
        let said = |value: Value| in_words(&set, &value);
        assert_eq!(said(json!("2027-04-01")), "1 April 2027");
        assert_eq!(said(json!("person.address")), "Home address (person.address)");
        assert_eq!(said(json!("dpia-2026_1")), "dpia-2026_1", "what is no name is as it was written");
        assert_eq!(said(json!("Crews must not walk in on oxygen.")), "Crews must not walk in on oxygen.");
        assert_eq!(said(json!({ "retain_days": 28 })), "retain days: 28");
        assert_eq!(said(json!({ "onward": false })), "onward: No");
        assert_eq!(said(json!([])), "None");
        let of = |from: Value, to: Value| {
            let one = Difference {
                place: "a".to_owned(),
                direction: "alters".to_owned(),
                from: Some(from),
                to: Some(to),
            };
            let Changed { from, to, .. } = changed(&set, vec![one]).pop().unwrap();
            (from, to)
        };
        for (from, to) in [
            (json!("2027-04-01"), json!("1 April 2027")),
            (json!(["a", "b"]), json!(["a; b"])),
            (json!(null), json!("Nothing")),
            (json!(true), json!("Yes")),
        ] {
            let (from, to) = of(from, to);
            assert_ne!(from, to, "what differs does not read alike");
        }
    }
}
