//! Information-sharing agreements: who may ask whom, for what, under which law, for which items.
//!
//! A flow is *directed* and has one purpose. It is live only when both of its ends have signed, inside its
//! dates, whatever the document says about itself. Intervals are half-open, `[from, until)`, at midnight in
//! Europe/London.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{
    catalogue::{Category, Form},
    identifier::{AgreementId, FlowId, ItemId, OrganisationId, ProviderId, SubjectScheme},
    purpose::PurposeClass,
    subject::RelationshipKind,
};

pub mod comment;
pub mod dataspace;
mod day;
pub mod diff;
pub mod dispute;
pub mod ladder;
pub mod lifecycle;
pub mod record;
pub mod side_by_side;
pub mod terms;

pub use day::{LondonDay, last_whole_day, london_day, london_hour, london_midnight};
pub(crate) use day::{london, london_time};

/// One version of an agreement, as its file is written. Versions are immutable: a change is a new version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The agreement's name, kept through its versions.
    pub id: Spanned<AgreementId>,
    /// Counts from 1.
    pub version: u32,
    /// Its title, for people.
    pub title: String,
    /// The accord or memorandum that its parties joined: the id or the title of a file in `frameworks/`.
    pub framework: String,
    /// What the parties made of it.
    pub status: Spanned<Status>,
    /// First day on which anything may flow. Not the day of signature.
    pub effective_on: LondonDay,
    /// First day on which nothing may flow any more. Not the review date.
    pub ends_on: LondonDay,
    /// Day by which the parties look at it again. Passing it stops nothing by itself.
    pub review_on: LondonDay,
    /// The named person who sees that the data is put to good use.
    pub owner: String,
    /// Whom to tell of a breach, at any hour.
    pub breach_contact: String,
    /// The assessment under UK GDPR Art 35.
    pub dpia: Dpia,
    /// Everyone who joined.
    pub parties: Vec<Party>,
    /// What may move between them.
    pub flows: Vec<DataFlow>,
    /// Where the agreement is managed over the API: SHA-256 of the terms that were signed, as canonical JSON.
    #[serde(default)]
    pub terms_sha256: Option<String>,
    /// Days after the review date before what can wait is suspended. Only for agreements managed over the API.
    #[serde(default)]
    pub grace_days: Option<u16>,
    /// Its name in the register that it was taken over from.
    #[serde(default)]
    pub external_reference: Option<String>,
    /// Where it is tried out for a while, how it is found out whether it does what it is for.
    #[serde(default)]
    pub pilot: Option<Pilot>,
}

/// A pilot: it ends within a year, is reviewed before its end, and becomes permanent only once its evaluation is on record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pilot {
    /// What it is measured by.
    pub measures: Vec<String>,
}

/// Longest time for a pilot, in months.
const PILOT_MONTHS_MAX: i32 = 12;

impl Agreement {
    /// What is wrong with the agreement as a pilot, where it is one.
    pub(crate) fn pilot_problem(&self) -> Option<&'static str> {
        let pilot = self.pilot.as_ref()?;
        if pilot.measures.is_empty() || pilot.measures.iter().any(|measure| measure.trim().is_empty()) {
            return Some("a pilot needs `measures`: how it is found out whether it does what it is for");
        }
        let longest = jiff::Span::new().try_months(PILOT_MONTHS_MAX).ok();
        let last = longest.and_then(|longest| self.effective_on.day().checked_add(longest).ok());
        if last.is_none_or(|last| self.ends_on.day() > last) {
            return Some("a pilot ends within 12 months of `effective_on`; shorten it");
        }
        if self.review_on >= self.ends_on {
            return Some("a pilot is reviewed before it ends; move `review_on`");
        }
        None
    }
}

/// What the parties made of an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Being written.
    Draft,
    /// Signed and in use, pair by pair.
    Active,
    /// Stopped for now.
    Suspended,
    /// Stopped for good.
    Terminated,
}

impl Status {
    /// The status as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Terminated => "terminated",
        }
    }
}

/// A data protection impact assessment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dpia {
    /// Where it is kept.
    pub reference: String,
    /// What it concluded.
    pub outcome: DpiaOutcome,
    /// The day it was concluded.
    pub completed_on: LondonDay,
    /// The first day on which it is no longer current.
    pub current_until: LondonDay,
    /// Where it, or a summary of it, is published.
    #[serde(default)]
    pub link: Option<String>,
}

impl Dpia {
    /// Whether the risk is accepted, and the assessment is completed and not out of date. One that is to be completed some day is none.
    pub fn is_current(&self, at: Timestamp) -> bool {
        let current = self.completed_on.begins..self.current_until.begins;
        self.outcome == DpiaOutcome::Accepted && current.contains(&at)
    }
}

/// What an impact assessment concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DpiaOutcome {
    /// The residual risk is accepted.
    Accepted,
    /// Not concluded, or to be referred to the Information Commissioner (Art 36).
    Open,
}

/// An organisation that joined the agreement.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The legal controller.
    pub organisation: Spanned<OrganisationId>,
    /// How it stands to the data.
    pub controller: ControllerRole,
    /// Where it tells people about the sharing (UK GDPR Arts 13 and 14).
    #[serde(default)]
    pub privacy_notice: Option<String>,
    /// Who signed for it.
    #[serde(default)]
    pub signatures: Vec<Signature>,
}

impl Party {
    /// Whether it says where it tells people about the sharing.
    pub fn has_notice(&self) -> bool {
        self.privacy_notice.as_deref().is_some_and(|notice| !notice.trim().is_empty())
    }
}

/// How a party stands to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControllerRole {
    /// A controller for its own purposes.
    Separate,
    /// A joint controller (Art 26).
    Joint,
    /// A processor (Art 28).
    Processor,
}

/// A signature, as the register records it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// In which role.
    pub role: SignatoryRole,
    /// By whom.
    pub name: String,
    /// On which day.
    pub signed_on: LondonDay,
}

/// Who signs, advises or speaks for a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatoryRole {
    /// Senior Information Risk Owner.
    Siro,
    /// Caldicott Guardian.
    CaldicottGuardian,
    /// Information Asset Owner.
    Iao,
    /// Data protection officer: advises (Art 39), and so never brings a flow to life.
    Dpo,
    /// Information governance lead: settles disputes at their level, and signs nothing.
    GovernanceLead,
    /// Somebody who speaks for the board: settles disputes that have come so far, and signs nothing.
    Board,
}

impl SignatoryRole {
    /// The role as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Siro => "siro",
            Self::CaldicottGuardian => "caldicott-guardian",
            Self::Iao => "iao",
            Self::Dpo => "dpo",
            Self::GovernanceLead => "governance-lead",
            Self::Board => "board",
        }
    }

    /// Whether a signature in this role can bring a flow to life.
    pub fn approves(self) -> bool {
        matches!(self, Self::Siro | Self::CaldicottGuardian | Self::Iao)
    }
}

/// A directed movement of data for one purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFlow {
    /// The flow's name inside the agreement.
    pub id: Spanned<FlowId>,
    /// The record holder that is asked.
    pub provider: Spanned<ProviderId>,
    /// The organisation that asks.
    pub recipient: Spanned<OrganisationId>,
    /// For what.
    pub purpose: PurposeClass,
    /// Whether it is switched off, whatever else is agreed.
    #[serde(default)]
    pub suspended: bool,
    /// The statutory gateway through which it goes, where the law asks for one.
    #[serde(default)]
    pub statutory_gateway: Option<String>,
    /// The identifiers by which a person may be asked for.
    pub identifiers: Vec<SubjectScheme>,
    /// The practitioners' roles that may ask; `unattended` stands for declared jobs.
    pub roles: Vec<String>,
    /// The relationships of which the practitioner must have one with the person. None listed is none needed.
    #[serde(default)]
    pub relationship: Vec<RelationshipKind>,
    /// Most people about whom a record may be released in one day (Europe/London). None is no ceiling.
    #[serde(default)]
    pub releases_per_day_max: Option<u32>,
    /// Most people in one list that is asked about at once. None is no lists: one person at a time.
    #[serde(default)]
    pub list_people_max: Option<u32>,
    /// Whom the flow is about.
    #[serde(default)]
    pub cohort: Cohort,
    /// The provider's lawful basis for disclosing.
    pub provider_basis: LawfulBasis,
    /// The recipient's lawful basis for receiving and using.
    pub recipient_basis: LawfulBasis,
    /// How the common-law duty of confidentiality is met.
    pub confidentiality: Confidentiality,
    /// What may be released, each item in its form and with its reason.
    pub items: Vec<FlowItem>,
    /// What the recipient takes on.
    pub obligations: FlowObligations,
}

/// Whom a flow is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// Youngest age, in whole years.
    #[serde(default)]
    pub age_from_years: Option<i16>,
}

/// One party's lawful basis for one flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LawfulBasis {
    /// UK GDPR Art 6(1).
    pub article_6: Article6,
    /// UK GDPR Art 9(2), wherever a special-category item is asked for.
    #[serde(default)]
    pub article_9: Option<Article9>,
    /// Data Protection Act 2018, Schedule 1: the paragraph, such as `part 2 paragraph 18`.
    #[serde(default)]
    pub schedule_1: Option<Schedule1>,
    /// The authority for criminal offence data (UK GDPR Art 10; DPA 2018 s10(5)).
    #[serde(default)]
    pub article_10: Option<String>,
}

/// UK GDPR Art 6(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Article6 {
    /// Consent.
    #[serde(rename = "6(1)(a)")]
    Consent,
    /// Legal obligation.
    #[serde(rename = "6(1)(c)")]
    LegalObligation,
    /// Vital interests.
    #[serde(rename = "6(1)(d)")]
    VitalInterests,
    /// Public task.
    #[serde(rename = "6(1)(e)")]
    PublicTask,
}

/// UK GDPR Art 9(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Article9 {
    /// Explicit consent.
    #[serde(rename = "9(2)(a)")]
    ExplicitConsent,
    /// Vital interests of someone who cannot consent.
    #[serde(rename = "9(2)(c)")]
    VitalInterests,
    /// Substantial public interest.
    #[serde(rename = "9(2)(g)")]
    SubstantialPublicInterest,
    /// Health or social care.
    #[serde(rename = "9(2)(h)")]
    HealthOrSocialCare,
    /// Public health.
    #[serde(rename = "9(2)(i)")]
    PublicHealth,
    /// Research.
    #[serde(rename = "9(2)(j)")]
    Research,
}

impl Article6 {
    /// As the law numbers it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "6(1)(a)",
            Self::LegalObligation => "6(1)(c)",
            Self::VitalInterests => "6(1)(d)",
            Self::PublicTask => "6(1)(e)",
        }
    }
}

impl Article9 {
    /// As the law numbers it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExplicitConsent => "9(2)(a)",
            Self::VitalInterests => "9(2)(c)",
            Self::SubstantialPublicInterest => "9(2)(g)",
            Self::HealthOrSocialCare => "9(2)(h)",
            Self::PublicHealth => "9(2)(i)",
            Self::Research => "9(2)(j)",
        }
    }

    /// The part of Schedule 1, and its paragraph where there is only one, in which the condition that goes with
    /// it is found (DPA 2018 s10(2) and (3)). `None` needs none.
    pub fn schedule_1_part(self) -> Option<(u8, Option<u8>)> {
        match self {
            Self::ExplicitConsent | Self::VitalInterests => None,
            Self::SubstantialPublicInterest => Some((2, None)),
            Self::HealthOrSocialCare => Some((1, Some(2))),
            Self::PublicHealth => Some((1, Some(3))),
            Self::Research => Some((1, Some(4))),
        }
    }
}

/// A condition of the Data Protection Act 2018, Schedule 1, written `part 2 paragraph 18`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Schedule1 {
    /// 1 (employment, health, research) or 2 (substantial public interest).
    pub part: u8,
    /// The paragraph.
    pub paragraph: u8,
}

/// A Schedule 1 condition that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a schedule 1 condition as `part 1 paragraph 2` (parts 1 and 2, paragraphs 1 to 28)")]
pub struct Schedule1Error;

impl TryFrom<String> for Schedule1 {
    type Error = Schedule1Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let words: Vec<_> = text.split(' ').collect();
        let ["part", part, "paragraph", paragraph] = words.as_slice() else { return Err(Schedule1Error) };
        let (Ok(part), Ok(paragraph)) = (part.parse(), paragraph.parse()) else { return Err(Schedule1Error) };
        let exists = matches!((part, paragraph), (1, 1..=4) | (2, 6..=28));
        if exists { Ok(Self { part, paragraph }) } else { Err(Schedule1Error) }
    }
}

/// What is missing from a lawful basis, for one purpose and one category of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BasisGap {
    /// The Art 6 basis is not one for this purpose.
    Article6NotForPurpose,
    /// Special-category data and no Art 9 condition.
    Article9Missing,
    /// The Art 9 condition is not one for this purpose.
    Article9NotForPurpose,
    /// The Art 9 condition needs a Schedule 1 condition.
    Schedule1Missing,
    /// The Schedule 1 condition does not belong to the Art 9 condition, or not to the purpose.
    Schedule1NotForPurpose,
    /// Offence data and no authority under Art 10.
    Article10Missing,
}

impl BasisGap {
    /// The gap in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Article6NotForPurpose => "its article 6 basis is not one for this purpose",
            Self::Article9Missing => "special-category data needs an article 9 condition",
            Self::Article9NotForPurpose => "its article 9 condition is not one for this purpose",
            Self::Schedule1Missing => "its article 9 condition needs a schedule 1 condition beside it",
            Self::Schedule1NotForPurpose => {
                "its schedule 1 condition does not fit its article 9 condition and purpose"
            }
            Self::Article10Missing => "offence data needs an authority under article 10",
        }
    }

    /// Whether something is recorded that does not fit, rather than nothing.
    pub fn is_misfit(self) -> bool {
        matches!(
            self,
            Self::Article6NotForPurpose | Self::Article9NotForPurpose | Self::Schedule1NotForPurpose
        )
    }
}

impl LawfulBasis {
    /// What is missing from this basis for data of this category and this purpose. `None` is complete.
    ///
    /// Source: UK GDPR Arts 6, 9, 10; Data Protection Act 2018 s10 and s11(2), Schedule 1 parts 1 and 2.
    pub fn gap(&self, purpose: PurposeClass, category: Category) -> Option<BasisGap> {
        let rules = purpose.rules();
        if !rules.article_6.contains(&self.article_6) {
            return Some(BasisGap::Article6NotForPurpose);
        }
        match category {
            Category::Ordinary => None,
            Category::Offence => self.article_10.is_none().then_some(BasisGap::Article10Missing),
            Category::Special => {
                let Some(article_9) = self.article_9 else { return Some(BasisGap::Article9Missing) };
                if !rules.article_9.contains(&article_9) {
                    return Some(BasisGap::Article9NotForPurpose);
                }
                match (article_9.schedule_1_part(), self.schedule_1) {
                    (None, _) => None,
                    (Some(_), None) => Some(BasisGap::Schedule1Missing),
                    (Some((part, paragraph)), Some(condition)) => {
                        let of_article = condition.part == part
                            && paragraph.is_none_or(|paragraph| condition.paragraph == paragraph);
                        let of_purpose = part != 2
                            || rules.schedule_1_part_2.is_empty()
                            || rules.schedule_1_part_2.contains(&condition.paragraph);
                        (!(of_article && of_purpose)).then_some(BasisGap::Schedule1NotForPurpose)
                    }
                }
            }
        }
    }
}

/// How the common-law duty of confidentiality is met.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "basis", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Confidentiality {
    /// Nothing in the flow is held in confidence.
    NotConfidential,
    /// Implied consent, for individual care only.
    ImpliedConsent,
    /// The person's explicit consent.
    ExplicitConsent,
    /// A statutory duty or gateway.
    Statute {
        /// The section.
        reference: String,
    },
    /// Support under the Control of Patient Information Regulations 2002 (NHS Act 2006 s251).
    Section251 {
        /// The CAG reference.
        reference: String,
        /// First day on which the support has ended.
        expires_on: LondonDay,
    },
    /// An overriding public interest, weighed case by case.
    PublicInterest,
}

/// The ways of meeting the duty of confidentiality, without their particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfidentialityKind {
    /// Nothing is held in confidence.
    NotConfidential,
    /// Implied consent.
    ImpliedConsent,
    /// Explicit consent.
    ExplicitConsent,
    /// A statutory duty or gateway.
    Statute,
    /// Section 251 support.
    Section251,
    /// An overriding public interest.
    PublicInterest,
}

impl Confidentiality {
    /// Which way it is.
    pub fn kind(&self) -> ConfidentialityKind {
        match self {
            Self::NotConfidential => ConfidentialityKind::NotConfidential,
            Self::ImpliedConsent => ConfidentialityKind::ImpliedConsent,
            Self::ExplicitConsent => ConfidentialityKind::ExplicitConsent,
            Self::Statute { .. } => ConfidentialityKind::Statute,
            Self::Section251 { .. } => ConfidentialityKind::Section251,
            Self::PublicInterest => ConfidentialityKind::PublicInterest,
        }
    }
}

/// One item of a flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowItem {
    /// The item of the provider's catalogue.
    pub item: Spanned<ItemId>,
    /// The form in which it leaves.
    pub form: Form,
    /// Why the purpose cannot be met without it.
    pub justification: String,
}

impl FlowItem {
    /// The item with its form, as `person.name:as-is`.
    pub fn with_form(&self) -> String {
        format!("{}:{}", self.item.get_ref(), self.form)
    }
}

/// What the recipient takes on with each release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowObligations {
    /// Days after which the recipient deletes what it received.
    pub retain_days: u16,
    /// Whether the recipient may pass it on.
    pub onward_sharing: bool,
}

impl Agreement {
    /// The agreement's name.
    pub fn id(&self) -> &AgreementId {
        self.id.get_ref()
    }

    pub(crate) fn assume_in_force(&mut self) {
        let (beginning, end) = (Date::constant(1900, 1, 1), Date::constant(9000, 1, 1));
        if *self.status.get_ref() != Status::Terminated {
            *self.status.get_mut() = Status::Active;
        }
        self.effective_on = beginning.into();
        self.ends_on = end.into();
        self.dpia.outcome = DpiaOutcome::Accepted;
        (self.dpia.completed_on, self.dpia.current_until) = (beginning.into(), end.into());
        for party in &mut self.parties {
            let name = "assumed, in shadow mode".to_owned();
            party.signatures.push(Signature { role: SignatoryRole::Siro, name, signed_on: beginning.into() });
        }
    }

    /// First instant at which anything may flow.
    pub fn effective_from(&self) -> Timestamp {
        self.effective_on.begins
    }

    /// First instant at which nothing may flow any more.
    pub fn effective_until(&self) -> Timestamp {
        self.ends_on.begins
    }

    /// Whether a flow of it may be used, as far as that is for people to say: dates and signatures are looked at apart.
    pub fn is_switched_on(&self, flow: &DataFlow) -> bool {
        *self.status.get_ref() == Status::Active && !flow.suspended
    }

    /// Whether somebody with authority has signed for this organisation by `at`.
    pub fn is_signed_by(&self, organisation: &OrganisationId, at: Timestamp) -> bool {
        self.parties.iter().filter(|party| party.organisation.get_ref() == organisation).any(|party| {
            let approvals = party.signatures.iter().filter(|signature| signature.role.approves());
            approvals.into_iter().any(|signature| signature.signed_on.begins <= at)
        })
    }
}
