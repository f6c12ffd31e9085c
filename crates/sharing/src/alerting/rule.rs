//! One rule: what it looks at, from when on, who is told, and who is exempt.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time},
};
use serde::Deserialize;

use super::watch::Human;
use crate::{
    agreement::{london_day, london_time},
    purpose::PurposeClass,
};

/// What a rule looks at, without its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Somebody of the organisation broke the glass.
    BreakGlassDeclared,
    /// One of the organisation's records was released under break-glass.
    BreakGlassUsed,
    /// Somebody of the organisation claims a relationship on their own word.
    RelationshipSelfClaimed,
    /// Somebody asked for one of the organisation's restricted records, whatever the answer.
    RestrictedAttempt,
    /// A person objects to the organisation's processing, and another organisation recorded it.
    ObjectionReceived,
    /// A named person allowed a one-off disclosure.
    GrantMade,
    /// The practitioner asked about themselves.
    OwnRecord,
    /// The practitioner asked about somebody who works for the same organisation.
    Colleague,
    /// The person who was told of has the practitioner's surname.
    SameSurname,
    /// The person who was told of lives where the practitioner does.
    SameUprn,
    /// The person is on the organisation's own list.
    WatchedSubject,
    /// One practitioner asks about one person again and again.
    RepeatLookUps,
    /// One practitioner asks far more than others in the same role.
    Volume,
    /// A question outside the hours in which people work.
    OutOfHours,
    /// A case reference that stands for no case.
    PlaceholderCase,
    /// One practitioner tries many identifiers that lead to no record.
    Enumeration,
    /// Denied for one purpose, and asked again for another.
    PurposeShopping,
    /// The identifier is one that nobody has, and that is nowhere but in a trap.
    HoneyRecord,
    /// One practitioner asks about identifiers in a row.
    SequenceScan,
}

impl Kind {
    /// What is alerted whatever the policies say: overrides, and attempts on restricted records.
    pub(super) const ALWAYS: [Self; 6] = [
        Self::BreakGlassDeclared,
        Self::BreakGlassUsed,
        Self::RelationshipSelfClaimed,
        Self::RestrictedAttempt,
        Self::ObjectionReceived,
        Self::GrantMade,
    ];

    /// The kind's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlassDeclared => "break-glass-declared",
            Self::BreakGlassUsed => "break-glass-used",
            Self::RelationshipSelfClaimed => "relationship-self-claimed",
            Self::RestrictedAttempt => "restricted-attempt",
            Self::ObjectionReceived => "objection-received",
            Self::GrantMade => "grant-made",
            Self::OwnRecord => "own-record",
            Self::Colleague => "colleague",
            Self::SameSurname => "same-surname",
            Self::SameUprn => "same-uprn",
            Self::WatchedSubject => "watched-subject",
            Self::RepeatLookUps => "repeat-look-ups",
            Self::Volume => "volume",
            Self::OutOfHours => "out-of-hours",
            Self::PlaceholderCase => "placeholder-case",
            Self::Enumeration => "enumeration",
            Self::PurposeShopping => "purpose-shopping",
            Self::HoneyRecord => "honey-record",
            Self::SequenceScan => "sequence-scan",
        }
    }

    /// The one who caused it knows of it: the gateway has told them.
    pub fn is_known_to_its_cause(self) -> bool {
        matches!(self, Self::BreakGlassDeclared | Self::RelationshipSelfClaimed | Self::GrantMade)
    }

    /// Whether the ledger alone shows it, so that it can be tried out over the past.
    pub fn is_in_the_ledger(self) -> bool {
        matches!(
            self,
            Self::GrantMade
                | Self::RepeatLookUps
                | Self::Volume
                | Self::OutOfHours
                | Self::PlaceholderCase
                | Self::Enumeration
                | Self::PurposeShopping
        )
    }
}

/// What a rule looks at, with its thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watches {
    /// One occurrence is enough.
    One(Kind),
    /// As many questions of one practitioner about one person within the time.
    RepeatLookUps {
        /// From how many on.
        at_least: u32,
        /// Within which time.
        within: SignedDuration,
    },
    /// As many questions of one practitioner within the time, and more than so many times the median of others of
    /// the same organisation and role who asked at all.
    Volume {
        /// From how many on.
        at_least: u32,
        /// More than so many times the others' median.
        times_peers: u32,
        /// With fewer others there is nothing to compare with, and no alert.
        peers_at_least: u32,
        /// Within which time.
        within: SignedDuration,
    },
    /// A question outside these hours.
    OutOfHours(Hours),
    /// A case reference that is one of these, whatever its case; `*` at the end stands for anything.
    PlaceholderCase {
        /// The patterns, in lower case.
        patterns: Vec<String>,
        /// One alert a practitioner within this time.
        within: SignedDuration,
    },
    /// As many different people about whom the practitioner was told that no record is available, whatever the
    /// reason, within the time.
    Enumeration {
        /// From how many on.
        at_least: u32,
        /// Within which time.
        within: SignedDuration,
    },
    /// A question about a person for another purpose than one that was denied within the time.
    PurposeShopping {
        /// Within which time.
        within: SignedDuration,
    },
}

impl Watches {
    /// What it looks at.
    pub fn kind(&self) -> Kind {
        match self {
            Self::One(kind) => *kind,
            Self::RepeatLookUps { .. } => Kind::RepeatLookUps,
            Self::Volume { .. } => Kind::Volume,
            Self::OutOfHours(_) => Kind::OutOfHours,
            Self::PlaceholderCase { .. } => Kind::PlaceholderCase,
            Self::Enumeration { .. } => Kind::Enumeration,
            Self::PurposeShopping { .. } => Kind::PurposeShopping,
        }
    }

    /// The time within which it counts.
    pub fn within(&self) -> Option<SignedDuration> {
        match self {
            Self::One(_) | Self::OutOfHours(_) => None,
            Self::RepeatLookUps { within, .. }
            | Self::Volume { within, .. }
            | Self::PlaceholderCase { within, .. }
            | Self::Enumeration { within, .. }
            | Self::PurposeShopping { within } => Some(*within),
        }
    }

    /// From how many on, where it counts.
    pub fn at_least(&self) -> Option<u32> {
        match self {
            Self::RepeatLookUps { at_least, .. }
            | Self::Volume { at_least, .. }
            | Self::Enumeration { at_least, .. } => Some(*at_least),
            _ => None,
        }
    }
}

/// The hours in which people work, in Europe/London.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days of the week, Monday is 1.
    pub days: Vec<i8>,
    /// From this time of day.
    pub from: Time,
    /// Before this time of day.
    pub until: Time,
    /// Days on which nobody works all the same.
    pub closed_on: Vec<Date>,
    /// Purposes that keep no hours.
    pub except_purposes: Vec<PurposeClass>,
}

impl Hours {
    /// People work at this instant. `[from, until)` by the clock on the wall in London, summer or winter.
    pub fn covers(&self, at: Timestamp) -> bool {
        let (day, time) = (london_day(at), london_time(at));
        self.days.contains(&day.weekday().to_monday_one_offset())
            && !self.closed_on.contains(&day)
            && self.from <= time
            && time < self.until
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// To be looked at with others of its kind.
    Low,
    /// To be looked at.
    Medium,
    /// To be looked at first.
    High,
}

impl Severity {
    /// The severity's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Whose privacy officers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tell {
    /// The organisation whose practitioner or job it is about.
    Asker,
    /// The organisation whose record it is.
    Holder,
}

/// Somebody to whom a rule does not apply for a time. Never a named practitioner: policies name nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The organisation; any where there is none.
    pub organisation: Option<String>,
    /// The organisation's service.
    pub service: Option<String>,
    /// The system.
    pub system: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// Why.
    pub reason: String,
    /// The first day, in London, on which it does not hold any more.
    pub until: Date,
}

impl Exemption {
    fn covers(&self, human: &Human, at: Timestamp) -> bool {
        let fits = |wanted: &Option<String>, held: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| held == Some(wanted))
        };
        london_day(at) < self.until
            && fits(&self.organisation, Some(&human.organisation))
            && fits(&self.service, human.service.as_deref())
            && fits(&self.system, Some(&human.system))
            && fits(&self.role, Some(&human.role))
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What it looks at.
    pub watches: Watches,
    /// It is switched on.
    pub enabled: bool,
    /// How much it matters.
    pub severity: Severity,
    /// Who is told, the first first.
    pub tell: Vec<Tell>,
    /// How long an alert may wait for a review.
    pub review_within: SignedDuration,
    /// What it says to the officer, in plain English, about nobody.
    pub officer: String,
    /// To whom it does not apply.
    pub exempt: Vec<Exemption>,
}

impl Rule {
    /// By when an alert that is raised now has to be reviewed.
    pub fn review_due(&self, at: Timestamp) -> Timestamp {
        at.checked_add(self.review_within).unwrap_or(at)
    }

    /// The rule does not apply to them now.
    pub fn exempts(&self, human: &Human, at: Timestamp) -> bool {
        self.exempt.iter().any(|exemption| exemption.covers(human, at))
    }
}

/// What is always alerted, as it is where no file says otherwise.
pub(super) fn always(kind: Kind) -> Rule {
    let (hours, severity, tell, officer) = match kind {
        Kind::RestrictedAttempt => (
            24,
            Severity::High,
            Tell::Holder,
            "Somebody asked for a record that is marked restricted. Find out whether they had reason to.",
        ),
        Kind::BreakGlassUsed => (
            72,
            Severity::High,
            Tell::Holder,
            "One of your records was released in a declared emergency. Check what was said of it.",
        ),
        Kind::RelationshipSelfClaimed => (
            7 * 24,
            Severity::Medium,
            Tell::Asker,
            "Somebody claims on their own word to have to do with a person. Check that it is so.",
        ),
        Kind::ObjectionReceived => (
            // A week before the month of Art 12(3) is over.
            21 * 24,
            Severity::Medium,
            Tell::Holder,
            "Another organisation recorded a person's objection to what you do. It has to be answered.",
        ),
        Kind::GrantMade => (
            7 * 24,
            Severity::Medium,
            Tell::Holder,
            "One of your colleagues allowed a one-off disclosure. Check the reasons that they gave.",
        ),
        _ => (
            72,
            Severity::High,
            Tell::Asker,
            "Somebody of yours declared an emergency to see a record. Check what they said of it.",
        ),
    };
    Rule {
        id: kind.as_str().to_owned(),
        watches: Watches::One(kind),
        enabled: true,
        severity,
        tell: vec![tell],
        review_within: SignedDuration::from_hours(hours),
        officer: officer.to_owned(),
        exempt: Vec::new(),
    }
}
