//! Objections and dissent. They stop purposes that yield to them, and are never read as anything else: that
//! somebody has not objected is not consent.

use serde::{Deserialize, Serialize};

use crate::{
    identifier::{ObjectionId, OrganisationId},
    purpose::PurposeClass,
};

/// What the person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectionKind {
    /// An objection under UK GDPR Art 21: it has to be answered within a month.
    #[default]
    Objection,
    /// A dissent from shared care or from a register: honoured as it is, nothing to weigh.
    Dissent,
    /// A restriction under UK GDPR Art 18: the data are kept and not used, until the controller lifts it and has told the
    /// person beforehand (Art 18(3)).
    Restriction,
}

/// An objection (UK GDPR Art 21) or dissent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Its identifier.
    pub id: ObjectionId,
    /// The purposes it is about; empty means every purpose that yields to objections.
    pub purposes: Vec<PurposeClass>,
    /// The recipients it is about; empty means every recipient.
    pub recipients: Vec<OrganisationId>,
    /// What the person said.
    pub kind: ObjectionKind,
    /// How far it has got.
    pub status: ObjectionStatus,
}

/// How far an objection has got. While it is considered, processing is restricted (Art 18(1)(d)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectionStatus {
    /// Received; one calendar month to answer.
    Received,
    /// Upheld.
    Upheld,
    /// Refused, with compelling legitimate grounds.
    Refused,
    /// Taken back by the person.
    Withdrawn,
}

impl Objection {
    /// Whether it stops this flow, where the purpose yields to objections at all.
    pub fn stops(&self, recipient: &OrganisationId, purpose: PurposeClass) -> bool {
        matches!(self.status, ObjectionStatus::Received | ObjectionStatus::Upheld)
            && (self.purposes.is_empty() || self.purposes.contains(&purpose))
            && (self.recipients.is_empty() || self.recipients.contains(recipient))
    }
}
