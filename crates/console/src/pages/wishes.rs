//! Consents, objections and restrictions of a person, by an officer who records what the person or somebody with authority said; and
//! what ends them. Whom it is about travels from form to form sealed with the session's own secret: no page and no address has
//! the number.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::PurposeClass;

use super::{
    person::Chosen,
    said::{By, Said, WasSaid, options},
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
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

const STATES: [(&str, &str); 3] =
    [("given", "It was given"), ("refused", "It was refused"), ("requested", "It was asked for, and is not answered")];

const OBJECTIONS: [(&str, &str); 3] = [
    ("objection", "Object: it is answered within one month, and stops until then (Article 21)"),
    ("dissent", "Dissent from shared records: it is honoured as it is"),
    ("restriction", "Restrict: keep the data and do not use them, until the person is told otherwise (Article 18)"),
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

#[derive(Template)]
#[template(path = "objection_form.html")]
struct ObjectionForm {
    frame: Frame,
    person: String,
    kinds: Options,
    kind: String,
    organisations: Options,
    controllers: Options,
    controller: String,
    purposes: Options,
    chosen: Vec<String>,
    recipients: Vec<String>,
    grounds: String,
    said: Said,
}

/// A consent, as the API has it.
#[derive(Deserialize)]
struct Consent {
    id: String,
    consent_type: String,
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

/// An objection, as the API has it.
#[derive(Deserialize)]
struct Objection {
    id: String,
    status: String,
    kind: String,
    in_force: bool,
    purposes: Vec<String>,
    recipients: Vec<String>,
    recorded_by: String,
    controller: String,
    answer: Option<String>,
    grounds: Option<String>,
    said: Option<WasSaid>,
    recorded_at: String,
    answer_due: String,
}

#[derive(Template)]
#[template(path = "objection.html")]
struct ObjectionPage {
    frame: Frame,
    one: Objection,
    rows: Vec<(&'static str, String)>,
    answers: Options,
    outcome: String,
    grounds: String,
    told: Vec<String>,
    remedies: Options,
    said: Said,
    may_answer: bool,
    may_withdraw: bool,
}

/// Officers alone: residents have the right for their own wishes, on pages of their own.
fn may(signed: &Signed) -> Result<(), Fault> {
    if signed.person.may(Right::Record) && !signed.person.is_citizen() { Ok(()) } else { Err(Fault::forbidden()) }
}

fn organisations(console: &Console) -> Options {
    let set = console.gateway.policies();
    set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone())).collect()
}

fn purposes(which: impl Fn(PurposeClass) -> bool) -> Options {
    let all = PurposeClass::ALL.into_iter().filter(|purpose| which(*purpose));
    all.map(|purpose| (purpose.to_string(), sentence(purpose.as_str()))).collect()
}

fn status_of(correction: Option<&Correction>) -> StatusCode {
    if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

/// A day as the API takes it: its beginning in London. It may be left out.
fn day(field: &str, text: &str) -> Result<Option<String>, Correction> {
    if text.is_empty() {
        return Ok(None);
    }
    let day = text.parse::<jiff::civil::Date>().ok().map(sharing::agreement::london_midnight);
    let wrong = || Correction::of(&format!("{field}: write a date such as 2026-11-23, or leave it out"));
    day.map(|at| Some(at.to_string())).ok_or_else(wrong)
}

/// The form for a consent.
pub(crate) async fn consent_form(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let signed = &form.signed;
    may(signed)?;
    if let Some(response) = super::step_up(&console, signed, "/person") {
        return Ok(response);
    }
    Chosen::of(&form)?;
    let filled = Filled {
        kind: "confidentiality-consent".to_owned(),
        status: "given".to_owned(),
        controller: signed.person.organisation.to_string(),
        ..Filled::default()
    };
    let said = Said { who: "person".to_owned(), ..Said::default() };
    consent_page(&console, &form, (filled, said), None)
}

fn consent_page(
    console: &Console,
    form: &Form,
    (filled, said): (Filled, Said),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
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
    Ok((status, render(&page)).into_response())
}

/// Records a consent.
pub(crate) async fn record_consent(
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up(&console, &form.signed, "/person") {
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
    let times = day("given_at", &filled.given_at)
        .and_then(|given| Ok((given, day("expires_at", &filled.expires_at)?)));
    let (given_at, expires_at) = match (said.correction(), times) {
        (None, Ok(times)) => times,
        (Some(correction), _) | (None, Err(correction)) => {
            return consent_page(&console, &form, (filled, said), Some(correction));
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
    match console.ask::<Named>(&form.signed, chosen.asking("/v1/consents", &body)?).await {
        Ok(made) => Ok(Redirect::to(&format!("/consents/{}", super::segment(&made.id))).into_response()),
        Err(fault) => match fault.correction() {
            Some(correction) => consent_page(&console, &form, (filled, said), Some(correction)),
            None => Err(fault),
        },
    }
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A consent.
pub(crate) async fn consent(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    may(&signed)?;
    let said = Said { who: "person".to_owned(), ..Said::default() };
    shown_consent(&console, &signed, &id, (said, ["", "", ""]), None).await
}

async fn shown_consent(
    console: &Console,
    signed: &Signed,
    id: &str,
    (said, [status, reason, expires_at]): (Said, [&str; 3]),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one: Consent =
        console.ask(signed, Ask::get(format!("/v1/consents/{}", super::segment(id)))).await?;
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
    rows.extend(one.expires_at.as_ref().map(|at| ("Until", when(at))));
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
        frame: Frame::of(signed, sentence(&one.consent_type), "/person")
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
    if let Some(response) = super::step_up(&console, &form.signed, &here) {
        return Ok(response);
    }
    let said = Said::of(&form);
    let correction = match said.correction() {
        Some(correction) => correction,
        None => {
            let asking = Ask::post(format!("/v1{here}/withdraw"), &json!({ "said": said.to_json() }));
            match console.ask::<Value>(&form.signed, asking).await {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(fault) => fault.correction().ok_or(fault)?,
            }
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
    if let Some(response) = super::step_up(&console, &form.signed, &here) {
        return Ok(response);
    }
    let filled = [form.field("status"), form.field("reason"), form.field("expires_at")];
    let [status, reason, expires_at] = filled;
    let correction = match (status, day("expires_at", expires_at)) {
        ("", _) => Correction::of("status: say what has become of it"),
        (_, Err(correction)) => correction,
        (_, Ok(expires_at)) => {
            let body = json!({ "status": status, "reason": reason, "expires_at": expires_at });
            match console.ask::<Value>(&form.signed, Ask::post(format!("/v1{here}/status"), &body)).await {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(fault) => fault.correction().ok_or(fault)?,
            }
        }
    };
    let said = Said { who: "person".to_owned(), ..Said::default() };
    shown_consent(&console, &form.signed, &id, (said, filled), Some(correction)).await
}

/// The form for an objection, a dissent or a restriction.
pub(crate) async fn objection_form(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up(&console, &form.signed, "/person") {
        return Ok(response);
    }
    Chosen::of(&form)?;
    objection_page(&console, &form, Said { who: "person".to_owned(), ..Said::default() }, None)
}

fn objection_page(
    console: &Console,
    form: &Form,
    said: Said,
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let status = status_of(correction.as_ref());
    let frame = Frame::of(&form.signed, "Record an objection or a restriction", "/person");
    let field = |name: &str, otherwise: &str| {
        let text = form.field(name);
        if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
    };
    let page = ObjectionForm {
        frame: frame.correcting(correction),
        person: form.field("person").to_owned(),
        kinds: options(&OBJECTIONS),
        kind: field("kind", ""),
        organisations: organisations(console),
        controllers: organisations(console),
        controller: field("controller", form.signed.person.organisation.as_str()),
        purposes: purposes(|purpose| purpose.rules().objection_blocks),
        chosen: form.all("purposes").to_vec(),
        recipients: form.all("recipients").to_vec(),
        grounds: form.field("grounds").to_owned(),
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// Records one.
pub(crate) async fn record_objection(
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up(&console, &form.signed, "/person") {
        return Ok(response);
    }
    let chosen = Chosen::of(&form)?;
    let said = Said::of(&form);
    let kind = form.field("kind");
    let missing = if OBJECTIONS.iter().any(|(code, _)| *code == kind) {
        said.correction()
    } else {
        Some(Correction::of("kind: say which of these it is"))
    };
    let correction = match missing {
        Some(correction) => correction,
        None => {
            let body = json!({
                "subject": chosen.subject(),
                "kind": kind,
                "purposes": form.all("purposes"),
                "recipients": form.all("recipients"),
                "grounds": Some(form.field("grounds")).filter(|grounds| !grounds.is_empty()),
                "controller": form.field("controller"),
                "said": said.to_json(),
            });
            match console.ask::<Named>(&form.signed, chosen.asking("/v1/objections", &body)?).await {
                Ok(made) => {
                    return Ok(Redirect::to(&format!("/objections/{}", super::segment(&made.id))).into_response());
                }
                Err(fault) => fault.correction().ok_or(fault)?,
            }
        }
    };
    objection_page(&console, &form, said, Some(correction))
}

/// An objection.
pub(crate) async fn objection(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    may(&signed)?;
    let said = Said { who: "person".to_owned(), ..Said::default() };
    shown_objection(&console, &signed, &id, (said, ["", ""], &[]), None).await
}

async fn shown_objection(
    console: &Console,
    signed: &Signed,
    id: &str,
    (said, [outcome, grounds], told): (Said, [&str; 2], &[String]),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one: Objection =
        console.ask(signed, Ask::get(format!("/v1/objections/{}", super::segment(id)))).await?;
    let called = |id: &String| page::organisation(console, id);
    let listed = |of: &[String], all: &str, name: &dyn Fn(&String) -> String| {
        if of.is_empty() { all.to_owned() } else { of.iter().map(name).collect::<Vec<_>>().join("; ") }
    };
    let in_force = if one.in_force { "Yes: it stops what it is about" } else { "No" };
    let mut rows = vec![
        ("In force", in_force.to_owned()),
        ("Against", listed(&one.purposes, "everything that an objection can stop", &|code| words(code))),
        ("Recipients", listed(&one.recipients, "every recipient", &called)),
        ("Answered by", called(&one.controller)),
    ];
    rows.extend(one.grounds.clone().map(|grounds| ("The person’s grounds", grounds)));
    rows.extend(one.said.iter().flat_map(WasSaid::rows));
    rows.extend(one.answer.clone().map(|answer| ("The answer", answer)));
    rows.push(("Recorded by", called(&one.recorded_by)));
    rows.push(("Recorded", when(&one.recorded_at)));
    let open = one.status == "received";
    if open && one.kind == "objection" {
        rows.push(("Answer by", when(&one.answer_due)));
    }
    let mine = signed.person.organisation.as_str();
    let answers: &[(&str, &str)] = if one.kind == "restriction" {
        &[("refused", "Lift it: the person was told before")]
    } else {
        &[
            ("upheld", "Uphold it: what it is about stays stopped"),
            ("refused", "Refuse it: compelling grounds override the person’s interests"),
        ]
    };
    let status = status_of(correction.as_ref());
    let page = ObjectionPage {
        frame: Frame::of(signed, format!("{} of a person", sentence(&one.kind)), "/person")
            .back_to("/person", "A person")
            .correcting(correction),
        rows,
        answers: options(answers),
        outcome: outcome.to_owned(),
        grounds: grounds.to_owned(),
        told: told.to_vec(),
        remedies: options(&[("yes", "The person was told that they can complain to the Information Commissioner and go to court")]),
        said,
        may_answer: open && one.kind != "dissent" && one.controller == mine,
        may_withdraw: one.in_force && one.recorded_by == mine,
        one,
    };
    Ok((status, render(&page)).into_response())
}

/// The person takes it back, or somebody with authority does.
pub(crate) async fn withdraw_objection(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/objections/{}", super::segment(&id));
    if let Some(response) = super::step_up(&console, &form.signed, &here) {
        return Ok(response);
    }
    let said = Said::of(&form);
    let correction = match said.correction() {
        Some(correction) => correction,
        None => {
            let asking = Ask::post(format!("/v1{here}/withdraw"), &json!({ "said": said.to_json() }));
            match console.ask::<Value>(&form.signed, asking).await {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(fault) => fault.correction().ok_or(fault)?,
            }
        }
    };
    shown_objection(&console, &form.signed, &id, (said, ["", ""], &[]), Some(correction)).await
}

/// The controller answers.
pub(crate) async fn answer_objection(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/objections/{}", super::segment(&id));
    if let Some(response) = super::step_up(&console, &form.signed, &here) {
        return Ok(response);
    }
    let (outcome, grounds, told) = (form.field("outcome"), form.field("grounds"), form.all("told_of_remedies"));
    let body = match outcome {
        "upheld" => Some(json!({ "outcome": "upheld" })),
        "refused" => {
            Some(json!({ "outcome": "refused", "grounds": grounds, "told_of_remedies": !told.is_empty() }))
        }
        _ => None,
    };
    let correction = match body {
        None => Correction::of("outcome: say what the answer is"),
        Some(body) => {
            match console.ask::<Value>(&form.signed, Ask::post(format!("/v1{here}/answer"), &body)).await {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(fault) => fault.correction().ok_or(fault)?,
            }
        }
    };
    let said = Said { who: "person".to_owned(), ..Said::default() };
    shown_objection(&console, &form.signed, &id, (said, [outcome, grounds], told), Some(correction)).await
}
