//! Searching the trail. Every answer is decoded from the ledger's own leaves; the index only says where to look.
//! Searching is itself an entry.
//!
//! Auditors see everything. Privacy officers see what was asked of their own organisation's records, and what their
//! organisation recorded: of other questions, whether a record was refused because of the person must not be seen by
//! the organisation that asked.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use ledger::{
    entry::{Body, Decided, Entry},
    trail::{self, Field, Term},
    tree::{hexadecimal, leaf_hash},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::trail::{Places, TrailQuery};
use utoipa::ToSchema;

use super::{
    consents::{commit, instant, resolve, respond},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive_any, request_id},
    fault::{inconsistent, internal},
    problem::{Problem, Refusal},
    receipt::Receipt,
    sight::{indexed, seen, sees},
};

pub mod counts;

/// Most entries in one answer.
const LIMIT_MAX: u32 = 200;

/// How many places of the index are looked at for one answer before it ends early with a cursor.
const LOOKED_AT_MAX: u32 = 2_000;

/// What to look for. Each member narrows; leave out what does not matter.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrailSearch {
    /// A person, under every name that the ledger has for them.
    subject: Option<Subject>,
    /// An organisation that acted, asked or received.
    organisation: Option<String>,
    /// The human who acted.
    practitioner: Option<String>,
    /// The record holder.
    provider: Option<String>,
    /// The purpose.
    purpose: Option<String>,
    /// The agreement.
    agreement: Option<String>,
    /// A decision, consent, objection, alert, grant or emergency.
    reference: Option<String>,
    /// A reason for which something was not released.
    reason: Option<String>,
    /// An item that was asked for, permitted or released.
    item: Option<String>,
    /// The kind of entry.
    kind: Option<String>,
    /// Kinds of entries, up to 20: each that is found is of one of them.
    kinds: Option<Vec<String>>,
    /// The case.
    case_reference: Option<String>,
    /// From this time on.
    from: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// Where the answer before this one ended.
    cursor: Option<String>,
    /// At most so many entries, up to 200.
    limit: Option<u32>,
}

/// Most kinds that one search is for.
const KINDS_MAX: usize = 20;

/// Entries, the newest first.
#[derive(Serialize, ToSchema)]
pub struct TrailAnswer {
    /// The entries.
    entries: Vec<TrailEntry>,
    /// Where to go on; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The ledger's size when this was searched.
    ledger_size: u64,
    /// Where this search is recorded.
    receipt: Receipt,
}

/// One entry.
#[derive(Serialize, ToSchema)]
pub struct TrailEntry {
    /// Its place.
    seq: u64,
    /// When it was written.
    at: String,
    /// The leaf, byte for byte.
    #[schema(value_type = Object)]
    leaf: Box<RawValue>,
    /// Its RFC 6962 hash.
    leaf_hash: String,
    /// What was asked, where the entry only names the decision: what was released of it, or how it ended. It is of that decision's own
    /// entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<QuestionBody>,
}

/// What a decision was about.
#[derive(Serialize, ToSchema)]
pub struct QuestionBody {
    /// The organisation that asked.
    organisation: String,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    practitioner: Option<String>,
    /// The record holder that was asked.
    provider: String,
    /// For what.
    purpose: String,
    /// The case, as whoever asked names it.
    case_reference: String,
}

impl QuestionBody {
    fn of(first: &Decided) -> Self {
        Self {
            organisation: first.by.organisation.clone(),
            practitioner: first.by.practitioner.clone().or_else(|| first.by.unattended_owner.clone()),
            provider: first.provider.clone(),
            purpose: first.purpose.clone(),
            case_reference: first.case_reference.clone(),
        }
    }
}

/// Everyone whose data went to an organisation: the question of a breach's first 72 hours (UK GDPR Art 33).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisclosedSearch {
    /// To whom.
    recipient: String,
    /// Under which agreement; leave it out for any, and for grants and emergencies.
    agreement: Option<String>,
    /// From this time on.
    from: String,
    /// Before this time.
    until: String,
    /// Where the answer before this one ended.
    cursor: Option<String>,
}

/// What was disclosed, the newest first.
#[derive(Serialize, ToSchema)]
pub struct DisclosedAnswer {
    /// Releases.
    releases: Vec<ReleaseBody>,
    /// Every item in this answer.
    items: Vec<String>,
    /// How many people this answer is about, as far as the ledger can tell them apart.
    people: usize,
    /// Where to go on; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Where this search is recorded.
    receipt: Receipt,
}

/// One release.
#[derive(Serialize, ToSchema)]
pub struct ReleaseBody {
    /// The decision, which the recipient and the record holder have in their own logs.
    decision_id: String,
    /// When.
    at: String,
    /// The person's pseudonyms.
    subjects: Vec<String>,
    /// The items, as `item:form`.
    items: Vec<String>,
    /// Who asked.
    practitioner: Option<String>,
    /// For what.
    purpose: String,
    /// The case, as the recipient names it.
    case_reference: String,
    /// The recipient's own id for the request.
    request_id: Option<String>,
    /// The agreement.
    agreement: Option<String>,
}

/// Search the trail.
#[utoipa::path(post, path = "/v1/trail/search", tag = "audit", request_body = TrailSearch,
    responses((status = 200, description = "The entries", body = TrailAnswer), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn search(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/trail/search";
        let mut received = receive(&app, request).await?;
        let asked = received.json::<TrailSearch>(app.limits.body_bytes_max).await;
        let query = match asked {
            Ok(asked) => query_of(&app, &received, &asked).await?.map(|query| (query, asked)),
            Err(problem) => Err(problem),
        };
        let (query, asked) = match query {
            Ok(found) => found,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        indexed(&app).await?;
        let receipt = record(&app, &received, &query, "trail").await?;
        let limit = asked.limit.unwrap_or(50).clamp(1, LIMIT_MAX);
        let found = walk(&app, &received, query, limit).await?;
        let entries = found.entries.into_iter();
        let entries =
            entries.map(|(entry, leaf, first)| written(&entry, &leaf, first.as_ref())).collect::<Option<_>>();
        let entries = entries.ok_or_else(|| Refusal::from(inconsistent(&"a leaf is not json")))?;
        Ok(Json(TrailAnswer { entries, next: found.next, ledger_size: found.size, receipt }).into_response())
    })
    .await
}

/// Everyone whose data went to an organisation under an agreement in a time, and which items.
#[utoipa::path(post, path = "/v1/trail/disclosed", tag = "audit", request_body = DisclosedSearch,
    responses((status = 200, description = "The releases", body = DisclosedAnswer), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn disclosed(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/trail/disclosed";
        let mut received = receive(&app, request).await?;
        let asked = received.json::<DisclosedSearch>(app.limits.body_bytes_max).await;
        let asked = asked.and_then(|asked| {
            let time = times(Some(&asked.from), Some(&asked.until), asked.cursor.as_deref())?;
            let all_of = [
                Some(Term::new(Field::Kind, "release")),
                Some(Term::new(Field::Organisation, &asked.recipient)),
                asked.agreement.as_ref().map(|agreement| Term::new(Field::Agreement, agreement)),
            ];
            let all_of = all_of.into_iter().flatten().map(|term| vec![term]).collect();
            Ok((TrailQuery { all_of, ..time }, asked))
        });
        let (query, asked) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        indexed(&app).await?;
        let receipt = record(&app, &received, &query, "disclosed").await?;
        let found = walk(&app, &received, query, LIMIT_MAX).await?;
        let releases = found.entries.iter().filter_map(|(entry, _, first)| release(entry, first.as_ref()?));
        // The organisation that acted may be another than the one that received.
        let releases: Vec<_> =
            releases.filter(|(recipient, _)| *recipient == asked.recipient).map(|(_, body)| body).collect();
        let items: BTreeSet<_> = releases.iter().flat_map(|release| release.items.iter().cloned()).collect();
        let people: BTreeSet<_> =
            releases.iter().filter_map(|release| release.subjects.iter().min()).collect();
        let (people, items) = (people.len(), items.into_iter().collect());
        Ok(Json(DisclosedAnswer { releases, items, people, next: found.next, receipt }).into_response())
    })
    .await
}

async fn receive(app: &App, request: Request) -> Result<Received, Refusal> {
    let either = [(Capability::Audit, Action::Audit), (Capability::Review, Action::Review)];
    receive_any(app, request, &either).await
}

fn release(entry: &Entry, first: &Decided) -> Option<(String, ReleaseBody)> {
    let Body::Release { decision_id, subjects, items, .. } = &entry.body else { return None };
    let body = ReleaseBody {
        decision_id: decision_id.clone(),
        at: time(entry.at_us),
        subjects: subjects.clone(),
        items: items.clone(),
        practitioner: first.by.practitioner.clone().or_else(|| first.by.unattended_owner.clone()),
        purpose: first.purpose.clone(),
        case_reference: first.case_reference.clone(),
        request_id: first.request_id.clone(),
        agreement: first.agreement.as_ref().map(|agreement| agreement.agreement.clone()),
    };
    Some((first.recipient.clone(), body))
}

async fn query_of(
    app: &App,
    received: &Received,
    asked: &TrailSearch,
) -> Result<Result<TrailQuery, Problem>, Refusal> {
    let time = match times(asked.from.as_deref(), asked.until.as_deref(), asked.cursor.as_deref()) {
        Ok(time) => time,
        Err(problem) => return Ok(Err(problem)),
    };
    let plain = [
        (Field::Organisation, &asked.organisation),
        (Field::Practitioner, &asked.practitioner),
        (Field::Provider, &asked.provider),
        (Field::Purpose, &asked.purpose),
        (Field::Agreement, &asked.agreement),
        (Field::Reference, &asked.reference),
        (Field::Reason, &asked.reason),
        (Field::Item, &asked.item),
        (Field::Kind, &asked.kind),
        (Field::Case, &asked.case_reference),
    ];
    let mut all_of: Vec<Vec<Term>> = plain
        .into_iter()
        .filter_map(|(field, value)| Some(vec![Term::new(field, value.as_ref()?)]))
        .collect();
    match asked.kinds.as_deref() {
        None => {}
        Some(kinds) if (1..=KINDS_MAX).contains(&kinds.len()) => {
            all_of.push(kinds.iter().map(|kind| Term::new(Field::Kind, kind)).collect());
        }
        Some(_) => {
            let said = "kinds: 1 to 20 of them, or leave it out";
            return Ok(Err(Problem::InvalidRequest(said.to_owned())));
        }
    }
    if let Some(subject) = &asked.subject {
        let identifier = match subject.parse().and_then(|identifier| {
            check_context(&received.context, &identifier)?;
            Ok(identifier)
        }) {
            Ok(identifier) => identifier,
            Err(problem) => return Ok(Err(problem)),
        };
        let names = names_of(app, received, &identifier).await?;
        all_of.push(names.into_iter().map(|name| Term::new(Field::Subject, name)).collect());
    }
    if all_of.is_empty() && time.from_us.is_none() {
        let said = "say what to look for: at least one member, or a time to begin from";
        return Ok(Err(Problem::InvalidRequest(said.to_owned())));
    }
    Ok(Ok(TrailQuery { all_of, ..time }))
}

/// Every pseudonym that the ledger has for a person.
pub(super) async fn names_of(
    app: &App,
    received: &Received,
    identifier: &sharing::SubjectIdentifier,
) -> Result<BTreeSet<String>, Refusal> {
    let name = resolve(app, identifier).await?.pseudonym;
    let about = store::About {
        purpose: received.context.purpose,
        identifiers: std::slice::from_ref(identifier),
        at: app.clock.now(),
    };
    let state = app.store.subject_state_about(std::slice::from_ref(&name), about).await;
    let state = state.map_err(|error| Refusal::from(internal(&error)))?;
    let mut names: BTreeSet<String> = state.names.iter().map(|(name, _)| name.to_string()).collect();
    names.insert(name.to_string());
    Ok(names)
}

fn times(from: Option<&str>, until: Option<&str>, cursor: Option<&str>) -> Result<TrailQuery, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let read = |name: &str, text: Option<&str>| {
        let parsed =
            text.map(|text| instant(text).ok_or_else(|| invalid(&format!("{name}: an rfc 3339 time"))));
        Ok::<_, Problem>(parsed.transpose()?.map(Timestamp::as_microsecond))
    };
    let before =
        cursor.map(|cursor| cursor.parse().map_err(|_| invalid("cursor: the `next` of an earlier answer")));
    Ok(TrailQuery {
        all_of: Vec::new(),
        from_us: read("from", from)?,
        until_us: read("until", until)?,
        before: before.transpose()?,
        seen_by: None,
    })
}

/// Searching is an entry: about a person where one was named, and otherwise saying by what.
async fn record(app: &App, received: &Received, query: &TrailQuery, what: &str) -> Result<Receipt, Refusal> {
    let subject = query.all_of.iter().flatten().find(|term| term.field == Field::Subject);
    let by: BTreeSet<_> = query.all_of.iter().flatten().map(|term| term.field.as_str()).collect();
    let by = by.into_iter().collect::<Vec<_>>().join(", ");
    let entry = match subject {
        Some(subject) => received.read_of(&subject.value, format!("{what} by {by}")),
        None => Body::DecisionRead {
            of: what.to_owned(),
            what: format!("{what} by {by}"),
            by: received.caller.actor(),
        },
    };
    let committed = commit(app, received, entry, Vec::new()).await?;
    Ok(Receipt::of(what, &committed))
}

struct Found {
    entries: Vec<(Entry, Vec<u8>, Option<Decided>)>,
    next: Option<String>,
    size: u64,
}

/// Goes through the places that the index names, reads each leaf, and keeps those that are what was asked for and
/// the caller's to see.
async fn walk(app: &App, received: &Received, mut query: TrailQuery, limit: u32) -> Result<Found, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let size = indexed(app).await?;
    if !received.caller.may(Capability::Audit) {
        query.seen_by = Some(seen(app, &received.caller.organisation));
    }
    let (mut entries, mut looked_at) = (Vec::new(), 0);
    loop {
        let step = if looked_at == 0 { limit.clamp(20, LIMIT_MAX) } else { LIMIT_MAX };
        let Places { found: places, stopped_at } = app.trail.look(&query, step).await.map_err(failed)?;
        if places.is_empty() {
            return Ok(Found { entries, next: stopped_at.map(|place| place.to_string()), size });
        }
        let mut leaves = app.store.leaves_at(&places).await.map_err(failed)?;
        leaves.reverse(); // the newest first
        let decoded = leaves.iter().map(|leaf| Entry::decode(&leaf.bytes)).collect::<Result<Vec<_>, _>>();
        let decoded = decoded.map_err(|error| Refusal::from(internal(&error)))?;
        let deciding = app.store.deciding(&decoded).await.map_err(failed)?;
        query.before = places.last().copied();
        for (entry, leaf) in decoded.into_iter().zip(leaves) {
            looked_at += 1;
            let first = trail::follows(&entry.body).and_then(|decision| deciding.get(decision));
            if is_asked_for(&query, &entry, first) && may_see(app, received, &entry, first) {
                entries.push((entry, leaf.bytes, first.cloned()));
            }
            if entries.len() >= limit as usize || looked_at >= LOOKED_AT_MAX {
                return Ok(Found { entries, next: Some(leaf.seq.to_string()), size });
            }
        }
        // It has been long enough: whoever wants more goes on from here.
        if let Some(place) = stopped_at {
            return Ok(Found { entries, next: Some(place.to_string()), size });
        }
    }
}

/// The leaf itself says that it is what was asked for, whatever the index said.
fn is_asked_for(query: &TrailQuery, entry: &Entry, first: Option<&Decided>) -> bool {
    let terms = trail::terms(entry, first);
    query.all_of.iter().all(|group| group.iter().any(|term| terms.contains(term)))
        && query.from_us.is_none_or(|from| entry.at_us >= from)
        && query.until_us.is_none_or(|until| entry.at_us < until)
}

fn may_see(app: &App, received: &Received, entry: &Entry, first: Option<&Decided>) -> bool {
    received.caller.may(Capability::Audit) || sees(app, &received.caller.organisation, entry, first)
}

fn written(entry: &Entry, leaf: &[u8], first: Option<&Decided>) -> Option<TrailEntry> {
    let text = std::str::from_utf8(leaf).ok()?.to_owned();
    Some(TrailEntry {
        seq: entry.seq,
        at: time(entry.at_us),
        leaf_hash: hexadecimal(&leaf_hash(leaf)),
        leaf: RawValue::from_string(text).ok()?,
        asked: first.map(QuestionBody::of),
    })
}

fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map(|at| at.to_string()).unwrap_or_default()
}
