//! What is looked at when an agreement is reviewed: how it was used, what people recorded of it, and what a proposed version
//! would have answered.

use std::collections::BTreeMap;

use super::{
    Action, App, Arc, Capability, Deserialize, IntoResponse, Json, Once, Path, Problem, Receipt, Received,
    Refusal, Refused, Request, Response, Serialize, State, StatusCode, StepError, Terms, ToSchema, Value,
    agreements,
    comments::{self, SaidBody},
    documents, found, hand, internal, once, receive, receive_any, record_read, replayed, request_id,
    request_key, respond, settle, shape, tagged,
};
use store::ManagedRow;

use crate::{
    agreements::{
        matters::{self, Said},
        usage::{self, FlowUseBody},
    },
    replay::{self, Simulation},
    routes::described::Count,
};
use sharing::{
    Agreement,
    agreement::{
        lifecycle::{self, Act},
        record::{Kind, Record},
    },
    identifier::FlowId,
    small_numbers::Shown,
};

/// Over how many days past questions are decided again.
const IMPACT_DAYS: i64 = 30;

/// Most questions that are decided again for one answer.
const IMPACT_QUESTIONS_MAX: usize = 2_000;

/// Something to record about an agreement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRequest {
    /// `benefit`: good that the data did. `harm`: harm because something was not shared, too little or too late. `evaluation`:
    /// what a pilot's evaluation found. `item-use`: which of the `items` of a `flow` its recipient uses.
    #[schema(value_type = String, example = "benefit")]
    kind: Kind,
    /// About which flow; all where none is named.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    flow: Option<FlowId>,
    /// Of harm: what went wrong.
    #[serde(default)]
    reason: Option<HarmReason>,
    /// Of use: items of the flow with their forms, and whether they are used. What is left out nothing is said of.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({ "person.birth_date:age-band": false }))]
    items: BTreeMap<String, bool>,
    /// In words, without naming anybody.
    text: String,
}

/// What went wrong where something was not shared.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HarmReason {
    /// Nobody asked, or knew that they might.
    NotAsked,
    /// It was refused.
    Refused,
    /// It came too late.
    TooLate,
    /// It was too little.
    TooLittle,
    /// It was wrong or out of date.
    Wrong,
}

impl HarmReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::Refused => "refused",
            Self::TooLate => "too-late",
            Self::TooLittle => "too-little",
            Self::Wrong => "wrong",
        }
    }
}

/// A record.
#[derive(Serialize, ToSchema)]
pub struct RecordBody {
    /// Its name.
    id: String,
    /// `benefit`, `harm`, `evaluation` or `item-use`.
    kind: String,
    /// About which version.
    version: i64,
    /// About which flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    /// Of use: the items, and whether they are used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    items: BTreeMap<String, bool>,
    /// What was said.
    said: Vec<SaidBody>,
    /// Where it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// How an agreement was used.
#[derive(Serialize, ToSchema)]
pub struct UsageBody {
    /// The agreement.
    agreement: String,
    /// The version in force.
    version: u32,
    /// Each flow.
    flows: Vec<FlowUseBody>,
    /// Good that people noted.
    benefits: Vec<RecordBody>,
    /// Harm because something was not shared.
    harm: Vec<RecordBody>,
    /// What a pilot's evaluation found.
    evaluations: Vec<RecordBody>,
    /// What recipients said of the items that they use.
    item_use: Vec<RecordBody>,
}

/// What a version would have answered. Counts under eight are `*`, others rounded to five.
#[derive(Serialize, ToSchema)]
pub struct ImpactBody {
    /// The version.
    version: u32,
    /// From when on questions were looked at.
    from: String,
    /// Until when.
    until: String,
    /// Whether there were more questions than are looked at.
    truncated: bool,
    /// Past questions between its parties, as the policies in force decide them: `permit`, `deny`, `refer`, and `no_record` for
    /// those to which no record was available, or would be: whether nobody is known or something stands against it is told to nobody.
    #[schema(value_type = BTreeMap<String, Count>)]
    in_force: BTreeMap<&'static str, Shown>,
    /// As this version would. Where a question gave no record, as it would for somebody about whom nothing is held.
    #[schema(value_type = BTreeMap<String, Count>)]
    proposed: BTreeMap<&'static str, Shown>,
    /// How often each item would be permitted.
    items: Vec<ItemImpact>,
}

/// How often an item would be permitted.
#[derive(Serialize, ToSchema)]
pub struct ItemImpact {
    /// The item, with its form.
    item: String,
    /// With the policies in force.
    #[schema(value_type = Count)]
    in_force: Shown,
    /// With this version.
    #[schema(value_type = Count)]
    proposed: Shown,
}

/// Record good that an agreement did, harm where something was not shared, what a pilot's evaluation found, or which items a recipient
/// uses: the recipient of the flow says that. Practitioners'
/// systems report harm with the action `read`, also of waiting for an agreement that was offered and is not in force.
#[utoipa::path(post, path = "/v1/agreements/{id}/records", tag = "agreements", params(("id" = String, Path, description = "The agreement")), request_body = RecordRequest,
    responses((status = 201, description = "The record", body = RecordBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Your organisation is not a party"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not in force, and this is not about harm"),
        (status = 422, description = "The idempotency key was used for another request")))]
pub async fn note(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/records";
        let either = [
            (Capability::Draft, Action::Agree),
            (Capability::Approve, Action::Agree),
            (Capability::Ask, Action::Read),
        ];
        let key = request_key::header(request.headers());
        let mut received = receive_any(&app, request, &either).await?;
        let in_force = app.policies().set.agreements().any(|agreement| agreement.id().as_str() == id);
        let (agreed, row) = if in_force {
            (Some(used(&app, &received, &id, route).await?), None)
        } else {
            (None, Some(found(&app, &received, &id, route).await?))
        };
        let asked = received.json::<Value>(app.limits.body_bytes_max).await;
        let work = async {
            let value = asked.map_err(Refused::Problem)?;
            let path = format!("/v1/agreements/{id}/records");
            let done = once(&app, &received, key, (&path, &value), async |request| {
                let asked: RecordRequest = shape(&value).map_err(Refused::Problem)?;
                let agreed = match (agreed, row) {
                    (Some(agreed), _) => agreed,
                    // Harm comes of waiting for it, too.
                    (None, Some(row)) if asked.kind == Kind::Harm => newest_offered(&app, &row).await?,
                    (None, _) => return Err(StepError::Refused(lifecycle::Refusal::NotInForce).into()),
                };
                noted(&app, &received, (&agreed, request), asked).await
            });
            let made = match done.await? {
                Once::Done(made) => made,
                Once::Earlier(made) => return again(&app, &made).await,
            };
            let receipt = Receipt::of(&made.row.id, &made.committed);
            Ok(tagged(StatusCode::CREATED, made.row.revision, &body(&app, &made.row, Some(receipt)).await?))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

/// The newest terms that were offered of an agreement that is not in force.
async fn newest_offered(app: &App, row: &ManagedRow) -> Result<Agreement, Refused> {
    let managed = agreements::read(row)?;
    let offered = (1..=managed.latest).rev().find(|version| managed.drafted_by(*version).is_none());
    let version = offered.ok_or(StepError::Refused(lifecycle::Refusal::NotInForce))?;
    let (terms, _) = comments::offered(app, row, version).await?;
    Ok(terms.agreement().map_err(|error| StepError::Kept(error.to_string()))?)
}

/// The record, for a request that was carried out before.
async fn again(app: &App, made: &store::MatterRow) -> Result<Response, Refused> {
    Ok(replayed(tagged(StatusCode::OK, made.revision, &body(app, made, None).await?)))
}

async fn noted(
    app: &App,
    received: &Received,
    (agreement, request): (&Agreement, Option<(String, String, String)>),
    asked: RecordRequest,
) -> Result<matters::Moved<Record>, Refused> {
    let invalid = |what: &str| Refused::Problem(Problem::InvalidRequest(what.to_owned()));
    if asked.flow.as_ref().is_some_and(|flow| agreement.flows.iter().all(|known| known.id.get_ref() != flow))
    {
        return Err(invalid("flow: a flow of the agreement"));
    }
    if (asked.kind == Kind::Harm) != asked.reason.is_some() {
        return Err(invalid("reason: what went wrong, for harm and for nothing else"));
    }
    let written = comments::words(&[("text", Some(&asked.text))]).map_err(Refused::Problem)?;
    let hand = hand(app, received, agreement.id()).await?;
    let parties = agreement.parties.iter().map(|party| party.organisation.get_ref().clone()).collect();
    let act = Act { by: hand.person.clone(), at: app.clock.now() };
    if (asked.kind == Kind::ItemUse) == asked.items.is_empty() {
        return Err(invalid(
            "items: which items are used, and which are not, for `item-use` and for nothing else",
        ));
    }
    let record = if asked.kind == Kind::ItemUse {
        let of = agreement.flows.iter().find(|flow| asked.flow.as_ref() == Some(flow.id.get_ref()));
        let of = of.ok_or_else(|| invalid("flow: the flow whose items they are"))?;
        let is_agreed = |named: &String| of.items.iter().any(|item| item.with_form() == *named);
        if !asked.items.keys().all(is_agreed) {
            return Err(invalid("items: items of the flow with their forms, as `person.name:as-is`"));
        }
        Record::of_items((of.id.get_ref().clone(), asked.items), &hand, act, of.recipient.get_ref())
    } else {
        Record::make((asked.kind, asked.flow), &hand, act, &parties)
    };
    let record = record.map_err(StepError::from)?;
    let reason = asked.reason.map(|reason| reason.as_str().to_owned());
    let said = Said { reason, written, request, ..comments::by(received, &hand) };
    let of = (agreement.id().as_str(), agreement.version);
    Ok(matters::begin(app, of, record, "noted", said).await?)
}

/// See how an agreement was used: questions, answers and reasons by quarter, items that nobody was given, the busiest day
/// beside the ceiling, and what people recorded. Counts under eight are `*`, others rounded to five; the quarter that goes on is
/// left out.
#[utoipa::path(get, path = "/v1/agreements/{id}/usage", tag = "agreements", params(("id" = String, Path, description = "The agreement")),
    responses((status = 200, description = "How it was used", body = UsageBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "None is in force, or it is not yours to see")))]
pub async fn usage(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let agreement = used(&app, &received, &id, "/v1/agreements/{id}/usage").await?;
        record_read(&app, &received, agreement.id().as_str()).await?;
        let shown = shown(&app, &agreement).await.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(Json(shown).into_response())
    })
    .await
}

async fn shown(app: &App, agreement: &Agreement) -> Result<UsageBody, StepError> {
    let counts = usage::counted(app, Some(agreement.id().as_str())).await?;
    let [mut benefits, mut harm, mut evaluations, mut item_use] = [const { Vec::new() }; 4];
    for (kind, records) in [
        (Kind::Benefit, &mut benefits),
        (Kind::Harm, &mut harm),
        (Kind::Evaluation, &mut evaluations),
        (Kind::ItemUse, &mut item_use),
    ] {
        for row in app.store.matters(agreement.id(), kind.as_str()).await? {
            records.push(body(app, &row, None).await?);
        }
    }
    Ok(UsageBody {
        agreement: agreement.id().to_string(),
        version: agreement.version,
        flows: usage::flows(agreement, &counts, &usage::item_reports(app, agreement.id()).await?),
        benefits,
        harm,
        evaluations,
        item_use,
    })
}

async fn body(app: &App, row: &store::MatterRow, receipt: Option<Receipt>) -> Result<RecordBody, StepError> {
    let record: Record = matters::read(row)?;
    let steps = app.store.matter_steps(&row.id).await?;
    Ok(RecordBody {
        id: row.id.clone(),
        kind: row.about.clone(),
        version: row.version,
        flow: record.flow.map(|flow| flow.to_string()),
        items: record.items,
        said: steps.iter().map(SaidBody::of).collect(),
        receipt,
    })
}

/// An agreement in force, of a file or managed here, if the caller's organisation is a party of it or sees all.
async fn used(app: &App, received: &Received, id: &str, route: &'static str) -> Result<Agreement, Refusal> {
    let set = app.policies().set;
    let own = &received.caller.organisation;
    let agreement = set.agreements().find(|agreement| agreement.id().as_str() == id);
    let is_party = |agreement: &&Agreement| {
        super::sees_all(received) || agreement.parties.iter().any(|party| party.organisation.get_ref() == own)
    };
    match agreement.filter(is_party) {
        Some(agreement) => Ok(agreement.clone()),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

/// What a version would have answered to the questions of the last thirty days between its parties: shadow mode. Nothing is asked
/// of anybody, and it is taken as if it were signed and in force.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}/impact", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "What would have been answered", body = ImpactBody),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn impact(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/impact";
        let (row, _) = documents::seen(&app, request, (&id, &version), route).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| Refusal::from(internal(error));
        let terms = Terms::kept(&row.terms).map_err(|error| failed(&error))?;
        let agreement = terms.agreement().map_err(|error| failed(&error))?;
        let proposed = agreements::with_terms(&app.policies().set, &terms).map_err(|error| failed(&error))?;
        let archive = app.exports.archive().await.map_err(|error| failed(&error))?;
        // Days that are over: nobody asks, looks, and finds out how one question was decided.
        let until = sharing::agreement::london_midnight(sharing::agreement::london_day(app.clock.now()));
        let from = until.checked_sub(jiff::SignedDuration::from_hours(24 * IMPACT_DAYS)).unwrap_or(until);
        let between = |decided: &ledger::entry::Decided| {
            let party = |name: &str| {
                agreement.parties.iter().any(|party| party.organisation.get_ref().as_str() == name)
            };
            let holder =
                proposed.providers().find(|known| known.provider.id.get_ref().as_str() == decided.provider);
            party(&decided.recipient) && holder.is_some_and(|holder| party(holder.organisation().as_str()))
        };
        let some = (IMPACT_QUESTIONS_MAX, &between as &(dyn Fn(&ledger::entry::Decided) -> bool + Sync));
        let simulated = replay::simulate_some(&archive, &proposed, (from, until), some, replay::For::Parties);
        let (simulation, truncated) = simulated.await.map_err(|error| failed(error.as_ref()))?;
        Ok(Json(impact_of(agreement.version, &simulation, truncated)).into_response())
    })
    .await
}

fn impact_of(version: u32, simulation: &Simulation, truncated: bool) -> ImpactBody {
    let decisions = |counts: &BTreeMap<&'static str, u64>| {
        let all = ["permit", "deny", "refer", replay::NO_RECORD];
        let (shown, _) = Shown::parts(&all.map(|decision| counts.get(decision).copied().unwrap_or(0)));
        all.into_iter().zip(shown).collect()
    };
    let items = simulation.items.iter().map(|(item, (in_force, proposed))| ItemImpact {
        item: item.clone(),
        in_force: Shown::of(*in_force),
        proposed: Shown::of(*proposed),
    });
    ImpactBody {
        version,
        from: simulation.from.clone(),
        until: simulation.until.clone(),
        truncated,
        in_force: decisions(&simulation.in_force),
        proposed: decisions(&simulation.proposed),
        items: items.collect(),
    }
}
