//! Guardrails: rules beside the decision that can only forbid.
//!
//! The decision is written in Rust ([`crate::decide`]) and reviewed like code. Guardrails are short Cedar policies
//! in `policies/guardrails` that an information governance lead reads and signs, and that a solver proves things
//! about (`tests/proof`). Whatever the decision permits, a guardrail that fires refuses; none can permit anything.
//!
//! Cedar skips a policy that meets an error, a `forbid` too. So each is checked against the schema when it is
//! loaded, and an error that happens all the same makes the verdict [`Verdict::faulted`], which the caller must
//! take for a refusal. How to write one: `docs/guardrails.md`.
//!
//! [`Facts`] is what they may look at. Persons never become Cedar entities. This module reads text, not files.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cedar_policy::{Authorizer, Decision, Entities};

use crate::policy::{PolicyFile, PolicyProblem};

mod context;
mod facts;
mod read;
mod schema;

pub use facts::{
    AgreementFact, ConsentFact, DeathFact, Facts, ItemFacts, ObjectionFact, OverrideFact, Phase,
    RestrictionFact,
};

/// Guardrails in force: parsed, checked, immutable. Cheap to clone.
#[derive(Clone)]
pub struct Guardrails {
    loaded: Option<Arc<Loaded>>,
}

struct Loaded {
    guardrails: BTreeMap<String, Fired>,
    policies: cedar_policy::PolicySet,
    authorizer: Authorizer,
    entities: Entities,
    words: context::Words,
}

/// What the guardrails say about one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a guardrail that fired, or met an error, has to be heeded"]
pub struct Verdict {
    /// Every guardrail that forbids, in order of its name.
    pub fired: Vec<Fired>,
    /// A guardrail met an error, or a fact is not one that the schema knows. The caller must refuse, because a
    /// rule that could not be looked at may be one that forbids.
    pub faulted: bool,
}

impl Verdict {
    /// Nothing stands against it.
    pub fn is_clear(&self) -> bool {
        self.fired.is_empty() && !self.faulted
    }
}

/// A guardrail that forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Its name.
    pub id: String,
    /// That it fired says something about the person. The caller must then not be able to tell the refusal from
    /// "no such person".
    pub about_person: bool,
    /// What the practitioner is told.
    pub practitioner: String,
    /// What the information governance officer is told.
    pub officer: String,
}

impl Guardrails {
    /// Reads and checks `guardrails/*.cedar` out of a set of policy files. The names in them (organisations,
    /// record holders, items, roles, agreements) must be in the set's other files. Without guardrails in the set
    /// there are none.
    ///
    /// # Errors
    /// Every [`PolicyProblem`] found, in order of file and line.
    pub fn load(files: &[PolicyFile]) -> Result<Self, Vec<PolicyProblem>> {
        let read = read::read(files)?;
        if read.guardrails.is_empty() {
            return Ok(Self::none());
        }
        let words = context::Words::new().map_err(|error| read::internal(&error))?;
        let loaded = Loaded {
            guardrails: read.guardrails,
            policies: read.policies,
            authorizer: Authorizer::new(),
            // Organisations and record holders have no attributes of their own: facts come with the question, so
            // that an entity that is missing cannot make a guardrail err.
            entities: Entities::empty(),
            words,
        };
        Ok(Self { loaded: Some(Arc::new(loaded)) })
    }

    /// No guardrails.
    pub fn none() -> Self {
        Self { loaded: None }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.loaded.as_ref().map_or(0, |loaded| loaded.guardrails.len())
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every guardrail, in order of its name, in the words that it would fire with.
    pub fn iter(&self) -> impl Iterator<Item = &Fired> {
        self.loaded.iter().flat_map(|loaded| loaded.guardrails.values())
    }

    /// The guardrails as Cedar policies, with the one `permit` beside them that makes "allowed" mean "none
    /// fired". For proofs.
    pub fn policies(&self) -> cedar_policy::PolicySet {
        self.loaded.as_ref().map(|loaded| loaded.policies.clone()).unwrap_or_default()
    }

    /// What the guardrails say about a question. They say nothing about whether it is otherwise permitted.
    pub fn check(&self, facts: &Facts<'_>) -> Verdict {
        let Some(loaded) = &self.loaded else {
            return Verdict::default();
        };
        let Some(request) = loaded.words.request(facts) else {
            return Verdict { fired: Vec::new(), faulted: true };
        };
        let response = loaded.authorizer.is_authorized(&request, &loaded.policies, &loaded.entities);
        let failed = response.diagnostics().errors().next().is_some();
        if response.decision() == Decision::Allow {
            return Verdict { fired: Vec::new(), faulted: failed };
        }
        let reasons = response.diagnostics().reason();
        let mut fired: Vec<_> = reasons
            .filter_map(|id| {
                let id: &str = id.as_ref();
                loaded.guardrails.get(id).cloned()
            })
            .collect();
        fired.sort_by(|one, other| one.id.cmp(&other.id));
        // A refusal for which no guardrail answers would be one that nobody can explain.
        let faulted = failed || fired.is_empty();
        Verdict { fired, faulted }
    }

    /// The Cedar schema that guardrails are checked against. A copy is kept at
    /// `policies/schema/guardrails.cedarschema` for editors.
    pub fn schema() -> String {
        schema::text()
    }
}

impl fmt::Debug for Guardrails {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(|guardrail| &guardrail.id)).finish()
    }
}

#[cfg(test)]
mod tests;
