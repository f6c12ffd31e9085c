//! Terms become the same agreement as a file does, and nothing in them can say what is for the course to say.

use serde_json::json;

use super::*;
use crate::{PolicySet, decide::tests::policy_files};

pub(in crate::agreement) fn example() -> Value {
    let files = policy_files();
    let file = files.iter().find(|file| file.path.ends_with("gm-fire-prevention-over-65s.toml")).unwrap();
    let mut terms: Value = toml::from_str(&file.text).unwrap();
    let members = terms.as_object_mut().unwrap();
    NOT_AT_THE_TOP.iter().for_each(|name| drop(members.remove(*name)));
    for party in members["parties"].as_array_mut().unwrap() {
        party.as_object_mut().unwrap().remove("signatures");
    }
    terms
}

fn pilot() -> AgreementId {
    "pilot".parse().unwrap()
}

#[test]
fn terms_are_the_agreement_that_a_file_is() {
    let terms = Terms::offered(&pilot(), 3, example()).unwrap();
    let standing = Standing {
        status: Status::Active,
        signatures: BTreeMap::from([(
            "gmca".parse().unwrap(),
            vec![(SignatoryRole::Siro, "M. Lister".to_owned(), "2026-03-25".to_owned())],
        )]),
        suspended: BTreeSet::from(["single-look-up".parse().unwrap()]),
        review_on: Some("2027-09-01".to_owned()),
        successors: BTreeMap::new(),
        terms_sha256: "00".to_owned(),
    };
    let mut files = policy_files();
    files.push(terms.file(&standing).unwrap());
    let set = PolicySet::load(&files).unwrap();
    let agreement = set.agreements().find(|agreement| *agreement.id() == pilot()).unwrap();
    assert_eq!((agreement.version, agreement.review_on.to_string().as_str()), (3, "2027-09-01"));
    assert_eq!(agreement.terms_sha256.as_deref(), Some("00"));
    assert!(!agreement.is_switched_on(&agreement.flows[0]), "its only flow is switched off");
    let signed = agreement.parties.iter().filter(|party| !party.signatures.is_empty());
    assert_eq!(signed.map(|party| party.organisation.get_ref().as_str()).collect::<Vec<_>>(), ["gmca"]);
}

#[test]
fn one_name_has_one_source() {
    let id: AgreementId = "gm-fire-prevention-over-65s".parse().unwrap();
    let mut files = policy_files();
    files.push(Terms::offered(&id, 1, example()).unwrap().file(&Standing::none()).unwrap());
    let problems = PolicySet::load(&files).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("defined twice")), "{problems:?}");
}

#[test]
fn a_successor_stands_where_the_other_stood() {
    let terms = Terms::offered(&pilot(), 1, example()).unwrap();
    let (old, new) = ("gmca".parse().unwrap(), "trafford-council".parse().unwrap());
    let standing = Standing { successors: BTreeMap::from([(old, new)]), ..Standing::none() };
    let written: Agreement = toml::from_str(&terms.file(&standing).unwrap().text).unwrap();
    assert_eq!(written.flows[0].recipient.get_ref().as_str(), "trafford-council");
    let parties: Vec<_> = written.parties.iter().map(|party| party.organisation.get_ref().as_str()).collect();
    assert_eq!(parties, ["nhs-england", "gmca", "trafford-council"]);
    // A party in another's place is there once.
    let (old, new) = ("gmca".parse().unwrap(), "nhs-england".parse().unwrap());
    let standing = Standing { successors: BTreeMap::from([(old, new)]), ..Standing::none() };
    let written: Agreement = toml::from_str(&terms.file(&standing).unwrap().text).unwrap();
    assert_eq!(written.flows[0].recipient.get_ref().as_str(), "nhs-england");
    assert_eq!(written.parties.len(), 2);
}

#[test]
fn terms_do_not_say_what_is_not_theirs() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 8] = [
        (|terms| terms["status"] = json!("active"), "status"),
        (|terms| terms["version"] = json!(7), "version"),
        (|terms| terms["terms_sha256"] = json!("00"), "terms_sha256"),
        (|terms| terms["parties"][0]["signatures"] = json!([]), "signatures"),
        (|terms| terms["flows"][0]["suspended"] = json!(false), "suspended"),
        (|terms| terms["title"] = Value::Null, "null"),
        (|terms| terms["surprise"] = json!(1), "surprise"),
        (|terms| drop(terms.as_object_mut().unwrap().remove("owner")), "owner"),
    ];
    for (edit, said) in edits {
        let mut terms = example();
        edit(&mut terms);
        let error = Terms::offered(&pilot(), 1, terms).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(Terms::offered(&pilot(), 1, json!([])).is_err());
}

#[test]
fn what_people_sign_can_be_seen_followed_and_true() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 17] = [
        (|terms| terms["flows"][0]["obligations"]["retain_days"] = json!(0), "retain_days"),
        (|terms| terms["flows"][0]["releases_per_day_max"] = json!(0), "releases_per_day_max"),
        (|terms| terms["flows"][0]["list_people_max"] = json!(0), "list_people_max"),
        (|terms| terms["flows"][0]["cohort"] = json!({ "age_from_years": -5 }), "age_from_years"),
        (|terms| terms["flows"][0]["cohort"] = json!({ "age_from_years": 300 }), "age_from_years"),
        (|terms| terms["dpia"]["link"] = json!("javascript:alert(1)"), "dpia.link"),
        (|terms| terms["parties"][0]["privacy_notice"] = json!("data:text/html,x"), "privacy_notice"),
        (|terms| terms["dpia"]["reference"] = json!(" "), "dpia.reference"),
        (|terms| terms["dpia"]["reference"] = json!("DPIA\u{202e}1"), "dpia.reference"),
        (|terms| terms["dpia"]["current_until"] = json!("2026-02-12"), "dpia.current_until"),
        (|terms| terms["external_reference"] = json!("ISG\u{200b}7"), "external_reference"),
        (|terms| terms["external_reference"] = json!("ISG\n7"), "external_reference"),
        (|terms| terms["flows"][0]["items"][0]["justification"] = json!("why\u{7}"), "justification"),
        (|terms| terms["flows"][0]["items"][0]["justification"] = json!("x".repeat(2_001)), "justification"),
        (|terms| terms["pilot"] = json!({ "measures": ["\u{3164}"] }), "pilot.measures"),
        (|terms| terms["owner"] = json!("\u{e000}"), "owner"),
        (|terms| terms["title"] = json!("two\nlines"), "title"),
    ];
    for (edit, said) in edits {
        let mut terms = example();
        edit(&mut terms);
        let error = Terms::offered(&pilot(), 1, terms).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let mut terms = example();
    terms["dpia"]["link"] = json!("https://example.org/dpia");
    terms["flows"][0]["items"][0]["justification"] = json!("The visitor asks for it.\nAt the door.");
    Terms::offered(&pilot(), 1, terms).unwrap();
}
