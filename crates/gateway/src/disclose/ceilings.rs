//! How many releases a flow may make on a day.

use jiff::Timestamp;
use sharing::{
    AgreementId, Decision,
    agreement::{Agreement, DataFlow, london_day},
    decide::AgreementReference,
};
use store::Ceiling;

use super::Walk;
use crate::{fault::internal, problem::Refusal};

impl Walk<'_> {
    /// How many releases the flow may make on the day of `at`.
    pub(super) fn ceiling(&self, agreement: &AgreementReference, at: Timestamp) -> Option<Ceiling> {
        let set = self.app.policies().set;
        let found = set.agreements().find(|one| *one.id() == agreement.agreement)?;
        let flow = found.flows.iter().find(|flow| *flow.id.get_ref() == agreement.flow)?;
        ceiling_of(&agreement.agreement, flow, at)
    }

    /// The ceilings of what the answer rests on: of the flow that the decision names, or of every flow in force that it could
    /// rest on. None where one of these has none. What a named person has permitted, or declared an
    /// emergency about, rests on no flow.
    pub(super) fn ceilings(&self, decision: &Decision, at: Timestamp) -> Vec<Ceiling> {
        let (rests_on_flows, named) = match decision {
            Decision::Permit(permit) => {
                let agreement = permit.authority().agreement();
                (agreement.is_some(), agreement)
            }
            Decision::Deny(denial) => {
                let is_urgent = self.ask.question.break_glass.is_some();
                (denial.depends_on_person() && !is_urgent, denial.agreement.as_ref())
            }
            Decision::Refer(_) => (false, None),
        };
        if !rests_on_flows {
            return Vec::new();
        }
        if let Some(named) = named {
            return self.ceiling(named, at).into_iter().collect();
        }
        let question = &self.ask.question;
        let flows = self.policies.set.flows(&question.provider, &question.recipient, question.purpose);
        let is_meant = |(agreement, flow): &(&Agreement, &DataFlow)| {
            agreement.is_switched_on(flow)
                && agreement.effective_from() <= at
                && at < agreement.effective_until()
                && question.agreements.as_ref().is_none_or(|allowed| allowed.contains(agreement.id()))
        };
        let flows = flows.into_iter().filter(is_meant);
        let ceilings: Option<Vec<_>> =
            flows.map(|(agreement, flow)| ceiling_of(agreement.id(), flow, at)).collect();
        ceilings.unwrap_or_default()
    }

    /// Whether all of these are reached, if there are any. Then nobody is asked about any more, so that whoever goes on learns of
    /// nobody whether there would have been a record.
    pub(super) async fn are_reached(&self, ceilings: &[Ceiling]) -> Result<bool, Refusal> {
        if ceilings.is_empty() {
            return Ok(false);
        }
        self.app.store.are_reached(ceilings).await.map_err(|error| internal(&error).into())
    }
}

fn ceiling_of(agreement: &AgreementId, flow: &DataFlow, at: Timestamp) -> Option<Ceiling> {
    Some(Ceiling {
        flow: format!("{agreement}/{}", flow.id.get_ref()),
        day: london_day(at).to_string(),
        releases_max: flow.releases_per_day_max?,
    })
}
