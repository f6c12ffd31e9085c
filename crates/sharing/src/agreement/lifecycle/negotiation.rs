//! The stages before an agreement is in force. Each is a type; what is not a method of it is not possible in it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Act, Authority, Command, Deal, Hand, Outline, Pending, Refusal, in_force::Live};
use crate::identifier::OrganisationId;

/// A version that is not in force yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Negotiation {
    /// Being written, by one organisation.
    Draft(Draft),
    /// Offered to all parties.
    Proposed(Proposed),
    /// Offered in answer to an earlier offer.
    CounterProposed(CounterProposed),
    /// The parties agree on the terms.
    AgreedInPrinciple(AgreedInPrinciple),
    /// Somebody who did not write it found it in order.
    QualityAssured(QualityAssured),
    /// The parties sign.
    AwaitingSignature(AwaitingSignature),
}

/// Being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    deal: Deal,
}

/// Offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    deal: Deal,
    proposed: Act,
}

/// Offered in answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterProposed {
    deal: Deal,
    countered: Act,
    /// The version that it answers.
    answers: u32,
}

/// Agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedInPrinciple {
    deal: Deal,
    agreed: Act,
}

/// Found in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityAssured {
    deal: Deal,
    assured: Act,
}

/// Being signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitingSignature {
    deal: Deal,
    assured: Act,
    opened: Act,
    /// Who asked for it to be put in force.
    asked: Option<Act>,
}

impl Draft {
    pub(super) fn begin(outline: Outline, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Draft)?;
        Ok(Self { deal: Deal::of(outline, hand.person.clone())? })
    }

    pub(super) fn outline(&self) -> &Outline {
        &self.deal.outline
    }

    fn owner(&self, hand: &Hand) -> Result<(), Refusal> {
        hand.needs(Authority::Draft)?;
        let is_authors = |author: &super::Person| author.organisation == hand.person.organisation;
        if self.deal.authors.iter().any(is_authors) { Ok(()) } else { Err(Refusal::NotYours) }
    }

    /// Writes it again.
    ///
    /// # Errors
    /// [`Refusal`] for another organisation, or where the author's would not be a party.
    pub fn revise(self, outline: Outline, hand: &Hand) -> Result<Self, Refusal> {
        self.owner(hand)?;
        let mut deal = Deal::of(outline, hand.person.clone())?;
        deal.authors.extend(self.deal.authors);
        Ok(Self { deal })
    }

    /// Puts it to the parties.
    ///
    /// # Errors
    /// [`Refusal`] for another organisation.
    pub fn propose(self, hand: &Hand, at: Timestamp) -> Result<Proposed, Refusal> {
        self.owner(hand)?;
        let proposed = Act { by: hand.person.clone(), at };
        let mut deal = self.deal;
        deal.begin_review(proposed.clone());
        Ok(Proposed { deal, proposed })
    }
}

impl AgreedInPrinciple {
    /// Finds it in order.
    ///
    /// # Errors
    /// [`Refusal`] for an author, and for whoever approves nothing.
    pub fn assure(self, hand: &Hand, at: Timestamp) -> Result<QualityAssured, Refusal> {
        self.deal.approves(hand)?;
        Ok(QualityAssured { assured: Act { by: hand.person.clone(), at }, deal: self.deal })
    }
}

impl QualityAssured {
    /// Asks the parties to sign.
    ///
    /// # Errors
    /// [`Refusal`] for whoever approves nothing, and while a comment is open that signing has to wait for.
    pub fn open_signing(
        self,
        blocked: bool,
        hand: &Hand,
        at: Timestamp,
    ) -> Result<AwaitingSignature, Refusal> {
        self.deal.approves(hand)?;
        if blocked {
            return Err(Refusal::CommentsOpen);
        }
        let opened = Act { by: hand.person.clone(), at };
        Ok(AwaitingSignature { opened, assured: self.assured, deal: self.deal, asked: None })
    }
}

impl AwaitingSignature {
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked.is_some()
    }

    /// When the parties were asked to sign: a signature is not older.
    pub fn opened_at(&self) -> Timestamp {
        self.opened.at
    }

    /// Asks for it to be put in force.
    ///
    /// # Errors
    /// [`Refusal`] naming what is missing.
    pub fn ask(mut self, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        self.deal.approves(hand)?;
        self.deal.ready()?;
        self.asked = Some(Act { by: hand.person.clone(), at });
        Ok(self)
    }

    /// Says no to its being put in force, or takes one's own asking back: it waits no more.
    ///
    /// # Errors
    /// [`Refusal`] for whoever approves nothing, and where nobody has asked.
    pub fn reject(mut self, hand: &Hand) -> Result<Self, Refusal> {
        hand.needs(Authority::Approve)?;
        self.deal.party_of(hand)?;
        self.asked.take().ok_or(Refusal::NothingAsked)?;
        Ok(self)
    }

    /// Puts it in force: the second person's hand.
    ///
    /// # Errors
    /// [`Refusal`] for whoever asked for it, and naming what is missing.
    pub fn confirm(self, act: Act, hand: &Hand) -> Result<Live, Refusal> {
        self.deal.approves(hand)?;
        let asked = self.asked.filter(|asked| self.deal.is_in(&asked.by.organisation));
        let asked = asked.ok_or(Refusal::NothingAsked)?;
        if asked.by == act.by {
            return Err(Refusal::SamePerson);
        }
        self.deal.ready()?;
        Ok(Live::begin(self.deal, asked, act))
    }
}

impl Negotiation {
    /// The state as text.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Draft(_) => "draft",
            Self::Proposed(_) => "proposed",
            Self::CounterProposed(_) => "counter-proposed",
            Self::AgreedInPrinciple(_) => "agreed-in-principle",
            Self::QualityAssured(_) => "quality-assured",
            Self::AwaitingSignature(_) => "awaiting-signature",
        }
    }

    /// The terms, and where the parties stand.
    pub fn deal(&self) -> &Deal {
        match self {
            Self::Draft(stage) => &stage.deal,
            Self::Proposed(stage) => &stage.deal,
            Self::CounterProposed(stage) => &stage.deal,
            Self::AgreedInPrinciple(stage) => &stage.deal,
            Self::QualityAssured(stage) => &stage.deal,
            Self::AwaitingSignature(stage) => &stage.deal,
        }
    }

    fn deal_mut(&mut self) -> &mut Deal {
        match self {
            Self::Draft(stage) => &mut stage.deal,
            Self::Proposed(stage) => &mut stage.deal,
            Self::CounterProposed(stage) => &mut stage.deal,
            Self::AgreedInPrinciple(stage) => &mut stage.deal,
            Self::QualityAssured(stage) => &mut stage.deal,
            Self::AwaitingSignature(stage) => &mut stage.deal,
        }
    }

    pub(super) fn apply(mut self, command: Command, hand: &Hand, at: Timestamp) -> Result<Self, Refusal> {
        let act = Act { by: hand.person.clone(), at };
        match (self, command) {
            (Self::Draft(stage), Command::Revise(outline)) => stage.revise(outline, hand).map(Self::Draft),
            (Self::Draft(stage), Command::Propose) => stage.propose(hand, at).map(Self::Proposed),
            (Self::Draft(_), _) => Err(Refusal::NotInThisState),
            (mut stage @ (Self::Proposed(_) | Self::CounterProposed(_)), Command::Accept) => {
                stage.deal_mut().accept(hand, at)?;
                let agreed = stage.deal().all_accepted();
                Ok(if agreed { stage.agreed(act) } else { stage })
            }
            (stage @ (Self::Proposed(_) | Self::CounterProposed(_)), Command::Proceed) => {
                stage.deal().approves(hand)?;
                if stage.deal().some_accepted() {
                    Ok(stage.agreed(act))
                } else {
                    Err(Refusal::NobodyHasAgreed)
                }
            }
            // Whoever was slow can still agree.
            (Self::AgreedInPrinciple(mut stage), Command::Accept) => {
                stage.deal.accept(hand, at)?;
                Ok(Self::AgreedInPrinciple(stage))
            }
            (Self::AgreedInPrinciple(stage), Command::Assure) => {
                stage.assure(hand, at).map(Self::QualityAssured)
            }
            (Self::QualityAssured(stage), Command::OpenSigning { blocked, .. }) => {
                stage.open_signing(blocked, hand, at).map(Self::AwaitingSignature)
            }
            (Self::AwaitingSignature(mut stage), Command::Sign(signing)) => {
                stage.deal.sign(&hand.person.organisation, signing, hand)?;
                Ok(Self::AwaitingSignature(stage))
            }
            (Self::AwaitingSignature(stage), Command::Ask(Pending::Activation)) => {
                stage.ask(hand, at).map(Self::AwaitingSignature)
            }
            (Self::AwaitingSignature(stage), Command::Reject) => {
                stage.reject(hand).map(Self::AwaitingSignature)
            }
            (stage, command) => {
                self = stage;
                self.said(&command, hand, at)?;
                // What was asked for was to put it in force with whoever has just left it.
                if let (Self::AwaitingSignature(stage), Command::Decline) = (&mut self, &command) {
                    stage.asked = None;
                }
                Ok(self)
            }
        }
    }

    /// These organisations have left what runs, and so this: what was asked for was with them in it.
    pub(super) fn left_by(&mut self, places: &BTreeSet<OrganisationId>, act: &Act) {
        if matches!(self, Self::Draft(_)) {
            return;
        }
        let were_in: Vec<_> = places.iter().filter(|place| self.deal().is_in(place)).cloned().collect();
        for place in &were_in {
            self.deal_mut().parties.insert(place.clone(), super::Party::Declined(act.clone()));
        }
        if let (Self::AwaitingSignature(stage), false) = (self, were_in.is_empty()) {
            stage.asked = None;
        }
    }

    /// What can be said at any stage that is offered.
    fn said(&mut self, command: &Command, hand: &Hand, at: Timestamp) -> Result<(), Refusal> {
        let (deal, own) = (self.deal_mut(), &hand.person.organisation);
        match command {
            Command::Review => deal.review(hand, at),
            Command::Decline => deal.decline(hand, at),
            Command::Advise { favourable } => deal.advise((own, *favourable), hand, at),
            Command::AnswerAdvice { followed } => deal.answer_advice((own, *followed), hand, at),
            _ => Err(Refusal::NotInThisState),
        }
    }

    fn agreed(self, agreed: Act) -> Self {
        let deal = self.into_deal();
        Self::AgreedInPrinciple(AgreedInPrinciple { deal, agreed })
    }

    /// Answers with other terms: a party, or whoever has taken the place of one.
    pub(super) fn counter(
        self,
        outline: Outline,
        (hand, acts_for): (&Hand, &BTreeSet<OrganisationId>),
        act: Act,
    ) -> Result<Self, Refusal> {
        if !matches!(self, Self::Proposed(_) | Self::CounterProposed(_) | Self::AgreedInPrinciple(_)) {
            return Err(Refusal::NotInThisState);
        }
        hand.needs(Authority::Draft)?;
        let mut deal = self.into_deal();
        if !acts_for.iter().any(|party| deal.is_in(party)) {
            deal.party_of(hand)?;
        }
        let answers = deal.outline.version;
        let at = act.at;
        let deal = deal.rewritten(outline, act.by.clone(), at)?;
        Ok(Self::CounterProposed(CounterProposed { deal, countered: act, answers }))
    }

    fn into_deal(self) -> Deal {
        match self {
            Self::Draft(stage) => stage.deal,
            Self::Proposed(stage) => stage.deal,
            Self::CounterProposed(stage) => stage.deal,
            Self::AgreedInPrinciple(stage) => stage.deal,
            Self::QualityAssured(stage) => stage.deal,
            Self::AwaitingSignature(stage) => stage.deal,
        }
    }
}
