//! Requests for a one-off disclosure: how one begins. What people do with it is in `routes/referrals.rs`.
//!
//! Source: ICO Data Sharing Code of Practice (2021), its request and decision forms.

use jiff::{SignedDuration, Timestamp};
use ledger::entry::{Body, Decided, Entry};
use sharing::{Pseudonym, decide::Asked};
use store::{Change, ReferralRow, StoredLeaf};

use crate::{
    app::{App, InForce},
    caller::Named,
    disclose::Ask,
};

/// How long a request may wait before it is overdue, unless the form asks for sooner.
const DECIDE_WITHIN: SignedDuration = SignedDuration::from_hours(5 * 24);

/// By when a referral that is opened now should be decided.
pub fn due(at: Timestamp) -> Timestamp {
    at.checked_add(DECIDE_WITHIN).unwrap_or(at)
}

/// The change that puts a referred question in line. Only a named practitioner's: a job cannot give reasons.
pub(crate) fn opened(
    _: &App,
    policies: &InForce,
    ask: &Ask,
    decision_id: &str,
    subject: &Pseudonym,
    at: Timestamp,
) -> Option<Change> {
    let Named::Practitioner { id, .. } = &ask.caller.named else { return None };
    let question = &ask.question;
    let holder = policies.set.provider(&question.provider)?.organisation();
    let asked: Vec<_> = match &question.asked {
        Asked::AllAgreed => Vec::new(),
        Asked::Items(items) => items.iter().map(ToString::to_string).collect(),
    };
    Some(Change::OpenReferral(Box::new(ReferralRow {
        decision_id: decision_id.to_owned(),
        subject: subject.to_string(),
        recipient: question.recipient.to_string(),
        practitioner: id.clone(),
        provider: question.provider.to_string(),
        holder: holder.to_string(),
        purpose: question.purpose.to_string(),
        asked: serde_json::to_string(&asked).unwrap_or_default(),
        state: "waiting-for-form".to_owned(),
        opened_us: at.as_microsecond(),
        due_us: due(at).as_microsecond(),
        taken_by: None,
        form: "{}".to_owned(),
        outcome: None,
    })))
}

/// The same for a question that was refused, from what the ledger says of it.
pub fn reopened(policies: &InForce, decided: &Decided, at: Timestamp) -> Option<ReferralRow> {
    let provider = decided.provider.parse().ok()?;
    let holder = policies.set.provider(&provider)?.organisation();
    Some(ReferralRow {
        decision_id: decided.decision_id.clone(),
        subject: decided.subject.clone(),
        recipient: decided.recipient.clone(),
        practitioner: decided.by.practitioner.clone()?,
        provider: decided.provider.clone(),
        holder: holder.to_string(),
        purpose: decided.purpose.clone(),
        asked: serde_json::to_string(&decided.asked).unwrap_or_default(),
        state: "waiting-for-form".to_owned(),
        opened_us: at.as_microsecond(),
        due_us: due(at).as_microsecond(),
        taken_by: None,
        form: "{}".to_owned(),
        outcome: None,
    })
}

/// The entry that decided a question, among the entries of one decision, and how it ended.
pub fn decided_in(leaves: &[StoredLeaf]) -> Option<(Body, Option<Body>)> {
    let mut bodies = leaves.iter().filter_map(|leaf| Entry::decode(&leaf.bytes).ok()).map(|entry| entry.body);
    let first = bodies.find(|body| matches!(body, Body::Intent(_) | Body::Refusal(_) | Body::Referral(_)))?;
    let end = bodies.find(|body| matches!(body, Body::Release { .. } | Body::Closure { .. }));
    Some((first, end))
}

/// What was decided, whichever way.
pub fn decided_of(body: &Body) -> Option<&Decided> {
    match body {
        Body::Intent(decided) | Body::Refusal(decided) | Body::Referral(decided) => Some(decided),
        _ => None,
    }
}
