//! Who takes a step, and what they may.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::{agreement::SignatoryRole, identifier::OrganisationId};

/// A named person, by their organisation's identifier for them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person {
    /// Their organisation.
    pub organisation: OrganisationId,
    /// Who.
    pub id: String,
}

impl fmt::Debug for Person {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Person({})", self.organisation)
    }
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Timestamp,
}

/// What a person may do with agreements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Write terms and offer them.
    Draft,
    /// Agree, assure, put in force and switch off for their organisation.
    Approve,
    /// Help others to agree, in a dispute.
    Mediate,
    /// Sign.
    Sign,
}

/// Whoever takes a step.
#[derive(Debug, Clone)]
pub struct Hand {
    /// Who.
    pub person: Person,
    /// What they may.
    pub may: Vec<Authority>,
    /// The offices that they hold for their organisation. A data protection officer advises and approves nothing (UK GDPR
    /// Arts 38 and 39).
    pub offices: Vec<SignatoryRole>,
    /// The offices that anybody holds for their organisation.
    pub filled: Vec<SignatoryRole>,
    /// Whether they mediate an open dispute of this agreement: whoever does decides nothing in it.
    pub mediates: bool,
}

impl Hand {
    pub(in crate::agreement) fn holds(&self, office: SignatoryRole) -> bool {
        self.offices.contains(&office)
    }

    pub(in crate::agreement) fn needs(&self, authority: Authority) -> Result<(), Refusal> {
        if authority != Authority::Mediate {
            self.is_of_a_side()?;
        }
        if authority == Authority::Approve && self.holds(SignatoryRole::Dpo) {
            return Err(Refusal::DpoApproves);
        }
        if self.may.contains(&authority) { Ok(()) } else { Err(Refusal::NoAuthority) }
    }

    pub(in crate::agreement) fn needs_either(&self, one: Authority, other: Authority) -> Result<(), Refusal> {
        self.needs(one).or_else(|_| self.needs(other))
    }

    /// Whoever helps the parties to agree takes no step for one of them meanwhile, whatever else they may.
    pub(in crate::agreement) fn is_of_a_side(&self) -> Result<(), Refusal> {
        if self.mediates { Err(Refusal::MediatesHere) } else { Ok(()) }
    }

    pub(in crate::agreement) fn is_of(&self, organisation: &OrganisationId) -> Result<(), Refusal> {
        if self.person.organisation == *organisation { Ok(()) } else { Err(Refusal::NotYours) }
    }
}
