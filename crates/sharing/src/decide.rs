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
//!     let _ = permit.minimise(provider, record, jiff::Timestamp::UNIX_EPOCH, sharing::Writing::Items);
//! }
//! ```

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;

use crate::{
    agreement::Agreement,
    catalogue::{Form, Provider},
    guardrail::Fired,
    identifier::{
        AgreementId, BreakGlassId, ConsentId, FlowId, GrantId, ItemId, OrganisationId, ProviderId,
        SubjectIdentifier,
    },
    minimise::Examined,
    policy::PolicySet,
    purpose::{AgreementNeed, PurposeClass},
    subject::{RecordFacts, SubjectState},
};

mod exception;
mod guard;
mod reason;
mod rules;
mod trace;

pub use exception::{may_be_granted, may_break_glass};
pub use reason::{Outcome, Reason, Rule, Step};
pub use trace::Trace;

/// What is asked. Everything in it was parsed and authenticated before.
#[derive(Debug, Clone)]
pub struct Question {
    /// The organisation that asks.
    pub recipient: OrganisationId,
    /// The asking practitioner's role, or `unattended` for a declared job.
    pub role: String,
    /// The practitioner, by their organisation's identifier; none for an unattended job.
    pub practitioner: Option<String>,
    /// The emergency that the practitioner declared and asks under.
    pub break_glass: Option<BreakGlassId>,
    /// The record holder.
    pub provider: ProviderId,
    /// For what.
    pub purpose: PurposeClass,
    /// Whom it is about.
    pub subject: SubjectIdentifier,
    /// Which items.
    pub asked: Asked,
    /// How many people the list has that it is part of; none is a question by itself.
    pub list_people: Option<u32>,
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
    authority: Authority,
    break_glass: Option<BreakGlassId>,
    provider: ProviderId,
    subject: SubjectIdentifier,
    items: Vec<PermittedItem>,
    withheld: Vec<(ItemId, Withheld)>,
    obligations: Obligations,
    consents: Vec<ConsentId>,
    trace: Trace,
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
    pub trace: Trace,
    /// The agreement it came nearest to.
    pub agreement: Option<AgreementReference>,
    /// The guardrails that forbid it.
    pub guardrails: Vec<Fired>,
    provider: ProviderId,
    subject: SubjectIdentifier,
}

/// A question that the law leaves to a person.
#[derive(Debug, Clone)]
pub struct Referral {
    /// Why it goes to a person.
    pub reasons: Vec<Reason>,
    /// Every rule that was looked at.
    pub trace: Trace,
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
    pub digest: Arc<str>,
}

/// What a permit rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A flow of an agreement in force.
    Agreement(AgreementReference),
    /// A one-off disclosure that a named person of the record holder allowed.
    Grant(GrantId),
    /// An emergency that a practitioner declared, and no agreement.
    Emergency(BreakGlassId),
}

impl Authority {
    /// The version of the flow, where it is one.
    pub fn agreement(&self) -> Option<&AgreementReference> {
        match self {
            Self::Agreement(reference) => Some(reference),
            Self::Grant(_) | Self::Emergency(_) => None,
        }
    }

    /// The grant, where it is one.
    pub fn grant(&self) -> Option<&GrantId> {
        match self {
            Self::Grant(id) => Some(id),
            Self::Agreement(_) | Self::Emergency(_) => None,
        }
    }
}

/// An item that may leave, and the form in which it leaves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermittedItem {
    /// The item.
    pub item: ItemId,
    /// Its form.
    pub form: Form,
}

impl TryFrom<String> for PermittedItem {
    type Error = crate::identifier::IdentifierError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PermittedItem> for String {
    fn from(item: PermittedItem) -> Self {
        item.to_string()
    }
}

impl std::str::FromStr for PermittedItem {
    type Err = crate::identifier::IdentifierError;

    /// Reads `item:form`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (item, form) = text.rsplit_once(':').ok_or(Self::Err::Slug)?;
        Ok(Self { item: item.parse()?, form: form.parse().map_err(|_| Self::Err::Slug)? })
    }
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
    pub rectification_contact: Arc<str>,
    /// Whom to tell of a breach.
    pub breach_contact: Arc<str>,
    /// No consent to a visit is recorded: get it before booking one.
    pub obtain_consent_to_visit: bool,
}

impl Obligations {
    /// The obligations as sentences, for whoever reads the record. `source_time` is when the source last changed
    /// it, as the source says.
    pub fn in_words(&self, source_time: Option<&str>) -> Vec<String> {
        let mut words = vec![
            format!("Use it for {} only.", self.purpose),
            format!("Delete it before {}.", self.retain_until),
            if self.onward_sharing {
                "You may pass it on where your agreement says so.".to_owned()
            } else {
                "Do not pass it on.".to_owned()
            },
            format!("If something in it is wrong, tell {}.", self.rectification_contact),
            format!("If it is lost or seen by the wrong people, tell {} at once.", self.breach_contact),
        ];
        if let Some(time) = source_time {
            words.push(format!(
                "The source last changed it at {time}; check what matters before you act on it."
            ));
        }
        if self.obtain_consent_to_visit {
            words.push("No consent to a visit is recorded: get it before you book one.".to_owned());
        }
        words
    }
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

/// `only` is what the question was permitted under, when it is decided again.
fn weigh(
    question: &Question,
    policies: &PolicySet,
    subject: &SubjectState,
    facts: Option<&RecordFacts>,
    only: Option<&Authority>,
    at: Timestamp,
) -> Decision {
    let known = Known { question, policies, subject, facts, at };
    let by_agreement = match only {
        Some(Authority::Grant(_) | Authority::Emergency(_)) => None,
        Some(Authority::Agreement(reference)) => Some(under_agreements(&known, Some(reference))),
        None => Some(under_agreements(&known, None)),
    };
    if let Some(permit @ Decision::Permit(_)) = by_agreement {
        return permit;
    }
    // What no agreement permits, a named person may have permitted.
    let by_exception = match only {
        Some(Authority::Agreement(_)) => None,
        Some(Authority::Grant(_) | Authority::Emergency(_)) | None => exception::weigh(&known, only),
    };
    by_exception.or(by_agreement).unwrap_or_else(|| {
        let mut trace = Trace::new();
        trace.push(Rule::Exception, Outcome::Fail(Reason::ExceptionEnded));
        Decision::Deny(denial(question, trace, None))
    })
}

/// Everything that bears on one decision.
struct Known<'a> {
    question: &'a Question,
    policies: &'a PolicySet,
    subject: &'a SubjectState,
    facts: Option<&'a RecordFacts>,
    at: Timestamp,
}

fn under_agreements(known: &Known<'_>, only: Option<&AgreementReference>) -> Decision {
    let Known { question, policies, subject, facts, at } = *known;
    let mut before = Trace::new();
    before.push(Rule::Purpose, rules::organisation(question, policies));
    let flows = policies.holder(&question.provider).into_iter().flat_map(|holder| {
        let ready = holder.flows(&question.recipient, question.purpose);
        ready.filter_map(move |ready| ready.written(policies).map(|written| (holder, ready, written)))
    });
    let mut eligible = flows
        .filter(|(_, ready, (agreement, _))| {
            within_token(question, agreement) && only.is_none_or(|wanted| ready.reference == *wanted)
        })
        .peekable();
    let found = if eligible.peek().is_none() { Outcome::Fail(Reason::NoAgreement) } else { Outcome::Pass };
    before.push(Rule::Agreement, found);
    let emergency = exception::emergency(known);
    let mut best: Option<rules::Weighed<'_>> = None;
    for (holder, ready, (agreement, flow)) in eligible {
        let candidate = rules::Candidate {
            question,
            provider: &holder.provider,
            holder,
            ready,
            agreement,
            flow,
            subject,
            facts,
            emergency,
            at,
        };
        let mut weighed = rules::weigh(candidate, before);
        let (outcome, fired) = guard::under_agreement(known, &weighed);
        weighed.trace.push(Rule::Guardrail, outcome);
        weighed.fired = fired;
        if best.as_ref().is_none_or(|best| rank(&weighed) < rank(best)) {
            best = Some(weighed);
        }
    }
    let Some(weighed) = best else { return without_agreement(question, before) };
    if !weighed.trace.has_failed() && !weighed.released.is_empty() {
        return Decision::Permit(weighed.permit());
    }
    let trace = weighed.trace;
    if left_to_a_person(question.purpose, &trace) {
        return Decision::Refer(Referral { reasons: trace.reasons().collect(), trace });
    }
    let agreement = Some(weighed.candidate.ready.reference.clone());
    Decision::Deny(Denial { guardrails: weighed.fired, ..denial(question, trace, agreement) })
}

/// How far a flow is from permitting: the least is the one that is answered with. Where no agreement allows it,
/// which one is named must not depend on the person.
///
/// Of flows that agree alike, the one that covers most of what is asked for: whoever needs to know is told. Then the one
/// that binds most: no passing on, in coarser forms, kept for the shorter time. Then the first by name.
fn rank(weighed: &rules::Weighed<'_>) -> (usize, usize, Reverse<u32>, bool, Reverse<u32>, u16) {
    let failures =
        |person| weighed.trace.reasons().filter(|reason| reason.depends_on_person() == person).count();
    let by_agreement = failures(false);
    let by_person = if by_agreement == 0 { failures(true) } else { 0 };
    let bound = &weighed.candidate.flow.obligations;
    // How far the person's yes goes says nothing where an agreement is in the way.
    let told = if by_agreement == 0 { weighed.consented } else { weighed.agreed };
    let agreed = weighed.candidate.items(told);
    let coarseness = agreed.map(|(permitted, _)| u32::from(permitted.form.coarseness())).sum();
    (
        by_agreement,
        by_person,
        Reverse(told.count()),
        bound.onward_sharing,
        Reverse(coarseness),
        bound.retain_days,
    )
}

fn without_agreement(question: &Question, trace: Trace) -> Decision {
    if left_to_a_person(question.purpose, &trace) {
        return Decision::Refer(Referral { reasons: trace.reasons().collect(), trace });
    }
    Decision::Deny(denial(question, trace, None))
}

/// Where the law allows a one-off disclosure, all that stands against it is that no agreement is in force. One
/// that was suspended leaves nobody worse off than none. Reasons about the person do not come into it.
fn left_to_a_person(purpose: PurposeClass, trace: &Trace) -> bool {
    let mut about_agreement = trace.reasons().filter(|reason| !reason.depends_on_person()).peekable();
    purpose.rules().agreement == AgreementNeed::OrReferral
        && about_agreement.peek().is_some()
        && about_agreement.all(Reason::is_agreement_out_of_force)
}

fn denial(question: &Question, trace: Trace, agreement: Option<AgreementReference>) -> Denial {
    let mut reasons: Vec<_> = trace.reasons().collect();
    if reasons.is_empty() {
        reasons.push(Reason::NoAgreement);
    }
    Denial {
        reasons,
        trace,
        agreement,
        guardrails: Vec::new(),
        provider: question.provider.clone(),
        subject: question.subject.clone(),
    }
}

fn within_token(question: &Question, agreement: &Agreement) -> bool {
    question.agreements.as_ref().is_none_or(|allowed| allowed.contains(agreement.id()))
}

impl Permit {
    /// What it rests on.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The emergency that it was asked under.
    pub fn break_glass(&self) -> Option<&BreakGlassId> {
        self.break_glass.as_ref()
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
    pub fn trace(&self) -> &Trace {
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

    /// Decides again, with what the record says about its person and what is held under every identifier in it. Nothing is permitted
    /// that was not before: it was not asked for, and the ledger says so.
    ///
    /// # Errors
    /// The [`Denial`], when the answer is no longer to permit under the same version of the same flow, or permits nothing of what it
    /// did.
    pub fn confirm(
        &self,
        question: &Question,
        policies: &PolicySet,
        subject: &SubjectState,
        examined: &Examined,
        at: Timestamp,
    ) -> Result<ConfirmedPermit, Box<Denial>> {
        // Under this authority alone: were another to take over, the answer would tell what the record says.
        let again = weigh(question, policies, subject, Some(examined.facts()), Some(&self.authority), at);
        let changed = || {
            let mut trace = Trace::new();
            trace.push(Rule::Agreement, Outcome::Fail(Reason::PolicyChanged));
            Err(Box::new(denial(question, trace, self.authority.agreement().cloned())))
        };
        match again {
            Decision::Permit(mut permit) => {
                let (items, wider): (Vec<_>, Vec<_>) =
                    permit.items.into_iter().partition(|item| self.items.contains(item));
                permit.withheld.extend(wider.into_iter().map(|wider| (wider.item, Withheld::NotAvailable)));
                permit.items = items;
                if permit.items.is_empty() {
                    let mut trace = Trace::new();
                    trace.push(Rule::Consent, Outcome::Fail(Reason::ConsentForOther));
                    return Err(Box::new(denial(question, trace, self.authority.agreement().cloned())));
                }
                Ok(ConfirmedPermit { permit })
            }
            Decision::Deny(denial) if denial.agreement.is_some() || self.authority.agreement().is_none() => {
                Err(Box::new(denial))
            }
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
