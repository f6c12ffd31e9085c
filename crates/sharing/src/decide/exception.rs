//! What named people may permit where no agreement does: a grant after a referral, and break-glass.
//!
//! Both are as narrow as they were made, and neither tells where a restricted person is. A grant was weighed by a
//! person of the record holder; an emergency was declared by a practitioner and is reviewed afterwards.

use jiff::SignedDuration;

use super::{
    Asked, Authority, Decision, Denial, Known, Obligations, Outcome, Permit, PermittedItem, Question, Reason,
    Rule, Trace, Withheld, denial, guard, rules,
};
use crate::{
    agreement::BasisGap,
    catalogue::{Category, DataItem, Provider},
    identifier::ItemId,
    purpose::{AgreementNeed, OverridePath},
    subject::{AdHocGrant, BreakGlass},
};

/// Days for which a recipient may keep what it was told in an emergency, unless its own duties say longer.
const EMERGENCY_RETAIN_DAYS: u16 = 30;

/// Weighs the exceptions held about the person. `None` when none of them is for this question.
pub(super) fn weigh(known: &Known<'_>, only: Option<&Authority>) -> Option<Decision> {
    let provider = known.policies.provider(&known.question.provider)?;
    let mut best: Option<Decision> = None;
    for exception in held(known, provider, only) {
        let decision = decide(known, provider, &exception);
        if matches!(decision, Decision::Permit(_)) {
            return Some(decision);
        }
        best.get_or_insert(decision);
    }
    best
}

/// The emergency that the question names, if it is this practitioner's, for this purpose, and not over.
pub(super) fn emergency<'a>(known: &Known<'a>) -> Option<&'a BreakGlass> {
    let question = known.question;
    known.subject.emergencies.iter().find(|declared| {
        question.break_glass.as_ref() == Some(&declared.id)
            && declared.organisation == question.recipient
            && question.practitioner.as_deref() == Some(declared.practitioner.as_str())
            && declared.purpose == question.purpose
            && declared.from <= known.at
            && known.at < declared.until
    })
}

/// One exception: what it is and what may leave under it.
struct Exception<'a> {
    authority: Authority,
    items: Vec<(PermittedItem, &'a DataItem)>,
    retain_days: u16,
    break_glass: Option<&'a BreakGlass>,
}

fn held<'a>(known: &Known<'a>, provider: &'a Provider, only: Option<&Authority>) -> Vec<Exception<'a>> {
    let question = known.question;
    let fits = |grant: &&AdHocGrant| {
        grant.recipient == question.recipient
            && question.practitioner.as_deref() == Some(grant.practitioner.as_str())
            && grant.provider == question.provider
            && grant.purpose == question.purpose
            && grant.from <= known.at
            && known.at < grant.until
    };
    let grants = known.subject.grants.iter().filter(fits).map(|grant| Exception {
        authority: Authority::Grant(grant.id.clone()),
        items: granted_items(question, provider, &grant.items),
        retain_days: grant.retain_days,
        break_glass: None,
    });
    let rules = question.purpose.rules();
    let alone =
        rules.agreement == AgreementNeed::OrReferral && rules.override_path == OverridePath::BreakGlass;
    let emergencies = emergency(known).filter(|declared| alone && declared.reason.stands_alone());
    let emergencies = emergencies.into_iter().map(|declared| Exception {
        authority: Authority::Emergency(declared.id.clone()),
        items: emergency_items(question, provider, declared),
        retain_days: EMERGENCY_RETAIN_DAYS,
        break_glass: Some(declared),
    });
    let wanted = |exception: &Exception<'_>| only.is_none_or(|only| exception.authority == *only);
    grants.chain(emergencies).filter(wanted).collect()
}

fn granted_items<'a>(
    question: &Question,
    provider: &'a Provider,
    granted: &[PermittedItem],
) -> Vec<(PermittedItem, &'a DataItem)> {
    let asked = granted.iter().filter(|permitted| match &question.asked {
        Asked::AllAgreed => true,
        Asked::Items(items) => items.contains(&permitted.item),
    });
    let known = asked.filter_map(|permitted| {
        let item = provider.item(&permitted.item)?;
        item.forms.contains(&permitted.form).then(|| (permitted.clone(), item))
    });
    known.collect()
}

/// In an emergency each item has to be named, is one that the catalogue marks for emergencies, and is told in its
/// finest form. Special-category data needs the statement that the person cannot consent (UK GDPR Art 9(2)(c));
/// offence data never leaves in this way.
fn emergency_items<'a>(
    question: &Question,
    provider: &'a Provider,
    declared: &BreakGlass,
) -> Vec<(PermittedItem, &'a DataItem)> {
    let Asked::Items(asked) = &question.asked else { return Vec::new() };
    let items = asked.iter().filter_map(|id| provider.item(id)).filter(|item| item.emergency);
    let lawful = items.filter(|item| match item.category {
        Category::Ordinary => true,
        Category::Special => declared.cannot_consent,
        Category::Offence => false,
    });
    let finest = lawful.filter_map(|item| {
        let form = *item.forms.first()?;
        Some((PermittedItem { item: item.id.get_ref().clone(), form }, item))
    });
    finest.collect()
}

fn decide(known: &Known<'_>, provider: &Provider, exception: &Exception<'_>) -> Decision {
    let Known { question, policies, subject, facts, at } = *known;
    let restricted = rules::Marked::of(subject, facts);
    let hidden = restricted.hides_location();
    let released: Vec<_> =
        exception.items.iter().filter(|(_, item)| !(hidden && item.locating)).cloned().collect();
    let mut trace = Trace::new();
    trace.push(Rule::Purpose, rules::organisation(question, policies));
    trace.push(Rule::Exception, Outcome::Pass);
    let identifier =
        rules::check(provider.lookup(question.subject.scheme()).is_some(), Reason::IdentifierNotAllowed);
    let left = !exception.items.is_empty();
    let restriction = rules::restriction(question.purpose, restricted, left && released.is_empty());
    trace.push(Rule::Identifier, identifier);
    // Somebody allowed it for one person.
    trace.push(Rule::List, rules::list(question, None));
    trace.push(Rule::Items, rules::check(left, Reason::ItemsNotAgreed));
    trace.push(Rule::Deceased, rules::deceased(question.purpose, subject, facts));
    trace.push(Rule::Restricted, restriction);
    trace.push(Rule::Objection, rules::objection(question, subject));
    let (outcome, guardrails) =
        guard::under_exception(known, provider, exception.break_glass.is_some(), &exception.items, &trace);
    trace.push(Rule::Guardrail, outcome);
    if trace.has_failed() {
        return Decision::Deny(Denial { guardrails, ..denial(question, trace, None) });
    }
    let items: Vec<_> = released.into_iter().map(|(permitted, _)| permitted).collect();
    let withheld = withheld(question, exception, &items);
    let kept = SignedDuration::from_hours(i64::from(exception.retain_days) * 24);
    let contact = policies.organisation(provider.organisation());
    Decision::Permit(Permit {
        authority: exception.authority.clone(),
        break_glass: exception.break_glass.map(|declared| declared.id.clone()),
        provider: question.provider.clone(),
        subject: question.subject.clone(),
        items,
        withheld,
        obligations: Obligations {
            purpose: question.purpose,
            retain_until: at.checked_add(kept).unwrap_or(at),
            onward_sharing: false,
            rectification_contact: provider.provider.rectification_contact.as_str().into(),
            breach_contact: contact.map_or("", |organisation| organisation.contact.as_str()).into(),
            obtain_consent_to_visit: false,
        },
        consents: Vec::new(),
        trace,
    })
}

fn withheld(
    question: &Question,
    exception: &Exception<'_>,
    released: &[PermittedItem],
) -> Vec<(ItemId, Withheld)> {
    let Asked::Items(asked) = &question.asked else {
        let stripped = exception.items.iter().filter(|(permitted, _)| !released.contains(permitted));
        return stripped.map(|(permitted, _)| (permitted.item.clone(), Withheld::NotAvailable)).collect();
    };
    let missing = asked.iter().filter(|id| !released.iter().any(|permitted| permitted.item == **id));
    let reasoned = missing.map(|id| {
        let covered = exception.items.iter().any(|(permitted, _)| permitted.item == *id);
        (id.clone(), if covered { Withheld::NotAvailable } else { Withheld::NotAgreed })
    });
    reasoned.collect()
}

/// Whether break-glass can be declared for this purpose at all.
pub fn may_break_glass(purpose: crate::PurposeClass) -> bool {
    purpose.rules().override_path == OverridePath::BreakGlass
}

/// Whether a named person can allow a one-off disclosure for this purpose: where the law knows disclosures
/// without an agreement, and where the decision table refers what consent decides.
pub fn may_be_granted(purpose: crate::PurposeClass) -> bool {
    let rules = purpose.rules();
    rules.agreement == AgreementNeed::OrReferral || rules.override_path == OverridePath::Referral
}

/// What is missing from a flow's two bases for an item of this category.
pub(super) fn gaps(
    flow: &crate::agreement::DataFlow,
    category: Category,
) -> impl Iterator<Item = BasisGap> + use<'_> {
    [&flow.provider_basis, &flow.recipient_basis]
        .into_iter()
        .filter_map(move |basis| basis.gap(flow.purpose, category))
}
