//! The rules of Concordat: who may be told what about whom, for which purpose, and why.
//!
//! Everything here is a pure function of its arguments. This crate does no I/O, reads no clock, makes no
//! randomness and runs no tasks, so that every decision can be replayed from the ledger. Start at
//! [`decide`] for the rules, [`agreement`] for what they are decided against, [`minimise`] for what leaves.

pub mod access;
pub mod agreement;
pub mod alerting;
pub mod cases;
pub mod catalogue;
pub mod consenting;
pub mod decide;
pub mod explain;
pub mod framework;
pub mod guardrail;
pub mod identifier;
pub mod json;
pub mod lint;
pub mod minimise;
pub mod policy;
pub mod purpose;
mod reach;
pub mod restriction;
pub mod retention;
pub mod seen;
pub mod selector;
pub mod small_numbers;
pub mod subject;
pub mod visibility;

pub use agreement::{Agreement, DataFlow};
pub use catalogue::{Catalogue, Provider};
pub use decide::{Decision, Denial, Permit, Question, Reason, Referral};
pub use guardrail::Guardrails;
pub use identifier::{
    AgreementId, AlertId, BreakGlassId, CaseReference, ConsentId, DecisionId, GrantId, IdentifierError,
    ItemId, NhsNumber, ObjectionId, OrganisationId, Pseudonym, RelationshipId, SubjectIdentifier,
    SubjectScheme, SystemId,
};
pub use minimise::{Examined, MinimisedRecord, Writing};
pub use policy::PolicySet;
pub use purpose::PurposeClass;
pub use subject::SubjectState;
