//! Properties of the decision over generated people, roles and questions.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    identifier::{BreakGlassId, GrantId, ObjectionId},
    subject::{AdHocGrant, BreakGlass, BreakGlassReason, Objection, ObjectionStatus, Shown},
};

static POLICIES: LazyLock<PolicySet> = LazyLock::new(policies);
static RIVALS: LazyLock<PolicySet> = LazyLock::new(rival_policies);

fn any_asked() -> impl Strategy<Value = Asked> {
    let ids = [
        "person.name",
        "person.nhs_number",
        "person.birth_date",
        "person.address",
        "needs.mobility",
        "health.home_oxygen",
        "care.visits",
    ];
    let items = prop::sample::subsequence(ids.to_vec(), 1..=ids.len());
    prop_oneof![
        Just(Asked::AllAgreed),
        items.prop_map(|ids| Asked::Items(ids.iter().map(|id| id.parse().unwrap()).collect()))
    ]
}

fn any_consent() -> impl Strategy<Value = ConsentRecord> {
    // Weighted, so that a good part of them decide something.
    let kinds = [
        ConsentType::GdprConsent,
        ConsentType::ConfidentialityConsent,
        ConsentType::ConfidentialityConsent,
        ConsentType::ConfidentialityConsent,
        ConsentType::ConsentToService,
        ConsentType::Preference,
    ];
    let states = [
        ConsentStatus::Given,
        ConsentStatus::Given,
        ConsentStatus::Given,
        ConsentStatus::Renewed,
        ConsentStatus::Refused,
        ConsentStatus::Withdrawn,
        ConsentStatus::Revoked,
        ConsentStatus::Expired,
        ConsentStatus::Invalidated,
        ConsentStatus::Requested,
        ConsentStatus::Unknown,
    ];
    let organisations = ["gmca", "nhs-england", "trafford-council"];
    let when = (-3i64..3).prop_map(|hours| now() + jiff::SignedDuration::from_hours(hours));
    let who = (
        prop::sample::select(organisations.to_vec()),
        prop::sample::subsequence(organisations.to_vec(), 1..=3),
    );
    let what = (prop::sample::select(kinds.to_vec()), prop::sample::select(states.to_vec()));
    let purposes = prop_oneof![
        Just(PurposeClass::ALL.to_vec()),
        prop::sample::subsequence(PurposeClass::ALL.to_vec(), 1..=16)
    ];
    (any::<u128>(), what, who, purposes, when.clone(), prop::option::of(when)).prop_map(
        |(id, (consent_type, status), (controller, recipients), purposes, given_at, expires_at)| {
            ConsentRecord {
                id: ConsentId::from_random(id),
                consent_type,
                status,
                controller: controller.parse().unwrap(),
                recipients: recipients.iter().map(|id| id.parse().unwrap()).collect(),
                purposes,
                recorded_at: given_at,
                given_at,
                given_by: crate::subject::GivenBy::Person,
                expires_at,
                ended_at: None,
                shown: None,
            }
        },
    )
}

/// A yes to some of what a flow lists; now and then to a flow that keeps it for longer, or that passes it on.
fn any_shown() -> impl Strategy<Value = Box<Shown>> {
    let flows =
        RIVALS.agreements().flat_map(|agreement| agreement.flows.iter().map(move |flow| (agreement, flow)));
    let whole = flows.map(|(agreement, flow)| Shown {
        agreement: agreement.id().clone(),
        version: agreement.version,
        flow: flow.id.get_ref().clone(),
        digest: String::new(),
        provider: flow.provider.get_ref().clone(),
        items: flow.items.iter().map(|item| item.with_form().parse().unwrap()).collect(),
        retain_days: flow.obligations.retain_days,
        onward_sharing: flow.obligations.onward_sharing,
    });
    let kept = prop::sample::select(vec![-1i16, 0, 0, 0, 1]);
    let items = prop::collection::vec(prop::bool::weighted(0.6), 64);
    (prop::sample::select(whole.collect::<Vec<_>>()), items, kept).prop_map(|(whole, some, longer)| {
        let items =
            whole.items.into_iter().zip(some).filter_map(|(item, is_in)| is_in.then_some(item)).collect();
        Box::new(Shown { items, retain_days: whole.retain_days.saturating_add_signed(longer), ..whole })
    })
}

/// Consents that were given for a flow of the policies, most of them to some of it alone.
fn any_fitting_consent() -> impl Strategy<Value = ConsentRecord> {
    let shown = (any_shown(), prop::bool::weighted(0.8));
    (any_consent(), shown).prop_map(|(consent, (shown, is_bounded))| {
        let provider = RIVALS.provider(&shown.provider).unwrap();
        let agreement = RIVALS.agreements().find(|one| *one.id() == shown.agreement).unwrap();
        let flow = agreement.flows.iter().find(|flow| *flow.id.get_ref() == shown.flow).unwrap();
        ConsentRecord {
            controller: provider.organisation().clone(),
            recipients: vec![flow.recipient.get_ref().clone()],
            purposes: vec![flow.purpose],
            shown: is_bounded.then_some(shown),
            ..consent
        }
    })
}

fn any_objection() -> impl Strategy<Value = Objection> {
    let states = [
        ObjectionStatus::Received,
        ObjectionStatus::Upheld,
        ObjectionStatus::Refused,
        ObjectionStatus::Withdrawn,
    ];
    let purposes = prop::sample::subsequence(PurposeClass::ALL.to_vec(), 0..=16);
    (any::<u128>(), prop::sample::select(states.to_vec()), purposes).prop_map(|(id, status, purposes)| {
        Objection {
            id: ObjectionId::from_random(id),
            purposes,
            recipients: Vec::new(),
            kind: crate::subject::ObjectionKind::Objection,
            status,
        }
    })
}

fn any_grant() -> impl Strategy<Value = AdHocGrant> {
    let items =
        ["person.name:as-is", "person.address:as-is", "health.home_oxygen:yes-no", "care.package:as-is"];
    let who = (
        prop::sample::select(vec!["gmca", "nhs-england"]),
        prop::sample::select(vec!["practitioner-1", "practitioner-2"]),
        prop::sample::select(vec!["trafford-asc", "nhs-pds"]),
        prop::sample::select(PurposeClass::ALL.to_vec()),
    );
    let when = (-2i64..2, 0i64..3);
    (any::<u128>(), who, prop::sample::subsequence(items.to_vec(), 1..=4), when).prop_map(
        |(id, (recipient, practitioner, provider, purpose), items, (from, hours))| AdHocGrant {
            id: GrantId::from_random(id),
            recipient: recipient.parse().unwrap(),
            practitioner: practitioner.to_owned(),
            provider: provider.parse().unwrap(),
            purpose,
            items: items.iter().map(|item| item.parse().unwrap()).collect(),
            retain_days: 7,
            from: now() + jiff::SignedDuration::from_hours(from),
            until: now() + jiff::SignedDuration::from_hours(from + hours),
        },
    )
}

fn any_emergency() -> impl Strategy<Value = BreakGlass> {
    let who = (
        prop::sample::select(vec!["gmca", "nhs-england", "trafford-council"]),
        prop::sample::select(vec!["practitioner-1", "practitioner-2"]),
        prop::sample::select(PurposeClass::ALL.to_vec()),
        prop::sample::select(BreakGlassReason::ALL.to_vec()),
    );
    (who, any::<bool>(), (-2i64..2, 0i64..3)).prop_map(
        |((organisation, practitioner, purpose, reason), cannot_consent, (from, hours))| BreakGlass {
            id: BreakGlassId::from_random(1),
            organisation: organisation.parse().unwrap(),
            practitioner: practitioner.to_owned(),
            purpose,
            reason,
            cannot_consent,
            from: now() + jiff::SignedDuration::from_hours(from),
            until: now() + jiff::SignedDuration::from_hours(from + hours),
        },
    )
}

/// As [`any_state`], with exceptions that named people made.
fn any_exceptional_state() -> impl Strategy<Value = SubjectState> {
    let grants = prop::collection::vec(any_grant(), 0..6);
    let emergencies = prop::collection::vec(any_emergency(), 0..4);
    (any_state(), grants, emergencies).prop_map(|(state, grants, emergencies)| SubjectState {
        grants,
        emergencies,
        ..state
    })
}

fn any_purpose() -> impl Strategy<Value = PurposeClass> {
    prop_oneof![
        Just(PurposeClass::VitalInterests),
        Just(PurposeClass::SafeguardingAdult),
        Just(PurposeClass::DirectCare),
        prop::sample::select(PurposeClass::ALL.to_vec())
    ]
}

fn any_state() -> impl Strategy<Value = SubjectState> {
    let either = prop_oneof![any_consent(), any_fitting_consent(), any_fitting_consent()];
    let consents = prop::collection::vec(either, 0..8);
    let objections = prop::collection::vec(any_objection(), 0..3);
    (consents, objections, any::<bool>(), any::<bool>()).prop_map(
        |(consents, objections, restricted, deceased)| SubjectState {
            consents,
            objections,
            restricted,
            deceased,
            ..SubjectState::default()
        },
    )
}

fn any_facts() -> impl Strategy<Value = RecordFacts> {
    let born =
        prop::option::of(prop::sample::select(vec!["1940-01-01", "1961-11-23", "1961-11-24", "2010-10-22"]));
    (any::<bool>(), any::<bool>(), any::<bool>(), born).prop_map(
        |(restricted, unconfirmed, deceased, born)| RecordFacts {
            restricted,
            unconfirmed,
            deceased,
            birth_date: born.map(|day| day.parse().unwrap()),
            ..RecordFacts::default()
        },
    )
}

/// Rules in a trace that got as far as an agreement.
const RULES: usize = 20;

fn permitted(decision: &Decision) -> Option<Vec<String>> {
    match decision {
        Decision::Permit(permit) => Some(permit.items().iter().map(ToString::to_string).collect()),
        Decision::Deny(_) | Decision::Refer(_) => None,
    }
}

fn any_role() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["prevention-officer", "social-worker", "clinician", "unattended", "clerk"])
        .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_told_of_a_refusal_does_not_depend_on_the_person(flow in 0u8..5, role in any_role(), asked in any_asked(), one in any_state(), other in any_state(), facts in any_facts()) {
        let question = Question { role, ..question(flow, asked) };
        let first = decide(&question, &RIVALS, &one, now());
        let second = decide(&question, &RIVALS, &other, now());
        prop_assert_eq!(told(&first), told(&second));
        let third = decide_with_facts(&question, &RIVALS, &other, &facts, now());
        prop_assert_eq!(told(&first), told(&third));
    }

    #[test]
    fn the_trace_explains_the_decision(flow in 0u8..5, role in any_role(), asked in any_asked(), state in any_state(), facts in any_facts()) {
        let question = Question { role, ..question(flow, asked) };
        match decide_with_facts(&question, &POLICIES, &state, &facts, now()) {
            Decision::Permit(permit) => {
                prop_assert!(!permit.trace().has_failed());
                prop_assert_eq!(permit.trace().len(), RULES);
            }
            Decision::Deny(denial) => {
                prop_assert!(!denial.reasons.is_empty());
                prop_assert_eq!(denial.trace.reasons().collect::<Vec<_>>(), denial.reasons);
            }
            Decision::Refer(referral) => prop_assert_eq!(referral.trace.reasons().collect::<Vec<_>>(), referral.reasons),
        }
    }

    #[test]
    fn what_the_record_says_never_widens_a_permit(flow in 0u8..5, asked in any_asked(), state in any_state(), facts in any_facts()) {
        let question = question(flow, asked);
        let before = permitted(&decide(&question, &POLICIES, &state, now()));
        if let Some(after) = permitted(&decide_with_facts(&question, &POLICIES, &state, &facts, now())) {
            let before = before.unwrap_or_default();
            prop_assert!(after.iter().all(|item| before.contains(item)));
        }
    }

    #[test]
    fn permitted_is_within_asked_and_agreed(flow in 0u8..5, asked in any_asked(), state in any_state()) {
        let question = question(flow, asked);
        if let Some(items) = permitted(&decide(&question, &POLICIES, &state, now())) {
            prop_assert!(!items.is_empty());
            let agreed: Vec<_> = POLICIES
                .flows(&question.provider, &question.recipient, question.purpose)
                .iter()
                .flat_map(|(_, flow)| flow.items.iter().map(crate::agreement::FlowItem::with_form))
                .collect();
            for item in &items {
                prop_assert!(agreed.contains(item));
                if let Asked::Items(asked) = &question.asked {
                    let named = asked.iter().any(|id| item.split(':').next() == Some(id.as_str()));
                    prop_assert!(named);
                }
            }
            if state.restricted {
                let provider = POLICIES.provider(&question.provider).unwrap();
                let locating = |item: &String| {
                    provider.items.iter().any(|known| known.locating && item.split(':').next() == Some(known.id.get_ref().as_str()))
                };
                prop_assert!(!items.iter().any(locating));
            }
        }
    }

    #[test]
    fn taking_a_consent_away_never_permits_unless_it_said_no(flow in 0u8..5, asked in any_asked(), state in any_state(), pick in any::<prop::sample::Index>()) {
        prop_assume!(!state.consents.is_empty());
        let question = question(flow, asked);
        let before = permitted(&decide(&question, &POLICIES, &state, now()));
        let mut without = state.clone();
        let removed = without.consents.remove(pick.index(without.consents.len()));
        prop_assume!(!removed.status.takes_back());
        let after = permitted(&decide(&question, &POLICIES, &without, now())).unwrap_or_default();
        let before = before.unwrap_or_default();
        prop_assert!(after.iter().all(|item| before.contains(item)), "{after:?} and not {before:?}");
    }

    /// What a person was shown is what their yes permits: of what needs one, nothing leaves that is not in what they were shown of this
    /// flow, unless somebody recorded a yes without saying what was shown.
    #[test]
    fn a_yes_is_to_what_was_shown(flow in 0u8..5, asked in any_asked(), state in any_state(), facts in prop::option::of(any_facts())) {
        let question = question(flow, asked);
        let mut state = state;
        state.consents.retain(|consent| consent.shown.is_some());
        let decision = match &facts {
            Some(facts) => decide_with_facts(&question, &RIVALS, &state, facts, now()),
            None => decide(&question, &RIVALS, &state, now()),
        };
        let Decision::Permit(permit) = decision else { return Ok(()) };
        let reference = permit.authority().agreement().unwrap();
        let agreement = RIVALS.agreements().find(|one| *one.id() == reference.agreement).unwrap();
        let flow = agreement.flows.iter().find(|flow| *flow.id.get_ref() == reference.flow).unwrap();
        let provider = RIVALS.provider(&question.provider).unwrap();
        // From the table, beside the rule itself.
        let always = flow.purpose.rules().explicit_consent == crate::purpose::ConsentNeed::Always;
        let for_confidential = flow.purpose.rules().explicit_consent == crate::purpose::ConsentNeed::ForConfidentialItems;
        let needs = |item: &PermittedItem| always || for_confidential && provider.item(&item.item).unwrap().confidential;
        for item in permit.items().iter().filter(|item| needs(item)) {
            let said = permit.consents().iter().any(|id| {
                let consent = state.consents.iter().find(|consent| consent.id == *id).unwrap();
                let shown = consent.shown.as_ref().unwrap();
                shown.agreement == reference.agreement
                    && shown.flow == reference.flow
                    && shown.retain_days >= flow.obligations.retain_days
                    && shown.items.contains(item)
            });
            prop_assert!(said, "{item}");
        }
    }

    /// Saying what was shown only ever takes something away; of a no, nothing.
    #[test]
    fn what_was_shown_never_widens(flow in 0u8..5, asked in any_asked(), state in any_state()) {
        let question = question(flow, asked);
        let mut without = state.clone();
        without.consents.iter_mut().for_each(|consent| consent.shown = None);
        let (bounded, broad) = (decide(&question, &POLICIES, &state, now()), decide(&question, &POLICIES, &without, now()));
        prop_assert_eq!(told(&bounded), told(&broad));
        let (bounded, broad) = (permitted(&bounded).unwrap_or_default(), permitted(&broad).unwrap_or_default());
        prop_assert!(bounded.iter().all(|item| broad.contains(item)));
    }

    #[test]
    fn an_objection_never_permits(flow in 0u8..5, asked in any_asked(), state in any_state(), objection in any_objection()) {
        let question = question(flow, asked);
        let before = permitted(&decide(&question, &POLICIES, &state, now()));
        let mut more = state.clone();
        more.objections.push(objection.clone());
        let after = permitted(&decide(&question, &POLICIES, &more, now()));
        prop_assert!(before.is_some() || after.is_none());
        if objection.stops(&question.recipient, question.purpose) && question.purpose.rules().objection_blocks {
            prop_assert!(after.is_none());
        }
    }

    #[test]
    fn order_changes_nothing(flow in 0u8..5, asked in any_asked(), state in any_state()) {
        let question = question(flow, asked);
        let mut reversed = state.clone();
        reversed.consents.reverse();
        reversed.objections.reverse();
        let mut asked_backwards = question.clone();
        if let Asked::Items(items) = &mut asked_backwards.asked {
            items.reverse();
        }
        let one = decide(&question, &POLICIES, &state, now());
        let other = decide(&asked_backwards, &POLICIES, &reversed, now());
        prop_assert_eq!(permitted(&one), permitted(&other));
        if let (Decision::Permit(one), Decision::Permit(other)) = (&one, &other) {
            prop_assert_eq!(one.consents(), other.consents());
        }
        if let (Decision::Deny(one), Decision::Deny(other)) = (&one, &other) {
            prop_assert_eq!(&one.reasons, &other.reasons);
        }
    }

    /// No permit without an active, signed, directed flow in its dates, unless a person made an exception that is
    /// for this practitioner, purpose and instant.
    #[test]
    fn every_permit_has_an_authority_that_holds(flow in 0u8..5, purpose in any_purpose(), broken in any::<bool>(), asked in any_asked(), state in any_exceptional_state(), facts in prop::option::of(any_facts())) {
        let mut question = question(flow, asked);
        question.purpose = purpose;
        question.break_glass = broken.then(|| BreakGlassId::from_random(1));
        let decision = match &facts {
            Some(facts) => decide_with_facts(&question, &POLICIES, &state, facts, now()),
            None => decide(&question, &POLICIES, &state, now()),
        };
        let Decision::Permit(permit) = decision else { return Ok(()) };
        prop_assert!(POLICIES.organisation(&question.recipient).unwrap().purposes.contains(&purpose));
        let provider = POLICIES.provider(&question.provider).unwrap();
        match permit.authority() {
            Authority::Agreement(reference) => {
                let agreement = POLICIES.agreements().find(|one| *one.id() == reference.agreement).unwrap();
                prop_assert_eq!(agreement.status.get_ref(), &crate::agreement::Status::Active);
                prop_assert!(agreement.effective_from() <= now() && now() < agreement.effective_until());
                prop_assert!(agreement.is_signed_by(provider.organisation(), now()));
                prop_assert!(agreement.is_signed_by(&question.recipient, now()));
                let flow = agreement.flows.iter().find(|flow| *flow.id.get_ref() == reference.flow).unwrap();
                prop_assert_eq!(flow.provider.get_ref(), &question.provider);
                prop_assert_eq!(flow.recipient.get_ref(), &question.recipient);
                prop_assert_eq!(flow.purpose, purpose);
            }
            Authority::Grant(id) => {
                let fits = |grant: &&AdHocGrant| {
                    grant.id == *id
                        && Some(&grant.practitioner) == question.practitioner.as_ref()
                        && grant.recipient == question.recipient
                        && grant.provider == question.provider
                        && grant.purpose == purpose
                        && grant.from <= now()
                        && now() < grant.until
                };
                let grant = state.grants.iter().find(fits);
                prop_assert!(grant.is_some_and(|grant| permit.items().iter().all(|item| grant.items.contains(item))));
            }
            Authority::Emergency(id) => {
                prop_assert!(matches!(
                    purpose,
                    PurposeClass::VitalInterests | PurposeClass::SafeguardingAdult | PurposeClass::SafeguardingChild
                ));
                let fits = |declared: &BreakGlass| {
                    declared.id == *id
                        && Some(&declared.practitioner) == question.practitioner.as_ref()
                        && declared.organisation == question.recipient
                        && declared.purpose == purpose
                        && declared.reason.stands_alone()
                        && declared.from <= now()
                        && now() < declared.until
                };
                prop_assert!(state.emergencies.iter().any(fits));
                prop_assert!(permit.items().iter().all(|item| provider.item(&item.item).unwrap().emergency));
            }
        }
        if state.restricted || facts.is_some_and(|facts| facts.restricted) {
            prop_assert!(permit.items().iter().all(|item| !provider.item(&item.item).unwrap().locating));
        }
    }

    #[test]
    fn an_unrelated_agreement_changes_nothing(flow in 0u8..5, asked in any_asked(), state in any_state(), kept in 0usize..4) {
        let question = question(flow, asked);
        let mut files = policy_files();
        let covers = |file: &PolicyFile| {
            file.text.contains(&format!("provider = \"{}\"", question.provider))
                && file.text.contains(&format!("purpose = \"{}\"", question.purpose))
        };
        let mut seen = 0;
        files.retain(|file| {
            let unrelated = file.path.starts_with("agreements/") && !covers(file);
            seen += usize::from(unrelated);
            !unrelated || seen > kept
        });
        // A set without any agreement is refused, so there may be nothing to compare with.
        if let Ok(fewer) = PolicySet::load(&files) {
            let with = decide(&question, &POLICIES, &state, now());
            let without = decide(&question, &fewer, &state, now());
            prop_assert_eq!(permitted(&with), permitted(&without));
            prop_assert_eq!(told(&with), told(&without));
        }
    }
}
