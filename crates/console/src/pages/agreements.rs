//! Agreements: those in files and those that are managed here, one of each, and what differs between two versions.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::ToSpan as _;
use serde::Deserialize;
use serde_json::Value;
use sharing::agreement::{Agreement, Status, london_day};

use crate::{
    Console,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, organisation, render, sentence, words},
    person::{Person, Right},
    session::Signed,
};

/// As the API has it.
#[derive(Deserialize)]
struct Managed {
    id: String,
    revision: i64,
    state: String,
    convener: String,
    negotiated: Option<Version>,
    in_force: Option<Version>,
    stops: Vec<Value>,
    waits_for_confirmation: Option<String>,
    versions: Vec<VersionLine>,
    moved_at: String,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "version")]
    number: u32,
    state: String,
    review_on: String,
    parties: Vec<Party>,
}

#[derive(Deserialize)]
struct Party {
    organisation: String,
    state: String,
    needs: Vec<String>,
    signed: Vec<String>,
    advice: Option<String>,
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
    version: i64,
    action: String,
    state: String,
    organisation: Option<String>,
    person: Option<String>,
    reason: Option<String>,
    text: Option<String>,
    at: String,
}

#[derive(Deserialize)]
struct Differences {
    differences: Vec<Difference>,
}

#[derive(Deserialize)]
struct Difference {
    place: String,
    direction: String,
    from: Option<Value>,
    to: Option<Value>,
}

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
    managed: Vec<Line>,
    files: Vec<Line>,
}

struct Flow {
    name: String,
    facts: Vec<(&'static str, String)>,
    items: Vec<(String, String, String)>,
}

#[derive(Template)]
#[template(path = "agreement.html")]
struct FilePage {
    frame: Frame,
    id: String,
    state: String,
    facts: Vec<(&'static str, String)>,
    parties: Vec<(String, String, String)>,
    flows: Vec<Flow>,
}

#[derive(Template)]
#[template(path = "managed.html")]
struct ManagedPage<'a> {
    frame: Frame,
    one: Managed,
    steps: Vec<Step>,
    may_act: bool,
    possible: Vec<(String, String)>,
    reasons: Vec<(String, String)>,
    reason: &'static str,
    step: &'a str,
    text: &'a str,
}

/// Why an agreement is switched off.
const REASONS: [(&str, &str); 6] = [
    ("breach", "A breach, or the fear of one"),
    ("lawful-basis", "The law on which it rests is in doubt"),
    ("data-quality", "What leaves is wrong or stale"),
    ("obligations-not-kept", "The recipient does not do what it took on"),
    ("regulator", "A supervisory authority or a court asks for it"),
    ("security", "A system is not safe to be used"),
];

/// Steps that need no more than a few words. Terms are written, and signatures made, with programs: docs/agreements.md.
const STEPS: [(&str, &str, bool); 12] = [
    ("review", "We are looking at it", false),
    ("accept", "We agree in principle", false),
    ("decline", "We leave the negotiation", true),
    ("propose", "Put the draft to the parties", true),
    ("withdraw", "Take the proposal back", true),
    ("assure", "It is in order", true),
    ("open-signing", "Ask the parties to sign", false),
    ("activate", "Ask for it to be put in force", false),
    ("confirm", "Confirm what a colleague asked for", false),
    ("suspend", "Switch all of it off, at once", true),
    ("resume", "Switch it on again", true),
    ("terminate", "Ask for it to be ended", true),
];

#[derive(Template)]
#[template(path = "diff.html")]
struct DiffPage {
    frame: Frame,
    differences: Vec<(Difference, String, String)>,
}

fn sees_agreements(person: &Person) -> bool {
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
                parties: parties.map(|party| party.organisation.clone()).collect::<Vec<_>>().join(", "),
                review: version.map(|version| version.review_on.clone()).unwrap_or_default(),
                is_late: one.state == "overdue",
                title: one.id.clone(),
                id: one.id,
                state: one.state,
            }
        })
        .collect();
    let set = console.gateway.policies();
    let today = london_day(console.gateway.now());
    let files = set
        .agreements()
        .map(|one| Line {
            id: one.id.get_ref().to_string(),
            title: one.title.clone(),
            state: one.status.get_ref().as_str().to_owned(),
            parties: one
                .parties
                .iter()
                .map(|party| party.organisation.get_ref().to_string())
                .collect::<Vec<_>>()
                .join(", "),
            review: one.review_on.to_string(),
            is_late: one.review_on.day() < today,
        })
        .collect();
    Ok(render(&ListPage { frame: Frame::of(&signed, "Agreements", "/agreements"), managed, files }))
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
    let managed = set.agreements().find(|one| one.id.get_ref().as_str() == id);
    if let Some(one) = managed.filter(|one| one.terms_sha256.is_none()) {
        return Ok(render(&file_page(&console, one, back(one.title.clone()))));
    }
    managed_page(&console, &signed, &id, None, ("", "")).await
}

async fn managed_page(
    console: &Console,
    signed: &Signed,
    id: &str,
    correction: Option<Correction>,
    (step, text): (&str, &str),
) -> Result<Response, Fault> {
    let path = format!("/v1/agreements/{}", super::segment(id));
    let one: Managed = console.ask(signed, Ask::get(&path)).await?;
    let steps: Steps = console.ask(signed, Ask::get(format!("{path}/steps"))).await?;
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let acts = [Right::Draft, Right::Approve, Right::Mediate];
    let page = ManagedPage {
        frame: Frame::of(signed, one.id.clone(), "/agreements")
            .back_to("/agreements", "Agreements")
            .correcting(correction),
        may_act: acts.into_iter().any(|right| signed.person.may(right)),
        possible: STEPS.into_iter().map(|(code, said, _)| (code.to_owned(), said.to_owned())).collect(),
        reasons: REASONS.into_iter().map(|(code, said)| (code.to_owned(), said.to_owned())).collect(),
        reason: "",
        steps: steps.steps,
        one,
        step,
        text,
    };
    Ok((status, render(&page)).into_response())
}

/// Takes a step. Whether it is possible, and for whom, the API says.
pub(crate) async fn act(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    let page = format!("/agreements/{}", super::segment(&id));
    if let Some(response) = super::step_up(&console, &form.signed, &page) {
        return Ok(response);
    }
    let (step, text) = (form.field("step"), form.field("text"));
    let again = |correction| managed_page(&console, &form.signed, &id, Some(correction), (step, text));
    let Some((_, _, needs_text)) = STEPS.into_iter().find(|(code, ..)| *code == step) else {
        return again(Correction::of("step: choose a step")).await;
    };
    let Ok(revision) = form.field("revision").parse() else { return Err(Fault::not_found()) };
    let mut body = serde_json::json!({ "step": step });
    if let (true, Some(members)) = (needs_text, body.as_object_mut()) {
        members.insert("text".to_owned(), text.into());
        if matches!(step, "suspend" | "resume") {
            members.insert("scope".to_owned(), "agreement".into());
        }
        if step == "suspend" {
            members.insert("reason".to_owned(), form.field("reason").into());
        }
    }
    let path = format!("/v1{page}/steps");
    match console.ask::<Value>(&form.signed, Ask::post(path, &body).made_to(revision)).await {
        Ok(_) => Ok(Redirect::to(&page).into_response()),
        Err(Fault::Refused { status, detail, .. }) if [400, 403, 409, 412].contains(&status.as_u16()) => {
            let at = Correction::of(&detail);
            let field = if at.is_at("text") { "text" } else { "step" };
            again(Correction { field: field.to_owned(), text: at.text }).await
        }
        Err(fault) => Err(fault),
    }
}

fn file_page(console: &Console, one: &Agreement, frame: Frame) -> FilePage {
    let set = console.gateway.policies();
    let facts = vec![
        ("Version", one.version.to_string()),
        ("Framework", one.framework.clone()),
        ("In effect from", one.effective_on.to_string()),
        ("Ends", one.ends_on.to_string()),
        ("Reviewed by", one.review_on.to_string()),
        ("Owner", one.owner.clone()),
        ("In a breach, tell", one.breach_contact.clone()),
    ];
    let parties = one
        .parties
        .iter()
        .map(|party| {
            let id = party.organisation.get_ref();
            let signatures = party
                .signatures
                .iter()
                .map(|signature| format!("{}, {}", signature.role.as_str(), signature.signed_on));
            (organisation(console, id.as_str()), id.to_string(), signatures.collect::<Vec<_>>().join("; "))
        })
        .collect();
    let flows = one
        .flows
        .iter()
        .map(|flow| {
            let provider = set.provider(flow.provider.get_ref());
            let title = |item: &sharing::identifier::ItemId| {
                provider
                    .and_then(|provider| provider.item(item))
                    .map_or_else(|| item.to_string(), |item| item.title.clone())
            };
            let ceiling =
                flow.releases_per_day_max.map_or_else(|| "none".to_owned(), |most| format!("{most} a day"));
            Flow {
                name: flow.id.get_ref().to_string(),
                facts: vec![
                    ("From", flow.provider.get_ref().to_string()),
                    ("To", organisation(console, flow.recipient.get_ref().as_str())),
                    ("Purpose", sentence(flow.purpose.as_str())),
                    ("Roles", flow.roles.iter().map(words).collect::<Vec<_>>().join(", ")),
                    ("Deleted after", format!("{} days", flow.obligations.retain_days)),
                    ("Ceiling", ceiling),
                    ("State", if flow.suspended { "switched off" } else { "on" }.to_owned()),
                ],
                items: flow
                    .items
                    .iter()
                    .map(|item| {
                        (title(item.item.get_ref()), words(item.form.to_string()), item.justification.clone())
                    })
                    .collect(),
            }
        })
        .collect();
    FilePage {
        frame,
        id: one.id.get_ref().to_string(),
        state: one.status.get_ref().as_str().to_owned(),
        facts,
        parties,
        flows,
    }
}

/// Two versions.
#[derive(Deserialize)]
pub(crate) struct Between {
    from: Option<u32>,
    to: Option<u32>,
}

/// What differs between two versions.
pub(crate) async fn differences(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
    Query(between): Query<Between>,
) -> Result<Response, Fault> {
    let Between { from: Some(from), to: Some(to) } = between else {
        return Ok(Redirect::to(&format!("/agreements/{}", super::segment(&id))).into_response());
    };
    let path = format!("/v1/agreements/{}/diff?from={from}&to={to}", super::segment(&id));
    let found: Differences = console.ask(&signed, Ask::get(path)).await?;
    let said = |value: &Option<Value>| match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let differences = found
        .differences
        .into_iter()
        .map(|one| {
            let (from, to) = (said(&one.from), said(&one.to));
            (one, from, to)
        })
        .collect();
    let frame = Frame::of(&signed, format!("{id}: version {from} and version {to}"), "/agreements")
        .back_to(format!("/agreements/{}", super::segment(&id)), "The agreement");
    Ok(render(&DiffPage { frame, differences }))
}
