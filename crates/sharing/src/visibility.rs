//! What a person is told of who asked about them, and what a privacy officer looks at first.
//!
//! A person has a right to know who received their data (UK GDPR Art 15(1)(c)). Telling it must not warn somebody under
//! investigation, nor show one person's affairs to another: some events wait for a review, and some are withheld on a
//! ground that the law names, for a time.

use serde::{Deserialize, Serialize};

use crate::purpose::PurposeClass;

/// What becomes of an event when a person asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// The person is told.
    Visible,
    /// The person is not told until a time, on a ground.
    Withheld,
    /// Nobody has decided yet; until then the person is not told.
    NeedsReview,
}

impl Visibility {
    /// What it is before anybody has looked.
    pub fn at_first(purpose: PurposeClass) -> Self {
        use PurposeClass as P;
        match purpose {
            // To be told could put somebody at risk, or warn whoever is the risk.
            P::SafeguardingAdult | P::SafeguardingChild | P::FraudCrime => Self::NeedsReview,
            P::DirectCare
            | P::FirePreventionTargeting
            | P::FireReturnReferral
            | P::HomelessnessReferral
            | P::OfficialStatistics
            | P::OpenData
            | P::PlanningCommissioning
            | P::PublicHealth
            | P::Research
            | P::RiskStratification
            | P::SafeAndWellReferral
            | P::ServiceImprovement
            | P::SubjectAccess
            | P::VitalInterests => Self::Visible,
        }
    }
}

/// Why a person is not told: an exemption from Art 15 in the Data Protection Act 2018.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExemptionGround {
    /// Telling would prejudice the prevention or detection of crime.
    Crime,
    /// It is needed for legal proceedings.
    LegalProceedings,
    /// Telling would prejudice a function that protects the public.
    ProtectionOfPublic,
    /// It would tell about somebody else who has not agreed.
    OthersRights,
    /// It is legally privileged.
    LegalPrivilege,
    /// Health data whose telling is likely to cause serious harm; a health professional has been asked.
    HealthSeriousHarm,
    /// Social work data whose telling is likely to cause serious harm.
    SocialWorkSeriousHarm,
    /// Data about child abuse, where telling is not in the child's interests.
    ChildAbuse,
}

impl ExemptionGround {
    /// Every ground.
    pub const ALL: [Self; 8] = [
        Self::Crime,
        Self::LegalProceedings,
        Self::ProtectionOfPublic,
        Self::OthersRights,
        Self::LegalPrivilege,
        Self::HealthSeriousHarm,
        Self::SocialWorkSeriousHarm,
        Self::ChildAbuse,
    ];

    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crime => "crime",
            Self::LegalProceedings => "legal-proceedings",
            Self::ProtectionOfPublic => "protection-of-public",
            Self::OthersRights => "others-rights",
            Self::LegalPrivilege => "legal-privilege",
            Self::HealthSeriousHarm => "health-serious-harm",
            Self::SocialWorkSeriousHarm => "social-work-serious-harm",
            Self::ChildAbuse => "child-abuse",
        }
    }

    /// Where the law says so: paragraphs of the Data Protection Act 2018.
    pub fn source(self) -> &'static str {
        match self {
            Self::Crime => "Schedule 2 paragraph 2",
            Self::LegalProceedings => "Schedule 2 paragraph 5",
            Self::ProtectionOfPublic => "Schedule 2 paragraph 7",
            Self::OthersRights => "Schedule 2 paragraph 16",
            Self::LegalPrivilege => "Schedule 2 paragraph 19",
            Self::HealthSeriousHarm => "Schedule 3 paragraph 5",
            Self::SocialWorkSeriousHarm => "Schedule 3 paragraph 11",
            Self::ChildAbuse => "Schedule 3 paragraph 21",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for ground in ExemptionGround::ALL {
            let text = serde_json::to_value(ground).unwrap();
            assert_eq!(text, ground.as_str());
            assert_eq!(serde_json::from_value::<ExemptionGround>(text).unwrap(), ground);
            assert!(ground.source().starts_with("Schedule "));
        }
    }
}
