//! Rego, by regorus: the agreements are data, and the question with the person's consents is the input.

use std::sync::Arc;

use regorus::{Engine, Value, languages::rego::compiler::Compiler, rvm::vm::RegoVM};
use serde_json::json;
use sharing::subject::{ConsentStatus, ConsentType};

use crate::{
    QUESTIONS,
    setting::{AGREED, AGREEMENTS, Case, Pair, ROLE, Setting, item, items_asked, purpose},
};

const POLICY: &str = r#"
package sharing
import rego.v1

default allow := false

allow if {
    input.purpose in data.organisations[input.recipient].purposes
    flow := data.flows[input.provider][input.recipient][input.purpose]
    flow.status == "active"
    flow.effective_from <= input.now
    input.now < flow.effective_until
    flow.provider_signed <= input.now
    flow.recipient_signed <= input.now
    flow.dpia_accepted
    input.now < flow.dpia_until
    input.scheme in flow.identifiers
    input.role in flow.roles
    some item in input.items
    item in flow.items
    not input.deceased
    not input.restricted
    not input.purpose in input.objections
    some consent in input.consents
    consent.type == "confidentiality-consent"
    consent.status == "given"
    consent.controller == flow.controller
    input.recipient in consent.recipients
    input.purpose in consent.purposes
    consent.given_at <= input.now
}
"#;
const ENTRY: &str = "data.sharing.allow";

/// # Errors
/// When the policy or the data are refused.
pub fn interpreted(setting: &'static Setting) -> anyhow::Result<impl FnMut(usize, Case) -> bool + 'static> {
    let compiled = engine()?.compile_with_entrypoint(&Arc::from(ENTRY))?;
    let inputs = inputs(setting);
    Ok(move |number: usize, case: Case| {
        let answer = compiled.eval_with_input(inputs[number][case as usize].clone());
        answer.is_ok_and(|answer| answer == Value::Bool(true))
    })
}

/// # Errors
/// When the policy or the data are refused.
pub fn compiled(setting: &'static Setting) -> anyhow::Result<impl FnMut(usize, Case) -> bool + 'static> {
    let compiled = engine()?.compile_with_entrypoint(&Arc::from(ENTRY))?;
    let program = Compiler::compile_from_policy(&compiled, &[ENTRY])?;
    let mut machine = RegoVM::new();
    machine.load_program(program);
    machine.set_data(Value::from_json_str(&data().to_string())?)?;
    let inputs = inputs(setting);
    Ok(move |number: usize, case: Case| {
        machine.set_input(inputs[number][case as usize].clone());
        machine.execute().is_ok_and(|answer| answer == Value::Bool(true))
    })
}

fn engine() -> anyhow::Result<Engine> {
    let mut engine = Engine::new();
    engine.add_policy("sharing.rego".to_owned(), POLICY.to_owned())?;
    engine.add_data(Value::from_json_str(&data().to_string())?)?;
    Ok(engine)
}

fn data() -> serde_json::Value {
    let mut flows = json!({});
    let mut organisations = json!({});
    for pair in (0..AGREEMENTS).map(Pair::of) {
        flows[pair.holder()][pair.asker()][purpose(Case::Permit).as_str()] = json!({
            "controller": pair.controller(),
            "status": "active", "effective_from": 1_775_000_000, "effective_until": 1_838_000_000,
            "provider_signed": 1_773_000_000, "recipient_signed": 1_774_000_000,
            "dpia_accepted": true, "dpia_until": 1_834_000_000,
            "identifiers": ["nhs-number"], "roles": [ROLE, "unattended"],
            "items": (0..AGREED).map(item).collect::<Vec<_>>(),
        });
        organisations[pair.asker()] =
            json!({ "purposes": ["safe-and-well-referral", "fire-prevention-targeting", "direct-care"] });
    }
    json!({ "flows": flows, "organisations": organisations })
}

fn inputs(setting: &Setting) -> Vec<[Value; 3]> {
    let input = |number: usize, case: Case| {
        let (question, subject) = setting.asked(number, case);
        let consents = subject.consents.iter().map(|consent| {
            json!({
                "type": match consent.consent_type {
                    ConsentType::ConfidentialityConsent => "confidentiality-consent",
                    _ => "preference",
                },
                "status": if consent.status == ConsentStatus::Given { "given" } else { "withdrawn" },
                "controller": consent.controller.as_str(),
                "recipients": consent.recipients.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
                "purposes": consent.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(),
                "given_at": consent.given_at.as_second(),
            })
        });
        Value::from(json!({
            "recipient": question.recipient.as_str(), "provider": question.provider.as_str(),
            "purpose": purpose(case).as_str(), "role": ROLE, "scheme": "nhs-number",
            "items": items_asked().map(item), "now": setting.at.as_second(),
            "deceased": false, "restricted": false, "objections": [], "consents": consents.collect::<Vec<_>>(),
        }))
    };
    (0..QUESTIONS).map(|number| Case::ALL.map(|case| input(number, case))).collect()
}
