//! The last rule: no guardrail forbids it. Guardrails look at what every other rule would let pass.

use super::{
    Known, Outcome, PermittedItem, Reason, Trace,
    rules::{Candidate, Weighed},
};
use crate::{
    agreement::london_hour,
    catalogue::{DataItem, Provider},
    guardrail::{
        AgreementFact, ConsentFact, DeathFact, Facts, Fired, ItemFacts, ObjectionFact, OverrideFact, Phase,
        RestrictionFact, Verdict,
    },
    purpose::ConsentNeed,
};

/// Looks at what a flow would let pass.
pub(super) fn under_agreement(known: &Known<'_>, weighed: &Weighed<'_>) -> (Outcome, Vec<Fired>) {
    if !is_worth_a_look(known, &weighed.trace) {
        return (Outcome::NotApplicable, Vec::new());
    }
    let Candidate { provider, agreement, flow, .. } = weighed.candidate;
    let (controller, recipient) = (provider.organisation(), flow.recipient.get_ref());
    // What is agreed, before anything is left out because of the person.
    let agreed = || weighed.candidate.items(weighed.agreed);
    let fact = AgreementFact {
        id: agreement.id().as_str(),
        active: agreement.is_switched_on(flow),
        in_date: agreement.effective_from() <= known.at && known.at < agreement.effective_until(),
        signed: agreement.is_signed_by(controller, known.at) && agreement.is_signed_by(recipient, known.at),
        covers_items_and_purpose: flow.purpose == known.question.purpose
            && agreed().all(|(permitted, _)| {
                flow.items
                    .iter()
                    .any(|listed| *listed.item.get_ref() == permitted.item && listed.form == permitted.form)
            }),
    };
    // Whether an explicit consent decides is worked out here from the table alone, beside the rule itself.
    let supported = matches!(flow.confidentiality, crate::agreement::Confidentiality::Section251 { .. });
    let decides = match known.question.purpose.rules().explicit_consent {
        ConsentNeed::Always => true,
        ConsentNeed::ForConfidentialItems => !supported && agreed().any(|(_, item)| item.confidential),
        ConsentNeed::NotAsked => false,
    };
    let holds = !weighed.released.is_empty() && !weighed.consents.is_empty();
    let consent = match (decides, holds) {
        (false, _) => ConsentFact::NotAsked,
        (true, true) => ConsentFact::Holds,
        (true, false) => ConsentFact::Absent,
    };
    let emergency = weighed.candidate.emergency.is_some();
    let claim = Claim { agreement: fact, consent, consent_decides: decides, granted: false, emergency };
    look(known, provider, agreed().map(|(_, item)| item), claim, weighed.trace.has_failed())
}

/// Looks at what a grant or an emergency would let pass. Both are a named person's.
pub(super) fn under_exception(
    known: &Known<'_>,
    provider: &Provider,
    emergency: bool,
    covered: &[(PermittedItem, &DataItem)],
    trace: &Trace,
) -> (Outcome, Vec<Fired>) {
    if !is_worth_a_look(known, trace) {
        return (Outcome::NotApplicable, Vec::new());
    }
    let claim = Claim {
        agreement: AgreementFact::NONE,
        consent: ConsentFact::NotAsked,
        consent_decides: false,
        granted: true,
        emergency,
    };
    look(known, provider, covered.iter().map(|(_, item)| *item), claim, trace.has_failed())
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

/// Unless a reason about the agreement stands already. What stands about the person must make no difference: were
/// the look left out for it, a guardrail about the agreement would answer everybody but them.
fn is_worth_a_look(known: &Known<'_>, trace: &Trace) -> bool {
    !known.policies.guardrails().is_empty() && trace.reasons().all(Reason::depends_on_person)
}

/// `stands`: a reason about the person stands already.
fn look<'a>(
    known: &Known<'a>,
    provider: &Provider,
    items: impl Iterator<Item = &'a DataItem>,
    claim: Claim<'_>,
    stands: bool,
) -> (Outcome, Vec<Fired>) {
    let Known { question, policies, subject, facts, at } = *known;
    let kind = |id| policies.registered(id).map(|organisation| organisation.kind);
    let (Some(recipient_kind), Some(provider_kind)) =
        (kind(&question.recipient), kind(provider.organisation()))
    else {
        return forbidden(Verdict { fired: Vec::new(), faulted: true }, stands);
    };
    let restricted = super::rules::Marked::of(subject, facts).hides_location();
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
        items: ItemFacts::new(items, restricted),
        agreement: claim.agreement,
        consent: claim.consent,
        consent_decides: claim.consent_decides,
        restricted: match facts {
            _ if restricted => RestrictionFact::Restricted,
            Some(_) => RestrictionFact::None,
            None => RestrictionFact::Unknown,
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
        london_hour: london_hour(at),
    };
    forbidden(policies.guardrails().check(&facts), stands)
}

/// A guardrail that met an error forbids: a rule that could not be looked at may be one that would have. Nobody can
/// say that the error had nothing to do with the person, so the answer is the one for nobody. Where a reason about
/// the person stands already, another one adds nothing.
fn forbidden(mut verdict: Verdict, stands: bool) -> (Outcome, Vec<Fired>) {
    let by_agreement = verdict.fired.iter().any(|fired| !fired.about_person);
    let outcome = match (verdict.is_clear(), by_agreement, stands) {
        (true, ..) => Outcome::Pass,
        (false, true, _) => Outcome::Fail(Reason::GuardrailForbids),
        (false, false, false) => Outcome::Fail(Reason::GuardrailForbidsPerson),
        (false, false, true) => {
            verdict.fired.clear();
            Outcome::NotApplicable
        }
    };
    (outcome, verdict.fired)
}
