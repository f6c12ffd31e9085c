//! Properties of the decision over generated worlds, on the project's own policies. Single decisions are in
//! `policies/cases`.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    cases,
    identifier::{ConsentId, ObjectionId, SubjectScheme},
    policy::PolicyFile,
    subject::{ConsentRecord, ConsentStatus, ConsentType, Objection, ObjectionStatus},
};

/// The project's policies.
pub(crate) fn policy_files() -> Vec<PolicyFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for folder in ["agreements", "cases", "catalogue", "organisations"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(PolicyFile { path: format!("{folder}/{name}"), text });
        }
    }
    files
}

pub(crate) fn policies() -> PolicySet {
    PolicySet::load(&policy_files()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

#[test]
fn every_case_holds() {
    let failed: Vec<_> =
        cases::run(&policy_files()).into_iter().filter(|result| result.outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_reason_has_a_case() {
    // `policy-changed` needs two decisions; the acceptance tests have it.
    let files = policy_files();
    let texts: String =
        files.iter().filter(|file| file.path.starts_with("cases/")).map(|file| file.text.as_str()).collect();
    let untried = Reason::ALL.into_iter().filter(|reason| *reason != Reason::PolicyChanged);
    for reason in untried {
        assert!(texts.contains(&format!("\"{}\"", reason.as_str())), "no case for {}", reason.as_str());
    }
}

#[test]
fn the_printed_matrix_is_not_stale() {
    let printed = include_str!("../../../../policies/matrix.txt");
    let current = cases::matrix(&policies(), cases::MATRIX_AT.parse().unwrap());
    assert!(
        printed == current,
        "run `concordat policy matrix > policies/matrix.txt` and review the difference"
    );
}

#[test]
fn a_broken_policy_is_named_by_file_and_line() {
    let broken = |path: &str, find: &str, replace: &str| {
        let mut files = policy_files();
        let file = files.iter_mut().find(|file| file.path == path).unwrap();
        assert!(file.text.contains(find), "{find}");
        file.text = file.text.replacen(find, replace, 1);
        PolicySet::load(&files)
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.to_string())
            .collect::<Vec<_>>()
    };
    let agreement = "agreements/gm-fire-prevention-over-65s.toml";
    let unknown_item = broken(agreement, "item = \"person.gender\"", "item = \"person.shoe_size\"");
    assert!(
        unknown_item[0].starts_with("agreements/gm-fire-prevention-over-65s.toml:81: `nhs-pds` has no item"),
        "{unknown_item:?}"
    );
    let undirected = broken(agreement, "recipient = \"gmca\"", "recipient = \"nobody\"");
    assert!(undirected[0].contains("no file in organisations/ defines `nobody`"), "{undirected:?}");
    let unjustified =
        broken(agreement, "justification = \"The visit is to a home.\"", "justification = \" \"");
    assert!(unjustified[0].contains("has no justification"), "{unjustified:?}");
    let misspelt = broken(agreement, "review_on", "reviewed_on");
    assert!(
        misspelt[0].starts_with("agreements/gm-fire-prevention-over-65s.toml:13: unknown field"),
        "{misspelt:?}"
    );
    let health = broken(agreement, "provider = \"nhs-pds\"", "provider = \"trafford-asc\"");
    assert!(!health.is_empty());
    let clear_text = broken("catalogue/nhs-pds.toml", "https://127", "http://127");
    assert!(clear_text[0].contains("must begin with https://"), "{clear_text:?}");
}

fn question(flow: u8, asked: Asked) -> Question {
    let (recipient, role, provider, purpose, scheme, value) = match flow {
        0 => (
            "gmca",
            "prevention-officer",
            "nhs-pds",
            PurposeClass::FirePreventionTargeting,
            "nhs-number",
            "9732110317",
        ),
        1 => (
            "gmca",
            "prevention-officer",
            "trafford-asc",
            PurposeClass::SafeAndWellReferral,
            "local:trafford-council",
            "SWR-1",
        ),
        2 => (
            "trafford-council",
            "social-worker",
            "nhs-pds",
            PurposeClass::DirectCare,
            "nhs-number",
            "9732110317",
        ),
        3 => {
            ("nhs-england", "clinician", "trafford-asc", PurposeClass::DirectCare, "nhs-number", "9732110317")
        }
        _ => (
            "gmca",
            "prevention-officer",
            "trafford-asc",
            PurposeClass::SafeguardingAdult,
            "nhs-number",
            "9732110317",
        ),
    };
    let scheme: SubjectScheme = scheme.parse().unwrap();
    Question {
        recipient: recipient.parse().unwrap(),
        role: role.to_owned(),
        provider: provider.parse().unwrap(),
        purpose,
        subject: SubjectIdentifier::parse(scheme, value).unwrap(),
        asked,
        agreements: None,
    }
}

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
    let kinds = [
        ConsentType::GdprConsent,
        ConsentType::ConfidentialityConsent,
        ConsentType::ConsentToService,
        ConsentType::Preference,
    ];
    let states = [
        ConsentStatus::Given,
        ConsentStatus::Renewed,
        ConsentStatus::Refused,
        ConsentStatus::Withdrawn,
        ConsentStatus::Unknown,
    ];
    let organisations = ["gmca", "nhs-england", "trafford-council"];
    let when = (-3i64..3).prop_map(|hours| now() + jiff::SignedDuration::from_hours(hours));
    let who = (
        prop::sample::select(organisations.to_vec()),
        prop::sample::subsequence(organisations.to_vec(), 1..=3),
    );
    let what = (prop::sample::select(kinds.to_vec()), prop::sample::select(states.to_vec()));
    let purposes = prop::sample::subsequence(PurposeClass::ALL.to_vec(), 1..=16);
    (any::<u128>(), what, who, purposes, when.clone(), prop::option::of(when)).prop_map(
        |(id, (consent_type, status), (controller, recipients), purposes, given_at, expires_at)| {
            ConsentRecord {
                id: ConsentId::from_random(id),
                consent_type,
                status,
                controller: controller.parse().unwrap(),
                recipients: recipients.iter().map(|id| id.parse().unwrap()).collect(),
                purposes,
                given_at,
                expires_at,
            }
        },
    )
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
        Objection { id: ObjectionId::from_random(id), purposes, recipients: Vec::new(), status }
    })
}

fn any_state() -> impl Strategy<Value = SubjectState> {
    let consents = prop::collection::vec(any_consent(), 0..8);
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

fn permitted(decision: &Decision) -> Option<Vec<String>> {
    match decision {
        Decision::Permit(permit) => Some(permit.items().iter().map(ToString::to_string).collect()),
        Decision::Deny(_) | Decision::Refer(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn permitted_is_within_asked_and_agreed(flow in 0u8..5, asked in any_asked(), state in any_state()) {
        let policies = policies();
        let question = question(flow, asked);
        if let Some(items) = permitted(&decide(&question, &policies, &state, now())) {
            prop_assert!(!items.is_empty());
            let agreed: Vec<_> = policies
                .flows(&question.provider, &question.recipient, question.purpose)
                .iter()
                .flat_map(|(_, flow)| flow.items.iter().map(|item| format!("{}:{}", item.item.get_ref(), item.form)))
                .collect();
            for item in &items {
                prop_assert!(agreed.contains(item));
                if let Asked::Items(asked) = &question.asked {
                    let named = asked.iter().any(|id| item.split(':').next() == Some(id.as_str()));
                    prop_assert!(named);
                }
            }
            if state.restricted {
                let provider = policies.provider(&question.provider).unwrap();
                let locating = |item: &String| {
                    provider.items.iter().any(|known| known.locating && item.split(':').next() == Some(known.id.get_ref().as_str()))
                };
                prop_assert!(!items.iter().any(locating));
            }
        }
    }

    #[test]
    fn taking_a_consent_away_never_permits_unless_it_was_a_refusal(flow in 0u8..5, asked in any_asked(), state in any_state(), pick in any::<prop::sample::Index>()) {
        prop_assume!(!state.consents.is_empty());
        let policies = policies();
        let question = question(flow, asked);
        let before = permitted(&decide(&question, &policies, &state, now()));
        let mut without = state.clone();
        let removed = without.consents.remove(pick.index(without.consents.len()));
        prop_assume!(removed.status != ConsentStatus::Refused);
        let after = permitted(&decide(&question, &policies, &without, now()));
        prop_assert!(before.is_some() || after.is_none());
    }

    #[test]
    fn an_objection_never_permits(flow in 0u8..5, asked in any_asked(), state in any_state(), objection in any_objection()) {
        let policies = policies();
        let question = question(flow, asked);
        let before = permitted(&decide(&question, &policies, &state, now()));
        let mut more = state.clone();
        more.objections.push(objection.clone());
        let after = permitted(&decide(&question, &policies, &more, now()));
        prop_assert!(before.is_some() || after.is_none());
        if objection.stops(&question.recipient, question.purpose) && question.purpose.rules().objection_blocks {
            prop_assert!(after.is_none());
        }
    }

    #[test]
    fn order_changes_nothing(flow in 0u8..5, asked in any_asked(), state in any_state()) {
        let policies = policies();
        let question = question(flow, asked);
        let mut reversed = state.clone();
        reversed.consents.reverse();
        reversed.objections.reverse();
        let one = decide(&question, &policies, &state, now());
        let other = decide(&question, &policies, &reversed, now());
        prop_assert_eq!(permitted(&one), permitted(&other));
    }
}

#[test]
fn an_unrelated_agreement_changes_nothing() {
    let mut files = policy_files();
    files.retain(|file| {
        file.path != "agreements/trafford-asc-nhs-direct-care.toml" && !file.path.starts_with("cases/")
    });
    let fewer = PolicySet::load(&files).unwrap();
    let question = question(0, Asked::AllAgreed);
    let state = SubjectState::default();
    let with = permitted(&decide(&question, &policies(), &state, now()));
    assert!(with.is_some());
    assert_eq!(with, permitted(&decide(&question, &fewer, &state, now())));
}

#[test]
fn a_token_limited_to_another_agreement_permits_nothing() {
    let mut question = question(0, Asked::AllAgreed);
    question.agreements = Some(vec!["gm-safe-and-well-referral".parse().unwrap()]);
    let decision = decide(&question, &policies(), &SubjectState::default(), now());
    assert!(matches!(decision, Decision::Deny(denial) if denial.reasons == [Reason::NoAgreement]));
}
