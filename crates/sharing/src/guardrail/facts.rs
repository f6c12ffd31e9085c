//! What a guardrail may look at: plain facts about one question, every one of them required.
//!
//! There is no optional fact. What is not known is a value of its own (`Unknown`, `NotAsked`, `None`), because a
//! guardrail that reads a missing attribute would be skipped by Cedar, and a rule that is skipped forbids nothing.
//! Nothing here names the person.

use std::fmt;

use crate::{
    catalogue::{Category, DataItem},
    policy::OrganisationKind,
    purpose::PurposeClass,
};

/// Everything that guardrails are told about one question. It never holds who the person is.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are a yes or a no, each read by name in a guardrail"
)]
pub struct Facts<'a> {
    /// Which of the two decisions this is.
    pub phase: Phase,
    /// The organisation that asks.
    pub recipient: &'a str,
    /// What it is.
    pub recipient_kind: OrganisationKind,
    /// The asking practitioner's role, or `unattended`.
    pub role: &'a str,
    /// A person asks; otherwise a declared job.
    pub attended: bool,
    /// The record holder.
    pub provider: &'a str,
    /// The controller of its records.
    pub provider_organisation: &'a str,
    /// What that controller is: a council's record holder holds social-care data.
    pub provider_kind: OrganisationKind,
    /// For what.
    pub purpose: PurposeClass,
    /// The scheme by which the person is named: `nhs-number` or `local`. Any other text is a fault.
    pub identifier: &'a str,
    /// What would leave.
    pub items: ItemFacts<'a>,
    /// The agreement it would leave under.
    pub agreement: AgreementFact<'a>,
    /// How the consent that bears on this flow stands.
    pub consent: ConsentFact,
    /// Explicit consent decides this flow.
    pub consent_decides: bool,
    /// Whether the record is restricted.
    pub restricted: RestrictionFact,
    /// Whether the person has died.
    pub deceased: DeathFact,
    /// Whether an objection or dissent bears on this recipient and purpose.
    pub objection: ObjectionFact,
    /// The override that the practitioner has claimed.
    pub override_: OverrideFact,
    /// A named person answers for this one disclosure: a grant, or an emergency that a practitioner declared.
    pub granted: bool,
    /// The question is for a list of people, not for one.
    pub list: bool,
    /// The hour of the day in Europe/London, 0 to 23.
    pub london_hour: u8,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, purpose) = (self.phase.as_str(), self.purpose);
        write!(formatter, "Facts({phase} {} to {} for {purpose}, ..)", self.provider, self.recipient)
    }
}

/// What would leave, in the form that guardrails read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are a yes or a no, each read by name in a guardrail"
)]
pub struct ItemFacts<'a> {
    /// The items asked for that are agreed, before anything is left out because of the person.
    pub ids: Vec<&'a str>,
    /// One of them is special category data.
    pub special: bool,
    /// One of them is criminal offence data.
    pub offence: bool,
    /// One of them is held in confidence.
    pub confidential: bool,
    /// One that says where the person is would leave. Unlike the others this depends on the person: it is false
    /// once the location of a restricted record has been left out.
    pub locating: bool,
}

impl<'a> ItemFacts<'a> {
    /// The facts of these items. `location_left_out`: items that say where the person is will not leave.
    pub fn new(agreed: impl IntoIterator<Item = &'a DataItem>, location_left_out: bool) -> Self {
        agreed.into_iter().fold(Self::default(), |mut facts, item| {
            facts.ids.push(item.id.get_ref().as_str());
            facts.special |= item.category == Category::Special;
            facts.offence |= item.category == Category::Offence;
            facts.confidential |= item.confidential;
            facts.locating |= item.locating && !location_left_out;
            facts
        })
    }
}

/// How the agreement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are a yes or a no, each read by name in a guardrail"
)]
pub struct AgreementFact<'a> {
    /// Its name, or `none`.
    pub id: &'a str,
    /// Its status is active.
    pub active: bool,
    /// Now is within its dates.
    pub in_date: bool,
    /// Both ends of the flow have signed.
    pub signed: bool,
    /// A flow of it covers the items and the purpose for this directed pair.
    pub covers_items_and_purpose: bool,
}

impl AgreementFact<'_> {
    /// There is no agreement.
    pub const NONE: AgreementFact<'static> = AgreementFact {
        id: "none",
        active: false,
        in_date: false,
        signed: false,
        covers_items_and_purpose: false,
    };
}

/// Which of the two decisions a question is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the record holder is asked.
    Disclose,
    /// Before the record leaves, when it has been read.
    Release,
}

impl Phase {
    /// Every phase, in alphabetical order of its name.
    pub const ALL: [Self; 2] = [Self::Disclose, Self::Release];

    /// The action's name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disclose => "disclose",
            Self::Release => "release",
        }
    }
}

/// How the consent that bears on a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentFact {
    /// None is on record, though it was looked for.
    Absent,
    /// Ran out.
    Expired,
    /// Holds.
    Holds,
    /// Nobody looked, because it decides nothing here.
    NotAsked,
    /// Asked for and refused.
    Refused,
    /// Taken back.
    Withdrawn,
}

impl ConsentFact {
    /// Every state, in alphabetical order of its name.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::Expired, Self::Holds, Self::NotAsked, Self::Refused, Self::Withdrawn];

    /// Its name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Holds => "holds",
            Self::NotAsked => "not-asked",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Whether a record is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestrictionFact {
    /// It is not.
    None,
    /// It is.
    Restricted,
    /// Nobody has said so, and the record has not been read.
    Unknown,
}

impl RestrictionFact {
    /// Every state, in alphabetical order of its name.
    pub const ALL: [Self; 3] = [Self::None, Self::Restricted, Self::Unknown];

    /// Its name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether the person has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathFact {
    /// Alive, as far as the record says.
    No,
    /// Nobody has said so, and the record has not been read.
    Unknown,
    /// Some source says so.
    Yes,
}

impl DeathFact {
    /// Every state, in alphabetical order of its name.
    pub const ALL: [Self; 3] = [Self::No, Self::Unknown, Self::Yes];

    /// Its name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

/// Whether an objection or dissent bears on this recipient and purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectionFact {
    /// None does.
    None,
    /// One was received and not refused or taken back.
    Standing,
}

impl ObjectionFact {
    /// Every state, in alphabetical order of its name.
    pub const ALL: [Self; 2] = [Self::None, Self::Standing];

    /// Its name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standing => "standing",
        }
    }
}

/// The override that a practitioner has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideFact {
    /// Emergency access, reviewed afterwards.
    BreakGlass,
    /// None.
    None,
    /// The harm threshold of a safeguarding duty is met, with the practitioner's reason.
    Safeguarding,
}

impl OverrideFact {
    /// Every override, in alphabetical order of its name.
    pub const ALL: [Self; 3] = [Self::BreakGlass, Self::None, Self::Safeguarding];

    /// Its name in guardrails.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlass => "break-glass",
            Self::None => "none",
            Self::Safeguarding => "safeguarding",
        }
    }
}

/// The schemes by which a person can be named, as guardrails know them.
pub(super) const IDENTIFIERS: [&str; 2] = ["local", "nhs-number"];

/// Every kind of organisation, in alphabetical order of its name.
pub(super) const KINDS: [OrganisationKind; 3] =
    [OrganisationKind::Council, OrganisationKind::Fire, OrganisationKind::Nhs];

/// The kind's name in guardrails, which is the one in `organisations/`.
pub(super) fn kind_name(kind: OrganisationKind) -> &'static str {
    match kind {
        OrganisationKind::Council => "council",
        OrganisationKind::Fire => "fire",
        OrganisationKind::Nhs => "nhs",
    }
}
