//! Taking entries away: one person asks, another approves, the first downloads.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    kept,
    sure::{self, Question, Said},
};
use crate::{
    Console, days,
    desk::Ask,
    fault::{Correction, Fault},
    form::Form,
    page::{Frame, organisation, render, sentence, when},
    person::Right,
    session::Signed,
};

/// An export, as the API has it.
#[derive(Deserialize)]
struct Export {
    id: String,
    state: String,
    organisation: String,
    requested_by: String,
    format: String,
    selection: Selection,
    purpose: String,
    case_reference: String,
    requested_at: String,
    expires_at: String,
    entries_written: Option<u64>,
    entries: Option<u64>,
    decided_by: Option<String>,
}

/// What its entries are selected by.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Selection {
    organisation: Option<String>,
    agreement: Option<String>,
    kinds: Vec<String>,
    from: Option<String>,
    until: Option<String>,
    people: u64,
    seen_by: Option<String>,
}

impl Selection {
    /// Each in words, as somebody who approves it has to know.
    fn rows(&self, console: &Console) -> Vec<(&'static str, String)> {
        let called = |id: &String| organisation(console, id);
        let mut rows = Vec::new();
        rows.extend(self.organisation.as_ref().map(|id| ("Organisation that it is about", called(id))));
        rows.extend(self.agreement.clone().map(|id| ("Agreement", id)));
        let kinds: Vec<_> = self.kinds.iter().map(sentence).collect();
        rows.extend((!kinds.is_empty()).then(|| ("Kinds of entries", kinds.join("; "))));
        rows.extend(self.from.as_ref().map(|at| ("Entries from", when(at))));
        rows.extend(self.until.as_ref().map(|at| ("Entries up to", days::until(at))));
        rows.extend((self.people > 0).then(|| ("People", format!("{} named by pseudonym", self.people))));
        rows.extend(self.seen_by.as_ref().map(|id| ("What concerns", called(id))));
        if rows.is_empty() {
            rows.push(("Selected", "The whole ledger".to_owned()));
        }
        rows
    }
}

impl Export {
    /// In one line.
    fn in_short(&self, console: &Console) -> String {
        let rows = self.selection.rows(console);
        rows.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join(", ")
    }

    /// Under which name its manifest is downloaded, beside the file.
    fn file_name(&self) -> String {
        let ending = self.format.replace("fhir-audit-event", "fhir.ndjson").replace("ocsf", "ocsf.ndjson");
        format!("{}.{ending}", self.id)
    }
}

#[derive(Deserialize)]
struct Exports {
    exports: Vec<Export>,
}

#[derive(Default, Serialize, Deserialize)]
struct Filled {
    format: String,
    organisation: String,
    agreement: String,
    from: String,
    until: String,
    case_reference: String,
}

type Options = Vec<(String, String)>;

/// The name under which its form is kept while somebody proves who they are.
const KEPT: &str = "exports";

#[derive(Template)]
#[template(path = "exports.html")]
struct ListPage {
    frame: Frame,
    /// Each with what it selects.
    exports: Vec<(Export, String)>,
    formats: Options,
    organisations: Options,
    said: Filled,
}

#[derive(Template)]
#[template(path = "export.html")]
struct ExportPage {
    frame: Frame,
    one: Export,
    selection: Vec<(&'static str, String)>,
    is_mine: bool,
}

/// The list, and the form to ask with.
pub(crate) async fn list(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    let kept = kept::take(&console, &signed, ("words", KEPT)).await?;
    page(&console, &signed, (kept.is_some(), kept.unwrap_or_default()), None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    (was_kept, said): (bool, Filled),
    correction: Option<Correction>,
) -> Result<Response, Fault> {
    let all: Exports = console.ask(signed, Ask::get("/v1/exports")).await?;
    let text = |code: &str, words: &str| (code.to_owned(), words.to_owned());
    let formats = vec![
        text("ndjson", "NDJSON, which verifies by itself"),
        text("csv", "CSV, for a spreadsheet"),
        text("parquet", "Parquet, for analysis"),
        text("fhir-audit-event", "FHIR AuditEvents"),
        text("ocsf", "OCSF, for a security monitor"),
    ];
    let set = console.gateway.policies();
    let organisations = set.organisations().map(|one| (one.id.get_ref().to_string(), one.name.clone()));
    let status = if correction.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = ListPage {
        frame: Frame::of(signed, "Exports", "/exports").correcting(correction).keeping(was_kept),
        exports: all
            .exports
            .into_iter()
            .map(|one| Export { organisation: organisation(console, &one.organisation), ..one })
            .map(|one| {
                let selected = one.in_short(console);
                (one, selected)
            })
            .collect(),
        formats,
        organisations: std::iter::once(text("", "Any")).chain(organisations).collect(),
        said,
    };
    Ok((status, render(&page)).into_response())
}

/// Asks for one.
pub(crate) async fn request(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    let person = &form.signed.person;
    if !person.may(Right::Review) && !person.may(Right::Audit) {
        return Err(Fault::forbidden());
    }
    let text = |name: &str| form.field(name).to_owned();
    let said = Filled {
        format: text("format"),
        organisation: text("organisation"),
        agreement: text("agreement"),
        from: text("from"),
        until: text("until"),
        case_reference: text("case_reference"),
    };
    if let Some(response) = kept::step_up_form(&console, &form.signed, "/exports", (KEPT, &said)).await? {
        return Ok(response);
    }
    if said.case_reference.parse::<sharing::CaseReference>().is_err() {
        let wrong =
            "case_reference: name the piece of work: letters, digits and hyphens, and nobody's number";
        return page(&console, &form.signed, (false, said), Some(Correction::of(wrong))).await;
    }
    let mut body = Map::new();
    let members =
        [("format", &said.format), ("organisation", &said.organisation), ("agreement", &said.agreement)];
    for (name, value) in members {
        body.insert(name.to_owned(), value.clone().into());
    }
    for (name, value) in [("from", said.from.clone()), ("until", said.until.clone())] {
        if value.is_empty() {
            continue;
        }
        let Some(day) = days::read(&value) else {
            let wrong = Correction::of(&format!("{name}: {}", days::SUCH_AS));
            return page(&console, &form.signed, (false, said), Some(wrong)).await;
        };
        body.insert(name.to_owned(), days::beginning(day).to_string().into());
    }
    body.retain(|_, value| value.as_str() != Some(""));
    let ask = Ask::post("/v1/exports", &body).in_case(&said.case_reference);
    match console.attempt::<Export>(&form.signed, ask).await? {
        Ok(made) => Ok(Redirect::to(&format!("/exports/{}", made.id)).into_response()),
        Err(correction) => page(&console, &form.signed, (false, said), Some(correction)).await,
    }
}

/// One export.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let path = format!("/v1/exports/{}", super::segment(&id));
    let one: Export = console.ask(&signed, Ask::get(path)).await?;
    let frame = Frame::of(&signed, format!("Export {}", one.id), "/exports").back_to("/exports", "Exports");
    let is_mine =
        one.requested_by == signed.person.id && one.organisation == signed.person.organisation.as_str();
    let one = Export { organisation: organisation(&console, &one.organisation), ..one };
    let selection = one.selection.rows(&console);
    Ok(render(&ExportPage { frame, one, selection, is_mine }))
}

async fn decide(console: &Console, form: &Form, id: &str, what: &str) -> Result<Response, Fault> {
    let page = format!("/exports/{}", super::segment(id));
    if let Some(response) = super::step_up_form(console, &form.signed, &page) {
        return Ok(response);
    }
    let (title, becomes) = if what == "approve" {
        (
            "Approve the export",
            "Whoever asked for it can download the file as soon as it is written. A file that has been downloaded cannot be taken back.",
        )
    } else {
        ("Refuse the export", "It is not written. Whoever asked for it has to ask again.")
    };
    let one: Export =
        console.ask(&form.signed, Ask::get(format!("/v1/exports/{}", super::segment(id)))).await?;
    let person = &form.signed.person;
    let is_mine = one.requested_by == person.id && one.organisation == person.organisation.as_str();
    // What cannot be done is refused, and not asked about.
    if one.state == "requested" && !is_mine {
        let mut words =
            vec![("Asked by", format!("{}, {}", one.requested_by, organisation(console, &one.organisation)))];
        words.extend(one.selection.rows(console));
        words.extend([
            ("Format", one.format.clone()),
            ("Purpose", sentence(&one.purpose)),
            ("Case", one.case_reference.clone()),
        ]);
        match sure::ask(form, &Question { title, about: id, becomes, said: words }) {
            Said::Yes => {}
            Said::No => return Ok(Redirect::to(&page).into_response()),
            Said::Asked(page) => return Ok(page),
        }
    }
    let path = format!("/v1/exports/{}/{what}", super::segment(id));
    console.ask::<Value>(&form.signed, Ask::post(path, &json!({}))).await?;
    Ok(Redirect::to(&page).into_response())
}

/// Approves somebody else's.
pub(crate) async fn approve(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    decide(&console, &form, &id, "approve").await
}

/// Refuses somebody else's.
pub(crate) async fn refuse(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Fault> {
    decide(&console, &form, &id, "refuse").await
}

/// The file, once it is ready, for whoever asked for it.
pub(crate) async fn file(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let page = format!("/exports/{}", super::segment(&id));
    if let Some(response) = super::step_up(&console, &signed, &page) {
        return Ok(response);
    }
    console.answer(&signed, Ask::get(format!("/v1/exports/{}/file", super::segment(&id)))).await
}

/// Its manifest.
pub(crate) async fn manifest(
    State(console): State<Arc<Console>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    console.answer(&signed, Ask::get(format!("/v1/exports/{}/manifest", super::segment(&id)))).await
}
