//! Nothing differs without being named, and what lets more through is said to widen.

use proptest::prelude::*;
use serde_json::json;

use super::{super::terms::tests::example, *};
use crate::decide::tests::policies;

fn terms(value: Value) -> Terms {
    Terms::offered(&"pilot".parse().unwrap(), 1, value).unwrap()
}

fn between(from: &Value, to: &Value) -> Vec<(String, Direction)> {
    let found = diff(&terms(from.clone()), &terms(to.clone()), &policies());
    found.into_iter().map(|difference| (difference.place, difference.direction)).collect()
}

type Edit = fn(&mut Value);

const EDITS: [(Edit, &str, Direction); 20] = [
    (
        |terms| {
            terms["flows"][0]["items"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "item": "person.telephone", "form": "as-is", "justification": "To ring." }));
        },
        "flows[single-look-up].items[person.telephone]",
        Direction::Widens,
    ),
    (
        |terms| drop(terms["flows"][0]["items"].as_array_mut().unwrap().pop()),
        "flows[single-look-up].items[person.gender]",
        Direction::Narrows,
    ),
    (
        |terms| terms["flows"][0]["items"][2]["form"] = json!("year"),
        "flows[single-look-up].items[person.birth_date].form",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["items"][0]["form"] = json!("initial"),
        "flows[single-look-up].items[person.family_name].form",
        Direction::Narrows,
    ),
    (
        |terms| terms["flows"][0]["items"][0]["justification"] = json!("Otherwise."),
        "flows[single-look-up].items[person.family_name].justification",
        Direction::Alters,
    ),
    (
        |terms| terms["flows"][0]["purpose"] = json!("service-improvement"),
        "flows[single-look-up].purpose",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["roles"] = json!(["prevention-officer", "unattended", "analyst"]),
        "flows[single-look-up].roles",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["roles"] = json!(["prevention-officer"]),
        "flows[single-look-up].roles",
        Direction::Narrows,
    ),
    (
        |terms| terms["flows"][0]["roles"] = json!(["unattended", "prevention-officer"]),
        "flows[single-look-up].roles.order",
        Direction::Alters,
    ),
    (
        |terms| terms["flows"][0]["releases_per_day_max"] = json!(50),
        "flows[single-look-up].releases_per_day_max",
        Direction::Narrows,
    ),
    (
        |terms| terms["flows"][0]["list_people_max"] = json!(50),
        "flows[single-look-up].list_people_max",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["cohort"]["age_from_years"] = json!(60),
        "flows[single-look-up].cohort.age_from_years",
        Direction::Widens,
    ),
    (
        |terms| drop(terms["flows"][0].as_object_mut().unwrap().remove("cohort")),
        "flows[single-look-up].cohort",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["relationship"] = json!(["caseload"]),
        "flows[single-look-up].relationship",
        Direction::Narrows,
    ),
    (
        |terms| terms["flows"][0]["obligations"]["retain_days"] = json!(181),
        "flows[single-look-up].obligations.retain_days",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["obligations"]["onward_sharing"] = json!(true),
        "flows[single-look-up].obligations.onward_sharing",
        Direction::Widens,
    ),
    (
        |terms| terms["flows"][0]["relationship"] = json!([]),
        "flows[single-look-up].relationship",
        Direction::Alters,
    ),
    (
        |terms| terms["flows"][0]["cohort"]["age_from_years"] = json!(0),
        "flows[single-look-up].cohort.age_from_years",
        Direction::Widens,
    ),
    (|terms| terms["ends_on"] = json!("2027-12-01"), "ends_on", Direction::Narrows),
    (|terms| terms["owner"] = json!("Somebody else"), "owner", Direction::Alters),
];

#[test]
fn each_difference_is_named_with_its_direction() {
    let before = example();
    assert_eq!(between(&before, &before), []);
    for (edit, place, direction) in EDITS {
        let mut after = before.clone();
        edit(&mut after);
        let Ok(offered) = Terms::offered(&"pilot".parse().unwrap(), 1, after.clone()) else {
            panic!("the edit at {place} is no longer possible")
        };
        let found = diff(&terms(before.clone()), &offered, &policies());
        let found: Vec<_> = found.into_iter().map(|found| (found.place, found.direction)).collect();
        assert_eq!(found, [(place.to_owned(), direction)]);
        // The other way round it goes the other way.
        let back = between(&after, &before);
        assert_eq!(back.len(), 1, "{back:?}");
        assert_eq!(
            back[0].1,
            if place.ends_with("purpose") { Direction::Widens } else { direction.back() },
            "{place}"
        );
    }
}

#[test]
fn another_order_is_told_beside_other_changes() {
    let before = example();
    let mut after = before.clone();
    after["flows"][0]["roles"] = json!(["unattended", "prevention-officer", "crew"]);
    let items = after["flows"][0]["items"].as_array_mut().unwrap();
    items.reverse();
    items.pop();
    let places: Vec<_> = between(&before, &after).into_iter().map(|(place, _)| place).collect();
    let at = |name: &str| format!("flows[single-look-up].{name}");
    let expected = [at("roles"), at("items.order"), at("roles.order"), at("items[person.family_name]")];
    assert_eq!(places, expected);
}

proptest! {
    /// However much is changed at once, no change is left out.
    #[test]
    fn nothing_hides_among_other_changes(which in prop::collection::btree_set(0..EDITS.len(), 1..6)) {
        let before = example();
        let mut after = before.clone();
        for place in &which {
            EDITS[*place].0(&mut after);
        }
        prop_assume!(after != before);
        let found = between(&before, &after);
        prop_assert!(!found.is_empty());
        // An item that was added is named, whatever else is.
        if which.contains(&0) && !which.contains(&1) {
            prop_assert!(found.iter().any(|(place, direction)| {
                place.contains("person.telephone") && *direction == Direction::Widens
            }), "{found:?}");
        }
    }
}
