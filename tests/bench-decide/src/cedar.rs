//! Cedar: flows are entities, and what is known about the agreement and the person is in attributes and context.
//!
//! Cedar has no loops, so which consents hold is worked out beforehand and given as a set of names.

use std::fmt::Write as _;

use anyhow::Context as _;
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use serde_json::{Value, json};
use sharing::subject::ConsentStatus;

use crate::{
    QUESTIONS,
    setting::{AGREED, AGREEMENTS, Case, Pair, ROLE, Setting, item, items_asked, purpose},
};

const CONDITIONS: &str = "
    principal.purposes.contains(context.purpose) &&
    resource.status == \"active\" &&
    resource.effective_from <= context.now && context.now < resource.effective_until &&
    resource.provider_signed <= context.now && resource.recipient_signed <= context.now &&
    resource.dpia_accepted && context.now < resource.dpia_until &&
    resource.identifiers.contains(context.scheme) &&
    resource.roles.contains(context.role) &&
    resource.items.containsAny(context.items) &&
    !context.deceased && !context.restricted &&
    context.consents.contains(resource.consent)
";

/// Two policies, whatever the number of agreements: one that permits by the flow's attributes, one that forbids what
/// the person objected to.
///
/// # Errors
/// When a policy, an entity or a request is refused.
pub fn generic(setting: &'static Setting) -> anyhow::Result<impl FnMut(usize, Case) -> bool + use<>> {
    answerer(setting, &format!("permit(principal, action, resource is Flow) when {{ {CONDITIONS} }};"))
}

/// A policy for each of 200 flows, those that are asked about among them.
///
/// # Errors
/// When a policy, an entity or a request is refused.
pub fn of_each_flow(setting: &'static Setting) -> anyhow::Result<impl FnMut(usize, Case) -> bool + use<>> {
    let asked = (0..QUESTIONS).map(Pair::asked);
    let others = (0..AGREEMENTS).map(Pair::of);
    let mut pairs: Vec<_> = asked.chain(others).map(|pair| flow(pair, Case::Permit)).take(200).collect();
    pairs.sort();
    pairs.dedup();
    let mut text = String::new();
    for flow in pairs {
        let _ =
            write!(text, "permit(principal, action, resource == Flow::\"{flow}\") when {{ {CONDITIONS} }};");
    }
    answerer(setting, &text)
}

fn answerer(
    setting: &'static Setting,
    permits: &str,
) -> anyhow::Result<impl FnMut(usize, Case) -> bool + use<>> {
    let forbid = "forbid(principal, action, resource) when { context.objections.contains(context.purpose) };";
    let policies: PolicySet = format!("{permits}\n{forbid}").parse()?;
    let entities = Entities::from_json_value(Value::Array(entities()), None)?;
    let requests: Vec<_> = (0..QUESTIONS)
        .map(|number| {
            let requests = Case::ALL.into_iter().map(|case| request(setting, number, case));
            requests.collect::<anyhow::Result<Vec<_>>>()
        })
        .collect::<anyhow::Result<_>>()?;
    let authorizer = Authorizer::new();
    Ok(move |number: usize, case: Case| {
        let answer = authorizer.is_authorized(&requests[number][case as usize], &policies, &entities);
        std::hint::black_box(answer).decision() == Decision::Allow
    })
}

fn flow(pair: Pair, case: Case) -> String {
    format!("{}/{}/{}", pair.holder(), pair.asker(), purpose(case))
}

fn entities() -> Vec<Value> {
    let flows = (0..AGREEMENTS).map(Pair::of).map(|pair| {
        json!({ "uid": { "type": "Flow", "id": flow(pair, Case::Permit) }, "parents": [], "attrs": {
            "status": "active", "effective_from": 1_775_000_000, "effective_until": 1_838_000_000,
            "provider_signed": 1_773_000_000, "recipient_signed": 1_774_000_000,
            "dpia_accepted": true, "dpia_until": 1_834_000_000,
            "identifiers": ["nhs-number"], "roles": [ROLE, "unattended"],
            "items": (0..AGREED).map(item).collect::<Vec<_>>(),
            "consent": consent(&pair.controller(), &pair.asker(), Case::Permit),
        } })
    });
    let askers = (0..=AGREEMENTS / crate::setting::HOLDERS).map(|asker| {
        json!({ "uid": { "type": "Organisation", "id": format!("asker-{asker}") }, "parents": [], "attrs": {
            "purposes": ["safe-and-well-referral", "fire-prevention-targeting", "direct-care"] } })
    });
    flows.chain(askers).collect()
}

fn consent(controller: &str, recipient: &str, case: Case) -> String {
    format!("{controller}>{recipient}:{}", purpose(case))
}

fn request(setting: &Setting, number: usize, case: Case) -> anyhow::Result<Request> {
    let pair = Pair::asked(number);
    let (_, subject) = setting.asked(number, case);
    let held = subject.consents.iter().filter(|consent| consent.status == ConsentStatus::Given);
    let consents: Vec<_> =
        held.map(|held| consent(held.controller.as_str(), &pair.asker(), Case::Permit)).collect();
    let context = json!({
        "purpose": purpose(case).as_str(), "now": setting.at.as_second(), "scheme": "nhs-number", "role": ROLE,
        "items": items_asked().map(item), "deceased": false, "restricted": false, "consents": consents,
        "objections": [],
    });
    let uid = |kind: &str, id: &str| -> anyhow::Result<EntityUid> {
        format!("{kind}::\"{id}\"").parse().context("a name")
    };
    Ok(Request::new(
        uid("Organisation", &pair.asker())?,
        uid("Action", "ask")?,
        uid("Flow", &flow(pair, case))?,
        Context::from_json_value(context, None)?,
        None,
    )?)
}
