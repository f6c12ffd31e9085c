//! The rules themselves, one function each, in the order in which they are looked at.

use jiff::{SignedDuration, Timestamp};

use super::{
    Asked, Authority, Obligations, Outcome, Permit, PermittedItem, Question, Reason, Rule, Step, Withheld,
    exception, reference,
};
use crate::{
    agreement::{
        Agreement, Article6, Article9, BasisGap, Confidentiality, DataFlow, DpiaOutcome, LawfulBasis, Status,
        london_day, london_midnight,
    },
    catalogue::{Category, DataItem, Provider},
    identifier::{ConsentId, ItemId},
    policy::PolicySet,
    purpose::{ConsentNeed, PurposeClass},
    subject::{BreakGlass, ConsentRecord, ConsentType, GivenBy, OptOut, RecordFacts, SubjectState},
};

/// A flow that might cover the question, with everything it is weighed against.
pub(super) struct Candidate<'a> {
    pub(super) question: &'a Question,
    pub(super) provider: &'a Provider,
    pub(super) agreement: &'a Agreement,
    pub(super) flow: &'a DataFlow,
    pub(super) subject: &'a SubjectState,
    pub(super) facts: Option<&'a RecordFacts>,
    /// The emergency that the question names, if it holds.
    pub(super) emergency: Option<&'a BreakGlass>,
    pub(super) at: Timestamp,
}

/// Rules about the organisation, before any agreement is looked at.
pub(super) fn organisation(question: &Question, policies: &PolicySet, trace: &mut Vec<Step>) {
    let registered = policies.organisation(&question.recipient);
    let outcome = match registered {
        _ if question.purpose.rules().aggregate_only => Outcome::Fail(Reason::PurposeAggregateOnly),
        Some(organisation) if organisation.purposes.contains(&question.purpose) => Outcome::Pass,
        _ => Outcome::Fail(Reason::PurposeNotRegistered),
    };
    trace.push(Step { rule: Rule::Purpose, outcome });
}

/// Weighs one flow. The permit is there whenever some item could be released; whether it may be given is for
/// the trace to say.
pub(super) fn weigh(candidate: &Candidate<'_>, policies: &PolicySet) -> (Option<Permit>, Vec<Step>) {
    let purpose = candidate.question.purpose;
    let agreed = agreed_items(candidate);
    let restricted = candidate.subject.restricted || candidate.facts.is_some_and(|facts| facts.restricted);
    let wanted: Vec<_> = agreed.iter().map(|(_, item)| *item).collect();
    let (consent, consents) = consent(candidate, &wanted);
    let released: Vec<_> = agreed.iter().filter(|(_, item)| !(restricted && item.locating)).collect();
    let trace = [
        (
            Rule::Status,
            check(candidate.agreement.status.get_ref() == &Status::Active, Reason::AgreementNotActive),
        ),
        (Rule::Dates, dates(candidate)),
        (Rule::Signatures, signatures(candidate)),
        (Rule::Dpia, dpia(candidate)),
        (
            Rule::Identifier,
            check(
                candidate.flow.identifiers.contains(candidate.question.subject.scheme()),
                Reason::IdentifierNotAllowed,
            ),
        ),
        (Rule::Role, check(candidate.flow.roles.contains(&candidate.question.role), Reason::RoleNotAllowed)),
        (Rule::Items, check(!agreed.is_empty(), Reason::ItemsNotAgreed)),
        (Rule::LegalBasis, legal_basis(candidate, &wanted)),
        (Rule::Relationship, relationship(candidate)),
        (Rule::Exception, break_glass(candidate)),
        (Rule::Deceased, deceased(purpose, candidate.subject, candidate.facts)),
        (Rule::Restricted, restriction(purpose, restricted, !agreed.is_empty() && released.is_empty())),
        (Rule::Objection, objection_or_emergency(candidate)),
        (Rule::OptOut, opt_out(candidate, &wanted, !consents.is_empty())),
        (Rule::Consent, consent),
        (Rule::Cohort, cohort(candidate)),
    ];
    let trace = trace.into_iter().map(|(rule, outcome)| Step { rule, outcome }).collect();
    let permit = Permit {
        authority: Authority::Agreement(reference(policies, candidate.agreement, candidate.flow)),
        break_glass: candidate.emergency.map(|declared| declared.id.clone()),
        provider: candidate.question.provider.clone(),
        subject: candidate.question.subject.clone(),
        items: released.iter().map(|(permitted, _)| permitted.clone()).collect(),
        withheld: withheld(candidate, &agreed, restricted),
        obligations: obligations(candidate),
        consents,
        trace: Vec::new(),
    };
    ((!permit.items.is_empty()).then_some(permit), trace)
}

pub(super) fn check(holds: bool, otherwise: Reason) -> Outcome {
    if holds { Outcome::Pass } else { Outcome::Fail(otherwise) }
}

/// Items asked for that the flow lists and the catalogue knows.
pub(super) fn agreed_items<'a>(candidate: &Candidate<'a>) -> Vec<(PermittedItem, &'a DataItem)> {
    let flow = candidate.flow.items.iter();
    let asked = flow.filter(|listed| match &candidate.question.asked {
        Asked::AllAgreed => true,
        Asked::Items(items) => items.contains(listed.item.get_ref()),
    });
    let known = asked.filter_map(|listed| {
        let item = candidate.provider.item(listed.item.get_ref())?;
        let permitted = PermittedItem { item: listed.item.get_ref().clone(), form: listed.form };
        item.forms.contains(&listed.form).then_some((permitted, item))
    });
    known.collect()
}

fn withheld(
    candidate: &Candidate<'_>,
    agreed: &[(PermittedItem, &DataItem)],
    restricted: bool,
) -> Vec<(ItemId, Withheld)> {
    let stripped = agreed.iter().filter(|(_, item)| restricted && item.locating);
    let mut withheld: Vec<_> =
        stripped.map(|(permitted, _)| (permitted.item.clone(), Withheld::NotAvailable)).collect();
    if let Asked::Items(asked) = &candidate.question.asked {
        let missing = asked.iter().filter(|id| !agreed.iter().any(|(permitted, _)| permitted.item == **id));
        withheld.extend(missing.map(|id| (id.clone(), Withheld::NotAgreed)));
    }
    withheld
}

fn dates(candidate: &Candidate<'_>) -> Outcome {
    if candidate.at < candidate.agreement.effective_from() {
        Outcome::Fail(Reason::AgreementNotYetEffective)
    } else {
        check(candidate.at < candidate.agreement.effective_until(), Reason::AgreementEnded)
    }
}

/// Pairwise: this provider and this recipient, whoever else has or has not signed.
fn signatures(candidate: &Candidate<'_>) -> Outcome {
    let provider = candidate.agreement.is_signed_by(candidate.provider.organisation(), candidate.at);
    let recipient = candidate.agreement.is_signed_by(candidate.flow.recipient.get_ref(), candidate.at);
    check(provider && recipient, Reason::AgreementNotSigned)
}

fn dpia(candidate: &Candidate<'_>) -> Outcome {
    let dpia = &candidate.agreement.dpia;
    let current = candidate.at < london_midnight(dpia.current_until);
    check(dpia.outcome == DpiaOutcome::Accepted && current, Reason::DpiaNotCurrent)
}

/// Each category asked for raises what the law requires, of both parties.
fn legal_basis(candidate: &Candidate<'_>, wanted: &[&DataItem]) -> Outcome {
    let flow = candidate.flow;
    let mut gaps = wanted.iter().flat_map(|item| exception::gaps(flow, item.category)).peekable();
    if gaps.peek().is_some() {
        let misfit = gaps.all(BasisGap::is_misfit);
        return Outcome::Fail(if misfit { Reason::BasisNotForPurpose } else { Reason::LegalBasisIncomplete });
    }
    if let Confidentiality::Section251 { expires_on, .. } = &flow.confidentiality
        && candidate.at >= london_midnight(*expires_on)
    {
        return Outcome::Fail(Reason::Section251Expired);
    }
    let rules = candidate.question.purpose.rules();
    if rules.excludes_social_care && wanted.iter().any(|item| item.social_care) {
        return Outcome::Fail(Reason::SocialCareExcluded);
    }
    if !wanted.iter().any(|item| item.confidential) {
        return Outcome::Pass;
    }
    match &flow.confidentiality {
        Confidentiality::NotConfidential => Outcome::Fail(Reason::LegalBasisIncomplete),
        met => check(rules.confidentiality.contains(&met.kind()), Reason::BasisNotForPurpose),
    }
}

/// The flow may ask that the practitioner has to do with the person. In an emergency nobody has yet.
fn relationship(candidate: &Candidate<'_>) -> Outcome {
    let accepted = &candidate.flow.relationship;
    if accepted.is_empty() {
        return Outcome::NotApplicable;
    }
    let question = candidate.question;
    let holds = candidate.subject.relationships.iter().any(|relationship| {
        accepted.contains(&relationship.kind)
            && relationship.holds(&question.recipient, question.practitioner.as_deref(), candidate.at)
    });
    match (holds, candidate.emergency) {
        (true, _) => Outcome::Pass,
        (false, Some(_)) => Outcome::Overridden,
        (false, None) => Outcome::Fail(Reason::NoRelationship),
    }
}

/// An emergency that is named has to hold, whether or not it would be needed.
fn break_glass(candidate: &Candidate<'_>) -> Outcome {
    match (&candidate.question.break_glass, candidate.emergency) {
        (None, _) => Outcome::NotApplicable,
        (Some(_), _) if !exception::may_break_glass(candidate.question.purpose) => {
            Outcome::Fail(Reason::BreakGlassNotForPurpose)
        }
        (Some(_), None) => Outcome::Fail(Reason::BreakGlassNotHeld),
        (Some(_), Some(_)) => Outcome::Pass,
    }
}

pub(super) fn deceased(
    purpose: PurposeClass,
    subject: &SubjectState,
    facts: Option<&RecordFacts>,
) -> Outcome {
    if !purpose.rules().contacts_person {
        return Outcome::NotApplicable;
    }
    let deceased = subject.deceased || facts.is_some_and(|facts| facts.deceased);
    check(!deceased, Reason::Deceased)
}

pub(super) fn restriction(purpose: PurposeClass, restricted: bool, nothing_left: bool) -> Outcome {
    let excluded = purpose.rules().excludes_restricted || nothing_left;
    check(!(restricted && excluded), Reason::Restricted)
}

pub(super) fn objection(question: &Question, subject: &SubjectState) -> Outcome {
    if !question.purpose.rules().objection_blocks {
        return Outcome::NotApplicable;
    }
    let stops =
        |objection: &crate::subject::Objection| objection.stops(&question.recipient, question.purpose);
    check(!subject.objections.iter().any(stops), Reason::Objection)
}

/// Break-glass in direct care overrides a dissent: the practitioner answers for it in the review.
fn objection_or_emergency(candidate: &Candidate<'_>) -> Outcome {
    match objection(candidate.question, candidate.subject) {
        Outcome::Fail(_) if candidate.emergency.is_some() => Outcome::Overridden,
        standing => standing,
    }
}

/// The national data opt-out: confidential patient information for purposes beyond individual care.
///
/// It is not applied where the person consented to this use, where the law requires it, or where the public
/// interest overrides. Without a check in force the answer is no.
///
/// Source: National Data Opt-out Operational Policy Guidance, sections 2 to 6.
fn opt_out(candidate: &Candidate<'_>, wanted: &[&DataItem], consented: bool) -> Outcome {
    let patient_information =
        wanted.iter().any(|item| item.confidential && item.category == Category::Special);
    let exempt = consented
        || matches!(
            candidate.flow.confidentiality,
            Confidentiality::Statute { .. } | Confidentiality::PublicInterest
        );
    if !candidate.question.purpose.rules().opt_out_applies || !patient_information || exempt {
        return Outcome::NotApplicable;
    }
    match candidate.subject.opt_out {
        OptOut::Clear => Outcome::Pass,
        OptOut::OptedOut => Outcome::Fail(Reason::OptedOut),
        OptOut::NotChecked => Outcome::Fail(Reason::OptOutNotChecked),
    }
}

/// Whether consent decides, and if so whether it holds. Every type that the flow's bases name must hold.
fn consent(candidate: &Candidate<'_>, wanted: &[&DataItem]) -> (Outcome, Vec<ConsentId>) {
    let flow = candidate.flow;
    let confidential = wanted.iter().any(|item| item.confidential);
    let explicit = match candidate.question.purpose.rules().explicit_consent {
        ConsentNeed::Always => true,
        ConsentNeed::ForConfidentialItems => {
            confidential && !matches!(flow.confidentiality, Confidentiality::Section251 { .. })
        }
        ConsentNeed::NotAsked => confidential && flow.confidentiality == Confidentiality::ExplicitConsent,
    };
    let by_consent = |basis: &LawfulBasis| {
        basis.article_6 == Article6::Consent || basis.article_9 == Some(Article9::ExplicitConsent)
    };
    let gdpr = by_consent(&flow.provider_basis) || by_consent(&flow.recipient_basis);
    let needed = [(explicit, ConsentType::ConfidentialityConsent), (gdpr, ConsentType::GdprConsent)];
    let mut relied_on = Vec::new();
    let mut outcome = Outcome::NotApplicable;
    for consent_type in
        needed.into_iter().filter_map(|(is_needed, consent_type)| is_needed.then_some(consent_type))
    {
        match held(candidate, consent_type) {
            Ok(id) => relied_on.push(id),
            Err(reason) => return (Outcome::Fail(reason), Vec::new()),
        }
        outcome = Outcome::Pass;
    }
    (outcome, relied_on)
}

/// The consent that holds. A refusal or withdrawal later than it overrides it; at the same instant too, since of
/// two records that contradict each other the "no" is the safer one.
fn held(candidate: &Candidate<'_>, consent_type: ConsentType) -> Result<ConsentId, Reason> {
    let controller = candidate.provider.organisation();
    let (recipient, purpose) = (&candidate.question.recipient, candidate.question.purpose);
    let concerning = || {
        let all = candidate.subject.consents.iter();
        all.filter(|consent| consent.concerns(consent_type, controller, recipient, purpose))
            .filter(|consent| consent.given_at <= candidate.at)
    };
    // Before the record is read nobody's age is known, and a parent's word is taken as far as it goes.
    let age = candidate
        .facts
        .map(|facts| facts.birth_date.map(|born| crate::minimise::age_years(born, london_day(candidate.at))));
    let holds = concerning()
        .filter(|consent| consent.covers(consent_type, controller, recipient, purpose, candidate.at))
        .filter(|consent| age.is_none_or(|age| consent.giver_may_decide(age)));
    // A proxy's yes never outweighs the person's own no, whenever that was said.
    let own = |consent: &ConsentRecord| consent.given_by == GivenBy::Person;
    let own_no = concerning().any(|consent| own(consent) && consent.taken_back_at().is_some());
    let latest =
        holds.filter(|consent| own(consent) || !own_no).max_by_key(|consent| (consent.given_at, &consent.id));
    let taken_back_after =
        |given_at| concerning().filter_map(ConsentRecord::taken_back_at).any(|at| at >= given_at);
    match latest {
        Some(consent) if !taken_back_after(consent.given_at) => Ok(consent.id.clone()),
        Some(_) => Err(Reason::ConsentEnded),
        None if concerning().any(|consent| consent.status.was_an_answer()) => Err(Reason::ConsentEnded),
        None => Err(Reason::ConsentAbsent),
    }
}

/// Known only once the record has been read. A flow for an age group is not for people of unknown age.
fn cohort(candidate: &Candidate<'_>) -> Outcome {
    let (Some(from_years), Some(facts)) = (candidate.flow.cohort.age_from_years, candidate.facts) else {
        return Outcome::NotApplicable;
    };
    let today = london_day(candidate.at);
    let old_enough =
        facts.birth_date.is_some_and(|born| crate::minimise::age_years(born, today) >= from_years);
    check(old_enough, Reason::OutOfCohort)
}

fn obligations(candidate: &Candidate<'_>) -> Obligations {
    let flow = &candidate.flow.obligations;
    let kept = SignedDuration::from_hours(i64::from(flow.retain_days) * 24);
    let visit = candidate.question.purpose == crate::purpose::PurposeClass::SafeAndWellReferral;
    let consented_to_visit = candidate.subject.consents.iter().any(|consent| {
        consent.covers(
            ConsentType::ConsentToService,
            candidate.provider.organisation(),
            &candidate.question.recipient,
            candidate.question.purpose,
            candidate.at,
        )
    });
    Obligations {
        purpose: candidate.question.purpose,
        retain_until: candidate.at.checked_add(kept).unwrap_or(candidate.at),
        onward_sharing: flow.onward_sharing,
        rectification_contact: candidate.provider.provider.rectification_contact.clone(),
        breach_contact: candidate.agreement.breach_contact.clone(),
        obtain_consent_to_visit: visit && !consented_to_visit,
    }
}
