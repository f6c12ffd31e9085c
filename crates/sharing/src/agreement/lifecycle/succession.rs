//! Organisations that take another's place in what runs, as after a merger. Whoever has a place acts in it; whose place it was does no
//! more.

use std::collections::BTreeSet;

use super::{FlowOutline, Hand, Live, Refusal, Scope};
use crate::identifier::OrganisationId;

impl Live {
    /// The organisation that has this one's place now: itself, where no other has taken it.
    pub(super) fn now<'a>(&'a self, organisation: &'a OrganisationId) -> &'a OrganisationId {
        self.successors.get(organisation).unwrap_or(organisation)
    }

    /// The parties of the terms for which an organisation acts: itself, and those whose places it has taken.
    pub(super) fn acts_for<'a>(
        &'a self,
        organisation: &'a OrganisationId,
    ) -> impl Iterator<Item = &'a OrganisationId> {
        self.deal.parties.keys().filter(move |party| self.now(party) == organisation)
    }

    /// The place in which an organisation has still to sign; any of its own, where there is none.
    pub(super) fn late_place(&self, organisation: &OrganisationId) -> OrganisationId {
        let awaiting = self.acts_for(organisation).find(|party| self.deal.awaits(party));
        awaiting.or_else(|| self.acts_for(organisation).next()).unwrap_or(organisation).clone()
    }

    /// Whether this organisation is at an end of a flow.
    pub(super) fn is_end_of(&self, organisation: &OrganisationId, flow: &FlowOutline) -> bool {
        [&flow.provider, &flow.recipient].into_iter().any(|end| self.now(end) == organisation)
    }

    /// Somebody of a party that has not left, or of the organisation that has taken its place.
    pub(super) fn party(&self, hand: &Hand) -> Result<(), Refusal> {
        let own = &hand.person.organisation;
        if self.acts_for(own).any(|party| self.deal.is_in(party)) {
            return Ok(());
        }
        let was_one = self.deal.parties.contains_key(own) || self.acts_for(own).next().is_some();
        Err(if was_one { Refusal::LeftAlready } else { Refusal::NotAParty })
    }

    /// A scope with the name that the terms have for its party.
    #[must_use]
    pub fn in_terms(&self, scope: Scope) -> Scope {
        match scope {
            Scope::Party(organisation) if !self.deal.parties.contains_key(&organisation) => {
                let place = self.acts_for(&organisation).next().cloned();
                Scope::Party(place.unwrap_or(organisation))
            }
            other => other,
        }
    }

    /// Whether an organisation can take a party's place. Whoever would then have several places has signed in each: nobody's
    /// signature is good in another's.
    pub(super) fn may_succeed(&self, of: &OrganisationId, by: &OrganisationId) -> Result<(), Refusal> {
        if of == by || !self.deal.parties.contains_key(of) || self.now(of) != of {
            return Err(Refusal::NoSuchFlow);
        }
        if !self.deal.is_in(of) || (self.deal.parties.contains_key(by) && !self.deal.is_in(by)) {
            return Err(Refusal::LeftAlready);
        }
        // Its own place may have been taken by another.
        if self.now(by) != by {
            return Err(Refusal::NoSuchFlow);
        }
        let mut places = self.acts_for(of).chain(self.acts_for(by));
        let has_one = self.acts_for(of).count() + self.acts_for(by).count() == 1;
        let signed = places.all(|party| self.deal.is_signed_by(party));
        if has_one || signed { Ok(()) } else { Err(Refusal::PlaceNotSigned) }
    }

    /// Who has to agree that a place is taken: whoever takes it, whose records go to it, and whose place it is where that gives
    /// records itself, or has anybody in office who could. Nobody is put in a place, is given somebody else to share with, or loses
    /// their place, without a word of theirs.
    pub(super) fn agree_to(
        &self,
        (of, in_office): (&OrganisationId, bool),
        by: &OrganisationId,
    ) -> BTreeSet<OrganisationId> {
        let place = |end: &OrganisationId| self.now(end) == of;
        let flows =
            self.deal.outline.flows.iter().filter(|flow| place(&flow.provider) || place(&flow.recipient));
        let providers = flows.map(|flow| self.now(&flow.provider)).filter(|provider| {
            // Whoever has left shares nothing any more.
            self.acts_for(provider).any(|party| self.deal.is_in(party))
        });
        let mut needed: BTreeSet<_> = providers.chain([by]).cloned().collect();
        if in_office || needed.len() == 1 {
            needed.insert(of.clone());
        }
        needed
    }

    /// Takes the place. Whose places that party had taken before, they are the successor's now.
    pub(super) fn succeed(&mut self, of: OrganisationId, by: OrganisationId) {
        self.successors
            .values_mut()
            .filter(|successor| **successor == of)
            .for_each(|old| old.clone_from(&by));
        self.successors.insert(of, by);
    }
}
