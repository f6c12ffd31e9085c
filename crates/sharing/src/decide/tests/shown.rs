//! What a person was shown when they said yes, and what that permits: of the referral that fire receives, and of versions of it.

use super::*;
use crate::subject::Shown;

const REFERRAL: &str = "agreements/gm-safe-and-well-referral.toml";
const PREVENTION: &str = "agreements/gm-fire-prevention-over-65s.toml";

/// The project's policies with these texts in place of others.
fn changed(changes: &[(&str, &str, &str)]) -> PolicySet {
    let mut files = policy_files();
    for (path, find, replace) in changes {
        let file = files.iter_mut().find(|file| file.path == *path).unwrap();
        assert!(file.text.contains(find), "{find}");
        file.text = file.text.replace(find, replace);
    }
    PolicySet::load(&files).unwrap()
}

/// What the flow of the referral lists in this set.
fn shown(set: &PolicySet) -> Shown {
    let agreement = set.agreements().find(|one| one.id().as_str() == "gm-safe-and-well-referral").unwrap();
    let flow = &agreement.flows[0];
    Shown {
        agreement: agreement.id().clone(),
        version: agreement.version,
        flow: flow.id.get_ref().clone(),
        digest: set.agreement_digest(agreement.id()).to_owned(),
        provider: flow.provider.get_ref().clone(),
        items: flow.items.iter().map(|item| item.with_form().parse().unwrap()).collect(),
        retain_days: flow.obligations.retain_days,
        onward_sharing: flow.obligations.onward_sharing,
    }
}

fn said(number: u128, status: ConsentStatus, given_at: Timestamp, shown: Option<Shown>) -> ConsentRecord {
    ConsentRecord { shown: shown.map(Box::new), ..super::said(number, status, given_at) }
}

fn yes(shown: Shown) -> ConsentRecord {
    said(1, ConsentStatus::Given, Timestamp::UNIX_EPOCH, Some(shown))
}

fn told(set: &PolicySet, asked: Asked, consents: Vec<ConsentRecord>) -> Decision {
    decide(&question(1, asked), set, &SubjectState { consents, ..SubjectState::default() }, now())
}

/// The items permitted and withheld; or the reasons.
type Told = (Vec<String>, Vec<(String, Withheld)>);

fn outcome(decision: &Decision) -> Result<Told, Vec<Reason>> {
    match decision {
        Decision::Permit(permit) => {
            let withheld = permit.withheld().iter().map(|(item, why)| (item.to_string(), *why));
            Ok((permit.items().iter().map(ToString::to_string).collect(), withheld.collect()))
        }
        Decision::Deny(denial) => Err(denial.reasons.clone()),
        Decision::Refer(referral) => Err(referral.reasons.clone()),
    }
}

#[test]
fn a_later_version_tells_no_more_than_was_shown() {
    let then = policies();
    let shown = shown(&then);
    let whole = outcome(&told(&then, Asked::AllAgreed, vec![yes(shown.clone())])).unwrap();
    assert_eq!((whole.0.len(), whole.1.len()), (shown.items.len(), 0), "all that was shown");

    let more = "[[flows.items]]\nitem = \"needs.sight\"\nform = \"as-is\"\njustification = \"Decides the alarm.\"\n\n";
    let first = "[[flows.items]]\nitem = \"person.name\"";
    let later =
        changed(&[(REFERRAL, "version = 1", "version = 2"), (REFERRAL, first, &format!("{more}{first}"))]);
    let (permitted, withheld) = outcome(&told(&later, Asked::AllAgreed, vec![yes(shown.clone())])).unwrap();
    assert_eq!(permitted, whole.0, "what was shown then, and no more");
    // In the words that say that the source has none.
    assert_eq!(withheld, [("needs.sight".to_owned(), Withheld::NotAvailable)]);
    let alone = Asked::Items(vec!["needs.sight".parse().unwrap()]);
    assert_eq!(
        outcome(&told(&later, alone.clone(), vec![yes(shown.clone())])),
        Err(vec![Reason::ConsentForOther])
    );
    // Asked again, they say yes to that, too; and whoever records a consent without saying what was shown vouches for it.
    let again = said(2, ConsentStatus::Given, now(), Some(super::shown::shown(&later)));
    let both = told(&later, Asked::AllAgreed, vec![yes(shown.clone()), again.clone()]);
    assert_eq!(outcome(&both).unwrap().0.len(), shown.items.len() + 1);
    assert!(matches!(&both, Decision::Permit(permit) if permit.consents() == [again.id]));
    let broad = said(3, ConsentStatus::Given, Timestamp::UNIX_EPOCH, None);
    assert!(outcome(&told(&later, alone, vec![yes(shown), broad])).is_ok());
}

#[test]
fn two_answers_to_parts_of_it_are_both_relied_on() {
    let set = policies();
    let of = |places: std::ops::Range<usize>| {
        let whole = shown(&set);
        Shown { items: whole.items[places].to_vec(), ..whole }
    };
    let one = said(1, ConsentStatus::Given, Timestamp::UNIX_EPOCH, Some(of(0..2)));
    let other = said(2, ConsentStatus::Given, now(), Some(of(1..3)));
    let decision = told(&set, Asked::AllAgreed, vec![one.clone(), other.clone()]);
    let Decision::Permit(permit) = &decision else { panic!("{decision:?}") };
    assert_eq!(permit.items().len(), 3);
    assert_eq!(permit.consents(), [other.id, one.id]);
}

#[test]
fn it_is_a_yes_to_no_other_flow_and_to_nothing_kept_longer_or_passed_on() {
    let set = policies();
    let whole = shown(&set);
    let deny = |set: &PolicySet, shown: Shown| outcome(&told(set, Asked::AllAgreed, vec![yes(shown)]));
    let other = Err(vec![Reason::ConsentForOther]);
    assert_eq!(deny(&set, Shown { flow: "another".parse().unwrap(), ..whole.clone() }), other);
    assert_eq!(deny(&set, Shown { agreement: "another".parse().unwrap(), ..whole.clone() }), other);
    assert_eq!(deny(&set, Shown { provider: "nhs-pds".parse().unwrap(), ..whole.clone() }), other);
    assert_eq!(deny(&set, Shown { retain_days: 364, ..whole.clone() }), other);
    assert_eq!(deny(&set, Shown { items: Vec::new(), ..whole.clone() }), other);
    let passed_on = changed(&[(REFERRAL, "onward_sharing = false", "onward_sharing = true")]);
    assert_eq!(deny(&passed_on, whole.clone()), other);
    // Less than they were told is within it.
    let shorter = changed(&[(REFERRAL, "retain_days = 365", "retain_days = 30")]);
    assert!(deny(&shorter, whole.clone()).is_ok());
    assert!(deny(&set, Shown { onward_sharing: true, version: 7, digest: String::new(), ..whole }).is_ok());
}

#[test]
fn a_form_that_tells_less_is_within_it_and_one_that_tells_more_is_not() {
    let set = policies();
    let asked = Asked::Items(vec!["person.birth_date".parse().unwrap()]);
    let with = |form: &str| {
        let item = format!("person.birth_date:{form}").parse().unwrap();
        outcome(&told(&set, asked.clone(), vec![yes(Shown { items: vec![item], ..shown(&set) })]))
    };
    for form in ["as-is", "year", "age-band"] {
        assert_eq!(with(form).unwrap().0, ["person.birth_date:age-band"], "{form}");
    }
    assert_eq!(with("yes-no"), Err(vec![Reason::ConsentForOther]));
}

#[test]
fn a_no_is_to_all_of_it_whatever_was_shown() {
    let set = policies();
    let whole = shown(&set);
    let little =
        Shown { items: whole.items[..1].to_vec(), flow: "another".parse().unwrap(), ..whole.clone() };
    for status in [ConsentStatus::Refused, ConsentStatus::Withdrawn] {
        let no = said(2, status, now(), Some(little.clone()));
        let answer = outcome(&told(&set, Asked::AllAgreed, vec![yes(whole.clone()), no]));
        assert_eq!(answer, Err(vec![Reason::ConsentEnded]), "{status:?}");
    }
}

/// Of the list for fire prevention, one item is confidential and needs a yes; the others leave without it.
#[test]
fn what_needs_no_yes_leaves_beside_what_was_shown() {
    let gender = "title = \"Gender\"\ncategory = \"ordinary\"\nconfidential = false";
    let name = "title = \"Surname\"\ncategory = \"ordinary\"\nconfidential = false";
    let catalogue = "catalogue/nhs-pds.toml";
    let set = changed(&[
        (PREVENTION, "basis = \"not-confidential\"", "basis = \"explicit-consent\""),
        (catalogue, gender, &gender.replace("false", "true")),
        (catalogue, name, &name.replace("false", "true")),
    ]);
    let organisation = "gmca".parse().unwrap();
    let questions = crate::consenting::questions(&set, &SubjectScheme::NhsNumber, &organisation, now());
    let one =
        questions.iter().find(|one| one.agreement.id().as_str() == "gm-fire-prevention-over-65s").unwrap();
    let ids = |items: &[&crate::agreement::FlowItem]| -> Vec<String> {
        items.iter().map(|item| item.item.get_ref().to_string()).collect()
    };
    let after = ids(&one.asked);
    assert!(
        after.contains(&"person.gender".to_owned()) && after.contains(&"person.family_name".to_owned()),
        "{after:?}"
    );
    assert_eq!(after.len() + one.anyway.len(), one.flow.items.len());
    let question = |asked: &[String]| {
        let asked = Asked::Items(asked.iter().map(|id| id.parse().unwrap()).collect());
        super::question(0, asked)
    };
    let decided = |asked: &[String], consents: Vec<ConsentRecord>| {
        let state = SubjectState { consents, ..SubjectState::default() };
        outcome(&decide(&question(asked), &set, &state, now()))
    };
    let anyway = ids(&one.anyway);
    let all: Vec<String> = ids(&one.flow.items.iter().collect::<Vec<_>>());
    assert_eq!(decided(&anyway, Vec::new()).unwrap().0.len(), anyway.len(), "they leave without a yes");
    assert_eq!(decided(&all, Vec::new()), Err(vec![Reason::ConsentAbsent]));
    let consent = |shown: Shown| ConsentRecord {
        controller: "nhs-england".parse().unwrap(),
        purposes: vec![PurposeClass::FirePreventionTargeting],
        ..yes(shown)
    };
    let shown = one.shown();
    assert_eq!(shown.items.len(), one.asked.len());
    assert!(one.beyond(&[&shown]).is_empty());
    assert_eq!(decided(&all, vec![consent(shown.clone())]).unwrap().0.len(), all.len());
    let gender = Shown { items: vec!["person.gender:as-is".parse().unwrap()], ..shown.clone() };
    let (permitted, withheld) = decided(&all, vec![consent(gender.clone())]).unwrap();
    assert_eq!(permitted.len(), anyway.len() + 1);
    assert!(withheld.contains(&("person.family_name".to_owned(), Withheld::NotAvailable)), "{withheld:?}");
    let beyond = one.beyond(&[&gender]);
    assert_eq!(beyond.len(), one.asked.len() - 1, "what is new to whoever was shown the one");
    let shorter = Shown { retain_days: shown.retain_days - 1, ..shown };
    assert_eq!(one.beyond(&[&shorter]).len(), one.asked.len(), "kept for longer than they were told");
}

/// Under another name that the record shows somebody vouches for everything, or the person answers while the record is on its way: what
/// was not permitted when the record holder was asked does not leave with it.
#[test]
fn what_the_second_decision_permits_is_within_the_first() {
    let set = policies();
    let whole = shown(&set);
    let part =
        |places: std::ops::Range<usize>| yes(Shown { items: whole.items[places].to_vec(), ..whole.clone() });
    let state = |consents| SubjectState { consents, ..SubjectState::default() };
    let question = question(1, Asked::AllAgreed);
    let Decision::Permit(permit) = decide(&question, &set, &state(vec![part(0..2)]), now()) else {
        panic!("a permit")
    };
    let record = r#"{"person_id":"x","nhs_number":"9732110317","referral_reference":"SWR-1","date_of_birth":"1936-06-21",
        "flags":{"address_withheld":false,"deceased_on":null}}"#;
    let examined = permit.examine(set.provider(&question.provider).unwrap(), record.as_bytes()).unwrap();
    let confirm = |consents| permit.confirm(&question, &set, &state(consents), &examined, now());
    let broad = said(3, ConsentStatus::Given, Timestamp::UNIX_EPOCH, None);
    let confirmed = confirm(vec![part(0..2), broad]).unwrap();
    assert_eq!(confirmed.permit().items(), permit.items());
    let left_out =
        confirmed.permit().withheld().iter().filter(|(_, why)| *why == Withheld::NotAvailable).count();
    assert_eq!(left_out, whole.items.len() - 2);
    assert_eq!(confirm(vec![part(1..3)]).unwrap().permit().items(), [whole.items[1].clone()]);
    assert_eq!(
        confirm(vec![part(whole.items.len() - 1..whole.items.len())]).unwrap_err().reasons,
        [Reason::ConsentForOther]
    );
}
