//! Disputes between the parties of an agreement: who may say what, who decides, and what time does.
//!
//! Every stage is a type, and only what is possible in it is a method of it. A dispute stops nothing: what is in force goes on
//! until a party suspends it. Nobody but the parties ends one; a mediator speaks, proposes terms and outcomes, and accepts
//! none.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    SignatoryRole,
    comment::Clause,
    lifecycle::{Act, Authority, Hand, Person, Refusal},
};
use crate::identifier::OrganisationId;

/// Who looks at a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Those who work with it.
    Practitioners,
    /// The information governance leads.
    GovernanceLeads,
    /// Data protection officers and Caldicott Guardians.
    DpoAndCaldicott,
    /// The senior information risk owners.
    Siros,
    /// The boards.
    Boards,
}

impl Level {
    /// Every level, the first one first.
    pub const ALL: [Self; 5] =
        [Self::Practitioners, Self::GovernanceLeads, Self::DpoAndCaldicott, Self::Siros, Self::Boards];

    /// The level as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Practitioners => "practitioners",
            Self::GovernanceLeads => "governance-leads",
            Self::DpoAndCaldicott => "dpo-and-caldicott",
            Self::Siros => "siros",
            Self::Boards => "boards",
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Practitioners => Some(Self::GovernanceLeads),
            Self::GovernanceLeads => Some(Self::DpoAndCaldicott),
            Self::DpoAndCaldicott => Some(Self::Siros),
            Self::Siros => Some(Self::Boards),
            Self::Boards => None,
        }
    }

    /// How long each level has, in days. A data protection officer can review this: it is one readable function.
    pub fn days(self) -> i64 {
        match self {
            Self::Practitioners | Self::GovernanceLeads => 10,
            Self::DpoAndCaldicott | Self::Siros => 15,
            Self::Boards => 30,
        }
    }

    /// The offices that settle at this level, where it has any: one of them for each organisation. Practitioners are approvers. A data
    /// protection officer advises, and offers outcomes at their level, and agrees to none. A data protection officer can review this:
    /// it is one readable function.
    pub fn offices(self) -> &'static [SignatoryRole] {
        match self {
            Self::Practitioners => &[],
            Self::GovernanceLeads => &[SignatoryRole::GovernanceLead],
            Self::DpoAndCaldicott => &[SignatoryRole::CaldicottGuardian, SignatoryRole::Siro],
            Self::Siros => &[SignatoryRole::Siro],
            Self::Boards => &[SignatoryRole::Board],
        }
    }

    /// The offices that settle for an organisation that has filled these: the level's own, and where nobody is in one of those, whoever
    /// stands in. An approver does for a governance lead, so that there is none then, and the SIRO for the board.
    fn offices_of(self, filled: &[SignatoryRole]) -> &'static [SignatoryRole] {
        let is_filled = self.offices().iter().any(|office| filled.contains(office));
        match self {
            Self::GovernanceLeads if !is_filled => &[],
            Self::Boards if !is_filled => &[SignatoryRole::Siro],
            _ => self.offices(),
        }
    }

    /// The offices whose people are told, at their own addresses, when a dispute comes to this level.
    pub fn told(self) -> &'static [SignatoryRole] {
        match self {
            Self::DpoAndCaldicott => &[SignatoryRole::Dpo, SignatoryRole::CaldicottGuardian],
            Self::Boards => &[SignatoryRole::Board, SignatoryRole::Siro],
            _ => self.offices(),
        }
    }

    fn due(self, from: Timestamp) -> Option<Timestamp> {
        from.checked_add(SignedDuration::from_hours(24 * self.days())).ok()
    }
}

/// How a dispute ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The terms stay as they are.
    TermsStand,
    /// Other terms are proposed.
    TermsChange,
    /// It is done otherwise, within the terms.
    PracticeChanges,
    /// A party leaves or an agreement ends.
    PartWays,
    /// Whoever began it took it back.
    Withdrawn,
}

impl Outcome {
    /// The outcome as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TermsStand => "terms-stand",
            Self::TermsChange => "terms-change",
            Self::PracticeChanges => "practice-changes",
            Self::PartWays => "part-ways",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What a dispute is about, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The version that it is about.
    pub version: u32,
    /// Where in it.
    pub clause: Clause,
    /// Who began it.
    pub opened: Act,
    /// The organisations that it is between.
    pub between: BTreeSet<OrganisationId>,
    /// Every party of the agreement when it began: none of them is neutral.
    pub parties: BTreeSet<OrganisationId>,
    /// Who looks at it.
    pub level: Level,
    /// When the next level does. None when there is none.
    pub due: Option<Timestamp>,
    /// Somebody of a party who would mediate, and the organisations that agree.
    pub nominated: Option<(Person, BTreeSet<OrganisationId>)>,
    /// Who mediates.
    pub mediator: Option<Person>,
    /// Those whom a party would not have, or not any longer: they do not mediate it again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<Person>,
    /// The outcome on the table, and the organisations that agree.
    pub offered: Option<(Outcome, Act, BTreeSet<OrganisationId>)>,
}

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Dispute {
    /// The parties talk.
    Open(Open),
    /// Somebody neutral helps them.
    Mediating(Mediating),
    /// A further level looks at it.
    Escalated(Escalated),
    /// It is over.
    Resolved(Resolved),
}

/// The parties talk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    case: Case,
}

/// Somebody neutral helps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mediating {
    case: Case,
}

/// A further level looks at it. A mediator stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalated {
    case: Case,
}

/// It is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    case: Case,
    /// How.
    outcome: Outcome,
    /// The hand that ended it.
    ended: Act,
    /// What is to be published of the outcome, once somebody neutral has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<Confirmed>,
    /// The organisations that agree to publish it as a precedent.
    publishing: BTreeSet<OrganisationId>,
}

/// A text in which somebody neutral has found nobody named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The text.
    pub text: String,
    /// Who has read it.
    pub by: Act,
}

/// A step of a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say something.
    Comment,
    /// Put terms on the table. They bind nobody until a party counters with them.
    ProposeTerms,
    /// Offer to mediate.
    Mediate,
    /// Agree to a mediator who is of a party's organisation.
    AcceptMediator,
    /// Go on without whoever mediates, or offers to: a party says so, or they themselves.
    ReleaseMediator,
    /// Take it to the next level.
    Escalate,
    /// Put an outcome on the table.
    Settle(Outcome),
    /// Agree to that outcome.
    AcceptOutcome,
    /// Take it back.
    Withdraw,
    /// Confirm the text that is to be published: somebody neutral, who has taken out what names anybody.
    ConfirmText(String),
    /// Agree to publish the outcome as a precedent without names.
    Publish,
}

impl Open {
    /// Begins a dispute with other parties.
    ///
    /// # Errors
    /// [`Refusal`] for whoever speaks for no party, or where it is with nobody.
    pub fn begin(
        (version, clause): (u32, Clause),
        with: BTreeSet<OrganisationId>,
        parties: &BTreeSet<OrganisationId>,
        hand: &Hand,
        at: Timestamp,
    ) -> Result<Self, Refusal> {
        hand.needs_either(Authority::Draft, Authority::Approve)?;
        let own = &hand.person.organisation;
        let mut between = with;
        if !parties.contains(own) || !between.is_subset(parties) {
            return Err(Refusal::NotAParty);
        }
        between.insert(own.clone());
        if between.len() < 2 {
            return Err(Refusal::NotAParty);
        }
        let level = Level::Practitioners;
        let case = Case {
            version,
            clause,
            opened: Act { by: hand.person.clone(), at },
            between,
            parties: parties.clone(),
            level,
            due: level.due(at),
            nominated: None,
            mediator: None,
            released: BTreeSet::new(),
            offered: None,
        };
        Ok(Self { case })
    }
}

impl Case {
    /// With whoever has taken a place in place of whose it was: what that one has agreed to stands. A mediator whose organisation has
    /// become a party is neutral no more.
    fn succeeded(&mut self, successors: &BTreeMap<OrganisationId, OrganisationId>) {
        let now = |all: &BTreeSet<OrganisationId>| all.iter().map(|one| now(one, successors)).collect();
        self.between = now(&self.between);
        self.parties = now(&self.parties);
        if let Some((_, agreed)) = &mut self.nominated {
            *agreed = now(agreed);
        }
        if let Some((_, _, agreed)) = &mut self.offered {
            *agreed = now(agreed);
        }
        self.opened.by.organisation = self::now(&self.opened.by.organisation, successors);
        let is_party = |mediator: &Person| {
            successors.values().any(|successor| mediator.organisation == *successor)
                && self.between.contains(&mediator.organisation)
        };
        if self.mediator.as_ref().is_some_and(is_party) {
            self.mediator = None;
        }
    }

    fn is_mediator(&self, hand: &Hand) -> bool {
        self.mediator.as_ref() == Some(&hand.person)
    }

    /// Somebody who decides for one of the organisations that it is between.
    fn decides(&self, hand: &Hand) -> Result<(), Refusal> {
        if self.is_mediator(hand) {
            return Err(Refusal::MediatorIsAParty);
        }
        hand.needs(Authority::Approve)?;
        if self.between.contains(&hand.person.organisation) { Ok(()) } else { Err(Refusal::NotAParty) }
    }

    /// Somebody who settles for one of the organisations that it is between, at the level that it is with.
    fn settles(&self, hand: &Hand) -> Result<(), Refusal> {
        // Whoever began it is the practitioner; the lead is somebody else.
        let is_another = self.level != Level::GovernanceLeads || self.opened.by != hand.person;
        let offices = self.level.offices_of(&hand.filled);
        if offices.is_empty() {
            self.decides(hand)?;
            return if is_another { Ok(()) } else { Err(Refusal::LevelDecides) };
        }
        if self.is_mediator(hand) {
            return Err(Refusal::MediatorIsAParty);
        }
        hand.needs_either(Authority::Approve, Authority::Sign)?;
        if !self.between.contains(&hand.person.organisation) {
            return Err(Refusal::NotAParty);
        }
        if hand.holds(SignatoryRole::Dpo) {
            return Err(Refusal::DpoApproves);
        }
        let settles = is_another && offices.iter().any(|office| hand.holds(*office));
        if settles { Ok(()) } else { Err(Refusal::LevelDecides) }
    }

    /// Whether this is a data protection officer of a party, at their level: what they offer is nobody's yes.
    fn is_advised_by(&self, hand: &Hand) -> bool {
        self.level == Level::DpoAndCaldicott
            && hand.holds(SignatoryRole::Dpo)
            && self.between.contains(&hand.person.organisation)
    }

    /// Somebody who takes part: a party's people, and the mediator.
    fn speaks(&self, hand: &Hand) -> Result<(), Refusal> {
        if self.is_mediator(hand) {
            return Ok(());
        }
        if !self.between.contains(&hand.person.organisation) {
            return Err(Refusal::NotAParty);
        }
        if hand.holds(SignatoryRole::Dpo) {
            Ok(())
        } else {
            hand.needs_either(Authority::Draft, Authority::Approve)
        }
    }

    /// Offers to mediate: at once for whoever is of no party's organisation, else it waits for each party.
    fn mediate(mut self, hand: &Hand) -> Result<(Self, bool), Refusal> {
        hand.needs(Authority::Mediate)?;
        if self.mediator.is_some() || self.nominated.is_some() {
            return Err(Refusal::NotInThisState);
        }
        if self.released.contains(&hand.person) {
            return Err(Refusal::MediatorReleased);
        }
        let is_neutral = !self.parties.contains(&hand.person.organisation);
        if is_neutral {
            self.mediator = Some(hand.person.clone());
        } else {
            self.nominated = Some((hand.person.clone(), BTreeSet::new()));
        }
        Ok((self, is_neutral))
    }

    fn accept_mediator(mut self, hand: &Hand) -> Result<(Self, bool), Refusal> {
        self.decides(hand)?;
        let (person, mut agreed) = self.nominated.take().ok_or(Refusal::NothingAsked)?;
        if person == hand.person {
            return Err(Refusal::SamePerson);
        }
        agreed.insert(hand.person.organisation.clone());
        let all = agreed == self.between;
        if all {
            self.mediator = Some(person);
        } else {
            self.nominated = Some((person, agreed));
        }
        Ok((self, all))
    }

    /// A mediator has the trust of each party or none: one party's word is enough. Whoever steps down may come back.
    fn release_mediator(mut self, hand: &Hand) -> Result<Self, Refusal> {
        let nominated = self.nominated.take().map(|(person, _)| person);
        let named = self.mediator.take().or(nominated).ok_or(Refusal::NoMediator)?;
        // What they put on the table goes with them; who has agreed to it may put it there again.
        if self.offered.as_ref().is_some_and(|(_, by, _)| by.by == named) {
            self.offered = None;
        }
        if named != hand.person {
            self.decides(hand)?;
            self.released.insert(named);
        }
        Ok(self)
    }

    fn escalate(mut self, at: Timestamp) -> Result<Escalated, Refusal> {
        self.level = self.level.next().ok_or(Refusal::TopLevel)?;
        self.due = self.level.due(at);
        // What stays on the table is agreed to anew: a level's word is that of its own people.
        if let Some((_, _, agreed)) = &mut self.offered {
            agreed.clear();
        }
        Ok(Escalated { case: self })
    }

    fn settle(mut self, outcome: Outcome, hand: &Hand, act: Act) -> Result<Self, Refusal> {
        let agreed = if self.is_mediator(hand) || self.is_advised_by(hand) {
            BTreeSet::new()
        } else {
            self.settles(hand)?;
            BTreeSet::from([hand.person.organisation.clone()])
        };
        self.offered = Some((outcome, act, agreed));
        Ok(self)
    }

    /// The outcome, once each organisation has agreed to it.
    fn accept_outcome(mut self, hand: &Hand) -> Result<(Self, Option<Outcome>), Refusal> {
        self.settles(hand)?;
        let (outcome, _, agreed) = self.offered.as_mut().ok_or(Refusal::NothingOffered)?;
        agreed.insert(hand.person.organisation.clone());
        let ended = (*agreed == self.between).then_some(*outcome);
        Ok((self, ended))
    }
}

impl Resolved {
    fn of(mut case: Case, outcome: Outcome, ended: Act) -> Self {
        case.due = None;
        Self { case, outcome, ended, confirmed: None, publishing: BTreeSet::new() }
    }

    /// Agrees to publish it as a precedent. Whether all have agreed is [`Self::is_published`].
    ///
    /// # Errors
    /// [`Refusal`] for whoever does not decide for one of its organisations, or before the text was confirmed.
    pub fn publish(mut self, hand: &Hand) -> Result<Self, Refusal> {
        self.case.decides(hand)?;
        if self.confirmed.is_none() {
            return Err(Refusal::TextNotConfirmed);
        }
        if !self.publishing.insert(hand.person.organisation.clone()) {
            return Err(Refusal::NotInThisState);
        }
        Ok(self)
    }

    /// Confirms the text that is to be published. Whoever agreed to another agrees anew.
    ///
    /// # Errors
    /// [`Refusal`] for whoever does not mediate, is of a party, or comes when it is published.
    pub fn confirm_text(self, text: String, hand: &Hand, act: Act) -> Result<Self, Refusal> {
        hand.needs(Authority::Mediate)?;
        if self.case.parties.contains(&hand.person.organisation) {
            return Err(Refusal::MediatorIsAParty);
        }
        if self.is_published() {
            return Err(Refusal::NotInThisState);
        }
        Ok(Self { confirmed: Some(Confirmed { text, by: act }), publishing: BTreeSet::new(), ..self })
    }

    /// The text that somebody neutral has read.
    pub fn confirmed(&self) -> Option<&Confirmed> {
        self.confirmed.as_ref()
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether every organisation that it was between agrees to publish it.
    pub fn is_published(&self) -> bool {
        self.publishing == self.case.between
    }
}

fn now(one: &OrganisationId, successors: &BTreeMap<OrganisationId, OrganisationId>) -> OrganisationId {
    successors.get(one).unwrap_or(one).clone()
}

impl Dispute {
    /// The dispute as it is between those who have the parties' places now. One that is over stays as it was.
    #[must_use]
    pub fn succeeded(mut self, successors: &BTreeMap<OrganisationId, OrganisationId>) -> Self {
        match &mut self {
            Self::Open(Open { case })
            | Self::Mediating(Mediating { case })
            | Self::Escalated(Escalated { case }) => {
                case.succeeded(successors);
            }
            Self::Resolved(_) => {}
        }
        self
    }

    /// The dispute with everybody who is a party of its agreement by now: none of them is neutral, whoever was one when it began. A
    /// mediator whose organisation has become one mediates no more.
    #[must_use]
    pub fn among(mut self, parties: &BTreeSet<OrganisationId>) -> Self {
        let case = match &mut self {
            Self::Open(Open { case })
            | Self::Mediating(Mediating { case })
            | Self::Escalated(Escalated { case }) => case,
            Self::Resolved(stage) => &mut stage.case,
        };
        let is_new = |organisation: &OrganisationId| {
            parties.contains(organisation) && !case.parties.contains(organisation)
        };
        let is_none_now = case.mediator.as_ref().is_some_and(|mediator| is_new(&mediator.organisation));
        if is_none_now {
            case.mediator = None;
        }
        case.parties.extend(parties.iter().cloned());
        if !is_none_now {
            return self;
        }
        let case = case.clone();
        self.without_mediator(case)
    }

    /// What it is about, and where it stands.
    pub fn case(&self) -> &Case {
        match self {
            Self::Open(stage) => &stage.case,
            Self::Mediating(stage) => &stage.case,
            Self::Escalated(stage) => &stage.case,
            Self::Resolved(stage) => &stage.case,
        }
    }

    /// Whether this person mediates it now. Meanwhile they take no step of its agreement ([`Hand::mediates`]).
    pub fn is_mediated_by(&self, person: &Person) -> bool {
        !matches!(self, Self::Resolved(_)) && self.case().mediator.as_ref() == Some(person)
    }

    /// The state as text.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Mediating(_) => "mediating",
            Self::Escalated(_) => "escalated",
            Self::Resolved(_) => "resolved",
        }
    }

    /// Takes a step. Gives its name in the ledger too.
    ///
    /// # Errors
    /// [`Refusal`] when it is not possible now, or not for this person.
    pub fn apply(
        self,
        command: Command,
        hand: &Hand,
        at: Timestamp,
    ) -> Result<(Self, &'static str), Refusal> {
        let act = Act { by: hand.person.clone(), at };
        let stage = match self {
            Self::Resolved(stage) => {
                let stage = match command {
                    Command::ConfirmText(text) => {
                        return Ok((Self::Resolved(stage.confirm_text(text, hand, act)?), "text-confirmed"));
                    }
                    Command::Publish => stage.publish(hand)?,
                    _ => return Err(Refusal::NotInThisState),
                };
                let name = if stage.is_published() { "published" } else { "publication-agreed" };
                return Ok((Self::Resolved(stage), name));
            }
            stage => stage,
        };
        let case = stage.case().clone();
        match command {
            Command::Settle(Outcome::Withdrawn) | Command::Publish | Command::ConfirmText(_) => {
                Err(Refusal::NotInThisState)
            }
            Command::Comment => case.speaks(hand).map(|()| (stage, "commented")),
            Command::ProposeTerms => {
                case.speaks(hand)?;
                if !case.is_mediator(hand) {
                    hand.needs(Authority::Draft)?;
                }
                Ok((stage, "terms-proposed"))
            }
            Command::Mediate => {
                let (case, is_neutral) = case.mediate(hand)?;
                let name = if is_neutral { "mediation-begun" } else { "mediator-offered" };
                Ok((stage.with(case, is_neutral), name))
            }
            Command::AcceptMediator => {
                let (case, all) = case.accept_mediator(hand)?;
                let name = if all { "mediation-begun" } else { "mediator-accepted" };
                Ok((stage.with(case, all), name))
            }
            Command::ReleaseMediator => {
                let case = case.release_mediator(hand)?;
                Ok((stage.without_mediator(case), "mediator-released"))
            }
            Command::Escalate => {
                case.decides(hand)?;
                Ok((Self::Escalated(case.escalate(at)?), "escalated"))
            }
            Command::Settle(outcome) => {
                Ok((stage.with(case.settle(outcome, hand, act)?, false), "outcome-offered"))
            }
            Command::AcceptOutcome => match case.accept_outcome(hand)? {
                (case, Some(outcome)) => Ok((Self::Resolved(Resolved::of(case, outcome, act)), "resolved")),
                (case, None) => Ok((stage.with(case, false), "outcome-accepted")),
            },
            Command::Withdraw => {
                case.decides(hand)?;
                hand.is_of(&case.opened.by.organisation)?;
                Ok((Self::Resolved(Resolved::of(case, Outcome::Withdrawn, act)), "withdrawn"))
            }
        }
    }

    /// The same stage with this case; or mediation, where that begins.
    fn with(self, case: Case, mediation_begins: bool) -> Self {
        if mediation_begins {
            return Self::Mediating(Mediating { case });
        }
        match self {
            Self::Open(_) => Self::Open(Open { case }),
            Self::Mediating(_) => Self::Mediating(Mediating { case }),
            Self::Escalated(_) => Self::Escalated(Escalated { case }),
            Self::Resolved(stage) => Self::Resolved(Resolved { case, ..stage }),
        }
    }

    /// The stage in which the parties talk: the first, or the level that it had come to.
    fn without_mediator(self, case: Case) -> Self {
        match self {
            Self::Mediating(_) if case.level == Level::Practitioners => Self::Open(Open { case }),
            Self::Mediating(_) => Self::Escalated(Escalated { case }),
            stage => stage.with(case, false),
        }
    }

    /// What time alone has done at `at`: the next level looks at it, or the boards are late.
    pub fn pass(&self, at: Timestamp) -> Option<(Self, &'static str)> {
        if matches!(self, Self::Resolved(_)) || self.case().due.is_none_or(|due| at < due) {
            return None;
        }
        let case = self.case().clone();
        match case.clone().escalate(at) {
            Ok(escalated) => Some((Self::Escalated(escalated), "escalated")),
            Err(_) => Some((self.clone().with(Case { due: None, ..case }, false), "boards-overdue")),
        }
    }
}

#[cfg(test)]
mod tests;
