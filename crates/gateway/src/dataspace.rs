//! Negotiating with other organisations' connectors over the Eclipse Dataspace Protocol 2025-1, as a provider: what is on offer to
//! whom, what a negotiation is about, and what is sent.
//!
//! Nothing here puts anything in force. A dataset is the one flow of an agreement between two parties that has been proposed over
//! /v1/agreements; a connector that asks for it, or accepts it, says what its organisation wants. The agreement takes its
//! course among people, and the protocol's agreement message is sent when it is in force, signed by both (`pass`).

use std::collections::BTreeMap;

use anyhow::Context as _;
use connectors::{notify::NotifyFault, peer::Peer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sharing::{
    AgreementId, OrganisationId, PolicySet, PurposeClass,
    agreement::{
        dataspace::{Exchange, Message, State, policy::Policy},
        lifecycle::{FlowOutline, InForce, Managed, Negotiation, Outline},
        terms::Terms,
    },
    identifier::FlowId,
};
use store::{ManagedRow, MatterRow};

use crate::{
    agreements::{
        self, StepError,
        matters::{self, Said},
    },
    app::App,
    config, kept, policies,
    problem::dataspace::CONTEXT,
};

/// What comes before the names of ours.
const URN: &str = "urn:concordat:";

/// Why a negotiation ends of itself: with its agreement, or with the version that it is about.
const AGREEMENT_OVER: &str = "agreement-over";
const VERSION_OVER: &str = "version-over";

/// What our part of a dataspace is. `deploy/concordat.example.toml` describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct DataspaceSettings {
    pub participant: OrganisationId,
    #[serde(default)]
    pub participant_id: Option<String>,
    pub peers: BTreeMap<OrganisationId, PeerSettings>,
}

/// Another organisation's connector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct PeerSettings {
    pub callback: String,
    pub trusted: std::path::PathBuf,
    #[serde(default)]
    pub authorization: Option<std::path::PathBuf>,
    #[serde(default)]
    pub participant_id: Option<String>,
    pub owner: String,
}

/// Our part of a dataspace.
#[derive(Debug)]
pub struct Dataspace {
    /// The organisation whose data is offered.
    pub participant: OrganisationId,
    /// Its name in the dataspace.
    pub participant_id: String,
    /// Who is negotiated with.
    pub peers: BTreeMap<OrganisationId, Partner>,
}

/// Another organisation in it.
#[derive(Debug)]
pub struct Partner {
    /// Its connector.
    pub peer: Peer,
    /// Its name in the dataspace.
    pub participant_id: String,
    /// The person who stands for what the connector does, by its organisation's identifier.
    pub owner: String,
}

impl Dataspace {
    /// As the settings say, with organisations that the policies know.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    pub fn new(settings: &DataspaceSettings, set: &PolicySet) -> anyhow::Result<Self> {
        let known = |id: &OrganisationId| {
            anyhow::ensure!(
                set.organisation(id).is_some(),
                "settings: [dataspace]: no policy file defines `{id}`"
            );
            Ok(())
        };
        known(&settings.participant)?;
        let mut peers = BTreeMap::new();
        for (id, peer) in &settings.peers {
            known(id)?;
            anyhow::ensure!(
                *id != settings.participant && !peer.owner.trim().is_empty(),
                "settings: [dataspace.peers.{id}]: another organisation than `participant`, with an `owner`"
            );
            let authorization = peer.authorization.as_ref().map(|path| config::read(path)).transpose()?;
            let made = Peer::new(&peer.callback, &config::read(&peer.trusted)?, authorization.as_deref());
            let participant_id = peer.participant_id.clone().unwrap_or_else(|| id.to_string());
            let peer = Partner {
                peer: made.with_context(|| format!("settings: [dataspace.peers.{id}]"))?,
                participant_id,
                owner: peer.owner.clone(),
            };
            peers.insert(id.clone(), peer);
        }
        let participant = settings.participant.clone();
        let participant_id = settings.participant_id.clone().unwrap_or_else(|| participant.to_string());
        Ok(Self { participant, participant_id, peers })
    }
}

/// A flow that is on offer to one organisation.
pub struct Dataset {
    /// The agreement.
    pub agreement: AgreementId,
    /// The version that is on offer.
    pub version: u32,
    /// The flow.
    pub flow: FlowOutline,
    /// Its terms.
    pub terms: Terms,
    /// The same as a policy.
    pub policy: Policy,
}

impl Dataset {
    /// Its name.
    pub fn id(&self) -> String {
        dataset_id(&self.agreement, &self.flow.id)
    }

    /// The name of the offer of it.
    pub fn offer_id(&self) -> String {
        offer_id(&self.agreement, self.version, &self.flow.id)
    }

    /// The dataset, as a catalogue has it. Records are asked for one by one: there is no transfer process.
    pub fn described(&self, public_url: &str) -> Value {
        let service = format!("{public_url}/v1/disclosures");
        let offer = offer(&self.offer_id(), None, &self.policy);
        json!({
            "@id": self.id(), "@type": "Dataset", "hasPolicy": [offer],
            "distribution": [{
                "@type": "Distribution", "format": "Concordat-Disclosure",
                "accessService": { "@id": service, "@type": "DataService", "endpointURL": service },
            }],
        })
    }
}

fn dataset_id(agreement: &AgreementId, flow: &FlowId) -> String {
    format!("{URN}dataset:{agreement}:{flow}")
}

fn offer_id(agreement: &AgreementId, version: u32, flow: &FlowId) -> String {
    format!("{URN}offer:{agreement}:{version}:{flow}")
}

/// An offer, as messages have it. In a catalogue it has no target.
fn offer(id: &str, target: Option<String>, policy: &Policy) -> Value {
    let mut offer = Map::new();
    offer.insert("@id".to_owned(), id.into());
    offer.insert("@type".to_owned(), "Offer".into());
    offer.extend(target.map(|target| ("target".to_owned(), target.into())));
    offer.extend(policy.rules());
    Value::Object(offer)
}

/// The agreement that a dataset is a flow of.
pub fn agreement_of(dataset: &str) -> Option<AgreementId> {
    let (agreement, _) = dataset.strip_prefix(URN)?.strip_prefix("dataset:")?.split_once(':')?;
    agreement.parse().ok()
}

/// The provider's name for a negotiation, which says the same as our own: `mat_` and 128 bits.
pub fn provider_pid(matter: &str) -> String {
    let bits = matter.strip_prefix("mat_").and_then(|digits| u128::from_str_radix(digits, 16).ok());
    format!("urn:uuid:{}", uuid::Uuid::from_u128(bits.unwrap_or_default()))
}

/// Our name of the negotiation that has this one.
pub fn matter_of(provider_pid: &str) -> Option<String> {
    let id = uuid::Uuid::try_parse(provider_pid.strip_prefix("urn:uuid:")?).ok()?;
    Some(format!("mat_{:032x}", id.as_u128()))
}

/// The version that is on offer: what is negotiated, or else what runs.
fn on_offer(managed: &Managed) -> Option<&Outline> {
    match &managed.next {
        Some(Negotiation::Draft(_)) | None => managed
            .in_force
            .as_ref()
            .filter(|in_force| in_force.is_running())
            .map(|one| &one.live().deal.outline),
        Some(next) => Some(&next.deal().outline),
    }
}

/// The flow of an agreement that is on offer to a consumer, if it can be negotiated here: the one flow between two parties that are
/// both at the table.
pub async fn dataset(
    app: &App,
    row: &ManagedRow,
    consumer: &OrganisationId,
) -> Result<Option<Dataset>, StepError> {
    let Some(dataspace) = &app.dataspace else { return Ok(None) };
    let managed = agreements::read(row)?;
    let Some(outline) = on_offer(&managed) else { return Ok(None) };
    let [flow] = outline.flows.as_slice() else { return Ok(None) };
    let table = managed.at_the_table();
    let fits = outline.parties.len() == 2
        && flow.provider == dataspace.participant
        && flow.recipient == *consumer
        && table.contains(consumer)
        && table.contains(&flow.provider);
    if !fits {
        return Ok(None);
    }
    let agreement = managed.id.clone();
    let (terms, policy) = policy_of(app, &agreement, outline.version).await?;
    Ok(Some(Dataset { agreement, version: outline.version, flow: flow.clone(), terms, policy }))
}

/// What is on offer of the flow that a negotiation is about.
///
/// # Errors
/// [`StepError::Kept`] when something cannot be read.
pub async fn offered_of(
    app: &App,
    row: &ManagedRow,
    exchange: &Exchange,
) -> Result<Option<Dataset>, StepError> {
    let found = dataset(app, row, &exchange.consumer).await?;
    Ok(found.filter(|found| found.flow.id == exchange.flow))
}

/// What the flow of a negotiation is for, in the version that is on its table.
///
/// # Errors
/// [`StepError::Kept`] when something cannot be read.
pub async fn purpose_of(app: &App, row: &MatterRow, exchange: &Exchange) -> Result<PurposeClass, StepError> {
    let unread = |what: &dyn std::fmt::Display| StepError::Kept(what.to_string());
    let id: AgreementId = row.agreement.parse().map_err(|error| unread(&error))?;
    let (terms, _) = policy_of(app, &id, exchange.version).await?;
    let agreement = terms.agreement().map_err(|error| unread(&error))?;
    let flow = agreement.flows.iter().find(|flow| *flow.id.get_ref() == exchange.flow);
    flow.map(|flow| flow.purpose)
        .ok_or_else(|| unread(&"a negotiation about a flow that its version has not"))
}

async fn policy_of(app: &App, agreement: &AgreementId, version: u32) -> Result<(Terms, Policy), StepError> {
    let kept = app.store.terms(agreement, version).await?;
    let kept = kept.ok_or_else(|| StepError::Kept("the terms of a version are not kept".to_owned()))?;
    let terms = Terms::kept(&kept.terms).map_err(|error| StepError::Kept(error.to_string()))?;
    let policy = Policy::of(&terms).map_err(|error| StepError::Kept(error.to_string()))?;
    Ok((terms, policy))
}

/// Everything that is on offer to a consumer.
///
/// # Errors
/// [`StepError::Kept`] when something cannot be read.
pub async fn datasets(app: &App, consumer: &OrganisationId) -> Result<Vec<Dataset>, StepError> {
    let mut all = Vec::new();
    for row in app.store.all_managed(Some(consumer)).await? {
        all.extend(dataset(app, &row, consumer).await?);
    }
    Ok(all)
}

/// A negotiation as it is said to be.
pub fn state_of(row: &MatterRow, exchange: &Exchange) -> Value {
    json!({
        "@context": [CONTEXT], "@type": "ContractNegotiation", "providerPid": provider_pid(&row.id),
        "consumerPid": exchange.consumer_pid, "state": exchange.state.as_str(),
    })
}

/// A step of ours, with the message that it is.
pub fn message<'a>(exchange: &Exchange) -> Said<'a> {
    Said { tells_peer: Some(exchange.consumer.clone()), ..Said::default() }
}

/// Sends what a negotiation's newest step says to its consumer. A step that another has followed is not sent any more: whoever took
/// it had the message, or it is over.
///
/// # Errors
/// [`NotifyFault`] when it was not taken.
pub async fn send(app: &App, row: &MatterRow, revision: i64) -> Result<Result<bool, NotifyFault>, StepError> {
    let exchange: Exchange = matters::read(row)?;
    let partner = app.dataspace.as_ref().and_then(|dataspace| dataspace.peers.get(&exchange.consumer));
    let Some(partner) = partner.filter(|_| row.revision == revision) else { return Ok(Ok(false)) };
    let Some((place, body)) = outgoing(app, row, &exchange).await? else { return Ok(Ok(false)) };
    let mut path = vec!["negotiations", exchange.consumer_pid.as_str()];
    path.extend(place);
    Ok(partner.peer.send(&exchange.callback, &path, body.to_string()).await.map(|()| true))
}

/// The message that a negotiation's state is, and where it goes below `negotiations/{consumerPid}`.
async fn outgoing(
    app: &App,
    row: &MatterRow,
    exchange: &Exchange,
) -> Result<Option<(&'static [&'static str], Value)>, StepError> {
    let unread = |error: &dyn std::fmt::Display| StepError::Kept(error.to_string());
    let id: AgreementId = row.agreement.parse().map_err(|error| unread(&error))?;
    let message = |kind: &str, members: Value| {
        let mut message = json!({
            "@context": [CONTEXT], "@type": kind, "providerPid": provider_pid(&row.id),
            "consumerPid": exchange.consumer_pid,
        });
        if let (Value::Object(message), Value::Object(members)) = (&mut message, members) {
            message.extend(members);
        }
        message
    };
    Ok(match exchange.state {
        State::Offered => {
            let (_, policy) = policy_of(app, &id, exchange.version).await?;
            let name = offer_id(&id, exchange.version, &exchange.flow);
            let offer = offer(&name, Some(dataset_id(&id, &exchange.flow)), &policy);
            Some((&["offers"], message("ContractOfferMessage", json!({ "offer": offer }))))
        }
        State::Agreed => {
            let (_, policy) = policy_of(app, &id, exchange.version).await?;
            let agreement = agreement(app, (row, &id), exchange, &policy);
            Some((&["agreement"], message("ContractAgreementMessage", json!({ "agreement": agreement }))))
        }
        State::Finalized => {
            let event = message("ContractNegotiationEventMessage", json!({ "eventType": "FINALIZED" }));
            Some((&["events"], event))
        }
        State::Terminated => {
            let step = app.store.matter_step(&row.id, row.revision).await?;
            let written = step.as_ref().and_then(|step| kept::member(step.written.as_deref()?, "text"));
            let reason = step.and_then(|step| step.reason);
            let (code, why) = match (written, reason.as_deref()) {
                (Some(text), _) => ("ended-by-provider", text),
                (None, Some(VERSION_OVER)) => (
                    VERSION_OVER,
                    "the version that was negotiated will not be in force: another took its place, it has ended or was left"
                        .to_owned(),
                ),
                (None, _) => (AGREEMENT_OVER, "the agreement was withdrawn or has ended".to_owned()),
            };
            let why = json!({ "code": code, "reason": [why] });
            Some((&["termination"], message("ContractNegotiationTerminationMessage", why)))
        }
        State::Requested | State::Accepted | State::Verified => None,
    })
}

/// The agreement of the protocol. It says what was signed; what is enforced is what is in force.
fn agreement(
    app: &App,
    (row, id): (&MatterRow, &AgreementId),
    exchange: &Exchange,
    policy: &Policy,
) -> Value {
    let name = |of: &OrganisationId| match &app.dataspace {
        Some(dataspace) if *of == dataspace.participant => dataspace.participant_id.clone(),
        Some(dataspace) => {
            dataspace.peers.get(of).map(|peer| peer.participant_id.clone()).unwrap_or_default()
        }
        None => String::new(),
    };
    let at = jiff::Timestamp::from_microsecond(row.moved_us).unwrap_or_default();
    let mut agreement = policy.rules();
    let said = [
        ("@id", format!("{URN}agreement:{id}:{}:{}", exchange.version, exchange.flow)),
        ("@type", "Agreement".to_owned()),
        ("target", dataset_id(id, &exchange.flow)),
        ("assigner", name(&exchange.provider)),
        ("assignee", name(&exchange.consumer)),
        ("timestamp", at.to_string()),
    ];
    agreement.extend(said.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    Value::Object(agreement)
}

/// Where an agreement stands, for a negotiation about one of its versions.
enum Standing {
    /// That version is in force, and its flow is not switched off.
    Runs,
    /// It never will be, and nothing else is there to go on with. Why, as a code.
    Over(&'static str),
    /// It may be.
    Waits,
}

async fn standing(app: &App, row: &MatterRow, exchange: &Exchange) -> Result<Standing, StepError> {
    let id: AgreementId =
        row.agreement.parse().map_err(|_| StepError::Kept("an agreement without a name".to_owned()))?;
    let kept = app.store.managed(&id).await?.ok_or(StepError::Changed)?;
    let managed = agreements::read(&kept)?;
    if ["withdrawn", "expired", "terminated"].contains(&managed.state()) {
        return Ok(Standing::Over(AGREEMENT_OVER));
    }
    if !managed.may_run(exchange.version, [&exchange.provider, &exchange.consumer]) {
        // Before it was accepted, another version can be offered or asked for, if one is on offer.
        let is_open = matches!(exchange.state, State::Requested | State::Offered);
        let goes_on = is_open && offered_of(app, &kept, exchange).await?.is_some();
        return Ok(if goes_on { Standing::Waits } else { Standing::Over(VERSION_OVER) });
    }
    let running = managed.in_force.as_ref().filter(|in_force| in_force.is_running()).map(InForce::live);
    let is_version = running.is_some_and(|live| live.deal.outline.version == exchange.version);
    let (set, now) = (app.policies().set, app.clock.now());
    let agreement = set.agreements().find(|agreement| *agreement.id() == id);
    let runs = agreement.filter(|agreement| is_version && agreement.version == exchange.version).is_some_and(
        |one| {
            let flow = one.flows.iter().find(|flow| *flow.id.get_ref() == exchange.flow);
            flow.is_some_and(|flow| one.is_switched_on(flow))
                && one.is_signed_by(&exchange.provider, now)
                && one.is_signed_by(&exchange.consumer, now)
        },
    );
    Ok(if runs { Standing::Runs } else { Standing::Waits })
}

/// Takes every negotiation further that what people did to its agreement takes further. Returns how many were. One that cannot be
/// read or recorded is logged, and stops no other.
///
/// # Errors
/// [`StepError`] when they cannot be listed, or the policies not read.
pub async fn pass(app: &App) -> Result<usize, StepError> {
    if app.dataspace.is_none() {
        return Ok(0);
    }
    let (mut taken, open) = (0, app.store.open_negotiations(None).await?);
    if !open.is_empty() {
        // What another replica has put in force, or switched off, counts here, too.
        policies::follow(app).await.map_err(|error| StepError::Kept(error.to_string()))?;
    }
    for row in open {
        match further(app, &row).await {
            Ok(true) => taken += 1,
            Ok(false) => {}
            // The others go on; this one is looked at the next time again.
            Err(error) => {
                tracing::error!(negotiation = row.id, %error, "a negotiation with a peer could not be worked on");
            }
        }
    }
    Ok(taken)
}

async fn further(app: &App, row: &MatterRow) -> Result<bool, StepError> {
    let exchange: Exchange = matters::read(row)?;
    let (message, reason) = match (exchange.state, standing(app, row, &exchange).await?) {
        (State::Requested, Standing::Runs) if exchange.asked.is_none() => (Message::Agree, None),
        (State::Accepted, Standing::Runs) => (Message::Agree, None),
        (State::Verified, Standing::Runs) => (Message::Finalize, None),
        (_, Standing::Over(reason)) => (Message::Terminate, Some(reason.to_owned())),
        _ => return Ok(false),
    };
    let decide = |exchange: Exchange, _| Ok((exchange.follows(message)?, message.as_str()));
    let said = |exchange: &Exchange| Ok(Said { reason: reason.clone(), ..self::message(exchange) });
    match matters::take(app, &row.id, Some(row.revision), decide, said).await {
        Ok(_) => Ok(true),
        // Somebody took a step meanwhile: the next look sees what is left to do.
        Err(StepError::Changed | StepError::Unavailable) => Ok(false),
        Err(other) => Err(other),
    }
}
