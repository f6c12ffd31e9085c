//! The last rule: no guardrail forbids it. Guardrails look at what every other rule would let pass.

use jiff::tz::TimeZone;

use super::{Known, Outcome, Permit, PermittedItem, Reason, Rule, Step, reasons, rules::Candidate};
use crate::{
    agreement::Status,
    catalogue::{DataItem, Provider},
    guardrail::{
        AgreementFact, ConsentFact, DeathFact, Facts, Fired, ItemFacts, ObjectionFact, OverrideFact, Phase,
        RestrictionFact, Verdict,
    },
    purpose::ConsentNeed,
};

/// Looks at what a flow would let pass.
pub(super) fn under_agreement(
    known: &Known<'_>,
    candidate: &Candidate<'_>,
    permit: Option<&Permit>,
    trace: &[Step],
) -> (Step, Vec<Fired>) {
    let Some(permit) = permit.filter(|_| is_worth_a_look(known, trace)) else { return not_looked_at() };
    let (agreement, flow) = (candidate.agreement, candidate.flow);
    let (provider, recipient) = (candidate.provider.organisation(), flow.recipient.get_ref());
    let fact = AgreementFact {
        id: agreement.id().as_str(),
        active: *agreement.status.get_ref() == Status::Active,
        in_date: agreement.effective_from() <= known.at && known.at < agreement.effective_until(),
        signed: agreement.is_signed_by(provider, known.at) && agreement.is_signed_by(recipient, known.at),
        covers_items_and_purpose: flow.purpose == known.question.purpose
            && permit.items().iter().all(|permitted| {
                flow.items
                    .iter()
                    .any(|listed| *listed.item.get_ref() == permitted.item && listed.form == permitted.form)
            }),
    };
    // Whether an explicit consent decides is worked out here from the table alone, beside the rule itself.
    let items = permit.items().iter().filter_map(|permitted| candidate.provider.item(&permitted.item));
    let items: Vec<_> = items.collect();
    let supported = matches!(flow.confidentiality, crate::agreement::Confidentiality::Section251 { .. });
    let decides = match known.question.purpose.rules().explicit_consent {
        ConsentNeed::Always => true,
        ConsentNeed::ForConfidentialItems => !supported && items.iter().any(|item| item.confidential),
        ConsentNeed::NotAsked => false,
    };
    let consent = match (decides, permit.consents().is_empty()) {
        (false, _) => ConsentFact::NotAsked,
        (true, false) => ConsentFact::Holds,
        (true, true) => ConsentFact::Absent,
    };
    let emergency = candidate.emergency.is_some();
    let claim = Claim { agreement: fact, consent, consent_decides: decides, granted: false, emergency };
    look(known, candidate.provider, &items, claim)
}

/// Looks at what a grant or an emergency would let pass. Both are a named person's.
pub(super) fn under_exception(
    known: &Known<'_>,
    provider: &Provider,
    emergency: bool,
    released: &[(PermittedItem, &DataItem)],
    trace: &[Step],
) -> (Step, Vec<Fired>) {
    if !is_worth_a_look(known, trace) {
        return not_looked_at();
    }
    let items: Vec<_> = released.iter().map(|(_, item)| *item).collect();
    let claim = Claim {
        agreement: AgreementFact::NONE,
        consent: ConsentFact::NotAsked,
        consent_decides: false,
        granted: true,
        emergency,
    };
    look(known, provider, &items, claim)
}

/// What the permit rests on, as far as guardrails ask.
#[derive(Clone, Copy)]
struct Claim<'a> {
    agreement: AgreementFact<'a>,
    consent: ConsentFact,
    consent_decides: bool,
    granted: bool,
    emergency: bool,
}

fn is_worth_a_look(known: &Known<'_>, trace: &[Step]) -> bool {
    !known.policies.guardrails().is_empty() && reasons(trace).is_empty()
}

fn not_looked_at() -> (Step, Vec<Fired>) {
    (Step { rule: Rule::Guardrail, outcome: Outcome::NotApplicable }, Vec::new())
}

fn look(known: &Known<'_>, provider: &Provider, items: &[&DataItem], claim: Claim<'_>) -> (Step, Vec<Fired>) {
    let Known { question, policies, subject, facts, at } = *known;
    let kind = |id| policies.organisation(id).map(|organisation| organisation.kind);
    let (Some(recipient_kind), Some(provider_kind)) =
        (kind(&question.recipient), kind(provider.organisation()))
    else {
        return forbidden(Verdict { fired: Vec::new(), faulted: true });
    };
    let objects =
        |objection: &crate::subject::Objection| objection.stops(&question.recipient, question.purpose);
    let facts = Facts {
        phase: if facts.is_some() { Phase::Release } else { Phase::Disclose },
        recipient: question.recipient.as_str(),
        recipient_kind,
        role: &question.role,
        attended: question.practitioner.is_some(),
        provider: question.provider.as_str(),
        provider_organisation: provider.organisation().as_str(),
        provider_kind,
        purpose: question.purpose,
        identifier: match question.subject.scheme() {
            crate::SubjectScheme::NhsNumber => "nhs-number",
            crate::SubjectScheme::Local(_) => "local",
        },
        items: ItemFacts::new(items.iter().copied(), false),
        agreement: claim.agreement,
        consent: claim.consent,
        consent_decides: claim.consent_decides,
        restricted: match (subject.restricted, facts) {
            (true, _) => RestrictionFact::Restricted,
            (false, Some(facts)) if facts.restricted => RestrictionFact::Restricted,
            (false, Some(_)) => RestrictionFact::None,
            (false, None) => RestrictionFact::Unknown,
        },
        deceased: match (subject.deceased, facts) {
            (true, _) => DeathFact::Yes,
            (false, Some(facts)) if facts.deceased => DeathFact::Yes,
            (false, Some(_)) => DeathFact::No,
            (false, None) => DeathFact::Unknown,
        },
        objection: if subject.objections.iter().any(objects) {
            ObjectionFact::Standing
        } else {
            ObjectionFact::None
        },
        override_: if claim.emergency { OverrideFact::BreakGlass } else { OverrideFact::None },
        granted: claim.granted,
        list: false,
        london_hour: u8::try_from(
            at.to_zoned(TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC)).hour(),
        )
        .unwrap_or(0),
    };
    forbidden(policies.guardrails().check(&facts))
}

/// A guardrail that met an error forbids: a rule that could not be looked at may be one that would have.
fn forbidden(verdict: Verdict) -> (Step, Vec<Fired>) {
    let outcome = if verdict.is_clear() {
        Outcome::Pass
    } else if verdict.faulted || verdict.fired.iter().any(|fired| !fired.about_person) {
        Outcome::Fail(Reason::GuardrailForbids)
    } else {
        Outcome::Fail(Reason::GuardrailForbidsPerson)
    };
    (Step { rule: Rule::Guardrail, outcome }, verdict.fired)
}
