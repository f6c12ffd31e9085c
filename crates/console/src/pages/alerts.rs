//! Alerts, and emergencies among them: listed, looked at, closed.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::agreements::sees_agreements;
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{self, Frame, organisation, render, sentence, when},
    person::Person,
    session::Signed,
};

/// An alert, as the API has it.
#[derive(Deserialize)]
pub(crate) struct Alert {
    pub(crate) id: String,
    pub(crate) rule: String,
    pub(crate) severity: String,
    #[serde(default)]
    pub(crate) officer: String,
    pub(crate) reference: String,
    pub(crate) state: String,
    pub(crate) raised_at: String,
    pub(crate) review_due: String,
    pub(crate) escalated_at: Option<String>,
    pub(crate) handled_by: Option<String>,
    pub(crate) handled_at: Option<String>,
    #[serde(default)]
    pub(crate) findings: Vec<Finding>,
    practitioner: Option<String>,
    happened_at: Option<String>,
    agreement: Option<String>,
    matter: Option<String>,
    pub(crate) statement: Option<String>,
    pub(crate) emergency: Option<Emergency>,
    #[serde(skip)]
    pub(crate) is_late: bool,
}

impl Alert {
    /// An emergency that somebody declared.
    pub(crate) fn is_emergency(&self) -> bool {
        self.reference.starts_with("btg_")
    }

    /// Where what it is about is shown, to whoever sees that.
    fn about(&self, person: &Person) -> Option<String> {
        let reference = super::segment(&self.reference);
        if let (Some(agreement), Some(matter)) = (&self.agreement, &self.matter) {
            let agreement = super::segment(agreement);
            let place =
                if matter == "dispute" { format!("disputes/{reference}") } else { "talks".to_owned() };
            return sees_agreements(person).then(|| format!("/agreements/{agreement}/{place}"));
        }
        if self.rule.starts_with("agreement-") {
            return sees_agreements(person).then(|| format!("/agreements/{reference}"));
        }
        Some(match self.reference.get(..4) {
            Some("dec_") => format!("/decisions/{reference}"),
            Some("obj_") => format!("/objections/{reference}"),
            _ => format!("/trail?reference={reference}"),
        })
    }
}

/// What somebody found of an alert.
#[derive(Deserialize)]
pub(crate) struct Finding {
    by: Option<String>,
    at: Option<String>,
    outcome: String,
    note: String,
}

impl Finding {
    /// Who, when and what, in words.
    fn heading(&self) -> String {
        let what = OUTCOMES.iter().find(|(code, ..)| *code == self.outcome).map(|(_, words, _)| *words);
        let what = what.map_or_else(|| sentence(&self.outcome), str::to_owned);
        let by = self.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let at = self.at.as_ref().map(|at| format!(", {}", when(at))).unwrap_or_default();
        format!("{what}{by}{at}")
    }
}

/// An emergency that somebody declared.
#[derive(Deserialize)]
pub(crate) struct Emergency {
    organisation: String,
    practitioner: String,
    purpose: String,
    reason: String,
    cannot_consent: bool,
    from: String,
    until: String,
    asked: Option<Vec<Asked>>,
}

impl Emergency {
    fn cannot_consent(&self) -> &'static str {
        if self.cannot_consent { "Yes" } else { "No" }
    }
}

/// A question that was asked under an emergency.
#[derive(Deserialize)]
struct Asked {
    decision_id: String,
    at: String,
    provider: String,
    items: Vec<String>,
    decided: String,
}

impl Asked {
    /// With names in place of codes.
    fn named(&mut self, console: &Console) {
        let items = page::items(console, &self.provider, &self.items);
        self.items = vec![if items.is_empty() { "everything that it let through".to_owned() } else { items }];
        self.provider = page::record_holder(console, &self.provider);
    }

    /// What was decided, in words.
    fn decided(&self) -> &'static str {
        match self.decided.as_str() {
            "intent" => "Permitted",
            "referral" => "Referred to a person",
            _ => "Refused",
        }
    }
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct ListPage {
    frame: Frame,
    lead: &'static str,
    alerts: Vec<Alert>,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage<'a> {
    frame: Frame,
    alert: Alert,
    about: Option<String>,
    outcomes: [(&'static str, &'static str, &'static str); 4],
    chosen: &'a str,
    note: &'a str,
}

const OUTCOMES: [(&str, &str, &str); 4] = [
    ("justified", "It was right", "There was a reason, and it is recorded"),
    ("not-justified", "It was not right", "Your own process for incidents begins now"),
    ("no-further-action", "Nothing follows from it", "It was looked at, and that is enough"),
    ("false-positive", "There was nothing to see", "The rule spoke of nothing and has to be mended"),
];

/// Every alert of the organisation that this person may know of.
pub(crate) async fn all(console: &Console, signed: &Signed) -> Result<Vec<Alert>, Fault> {
    let mut all: Alerts = console.ask(signed, Ask::get("/v1/alerts")).await?;
    let now = console.gateway.now();
    for alert in &mut all.alerts {
        alert.is_late = is_late(alert, now);
    }
    Ok(all.alerts)
}

fn is_late(alert: &Alert, now: Timestamp) -> bool {
    alert.state != "closed" && alert.review_due.parse::<Timestamp>().is_ok_and(|due| due <= now)
}

/// Alerts.
pub(crate) async fn list(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let mut alerts = all(&console, &signed).await?;
    alerts.retain(|alert| !alert.is_emergency());
    let lead = "A rule noticed something. An alert refers to what it is about, and names nobody. You do not see those about yourself.";
    Ok(render(&ListPage { frame: Frame::of(&signed, "Alerts", "/alerts"), lead, alerts }))
}

/// Emergencies.
pub(crate) async fn emergencies(
    State(console): State<Arc<Console>>,
    signed: Signed,
) -> Result<Response, Fault> {
    let mut alerts = all(&console, &signed).await?;
    alerts.retain(Alert::is_emergency);
    let lead = "A practitioner declared an emergency and was let past the usual checks for a while. Somebody else says whether that was right.";
    let frame = Frame::of(&signed, "Emergencies to review", "/");
    Ok(render(&ListPage { frame, lead, alerts }))
}

/// One alert.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    alert_page(&console, &signed, &id, None, ("", "")).await
}

async fn alert_page(
    console: &Console,
    signed: &Signed,
    id: &str,
    correction: Option<Correction>,
    (chosen, note): (&str, &str),
) -> Result<Response, Fault> {
    let mut alert: Alert =
        console.ask(signed, Ask::get(format!("/v1/alerts/{}", super::segment(id)))).await?;
    if let Some(emergency) = &mut alert.emergency {
        emergency.organisation = organisation(console, &emergency.organisation);
        emergency.asked.iter_mut().flatten().for_each(|asked| asked.named(console));
    }
    let back = if alert.is_emergency() { "/reviews" } else { "/alerts" };
    let frame = Frame::of(signed, sentence(&alert.rule), "/alerts").back_to(back, "Back to the list");
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let frame = frame.correcting(correction);
    let about = alert.about(&signed.person);
    Ok((status, render(&AlertPage { frame, alert, about, outcomes: OUTCOMES, chosen, note })).into_response())
}

/// Somebody looks at it.
pub(crate) async fn acknowledge(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let path = format!("/v1/alerts/{}/acknowledge", super::segment(&id));
    match console.attempt::<Value>(&form.signed, Ask::post(path, &json!({}))).await? {
        Ok(_) => Ok(Redirect::to(&format!("/alerts/{id}")).into_response()),
        Err(correction) => alert_page(&console, &form.signed, &id, Some(correction), ("", "")).await,
    }
}

/// A closed one is taken up again by whoever finds something else.
pub(crate) async fn reopen(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let note = form.field("note");
    let path = format!("/v1/alerts/{}/reopen", super::segment(&id));
    match console.attempt::<Value>(&form.signed, Ask::post(path, &json!({ "note": note }))).await? {
        Ok(_) => Ok(Redirect::to(&format!("/alerts/{id}")).into_response()),
        Err(correction) => alert_page(&console, &form.signed, &id, Some(correction), ("", note)).await,
    }
}

/// What the review found.
pub(crate) async fn review(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let (outcome, note) = (form.field("outcome"), form.field("note"));
    if !OUTCOMES.iter().any(|(code, ..)| *code == outcome) {
        let missing = Correction::of("outcome: say what you found");
        return alert_page(&console, &form.signed, &id, Some(missing), (outcome, note)).await;
    }
    let path = format!("/v1/alerts/{}/review", super::segment(&id));
    let asked = Ask::post(path, &json!({ "outcome": outcome, "note": note }));
    match console.attempt::<Value>(&form.signed, asked).await? {
        Ok(_) => Ok(Redirect::to(&format!("/alerts/{id}")).into_response()),
        Err(correction) => alert_page(&console, &form.signed, &id, Some(correction), (outcome, note)).await,
    }
}
