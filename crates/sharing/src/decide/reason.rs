//! The rules' names, their outcomes, and every reason for a refusal.

/// A rule of the decision, in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The purpose is one that the organisation is registered for.
    Purpose,
    /// A flow exists for this directed pair and purpose.
    Agreement,
    /// The agreement is active.
    Status,
    /// The agreement is within its dates.
    Dates,
    /// Both ends have signed.
    Signatures,
    /// The impact assessment is accepted and current.
    Dpia,
    /// The identifier is one that the flow allows.
    Identifier,
    /// The practitioner's role is one that the flow allows.
    Role,
    /// The flow may be asked for one person after the other in a list, and for so many.
    List,
    /// Something that was asked for is agreed.
    Items,
    /// The legal basis is complete for every category asked for, on both sides.
    LegalBasis,
    /// The person is alive, where the purpose leads to contact.
    Deceased,
    /// The record is not restricted, or its location can be left out.
    Restricted,
    /// The person has not objected, where objection stops the purpose.
    Objection,
    /// The person's consent holds, where consent decides.
    Consent,
    /// The person is one of those whom the flow is about.
    Cohort,
    /// The practitioner has one of the relationships with the person that the flow asks for.
    Relationship,
    /// The national data opt-out was checked and leaves the person in, where it applies.
    OptOut,
    /// An exception that a named person made holds: a grant, or break-glass.
    Exception,
    /// No guardrail forbids it.
    Guardrail,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 20] = [
        Self::Purpose,
        Self::Agreement,
        Self::Status,
        Self::Dates,
        Self::Signatures,
        Self::Dpia,
        Self::Identifier,
        Self::Role,
        Self::List,
        Self::Items,
        Self::LegalBasis,
        Self::Relationship,
        Self::Exception,
        Self::Deceased,
        Self::Restricted,
        Self::Objection,
        Self::OptOut,
        Self::Consent,
        Self::Cohort,
        Self::Guardrail,
    ];

    /// The rule's name in traces and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purpose => "purpose",
            Self::Agreement => "agreement",
            Self::Status => "status",
            Self::Dates => "dates",
            Self::Signatures => "signatures",
            Self::Dpia => "dpia",
            Self::Identifier => "identifier",
            Self::Role => "role",
            Self::List => "list",
            Self::Items => "items",
            Self::LegalBasis => "legal-basis",
            Self::Deceased => "deceased",
            Self::Restricted => "restricted",
            Self::Objection => "objection",
            Self::Consent => "consent",
            Self::Cohort => "cohort",
            Self::Relationship => "relationship",
            Self::OptOut => "opt-out",
            Self::Exception => "exception",
            Self::Guardrail => "guardrail",
        }
    }
}

/// What a rule came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not apply to this purpose or these items.
    NotApplicable,
    /// It would have failed, and break-glass overrode it.
    Overridden,
    /// It fails.
    Fail(Reason),
}

impl Outcome {
    /// The reason, where the rule failed.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Fail(reason) => Some(reason),
            Self::Pass | Self::NotApplicable | Self::Overridden => None,
        }
    }
}

/// One rule and what it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Rule,
    /// What it came to.
    pub outcome: Outcome,
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = match self.outcome {
            Outcome::Pass => "pass",
            Outcome::NotApplicable => "n/a",
            Outcome::Overridden => "overridden",
            Outcome::Fail(_) => "fail",
        };
        write!(formatter, "{}={outcome}", self.rule.as_str())
    }
}

/// Why something may not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The organisation is not registered for the purpose.
    PurposeNotRegistered,
    /// The purpose releases aggregates only.
    PurposeAggregateOnly,
    /// No flow covers this directed pair and purpose.
    NoAgreement,
    /// The agreement is a draft, suspended or terminated.
    AgreementNotActive,
    /// The agreement has not begun.
    AgreementNotYetEffective,
    /// The agreement has ended.
    AgreementEnded,
    /// One end has not signed.
    AgreementNotSigned,
    /// The impact assessment is open or out of date.
    DpiaNotCurrent,
    /// The flow does not allow asking by this identifier.
    IdentifierNotAllowed,
    /// The flow does not allow this role to ask.
    RoleNotAllowed,
    /// The flow is for single look-ups, or for shorter lists.
    ListNotAllowed,
    /// Nothing that was asked for is in the flow.
    ItemsNotAgreed,
    /// A legal basis is missing or has expired for something that was asked for.
    LegalBasisIncomplete,
    /// The agreement changed between the question and the release.
    PolicyChanged,
    /// The person has died and the purpose leads to contact.
    Deceased,
    /// The record is restricted.
    Restricted,
    /// The record holder that is asked about restriction could not say.
    RestrictionUnconfirmed,
    /// The person has objected.
    Objection,
    /// Consent decides and none is held.
    ConsentAbsent,
    /// Consent decides and what was held has been withdrawn, has expired or was refused.
    ConsentEnded,
    /// Consent decides, and what the person said yes to is something else: another flow, other items, or for less long.
    ConsentForOther,
    /// The person is not one of those whom the flow is about.
    OutOfCohort,
    /// A recorded legal basis is not one for this purpose.
    BasisNotForPurpose,
    /// The section 251 support has expired.
    Section251Expired,
    /// Social care data was asked for under support that leaves it out.
    SocialCareExcluded,
    /// The practitioner has no relationship with the person that the flow accepts.
    NoRelationship,
    /// The emergency that was named does not hold for this practitioner, purpose and time.
    BreakGlassNotHeld,
    /// The purpose knows no break-glass.
    BreakGlassNotForPurpose,
    /// A guardrail forbids it, whoever the person is.
    GuardrailForbids,
    /// The grant or emergency that it was permitted under has ended.
    ExceptionEnded,
    /// The person has opted out and the opt-out applies.
    OptedOut,
    /// The opt-out applies and no check in force covers the person.
    OptOutNotChecked,
    /// A guardrail forbids it for this person.
    GuardrailForbidsPerson,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 33] = [
        Self::PurposeNotRegistered,
        Self::PurposeAggregateOnly,
        Self::NoAgreement,
        Self::AgreementNotActive,
        Self::AgreementNotYetEffective,
        Self::AgreementEnded,
        Self::AgreementNotSigned,
        Self::DpiaNotCurrent,
        Self::IdentifierNotAllowed,
        Self::RoleNotAllowed,
        Self::ListNotAllowed,
        Self::ItemsNotAgreed,
        Self::LegalBasisIncomplete,
        Self::PolicyChanged,
        Self::Deceased,
        Self::Restricted,
        Self::RestrictionUnconfirmed,
        Self::Objection,
        Self::ConsentAbsent,
        Self::ConsentEnded,
        Self::ConsentForOther,
        Self::OutOfCohort,
        Self::BasisNotForPurpose,
        Self::Section251Expired,
        Self::SocialCareExcluded,
        Self::NoRelationship,
        Self::BreakGlassNotHeld,
        Self::BreakGlassNotForPurpose,
        Self::GuardrailForbids,
        Self::ExceptionEnded,
        Self::OptedOut,
        Self::OptOutNotChecked,
        Self::GuardrailForbidsPerson,
    ];

    /// The reason's code in the ledger and, where it is not about the person, on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PurposeNotRegistered => "purpose-not-registered",
            Self::PurposeAggregateOnly => "purpose-aggregate-only",
            Self::NoAgreement => "no-agreement",
            Self::AgreementNotActive => "agreement-not-active",
            Self::AgreementNotYetEffective => "agreement-not-yet-effective",
            Self::AgreementEnded => "agreement-ended",
            Self::AgreementNotSigned => "agreement-not-signed",
            Self::DpiaNotCurrent => "dpia-not-current",
            Self::IdentifierNotAllowed => "identifier-not-allowed",
            Self::RoleNotAllowed => "role-not-allowed",
            Self::ListNotAllowed => "list-not-allowed",
            Self::ItemsNotAgreed => "items-not-agreed",
            Self::LegalBasisIncomplete => "legal-basis-incomplete",
            Self::PolicyChanged => "policy-changed",
            Self::Deceased => "deceased",
            Self::Restricted => "restricted",
            Self::RestrictionUnconfirmed => "restriction-unconfirmed",
            Self::Objection => "objection",
            Self::ConsentAbsent => "consent-absent",
            Self::ConsentEnded => "consent-ended",
            Self::ConsentForOther => "consent-for-other",
            Self::OutOfCohort => "out-of-cohort",
            Self::BasisNotForPurpose => "basis-not-for-purpose",
            Self::Section251Expired => "section-251-expired",
            Self::SocialCareExcluded => "social-care-excluded",
            Self::NoRelationship => "no-relationship",
            Self::BreakGlassNotHeld => "break-glass-not-held",
            Self::BreakGlassNotForPurpose => "break-glass-not-for-purpose",
            Self::GuardrailForbids => "guardrail-forbids",
            Self::ExceptionEnded => "exception-ended",
            Self::OptedOut => "opted-out",
            Self::OptOutNotChecked => "opt-out-not-checked",
            Self::GuardrailForbidsPerson => "guardrail-forbids-person",
        }
    }

    /// Whether it says something about the person rather than about the agreement.
    pub fn depends_on_person(self) -> bool {
        match self {
            Self::PurposeNotRegistered
            | Self::PurposeAggregateOnly
            | Self::NoAgreement
            | Self::AgreementNotActive
            | Self::AgreementNotYetEffective
            | Self::AgreementEnded
            | Self::AgreementNotSigned
            | Self::DpiaNotCurrent
            | Self::IdentifierNotAllowed
            | Self::RoleNotAllowed
            | Self::ListNotAllowed
            | Self::ItemsNotAgreed
            | Self::LegalBasisIncomplete
            | Self::PolicyChanged
            | Self::BasisNotForPurpose
            | Self::Section251Expired
            | Self::SocialCareExcluded
            | Self::NoRelationship
            | Self::BreakGlassNotHeld
            | Self::BreakGlassNotForPurpose
            | Self::GuardrailForbids
            | Self::ExceptionEnded => false,
            Self::Deceased
            | Self::Restricted
            | Self::RestrictionUnconfirmed
            | Self::Objection
            | Self::ConsentAbsent
            | Self::ConsentEnded
            | Self::ConsentForOther
            | Self::OutOfCohort
            | Self::OptedOut
            | Self::OptOutNotChecked
            | Self::GuardrailForbidsPerson => true,
        }
    }

    /// Whether it says that there is no agreement in force, and nothing against the question itself.
    pub fn is_agreement_out_of_force(self) -> bool {
        match self {
            Self::NoAgreement
            | Self::AgreementNotActive
            | Self::AgreementNotYetEffective
            | Self::AgreementEnded
            | Self::AgreementNotSigned
            | Self::DpiaNotCurrent => true,
            Self::PurposeNotRegistered
            | Self::PurposeAggregateOnly
            | Self::IdentifierNotAllowed
            | Self::RoleNotAllowed
            | Self::ListNotAllowed
            | Self::ItemsNotAgreed
            | Self::LegalBasisIncomplete
            | Self::PolicyChanged
            | Self::Deceased
            | Self::Restricted
            | Self::RestrictionUnconfirmed
            | Self::Objection
            | Self::ConsentAbsent
            | Self::ConsentEnded
            | Self::ConsentForOther
            | Self::OutOfCohort
            | Self::BasisNotForPurpose
            | Self::Section251Expired
            | Self::SocialCareExcluded
            | Self::NoRelationship
            | Self::BreakGlassNotHeld
            | Self::BreakGlassNotForPurpose
            | Self::GuardrailForbids
            | Self::ExceptionEnded
            | Self::OptedOut
            | Self::OptOutNotChecked
            | Self::GuardrailForbidsPerson => false,
        }
    }

    /// What the caller can do about it, for reasons that are not about the person.
    pub fn advice(self) -> &'static str {
        match self {
            Self::PurposeNotRegistered => {
                "your organisation is not registered for this purpose; use the purpose you are working under, or ask your information governance lead to register it"
            }
            Self::PurposeAggregateOnly => "this purpose releases aggregates only, never a person's record",
            Self::NoAgreement => {
                "no agreement covers your organisation asking this record holder for this purpose; check the purpose, or ask your information governance lead"
            }
            Self::AgreementNotActive => "the agreement is not active; ask its owner",
            Self::AgreementNotYetEffective => "the agreement has not begun yet",
            Self::AgreementEnded => "the agreement has ended; ask its owner about renewal",
            Self::AgreementNotSigned => "the agreement has not been signed for both ends of this flow",
            Self::DpiaNotCurrent => {
                "the impact assessment behind the agreement is not accepted and current; ask its owner"
            }
            Self::IdentifierNotAllowed => "the agreement does not allow asking by this kind of identifier",
            Self::RoleNotAllowed => "the agreement does not allow this role to ask",
            Self::ListNotAllowed => {
                "the agreement does not allow a list of so many people; ask for one person after the other, or ask its owner for `list_people_max`"
            }
            Self::ItemsNotAgreed => {
                "none of the items asked for is in the agreement; ask for fewer or other items"
            }
            Self::LegalBasisIncomplete => {
                "a legal basis is missing or has expired for an item asked for; ask for fewer items, or tell the agreement's owner"
            }
            Self::PolicyChanged => "the agreement changed while you were asking; ask again",
            Self::BasisNotForPurpose => {
                "the legal basis recorded in the agreement does not fit this purpose; tell the agreement's owner"
            }
            Self::Section251Expired => {
                "the section 251 support behind the agreement has expired; tell the agreement's owner"
            }
            Self::SocialCareExcluded => "social care data is left out of case finding; ask for other items",
            Self::NoRelationship => {
                "no relationship of yours with this person is recorded that the agreement accepts; record one at /v1/relationships, or ask whoever has one"
            }
            Self::BreakGlassNotHeld => {
                "the emergency named in the request is not yours, is for another purpose, or has run out; declare it again at /v1/break-glass if it lasts"
            }
            Self::BreakGlassNotForPurpose => {
                "break-glass is for direct care, vital interests and safeguarding only"
            }
            Self::GuardrailForbids => {
                "a local guardrail forbids this; ask your information governance lead, quoting the decision"
            }
            Self::ExceptionEnded => {
                "the grant or emergency that allowed this has ended; ask again if it is still needed"
            }
            Self::Deceased
            | Self::Restricted
            | Self::RestrictionUnconfirmed
            | Self::Objection
            | Self::ConsentAbsent
            | Self::ConsentEnded
            | Self::ConsentForOther
            | Self::OutOfCohort
            | Self::OptedOut
            | Self::OptOutNotChecked
            | Self::GuardrailForbidsPerson => {
                "no record can be released; check the identifier against your source"
            }
        }
    }
}
