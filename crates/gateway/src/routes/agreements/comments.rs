//! Comments on clauses of a version that was offered: made, answered, resolved and taken up again.

use jiff::civil::Date;
use serde_json::Map;
use sharing::agreement::{
    comment::{Clause, Command, Comment, Owner, Remark},
    lifecycle::Act,
};
use store::{MatterRow, MatterStepRow, StoreError};

use super::{
    AgreementId, App, Arc, Deserialize, Hand, IntoResponse, Json, ManagedRow, Once, Path, Problem, Receipt,
    Received, Refusal, Refused, Request, Response, Serialize, State, StatusCode, StepError, TEXT_MAX, Terms,
    ToSchema, Value, agreements, found, hand, header, internal, kept, named, once, receive, record_read,
    replayed, request_id, request_key, respond, settle, shape,
    step::{CounterReason, revision},
    tagged, time,
};
use crate::agreements::matters::{self, Said};

/// Something to say about a clause.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentRequest {
    /// The version that it is about.
    version: u32,
    /// Where in its terms: a JSON pointer (RFC 6901), or empty for the whole.
    #[schema(example = "/flows/0/items/1")]
    clause: String,
    /// What to say.
    text: String,
    /// What you want in its place.
    #[serde(default)]
    position: Option<String>,
    /// What is behind it: what you need, as "crews must not walk in on oxygen".
    #[serde(default)]
    interest: Option<String>,
    /// Why, as a code.
    #[serde(default)]
    reason: Option<CounterReason>,
    /// Who has to answer: `{"organisation": "…", "person": "…"}`, the person where it is known.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    owner: Option<Owner>,
    /// By when.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-12-18")]
    due_on: Option<Date>,
    /// Whether signing waits until it is resolved. Then somebody has to answer.
    #[serde(default)]
    blocking: bool,
}

/// A step of a comment.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CommentStep {
    /// Answer.
    Reply {
        /// What to say.
        text: String,
        /// What you want.
        #[serde(default)]
        position: Option<String>,
        /// What is behind it.
        #[serde(default)]
        interest: Option<String>,
        /// Why, as a code.
        #[serde(default)]
        reason: Option<CounterReason>,
    },
    /// Be content: whoever made it, or a colleague.
    Resolve {
        /// Why, in words.
        text: String,
    },
    /// Take it up again.
    Reopen {
        /// Why, in words.
        text: String,
    },
}

/// A step as a command, with its reason and what was written.
pub(super) type Told<C> = (C, Option<String>, Map<String, Value>);

/// A comment, and what was said to it.
#[derive(Serialize, ToSchema)]
pub struct CommentBody {
    /// Its name.
    id: String,
    /// How many steps it has taken; the `ETag` of the answers that have it alone.
    revision: i64,
    /// The version that it is about.
    version: u32,
    /// Where in its terms.
    clause: String,
    /// `unresolved` or `resolved`.
    state: String,
    /// Whether signing waits until it is resolved.
    blocking: bool,
    /// Who has to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    owner: Option<Owner>,
    /// By when.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_on: Option<String>,
    /// What was said, the oldest first.
    thread: Vec<SaidBody>,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Something that was said.
#[derive(Serialize, ToSchema)]
pub struct SaidBody {
    /// What was done.
    action: String,
    /// The organisation of whoever did it; none where time did.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// What is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// What is behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    interest: Option<String>,
    /// Terms that were put on the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    terms: Option<Value>,
    /// When.
    at: String,
}

/// Comments.
#[derive(Serialize, ToSchema)]
pub struct CommentsBody {
    /// At most 500, the oldest first.
    comments: Vec<CommentBody>,
}

impl SaidBody {
    pub(super) fn of(row: &MatterStepRow) -> Self {
        let member = |name| row.written.as_deref().and_then(|written| kept::member(written, name));
        let terms = row.written.as_deref().and_then(|written| kept::members(written).get("terms").cloned());
        Self {
            action: row.action.clone(),
            organisation: row.organisation.clone(),
            person: row.person.clone(),
            reason: row.reason.clone(),
            text: member("text"),
            position: member("position"),
            interest: member("interest"),
            terms,
            at: time(row.at_us),
        }
    }
}

/// That whoever reads a text sees all of it.
pub(super) fn all_seen(name: &str, text: &str) -> Result<(), Problem> {
    let Some(hidden) = sharing::seen::hidden(text) else { return Ok(()) };
    let number = u32::from(hidden);
    Err(Problem::InvalidRequest(format!("{name}: U+{number:04X} cannot be seen; take it out")))
}

/// What was written, where it fits.
pub(super) fn words(said: &[(&str, Option<&str>)]) -> Result<Map<String, Value>, Problem> {
    let mut members = Map::new();
    for (name, text) in said {
        let Some(text) = text else { continue };
        if text.trim().is_empty() || text.chars().count() > TEXT_MAX {
            let said = format!("{name}: 1 to 2000 characters, without naming anybody's case");
            return Err(Problem::InvalidRequest(said));
        }
        all_seen(name, text)?;
        members.insert((*name).to_owned(), (*text).into());
    }
    Ok(members)
}

/// Comment on a clause of a version that was offered. Mediators comment too; only a party's comment can keep signing waiting.
#[utoipa::path(post, path = "/v1/agreements/{id}/comments", tag = "agreements", params(("id" = String, Path, description = "The agreement")), request_body = CommentRequest,
    responses((status = 201, description = "The comment", body = CommentBody), (status = 400, description = "The request cannot be read, or there is no such clause"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Your organisation takes no part"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not possible in this state"),
        (status = 422, description = "The idempotency key was used for another request")))]
pub async fn make(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/comments";
        let key = request_key::header(request.headers());
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let asked = received.json::<Value>(app.limits.body_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{}/comments", row.id);
            let done = once(&app, &received, key, (&path, &value), async |request| {
                let asked: CommentRequest = shape(&value).map_err(Refused::Problem)?;
                said(&app, &received, (&row, request), asked).await
            });
            let made = match done.await? {
                Once::Done(made) => made,
                Once::Earlier(made) => return again(&app, &made).await,
            };
            let receipt = Receipt::of(&made.row.id, &made.committed);
            let shown = body(&app, &made.row, Some(receipt)).await?;
            Ok(tagged(StatusCode::CREATED, made.row.revision, &shown))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

/// The comment as it is now, for a request that was carried out before.
async fn again(app: &App, made: &MatterRow) -> Result<Response, Refused> {
    Ok(replayed(tagged(StatusCode::OK, made.revision, &body(app, made, None).await?)))
}

async fn said(
    app: &App,
    received: &Received,
    (row, request): (&ManagedRow, Option<(String, String, String)>),
    asked: CommentRequest,
) -> Result<matters::Moved<Comment>, Refused> {
    let invalid = |what: String| Refused::Problem(Problem::InvalidRequest(what));
    let hand = hand(app, received, &named(row).map_err(Refused::Problem)?).await?;
    let managed = agreements::read(row)?;
    let (terms, _) = offered(app, row, asked.version).await?;
    let clause = Clause::of(&asked.clause, &terms.open()).map_err(|fault| invalid(fault.to_string()))?;
    if asked.blocking && asked.owner.is_none() {
        return Err(invalid("owner: name who has to answer what signing waits for".to_owned()));
    }
    let at = app.clock.now();
    if asked.due_on.is_some_and(|day| sharing::agreement::london_midnight(day) <= at) {
        return Err(invalid("due_on: a day after today".to_owned()));
    }
    let fits = |person: &String| !person.trim().is_empty() && person.chars().count() <= 64;
    if asked.owner.iter().filter_map(|owner| owner.person.as_ref()).any(|person| !fits(person)) {
        return Err(invalid("owner.person: 1 to 64 characters".to_owned()));
    }
    let words = [
        ("text", Some(asked.text.as_str())),
        ("position", asked.position.as_deref()),
        ("interest", asked.interest.as_deref()),
    ];
    let written = words_of(&words)?;
    let remark = Remark {
        version: asked.version,
        clause,
        by: Act { by: hand.person.clone(), at },
        owner: asked.owner,
        due_on: asked.due_on,
        blocking: asked.blocking,
    };
    let comment = Comment::make(remark, &hand, &managed.at_the_table()).map_err(StepError::from)?;
    let reason = asked.reason.map(|reason| reason.as_str().to_owned());
    let said = Said { reason, written, request, ..by(received, &hand) };
    Ok(matters::begin(app, (&row.id, asked.version), comment, "made", said).await?)
}

fn words_of(said: &[(&str, Option<&str>)]) -> Result<Map<String, Value>, Refused> {
    words(said).map_err(Refused::Problem)
}

/// Whose hand it is, for a step of something beside an agreement's course.
pub(super) fn by<'a>(received: &Received, hand: &'a Hand) -> Said<'a> {
    Said {
        hand: Some(hand),
        by: Some(received.caller.actor()),
        replay: Some(received.replay_guard()),
        ..Said::default()
    }
}

/// The terms of a version that was offered: a draft is its authors'.
pub(super) async fn offered(app: &App, row: &ManagedRow, version: u32) -> Result<(Terms, String), Refused> {
    let managed = agreements::read(row)?;
    let id = named(row).map_err(Refused::Problem)?;
    let kept = app.store.terms(&id, version).await?.filter(|_| managed.drafted_by(version).is_none());
    let kept = kept.ok_or_else(|| {
        Refused::Problem(Problem::InvalidRequest("version: a version that was offered".to_owned()))
    })?;
    let terms = Terms::kept(&kept.terms).map_err(|error| StepError::Kept(error.to_string()))?;
    Ok((terms, kept.terms_sha256))
}

/// List the comments on an agreement.
#[utoipa::path(get, path = "/v1/agreements/{id}/comments", tag = "agreements", params(("id" = String, Path, description = "The agreement")),
    responses((status = 200, description = "The comments", body = CommentsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn list(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, "/v1/agreements/{id}/comments").await?;
        record_read(&app, &received, &row.id).await?;
        let failed = |error: StepError| Refusal::from(internal(&error));
        let comments = all(&app, &named(&row)?, |_| true).await.map_err(failed)?;
        Ok(Json(CommentsBody { comments }).into_response())
    })
    .await
}

/// Answer a comment, resolve it, or take it up again.
#[utoipa::path(post, path = "/v1/agreements/{id}/comments/{comment}/steps", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("comment" = String, Path, description = "The comment")), request_body = CommentStep,
    responses((status = 200, description = "The comment after it", body = CommentBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Somebody else has to do it"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not possible in this state"),
        (status = 422, description = "The idempotency key was used for another request")))]
pub async fn take(
    State(app): State<Arc<App>>,
    Path((id, comment)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/comments/{comment}/steps";
        let headers = request.headers().clone();
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let matter = found_matter(&app, &received, (&row, &comment, "comment"), route).await?;
        let asked = received.json::<Value>(app.limits.body_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{}/comments/{}/steps", row.id, matter.id);
            let key = request_key::header(&headers);
            let done = once(&app, &received, key, (&path, &value), async |request| {
                let asked: CommentStep = shape(&value).map_err(Refused::Problem)?;
                let read_at = revision(headers.get(header::IF_MATCH), true).map_err(Refused::Problem)?;
                moved(&app, &received, (&row, &matter.id, request), (asked, read_at)).await
            });
            let moved = match done.await? {
                Once::Done(moved) => moved,
                Once::Earlier(made) => return again(&app, &made).await,
            };
            let receipt = Receipt::of(&format!("{}/{}", moved.row.id, moved.row.revision), &moved.committed);
            let shown = body(&app, &moved.row, Some(receipt)).await?;
            Ok(tagged(StatusCode::OK, moved.row.revision, &shown))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

async fn moved(
    app: &App,
    received: &Received,
    (row, matter, request): (&ManagedRow, &str, Option<(String, String, String)>),
    (asked, read_at): (CommentStep, Option<i64>),
) -> Result<matters::Moved<Comment>, Refused> {
    let (command, reason, written) = asked.read()?;
    let hand = hand(app, received, &named(row).map_err(Refused::Problem)?).await?;
    let parties = agreements::read(row)?.at_the_table();
    let decide = |comment: Comment, at| {
        let act = Act { by: hand.person.clone(), at };
        Ok((comment.apply(command, &hand, act, &parties)?, command.as_str()))
    };
    let said = |_: &Comment| {
        let (reason, written, request) = (reason.clone(), written.clone(), request.clone());
        Ok(Said { reason, written, request, ..by(received, &hand) })
    };
    Ok(matters::take(app, matter, read_at, decide, said).await?)
}

impl CommentStep {
    fn read(self) -> Result<Told<Command>, Refused> {
        Ok(match self {
            Self::Reply { text, position, interest, reason } => {
                let said = [
                    ("text", Some(text.as_str())),
                    ("position", position.as_deref()),
                    ("interest", interest.as_deref()),
                ];
                (Command::Reply, reason.map(|reason| reason.as_str().to_owned()), words_of(&said)?)
            }
            Self::Resolve { text } => (Command::Resolve, None, words_of(&[("text", Some(&text))])?),
            Self::Reopen { text } => (Command::Reopen, None, words_of(&[("text", Some(&text))])?),
        })
    }
}

/// What is beside an agreement's course, if it is beside this one's and about that.
pub(super) async fn found_matter(
    app: &App,
    received: &Received,
    (row, id, about): (&ManagedRow, &str, &str),
    route: &'static str,
) -> Result<MatterRow, Refusal> {
    let matter = app.store.matter(id).await.map_err(|error: StoreError| Refusal::from(internal(&error)))?;
    match matter.filter(|matter| matter.agreement == row.id && matter.about == about) {
        Some(matter) => Ok(matter),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

/// Comments that wait for somebody's answer.
pub(super) async fn unresolved(app: &App, id: &AgreementId) -> Result<Vec<CommentBody>, StepError> {
    all(app, id, |comment| matches!(comment, Comment::Unresolved(_)) && comment.remark().owner.is_some())
        .await
}

async fn all(
    app: &App,
    id: &AgreementId,
    wanted: impl Fn(&Comment) -> bool,
) -> Result<Vec<CommentBody>, StepError> {
    let mut bodies = Vec::new();
    for row in app.store.matters(id, "comment").await? {
        if wanted(&matters::read(&row)?) {
            bodies.push(body(app, &row, None).await?);
        }
    }
    Ok(bodies)
}

async fn body(app: &App, row: &MatterRow, receipt: Option<Receipt>) -> Result<CommentBody, StepError> {
    let comment: Comment = matters::read(row)?;
    let steps = app.store.matter_steps(&row.id).await?;
    let remark = comment.remark();
    Ok(CommentBody {
        id: row.id.clone(),
        revision: row.revision,
        version: remark.version,
        clause: remark.clause.to_string(),
        state: row.state.clone(),
        blocking: remark.blocking,
        owner: remark.owner.clone(),
        due_on: remark.due_on.map(|day| day.to_string()),
        thread: steps.iter().map(SaidBody::of).collect(),
        receipt,
    })
}
