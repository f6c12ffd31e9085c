//! What is in an answer beside yes or no: which of several agreements it names, what is withheld, what the recipient
//! takes on. Found wanting by mutation testing.

use super::*;
use crate::{
    identifier::{BreakGlassId, GrantId},
    subject::{AdHocGrant, BreakGlass, BreakGlassReason, Objection, ObjectionStatus},
};

const OVER_65S: &str = "agreements/gm-fire-prevention-over-65s.toml";

/// The project's policies with more agreements like the one for over-65s, each changed.
fn with_agreements(more: &[(&str, &[(&str, &str)])]) -> PolicySet {
    let mut files = policy_files();
    let over_65s = files.iter().find(|file| file.path == OVER_65S).unwrap().text.clone();
    for (id, changes) in more {
        let mut text = over_65s.replacen("gm-fire-prevention-over-65s", id, 1);
        for (find, replace) in *changes {
            assert!(text.contains(find), "{find}");
            text = text.replacen(find, replace, 1);
        }
        files.push(PolicyFile { path: format!("agreements/{id}.toml"), text });
    }
    PolicySet::load(&files).unwrap()
}

fn objecting() -> SubjectState {
    let objection = Objection {
        id: crate::identifier::ObjectionId::from_random(1),
        purposes: Vec::new(),
        recipients: Vec::new(),
        kind: crate::subject::ObjectionKind::Objection,
        status: ObjectionStatus::Received,
    };
    SubjectState { objections: vec![objection], ..SubjectState::default() }
}

fn denied(policies: &PolicySet, question: &Question, state: &SubjectState) -> (String, Vec<Reason>) {
    let Decision::Deny(denial) = decide(question, policies, state, now()) else { panic!("a denial") };
    (denial.agreement.map(|reference| reference.agreement.to_string()).unwrap_or_default(), denial.reasons)
}

#[test]
fn the_agreement_that_is_nearest_to_permitting_is_the_one_that_is_named() {
    let role: (&str, &str) = ("roles = [\"prevention-officer\", \"unattended\"]", "roles = [\"unattended\"]");
    let dpia: (&str, &str) = ("outcome = \"accepted\"", "outcome = \"open\"");
    let asked = question(0, Asked::AllAgreed);
    // Whatever the order of their names, the one that fails least by agreement is named.
    for far in ["aa-first", "zz-last"] {
        let policies = with_agreements(&[(far, &[role])]);
        let named = denied(&policies, &asked, &objecting());
        assert_eq!(named, ("gm-fire-prevention-over-65s".to_owned(), vec![Reason::Objection]), "{far}");
        let stranger = Question { role: "clerk".to_owned(), ..asked.clone() };
        let policies = with_agreements(&[(far, &[role, dpia])]);
        let named = denied(&policies, &stranger, &SubjectState::default());
        assert_eq!(named, ("gm-fire-prevention-over-65s".to_owned(), vec![Reason::RoleNotAllowed]), "{far}");
    }
    // Among equals, the first by name.
    let policies = with_agreements(&[("aa-first", &[]), ("zz-last", &[])]);
    assert_eq!(denied(&policies, &asked, &objecting()).0, "aa-first");
    // And one that permits goes before one that does not, wherever it stands.
    for id in ["aa-first", "zz-last"] {
        let policies = with_agreements(&[(id, &[role])]);
        let Decision::Permit(permit) = decide(&asked, &policies, &SubjectState::default(), now()) else {
            panic!("a permit")
        };
        assert_eq!(permit.authority().agreement().unwrap().agreement.as_str(), "gm-fire-prevention-over-65s");
    }
}

#[test]
fn of_agreements_that_permit_alike_the_one_that_tells_what_is_asked_answers_and_then_the_one_that_binds_most()
{
    let longer = ("retain_days = 180", "retain_days = 365");
    let onward = ("onward_sharing = false", "onward_sharing = true");
    let answers = |more: &[(&str, &[(&str, &str)])], asked: &Question| {
        let Decision::Permit(permit) = decide(asked, &with_agreements(more), &SubjectState::default(), now())
        else {
            panic!("a permit")
        };
        let items = permit.items().len();
        (permit.authority().agreement().unwrap().agreement.to_string(), items)
    };
    let all = question(0, Asked::AllAgreed);
    let over_65s = "gm-fire-prevention-over-65s";
    let whole = answers(&[], &all).1;
    // An earlier name with fewer items does not take away what another agreement allows.
    let start = "[[flows.items]]";
    let text = policy_files().iter().find(|file| file.path == OVER_65S).unwrap().text.clone();
    let finer = ("form = \"age-band\"", "form = \"year\"");
    let dropped = (text.split_at(text.rfind(start).unwrap()).1, "");
    for id in ["aa-first", "zz-last"] {
        assert_eq!(answers(&[(id, &[dropped])], &all), (over_65s.to_owned(), whole), "{id}");
        assert_eq!(answers(&[(id, &[longer])], &all).0, over_65s, "{id}: kept for longer");
        assert_eq!(answers(&[(id, &[onward])], &all).0, over_65s, "{id}: passed on");
        assert_eq!(answers(&[(id, &[finer])], &all).0, over_65s, "{id}: in a finer form");
    }
    // Where both have what is asked for, the one that keeps it for less, however many items it has besides.
    let asked = question(0, Asked::Items(vec!["person.family_name".parse().unwrap()]));
    let shorter = ("retain_days = 180", "retain_days = 30");
    assert_eq!(answers(&[("zz-last", &[shorter, dropped])], &asked).0, "zz-last");
}

#[test]
fn which_agreement_is_named_does_not_depend_on_the_person_where_none_allows_it() {
    let role = ("roles = [\"prevention-officer\", \"unattended\"]", "roles = [\"unattended\"]");
    let suspended = ("status = \"active\"", "status = \"suspended\"");
    let mut files = policy_files();
    let over_65s = files.iter_mut().find(|file| file.path == OVER_65S).unwrap();
    over_65s.text = over_65s.text.replacen(role.0, role.1, 1);
    let other = over_65s.text.replacen("gm-fire-prevention-over-65s", "zz-last", 1).replacen(
        suspended.0,
        suspended.1,
        1,
    );
    files.push(PolicyFile {
        path: "agreements/zz-last.toml".to_owned(),
        text: other.replacen(role.1, role.0, 1),
    });
    let policies = PolicySet::load(&files).unwrap();
    let asked = question(0, Asked::AllAgreed);
    let plain = denied(&policies, &asked, &SubjectState::default());
    assert_eq!(denied(&policies, &asked, &objecting()).0, plain.0);
}

#[test]
fn what_is_not_in_the_answer_is_told_with_its_reason() {
    let items = ["person.family_name", "person.nhs_number"].map(|id| id.parse().unwrap()).to_vec();
    let asked = question(0, Asked::Items(items));
    let Decision::Permit(permit) = decide(&asked, &policies(), &SubjectState::default(), now()) else {
        panic!("a permit")
    };
    let withheld: Vec<_> =
        permit.withheld().iter().map(|(item, why)| (item.as_str(), why.as_str())).collect();
    assert_eq!(withheld, [("person.nhs_number", "not_agreed")]);
    let restricted = SubjectState { restricted: true, ..SubjectState::default() };
    let items = ["person.name", "person.address"].map(|id| id.parse().unwrap()).to_vec();
    let Decision::Permit(permit) = decide(&question(2, Asked::Items(items)), &policies(), &restricted, now())
    else {
        panic!("a permit")
    };
    let withheld: Vec<_> =
        permit.withheld().iter().map(|(item, why)| (item.as_str(), why.as_str())).collect();
    assert_eq!(withheld, [("person.address", "not_available")]);
    let text: String = permit.items()[0].clone().into();
    assert_eq!(text, "person.name:as-is");
}

#[test]
fn a_very_long_question_is_answered_like_a_short_one() {
    let mut items: Vec<crate::identifier::ItemId> =
        (0..300).map(|number| format!("person.item_{number}").parse().unwrap()).collect();
    items.push("person.family_name".parse().unwrap());
    items.push("person.nhs_number".parse().unwrap());
    let decision = decide(&question(0, Asked::Items(items)), &policies(), &SubjectState::default(), now());
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    assert_eq!(
        permit.items().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["person.family_name:as-is"]
    );
    let withheld: Vec<_> = permit.withheld().iter().map(|(item, _)| item.as_str()).collect();
    assert_eq!(withheld.len(), 301);
    assert!(!withheld.contains(&"person.family_name") && withheld.contains(&"person.nhs_number"));
}

#[test]
fn what_the_recipient_takes_on_is_said_in_words() {
    let Decision::Permit(permit) =
        decide(&question(0, Asked::AllAgreed), &policies(), &SubjectState::default(), now())
    else {
        panic!("a permit")
    };
    let obligations = permit.obligations();
    assert_eq!(
        obligations.in_words(None),
        [
            "Use it for fire-prevention-targeting only.",
            "Delete it before 2027-05-22T12:00:00Z.",
            "Do not pass it on.",
            "If something in it is wrong, tell pds-corrections@nhs.example.org.",
            "If it is lost or seen by the wrong people, tell breach@gmfrs.example.org at once.",
        ]
    );
    let wider = Obligations { onward_sharing: true, obtain_consent_to_visit: true, ..obligations.clone() };
    let words = wider.in_words(Some("2026-01-01T00:00:00Z"));
    assert_eq!(words[2], "You may pass it on where your agreement says so.");
    assert!(
        words[5].contains("2026-01-01T00:00:00Z") && words[6].contains("before you book one"),
        "{words:?}"
    );
}

#[test]
fn a_permit_says_what_it_rests_on() {
    let emergency = BreakGlass {
        id: BreakGlassId::from_random(7),
        organisation: "gmca".parse().unwrap(),
        practitioner: "practitioner-1".to_owned(),
        purpose: PurposeClass::VitalInterests,
        reason: BreakGlassReason::ImmediateRiskToLife,
        cannot_consent: true,
        from: now(),
        until: now() + jiff::SignedDuration::from_mins(60),
    };
    let asked = Question {
        purpose: PurposeClass::VitalInterests,
        break_glass: Some(emergency.id.clone()),
        ..question(1, Asked::Items(vec!["health.home_oxygen".parse().unwrap()]))
    };
    let state = SubjectState { emergencies: vec![emergency.clone()], ..SubjectState::default() };
    let decision = decide(&asked, &policies(), &state, now());
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    assert_eq!(permit.break_glass(), Some(&emergency.id));
    assert!(permit.authority().grant().is_none() && permit.authority().agreement().is_none());
    let grant = AdHocGrant {
        id: GrantId::from_random(3),
        recipient: "gmca".parse().unwrap(),
        practitioner: "practitioner-1".to_owned(),
        provider: "trafford-asc".parse().unwrap(),
        purpose: PurposeClass::SafeguardingAdult,
        items: vec!["person.name:as-is".parse().unwrap()],
        retain_days: 7,
        from: now(),
        until: now() + jiff::SignedDuration::from_mins(1),
    };
    let state = SubjectState { grants: vec![grant.clone()], ..SubjectState::default() };
    let items = Asked::Items(vec!["person.name".parse().unwrap(), "person.address".parse().unwrap()]);
    let asked = Question { purpose: PurposeClass::SafeguardingAdult, ..question(1, items) };
    let decision = decide(&asked, &policies(), &state, now());
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    let withheld: Vec<_> =
        permit.withheld().iter().map(|(item, why)| (item.as_str(), why.as_str())).collect();
    assert_eq!(withheld, [("person.address", "not_agreed")]);
    assert_eq!(permit.obligations().retain_until, now() + jiff::SignedDuration::from_hours(7 * 24));
    assert_eq!((permit.authority().grant(), permit.break_glass()), (Some(&grant.id), None));
    // Everything that was granted, of somebody whose record is restricted.
    let wide = AdHocGrant {
        items: vec!["person.name:as-is".parse().unwrap(), "person.address:as-is".parse().unwrap()],
        ..grant
    };
    let state = SubjectState { grants: vec![wide], restricted: true, ..SubjectState::default() };
    let everything = Question { asked: Asked::AllAgreed, ..asked };
    let decision = decide(&everything, &policies(), &state, now());
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    let withheld: Vec<_> =
        permit.withheld().iter().map(|(item, why)| (item.as_str(), why.as_str())).collect();
    assert_eq!(withheld, [("person.address", "not_available")]);
}

#[test]
fn an_emergency_tells_what_it_leaves_out() {
    let emergency = BreakGlass {
        id: BreakGlassId::from_random(7),
        organisation: "gmca".parse().unwrap(),
        practitioner: "practitioner-1".to_owned(),
        purpose: PurposeClass::VitalInterests,
        reason: BreakGlassReason::ImmediateRiskToLife,
        cannot_consent: true,
        from: now(),
        until: now() + jiff::SignedDuration::from_mins(60),
    };
    let items =
        ["health.home_oxygen", "person.address", "care.package"].map(|id| id.parse().unwrap()).to_vec();
    let asked = Question {
        purpose: PurposeClass::VitalInterests,
        break_glass: Some(emergency.id.clone()),
        ..question(1, Asked::Items(items))
    };
    let state = SubjectState { emergencies: vec![emergency], restricted: true, ..SubjectState::default() };
    let decision = decide(&asked, &policies(), &state, now());
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    let mut withheld: Vec<_> =
        permit.withheld().iter().map(|(item, why)| (item.as_str(), why.as_str())).collect();
    withheld.sort_unstable();
    assert_eq!(withheld, [("care.package", "not_agreed"), ("person.address", "not_available")]);
    // And what a guardrail forbids under it is named too.
    let mut files = policy_files();
    let text = "@id(\"no-fire\")\n@about(\"agreement\")\n@practitioner(\"not today, and not without asking\")\n@officer(\"a local rule that nothing goes to the fire service\")\nforbid(principal, action, resource) when { context.purpose == Purpose::\"vital-interests\" };\n";
    files.push(PolicyFile { path: "guardrails/local.cedar".to_owned(), text: text.to_owned() });
    let decision = decide(&asked, &PolicySet::load(&files).unwrap(), &state, now());
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    assert_eq!(denial.guardrails.iter().map(|fired| fired.id.as_str()).collect::<Vec<_>>(), ["no-fire"]);
}

#[test]
fn a_denial_names_the_guardrails_that_forbade_it() {
    let mut files = policy_files();
    let text = "@id(\"no-fire\")\n@about(\"agreement\")\n@practitioner(\"not today, and not without asking\")\n@officer(\"a local rule that nothing goes to the fire service\")\nforbid(principal, action, resource) when { context.purpose == Purpose::\"fire-prevention-targeting\" };\n";
    files.push(PolicyFile { path: "guardrails/local.cedar".to_owned(), text: text.to_owned() });
    let policies = PolicySet::load(&files).unwrap();
    let Decision::Deny(denial) =
        decide(&question(0, Asked::AllAgreed), &policies, &SubjectState::default(), now())
    else {
        panic!("a denial")
    };
    assert_eq!(denial.reasons, [Reason::GuardrailForbids]);
    assert_eq!(denial.guardrails.iter().map(|fired| fired.id.as_str()).collect::<Vec<_>>(), ["no-fire"]);
}

#[test]
fn a_named_person_can_allow_what_the_law_lets_a_person_decide() {
    use PurposeClass as P;
    let may: Vec<_> = PurposeClass::ALL.into_iter().filter(|purpose| may_be_granted(*purpose)).collect();
    assert_eq!(
        may,
        [
            P::FirePreventionTargeting,
            P::FraudCrime,
            P::SafeguardingAdult,
            P::SafeguardingChild,
            P::SubjectAccess,
            P::VitalInterests,
        ]
    );
    let may: Vec<_> = PurposeClass::ALL.into_iter().filter(|purpose| may_break_glass(*purpose)).collect();
    assert_eq!(may, [P::DirectCare, P::SafeguardingAdult, P::SafeguardingChild, P::VitalInterests]);
}

#[test]
fn a_guardrail_sees_a_mark_though_location_is_left_out() {
    let mut files = policy_files();
    let text = "@id(\"no-marked\")\n@about(\"person\")\n@practitioner(\"no record can be released; check the identifier against your source\")\n@officer(\"a local rule that nothing of a restricted record goes anywhere\")\nforbid(principal, action, resource) when { context.restricted == Restriction::\"restricted\" };\n";
    files.push(PolicyFile { path: "guardrails/local.cedar".to_owned(), text: text.to_owned() });
    let policies = PolicySet::load(&files).unwrap();
    let asked = question(2, Asked::Items(vec!["person.name".parse().unwrap()]));
    let marked = SubjectState { restricted: true, ..SubjectState::default() };
    assert!(matches!(decide(&asked, &policies, &SubjectState::default(), now()), Decision::Permit(_)));
    assert_eq!(denied(&policies, &asked, &marked).1, [Reason::GuardrailForbidsPerson]);
}
