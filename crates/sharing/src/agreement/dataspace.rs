//! A flow as it is negotiated over the Eclipse Dataspace Protocol, with a peer's connector: which message is possible when, and
//! what is on the table.
//!
//! It is beside an agreement's course and has no say in it. What a peer asks for or accepts binds nobody here: terms are
//! proposed, agreed, signed and put in force by people (`lifecycle`), and the protocol's agreement is sent once they are.
//! `policy` is the terms as an ODRL policy, and back.
//!
//! Source: Eclipse Dataspace Protocol 2025-1, Contract Negotiation Protocol, "State Machine".

use serde::{Deserialize, Serialize};

use super::lifecycle::{Authority, Hand, Refusal};
use crate::identifier::{FlowId, OrganisationId};

pub mod policy;

/// A state, by the protocol's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the protocol describes them")]
pub enum State {
    Requested,
    Offered,
    Accepted,
    Agreed,
    Verified,
    Finalized,
    Terminated,
}

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Whoever asks for the data.
    Consumer,
    /// Whoever has it.
    Provider,
}

/// A message, by what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// These terms are asked for.
    Request,
    /// These terms are offered.
    Offer,
    /// The terms that were offered last are accepted.
    Accept,
    /// Here is the agreement.
    Agree,
    /// The agreement is the one that was agreed.
    Verify,
    /// It may be used.
    Finalize,
    /// It is over.
    Terminate,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Offered,
        Self::Accepted,
        Self::Agreed,
        Self::Verified,
        Self::Finalized,
        Self::Terminated,
    ];

    /// The protocol's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Offered => "OFFERED",
            Self::Accepted => "ACCEPTED",
            Self::Agreed => "AGREED",
            Self::Verified => "VERIFIED",
            Self::Finalized => "FINALIZED",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finalized | Self::Terminated)
    }

    /// What a message leads to, if it is possible. The figure lets each side end it in some states alone, the text in any:
    /// whoever wants no more is believed.
    pub fn after(self, message: Message, from: Side) -> Option<Self> {
        match (self, message, from) {
            (state, Message::Terminate, _) if !state.is_final() => Some(Self::Terminated),
            (Self::Requested, Message::Offer, Side::Provider) => Some(Self::Offered),
            (Self::Requested | Self::Accepted, Message::Agree, Side::Provider) => Some(Self::Agreed),
            (Self::Offered, Message::Request, Side::Consumer) => Some(Self::Requested),
            (Self::Offered, Message::Accept, Side::Consumer) => Some(Self::Accepted),
            (Self::Agreed, Message::Verify, Side::Consumer) => Some(Self::Verified),
            (Self::Verified, Message::Finalize, Side::Provider) => Some(Self::Finalized),
            _ => None,
        }
    }
}

impl Message {
    /// The message's name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "requested",
            Self::Offer => "offered",
            Self::Accept => "accepted",
            Self::Agree => "agreed",
            Self::Verify => "verified",
            Self::Finalize => "finalized",
            Self::Terminate => "terminated",
        }
    }
}

/// A negotiation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Whoever asks.
    pub consumer: OrganisationId,
    /// Whoever has the data.
    pub provider: OrganisationId,
    /// The consumer's name for the negotiation.
    pub consumer_pid: String,
    /// Where the consumer takes messages.
    pub callback: String,
    /// The flow.
    pub flow: FlowId,
    /// Where it is.
    pub state: State,
    /// The version of the agreement that is on the table: what was asked for by name, offered, or adopted.
    pub version: u32,
    /// What the consumer asked for in its place; none when it asked for that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<policy::Policy>,
}

impl Exchange {
    /// What a message of the consumer's leads to.
    ///
    /// # Errors
    /// [`Refusal::NotInThisState`] in any other.
    pub fn received(self, message: Message) -> Result<Self, Refusal> {
        self.after(message, Side::Consumer)
    }

    /// What a message of ours leads to that nobody has to decide on: it follows from what people did to the agreement.
    ///
    /// # Errors
    /// [`Refusal::NotInThisState`] in any other.
    pub fn follows(self, message: Message) -> Result<Self, Refusal> {
        self.after(message, Side::Provider)
    }

    /// Offers this version, for the provider.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else, or in another state.
    pub fn offer(self, version: u32, hand: &Hand) -> Result<Self, Refusal> {
        self.decides(hand)?;
        let after = self.after(Message::Offer, Side::Provider)?;
        Ok(Self { version, asked: None, ..after })
    }

    /// Ends it, for the provider.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else, or when it is over.
    pub fn end(self, hand: &Hand) -> Result<Self, Refusal> {
        self.decides(hand)?;
        self.after(Message::Terminate, Side::Provider)
    }

    /// Takes what the consumer asked for as this version, which has it.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else, or when it asked for nothing else.
    pub fn adopt(self, version: u32, hand: &Hand) -> Result<Self, Refusal> {
        self.may_adopt(hand)?;
        Ok(Self { version, asked: None, ..self })
    }

    /// Whether there is something to adopt, and this is somebody to do it.
    ///
    /// # Errors
    /// [`Refusal`] otherwise.
    pub fn may_adopt(&self, hand: &Hand) -> Result<(), Refusal> {
        hand.needs(Authority::Draft)?;
        hand.is_of(&self.provider)?;
        if self.state == State::Requested && self.asked.is_some() {
            Ok(())
        } else {
            Err(Refusal::NotInThisState)
        }
    }

    /// Whether this is somebody to send a message again.
    ///
    /// # Errors
    /// [`Refusal`] for anybody else.
    pub fn decides(&self, hand: &Hand) -> Result<(), Refusal> {
        hand.needs(Authority::Approve)?;
        hand.is_of(&self.provider)
    }

    fn after(mut self, message: Message, from: Side) -> Result<Self, Refusal> {
        self.state = self.state.after(message, from).ok_or(Refusal::NotInThisState)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
