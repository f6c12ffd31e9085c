//! What AuthZEN's questions look like. Members that are not known are passed over, as the standard asks.

use serde::Deserialize;
use serde_json::{Map, Value};
use sharing::access::{Deed, Party};

use crate::routes::referrals::RequestForm;

/// A subject or a resource.
#[derive(Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

/// An entity that is searched for: its name is passed over.
#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Verb {
    pub(super) name: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Evaluation {
    pub(super) subject: Entity,
    pub(super) action: Verb,
    pub(super) resource: Entity,
    #[serde(default)]
    pub(super) context: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct SubjectSearch {
    pub(super) subject: Sought,
    pub(super) action: Verb,
    pub(super) resource: Entity,
    #[serde(default)]
    pub(super) context: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct ResourceSearch {
    pub(super) subject: Entity,
    pub(super) action: Verb,
    pub(super) resource: Sought,
    #[serde(default)]
    pub(super) context: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct ActionSearch {
    pub(super) subject: Entity,
    pub(super) resource: Entity,
    #[serde(default)]
    pub(super) context: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct AccessRequest {
    pub(super) subject: Entity,
    pub(super) action: Verb,
    pub(super) resource: Entity,
    pub(super) context: AccessRequestContext,
    pub(super) denial: Denied,
}

#[derive(Deserialize)]
pub(super) struct AccessRequestContext {
    pub(super) form: RequestForm,
}

#[derive(Deserialize)]
pub(super) struct Denied {
    pub(super) evaluation_id: String,
}

/// How a batch goes on after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

pub(super) fn party(entity: &Entity) -> Party<'_> {
    Party { kind: &entity.kind, id: &entity.id, properties: &entity.properties }
}

pub(super) fn verb(verb: &Verb) -> Deed<'_> {
    Deed { name: &verb.name, properties: &verb.properties }
}
