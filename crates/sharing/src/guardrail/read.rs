//! Reading guardrails: what is refused, and where.
//!
//! A set with any problem is never used. What is checked here is what would otherwise let a guardrail be silently
//! without effect (a misspelt name, a condition that never holds) or say more than it may (a guardrail about an
//! agreement that looks at the person).

use std::{collections::BTreeMap, path::Path, str::FromStr};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::ast::{self, ActionConstraint, Expr, PrincipalOrResourceConstraint};
use miette::Diagnostic;
use serde_json::Value;

use super::{Fired, Phase, context::KnownNames, schema};
use crate::{
    agreement::Agreement,
    catalogue::Provider,
    decide::Reason,
    policy::{Organisation, PolicyFile, PolicyProblem},
};

const FOLDER: &str = "guardrails/";

/// Makes "allowed" mean that no guardrail fired. Its name cannot be that of a guardrail.
const PERMIT: &str = "(permit)";

const ANNOTATIONS: [&str; 4] = ["id", "about", "practitioner", "officer"];

pub(super) struct Read {
    pub(super) guardrails: BTreeMap<String, Fired>,
    pub(super) policies: PolicySet,
    pub(super) names: KnownNames,
}

pub(super) fn read(files: &[PolicyFile]) -> Result<Read, Vec<PolicyProblem>> {
    let (schema, _) = Schema::from_cedarschema_str(&schema::text()).map_err(|error| internal(&error))?;
    let permit = Policy::parse(Some(PolicyId::new(PERMIT)), "permit(principal, action, resource);");
    let permit = permit.map_err(|error| internal(&error))?;
    let mut policies = PolicySet::new();
    policies.add(permit).map_err(|error| internal(&error))?;
    let mut reader = Reader {
        validator: Validator::new(schema),
        read: Read { guardrails: BTreeMap::new(), policies, names: names(files) },
        problems: Vec::new(),
    };
    for file in files.iter().filter(|file| is_guardrails(&file.path)) {
        reader.file(file);
    }
    let Reader { read, mut problems, .. } = reader;
    problems.sort_by(|one, other| {
        (&one.path, one.line, &one.message).cmp(&(&other.path, other.line, &other.message))
    });
    problems.dedup();
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// The gateway's own schema or permit does not parse. A test would have found it.
pub(super) fn internal(error: &dyn std::fmt::Display) -> Vec<PolicyProblem> {
    let message = format!("the gateway's own guardrail schema is broken: {error}; report it");
    vec![PolicyProblem { path: FOLDER.trim_end_matches('/').to_owned(), line: 0, message }]
}

/// When the guardrail of this name forbids. It comes without the places in its file, which the evaluator would
/// otherwise hand on at every step.
pub(super) fn condition(policies: &PolicySet, id: &str) -> Result<Expr, Box<dyn std::error::Error>> {
    let policy = policies.policy(&PolicyId::new(id)).ok_or("a guardrail is missing")?;
    let placeless = Policy::from_json(None, policy.to_json()?)?;
    let policy: &ast::Policy = placeless.as_ref();
    let any = PrincipalOrResourceConstraint::Any;
    let is_about_all = *policy.principal_constraint().as_inner() == any
        && *policy.resource_constraint().as_inner() == any
        && *policy.action_constraint() == ActionConstraint::Any;
    Ok(match policy.non_scope_constraints() {
        Some(condition) if is_about_all => condition.clone(),
        Some(_) | None => policy.condition(),
    })
}

fn is_guardrails(path: &str) -> bool {
    let name = path.strip_prefix(FOLDER);
    name.is_some_and(|name| Path::new(name).extension().is_some_and(|extension| extension == "cedar"))
}

/// Names that a guardrail may use, by entity type and name.
fn names(files: &[PolicyFile]) -> KnownNames {
    let mut names = KnownNames::from([("Agreement", "none".to_owned()), ("Role", "unattended".to_owned())]);
    // A file that cannot be read is a problem that `PolicySet::load` tells of.
    for file in files {
        if file.path.starts_with("organisations/")
            && let Ok(organisation) = toml::from_str::<Organisation>(&file.text)
        {
            names.insert(("Organisation", organisation.id.get_ref().as_str().to_owned()));
        } else if file.path.starts_with("catalogue/")
            && let Ok(provider) = toml::from_str::<Provider>(&file.text)
        {
            names.insert(("Provider", provider.id().as_str().to_owned()));
            names.extend(provider.items.iter().map(|item| ("Item", item.id.get_ref().as_str().to_owned())));
        } else if file.path.starts_with("agreements/")
            && let Ok(agreement) = toml::from_str::<Agreement>(&file.text)
        {
            names.insert(("Agreement", agreement.id().as_str().to_owned()));
            names.extend(agreement.flows.into_iter().flat_map(|flow| flow.roles).map(|role| ("Role", role)));
        }
    }
    names
}

struct Reader {
    validator: Validator,
    read: Read,
    problems: Vec<PolicyProblem>,
}

impl Reader {
    fn file(&mut self, file: &PolicyFile) {
        let parsed = match PolicySet::from_str(&file.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let problems = errors.iter().map(|error| problem(file, offset(error), error.to_string()));
                return self.problems.extend(problems);
            }
        };
        for template in parsed.templates() {
            let message = "a guardrail has no `?principal` or `?resource`; write out what it is about";
            self.problems.push(problem(file, start(file, &template.to_string()), message));
        }
        let mut in_file = PolicySet::new();
        for policy in parsed.policies() {
            let at = start(file, &policy.to_string());
            let messages = match self.guardrail(policy) {
                Ok(guardrail) => {
                    let renamed = policy.new_id(PolicyId::new(&guardrail.id));
                    let id = guardrail.id.clone();
                    let twice = self.read.guardrails.insert(id.clone(), guardrail).is_some();
                    if twice || in_file.add(renamed).is_err() {
                        vec![format!("guardrail `{id}` is defined twice; rename one")]
                    } else {
                        Vec::new()
                    }
                }
                Err(messages) => messages,
            };
            self.problems.extend(messages.into_iter().map(|message| problem(file, at, message)));
        }
        self.validate(file, &in_file);
        for policy in in_file.policies() {
            if let Err(error) = self.read.policies.add(policy.clone()) {
                self.problems.push(problem(file, start(file, &policy.to_string()), error.to_string()));
            }
        }
    }

    /// Against the schema. A warning counts: a guardrail that can never fire is a rule that somebody believes in.
    fn validate(&mut self, file: &PolicyFile, policies: &PolicySet) {
        let result = self.validator.validate(policies, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| (offset(error), error.to_string()));
        let warnings = result.validation_warnings().map(|warning| (offset(warning), warning.to_string()));
        let found: Vec<_> = errors.chain(warnings).collect();
        self.problems.extend(found.into_iter().map(|(at, message)| problem(file, at, message)));
    }

    fn guardrail(&self, policy: &Policy) -> Result<Fired, Vec<String>> {
        let mut messages = Vec::new();
        if policy.effect() == Effect::Permit {
            messages
                .push("a guardrail can only forbid; what is permitted is for agreements to say".to_owned());
        }
        for (name, _) in policy.annotations().filter(|(name, _)| !ANNOTATIONS.contains(name)) {
            messages.push(format!(
                "unknown annotation `@{name}`; use {}",
                ANNOTATIONS.map(|name| format!("@{name}")).join(", ")
            ));
        }
        let mut annotation = |name: &str| {
            let text = policy.annotation(name).unwrap_or("").trim().to_owned();
            if text.is_empty() {
                messages.push(format!("a guardrail needs an `@{name}(\"..\")` annotation"));
            }
            text
        };
        let (id, about) = (annotation("id"), annotation("about"));
        let (practitioner, officer) = (annotation("practitioner"), annotation("officer"));
        let is_slug = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !id.is_empty() && (id.len() > 64 || !id.bytes().all(is_slug)) {
            messages.push("`@id` is 1 to 64 lower-case letters, digits or hyphens".to_owned());
        }
        let about_person = about == "person";
        if !about.is_empty() && !about_person && about != "agreement" {
            messages.push("`@about` is \"agreement\" or \"person\"".to_owned());
        }
        messages.extend(if about_person {
            tells_of_person(&practitioner)
        } else {
            reads_person(policy).or_else(|| tells_release(policy))
        });
        messages.extend(self.unknown_names(policy));
        if messages.is_empty() {
            Ok(Fired { id, about_person, practitioner, officer })
        } else {
            Err(messages)
        }
    }

    fn unknown_names(&self, policy: &Policy) -> Vec<String> {
        let literals = policy.entity_literals().into_iter();
        let unknown = literals.filter_map(|literal| {
            let (of, name) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
            let folder = match of.as_str() {
                "Organisation" => "organisations/ has no organisation",
                "Provider" => "catalogue/ has no record holder",
                "Item" => "catalogue/ has no item",
                "Agreement" => "agreements/ has no agreement",
                "Role" => "agreements/ has no role",
                _ => return None,
            };
            let known = self.read.names.iter().any(|(known, one)| *known == of && *one == name);
            (!known).then(|| format!("{folder} `{name}`; correct the name, or the guardrail never fires"))
        });
        unknown.collect()
    }
}

/// A refusal about the person is told in one and the same words, whatever is behind it.
fn tells_of_person(practitioner: &str) -> Option<String> {
    let same = Reason::Restricted.advice();
    (practitioner != same).then(|| {
        format!("a guardrail about a person tells the practitioner exactly: @practitioner(\"{same}\")")
    })
}

/// Were it about an agreement and looked at the person, its refusal would tell what is known of the person.
fn reads_person(policy: &Policy) -> Option<String> {
    let Ok(json) = policy.to_json() else {
        return Some("the guardrail cannot be examined; write it more simply".to_owned());
    };
    let mut paths = Vec::new();
    context_paths(&json, &mut paths);
    let person = |path: &Vec<String>| {
        schema::PERSON_FACTS.iter().any(|fact| path.iter().zip(*fact).all(|(one, other)| one == other))
    };
    let path = paths.into_iter().find(person)?;
    Some(format!(
        "`context{}` tells something about the person, so this guardrail is @about(\"person\")",
        [""].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
    ))
}

/// Before a release the record has been read. Were a guardrail about an agreement to forbid there what it let pass
/// before, whoever asked would learn that there is a record: for nobody, none is ever read.
fn tells_release(policy: &Policy) -> Option<String> {
    let release = |literal: cedar_policy::EntityUid| {
        literal.type_name().to_string() == "Action" && literal.id().unescaped() == Phase::Release.as_str()
    };
    let names_it = policy.entity_literals().into_iter().any(release);
    let reads_action = policy.to_json().map_or(true, |json| reads_variable(&json, "action"));
    (names_it || reads_action).then(|| {
        "a guardrail that tells `release` from `disclose` tells that there is a record, so it is @about(\"person\"); \
         about an agreement only the scope `action == Action::\"disclose\"` can be told apart"
            .to_owned()
    })
}

fn reads_variable(json: &Value, name: &str) -> bool {
    match json {
        Value::Array(values) => values.iter().any(|value| reads_variable(value, name)),
        Value::Object(members) => {
            members.get("Var").and_then(Value::as_str) == Some(name)
                || members.values().any(|value| reads_variable(value, name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The longest paths below `context` that the policy reads.
fn context_paths(json: &Value, paths: &mut Vec<Vec<String>>) {
    if let Some(path) = context_path(json) {
        return paths.push(path);
    }
    match json {
        Value::Array(values) => values.iter().for_each(|value| context_paths(value, paths)),
        Value::Object(members) => members.values().for_each(|value| context_paths(value, paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn context_path(json: &Value) -> Option<Vec<String>> {
    if json.get("Var").and_then(Value::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = json.get(".").or_else(|| json.get("has"))?;
    let mut path = context_path(access.get("left")?)?;
    // Without a name the whole of what is left of it counts as read.
    path.extend(access.get("attr").and_then(Value::as_str).map(str::to_owned));
    Some(path)
}

fn offset(diagnostic: &dyn Diagnostic) -> usize {
    let labels = diagnostic.labels();
    labels.into_iter().flatten().map(|label| label.offset()).min().unwrap_or(0)
}

fn start(file: &PolicyFile, policy: &str) -> usize {
    file.text.find(policy).unwrap_or(0)
}

fn problem(file: &PolicyFile, offset_bytes: usize, message: impl AsRef<str>) -> PolicyProblem {
    let before = file.text.get(..offset_bytes).unwrap_or("");
    let message = message.as_ref().replace('\n', " ");
    PolicyProblem { path: file.path.clone(), line: before.matches('\n').count() + 1, message }
}
