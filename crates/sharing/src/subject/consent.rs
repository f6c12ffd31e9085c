//! Consent records. Four things are called consent; each decides something else, or nothing.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    decide::PermittedItem,
    identifier::{AgreementId, ConsentId, FlowId, OrganisationId, ProviderId},
    purpose::PurposeClass,
};

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

impl ConsentType {
    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GdprConsent => "gdpr-consent",
            Self::ConfidentialityConsent => "confidentiality-consent",
            Self::ConsentToService => "consent-to-service",
            Self::Preference => "preference",
        }
    }
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
    /// Whether somebody once answered: a question that is open, unknown or was never validly answered is none.
    pub fn was_an_answer(self) -> bool {
        match self {
            Self::Given | Self::Renewed | Self::Refused | Self::Expired | Self::Withdrawn | Self::Revoked => {
                true
            }
            Self::Requested | Self::Invalidated | Self::Unknown => false,
        }
    }

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

/// Within what time of each other a yes and a no are told apart by the order in which they were recorded, too.
pub const SAID_LATELY: SignedDuration = SignedDuration::from_hours(48);

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
    /// Who said so.
    pub given_by: GivenBy,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// From when it holds, or when it was refused.
    pub given_at: Timestamp,
    /// First instant at which it no longer holds.
    pub expires_at: Option<Timestamp>,
    /// When it was withdrawn, revoked, or otherwise ended by somebody.
    pub ended_at: Option<Timestamp>,
    /// What they were shown when they answered, where it is known: then a yes is a yes to that. A no is none the narrower for it.
    pub shown: Option<Box<Shown>>,
}

/// What a person was shown when they answered: one flow of one version of an agreement. A yes is a yes to what is in it and to
/// nothing beyond: to no other flow, and to no more in a later version.
///
/// Source: UK GDPR Art 4(11) (specific and informed), Art 7(1) (able to demonstrate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The agreement.
    pub agreement: AgreementId,
    /// Its version. A later one is covered as far as it goes no further.
    pub version: u32,
    /// The flow.
    pub flow: FlowId,
    /// SHA-256 of the agreement's file, in hexadecimal: what was in it can be looked up.
    pub digest: String,
    /// The record holder.
    pub provider: ProviderId,
    /// What leaves only after a yes, in the flow's order. What needs none is not in it.
    pub items: Vec<PermittedItem>,
    /// For how many days it is kept.
    pub retain_days: u16,
    /// Whether it may be passed on.
    pub onward_sharing: bool,
}

impl Shown {
    /// SHA-256 of it, in hexadecimal: whoever answers says with it what they saw.
    pub fn sha256(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        crate::policy::hexadecimal(&Sha256::digest(text))
    }

    /// Whether the person was shown this item, in this form or in one that tells more.
    pub fn includes(&self, permitted: &PermittedItem) -> bool {
        let tells_no_less = |shown: &PermittedItem| {
            shown.form == permitted.form || shown.form.coarseness() < permitted.form.coarseness()
        };
        self.items.iter().any(|shown| shown.item == permitted.item && tells_no_less(shown))
    }
}

/// Who gave a consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "who", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GivenBy {
    /// The person.
    Person,
    /// Somebody with authority to decide for them. A property attorney and next of kin have none.
    Proxy {
        /// The authority.
        authority: ProxyAuthority,
        /// Why the person could not decide (Mental Capacity Act 2005), or their age.
        capacity_statement: String,
    },
}

/// Authorities under which one person decides for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyAuthority {
    /// Lasting power of attorney for health and welfare, while the donor lacks capacity.
    HealthAndWelfareAttorney,
    /// A deputy appointed by the Court of Protection.
    CourtDeputy,
    /// Parental responsibility, until the child is competent to decide.
    ParentalResponsibility,
}

impl ProxyAuthority {
    /// The authority as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HealthAndWelfareAttorney => "health-and-welfare-attorney",
            Self::CourtDeputy => "court-deputy",
            Self::ParentalResponsibility => "parental-responsibility",
        }
    }

    /// The age in whole years from which this authority says nothing any more.
    ///
    /// Source: Mental Capacity Act 2005 s2(5) and Family Law Reform Act 1969 s8: from sixteen a young person is
    /// presumed able to decide. A younger child found competent (Gillick) decides too, which nobody can tell
    /// from a date: whoever finds it records the child's own word, which outweighs the parent's.
    pub fn lapses_at_years(self) -> Option<i16> {
        match self {
            Self::ParentalResponsibility => Some(16),
            Self::HealthAndWelfareAttorney | Self::CourtDeputy => None,
        }
    }
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

    /// Whether this says no, and so outweighs every yes given up to then.
    ///
    /// A withdrawal counts from when it was made, not from when the consent that it ends was given: a consent
    /// given after it is a new one.
    pub fn taken_back_at(&self) -> Option<Timestamp> {
        self.status.takes_back().then(|| self.ended_at.unwrap_or(self.given_at))
    }

    /// Whether it says no, and `yes` does not outweigh it: the yes was said earlier; or it was said later by less than 48 hours
    /// and is not recorded later. Of what was said lately the times are not that sure: they are rounded to minutes and days, and
    /// clocks differ. Of what was said long ago they decide, in whatever order it was recorded.
    pub fn outweighs(&self, yes: &Self) -> bool {
        self.taken_back_at().is_some_and(|at| {
            let recorded_at = self.recorded_at.max(self.ended_at.unwrap_or(self.recorded_at));
            let was_lately = yes.given_at.duration_since(at) < SAID_LATELY;
            at >= yes.given_at || (was_lately && recorded_at >= yes.recorded_at)
        })
    }

    /// Whether it is a yes at `at` that no later no about the same stands against.
    pub fn stands<'a>(&self, among: impl IntoIterator<Item = &'a Self>, at: Timestamp) -> bool {
        let is_about_it = |other: &Self| {
            other.consent_type == self.consent_type
                && other.controller == self.controller
                && other.recipients.iter().any(|recipient| self.recipients.contains(recipient))
                && other.purposes.iter().any(|purpose| self.purposes.contains(purpose))
        };
        let mut among = among.into_iter();
        matches!(self.status, ConsentStatus::Given | ConsentStatus::Renewed)
            && self.given_at <= at
            && self.expires_at.is_none_or(|end| at < end)
            && !among.any(|other| is_about_it(other) && other.outweighs(self))
    }

    /// Whether its giver could still decide for the person, as far as the person's age says. `None` is an age
    /// that the record does not tell: a parent's word then holds for nobody.
    pub fn giver_may_decide(&self, age_years: Option<i16>) -> bool {
        match &self.given_by {
            GivenBy::Person => true,
            GivenBy::Proxy { authority, .. } => {
                authority.lapses_at_years().is_none_or(|limit| age_years.is_some_and(|age| age < limit))
            }
        }
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
