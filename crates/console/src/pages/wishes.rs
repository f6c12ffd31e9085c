//! Consents of a person, by an officer who records what the person or somebody with authority said; and what ends them. Objections
//! and restrictions are in `objections`. Whom it is about travels from form to form sealed with the session's own secret: no page
//! and no address has the number.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::PurposeClass;

use super::{
    person::Chosen,
    said::{By, Said, options},
};
use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{self, Frame, render, sentence, when, words},
    person::Right,
    session::Signed,
};

type Options = Vec<(String, String)>;

const KINDS: [(&str, &str); 4] = [
    ("confidentiality-consent", "That confidential information is shared (the common law duty)"),
    ("gdpr-consent", "UK GDPR consent: only where the agreement’s lawful basis is consent"),
    ("consent-to-service", "A visit or a service: it shares nothing by itself"),
    ("preference", "A wish: it shares nothing by itself"),
];

const STATES: [(&str, &str); 3] = [
    ("given", "It was given"),
    ("refused", "It was refused"),
    ("requested", "It was asked for, and is not answered"),
];

/// What somebody has filled in of a consent.
#[derive(Default)]
struct Filled {
    kind: String,
    status: String,
    controller: String,
    recipients: Vec<String>,
    purposes: Vec<String>,
    data_categories: String,
    notice_version: String,
    given_at: String,
    expires_at: String,
}

#[derive(Template)]
#[template(path = "consent_form.html")]
struct ConsentForm {
    frame: Frame,
    person: String,
    kinds: Options,
    states: Options,
    organisations: Options,
    purposes: Options,
    filled: Filled,
    said: Said,
}

/// A consent, as the API has it.
#[derive(Deserialize)]
struct Consent {
    id: String,
    #[serde(rename = "consent_type")]
    kind: String,
    status: String,
    controller: String,
    recipients: Vec<String>,
    purposes: Vec<String>,
    given_at: String,
    expires_at: Option<String>,
    withdrawn_at: Option<String>,
    status_reason: Option<String>,
    given_by: By,
    recorded_by: String,
    recorded_at: String,
    details: Value,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage {
    frame: Frame,
    one: Consent,
    rows: Vec<(&'static str, String)>,
    changes: Options,
    status: String,
    reason: String,
    expires_at: String,
    said: Said,
    may_withdraw: bool,
}

/// Officers alone: residents have the right for their own wishes, on pages of their own.
pub(super) fn may(signed: &Signed) -> Result<(), Fault> {
    if signed.person.may(Right::Record) && !signed.person.is_citizen() {
        Ok(())
    } else {
        Err(Fault::forbidden())
    }
}

pub(super) fn organisations(console: &Console) -> Options {
    let set = console.gateway.policies();
    set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone())).collect()
}

pub(super) fn purposes(which: impl Fn(PurposeClass) -> bool) -> Options {
    let all = PurposeClass::ALL.into_iter().filter(|purpose| which(*purpose));
    all.map(|purpose| (purpose.to_string(), sentence(purpose.as_str()))).collect()
}

/// A day as the API takes it, as one of its instants. It may be left out.
fn day(
    field: &str,
    text: &str,
    instant: fn(jiff::civil::Date) -> jiff::Timestamp,
) -> Result<Option<String>, Correction> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Correction::of(&format!("{field}: {}, or leave it out", days::SUCH_AS));
    days::read(text).map(|day| Some(instant(day).to_string())).ok_or_else(wrong)
}

/// The form for a consent.
pub(crate) async fn consent_form(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let signed = &form.signed;
    may(signed)?;
    if let Some(response) = super::step_up_form(&console, &form.signed, "/person") {
        return Ok(response);
    }
    Chosen::of(&form)?;
    let filled = Filled { controller: signed.person.organisation.to_string(), ..Filled::default() };
    // Nothing is chosen beforehand: a press too many is not to record that somebody agreed.
    let said = Said::default();
    Ok(consent_page(&console, &form, (filled, said), None))
}

fn consent_page(
    console: &Console,
    form: &Form,
    (filled, said): (Filled, Said),
    correction: Option<Correction>,
) -> Response {
    let status = status_of(correction.as_ref());
    let frame = Frame::of(&form.signed, "Record a consent", "/person").correcting(correction);
    let page = ConsentForm {
        frame,
        person: form.field("person").to_owned(),
        kinds: options(&KINDS),
        states: options(&STATES),
        organisations: organisations(console),
        purposes: purposes(|_| true),
        filled,
        said,
    };
    (status, render(&page)).into_response()
}

/// Records a consent.
pub(crate) async fn record_consent(
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up_written(&console, &form, "/person") {
        return Ok(response);
    }
    let chosen = Chosen::of(&form)?;
    let field = |name: &str| form.field(name).to_owned();
    let filled = Filled {
        kind: field("consent_type"),
        status: field("status"),
        controller: field("controller"),
        recipients: form.all("recipients").to_vec(),
        purposes: form.all("purposes").to_vec(),
        data_categories: field("data_categories"),
        notice_version: field("notice_version"),
        given_at: field("given_at"),
        expires_at: field("expires_at"),
    };
    let said = Said::of(&form);
    let times = day("given_at", &filled.given_at, days::beginning)
        .and_then(|given| Ok((given, day("expires_at", &filled.expires_at, days::end)?)));
    let known = |of: &[(&str, &str)], code: &str| of.iter().any(|(known, _)| *known == code);
    let missing = if !known(&KINDS, &filled.kind) {
        Some(Correction::of("consent_type: choose what was agreed to"))
    } else if !known(&STATES, &filled.status) {
        Some(Correction::of("status: choose what became of it"))
    } else {
        said.correction()
    };
    let (given_at, expires_at) = match (missing, times) {
        (None, Ok(times)) => times,
        (Some(correction), _) | (None, Err(correction)) => {
            return Ok(consent_page(&console, &form, (filled, said), Some(correction)));
        }
    };
    let categories = filled.data_categories.lines().map(str::trim).filter(|line| !line.is_empty());
    let body = json!({
        "subject": chosen.subject(),
        "consent_type": filled.kind,
        "status": filled.status,
        "controller": filled.controller,
        "recipients": filled.recipients,
        "purposes": filled.purposes,
        "data_categories": categories.collect::<Vec<_>>(),
        "given_by": said.by(),
        "given_at": given_at,
        "method": said.method,
        "notice_version": filled.notice_version,
        "expires_at": expires_at,
        "evidence_reference": said.evidence(),
    });
    match console.attempt::<Named>(&form.signed, chosen.asking("/v1/consents", &body)?).await? {
        Ok(made) => Ok(Redirect::to(&format!("/consents/{}", super::segment(&made.id))).into_response()),
        Err(correction) => Ok(consent_page(&console, &form, (filled, said), Some(correction))),
    }
}

/// What was made, by its name.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
}

/// A consent.
pub(crate) async fn consent(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    may(&signed)?;
    let said = Said::by_person();
    shown_consent(&console, &signed, &id, (said, ["", "", ""]), None).await
}

async fn shown_consent(
    console: &Console,
    signed: &Signed,
    id: &str,
    (said, [status, reason, expires_at]): (Said, [&str; 3]),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one: Consent = console.ask(signed, Ask::get(format!("/v1/consents/{}", super::segment(id)))).await?;
    let called = |id: &String| page::organisation(console, id);
    let detail = |name: &str| one.details.get(name).and_then(Value::as_str).map(str::to_owned);
    let categories = one.details.get("data_categories").and_then(Value::as_array).into_iter().flatten();
    let categories: Vec<_> = categories.filter_map(Value::as_str).collect();
    let mut rows = vec![
        ("Whose records", called(&one.controller)),
        ("Who may receive", one.recipients.iter().map(called).collect::<Vec<_>>().join("; ")),
        ("For", one.purposes.iter().map(words).collect::<Vec<_>>().join("; ")),
        ("Which data", categories.join("; ")),
        ("From", when(&one.given_at)),
    ];
    rows.extend(one.expires_at.as_ref().map(|at| ("Until", days::until(at))));
    rows.extend(one.withdrawn_at.as_ref().map(|at| ("Ended", when(at))));
    rows.extend(one.status_reason.clone().map(|why| ("Why", why)));
    rows.extend(one.given_by.rows());
    rows.extend(detail("method").map(|how| ("How", words(how))));
    rows.extend(detail("notice_version").map(|notice| ("Notice", notice)));
    rows.extend(detail("evidence_reference").map(|at| ("Evidence", at)));
    rows.push(("Recorded by", called(&one.recorded_by)));
    rows.push(("Recorded", when(&one.recorded_at)));
    let changes: &[(&str, &str)] = match one.status.as_str() {
        "requested" => &[("given", "The person agreed"), ("refused", "The person refused")],
        "given" | "renewed" | "unknown" => &[
            ("renewed", "It was given again"),
            ("revoked", "End it: your organisation does not rely on it any more"),
            ("invalidated", "It was never valid"),
        ],
        _ => &[],
    };
    let answer = status_of(correction.as_ref());
    let page = ConsentPage {
        frame: Frame::of(signed, sentence(&one.kind), "/person")
            .back_to("/person", "A person")
            .correcting(correction),
        rows,
        changes: options(changes),
        status: status.to_owned(),
        reason: reason.to_owned(),
        expires_at: expires_at.to_owned(),
        said,
        may_withdraw: matches!(one.status.as_str(), "given" | "renewed" | "unknown" | "requested"),
        one,
    };
    Ok((answer, render(&page)).into_response())
}

/// The person takes a consent back, or somebody with authority does.
pub(crate) async fn withdraw_consent(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/consents/{}", super::segment(&id));
    if let Some(response) = super::step_up_written(&console, &form, &here) {
        return Ok(response);
    }
    let said = Said::of(&form);
    let correction = if let Some(correction) = said.correction() {
        correction
    } else {
        let asking = Ask::post(format!("/v1{here}/withdraw"), &json!({ "said": said.to_json() }));
        match console.attempt::<Value>(&form.signed, asking).await? {
            Ok(_) => return Ok(Redirect::to(&here).into_response()),
            Err(correction) => correction,
        }
    };
    shown_consent(&console, &form.signed, &id, (said, ["", "", ""]), Some(correction)).await
}

/// A consent's status is changed.
pub(crate) async fn change_consent(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/consents/{}", super::segment(&id));
    if let Some(response) = super::step_up_written(&console, &form, &here) {
        return Ok(response);
    }
    let filled = [form.field("status"), form.field("reason"), form.field("expires_at")];
    let [status, reason, expires_at] = filled;
    let correction = match (status, day("expires_at", expires_at, days::end)) {
        ("", _) => Correction::of("status: say what has become of it"),
        (_, Err(correction)) => correction,
        (_, Ok(expires_at)) => {
            let body = json!({ "status": status, "reason": reason, "expires_at": expires_at });
            match console
                .attempt::<Value>(&form.signed, Ask::post(format!("/v1{here}/status"), &body))
                .await?
            {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(correction) => correction,
            }
        }
    };
    let said = Said::by_person();
    shown_consent(&console, &form.signed, &id, (said, filled), Some(correction)).await
}
