//! The last rule: no guardrail forbids it. Guardrails look at what every other rule would let pass.

use jiff::tz::TimeZone;

use super::{
    Known, Outcome, Permit, PermittedItem, Reason, Rule, Step, reasons,
    rules::{self, Candidate},
};
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
    if !is_worth_a_look(known, trace) {
        return not_looked_at();
    }
    // What is agreed, before anything is left out because of the person.
    let agreed = rules::agreed_items(candidate);
    let (agreement, flow) = (candidate.agreement, candidate.flow);
    let (provider, recipient) = (candidate.provider.organisation(), flow.recipient.get_ref());
    let fact = AgreementFact {
        id: agreement.id().as_str(),
        active: *agreement.status.get_ref() == Status::Active,
        in_date: agreement.effective_from() <= known.at && known.at < agreement.effective_until(),
        signed: agreement.is_signed_by(provider, known.at) && agreement.is_signed_by(recipient, known.at),
        covers_items_and_purpose: flow.purpose == known.question.purpose
            && agreed.iter().all(|(permitted, _)| {
                flow.items
                    .iter()
                    .any(|listed| *listed.item.get_ref() == permitted.item && listed.form == permitted.form)
            }),
    };
    // Whether an explicit consent decides is worked out here from the table alone, beside the rule itself.
    let items: Vec<_> = agreed.iter().map(|(_, item)| *item).collect();
    let supported = matches!(flow.confidentiality, crate::agreement::Confidentiality::Section251 { .. });
    let decides = match known.question.purpose.rules().explicit_consent {
        ConsentNeed::Always => true,
        ConsentNeed::ForConfidentialItems => !supported && items.iter().any(|item| item.confidential),
        ConsentNeed::NotAsked => false,
    };
    let consent = match (decides, permit.is_none_or(|permit| permit.consents().is_empty())) {
        (false, _) => ConsentFact::NotAsked,
        (true, false) => ConsentFact::Holds,
        (true, true) => ConsentFact::Absent,
    };
    let emergency = candidate.emergency.is_some();
    let claim = Claim { agreement: fact, consent, consent_decides: decides, granted: false, emergency };
    look(known, candidate.provider, &items, claim, trace)
}

/// Looks at what a grant or an emergency would let pass. Both are a named person's.
pub(super) fn under_exception(
    known: &Known<'_>,
    provider: &Provider,
    emergency: bool,
    covered: &[(PermittedItem, &DataItem)],
    trace: &[Step],
) -> (Step, Vec<Fired>) {
    if !is_worth_a_look(known, trace) {
        return not_looked_at();
    }
    let items: Vec<_> = covered.iter().map(|(_, item)| *item).collect();
    let claim = Claim {
        agreement: AgreementFact::NONE,
        consent: ConsentFact::NotAsked,
        consent_decides: false,
        granted: true,
        emergency,
    };
    look(known, provider, &items, claim, trace)
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
fn is_worth_a_look(known: &Known<'_>, trace: &[Step]) -> bool {
    !known.policies.guardrails().is_empty() && reasons(trace).iter().all(|reason| reason.depends_on_person())
}

fn not_looked_at() -> (Step, Vec<Fired>) {
    (Step { rule: Rule::Guardrail, outcome: Outcome::NotApplicable }, Vec::new())
}

fn look(
    known: &Known<'_>,
    provider: &Provider,
    items: &[&DataItem],
    claim: Claim<'_>,
    trace: &[Step],
) -> (Step, Vec<Fired>) {
    let stands = !reasons(trace).is_empty();
    let Known { question, policies, subject, facts, at } = *known;
    let kind = |id| policies.organisation(id).map(|organisation| organisation.kind);
    let (Some(recipient_kind), Some(provider_kind)) =
        (kind(&question.recipient), kind(provider.organisation()))
    else {
        return forbidden(Verdict { fired: Vec::new(), faulted: true }, stands);
    };
    let restricted = subject.restricted || facts.is_some_and(|facts| facts.restricted);
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
        items: ItemFacts::new(items.iter().copied(), restricted),
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
    forbidden(policies.guardrails().check(&facts), stands)
}

/// A guardrail that met an error forbids: a rule that could not be looked at may be one that would have. Nobody can
/// say that the error had nothing to do with the person, so the answer is the one for nobody. Where a reason about
/// the person stands already, another one adds nothing.
fn forbidden(mut verdict: Verdict, stands: bool) -> (Step, Vec<Fired>) {
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
    (Step { rule: Rule::Guardrail, outcome }, verdict.fired)
}
