//! A flow's terms as an ODRL policy in the Dataspace Protocol's shape, and such a policy as terms.
//!
//! One permission to use, with everything that limits it as a constraint; one prohibition where it may not be passed on; one
//! duty to delete. A policy that says anything else is refused: a condition that nobody understands is not one that was met.
//!
//! Source: Eclipse Dataspace Protocol 2025-1, contract-schema.json; ODRL 2.2, vocabulary. Operands of ours are URNs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::agreement::{london_day, london_midnight, terms::Terms};

/// The prefix of the operands that are ours.
pub const OPERAND: &str = "urn:concordat:odrl:";

/// Most values in one operand.
const VALUES_MAX: usize = 200;

/// A flow's terms, as far as a policy says them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// For what.
    pub purpose: String,
    /// The items, with the form of each.
    pub items: BTreeMap<String, String>,
    /// The roles that may ask.
    pub roles: BTreeSet<String>,
    /// The identifiers by which a person may be asked for.
    pub identifiers: BTreeSet<String>,
    /// The relationships of which one is needed.
    pub relationships: BTreeSet<String>,
    /// Most people in one day.
    pub releases_per_day_max: Option<u32>,
    /// Most people in one list.
    pub list_people_max: Option<u32>,
    /// Youngest age.
    pub age_from_years: Option<u32>,
    /// First day on which anything may flow.
    pub effective_on: String,
    /// First day on which nothing may flow any more.
    pub ends_on: String,
    /// The provider's lawful basis.
    pub provider_basis: String,
    /// The recipient's lawful basis.
    pub recipient_basis: String,
    /// How the duty of confidentiality is met.
    pub confidentiality: String,
    /// Days after which the recipient deletes what it received.
    pub retain_days: u16,
    /// Whether the recipient may pass it on.
    pub onward_sharing: bool,
}

/// Why a policy is not one that can be negotiated here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each is described by its words")]
pub enum Fault {
    #[error("offer.{0}: it is not understood; say no more than the offer in the catalogue does")]
    NotUnderstood(&'static str),
    #[error("offer: it says nothing about `{0}`, which the offer in the catalogue does")]
    Missing(&'static str),
    #[error("offer: another purpose is another agreement; ask for one")]
    AnotherPurpose,
    #[error("offer: legal bases are for people to agree; comment on them, or counter over /v1/agreements")]
    AnotherBasis,
    #[error(
        "offer: an item that is not offered needs a justification, which a policy cannot say; counter over /v1/agreements"
    )]
    ItemWithoutReason,
    #[error("the terms cannot be said as a policy: {0}")]
    Terms(&'static str),
}

type Constraint = (&'static str, &'static str);

const PURPOSE: Constraint = ("purpose", "eq");
const ITEM: Constraint = ("urn:concordat:odrl:item", "isAnyOf");
const ROLE: Constraint = ("urn:concordat:odrl:role", "isAnyOf");
const IDENTIFIER: Constraint = ("urn:concordat:odrl:identifier", "isAnyOf");
const RELATIONSHIP: Constraint = ("urn:concordat:odrl:relationship", "isAnyOf");
const PER_DAY: Constraint = ("urn:concordat:odrl:releases-per-day", "lteq");
const PER_LIST: Constraint = ("urn:concordat:odrl:people-per-list", "lteq");
const AGE: Constraint = ("urn:concordat:odrl:age-in-years", "gteq");
const FROM: Constraint = ("dateTime", "gteq");
const UNTIL: Constraint = ("dateTime", "lt");
const PROVIDER_BASIS: Constraint = ("urn:concordat:odrl:provider-basis", "eq");
const RECIPIENT_BASIS: Constraint = ("urn:concordat:odrl:recipient-basis", "eq");
const CONFIDENTIALITY: Constraint = ("urn:concordat:odrl:confidentiality", "eq");
const DELAY: Constraint = ("delayPeriod", "lteq");

/// All that a permission may be limited by.
const OF_A_PERMISSION: [Constraint; 13] = [
    PURPOSE,
    ITEM,
    ROLE,
    IDENTIFIER,
    RELATIONSHIP,
    PER_DAY,
    PER_LIST,
    AGE,
    FROM,
    UNTIL,
    PROVIDER_BASIS,
    RECIPIENT_BASIS,
    CONFIDENTIALITY,
];

fn constraint((left, operator): Constraint, right: impl Into<Value>) -> Value {
    json!({ "leftOperand": left, "operator": operator, "rightOperand": right.into() })
}

fn list(values: &BTreeSet<String>) -> Value {
    values.iter().cloned().map(Value::String).collect()
}

impl Policy {
    /// Of terms with one flow.
    ///
    /// # Errors
    /// [`Fault::Terms`] when they have more, or something cannot be said.
    pub fn of(terms: &Terms) -> Result<Self, Fault> {
        let open = terms.open();
        let flow = one_flow(&open)?;
        let words = |of: &Value, name: &str| -> BTreeSet<String> {
            let listed = of.get(name).and_then(Value::as_array).into_iter().flatten();
            listed.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let word = |of: &Value, pointer: &str| {
            of.pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or(Fault::Terms("a member lacks"))
        };
        let number = |pointer: &str| {
            flow.pointer(pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
        };
        let items = flow.get("items").and_then(Value::as_array).into_iter().flatten();
        let items = items.map(|item| Ok((word(item, "/item")?, word(item, "/form")?)));
        let retain_days = number("/obligations/retain_days").and_then(|days| u16::try_from(days).ok());
        Ok(Self {
            purpose: word(flow, "/purpose")?,
            items: items.collect::<Result<_, Fault>>()?,
            roles: words(flow, "roles"),
            identifiers: words(flow, "identifiers"),
            relationships: words(flow, "relationship"),
            releases_per_day_max: number("/releases_per_day_max"),
            list_people_max: number("/list_people_max"),
            age_from_years: number("/cohort/age_from_years"),
            effective_on: word(&open, "/effective_on")?,
            ends_on: word(&open, "/ends_on")?,
            provider_basis: basis(flow.get("provider_basis")),
            recipient_basis: basis(flow.get("recipient_basis")),
            confidentiality: basis(flow.get("confidentiality")),
            retain_days: retain_days.ok_or(Fault::Terms("no time after which it is deleted"))?,
            onward_sharing: flow.pointer("/obligations/onward_sharing") == Some(&Value::Bool(true)),
        })
    }

    /// Its rules: `permission`, `prohibition`, `obligation`.
    pub fn rules(&self) -> Map<String, Value> {
        let items: BTreeSet<_> = self.items.iter().map(|(item, form)| format!("{item}={form}")).collect();
        let mut limits = vec![
            constraint(PURPOSE, self.purpose.as_str()),
            constraint(ITEM, list(&items)),
            constraint(ROLE, list(&self.roles)),
            constraint(IDENTIFIER, list(&self.identifiers)),
            constraint(FROM, midnight(&self.effective_on)),
            constraint(UNTIL, midnight(&self.ends_on)),
            constraint(PROVIDER_BASIS, self.provider_basis.as_str()),
            constraint(RECIPIENT_BASIS, self.recipient_basis.as_str()),
            constraint(CONFIDENTIALITY, self.confidentiality.as_str()),
        ];
        if !self.relationships.is_empty() {
            limits.push(constraint(RELATIONSHIP, list(&self.relationships)));
        }
        let numbers = [
            (PER_DAY, self.releases_per_day_max),
            (PER_LIST, self.list_people_max),
            (AGE, self.age_from_years),
        ];
        limits
            .extend(numbers.into_iter().filter_map(|(of, number)| Some(constraint(of, number?.to_string()))));
        let delay = constraint(DELAY, format!("P{}D", self.retain_days));
        let mut rules = Map::new();
        rules.insert("permission".to_owned(), json!([{ "action": "use", "constraint": limits }]));
        if !self.onward_sharing {
            rules.insert("prohibition".to_owned(), json!([{ "action": "distribute" }]));
        }
        rules.insert("obligation".to_owned(), json!([{ "action": "delete", "constraint": [delay] }]));
        rules
    }

    /// Whether an offer says no more than which one it is: its rules are those of its name.
    pub fn is_by_name(offer: &Value) -> bool {
        let none =
            |name: &str| offer.get(name).is_none_or(|rules| rules.as_array().is_some_and(Vec::is_empty));
        let bare = |rule: &Value| {
            rule.get("action").and_then(Value::as_str) == Some("use")
                && rule.get("constraint").is_none_or(|limits| limits.as_array().is_some_and(Vec::is_empty))
                && rule.as_object().is_some_and(|rule| rule.len() <= 2)
        };
        let uses = offer.get("permission").and_then(Value::as_array);
        uses.is_some_and(|rules| !rules.is_empty() && rules.iter().all(bare))
            && none("prohibition")
            && none("obligation")
    }

    /// Reads the rules of an offer.
    ///
    /// # Errors
    /// [`Fault`] for whatever is not understood, or not said.
    pub fn read(offer: &Value) -> Result<Self, Fault> {
        let limits = Limits::of(one_rule(offer, "permission", "use")?, &OF_A_PERMISSION)?;
        let duty = Limits::of(one_rule(offer, "obligation", "delete")?, &[DELAY])?;
        let onward_sharing = offer.get("prohibition").is_none();
        if !onward_sharing {
            let rule = one_rule(offer, "prohibition", "distribute")?;
            if rule.get("constraint").and_then(Value::as_array).is_some_and(|limits| !limits.is_empty()) {
                return Err(Fault::NotUnderstood("prohibition"));
            }
        }
        let days = duty.word(DELAY)?;
        let days = days.strip_prefix('P').and_then(|rest| rest.strip_suffix('D')?.parse().ok());
        let items = limits.words(ITEM)?.into_iter().map(|one| {
            let (item, form) = one.split_once('=').ok_or(Fault::NotUnderstood("permission"))?;
            Ok((item.to_owned(), form.to_owned()))
        });
        Ok(Self {
            purpose: limits.word(PURPOSE)?,
            items: items.collect::<Result<_, Fault>>()?,
            roles: limits.words(ROLE)?,
            identifiers: limits.words(IDENTIFIER)?,
            relationships: if limits.has(RELATIONSHIP) {
                limits.words(RELATIONSHIP)?
            } else {
                BTreeSet::new()
            },
            releases_per_day_max: limits.number(PER_DAY)?,
            list_people_max: limits.number(PER_LIST)?,
            age_from_years: limits.number(AGE)?,
            effective_on: day(&limits.word(FROM)?)?,
            ends_on: day(&limits.word(UNTIL)?)?,
            provider_basis: limits.word(PROVIDER_BASIS)?,
            recipient_basis: limits.word(RECIPIENT_BASIS)?,
            confidentiality: limits.word(CONFIDENTIALITY)?,
            retain_days: days.ok_or(Fault::NotUnderstood("obligation"))?,
            onward_sharing,
        })
    }

    /// These terms with what the policy says in the place of what they said: to be offered, and checked as any terms are.
    ///
    /// # Errors
    /// [`Fault`] for what a policy cannot decide.
    pub fn apply(&self, terms: &Terms) -> Result<Value, Fault> {
        let before = Self::of(terms)?;
        if self.purpose != before.purpose {
            return Err(Fault::AnotherPurpose);
        }
        let bases =
            |of: &Self| (of.provider_basis.clone(), of.recipient_basis.clone(), of.confidentiality.clone());
        if bases(self) != bases(&before) {
            return Err(Fault::AnotherBasis);
        }
        if self.items.keys().any(|item| !before.items.contains_key(item)) {
            return Err(Fault::ItemWithoutReason);
        }
        let mut open = terms.open();
        if let Value::Object(members) = &mut open {
            members.insert("effective_on".to_owned(), self.effective_on.as_str().into());
            members.insert("ends_on".to_owned(), self.ends_on.as_str().into());
        }
        let flow = open.pointer_mut("/flows/0").and_then(Value::as_object_mut);
        let flow = flow.ok_or(Fault::Terms("no flow"))?;
        self.write_flow(flow, &before);
        Ok(open)
    }

    fn write_flow(&self, flow: &mut Map<String, Value>, before: &Self) {
        if let Some(items) = flow.get_mut("items").and_then(Value::as_array_mut) {
            items.retain_mut(|item| {
                let name = item.get("item").and_then(Value::as_str).unwrap_or_default();
                let Some(form) = self.items.get(name).cloned() else { return false };
                if let Value::Object(item) = item {
                    item.insert("form".to_owned(), form.into());
                }
                true
            });
        }
        // Lists keep their order where they say the same.
        let lists = [
            ("roles", &self.roles, &before.roles),
            ("identifiers", &self.identifiers, &before.identifiers),
            ("relationship", &self.relationships, &before.relationships),
        ];
        for (name, asked, _) in lists.into_iter().filter(|(_, asked, before)| asked != before) {
            flow.insert(name.to_owned(), list(asked));
        }
        let numbers = [
            ("releases_per_day_max", self.releases_per_day_max, before.releases_per_day_max),
            ("list_people_max", self.list_people_max, before.list_people_max),
        ];
        for (name, asked, _) in numbers.into_iter().filter(|(_, asked, before)| asked != before) {
            match asked {
                Some(number) => drop(flow.insert(name.to_owned(), number.into())),
                None => drop(flow.remove(name)),
            }
        }
        if self.age_from_years != before.age_from_years {
            match self.age_from_years {
                Some(years) => drop(flow.insert("cohort".to_owned(), json!({ "age_from_years": years }))),
                None => drop(flow.remove("cohort")),
            }
        }
        if let Some(Value::Object(obligations)) = flow.get_mut("obligations") {
            obligations.insert("retain_days".to_owned(), self.retain_days.into());
            obligations.insert("onward_sharing".to_owned(), self.onward_sharing.into());
        }
    }
}

fn one_flow(open: &Value) -> Result<&Value, Fault> {
    match open.get("flows").and_then(Value::as_array).map(Vec::as_slice) {
        Some([flow]) => Ok(flow),
        _ => Err(Fault::Terms("they have more than one flow")),
    }
}

/// A legal basis in one line: everything that it says, in the order of names.
fn basis(of: Option<&Value>) -> String {
    let members = of.and_then(Value::as_object).into_iter().flatten();
    let said: BTreeMap<_, _> =
        members.map(|(name, value)| (name, value.as_str().unwrap_or_default())).collect();
    said.into_values().collect::<Vec<_>>().join("; ")
}

/// A day's beginning in London. A day that is none stays as it is, and is refused where terms are checked.
fn midnight(day: &str) -> String {
    day.parse::<Date>().map_or_else(|_| day.to_owned(), |date| london_midnight(date).to_string())
}

/// The day that begins in London at this instant.
fn day(instant: &str) -> Result<String, Fault> {
    let fault = Fault::NotUnderstood("permission");
    let at: Timestamp = instant.parse().map_err(|_| fault.clone())?;
    let date = london_day(at);
    if london_midnight(date) == at { Ok(date.to_string()) } else { Err(fault) }
}

fn one_rule<'a>(offer: &'a Value, name: &'static str, action: &str) -> Result<&'a Value, Fault> {
    let rules = offer.get(name).ok_or(Fault::Missing(name))?;
    let Some([rule]) = rules.as_array().map(Vec::as_slice) else { return Err(Fault::NotUnderstood(name)) };
    let known = rule.as_object().is_some_and(|members| {
        members.keys().all(|name| matches!(name.as_str(), "action" | "constraint" | "@type"))
    });
    if known && rule.get("action").and_then(Value::as_str) == Some(action) {
        Ok(rule)
    } else {
        Err(Fault::NotUnderstood(name))
    }
}

/// The constraints of a rule, each at most once.
struct Limits<'a>(Vec<(Constraint, &'a Value)>);

impl<'a> Limits<'a> {
    fn of(rule: &'a Value, known: &[Constraint]) -> Result<Self, Fault> {
        let fault = Fault::NotUnderstood("constraint");
        let mut found = Vec::new();
        for limit in rule.get("constraint").and_then(Value::as_array).into_iter().flatten() {
            let word = |name: &str| limit.get(name).and_then(Value::as_str).unwrap_or_default();
            let which = (word("leftOperand"), word("operator"));
            let which = known.iter().find(|known| **known == which).ok_or_else(|| fault.clone())?;
            let right = limit.get("rightOperand").ok_or_else(|| fault.clone())?;
            if found.iter().any(|(earlier, _)| earlier == which)
                || limit.as_object().is_none_or(|limit| {
                    limit.keys().any(|name| {
                        !matches!(name.as_str(), "leftOperand" | "operator" | "rightOperand" | "@type")
                    })
                })
            {
                return Err(fault);
            }
            found.push((*which, right));
        }
        Ok(Self(found))
    }

    fn find(&self, which: Constraint) -> Option<&'a Value> {
        self.0.iter().find(|(of, _)| *of == which).map(|(_, value)| *value)
    }

    fn has(&self, which: Constraint) -> bool {
        self.find(which).is_some()
    }

    fn word(&self, which: Constraint) -> Result<String, Fault> {
        let value = self.find(which).ok_or(Fault::Missing(which.0))?;
        value.as_str().map(str::to_owned).ok_or(Fault::NotUnderstood(which.0))
    }

    fn words(&self, which: Constraint) -> Result<BTreeSet<String>, Fault> {
        let value = self.find(which).ok_or(Fault::Missing(which.0))?;
        let fault = Fault::NotUnderstood(which.0);
        // A set of one loses its brackets where JSON-LD is compacted.
        let one = [value.clone()];
        let values = value.as_array().map_or(one.as_slice(), Vec::as_slice);
        if values.len() > VALUES_MAX {
            return Err(fault);
        }
        values.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(|| fault.clone())).collect()
    }

    fn number(&self, which: Constraint) -> Result<Option<u32>, Fault> {
        if !self.has(which) {
            return Ok(None);
        }
        let word = self.word(which)?;
        word.parse().map(Some).map_err(|_| Fault::NotUnderstood(which.0))
    }
}
