//! The terms of an agreement that is managed over the API: what its parties negotiate and sign.
//!
//! Terms are the members of an agreement's file without what its course adds: status, signatures and what is switched
//! off. They are read by the same reader as a file, so that both sources give the same [`Agreement`] to a decision.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Agreement, SignatoryRole, Status};
use crate::{
    identifier::{AgreementId, FlowId, OrganisationId},
    policy::{PolicyFile, managed_path},
    seen::{is_unseen, is_web_link},
};

/// Members that the course of an agreement decides, at the top.
const NOT_AT_THE_TOP: [&str; 4] = ["id", "version", "status", "terms_sha256"];

/// Terms, with the name and version that they are the terms of.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms(Map<String, Value>);

/// Longest name in terms, in characters.
const NAME_MAX: usize = 300;

/// Longest reason in terms, in characters.
const REASON_MAX: usize = 2_000;

/// Oldest age that a cohort may begin with, in years.
const AGE_MAX: i16 = 120;

/// Longest grace after a review that was missed, in days.
const GRACE_DAYS_MAX: u16 = 365;

/// Terms that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TermsError(String);

/// What the course of an agreement adds to its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What the parties made of it.
    pub status: Status,
    /// The parties whose signatures are complete, with role, name and day of each.
    pub signatures: BTreeMap<OrganisationId, Vec<(SignatoryRole, String, String)>>,
    /// Flows that are switched off.
    pub suspended: BTreeSet<FlowId>,
    /// The day of the next review, where one has moved it.
    pub review_on: Option<String>,
    /// Organisations that have taken another's place.
    pub successors: BTreeMap<OrganisationId, OrganisationId>,
    /// SHA-256 of the terms as canonical JSON.
    pub terms_sha256: String,
}

impl Terms {
    /// Terms as somebody offers them.
    ///
    /// # Errors
    /// [`TermsError`] saying which member is not for them to write.
    pub fn offered(id: &AgreementId, version: u32, offered: Value) -> Result<Self, TermsError> {
        let Value::Object(mut members) = offered else {
            return Err(TermsError("terms: an object with the members of an agreement".to_owned()));
        };
        if let Some(name) = NOT_AT_THE_TOP.iter().find(|name| members.contains_key(**name)) {
            return Err(TermsError(format!("terms.{name}: it is not for the terms to say; leave it out")));
        }
        for (list, name) in [("parties", "signatures"), ("flows", "suspended")] {
            let entries = members.get(list).and_then(Value::as_array).into_iter().flatten();
            if entries.into_iter().any(|entry| entry.get(name).is_some()) {
                return Err(TermsError(format!(
                    "terms.{list}.{name}: it is not for the terms to say; leave it out"
                )));
            }
        }
        members.iter().try_for_each(|(name, value)| seen(&format!("terms.{name}"), value))?;
        members.insert("id".to_owned(), id.as_str().into());
        members.insert("version".to_owned(), version.into());
        let terms = Self(members);
        plausible(&terms.agreement()?)?;
        Ok(terms)
    }

    /// Terms as they were kept.
    ///
    /// # Errors
    /// [`TermsError`] when they are no object.
    pub fn kept(text: &str) -> Result<Self, TermsError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            _ => Err(TermsError("terms that were kept cannot be read".to_owned())),
        }
    }

    /// The same terms under another version.
    #[must_use]
    pub fn as_version(&self, version: u32) -> Self {
        let mut members = self.0.clone();
        members.insert("version".to_owned(), version.into());
        Self(members)
    }

    /// The terms as JSON, of which the canonical form is signed.
    pub fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// What can be offered again: without name and version.
    pub fn open(&self) -> Value {
        let mut members = self.0.clone();
        NOT_AT_THE_TOP.iter().for_each(|name| drop(members.remove(*name)));
        Value::Object(members)
    }

    /// The terms as a draft that nobody has signed.
    ///
    /// # Errors
    /// [`TermsError`] naming the member.
    pub fn agreement(&self) -> Result<Agreement, TermsError> {
        let text = self.written(&Standing::none())?;
        toml::from_str(&text)
            .map_err(|error| TermsError(format!("terms: {}", error.message().replace('\n', " "))))
    }

    /// The policy file that these terms are in this standing.
    ///
    /// # Errors
    /// [`TermsError`] when something in them has no place in a file, such as a null.
    pub fn file(&self, standing: &Standing) -> Result<PolicyFile, TermsError> {
        let id = self.0.get("id").and_then(Value::as_str).unwrap_or_default();
        Ok(PolicyFile { path: managed_path(id), text: self.written(standing)? })
    }

    fn written(&self, standing: &Standing) -> Result<String, TermsError> {
        let mut members = self.0.clone();
        members.insert("status".to_owned(), standing.status.as_str().into());
        if !standing.terms_sha256.is_empty() {
            members.insert("terms_sha256".to_owned(), standing.terms_sha256.as_str().into());
        }
        if let Some(review_on) = &standing.review_on {
            members.insert("review_on".to_owned(), review_on.as_str().into());
        }
        for party in members.get_mut("parties").and_then(Value::as_array_mut).into_iter().flatten() {
            standing.write_party(party);
        }
        if let Some(parties) = members.get_mut("parties").and_then(Value::as_array_mut) {
            standing.add_successors(parties);
        }
        for flow in members.get_mut("flows").and_then(Value::as_array_mut).into_iter().flatten() {
            standing.write_flow(flow);
        }
        toml::to_string(&Value::Object(members))
            .map_err(|_| TermsError("terms: null has no meaning in them; leave the member out".to_owned()))
    }
}

/// What no program can refuse later, once people have signed it: names that show as nothing, or as something else; and times that
/// leave nothing to review.
fn plausible(agreement: &Agreement) -> Result<(), TermsError> {
    for (member, text) in [
        ("title", &agreement.title),
        ("framework", &agreement.framework),
        ("owner", &agreement.owner),
        ("breach_contact", &agreement.breach_contact),
        ("dpia.reference", &agreement.dpia.reference),
    ] {
        named(member, text)?;
    }
    if let Some(reference) = &agreement.external_reference {
        named("external_reference", reference)?;
    }
    for measure in agreement.pilot.iter().flat_map(|pilot| &pilot.measures) {
        reasoned("pilot.measures", measure)?;
    }
    for listed in agreement.flows.iter().flat_map(|flow| &flow.items) {
        reasoned("flows.items.justification", &listed.justification)?;
    }
    let notices = agreement.parties.iter().filter_map(|party| party.privacy_notice.as_ref());
    let notices =
        notices.filter(|notice| !notice.is_empty()).map(|notice| ("parties.privacy_notice", notice));
    for (member, link) in notices.chain(agreement.dpia.link.iter().map(|link| ("dpia.link", link))) {
        if !is_web_link(link) {
            return Err(TermsError(format!(
                "terms.{member}: an address that begins with https:// or http://"
            )));
        }
    }
    for flow in &agreement.flows {
        let id = flow.id.get_ref();
        let zero = [
            ("obligations.retain_days", flow.obligations.retain_days == 0),
            ("releases_per_day_max", flow.releases_per_day_max == Some(0)),
            ("list_people_max", flow.list_people_max == Some(0)),
        ];
        if let Some((member, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(TermsError(format!(
                "terms.flows.{member} of `{id}`: 1 or more; leave a flow out that is not to be used"
            )));
        }
        if flow.cohort.age_from_years.is_some_and(|age| !(0..=AGE_MAX).contains(&age)) {
            return Err(TermsError(format!("terms.flows.cohort.age_from_years of `{id}`: 0 to {AGE_MAX}")));
        }
    }
    if agreement.dpia.current_until <= agreement.dpia.completed_on {
        return Err(TermsError("terms.dpia.current_until: a day after `completed_on`".to_owned()));
    }
    if agreement.flows.is_empty() {
        return Err(TermsError("terms.flows: one at least".to_owned()));
    }
    if agreement.review_on <= agreement.effective_on {
        return Err(TermsError("terms.review_on: a day after `effective_on`".to_owned()));
    }
    if agreement.grace_days.is_some_and(|days| days > GRACE_DAYS_MAX) {
        return Err(TermsError(format!("terms.grace_days: at most {GRACE_DAYS_MAX}")));
    }
    Ok(())
}

/// Something that people call by its name.
fn named(member: &str, text: &str) -> Result<(), TermsError> {
    if !text.trim().is_empty() && text.trim() == text && text.chars().count() <= NAME_MAX {
        return Ok(());
    }
    Err(TermsError(format!("terms.{member}: 1 to {NAME_MAX} characters, without blanks at its ends")))
}

/// Something that says why.
fn reasoned(member: &str, text: &str) -> Result<(), TermsError> {
    if !text.trim().is_empty() && text.chars().count() <= REASON_MAX {
        return Ok(());
    }
    Err(TermsError(format!("terms.{member}: 1 to {REASON_MAX} characters")))
}

/// Members that may be of several lines.
const IN_LINES: [&str; 2] = ["justification", "measures"];

/// What is signed is what people see: no text in it has characters that show as nothing, or turn what stands beside them.
fn seen(place: &str, value: &Value) -> Result<(), TermsError> {
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            seen("a name", &Value::String(name.clone()))?;
            seen(&format!("{place}.{name}"), value)
        }),
        Value::Array(entries) => entries.iter().try_for_each(|entry| seen(place, entry)),
        Value::String(text) => {
            let in_lines = IN_LINES.iter().any(|name| place.ends_with(name));
            let is_line = |char: char| in_lines && matches!(char, '\n' | '\r' | '\t');
            let Some(hidden) = text.chars().find(|char| is_unseen(*char) && !is_line(*char)) else {
                return Ok(());
            };
            Err(TermsError(format!(
                "{place}: U+{:04X} cannot be seen{}; take it out",
                u32::from(hidden),
                if hidden == '\n' { ", and this is one line" } else { "" }
            )))
        }
        _ => Ok(()),
    }
}

impl Standing {
    /// Of what nobody has signed.
    pub fn none() -> Self {
        Self {
            status: Status::Draft,
            signatures: BTreeMap::new(),
            suspended: BTreeSet::new(),
            review_on: None,
            successors: BTreeMap::new(),
            terms_sha256: String::new(),
        }
    }

    fn write_party(&self, party: &mut Value) {
        let Some(name) = party.get("organisation").and_then(Value::as_str).map(str::to_owned) else { return };
        let Value::Object(party) = party else { return };
        let of = |id: &&OrganisationId| id.as_str() == name;
        let signatures = self.signatures.iter().find(|(id, _)| of(id)).map(|(_, signatures)| signatures);
        let signatures = signatures
            .into_iter()
            .flatten()
            .map(|(role, name, day)| json!({ "role": role.as_str(), "name": name, "signed_on": day }));
        party.insert("signatures".to_owned(), signatures.collect());
    }

    /// A successor stands beside the one whose place it takes, as it signed: the operator's catalogue may name either as the
    /// controller of the records.
    fn add_successors(&self, parties: &mut Vec<Value>) {
        let named = |party: &Value, name: &OrganisationId| {
            party.get("organisation").and_then(Value::as_str) == Some(name.as_str())
        };
        for (old, new) in &self.successors {
            let Some(mut party) = parties.iter().find(|party| named(party, old)).cloned() else { continue };
            // It has a place already, and has signed in each.
            if parties.iter().any(|party| named(party, new)) {
                continue;
            }
            if let Value::Object(members) = &mut party {
                members.insert("organisation".to_owned(), new.as_str().into());
            }
            parties.push(party);
        }
    }

    fn write_flow(&self, flow: &mut Value) {
        let id = flow.get("id").and_then(Value::as_str).unwrap_or_default();
        let suspended = self.suspended.iter().any(|flow| flow.as_str() == id);
        let Value::Object(flow) = flow else { return };
        if suspended {
            flow.insert("suspended".to_owned(), true.into());
        }
        let recipient = flow.get("recipient").and_then(Value::as_str);
        let successor = self.successors.iter().find(|(old, _)| Some(old.as_str()) == recipient);
        if let Some((_, new)) = successor {
            flow.insert("recipient".to_owned(), new.as_str().into());
        }
    }
}

#[cfg(test)]
pub(in crate::agreement) mod tests;
