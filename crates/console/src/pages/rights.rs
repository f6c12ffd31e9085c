//! Complaints and corrections: what officers have to answer, by when, and what they answer; and recording one for somebody who does
//! not use these pages.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    person::Chosen,
    said::{Said, WasSaid, options},
    wishes::{self, Named},
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{self, Frame, render, sentence, when},
    person::Right,
    session::Signed,
};

type Options = Vec<(String, String)>;

/// What a person can ask for.
pub(super) const RIGHTS: [(&str, &str); 2] = [
    ("complaint", "Complain about how data were shared"),
    ("rectification", "Ask that something wrong be corrected"),
];

/// One, as the API lists it.
#[derive(Deserialize)]
pub(super) struct Listed {
    id: String,
    right: String,
    recorded_by: String,
    pub(super) state: String,
    received_at: String,
    acknowledge_due: String,
    answer_due: Option<String>,
    pub(super) overdue: bool,
    outcome: Option<String>,
}

impl Listed {
    /// What is due next, in words.
    fn due(&self) -> String {
        match (self.state.as_str(), &self.answer_due) {
            ("answered", _) => self.outcome.as_ref().map(sentence).unwrap_or_default(),
            // Both may be due on one day: what the law sets a time for goes first.
            ("received", Some(due)) => format!("Acknowledge it, and answer by {}", when(due)),
            ("received", None) => format!("Acknowledge by {}", when(&self.acknowledge_due)),
            (_, Some(due)) => format!("Answer by {}", when(due)),
            (_, None) => "Answer without undue delay".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct All {
    rights_requests: Vec<Listed>,
}

#[derive(Template)]
#[template(path = "rights_requests.html")]
struct ListPage {
    frame: Frame,
    all: Vec<Listed>,
}

/// One, as the API has it.
#[derive(Deserialize)]
struct One {
    id: String,
    right: String,
    decision_id: Option<String>,
    controller: String,
    recorded_by: String,
    state: String,
    received_at: String,
    acknowledge_due: String,
    answer_due: Option<String>,
    overdue: bool,
    acknowledged_at: Option<String>,
    answered_at: Option<String>,
    answered_by: Option<String>,
    outcome: Option<String>,
    item: Option<String>,
    text: String,
    said: Option<WasSaid>,
    answer: Option<String>,
}

#[derive(Template)]
#[template(path = "rights_request.html")]
struct OnePage<'a> {
    frame: Frame,
    one: One,
    rows: Vec<(&'static str, String)>,
    outcomes: Options,
    outcome: &'a str,
    answer: &'a str,
    remedies: Options,
    told: &'a [String],
    is_mine: bool,
}

#[derive(Template)]
#[template(path = "rights_form.html")]
struct FormPage {
    frame: Frame,
    person: String,
    rights: Options,
    right: String,
    controllers: Options,
    controller: String,
    decision_id: String,
    item: String,
    text: String,
    said: Said,
    key: String,
}

fn may(signed: &Signed) -> Result<(), Fault> {
    if signed.person.may(Right::Review) { Ok(()) } else { Err(Fault::forbidden()) }
}

/// Everything that the organisation has to answer.
pub(super) async fn all(console: &Console, signed: &Signed) -> Result<Vec<Listed>, Fault> {
    let all: All = console.ask(signed, Ask::get("/v1/rights-requests")).await?;
    Ok(all.rights_requests)
}

/// The list.
pub(crate) async fn list(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    may(&signed)?;
    let mut all = all(&console, &signed).await?;
    for one in &mut all {
        one.recorded_by = page::organisation(&console, &one.recorded_by);
    }
    let frame = Frame::of(&signed, "Complaints and corrections", "/rights-requests");
    Ok(render(&ListPage { frame, all }))
}

/// One.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    may(&signed)?;
    shown(&console, &signed, &id, ("", "", &[]), None).await
}

async fn shown(
    console: &Console,
    signed: &Signed,
    id: &str,
    (outcome, answer, told): (&str, &str, &[String]),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let one: One =
        console.ask(signed, Ask::get(format!("/v1/rights-requests/{}", super::segment(id)))).await?;
    let mut rows = Vec::new();
    rows.extend(one.item.clone().map(|item| ("What is wrong", item)));
    rows.push(("What the person says", one.text.clone()));
    rows.extend(one.said.iter().flat_map(WasSaid::rows));
    rows.push(("Told to", page::organisation(console, &one.recorded_by)));
    rows.push(("Answered by", page::organisation(console, &one.controller)));
    rows.push(("Received", when(&one.received_at)));
    match &one.acknowledged_at {
        Some(at) => rows.push(("Acknowledged", when(at))),
        None => rows.push(("Acknowledge by", when(&one.acknowledge_due))),
    }
    match (&one.answered_at, &one.answer_due) {
        (Some(at), _) => rows.push(("Answered", when(at))),
        (None, Some(due)) => rows.push(("Answer by", when(due))),
        (None, None) => rows.push(("Answer", "without undue delay".to_owned())),
    }
    rows.extend(one.answered_by.clone().map(|who| ("By", who)));
    rows.extend(one.outcome.as_ref().map(|found| ("Found", sentence(found))));
    rows.extend(one.answer.clone().map(|answer| ("The answer", answer)));
    let outcomes: &[(&str, &str)] = if one.right == "complaint" {
        &[
            ("upheld", "It is right"),
            ("partly-upheld", "It is right in part"),
            ("not-upheld", "It is not right"),
        ]
    } else {
        &[
            ("corrected", "It was corrected, and whoever received it is told (Article 19)"),
            ("statement-added", "It was not changed; what the person says is kept with it"),
            ("refused", "It is refused"),
        ]
    };
    let status = status_of(correction.as_ref());
    let page = OnePage {
        frame: Frame::of(signed, format!("{} to answer", sentence(&one.right)), "/rights-requests")
            .back_to("/rights-requests", "Complaints and corrections")
            .correcting(correction),
        rows,
        outcomes: options(outcomes),
        outcome,
        answer,
        remedies: options(&[(
            "yes",
            "The person is told that they can complain to the Information Commissioner and go to court",
        )]),
        told,
        is_mine: one.controller == signed.person.organisation.as_str(),
        one,
    };
    Ok((status, render(&page)).into_response())
}

/// The person is told that it was received.
pub(crate) async fn acknowledge(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/rights-requests/{}", super::segment(&id));
    let asking = Ask::post(format!("/v1{here}/acknowledge"), &json!({}));
    match console.attempt::<Value>(&form.signed, asking).await? {
        Ok(_) => Ok(Redirect::to(&here).into_response()),
        Err(correction) => shown(&console, &form.signed, &id, ("", "", &[]), Some(correction)).await,
    }
}

/// The answer.
pub(crate) async fn answer(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/rights-requests/{}", super::segment(&id));
    if let Some(response) = super::step_up_written(&console, &form, &here) {
        return Ok(response);
    }
    let (outcome, answer, told) = (form.field("outcome"), form.field("answer"), form.all("told_of_remedies"));
    let correction = if outcome.is_empty() {
        Correction::of("outcome: say what you found")
    } else {
        let body = json!({ "outcome": outcome, "answer": answer, "told_of_remedies": !told.is_empty() });
        match console.attempt::<Value>(&form.signed, Ask::post(format!("/v1{here}/answer"), &body)).await? {
            Ok(_) => return Ok(Redirect::to(&here).into_response()),
            Err(correction) => correction,
        }
    };
    shown(&console, &form.signed, &id, (outcome, answer, told), Some(correction)).await
}

/// The form for somebody who does not use these pages.
pub(crate) async fn form(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    wishes::may(&form.signed)?;
    if let Some(response) = super::step_up_form(&console, &form.signed, "/person") {
        return Ok(response);
    }
    Chosen::of(&form)?;
    Ok(form_page(&console, &form, Said::by_person(), None))
}

fn form_page(console: &Console, form: &Form, said: Said, correction: Option<Correction>) -> Response {
    let status = status_of(correction.as_ref());
    let frame = Frame::of(&form.signed, "Record a complaint or a correction", "/person");
    let set = console.gateway.policies();
    let controllers = set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone()));
    let anybody = (String::new(), "My organisation, or whoever holds the record".to_owned());
    let key = form.field("key");
    let page = FormPage {
        frame: frame.correcting(correction),
        person: form.field("person").to_owned(),
        rights: options(&RIGHTS),
        right: form.field("right").to_owned(),
        controllers: std::iter::once(anybody).chain(controllers).collect(),
        controller: form.field("controller").to_owned(),
        decision_id: form.field("decision_id").to_owned(),
        item: form.field("item").to_owned(),
        text: form.field("text").to_owned(),
        said,
        key: if key.is_empty() { console.key() } else { key.to_owned() },
    };
    (status, render(&page)).into_response()
}

/// Records it.
pub(crate) async fn record(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    wishes::may(&form.signed)?;
    if let Some(response) = super::step_up_written(&console, &form, "/person") {
        return Ok(response);
    }
    let chosen = Chosen::of(&form)?;
    let said = Said::of(&form);
    let given = |name: &str| Some(form.field(name)).filter(|text| !text.is_empty());
    let right = form.field("right");
    let missing = if RIGHTS.iter().any(|(code, _)| *code == right) {
        said.correction()
    } else {
        Some(Correction::of("right: say which of these it is"))
    };
    let correction = if let Some(correction) = missing {
        correction
    } else {
        let body = json!({
            "subject": chosen.subject(),
            "right": right,
            "decision_id": given("decision_id"),
            "item": given("item"),
            "text": form.field("text"),
            "controller": given("controller"),
            "said": said.to_json(),
        });
        let asking = chosen.asking("/v1/rights-requests", &body)?.once(form.field("key"));
        match console.attempt::<Named>(&form.signed, asking).await? {
            Ok(made) => {
                let place = format!("/rights-requests/{}", super::segment(&made.id));
                return Ok(Redirect::to(&place).into_response());
            }
            Err(correction) => correction,
        }
    };
    Ok(form_page(&console, &form, said, Some(correction)))
}
