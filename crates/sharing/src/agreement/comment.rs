//! Comments on the clauses of a version: who has to answer, by when, and whether signing waits for the answer.
//!
//! A comment says what somebody thinks of a clause, and beside it may say the interest behind that. Whoever made it says when it
//! is resolved: nobody else can wave an objection away.

use std::{collections::BTreeSet, fmt};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    SignatoryRole,
    lifecycle::{Act, Authority, Hand, Refusal},
};
use crate::identifier::OrganisationId;

/// A place in the terms of a version: a JSON pointer (RFC 6901), or empty for the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause(String);

/// Longest clause, in characters.
const CLAUSE_MAX: usize = 200;

/// No place in these terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "clause: a JSON pointer to a member of this version's terms, as `/flows/0/items/1`, or empty for the whole"
)]
pub struct NoSuchClause;

impl Clause {
    /// A place that these terms have.
    ///
    /// # Errors
    /// [`NoSuchClause`] where they have none.
    pub fn of(pointer: &str, terms: &Value) -> Result<Self, NoSuchClause> {
        let fits = pointer.chars().count() <= CLAUSE_MAX && terms.pointer(pointer).is_some();
        if fits { Ok(Self(pointer.to_owned())) } else { Err(NoSuchClause) }
    }

    /// The pointer.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whoever has to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The party.
    pub organisation: OrganisationId,
    /// Who of it, by its own identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// What was said, and what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The version that it is about.
    pub version: u32,
    /// Where in it.
    pub clause: Clause,
    /// Who said it.
    pub by: Act,
    /// Who has to answer.
    pub owner: Option<Owner>,
    /// By when.
    pub due_on: Option<Date>,
    /// Whether signing waits until it is resolved.
    pub blocking: bool,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Comment {
    /// It waits for an answer.
    Unresolved(Unresolved),
    /// Whoever made it is content.
    Resolved(Resolved),
}

/// It waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unresolved {
    remark: Remark,
}

/// Whoever made it is content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    remark: Remark,
    resolved: Act,
}

/// A step of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Say something to it.
    Reply,
    /// Be content.
    Resolve,
    /// Take it up again.
    Reopen,
}

impl Command {
    /// The step's name in the ledger and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "replied",
            Self::Resolve => "resolved",
            Self::Reopen => "reopened",
        }
    }
}

/// Whoever takes part in the conversation: people of the parties, their data protection officers, mediators.
fn speaks(hand: &Hand, parties: &BTreeSet<OrganisationId>) -> Result<(), Refusal> {
    if hand.needs(Authority::Mediate).is_ok() {
        return Ok(());
    }
    speaks_for_a_party(hand, parties)
}

fn speaks_for_a_party(hand: &Hand, parties: &BTreeSet<OrganisationId>) -> Result<(), Refusal> {
    hand.is_of_a_side()?;
    if !parties.contains(&hand.person.organisation) {
        return Err(Refusal::NotAParty);
    }
    if hand.holds(SignatoryRole::Dpo) {
        Ok(())
    } else {
        hand.needs_either(Authority::Draft, Authority::Approve)
    }
}

impl Unresolved {
    /// Is content. Whoever made it says so, or a colleague; any party, once that one has left.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else.
    pub fn resolve(self, act: Act, parties: &BTreeSet<OrganisationId>) -> Result<Resolved, Refusal> {
        let author = &self.remark.by.by.organisation;
        if act.by.organisation != *author && parties.contains(author) {
            return Err(Refusal::NotYours);
        }
        Ok(Resolved { remark: self.remark, resolved: act })
    }
}

impl Resolved {
    /// The parties' people take up what was resolved; whoever takes part as a mediator alone, what they made.
    fn may_reopen(&self, hand: &Hand, parties: &BTreeSet<OrganisationId>) -> Result<(), Refusal> {
        let is_own = self.remark.by.by.organisation == hand.person.organisation && !self.remark.blocking;
        if is_own { Ok(()) } else { speaks_for_a_party(hand, parties) }
    }

    /// Takes it up again.
    pub fn reopen(self) -> Unresolved {
        Unresolved { remark: self.remark }
    }
}

impl Comment {
    /// Makes a comment. Mediators comment; only a party's comment keeps signing waiting.
    ///
    /// # Errors
    /// [`Refusal`] for whoever takes no part, or where whoever has to answer does not.
    pub fn make(remark: Remark, hand: &Hand, parties: &BTreeSet<OrganisationId>) -> Result<Self, Refusal> {
        speaks(hand, parties)?;
        if remark.blocking {
            hand.is_of_a_side()?;
            if !parties.contains(&hand.person.organisation) {
                return Err(Refusal::NotAParty);
            }
        }
        if remark.owner.as_ref().is_some_and(|owner| !parties.contains(&owner.organisation)) {
            return Err(Refusal::OwnerNotAParty);
        }
        Ok(Self::Unresolved(Unresolved { remark }))
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`Refusal`] when it is not possible now, or not for this person.
    pub fn apply(
        self,
        command: Command,
        hand: &Hand,
        act: Act,
        parties: &BTreeSet<OrganisationId>,
    ) -> Result<Self, Refusal> {
        speaks(hand, parties)?;
        match (self, command) {
            (comment, Command::Reply) => Ok(comment),
            (Self::Unresolved(comment), Command::Resolve) => {
                comment.resolve(act, parties).map(Self::Resolved)
            }
            (Self::Resolved(comment), Command::Reopen) => {
                comment.may_reopen(hand, parties)?;
                Ok(Self::Unresolved(comment.reopen()))
            }
            _ => Err(Refusal::NotInThisState),
        }
    }

    /// What was said.
    pub fn remark(&self) -> &Remark {
        match self {
            Self::Unresolved(comment) => &comment.remark,
            Self::Resolved(comment) => &comment.remark,
        }
    }

    /// The state as text.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Unresolved(_) => "unresolved",
            Self::Resolved(_) => "resolved",
        }
    }

    /// Whether signing waits for it.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::Unresolved(comment) if comment.remark.blocking)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agreement::lifecycle::Person;

    fn hand(organisation: &str, may: Authority) -> Hand {
        let person = Person { organisation: organisation.parse().unwrap(), id: "P-1".to_owned() };
        Hand { person, may: vec![may], offices: Vec::new(), filled: Vec::new(), mediates: false }
    }

    fn act(hand: &Hand) -> Act {
        Act { by: hand.person.clone(), at: jiff::Timestamp::UNIX_EPOCH }
    }

    fn parties() -> BTreeSet<OrganisationId> {
        ["nhs", "fire"].iter().map(|name| name.parse().unwrap()).collect()
    }

    fn remark(hand: &Hand, blocking: bool) -> Remark {
        let clause = Clause::of("/title", &json!({ "title": "A pilot" })).unwrap();
        Remark { version: 1, clause, by: act(hand), owner: None, due_on: None, blocking }
    }

    #[test]
    fn a_clause_is_a_place_in_the_terms() {
        let terms = json!({ "flows": [{ "id": "one" }] });
        for (pointer, is) in
            [("", true), ("/flows/0/id", true), ("/flows/1", false), ("flows", false), ("/a", false)]
        {
            assert_eq!(Clause::of(pointer, &terms).is_ok(), is, "{pointer}");
        }
    }

    #[test]
    fn only_whoever_made_it_is_content_while_they_are_there() {
        let (nhs, fire) = (hand("nhs", Authority::Draft), hand("fire", Authority::Approve));
        let comment = Comment::make(remark(&nhs, true), &nhs, &parties()).unwrap();
        assert!(comment.blocks());
        let theirs = comment.clone().apply(Command::Resolve, &fire, act(&fire), &parties());
        assert_eq!(theirs.unwrap_err(), Refusal::NotYours);
        let without: BTreeSet<_> = parties().into_iter().filter(|party| party.as_str() == "fire").collect();
        assert!(comment.clone().apply(Command::Resolve, &fire, act(&fire), &without).is_ok(), "nhs has left");
        let resolved = comment.apply(Command::Resolve, &nhs, act(&nhs), &parties()).unwrap();
        assert!(!resolved.blocks());
        let again = resolved.clone().apply(Command::Resolve, &nhs, act(&nhs), &parties());
        assert_eq!(again.unwrap_err(), Refusal::NotInThisState);
        assert!(resolved.apply(Command::Reopen, &fire, act(&fire), &parties()).unwrap().blocks());
    }

    #[test]
    fn a_mediator_speaks_and_keeps_nobody_waiting() {
        let (mediator, stranger) = (hand("council", Authority::Mediate), hand("council", Authority::Approve));
        assert!(Comment::make(remark(&mediator, false), &mediator, &parties()).is_ok());
        assert_eq!(
            Comment::make(remark(&mediator, true), &mediator, &parties()).unwrap_err(),
            Refusal::NotAParty
        );
        assert_eq!(
            Comment::make(remark(&stranger, false), &stranger, &parties()).unwrap_err(),
            Refusal::NotAParty
        );
        // Nor do they for their own organisation, whatever else they may.
        let own = Hand {
            may: vec![Authority::Mediate, Authority::Approve],
            mediates: true,
            ..hand("nhs", Authority::Approve)
        };
        assert_eq!(Comment::make(remark(&own, true), &own, &parties()).unwrap_err(), Refusal::MediatesHere);
        // What waited for an answer and has one, a mediator does not take up again; what they made themselves, they do.
        let nhs = hand("nhs", Authority::Draft);
        let resolved = |remark: Remark, by: &Hand| {
            let made = Comment::make(remark, by, &parties()).unwrap();
            made.apply(Command::Resolve, by, act(by), &parties()).unwrap()
        };
        let blocking = resolved(remark(&nhs, true), &nhs);
        let again = |comment: &Comment, by: &Hand| {
            comment.clone().apply(Command::Reopen, by, act(by), &parties()).map(|comment| comment.blocks())
        };
        assert_eq!(again(&blocking, &mediator), Err(Refusal::NotAParty));
        assert_eq!(again(&blocking, &own), Err(Refusal::MediatesHere));
        assert_eq!(again(&blocking, &hand("nhs", Authority::Mediate)), Err(Refusal::NoAuthority));
        assert_eq!(again(&blocking, &hand("fire", Authority::Approve)), Ok(true));
        assert_eq!(again(&resolved(remark(&mediator, false), &mediator), &mediator), Ok(false));
        let mut asked = remark(&mediator, false);
        asked.owner = Some(Owner { organisation: "council".parse().unwrap(), person: None });
        assert_eq!(Comment::make(asked, &mediator, &parties()).unwrap_err(), Refusal::OwnerNotAParty);
    }
}
