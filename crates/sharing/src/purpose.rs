//! The closed list of purposes and what the law asks of each: the decision table as one readable function.
//!
//! A data protection officer can review [`PurposeClass::rules`] without reading other code. The list is in
//! alphabetical order on the wire, so that no form's first option is "direct care".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a record is asked for. Purposes are coded; free text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurposeClass {
    /// Individual health or care of this person.
    DirectCare,
    /// Fire prevention: finding homes and people at risk.
    FirePreventionTargeting,
    /// Fire service to council or NHS: a need found on a visit.
    FireReturnReferral,
    /// Prevention and detection of fraud and crime.
    FraudCrime,
    /// Official statistics: anonymous output only.
    OfficialStatistics,
    /// Open data: anonymous output only.
    OpenData,
    /// Planning and commissioning of services.
    PlanningCommissioning,
    /// Communicable disease and other risks to public health (regulation 3 of the 2002 Regulations).
    PublicHealth,
    /// Research approved by an ethics committee.
    Research,
    /// Case finding in a population.
    RiskStratification,
    /// NHS or council to fire service: a named person's home visit.
    SafeAndWellReferral,
    /// Protection of an adult at risk (Care Act 2014, s42).
    SafeguardingAdult,
    /// Protection of a child (Children Acts 1989 and 2004).
    SafeguardingChild,
    /// Audit and improvement of a service.
    ServiceImprovement,
    /// The person's own request for their data (UK GDPR Art 15).
    SubjectAccess,
    /// Emergency: somebody's life is at risk (UK GDPR Art 6(1)(d)).
    VitalInterests,
}

/// What one purpose asks of a request. A row of the decision table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a printed table: each column is a yes or a no")]
pub struct PurposeRules {
    /// An agreement must cover the flow, or else a person decides, or else nobody.
    pub agreement: AgreementNeed,
    /// The person's objection or dissent stops the flow (Art 21; not for legal obligation or vital interests).
    pub objection_blocks: bool,
    /// Explicit consent decides.
    pub explicit_consent: ConsentNeed,
    /// Restricted records are left out altogether, not merely stripped of location.
    pub excludes_restricted: bool,
    /// The purpose leads to contact with the person, so it stops when they have died.
    pub contacts_person: bool,
    /// Only aggregates may leave: a person's record never does.
    pub aggregate_only: bool,
}

/// Whether a flow for this purpose needs an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgreementNeed {
    /// No agreement, no flow.
    Required,
    /// Without an agreement in force the question goes to a named person: lawful one-off disclosures exist.
    OrReferral,
}

/// When explicit consent decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNeed {
    /// It does not decide, whether present or absent.
    NotAsked,
    /// It decides whenever confidential information is asked for.
    ForConfidentialItems,
    /// It decides for the whole flow.
    Always,
}

impl PurposeClass {
    /// Every purpose, in alphabetical order of its code.
    pub const ALL: [Self; 16] = [
        Self::DirectCare,
        Self::FirePreventionTargeting,
        Self::FireReturnReferral,
        Self::FraudCrime,
        Self::OfficialStatistics,
        Self::OpenData,
        Self::PlanningCommissioning,
        Self::PublicHealth,
        Self::Research,
        Self::RiskStratification,
        Self::SafeAndWellReferral,
        Self::SafeguardingAdult,
        Self::SafeguardingChild,
        Self::ServiceImprovement,
        Self::SubjectAccess,
        Self::VitalInterests,
    ];

    /// The code used on the wire, in agreements and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DirectCare => "direct-care",
            Self::FirePreventionTargeting => "fire-prevention-targeting",
            Self::FireReturnReferral => "fire-return-referral",
            Self::FraudCrime => "fraud-crime",
            Self::OfficialStatistics => "official-statistics",
            Self::OpenData => "open-data",
            Self::PlanningCommissioning => "planning-commissioning",
            Self::PublicHealth => "public-health",
            Self::Research => "research",
            Self::RiskStratification => "risk-stratification",
            Self::SafeAndWellReferral => "safe-and-well-referral",
            Self::SafeguardingAdult => "safeguarding-adult",
            Self::SafeguardingChild => "safeguarding-child",
            Self::ServiceImprovement => "service-improvement",
            Self::SubjectAccess => "subject-access",
            Self::VitalInterests => "vital-interests",
        }
    }

    #[expect(clippy::match_same_arms, reason = "one arm a row: rows that agree today may part tomorrow")]
    /// The row of the decision table. Every "no" and "yes" here is one a lawyer may change.
    pub fn rules(self) -> PurposeRules {
        use AgreementNeed::{OrReferral, Required};
        use ConsentNeed::{Always, ForConfidentialItems, NotAsked};
        let row = |agreement, objection_blocks, explicit_consent| PurposeRules {
            agreement,
            objection_blocks,
            explicit_consent,
            excludes_restricted: false,
            contacts_person: false,
            aggregate_only: false,
        };
        match self {
            Self::DirectCare => row(Required, true, NotAsked),
            Self::SafeguardingAdult | Self::SafeguardingChild => row(OrReferral, false, NotAsked),
            Self::FirePreventionTargeting => PurposeRules {
                excludes_restricted: true,
                contacts_person: true,
                ..row(Required, true, ForConfidentialItems)
            },
            Self::SafeAndWellReferral | Self::FireReturnReferral => {
                PurposeRules { contacts_person: true, ..row(Required, true, Always) }
            }
            Self::RiskStratification | Self::PlanningCommissioning | Self::ServiceImprovement => {
                row(Required, true, NotAsked)
            }
            Self::Research => row(Required, true, ForConfidentialItems),
            Self::OfficialStatistics | Self::OpenData => {
                PurposeRules { aggregate_only: true, ..row(Required, true, NotAsked) }
            }
            Self::PublicHealth => row(Required, false, NotAsked),
            Self::FraudCrime => row(OrReferral, false, NotAsked),
            Self::VitalInterests | Self::SubjectAccess => row(OrReferral, false, NotAsked),
        }
    }
}

/// A purpose that is not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown purpose; use a code from the list of purposes in the api documentation")]
pub struct UnknownPurpose;

impl FromStr for PurposeClass {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text).ok_or(UnknownPurpose)
    }
}

impl fmt::Display for PurposeClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_round_trip() {
        let codes: Vec<_> = PurposeClass::ALL.iter().map(|purpose| purpose.as_str()).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        assert_eq!(codes, sorted);
        for purpose in PurposeClass::ALL {
            assert_eq!(purpose.as_str().parse(), Ok(purpose));
        }
        assert_eq!("anything".parse::<PurposeClass>(), Err(UnknownPurpose));
    }
}
