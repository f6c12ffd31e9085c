//! Frameworks: the accords and memoranda that organisations join, and that agreements are made under.
//!
//! Joining one is done on paper, and the operator's file says who has. A framework permits nothing: what may flow is its agreements'
//! to say. Nothing begins under one that is unknown, has ended or was not joined; what runs goes on, with the gap marked, since an
//! accord that lapses must not cut a route that somebody's safety may depend on.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    PolicySet,
    agreement::{Agreement, LondonDay, london_midnight},
    identifier::{FrameworkId, OrganisationId},
    policy::{NOT_A_LINK, PolicyFile, PolicyProblem},
    seen::is_web_link,
};

/// A framework, as its file is written. Intervals are half-open, `[from, until)`, at midnight in Europe/London.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// Its name in agreements, which may use its title as well.
    pub id: Spanned<FrameworkId>,
    /// Its title, for people.
    pub title: String,
    /// First day on which agreements may be made under it.
    pub effective_on: LondonDay,
    /// Day by which its members look at it again. Passing it stops nothing.
    pub review_on: LondonDay,
    /// First day on which it is over. None where it has no end.
    #[serde(default)]
    pub ends_on: Option<LondonDay>,
    /// Where it is published.
    #[serde(default)]
    pub link: Option<String>,
    /// Who has signed up to it.
    pub members: Vec<Member>,
}

/// An organisation that has joined.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub organisation: Spanned<OrganisationId>,
    /// First day.
    pub joined_on: LondonDay,
    /// First day on which it is no member any more.
    #[serde(default)]
    pub left_on: Option<LondonDay>,
}

/// Where a framework stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not begun.
    NotYet,
    /// It is in force.
    InForce,
    /// It is in force, and its review is late.
    ReviewOverdue,
    /// It is over.
    Ended,
}

impl Standing {
    /// The standing as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not-yet",
            Self::InForce => "in-force",
            Self::ReviewOverdue => "review-overdue",
            Self::Ended => "ended",
        }
    }

    /// Whether agreements may be made under it.
    pub fn carries(self) -> bool {
        matches!(self, Self::InForce | Self::ReviewOverdue)
    }
}

/// What an agreement lacks of its framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// There is none of this name.
    Unknown,
    /// It has not begun, or is over.
    NotInForce(Standing),
    /// These organisations have not joined, or have left.
    NotJoined(Vec<OrganisationId>),
}

impl Gap {
    /// Its code, as of what is found in policies.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "framework-unknown",
            Self::NotInForce(_) => "framework-not-in-force",
            Self::NotJoined(_) => "framework-not-joined",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter
                .write_str("no file in frameworks/ has this `framework` as its id or title; have it registered, or name the right one"),
            Self::NotInForce(Standing::NotYet) => {
                formatter.write_str("its framework has not begun; nothing is put in force under it before")
            }
            Self::NotInForce(_) => formatter
                .write_str("its framework is over; have it renewed, or the agreement moved to another by a variation"),
            Self::NotJoined(missing) => {
                let missing: Vec<_> = missing.iter().map(OrganisationId::as_str).collect();
                write!(
                    formatter,
                    "{} has not joined its framework, or has left it; have it join, and its file say so",
                    missing.join(", ")
                )
            }
        }
    }
}

impl Framework {
    /// Its name.
    pub fn id(&self) -> &FrameworkId {
        self.id.get_ref()
    }

    /// Where it stands.
    pub fn standing(&self, at: Timestamp) -> Standing {
        if at < london_midnight(self.effective_on) {
            Standing::NotYet
        } else if self.ends_on.is_some_and(|ends_on| london_midnight(ends_on) <= at) {
            Standing::Ended
        } else if london_midnight(self.review_on) <= at {
            Standing::ReviewOverdue
        } else {
            Standing::InForce
        }
    }

    /// Whether an organisation is a member.
    pub fn has_joined(&self, organisation: &OrganisationId, at: Timestamp) -> bool {
        let of = |member: &&Member| member.organisation.get_ref() == organisation;
        self.members.iter().filter(of).any(|member| {
            london_midnight(member.joined_on) <= at
                && member.left_on.is_none_or(|left_on| at < london_midnight(left_on))
        })
    }

    /// Those of these organisations that are no members.
    pub fn not_joined<'a>(
        &self,
        organisations: impl IntoIterator<Item = &'a OrganisationId>,
        at: Timestamp,
    ) -> Vec<OrganisationId> {
        organisations.into_iter().filter(|one| !self.has_joined(one, at)).cloned().collect()
    }

    /// Whether an agreement means it by this.
    pub(crate) fn is_meant_by(&self, name: &str) -> bool {
        self.id().as_str() == name || self.title == name
    }

    pub(crate) fn problems(&self, file: &PolicyFile) -> Vec<PolicyProblem> {
        let at = self.id.span().start;
        let mut problems = Vec::new();
        let mut add = |offset, message: &str| problems.push(file.problem(offset, message.to_owned()));
        if self.title.trim().is_empty() {
            add(at, "a framework needs a `title`");
        }
        if self.ends_on.is_some_and(|ends_on| ends_on <= self.effective_on) {
            add(at, "`effective_on` must be before `ends_on`");
        }
        if self.review_on < self.effective_on || self.ends_on.is_some_and(|ends_on| self.review_on > ends_on)
        {
            add(at, "`review_on` must lie between `effective_on` and `ends_on`");
        }
        if self.link.as_deref().is_some_and(|link| !is_web_link(link)) {
            add(at, &NOT_A_LINK.replace("{}", "link"));
        }
        for (position, member) in self.members.iter().enumerate() {
            let (offset, of) = (member.organisation.span().start, member.organisation.get_ref());
            if member.left_on.is_some_and(|left_on| left_on <= member.joined_on) {
                add(offset, "`joined_on` must be before `left_on`");
            }
            // Whoever has left may join again.
            let open = |other: &&Member| other.organisation.get_ref() == of && other.left_on.is_none();
            if member.left_on.is_none() && self.members.iter().take(position).any(|other| open(&other)) {
                add(offset, "it is a member already; remove one of the two");
            }
        }
        problems
    }
}

/// What an agreement lacks of its framework for these of its parties.
pub fn gap<'a>(
    set: &PolicySet,
    agreement: &Agreement,
    parties: impl IntoIterator<Item = &'a OrganisationId>,
    at: Timestamp,
) -> Option<Gap> {
    let Some(framework) = set.framework_of(agreement) else { return Some(Gap::Unknown) };
    let standing = framework.standing(at);
    if !standing.carries() {
        return Some(Gap::NotInForce(standing));
    }
    let missing = framework.not_joined(parties, at);
    (!missing.is_empty()).then_some(Gap::NotJoined(missing))
}

#[cfg(test)]
mod tests;
