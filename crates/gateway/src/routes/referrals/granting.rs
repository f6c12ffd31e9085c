//! A request is granted: no wider than what was asked, and what the law lets a person decide.

use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use sharing::{
    GrantId, PurposeClass,
    decide::{PermittedItem, may_be_granted},
    identifier::ProviderId,
    subject::AdHocGrant,
};
use store::{Change, Fact, FactRow, ReferralMove, ReferralRow, Store};

use super::{DecisionForm, NO_ONE_OFF, check_reason, step};
use crate::{
    agreements::document,
    app::App,
    edge::Received,
    fault::internal,
    kept,
    problem::{Problem, Refusal},
    routes::consents::commit,
};

/// Longest life of a grant.
const GRANT_MINUTES_MAX: u32 = 7 * 24 * 60;

pub(super) async fn grant(
    app: &App,
    received: &Received,
    row: &ReferralRow,
    form: &DecisionForm,
    open: &'static [&'static str],
) -> Result<Result<(), Problem>, Refusal> {
    let now = app.now();
    let (grant, reason, basis) = match narrow(app, row, form, now) {
        Ok(narrowed) => narrowed,
        Err(problem) => return Ok(Err(problem)),
    };
    let subject = Store::subject_of(row).map_err(|error| Refusal::from(internal(&error)))?;
    let items: Vec<_> = grant.items.iter().map(ToString::to_string).collect();
    let outcome = serde_json::json!({
        "outcome": "grant",
        "grant_id": grant.id.as_str(),
        "items": items,
        "until": grant.until.to_string(),
        "retain_days": grant.retain_days,
        "basis": basis,
        "reason": reason,
        "decided_by": received.caller.named.id(),
        "salt": kept::salt(app.entropy.as_ref()),
    });
    let outcome = outcome.to_string();
    let entry = Body::GrantMade {
        grant_id: grant.id.to_string(),
        decision_id: row.decision_id.clone(),
        subject: row.subject.clone(),
        recipient: row.recipient.clone(),
        practitioner: row.practitioner.clone(),
        provider: row.provider.clone(),
        purpose: row.purpose.clone(),
        items: grant.items.iter().map(ToString::to_string).collect(),
        from_us: grant.from.as_microsecond(),
        until_us: grant.until.as_microsecond(),
        reason_sha256: kept::digest(&row.decision_id, &outcome),
        by: received.caller.actor(),
    };
    let fact = FactRow {
        fact: Fact::Grant(grant),
        subject,
        details: outcome.clone(),
        recorded_by: received.caller.organisation.clone(),
        recorded_at: now,
        ended_at: None,
    };
    let step = ReferralMove { outcome: Some(outcome), ..step(row, open, "granted") };
    let changes = vec![Change::MoveReferral(Box::new(step)), Change::RecordFact(Box::new(fact))];
    commit(app, received, entry, changes).await?;
    Ok(Ok(()))
}

/// Checks that a grant is no wider than what was asked and what the law lets a person decide.
fn narrow(
    app: &App,
    row: &ReferralRow,
    form: &DecisionForm,
    now: Timestamp,
) -> Result<(AdHocGrant, String, String), Problem> {
    let DecisionForm::Grant { items, lawful_basis, confidentiality, minutes, retain_days, reason } = form
    else {
        return Err(Problem::Internal); // only called with a grant
    };
    let invalid = |what: String| Problem::InvalidRequest(what);
    check_reason(reason)?;
    let set = app.policies().set;
    let provider_id: ProviderId = row.provider.parse().map_err(|_| Problem::Internal)?;
    let purpose: PurposeClass = row.purpose.parse().map_err(|_| Problem::Internal)?;
    if !may_be_granted(purpose) {
        return Err(NO_ONE_OFF);
    }
    let provider = set.provider(&provider_id).ok_or(Problem::WrongState(
        "the record holder is not in the catalogue any more; refuse the request",
    ))?;
    let asked: Vec<String> = serde_json::from_str(&row.asked).map_err(|_| Problem::Internal)?;
    let mut granted = Vec::new();
    for (position, text) in items.iter().enumerate() {
        let item = text.parse::<PermittedItem>().ok();
        let item =
            item.filter(|item| asked.is_empty() || asked.iter().any(|asked| asked == item.item.as_str()));
        let item = item.ok_or_else(|| {
            invalid(format!("items[{position}]: write item:form, of an item that was asked for"))
        })?;
        let known = provider.item(&item.item).filter(|known| known.forms.contains(&item.form));
        let known = known
            .ok_or_else(|| invalid(format!("items[{position}]: the catalogue has no such item and form")))?;
        if let Some(gap) = lawful_basis.gap(purpose, known.category) {
            return Err(invalid(format!("lawful_basis, for items[{position}]: {}", gap.as_str())));
        }
        if known.confidential && !purpose.rules().confidentiality.contains(&confidentiality.kind()) {
            return Err(invalid(format!(
                "confidentiality, for items[{position}]: not a way of meeting the duty for this purpose"
            )));
        }
        granted.push(item);
    }
    if granted.is_empty() || granted.len() > app.limits.items_max {
        return Err(invalid("items: name at least one item, and no more than were asked for".to_owned()));
    }
    if !(1..=GRANT_MINUTES_MAX).contains(minutes) {
        return Err(invalid("minutes: 1 to 10,080 (seven days)".to_owned()));
    }
    if !(1..=3_650).contains(retain_days) {
        return Err(invalid("retain_days: 1 to 3,650".to_owned()));
    }
    let grant = AdHocGrant {
        id: GrantId::from_random(app.entropy.bits()),
        recipient: row.recipient.parse().map_err(|_| Problem::Internal)?,
        practitioner: row.practitioner.clone(),
        provider: provider_id,
        purpose,
        items: granted,
        retain_days: *retain_days,
        from: now,
        until: now.checked_add(SignedDuration::from_mins(i64::from(*minutes))).unwrap_or(now),
    };
    let basis = document::basis(lawful_basis);
    Ok((grant, reason.clone(), format!("{basis}; {}", document::confidentiality(confidentiality))))
}
