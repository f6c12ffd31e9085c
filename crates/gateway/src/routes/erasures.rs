//! Erasure (UK GDPR Art 17): what an organisation answers for and what has ended is forgotten, by two people together.
//!
//! What is in force stays: an objection, a refusal beside another consent, a hold (Art 17(3)), a mark of restriction.
//! When nobody holds anything about the person any more, the names under which the ledger has them lead nowhere.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::ToSpan as _;
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{Pseudonym, identifier::ErasureId};
use store::{
    Change, Submission,
    privacy::{Cutoffs, ErasureRow, Scope},
};
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
    fault::{commit_problem, inconsistent, internal},
    problem::{Problem, Refusal},
    retention,
};

/// The grounds of Art 17(1), in order.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErasureGround {
    /// (a) It is not needed any more.
    NoLongerNecessary,
    /// (b) Consent was withdrawn, and there is no other ground.
    ConsentWithdrawn,
    /// (c) The person objects, and nothing overrides it.
    ObjectionUpheld,
    /// (d) It was processed unlawfully.
    UnlawfullyProcessed,
    /// (e) The law requires it.
    LegalObligation,
    /// (f) It was collected from a child for an online service.
    ChildOnlineService,
}

/// An erasure that a person asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureRequest {
    /// The person.
    subject: Subject,
    /// On which ground.
    ground: ErasureGround,
}

/// An erasure.
#[derive(Serialize, ToSchema)]
pub struct ErasureBody {
    /// Its identifier.
    id: String,
    /// `asked` or `done`.
    state: &'static str,
    /// When it was asked for.
    asked_at: String,
    /// By when the person must have an answer: one calendar month (Art 12(3)).
    answer_due: String,
    /// How many consents, objections, exceptions and referrals will be, or were, forgotten.
    forgotten: usize,
    /// What is held about the person and stays, and why. Other organisations' records are not counted.
    stays: Vec<String>,
    /// Whether what was deleted is overwritten. `false` while somebody reads the database file, a backup say: copies are in its
    /// log until that has ended, and the gateway tries again every second.
    #[serde(skip_serializing_if = "Option::is_none")]
    overwritten: Option<bool>,
}

/// Ask for an erasure. Somebody else carries it out.
#[utoipa::path(post, path = "/v1/erasures", tag = "privacy", request_body = ErasureRequest,
    responses((status = 201, description = "Asked", body = ErasureBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn ask(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<ErasureRequest>(app.limits.body_bytes_max).await.and_then(|asked| {
            let identifier = asked.subject.parse()?;
            check_context(&received.context, &identifier)?;
            Ok((identifier, asked.ground))
        });
        let (identifier, ground) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/erasures").await),
        };
        let subject = resolve(&app, &identifier).await?;
        let name = subject.pseudonym.clone();
        let row = ErasureRow {
            id: ErasureId::from_random(app.entropy.bits()).to_string(),
            subject: name.to_string(),
            organisation: received.caller.organisation.to_string(),
            ground: super::consents::word(&ground),
            asked_by: received.caller.named.id().to_owned(),
            asked_us: app.clock.now().as_microsecond(),
            done_by: None,
            done_us: None,
        };
        let entry = Body::ErasureAsked {
            erasure_id: row.id.clone(),
            subject: row.subject.clone(),
            ground: row.ground.clone(),
            by: received.caller.actor(),
        };
        let body = look(&app, &row, &name).await?;
        let changes = vec![Change::KnowSubject(subject), Change::AskErasure(Box::new(row))];
        commit(&app, &received, entry, changes).await?;
        Ok((StatusCode::CREATED, Json(body)).into_response())
    })
    .await
}

/// Carry an erasure out. Not who asked for it: what is forgotten cannot be brought back.
#[utoipa::path(post, path = "/v1/erasures/{id}/carry-out", tag = "privacy", params(("id" = String, Path, description = "The erasure")),
    responses((status = 200, description = "Done", body = ErasureBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "You asked for it yourself"), (status = 404, description = "There is none that is your organisation's"),
        (status = 409, description = "It was carried out before")))]
pub async fn carry_out(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/erasures/{id}/carry-out";
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let failed = |error: store::StoreError| Refusal::from(internal(&error));
        let found = app.store.erasure(&id).await.map_err(failed)?;
        let mine = &received.caller.organisation;
        let Some(row) = found.filter(|row| row.organisation == mine.as_str()) else {
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        let who = received.caller.named.id().to_owned();
        let problem = if row.done_us.is_some() {
            Some(Problem::WrongState("it was carried out before"))
        } else if row.asked_by == who {
            Some(Problem::NotAllowed("nobody carries out an erasure that they asked for; ask a colleague"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(received.refuse(&app, problem, route).await);
        }
        let name: Pseudonym = row.subject.parse().map_err(|_| inconsistent(&"an erasure names nobody"))?;
        let before = look(&app, &row, &name).await?;
        let (cutoffs, scope) = (cutoffs(&app), scope(&app, &row, &name).await?);
        // Records first; when none of anybody's are left, the person. It is done with the last of it: what is interrupted is
        // carried out again.
        let mut end = Some(Change::EndErasure { id: row.id.clone(), by: who });
        let mut has_begun = false;
        while end.is_some() {
            let what = app.store.forgettable(&cutoffs, &scope).await.map_err(failed)?;
            let is_last = what.is_empty();
            let request = Some(row.id.clone());
            let entry = retention::entry("erasure", &what, request, Some(received.caller.actor()));
            let changes = if is_last {
                end.take().into_iter().collect()
            } else {
                vec![Change::Forget(cutoffs, Box::new(what))]
            };
            if has_begun {
                let entries = if is_last { Vec::new() } else { vec![entry] };
                let mut submission = Submission::of(app.clock.now(), entries);
                submission.changes = changes;
                app.store.commit(submission).await.map_err(commit_problem)?;
            } else {
                commit(&app, &received, entry, changes).await?;
            }
            has_begun = true;
        }
        let overwritten = Some(app.store.scrub().await.map_err(failed)?);
        let after = look(&app, &row, &name).await?;
        Ok(Json(ErasureBody { state: "done", forgotten: before.forgotten, overwritten, ..after })
            .into_response())
    })
    .await
}

/// Everything that has ended by now, and whoever was seen until now.
fn cutoffs(app: &App) -> Cutoffs {
    let at = app.clock.now();
    Cutoffs { people: at.checked_add(1.second()).unwrap_or(at), ..Cutoffs::all(at) }
}

async fn scope(app: &App, row: &ErasureRow, name: &Pseudonym) -> Result<Scope, Refusal> {
    let state = app.store.subject_state(std::slice::from_ref(name)).await;
    let state = state.map_err(|error| Refusal::from(internal(&error)))?;
    let names = state.names.into_iter().map(|(name, _)| name).collect();
    Ok(Scope { names: Some(names), organisation: row.organisation.parse().ok() })
}

/// What would be forgotten now, and what would stay.
async fn look(app: &App, row: &ErasureRow, name: &Pseudonym) -> Result<ErasureBody, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let scope = scope(app, row, name).await?;
    let forgettable = app.store.forgettable(&cutoffs(app), &scope).await.map_err(failed)?;
    let ended = forgettable.names().count() - forgettable.people.len();
    let (consents, objections, facts) = app.store.held_about(name, None).await.map_err(failed)?;
    let mine = row.organisation.as_str();
    let held_back = app.store.holds().await.map_err(failed)?.iter().any(|hold| {
        let names = scope.names.as_deref().unwrap_or_default();
        hold.subject.as_ref().is_none_or(|subject| names.iter().any(|name| name.as_str() == subject))
    });
    let counts = [
        (
            "consents",
            consents.iter().filter(|row| row.record.controller.as_str() == mine).count(),
            &forgettable.consents,
        ),
        (
            "objections",
            objections.iter().filter(|row| row.controller.as_str() == mine).count(),
            &forgettable.objections,
        ),
        (
            "exceptions",
            facts.iter().filter(|row| row.recorded_by.as_str() == mine).count(),
            &forgettable.exceptions,
        ),
    ];
    let answered = super::rights_requests::rows_of(
        app,
        &mine.parse().map_err(|_| inconsistent(&"no organisation"))?,
        name,
    )
    .await?;
    let own = answered.iter().filter(|row| row.organisation == mine).count();
    let requests = ("complaints and corrections", own, &forgettable.rights);
    let counts = counts.into_iter().chain([requests]).collect::<Vec<_>>();
    let left = counts.iter().filter(|(_, held, forgotten)| *held > forgotten.len());
    let mut stays: Vec<String> = left
        .map(|(what, held, forgotten)| format!("{} {what}: still in force", held - forgotten.len()))
        .collect();
    if held_back {
        stays = vec!["everything: a legal hold is in force (Art 17(3)(e))".to_owned()];
    }
    let asked = jiff::Timestamp::from_microsecond(row.asked_us).unwrap_or_default();
    Ok(ErasureBody {
        id: row.id.clone(),
        state: if row.done_us.is_some() { "done" } else { "asked" },
        asked_at: time(row.asked_us),
        answer_due: super::objections::one_month_after(asked).to_string(),
        forgotten: ended,
        stays,
        overwritten: None,
    })
}
