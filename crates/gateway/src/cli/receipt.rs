//! `concordat receipt check`: a partner's receipts against the ledger as it is now.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::note::NoteVerifier;

use super::{output, remote::RemoteArguments};
use crate::{
    config,
    receipts::{self, Outcome},
};

/// Work on receipts.
#[derive(Args)]
pub struct ReceiptArguments {
    #[command(subcommand)]
    verb: ReceiptVerb,
}

#[derive(Subcommand)]
enum ReceiptVerb {
    /// Check stored receipts against the ledger's newest checkpoint, so that a rewritten history is noticed.
    Check {
        #[command(flatten)]
        gateway: RemoteArguments,
        /// The ledger's key, `name+hash+key`, as you were given it when you joined. Never one that the gateway tells.
        /// Given again for a key that took over from it; otherwise the ledger's own handover is followed.
        #[arg(long, required = true)]
        key: Vec<String>,
        /// Where the newest checkpoint is kept from one check to the next.
        #[arg(long)]
        state: Option<PathBuf>,
        /// Answers with receipts in them, as JSON, or one a line.
        files: Vec<PathBuf>,
    },
}

/// Runs the verb.
///
/// # Errors
/// What is not in order.
pub async fn run(arguments: ReceiptArguments) -> anyhow::Result<()> {
    let ReceiptVerb::Check { gateway, key, state, files } = arguments.verb;
    let keys: Vec<_> =
        key.iter().map(|key| NoteVerifier::parse(key).context("--key")).collect::<Result<_, _>>()?;
    let mut stored = Vec::new();
    for file in &files {
        let text = config::read(file)?;
        let found = receipts::receipts_in_text(&text);
        let found = found.with_context(|| format!("{}: not json", file.display()))?;
        anyhow::ensure!(!found.is_empty(), "{}: there is no receipt in it", file.display());
        stored.extend(found);
    }
    let gateway = gateway.remote()?;
    let kept = match &state {
        Some(path) if path.exists() => Some(config::read(path)?),
        _ => None,
    };
    let Outcome { checked, newest, keys: followed } =
        receipts::check(&stored, &keys, &gateway, kept.as_deref()).await?;
    for key in followed.iter().skip(keys.len()) {
        output::line(&format!("the ledger's key has handed over to {key}: give it with --key from now on"));
    }
    let wrong: Vec<_> = checked.iter().filter(|one| one.wrong.is_some()).collect();
    for one in &wrong {
        output::line(&format!("{}: {}", one.decision_id, one.wrong.as_deref().unwrap_or_default()));
    }
    if wrong.is_empty()
        && let Some(path) = &state
    {
        // Whole or not at all: a checkpoint that is half written would be no witness.
        let beside = path.with_extension("new");
        std::fs::write(&beside, &newest)
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| path.display().to_string())?;
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "{} of {} receipts are not what the ledger says now: keep them, and tell the other partners and the auditor",
        wrong.len(),
        checked.len()
    );
    output::line(&format!("{} receipts hold under the newest checkpoint", checked.len()));
    Ok(())
}
