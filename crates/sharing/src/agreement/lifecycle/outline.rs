//! What the course of an agreement has to know of its terms.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    agreement::{Agreement, ControllerRole, DpiaOutcome, SignatoryRole},
    identifier::{FlowId, OrganisationId},
    policy::{OrganisationKind, PolicySet},
    purpose::PurposeClass,
};

/// An agreement's terms, as far as its course depends on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The version.
    pub version: u32,
    /// SHA-256 of the terms as canonical JSON, in hexadecimal.
    pub terms_sha256: String,
    /// The parties, with the roles in which each has to sign.
    pub parties: BTreeMap<OrganisationId, PartyOutline>,
    /// The flows.
    pub flows: Vec<FlowOutline>,
    /// First day on which nothing may flow any more.
    pub ends_on: Date,
    /// Day by which the parties look at it again.
    pub review_on: Date,
    /// Whether the impact assessment accepts the residual risk.
    pub dpia_accepted: bool,
    /// Whether it says whom to tell of a breach.
    pub has_breach_contact: bool,
    /// Days after that day before what can wait is suspended.
    pub grace_days: u16,
    /// Days from the first day to the first review: the next ones are no further off. None where this was not kept yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_days: Option<i32>,
    /// Whether it is a pilot.
    #[serde(default)]
    pub is_pilot: bool,
}

/// What the course of an agreement has to know of a party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyOutline {
    /// The roles in which it has to sign.
    pub roles: Vec<SignatoryRole>,
    /// Whether it is a controller.
    pub controls: bool,
    /// Whether it says where it tells people.
    pub has_notice: bool,
}

/// What the course of an agreement has to know of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowOutline {
    /// Which.
    pub id: FlowId,
    /// Whose records they are.
    pub provider: OrganisationId,
    /// Who asks.
    pub recipient: OrganisationId,
    /// For what.
    pub purpose: PurposeClass,
}

impl FlowOutline {
    /// Whether this organisation is at one of its ends.
    pub fn touches(&self, organisation: &OrganisationId) -> bool {
        self.provider == *organisation || self.recipient == *organisation
    }
}

impl Outline {
    /// Of an agreement of which [`PolicySet::load`] has found that it fits the others.
    pub fn of(agreement: &Agreement, set: &PolicySet, terms_sha256: &str) -> Self {
        let flows: Vec<_> = agreement
            .flows
            .iter()
            .filter_map(|flow| {
                Some(FlowOutline {
                    id: flow.id.get_ref().clone(),
                    provider: set.provider(flow.provider.get_ref())?.organisation().clone(),
                    recipient: flow.recipient.get_ref().clone(),
                    purpose: flow.purpose,
                })
            })
            .collect();
        let confidential = |organisation: &OrganisationId| {
            let touching =
                agreement.flows.iter().zip(&flows).filter(|(_, outline)| outline.touches(organisation));
            touching.into_iter().any(|(flow, _)| {
                let provider = set.provider(flow.provider.get_ref());
                let items = flow.items.iter().filter_map(|listed| provider?.item(listed.item.get_ref()));
                items.into_iter().any(|item| item.confidential)
            })
        };
        let parties = agreement.parties.iter().map(|party| {
            let organisation = party.organisation.get_ref();
            let kind = set.organisation(organisation).map(|registered| registered.kind);
            let provides = flows.iter().any(|flow| flow.provider == *organisation);
            let outline = PartyOutline {
                roles: required_roles(kind, provides, confidential(organisation)),
                controls: party.controller != ControllerRole::Processor,
                has_notice: party.has_notice(),
            };
            (organisation.clone(), outline)
        });
        Self {
            version: agreement.version,
            terms_sha256: terms_sha256.to_owned(),
            parties: parties.collect(),
            dpia_accepted: agreement.dpia.outcome == DpiaOutcome::Accepted,
            has_breach_contact: !agreement.breach_contact.trim().is_empty(),
            ends_on: agreement.ends_on.day(),
            review_on: agreement.review_on.day(),
            review_days: agreement
                .review_on
                .day()
                .since(agreement.effective_on.day())
                .ok()
                .map(|span| span.get_days()),
            is_pilot: agreement.pilot.is_some(),
            grace_days: agreement.grace_days.unwrap_or(super::GRACE_DAYS),
            flows,
        }
    }
}

/// The roles in which a party has to sign. A data protection officer can review this: it is one readable function.
///
/// The Senior Information Risk Owner signs for everybody. A Caldicott Guardian signs for an NHS body, and for anybody
/// else at the end of a flow of confidential items. Whoever provides data has its Information Asset Owner sign.
pub fn required_roles(
    kind: Option<OrganisationKind>,
    provides: bool,
    confidential: bool,
) -> Vec<SignatoryRole> {
    let mut roles = vec![SignatoryRole::Siro];
    let has_guardian = kind != Some(OrganisationKind::Fire);
    if kind == Some(OrganisationKind::Nhs) || (confidential && has_guardian) {
        roles.push(SignatoryRole::CaldicottGuardian);
    }
    if provides {
        roles.push(SignatoryRole::Iao);
    }
    roles
}
