//! Legal holds: what must not be forgotten while a claim, an inquiry or an investigation lasts.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::identifier::HoldId;
use store::{Change, privacy::HoldRow};
use utoipa::ToSchema;

use super::{
    alerts::time,
    consents::{commit, resolve, respond},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{receive, request_id},
    fault::internal,
    kept,
    problem::{Problem, Refusal},
};

/// A hold to place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The person; leave it out to hold everything.
    subject: Option<Subject>,
    /// Why, in 10 to 2,000 characters: the claim or inquiry, by its reference.
    reason: String,
}

/// A hold.
#[derive(Serialize, ToSchema)]
pub struct HoldBody {
    /// Its identifier.
    id: String,
    /// Whether it is about one person, or everything.
    about: &'static str,
    /// The organisation that placed it.
    organisation: String,
    /// Why.
    reason: String,
    /// Who placed it.
    placed_by: String,
    /// When.
    placed_at: String,
    /// When it was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_at: Option<String>,
}

/// Holds.
#[derive(Serialize, ToSchema)]
pub struct HoldsBody {
    /// Those in force that your organisation placed, the newest first.
    holds: Vec<HoldBody>,
}

/// Place a hold.
#[utoipa::path(post, path = "/v1/holds", tag = "privacy", request_body = HoldRequest,
    responses((status = 201, description = "Placed", body = HoldBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn place(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/holds";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<HoldRequest>(app.limits.body_bytes_max).await.and_then(|asked| {
            if !(10..=2_000).contains(&asked.reason.trim().chars().count()) {
                let what = "reason: say in 10 to 2,000 characters which claim or inquiry it is for";
                return Err(Problem::InvalidRequest(what.to_owned()));
            }
            let subject = asked.subject.as_ref().map(Subject::parse).transpose()?;
            if let Some(subject) = &subject {
                check_context(&received.context, subject)?;
            }
            Ok((subject, asked.reason))
        });
        let (subject, reason) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let mut changes = Vec::new();
        let mut name = None;
        if let Some(subject) = &subject {
            let resolved = resolve(&app, subject).await?;
            name = Some(resolved.pseudonym.to_string());
            changes.push(Change::KnowSubject(resolved));
        }
        let row = HoldRow {
            id: HoldId::from_random(app.entropy.bits()).to_string(),
            subject: name.clone(),
            organisation: received.caller.organisation.to_string(),
            reason: kept::salted(app.entropy.as_ref(), &reason),
            placed_by: received.caller.named.id().to_owned(),
            placed_us: app.clock.now().as_microsecond(),
            lifted_by: None,
            lifted_us: None,
        };
        let entry = Body::HoldPlaced {
            hold_id: row.id.clone(),
            subject: name,
            reason_sha256: kept::digest(&row.id, &row.reason),
            by: received.caller.actor(),
        };
        let body = body(&row);
        changes.push(Change::PlaceHold(Box::new(row)));
        commit(&app, &received, entry, changes).await?;
        Ok((StatusCode::CREATED, Json(body)).into_response())
    })
    .await
}

/// List the holds that your organisation placed and has not lifted.
#[utoipa::path(get, path = "/v1/holds", tag = "privacy",
    responses((status = 200, description = "The holds", body = HoldsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        super::referrals::read(&app, &received, "holds", "list of holds").await?;
        let rows = app.store.holds().await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = received.caller.organisation.as_str();
        let holds = rows.iter().filter(|row| row.organisation == mine).map(body).collect();
        Ok(Json(HoldsBody { holds }).into_response())
    })
    .await
}

/// Lift a hold. Not who placed it: what is forgotten afterwards cannot be brought back.
#[utoipa::path(post, path = "/v1/holds/{id}/lift", tag = "privacy", params(("id" = String, Path, description = "The hold")),
    responses((status = 200, description = "Lifted", body = HoldBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "You placed it yourself"), (status = 404, description = "There is none in force that is your organisation's")))]
pub async fn lift(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/holds/{id}/lift";
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let found = app.store.hold(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = received.caller.organisation.as_str();
        let Some(row) = found.filter(|row| row.organisation == mine && row.lifted_us.is_none()) else {
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        let who = received.caller.named.id().to_owned();
        if row.placed_by == who {
            let problem = Problem::NotAllowed("nobody lifts a hold that they placed; ask a colleague");
            return Err(received.refuse(&app, problem, route).await);
        }
        let at_us = app.clock.now().as_microsecond();
        let entry = Body::HoldLifted { hold_id: id.clone(), by: received.caller.actor() };
        commit(&app, &received, entry, vec![Change::LiftHold { id, by: who.clone() }]).await?;
        let lifted = HoldRow { lifted_by: Some(who), lifted_us: Some(at_us), ..row };
        Ok(Json(body(&lifted)).into_response())
    })
    .await
}

fn body(row: &HoldRow) -> HoldBody {
    HoldBody {
        id: row.id.clone(),
        about: if row.subject.is_some() { "one person" } else { "everything" },
        organisation: row.organisation.clone(),
        reason: kept::words(&row.reason),
        placed_by: row.placed_by.clone(),
        placed_at: time(row.placed_us),
        lifted_at: row.lifted_us.map(time),
    }
}
