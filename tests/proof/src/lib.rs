//! Proofs about guardrails: questions put to an SMT solver, which answers for every request there could be.
//!
//! A test tries some requests; a proof leaves none out. What is proved is listed in `tests/theorems.rs`, and what a
//! proof does and does not say in `docs/guardrails.md`. Guardrails and their schema are the very ones that the
//! gateway loads. Policies become formulas by `cedar-policy-symcc`; the solver is cvc5.

use std::path::{Path, PathBuf};

use cedar_policy::{PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env,
    solver::{LocalSolver, SolverError},
};

/// Why a question could not be put. That is a failure of the test, never a proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no solver.
    #[error("there is no solver: `./test` installs it, or set CVC5 to the path of a cvc5 program ({0})")]
    NoSolver(#[from] SolverError),
    /// The schema or a policy does not become a formula, or the solver gave up.
    #[error("{0}")]
    Symbolic(#[from] Box<cedar_policy_symcc::err::Error>),
    /// The schema cannot be read.
    #[error("{0}")]
    Schema(#[from] Box<cedar_policy::CedarSchemaError>),
}

impl From<cedar_policy_symcc::err::Error> for ProofError {
    fn from(error: cedar_policy_symcc::err::Error) -> Self {
        Self::Symbolic(Box::new(error))
    }
}

/// Puts questions to the solver, for every kind of request that the schema knows.
pub struct Prover {
    schema: Schema,
    environments: Vec<RequestEnv>,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl Prover {
    /// Starts a solver.
    ///
    /// # Errors
    /// [`ProofError`] when there is none, or the schema cannot be read.
    pub fn new(schema: &str) -> Result<Self, ProofError> {
        let (schema, _) = Schema::from_cedarschema_str(schema).map_err(Box::new)?;
        let environments = schema.request_envs().collect();
        Ok(Self { schema, environments, compiler: CedarSymCompiler::new(solver()?)? })
    }

    /// How many kinds of request there are: pairs of action and entity types.
    pub fn environments(&self) -> usize {
        self.environments.len()
    }

    /// A request that `one` allows and `other` does not; `None` is a proof that there is none.
    ///
    /// # Errors
    /// [`ProofError`] when there is no answer.
    pub async fn allowed_by_one_alone(
        &mut self,
        one: &PolicySet,
        other: &PolicySet,
    ) -> Result<Option<Env>, ProofError> {
        for environment in &self.environments {
            let one = CompiledPolicySet::compile(one, environment, &self.schema)?;
            let other = CompiledPolicySet::compile(other, environment, &self.schema)?;
            let found = self.compiler.check_implies_with_counterexample_opt(&one, &other).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A request that makes some policy err, with that policy's name; `None` is a proof that there is none.
    ///
    /// # Errors
    /// [`ProofError`] when there is no answer.
    pub async fn errs(&mut self, policies: &PolicySet) -> Result<Option<(String, Env)>, ProofError> {
        for environment in &self.environments {
            for policy in policies.policies() {
                let compiled = CompiledPolicy::compile(policy, environment, &self.schema)?;
                let found = self.compiler.check_never_errors_with_counterexample_opt(&compiled).await?;
                if let Some(found) = found {
                    return Ok(Some((policy.id().to_string(), found)));
                }
            }
        }
        Ok(None)
    }
}

/// The program that `CVC5` names, or else the one that `./test` installs below `target`.
fn solver() -> Result<LocalSolver, SolverError> {
    let limit = "--tlimit=60000";
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no settings; this is the solver's own variable"
    )]
    let named = std::env::var_os("CVC5");
    if named.is_some() {
        return LocalSolver::cvc5_with_args([limit]);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = folder.join("../../target/proof/bin/python");
    let mut program = tokio::process::Command::new(python);
    LocalSolver::from_command(program.arg("-B").arg(folder.join("solver.py")).args(["--lang", "smt", limit]))
}
