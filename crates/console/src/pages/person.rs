//! A person's history, for officers and auditors. The number is sent in a form, never in an address; who looks says why, has
//! proved lately who they are, and is recorded by the API as having looked.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sharing::{PurposeClass, SubjectIdentifier};

use super::trail::{Answer, Row, rows};
use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, organisation, render, sentence},
    person::Right,
    session::Signed,
};

type Options = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    schemes: Options,
    purposes: Options,
    scheme: String,
    purpose: String,
    case: String,
    found: Option<History>,
}

/// Whom an officer has looked for, and why. Forms carry it sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Chosen {
    scheme: String,
    value: String,
    purpose: String,
    case: String,
}

impl Chosen {
    /// # Errors
    /// The [`Fault`] of a form that does not come from a page of this session's.
    pub(super) fn of(form: &Form) -> Result<Self, Fault> {
        form.signed.open(form.field("person")).ok_or_else(|| {
            Fault::refused(
                StatusCode::BAD_REQUEST,
                "Look the person up again",
                "this form does not say whom it is about, or comes from a session that has ended",
            )
        })
    }

    /// Whom, as the API has it.
    pub(super) fn subject(&self) -> Value {
        json!({ "scheme": self.scheme, "value": self.value })
    }

    /// A request about this person.
    ///
    /// # Errors
    /// The [`Fault`] of an identifier that is none.
    pub(super) fn asking(&self, path: &str, body: &Value) -> Result<Ask<'_>, Fault> {
        let (identifier, purpose) =
            parse(&self.scheme, &self.value, &self.purpose).map_err(|_| Fault::not_found())?;
        Ok(Ask::post(path, body).about(identifier, purpose, &self.case))
    }
}

/// What was found. It does not say whom about.
struct History {
    person: String,
    requests: Vec<Request>,
    events: Vec<Event>,
    looks: Vec<Event>,
    rows: Vec<Row>,
    consents: Vec<Consent>,
    objections: Vec<Objection>,
    more: bool,
    is_officer: bool,
    has_held: bool,
}

#[derive(Deserialize)]
struct Events {
    #[serde(rename = "events")]
    asked: Vec<Event>,
    looks: Vec<Event>,
    more: bool,
}

#[derive(Deserialize)]
struct Event {
    told: Told,
    #[serde(alias = "looked")]
    asked_by: Option<String>,
    visibility: String,
}

#[derive(Deserialize)]
struct Told {
    reference: String,
    in_words: String,
}

#[derive(Deserialize)]
struct Held {
    consents: Vec<Consent>,
    objections: Vec<Objection>,
    rights_requests: Vec<Request>,
}

#[derive(Deserialize)]
struct Request {
    id: String,
    right: String,
    state: String,
    received_at: String,
}

#[derive(Deserialize)]
struct Consent {
    id: String,
    #[serde(rename = "consent_type")]
    kind: String,
    status: String,
    purposes: Vec<String>,
    recipients: Vec<String>,
    given_at: String,
}

#[derive(Deserialize)]
struct Objection {
    id: String,
    kind: String,
    status: String,
    purposes: Vec<String>,
    recorded_at: String,
}

fn may(signed: &Signed) -> Result<(), Fault> {
    if signed.person.may(Right::Review) || signed.person.may(Right::Audit) {
        Ok(())
    } else {
        Err(Fault::forbidden())
    }
}

/// The form.
pub(crate) async fn ask(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    may(&signed)?;
    if let Some(response) = super::step_up(&console, &signed, "/person") {
        return Ok(response);
    }
    let page = page(&console, &signed);
    Ok(render(&page))
}

fn page(console: &Console, signed: &Signed) -> PersonPage {
    let set = console.gateway.policies();
    let local = set.organisations().map(|one| {
        let id = one.id.get_ref();
        (format!("local:{id}"), format!("Reference of {}", one.name))
    });
    let nhs = ("nhs-number".to_owned(), "NHS number".to_owned());
    let purposes = PurposeClass::ALL.into_iter().map(|one| (one.to_string(), sentence(one.as_str())));
    let choose = (String::new(), "Choose one".to_owned());
    PersonPage {
        frame: Frame::of(signed, "A person’s history", "/person"),
        schemes: std::iter::once(nhs).chain(local).collect(),
        purposes: std::iter::once(choose).chain(purposes).collect(),
        scheme: "nhs-number".to_owned(),
        purpose: String::new(),
        case: String::new(),
        found: None,
    }
}

/// What was found.
pub(crate) async fn show(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let signed = &form.signed;
    may(signed)?;
    if let Some(response) = super::step_up_form(&console, &form.signed, "/person") {
        return Ok(response);
    }
    let (scheme, value) = (form.field("scheme"), form.field("value"));
    let (purpose, case) = (form.field("purpose"), form.field("case_reference"));
    let mut page = PersonPage {
        scheme: scheme.to_owned(),
        purpose: purpose.to_owned(),
        case: case.to_owned(),
        ..page(&console, signed)
    };
    let wrong = |text: &str| Some(Correction::of(text));
    let parsed = parse(scheme, value, purpose);
    let correction = match &parsed {
        Err(text) => wrong(text),
        Ok(_) if case.is_empty() => wrong("case_reference: name the piece of work that you look for"),
        Ok(_) => None,
    };
    let (Ok((identifier, purpose)), None) = (parsed, &correction) else {
        page.frame.correction = correction;
        return Ok((StatusCode::BAD_REQUEST, render(&page)).into_response());
    };
    match history(&console, signed, (scheme, value), (identifier, purpose, case)).await {
        Ok(found) => {
            page.found = Some(found);
            Ok(render(&page))
        }
        Err(fault) => match fault.correction() {
            Some(correction) => {
                page.frame.correction = Some(correction);
                Ok((StatusCode::BAD_REQUEST, render(&page)).into_response())
            }
            None => Err(fault),
        },
    }
}

fn parse(scheme: &str, value: &str, purpose: &str) -> Result<(SubjectIdentifier, PurposeClass), String> {
    let scheme = scheme.parse().map_err(|error: sharing::IdentifierError| format!("scheme: {error}"))?;
    let value: String = value.chars().filter(|letter| !letter.is_whitespace()).collect();
    let identifier = SubjectIdentifier::parse(scheme, &value).map_err(|error| format!("value: {error}"))?;
    let purpose = purpose.parse().map_err(|_| "purpose: say what you look for".to_owned())?;
    Ok((identifier, purpose))
}

async fn history(
    console: &Console,
    signed: &Signed,
    (scheme, _): (&str, &str),
    (identifier, purpose, case): (SubjectIdentifier, PurposeClass, &str),
) -> Result<History, Fault> {
    let subject = json!({ "subject": { "scheme": scheme, "value": identifier.as_str() } });
    let ask = |path: &str, body: &Value| Ask::post(path, body).about(identifier.clone(), purpose, case);
    let is_officer = signed.person.may(Right::Review);
    let may_record = signed.person.may(Right::Record);
    let chosen = Chosen {
        scheme: scheme.to_owned(),
        value: identifier.as_str().to_owned(),
        purpose: purpose.to_string(),
        case: case.to_owned(),
    };
    let mut history = History {
        person: if may_record { signed.seal(&chosen)? } else { String::new() },
        requests: Vec::new(),
        events: Vec::new(),
        looks: Vec::new(),
        rows: Vec::new(),
        consents: Vec::new(),
        objections: Vec::new(),
        more: false,
        is_officer,
        has_held: may_record,
    };
    if is_officer {
        let found: Events = console.ask(signed, ask("/v1/subject-access/events", &subject)).await?;
        (history.events, history.looks, history.more) = (found.asked, found.looks, found.more);
    } else {
        let found: Answer = console.ask(signed, ask("/v1/trail/search", &subject)).await?;
        history.rows = rows(&console.gateway.policies(), &found.entries);
        history.more = found.next.is_some();
    }
    if history.has_held {
        let held: Held = console.ask(signed, ask("/v1/consents/search", &subject)).await?;
        (history.consents, history.objections) = (held.consents, held.objections);
        for recipient in history.consents.iter_mut().flat_map(|consent| &mut consent.recipients) {
            *recipient = organisation(console, recipient);
        }
        history.requests = held.rights_requests;
    }
    Ok(history)
}
/// Whether the person is told, in a sentence.
pub(crate) fn told(visibility: impl AsRef<str>) -> &'static str {
    match visibility.as_ref() {
        "visible" => "The person is told of it.",
        "withheld" => "It is kept back from the person for now, on a ground of the law.",
        _ => {
            "The person is not told of it until an officer has decided that (over the API: subject-access/visibility)."
        }
    }
}
