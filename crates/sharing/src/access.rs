//! Decisions about things that are not people's records, for other products to ask by AuthZEN: who may open a
//! review queue, a case system, a report. They are Cedar policies in `policies/access/*.cedar`, over what
//! `policies/access/*.json` knows of subjects, resources and actions (Cedar's entity format).
//!
//! Nothing here can permit a release: a record of a person is decided by [`crate::decide`] alone, and the type of
//! a person's record cannot be used here. A policy that meets an error decides nothing, so an error denies.
//!
//! Source: OpenID AuthZEN Authorization API 1.0; <https://docs.cedarpolicy.com/auth/entities-syntax.html>.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
};
use serde_json::{Map, Value, json};

use crate::policy::{PolicyFile, PolicyProblem};

/// The resource type of a person's record, which no policy here decides.
pub const PERSON_RECORD: &str = "person-record";

/// The type of Cedar's actions.
const ACTION: &str = "Action";

/// Policies in force: parsed and immutable. Cheap to clone.
#[derive(Clone, Default)]
pub struct AccessPolicies {
    loaded: Option<Arc<Loaded>>,
}

struct Loaded {
    policies: PolicySet,
    entities: Entities,
    /// What is known, as it was written, by type and name.
    known: BTreeMap<(String, String), Value>,
    authorizer: Authorizer,
}

/// A subject or a resource, as it was asked about.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its name.
    pub id: &'a str,
    /// What the asker says of it; it goes before what is known.
    pub properties: &'a Map<String, Value>,
}

/// An action, as it was asked about.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the asker says of it: `context.action` to policies.
    pub properties: &'a Map<String, Value>,
}

/// What the policies say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// It is permitted.
    pub permitted: bool,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// A policy met an error, so it is not permitted.
    pub faulted: bool,
}

/// Something that policies cannot look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "properties and context can hold text, whole numbers, true and false, lists and objects, and no name in them may begin with `__`"
)]
pub struct Unreadable;

impl AccessPolicies {
    /// Reads `access/*.cedar` and `access/*.json` out of a set of policy files. Without them nothing is permitted.
    ///
    /// # Errors
    /// Every [`PolicyProblem`] found, in order of file.
    pub fn load(files: &[PolicyFile]) -> Result<Self, Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        let (mut policies, mut known) = (PolicySet::new(), BTreeMap::new());
        for file in files.iter().filter(|file| file.path.starts_with("access/")) {
            let read = if std::path::Path::new(&file.path).extension().is_some_and(|ending| ending == "cedar")
            {
                read_policies(file, &mut policies)
            } else {
                read_entities(file, &mut known)
            };
            problems.extend(read.err());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if policies.is_empty() {
            return Ok(Self::default());
        }
        let parsed: Result<Vec<_>, String> = known
            .values()
            .cloned()
            .map(|one| Entity::from_json_value(one, None).map_err(|error| error.to_string()))
            .collect();
        let entities = parsed
            .and_then(|parsed| Entities::from_entities(parsed, None).map_err(|error| error.to_string()));
        let entities = entities.map_err(|error| {
            let message = format!("what is known is not in order: {error}");
            vec![PolicyProblem { path: "access".to_owned(), line: 0, message }]
        })?;
        Ok(Self {
            loaded: Some(Arc::new(Loaded { policies, entities, known, authorizer: Authorizer::new() })),
        })
    }

    /// What the policies say. What nobody knows and no policy names is not permitted.
    ///
    /// # Errors
    /// [`Unreadable`] when a property is not something that policies can look at.
    pub fn decide(
        &self,
        subject: Party<'_>,
        action: Deed<'_>,
        resource: Party<'_>,
        context: &Map<String, Value>,
    ) -> Result<Verdict, Unreadable> {
        for properties in [subject.properties, action.properties, resource.properties, context] {
            readable(properties)?;
        }
        let Some(loaded) = &self.loaded else { return Ok(Verdict::default()) };
        if [subject.kind, resource.kind].contains(&PERSON_RECORD) {
            return Ok(Verdict::default());
        }
        let named =
            (uid(subject.kind, subject.id), uid(ACTION, action.name), uid(resource.kind, resource.id));
        let (Some(principal), Some(deed), Some(object)) = named else { return Ok(Verdict::default()) };
        let context = json!({ "context": context, "action": action.properties });
        let context = Context::from_json_value(context, None).map_err(|_| Unreadable)?;
        let request = Request::new(principal, deed, object, context, None).map_err(|_| Unreadable)?;
        let entities = loaded.with(&[subject, resource])?;
        let response = loaded.authorizer.is_authorized(&request, &loaded.policies, &entities);
        let faulted = response.diagnostics().errors().next().is_some();
        let mut policies: Vec<_> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        Ok(Verdict { permitted: response.decision() == Decision::Allow && !faulted, policies, faulted })
    }

    /// The names of everything of a type that is known, in order.
    pub fn known(&self, kind: &str) -> Vec<String> {
        let known = self.loaded.iter().flat_map(|loaded| loaded.known.keys());
        known.filter(|(known, _)| known == kind).map(|(_, id)| id.clone()).collect()
    }

    /// The names of every action that is known, in order.
    pub fn actions(&self) -> Vec<String> {
        self.known(ACTION)
    }
}

impl Loaded {
    /// What is known, with what the asker says of these.
    fn with(&self, parties: &[Party<'_>]) -> Result<Entities, Unreadable> {
        let mut said = Vec::new();
        let mut seen = BTreeSet::new();
        for party in parties {
            let key = (party.kind.to_owned(), party.id.to_owned());
            if !seen.insert(key.clone()) {
                return Err(Unreadable); // a subject that is its own resource would be said twice
            }
            let blank =
                || json!({ "uid": { "type": party.kind, "id": party.id }, "attrs": {}, "parents": [] });
            let mut entity = self.known.get(&key).cloned().unwrap_or_else(blank);
            if let Some(Value::Object(attributes)) = entity.get_mut("attrs") {
                attributes.extend(party.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            said.push(Entity::from_json_value(entity, None).map_err(|_| Unreadable)?);
        }
        self.entities.clone().upsert_entities(said, None).map_err(|_| Unreadable)
    }
}

impl fmt::Debug for AccessPolicies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.loaded.as_ref().map_or(0, |loaded| loaded.policies.num_of_policies());
        write!(formatter, "AccessPolicies({count})")
    }
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind: EntityTypeName = kind.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// Cedar's JSON gives names that begin with `__` a meaning of its own; whoever asks must not.
fn readable(members: &Map<String, Value>) -> Result<(), Unreadable> {
    members.iter().try_for_each(
        |(name, value)| {
            if name.starts_with("__") { Err(Unreadable) } else { readable_value(value) }
        },
    )
}

fn readable_value(value: &Value) -> Result<(), Unreadable> {
    match value {
        Value::Object(members) => readable(members),
        Value::Array(values) => values.iter().try_for_each(readable_value),
        Value::Number(number) if !number.is_i64() => Err(Unreadable),
        Value::Null => Err(Unreadable),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn problem(file: &PolicyFile, message: impl Into<String>) -> PolicyProblem {
    PolicyProblem { path: file.path.clone(), line: 0, message: message.into() }
}

fn read_policies(file: &PolicyFile, into: &mut PolicySet) -> Result<(), PolicyProblem> {
    let read: PolicySet = file.text.parse().map_err(|error| problem(file, format!("not Cedar: {error}")))?;
    for policy in read.policies() {
        let id = policy.annotation("id").map(str::to_owned);
        let id = id.ok_or_else(|| problem(file, "each policy needs a name: put @id(\"…\") before it"))?;
        let named = policy.new_id(cedar_policy::PolicyId::new(&id));
        into.add(named).map_err(|_| problem(file, format!("two policies are named `{id}`; rename one")))?;
    }
    Ok(())
}

fn read_entities(
    file: &PolicyFile,
    into: &mut BTreeMap<(String, String), Value>,
) -> Result<(), PolicyProblem> {
    let read: Vec<Value> = serde_json::from_str(&file.text)
        .map_err(|error| problem(file, format!("not a JSON list of Cedar entities: {error}")))?;
    for (position, entity) in read.into_iter().enumerate() {
        let text =
            |name: &str| entity.pointer(&format!("/uid/{name}")).and_then(Value::as_str).map(str::to_owned);
        let (Some(kind), Some(id)) = (text("type"), text("id")) else {
            return Err(problem(file, format!("entity {position} needs a uid with type and id")));
        };
        if kind == PERSON_RECORD {
            return Err(problem(file, format!("entity {position}: people's records are not decided here")));
        }
        Entity::from_json_value(entity.clone(), None)
            .map_err(|error| problem(file, format!("entity {position}: {error}")))?;
        if into.insert((kind, id), entity).is_some() {
            return Err(problem(file, format!("entity {position} is there twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> PolicyFile {
        PolicyFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn loaded(policy: &str) -> AccessPolicies {
        let known = r#"[{"uid":{"type":"user","id":"ann"},"attrs":{"role":"clerk"},"parents":[]}]"#;
        AccessPolicies::load(&[file("access/a.cedar", policy), file("access/a.json", known)]).unwrap()
    }

    fn ask(
        policies: &AccessPolicies,
        subject: &str,
        properties: &Value,
        resource: &str,
    ) -> Result<bool, Unreadable> {
        let (empty, properties) = (Map::new(), properties.as_object().cloned().unwrap());
        let subject = Party { kind: "user", id: subject, properties: &properties };
        let resource = Party { kind: resource, id: "1", properties: &empty };
        let action = Deed { name: "open", properties: &empty };
        policies.decide(subject, action, resource, &empty).map(|verdict| verdict.permitted)
    }

    #[test]
    fn what_is_known_counts_and_what_is_said_goes_before_it() {
        let policies = loaded(
            r#"@id("a") permit(principal, action, resource) when { principal has role && principal.role == "clerk" };"#,
        );
        assert_eq!(ask(&policies, "ann", &json!({}), "report"), Ok(true));
        assert_eq!(ask(&policies, "ann", &json!({ "role": "guest" }), "report"), Ok(false));
        assert_eq!(ask(&policies, "bob", &json!({}), "report"), Ok(false));
        assert_eq!(ask(&policies, "bob", &json!({ "role": "clerk" }), "report"), Ok(true));
    }

    #[test]
    fn an_error_denies_and_so_does_a_persons_record() {
        let policies = loaded(
            r#"@id("a") permit(principal, action, resource);
               @id("b") forbid(principal, action, resource) when { principal.missing == 1 };"#,
        );
        assert_eq!(
            ask(&policies, "ann", &json!({}), "report"),
            Ok(false),
            "a forbid that errs is not skipped"
        );
        let open = loaded(r#"@id("a") permit(principal, action, resource);"#);
        assert_eq!(ask(&open, "ann", &json!({}), "report"), Ok(true));
        assert_eq!(ask(&open, "ann", &json!({}), PERSON_RECORD), Ok(false));
        assert_eq!(ask(&open, "ann", &json!({}), "not a type"), Ok(false));
        assert_eq!(ask(&AccessPolicies::default(), "ann", &json!({}), "report"), Ok(false));
    }

    #[test]
    fn what_cedar_would_read_otherwise_is_refused() {
        let open = loaded(r#"@id("a") permit(principal, action, resource);"#);
        for properties in [
            json!({ "role": { "__entity": { "type": "user", "id": "root" } } }),
            json!({ "__extn": 1 }),
            json!({ "level": 1.5 }),
            json!({ "level": [null] }),
        ] {
            assert_eq!(ask(&open, "ann", &properties, "report"), Err(Unreadable), "{properties}");
        }
    }

    #[test]
    fn files_that_are_not_in_order_are_refused() {
        for (path, text) in [
            ("access/a.cedar", "permit(principal, action, resource);"),
            ("access/a.cedar", "permit("),
            ("access/a.json", "{}"),
            ("access/a.json", r#"[{"uid":{"type":"person-record","id":"1"},"attrs":{},"parents":[]}]"#),
            ("access/a.json", r#"[{"attrs":{}}]"#),
        ] {
            assert_eq!(AccessPolicies::load(&[file(path, text)]).unwrap_err().len(), 1, "{text}");
        }
    }
}
