//! Agreements: those in files and those that are managed here, one of each, and what differs between two versions. What people
//! say of one, write, sign and record has files of its own below.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::ToSpan as _;
use serde::Deserialize;
use serde_json::Value;
use sharing::agreement::{Status, london_day};

use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    page::{Frame, organisation, render},
    person::{Person, Right},
    session::Signed,
};

pub(crate) mod calendar;
pub(crate) mod differences;
pub(crate) mod disputes;
pub(crate) mod document;
mod fields;
pub(crate) mod frameworks;
pub(crate) mod signatures;
pub(crate) mod step;
pub(crate) mod talks;
pub(crate) mod terms;
pub(crate) mod used;

/// As the API has it.
#[derive(Deserialize)]
struct Managed {
    id: String,
    title: String,
    revision: i64,
    state: String,
    convener: String,
    negotiated: Option<Version>,
    in_force: Option<Version>,
    drafted_by: Option<String>,
    stops: Vec<Stop>,
    waits_for_confirmation: Option<String>,
    versions: Vec<VersionLine>,
    moved_at: String,
    /// Steps that the person can take now; none in a list.
    #[serde(default)]
    possible: Vec<String>,
    /// Those that wait for something.
    #[serde(default)]
    not_yet: Vec<NotYet>,
}

/// A step that waits for something.
#[derive(Deserialize)]
struct NotYet {
    step: String,
    advice: String,
}

/// What is switched off.
#[derive(Deserialize)]
pub(in crate::pages) struct Stop {
    scope: Value,
    reason: String,
    by: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Version {
    #[serde(rename = "version")]
    number: u32,
    terms_sha256: String,
    state: String,
    review_on: String,
    parties: Vec<Party>,
}

#[derive(Clone, Deserialize)]
struct Party {
    organisation: String,
    state: String,
    needs: Vec<String>,
    signed: Vec<String>,
    advice: Option<String>,
    succeeded_by: Option<String>,
}

impl Party {
    /// The roles in which somebody signs for it, in words.
    fn roles(&self) -> String {
        self.needs.iter().map(|role| signatures::office(role)).collect::<Vec<_>>().join(", ")
    }
}

impl Version {
    /// Who has left it or declined it, in a sentence; empty where nobody has.
    fn left(&self) -> String {
        let named = |state: &str| {
            let of = self.parties.iter().filter(|party| party.state == state && party.succeeded_by.is_none());
            of.map(|party| party.organisation.as_str()).collect::<Vec<_>>().join(", ")
        };
        let mut said = Vec::new();
        if let Some(names) = Some(named("exited")).filter(|names| !names.is_empty()) {
            said.push(format!("Without {names}: nothing goes to or comes from whoever has left."));
        }
        if let Some(names) = Some(named("declined")).filter(|names| !names.is_empty()) {
            said.push(format!("{names} takes no further part in it."));
        }
        said.join(" ")
    }
}

#[derive(Deserialize)]
struct VersionLine {
    #[serde(rename = "version")]
    number: i64,
    terms_sha256: String,
    organisation: String,
    written_at: String,
    fate: Option<String>,
}

#[derive(Deserialize)]
struct ManagedList {
    agreements: Vec<Managed>,
}

#[derive(Deserialize)]
struct Steps {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    revision: i64,
    version: i64,
    action: String,
    state: String,
    organisation: Option<String>,
    person: Option<String>,
    reason: Option<String>,
    text: Option<String>,
    interest: Option<String>,
    at: String,
}

impl Step {
    fn by(&self) -> String {
        by(self.person.as_deref(), self.organisation.as_deref())
    }
}

/// Steps with organisations' names in place of their codes.
fn named(console: &Console, mut steps: Vec<Step>) -> Vec<Step> {
    for by in steps.iter_mut().filter_map(|step| step.organisation.as_mut()) {
        *by = organisation(console, by);
    }
    steps
}

/// Whose hand it was.
fn by(person: Option<&str>, organisation: Option<&str>) -> String {
    match (person, organisation) {
        (Some(person), Some(organisation)) => format!("{person} of {organisation}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "time alone".to_owned(),
    }
}

impl Managed {
    /// What is negotiated, or else in force.
    fn newest(&self) -> Option<&Version> {
        self.negotiated.as_ref().or(self.in_force.as_ref())
    }

    /// With organisations' names in place of their codes.
    fn named(mut self, console: &Console) -> Self {
        self.convener = organisation(console, &self.convener);
        self.drafted_by = self.drafted_by.map(|by| organisation(console, &by));
        for line in &mut self.versions {
            line.organisation = organisation(console, &line.organisation);
        }
        for version in [&mut self.negotiated, &mut self.in_force].into_iter().flatten() {
            for party in &mut version.parties {
                party.organisation = organisation(console, &party.organisation);
                party.succeeded_by = party.succeeded_by.take().map(|by| organisation(console, &by));
            }
        }
        self
    }

    /// The number of the newest version that there are terms of.
    fn latest(&self) -> u32 {
        let last = self.versions.iter().map(|line| line.number).max().unwrap_or(1);
        self.newest().map_or_else(|| u32::try_from(last).unwrap_or(1), |version| version.number)
    }
}

/// An entry of the navigation between the pages of one agreement.
struct Tab {
    path: String,
    text: &'static str,
    is_here: bool,
}

fn tabs(one: &Managed, here: &str) -> Vec<Tab> {
    let versions = format!("versions/{}", one.latest());
    let all = [
        ("", "Overview", true),
        ("talks", "Negotiation", true),
        (versions.as_str(), "Terms", true),
        ("signatures", "Signatures", true),
        ("impact", "Impact", true),
        ("use", "Use", one.in_force.is_some()),
    ];
    let tab = |(page, text, _): (&str, &'static str, bool)| Tab {
        path: format!(
            "/agreements/{}{}{page}",
            super::segment(&one.id),
            if page.is_empty() { "" } else { "/" }
        ),
        text,
        is_here: page == here || (page.starts_with("versions/") && here == "versions"),
    };
    all.into_iter().filter(|(.., shown)| *shown).map(tab).collect()
}

/// An agreement that is managed here.
async fn managed(console: &Console, signed: &Signed, id: &str) -> Result<Managed, Fault> {
    if signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    console.ask(signed, Ask::get(format!("/v1/agreements/{}", super::segment(id)))).await
}

/// The frame of a page of one agreement.
fn frame(signed: &Signed, one: &Managed, title: &str) -> Frame {
    Frame::of(signed, format!("{title}: {}", one.id), "/agreements").back_to("/agreements", "Agreements")
}

/// The terms of a version, without the name and number that its course adds.
async fn terms_of(console: &Console, signed: &Signed, id: &str, version: u32) -> Result<Value, Fault> {
    let path = format!("/v1/agreements/{}/versions/{version}", super::segment(id));
    let mut terms: Value = console.ask(signed, Ask::get(path)).await?;
    if let Some(members) = terms.as_object_mut() {
        members.remove("id");
        members.remove("version");
    }
    Ok(terms)
}

/// What a step or a form is to be corrected by; anything else is a page of its own. A member that is no field of the form is said
/// of the form as a whole.
fn correction(fault: Fault, fields: &[&str]) -> Result<Correction, Fault> {
    match fault {
        Fault::Refused { status, code, detail, .. }
            if [400, 403, 409].contains(&status.as_u16())
                && !["not-registered-for-this", "not-granted"].contains(&code.as_str()) =>
        {
            let said = Correction::of(&detail);
            if fields.contains(&said.field.as_str()) {
                return Ok(said);
            }
            let text =
                if said.field.is_empty() { said.text } else { format!("{}: {}", said.field, said.text) };
            Ok(Correction { field: String::new(), text })
        }
        other => Err(other),
    }
}

type Options = Vec<(String, String)>;

fn options(of: &[(&str, &str)]) -> Options {
    of.iter().map(|(code, said)| ((*code).to_owned(), (*said).to_owned())).collect()
}

/// Why other terms are wanted, as the API has the codes.
const WHY: [(&str, &str); 12] = [
    ("not-necessary", "The purpose can be met without it"),
    ("less-would-do", "Less data would do"),
    ("not-enough", "The purpose cannot be met with so little"),
    ("no-lawful-basis", "The law does not carry it"),
    ("retention-too-long", "It is kept too long"),
    ("risk-to-people", "It could harm somebody"),
    ("not-practicable", "It cannot be done"),
    ("unclear", "It can be misunderstood"),
    ("review-found", "The review, or a pilot's evaluation, asks for it"),
    ("changed", "The law, the purpose or the parties have changed"),
    ("renewal", "It would end, and goes on"),
    ("other", "Another reason"),
];

/// An agreement in the list.
struct Line {
    id: String,
    title: String,
    state: String,
    parties: String,
    review: String,
    is_late: bool,
}

#[derive(Template)]
#[template(path = "agreements.html")]
struct ListPage {
    frame: Frame,
    sees_frameworks: bool,
    managed: Vec<Line>,
    files: Vec<Line>,
    register: Option<String>,
}

pub(in crate::pages) fn sees_agreements(person: &Person) -> bool {
    [Right::Draft, Right::Approve, Right::Mediate, Right::Sign, Right::Audit]
        .into_iter()
        .any(|right| person.may(right))
}

/// How many agreements in files are due for review within three months, and how many of those are overdue.
pub(super) fn reviews_due(console: &Console) -> (usize, usize) {
    let set = console.gateway.policies();
    let today = london_day(console.gateway.now());
    let soon = today.checked_add(3.months()).unwrap_or(today);
    let live = set.agreements().filter(|one| *one.status.get_ref() == Status::Active);
    let due: Vec<_> = live.map(|one| one.review_on.day()).filter(|day| *day <= soon).collect();
    (due.len(), due.iter().filter(|day| **day < today).count())
}

/// The list.
pub(crate) async fn list(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    let managed = if sees_agreements(&signed.person) {
        let all: ManagedList = console.ask(&signed, Ask::get("/v1/agreements")).await?;
        all.agreements
    } else {
        Vec::new()
    };
    let managed = managed
        .into_iter()
        .map(|one| {
            let version = one.in_force.as_ref().or(one.negotiated.as_ref());
            let parties = version.into_iter().flat_map(|version| &version.parties);
            Line {
                parties: parties
                    .map(|party| organisation(&console, &party.organisation))
                    .collect::<Vec<_>>()
                    .join("; "),
                review: version.map(|version| version.review_on.clone()).unwrap_or_default(),
                is_late: one.state == "overdue",
                title: one.title,
                id: one.id,
                state: one.state,
            }
        })
        .collect();
    let set = console.gateway.policies();
    let today = london_day(console.gateway.now());
    let files = set
        .agreements()
        .filter(|one| one.terms_sha256.is_none())
        .map(|one| Line {
            id: one.id.get_ref().to_string(),
            title: one.title.clone(),
            state: one.status.get_ref().as_str().to_owned(),
            parties: one
                .parties
                .iter()
                .map(|party| organisation(&console, party.organisation.get_ref().as_str()))
                .collect::<Vec<_>>()
                .join("; "),
            review: one.review_on.to_string(),
            is_late: one.review_on.day() < today,
        })
        .collect();
    let register = Some(console.register());
    let sees_frameworks = sees_agreements(&signed.person);
    let frame = Frame::of(&signed, "Agreements", "/agreements");
    Ok(render(&ListPage { frame, sees_frameworks, managed, files, register }))
}

/// One agreement: managed here, or in a file.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    if signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    let back = |title: String| Frame::of(&signed, title, "/agreements").back_to("/agreements", "Agreements");
    let set = console.gateway.policies();
    let in_force = set.agreements().find(|one| one.id.get_ref().as_str() == id);
    if let Some(one) = in_force.filter(|one| one.terms_sha256.is_none()) {
        let mut page = document::file_page(&console, one, back(one.title.clone()));
        // How it is used is for its parties, and for auditors.
        let own = &signed.person.organisation;
        let is_party = one.parties.iter().any(|party| party.organisation.get_ref() == own);
        let sees_all = signed.person.may(Right::Audit) || signed.person.may(Right::Mediate);
        if sees_agreements(&signed.person) && (is_party || sees_all) {
            page.tabs = vec![
                Tab { path: format!("/agreements/{id}"), text: "Terms", is_here: true },
                Tab { path: format!("/agreements/{id}/use"), text: "Use", is_here: false },
            ];
        }
        page.register = Some(console.register());
        return Ok(render(&page));
    }
    step::show(&console, &signed, &id).await
}

/// An agreement's steps, the newest of them where there are very many, the oldest first.
async fn steps_of(console: &Console, signed: &Signed, id: &str) -> Result<Vec<Step>, Fault> {
    let path = format!("/v1/agreements/{}/steps?order=newest", super::segment(id));
    let Steps { mut steps } = console.ask(signed, Ask::get(path)).await?;
    steps.reverse();
    Ok(steps)
}
