//! Agreements over the API: begin one, read it, and take its steps. Who may do what is for
//! `sharing::agreement::lifecycle` to say; here a request becomes a command, and a refusal an answer.
//!
//! Steps change what others may be changing: they say with `If-Match` what they are made to. Suspending, signing and
//! advising do without it: the first must never wait, and the others say themselves what they are about.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sharing::{
    AgreementId, OrganisationId,
    agreement::{
        SignatoryRole,
        lifecycle::{
            Authority, Command, Hand, Managed, Pending, Person, Possible, Scope, Signing, StopReason,
        },
        terms::Terms,
    },
};
use store::{ManagedRow, MatterRow, OfficerRow, StepRow};
use utoipa::ToSchema;

use super::{
    alerts::time,
    consents::{commit, respond},
    request_key::{self, RequestKey},
};
use crate::{
    agreements::{self, StepError, Taken, Wanted, matters, signature},
    app::App,
    caller::{Action, Capability, Named},
    edge::{Received, receive_any, request_id, shape},
    fault::{inconsistent, internal},
    kept,
    problem::{Problem, Refusal},
    receipt::Receipt,
};

mod step;
mod view;

pub mod checks;
pub mod comments;
pub mod deliveries;
pub mod disputes;
pub mod documents;
pub mod frameworks;
pub mod negotiations;
pub mod officers;
pub mod steps;
pub mod used;

pub use step::StepRequest;
pub use steps::{StepBody, StepsBody};
pub use view::{ManagedBody, ManagedListBody, NotYetBody, PartyBody, StopBody};

/// Longest text of a reason, in characters.
const TEXT_MAX: usize = 2_000;

/// An agreement to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementRequest {
    /// Its name: lower-case letters, digits, hyphens.
    #[schema(example = "gm-fire-prevention-pilot")]
    id: String,
    /// The terms: the members of an agreement's file (docs/agreements.md) but for `id`, `version`, `status` and signatures.
    #[schema(value_type = Object)]
    terms: Value,
}

/// Begin an agreement with a draft, which only your organisation sees until it is proposed. Send an `Idempotency-Key` to be
/// able to send it again.
#[utoipa::path(post, path = "/v1/agreements", tag = "agreements", request_body = AgreementRequest,
    responses((status = 201, description = "The draft; `ETag` is its revision", body = ManagedBody), (status = 400, description = "The terms do not fit"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted"),
        (status = 422, description = "The idempotency key was used for another request")))]
pub async fn begin(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements";
        let key = request_key::header(request.headers());
        let mut received = receive(&app, request).await?;
        let asked = received.json::<Value>(app.limits.terms_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let request = match identified(&app, &received, key.clone(), (route, &value)).await? {
                Asked::New(request) => request,
                Asked::Earlier(answer) => return Ok(answer),
            };
            let begun = begun(&app, &received, (&value, request)).await;
            or_earlier(&app, &received, key, (route, &value), begun).await
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

async fn begun(
    app: &App,
    received: &Received,
    (value, request): (&Value, Keyed),
) -> Result<Response, Refused> {
    let invalid = |error: String| Refused::Problem(Problem::InvalidRequest(error));
    let asked: AgreementRequest = shape(value).map_err(Refused::Problem)?;
    let id: AgreementId = asked.id.parse().map_err(|error| invalid(format!("id: {error}")))?;
    let terms = Terms::offered(&id, 1, asked.terms).map_err(|error| invalid(error.to_string()))?;
    let hand = hand(app, received, &id).await?;
    let wanted = Wanted { request, ..wanted(received, &hand) };
    let taken = agreements::begin(app, &id, terms, wanted).await?;
    answer(app, received, (StatusCode::CREATED, &taken)).await
}

/// List the agreements that your organisation has to do with; for auditors and mediators, every one that was proposed.
#[utoipa::path(get, path = "/v1/agreements", tag = "agreements",
    responses((status = 200, description = "The agreements", body = ManagedListBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        record_read(&app, &received, "agreements").await?;
        let own = &received.caller.organisation;
        let of = (!sees_all(&received)).then_some(own);
        let rows = app.store.all_managed(of).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mut bodies = Vec::with_capacity(rows.len());
        for row in rows {
            if of.is_some() || was_offered(&row) {
                bodies.push(body(&app, (&row, own), None).await?);
            }
        }
        Ok(Json(ManagedListBody { agreements: bodies }).into_response())
    })
    .await
}

/// See an agreement: its state, its parties, what is negotiated and what is in force. `ETag` is its revision.
#[utoipa::path(get, path = "/v1/agreements/{id}", tag = "agreements", params(("id" = String, Path, description = "The agreement")),
    responses((status = 200, description = "The agreement", body = ManagedBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, "/v1/agreements/{id}").await?;
        record_read(&app, &received, &row.id).await?;
        let shown = body(&app, (&row, &received.caller.organisation), None).await?;
        let shown = match possible(&app, &received, &row).await {
            Ok(possible) => shown.offering(possible),
            Err(refused) => return settle(&app, &received, "/v1/agreements/{id}", Err(refused)).await,
        };
        Ok(tagged(StatusCode::OK, row.revision, &shown))
    })
    .await
}

/// What the caller's person can do with it now.
async fn possible(app: &App, received: &Received, row: &ManagedRow) -> Result<Possible, Refused> {
    let id = named(row).map_err(Refused::Problem)?;
    let hand = hand(app, received, &id).await?;
    let managed = agreements::read(row)?;
    let known = agreements::known(app, &id, &managed).await?;
    // What others draft is nobody else's to see.
    Ok(managed.seen_by(&received.caller.organisation).possible(&hand, app.clock.now(), known))
}

/// Take a step. Which are possible when, and for whom, is in docs/agreements.md. Every step but `suspend`, `sign` and `advise`
/// needs `If-Match` with the revision that it is made to.
#[utoipa::path(post, path = "/v1/agreements/{id}/steps", tag = "agreements", params(("id" = String, Path, description = "The agreement")), request_body = StepRequest,
    responses((status = 200, description = "The agreement after it; `ETag` is its revision", body = ManagedBody), (status = 400, description = "The request cannot be read, or the terms do not fit"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Somebody else has to do it"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not possible in this state"),
        (status = 412, description = "It has changed since it was read"), (status = 422, description = "The idempotency key was used for another request"),
        (status = 428, description = "If-Match is missing")))]
pub async fn take(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/steps";
        let (key, if_match) =
            (request_key::header(request.headers()), request.headers().get(header::IF_MATCH).cloned());
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let asked = received.json::<Value>(app.limits.terms_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{}/steps", row.id);
            let request = match identified(&app, &received, key.clone(), (&path, &value)).await? {
                Asked::New(request) => request,
                Asked::Earlier(answer) => return Ok(answer),
            };
            let taken = Box::pin(taken(&app, &received, &row, (&value, if_match, request))).await;
            or_earlier(&app, &received, key, (&path, &value), taken).await
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

async fn taken(
    app: &App,
    received: &Received,
    row: &ManagedRow,
    (value, if_match, request): (&Value, Option<HeaderValue>, Keyed),
) -> Result<Response, Refused> {
    let asked: StepRequest = shape(value).map_err(Refused::Problem)?;
    let read_at = asked.read_at(if_match.as_ref()).map_err(Refused::Problem)?;
    let id = named(row).map_err(Refused::Problem)?;
    let hand = hand(app, received, &id).await?;
    let wanted = Wanted { read_at, request, ..wanted(received, &hand) };
    let wanted = asked.complete(app, (&id, row), wanted).await?;
    let taken = agreements::take(app, &id, &wanted).await?;
    answer(app, received, (StatusCode::OK, &taken)).await
}

/// What stands against a request.
enum Refused {
    Problem(Problem),
    Step(StepError),
}

impl From<StepError> for Refused {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<store::StoreError> for Refused {
    fn from(error: store::StoreError) -> Self {
        Self::Step(error.into())
    }
}

/// A request's key, and the digest of what it asks for: system, key, digest. None where it was sent without.
type Keyed = Option<(String, String, String)>;

/// A request is carried out, or was before.
enum Asked<E = Response> {
    New(Keyed),
    Earlier(E),
}

/// The request's key with the digest of what it asks for; or what it led to, when it was carried out before.
async fn identified_as(
    app: &App,
    received: &Received,
    key: Option<HeaderValue>,
    (path, value): (&str, &Value),
) -> Result<Asked<String>, Refused> {
    let named = request_key::of(key.as_ref(), (path, received.caller.named.id()), value);
    let Some(RequestKey { key, digest }) = named.map_err(Refused::Problem)? else {
        return Ok(Asked::New(None));
    };
    let system = received.caller.system.to_string();
    match app.store.earlier_request(&system, &key).await? {
        None => Ok(Asked::New(Some((system, key, digest)))),
        Some(earlier) if earlier.body_sha256 != digest => Err(Refused::Problem(Problem::RequestKeyReused)),
        Some(earlier) => {
            let read = record_read(app, received, &earlier.agreement).await;
            read.map_err(|refusal| Refused::Problem(refusal.problem))?;
            Ok(Asked::Earlier(earlier.agreement))
        }
    }
}

/// As [`identified_as`], for a step of an agreement: the answer has the agreement as it is now.
async fn identified(
    app: &App,
    received: &Received,
    key: Option<HeaderValue>,
    of: (&str, &Value),
) -> Result<Asked, Refused> {
    let earlier = match identified_as(app, received, key, of).await? {
        Asked::New(request) => return Ok(Asked::New(request)),
        Asked::Earlier(earlier) => earlier,
    };
    let id: AgreementId =
        earlier.parse().map_err(|_| StepError::Kept("an agreement without a name".to_owned()))?;
    let row = app.store.managed(&id).await?.ok_or(StepError::Changed)?;
    let shown = body(app, (&row, &received.caller.organisation), None).await;
    let shown = shown.map_err(|refusal| Refused::Problem(refusal.problem))?;
    Ok(Asked::Earlier(replayed(tagged(StatusCode::OK, row.revision, &shown))))
}

/// The same request, sent twice at once: what one is refused for the other has done, and both are answered with that.
async fn or_earlier(
    app: &App,
    received: &Received,
    key: Option<HeaderValue>,
    of: (&str, &Value),
    done: Result<Response, Refused>,
) -> Result<Response, Refused> {
    let Err(refused) = done else { return done };
    match identified(app, received, key, of).await {
        Ok(Asked::Earlier(answer)) => Ok(answer),
        _ => Err(refused),
    }
}

/// As [`identified_as`], for something beside an agreement's course, as it is now.
async fn identified_matter(
    app: &App,
    received: &Received,
    key: Option<HeaderValue>,
    of: (&str, &Value),
) -> Result<Asked<MatterRow>, Refused> {
    Ok(match identified_as(app, received, key, of).await? {
        Asked::New(request) => Asked::New(request),
        Asked::Earlier(id) => Asked::Earlier(app.store.matter(&id).await?.ok_or(StepError::Changed)?),
    })
}

/// What came of a request about something beside an agreement's course.
enum Once<T> {
    /// It was done.
    Done(T),
    /// It had been, or the same request, sent at once, has done it: what was made then, as it is now.
    Earlier(MatterRow),
}

/// Does what a request asks for, once, however often it is sent.
async fn once<T>(
    app: &App,
    received: &Received,
    key: Option<HeaderValue>,
    of: (&str, &Value),
    done: impl AsyncFnOnce(Option<(String, String, String)>) -> Result<T, Refused>,
) -> Result<Once<T>, Refused> {
    let request = match identified_matter(app, received, key.clone(), of).await? {
        Asked::New(request) => request,
        Asked::Earlier(made) => return Ok(Once::Earlier(made)),
    };
    match Box::pin(done(request)).await {
        Ok(done) => Ok(Once::Done(done)),
        Err(refused) => match identified_matter(app, received, key, of).await {
            Ok(Asked::Earlier(made)) => Ok(Once::Earlier(made)),
            _ => Err(refused),
        },
    }
}

/// An answer to a request that was carried out before.
fn replayed(mut answer: Response) -> Response {
    answer.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    answer
}

fn wanted<'a>(received: &Received, hand: &'a Hand) -> Wanted<'a> {
    Wanted {
        command: None,
        hand: Some(hand),
        by: Some(received.caller.actor()),
        read_at: None,
        reason: None,
        written: None,
        interest: None,
        looked_at: None,
        terms: None,
        signature: None,
        request: None,
        replay: Some(received.replay_guard()),
    }
}

async fn answer(
    app: &App,
    received: &Received,
    (status, taken): (StatusCode, &Taken),
) -> Result<Response, Refused> {
    let receipt = Receipt::of(&format!("{}/{}", taken.row.id, taken.row.revision), &taken.committed);
    let shown = body(app, (&taken.row, &received.caller.organisation), Some(receipt)).await;
    let shown = shown.map_err(|refusal| Refused::Problem(refusal.problem))?;
    Ok(tagged(status, taken.row.revision, &shown))
}

async fn settle(
    app: &App,
    received: &Received,
    route: &'static str,
    done: Result<Response, Refused>,
) -> Result<Response, Refusal> {
    let problem = match done {
        Ok(answer) => return Ok(answer),
        Err(Refused::Problem(problem)) => problem,
        Err(Refused::Step(StepError::Refused(refusal))) => Problem::Step(refusal),
        Err(Refused::Step(StepError::Changed)) => Problem::VersionMismatch,
        Err(Refused::Step(StepError::Terms(said))) => Problem::InvalidRequest(said),
        Err(Refused::Step(StepError::Replayed)) => Problem::ContextReplayed,
        Err(Refused::Step(StepError::Unavailable)) => Problem::LedgerUnavailable,
        Err(Refused::Step(StepError::Kept(said))) => inconsistent(&said),
    };
    Err(received.refuse(app, problem, route).await)
}

pub(super) async fn receive(app: &App, request: Request) -> Result<Received, Refusal> {
    let either = [
        (Capability::Draft, Action::Agree),
        (Capability::Approve, Action::Agree),
        (Capability::Mediate, Action::Agree),
        (Capability::Sign, Action::Agree),
        (Capability::Audit, Action::Audit),
    ];
    let received = receive_any(app, request, &either).await?;
    match &received.caller.named {
        Named::Practitioner { .. } => Ok(received),
        Named::Unattended { .. } => {
            let problem = Problem::NotAllowed("agreements are for named people; a job takes no part in them");
            Err(received.refuse(app, problem, "/v1/agreements").await)
        }
    }
}

/// Whose hand it is in this agreement: what the system is registered for, the offices that the person holds, and whether they
/// mediate in it.
async fn hand(app: &App, received: &Received, agreement: &AgreementId) -> Result<Hand, Refused> {
    let caller = &received.caller;
    let all = [
        (Capability::Draft, Authority::Draft),
        (Capability::Approve, Authority::Approve),
        (Capability::Mediate, Authority::Mediate),
        (Capability::Sign, Authority::Sign),
    ];
    let may =
        all.into_iter().filter(|(capability, _)| caller.may(*capability)).map(|(_, authority)| authority);
    let all = app.store.offices_of(&caller.organisation).await?;
    let own = all.iter().filter(|office| office.person == caller.named.id());
    let role = |office: &OfficerRow| signatory_role(&office.role);
    let (offices, filled) =
        (own.map(role).collect::<Result<_, _>>()?, all.iter().map(role).collect::<Result<_, _>>()?);
    let person = Person { organisation: caller.organisation.clone(), id: caller.named.id().to_owned() };
    let disputes = matters::disputes(app, &app.store.matters(agreement, "dispute").await?).await?;
    let mediates = disputes.iter().any(|dispute| dispute.is_mediated_by(&person));
    Ok(Hand { person, may: may.collect(), offices, filled, mediates })
}

/// The role of an office, as it is kept.
fn signatory_role(kept: &str) -> Result<SignatoryRole, StepError> {
    serde_json::from_value(Value::String(kept.to_owned()))
        .map_err(|_| StepError::Kept("an office of no known role".to_owned()))
}

fn sees_all(received: &Received) -> bool {
    received.caller.may(Capability::Audit) || received.caller.may(Capability::Mediate)
}

/// Whether others than its authors have seen it. One that has ended stays seen, whatever is drafted in its place.
fn was_offered(row: &ManagedRow) -> bool {
    row.state != "draft" || agreements::read(row).is_ok_and(|managed| managed.in_force.is_some())
}

/// The agreement, if the caller's organisation has to do with it. Otherwise there is none.
async fn found(app: &App, received: &Received, id: &str, route: &'static str) -> Result<ManagedRow, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let row = match id.parse::<AgreementId>() {
        Ok(id) => {
            let row = app.store.managed(&id).await.map_err(failed)?;
            let mine = app.store.is_member(&id, &received.caller.organisation).await.map_err(failed)?;
            row.filter(|row| mine || (sees_all(received) && was_offered(row)))
        }
        Err(_) => None,
    };
    match row {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

pub(super) async fn record_read(app: &App, received: &Received, of: &str) -> Result<(), Refusal> {
    let entry =
        Body::DecisionRead { of: of.to_owned(), what: "agreement".to_owned(), by: received.caller.actor() };
    commit(app, received, entry, Vec::new()).await.map(drop)
}

fn named(row: &ManagedRow) -> Result<AgreementId, Problem> {
    row.id.parse().map_err(|error| internal(&error))
}

/// An agreement as an organisation sees it.
async fn body(
    app: &App,
    (row, to): (&ManagedRow, &OrganisationId),
    receipt: Option<Receipt>,
) -> Result<ManagedBody, Refusal> {
    let managed = agreements::read(row).map_err(|error| Refusal::from(internal(&error)))?;
    let id = named(row)?;
    let mut terms = app.store.all_terms(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
    terms.retain(|terms| managed.shows(u32::try_from(terms.version).unwrap_or_default(), to));
    let drafted_by = managed.drafter_of_next().map(ToString::to_string);
    let managed = managed.seen_by(to);
    let open = comments::unresolved(app, &id).await.map_err(|error| Refusal::from(internal(&error)))?;
    Ok(ManagedBody::of(row, &managed, drafted_by, (&terms, open), receipt))
}

fn tagged(status: StatusCode, revision: i64, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
