//! `concordat policy check|test|matrix|lint|simulate`: policies as data, checked like code.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use sharing::PolicySet;

use super::output;
use crate::{
    clock::{Clock as _, SystemClock},
    config, policies, replay,
};

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
    /// Say what an experienced lead would ask about: gaps in the law, what ends soon, what nobody uses.
    Lint {
        /// The gateway's settings, for what was used; without them the files alone are looked at.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Over which time, such as `90d`.
        #[arg(long, default_value = "90d")]
        over: Period,
        /// Fail when there is any finding.
        #[arg(long)]
        strict: bool,
    },
    /// Decide past questions again under proposed policies, and say what would change. Nothing is asked of
    /// anybody. Agreements that are new or changed are taken as if signed and in force.
    Simulate {
        /// The folder with the proposed policies: a whole set.
        #[arg(long)]
        proposed: PathBuf,
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// Over which time, such as `90d`.
        #[arg(long, default_value = "90d")]
        over: Period,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A number of days or hours, written `90d` or `36h`.
#[derive(Debug, Clone, Copy)]
pub struct Period(SignedDuration);

impl Period {
    /// How long.
    pub fn duration(self) -> SignedDuration {
        self.0
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "write a number of days or hours, such as 90d or 36h";
        let hours = match (text.strip_suffix('d'), text.strip_suffix('h')) {
            (Some(days), _) => days.parse::<u16>().map_err(|_| error)?.into(),
            (_, Some(hours)) => {
                return Ok(Self(SignedDuration::from_hours(hours.parse::<u16>().map_err(|_| error)?.into())));
            }
            (None, None) => return Err(error),
        };
        let days: i64 = hours;
        Ok(Self(SignedDuration::from_hours(days * 24)))
    }
}

/// Runs the verb.
///
/// # Errors
/// What is wrong with the policies.
pub async fn run(arguments: &PolicyArguments) -> anyhow::Result<()> {
    if let PolicyVerb::Simulate { proposed, config, over, json } = &arguments.verb {
        return simulate(proposed, config, *over, *json).await;
    }
    let files = policies::read_folder(&arguments.policies)?;
    let set = sharing::PolicySet::load(&files).map_err(policies::PoliciesError::Problems)?;
    match &arguments.verb {
        PolicyVerb::Check => {
            let (agreements, providers) = (set.agreements().count(), set.providers().count());
            output::line(&format!("{agreements} agreements and {providers} record holders are in order"));
            Ok(())
        }
        PolicyVerb::Test => {
            let mut results = sharing::cases::run(&files);
            results.extend(sharing::alerting::run_scenarios(&files));
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
        PolicyVerb::Lint { config, over, strict } => lint(&set, config.as_deref(), *over, *strict).await,
        PolicyVerb::Simulate { .. } => Ok(()), // done above: it reads another folder
        PolicyVerb::Matrix => {
            let at = sharing::cases::MATRIX_AT.parse().context("the matrix's date")?;
            output::line(sharing::cases::matrix(&set, at).trim_end());
            Ok(())
        }
    }
}

async fn lint(set: &PolicySet, config: Option<&Path>, over: Period, strict: bool) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let usage = match config {
        None => None,
        Some(config) => {
            let settings = config::load(config)?;
            let archive = crate::blocks::reader(&settings).await?;
            Some(replay::usage(&archive, now.checked_sub(over.0)?, now).await?)
        }
    };
    let findings = sharing::lint::lint(set, usage.as_ref(), now);
    for finding in &findings {
        output::line(&finding.to_string());
    }
    output::line(&format!("{} findings", findings.len()));
    anyhow::ensure!(
        !strict || findings.is_empty(),
        "there are findings; settle them, or run without --strict"
    );
    Ok(())
}

async fn simulate(proposed: &Path, config: &Path, over: Period, json: bool) -> anyhow::Result<()> {
    let settings = config::load(config)?;
    let archive = crate::blocks::reader(&settings).await?;
    let proposed = replay::proposed(&archive, policies::read_folder(proposed)?).await?;
    let now = SystemClock.now();
    let simulation = replay::simulate(&archive, &proposed, (now.checked_sub(over.0)?, now)).await?;
    if json {
        output::line(&serde_json::to_string_pretty(&simulation)?);
        return Ok(());
    }
    let count = |of: &std::collections::BTreeMap<&str, u64>, what| of.get(what).copied().unwrap_or(0);
    output::line(&format!(
        "{} questions from {} until {}",
        simulation.questions, simulation.from, simulation.until
    ));
    output::line(&format!("{:<10} {:>10} {:>10}", "", "in force", "proposed"));
    for what in ["permit", "deny", "refer"] {
        let (one, other) = (count(&simulation.in_force, what), count(&simulation.proposed, what));
        output::line(&format!("{what:<10} {one:>10} {other:>10}"));
    }
    for change in &simulation.changes {
        output::line(&format!(
            "\n{} questions about {} people: {} asks {} for {}\n  in force  {}\n  proposed  {}\n  such as   {}",
            change.questions,
            change.people,
            change.recipient,
            change.provider,
            change.purpose,
            change.from,
            change.to,
            change.examples.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
        ));
    }
    let changed: Vec<_> = simulation.items.iter().filter(|(_, (one, other))| one != other).collect();
    if !changed.is_empty() {
        output::line(&format!("\n{:<40} {:>10} {:>10}", "item permitted", "in force", "proposed"));
        for (item, (one, other)) in changed {
            output::line(&format!("{item:<40} {one:>10} {other:>10}"));
        }
    }
    if simulation.changes.is_empty() {
        output::line("\nnothing would have been decided otherwise");
    }
    Ok(())
}
