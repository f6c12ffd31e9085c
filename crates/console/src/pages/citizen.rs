//! For a resident: who asked about them and why, and what they can choose. Whom it is about comes from how they signed in, and
//! from nothing that they send.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::{PurposeClass, SubjectIdentifier};

use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, render, words},
    session::Signed,
};

/// What the organisation answers.
#[derive(Deserialize)]
struct Answer {
    organisation: String,
    made_at: String,
    events: Vec<Told>,
    looks: Vec<Look>,
    more: bool,
    held: Held,
    notes: Vec<String>,
    ask_also: Vec<String>,
}

#[derive(Deserialize)]
struct Told {
    when: String,
    organisation: String,
    role: String,
    purpose: String,
    record_holder: String,
    items: Vec<String>,
    outcome: String,
    reference: String,
}

#[derive(Deserialize)]
struct Look {
    reference: String,
    in_words: String,
}

#[derive(Deserialize)]
struct Held {
    consents: Vec<Consent>,
    objections: Vec<Objection>,
}

#[derive(Deserialize)]
struct Consent {
    status: String,
    purposes: Vec<String>,
    recipients: Vec<String>,
    given: String,
    reference: String,
}

#[derive(Deserialize)]
struct Objection {
    status: String,
    purposes: Vec<String>,
    recorded: String,
    answer_due: String,
    answer: Option<String>,
}

#[derive(Template)]
#[template(path = "my_data.html")]
struct DataPage {
    frame: Frame,
    answer: Answer,
}

#[derive(Template)]
#[template(path = "my_choices.html")]
struct ChoicesPage {
    frame: Frame,
    held: Held,
    purposes: Vec<(String, String)>,
    grounds: String,
}

fn own(signed: &Signed) -> Result<SubjectIdentifier, Fault> {
    if !signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    signed.person.identifier().ok_or_else(|| {
        Fault::refused(
            StatusCode::FORBIDDEN,
            "We could not match you",
            "the sign-in service did not tell us your NHS number; sign in with an account that has been checked with your identity",
        )
    })
}

async fn answer(console: &Console, signed: &Signed) -> Result<Answer, Fault> {
    let own = own(signed)?;
    let body = json!({
        "subject": { "scheme": "nhs-number", "value": own.as_str() },
        "identity_check": "nhs-login-p9",
    });
    let ask = Ask::post("/v1/subject-access", &body);
    console.ask(signed, ask.about(own, PurposeClass::SubjectAccess, "own-request")).await
}

/// Who asked, and why.
pub(crate) async fn data(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let answer = answer(&console, &signed).await?;
    Ok(render(&DataPage { frame: Frame::of(&signed, "Who asked about me", "/my-data"), answer }))
}

/// What can be chosen.
pub(crate) async fn choices(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    choices_page(&console, &signed, "", None).await
}

async fn choices_page(
    console: &Console,
    signed: &Signed,
    grounds: &str,
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let answer = answer(console, signed).await?;
    // Only what an objection stops: saying otherwise would be a promise that nobody keeps.
    let yields = PurposeClass::ALL.into_iter().filter(|purpose| purpose.rules().objection_blocks);
    let purposes = yields.map(|purpose| (purpose.to_string(), words(purpose.as_str()))).collect();
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let frame = Frame::of(signed, "My choices", "/my-choices").correcting(correction);
    let page = ChoicesPage { frame, held: answer.held, purposes, grounds: grounds.to_owned() };
    Ok((status, render(&page)).into_response())
}

/// An objection.
pub(crate) async fn object(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let (purposes, grounds) = (form.all("purposes"), form.field("grounds"));
    if purposes.is_empty() {
        let missing = Correction::of("purposes: choose what you object to");
        return choices_page(&console, &form.signed, grounds, Some(missing)).await;
    }
    let body = json!({
        "subject": { "scheme": "nhs-number", "value": own.as_str() },
        "kind": "objection",
        "purposes": purposes,
        "grounds": Some(grounds).filter(|grounds| !grounds.is_empty()),
    });
    let ask = Ask::post("/v1/objections", &body).about(own, PurposeClass::SubjectAccess, "own-request");
    match console.ask::<Value>(&form.signed, ask).await {
        Ok(_) => Ok(Redirect::to("/my-choices").into_response()),
        Err(fault) => match fault.correction() {
            Some(correction) => choices_page(&console, &form.signed, grounds, Some(correction)).await,
            None => Err(fault),
        },
    }
}

/// A consent taken back: one of the person's own.
pub(crate) async fn withdraw(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let wanted = form.field("reference");
    let answer = answer(&console, &form.signed).await?;
    if !answer.held.consents.iter().any(|consent| consent.reference == wanted) {
        return Err(Fault::not_found());
    }
    let path = format!("/v1/consents/{}/withdraw", super::segment(wanted));
    let ask = Ask::post(path, &json!({})).about(own, PurposeClass::SubjectAccess, "own-request");
    console.ask::<Value>(&form.signed, ask).await?;
    Ok(Redirect::to("/my-choices").into_response())
}
