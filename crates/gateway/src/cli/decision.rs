//! `concordat decision replay`: decides a recorded question again, and says whether today's answer differs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output;
use crate::{
    clock::{Clock as _, SystemClock},
    config,
    replay::{self, Outcome},
};

/// Work on decisions.
#[derive(Args)]
pub struct DecisionArguments {
    #[command(subcommand)]
    verb: DecisionVerb,
}

#[derive(Subcommand)]
enum DecisionVerb {
    /// Decide a recorded question again, as things were then and as they are now.
    Replay {
        /// The decision, as `dec_…`.
        decision_id: String,
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// When there is no such decision, or deciding again does not give what the ledger records.
pub async fn run(arguments: DecisionArguments) -> anyhow::Result<()> {
    let DecisionVerb::Replay { decision_id, config, json } = arguments.verb;
    let settings = config::load(&config)?;
    let archive = crate::blocks::reader(&settings).await?;
    let replay = replay::replay(&archive, &decision_id, SystemClock.now()).await?;
    if json {
        output::line(&serde_json::to_string_pretty(&replay)?);
    } else {
        output::line(&format!("decision   {}", replay.decision_id));
        output::line(&format!("made       {} under policy set {}", replay.at, replay.policy_revision));
        output::line(&format!("recorded   {}", said(&replay.recorded)));
        output::line(&format!("again      {}", said(&replay.again)));
        output::line(&format!("ended      {}", replay.ended));
        output::line(&format!("today      {}", said(&replay.today)));
        for difference in &replay.differences {
            output::line(&format!("differs    {difference}"));
        }
    }
    anyhow::ensure!(
        replay.agrees(),
        "deciding again does not give what the ledger records; keep this database as it is, verify it with `concordat audit verify`, and report both"
    );
    Ok(())
}

fn said(outcome: &Outcome) -> String {
    let under = outcome.under.as_ref().map(|under| format!(" under {under}")).unwrap_or_default();
    match outcome.decision {
        "permit" => format!("permit{under}: {}", outcome.items.join(", ")),
        decision => format!("{decision}: {}", outcome.reasons.join(", ")),
    }
}
