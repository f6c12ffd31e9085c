use serde_json::json;

use super::{
    policy::{Fault, Policy},
    *,
};
use crate::agreement::terms::Terms;

/// Every message from every side in every state. What is not in the list is refused.
#[test]
fn each_message_is_possible_where_the_protocol_has_it_and_nowhere_else() {
    use Message::{Accept, Agree, Finalize, Offer, Request, Terminate, Verify};
    use Side::{Consumer, Provider};
    let possible = [
        ("REQUESTED", Offer, Provider, "OFFERED"),
        ("REQUESTED", Agree, Provider, "AGREED"),
        ("OFFERED", Request, Consumer, "REQUESTED"),
        ("OFFERED", Accept, Consumer, "ACCEPTED"),
        ("ACCEPTED", Agree, Provider, "AGREED"),
        ("AGREED", Verify, Consumer, "VERIFIED"),
        ("VERIFIED", Finalize, Provider, "FINALIZED"),
    ];
    let mut found = 0;
    for state in State::ALL {
        for message in [Request, Offer, Accept, Agree, Verify, Finalize, Terminate] {
            for side in [Consumer, Provider] {
                let listed = possible
                    .iter()
                    .find(|(from, which, who, _)| (*from, *which, *who) == (state.as_str(), message, side))
                    .map(|(.., to)| *to);
                let ends = (message == Terminate && !matches!(state.as_str(), "FINALIZED" | "TERMINATED"))
                    .then_some("TERMINATED");
                let after = state.after(message, side).map(State::as_str);
                assert_eq!(after, listed.or(ends), "{state:?} {message:?} {side:?}");
                found += usize::from(after.is_some());
            }
        }
    }
    assert_eq!(found, possible.len() + 2 * 5);
}

fn terms() -> Terms {
    let basis = json!({ "article_6": "6(1)(e)" });
    let item = |item: &str, form: &str| json!({ "item": item, "form": form, "justification": "Needed." });
    Terms::offered(
        &"pilot".parse().unwrap(),
        3,
        json!({
            "title": "Pilot", "framework": "Accord", "effective_on": "2026-11-01", "ends_on": "2028-11-01", "review_on": "2027-06-01",
            "owner": "Somebody", "breach_contact": "breach@example.org",
            "dpia": { "reference": "D", "outcome": "accepted", "completed_on": "2026-10-01", "current_until": "2028-12-01" },
            "parties": [{ "organisation": "nhs", "controller": "separate" }, { "organisation": "fire", "controller": "separate" }],
            "flows": [{
                "id": "visits", "provider": "nhs-pds", "recipient": "fire", "purpose": "fire-prevention-targeting",
                "identifiers": ["nhs-number"], "roles": ["prevention-officer"], "releases_per_day_max": 200,
                "cohort": { "age_from_years": 65 },
                "provider_basis": basis, "recipient_basis": basis, "confidentiality": { "basis": "not-confidential" },
                "obligations": { "retain_days": 30, "onward_sharing": false },
                "items": [item("person.family_name", "as-is"), item("person.birth_date", "age-band")],
            }],
        }),
    )
    .unwrap()
}

#[test]
fn terms_become_a_policy_and_the_policy_says_the_same_again() {
    let policy = Policy::of(&terms()).unwrap();
    let rules = policy.rules();
    assert_eq!(Policy::read(&json!(rules)).unwrap(), policy);
    assert_eq!(rules["prohibition"], json!([{ "action": "distribute" }]));
    assert_eq!(rules["obligation"][0]["constraint"][0]["rightOperand"], "P30D");
    assert_eq!(policy.apply(&terms()).unwrap(), terms().open(), "what is not changed stays as it was");
    // In another order it is the same policy.
    let mut other = rules.clone();
    other["permission"][0]["constraint"].as_array_mut().unwrap().reverse();
    assert_eq!(Policy::read(&json!(other)).unwrap(), policy);
}

#[test]
fn what_a_peer_would_change_is_changed_and_nothing_else() {
    let mut policy = Policy::of(&terms()).unwrap();
    policy.items.remove("person.birth_date");
    policy.retain_days = 7;
    policy.releases_per_day_max = Some(50);
    let after = policy.apply(&terms()).unwrap();
    let mut expected = terms().open();
    expected["flows"][0]["items"].as_array_mut().unwrap().pop();
    expected["flows"][0]["obligations"]["retain_days"] = json!(7);
    expected["flows"][0]["releases_per_day_max"] = json!(50);
    assert_eq!(after, expected);
    // No ceiling is a wish, too, and is for people to refuse.
    policy.releases_per_day_max = None;
    assert!(policy.apply(&terms()).unwrap()["flows"][0].get("releases_per_day_max").is_none());
}

#[test]
fn what_is_not_understood_is_refused() {
    type Spoil = fn(&mut serde_json::Value);
    let spoilt: [(&str, Spoil); 12] = [
        ("another action", |rules| rules["permission"][0]["action"] = json!("sell")),
        ("two permissions", |rules| {
            let one = rules["permission"][0].clone();
            rules["permission"].as_array_mut().unwrap().push(one);
        }),
        ("an operand of its own", |rules| {
            let one = json!({ "leftOperand": "spatial", "operator": "eq", "rightOperand": "EU" });
            rules["permission"][0]["constraint"].as_array_mut().unwrap().push(one);
        }),
        ("a duty of its own", |rules| {
            rules["obligation"].as_array_mut().unwrap().push(json!({ "action": "compensate" }));
        }),
        ("another prohibition", |rules| rules["prohibition"][0]["action"] = json!("display")),
        ("a prohibition with a condition", |rules| {
            rules["prohibition"][0]["constraint"] =
                json!([{ "leftOperand": "purpose", "operator": "eq", "rightOperand": "x" }]);
        }),
        ("another operator", |rules| rules["permission"][0]["constraint"][0]["operator"] = json!("neq")),
        ("the same twice", |rules| {
            let one = rules["permission"][0]["constraint"][0].clone();
            rules["permission"][0]["constraint"].as_array_mut().unwrap().push(one);
        }),
        ("no time", |rules| drop(rules.as_object_mut().unwrap().remove("obligation"))),
        ("months", |rules| rules["obligation"][0]["constraint"][0]["rightOperand"] = json!("P1M")),
        ("a target within", |rules| rules["permission"][0]["target"] = json!("x")),
        ("alternatives", |rules| {
            rules["permission"][0]["constraint"].as_array_mut().unwrap().push(json!({ "or": [] }));
        }),
    ];
    for (what, spoil) in spoilt {
        let mut rules = json!(Policy::of(&terms()).unwrap().rules());
        spoil(&mut rules);
        assert!(Policy::read(&rules).is_err(), "{what}: {rules}");
    }
    let mut more = Policy::of(&terms()).unwrap();
    more.items.insert("health.home_oxygen".to_owned(), "yes-no".to_owned());
    assert_eq!(more.apply(&terms()).unwrap_err(), Fault::ItemWithoutReason);
    let mut other = Policy::of(&terms()).unwrap();
    other.purpose = "safeguarding-adult".to_owned();
    assert_eq!(other.apply(&terms()).unwrap_err(), Fault::AnotherPurpose);
    let mut bases = Policy::of(&terms()).unwrap();
    bases.recipient_basis = "6(1)(a)".to_owned();
    assert_eq!(bases.apply(&terms()).unwrap_err(), Fault::AnotherBasis);
}
