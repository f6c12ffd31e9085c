//! The decision: may this be told to them, now, and if not, why not.
//!
//! [`decide`] is total and pure. It returns every reason and the trace of every rule, so that a refusal can be
//! explained and a permit can be audited. Deny overrides; nothing is permitted that no flow lists.
//!
//! A question is decided twice: before the record holder is asked ([`decide`]), and again with what the record
//! says about its own person ([`Permit::confirm`]), because restriction, death, age and further identifiers are
//! often known to the source alone. Only a [`ConfirmedPermit`] can cut a record down for release:
//!
//! ```compile_fail
//! use sharing::decide::{ConfirmedPermit, Permit};
//! fn skip_the_second_decision(permit: Permit) -> ConfirmedPermit {
//!     ConfirmedPermit { permit }
//! }
//! ```
//!
//! ```compile_fail
//! fn release_without_confirmation(permit: &sharing::Permit, record: &sharing::Examined, provider: &sharing::Provider) {
//!     let _ = permit.minimise(provider, record, jiff::Timestamp::UNIX_EPOCH);
//! }
//! ```

use jiff::Timestamp;

use crate::{
    agreement::{Agreement, DataFlow},
    catalogue::{Form, Provider},
    identifier::{AgreementId, ConsentId, FlowId, ItemId, OrganisationId, ProviderId, SubjectIdentifier},
    minimise::Examined,
    policy::PolicySet,
    purpose::{AgreementNeed, PurposeClass},
    subject::{RecordFacts, SubjectState},
};

mod reason;
mod rules;

pub use reason::{Outcome, Reason, Rule, Step};

/// What is asked. Everything in it was parsed and authenticated before.
#[derive(Debug, Clone)]
pub struct Question {
    /// The organisation that asks.
    pub recipient: OrganisationId,
    /// The asking practitioner's role, or `unattended` for a declared job.
    pub role: String,
    /// The record holder.
    pub provider: ProviderId,
    /// For what.
    pub purpose: PurposeClass,
    /// Whom it is about.
    pub subject: SubjectIdentifier,
    /// Which items.
    pub asked: Asked,
    /// The agreements that the caller's access token is limited to; `None` is no such limit.
    pub agreements: Option<Vec<AgreementId>>,
}

/// Which items are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Everything that the agreement lists.
    AllAgreed,
    /// These.
    Items(Vec<ItemId>),
}

/// The answer to a question.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It may be told.
    Permit(Permit),
    /// It may not.
    Deny(Denial),
    /// A named person has to decide.
    Refer(Referral),
}

/// Leave to ask the record holder. It can be made by [`decide`] alone.
#[derive(Debug, Clone)]
pub struct Permit {
    agreement: AgreementReference,
    provider: ProviderId,
    subject: SubjectIdentifier,
    items: Vec<PermittedItem>,
    withheld: Vec<(ItemId, Withheld)>,
    obligations: Obligations,
    consents: Vec<ConsentId>,
    trace: Vec<Step>,
}

/// A permit that holds with what the record says about its person. It can cut that record down.
#[derive(Debug, Clone)]
pub struct ConfirmedPermit {
    permit: Permit,
}

/// A refusal.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Every reason, in order of the rules. Never empty.
    pub reasons: Vec<Reason>,
    /// Every rule that was looked at.
    pub trace: Vec<Step>,
    /// The agreement it came nearest to.
    pub agreement: Option<AgreementReference>,
    provider: ProviderId,
    subject: SubjectIdentifier,
}

/// A question that the law leaves to a person.
#[derive(Debug, Clone)]
pub struct Referral {
    /// Why it goes to a person.
    pub reasons: Vec<Reason>,
    /// Every rule that was looked at.
    pub trace: Vec<Step>,
}

/// The exact version of the flow that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementReference {
    /// The agreement.
    pub agreement: AgreementId,
    /// Its version.
    pub version: u32,
    /// The flow.
    pub flow: FlowId,
    /// SHA-256 of the agreement's file, in hexadecimal.
    pub digest: String,
}

/// An item that may leave, and the form in which it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedItem {
    /// The item.
    pub item: ItemId,
    /// Its form.
    pub form: Form,
}

impl std::fmt::Display for PermittedItem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.item, self.form)
    }
}

/// Why an item that was asked for is not in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The agreement does not list it.
    NotAgreed,
    /// The source does not give it. A restricted record's location is withheld in the same words.
    NotAvailable,
}

impl Withheld {
    /// The reason code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAgreed => "not_agreed",
            Self::NotAvailable => "not_available",
        }
    }
}

/// What the recipient takes on by receiving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligations {
    /// The one purpose it may be used for.
    pub purpose: PurposeClass,
    /// Delete before this instant.
    pub retain_until: Timestamp,
    /// May be passed on.
    pub onward_sharing: bool,
    /// Whom to tell of an error in it.
    pub rectification_contact: String,
    /// Whom to tell of a breach.
    pub breach_contact: String,
    /// No consent to a visit is recorded: get it before booking one.
    pub obtain_consent_to_visit: bool,
}

/// Decides a question against the policies in force and what is held about the person.
///
/// Source: `docs/decision-table.md`, after UK GDPR Arts 5, 6, 9, 10 and 21, the common-law duty of
/// confidentiality, and the Data Protection Act 2018 Schedule 1.
pub fn decide(question: &Question, policies: &PolicySet, subject: &SubjectState, at: Timestamp) -> Decision {
    weigh(question, policies, subject, None, None, at)
}

/// As [`decide`], with facts that a record would show. For cases and simulation: what it permits has no record
/// behind it, and so nothing to release.
pub fn decide_with_facts(
    question: &Question,
    policies: &PolicySet,
    subject: &SubjectState,
    facts: &RecordFacts,
    at: Timestamp,
) -> Decision {
    weigh(question, policies, subject, Some(facts), None, at)
}

/// `only` is the flow that the question was permitted under, when it is decided again.
fn weigh(
    question: &Question,
    policies: &PolicySet,
    subject: &SubjectState,
    facts: Option<&RecordFacts>,
    only: Option<&AgreementReference>,
    at: Timestamp,
) -> Decision {
    let mut before = Vec::new();
    rules::organisation(question, policies, &mut before);
    let flows = policies.flows(&question.provider, &question.recipient, question.purpose);
    let eligible = |agreement: &Agreement, flow: &DataFlow| {
        within_token(question, agreement)
            && only.is_none_or(|wanted| reference(policies, agreement, flow) == *wanted)
    };
    let flows: Vec<_> = flows.into_iter().filter(|(agreement, flow)| eligible(agreement, flow)).collect();
    let found = if flows.is_empty() { Outcome::Fail(Reason::NoAgreement) } else { Outcome::Pass };
    before.push(Step { rule: Rule::Agreement, outcome: found });
    let (Some(provider), false) = (policies.provider(&question.provider), flows.is_empty()) else {
        return without_agreement(question, before);
    };
    let weighed = flows.into_iter().map(|(agreement, flow)| {
        let candidate = rules::Candidate { question, provider, agreement, flow, subject, facts, at };
        let (permit, mut trace) = rules::weigh(&candidate, policies);
        trace.splice(0..0, before.iter().cloned());
        (agreement, flow, permit, trace)
    });
    let best = weighed.min_by_key(|(_, _, _, trace)| {
        let failures =
            |person| reasons(trace).iter().filter(|reason| reason.depends_on_person() == person).count();
        // Where no agreement allows it, which one is named must not depend on the person.
        let by_agreement = failures(false);
        (by_agreement, if by_agreement == 0 { failures(true) } else { 0 })
    });
    match best {
        Some((_, _, Some(mut permit), trace)) if reasons(&trace).is_empty() => {
            permit.trace = trace;
            Decision::Permit(permit)
        }
        Some((_, _, _, trace)) if left_to_a_person(question.purpose, &reasons(&trace)) => {
            Decision::Refer(Referral { reasons: reasons(&trace), trace })
        }
        Some((agreement, flow, _, trace)) => {
            let agreement = Some(reference(policies, agreement, flow));
            Decision::Deny(denial(question, trace, agreement))
        }
        None => without_agreement(question, before),
    }
}

fn without_agreement(question: &Question, trace: Vec<Step>) -> Decision {
    let reasons = reasons(&trace);
    if left_to_a_person(question.purpose, &reasons) {
        return Decision::Refer(Referral { reasons, trace });
    }
    Decision::Deny(denial(question, trace, None))
}

/// Where the law allows a one-off disclosure, all that stands against it is that no agreement is in force. One
/// that was suspended leaves nobody worse off than none. Reasons about the person do not come into it.
fn left_to_a_person(purpose: PurposeClass, reasons: &[Reason]) -> bool {
    let mut about_agreement = reasons.iter().filter(|reason| !reason.depends_on_person()).peekable();
    purpose.rules().agreement == AgreementNeed::OrReferral
        && about_agreement.peek().is_some()
        && about_agreement.all(|reason| reason.is_agreement_out_of_force())
}

fn denial(question: &Question, trace: Vec<Step>, agreement: Option<AgreementReference>) -> Denial {
    let mut reasons = reasons(&trace);
    if reasons.is_empty() {
        reasons.push(Reason::NoAgreement);
    }
    Denial {
        reasons,
        trace,
        agreement,
        provider: question.provider.clone(),
        subject: question.subject.clone(),
    }
}

fn within_token(question: &Question, agreement: &Agreement) -> bool {
    question.agreements.as_ref().is_none_or(|allowed| allowed.contains(agreement.id()))
}

fn reasons(trace: &[Step]) -> Vec<Reason> {
    trace.iter().filter_map(|step| step.outcome.reason()).collect()
}

fn reference(policies: &PolicySet, agreement: &Agreement, flow: &DataFlow) -> AgreementReference {
    AgreementReference {
        agreement: agreement.id().clone(),
        version: agreement.version,
        flow: flow.id.get_ref().clone(),
        digest: policies.agreement_digest(agreement.id()).to_owned(),
    }
}

impl Permit {
    /// The flow it rests on.
    pub fn agreement(&self) -> &AgreementReference {
        &self.agreement
    }

    /// The record holder that may be asked.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The person it is about.
    pub fn subject(&self) -> &SubjectIdentifier {
        &self.subject
    }

    /// What may leave, in which form.
    pub fn items(&self) -> &[PermittedItem] {
        &self.items
    }

    /// What was asked for and is not agreed.
    pub fn withheld(&self) -> &[(ItemId, Withheld)] {
        &self.withheld
    }

    /// What the recipient takes on.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The consents it rests on.
    pub fn consents(&self) -> &[ConsentId] {
        &self.consents
    }

    /// Every rule that was looked at.
    pub fn trace(&self) -> &[Step] {
        &self.trace
    }

    /// Reads the record holder's answer under this permit. See `crate::minimise`.
    ///
    /// # Errors
    /// [`crate::minimise::ExamineFault`] when the answer is not a record of the person asked for.
    pub fn examine(
        &self,
        provider: &Provider,
        body: &[u8],
    ) -> Result<Examined, crate::minimise::ExamineFault> {
        crate::minimise::examine(provider, &self.subject, body)
    }

    /// Decides again, with what the record says about its person and what is held under every identifier in it.
    ///
    /// # Errors
    /// The [`Denial`], when the answer is no longer to permit under the same version of the same flow.
    pub fn confirm(
        &self,
        question: &Question,
        policies: &PolicySet,
        subject: &SubjectState,
        examined: &Examined,
        at: Timestamp,
    ) -> Result<ConfirmedPermit, Box<Denial>> {
        // Under this flow alone: were another to take over, the answer would tell what the record says.
        let again = weigh(question, policies, subject, Some(examined.facts()), Some(&self.agreement), at);
        let changed = || {
            let trace = vec![Step { rule: Rule::Agreement, outcome: Outcome::Fail(Reason::PolicyChanged) }];
            Err(Box::new(denial(question, trace, Some(self.agreement.clone()))))
        };
        match again {
            Decision::Permit(permit) => Ok(ConfirmedPermit { permit }),
            Decision::Deny(denial) if denial.agreement.is_some() => Err(Box::new(denial)),
            Decision::Deny(_) | Decision::Refer(_) => changed(),
        }
    }
}

impl ConfirmedPermit {
    /// The permit that was confirmed.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

impl Denial {
    /// Whether the refusal says something about the person. If so the caller must not be able to tell it from
    /// "no such person", in body, status or timing.
    pub fn depends_on_person(&self) -> bool {
        self.reasons.iter().all(|reason| reason.depends_on_person())
    }

    /// The record holder that would have been asked.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The person it is about.
    pub fn subject(&self) -> &SubjectIdentifier {
        &self.subject
    }
}

#[cfg(test)]
pub(crate) mod tests;
