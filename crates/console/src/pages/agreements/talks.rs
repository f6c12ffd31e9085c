//! The negotiation: proposals and answers, what was said of clauses and who has to answer it, and disputes.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sharing::explain;

use super::{
    Managed, Options, Step, Tab, WHY, by, correction, fields, frame, managed, steps_of, tabs, terms_of,
};
use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault, status_of},
    form::Form,
    page::{Frame, organisation, render},
    person::{Person, Right, Role},
    session::Signed,
};

/// Something that was said.
#[derive(Deserialize)]
pub(super) struct Said {
    pub(super) action: String,
    organisation: Option<String>,
    person: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) text: Option<String>,
    pub(super) position: Option<String>,
    pub(super) interest: Option<String>,
    pub(super) terms: Option<Value>,
    pub(super) at: String,
}

impl Said {
    pub(super) fn by(&self) -> String {
        by(self.person.as_deref(), self.organisation.as_deref())
    }

    /// With its organisation's name in place of the code.
    pub(super) fn named(self, console: &Console) -> Self {
        Self { organisation: self.organisation.map(|by| organisation(console, &by)), ..self }
    }

    /// Terms that were put on the table, as text.
    pub(super) fn terms(&self) -> Option<String> {
        serde_json::to_string_pretty(self.terms.as_ref()?).ok()
    }
}

#[derive(Deserialize)]
struct Owner {
    organisation: String,
    person: Option<String>,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    version: u32,
    clause: String,
    state: String,
    blocking: bool,
    owner: Option<Owner>,
    due_on: Option<String>,
    thread: Vec<Said>,
}

impl Comment {
    fn waits_for(&self) -> Option<String> {
        let owner = self.owner.as_ref()?;
        Some(by(owner.person.as_deref(), Some(&owner.organisation)))
    }

    fn named(mut self, console: &Console) -> Self {
        if let Some(owner) = &mut self.owner {
            owner.organisation = organisation(console, &owner.organisation);
        }
        self.thread = self.thread.into_iter().map(|said| said.named(console)).collect();
        self
    }

    fn is_resolved(&self) -> bool {
        self.state == "resolved"
    }
}

#[derive(Deserialize)]
struct Comments {
    comments: Vec<Comment>,
}

#[derive(Deserialize)]
struct Dispute {
    id: String,
    version: u32,
    clause: String,
    state: String,
    level: String,
    due_at: Option<String>,
    between: Vec<String>,
    mediator: Option<String>,
}

impl Dispute {
    fn named(mut self, console: &Console) -> Self {
        for id in self.between.iter_mut().chain(&mut self.mediator) {
            *id = organisation(console, id);
        }
        self
    }
}

#[derive(Deserialize)]
struct Disputes {
    disputes: Vec<Dispute>,
}

/// What somebody wrote in a form that was not taken.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) form: String,
    clause: String,
    text: String,
    position: String,
    interest: String,
    reason: String,
    owner: String,
    owner_person: String,
    due_on: String,
    blocking: bool,
    with: Vec<String>,
}

impl Filled {
    /// What a field says, if this is the form that was not taken.
    fn of(&self, form: &str, field: &str) -> &str {
        if self.form != form {
            return "";
        }
        match field {
            "clause" => &self.clause,
            "text" => &self.text,
            "position" => &self.position,
            "interest" => &self.interest,
            "reason" => &self.reason,
            "owner" => &self.owner,
            "owner_person" => &self.owner_person,
            "due_on" => &self.due_on,
            _ => "",
        }
    }

    fn has(&self, party: &str) -> bool {
        self.with.iter().any(|one| one == party)
    }

    pub(super) fn read(form: &Form, name: &str) -> Self {
        let text = |name: &str| form.field(name).to_owned();
        Self {
            form: name.to_owned(),
            clause: text("clause"),
            text: text("text"),
            position: text("position"),
            interest: text("interest"),
            reason: text("reason"),
            owner: text("owner"),
            owner_person: text("owner_person"),
            due_on: text("due_on"),
            blocking: form.field("blocking") == "1",
            with: form.all("with").to_vec(),
        }
    }

    /// The members of what is said: those that were written.
    fn words(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("text".to_owned(), self.text.clone().into());
        for (name, value) in
            [("position", &self.position), ("interest", &self.interest), ("reason", &self.reason)]
        {
            if !value.is_empty() {
                members.insert(name.to_owned(), value.clone().into());
            }
        }
        members
    }
}

/// A comment as the page shows it.
struct Line {
    comment: Comment,
    clause: String,
}

#[derive(Template)]
#[template(path = "talks.html")]
struct TalksPage {
    frame: Frame,
    tabs: Vec<Tab>,
    one: Managed,
    version: u32,
    steps: Vec<Step>,
    open: Vec<Line>,
    resolved: Vec<Line>,
    disputes: Vec<(Dispute, String)>,
    clauses: Options,
    parties: Options,
    why: Options,
    may_speak: bool,
    may_write: bool,
    may_dispute: bool,
    filled: Filled,
}

/// Steps of a negotiation, beside which everything else is said.
const OF_NEGOTIATION: [&str; 10] = [
    "drafted",
    "revised",
    "variation-begun",
    "proposed",
    "counter-proposed",
    "accepted",
    "declined",
    "agreed-in-principle",
    "withdrawn",
    "advised",
];

pub(super) fn may_speak(person: &Person) -> bool {
    [Right::Draft, Right::Approve, Right::Mediate].into_iter().any(|right| person.may(right))
        || person.roles.contains(&Role::DataProtectionOfficer)
}

/// The page.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    page(&console, &signed, &id, (Filled::default(), None)).await
}

/// Clauses in words, with parties by their names.
pub(super) fn clauses_of(console: &Console, terms: &Value) -> Options {
    let party = |pointer: &str| {
        pointer.starts_with("/parties/").then(|| terms.pointer(&format!("{pointer}/organisation")))?
    };
    let set = console.gateway.policies();
    let item = |pointer: &str| {
        let item = terms.pointer(&format!("{pointer}/item")).and_then(Value::as_str);
        item.filter(|_| pointer.contains("/items/")).map(|item| (item, explain::item(&set, "", item)))
    };
    let named = |(pointer, said): (String, String)| match party(&pointer).and_then(Value::as_str) {
        Some(id) => (pointer, format!("Party {}", organisation(console, id))),
        None => match item(&pointer) {
            Some((code, title)) => (pointer, said.replace(code, &title)),
            None => (pointer, said),
        },
    };
    fields::clauses(terms).into_iter().map(named).collect()
}

pub(super) async fn page(
    console: &Console,
    signed: &Signed,
    id: &str,
    (filled, correction): (Filled, Option<Correction>),
) -> Result<Response, Fault> {
    let one = managed(console, signed, id).await?;
    let path = format!("/v1/agreements/{}", crate::pages::segment(id));
    let mut steps = steps_of(console, signed, id).await?;
    steps.retain(|step| OF_NEGOTIATION.contains(&step.action.as_str()));
    let steps = super::named(console, steps);
    let comments: Comments = console.ask(signed, Ask::get(format!("{path}/comments"))).await?;
    let disputes: Disputes = console.ask(signed, Ask::get(format!("{path}/disputes"))).await?;
    let version = one.latest();
    let clauses = clauses_of(console, &terms_of(console, signed, id, version).await?);
    let named = |of: u32, clause: &str| {
        let found = clauses.iter().filter(|_| of == version).find(|(pointer, _)| pointer == clause);
        match found {
            Some((_, said)) => said.clone(),
            None if clause.is_empty() => "The whole".to_owned(),
            None => clause.to_owned(),
        }
    };
    let line = |comment: Comment| Line {
        clause: named(comment.version, &comment.clause),
        comment: comment.named(console),
    };
    let (resolved, open): (Vec<_>, Vec<_>) = comments.comments.into_iter().partition(Comment::is_resolved);
    let disputes = disputes.disputes.into_iter().map(|dispute| {
        let clause = named(dispute.version, &dispute.clause);
        (dispute.named(console), clause)
    });
    let parties = one.newest().into_iter().flat_map(|version| &version.parties);
    let parties =
        parties.map(|party| (party.organisation.clone(), organisation(console, &party.organisation)));
    let status = status_of(correction.as_ref());
    let is_offered = one.negotiated.as_ref().is_none_or(|version| version.state != "draft");
    let person = &signed.person;
    let page = TalksPage {
        frame: frame(signed, &one, "Negotiation").correcting(correction),
        tabs: tabs(&one, "talks"),
        version,
        steps,
        open: open.into_iter().map(line).collect(),
        resolved: resolved.into_iter().map(line).collect(),
        disputes: disputes.collect(),
        parties: parties.collect(),
        why: super::options(&WHY),
        may_speak: is_offered && may_speak(person),
        may_write: super::terms::may_write(&one, signed, ""),
        may_dispute: is_offered && (person.may(Right::Draft) || person.may(Right::Approve)),
        clauses,
        one,
        filled,
    };
    Ok((status, render(&page)).into_response())
}

const FIELDS: [&str; 8] = ["clause", "text", "position", "interest", "reason", "owner", "due_on", "blocking"];

/// The field of a form that a refusal is about. Forms of one page have fields of one name, so the form's name goes before it.
pub(super) fn at(form: &str, fault: Fault, fields: &[&str]) -> Result<Correction, Fault> {
    let said = correction(fault, fields)?;
    let field = if said.field.is_empty() { String::new() } else { format!("{form}-{}", said.field) };
    Ok(Correction { field, text: said.text })
}

/// Says something of a clause.
pub(crate) async fn comment(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let filled = Filled::read(&form, "comment");
    let Ok(version) = form.field("version").parse::<u32>() else { return Err(Fault::not_found()) };
    let mut body = filled.words();
    body.insert("version".to_owned(), version.into());
    body.insert("clause".to_owned(), filled.clause.clone().into());
    body.insert("blocking".to_owned(), filled.blocking.into());
    if !filled.owner.is_empty() {
        let mut owner = json!({ "organisation": filled.owner });
        if let (Some(members), false) = (owner.as_object_mut(), filled.owner_person.is_empty()) {
            members.insert("person".to_owned(), filled.owner_person.clone().into());
        }
        body.insert("owner".to_owned(), owner);
    }
    if !filled.due_on.is_empty() {
        // What is no day is refused as it stands.
        let due_on = days::read(&filled.due_on).map_or_else(|| filled.due_on.clone(), |day| day.to_string());
        body.insert("due_on".to_owned(), due_on.into());
    }
    let segment = crate::pages::segment(&id);
    let said =
        console.ask::<Comment>(&form.signed, Ask::post(format!("/v1/agreements/{segment}/comments"), &body));
    match said.await {
        Ok(made) => Ok(Redirect::to(&format!("/agreements/{segment}/talks#{}", made.id)).into_response()),
        Err(fault) => {
            // A day that cannot be read is refused by the shape of the request, which does not name it.
            let bad_day = !filled.due_on.is_empty() && days::read(&filled.due_on).is_none();
            let wrong = at("comment", fault, &FIELDS)?;
            let wrong = if bad_day {
                Correction {
                    field: "comment-due_on".to_owned(),
                    text: "A day, such as 18 December 2026 or 2026-12-18".to_owned(),
                }
            } else {
                wrong
            };
            page(&console, &form.signed, &id, (filled, Some(wrong))).await
        }
    }
}

/// Answers a comment, is content with it, or takes it up again.
pub(crate) async fn answer(
    State(console): State<Arc<Console>>,
    Path((id, comment)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Fault> {
    let filled = Filled::read(&form, &comment);
    let step = form.field("step");
    if !["reply", "resolve", "reopen"].contains(&step) {
        return Err(Fault::not_found());
    }
    let body = json!({ "step": step, "text": filled.text });
    let segment = crate::pages::segment;
    let path = format!("/v1/agreements/{}/comments/{}/steps", segment(&id), segment(&comment));
    match console.ask::<Value>(&form.signed, Ask::post(path, &body)).await {
        Ok(_) => {
            let to = format!("/agreements/{}/talks#{}", segment(&id), segment(&comment));
            Ok(Redirect::to(&to).into_response())
        }
        Err(fault) => {
            let wrong = at(&comment, fault, &["text"])?;
            page(&console, &form.signed, &id, (filled, Some(wrong))).await
        }
    }
}
