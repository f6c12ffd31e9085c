//! What differs between two versions of an agreement's terms, member by member, and which way each difference goes.
//!
//! Every difference is named: none can hide, because two terms with an empty list of differences are the same terms.
//! What cannot be judged by its form is said to alter, and is for people to read.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::terms::Terms;
use crate::{identifier::ProviderId, policy::PolicySet};

/// A member that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where, such as `flows[referral].items[person.address].form`.
    pub place: String,
    /// Which way it goes.
    pub direction: Direction,
    /// What it was; nothing when it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is; nothing when it was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More data, more people, longer, or for more.
    Widens,
    /// For people to judge.
    Alters,
    /// Less.
    Narrows,
}

impl Direction {
    fn back(self) -> Self {
        match self {
            Self::Widens => Self::Narrows,
            Self::Alters => Self::Alters,
            Self::Narrows => Self::Widens,
        }
    }

    /// The direction as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Widens => "widens",
            Self::Alters => "alters",
            Self::Narrows => "narrows",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        let (from, to) = (show(&self.from), show(&self.to));
        write!(formatter, "{:<8} {}: {from} -> {to}", self.direction.as_str(), self.place)
    }
}

/// Everything that differs, what widens first. `set` knows in which order an item's forms become coarser.
pub fn diff(from: &Terms, to: &Terms, set: &PolicySet) -> Vec<Difference> {
    let mut found = Vec::new();
    let walk = Walk { set, to: &to.value(), from: &from.value() };
    walk.members("", &from.open(), &to.open(), &mut found);
    found.sort_by(|one, other| (one.direction, &one.place).cmp(&(other.direction, &other.place)));
    found
}

struct Walk<'a> {
    set: &'a PolicySet,
    from: &'a Value,
    to: &'a Value,
}

/// Lists whose entries have a name of their own, and the member that holds it.
fn name_of(list: &str) -> Option<&'static str> {
    match list.rsplit('.').next().unwrap_or(list) {
        "parties" => Some("organisation"),
        "flows" => Some("id"),
        "items" => Some("item"),
        _ => None,
    }
}

impl Walk<'_> {
    fn members(&self, place: &str, from: &Value, to: &Value, found: &mut Vec<Difference>) {
        if from == to {
            return;
        }
        let list = strip(place);
        match (from, to) {
            (Value::Object(one), Value::Object(other)) => {
                let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
                for name in names {
                    let below = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    self.either(&below, one.get(name), other.get(name), found);
                }
            }
            (Value::Array(one), Value::Array(other)) if name_of(&list).is_some() => {
                let key = name_of(&list).unwrap_or_default();
                let (before, after) = (by_name(one, key), by_name(other, key));
                // Two entries of one name cannot be told apart: the list as a whole differs.
                if before.len() != one.len() || after.len() != other.len() {
                    found.push(self.difference(place, Some(from), Some(to)));
                    return;
                }
                let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
                for name in names {
                    let below = format!("{place}[{name}]");
                    self.either(&below, before.get(name).copied(), after.get(name).copied(), found);
                }
                let in_both = |list: &[Value]| -> Vec<String> {
                    let all = list.iter().filter_map(|entry| entry.get(key)?.as_str().map(str::to_owned));
                    all.filter(|name| before.contains_key(name) && after.contains_key(name)).collect()
                };
                self.order(place, (in_both(one), in_both(other)), found);
            }
            (Value::Array(one), Value::Array(other)) => {
                let added = other.iter().filter(|entry| !one.contains(entry));
                let removed = one.iter().filter(|entry| !other.contains(entry));
                added.for_each(|entry| found.push(self.entry(place, None, Some(entry), one.is_empty())));
                removed.for_each(|entry| found.push(self.entry(place, Some(entry), None, other.is_empty())));
                let shared = |list: &[Value], beside: &[Value]| -> Vec<String> {
                    list.iter().filter(|entry| beside.contains(entry)).map(ToString::to_string).collect()
                };
                self.order(place, (shared(one, other), shared(other, one)), found);
            }
            _ => found.push(self.difference(place, Some(from), Some(to))),
        }
    }

    /// What both lists have, where it is not in the same order or not as often.
    fn order(&self, place: &str, (one, other): (Vec<String>, Vec<String>), found: &mut Vec<Difference>) {
        if one != other {
            let place = format!("{place}.order");
            found.push(self.difference(&place, Some(&one.into()), Some(&other.into())));
        }
    }

    fn either(&self, place: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
        match (from, to) {
            (Some(from), Some(to)) => self.members(place, from, to, found),
            (None, None) => {}
            // An empty list beside a named one is a list: each entry is a difference of its own.
            (from, to) if from.or(to).and_then(Value::as_array).is_some_and(Vec::is_empty) => {
                let mut difference = self.difference(place, from, to);
                difference.direction = Direction::Alters;
                found.push(difference);
            }
            (None, Some(to @ Value::Array(_))) => self.members(place, &Value::Array(Vec::new()), to, found),
            (Some(from @ Value::Array(_)), None) => {
                self.members(place, from, &Value::Array(Vec::new()), found);
            }
            (from, to) => found.push(self.difference(place, from, to)),
        }
    }

    /// An entry of a list without names. `alone` when the other list is empty.
    fn entry(&self, place: &str, from: Option<&Value>, to: Option<&Value>, alone: bool) -> Difference {
        let mut difference = self.difference(place, from, to);
        // Any one of the relationships listed is enough; none listed is none needed.
        if place.ends_with(".relationship") && alone {
            difference.direction = difference.direction.back();
        }
        difference
    }

    fn difference(&self, place: &str, from: Option<&Value>, to: Option<&Value>) -> Difference {
        let direction = self.direction(place, from, to);
        Difference { place: place.to_owned(), direction, from: from.cloned(), to: to.cloned() }
    }

    /// Which way a difference goes. This is the table: what is not in it alters.
    fn direction(&self, place: &str, from: Option<&Value>, to: Option<&Value>) -> Direction {
        let path = strip(place);
        let added = if from.is_none() { Direction::Widens } else { Direction::Narrows };
        let is_change = from.is_some() && to.is_some();
        match path.as_str() {
            "parties" | "flows" | "flows.items" | "flows.identifiers" | "flows.roles"
            | "flows.relationship"
                if !is_change =>
            {
                added
            }
            "flows.provider" | "flows.recipient" | "flows.purpose" | "flows.items.item" => Direction::Widens,
            "flows.items.form" => self.form(place, from, to),
            "flows.releases_per_day_max" => match (number(from), number(to)) {
                (None, Some(_)) => Direction::Narrows,
                (Some(_), None) => Direction::Widens,
                (from, to) => rising(&from, &to),
            },
            "flows.list_people_max" | "flows.obligations.retain_days" => rising(&number(from), &number(to)),
            "grace_days" => rising(&grace(from), &grace(to)),
            "flows.obligations.onward_sharing" if to == Some(&Value::Bool(true)) => Direction::Widens,
            "flows.obligations.onward_sharing" => Direction::Narrows,
            // A whole cohort, or the age in it: people are left out by it.
            "flows.cohort" | "flows.cohort.age_from_years" => match (age(from), age(to)) {
                (None, None) => Direction::Alters,
                (None, Some(_)) => Direction::Narrows,
                (Some(_), None) => Direction::Widens,
                (from, to) => rising(&from, &to).back(),
            },
            "ends_on" | "review_on" => rising_text(from, to),
            "effective_on" => rising_text(from, to).back(),
            _ => Direction::Alters,
        }
    }

    /// By the catalogue's order of forms, which begins with the finest.
    fn form(&self, place: &str, from: Option<&Value>, to: Option<&Value>) -> Direction {
        let ranks = self.forms_at(place).map(|forms| {
            let rank = |value: Option<&Value>| {
                let form = value.and_then(Value::as_str)?;
                forms.iter().position(|known| known == form)
            };
            (rank(from), rank(to))
        });
        match ranks {
            Some((Some(from), Some(to))) if to > from => Direction::Narrows,
            // What is finer, and what the catalogue does not know.
            _ => Direction::Widens,
        }
    }

    fn forms_at(&self, place: &str) -> Option<Vec<String>> {
        let flow = named(place, "flows[")?;
        let item = named(place, ".items[")?;
        let provider = [self.to, self.from].into_iter().find_map(|terms| {
            let flows = terms.get("flows")?.as_array()?;
            let found = flows.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(flow))?;
            found.get("provider")?.as_str()?.parse::<ProviderId>().ok()
        })?;
        let item = self.set.provider(&provider)?.item(&item.parse().ok()?)?;
        Some(item.forms.iter().map(|form| form.as_str().to_owned()).collect())
    }
}

fn named<'a>(place: &'a str, list: &str) -> Option<&'a str> {
    let (_, rest) = place.split_once(list)?;
    rest.split(']').next()
}

/// A place without the names in it: `flows[a].items[b].form` is `flows.items.form`.
fn strip(place: &str) -> String {
    let mut path = String::new();
    let mut depth = 0_u32;
    for character in place.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            other if depth == 0 => path.push(other),
            _ => {}
        }
    }
    path
}

fn by_name<'a>(list: &'a [Value], key: &str) -> BTreeMap<String, &'a Value> {
    let named = list.iter().filter_map(|entry| Some((entry.get(key)?.as_str()?.to_owned(), entry)));
    named.collect()
}

fn number(value: Option<&Value>) -> Option<i64> {
    value.and_then(Value::as_i64)
}

/// Where none is written, the usual one counts.
fn grace(value: Option<&Value>) -> i64 {
    number(value).unwrap_or_else(|| super::lifecycle::GRACE_DAYS.into())
}

/// Nobody is left out by a cohort that begins at birth.
fn age(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    let age = value.as_i64().or_else(|| value.get("age_from_years").and_then(Value::as_i64));
    age.filter(|age| *age > 0)
}

fn rising<T: PartialOrd>(from: &T, to: &T) -> Direction {
    if to > from { Direction::Widens } else { Direction::Narrows }
}

/// Dates, which as text are in the order of time.
fn rising_text(from: Option<&Value>, to: Option<&Value>) -> Direction {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    match (text(from), text(to)) {
        (Some(from), Some(to)) => rising(&from, &to),
        _ => Direction::Alters,
    }
}

#[cfg(test)]
mod tests;
