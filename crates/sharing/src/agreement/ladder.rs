//! The ladder of lesser data: for each item that an agreement asks for, what less could do, and what that would cost the
//! recipient's purpose. It suggests; people decide.
//!
//! The rungs are computed from the catalogue: an item's coarser forms are those after its own in its list of forms.

use serde::Serialize;

use super::{Agreement, DataFlow, FlowItem};
use crate::{
    catalogue::{DataItem, Form, Provider},
    policy::PolicySet,
};

/// Something less than what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// What it is about: `flow`, or `flow/item`.
    pub place: String,
    /// How it is less.
    pub how: Lesser,
    /// The form that it would leave in, where it would leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// What it would cost, in words: whose reason would be met less.
    pub cost: String,
}

/// How something is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lesser {
    /// Left out.
    Drop,
    /// A band, a year, a district, an initial in place of the whole.
    Band,
    /// Whether there is anything, in place of what it is.
    Flag,
    /// The household in place of its people.
    Household,
    /// Asked for one by one, by named people, in place of in bulk.
    PullOnDemand,
    /// Counts in place of people.
    Aggregate,
}

/// Everything less that there is for an agreement.
pub fn ladder(agreement: &Agreement, set: &PolicySet) -> Vec<Rung> {
    let mut rungs = Vec::new();
    for flow in &agreement.flows {
        let Some(provider) = set.provider(flow.provider.get_ref()) else { continue };
        of_flow(flow, provider, &mut rungs);
        for listed in &flow.items {
            if let Some(item) = provider.item(listed.item.get_ref()) {
                of_item(flow, listed, item, &mut rungs);
            }
        }
    }
    rungs
}

fn of_item(flow: &DataFlow, listed: &FlowItem, item: &DataItem, rungs: &mut Vec<Rung>) {
    let place = format!("{}/{}", flow.id.get_ref(), listed.item.get_ref());
    let reason = &listed.justification;
    let finer = item.forms.iter().position(|form| *form == listed.form);
    let coarser = finer.and_then(|place| item.forms.get(place + 1..)).unwrap_or_default();
    for form in coarser {
        let (how, left) = match form {
            Form::YesNo => (Lesser::Flag, "whether there is any, and not what"),
            Form::Year => (Lesser::Band, "the year, and not the day"),
            Form::AgeBand => (Lesser::Band, "the age band, and not the age"),
            Form::PostcodeDistrict => (Lesser::Band, "the district, and not the street"),
            Form::Initial => (Lesser::Band, "the initial, and not the name"),
            Form::AsIs => continue,
        };
        let cost = format!("the recipient would know {left}; it asks because: {reason}");
        rungs.push(Rung { place: place.clone(), how, form: Some(*form), cost });
    }
    let cost = format!("the recipient would do without; it asks because: {reason}");
    rungs.push(Rung { place, how: Lesser::Drop, form: None, cost });
}

fn of_flow(flow: &DataFlow, provider: &Provider, rungs: &mut Vec<Rung>) {
    let place = flow.id.get_ref().to_string();
    let mut add = |how, cost: &str| {
        rungs.push(Rung { place: place.clone(), how, form: None, cost: cost.to_owned() });
    };
    let items = || flow.items.iter().filter_map(|listed| provider.item(listed.item.get_ref()));
    let in_lists = flow.list_people_max.is_some();
    if in_lists || flow.roles.iter().any(|role| role == "unattended") {
        add(
            Lesser::PullOnDemand,
            if in_lists {
                "named people would ask for one person at a time, when they need it; lists of people would stop"
            } else {
                "named people would ask for one person at a time, when they need it; jobs that ask by themselves would stop"
            },
        );
        add(
            Lesser::Aggregate,
            "the recipient would plan by counts of small areas, and could knock at no door",
        );
    }
    let whole_people = items().any(|item| !item.locating) && items().any(|item| item.locating);
    if whole_people && flow.purpose == crate::PurposeClass::FirePreventionTargeting {
        add(Lesser::Household, "crews would know the home to visit, and not who lives in it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::policies;

    #[test]
    fn every_item_has_lesser_forms_and_can_be_left_out() {
        let set = policies();
        let agreement =
            set.agreements().find(|found| found.id().as_str() == "gm-fire-prevention-over-65s").unwrap();
        let rungs = ladder(agreement, &set);
        let at = |place: &str| {
            rungs
                .iter()
                .filter(|rung| rung.place == place)
                .map(|rung| (rung.how, rung.form))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            at("single-look-up/person.family_name"),
            [(Lesser::Band, Some(Form::Initial)), (Lesser::Drop, None)]
        );
        assert_eq!(at("single-look-up/person.birth_date"), [(Lesser::Drop, None)], "it is banded already");
        assert_eq!(
            at("single-look-up"),
            [(Lesser::PullOnDemand, None), (Lesser::Aggregate, None), (Lesser::Household, None)]
        );
        let family = rungs.iter().find(|rung| rung.place.ends_with("family_name")).unwrap();
        assert!(family.cost.contains("asks for the household by name"), "{}", family.cost);
    }
}
