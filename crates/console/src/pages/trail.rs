//! Searching the audit trail with a filter. People are searched for elsewhere: nobody's identifier is in an address.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use ledger::entry::{Actor, Body, Entry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use sharing::{PolicySet, explain, identifier::holds_nhs_number};

use super::saved;
use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault},
    page::{Frame, in_london, render, sentence, words},
    person::Right,
    session::Signed,
};

/// What the form has.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    pub(super) kind: String,
    pub(super) organisation: String,
    pub(super) provider: String,
    pub(super) purpose: String,
    pub(super) agreement: String,
    pub(super) practitioner: String,
    pub(super) item: String,
    pub(super) reason: String,
    pub(super) reference: String,
    pub(super) case_reference: String,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) cursor: String,
}

/// An answer of the API.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) entries: Vec<Found>,
    pub(crate) next: Option<String>,
    pub(crate) ledger_size: u64,
    pub(crate) receipt: Receipt,
}

/// Where a search is recorded.
#[derive(Deserialize)]
pub(crate) struct Receipt {
    pub(crate) log_position: u64,
}

/// An entry.
#[derive(Deserialize)]
pub(crate) struct Found {
    pub(crate) seq: u64,
    pub(crate) leaf: Box<RawValue>,
    pub(crate) leaf_hash: String,
    /// What was asked, where the entry does not say it itself.
    asked: Option<Asked>,
}

/// What a decision was about.
#[derive(Deserialize)]
struct Asked {
    organisation: String,
    practitioner: Option<String>,
    provider: String,
    purpose: String,
    case_reference: String,
}

impl Asked {
    /// In words, after what became of it.
    fn in_words(&self, set: &PolicySet) -> String {
        let person = self.practitioner.as_deref().unwrap_or("nobody named");
        format!(
            "{person} of {} had asked {} for a record, for {}, case {}",
            explain::organisation(set, &self.organisation),
            explain::record_holder(set, &self.provider),
            words(&self.purpose),
            self.case_reference
        )
    }
}

impl Found {
    /// What it says.
    pub(crate) fn entry(&self) -> Option<Entry> {
        Entry::decode(self.leaf.get().as_bytes()).ok()
    }
}

/// An entry in a table.
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) when: String,
    pub(crate) kind: String,
    pub(crate) words: String,
    pub(crate) decision: Option<String>,
}

type Options = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "trail.html")]
struct TrailPage {
    frame: Frame,
    filter: Filter,
    kinds: Options,
    organisations: Options,
    providers: Options,
    purposes: Options,
    everything: bool,
    answer: Option<Answer>,
    rows: Vec<Row>,
    next: Option<String>,
    /// Searches that the person keeps, and where each leads.
    saved: Vec<(String, String)>,
    /// The name of a search that was not kept.
    name: String,
}

const KINDS: [&str; 23] = [
    "release",
    "refusal",
    "referral",
    "intent",
    "closure",
    "consent_recorded",
    "consent_withdrawn",
    "objection_recorded",
    "objection_answered",
    "rights_request_moved",
    "break_glass_declared",
    "alert_handled",
    "referral_moved",
    "grant_made",
    "grant_revoked",
    "decision_read",
    "subject_record_read",
    "visibility_decided",
    "export_requested",
    "export_moved",
    "agreement_moved",
    "policy_set_activated",
    "request_refused",
];

/// The page; with what was found, once something is looked for.
pub(crate) async fn search(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Query(filter): Query<Filter>,
) -> Result<Response, Fault> {
    if !signed.person.may(Right::Review) && !signed.person.may(Right::Audit) {
        return Err(Fault::forbidden());
    }
    let asked = query(&filter);
    let not_a_time = ["from", "until"].into_iter().find(|name| {
        let text = asked.get(*name).and_then(Value::as_str);
        text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_err())
    });
    // Times are digits, too.
    let numbered = asked.iter().find_map(|(name, text)| {
        let text = text.as_str().filter(|_| !matches!(name.as_str(), "from" | "until" | "cursor"))?;
        (holds_nhs_number(text) && !is_reference(text)).then(|| name.clone())
    });
    let (answer, correction) = if asked.is_empty() {
        (None, None)
    } else if let Some(name) = numbered {
        let said = "somebody's number is looked for on the page of a person, and is in no address";
        (None, Some(Correction::of(&format!("{name}: {said}"))))
    } else if let Some(name) = not_a_time {
        (None, Some(Correction::of(&format!("{name}: {}", days::SUCH_AS))))
    } else {
        match console.attempt::<Answer>(&signed, Ask::post("/v1/trail/search", &asked)).await? {
            Ok(answer) => (Some(answer), None),
            Err(correction) => (None, Some(correction)),
        }
    };
    page(&console, &signed, filter, answer, (String::new(), correction)).await
}

/// `dec_…`: the name of an entry's matter, with random digits in it.
fn is_reference(text: &str) -> bool {
    let random = text.split_once('_').map(|(_, random)| random);
    random.is_some_and(|random| random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Filter {
    /// Where a search leads.
    pub(super) fn address(&self) -> String {
        let pairs = serde_json::to_value(self).unwrap_or_default();
        let mut query = form_urlencoded::Serializer::for_suffix("/trail?".to_owned(), "/trail?".len());
        for (name, value) in pairs.as_object().into_iter().flatten() {
            if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

pub(super) async fn page(
    console: &Console,
    signed: &Signed,
    filter: Filter,
    answer: Option<Answer>,
    (name, correction): (String, Option<Correction>),
) -> Result<Response, Fault> {
    let set = console.gateway.policies();
    let rows = answer.as_ref().map(|answer| rows(&set, &answer.entries)).unwrap_or_default();
    let next = answer
        .as_ref()
        .and_then(|answer| answer.next.clone())
        .map(|cursor| Filter { cursor, ..clone(&filter) }.address());
    let any = || (String::new(), "Any".to_owned());
    let organisations = set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone()));
    let providers =
        set.providers().map(|one| (one.provider.id.get_ref().to_string(), one.provider.name.clone()));
    let purposes =
        sharing::PurposeClass::ALL.into_iter().map(|one| (one.to_string(), sentence(one.as_str())));
    let kinds = KINDS.into_iter().map(|kind| (kind.to_owned(), sentence(kind)));
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = TrailPage {
        frame: Frame::of(signed, "Audit trail", "/trail").correcting(correction),
        kinds: std::iter::once(any()).chain(kinds).collect(),
        organisations: std::iter::once(any()).chain(organisations).collect(),
        providers: std::iter::once(any()).chain(providers).collect(),
        purposes: std::iter::once(any()).chain(purposes).collect(),
        everything: signed.person.may(Right::Audit),
        filter,
        answer,
        rows,
        next,
        saved: saved::all(console, signed).await?,
        name,
    };
    Ok((status, render(&page)).into_response())
}

fn clone(filter: &Filter) -> Filter {
    let value = serde_json::to_value(filter).unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// What the API is asked. Days become times.
fn query(filter: &Filter) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(filter) else { return Map::new() };
    members.retain(|_, value| value.as_str().is_some_and(|text| !text.trim().is_empty()));
    for name in ["from", "until"] {
        if let Some(Value::String(text)) = members.get_mut(name)
            && let Some(day) = days::read(text)
        {
            *text = days::beginning(day).to_string();
        }
    }
    if !members.is_empty() {
        members.insert("limit".to_owned(), 25.into());
    }
    members
}

/// Entries as rows.
pub(crate) fn rows(set: &PolicySet, entries: &[Found]) -> Vec<Row> {
    let row = |found: &Found| {
        let entry = found.entry()?;
        let at = jiff::Timestamp::from_microsecond(entry.at_us).unwrap_or_default();
        let (mut said, decision) = in_words(set, &entry.body);
        if let Some(asked) = &found.asked {
            said = format!("{said}. {}", asked.in_words(set));
        }
        Some(Row {
            seq: found.seq,
            when: in_london(at),
            kind: sentence(entry.body.kind()),
            words: said,
            decision,
        })
    };
    entries.iter().filter_map(row).collect()
}

fn who(set: &PolicySet, by: &Actor) -> String {
    let person = by.practitioner.as_deref().or(by.unattended_owner.as_deref()).unwrap_or("nobody named");
    format!("{person} of {}", explain::organisation(set, &by.organisation))
}

/// An entry in a sentence, and the decision that it is about.
pub(crate) fn in_words(set: &PolicySet, body: &Body) -> (String, Option<String>) {
    match body {
        Body::Intent(decided) | Body::Refusal(decided) | Body::Referral(decided) => {
            let asked = format!(
                "{} asked {} for a record, for {}, case {}",
                who(set, &decided.by),
                explain::record_holder(set, &decided.provider),
                words(&decided.purpose),
                decided.case_reference
            );
            (asked, Some(decided.decision_id.clone()))
        }
        Body::Release { decision_id, items, .. } => {
            let how_many = if items.len() == 1 {
                "One item was".to_owned()
            } else {
                format!("{} items were", items.len())
            };
            (format!("{how_many} released"), Some(decision_id.clone()))
        }
        Body::Closure { decision_id, outcome, .. } => {
            (format!("It ended: {}", words(outcome)), Some(decision_id.clone()))
        }
        Body::DecisionRead { of, what, by } => {
            let decision = of.starts_with("dec_").then(|| of.clone());
            (format!("{} read: {what}", who(set, by)), decision)
        }
        Body::SubjectRecordRead { what, by, .. } => {
            (format!("{} read about a person: {what}", who(set, by)), None)
        }
        Body::AlertHandled { alert_id, action, by, .. } => {
            let by = by.as_ref().map_or_else(|| "Time".to_owned(), |by| who(set, by));
            (format!("{by}: {} {alert_id}", words(action)), None)
        }
        Body::ReferralMoved { decision_id, action, by, .. } => {
            (format!("{}: {}", who(set, by), words(action)), Some(decision_id.clone()))
        }
        Body::BreakGlassDeclared { practitioner, organisation, reason, .. } => (
            format!("{practitioner} of {}: {}", explain::organisation(set, organisation), words(reason)),
            None,
        ),
        Body::RequestRefused { code, route, organisation, .. } => {
            let of = organisation.as_deref().map(|id| explain::organisation(set, id));
            let of = of.unwrap_or_else(|| "somebody unknown".to_owned());
            (format!("{of} at {route}: {}", words(code)), None)
        }
        other => (by_of(set, other), None),
    }
}

/// Whatever else an entry says of who did it.
fn by_of(set: &PolicySet, body: &Body) -> String {
    let value = serde_json::to_value(body).unwrap_or_default();
    let find = |value: &Value| -> Option<Actor> {
        let by = value.get("by").or_else(|| value.as_object()?.values().find_map(|inner| inner.get("by")))?;
        serde_json::from_value(by.clone()).ok()
    };
    find(&value).map(|by| who(set, &by)).unwrap_or_default()
}
