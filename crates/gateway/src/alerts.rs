//! Alerts to privacy officers: raising them, and what happens when nobody looks.
//!
//! The rules are data (`policies/alerts`, [`sharing::alerting`]). An alert carries a reference and identifies
//! nobody. Its own entry in the ledger would tell a caller who counts places that something was noticed, so what
//! raises it is recorded by the entry it refers to; handling it is recorded by itself.
//!
//! What one request shows is raised in that request's transaction, here and in [`familiar`]. What has to be counted
//! is raised by [`evaluate`], which follows the ledger beside the requests. [`deliver`] tells people.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use ledger::entry::Body;
use sharing::{
    AlertId, OrganisationId,
    alerting::{Human, Kind, Rule},
};
use store::{AlertMove, AlertRow, Change, StoreError, Submission};

use crate::{
    app::App,
    caller::{Caller, Named},
};

pub mod deliver;
pub mod evaluate;
pub mod familiar;

/// Whoever asked, as the rules look at them.
pub fn human(caller: &Caller) -> Human {
    Human {
        organisation: caller.organisation.to_string(),
        service: caller.service.clone(),
        system: caller.system.to_string(),
        id: caller.named.id().to_owned(),
        role: caller.named.role().to_owned(),
    }
}

/// The change that raises an alert with an organisation's privacy officers. `about` is whoever caused it: they
/// neither see it nor handle it, unless the gateway has told them of it.
pub fn raise(
    app: &App,
    kind: Kind,
    organisation: &OrganisationId,
    reference: &str,
    about: Option<&Caller>,
    at: Timestamp,
) -> Change {
    let set = app.policies().set;
    let fallback = sharing::alerting::AlertRules::default();
    let rule = set.alerts().of(kind).or_else(|| fallback.of(kind));
    let (id, severity) =
        rule.map_or((kind.as_str(), "medium"), |rule| (rule.id.as_str(), rule.severity.as_str()));
    let row = AlertRow {
        id: AlertId::from_random(app.entropy.bits()).to_string(),
        due_us: set.alerts().review_due(kind, at).as_microsecond(),
        severity: severity.to_owned(),
        about_organisation: about.map(|caller| caller.organisation.to_string()),
        about_human: about.map(|caller| caller.named.id().to_owned()),
        ..bare(id, organisation, reference, at)
    };
    Change::RaiseAlert(Box::new(row))
}

/// The one alert of this rule, organisation and reference. Raised twice, it is there once.
fn once(
    app: &App,
    rule: &Rule,
    organisation: &OrganisationId,
    reference: &str,
    about: &Human,
    at: Timestamp,
) -> AlertRow {
    let bits = app.store.alert_bits(&rule.id, organisation.as_str(), reference);
    AlertRow {
        id: AlertId::from_random(bits).to_string(),
        due_us: rule.review_due(at).as_microsecond(),
        severity: rule.severity.as_str().to_owned(),
        about_organisation: Some(about.organisation.clone()),
        about_human: Some(about.id.clone()),
        ..bare(&rule.id, organisation, reference, at)
    }
}

fn bare(rule: &str, organisation: &OrganisationId, reference: &str, at: Timestamp) -> AlertRow {
    AlertRow {
        id: String::new(),
        rule: rule.to_owned(),
        organisation: organisation.to_string(),
        reference: reference.to_owned(),
        state: "open".to_owned(),
        raised_us: at.as_microsecond(),
        due_us: at.as_microsecond(),
        escalated_us: None,
        handled_by: None,
        handled_us: None,
        outcome: None,
        note: None,
        severity: "medium".to_owned(),
        about_organisation: None,
        about_human: None,
        series: None,
        cause_us: None,
    }
}

/// The alert is about this caller.
pub fn is_about(row: &AlertRow, caller: &Caller) -> bool {
    row.about_organisation.as_deref() == Some(caller.organisation.as_str())
        && row.about_human.as_deref() == Some(caller.named.id())
}

/// The caller may know that the alert exists: it is not about them, or the gateway told them itself.
pub fn may_know(app: &App, row: &AlertRow, caller: &Caller) -> bool {
    let set = app.policies().set;
    let told = set.alerts().named(&row.rule).is_some_and(|rule| rule.watches.kind().is_known_to_its_cause());
    told || !is_about(row, caller)
}

/// Whether it is a named person, who alone handles alerts.
pub fn is_person(caller: &Caller) -> bool {
    matches!(caller.named, Named::Practitioner { .. })
}

/// Escalates every alert that is overdue. Returns how many.
///
/// # Errors
/// [`StoreError`] when the database fails. An alert that somebody handled in the meantime is left alone.
pub async fn escalate_overdue(app: &App) -> Result<usize, StoreError> {
    let at = app.clock.now();
    let mut escalated = 0;
    for alert in app.store.overdue_alerts(at).await? {
        let entry = Body::AlertHandled {
            alert_id: alert.id.clone(),
            action: "escalated".to_owned(),
            outcome: "overdue".to_owned(),
            by: None,
        };
        let mut submission = Submission::of(at, vec![entry]);
        submission.changes.push(Change::HandleAlert(Box::new(AlertMove {
            id: alert.id.clone(),
            from: &["open", "triaged"],
            handled_us: alert.handled_us,
            to: "escalated",
            by: None,
            review: None,
        })));
        match app.store.commit(submission).await {
            Ok(_) => {
                escalated += 1;
                tracing::warn!(
                    alert = alert.id,
                    rule = alert.rule,
                    organisation = alert.organisation,
                    "a review is overdue"
                );
            }
            Err(error) => tracing::warn!(%error, alert = alert.id, "an alert could not be escalated"),
        }
    }
    Ok(escalated)
}

/// Escalates what is overdue, again and again, until the token is cancelled.
pub async fn watch(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_mins(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                if app.leads() && let Err(error) = escalate_overdue(&app).await {
                    tracing::error!(%error, "overdue alerts could not be read");
                }
            }
        }
    }
}
