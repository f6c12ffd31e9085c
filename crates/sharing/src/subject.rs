//! What is held about a person that bears on a decision: consents, objections, relationships, exceptions that
//! named people made, restriction, death.
//!
//! Four things are called consent and are kept apart ([`ConsentType`]). Absence of an objection is never
//! consent, and absence of consent never blocks a purpose for which consent does not decide.

use jiff::civil::Date;

use crate::identifier::{Pseudonym, SubjectIdentifier};

mod consent;
mod exception;
mod objection;
mod relationship;

pub use consent::{ConsentRecord, ConsentStatus, ConsentType, GivenBy, ProxyAuthority, Shown};
pub use exception::{AdHocGrant, BreakGlass, BreakGlassReason, OptOut};
pub use objection::{Objection, ObjectionKind, ObjectionStatus};
pub use relationship::{LegitimateRelationship, RelationshipKind};

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
    /// Relationships that organisations assert, whether or not they hold.
    pub relationships: Vec<LegitimateRelationship>,
    /// One-off disclosures that a named person allowed, whether or not they hold.
    pub grants: Vec<AdHocGrant>,
    /// Emergencies that practitioners declared, whether or not they hold.
    pub emergencies: Vec<BreakGlass>,
    /// What the national data opt-out check said for the purpose that is asked about. Never stored with the
    /// person: it comes from a batch that expires.
    pub opt_out: OptOut,
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
    /// The record is marked restricted, here or by the record holder that was asked besides.
    pub restricted: bool,
    /// Whether it is restricted is not known: another record holder has to say, and has not, or what the record itself
    /// says cannot be read. Until it is known, the record counts as restricted.
    pub unconfirmed: bool,
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
