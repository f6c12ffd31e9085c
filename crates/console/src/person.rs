//! Who is signed in, and what they may do. Roles come from the provider; rights come from roles, here and nowhere else.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use sharing::{CaseReference, OrganisationId, PurposeClass, SubjectIdentifier, SubjectScheme};

/// What somebody is to the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Decides about the people's data that an organisation holds, and signs.
    CaldicottGuardian,
    /// Looks after agreements, alerts and referrals.
    IgOfficer,
    /// Looks after alerts, objections and what people are told.
    PrivacyOfficer,
    /// Advises on agreements, once their office is registered, and watches what is done with people's data.
    DataProtectionOfficer,
    /// Signs agreements in an office that is registered: the SIRO, an information asset owner.
    Signatory,
    /// Reviews what colleagues did in emergencies.
    PractitionerReviewer,
    /// Helps other organisations to agree.
    Mediator,
    /// Sees the whole ledger and changes nothing.
    Auditor,
    /// Runs the gateway, and sees nothing about anybody.
    Operator,
    /// Sees what was done with their own data.
    Citizen,
}

/// What a role lets somebody do. There is no right to ask for a record: no page shows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Review alerts, emergencies, referrals and decisions of one's own organisation.
    Review,
    /// Read and record consents and objections.
    Record,
    /// See the whole ledger.
    Audit,
    /// Be told what was done with one's own data.
    SubjectAccess,
    /// Write agreements.
    Draft,
    /// Agree for an organisation.
    Approve,
    /// Help others to agree.
    Mediate,
    /// Act in an office that is registered: sign, or advise as a data protection officer, who signs nothing.
    Sign,
}

impl Role {
    /// Every role, in the order in which they go first where somebody has several.
    pub const ALL: [Self; 10] = [
        Self::CaldicottGuardian,
        Self::IgOfficer,
        Self::PrivacyOfficer,
        Self::DataProtectionOfficer,
        Self::Signatory,
        Self::PractitionerReviewer,
        Self::Mediator,
        Self::Auditor,
        Self::Operator,
        Self::Citizen,
    ];

    /// Its name in settings and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CaldicottGuardian => "caldicott-guardian",
            Self::IgOfficer => "ig-officer",
            Self::PrivacyOfficer => "privacy-officer",
            Self::DataProtectionOfficer => "data-protection-officer",
            Self::Signatory => "signatory",
            Self::PractitionerReviewer => "practitioner-reviewer",
            Self::Mediator => "mediator",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Citizen => "citizen",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::CaldicottGuardian => "Caldicott Guardian",
            Self::IgOfficer => "Information governance officer",
            Self::PrivacyOfficer => "Privacy officer",
            Self::DataProtectionOfficer => "Data protection officer",
            Self::Signatory => "Signatory",
            Self::PractitionerReviewer => "Practitioner reviewer",
            Self::Mediator => "Mediator",
            Self::Auditor => "Auditor",
            Self::Operator => "Operator",
            Self::Citizen => "Resident",
        }
    }

    /// The whole table of who may do what.
    pub fn rights(self) -> &'static [Right] {
        match self {
            Self::CaldicottGuardian => &[Right::Review, Right::Approve, Right::Sign],
            Self::IgOfficer => &[Right::Review, Right::Draft, Right::Approve],
            Self::PrivacyOfficer => &[Right::Review, Right::Record],
            Self::DataProtectionOfficer => &[Right::Review, Right::Sign],
            Self::Signatory => &[Right::Sign],
            Self::PractitionerReviewer => &[Right::Review],
            Self::Mediator => &[Right::Mediate],
            Self::Auditor => &[Right::Audit],
            Self::Operator => &[],
            Self::Citizen => &[Right::SubjectAccess, Right::Record],
        }
    }
}

/// Somebody who has signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their organisation; for a citizen, the one that answers them.
    pub organisation: OrganisationId,
    /// The provider's identifier for them. It goes into the ledger.
    pub id: String,
    /// Their name, for the page alone.
    pub name: String,
    /// Their roles, at least one.
    pub roles: BTreeSet<Role>,
    /// A citizen's NHS number, as the provider has found it out.
    pub nhs_number: Option<String>,
    /// How the provider says that it found out a citizen's identity, by the settings; nothing where it says none of them.
    #[serde(default)]
    pub identity_check: Option<String>,
}

/// It names nobody.
impl fmt::Debug for Person {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Person({:?})", self.roles)
    }
}

impl Person {
    /// Whether one of their roles has this right.
    pub fn may(&self, right: Right) -> bool {
        self.roles.iter().any(|role| role.rights().contains(&right))
    }

    /// The role under which they act: the first they have.
    pub fn role(&self) -> Role {
        Role::ALL.into_iter().find(|role| self.roles.contains(role)).unwrap_or(Role::Operator)
    }

    /// Whether they are here for their own data.
    pub fn is_citizen(&self) -> bool {
        self.role() == Role::Citizen
    }

    /// A citizen's own identifier.
    pub fn identifier(&self) -> Option<SubjectIdentifier> {
        let scheme: SubjectScheme = "nhs-number".parse().ok()?;
        SubjectIdentifier::parse(scheme, self.nhs_number.as_deref()?).ok()
    }
}

/// Somebody whom the console has signed in, for whom a request is made in this process. The API takes its word in place of a
/// client certificate, an access token and a signed context. It is an extension of a request: nothing that comes over a
/// network has one.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// Who.
    pub person: Person,
    /// What for.
    pub purpose: PurposeClass,
    /// The piece of work.
    pub case_reference: CaseReference,
    /// About whom, where it is about somebody.
    pub record: Option<SubjectIdentifier>,
    /// A name for this request, used once.
    pub once: String,
    /// The session's name, by which entries of one session can be told to belong together.
    pub session: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what() {
        let rows = Role::ALL.into_iter().map(|role| format!("{}: {:?}", role.as_str(), role.rights()));
        insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r"
        caldicott-guardian: [Review, Approve, Sign]
        ig-officer: [Review, Draft, Approve]
        privacy-officer: [Review, Record]
        data-protection-officer: [Review, Sign]
        signatory: [Sign]
        practitioner-reviewer: [Review]
        mediator: [Mediate]
        auditor: [Audit]
        operator: []
        citizen: [SubjectAccess, Record]
        ");
    }
}
