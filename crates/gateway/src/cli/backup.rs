//! `concordat backup` and `concordat restore check`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use store::Archive;

use super::{ConfigArguments, output};
use crate::{
    audit_reads,
    backup::{self, Checked, Evidence},
    blocks,
    clock::{Clock as _, SystemClock, SystemEntropy},
    config, receipts,
};

/// Copy the database.
#[derive(Args)]
pub struct BackupArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// A folder, new or empty. It gets the database and a manifest. Keys are not in it: keep copies of them elsewhere.
    #[arg(long)]
    to: PathBuf,
}

/// Work on restored databases.
#[derive(Args)]
pub struct RestoreArguments {
    #[command(subcommand)]
    verb: RestoreVerb,
}

#[derive(Subcommand)]
enum RestoreVerb {
    /// Verify all of a database, and hold it against the checkpoint outside of it and what partners keep: does it have
    /// everything that it once had? Run it before the gateway is started again. Changes nothing.
    Check {
        #[command(flatten)]
        config: ConfigArguments,
        /// A backup's folder; else the database that the settings name.
        #[arg(long)]
        backup: Option<PathBuf>,
        /// A checkpoint, such as a witness's or a partner's; may be repeated. The copy that the settings name is always taken.
        #[arg(long)]
        checkpoint: Vec<PathBuf>,
        /// A file with answers that partners kept, with receipts in them; may be repeated.
        #[arg(long)]
        receipts: Vec<PathBuf>,
        /// Say what was found as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `backup`.
///
/// # Errors
/// What is in the way.
pub async fn run(arguments: BackupArguments) -> anyhow::Result<()> {
    let settings = config::load(&arguments.config.path())?;
    let archive = blocks::reader(&settings).await.with_context(|| settings.ledger.database.to_string())?;
    let note = audit_reads::Note {
        what: "backup".to_owned(),
        by_operator: config::operator(),
        from: 0,
        until: archive.head().await?.size,
    };
    audit_reads::leave(&settings.ledger.beside(), &SystemEntropy, &note).with_context(|| {
        format!(
            "{}: nothing is copied unless that is recorded",
            audit_reads::folder(&settings.ledger.beside()).display()
        )
    })?;
    let mut bar = verify::progress::Progress::new(false);
    let made_at = SystemClock.now().to_string();
    let written =
        backup::write(&settings, &arguments.to, made_at, &mut |done, all| bar.show(done, all, "entries"))
            .await;
    bar.clear();
    let manifest = written?;
    output::line(&format!(
        "{} entries, {} bytes in {}; read back and verified",
        manifest.entries,
        manifest.bytes,
        arguments.to.display()
    ));
    Ok(())
}

/// Runs `restore`.
///
/// # Errors
/// What is lost or wrong.
pub async fn restore(arguments: RestoreArguments) -> anyhow::Result<()> {
    let RestoreVerb::Check { config, backup, checkpoint, receipts, json } = arguments.verb;
    let settings = config::load(&config.path())?;
    let file = match &backup {
        Some(folder) => backup::open(folder)?.0.into(),
        None => settings.ledger.database.clone(),
    };
    let database =
        Archive::open(&file, blocks::source(&settings)?).await.with_context(|| file.to_string())?;
    let mut evidence = Evidence::default();
    let copy = &settings.ledger.checkpoint_copy;
    for copy in [copy.clone(), store::synced_copy(copy)].iter().filter(|copy| copy.exists()) {
        evidence
            .checkpoints
            .push((format!("the checkpoint outside the database ({})", copy.display()), config::read(copy)?));
    }
    for path in &checkpoint {
        evidence.checkpoints.push((path.display().to_string(), config::read(path)?));
    }
    for path in &receipts {
        let text = config::read(path)?;
        let found = receipts::receipts_in_text(&text);
        let found = found.with_context(|| format!("{}: not json", path.display()))?;
        anyhow::ensure!(!found.is_empty(), "{}: there is no receipt in it", path.display());
        evidence.receipts.extend(found);
    }
    anyhow::ensure!(
        !evidence.checkpoints.is_empty() || !evidence.receipts.is_empty(),
        "there is nothing to hold the database against: {} is not there; give --checkpoint (a witness's or a partner's) or --receipts",
        copy.display()
    );
    let mut bar = verify::progress::Progress::new(json);
    let checked =
        backup::check(&settings, &database, evidence, &mut |done, all| bar.show(done, all, "entries")).await;
    bar.clear();
    let checked = checked?;
    if json {
        output::line(&serde_json::to_string(&checked)?);
    } else {
        say(&checked);
    }
    anyhow::ensure!(
        checked.is_whole(),
        "do not start the gateway with this database: restore a newer backup. If there is none, docs/runbook.md says how to begin a new ledger and whom to tell"
    );
    Ok(())
}

fn say(checked: &Checked) {
    output::line(&format!("{} entries, root {}", checked.entries, checked.root));
    output::line(&format!(
        "{} checkpoints and {} receipts are of this ledger",
        checked.checkpoints, checked.receipts
    ));
    if checked.open_questions > 0 {
        output::line(&format!(
            "{} questions were open; the next start closes them as indeterminate",
            checked.open_questions
        ));
    }
    for fault in &checked.faults {
        output::line(&format!("wrong: {fault}"));
    }
    if checked.entries_lost > 0 {
        output::line(&format!("{} entries are lost, as far as this evidence goes", checked.entries_lost));
    }
    for decision in &checked.decisions_lost {
        output::line(&format!("lost: {decision}"));
    }
}
