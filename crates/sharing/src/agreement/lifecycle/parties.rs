//! Where each party stands, and what it has said and signed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Act, Authority, Hand, Outline, Person, Refusal};
use crate::{agreement::SignatoryRole, identifier::OrganisationId};

/// Terms, and where each of their parties stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// The terms.
    pub outline: Outline,
    /// Who has written any of them. They approve and sign nothing of it.
    pub authors: BTreeSet<Person>,
    /// The parties.
    pub parties: BTreeMap<OrganisationId, Party>,
}

/// Where a party stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Party {
    /// It was told of it.
    Invited,
    /// It looks at it.
    Reviewing {
        /// Who began.
        since: Act,
        /// Who agreed in principle.
        accepted: Option<Act>,
        /// What its data protection officer advised.
        advice: Option<Advice>,
        /// Who has signed so far.
        signatures: Vec<Signing>,
    },
    /// Everybody has signed who had to.
    Signed {
        /// What its data protection officer advised.
        advice: Option<Advice>,
        /// Who.
        signatures: Vec<Signing>,
    },
    /// It does not take part.
    Declined(Act),
    /// It took part and does no longer.
    Exited(Act),
}

/// What a data protection officer advised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Who, when.
    pub act: Act,
    /// Whether to go on.
    pub favourable: bool,
    /// Whether it is followed, and who says so. What was written is beside it.
    pub answered: Option<(Act, bool)>,
}

/// A signature, as the course of an agreement keeps it. Whoever checked it has the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// The version that was signed.
    pub version: u32,
    /// SHA-256 of the terms that were signed.
    pub terms_sha256: String,
    /// In which role.
    pub role: SignatoryRole,
    /// Who.
    pub person: Person,
    /// Their name, for the register.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

impl Party {
    /// The state as text.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Reviewing { .. } => "reviewing",
            Self::Signed { .. } => "signed",
            Self::Declined(_) => "declined",
            Self::Exited(_) => "exited",
        }
    }

    fn has_accepted(&self) -> bool {
        matches!(self, Self::Reviewing { accepted: Some(_), .. } | Self::Signed { .. })
    }

    pub(super) fn is_in(&self) -> bool {
        !matches!(self, Self::Declined(_) | Self::Exited(_))
    }

    /// What its data protection officer advised.
    pub fn advice(&self) -> Option<&Advice> {
        match self {
            Self::Reviewing { advice, .. } | Self::Signed { advice, .. } => advice.as_ref(),
            _ => None,
        }
    }

    fn advice_mut(&mut self) -> Option<&mut Option<Advice>> {
        match self {
            Self::Reviewing { advice, .. } | Self::Signed { advice, .. } => Some(advice),
            _ => None,
        }
    }

    /// Who has signed.
    pub fn signatures(&self) -> &[Signing] {
        match self {
            Self::Reviewing { signatures, .. } | Self::Signed { signatures, .. } => signatures,
            _ => &[],
        }
    }
}

impl Deal {
    pub(super) fn of(outline: Outline, author: Person) -> Result<Self, Refusal> {
        if !outline.parties.contains_key(&author.organisation) {
            return Err(Refusal::NotAParty);
        }
        let parties = outline.parties.keys().map(|organisation| (organisation.clone(), Party::Invited));
        Ok(Self { parties: parties.collect(), authors: BTreeSet::from([author]), outline })
    }

    /// Other terms in the place of these. Whoever agreed or signed did so to something else.
    pub(super) fn rewritten(self, outline: Outline, author: Person, at: Timestamp) -> Result<Self, Refusal> {
        let mut authors = self.authors;
        authors.insert(author.clone());
        let mut deal = Self::of(outline, author.clone())?;
        for (organisation, party) in &mut deal.parties {
            let before = self.parties.get(organisation);
            *party = match before {
                // What was agreed, advised and signed was about other terms.
                Some(Party::Reviewing { since, .. }) => Party::Reviewing {
                    since: since.clone(),
                    accepted: None,
                    advice: None,
                    signatures: Vec::new(),
                },
                Some(left @ Party::Declined(_)) => left.clone(),
                _ => Party::Invited,
            };
        }
        deal.authors = authors;
        deal.begin_review(Act { by: author, at });
        Ok(deal)
    }

    pub(super) fn begin_review(&mut self, act: Act) {
        let of = act.by.organisation.clone();
        self.begin_review_of(&of, act);
    }

    fn begin_review_of(&mut self, of: &OrganisationId, act: Act) {
        if let Some(party @ Party::Invited) = self.parties.get_mut(of) {
            *party = Party::Reviewing { since: act, accepted: None, advice: None, signatures: Vec::new() };
        }
    }

    /// The organisations at whose ends everybody has signed who had to.
    pub fn signed(&self) -> impl Iterator<Item = &OrganisationId> {
        let signed = self.parties.iter().filter(|(_, party)| matches!(party, Party::Signed { .. }));
        signed.map(|(organisation, _)| organisation)
    }

    /// The organisations that have neither declined nor left.
    pub(super) fn still_in(&self) -> impl Iterator<Item = &OrganisationId> {
        self.parties.iter().filter(|(_, party)| party.is_in()).map(|(organisation, _)| organisation)
    }

    /// Takes the proposal back: its convener; any party that is still in, where the convener is not.
    pub(super) fn takes_back(&self, convener: &OrganisationId, hand: &Hand) -> Result<(), Refusal> {
        if self.is_in(convener) || self.still_in().next().is_none() {
            return hand.is_of(convener);
        }
        match self.parties.get(&hand.person.organisation) {
            Some(party) if party.is_in() => Ok(()),
            Some(_) => Err(Refusal::LeftAlready),
            None => Err(Refusal::NotAParty),
        }
    }

    /// Whether this organisation is a party that has neither declined nor left.
    pub(super) fn is_in(&self, organisation: &OrganisationId) -> bool {
        self.parties.get(organisation).is_some_and(Party::is_in)
    }

    /// Whether everybody has signed for this organisation who has to.
    pub(super) fn is_signed_by(&self, organisation: &OrganisationId) -> bool {
        matches!(self.parties.get(organisation), Some(Party::Signed { .. }))
    }

    /// Whether this organisation is a party that has not signed whole yet, and has not left.
    pub(super) fn awaits(&self, organisation: &OrganisationId) -> bool {
        let party = self.parties.get(organisation);
        party.is_some_and(|party| party.is_in() && !matches!(party, Party::Signed { .. }))
    }

    pub(super) fn party_of(&mut self, hand: &Hand) -> Result<&mut Party, Refusal> {
        self.party_named(&hand.person.organisation)
    }

    fn party_named(&mut self, of: &OrganisationId) -> Result<&mut Party, Refusal> {
        let party = self.parties.get_mut(of).ok_or(Refusal::NotAParty)?;
        if party.is_in() { Ok(party) } else { Err(Refusal::LeftAlready) }
    }

    /// An approver of a party that has not left, who has written none of it.
    pub(super) fn approves(&self, hand: &Hand) -> Result<(), Refusal> {
        hand.needs(Authority::Approve)?;
        let party = self.parties.get(&hand.person.organisation).ok_or(Refusal::NotAParty)?;
        if !party.is_in() {
            return Err(Refusal::LeftAlready);
        }
        if self.authors.contains(&hand.person) { Err(Refusal::AuthorApproves) } else { Ok(()) }
    }

    pub(super) fn review(&mut self, hand: &Hand, at: Timestamp) -> Result<(), Refusal> {
        hand.needs_either(Authority::Draft, Authority::Approve)?;
        self.party_of(hand)?;
        self.begin_review(Act { by: hand.person.clone(), at });
        Ok(())
    }

    pub(super) fn accept(&mut self, hand: &Hand, at: Timestamp) -> Result<(), Refusal> {
        self.approves(hand)?;
        self.review(hand, at)?;
        let act = Act { by: hand.person.clone(), at };
        if let Party::Reviewing { accepted, .. } = self.party_of(hand)? {
            accepted.get_or_insert(act);
        }
        Ok(())
    }

    pub(super) fn decline(&mut self, hand: &Hand, at: Timestamp) -> Result<(), Refusal> {
        hand.needs(Authority::Approve)?;
        let act = Act { by: hand.person.clone(), at };
        *self.party_of(hand)? = Party::Declined(act);
        Ok(())
    }

    /// Whether all who are still in have agreed, and there are two at least.
    pub(super) fn all_accepted(&self) -> bool {
        let mut still_in = self.parties.values().filter(|party| party.is_in());
        still_in.all(Party::has_accepted) && self.pairs(Party::has_accepted)
    }

    /// Whether both ends of a flow are so.
    pub(super) fn pairs(&self, are: impl Fn(&Party) -> bool) -> bool {
        let end = |organisation| self.parties.get(organisation).is_some_and(&are);
        self.outline.flows.iter().any(|flow| end(&flow.provider) && end(&flow.recipient))
    }

    pub(super) fn some_accepted(&self) -> bool {
        self.pairs(Party::has_accepted)
    }

    /// Advice to a party: to the hand's own, or to one whose place that has taken.
    pub(super) fn advise(
        &mut self,
        (of, favourable): (&OrganisationId, bool),
        hand: &Hand,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        if !hand.holds(SignatoryRole::Dpo) {
            return Err(Refusal::NotTheDpo);
        }
        self.party_named(of)?;
        let act = Act { by: hand.person.clone(), at };
        self.begin_review_of(of, act.clone());
        if let Some(advice) = self.party_named(of)?.advice_mut() {
            *advice = Some(Advice { act, favourable, answered: None });
        }
        Ok(())
    }

    pub(super) fn answer_advice(
        &mut self,
        (of, followed): (&OrganisationId, bool),
        hand: &Hand,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        hand.needs(Authority::Approve)?;
        let act = Act { by: hand.person.clone(), at };
        let advice =
            self.party_named(of)?.advice_mut().and_then(Option::as_mut).ok_or(Refusal::AdviceMissing)?;
        advice.answered = Some((act, followed));
        Ok(())
    }

    pub(super) fn sign(&mut self, of: &OrganisationId, signing: Signing, hand: &Hand) -> Result<(), Refusal> {
        hand.needs(Authority::Sign)?;
        if !signing.role.approves() || hand.holds(SignatoryRole::Dpo) {
            return Err(Refusal::DpoApproves);
        }
        if self.authors.contains(&hand.person) {
            return Err(Refusal::AuthorApproves);
        }
        if signing.person != hand.person {
            return Err(Refusal::NotYours);
        }
        let outline = &self.outline;
        if (signing.version, &signing.terms_sha256) != (outline.version, &outline.terms_sha256) {
            return Err(Refusal::OtherVersion);
        }
        let needed = outline.parties.get(of).ok_or(Refusal::NotAParty)?.roles.clone();
        self.begin_review_of(of, Act { by: hand.person.clone(), at: signing.at });
        let party = self.party_named(of)?;
        let Party::Reviewing { signatures, advice, .. } = party else { return Err(Refusal::AlreadySigned) };
        if signatures.iter().any(|earlier| earlier.role == signing.role) {
            return Err(Refusal::AlreadySigned);
        }
        // Each role is another look. Whoever holds several offices signs in one of them.
        if signatures.iter().any(|earlier| earlier.person == signing.person) {
            return Err(Refusal::SignsTwice);
        }
        signatures.push(signing);
        if needed.iter().all(|role| signatures.iter().any(|signing| signing.role == *role)) {
            *party = Party::Signed { advice: advice.clone(), signatures: signatures.clone() };
        }
        Ok(())
    }

    /// What stands against putting it in force, for the parties at both ends of flows that would begin.
    pub(super) fn ready(&self) -> Result<(), Refusal> {
        let is_signed = |party: &Party| matches!(party, Party::Signed { .. });
        if !self.pairs(is_signed) {
            return Err(Refusal::NoPairSigned);
        }
        if !self.outline.dpia_accepted {
            return Err(Refusal::AssessmentOpen);
        }
        if !self.outline.has_breach_contact {
            return Err(Refusal::BreachContactMissing);
        }
        let controls =
            |organisation| self.outline.parties.get(organisation).is_some_and(|party| party.controls);
        if self.outline.flows.iter().any(|flow| !controls(&flow.provider)) {
            return Err(Refusal::ProviderNotController);
        }
        let mut signed = self.signed();
        signed.try_for_each(|organisation| self.ready_at(organisation))
    }

    /// What stands against the flows of this party: advice that was not given or not answered, and no privacy notice.
    pub(super) fn ready_at(&self, organisation: &OrganisationId) -> Result<(), Refusal> {
        match self.parties.get(organisation).and_then(Party::advice) {
            None => return Err(Refusal::AdviceMissing),
            Some(Advice { answered: None, .. }) => return Err(Refusal::AdviceUnanswered),
            Some(Advice { favourable: false, answered: Some((_, true)), .. }) => {
                return Err(Refusal::AdviceAgainst);
            }
            Some(_) => {}
        }
        let has_notice = self.outline.parties.get(organisation).is_some_and(|party| party.has_notice);
        if has_notice { Ok(()) } else { Err(Refusal::NoticeMissing) }
    }
}
