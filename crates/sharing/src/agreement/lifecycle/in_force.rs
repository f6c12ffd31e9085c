//! The stages from the day on which an agreement is put in force: running, overdue, switched off, ended.
//!
//! Passing the review date never stops a route that somebody's safety may depend on: what can wait is suspended when
//! the grace is over, and the rest goes on, overdue, until people decide.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Span, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{Act, Authority, Command, Deal, Hand, Party, Person, Refusal, Signing};
use crate::{
    agreement::{SignatoryRole, Status, london_day, london_midnight, terms::Standing},
    identifier::{FlowId, OrganisationId},
    purpose::PurposeClass,
};

/// Days after the review date before what can wait is suspended, where the terms say nothing else.
pub const GRACE_DAYS: u16 = 60;

/// Notice of a review, in months before it.
const NOTICE_MONTHS: i32 = 3;

/// Whether a flow for this purpose goes on past a missed review: somebody's safety may depend on it.
pub fn outlives_review(purpose: PurposeClass) -> bool {
    matches!(
        purpose,
        PurposeClass::SafeguardingAdult
            | PurposeClass::SafeguardingChild
            | PurposeClass::VitalInterests
            | PurposeClass::DirectCare
    )
}

/// A version that was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum InForce {
    /// In use, pair by pair.
    Active(Live),
    /// In use; its review is due within three months.
    ReviewDue(Live),
    /// In use; its review is late.
    Overdue(Live),
    /// Switched off: all of it by people, or what could wait by a missed review.
    Suspended(Live),
    /// Its time is over.
    Expired(Live),
    /// It was ended.
    Terminated(Live),
}

/// Terms in force, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The terms, and where the parties stand.
    pub deal: Deal,
    /// Who asked for it to be put in force.
    pub asked: Act,
    /// Who confirmed it.
    pub confirmed: Act,
    /// What is switched off.
    pub stops: Vec<Stop>,
    /// When the parties look at it again.
    pub review_on: Date,
    /// Organisations that have taken another's place.
    pub successors: BTreeMap<OrganisationId, OrganisationId>,
    /// What waits for a second person.
    pub pending: Option<Pending>,
}

/// Something that is switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What.
    pub scope: Scope,
    /// Why.
    pub reason: StopReason,
    /// Who did it; nobody when time did.
    pub by: Option<Act>,
}

/// How much is switched off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of it.
    Agreement,
    /// Every flow from or to this party.
    Party(OrganisationId),
    /// One flow.
    Flow(FlowId),
}

/// Why something is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// A breach of personal data, or the fear of one.
    Breach,
    /// The law on which it rests is in doubt.
    LawfulBasis,
    /// What leaves is wrong or stale.
    DataQuality,
    /// The recipient does not do what it took on.
    ObligationsNotKept,
    /// A supervisory authority or a court asks for it.
    Regulator,
    /// A system is not safe to be used.
    Security,
    /// The review was not held in time.
    ReviewMissed,
    /// Another reason, which is written beside it.
    Other,
}

impl StopReason {
    /// The reason as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breach => "breach",
            Self::LawfulBasis => "lawful-basis",
            Self::DataQuality => "data-quality",
            Self::ObligationsNotKept => "obligations-not-kept",
            Self::Regulator => "regulator",
            Self::Security => "security",
            Self::ReviewMissed => "review-missed",
            Self::Other => "other",
        }
    }
}

/// Something that one person asks for and another confirms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Pending {
    /// Put in force.
    Activation,
    /// End.
    Termination {
        /// Who asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Act>,
    },
    /// Let an organisation take another's place, as after a merger.
    Succession {
        /// Whose.
        of: OrganisationId,
        /// Which.
        by: OrganisationId,
        /// Who asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Act>,
        /// Whether anybody held an office for whoever has the place, when it was asked: then they agree too.
        #[serde(default)]
        of_in_office: bool,
        /// The organisations that have agreed so far, beside whoever asked.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        agreed: BTreeSet<OrganisationId>,
    },
}

impl Pending {
    /// A place that is to be taken, to which nobody has agreed yet.
    pub fn succession(of: OrganisationId, by: OrganisationId) -> Self {
        Self::Succession { of, by, asked: None, of_in_office: true, agreed: BTreeSet::new() }
    }

    /// The name of the asking, in the ledger.
    pub fn asked(&self) -> &'static str {
        match self {
            Self::Activation => "activation-asked",
            Self::Termination { .. } => "termination-asked",
            Self::Succession { .. } => "succession-asked",
        }
    }

    /// The same, asked for by this person.
    #[must_use]
    pub(super) fn by(self, act: Act) -> Self {
        match self {
            Self::Activation => Self::Activation,
            Self::Termination { .. } => Self::Termination { asked: Some(act) },
            Self::Succession { of, by, of_in_office, .. } => {
                Self::Succession { of, by, asked: Some(act), of_in_office, agreed: BTreeSet::new() }
            }
        }
    }

    /// Whether both are the same thing, whoever asked for it.
    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Activation, Self::Activation) | (Self::Termination { .. }, Self::Termination { .. }) => {
                true
            }
            (Self::Succession { of, by, .. }, Self::Succession { of: other_of, by: other_by, .. }) => {
                of == other_of && by == other_by
            }
            _ => false,
        }
    }

    fn asker(&self) -> Option<&Person> {
        match self {
            Self::Activation => None,
            Self::Termination { asked } | Self::Succession { asked, .. } => asked.as_ref().map(|act| &act.by),
        }
    }
}

impl Live {
    pub(super) fn begin(deal: Deal, asked: Act, confirmed: Act) -> Self {
        Self {
            review_on: deal.outline.review_on,
            deal,
            asked,
            confirmed,
            stops: Vec::new(),
            successors: BTreeMap::new(),
            pending: None,
        }
    }

    /// Keeps switched off what people have switched off in the version before: new terms are no word about that. What the new terms do
    /// not have any more, and what was switched off by somebody who is no party any more, is left behind.
    pub(super) fn keep_stops(&mut self, before: &Self) {
        let now = |organisation: &OrganisationId| {
            let is_party = |one: &&OrganisationId| self.deal.parties.contains_key(*one);
            let successor = before.successors.get(organisation);
            [Some(organisation), successor].into_iter().flatten().find(is_party).cloned()
        };
        let kept = before.stops.iter().filter_map(|stop| {
            let mut act = stop.by.clone()?;
            act.by.organisation = now(&act.by.organisation)?;
            let scope = match &stop.scope {
                Scope::Agreement => Scope::Agreement,
                Scope::Party(organisation) => Scope::Party(now(organisation)?),
                Scope::Flow(id) => {
                    let is_there = self.deal.outline.flows.iter().any(|flow| flow.id == *id);
                    is_there.then(|| stop.scope.clone())?
                }
            };
            Some(Stop { scope, reason: stop.reason, by: Some(act) })
        });
        let kept: Vec<_> = kept.collect();
        self.stops = kept;
    }

    /// Whether this is cut off by a version that takes its place: somebody's ends of flows whose signature that one lacks.
    pub(super) fn is_cut_by(&self, new: &Deal) -> bool {
        self.deal.signed().any(|organisation| {
            let successor = self.successors.get(organisation);
            !new.is_signed_by(organisation) && !successor.is_some_and(|successor| new.is_signed_by(successor))
        })
    }

    fn is_stopped(&self, flow: &super::FlowOutline) -> bool {
        let stopped = self.stops.iter().any(|stop| match &stop.scope {
            Scope::Agreement => true,
            Scope::Party(organisation) => self.is_end_of(self.now(organisation), flow),
            Scope::Flow(id) => flow.id == *id,
        });
        // What both ends of are one organisation's now is nobody's to share.
        let is_own = self.now(&flow.provider) == self.now(&flow.recipient);
        let left = [&flow.provider, &flow.recipient]
            .into_iter()
            .any(|end| matches!(self.deal.parties.get(end), Some(Party::Exited(_) | Party::Declined(_))));
        stopped || is_own || left
    }

    /// Whether no flow has both of its ends still in it, or coming.
    fn is_deserted(&self) -> bool {
        !self.deal.pairs(Party::is_in)
    }

    /// The flows that are switched off.
    pub fn stopped(&self) -> BTreeSet<FlowId> {
        let flows = self.deal.outline.flows.iter().filter(|flow| self.is_stopped(flow));
        flows.map(|flow| flow.id.clone()).collect()
    }

    fn signatures(&self) -> BTreeMap<OrganisationId, Vec<(SignatoryRole, String, String)>> {
        let signed = self.deal.signed().filter_map(|organisation| {
            let party = self.deal.parties.get(organisation)?;
            let signatures = party
                .signatures()
                .iter()
                .map(|signing| (signing.role, signing.name.clone(), london_day(signing.at).to_string()));
            Some((organisation.clone(), signatures.collect()))
        });
        signed.collect()
    }
}

impl InForce {
    pub(super) fn begin(live: Live) -> Self {
        let wholly = live.stops.iter().any(|stop| stop.scope == Scope::Agreement);
        if wholly { Self::Suspended(live) } else { Self::Active(live) }
    }

    /// The state as text.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::ReviewDue(_) => "review-due",
            Self::Overdue(_) => "overdue",
            Self::Suspended(_) => "suspended",
            Self::Expired(_) => "expired",
            Self::Terminated(_) => "terminated",
        }
    }

    /// What is in force, or was.
    pub fn live(&self) -> &Live {
        match self {
            Self::Active(live)
            | Self::ReviewDue(live)
            | Self::Overdue(live)
            | Self::Suspended(live)
            | Self::Expired(live)
            | Self::Terminated(live) => live,
        }
    }

    fn live_mut(&mut self) -> &mut Live {
        match self {
            Self::Active(live)
            | Self::ReviewDue(live)
            | Self::Overdue(live)
            | Self::Suspended(live)
            | Self::Expired(live)
            | Self::Terminated(live) => live,
        }
    }

    fn into_live(self) -> Live {
        match self {
            Self::Active(live)
            | Self::ReviewDue(live)
            | Self::Overdue(live)
            | Self::Suspended(live)
            | Self::Expired(live)
            | Self::Terminated(live) => live,
        }
    }

    /// Whether anything of it may be in use, now or when it is switched on again.
    pub fn is_running(&self) -> bool {
        !matches!(self, Self::Expired(_) | Self::Terminated(_))
    }

    /// How it is written into the policies.
    pub fn standing(&self) -> Standing {
        let live = self.live();
        let wholly = live.stops.iter().any(|stop| stop.scope == Scope::Agreement);
        let status = match self {
            Self::Expired(_) | Self::Terminated(_) => Status::Terminated,
            _ if wholly => Status::Suspended,
            _ => Status::Active,
        };
        Standing {
            status,
            signatures: live.signatures(),
            suspended: live.stopped(),
            review_on: Some(live.review_on.to_string()),
            successors: live.successors.clone(),
            terms_sha256: live.deal.outline.terms_sha256.clone(),
        }
    }

    /// The next instant at which time alone may change something.
    pub fn next_change(&self) -> Option<Timestamp> {
        let live = self.live();
        let ends = london_midnight(live.deal.outline.ends_on);
        let grace = grace_ends(live);
        match self {
            Self::Active(_) => Some(notice(live.review_on).min(ends)),
            Self::ReviewDue(_) => Some(london_midnight(live.review_on).min(ends)),
            // Nothing of it can wait, so that nothing is suspended.
            Self::Overdue(_) if live.deal.outline.flows.iter().all(|flow| outlives_review(flow.purpose)) => {
                Some(ends)
            }
            Self::Overdue(_) => Some(grace.min(ends)),
            Self::Suspended(_) => Some(ends),
            Self::Expired(_) | Self::Terminated(_) => None,
        }
    }

    /// What time alone makes of it: one step, or none.
    pub(super) fn pass(self, at: Timestamp) -> Self {
        if self.is_running() && london_midnight(self.live().deal.outline.ends_on) <= at {
            return Self::Expired(self.into_live());
        }
        match self {
            Self::Active(live) if notice(live.review_on) <= at => Self::ReviewDue(live),
            Self::ReviewDue(live) if london_midnight(live.review_on) <= at => Self::Overdue(live),
            Self::Overdue(mut live) if grace_ends(&live) <= at && !live.stops.iter().any(by_time) => {
                let waits = |flow: &&super::FlowOutline| !outlives_review(flow.purpose);
                let stops = live.deal.outline.flows.iter().filter(waits).map(|flow| Stop {
                    scope: Scope::Flow(flow.id.clone()),
                    reason: StopReason::ReviewMissed,
                    by: None,
                });
                let stops: Vec<_> = stops.collect();
                if stops.is_empty() {
                    return Self::Overdue(live);
                }
                live.stops.extend(stops);
                Self::Suspended(live)
            }
            other => other,
        }
    }

    /// Switches something off. It is for each party to say of the whole, of itself and of its flows, at once and alone:
    /// waiting for a second person could do harm.
    pub(super) fn suspend(mut self, stop: Stop, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.live().party(hand)?;
        let stop = Stop { scope: self.live().in_terms(stop.scope), ..stop };
        let live = self.live();
        match &stop.scope {
            Scope::Agreement => {}
            Scope::Party(organisation) if live.deal.parties.contains_key(organisation) => {}
            Scope::Flow(id) => {
                let flow = live.deal.outline.flows.iter().find(|flow| flow.id == *id);
                if !live.is_end_of(&hand.person.organisation, flow.ok_or(Refusal::NoSuchFlow)?) {
                    return Err(Refusal::NotYours);
                }
            }
            Scope::Party(_) => return Err(Refusal::NoSuchFlow),
        }
        let wholly = stop.scope == Scope::Agreement;
        self.live_mut().stops.push(stop);
        Ok(if wholly { Self::Suspended(self.into_live()) } else { self })
    }

    /// Switches something on again: another person of the organisation that switched it off; of any party, where that one has left.
    pub(super) fn resume(mut self, scope: &Scope, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.live().party(hand)?;
        let scope = self.live().in_terms(scope.clone());
        let live = self.live();
        let is_theirs = |stop: &Stop| {
            let Some(by) = stop.by.as_ref().map(|act| &act.by).filter(|_| stop.scope == scope) else {
                return false;
            };
            let now = live.now(&by.organisation);
            let has_left = !live.acts_for(now).any(|party| live.deal.is_in(party));
            has_left || (*now == hand.person.organisation && *by != hand.person)
        };
        // Whoever has switched it off too waits for a colleague for that.
        let (on, off): (Vec<_>, Vec<_>) = live.stops.iter().cloned().partition(is_theirs);
        if on.is_empty() {
            let stops = || off.iter().filter(|stop| stop.scope == scope);
            let hands: Vec<_> = stops().filter_map(|stop| stop.by.as_ref()).map(|act| &act.by).collect();
            return Err(match hands.first() {
                None if stops().next().is_some() => Refusal::StoppedByReview,
                None => Refusal::NoSuchStop,
                Some(_) if hands.contains(&&hand.person) => Refusal::SamePerson,
                Some(_) => Refusal::StopIsTheirs,
            });
        }
        self.live_mut().stops = off;
        Ok(self.settled())
    }

    /// The state that follows from what is switched off. Time does the rest.
    fn settled(self) -> Self {
        let stops = &self.live().stops;
        let wholly = stops.iter().any(|stop| stop.scope == Scope::Agreement);
        let timely = stops.iter().any(by_time);
        match self {
            Self::Suspended(live) if !wholly && !timely => Self::Active(live),
            other => other,
        }
    }

    /// The parties have held their review. What a missed one had switched off goes on.
    pub(super) fn reviewed(mut self, next_on: Date, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.live().party(hand)?;
        if self.live().deal.authors.contains(&hand.person) {
            return Err(Refusal::AuthorApproves);
        }
        let live = self.live_mut();
        if next_on <= live.review_on || next_on > live.deal.outline.ends_on {
            return Err(Refusal::ReviewNotAhead);
        }
        // One person speaks for all: for a year, or as long as all have signed.
        let from = london_day(at);
        let signed = live.deal.outline.review_days.unwrap_or_default();
        let after = |span| from.checked_add(span).unwrap_or(from);
        if next_on > after(Span::new().years(1)).max(after(Span::new().days(signed))) {
            return Err(Refusal::ReviewTooFar);
        }
        live.review_on = next_on;
        live.stops.retain(|stop| !by_time(stop));
        Ok(match self {
            Self::ReviewDue(live) | Self::Overdue(live) => Self::Active(live),
            other => other.settled(),
        })
    }

    pub(super) fn exit(mut self, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.live().party(hand)?;
        let own = &hand.person.organisation;
        let act = Act { by: hand.person.clone(), at };
        let live = self.live_mut();
        // What it had asked for, or had to agree to, waits for nobody any more: those who stay ask again, for what is left.
        let waits_for_it = match &live.pending {
            Some(pending) if pending.asker().is_some_and(|by| live.now(&by.organisation) == own) => true,
            Some(Pending::Succession { of, by, of_in_office, .. }) => {
                of == own || live.agree_to((of, *of_in_office), by).contains(own)
            }
            _ => false,
        };
        if waits_for_it {
            live.pending = None;
        }
        // A successor leaves in every place that it has.
        let places: Vec<_> = live.acts_for(own).cloned().collect();
        for place in places {
            live.deal.parties.insert(place, Party::Exited(act.clone()));
        }
        // Nothing can flow any more, between whomever.
        if live.is_deserted() { Ok(Self::Terminated(self.into_live())) } else { Ok(self) }
    }

    /// A party that signs later than the others: with its last signature its flows begin, so that by then everything has to be
    /// there that the others had before.
    pub(super) fn sign_late(mut self, signing: Signing, hand: &Hand) -> Result<Self, Refusal> {
        self.live().party(hand)?;
        let of = self.live().late_place(&hand.person.organisation);
        let deal = &mut self.live_mut().deal;
        deal.sign(&of, signing, hand)?;
        if deal.is_signed_by(&of) {
            deal.ready_at(&of)?;
        }
        Ok(self)
    }

    /// Advice to a party that has not signed yet, or what it does about it.
    pub(super) fn advised_late(
        mut self,
        command: &Command,
        hand: &Hand,
        at: Timestamp,
    ) -> Result<Self, Refusal> {
        self.live().party(hand)?;
        let of = self.live().late_place(&hand.person.organisation);
        let deal = &mut self.live_mut().deal;
        match command {
            Command::Advise { favourable } => deal.advise((&of, *favourable), hand, at)?,
            Command::AnswerAdvice { followed } => deal.answer_advice((&of, *followed), hand, at)?,
            _ => return Err(Refusal::NotInThisState),
        }
        Ok(self)
    }

    pub(super) fn ask(mut self, pending: Pending, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.live().party(hand)?;
        if let Pending::Succession { of, by, .. } = &pending {
            self.live().may_succeed(of, by)?;
        }
        if self.live().pending.as_ref().is_some_and(|waits| !waits.is_as(&pending)) {
            return Err(Refusal::OtherAsked);
        }
        let mut pending = pending;
        // Whoever has agreed to the same has.
        if let (Pending::Succession { agreed, .. }, Some(Pending::Succession { agreed: before, .. })) =
            (&mut pending, &self.live().pending)
        {
            agreed.extend(before.iter().cloned());
        }
        if let Pending::Succession { by, agreed, .. } = &mut pending
            && *by == hand.person.organisation
            && hand.holds(SignatoryRole::Siro)
        {
            agreed.insert(by.clone());
        }
        self.live_mut().pending = Some(pending);
        Ok(self)
    }

    /// Says no to what waits for a second person, or takes one's own asking back: it waits no more.
    pub(super) fn reject(mut self, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.waits_for(hand)?;
        self.live_mut().pending.take().ok_or(Refusal::NothingAsked)?;
        Ok(self)
    }

    /// Somebody of a party, or of the organisation that would take a place.
    fn waits_for(&self, hand: &Hand) -> Result<(), Refusal> {
        let live = self.live();
        match &live.pending {
            Some(Pending::Succession { by, .. }) if *by == hand.person.organisation => Ok(()),
            _ => live.party(hand),
        }
    }

    pub(super) fn confirm(mut self, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.waits_for(hand)?;
        let pending = self.live_mut().pending.take().ok_or(Refusal::NothingAsked)?;
        let asker = pending.asker().ok_or(Refusal::NothingAsked)?.clone();
        if asker == hand.person {
            return Err(Refusal::SamePerson);
        }
        match pending {
            Pending::Activation => Err(Refusal::NothingAsked),
            // It ends for all: two people of one party are one party. Each leaves by itself with `exit`.
            Pending::Termination { .. } => {
                if *self.live().now(&asker.organisation) == hand.person.organisation {
                    return Err(Refusal::SameParty);
                }
                Ok(Self::Terminated(self.into_live()))
            }
            Pending::Succession { of, by, asked, of_in_office, mut agreed } => {
                let own = &hand.person.organisation;
                let asker = self.live().now(&asker.organisation).clone();
                let mut needed = self.live().agree_to((&of, of_in_office), &by);
                if asker != by {
                    needed.remove(&asker);
                }
                if !needed.contains(own) || agreed.contains(own) {
                    return Err(Refusal::SameParty);
                }
                // It takes on what others have signed: whoever answers for its information risk says so.
                if *own == by && !hand.holds(SignatoryRole::Siro) {
                    return Err(Refusal::SuccessorSiro);
                }
                agreed.insert(own.clone());
                if !needed.is_subset(&agreed) {
                    self.live_mut().pending =
                        Some(Pending::Succession { of, by, asked, of_in_office, agreed });
                    return Ok(self);
                }
                self.live().may_succeed(&of, &by)?;
                self.live_mut().succeed(of, by);
                Ok(self)
            }
        }
    }
}

fn by_time(stop: &Stop) -> bool {
    stop.by.is_none()
}

/// Three months before the review.
fn notice(review_on: Date) -> Timestamp {
    london_midnight(review_on.checked_sub(Span::new().months(NOTICE_MONTHS)).unwrap_or(review_on))
}

fn grace_ends(live: &Live) -> Timestamp {
    let days = i64::from(live.deal.outline.grace_days);
    let grace = SignedDuration::from_hours(24 * days);
    london_midnight(live.review_on).checked_add(grace).unwrap_or(Timestamp::MAX)
}
