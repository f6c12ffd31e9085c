//! Subject access (UK GDPR Art 15): for the desk that answers people, and for the officers who review what is told.

use std::sync::Arc;

use askama::Template as _;
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::entry::{Actor, Body};
use serde::{Deserialize, Serialize};
use sharing::{
    OrganisationId, Pseudonym,
    visibility::{ExemptionGround, Visibility},
};
use store::{Change, visibility::VisibilityRow};
use utoipa::ToSchema;

use super::{
    alerts::time,
    consents::{commit, instant, resolve, respond, word},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id},
    fault::internal,
    problem::{Problem, Refusal},
    receipt::Receipt,
    sight::indexed,
    subject_access::{self as access, Event, Events, Look, Told, ToldLook, Window, told, told_look},
};

mod pack;

use pack::{Held, held};

/// How the person was found to be who they say they are. A subject access request answered to somebody else is a breach.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityCheck {
    /// NHS login, level P9.
    NhsLoginP9,
    /// The service at which the person signed in says who they are; how it knows is its own to say.
    SignIn,
    /// GOV.UK One Login, with an identity check.
    GovUkOneLogin,
    /// Documents were seen.
    DocumentsSeen,
    /// Somebody who has authority to ask for them, and showed it.
    AuthorisedRepresentative,
}

/// A person asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectAccessRequest {
    /// The person.
    subject: Subject,
    /// How they were identified.
    identity_check: IdentityCheck,
    /// From this time on.
    from: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// Only what is held about them, without who asked: answered also while the index for searching is being made.
    #[serde(default)]
    held_only: bool,
}

/// What a person is told.
#[derive(Serialize, ToSchema)]
pub struct SubjectAccessBody {
    /// The organisation that answers.
    organisation: String,
    /// When this was made, in words.
    made_at: String,
    /// Who asked about the person, the newest first.
    events: Vec<Told>,
    /// Who looked at what is held or recorded about the person, or declared an emergency for them, the newest first.
    looks: Vec<ToldLook>,
    /// There are older events; ask again with `until`.
    more: bool,
    /// What is held about the person here.
    held: Held,
    /// What every answer says.
    notes: Vec<&'static str>,
    /// Other organisations that take part, who answer for themselves.
    ask_also: Vec<String>,
    /// Where the ledger records this answer.
    receipt: Receipt,
}

/// Usage of a person's data, in the shape of the Estonian Data Tracker.
///
/// Source: Andmejälgija, kasutusteabe esitamise protokoll 1.3.1, §8.1 (`findUsage`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindUsageRequest {
    /// The person.
    subject: Subject,
    /// How they were identified.
    identity_check: IdentityCheck,
    /// The first entry to answer with, from 1.
    offset: Option<u32>,
    /// Most entries; 100 unless told, 1,000 at most.
    limit: Option<u32>,
}

/// The newest first.
#[derive(Serialize, ToSchema)]
pub struct FindUsageBody {
    /// Entries.
    usage: Vec<Usage>,
}

/// One use of a person's data.
#[derive(Serialize, ToSchema)]
pub struct Usage {
    /// When.
    logtime: String,
    /// What was done, for a human reader.
    action: String,
    /// The code of the organisation that received the data.
    receiver: String,
}

/// An officer looks at what a person would be told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsRequest {
    /// The person.
    subject: Subject,
    /// From this time on.
    from: Option<String>,
    /// Before this time.
    until: Option<String>,
}

/// Events for an officer.
#[derive(Serialize, ToSchema)]
pub struct EventsBody {
    /// The newest first.
    events: Vec<EventBody>,
    /// Looks without a record being asked for, the newest first.
    looks: Vec<LookBody>,
    /// There are older events; ask again with `until`.
    more: bool,
}

/// An event for an officer.
#[derive(Serialize, ToSchema)]
pub struct EventBody {
    /// As the person would be told.
    told: Told,
    /// Who asked: the practitioner, or the owner of an unattended job.
    asked_by: Option<String>,
    /// Whether the person is told.
    #[schema(value_type = String, example = "needs-review")]
    visibility: Visibility,
    /// Until when it is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld_until: Option<String>,
}

/// A look for an officer.
#[derive(Serialize, ToSchema)]
pub struct LookBody {
    /// As the person would be told.
    told: ToldLook,
    /// Who looked: the practitioner, or the owner of an unattended job.
    looked: Option<String>,
    /// Whether the person is told.
    #[schema(value_type = String, example = "needs-review")]
    visibility: Visibility,
    /// Until when it is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld_until: Option<String>,
}

/// What was decided about.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum DecidedBody {
    /// An event.
    Event(EventBody),
    /// A look.
    Look(LookBody),
}

/// An officer decides whether a person is told of an event or a look.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VisibilityRequest {
    /// The event or the look: its `reference`.
    decision_id: String,
    /// `visible` or `withheld`.
    #[schema(value_type = String, example = "withheld")]
    visibility: Visibility,
    /// For withholding: until when, at most a year from now. Afterwards the person is told.
    until: Option<String>,
    /// For withholding: `crime`, `legal-proceedings`, `protection-of-public`, `others-rights`, `legal-privilege`,
    /// `health-serious-harm`, `social-work-serious-harm` or `child-abuse` (exemptions of the Data Protection Act 2018).
    #[schema(value_type = Option<String>, example = "crime")]
    ground: Option<ExemptionGround>,
}

/// Longest time for which an event is withheld before somebody has to decide again.
const WITHHELD_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

const NOTES: [&str; 4] = [
    "Some events may not be listed, where the law lets an organisation keep them back for a time (Data Protection Act 2018, Schedules 2 to 4). This note is on every answer, whether or not anything was kept back.",
    "You can ask an organisation to correct or erase what it holds, to restrict what it does with it, or object to it (UK GDPR Articles 16 to 21).",
    "You can complain to the organisation, and to the Information Commissioner's Office: ico.org.uk, 0303 123 1113.",
    "Staff are not named. Ask the organisation if you think that somebody looked without a reason, with the event's reference.",
];

/// Answer a person: who asked about them and why, and what is held. As JSON, or as a readable document for
/// `Accept: text/html`.
#[utoipa::path(post, path = "/v1/subject-access", tag = "subject-access", request_body = SubjectAccessRequest,
    responses((status = 200, description = "What the person is told; text/html on request", body = SubjectAccessBody),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    let as_page = wants_html(request.headers());
    respond(request_id(request.headers()), async {
        let route = "/v1/subject-access";
        let mut received = receive(&app, request, Capability::SubjectAccess, Action::SubjectAccess).await?;
        let asked = received.json::<SubjectAccessRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| {
            let window = window(asked.from.as_deref(), asked.until.as_deref())?;
            Ok((asked.subject, asked.identity_check, window, asked.held_only))
        });
        let (subject, check, window, held_only) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        if !held_only {
            indexed(&app).await?;
        }
        let (name, names, receipt) = open(&app, &received, &subject, check, route).await?;
        let failed = |error: store::StoreError| Refusal::from(internal(&error));
        let mine = &received.caller.organisation;
        let Events { events, looks, more } = if held_only {
            Events { events: Vec::new(), looks: Vec::new(), more: false }
        } else {
            access::events(&app, mine, &names, window).await.map_err(failed)?
        };
        let set = app.policies().set;
        let own = access::look_reference(receipt.log_position);
        let visible = events.iter().filter(|event| event.visibility == Visibility::Visible);
        let body = SubjectAccessBody {
            organisation: set.organisation(mine).map_or_else(|| mine.to_string(), |found| found.name.clone()),
            made_at: access::in_london(app.clock.now()),
            events: visible.map(|event| told(&set, event)).collect(),
            looks: looks
                .iter()
                // This answer itself has its receipt below.
                .filter(|look| look.visibility == Visibility::Visible && look.reference != own)
                .map(|look| told_look(&set, look))
                .collect(),
            more,
            held: held(&app, mine, &name).await?,
            notes: NOTES.to_vec(),
            ask_also: set
                .organisations()
                .filter(|one| one.id.get_ref() != mine)
                .map(|one| one.name.clone())
                .collect(),
            receipt,
        };
        if as_page {
            let page = pack::Page { body: &body }.render();
            return Ok(Html(page.map_err(|error| Refusal::from(internal(&error)))?).into_response());
        }
        Ok(Json(body).into_response())
    })
    .await
}

/// The same as a list of uses, in the shape of the Estonian Data Tracker's `findUsage`.
#[utoipa::path(post, path = "/v1/subject-access/find-usage", tag = "subject-access", request_body = FindUsageRequest,
    responses((status = 200, description = "The uses", body = FindUsageBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn find_usage(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/subject-access/find-usage";
        let mut received = receive(&app, request, Capability::SubjectAccess, Action::SubjectAccess).await?;
        let asked = match received.json::<FindUsageRequest>(app.limits.body_bytes_max).await {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let (offset, limit) = (asked.offset.unwrap_or(1), asked.limit.unwrap_or(100));
        if offset == 0 || !(1..=1_000).contains(&limit) {
            let what = "offset counts from 1, and limit is 1 to 1,000".to_owned();
            return Err(received.refuse(&app, Problem::InvalidRequest(what), route).await);
        }
        indexed(&app).await?;
        let (_, names, _) = open(&app, &received, &asked.subject, asked.identity_check, route).await?;
        let found = access::events(&app, &received.caller.organisation, &names, Window::default()).await;
        let found = found.map_err(|error| Refusal::from(internal(&error)))?;
        let usage = uses(&app.policies().set, &found);
        let page = usage.into_iter().skip(offset as usize - 1).take(limit as usize);
        Ok(Json(FindUsageBody { usage: page.collect() }).into_response())
    })
    .await
}

/// Everything that the person is told, as uses, the newest first. Answers to requests in the person's own name are not
/// uses: each page of this list is one.
fn uses(set: &sharing::PolicySet, found: &Events) -> Vec<Usage> {
    let events = found.events.iter().filter(|event| event.visibility == Visibility::Visible).map(|event| {
        let told = told(set, event);
        let action = format!("{}: {}", told.purpose, told.outcome);
        (event.at, Usage { logtime: told.at, action, receiver: event.decided.recipient.clone() })
    });
    let looks = found.looks.iter().filter(|look| look.visibility == Visibility::Visible && !look.own_request);
    let looks = looks.map(|look| {
        let told = told_look(set, look);
        let action = format!("{}: {}", told.purpose, told.what);
        (look.at, Usage { logtime: told.at, action, receiver: look.by.organisation.clone() })
    });
    let mut uses: Vec<_> = events.chain(looks).collect();
    uses.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    uses.into_iter().map(|(_, one)| one).collect()
}

/// What a person would be told, with what waits for a review.
#[utoipa::path(post, path = "/v1/subject-access/events", tag = "subject-access", request_body = EventsRequest,
    responses((status = 200, description = "The events", body = EventsBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn events(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/subject-access/events";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<EventsRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| {
            let identifier = asked.subject.parse()?;
            check_context(&received.context, &identifier)?;
            Ok((identifier, window(asked.from.as_deref(), asked.until.as_deref())?))
        });
        let (identifier, window) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        indexed(&app).await?;
        let subject = resolve(&app, &identifier).await?;
        let name = subject.pseudonym.clone();
        let entry = received.read_of(name.as_str(), "events for subject access");
        commit(&app, &received, entry, vec![Change::KnowSubject(subject)]).await?;
        let names = names(&app, &name).await?;
        let found = access::events(&app, &received.caller.organisation, &names, window).await;
        let found = found.map_err(|error| Refusal::from(internal(&error)))?;
        let set = app.policies().set;
        let events = found.events.iter().map(|event| body(&set, event, app.clock.now())).collect();
        let looks = found.looks.iter().map(|look| look_body(&set, look, app.clock.now())).collect();
        Ok(Json(EventsBody { events, looks, more: found.more }).into_response())
    })
    .await
}

/// Decide whether a person is told of an event or a look.
#[utoipa::path(post, path = "/v1/subject-access/visibility", tag = "subject-access", request_body = VisibilityRequest,
    responses((status = 200, description = "Decided", body = DecidedBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "You asked yourself"), (status = 404, description = "There is no such event that your organisation answers for")))]
pub async fn decide(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/subject-access/visibility";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let now = app.clock.now();
        let asked = received.json::<VisibilityRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| {
            let until = until(&asked, now)?;
            Ok((asked, until))
        });
        let (asked, until) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let failed = |error: store::StoreError| Refusal::from(internal(&error));
        let mine = &received.caller.organisation;
        let Some(found) = find(&app, mine, &asked.decision_id).await.map_err(failed)? else {
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        let who = received.caller.named.id().to_owned();
        let by = found.by();
        if by.organisation == mine.as_str() && human(by) == Some(who.as_str()) {
            let problem =
                Problem::NotAllowed("nobody decides what is told of their own question; ask a colleague");
            return Err(received.refuse(&app, problem, route).await);
        }
        let row = VisibilityRow {
            decision_id: asked.decision_id.clone(),
            organisation: mine.to_string(),
            state: word(&asked.visibility),
            until_us: until.map(Timestamp::as_microsecond),
            ground: asked.ground.map(|ground| ground.as_str().to_owned()),
            decided_by: who,
            decided_us: now.as_microsecond(),
        };
        let entry = Body::VisibilityDecided {
            of: asked.decision_id.clone(),
            visibility: row.state.clone(),
            until_us: row.until_us,
            ground: row.ground.clone(),
            by: received.caller.actor(),
        };
        commit(&app, &received, entry, vec![Change::DecideVisibility(Box::new(row))]).await?;
        let found = find(&app, mine, &asked.decision_id).await.map_err(failed)?.unwrap_or(found);
        let set = app.policies().set;
        let decided = match &found {
            Found::Event(event) => DecidedBody::Event(body(&set, event, now)),
            Found::Look(look) => DecidedBody::Look(look_body(&set, look, now)),
        };
        Ok(Json(decided).into_response())
    })
    .await
}

enum Found {
    Event(Box<Event>),
    Look(Box<Look>),
}

impl Found {
    fn by(&self) -> &Actor {
        match self {
            Self::Event(event) => &event.decided.by,
            Self::Look(look) => &look.by,
        }
    }
}

async fn find(app: &App, mine: &OrganisationId, reference: &str) -> Result<Option<Found>, store::StoreError> {
    if let Some(event) = access::event_of(app, mine, reference).await? {
        return Ok(Some(Found::Event(Box::new(event))));
    }
    Ok(access::look_of(app, mine, reference).await?.map(|look| Found::Look(Box::new(look))))
}

fn until(asked: &VisibilityRequest, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    match (asked.visibility, &asked.until, asked.ground) {
        (Visibility::Visible, None, None) => Ok(None),
        (Visibility::Withheld, Some(until), Some(_)) => {
            let latest = now.checked_add(WITHHELD_MAX).unwrap_or(now);
            let until = instant(until).filter(|until| *until > now && *until <= latest);
            until.map(Some).ok_or_else(|| invalid("until: an rfc 3339 time within a year from now"))
        }
        (Visibility::Withheld, ..) => {
            Err(invalid("until, ground: withholding needs both, a time and an exemption of the Act"))
        }
        (Visibility::Visible, ..) => Err(invalid("until, ground: only for withholding")),
        (Visibility::NeedsReview, ..) => Err(invalid("visibility: visible or withheld")),
    }
}

fn body(set: &sharing::PolicySet, event: &Event, at: Timestamp) -> EventBody {
    EventBody {
        told: told(set, event),
        asked_by: human(&event.decided.by).map(str::to_owned),
        visibility: event.visibility,
        withheld_until: withheld_until(&event.decisions, at),
    }
}

fn look_body(set: &sharing::PolicySet, look: &Look, at: Timestamp) -> LookBody {
    LookBody {
        told: told_look(set, look),
        looked: human(&look.by).map(str::to_owned),
        visibility: look.visibility,
        withheld_until: withheld_until(&look.decisions, at),
    }
}

fn withheld_until(decisions: &[VisibilityRow], at: Timestamp) -> Option<String> {
    decisions.iter().filter(|row| row.withholds(at)).filter_map(|row| row.until_us).max().map(time)
}

fn human(by: &Actor) -> Option<&str> {
    by.practitioner.as_deref().or(by.unattended_owner.as_deref())
}

fn window(from: Option<&str>, until: Option<&str>) -> Result<Window, Problem> {
    let read = |name: &str, text: Option<&str>| {
        let invalid = || Problem::InvalidRequest(format!("{name}: an rfc 3339 time"));
        text.map(|text| instant(text).ok_or_else(invalid)).transpose()
    };
    Ok(Window { from: read("from", from)?, until: read("until", until)? })
}

/// Records that a person is answered, and says under which names the ledger has them.
async fn open(
    app: &App,
    received: &Received,
    subject: &Subject,
    check: IdentityCheck,
    route: &str,
) -> Result<(Pseudonym, Vec<Pseudonym>, Receipt), Refusal> {
    let parsed = subject.parse().and_then(|identifier| {
        check_context(&received.context, &identifier)?;
        Ok(identifier)
    });
    let identifier = match parsed {
        Ok(identifier) => identifier,
        Err(problem) => return Err(received.refuse(app, problem, route).await),
    };
    let subject = resolve(app, &identifier).await?;
    let name = subject.pseudonym.clone();
    let entry = received.read_of(name.as_str(), format!("subject access, {}", word(&check)));
    let committed = commit(app, received, entry, vec![Change::KnowSubject(subject)]).await?;
    let names = names(app, &name).await?;
    Ok((name, names, Receipt::of("subject-access", &committed)))
}

async fn names(app: &App, name: &Pseudonym) -> Result<Vec<Pseudonym>, Refusal> {
    let state = app.store.subject_state(std::slice::from_ref(name)).await;
    let state = state.map_err(|error| Refusal::from(internal(&error)))?;
    Ok(state.names.into_iter().map(|(name, _)| name).collect())
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}
