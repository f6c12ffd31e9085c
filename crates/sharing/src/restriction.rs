//! A second opinion on restriction: before anything of a record leaves, another record holder is asked whether the
//! person's record is restricted. A council that was never told of a mark would otherwise tell an address that the
//! NHS keeps secret.
//!
//! The catalogue says whom to ask (`subject.restriction_check`). Until it is answered the record counts as one
//! whose location must not be told, so that a check that is forgotten, or cannot be made, leaks nothing. Nothing
//! but the mark is read from the answer.

use crate::{
    catalogue::Provider,
    decide::Permit,
    identifier::{ProviderId, SubjectIdentifier},
    minimise::{ExamineFault, Examined, examine},
    policy::PolicySet,
};

/// A question to a second record holder. It is made from a permit and the record that was fetched under it.
#[derive(Debug)]
pub struct RestrictionCheck {
    by: ProviderId,
    subject: Option<SubjectIdentifier>,
}

/// What the second record holder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// The record is not marked.
    Clear,
    /// The record is restricted.
    Restricted,
    /// It could not say: the person is not known there, or cannot be named to it, or its mark cannot be read.
    Unconfirmed,
}

impl Permit {
    /// The question to ask before the record is used; none where the catalogue asks for none.
    pub fn restriction_check(
        &self,
        provider: &Provider,
        policies: &PolicySet,
        examined: &Examined,
    ) -> Option<RestrictionCheck> {
        let asked = provider.subject.restriction_check.as_ref()?.get_ref();
        let by = policies.provider(asked);
        let knows =
            |identifier: &&SubjectIdentifier| by.is_some_and(|by| by.lookup(identifier.scheme()).is_some());
        let mut named: Vec<_> =
            std::iter::once(self.subject()).chain(&examined.facts().identifiers).filter(knows).collect();
        named.dedup();
        // Two numbers are two people, or a mistake: neither is one to ask about.
        let subject = match named.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Some((*first).clone()),
            _ => None,
        };
        Some(RestrictionCheck { by: asked.clone(), subject })
    }
}

impl RestrictionCheck {
    /// Whom to ask.
    pub fn by(&self) -> &ProviderId {
        &self.by
    }

    /// About whom; none where the record has no identifier that the second record holder knows.
    pub fn subject(&self) -> Option<&SubjectIdentifier> {
        self.subject.as_ref()
    }

    /// Reads the answer, and of it the mark alone.
    ///
    /// # Errors
    /// [`ExamineFault`] when it is not a record of this person.
    pub fn read(&self, by: &Provider, body: &[u8]) -> Result<Marking, ExamineFault> {
        let Some(subject) = &self.subject else { return Ok(Marking::Unconfirmed) };
        match examine(by, subject, body) {
            Ok(examined) => Ok(examined.own_marking()),
            Err(ExamineFault::NoRecord) => Ok(Marking::Unconfirmed),
            Err(fault) => Err(fault),
        }
    }
}
