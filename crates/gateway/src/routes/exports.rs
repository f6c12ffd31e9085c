//! Taking entries away, which needs two people: an auditor or a privacy officer asks, another named person approves, and
//! the first downloads it before its time is over. Every step is an entry.
//!
//! The file is written beside the requests ([`crate::exporting::asked`]). Auditors take what they ask for; privacy
//! officers only what they may see of their own organisation, whatever they ask for.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::{entry::Body, tree::hexadecimal};
use serde::{Deserialize, Serialize};
use store::{Change, ExportMove, ExportRow};
use tower_http::services::ServeFile;
use utoipa::ToSchema;

use super::{
    alerts::time,
    consents::{commit, instant, respond},
    disclosures::check_context,
    subject::Subject,
    trail::names_of,
};
use crate::{
    app::App,
    caller::{Action, Capability, Named},
    edge::{Received, receive_any, request_id},
    exporting::{self, Filter, asked},
    fault::{inconsistent, internal},
    problem::{Problem, Refusal},
    receipt::Receipt,
};

/// How long a request waits for a second person.
const WAIT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long an approved export may take to be written.
const APPROVED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Most kinds in a filter.
const KINDS_MAX: usize = 100;

/// What to take away. Each member narrows; leave out what does not matter. The purpose and the case are those of the signed
/// context.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// `ndjson`, `csv`, `parquet`, `fhir-audit-event` or `ocsf`. Only NDJSON can be of less than everything: it proves what
    /// it leaves out.
    #[schema(example = "ndjson")]
    format: String,
    /// A person, under every name that the ledger has for them.
    subject: Option<Subject>,
    /// An organisation that acted, asked or received.
    organisation: Option<String>,
    /// An agreement.
    agreement: Option<String>,
    /// Kinds of entries.
    #[serde(default)]
    kinds: Vec<String>,
    /// From this time on.
    from: Option<String>,
    /// Before this time.
    until: Option<String>,
}

/// An export.
#[derive(Serialize, ToSchema)]
pub struct ExportBody {
    /// Its identifier.
    id: String,
    /// `requested`, `approved` (it is being written), `refused`, `ready`, `failed` or `expired`.
    state: String,
    /// The organisation that asked.
    organisation: String,
    /// Who asked.
    requested_by: String,
    /// The format.
    format: String,
    /// By what its entries are selected; never whom.
    selected_by: Vec<String>,
    /// What they are selected by, so that whoever approves it knows.
    selection: SelectionBody,
    /// For what.
    purpose: String,
    /// The case.
    case_reference: String,
    /// When it was asked for.
    requested_at: String,
    /// First instant at which it can neither be approved nor downloaded any more.
    expires_at: String,
    /// While it is being written: how many entries were.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_written: Option<u64>,
    /// While it is being written: of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    /// Who approved or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// What an export selects; nothing of it is everything.
#[derive(Serialize, ToSchema)]
pub struct SelectionBody {
    /// What has to do with this organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    /// What was decided under this agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<String>,
    /// Entries of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<String>,
    /// From this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// About so many people, or rather names of people; 0 is about anybody.
    people: u64,
    /// What this organisation's privacy officers see.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_by: Option<String>,
}

/// Exports.
#[derive(Serialize, ToSchema)]
pub struct ExportsBody {
    /// At most 200, the newest first.
    exports: Vec<ExportBody>,
}

/// Ask to take entries away. Somebody else has to approve it.
#[utoipa::path(post, path = "/v1/exports", tag = "audit", request_body = ExportRequest,
    responses((status = 201, description = "It waits for a second person", body = ExportBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn request(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/exports";
        let mut received = receive(&app, request).await?;
        let who = person(&app, &received, route).await?;
        let asked = received.json::<ExportRequest>(app.limits.body_bytes_max).await;
        let filter = match asked {
            Ok(asked) => filter_of(&app, &received, &asked).await?.map(|filter| (asked.format, filter)),
            Err(problem) => Err(problem),
        };
        let (format, filter) = match filter {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let now = app.clock.now();
        let text = serde_json::to_string(&filter).map_err(|error| Refusal::from(internal(&error)))?;
        let row = ExportRow {
            id: format!("exp_{:032x}", app.entropy.bits()),
            organisation: received.caller.organisation.to_string(),
            requested_by: who,
            format: format.clone(),
            filter: text.clone(),
            purpose: received.context.purpose.to_string(),
            case_reference: received.context.case_reference.as_str().to_owned(),
            state: "requested".to_owned(),
            requested_us: now.as_microsecond(),
            expires_us: after(now, WAIT),
            decider_organisation: None,
            decided_by: None,
            manifest: None,
        };
        let entry = Body::ExportRequested {
            export_id: row.id.clone(),
            format,
            selected_by: filter.selects_by().into_iter().map(str::to_owned).collect(),
            filter_sha256: digest(text.as_bytes()),
            subjects: filter.subjects,
            purpose: row.purpose.clone(),
            case_reference: row.case_reference.clone(),
            by: received.caller.actor(),
        };
        let committed =
            commit(&app, &received, entry, vec![Change::OpenExport(Box::new(row.clone()))]).await?;
        let receipt = Receipt::of(&row.id, &committed);
        Ok((StatusCode::CREATED, Json(body(&app, &row, Some(receipt)))).into_response())
    })
    .await
}

/// List the exports that you may decide on or take.
#[utoipa::path(get, path = "/v1/exports", tag = "audit",
    responses((status = 200, description = "The exports", body = ExportsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        read(&app, &received, "exports").await?;
        let of = (!received.caller.may(Capability::Audit)).then_some(&received.caller.organisation);
        let rows = app.store.exports(of).await.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(Json(ExportsBody { exports: rows.iter().map(|row| body(&app, row, None)).collect() })
            .into_response())
    })
    .await
}

/// Approve somebody else's export. It is written then, and can be downloaded for 24 hours.
#[utoipa::path(post, path = "/v1/exports/{id}/approve", tag = "audit", params(("id" = String, Path, description = "The export")),
    responses((status = 200, description = "Approved", body = ExportBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "It is your own"), (status = 404, description = "There is none"), (status = 409, description = "It does not wait any more")))]
pub async fn approve(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        decide(&app, request, &id, "/v1/exports/{id}/approve", "approved").await
    })
    .await
}

/// Refuse somebody else's export.
#[utoipa::path(post, path = "/v1/exports/{id}/refuse", tag = "audit", params(("id" = String, Path, description = "The export")),
    responses((status = 200, description = "Refused", body = ExportBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "It is your own"), (status = 404, description = "There is none"), (status = 409, description = "It does not wait any more")))]
pub async fn refuse(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        decide(&app, request, &id, "/v1/exports/{id}/refuse", "refused").await
    })
    .await
}

/// See one export, and how far it is.
#[utoipa::path(get, path = "/v1/exports/{id}", tag = "audit", params(("id" = String, Path, description = "The export")),
    responses((status = 200, description = "The export", body = ExportBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none")))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, "/v1/exports/{id}").await?;
        read(&app, &received, &row.id).await?;
        Ok(Json(body(&app, &row, None)).into_response())
    })
    .await
}

/// Download an export that is ready. Only who asked for it, within 24 hours; a download that broke off is gone on with
/// (RFC 9110, `Range`).
#[utoipa::path(get, path = "/v1/exports/{id}/file", tag = "audit", params(("id" = String, Path, description = "The export")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream"), (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Somebody else asked for it"), (status = 404, description = "There is none"),
        (status = 409, description = "It is not ready, or its time is over"), (status = 416, description = "There is no such part")))]
pub async fn file(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/exports/{id}/file";
        let mut part = Request::new(axum::body::Body::empty());
        for name in [header::RANGE, header::IF_RANGE] {
            if let Some(value) = request.headers().get(&name) {
                part.headers_mut().insert(name, value.clone());
            }
        }
        let received = receive(&app, request).await?;
        let who = person(&app, &received, route).await?;
        let row = found(&app, &received, &id, route).await?;
        let own = row.requested_by == who && row.organisation == received.caller.organisation.as_str();
        let problem = match row.state.as_str() {
            _ if !own => Some(Problem::NotAllowed("whoever asked for an export downloads it")),
            "ready" if row.expires_us > app.clock.now().as_microsecond() => None,
            "ready" | "expired" => Some(Problem::WrongState("its time is over; ask again")),
            "requested" => Some(Problem::WrongState("nobody else has approved it yet")),
            "approved" => Some(Problem::WrongState("it is still being written; ask again in a while")),
            "refused" => Some(Problem::WrongState("it was refused")),
            _ => Some(Problem::WrongState("it could not be written; ask the operator, and ask again")),
        };
        if let Some(problem) = problem {
            return Err(received.refuse(&app, problem, route).await);
        }
        let from =
            part.headers().get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(first_byte);
        let entry = Body::ExportMoved {
            export_id: row.id.clone(),
            action: "downloaded".to_owned(),
            until: None,
            file_sha256: None,
            from_byte: from,
            by: Some(received.caller.actor()),
        };
        commit(&app, &received, entry, Vec::new()).await?;
        let path = app.exports.file(&row.id);
        let served = ServeFile::new(&path).try_call(part).await;
        let mut answer = served.map_err(|error| Refusal::from(internal(&error)))?.map(axum::body::Body::new);
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(Refusal::from(inconsistent(&"an export's file is gone")));
        }
        let disposition = format!("attachment; filename=\"{}\"", file_name(&row));
        let binary = header::HeaderValue::from_static("application/octet-stream");
        answer.headers_mut().insert(header::CONTENT_TYPE, binary);
        answer.headers_mut().insert(
            header::CONTENT_DISPOSITION,
            disposition.parse().map_err(|error| Refusal::from(internal(&error)))?,
        );
        Ok(answer)
    })
    .await
}

/// Under which name an export is saved.
fn file_name(row: &ExportRow) -> String {
    let ending = row.format.replace("fhir-audit-event", "fhir.ndjson").replace("ocsf", "ocsf.ndjson");
    format!("{}.{ending}", row.id)
}

/// The first byte of a range; none where it is of another kind.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

/// The manifest of an export that is ready: what `concordat-verify` needs beside the file, as `<file>.manifest.json`.
#[utoipa::path(get, path = "/v1/exports/{id}/manifest", tag = "audit", params(("id" = String, Path, description = "The export")),
    responses((status = 200, description = "The manifest", content_type = "application/json"), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none"), (status = 409, description = "It was not written yet")))]
pub async fn manifest(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/exports/{id}/manifest";
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        // As `concordat-verify` looks for it.
        let disposition = format!("attachment; filename=\"{}.manifest.json\"", file_name(&row));
        let Some(manifest) = row.manifest else {
            let problem = Problem::WrongState("it was not written yet");
            return Err(received.refuse(&app, problem, route).await);
        };
        read(&app, &received, &row.id).await?;
        let about = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        Ok((about, manifest).into_response())
    })
    .await
}

async fn receive(app: &App, request: Request) -> Result<Received, Refusal> {
    let either = [(Capability::Audit, Action::Audit), (Capability::Review, Action::Review)];
    receive_any(app, request, &either).await
}

/// The named person of a request: a job can neither ask nor approve.
async fn person(app: &App, received: &Received, route: &'static str) -> Result<String, Refusal> {
    match &received.caller.named {
        Named::Practitioner { id, .. } => Ok(id.clone()),
        Named::Unattended { .. } => {
            let problem = Problem::NotAllowed("an export is asked for, approved and taken by named people");
            Err(received.refuse(app, problem, route).await)
        }
    }
}

/// The export, if it is the caller's organisation's or the caller is an auditor. Otherwise there is none.
async fn found(app: &App, received: &Received, id: &str, route: &'static str) -> Result<ExportRow, Refusal> {
    let row = app.store.export(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let mine = |row: &ExportRow| {
        received.caller.may(Capability::Audit) || row.organisation == received.caller.organisation.as_str()
    };
    match row.filter(mine) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

async fn read(app: &App, received: &Received, of: &str) -> Result<(), Refusal> {
    let entry =
        Body::DecisionRead { of: of.to_owned(), what: "export".to_owned(), by: received.caller.actor() };
    commit(app, received, entry, Vec::new()).await.map(drop)
}

async fn decide(
    app: &App,
    request: Request,
    id: &str,
    route: &'static str,
    to: &'static str,
) -> Result<Response, Refusal> {
    let received = receive(app, request).await?;
    let who = person(app, &received, route).await?;
    let row = found(app, &received, id, route).await?;
    let organisation = received.caller.organisation.to_string();
    let now = app.clock.now();
    let problem = if row.requested_by == who && row.organisation == organisation {
        Some(Problem::NotAllowed("nobody approves their own export; ask a colleague"))
    } else if row.state != "requested" {
        Some(Problem::WrongState("it was decided on before"))
    } else if row.expires_us <= now.as_microsecond() {
        Some(Problem::WrongState("it waited too long and has expired; it has to be asked for again"))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(received.refuse(app, problem, route).await);
    }
    let entry = Body::ExportMoved {
        export_id: row.id.clone(),
        action: to.to_owned(),
        until: None,
        file_sha256: None,
        from_byte: None,
        by: Some(received.caller.actor()),
    };
    let step = ExportMove {
        id: row.id.clone(),
        from: "requested",
        to,
        decided_by: Some((organisation, who)),
        expires_us: Some(after(now, APPROVED_FOR)),
        manifest: None,
    };
    let committed = commit(app, &received, entry, vec![Change::MoveExport(Box::new(step))]).await?;
    let stored = app.store.export(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let receipt = Receipt::of(&row.id, &committed);
    Ok(Json(body(app, &stored.unwrap_or(row), Some(receipt))).into_response())
}

/// The filter that is asked for; people by every pseudonym.
async fn filter_of(
    app: &App,
    received: &Received,
    asked: &ExportRequest,
) -> Result<Result<Filter, Problem>, Refusal> {
    let invalid = |what: String| Err(Problem::InvalidRequest(what));
    let Some(format) = asked::format(&asked.format) else {
        return Ok(invalid("format: ndjson, csv, parquet, fhir-audit-event or ocsf".to_owned()));
    };
    if asked.kinds.len() > KINDS_MAX {
        return Ok(invalid(format!("kinds: at most {KINDS_MAX}")));
    }
    let mut times = [None, None];
    for ((name, text), at) in [("from", &asked.from), ("until", &asked.until)].into_iter().zip(&mut times) {
        let Some(text) = text else { continue };
        let Some(read) = instant(text) else { return Ok(invalid(format!("{name}: an rfc 3339 time"))) };
        *at = Some(read);
    }
    let mut subjects = Vec::new();
    if let Some(subject) = &asked.subject {
        let identifier = match subject.parse().and_then(|identifier| {
            check_context(&received.context, &identifier)?;
            Ok(identifier)
        }) {
            Ok(identifier) => identifier,
            Err(problem) => return Ok(Err(problem)),
        };
        subjects = names_of(app, received, &identifier).await?.into_iter().collect();
    }
    let [from, until] = times;
    let filter = Filter {
        organisation: asked.organisation.clone(),
        agreement: asked.agreement.clone(),
        kind: asked.kinds.clone(),
        from,
        until,
        subjects,
        seen_by: (!received.caller.may(Capability::Audit)).then(|| received.caller.organisation.to_string()),
    };
    if exporting::check(format, &filter).is_err() {
        let said = "format: what is not everything needs ndjson, where what is withheld is shown as hashes; privacy officers take what concerns their own organisation";
        return Ok(invalid(said.to_owned()));
    }
    Ok(Ok(filter))
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hexadecimal(&sha2::Sha256::digest(bytes))
}

fn after(now: Timestamp, wait: SignedDuration) -> i64 {
    now.checked_add(wait).unwrap_or(now).as_microsecond()
}

fn body(app: &App, row: &ExportRow, receipt: Option<Receipt>) -> ExportBody {
    let filter: Filter = serde_json::from_str(&row.filter).unwrap_or_default();
    let progress = app.exports.progress(&row.id);
    ExportBody {
        id: row.id.clone(),
        state: row.state.clone(),
        organisation: row.organisation.clone(),
        requested_by: row.requested_by.clone(),
        format: row.format.clone(),
        selected_by: filter.selects_by().into_iter().map(str::to_owned).collect(),
        selection: SelectionBody {
            organisation: filter.organisation,
            agreement: filter.agreement,
            kinds: filter.kind,
            from: filter.from.map(|at| at.to_string()),
            until: filter.until.map(|at| at.to_string()),
            people: filter.subjects.len() as u64,
            seen_by: filter.seen_by,
        },
        purpose: row.purpose.clone(),
        case_reference: row.case_reference.clone(),
        requested_at: time(row.requested_us),
        expires_at: time(row.expires_us),
        entries_written: progress.map(|(written, _)| written),
        entries: progress.map(|(_, entries)| entries),
        decided_by: row.decided_by.clone(),
        receipt,
    }
}
