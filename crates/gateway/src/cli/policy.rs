//! `concordat policy check|test|matrix`: policies as data, checked like code.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::output;
use crate::policies;

/// Work on the policies.
#[derive(Args)]
pub struct PolicyArguments {
    #[command(subcommand)]
    verb: PolicyVerb,
    /// The folder.
    #[arg(long, global = true, default_value = "policies")]
    policies: PathBuf,
}

#[derive(Subcommand)]
enum PolicyVerb {
    /// Check every file, and say file, line and what to do.
    Check,
    /// Run the decision cases in `cases/`.
    Test,
    /// Print who may be told what, for which purpose. `policies/matrix.txt` holds it.
    Matrix,
}

/// Runs the verb.
///
/// # Errors
/// What is wrong with the policies.
pub fn run(arguments: &PolicyArguments) -> anyhow::Result<()> {
    let files = policies::read_folder(&arguments.policies)?;
    let set = sharing::PolicySet::load(&files).map_err(policies::PoliciesError::Problems)?;
    match arguments.verb {
        PolicyVerb::Check => {
            let (agreements, providers) = (set.agreements().count(), set.providers().count());
            output::line(&format!("{agreements} agreements and {providers} record holders are in order"));
            Ok(())
        }
        PolicyVerb::Test => {
            let results = sharing::cases::run(&files);
            let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
            for result in &failed {
                let said = result.outcome.as_ref().err().map_or("", String::as_str);
                output::line(&format!("{}: {}: {said}", result.file, result.name));
            }
            output::line(&format!("{} cases passed, {} failed", results.len() - failed.len(), failed.len()));
            anyhow::ensure!(
                failed.is_empty(),
                "some cases do not hold; change the policies, or the cases if the law has changed"
            );
            anyhow::ensure!(
                !results.is_empty(),
                "there are no cases in {}",
                arguments.policies.join("cases").display()
            );
            Ok(())
        }
        PolicyVerb::Matrix => {
            let at = sharing::cases::MATRIX_AT.parse().context("the matrix's date")?;
            output::line(sharing::cases::matrix(&set, at).trim_end());
            Ok(())
        }
    }
}
