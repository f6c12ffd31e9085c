//! The terms of an agreement as people read them: of a file, or of a version that is managed here; the same as a PDF, and
//! the bytes, which are what is signed.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::Response,
};
use serde_json::Value;
use sharing::agreement::{Agreement, terms::Terms};

use super::{Tab, managed, signatures::office, tabs, terms};
use crate::{
    Console, days,
    desk::Ask,
    fault::Fault,
    page::{self, Frame, organisation, record_holder, render, sentence, words},
    session::Signed,
};

struct Flow {
    name: String,
    facts: Vec<(&'static str, String)>,
    items: Vec<(String, String, String)>,
}

/// An agreement, flow by flow.
#[derive(Template)]
#[template(path = "agreement.html")]
pub(super) struct FilePage {
    frame: Frame,
    id: String,
    state: String,
    pub(super) tabs: Vec<Tab>,
    facts: Vec<(&'static str, String)>,
    parties: Vec<(String, String, String)>,
    flows: Vec<Flow>,
    pub(super) register: Option<String>,
    /// The version that there is a PDF of.
    pdf: Option<u32>,
    may_write: bool,
}

/// The page of an agreement.
pub(super) fn file_page(console: &Console, one: &Agreement, frame: Frame) -> FilePage {
    let set = console.gateway.policies();
    let facts = vec![
        ("Version", one.version.to_string()),
        ("Framework", framework(console, one)),
        ("In effect from", days::in_words(one.effective_on.day())),
        ("Ends", days::in_words(one.ends_on.day())),
        ("Reviewed by", days::in_words(one.review_on.day())),
        ("Owner", one.owner.clone()),
        ("In a breach, tell", one.breach_contact.clone()),
    ];
    let parties = one
        .parties
        .iter()
        .map(|party| {
            let id = party.organisation.get_ref();
            let signatures = party.signatures.iter().map(|signature| {
                format!("{}, {}", office(signature.role.as_str()), page::day(signature.signed_on.to_string()))
            });
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
                    ("From", record_holder(console, flow.provider.get_ref().as_str())),
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
        tabs: Vec::new(),
        facts,
        parties,
        flows,
        register: None,
        pdf: None,
        may_write: false,
    }
}

/// The framework with where it stands, and who of the parties has not joined.
fn framework(console: &Console, one: &Agreement) -> String {
    let (set, now) = (console.gateway.policies(), console.gateway.now());
    let Some(framework) = set.framework_of(one) else { return format!("{} (not registered)", one.framework) };
    let parties = one.parties.iter().map(|party| party.organisation.get_ref());
    let missing = framework.not_joined(parties, now);
    let missing: Vec<_> = missing.iter().map(|party| organisation(console, party.as_str())).collect();
    let missing =
        if missing.is_empty() { String::new() } else { format!("; not joined by {}", missing.join("; ")) };
    format!("{} ({}){missing}", framework.title, words(framework.standing(now).as_str()))
}

/// The terms of a version of an agreement that is managed here, as people read them.
pub(crate) async fn version(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path((id, number)): Path<(String, u32)>,
) -> Result<Response, Fault> {
    let one = managed(&console, &signed, &id).await?;
    let path = format!("/v1/agreements/{}/versions/{number}", crate::pages::segment(&id));
    let kept: Value = console.ask(&signed, Ask::get(path)).await?;
    let kept = Terms::kept(&kept.to_string()).and_then(|terms| terms.agreement());
    let agreement = kept.map_err(|error| Fault::broken(&error))?;
    let title = format!("{}, version {number}", agreement.title);
    let frame = Frame::of(&signed, title, "/agreements").back_to("/agreements", "Agreements");
    let newest = one.newest().filter(|version| version.number == number);
    let fate = one.versions.iter().find(|line| line.number == i64::from(number));
    let state = newest.map(|version| version.state.clone());
    let state = state.or_else(|| fate.and_then(|line| line.fate.clone())).unwrap_or_default();
    let may_write = newest.is_some() && terms::may_write(&one, &signed, "");
    let page = file_page(&console, &agreement, frame);
    Ok(render(&FilePage { tabs: tabs(&one, "versions"), state, pdf: Some(number), may_write, ..page }))
}

/// A version as a PDF.
pub(crate) async fn pdf(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path((id, number)): Path<(String, u32)>,
) -> Result<Response, Fault> {
    let path = format!("/v1/agreements/{}/versions/{number}/document.pdf", crate::pages::segment(&id));
    handed_out(
        console.answer(&signed, Ask::get(path)).await?,
        &format!("{}-{number}.pdf", crate::pages::segment(&id)),
    )
}

/// The bytes that are signed, as a file.
pub(crate) async fn signed_bytes(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path((id, number)): Path<(String, u32)>,
) -> Result<Response, Fault> {
    let path = format!("/v1/agreements/{}/versions/{number}", crate::pages::segment(&id));
    handed_out(
        console.answer(&signed, Ask::get(path)).await?,
        &format!("{}-{number}.json", crate::pages::segment(&id)),
    )
}

fn handed_out(mut response: Response, name: &str) -> Result<Response, Fault> {
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let name = name.map_err(|error| Fault::broken(&error))?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
