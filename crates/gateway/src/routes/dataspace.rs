//! The Eclipse Dataspace Protocol 2025-1, as a provider: versions, the catalogue, and messages of a negotiation.
//!
//! Source: Eclipse Dataspace Protocol 2025-1, HTTPS bindings of the Catalog and Contract Negotiation Protocols.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ledger::entry::Body;
use serde_json::{Value, json};
use sharing::{
    AgreementId, PurposeClass,
    agreement::{
        dataspace::{Exchange, Message, State as Negotiated, policy::Policy},
        lifecycle::Refusal as Not,
    },
};
use store::{MatterRow, Submission};

use crate::{
    agreements::{
        StepError,
        matters::{self, Said},
    },
    app::App,
    caller::Action,
    dataspace::{self, Dataset, Dataspace},
    edge::message::{ReceivedMessage, receive_message},
    fault::{inconsistent, internal},
    problem::{
        Problem, Refusal,
        dataspace::{CONTEXT, NO_PID, error},
    },
};

mod message;

use message::Sent;

/// Where the protocol's addresses begin.
const BASE: &str = "/dsp";

/// Which versions of the Dataspace Protocol are spoken, and where. It needs no token.
#[utoipa::path(get, path = "/.well-known/dspace-version", tag = "dataspace",
    responses((status = 200, description = "The versions", body = Object), (status = 404, description = "This gateway takes no part in a dataspace")))]
pub async fn version(State(app): State<Arc<App>>) -> Response {
    if app.dataspace.is_none() {
        return Refusal::from(Problem::NoSuchRoute).into_response(crate::problem::Face::Problem, None);
    }
    let versions = json!({
        "protocolVersions": [{
            "version": "2025-1", "path": BASE, "binding": "HTTPS", "serviceId": app.authenticator.public_url,
            "auth": { "protocol": "OAuth", "version": "2", "profile": ["client_credentials", "tls_client_certificate"] },
        }],
    });
    Json(versions).into_response()
}

/// Ask what is on offer to your organisation's connector.
#[utoipa::path(post, path = "/dsp/catalog/request", tag = "dataspace", request_body = Object,
    responses((status = 200, description = "A Catalog", body = Object), (status = 400, description = "A CatalogError: no CatalogRequestMessage, or it has a filter"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "Not registered, or not granted")))]
pub async fn catalogue(State(app): State<Arc<App>>, request: Request) -> Response {
    let work = async {
        let route = "/dsp/catalog/request";
        let (mut received, dataspace) = receive(&app, request, route).await?;
        let asked = received.json(app.limits.body_bytes_max).await;
        let asked = asked.and_then(|value| {
            Sent::of(&value, "CatalogRequestMessage")?;
            let filter =
                value.get("filter").and_then(Value::as_array).is_some_and(|filter| !filter.is_empty());
            let unknown = "filter: none is understood here; leave it out, or send []";
            if filter { Err(Problem::InvalidRequest(unknown.to_owned())) } else { Ok(()) }
        });
        if let Err(problem) = asked {
            return Err(received.refuse(&app, problem, route).await);
        }
        record_read(&app, &received).await?;
        let datasets =
            dataspace::datasets(&app, &received.caller.organisation).await.map_err(|error| failed(&error))?;
        let datasets: Vec<_> = datasets.into_iter().filter(|dataset| granted(&received, dataset)).collect();
        Ok(Json(catalogue_of(&app, dataspace, &datasets)).into_response())
    };
    work.await.unwrap_or_else(|refusal: Refusal| error(&refusal.problem, true, None))
}

/// The catalogue. Without datasets it has no member for them: the schema has no empty lists.
fn catalogue_of(app: &App, dataspace: &Dataspace, datasets: &[Dataset]) -> Value {
    let url = &app.authenticator.public_url;
    let mut catalogue = json!({
        "@context": [CONTEXT], "@id": format!("urn:concordat:catalog:{}", dataspace.participant), "@type": "Catalog",
        "participantId": dataspace.participant_id,
        "service": [{ "@id": format!("{url}{BASE}"), "@type": "DataService", "endpointURL": format!("{url}{BASE}") }],
    });
    if let (Value::Object(catalogue), false) = (&mut catalogue, datasets.is_empty()) {
        let described = datasets.iter().map(|dataset| dataset.described(url)).collect();
        catalogue.insert("dataset".to_owned(), Value::Array(described));
    }
    catalogue
}

/// See one of the datasets in the catalogue.
#[utoipa::path(get, path = "/dsp/catalog/datasets/{id}", tag = "dataspace", params(("id" = String, Path, description = "The dataset, as the catalogue names it")),
    responses((status = 200, description = "A Dataset", body = Object), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "A CatalogError: there is none, or it is not on offer to you")))]
pub async fn dataset(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let work = async {
        let route = "/dsp/catalog/datasets/{id}";
        let (received, _) = receive(&app, request, route).await?;
        let Some(found) = on_offer(&app, &received, &id).await.map_err(|error| failed(&error))? else {
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        record_read(&app, &received).await?;
        let mut described = found.described(&app.authenticator.public_url);
        if let Value::Object(members) = &mut described {
            members.insert("@context".to_owned(), json!([CONTEXT]));
        }
        Ok(Json(described).into_response())
    };
    work.await.unwrap_or_else(|refusal: Refusal| error(&refusal.problem, true, None))
}

/// Begin a negotiation: a ContractRequestMessage. What it asks for binds nobody; an agreement takes its course at /v1/agreements.
#[utoipa::path(post, path = "/dsp/negotiations/request", tag = "dataspace", request_body = Object,
    responses((status = 201, description = "A ContractNegotiation", body = Object), (status = 400, description = "A ContractNegotiationError"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "Not registered, or not granted")))]
pub async fn begin(State(app): State<Arc<App>>, request: Request) -> Response {
    let route = "/dsp/negotiations/request";
    let mut pids = (NO_PID.to_owned(), NO_PID.to_owned());
    let work = async {
        let (mut received, dataspace) = receive(&app, request, route).await?;
        let value = received.json(app.limits.body_bytes_max).await;
        let done = async {
            let value = value?;
            let sent = Sent::of(&value, "ContractRequestMessage")?;
            sent.consumer_pid()?.clone_into(&mut pids.1);
            begun(&app, &received, dataspace, &sent).await
        };
        settle(&app, &received, route, done.await).await
    };
    let answered = work.await;
    answered.unwrap_or_else(|refusal| error(&refusal.problem, false, Some((&pids.0, &pids.1))))
}

async fn begun(
    app: &App,
    received: &ReceivedMessage,
    dataspace: &Dataspace,
    sent: &Sent<'_>,
) -> Result<Response, Problem> {
    let caller = &received.caller;
    let consumer_pid = sent.consumer_pid()?;
    if sent.0.get("providerPid").is_some() {
        return Err(invalid("providerPid: a negotiation that begins has none yet"));
    }
    let offer = sent.offer()?;
    let unknown = || invalid("offer: its `@id` and `target` are those of an offer in the catalogue");
    let found = on_offer(app, received, offer.target).await.map_err(|error| internal(&error))?;
    let found = found.filter(|found| found.offer_id() == offer.id).ok_or_else(unknown)?;
    let partner = dataspace.peers.get(&caller.organisation).ok_or(Problem::CapabilityMissing)?;
    let callback = sent.word("callbackAddress").and_then(|said| partner.peer.callback(said));
    let callback = callback.ok_or_else(|| {
        invalid("callbackAddress: an https address at or below the one that is registered for your connector")
    })?;
    let open = app.store.open_negotiations(Some(&found.agreement)).await.map_err(|error| internal(&error))?;
    let asked = asked(&found, &offer)?;
    if let Some(same) = sent_again(&open, (&caller.organisation, consumer_pid), asked.as_ref())? {
        return Ok(same);
    }
    if !open.is_empty() {
        return Err(Problem::WrongState(
            "a negotiation about this dataset goes on; end that one, or go on with it",
        ));
    }
    let exchange = Exchange {
        consumer: caller.organisation.clone(),
        provider: found.flow.provider.clone(),
        consumer_pid: consumer_pid.to_owned(),
        callback,
        flow: found.flow.id.clone(),
        state: Negotiated::Requested,
        version: found.version,
        asked: asked.clone(),
    };
    let about = (found.agreement.as_str(), found.version);
    let made = match matters::begin(app, about, exchange, Message::Request.as_str(), by(received)).await {
        Ok(made) => made,
        Err(error) => {
            // Another was quicker; perhaps the same one, sent twice.
            let open = app.store.open_negotiations(Some(&found.agreement)).await;
            let open = open.map_err(|error| internal(&error))?;
            let same = sent_again(&open, (&caller.organisation, consumer_pid), asked.as_ref())?;
            return same.ok_or_else(|| problem_of(error));
        }
    };
    Ok((StatusCode::CREATED, Json(dataspace::state_of(&made.row, &made.course))).into_response())
}

/// The negotiation of this consumer that goes by this name: sent again, because no answer came, it is the same one.
fn sent_again(
    open: &[MatterRow],
    (consumer, consumer_pid): (&sharing::OrganisationId, &str),
    asked: Option<&Policy>,
) -> Result<Option<Response>, Problem> {
    for row in open {
        let exchange: Exchange = matters::read(row).map_err(|error| internal(&error))?;
        if exchange.consumer == *consumer && exchange.consumer_pid == consumer_pid {
            if exchange.state == Negotiated::Requested && exchange.asked.as_ref() != asked {
                return Err(invalid(
                    "consumerPid: you have asked for something else by this name; counter that, or use another",
                ));
            }
            let state = dataspace::state_of(row, &exchange);
            return Ok(Some((StatusCode::CREATED, Json(state)).into_response()));
        }
    }
    Ok(None)
}

/// What the consumer asks for in the place of what is on offer. Its rules have to be such as terms can say, and to fit.
fn asked(found: &Dataset, offer: &message::Offer<'_>) -> Result<Option<Policy>, Problem> {
    let is_named = found.offer_id() == offer.id;
    if is_named && Policy::is_by_name(offer.rules) {
        return Ok(None);
    }
    let fault = |fault: &dyn std::fmt::Display| invalid(&fault.to_string());
    let asked = Policy::read(offer.rules).map_err(|error| fault(&error))?;
    if asked == found.policy {
        return Ok(None);
    }
    asked.apply(&found.terms).map_err(|error| fault(&error))?;
    Ok(Some(asked))
}

/// See a negotiation of your organisation's.
#[utoipa::path(get, path = "/dsp/negotiations/{pid}", tag = "dataspace", params(("pid" = String, Path, description = "The provider's name for it")),
    responses((status = 200, description = "A ContractNegotiation", body = Object), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "A ContractNegotiationError: there is none, or it is not yours")))]
pub async fn show(State(app): State<Arc<App>>, Path(pid): Path<String>, request: Request) -> Response {
    let work = async {
        let route = "/dsp/negotiations/{pid}";
        let (received, _) = receive(&app, request, route).await?;
        let (row, exchange) = found(&app, &received, &pid, route).await?;
        Ok(Json(dataspace::state_of(&row, &exchange)).into_response())
    };
    work.await.unwrap_or_else(|refusal: Refusal| error(&refusal.problem, false, Some((&pid, NO_PID))))
}

/// Ask for other terms in answer to an offer: a ContractRequestMessage.
#[utoipa::path(post, path = "/dsp/negotiations/{pid}/request", tag = "dataspace", params(("pid" = String, Path, description = "The provider's name for it")), request_body = Object,
    responses((status = 200, description = "A ContractNegotiation", body = Object), (status = 400, description = "A ContractNegotiationError: not in this state, or not understood"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours")))]
pub async fn ask(State(app): State<Arc<App>>, Path(pid): Path<String>, request: Request) -> Response {
    let (kind, route) = ("ContractRequestMessage", "/dsp/negotiations/{pid}/request");
    step(&app, (&pid, kind, route), request, Message::Request).await
}

/// Accept the offer: a ContractNegotiationEventMessage with `ACCEPTED`. It binds nobody before people have signed.
#[utoipa::path(post, path = "/dsp/negotiations/{pid}/events", tag = "dataspace", params(("pid" = String, Path, description = "The provider's name for it")), request_body = Object,
    responses((status = 200, description = "A ContractNegotiation", body = Object), (status = 400, description = "A ContractNegotiationError: not in this state"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours")))]
pub async fn accept(State(app): State<Arc<App>>, Path(pid): Path<String>, request: Request) -> Response {
    let (kind, route) = ("ContractNegotiationEventMessage", "/dsp/negotiations/{pid}/events");
    step(&app, (&pid, kind, route), request, Message::Accept).await
}

/// Verify the agreement: a ContractAgreementVerificationMessage.
#[utoipa::path(post, path = "/dsp/negotiations/{pid}/agreement/verification", tag = "dataspace", params(("pid" = String, Path, description = "The provider's name for it")), request_body = Object,
    responses((status = 200, description = "A ContractNegotiation", body = Object), (status = 400, description = "A ContractNegotiationError: not in this state"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours")))]
pub async fn verify(State(app): State<Arc<App>>, Path(pid): Path<String>, request: Request) -> Response {
    let (kind, route) =
        ("ContractAgreementVerificationMessage", "/dsp/negotiations/{pid}/agreement/verification");
    step(&app, (&pid, kind, route), request, Message::Verify).await
}

/// End a negotiation: a ContractNegotiationTerminationMessage. What is in force goes on; leave that over /v1/agreements.
#[utoipa::path(post, path = "/dsp/negotiations/{pid}/termination", tag = "dataspace", params(("pid" = String, Path, description = "The provider's name for it")), request_body = Object,
    responses((status = 200, description = "A ContractNegotiation", body = Object), (status = 400, description = "A ContractNegotiationError: it is over"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours")))]
pub async fn end(State(app): State<Arc<App>>, Path(pid): Path<String>, request: Request) -> Response {
    let (kind, route) = ("ContractNegotiationTerminationMessage", "/dsp/negotiations/{pid}/termination");
    step(&app, (&pid, kind, route), request, Message::Terminate).await
}

/// A message about a negotiation that goes on.
async fn step(
    app: &App,
    (pid, kind, route): (&str, &str, &'static str),
    request: Request,
    message: Message,
) -> Response {
    let mut consumer = NO_PID.to_owned();
    let work = async {
        let (mut received, _) = receive(app, request, route).await?;
        let (row, exchange) = found(app, &received, pid, route).await?;
        exchange.consumer_pid.clone_into(&mut consumer);
        let value = received.json(app.limits.body_bytes_max).await;
        let done = async {
            let value = value?;
            let sent = Sent::of(&value, kind)?;
            if sent.word("providerPid") != Some(pid) || sent.consumer_pid()? != exchange.consumer_pid {
                return Err(invalid("providerPid and consumerPid: those of this negotiation"));
            }
            moved(app, &received, (&row, exchange), (message, &sent)).await
        };
        settle(app, &received, route, done.await).await
    };
    work.await.unwrap_or_else(|refusal| error(&refusal.problem, false, Some((pid, &consumer))))
}

async fn moved(
    app: &App,
    received: &ReceivedMessage,
    (row, exchange): (&MatterRow, Exchange),
    (message, sent): (Message, &Sent<'_>),
) -> Result<Response, Problem> {
    // First of all whether it is possible: what else is wrong with it matters then alone.
    exchange.clone().received(message).map_err(|refusal| problem_of(refusal.into()))?;
    let id: AgreementId = row.agreement.parse().map_err(|error| internal(&error))?;
    let target = format!("urn:concordat:dataset:{id}:{}", exchange.flow);
    let mut asked = None;
    match message {
        Message::Request => {
            let offer = sent.offer()?;
            let found = on_offer(app, received, &target).await.map_err(|error| internal(&error))?;
            let found = found.filter(|_| offer.target == target);
            let found = found.ok_or_else(|| invalid("offer.target: the dataset of this negotiation"))?;
            asked = Some((found.version, self::asked(&found, &offer)?));
        }
        Message::Accept => {
            if sent.word("eventType") != Some("ACCEPTED") {
                return Err(invalid("eventType: a consumer sends ACCEPTED alone"));
            }
            let found = on_offer(app, received, &target).await.map_err(|error| internal(&error))?;
            if found.is_none_or(|found| found.version != exchange.version) {
                return Err(Problem::WrongState(
                    "what was offered has been replaced or taken back; ask for what is on offer now, or end it",
                ));
            }
        }
        _ => {}
    }
    let decide = |exchange: Exchange, _| {
        let mut after = exchange.received(message)?;
        if let Some((version, asked)) = &asked {
            (after.version, after.asked) = (*version, asked.clone());
        }
        Ok((after, message.as_str()))
    };
    let mut written = serde_json::Map::new();
    if let (Message::Terminate, Some(why)) = (message, sent.termination()) {
        written.insert("text".to_owned(), why.into());
    }
    let said = |_: &Exchange| Ok(Said { written: written.clone(), ..by(received) });
    let moved = matters::take(app, &row.id, Some(row.revision), decide, said).await;
    let moved = moved.map_err(problem_of)?;
    Ok(Json(dataspace::state_of(&moved.row, &moved.course)).into_response())
}

/// The connector's hand: nobody's authority, and in the ledger its owner's name.
fn by<'a>(received: &ReceivedMessage) -> Said<'a> {
    Said { by: Some(received.caller.actor()), ..Said::default() }
}

async fn receive<'a>(
    app: &'a App,
    request: Request,
    route: &'static str,
) -> Result<(ReceivedMessage, &'a Dataspace), Refusal> {
    let owner_of = |of: &sharing::OrganisationId| {
        app.dataspace.as_ref().and_then(|dataspace| Some(dataspace.peers.get(of)?.owner.clone()))
    };
    let received = receive_message(app, request, owner_of).await?;
    match &app.dataspace {
        Some(dataspace) => Ok((received, dataspace)),
        None => Err(received.refuse(app, Problem::NoSuchRoute, route).await),
    }
}

/// The dataset of this name, where it is on offer to the caller and its token is for that purpose.
async fn on_offer(app: &App, received: &ReceivedMessage, id: &str) -> Result<Option<Dataset>, StepError> {
    let Some(agreement) = dataspace::agreement_of(id) else { return Ok(None) };
    let consumer = &received.caller.organisation;
    let Some(row) = app.store.managed(&agreement).await? else { return Ok(None) };
    if !app.store.is_member(&agreement, consumer).await? {
        return Ok(None);
    }
    let found = dataspace::dataset(app, &row, consumer).await?;
    Ok(found.filter(|found| found.id() == id && granted(received, found)))
}

fn granted(received: &ReceivedMessage, dataset: &Dataset) -> bool {
    is_granted(received, dataset.flow.purpose, dataset.agreement.as_str())
}

/// Whether the caller's token is for this purpose, and this agreement.
fn is_granted(received: &ReceivedMessage, purpose: PurposeClass, agreement: &str) -> bool {
    match received.caller.granted(purpose, Action::Agree) {
        None => false,
        Some(None) => true,
        Some(Some(agreements)) => agreements.iter().any(|granted| granted.as_str() == agreement),
    }
}

/// A negotiation of the caller's organisation's, that its token is for. Of any other there is none.
async fn found(
    app: &App,
    received: &ReceivedMessage,
    pid: &str,
    route: &'static str,
) -> Result<(MatterRow, Exchange), Refusal> {
    let row = match dataspace::matter_of(pid) {
        Some(id) => app.store.matter(&id).await.map_err(|error| Refusal::from(internal(&error)))?,
        None => None,
    };
    let row = row.filter(|row| row.about == "negotiation" && dataspace::provider_pid(&row.id) == pid);
    if let Some(row) = row {
        let exchange: Exchange = matters::read(&row).map_err(|error| failed(&error))?;
        if exchange.consumer == received.caller.organisation {
            let purpose =
                dataspace::purpose_of(app, &row, &exchange).await.map_err(|error| failed(&error))?;
            if is_granted(received, purpose, &row.agreement) {
                return Ok((row, exchange));
            }
        }
    }
    Err(received.refuse(app, Problem::NoSuchEntry, route).await)
}

async fn settle(
    app: &App,
    received: &ReceivedMessage,
    route: &'static str,
    done: Result<Response, Problem>,
) -> Result<Response, Refusal> {
    match done {
        Ok(response) => Ok(response),
        Err(problem) => Err(received.refuse(app, problem, route).await),
    }
}

async fn record_read(app: &App, received: &ReceivedMessage) -> Result<(), Refusal> {
    let by = received.caller.actor();
    let entry = Body::DecisionRead { of: "dataspace catalogue".to_owned(), what: "agreement".to_owned(), by };
    let committed = app.store.commit(Submission::of(app.clock.now(), vec![entry])).await;
    committed.map(drop).map_err(|_| Problem::LedgerUnavailable.into())
}

fn invalid(what: &str) -> Problem {
    Problem::InvalidRequest(what.to_owned())
}

fn failed(error: &StepError) -> Refusal {
    internal(error).into()
}

fn problem_of(error: StepError) -> Problem {
    match error {
        StepError::Refused(Not::NotInThisState) | StepError::Changed => {
            Problem::WrongState("the negotiation takes no such message in the state it is in; read it again")
        }
        StepError::Refused(refusal) => Problem::Step(refusal),
        StepError::Terms(said) => Problem::InvalidRequest(said),
        StepError::Replayed | StepError::Unavailable => Problem::LedgerUnavailable,
        StepError::Kept(said) => inconsistent(&said),
    }
}
