//! Proofs about guardrails: questions put to an SMT solver, which answers for every request there could be.
//!
//! A test tries some requests; a proof leaves none out. What is proved is listed in `tests/theorems.rs`, and what a
//! proof does and does not say in `docs/guardrails.md`. Guardrails and their schema are the very ones that the
//! gateway loads. Policies become formulas by `cedar-policy-symcc`; the solver is cvc5.

use std::path::{Path, PathBuf};

use cedar_policy::{PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env,
    solver::{Decision, LocalSolver, Solver, SolverError},
};
use tokio::io::AsyncWriteExt;

/// Why a question could not be put. That is a failure of the test, never a proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no solver.
    #[error("there is no solver: `./test` installs it, or set CVC5 to the path of a cvc5 program ({0})")]
    NoSolver(#[from] SolverError),
    /// What should be a solver is none: it got a question wrong whose answer is known.
    #[error("the solver cannot be believed: it says {said} of a question whose answer is {known}")]
    WrongAnswer {
        /// What is so.
        known: &'static str,
        /// What it said.
        said: &'static str,
    },
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
    /// Starts a solver, and believes it once it has told what can be from what cannot. Questions whose answer is
    /// plain from the formula never reach a solver, so that without this a proof could pass where none works.
    ///
    /// # Errors
    /// [`ProofError`] when there is none that works, or the schema cannot be read.
    pub async fn new(schema: &str) -> Result<Self, ProofError> {
        Self::with_solver(schema, solver()?).await
    }

    /// As [`Self::new`], with this solver.
    ///
    /// # Errors
    /// [`ProofError`] when it does not work, or the schema cannot be read.
    pub async fn with_solver(schema: &str, mut solver: LocalSolver) -> Result<Self, ProofError> {
        answers(&mut solver, "(> x 5)", Decision::Sat).await?;
        answers(&mut solver, "(and (> x 5) (< x 5))", Decision::Unsat).await?;
        let (schema, _) = Schema::from_cedarschema_str(schema).map_err(Box::new)?;
        let environments = schema.request_envs().collect();
        Ok(Self { schema, environments, compiler: CedarSymCompiler::new(solver)? })
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

/// Puts a question about one integer whose answer is known.
async fn answers(solver: &mut LocalSolver, formula: &str, known: Decision) -> Result<(), ProofError> {
    let question = format!("(reset)\n(set-logic ALL)\n(declare-const x Int)\n(assert {formula})\n");
    solver.smtlib_input().write_all(question.as_bytes()).await.map_err(SolverError::from)?;
    let said = solver.check_sat().await?;
    if said == known {
        Ok(())
    } else {
        Err(ProofError::WrongAnswer { known: name(&known), said: name(&said) })
    }
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Sat => "sat",
        Decision::Unsat => "unsat",
        Decision::Unknown => "unknown",
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
