//! The closed list of purposes and what the law asks of each: the decision table as one readable function.
//!
//! A data protection officer can review [`PurposeClass::rules`] without reading other code. The list is in
//! alphabetical order on the wire, so that no form's first option is "direct care".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::agreement::{Article6, Article9, ConfidentialityKind};

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
    /// A public authority refers somebody who may be homeless to the council that they choose (Housing Act 1996, s213B).
    HomelessnessReferral,
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
    /// The national data opt-out applies to confidential patient information.
    pub opt_out_applies: bool,
    /// Social care data is left out (the usual condition of s251 support for case finding).
    pub excludes_social_care: bool,
    /// Who can make an exception, and how.
    pub override_path: OverridePath,
    /// The bases of UK GDPR Art 6 that fit the purpose.
    pub article_6: &'static [Article6],
    /// The conditions of UK GDPR Art 9 that fit the purpose, where special-category data is asked for.
    pub article_9: &'static [Article9],
    /// The paragraphs of Schedule 1 part 2 that fit the purpose; empty is any (DPA 2018 s10(3)).
    pub schedule_1_part_2: &'static [u8],
    /// How the common-law duty of confidentiality can be met, where confidential information is asked for.
    pub confidentiality: &'static [ConfidentialityKind],
}

/// Who can make an exception for a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverridePath {
    /// Nobody.
    None,
    /// A practitioner, at once, alerted and reviewed.
    BreakGlass,
    /// A named person of the record holder, on request.
    Referral,
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
    pub const ALL: [Self; 17] = [
        Self::DirectCare,
        Self::FirePreventionTargeting,
        Self::FireReturnReferral,
        Self::FraudCrime,
        Self::HomelessnessReferral,
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
            Self::HomelessnessReferral => "homelessness-referral",
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

    /// What it is for, in words for everybody: what comes after "for".
    pub fn title(self) -> &'static str {
        match self {
            Self::DirectCare => "individual health or care",
            Self::FirePreventionTargeting => "finding homes and people that a fire would harm most",
            Self::FireReturnReferral => "a need that the fire service found on a visit",
            Self::FraudCrime => "preventing and detecting fraud and crime",
            Self::HomelessnessReferral => "help for somebody who may be homeless",
            Self::OfficialStatistics => "official statistics",
            Self::OpenData => "open data",
            Self::PlanningCommissioning => "planning and buying services",
            Self::PublicHealth => "protecting public health",
            Self::Research => "research that an ethics committee has approved",
            Self::RiskStratification => "finding people who may need help early",
            Self::SafeAndWellReferral => "a fire safety visit to somebody’s home",
            Self::SafeguardingAdult => "protecting an adult at risk",
            Self::SafeguardingChild => "protecting a child",
            Self::ServiceImprovement => "checking and improving a service",
            Self::SubjectAccess => "a request for one’s own data",
            Self::VitalInterests => "an emergency in which a life is at risk",
        }
    }

    /// The row of the decision table. Every "no" and "yes" here is one a lawyer may change.
    #[expect(clippy::too_many_lines, reason = "the decision table: one arm a row")]
    pub fn rules(self) -> &'static PurposeRules {
        use Article6::{Consent, LegalObligation, PublicTask, VitalInterests};
        use Article9 as Nine;
        use ConfidentialityKind::{ExplicitConsent, ImpliedConsent, PublicInterest, Section251, Statute};
        match self {
            Self::DirectCare => &PurposeRules {
                objection_blocks: true,
                override_path: OverridePath::BreakGlass,
                article_6: &[PublicTask, LegalObligation],
                article_9: &[Nine::HealthOrSocialCare],
                confidentiality: &[ImpliedConsent, ExplicitConsent, Statute, PublicInterest],
                ..PLAIN
            },
            Self::SafeguardingAdult | Self::SafeguardingChild => &PurposeRules {
                agreement: AgreementNeed::OrReferral,
                override_path: OverridePath::BreakGlass,
                article_6: &[LegalObligation, PublicTask],
                article_9: &[Nine::SubstantialPublicInterest],
                schedule_1_part_2: &[18],
                confidentiality: &[PublicInterest, Statute],
                ..PLAIN
            },
            Self::FirePreventionTargeting => &PurposeRules {
                objection_blocks: true,
                explicit_consent: ConsentNeed::ForConfidentialItems,
                excludes_restricted: true,
                contacts_person: true,
                opt_out_applies: true,
                override_path: OverridePath::Referral,
                article_6: &[PublicTask],
                article_9: &[
                    Nine::SubstantialPublicInterest,
                    Nine::HealthOrSocialCare,
                    Nine::ExplicitConsent,
                ],
                confidentiality: &[ExplicitConsent, Section251],
                ..PLAIN
            },
            Self::SafeAndWellReferral => &PurposeRules {
                // No override: somebody at risk is asked for under safeguarding.
                objection_blocks: true,
                explicit_consent: ConsentNeed::Always,
                contacts_person: true,
                article_6: &[PublicTask, Consent],
                article_9: &[Nine::SubstantialPublicInterest, Nine::ExplicitConsent],
                confidentiality: &[ExplicitConsent],
                ..PLAIN
            },
            Self::FireReturnReferral => &PurposeRules {
                objection_blocks: true,
                explicit_consent: ConsentNeed::Always,
                contacts_person: true,
                article_6: &[PublicTask, Consent],
                // The council or NHS body that receives it does so to provide care.
                article_9: &[
                    Nine::SubstantialPublicInterest,
                    Nine::ExplicitConsent,
                    Nine::HealthOrSocialCare,
                ],
                confidentiality: &[ExplicitConsent],
                ..PLAIN
            },
            Self::HomelessnessReferral => &PurposeRules {
                // The authority refers where the person agrees, and to the council that they name (s213B(2) and (3)).
                objection_blocks: true,
                explicit_consent: ConsentNeed::Always,
                contacts_person: true,
                article_6: &[LegalObligation, PublicTask],
                article_9: &[
                    Nine::SubstantialPublicInterest,
                    Nine::HealthOrSocialCare,
                    Nine::ExplicitConsent,
                ],
                schedule_1_part_2: &[6],
                confidentiality: &[ExplicitConsent],
                ..PLAIN
            },
            Self::RiskStratification => &PurposeRules {
                objection_blocks: true,
                opt_out_applies: true,
                excludes_social_care: true,
                article_6: &[PublicTask],
                article_9: &[Nine::HealthOrSocialCare],
                confidentiality: &[Section251],
                ..PLAIN
            },
            Self::PlanningCommissioning | Self::ServiceImprovement => &PurposeRules {
                objection_blocks: true,
                opt_out_applies: true,
                article_6: &[PublicTask],
                article_9: &[Nine::HealthOrSocialCare],
                confidentiality: &[Section251, ExplicitConsent],
                ..PLAIN
            },
            Self::Research => &PurposeRules {
                objection_blocks: true,
                explicit_consent: ConsentNeed::ForConfidentialItems,
                opt_out_applies: true,
                article_6: &[PublicTask, Consent],
                article_9: &[Nine::Research, Nine::ExplicitConsent],
                confidentiality: &[ExplicitConsent, Section251],
                ..PLAIN
            },
            Self::OfficialStatistics | Self::OpenData => {
                &PurposeRules { objection_blocks: true, aggregate_only: true, ..PLAIN }
            }
            Self::PublicHealth => &PurposeRules {
                article_6: &[LegalObligation, PublicTask],
                article_9: &[Nine::PublicHealth],
                confidentiality: &[Statute],
                ..PLAIN
            },
            Self::FraudCrime => &PurposeRules {
                agreement: AgreementNeed::OrReferral,
                override_path: OverridePath::Referral,
                article_6: &[PublicTask],
                article_9: &[Nine::SubstantialPublicInterest],
                schedule_1_part_2: &[10, 14],
                confidentiality: &[Statute, PublicInterest],
                ..PLAIN
            },
            Self::VitalInterests => &PurposeRules {
                agreement: AgreementNeed::OrReferral,
                override_path: OverridePath::BreakGlass,
                article_6: &[VitalInterests],
                article_9: &[Nine::VitalInterests],
                confidentiality: &[PublicInterest],
                ..PLAIN
            },
            Self::SubjectAccess => &PurposeRules {
                agreement: AgreementNeed::OrReferral,
                override_path: OverridePath::Referral,
                article_6: &[LegalObligation],
                article_9: &[
                    Nine::ExplicitConsent,
                    Nine::SubstantialPublicInterest,
                    Nine::HealthOrSocialCare,
                ],
                confidentiality: &[ExplicitConsent, Statute],
                ..PLAIN
            },
        }
    }
}

/// A row with a "no" in every column.
const PLAIN: PurposeRules = PurposeRules {
    agreement: AgreementNeed::Required,
    objection_blocks: false,
    explicit_consent: ConsentNeed::NotAsked,
    excludes_restricted: false,
    contacts_person: false,
    aggregate_only: false,
    opt_out_applies: false,
    excludes_social_care: false,
    override_path: OverridePath::None,
    article_6: &[],
    article_9: &[],
    schedule_1_part_2: &[],
    confidentiality: &[],
};

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
