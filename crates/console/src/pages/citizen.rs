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
    when: String,
    own: bool,
    reference: String,
    in_words: String,
}

/// Days on which the person looked themselves, the newest first, and how often on each: whoever watches out for others is not to
/// look for them among these.
fn own_days(looks: &[Look]) -> Vec<(String, usize)> {
    let mut days: Vec<(String, usize)> = Vec::new();
    for look in looks.iter().filter(|look| look.own) {
        let day = look.when.split(" at ").next().unwrap_or_default();
        match days.last_mut() {
            Some((last, times)) if last == day => *times += 1,
            _ => days.push((day.to_owned(), 1)),
        }
    }
    days
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
    #[serde(rename = "consent_type")]
    pub(super) of_type: String,
    /// Whether it is a yes now.
    pub(super) holds: bool,
    purposes: Vec<String>,
    recipients: Vec<String>,
    pub(super) given: String,
    expires: Option<String>,
    /// When it was taken back, or ended.
    ended: Option<String>,
    recorded_by: String,
    said: String,
    #[serde(default)]
    data_categories: Vec<String>,
    /// To what, where it is known.
    #[serde(default)]
    items: Vec<String>,
    /// What was shown, where it is a yes that holds.
    pub(super) shown: Option<Shown>,
    reference: String,
}

impl Consent {
    /// It was said, and does not count any more: its time is over, or a later no about the same outweighs it.
    fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "given" | "renewed") && !self.holds
    }

    /// Its state, as a tag has it.
    fn state(&self) -> &str {
        if self.is_over() { "does-not-count-any-more" } else { &self.status }
    }

    /// What kind of consent it is, in words.
    fn kind(&self) -> &'static str {
        match self.of_type.as_str() {
            "confidentiality-consent" => "That what is confidential is shared",
            "gdpr-consent" => "That your data are used for it",
            "consent-to-service" => "To a visit or a service",
            _ => "A wish",
        }
    }

    /// It was taken back or ended, or counts no more.
    fn has_ended(&self) -> bool {
        !self.holds && self.status != "requested"
    }

    /// Who it is about receiving it.
    fn who(&self) -> &'static str {
        if self.has_ended() { "Who it was about" } else { "Who may be told" }
    }

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

impl Objection {
    fn stands(&self) -> bool {
        matches!(self.status.as_str(), "received" | "upheld")
    }

    fn overlaps(&self, other: &Self) -> bool {
        let everything = |one: &Self| one.purposes.iter().any(|purpose| purpose.starts_with("everything"));
        everything(self)
            || everything(other)
            || self.purposes.iter().any(|purpose| other.purposes.contains(purpose))
    }
}

#[derive(Template)]
#[template(path = "my_data.html")]
struct DataPage {
    frame: Frame,
    answer: Answer,
    others: Vec<Look>,
    own_days: Vec<(String, usize)>,
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
    /// What was just done.
    done: Option<&'static str>,
    /// What the form is sent with, so that it objects once.
    key: String,
}

impl ChoicesPage {
    /// Whether another objection that stands is about something of this one's: taking one back leaves that stopped.
    fn is_doubled(&self, one: &Objection) -> bool {
        let others = self.held.objections.iter().filter(|other| other.reference != one.reference);
        one.stands() && others.filter(|other| other.stands()).any(|other| one.overlaps(other))
    }
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
        "identity_check": signed.person.identity_check.as_deref().unwrap_or("sign-in"),
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
    let mut answer = answer(&console, &signed).await?;
    let own_days = own_days(&answer.looks);
    let others = std::mem::take(&mut answer.looks).into_iter().filter(|look| !look.own).collect();
    let frame = Frame::of(&signed, "Who asked about me", "/my-data");
    Ok(render(&DataPage { frame, answer, others, own_days }))
}

/// What can be chosen.
pub(crate) async fn choices(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Query(Done { taken_back }): Query<Done>,
) -> Result<Response, Fault> {
    choices_page(&console, &signed, ("", &[], ""), &taken_back, None).await
}

/// What somebody has just taken back, so that the page says it.
#[derive(Deserialize)]
pub(crate) struct Done {
    #[serde(default, rename = "taken-back")]
    taken_back: String,
}

impl Held {
    /// What the page says of something that was taken back. Of what was not, whoever made the link, nothing.
    fn taken_back(&self, reference: &str) -> Option<&'static str> {
        let consent = self.consents.iter().find(|one| one.reference == reference);
        if consent.is_some_and(|one| one.status == "withdrawn") {
            return Some("You took it back. From now on nothing more is told on it.");
        }
        let objection = self.objections.iter().find(|one| one.reference == reference);
        let said = "You took your objection back. What stands in the list below still counts.";
        objection.filter(|one| one.status == "withdrawn").map(|_| said)
    }
}

async fn choices_page(
    console: &Console,
    signed: &Signed,
    (kind, chosen, grounds): (&str, &[String], &str),
    taken_back: &str,
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let held = held(console, signed).await?;
    let done = held.taken_back(taken_back);
    // Only what an objection stops: saying otherwise would be a promise that nobody keeps.
    let yields = PurposeClass::ALL.into_iter().filter(|purpose| purpose.rules().objection_blocks);
    let purposes = yields.map(|purpose| (purpose.to_string(), sentence(purpose.title()))).collect();
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
        done,
        key: console.key(),
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
        return choices_page(&console, &form.signed, filled, "", Some(Correction::of(missing))).await;
    }
    let body = json!({
        "subject": { "scheme": "nhs-number", "value": own.as_str() },
        "kind": kind,
        "purposes": purposes,
        "grounds": Some(grounds).filter(|grounds| !grounds.is_empty()),
    });
    let ask = Ask::post("/v1/objections", &body).about(own, PurposeClass::SubjectAccess, "own-request");
    match console.attempt::<Value>(&form.signed, ask.good_once(form.field("key"))).await {
        Ok(Ok(_)) => Ok(Redirect::to("/my-choices").into_response()),
        Ok(Err(correction)) => choices_page(&console, &form.signed, filled, "", Some(correction)).await,
        // The same form, sent twice: it is in the list.
        Err(fault) if fault.is_sent_before() => Ok(Redirect::to("/my-choices").into_response()),
        Err(fault) => Err(fault),
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
        Ok(_) => Ok(taken(wanted)),
        Err(correction) => choices_page(&console, &form.signed, ("", &[], ""), "", Some(correction)).await,
    }
}

/// A consent taken back: one of the person's own.
pub(crate) async fn withdraw(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let own = own(&form.signed)?;
    let wanted = form.field("reference");
    let held = held(&console, &form.signed).await?;
    let one =
        held.consents.iter().find(|consent| consent.reference == wanted).ok_or_else(Fault::not_found)?;
    // One yes to a flow can be several consents, where it needs several: it is taken back as it was given.
    let flow =
        |consent: &Consent| consent.shown.as_ref().map(|shown| (shown.agreement.clone(), shown.flow.clone()));
    let of_same =
        |other: &&Consent| other.reference != wanted && flow(one).is_some() && flow(other) == flow(one);
    let others = held.consents.iter().filter(of_same).map(|other| other.reference.as_str());
    // What is taken back already, in another tab or by a second press, is what they want.
    let is_yes = |reference: &str| {
        let found = held.consents.iter().find(|consent| consent.reference == reference);
        found.is_some_and(|consent| matches!(consent.status.as_str(), "given" | "renewed"))
    };
    for reference in std::iter::once(wanted).chain(others).filter(|reference| is_yes(reference)) {
        let path = format!("/v1/consents/{}/withdraw", super::segment(reference));
        let ask = Ask::post(path, &json!({})).about(own.clone(), PurposeClass::SubjectAccess, "own-request");
        match console.ask::<Value>(&form.signed, ask).await {
            Ok(_) => {}
            // Two were on their way at once.
            Err(fault) if fault.correction().is_some() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(taken(wanted))
}

fn taken(reference: &str) -> Response {
    Redirect::to(&format!("/my-choices?taken-back={}", super::segment(reference))).into_response()
}
