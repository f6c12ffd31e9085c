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
    let value =
        |value: Option<Value>| value.map_or_else(|| "Nothing".to_owned(), |value| in_words(set, &value));
    let changed = |one: Difference| Changed {
        said: place_in_words(set, &one.place),
        place: one.place,
        direction: one.direction,
        from: value(one.from),
        to: value(one.to),
    };
    found.into_iter().map(changed).collect()
}

/// `flows[at-risk].items[person.birth_date].form` as `Flow at-risk, Date of birth, form`.
fn place_in_words(set: &PolicySet, place: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = place;
    while !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (key, after) = match after.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((key, after)) => (Some(key), after),
            None => (None, after),
        };
        parts.push(match (name, key) {
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
        Value::Bool(true) => "Yes".to_owned(),
        Value::Bool(false) => "No".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => of_text(set, text),
        Value::Array(all) if all.is_empty() => "Nothing".to_owned(),
        Value::Array(all) => all.iter().map(|one| in_words(set, one)).collect::<Vec<_>>().join("; "),
        Value::Object(members) => {
            let said =
                members.iter().map(|(name, value)| format!("{}: {}", words(name), in_words(set, value)));
            said.collect::<Vec<_>>().join("; ")
        }
    }
}

/// A day as people write it, an item by its title, an organisation by its name; anything else as it was written.
fn of_text(set: &PolicySet, text: &str) -> String {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if text.parse::<jiff::civil::Date>().is_ok() {
        return page::day(text);
    }
    if !text.bytes().all(is_code) {
        return text.to_owned();
    }
    let item = explain::item(set, "", text);
    if item != text {
        return item;
    }
    let organisation = explain::organisation(set, text);
    if organisation == text { words(text) } else { organisation }
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
        assert_eq!(place("what[is"), "What, is", "what nobody expects is said as it is");
        let said = |value: Value| in_words(&set, &value);
        assert_eq!(said(json!("2027-04-01")), "1 April 2027");
        assert_eq!(said(json!("person.address")), explain::item(&set, "", "person.address"));
        assert_eq!(said(json!("explicit-consent")), "explicit consent");
        assert_eq!(said(json!("Crews must not walk in on oxygen.")), "Crews must not walk in on oxygen.");
        assert_eq!(said(json!({ "retain_days": 28, "onward": false })), "onward: No; retain days: 28");
        assert_eq!(said(json!([])), "Nothing");
    }
}
