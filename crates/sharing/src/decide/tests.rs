//! The decision on the project's own policies. Single decisions are in `policies/cases`; here is what takes two
//! decisions, or a look inside a permit.

use jiff::Timestamp;

use super::*;
use crate::{
    cases,
    identifier::{ConsentId, SubjectScheme},
    policy::PolicyFile,
    subject::{ConsentRecord, ConsentStatus, ConsentType},
};

mod answers;
mod properties;
mod shown;

/// The project's policies.
pub(crate) fn policy_files() -> Vec<PolicyFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for folder in ["agreements", "cases", "catalogue", "frameworks", "guardrails", "organisations"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(PolicyFile { path: format!("{folder}/{name}"), text });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
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
    // These need two decisions: `a_changed_agreement_is_not_released_under`, `a_grant_that_ends_is_not_released_under`.
    let files = policy_files();
    let texts: String =
        files.iter().filter(|file| file.path.starts_with("cases/")).map(|file| file.text.as_str()).collect();
    let two = [Reason::PolicyChanged, Reason::ExceptionEnded];
    let untried = Reason::ALL.into_iter().filter(|reason| !two.contains(reason));
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
        unknown_item[0].starts_with("agreements/gm-fire-prevention-over-65s.toml:82: `nhs-pds` has no item"),
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
    // The order of forms says what widens an agreement: one that contradicts what the forms tell would show less as more.
    for order in ["[\"yes-no\", \"as-is\"]", "[\"as-is\", \"as-is\"]"] {
        let upside_down = broken("catalogue/nhs-pds.toml", "[\"as-is\", \"yes-no\"]", order);
        assert!(
            upside_down.iter().any(|problem| problem.contains("the one that tells most first")),
            "{upside_down:?}"
        );
    }
    let assured =
        "assurances = [{ scheme = \"dspt\", link = \"javascript:alert(1)\", expires_on = \"2027-06-30\" }]\n";
    let script = broken("organisations/gmca.toml", "kind = ", &format!("{assured}kind = "));
    assert!(script[0].contains("`assurances.link` is an address"), "{script:?}");
    let script = broken(
        "frameworks/gm-information-sharing-accord.toml",
        "title = ",
        "link = \"data:text/html,x\"\ntitle = ",
    );
    assert!(script[0].contains("`link` is an address"), "{script:?}");
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
        practitioner: Some("practitioner-1".to_owned()),
        break_glass: None,
        provider: provider.parse().unwrap(),
        purpose,
        subject: SubjectIdentifier::parse(scheme, value).unwrap(),
        asked,
        list_people: None,
        agreements: None,
    }
}

const SANDERSON: &str =
    include_str!("../../../../tests/upstreams/records/pds/patients/patient_9732110317.json");

/// Decides under `before`, reads the record, and decides again under `after`.
fn confirmed(before: &PolicySet, after: &PolicySet, body: &str) -> Result<ConfirmedPermit, Vec<Reason>> {
    let question = question(0, Asked::AllAgreed);
    let state = SubjectState::default();
    let Decision::Permit(permit) = decide(&question, before, &state, now()) else { panic!("a permit") };
    let examined = permit.examine(before.provider(&question.provider).unwrap(), body.as_bytes()).unwrap();
    permit.confirm(&question, after, &state, &examined, now()).map_err(|denial| denial.reasons)
}

fn edited(path: &str, find: &str, replace: &str) -> PolicySet {
    let mut files = policy_files();
    let file = files.iter_mut().find(|file| file.path == path).unwrap();
    assert!(file.text.contains(find), "{find}");
    file.text = file.text.replace(find, replace);
    PolicySet::load(&files).unwrap()
}

#[test]
fn a_changed_agreement_is_not_released_under() {
    let path = "agreements/gm-fire-prevention-over-65s.toml";
    let before = policies();
    assert!(confirmed(&before, &before, SANDERSON).is_ok());
    let elsewhere = edited("agreements/gm-fire-return-referral.toml", "version = 1", "version = 2");
    assert!(confirmed(&before, &elsewhere, SANDERSON).is_ok(), "another agreement's change is no matter");
    for (find, replace) in [
        ("version = 2", "version = 3"),
        ("status = \"active\"", "status = \"suspended\""),
        ("retain_days = 180", "retain_days = 90"),
        ("purpose = \"fire-prevention-targeting\"", "purpose = \"safe-and-well-referral\""),
    ] {
        let reasons = confirmed(&before, &edited(path, find, replace), SANDERSON).unwrap_err();
        assert_eq!(reasons, [Reason::PolicyChanged], "{replace}");
    }
}

#[test]
fn a_grant_that_ends_is_not_released_under() {
    let policies = policies();
    let grant = crate::subject::AdHocGrant {
        id: crate::identifier::GrantId::from_random(1),
        recipient: "trafford-council".parse().unwrap(),
        practitioner: "practitioner-1".to_owned(),
        provider: "nhs-pds".parse().unwrap(),
        purpose: PurposeClass::SafeguardingAdult,
        items: vec!["person.name:as-is".parse().unwrap()],
        retain_days: 7,
        from: now(),
        until: now() + jiff::SignedDuration::from_mins(1),
    };
    let question = Question { purpose: PurposeClass::SafeguardingAdult, ..question(2, Asked::AllAgreed) };
    let state = SubjectState { grants: vec![grant], ..SubjectState::default() };
    let Decision::Permit(permit) = decide(&question, &policies, &state, now()) else { panic!("a permit") };
    let provider = policies.provider(&question.provider).unwrap();
    let examined = permit.examine(provider, SANDERSON.as_bytes()).unwrap();
    let confirm = |state: &SubjectState, seconds| {
        let at = now() + jiff::SignedDuration::from_secs(seconds);
        permit.confirm(&question, &policies, state, &examined, at).map_err(|denial| denial.reasons)
    };
    assert!(confirm(&state, 59).is_ok());
    assert_eq!(confirm(&state, 60).unwrap_err(), [Reason::ExceptionEnded]);
    assert_eq!(confirm(&SubjectState::default(), 0).unwrap_err(), [Reason::ExceptionEnded]);
}

#[test]
fn no_other_agreement_takes_over_once_the_record_is_read() {
    // The second agreement has no age limit. Were it to take over for somebody who is 36, the caller could tell
    // from the answer that the first one's limit was what failed.
    let mut files = policy_files();
    let over_65s =
        files.iter().find(|file| file.path == "agreements/gm-fire-prevention-over-65s.toml").unwrap();
    let anybody = over_65s.text.replacen("gm-fire-prevention-over-65s", "gm-fire-prevention-pilot", 1);
    let anybody = anybody.replace("cohort = { age_from_years = 65 }", "");
    assert_ne!(anybody.len(), over_65s.text.len());
    files.push(PolicyFile { path: "agreements/gm-fire-prevention-pilot.toml".to_owned(), text: anybody });
    let both = PolicySet::load(&files).unwrap();
    assert!(confirmed(&both, &both, SANDERSON).is_ok());
    let young = SANDERSON.replace("1936-06-21", "1990-06-21");
    assert_ne!(young, SANDERSON);
    assert_eq!(confirmed(&both, &both, &young).unwrap_err(), [Reason::OutOfCohort]);
}

/// The project's policies and, for each pair and purpose, a suspended second agreement that differs in role and
/// in how the duty of confidence is met.
fn rival_policies() -> PolicySet {
    let mut files = policy_files();
    let agreements: Vec<_> =
        files.iter().filter(|file| file.path.starts_with("agreements/")).cloned().collect();
    for file in agreements {
        let text = file
            .text
            .replacen("id = \"", "id = \"a-rival-", 1)
            .replace("status = \"active\"", "status = \"suspended\"")
            .replace("roles = [", "roles = [\"clerk\", ")
            .replace("\"implied-consent\"", "\"explicit-consent\"");
        files.push(PolicyFile { path: file.path.replace("agreements/", "agreements/a-rival-"), text });
    }
    PolicySet::load(&files).unwrap()
}

/// What the caller is told: the outcome, and the reasons that are not about the person.
fn told(decision: &Decision) -> (&'static str, Vec<Reason>) {
    match decision {
        Decision::Deny(denial) if !denial.depends_on_person() => {
            let told = denial.reasons.iter().copied().filter(|reason| !reason.depends_on_person());
            ("refused", told.collect())
        }
        Decision::Permit(_) | Decision::Deny(_) => ("a matter of the person", Vec::new()),
        Decision::Refer(_) => ("referred", Vec::new()),
    }
}

#[test]
fn which_agreement_a_refusal_names_does_not_tell_whether_there_is_a_consent() {
    // One agreement does not know the role; the other is suspended, and would need a consent besides.
    let policies = rival_policies();
    let question = Question { role: "clerk".to_owned(), ..question(2, Asked::AllAgreed) };
    let consent = ConsentRecord {
        id: ConsentId::from_random(1),
        consent_type: ConsentType::ConfidentialityConsent,
        status: ConsentStatus::Given,
        controller: "nhs-england".parse().unwrap(),
        recipients: vec!["trafford-council".parse().unwrap()],
        purposes: vec![PurposeClass::DirectCare],
        recorded_at: Timestamp::UNIX_EPOCH,
        given_at: Timestamp::UNIX_EPOCH,
        given_by: crate::subject::GivenBy::Person,
        expires_at: None,
        ended_at: None,
        shown: None,
    };
    let consenting = SubjectState { consents: vec![consent], ..SubjectState::default() };
    let without = told(&decide(&question, &policies, &SubjectState::default(), now()));
    assert_eq!(without, ("refused", vec![Reason::AgreementNotActive]));
    assert_eq!(told(&decide(&question, &policies, &consenting, now())), without);
}

/// What the person said to the referral that fire receives, recorded as they said it.
fn said(number: u128, status: ConsentStatus, given_at: Timestamp) -> ConsentRecord {
    ConsentRecord {
        id: ConsentId::from_random(number),
        consent_type: ConsentType::ConfidentialityConsent,
        status,
        controller: "trafford-council".parse().unwrap(),
        recipients: vec!["gmca".parse().unwrap()],
        purposes: vec![PurposeClass::SafeAndWellReferral],
        recorded_at: given_at,
        given_at,
        given_by: crate::subject::GivenBy::Person,
        expires_at: None,
        ended_at: None,
        shown: None,
    }
}

#[test]
fn a_visit_needs_its_own_consent() {
    let question = question(1, Asked::AllAgreed);
    let consent = |number, consent_type| ConsentRecord {
        consent_type,
        ..said(number, ConsentStatus::Given, Timestamp::UNIX_EPOCH)
    };
    let to_share = consent(1, ConsentType::ConfidentialityConsent);
    let to_visit = consent(2, ConsentType::ConsentToService);
    let obligations = |consents: Vec<ConsentRecord>| {
        let state = SubjectState { consents, ..SubjectState::default() };
        match decide(&question, &policies(), &state, now()) {
            Decision::Permit(permit) => (permit.obligations().clone(), permit.consents().to_vec()),
            other => panic!("{other:?}"),
        }
    };
    let (alone, relied_on) = obligations(vec![to_share.clone()]);
    assert!(alone.obtain_consent_to_visit);
    assert_eq!(alone.retain_until.to_string(), "2027-11-23T12:00:00Z");
    assert!(!alone.onward_sharing);
    assert_eq!(relied_on, std::slice::from_ref(&to_share.id));
    let (both, relied_on) = obligations(vec![to_visit, to_share.clone()]);
    assert!(!both.obtain_consent_to_visit);
    assert_eq!(relied_on, [to_share.id], "no data moves on the consent to a visit");
}

#[test]
fn a_refusal_from_a_clock_that_is_ahead_counts_and_a_consent_from_it_does_not_yet() {
    let question = question(1, Asked::AllAgreed);
    let (earlier, soon) = (Timestamp::UNIX_EPOCH, now() + jiff::SignedDuration::from_millis(50));
    let permits = |consents: Vec<ConsentRecord>| {
        let state = SubjectState { consents, ..SubjectState::default() };
        matches!(decide(&question, &policies(), &state, now()), Decision::Permit(_))
    };
    let given = said(1, ConsentStatus::Given, earlier);
    assert!(permits(vec![given.clone()]));
    assert!(!permits(vec![given.clone(), said(2, ConsentStatus::Refused, soon)]));
    assert!(!permits(vec![said(2, ConsentStatus::Given, soon)]));
    assert!(permits(vec![given, said(2, ConsentStatus::Requested, soon)]));
}

/// Times that people write are rounded, and clocks differ: what was said about the same time is told apart by the ledger's order, too.
#[test]
fn a_no_of_about_the_same_time_outweighs_a_yes_that_is_not_recorded_after_it() {
    let question = question(1, Asked::AllAgreed);
    let hours_ago = |hours| now() - jiff::SignedDuration::from_hours(hours);
    let permits = |[yes, no]: [(i64, i64); 2]| {
        let of = |number, status, (given, recorded)| ConsentRecord {
            recorded_at: hours_ago(recorded),
            ..said(number, status, hours_ago(given))
        };
        let consents = vec![of(1, ConsentStatus::Given, yes), of(2, ConsentStatus::Refused, no)];
        let state = SubjectState { consents, ..SubjectState::default() };
        matches!(decide(&question, &policies(), &state, now()), Decision::Permit(_))
    };
    // Hours ago: a yes, given and recorded, and a no.
    assert!(permits([(2, 1), (3, 3)]), "the yes is later by both");
    assert!(!permits([(2, 2), (3, 1)]), "a no to the day, recorded after the yes");
    assert!(!permits([(2, 2), (3, 2)]), "recorded at once");
    assert!(!permits([(3, 1), (2, 2)]), "a yes from before the no");
    assert!(!permits([(20, 20), (67, 1)]), "about the same time");
    assert!(permits([(20, 20), (68, 1)]), "a no from long before, recorded late");
}

#[test]
fn a_token_limited_to_another_agreement_permits_nothing() {
    let mut question = question(0, Asked::AllAgreed);
    question.agreements = Some(vec!["gm-safe-and-well-referral".parse().unwrap()]);
    let decision = decide(&question, &policies(), &SubjectState::default(), now());
    assert!(matches!(decision, Decision::Deny(denial) if denial.reasons == [Reason::NoAgreement]));
}
