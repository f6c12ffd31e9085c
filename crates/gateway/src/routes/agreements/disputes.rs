//! Disputes: begun by a party, mediated by somebody neutral, taken further, ended by the parties, and published without names
//! where all of them agree.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use sharing::{
    OrganisationId,
    agreement::{
        comment::Clause,
        dispute::{Command, Dispute, Open, Outcome},
    },
};
use store::MatterRow;

use super::{
    App, Arc, Deserialize, IntoResponse, Json, ManagedRow, Once, Path, Problem, Receipt, Received, Refusal,
    Refused, Request, Response, Serialize, State, StatusCode, StepError, Terms, ToSchema, Value, agreements,
    comments::{self, SaidBody, Told},
    found, hand, internal, named, once, receive, record_read, replayed, request_id, request_key, respond,
    settle, shape,
    step::{self, CounterReason},
    time,
};
use crate::agreements::{
    matters::{self, Said, precedent::precedent},
    watch,
};

/// A dispute to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisputeRequest {
    /// The version that it is about.
    version: u32,
    /// Where in its terms: a JSON pointer (RFC 6901), or empty for the whole.
    clause: String,
    /// The parties that it is with.
    #[schema(value_type = Vec<String>)]
    with: BTreeSet<OrganisationId>,
    /// What is wrong.
    text: String,
    /// What you want.
    #[serde(default)]
    position: Option<String>,
    /// What is behind it: what you need.
    #[serde(default)]
    interest: Option<String>,
    /// Why, as a code.
    reason: CounterReason,
}

/// A step of a dispute.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DisputeStep {
    /// Say something: the parties, and the mediator.
    Comment {
        /// What.
        text: String,
        /// What you want.
        #[serde(default)]
        position: Option<String>,
        /// What is behind it.
        #[serde(default)]
        interest: Option<String>,
    },
    /// Put terms on the table. They bind nobody until a party counters or varies with them.
    ProposeTerms {
        /// The terms, as for a counter-proposal.
        #[schema(value_type = Object)]
        terms: Value,
        /// Why, in words.
        text: String,
    },
    /// Offer to mediate. Whoever is of no party's organisation begins at once; anybody else when each party agrees.
    Mediate {
        /// Why, in words.
        #[serde(default)]
        text: Option<String>,
    },
    /// Agree to a mediator who is of a party's organisation.
    AcceptMediator {
        /// Why, in words.
        #[serde(default)]
        text: Option<String>,
    },
    /// Go on without whoever mediates, or offers to: any party says so, or the mediator, who steps down. Another may offer then; one that
    /// a party has let go does not.
    ReleaseMediator {
        /// Why, in words.
        text: String,
    },
    /// Take it to the next level.
    Escalate {
        /// Why, in words.
        text: String,
    },
    /// Put an outcome on the table.
    Settle {
        /// Which.
        #[schema(value_type = String, example = "practice-changes")]
        outcome: Outcome,
        /// In words. A precedent is made of them.
        text: String,
    },
    /// Agree to the outcome on the table. When each party has, it is over.
    AcceptOutcome {
        /// Why, in words.
        #[serde(default)]
        text: Option<String>,
    },
    /// Take it back: the organisation that began it.
    Withdraw {
        /// Why, in words.
        text: String,
    },
    /// Confirm the text that is to be published: a mediator of no party, who has read `precedent` and taken out what names anybody.
    ConfirmText {
        /// The text. Names that are registered are taken out of it again.
        text: String,
    },
    /// Agree to publish the outcome as a precedent, as `precedent` says it once its text is confirmed. When each party has, it is.
    Publish {
        /// Why, in words.
        #[serde(default)]
        text: Option<String>,
    },
}

/// A dispute.
#[derive(Serialize, ToSchema)]
pub struct DisputeBody {
    /// Its name.
    id: String,
    /// How many steps it has taken. Send it as `If-Match`, in quotes.
    revision: i64,
    /// The version that it is about.
    version: u32,
    /// Where in its terms.
    clause: String,
    /// `open`, `mediating`, `escalated` or `resolved`.
    state: String,
    /// Who looks at it: `practitioners`, `governance-leads`, `dpo-and-caldicott`, `siros` or `boards`.
    level: &'static str,
    /// The offices of which one settles it for each organisation, at this level: `governance-lead`, `caldicott-guardian`, `siro`, `board`. None
    /// where approvers do. Where an organisation has registered no governance lead, another approver does; no board, its SIRO.
    settled_by: Vec<&'static str>,
    /// When the next level does.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    /// The organisations that it is between.
    between: Vec<String>,
    /// The mediator's organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    mediator: Option<String>,
    /// The outcome on the table, or how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The organisations that have agreed to it.
    agreed: Vec<String>,
    /// The organisation of the mediator who has read the text that is to be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_confirmed_by: Option<String>,
    /// What would be, or is, published of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    precedent: Option<Value>,
    /// What was said and done, the oldest first.
    thread: Vec<SaidBody>,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Disputes.
#[derive(Serialize, ToSchema)]
pub struct DisputesBody {
    /// At most 500, the oldest first.
    disputes: Vec<DisputeBody>,
}

/// Precedents.
#[derive(Serialize, ToSchema)]
pub struct PrecedentsBody {
    /// At most 500, the newest first: kinds of organisation, purposes, what it was about, how far it went, the outcome.
    #[schema(value_type = Vec<Object>)]
    precedents: Vec<Value>,
}

/// Begin a dispute with other parties. It stops nothing: what is in force goes on until a party suspends it.
#[utoipa::path(post, path = "/v1/agreements/{id}/disputes", tag = "agreements", params(("id" = String, Path, description = "The agreement")), request_body = DisputeRequest,
    responses((status = 201, description = "The dispute", body = DisputeBody), (status = 400, description = "The request cannot be read, or there is no such clause"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Your organisation is not a party"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 422, description = "The idempotency key was used for another request")))]
pub async fn open(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/disputes";
        let key = request_key::header(request.headers());
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let asked = received.json::<Value>(app.limits.terms_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{}/disputes", row.id);
            let done = once(&app, &received, key, (&path, &value), async |request| {
                let asked: DisputeRequest = shape(&value).map_err(Refused::Problem)?;
                begun(&app, &received, (&row, request), asked).await
            });
            let made = match done.await? {
                Once::Done(made) => made,
                Once::Earlier(made) => return again(&app, &made).await,
            };
            let receipt = Receipt::of(&made.row.id, &made.committed);
            Ok(tagged(StatusCode::CREATED, &body(&app, &made.row, Some(receipt)).await?))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

async fn begun(
    app: &App,
    received: &Received,
    (row, request): (&ManagedRow, Option<(String, String, String)>),
    asked: DisputeRequest,
) -> Result<matters::Moved<Dispute>, Refused> {
    let hand = hand(app, received, &named(row).map_err(Refused::Problem)?).await?;
    let parties = agreements::read(row)?.at_the_table();
    let (terms, _) = comments::offered(app, row, asked.version).await?;
    let clause = Clause::of(&asked.clause, &terms.open())
        .map_err(|fault| Refused::Problem(Problem::InvalidRequest(fault.to_string())))?;
    let words = [
        ("text", Some(asked.text.as_str())),
        ("position", asked.position.as_deref()),
        ("interest", asked.interest.as_deref()),
    ];
    let written = comments::words(&words).map_err(Refused::Problem)?;
    let about = (asked.version, clause);
    let open = Open::begin(about, asked.with, &parties, &hand, app.clock.now()).map_err(StepError::from)?;
    let reason = Some(asked.reason.as_str().to_owned());
    let said = Said { reason, written, request, ..comments::by(received, &hand) };
    Ok(matters::begin(app, (&row.id, asked.version), Dispute::Open(open), "opened", said).await?)
}

/// List the disputes about an agreement.
#[utoipa::path(get, path = "/v1/agreements/{id}/disputes", tag = "agreements", params(("id" = String, Path, description = "The agreement")),
    responses((status = 200, description = "The disputes", body = DisputesBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn list(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, "/v1/agreements/{id}/disputes").await?;
        record_read(&app, &received, &row.id).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| Refusal::from(internal(error));
        let mut disputes = Vec::new();
        for row in app.store.matters(&named(&row)?, "dispute").await.map_err(|error| failed(&error))? {
            disputes.push(body(&app, &row, None).await.map_err(|error| failed(&error))?);
        }
        Ok(Json(DisputesBody { disputes }).into_response())
    })
    .await
}

/// See a dispute.
#[utoipa::path(get, path = "/v1/agreements/{id}/disputes/{dispute}", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("dispute" = String, Path, description = "The dispute")),
    responses((status = 200, description = "The dispute; `ETag` is its revision", body = DisputeBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path((id, dispute)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/disputes/{dispute}";
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let matter = comments::found_matter(&app, &received, (&row, &dispute, "dispute"), route).await?;
        record_read(&app, &received, &matter.id).await?;
        let shown = body(&app, &matter, None).await.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(tagged(StatusCode::OK, &shown))
    })
    .await
}

/// Take a step of a dispute. Every step but `comment` needs `If-Match` with the revision that it is made to.
#[utoipa::path(post, path = "/v1/agreements/{id}/disputes/{dispute}/steps", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("dispute" = String, Path, description = "The dispute")), request_body = DisputeStep,
    responses((status = 200, description = "The dispute after it; `ETag` is its revision", body = DisputeBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Somebody else has to do it"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not possible in this state"),
        (status = 412, description = "It has changed since it was read"), (status = 422, description = "The idempotency key was used for another request"),
        (status = 428, description = "If-Match is missing")))]
pub async fn take(
    State(app): State<Arc<App>>,
    Path((id, dispute)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/disputes/{dispute}/steps";
        let headers: HeaderMap = request.headers().clone();
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let matter = comments::found_matter(&app, &received, (&row, &dispute, "dispute"), route).await?;
        let asked = received.json::<Value>(app.limits.terms_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{}/disputes/{}/steps", row.id, matter.id);
            let key = request_key::header(&headers);
            let done = once(&app, &received, key, (&path, &value), async |request| {
                let asked: DisputeStep = shape(&value).map_err(Refused::Problem)?;
                let free = matches!(asked, DisputeStep::Comment { .. });
                let read_at =
                    step::revision(headers.get(header::IF_MATCH), free).map_err(Refused::Problem)?;
                moved(&app, &received, (&row, &matter, request), (asked, read_at)).await
            });
            let moved = match done.await? {
                Once::Done(moved) => moved,
                Once::Earlier(made) => return again(&app, &made).await,
            };
            let receipt = Receipt::of(&format!("{}/{}", moved.row.id, moved.row.revision), &moved.committed);
            Ok(tagged(StatusCode::OK, &body(&app, &moved.row, Some(receipt)).await?))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

async fn moved(
    app: &App,
    received: &Received,
    (row, matter, request): (&ManagedRow, &MatterRow, Option<(String, String, String)>),
    (asked, read_at): (DisputeStep, Option<i64>),
) -> Result<matters::Moved<Dispute>, Refused> {
    let (command, reason, written) = asked.read(app, row)?;
    let hand = hand(app, received, &named(row).map_err(Refused::Problem)?).await?;
    let managed = agreements::read(row)?;
    let (successors, parties) = (managed.successors(), managed.members());
    let decide = |dispute: Dispute, at| {
        Ok(dispute.succeeded(&successors).among(&parties).apply(command.clone(), &hand, at)?)
    };
    // What is published is made of what was there before: nothing of it changes any more.
    let precedent = preview(app, matter).await?.map(|precedent| precedent.to_string());
    let said = |dispute: &Dispute| {
        let is_published = matches!(dispute, Dispute::Resolved(ended) if ended.is_published());
        let published = precedent.clone().filter(|_| is_published);
        let said = comments::by(received, &hand);
        let (reason, written, request) = (reason.clone(), written.clone(), request.clone());
        // Who has it now is told, whoever took it there: a person, or time.
        let is_taken_further = matches!(command, Command::Escalate);
        let changes =
            if is_taken_further { watch::dispute_alerts(app, &matter.id, dispute) } else { Vec::new() };
        Ok(Said { reason, written, published, changes, request, ..said })
    };
    Ok(matters::take(app, &matter.id, read_at, decide, said).await?)
}

impl DisputeStep {
    fn read(self, app: &App, row: &ManagedRow) -> Result<Told<Command>, Refused> {
        let words = |said: &[(&str, Option<&str>)]| comments::words(said).map_err(Refused::Problem);
        Ok(match self {
            Self::Comment { text, position, interest } => {
                let said = [
                    ("text", Some(text.as_str())),
                    ("position", position.as_deref()),
                    ("interest", interest.as_deref()),
                ];
                (Command::Comment, None, words(&said)?)
            }
            Self::ProposeTerms { terms, text } => {
                let mut written = words(&[("text", Some(&text))])?;
                let (id, version) =
                    (named(row).map_err(Refused::Problem)?, agreements::read(row)?.latest + 1);
                let offered = Terms::offered(&id, version, terms)
                    .map_err(|error| Refused::Problem(Problem::InvalidRequest(error.to_string())))?;
                agreements::outline(&app.policies().set, &offered)?;
                written.insert("terms".to_owned(), offered.open());
                (Command::ProposeTerms, None, written)
            }
            Self::Mediate { text } => (Command::Mediate, None, words(&[("text", text.as_deref())])?),
            Self::AcceptMediator { text } => {
                (Command::AcceptMediator, None, words(&[("text", text.as_deref())])?)
            }
            Self::ReleaseMediator { text } => {
                (Command::ReleaseMediator, None, words(&[("text", Some(&text))])?)
            }
            Self::Escalate { text } => (Command::Escalate, None, words(&[("text", Some(&text))])?),
            Self::Settle { outcome, text } => {
                let reason = Some(outcome.as_str().to_owned());
                (Command::Settle(outcome), reason, words(&[("text", Some(&text))])?)
            }
            Self::AcceptOutcome { text } => {
                (Command::AcceptOutcome, None, words(&[("text", text.as_deref())])?)
            }
            Self::Withdraw { text } => (Command::Withdraw, None, words(&[("text", Some(&text))])?),
            Self::ConfirmText { text } => {
                let written = words(&[("text", Some(&text))])?;
                (Command::ConfirmText(text), None, written)
            }
            Self::Publish { text } => (Command::Publish, None, words(&[("text", text.as_deref())])?),
        })
    }
}

/// List what was published of disputes, without a name in it.
#[utoipa::path(get, path = "/v1/agreements/precedents", tag = "agreements",
    responses((status = 200, description = "The precedents", body = PrecedentsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn precedents(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        record_read(&app, &received, "precedents").await?;
        let rows = app.store.precedents().await.map_err(|error| Refusal::from(internal(&error)))?;
        let precedents = rows.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
        Ok(Json(PrecedentsBody { precedents }).into_response())
    })
    .await
}

/// What is published of a dispute that the parties have ended, or would be.
async fn preview(app: &App, row: &MatterRow) -> Result<Option<Value>, StepError> {
    if let Some(published) = &row.published {
        return Ok(serde_json::from_str(published).ok());
    }
    let dispute: Dispute = matters::read(row)?;
    let Dispute::Resolved(ended) = &dispute else { return Ok(None) };
    let steps = app.store.matter_steps(&row.id).await?;
    let reason = steps.first().and_then(|step| step.reason.as_deref());
    let text = steps.iter().rev().find(|step| step.action == "outcome-offered");
    let text = text.map(|step| SaidBody::of(step).text.unwrap_or_default());
    let confirmed = ended.confirmed().map(|confirmed| confirmed.text.clone());
    let Some(text) = confirmed.or(text) else { return Ok(None) };
    let officers = app.store.officers(None).await?;
    let people: Vec<_> = officers.into_iter().flat_map(|officer| [officer.name, officer.person]).collect();
    let id = row.agreement.parse().map_err(|_| StepError::Kept("an agreement without a name".to_owned()))?;
    let kept = app.store.terms(&id, dispute.case().version).await?;
    let kept = kept.ok_or_else(|| StepError::Kept("the terms of a dispute are not kept".to_owned()))?;
    let agreement = Terms::kept(&kept.terms).and_then(|terms| terms.agreement());
    let agreement = agreement.map_err(|error| StepError::Kept(error.to_string()))?;
    let said = (ended.outcome().as_str(), reason, text.as_str());
    Ok(Some(precedent(&dispute, &agreement, (&app.policies().set, &people), said)))
}

async fn body(app: &App, row: &MatterRow, receipt: Option<Receipt>) -> Result<DisputeBody, StepError> {
    let dispute = matters::dispute(app, row).await?;
    let steps = app.store.matter_steps(&row.id).await?;
    let case = dispute.case();
    let offered = case.offered.as_ref().map(|(outcome, _, _)| *outcome);
    let outcome = match &dispute {
        Dispute::Resolved(ended) => Some(ended.outcome()),
        _ => offered,
    };
    let text_confirmed_by = match &dispute {
        Dispute::Resolved(ended) => ended.confirmed().map(|text| text.by.by.organisation.to_string()),
        _ => None,
    };
    let agreed = case.offered.iter().flat_map(|(_, _, agreed)| agreed.iter().map(ToString::to_string));
    Ok(DisputeBody {
        id: row.id.clone(),
        revision: row.revision,
        version: case.version,
        clause: case.clause.to_string(),
        state: row.state.clone(),
        level: case.level.as_str(),
        settled_by: case.level.offices().iter().map(|office| office.as_str()).collect(),
        due_at: row.next_us.map(time),
        between: case.between.iter().map(ToString::to_string).collect(),
        mediator: case.mediator.as_ref().map(|person| person.organisation.to_string()),
        outcome: outcome.map(Outcome::as_str),
        agreed: agreed.collect(),
        text_confirmed_by,
        precedent: preview(app, row).await?,
        thread: steps.iter().map(SaidBody::of).collect(),
        receipt,
    })
}

/// The dispute as it is now, for a request that was carried out before.
async fn again(app: &App, made: &MatterRow) -> Result<Response, Refused> {
    Ok(replayed(tagged(StatusCode::OK, &body(app, made, None).await?)))
}

fn tagged(status: StatusCode, body: &DisputeBody) -> Response {
    let mut response = (status, Json(json!(body))).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", body.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
