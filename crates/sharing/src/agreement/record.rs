//! What people record about an agreement in use: the good that it does, harm where nothing or too little was shared, what a
//! pilot's evaluation found, and which of the items a recipient uses. A record is made once and says nobody's name.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lifecycle::{Act, Authority, Hand, Refusal};
use crate::identifier::{FlowId, OrganisationId};

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Good that the data did. The owner of its use says so.
    Benefit,
    /// Harm because something was not shared, or too late. A practitioner says so.
    Harm,
    /// What the evaluation of a pilot found, against its measures.
    Evaluation,
    /// Which of the items that it was given a recipient uses. The owner of the data's use says so.
    ItemUse,
}

impl Kind {
    /// The kind as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Benefit => "benefit",
            Self::Harm => "harm",
            Self::Evaluation => "evaluation",
            Self::ItemUse => "item-use",
        }
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What.
    pub kind: Kind,
    /// About which flow; all of them where none is named.
    pub flow: Option<FlowId>,
    /// Of use: whether each of these items, as `person.name:as-is`, is used. What is not among them nothing was said of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, bool>,
    /// Who says so.
    pub by: Act,
}

impl Record {
    /// Makes a record. Harm is anybody's of a party to report; the rest is for those who draft or approve.
    ///
    /// # Errors
    /// [`Refusal`] for whoever is of no party, or may not.
    pub fn make(
        (kind, flow): (Kind, Option<FlowId>),
        hand: &Hand,
        act: Act,
        parties: &BTreeSet<OrganisationId>,
    ) -> Result<Self, Refusal> {
        if !parties.contains(&hand.person.organisation) {
            return Err(Refusal::NotAParty);
        }
        match kind {
            Kind::Harm => {}
            Kind::Benefit => hand.needs_either(Authority::Draft, Authority::Approve)?,
            Kind::Evaluation => hand.needs(Authority::Approve)?,
            // It is about items, and has a rule of its own.
            Kind::ItemUse => return Err(Refusal::NotInThisState),
        }
        Ok(Self { kind, flow, items: BTreeMap::new(), by: act })
    }

    /// Says which items of a flow are used: somebody of its recipient, which alone can know.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else, or whoever may not.
    pub fn of_items(
        (flow, items): (FlowId, BTreeMap<String, bool>),
        hand: &Hand,
        act: Act,
        recipient: &OrganisationId,
    ) -> Result<Self, Refusal> {
        if hand.person.organisation != *recipient {
            return Err(Refusal::NotTheRecipient);
        }
        hand.needs_either(Authority::Draft, Authority::Approve)?;
        Ok(Self { kind: Kind::ItemUse, flow: Some(flow), items, by: act })
    }
}
