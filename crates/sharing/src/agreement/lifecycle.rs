//! The course of an agreement: who may do what when, from the first draft to its end.
//!
//! Every stage is a type, and only what is possible in it is a method of it: a step takes the stage and gives the
//! next. [`Managed`] holds an agreement's two tracks: what is negotiated towards its next version, and the version in
//! force. Nothing here reads a clock or a database; `docs/agreements.md` prints the table of steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identifier::{AgreementId, OrganisationId};

mod in_force;
mod negotiation;
mod outline;
mod parties;
mod people;
mod possible;
mod refusal;
mod succession;

pub use in_force::{GRACE_DAYS, InForce, Live, Pending, Scope, Stop, StopReason, outlives_review};
pub use negotiation::{
    AgreedInPrinciple, AwaitingSignature, CounterProposed, Draft, Negotiation, Proposed, QualityAssured,
};
pub use outline::{FlowOutline, Outline, required_roles};
pub use parties::{Advice, Deal, Party, Signing};
pub use people::{Act, Authority, Hand, Person};
pub use possible::{Known, Possible};
pub use refusal::{Kind, Refusal};

/// An agreement that is managed over the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// Its name.
    pub id: AgreementId,
    /// The organisation that convenes its parties.
    pub convener: OrganisationId,
    /// The highest version there has been.
    pub latest: u32,
    /// What is negotiated.
    pub next: Option<Negotiation>,
    /// What is in force, or was last.
    pub in_force: Option<InForce>,
    /// Versions that another took the place of: countered, varied or withdrawn.
    pub past: Vec<Past>,
    /// Who convened them before somebody began to draft a next version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convened_before: Option<OrganisationId>,
}

/// A version that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which.
    pub version: u32,
    /// SHA-256 of its terms.
    pub terms_sha256: String,
    /// What became of it.
    pub fate: Fate,
    /// When.
    pub at: Timestamp,
    /// Whose draft it was, where it was never offered: theirs to see, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafted_by: Option<OrganisationId>,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Other terms were proposed in answer to it.
    Countered,
    /// A later version supersedes it.
    Varied,
    /// Its convener took it back.
    Withdrawn,
    /// It had run its time before a later version was put in force.
    Expired,
    /// It was ended before a later version was put in force.
    Terminated,
}

impl Fate {
    /// The state of such a version as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Countered => "countered",
            Self::Varied => "varied",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Terminated => "terminated",
        }
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Write a draft again.
    Revise(Outline),
    /// Begin a new version of what is in force, is over, or was withdrawn.
    Vary(Outline),
    /// Put the draft to the parties.
    Propose,
    /// Answer with other terms.
    Counter(Outline),
    /// Begin to look at it.
    Review,
    /// Agree for one's organisation, in principle.
    Accept,
    /// Leave the negotiation.
    Decline,
    /// Go on with those who have agreed.
    Proceed,
    /// Advise, as data protection officer.
    Advise {
        /// Whether the advice is to go on.
        favourable: bool,
    },
    /// Say whether the advice is followed.
    AnswerAdvice {
        /// Whether it is.
        followed: bool,
    },
    /// Find it in order.
    Assure,
    /// Ask for signatures.
    OpenSigning {
        /// Whether a comment that signing has to wait for is not resolved.
        blocked: bool,
        /// Whether the evaluation of the version in force is on record, where that is a pilot.
        evaluated: bool,
    },
    /// Sign.
    Sign(Signing),
    /// Ask for it to be put in force, or ended, or a successor taken in: a second person confirms.
    Ask(Pending),
    /// Confirm what another person asked for.
    Confirm,
    /// Say no to what another person asked for, or take one's own asking back.
    Reject,
    /// Take the proposal back.
    Withdraw,
    /// Switch something off, now.
    Suspend {
        /// What.
        scope: Scope,
        /// Why.
        reason: StopReason,
    },
    /// Switch it on again.
    Resume(Scope),
    /// Leave the agreement.
    Exit,
    /// The parties have reviewed it.
    Reviewed {
        /// When they do so again.
        next_on: jiff::civil::Date,
    },
}

impl Command {
    /// The command's name in the ledger and on the wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Revise(_) => "revised",
            Self::Vary(_) => "variation-begun",
            Self::Propose => "proposed",
            Self::Counter(_) => "counter-proposed",
            Self::Review => "review-begun",
            Self::Accept => "accepted",
            Self::Decline => "declined",
            Self::Proceed => "agreed-in-principle",
            Self::Advise { .. } => "advised",
            Self::AnswerAdvice { .. } => "advice-answered",
            Self::Assure => "quality-assured",
            Self::OpenSigning { .. } => "signing-opened",
            Self::Sign(_) => "signed",
            Self::Ask(pending) => pending.asked(),
            Self::Confirm => "confirmed",
            Self::Reject => "rejected",
            Self::Withdraw => "withdrawn",
            Self::Suspend { .. } => "suspended",
            Self::Resume(_) => "resumed",
            Self::Exit => "exited",
            Self::Reviewed { .. } => "reviewed",
        }
    }
}

impl Managed {
    /// Begins an agreement with a draft.
    ///
    /// # Errors
    /// [`Refusal`] when the author's organisation would not be a party.
    pub fn begin(id: AgreementId, outline: Outline, hand: &Hand) -> Result<Self, Refusal> {
        let convener = hand.person.organisation.clone();
        let draft = Draft::begin(outline, hand)?;
        let next = Some(Negotiation::Draft(draft));
        Ok(Self { id, convener, latest: 1, next, in_force: None, past: Vec::new(), convened_before: None })
    }

    /// The state of the whole, as people speak of it: that of the version in force while there is one.
    pub fn state(&self) -> &'static str {
        match (&self.in_force, &self.next) {
            (Some(in_force), next) if in_force.is_running() || next.is_none() => in_force.state(),
            (_, Some(next)) => next.state(),
            (Some(in_force), None) => in_force.state(),
            (None, None) => "withdrawn",
        }
    }

    /// The state of one version.
    pub fn state_of(&self, version: u32) -> &'static str {
        let negotiated = self.next.as_ref().filter(|next| next.deal().outline.version == version);
        let in_force = self.in_force.as_ref().filter(|one| one.live().deal.outline.version == version);
        let past = || self.past.iter().rev().find(|past| past.version == version);
        match (negotiated, in_force) {
            (Some(next), _) => next.state(),
            (None, Some(in_force)) => in_force.state(),
            (None, None) => past().map_or("withdrawn", |past| past.fate.as_str()),
        }
    }

    /// The outline that is negotiated, or else the one in force.
    pub fn outline(&self) -> Option<&Outline> {
        let negotiated = self.next.as_ref().map(|next| &next.deal().outline);
        negotiated.or_else(|| self.in_force.as_ref().map(|in_force| &in_force.live().deal.outline))
    }

    /// The parties of what is negotiated, or else in force, that have not left; where another organisation has taken one's place,
    /// that.
    pub fn at_the_table(&self) -> BTreeSet<OrganisationId> {
        let offered = self.next.as_ref().filter(|next| !matches!(next, Negotiation::Draft(_)));
        let deal = offered.map(Negotiation::deal);
        let deal = deal.or_else(|| self.in_force.as_ref().map(|in_force| &in_force.live().deal));
        let live = self.in_force.as_ref().map(InForce::live);
        let now = |party| live.map_or(party, |live| live.now(party));
        deal.into_iter().flat_map(Deal::still_in).map(now).cloned().collect()
    }

    /// Whether a version is in force, or may yet be, with these organisations in it.
    pub fn may_run(&self, version: u32, between: [&OrganisationId; 2]) -> bool {
        let offered = self.next.as_ref().filter(|next| !matches!(next, Negotiation::Draft(_)));
        let running = self.running_live().map(|live| &live.deal);
        let mut deals = offered.map(Negotiation::deal).into_iter().chain(running);
        deals.any(|deal| {
            let is_in = |organisation| deal.still_in().any(|still_in| still_in == organisation);
            deal.outline.version == version && between.into_iter().all(is_in)
        })
    }

    /// Whose draft a version is, or was, that was never offered.
    pub fn drafted_by(&self, version: u32) -> Option<&OrganisationId> {
        match &self.next {
            Some(next @ Negotiation::Draft(_)) if next.deal().outline.version == version => {
                Some(&self.convener)
            }
            _ => self.past.iter().find(|past| past.version == version)?.drafted_by.as_ref(),
        }
    }

    /// Who drafts a next version of what was in force. That somebody does is no secret: nobody else begins one meanwhile. What they write
    /// is theirs until they offer it.
    pub fn drafter_of_next(&self) -> Option<&OrganisationId> {
        let drafts = matches!(self.next, Some(Negotiation::Draft(_))) && self.in_force.is_some();
        drafts.then_some(&self.convener)
    }

    /// Whether a version is this organisation's to see: what was never offered is for whoever drafted it.
    pub fn shows(&self, version: u32, to: &OrganisationId) -> bool {
        self.drafted_by(version).is_none_or(|by| by == to)
    }

    /// The agreement as this organisation sees it: without what others draft, or have drafted and never offered.
    #[must_use]
    pub fn seen_by(&self, organisation: &OrganisationId) -> Self {
        let mut seen = self.clone();
        seen.past.retain(|past| past.drafted_by.as_ref().is_none_or(|by| by == organisation));
        if matches!(seen.next, Some(Negotiation::Draft(_))) && seen.convener != *organisation {
            seen.next = None;
            seen.convener = seen.convened_before.take().unwrap_or(seen.convener);
        }
        seen
    }

    /// Every organisation that has to do with it and may see it.
    pub fn members(&self) -> BTreeSet<OrganisationId> {
        let drafting = matches!(self.next, Some(Negotiation::Draft(_)));
        let negotiated = self.next.iter().filter(|_| !drafting).flat_map(|next| next.deal().parties.keys());
        let live = self.in_force.iter().map(InForce::live);
        let in_force = live.clone().flat_map(|live| live.deal.parties.keys());
        let successors = live.clone().flat_map(|live| live.successors.values());
        // Whoever is to take a place is asked.
        let asked = live.filter_map(|live| match &live.pending {
            Some(Pending::Succession { by, .. }) => Some(by),
            _ => None,
        });
        negotiated.chain(in_force).chain(successors).chain(asked).chain([&self.convener]).cloned().collect()
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`Refusal`] when it is not possible now, or not for this person.
    pub fn apply(mut self, command: Command, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        hand.is_of_a_side()?;
        let act = Act { by: hand.person.clone(), at };
        match command {
            Command::Vary(outline) => self.vary(outline, hand),
            Command::Suspend { scope, reason } => {
                self.running(|in_force| in_force.suspend(Stop { scope, reason, by: Some(act) }, hand))
            }
            Command::Resume(scope) => self.running(|in_force| in_force.resume(&scope, hand)),
            Command::Exit => self.exit(hand, at),
            Command::Reviewed { next_on } => self.running(|in_force| in_force.reviewed(next_on, hand, at)),
            Command::Sign(signing) if self.signs_what_runs(&signing) => {
                self.running(|in_force| in_force.sign_late(signing, hand))
            }
            Command::Advise { .. } | Command::AnswerAdvice { .. } if self.joins_late(hand) => {
                self.running(|in_force| in_force.advised_late(&command, hand, at))
            }
            // One thing waits at a time, so that whoever confirms it cannot mean another.
            Command::Ask(Pending::Activation) if self.waits_for_an_end() => Err(Refusal::OtherAsked),
            Command::Ask(Pending::Termination { .. } | Pending::Succession { .. })
                if self.waits_for_activation() =>
            {
                Err(Refusal::OtherAsked)
            }
            Command::Ask(pending @ (Pending::Termination { .. } | Pending::Succession { .. })) => {
                self.running(|in_force| in_force.ask(pending.by(act), hand))
            }
            Command::OpenSigning { evaluated: false, .. } if self.makes_a_pilot_permanent() => {
                Err(Refusal::EvaluationMissing)
            }
            Command::Counter(_) | Command::Revise(_) if self.has_lost_its_place(hand) => {
                Err(Refusal::LeftAlready)
            }
            Command::Confirm if self.waits_for_activation() && self.names_predecessor() => {
                Err(Refusal::NamesPredecessor)
            }
            Command::Confirm if self.waits_for_activation() => self.activate(act, hand),
            Command::Confirm => self.running(|in_force| in_force.confirm(hand)),
            Command::Reject if !self.waits_for_activation() => self.running(|in_force| in_force.reject(hand)),
            Command::Withdraw => self.withdraw(hand, at),
            other => {
                let is_rewritten = matches!(other, Command::Counter(_) | Command::Revise(_));
                if !is_rewritten && self.names_predecessor() {
                    return Err(Refusal::NamesPredecessor);
                }
                let acts_for: BTreeSet<_> = self
                    .running_live()
                    .into_iter()
                    .flat_map(|live| live.acts_for(&hand.person.organisation))
                    .cloned()
                    .collect();
                let next = self.next.take().ok_or(Refusal::NotInThisState)?;
                let before = next.deal().outline.clone();
                let is_counter = matches!(other, Command::Counter(_));
                self.next = Some(match other {
                    Command::Counter(outline) => next.counter(outline, (hand, &acts_for), act)?,
                    other => next.apply(other, hand, at)?,
                });
                if is_counter {
                    self.latest += 1;
                    self.past(&before, Fate::Countered, at);
                }
                Ok(self)
            }
        }
    }

    /// What time alone does until `at`, one step at a time: the step's name and what it leads to, or nothing.
    pub fn pass(&self, at: Timestamp) -> Option<(Self, &'static str)> {
        let before = self.in_force.as_ref()?;
        let after = before.clone().pass(at);
        let state = after.state();
        let passed = state != before.state();
        passed.then(|| (Self { in_force: Some(after), ..self.clone() }, state))
    }

    fn running(mut self, step: impl FnOnce(InForce) -> Result<InForce, Refusal>) -> Result<Self, Refusal> {
        let in_force = self.in_force.take().filter(InForce::is_running).ok_or(Refusal::NotInThisState)?;
        self.in_force = Some(step(in_force)?);
        Ok(self)
    }

    /// Whether what is negotiated names an organisation that another has taken the place of since, in what runs: nobody agrees to or signs
    /// that any more.
    fn names_predecessor(&self) -> bool {
        let Some((next, live)) = self.next.as_ref().zip(self.running_live()) else { return false };
        next.deal().still_in().any(|party| live.now(party) != party)
    }

    /// Whether another organisation has this hand's place in what runs.
    fn has_lost_its_place(&self, hand: &Hand) -> bool {
        let own = &hand.person.organisation;
        self.running_live().is_some_and(|live| live.now(own) != own)
    }

    /// What runs, or may be switched on again.
    fn running_live(&self) -> Option<&Live> {
        self.in_force.as_ref().filter(|in_force| in_force.is_running()).map(InForce::live)
    }

    fn signs_what_runs(&self, signing: &Signing) -> bool {
        self.running_live().is_some_and(|live| live.deal.outline.version == signing.version)
    }

    /// Whether nothing else is negotiated, and this hand's organisation has still to sign what runs.
    fn joins_late(&self, hand: &Hand) -> bool {
        let own = &hand.person.organisation;
        let awaits = |live: &Live| live.acts_for(own).any(|party| live.deal.awaits(party));
        self.next.is_none() && self.running_live().is_some_and(awaits)
    }

    fn makes_a_pilot_permanent(&self) -> bool {
        let live = self.in_force.as_ref().map(|in_force| &in_force.live().deal.outline);
        let next = self.next.as_ref().map(|next| &next.deal().outline);
        live.is_some_and(|live| live.is_pilot) && next.is_some_and(|next| !next.is_pilot)
    }

    /// The version that a step begins or would begin, with the parties whose flows it is about: those that have signed what was asked to
    /// be put in force, and those that run now and did not before it. They have to be members of its framework.
    pub fn begun_by(&self, before: &Self) -> Option<(u32, BTreeSet<OrganisationId>)> {
        let signed = |deal: &Deal| (deal.outline.version, deal.signed().cloned().collect::<BTreeSet<_>>());
        if self.waits_for_activation() && !before.waits_for_activation() {
            return self.next.as_ref().map(|next| signed(next.deal()));
        }
        // Whoever takes a place takes the flows that go with it.
        let places = |of: &Self| of.running_live().map(|live| live.successors.clone()).unwrap_or_default();
        let had: BTreeSet<_> = places(before).into_values().collect();
        let taken: BTreeSet<_> = places(self).into_values().filter(|by| !had.contains(by)).collect();
        let (version, now) = signed(&self.running_live()?.deal);
        if !taken.is_empty() {
            return Some((version, taken));
        }
        let ran = before.running_live().map(|live| signed(&live.deal)).filter(|(of, _)| *of == version);
        let begun: BTreeSet<_> =
            now.difference(&ran.map(|(_, ran)| ran).unwrap_or_default()).cloned().collect();
        (!begun.is_empty()).then_some((version, begun))
    }

    /// The organisations whose places in what runs others have taken, with those.
    pub fn successors(&self) -> BTreeMap<OrganisationId, OrganisationId> {
        self.running_live().map(|live| live.successors.clone()).unwrap_or_default()
    }

    /// Whether what runs waits for a second person, to end it or to let a successor in.
    fn waits_for_an_end(&self) -> bool {
        self.running_live().is_some_and(|live| live.pending.is_some())
    }

    /// Whether others have still to agree to a successor, after this one.
    pub fn waits_for_a_successor(&self) -> bool {
        let pending = self.running_live().and_then(|live| live.pending.as_ref());
        matches!(pending, Some(Pending::Succession { .. }))
    }

    /// Whether it was asked to be put in force, and waits for a second person.
    pub fn waits_for_activation(&self) -> bool {
        matches!(&self.next, Some(Negotiation::AwaitingSignature(stage)) if stage.is_asked_for())
    }

    fn vary(mut self, outline: Outline, hand: &Hand) -> Result<Self, Refusal> {
        if self.next.is_some() {
            return Err(Refusal::AlreadyNegotiated);
        }
        match &self.in_force {
            Some(in_force) => in_force.live().party(hand)?,
            // What was withdrawn before anything was in force is its convener's to begin anew.
            None => hand.is_of(&self.convener)?,
        }
        let before = std::mem::replace(&mut self.convener, hand.person.organisation.clone());
        self.convened_before = Some(before);
        self.latest += 1;
        self.next = Some(Negotiation::Draft(Draft::begin(outline, hand)?));
        Ok(self)
    }

    /// Leaves what runs, and what is negotiated beside it: nobody is held to a version that they signed and left.
    fn exit(self, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        let own = hand.person.organisation.clone();
        let places: BTreeSet<_> = self
            .running_live()
            .into_iter()
            .flat_map(|live| live.acts_for(&own))
            .cloned()
            .chain([own.clone()])
            .collect();
        let mut left = self.running(|in_force| in_force.exit(hand, at))?;
        let act = Act { by: hand.person.clone(), at };
        match left.next.take() {
            // What they draft is theirs, and nobody else could go on with it.
            Some(Negotiation::Draft(draft)) if left.convener == own => left.drop_draft(&draft, at),
            Some(mut next) => {
                next.left_by(&places, &act);
                left.next = Some(next);
            }
            None => {}
        }
        Ok(left)
    }

    /// A draft that nobody else has seen is no more, nor whose it was.
    fn drop_draft(&mut self, draft: &Draft, at: Timestamp) {
        self.past(draft.outline(), Fate::Withdrawn, at);
        if let Some(past) = self.past.last_mut() {
            past.drafted_by = Some(self.convener.clone());
        }
        if let Some(before) = self.convened_before.take() {
            self.convener = before;
        }
    }

    fn withdraw(mut self, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        let next = self.next.take().ok_or(Refusal::NotInThisState)?;
        hand.needs_either(Authority::Draft, Authority::Approve)?;
        // Whoever has the convener's place takes back what that one had offered.
        let has_its_place = self.running_live().is_some_and(|live| {
            let now = live.now(&self.convener);
            now != &self.convener && *now == hand.person.organisation
        });
        if !has_its_place {
            next.deal().takes_back(&self.convener, hand)?;
        }
        match next {
            Negotiation::Draft(draft) => self.drop_draft(&draft, at),
            offered => self.past(&offered.deal().outline, Fate::Withdrawn, at),
        }
        Ok(self)
    }

    fn activate(mut self, act: Act, hand: &Hand) -> Result<Self, Refusal> {
        let Some(Negotiation::AwaitingSignature(stage)) = self.next.take() else {
            return Err(Refusal::NotInThisState);
        };
        let at = act.at;
        let mut live = stage.confirm(act, hand)?;
        if let Some(over) = self.in_force.take_if(|before| !before.is_running()) {
            let fate = if matches!(over, InForce::Expired(_)) { Fate::Expired } else { Fate::Terminated };
            self.past(&over.live().deal.outline, fate, at);
        } else if let Some(before) = self.in_force.take() {
            // A variation that left somebody's signature behind would cut their flows without a word: they sign it, or leave first.
            if before.live().is_cut_by(&live.deal) {
                return Err(Refusal::WouldCutAParty);
            }
            live.keep_stops(before.live());
            let outline = before.live().deal.outline.clone();
            self.past(&outline, Fate::Varied, at);
        }
        self.in_force = Some(InForce::begin(live));
        Ok(self)
    }

    fn past(&mut self, outline: &Outline, fate: Fate, at: Timestamp) {
        let terms_sha256 = outline.terms_sha256.clone();
        self.past.push(Past { version: outline.version, terms_sha256, fate, at, drafted_by: None });
    }
}

#[cfg(test)]
mod tests;
