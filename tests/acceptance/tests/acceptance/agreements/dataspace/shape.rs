//! The shape that the protocol asks of messages: what its JSON Schemas require, and what they forbid.

use serde_json::{Value, json};

use super::CONTEXT;

/// Whether a message has what the protocol's schema for its type asks for, and nothing that it forbids.
pub(super) fn has_shape(message: &Value) {
    assert_eq!(message["@context"], json!([CONTEXT]), "{message}");
    let words = |names: &[&str]| {
        for name in names {
            assert!(message[*name].is_string(), "{name}: {message}");
        }
    };
    let kind = message["@type"].as_str().unwrap();
    if kind.starts_with("Contract") {
        words(&["providerPid", "consumerPid"]);
    }
    match kind {
        "ContractNegotiation" => {
            let states =
                ["REQUESTED", "OFFERED", "ACCEPTED", "AGREED", "VERIFIED", "FINALIZED", "TERMINATED"];
            assert!(states.contains(&message["state"].as_str().unwrap()));
        }
        "ContractOfferMessage" => is_policy(&message["offer"], "Offer", true),
        "ContractAgreementMessage" => {
            let agreement = &message["agreement"];
            is_policy(agreement, "Agreement", true);
            for name in ["assigner", "assignee", "timestamp"] {
                assert!(agreement[name].is_string(), "{agreement}");
            }
        }
        "ContractNegotiationEventMessage" => assert_eq!(message["eventType"], "FINALIZED"),
        "ContractNegotiationTerminationMessage" | "ContractNegotiationError" | "CatalogError" => {
            assert!(message["code"].is_string(), "{message}");
            assert!(!message["reason"].as_array().unwrap().is_empty(), "{message}");
        }
        "Catalog" => {
            words(&["@id", "participantId"]);
            if let Some(datasets) = message.get("dataset") {
                assert!(!datasets.as_array().unwrap().is_empty(), "no list is empty");
                datasets.as_array().unwrap().iter().for_each(is_dataset);
            }
        }
        "Dataset" => is_dataset(message),
        other => panic!("no message of the protocol: {other}"),
    }
}

fn is_dataset(dataset: &Value) {
    assert!(dataset["@id"].is_string(), "{dataset}");
    dataset["hasPolicy"].as_array().unwrap().iter().for_each(|offer| is_policy(offer, "Offer", false));
    for way in dataset["distribution"].as_array().unwrap() {
        assert!(way["format"].is_string() && way["accessService"]["endpointURL"].is_string(), "{way}");
    }
}

fn is_policy(policy: &Value, kind: &str, has_target: bool) {
    assert!(policy["@id"].is_string() && policy["@type"] == kind, "{policy}");
    assert_eq!(policy.get("target").is_some(), has_target, "{policy}");
    for name in ["permission", "prohibition", "obligation"] {
        let Some(rules) = policy.get(name) else { continue };
        assert!(!rules.as_array().unwrap().is_empty());
        for rule in rules.as_array().unwrap() {
            assert!(rule["action"].is_string() && rule.get("target").is_none(), "{rule}");
            for limit in rule.get("constraint").and_then(Value::as_array).into_iter().flatten() {
                assert!(limit["leftOperand"].is_string() && limit["operator"].is_string(), "{limit}");
                assert!(limit["rightOperand"].is_string() || limit["rightOperand"].is_array(), "{limit}");
            }
        }
    }
    assert!(policy.get("permission").is_some());
}
