//! What is held about a person that bears on a decision: consents, objections, restriction, death.
//!
//! Four things are called consent and are kept apart ([`ConsentType`]). Absence of an objection is never
//! consent, and absence of consent never blocks a purpose for which consent does not decide.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{
    identifier::{ConsentId, ObjectionId, OrganisationId, Pseudonym, SubjectIdentifier},
    purpose::PurposeClass,
};

/// Everything held about one person at one instant. Read at decision time; never cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectState {
    /// The names this person has in the ledger, each with the revision that was read, in order.
    pub names: Vec<(Pseudonym, i64)>,
    /// All of these names are known to be one person's; otherwise several people's, or nobody's yet.
    pub is_one_person: bool,
    /// Consents, whatever their status.
    pub consents: Vec<ConsentRecord>,
    /// Objections, whatever their status.
    pub objections: Vec<Objection>,
    /// Some source has marked the record restricted.
    pub restricted: bool,
    /// Some source says that the person has died.
    pub deceased: bool,
}

/// What the record itself says about its person, once it has been fetched.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RecordFacts {
    /// Every identifier in the record.
    pub identifiers: Vec<SubjectIdentifier>,
    /// The record is marked restricted.
    pub restricted: bool,
    /// The record says that the person has died.
    pub deceased: bool,
    /// The date of birth, where the record has a whole one.
    pub birth_date: Option<Date>,
    /// When the source last changed the record, as it says.
    pub source_time: Option<String>,
}

impl std::fmt::Debug for RecordFacts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RecordFacts(identifiers: {}, ..)", self.identifiers.len())
    }
}

/// The four things that are called consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentType {
    /// UK GDPR Art 6(1)(a) or 9(2)(a): decides only where the flow's recorded basis *is* consent.
    GdprConsent,
    /// Common-law duty: decides whether confidential information may leave.
    ConfidentialityConsent,
    /// Agreement to a visit or to early help. Never decides a data flow.
    ConsentToService,
    /// A wish. Never decides a data flow.
    Preference,
}

/// The status of a consent. Source: W3C Data Privacy Vocabulary 2, consent status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentStatus {
    /// Asked for, not answered.
    Requested,
    /// Given.
    Given,
    /// Given again.
    Renewed,
    /// Asked for and refused.
    Refused,
    /// Ran out.
    Expired,
    /// Taken back by the person.
    Withdrawn,
    /// Ended by another party.
    Revoked,
    /// Found never to have been valid.
    Invalidated,
    /// Not known.
    Unknown,
}

impl ConsentStatus {
    /// Whether it says no, and so outweighs an earlier yes on another record: someone who renewed a consent and
    /// then withdrew the renewal has not fallen back on the first one.
    pub fn takes_back(self) -> bool {
        match self {
            Self::Refused | Self::Withdrawn | Self::Revoked => true,
            Self::Requested
            | Self::Given
            | Self::Renewed
            | Self::Expired
            | Self::Invalidated
            | Self::Unknown => false,
        }
    }
}

/// A consent record, as far as it bears on decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// Its identifier.
    pub id: ConsentId,
    /// Which of the four.
    pub consent_type: ConsentType,
    /// Its status.
    pub status: ConsentStatus,
    /// Whose records may leave.
    pub controller: OrganisationId,
    /// To whom they may go. Never empty.
    pub recipients: Vec<OrganisationId>,
    /// For what. Never empty.
    pub purposes: Vec<PurposeClass>,
    /// From when it holds.
    pub given_at: Timestamp,
    /// First instant at which it no longer holds.
    pub expires_at: Option<Timestamp>,
}

impl ConsentRecord {
    /// Whether it holds at `at` for records of `controller` going to `recipient` for `purpose`.
    pub fn covers(
        &self,
        consent_type: ConsentType,
        controller: &OrganisationId,
        recipient: &OrganisationId,
        purpose: PurposeClass,
        at: Timestamp,
    ) -> bool {
        self.concerns(consent_type, controller, recipient, purpose)
            && matches!(self.status, ConsentStatus::Given | ConsentStatus::Renewed)
            && self.given_at <= at
            && self.expires_at.is_none_or(|end| at < end)
    }

    /// Whether it is about this flow, whether or not it holds.
    pub fn concerns(
        &self,
        consent_type: ConsentType,
        controller: &OrganisationId,
        recipient: &OrganisationId,
        purpose: PurposeClass,
    ) -> bool {
        self.consent_type == consent_type
            && self.controller == *controller
            && self.recipients.contains(recipient)
            && self.purposes.contains(&purpose)
    }
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
