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

use std::{fmt, sync::Arc};

use cedar_policy_core::{
    ast::{Expr, Literal, SlotEnv, Value, ValueKind},
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};

use crate::policy::{PolicyFile, PolicyProblem};

mod context;
mod facts;
mod read;
mod schema;
mod sieve;

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
    /// In order of their names.
    guardrails: Vec<Guardrail>,
    policies: cedar_policy::PolicySet,
    entities: Entities,
    /// There are no templates, and so nothing to fill in.
    slots: SlotEnv,
    words: context::Words,
}

/// What is said when a guardrail fires, and when that is.
struct Guardrail {
    fired: Fired,
    condition: Expr,
    sieve: sieve::Sieve,
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
        let words = context::Words::new(&read.names).map_err(|error| read::internal(&error))?;
        let guardrails = read.guardrails.into_values().map(|fired| {
            let condition =
                read::condition(&read.policies, &fired.id).map_err(|error| read::internal(&error))?;
            let sieve = sieve::Sieve::new(&condition, &words);
            Ok(Guardrail { fired, condition, sieve })
        });
        let guardrails = guardrails.collect::<Result<_, Vec<PolicyProblem>>>()?;
        let loaded = Loaded {
            guardrails,
            policies: read.policies,
            // Organisations and record holders have no attributes of their own: facts come with the question, so
            // that an entity that is missing cannot make a guardrail err.
            entities: Entities::new(),
            slots: SlotEnv::new(),
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
        self.loaded.iter().flat_map(|loaded| &loaded.guardrails).map(|guardrail| &guardrail.fired)
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
        let fault = Verdict { fired: Vec::new(), faulted: true };
        // The one fact that is a text and has a closed list.
        if !facts::IDENTIFIERS.contains(&facts.identifier) {
            return fault;
        }
        let is_open = |guardrail: &&Guardrail| guardrail.sieve.holds(facts) != Some(false);
        let mut open = loaded.guardrails.iter().filter(is_open).peekable();
        if open.peek().is_none() {
            return Verdict::default();
        }
        let Some(request) = loaded.words.request(facts) else { return fault };
        // Cedar's own evaluator, once for each condition. Its authorizer would put the conditions together anew for
        // each request, and would answer with a set of names; a test compares what the two say.
        let evaluator = Evaluator::new(request, &loaded.entities, Extensions::all_available());
        let mut verdict = Verdict::default();
        for guardrail in open {
            let found = evaluator.interpret(&guardrail.condition, &loaded.slots);
            match found.as_ref().map(Value::value_kind) {
                Ok(ValueKind::Lit(Literal::Bool(false))) => {}
                Ok(ValueKind::Lit(Literal::Bool(true))) => verdict.fired.push(guardrail.fired.clone()),
                Ok(_) | Err(_) => verdict.faulted = true,
            }
        }
        verdict
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
