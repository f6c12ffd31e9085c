//! Legitimate relationships: why this organisation, or this practitioner, has to do with this person.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identifier::{OrganisationId, RelationshipId};

/// How an organisation comes to have to do with a person. Sorted from the strongest evidence to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelationshipKind {
    /// Another service referred the person.
    Referral,
    /// The person is on the practitioner's or team's caseload.
    Caseload,
    /// The practitioner says so, for this occasion. Raises an alert to their own organisation.
    SelfClaimed,
}

impl RelationshipKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Referral, Self::Caseload, Self::SelfClaimed];

    /// The kind as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Caseload => "caseload",
            Self::SelfClaimed => "self-claimed",
        }
    }
}

/// A relationship that an organisation asserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegitimateRelationship {
    /// Its identifier.
    pub id: RelationshipId,
    /// The organisation that has to do with the person.
    pub organisation: OrganisationId,
    /// The one practitioner; none is everyone of the organisation whose role the agreement allows.
    pub practitioner: Option<String>,
    /// How.
    pub kind: RelationshipKind,
    /// From when.
    pub from: Timestamp,
    /// First instant at which it is over.
    pub until: Option<Timestamp>,
}

impl LegitimateRelationship {
    /// Whether it holds for this practitioner of this organisation.
    pub fn holds(&self, organisation: &OrganisationId, practitioner: Option<&str>, at: Timestamp) -> bool {
        self.organisation == *organisation
            && (self.practitioner.is_none() || self.practitioner.as_deref() == practitioner)
            && self.from <= at
            && self.until.is_none_or(|until| at < until)
    }
}
