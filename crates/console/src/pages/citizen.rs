//! For a resident: who asked about them and why, and what they can choose. Whom it is about comes from how they signed in, and
//! from nothing that they send.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sharing::{PurposeClass, SubjectIdentifier, subject::Shown};

use super::{consenting, said::options};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, render, sentence},
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

/// A complaint or a correction, as the person is told of it.
#[derive(Deserialize)]
struct Request {
    right: String,
    status: String,
    about: Option<String>,
    item: Option<String>,
    text: String,
    answered_by: String,
    received: String,
    acknowledge_due: String,
    answer_due: Option<String>,
    outcome: Option<String>,
    answer: Option<String>,
    reference: String,
}

impl Request {
    /// What comes next, in words.
    fn next(&self) -> String {
        let who = &self.answered_by;
        match (self.status.as_str(), &self.answer_due) {
            ("received", Some(due)) => format!("{who} answers by {due}."),
            ("received", None) => {
                format!("{who} tells you by {} that it has it, and then what it found.", self.acknowledge_due)
            }
            ("acknowledged", Some(due)) => format!("{who} has it, and answers by {due}."),
            ("acknowledged", None) => format!("{who} has it, and answers as soon as it can."),
            _ => format!("{who} has answered."),
        }
    }
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
pub(super) struct Held {
    pub(super) consents: Vec<Consent>,
    objections: Vec<Objection>,
    rights_requests: Vec<Request>,
}

#[derive(Deserialize)]
pub(super) struct Consent {
    status: String,
    purposes: Vec<String>,
    recipients: Vec<String>,
    pub(super) given: String,
    expires: Option<String>,
    /// To what, where it is known.
    #[serde(default)]
    items: Vec<String>,
    /// What was shown, where it is a yes that holds.
    pub(super) shown: Option<Shown>,
    reference: String,
}

impl Consent {
    /// What its items are.
    fn what(&self) -> &'static str {
        match self.status.as_str() {
            "given" | "renewed" => "What they may be told",
            _ => "What you were asked about",
        }
    }
}

#[derive(Deserialize)]
struct Objection {
    kind: String,
    status: String,
    purposes: Vec<String>,
    recorded: String,
    answer_due: String,
    answer: Option<String>,
    reference: String,
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
    asked: Vec<consenting::Asked>,
    kinds: Vec<(String, String)>,
    kind: String,
    purposes: Vec<(String, String)>,
    chosen: Vec<String>,
    grounds: String,
}

#[derive(Template)]
#[template(path = "my_requests.html")]
struct RequestsPage {
    frame: Frame,
    requests: Vec<Request>,
}

#[derive(Template)]
#[template(path = "my_request.html")]
struct RequestPage {
    frame: Frame,
    rights: Vec<(String, String)>,
    right: String,
    about: Option<(String, String)>,
    item: String,
    text: String,
    key: String,
}

const KINDS: [(&str, &str); 2] = [
    ("objection", "Stop it, and tell me within a month whether it stays stopped"),
    ("restriction", "Keep my data and do not use them, because they are wrong or I need them kept"),
];

pub(super) fn own(signed: &Signed) -> Result<SubjectIdentifier, Fault> {
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
    told(console, signed, false).await
}

async fn told(console: &Console, signed: &Signed, held_only: bool) -> Result<Answer, Fault> {
    let own = own(signed)?;
    let body = json!({
        "subject": { "scheme": "nhs-number", "value": own.as_str() },
        "identity_check": "nhs-login-p9",
        "held_only": held_only,
    });
    let ask = Ask::post("/v1/subject-access", &body);
    console.ask(signed, ask.about(own, PurposeClass::SubjectAccess, "own-request")).await
}

/// What is held about the person themselves. No search is in the way of it: whoever wants to take something back can.
pub(super) async fn held(console: &Console, signed: &Signed) -> Result<Held, Fault> {
    Ok(told(console, signed, true).await?.held)
}

/// Who asked, and why.
pub(crate) async fn data(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let answer = answer(&console, &signed).await?;
    Ok(render(&DataPage { frame: Frame::of(&signed, "Who asked about me", "/my-data"), answer }))
}

/// What can be chosen.
pub(crate) async fn choices(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    choices_page(&console, &signed, ("objection", &[], ""), None).await
}

async fn choices_page(
    console: &Console,
    signed: &Signed,
    (kind, chosen, grounds): (&str, &[String], &str),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let held = held(console, signed).await?;
    // Only what an objection stops: saying otherwise would be a promise that nobody keeps.
    let yields = PurposeClass::ALL.into_iter().filter(|purpose| purpose.rules().objection_blocks);
    let purposes = yields.map(|purpose| (purpose.to_string(), sentence(purpose.as_str()))).collect();
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let frame = Frame::of(signed, "My choices", "/my-choices").correcting(correction);
    let page = ChoicesPage {
        frame,
        asked: consenting::all(console, signed, &held)?,
        held,
        kinds: options(&KINDS),
        kind: kind.to_owned(),
        purposes,
        chosen: chosen.to_vec(),
        grounds: grounds.to_owned(),
    };
    Ok((status, render(&page)).into_response())
}

/// An objection, or a restriction.
pub(crate) async fn object(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let (kind, purposes, grounds) = (form.field("kind"), form.all("purposes"), form.field("grounds"));
    let missing = if !KINDS.iter().any(|(code, _)| *code == kind) {
        Some("kind: choose what you want")
    } else if purposes.is_empty() {
        Some("purposes: choose what you object to")
    } else {
        None
    };
    let filled = (kind, purposes, grounds);
    if let Some(missing) = missing {
        return choices_page(&console, &form.signed, filled, Some(Correction::of(missing))).await;
    }
    let body = json!({
        "subject": { "scheme": "nhs-number", "value": own.as_str() },
        "kind": kind,
        "purposes": purposes,
        "grounds": Some(grounds).filter(|grounds| !grounds.is_empty()),
    });
    let ask = Ask::post("/v1/objections", &body).about(own, PurposeClass::SubjectAccess, "own-request");
    match console.attempt::<Value>(&form.signed, ask).await? {
        Ok(_) => Ok(Redirect::to("/my-choices").into_response()),
        Err(correction) => choices_page(&console, &form.signed, filled, Some(correction)).await,
    }
}

/// What the person complained about or wanted corrected, and the answers.
pub(crate) async fn requests(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let held = held(&console, &signed).await?;
    let frame = Frame::of(&signed, "My complaints and corrections", "/my-requests");
    Ok(render(&RequestsPage { frame, requests: held.rights_requests }))
}

/// Which event a new one is about.
#[derive(Deserialize)]
pub(crate) struct About {
    #[serde(default)]
    about: String,
}

/// The form for a new one.
pub(crate) async fn request_form(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Query(of): Query<About>,
) -> Result<Response, Fault> {
    request_page(&console, &signed, ["", &of.about, "", "", ""], None).await
}

async fn request_page(
    console: &Console,
    signed: &Signed,
    [right, about, item, text, key]: [&str; 5],
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let about = if about.is_empty() {
        own(signed)?;
        None
    } else {
        // Only an event that the person is told of: an address says nothing about others.
        let events = answer(console, signed).await?.events;
        let event = events.into_iter().find(|event| event.reference == about).ok_or_else(Fault::not_found)?;
        Some((event.reference, format!("{}, {}", event.organisation, event.when)))
    };
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let frame = Frame::of(signed, "Complain, or have something corrected", "/my-requests")
        .back_to("/my-data", "Who asked about me")
        .correcting(correction);
    let page = RequestPage {
        frame,
        rights: options(&MY_RIGHTS),
        right: right.to_owned(),
        about,
        item: item.to_owned(),
        text: text.to_owned(),
        key: if key.is_empty() { console.key() } else { key.to_owned() },
    };
    Ok((status, render(&page)).into_response())
}

const MY_RIGHTS: [(&str, &str); 2] = [
    ("complaint", "Complain about how my data were shared"),
    ("rectification", "Have something corrected that is wrong"),
];

/// A complaint, or a correction.
pub(crate) async fn request(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let [right, about, item, text, key] =
        ["right", "about", "item", "text", "key"].map(|name| form.field(name));
    let given = |text: &'static str| Some(form.field(text)).filter(|text| !text.is_empty());
    let correction = if MY_RIGHTS.iter().any(|(code, _)| *code == right) {
        let body = json!({
            "subject": { "scheme": "nhs-number", "value": own.as_str() },
            "right": right,
            "decision_id": given("about"),
            "item": if right == "rectification" { given("item") } else { None },
            "text": text,
        });
        let ask = Ask::post("/v1/rights-requests", &body).once(key);
        match console
            .attempt::<Value>(&form.signed, ask.about(own, PurposeClass::SubjectAccess, "own-request"))
            .await?
        {
            Ok(_) => return Ok(Redirect::to("/my-requests").into_response()),
            Err(correction) => correction,
        }
    } else {
        Correction::of("right: choose what you want")
    };
    request_page(&console, &form.signed, [right, about, item, text, key], Some(correction)).await
}

/// An objection taken back: one of the person's own.
pub(crate) async fn take_back(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let wanted = form.field("reference");
    let held = held(&console, &form.signed).await?;
    if !held.objections.iter().any(|objection| objection.reference == wanted) {
        return Err(Fault::not_found());
    }
    let path = format!("/v1/objections/{}/withdraw", super::segment(wanted));
    let ask = Ask::post(path, &json!({})).about(own, PurposeClass::SubjectAccess, "own-request");
    match console.attempt::<Value>(&form.signed, ask).await? {
        Ok(_) => Ok(Redirect::to("/my-choices").into_response()),
        Err(correction) => {
            choices_page(&console, &form.signed, ("objection", &[], ""), Some(correction)).await
        }
    }
}

/// A consent taken back: one of the person's own.
pub(crate) async fn withdraw(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let wanted = form.field("reference");
    let held = held(&console, &form.signed).await?;
    if !held.consents.iter().any(|consent| consent.reference == wanted) {
        return Err(Fault::not_found());
    }
    let path = format!("/v1/consents/{}/withdraw", super::segment(wanted));
    let ask = Ask::post(path, &json!({})).about(own, PurposeClass::SubjectAccess, "own-request");
    console.ask::<Value>(&form.signed, ask).await?;
    Ok(Redirect::to("/my-choices").into_response())
}
