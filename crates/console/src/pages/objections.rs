//! Objections, dissent and restrictions of a person, by an officer who records them, answers them, or takes them back for the person.

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
    wishes::{Named, may, organisations, purposes},
};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{self, Frame, render, sentence, when, words},
    session::Signed,
};

type Options = Vec<(String, String)>;

const OBJECTIONS: [(&str, &str); 3] = [
    ("objection", "Object: it is answered within one month, and stops until then (Article 21)"),
    ("dissent", "Dissent from shared records: it is honoured as it is"),
    (
        "restriction",
        "Restrict: keep the data and do not use them, until the person is told otherwise (Article 18)",
    ),
];

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

/// The form for an objection, a dissent or a restriction.
pub(crate) async fn form(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up_form(&console, &form.signed, "/person") {
        return Ok(response);
    }
    Chosen::of(&form)?;
    Ok(form_page(&console, &form, Said::by_person(), None))
}

fn form_page(console: &Console, form: &Form, said: Said, correction: Option<Correction>) -> Response {
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
    (status, render(&page)).into_response()
}

/// Records one.
pub(crate) async fn record(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    may(&form.signed)?;
    if let Some(response) = super::step_up_written(&console, &form, "/person") {
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
    let correction = if let Some(correction) = missing {
        correction
    } else {
        let body = json!({
            "subject": chosen.subject(),
            "kind": kind,
            "purposes": form.all("purposes"),
            "recipients": form.all("recipients"),
            "grounds": Some(form.field("grounds")).filter(|grounds| !grounds.is_empty()),
            "controller": form.field("controller"),
            "said": said.to_json(),
        });
        match console.attempt::<Named>(&form.signed, chosen.asking("/v1/objections", &body)?).await? {
            Ok(made) => {
                return Ok(Redirect::to(&format!("/objections/{}", super::segment(&made.id))).into_response());
            }
            Err(correction) => correction,
        }
    };
    Ok(form_page(&console, &form, said, Some(correction)))
}

/// An objection.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    may(&signed)?;
    let said = Said::by_person();
    shown(&console, &signed, &id, (said, ["", ""], &[]), None).await
}

async fn shown(
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
        remedies: options(&[(
            "yes",
            "The person was told that they can complain to the Information Commissioner and go to court",
        )]),
        said,
        may_answer: open && one.kind != "dissent" && one.controller == mine,
        may_withdraw: one.in_force && one.recorded_by == mine,
        one,
    };
    Ok((status, render(&page)).into_response())
}

/// The person takes it back, or somebody with authority does.
pub(crate) async fn withdraw(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/objections/{}", super::segment(&id));
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
    shown(&console, &form.signed, &id, (said, ["", ""], &[]), Some(correction)).await
}

/// The controller answers.
pub(crate) async fn answer(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    may(&form.signed)?;
    let here = format!("/objections/{}", super::segment(&id));
    if let Some(response) = super::step_up_written(&console, &form, &here) {
        return Ok(response);
    }
    let (outcome, grounds, told) =
        (form.field("outcome"), form.field("grounds"), form.all("told_of_remedies"));
    let body = match outcome {
        "upheld" => Some(json!({ "outcome": "upheld" })),
        "refused" => {
            Some(json!({ "outcome": "refused", "grounds": grounds, "told_of_remedies": !told.is_empty() }))
        }
        _ => None,
    };
    let refuses = outcome == "refused";
    let correction = match body {
        None => Correction::of("outcome: say what the answer is"),
        Some(_) if refuses && !(20..=4_000).contains(&grounds.chars().count()) => {
            Correction::of("grounds: write them in 20 to 4,000 characters")
        }
        Some(_) if refuses && told.is_empty() => {
            Correction::of("told_of_remedies: tell the person of their remedies before you refuse")
        }
        Some(body) => {
            match console
                .attempt::<Value>(&form.signed, Ask::post(format!("/v1{here}/answer"), &body))
                .await?
            {
                Ok(_) => return Ok(Redirect::to(&here).into_response()),
                Err(correction) => correction,
            }
        }
    };
    let said = Said::by_person();
    shown(&console, &form.signed, &id, (said, [outcome, grounds], told), Some(correction)).await
}
