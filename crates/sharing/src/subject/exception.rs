//! Exceptions that named people make for one person and one purpose: a grant after a referral, and break-glass.
//! Both are narrow, end by themselves, and never tell where a restricted person is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    decide::PermittedItem,
    identifier::{BreakGlassId, GrantId, OrganisationId, ProviderId},
    purpose::PurposeClass,
};

/// A one-off disclosure that a named person of the record holder allowed.
///
/// Source: ICO Data Sharing Code of Practice (2021), "ad hoc or one-off data sharing", and its decision form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdHocGrant {
    /// Its identifier.
    pub id: GrantId,
    /// Who may ask.
    pub recipient: OrganisationId,
    /// The one practitioner who may ask.
    pub practitioner: String,
    /// The record holder.
    pub provider: ProviderId,
    /// For what.
    pub purpose: PurposeClass,
    /// What may leave, in which form.
    pub items: Vec<PermittedItem>,
    /// Days after which the recipient deletes it.
    pub retain_days: u16,
    /// From when.
    pub from: Timestamp,
    /// First instant at which it no longer holds.
    pub until: Timestamp,
}

/// Why somebody broke the glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakGlassReason {
    /// Somebody's life is at risk now.
    ImmediateRiskToLife,
    /// Serious harm is likely unless somebody acts now.
    SeriousHarm,
    /// The person is unconscious or cannot otherwise say, and needs care now.
    CannotAskPerson,
    /// The usual system or person cannot be reached, and care cannot wait.
    UsualRouteUnavailable,
}

impl BreakGlassReason {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::ImmediateRiskToLife, Self::SeriousHarm, Self::CannotAskPerson, Self::UsualRouteUnavailable];

    /// The reason's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImmediateRiskToLife => "immediate-risk-to-life",
            Self::SeriousHarm => "serious-harm",
            Self::CannotAskPerson => "cannot-ask-person",
            Self::UsualRouteUnavailable => "usual-route-unavailable",
        }
    }

    /// Whether it is grave enough to disclose without any agreement.
    pub fn stands_alone(self) -> bool {
        matches!(self, Self::ImmediateRiskToLife | Self::SeriousHarm)
    }
}

/// An emergency that a practitioner declared: break-glass. It is alerted at once and reviewed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Its identifier.
    pub id: BreakGlassId,
    /// The organisation.
    pub organisation: OrganisationId,
    /// The practitioner who declared it. Nobody else may use it.
    pub practitioner: String,
    /// For what.
    pub purpose: PurposeClass,
    /// Why.
    pub reason: BreakGlassReason,
    /// The practitioner states that the person cannot consent (UK GDPR Art 9(2)(c)).
    pub cannot_consent: bool,
    /// From when.
    pub from: Timestamp,
    /// First instant at which it no longer holds.
    pub until: Timestamp,
}

/// What the national data opt-out check said about a person, for one purpose.
///
/// Source: National Data Opt-out Operational Policy Guidance: a check is a cleaned list or a temporary cache.
/// It is not put on a person's record, and it is not consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptOut {
    /// No check in force covers the person.
    #[default]
    NotChecked,
    /// A check in force left the person in.
    Clear,
    /// A check in force took the person out.
    OptedOut,
}
