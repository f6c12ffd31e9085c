//! The ledger for those who verify it: its checkpoint, tiles, entry bundles and proofs in C2SP formats, below
//! `/.well-known/audit`. A registered client certificate is enough for hashes, which say nothing about anybody;
//! entries need the capability `audit`, and reading them is an entry.
//!
//! Source: <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-proof>.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ledger::{
    entry::Body,
    tile::{TileOf, TileRef},
};
use serde::Serialize;
use store::Submission;
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::Capability,
    edge::{Shown, known_system, request_id},
    fault::{commit_problem, internal},
    problem::{Face, Problem, Refusal},
    witnessed::Witnessing,
};

const TEXT: &str = "text/plain; charset=utf-8";

/// The newest checkpoint, a signed note. It has the witnesses' cosignatures as soon as there are enough.
#[utoipa::path(get, path = "/.well-known/audit/checkpoint", tag = "audit",
    responses((status = 200, description = "A C2SP tlog-checkpoint", content_type = "text/plain"), (status = 403, description = "The certificate is not registered")))]
pub async fn checkpoint(State(app): State<Arc<App>>, request: Request) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        known_system(&app, shown).await?;
        let head = app.store.head().await.map_err(|error| Refusal::from(internal(&error)))?;
        let witnessed = app.witnessing.as_ref().and_then(Witnessing::newest);
        let note = witnessed.filter(|note| note.starts_with(&head.checkpoint)).unwrap_or(head.checkpoint);
        Ok(([(header::CONTENT_TYPE, TEXT)], note).into_response())
    })
    .await
}

/// The newest checkpoint that enough witnesses have cosigned.
#[utoipa::path(get, path = "/.well-known/audit/checkpoint/witnessed", tag = "audit",
    responses((status = 200, description = "A C2SP tlog-checkpoint with cosignatures", content_type = "text/plain"), (status = 403, description = "The certificate is not registered"),
        (status = 404, description = "No witnesses are asked, or not enough have cosigned yet")))]
pub async fn witnessed(State(app): State<Arc<App>>, request: Request) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        known_system(&app, shown).await?;
        let note = app.witnessing.as_ref().and_then(Witnessing::newest).ok_or(Problem::NoSuchEntry)?;
        Ok(([(header::CONTENT_TYPE, TEXT)], note).into_response())
    })
    .await
}

/// A tile of hashes, or a bundle of entries.
#[utoipa::path(get, path = "/.well-known/audit/tile/{name}", tag = "audit", params(("name" = String, Path, description = "As in C2SP tlog-tiles, such as `0/000.p/5` or `entries/000`")),
    responses((status = 200, description = "The tile", content_type = "application/octet-stream"), (status = 403, description = "The certificate is not registered, or not for entries"),
        (status = 404, description = "There is no such tile")))]
pub async fn tile(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        let system = known_system(&app, shown).await?;
        let Ok(named) = format!("tile/{name}").parse::<TileRef>() else {
            return Err(Problem::NoSuchEntry.into());
        };
        if named.of == TileOf::Entries {
            if !system.settings.may.contains(&Capability::Audit) {
                return Err(Problem::CapabilityMissing.into());
            }
            let from = named.index * 256;
            let entry = Body::AuditRead {
                what: "entries".to_owned(),
                by_operator: system.settings.id.to_string(),
                from,
                until: from + u64::from(named.width),
            };
            let recorded = app.store.commit(Submission::of(app.clock.now(), vec![entry])).await;
            recorded.map_err(|error| Refusal::from(commit_problem(error)))?;
        }
        let bytes = app.store.tile(named).await.map_err(|error| Refusal::from(internal(&error)))?;
        let bytes = bytes.ok_or(Problem::NoSuchEntry)?;
        Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
    })
    .await
}

/// That an entry is in the ledger, under its newest checkpoint.
#[utoipa::path(get, path = "/.well-known/audit/proof/{index}", tag = "audit", params(("index" = u64, Path, description = "The entry, from 0: a receipt's `log_position`")),
    responses((status = 200, description = "A C2SP tlog-proof", content_type = "text/plain"), (status = 403, description = "The certificate is not registered"),
        (status = 404, description = "There is no such entry")))]
pub async fn proof(State(app): State<Arc<App>>, Path(index): Path<String>, request: Request) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        known_system(&app, shown).await?;
        let index: u64 = index.parse().map_err(|_| Problem::NoSuchEntry)?;
        let proof = app.store.proof(index).await.map_err(|error| Refusal::from(internal(&error)))?;
        let proof = proof.ok_or(Problem::NoSuchEntry)?;
        Ok(([(header::CONTENT_TYPE, TEXT)], proof.to_text()).into_response())
    })
    .await
}

/// That the ledger extends what it was when it had `size` entries.
#[utoipa::path(get, path = "/.well-known/audit/consistency/{size}", tag = "audit", params(("size" = u64, Path, description = "The size in an older checkpoint")),
    responses((status = 200, description = "The hashes of an RFC 6962 consistency proof, one a line in base64, an empty line, and the newest checkpoint", content_type = "text/plain"),
        (status = 403, description = "The certificate is not registered"), (status = 404, description = "The ledger was never of that size")))]
pub async fn consistency(
    State(app): State<Arc<App>>,
    Path(size): Path<String>,
    request: Request,
) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        known_system(&app, shown).await?;
        let size: u64 = size.parse().map_err(|_| Problem::NoSuchEntry)?;
        let proof = app.store.consistency(size).await.map_err(|error| Refusal::from(internal(&error)))?;
        let (hashes, checkpoint) = proof.ok_or(Problem::NoSuchEntry)?;
        let mut text = String::new();
        for hash in hashes {
            text.push_str(&BASE64.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&checkpoint);
        Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
    })
    .await
}

/// A key that took over from another.
#[derive(Serialize, ToSchema)]
pub struct HandoverBody {
    /// The entry that announced the key, as it was signed.
    entry: String,
    /// A C2SP tlog-proof of it under the last checkpoint that the key before it signed.
    proof: String,
}

/// The keys that took over from one another.
#[derive(Serialize, ToSchema)]
pub struct HandoversBody {
    /// In their order.
    handovers: Vec<HandoverBody>,
}

/// How the ledger's signing keys took over from one another. Who has any of them can follow to the newest, and asks
/// another source for it where a key was compromised.
#[utoipa::path(get, path = "/.well-known/audit/handovers", tag = "audit",
    responses((status = 200, description = "The handovers", body = HandoversBody), (status = 403, description = "The certificate is not registered")))]
pub async fn handovers(State(app): State<Arc<App>>, request: Request) -> Response {
    let (id, shown) = (request_id(request.headers()), Shown::by(&request));
    respond(id, async {
        known_system(&app, shown).await?;
        let handovers = app.store.handovers().await.map_err(|error| Refusal::from(internal(&error)))?;
        let handovers = handovers.into_iter().map(|one| HandoverBody {
            entry: String::from_utf8_lossy(&one.entry).into_owned(),
            proof: one.proof,
        });
        Ok(Json(HandoversBody { handovers: handovers.collect() }).into_response())
    })
    .await
}

async fn respond(id: Option<String>, work: impl Future<Output = Result<Response, Refusal>>) -> Response {
    work.await.unwrap_or_else(|refusal| refusal.into_response(Face::Problem, id.as_deref()))
}
