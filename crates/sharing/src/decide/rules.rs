//! The rules themselves, one function each, in the order in which they are looked at.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Asked, Authority, Obligations, Outcome, Permit, PermittedItem, Question, Reason, Rule, Trace, Withheld,
    exception,
};
use crate::{
    agreement::{Agreement, BasisGap, Confidentiality, DataFlow, london_day, london_midnight},
    catalogue::{Category, DataItem, ITEMS_MAX, Provider},
    consenting::{self, Needing},
    guardrail::Fired,
    identifier::{ConsentId, ItemId},
    policy::{ItemBits, PolicySet, ReadyFlow, ReadyHolder},
    purpose::PurposeClass,
    subject::{BreakGlass, ConsentRecord, ConsentType, GivenBy, OptOut, RecordFacts, Shown, SubjectState},
};

/// A flow that might cover the question, with everything it is weighed against.
pub(super) struct Candidate<'a> {
    pub(super) question: &'a Question,
    pub(super) provider: &'a Provider,
    pub(super) holder: &'a ReadyHolder,
    pub(super) ready: &'a ReadyFlow,
    pub(super) agreement: &'a Agreement,
    pub(super) flow: &'a DataFlow,
    pub(super) subject: &'a SubjectState,
    pub(super) facts: Option<&'a RecordFacts>,
    /// The emergency that the question names, if it holds.
    pub(super) emergency: Option<&'a BreakGlass>,
    pub(super) at: Timestamp,
}

/// A flow that was weighed. Whether it permits is for its trace to say.
pub(super) struct Weighed<'a> {
    pub(super) candidate: Candidate<'a>,
    /// Items asked for that the flow lists and the catalogue knows.
    pub(super) agreed: ItemBits,
    /// Places in the question of those that are not agreed, as far as there are bits.
    missing: ItemBits,
    /// Those of them that a consent lets through or that need none.
    pub(super) consented: ItemBits,
    /// Those of them that would leave.
    pub(super) released: ItemBits,
    pub(super) consents: Relied<'a>,
    pub(super) trace: Trace,
    /// The guardrails that forbid it.
    pub(super) fired: Vec<Fired>,
}

/// The organisation is registered for the purpose. Looked at before any agreement is.
pub(super) fn organisation(question: &Question, policies: &PolicySet) -> Outcome {
    if question.purpose.rules().aggregate_only {
        return Outcome::Fail(Reason::PurposeAggregateOnly);
    }
    let registered = policies.registered(&question.recipient);
    let holds = registered.is_some_and(|organisation| organisation.purposes.contains(&question.purpose));
    check(holds, Reason::PurposeNotRegistered)
}

/// Weighs one flow, after what was looked at before.
pub(super) fn weigh(candidate: Candidate<'_>, mut trace: Trace) -> Weighed<'_> {
    let Candidate { question, holder, agreement, flow, subject, facts, .. } = candidate;
    let (agreed, missing) = agreed(&candidate);
    let restricted = Marked::of(subject, facts);
    let Consented { outcome: consent, items: consented, relied: consents } = consent(&candidate, agreed);
    let released = if restricted.hides_location() { consented.without(holder.locating) } else { consented };
    let nothing_left = !agreed.is_empty() && released.is_empty();
    let mut look = |rule, outcome| trace.push(rule, outcome);
    look(Rule::Status, check(agreement.is_switched_on(flow), Reason::AgreementNotActive));
    look(Rule::Dates, dates(&candidate));
    look(Rule::Signatures, signatures(&candidate));
    look(Rule::Dpia, dpia(&candidate));
    let by_scheme = flow.identifiers.contains(question.subject.scheme());
    look(Rule::Identifier, check(by_scheme, Reason::IdentifierNotAllowed));
    look(Rule::Role, check(flow.roles.contains(&question.role), Reason::RoleNotAllowed));
    look(Rule::List, list(question, flow.list_people_max));
    look(Rule::Items, check(!agreed.is_empty(), Reason::ItemsNotAgreed));
    look(Rule::LegalBasis, legal_basis(&candidate, agreed));
    look(Rule::Relationship, relationship(&candidate));
    look(Rule::Exception, break_glass(&candidate));
    look(Rule::Deceased, deceased(question.purpose, subject, facts));
    look(Rule::Restricted, restriction(question.purpose, restricted, nothing_left));
    look(Rule::Objection, objection_or_emergency(&candidate));
    look(Rule::OptOut, opt_out(&candidate, agreed, !consents.is_empty()));
    look(Rule::Consent, consent);
    look(Rule::Cohort, cohort(&candidate));
    Weighed { candidate, agreed, missing, consented, released, consents, trace, fired: Vec::new() }
}

impl<'a> Candidate<'a> {
    /// These items, in the flow's order.
    pub(super) fn items(
        &self,
        those: ItemBits,
    ) -> impl Iterator<Item = (&'a PermittedItem, &'a DataItem)> + use<'a> {
        let (ready, provider) = (self.ready, self.provider);
        let listed = ready.items.iter().filter(move |listed| those.contains(listed.place));
        listed.filter_map(|listed| Some((&listed.permitted, provider.items.get(listed.place)?)))
    }
}

impl Weighed<'_> {
    /// The permit that this is, if nothing stands against it.
    pub(super) fn permit(self) -> Permit {
        let withheld = withheld(&self);
        let Candidate { question, ready, emergency, .. } = self.candidate;
        Permit {
            authority: Authority::Agreement(ready.reference.clone()),
            break_glass: emergency.map(|declared| declared.id.clone()),
            provider: question.provider.clone(),
            subject: question.subject.clone(),
            items: self.candidate.items(self.released).map(|(permitted, _)| permitted.clone()).collect(),
            withheld,
            obligations: obligations(&self.candidate),
            consents: self.consents.0.into_iter().cloned().collect(),
            trace: self.trace,
        }
    }
}

/// What is known of restriction. One source's word is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// Nobody has marked it.
    No,
    /// Somebody has.
    Yes,
    /// Whoever had to be asked has not said.
    Unconfirmed,
}

impl Marked {
    pub(super) fn of(subject: &SubjectState, facts: Option<&RecordFacts>) -> Self {
        if subject.restricted || facts.is_some_and(|facts| facts.restricted) {
            Self::Yes
        } else if facts.is_some_and(|facts| facts.unconfirmed) {
            Self::Unconfirmed
        } else {
            Self::No
        }
    }

    pub(super) fn hides_location(self) -> bool {
        self != Self::No
    }
}

pub(super) fn check(holds: bool, otherwise: Reason) -> Outcome {
    if holds { Outcome::Pass } else { Outcome::Fail(otherwise) }
}

/// Items asked for that the flow lists and the catalogue knows; and, by their places in the question, those that are
/// not among them, as far as there are bits.
fn agreed(candidate: &Candidate<'_>) -> (ItemBits, ItemBits) {
    let agreed = candidate.ready.agreed;
    let Asked::Items(items) = &candidate.question.asked else { return (agreed, ItemBits::default()) };
    let (mut asked, mut missing) = (ItemBits::default(), ItemBits::default());
    for (position, id) in items.iter().enumerate() {
        match candidate.holder.place(id).filter(|place| agreed.contains(*place)) {
            Some(place) => asked.insert(place),
            None => missing.insert(position),
        }
    }
    (asked, missing)
}

fn withheld(weighed: &Weighed<'_>) -> Vec<(ItemId, Withheld)> {
    let Weighed { candidate, agreed, missing, released, .. } = weighed;
    let stripped = candidate.items(agreed.without(*released));
    let stripped = stripped.map(|(permitted, _)| (permitted.item.clone(), Withheld::NotAvailable));
    let asked = match &candidate.question.asked {
        Asked::AllAgreed => &[][..],
        Asked::Items(items) => items,
    };
    let is_agreed = |id| candidate.holder.place(id).is_some_and(|place| agreed.contains(place));
    let is_missing = |position, id| {
        if position < ITEMS_MAX { missing.contains(position) } else { !is_agreed(id) }
    };
    let missing = asked.iter().enumerate().filter(|(position, id)| is_missing(*position, id));
    stripped.chain(missing.map(|(_, id)| (id.clone(), Withheld::NotAgreed))).collect()
}

/// A list is another thing than so many questions: it is agreed by itself, with how many people it may have.
pub(super) fn list(question: &Question, people_max: Option<u32>) -> Outcome {
    let Some(people) = question.list_people else { return Outcome::NotApplicable };
    check(people_max.is_some_and(|most| people <= most), Reason::ListNotAllowed)
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
    check(candidate.agreement.dpia.is_current(candidate.at), Reason::DpiaNotCurrent)
}

/// Each category asked for raises what the law requires, of both parties.
fn legal_basis(candidate: &Candidate<'_>, wanted: ItemBits) -> Outcome {
    let (flow, holder) = (candidate.flow, candidate.holder);
    let categories = [
        (Category::Ordinary, holder.ordinary),
        (Category::Special, holder.special),
        (Category::Offence, holder.offence),
    ];
    let asked_for = categories.into_iter().filter(|(_, items)| wanted.meets(*items));
    let mut gaps = asked_for.flat_map(|(category, _)| exception::gaps(flow, category)).peekable();
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
    if rules.excludes_social_care && wanted.meets(holder.social_care) {
        return Outcome::Fail(Reason::SocialCareExcluded);
    }
    if !wanted.meets(holder.confidential) {
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

pub(super) fn restriction(purpose: PurposeClass, marked: Marked, nothing_left: bool) -> Outcome {
    let excluded = purpose.rules().excludes_restricted || nothing_left;
    match marked {
        Marked::Yes if excluded => Outcome::Fail(Reason::Restricted),
        Marked::Unconfirmed if excluded => Outcome::Fail(Reason::RestrictionUnconfirmed),
        _ => Outcome::Pass,
    }
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
fn opt_out(candidate: &Candidate<'_>, wanted: ItemBits, consented: bool) -> Outcome {
    let holder = candidate.holder;
    let patient_information = wanted.meets(holder.confidential.and(holder.special));
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

/// The consents that a permit rests on.
#[derive(Default)]
pub(super) struct Relied<'a>(Vec<&'a ConsentId>);

impl Relied<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What consent lets through.
struct Consented<'a> {
    outcome: Outcome,
    /// What a consent covers and what needs none. Never empty where something was wanted: then consent fails.
    items: ItemBits,
    relied: Relied<'a>,
}

/// Whether consent decides, and if so for which items it holds. Every type that the flow's bases name must hold. What the person was
/// not shown when they said yes is left out; where nothing is left of what needs their yes, they have not said it.
fn consent<'a>(candidate: &Candidate<'a>, wanted: ItemBits) -> Consented<'a> {
    let confidential = candidate.holder.confidential;
    let mut consented =
        Consented { outcome: Outcome::NotApplicable, items: wanted, relied: Relied::default() };
    for (needing, consent_type) in consenting::needed(candidate.flow) {
        let needing = match needing {
            Needing::Confidential if wanted.meets(confidential) => consented.items.and(confidential),
            Needing::Nothing | Needing::Confidential => continue,
            Needing::Everything => consented.items,
        };
        match held(candidate, consent_type, needing) {
            Ok((ids, covered)) => {
                consented.items = consented.items.without(needing.without(covered));
                consented.relied.0.extend(ids);
            }
            Err(reason) => {
                let outcome = Outcome::Fail(reason);
                return Consented { outcome, items: wanted, relied: Relied::default() };
            }
        }
        consented.outcome = Outcome::Pass;
    }
    consented
}

/// The consents that hold, as few as cover what is covered, and which of the items that need one they cover. A refusal or withdrawal
/// later than a consent overrides it ([`ConsentRecord::outweighs`]); at the same instant too, since of two records that contradict each
/// other the "no" is the safer one. A no is to all of it, whatever was shown; a yes is to what was shown.
fn held<'a>(
    candidate: &Candidate<'a>,
    consent_type: ConsentType,
    needing: ItemBits,
) -> Result<(Vec<&'a ConsentId>, ItemBits), Reason> {
    let controller = candidate.provider.organisation();
    let (recipient, purpose) = (&candidate.question.recipient, candidate.question.purpose);
    // Before the record is read nobody's age is known, and a parent's word is taken as far as it goes.
    let age = candidate
        .facts
        .map(|facts| facts.birth_date.map(|born| crate::minimise::age_years(born, london_day(candidate.at))));
    let (mut standing, mut noes) = (Vec::<&ConsentRecord>::new(), Vec::<&ConsentRecord>::new());
    let mut own_no = false;
    let mut was_answered = false;
    for consent in &candidate.subject.consents {
        if !consent.concerns(consent_type, controller, recipient, purpose) {
            continue;
        }
        // A "no" counts from when it was recorded, also where this clock is behind the one that recorded it.
        if consent.given_at > candidate.at && !consent.status.takes_back() {
            continue;
        }
        was_answered |= consent.status.was_an_answer();
        if consent.status.takes_back() {
            noes.push(consent);
            own_no |= consent.given_by == GivenBy::Person;
        }
        let holds = consent.covers(consent_type, controller, recipient, purpose, candidate.at)
            && age.is_none_or(|age| consent.giver_may_decide(age));
        if holds {
            standing.push(consent);
        }
    }
    // A proxy's yes never outweighs the person's own no, whenever that was said.
    let outweighed = |yes: &ConsentRecord| noes.iter().any(|no| no.outweighs(yes));
    standing.retain(|consent| (!own_no || consent.given_by == GivenBy::Person) && !outweighed(consent));
    if standing.is_empty() {
        return Err(if was_answered { Reason::ConsentEnded } else { Reason::ConsentAbsent });
    }
    standing.sort_unstable_by(|one, other| (other.given_at, &other.id).cmp(&(one.given_at, &one.id)));
    let covers = |consent: &ConsentRecord| {
        consent.shown.as_deref().map_or(needing, |shown| needing.and(told(candidate, shown)))
    };
    // The latest that covers all of it; otherwise each that adds something, so that no consent less covers more.
    if let Some(whole) =
        standing.iter().find(|consent| covers(consent) == needing && applies(candidate, consent))
    {
        return Ok((vec![&whole.id], needing));
    }
    let (mut ids, mut covered) = (Vec::new(), ItemBits::default());
    for consent in standing {
        let more = covers(consent).without(covered);
        if !more.is_empty() {
            covered = covered.or(more);
            ids.push(&consent.id);
        }
    }
    if covered.is_empty() { Err(Reason::ConsentForOther) } else { Ok((ids, covered)) }
}

/// Whether what the person was shown has to do with this flow at all.
fn applies(candidate: &Candidate<'_>, consent: &ConsentRecord) -> bool {
    consent.shown.as_deref().is_none_or(|shown| !told(candidate, shown).is_empty())
}

/// The items of the flow that are within what the person was shown: of this flow, in a form that tells no more, and kept no longer and
/// passed on no further than they were told.
fn told(candidate: &Candidate<'_>, shown: &Shown) -> ItemBits {
    let Candidate { ready, flow, question, .. } = candidate;
    let same = shown.agreement == ready.reference.agreement
        && shown.flow == ready.reference.flow
        && shown.provider == question.provider;
    let bound = &flow.obligations;
    let no_further =
        bound.retain_days <= shown.retain_days && (shown.onward_sharing || !bound.onward_sharing);
    if !same || !no_further {
        return ItemBits::default();
    }
    ready.items.iter().filter(|listed| shown.includes(&listed.permitted)).map(|listed| listed.place).collect()
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
    let consented_to_visit = || {
        candidate.subject.consents.iter().any(|consent| {
            consent.covers(
                ConsentType::ConsentToService,
                candidate.provider.organisation(),
                &candidate.question.recipient,
                candidate.question.purpose,
                candidate.at,
            )
        })
    };
    Obligations {
        purpose: candidate.question.purpose,
        retain_until: candidate.at.checked_add(kept).unwrap_or(candidate.at),
        onward_sharing: flow.onward_sharing,
        rectification_contact: Arc::clone(&candidate.ready.rectification_contact),
        breach_contact: Arc::clone(&candidate.ready.breach_contact),
        obtain_consent_to_visit: visit && !consented_to_visit(),
    }
}
