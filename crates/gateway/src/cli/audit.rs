//! `concordat audit verify|export|prove|ask-witness|checkpoint`: read-only, also while the gateway runs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::{
    export::tiles::TilesExport,
    note::NoteSigner,
    proof::TlogProof,
    tree::{Frontier, leaf_hash},
    verify::{Report, Verifier},
    witness::AddCheckpoint,
};
use store::Archive;
use verify::Request;

use super::{
    output,
    remote::{Remote, RemoteArguments},
};
use crate::{
    audit_reads,
    clock::SystemEntropy,
    config,
    exporting::{self, Export, Filter, Format},
    mirror::{self, Expected, Outcome, Progress},
    stop,
};

mod directory;

const PAGE: u32 = 1_000;

/// Work on the ledger.
#[derive(Args)]
pub struct AuditArguments {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Recompute everything, and name the first entry that is not in order.
    Verify {
        /// The gateway's settings: verify its database.
        #[arg(long, required_unless_present = "export")]
        config: Option<PathBuf>,
        /// An exported NDJSON file with its manifest beside it, or a directory of tiles: verify that, with nothing
        /// of the gateway's. `concordat-verify` is the same for auditors, alone.
        #[arg(long, conflicts_with = "config")]
        export: Option<PathBuf>,
        /// The key of an export's ledger; else the one that the export names.
        #[arg(long, requires = "export")]
        key: Option<String>,
        /// Older checkpoints, such as a partner's receipts', that must be prefixes.
        #[arg(long)]
        checkpoint: Vec<PathBuf>,
    },
    /// Write every entry to a file with a manifest beside it, or to a directory of tiles.
    Export {
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// The format.
        #[arg(long, default_value = "ndjson")]
        format: Format,
        /// The file, for every format but tiles.
        #[arg(long, conflicts_with = "to")]
        out: Option<PathBuf>,
        /// The directory, new or empty, for tiles.
        #[arg(long)]
        to: Option<PathBuf>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Keep a verified copy of a ledger that is live, as tiles: fetch what is new, verify all of it, again and again.
    Mirror {
        #[command(flatten)]
        gateway: RemoteArguments,
        /// The ledger's key, `name+hash+key`, as you got it from somebody other than the ledger's keeper.
        #[arg(long)]
        key: String,
        /// A witness whose cosignature to look for; may be repeated.
        #[arg(long)]
        witness: Vec<String>,
        /// How many of the witnesses must have cosigned; else all of them.
        #[arg(long)]
        quorum: Option<usize>,
        /// An older checkpoint, such as a receipt's, that must be a prefix; may be repeated.
        #[arg(long)]
        checkpoint: Vec<PathBuf>,
        /// The directory.
        #[arg(long)]
        to: PathBuf,
        /// Do so every so many seconds, until stopped or until something is wrong.
        #[arg(long)]
        every: Option<u64>,
    },
    /// Write a proof that an entry is in the ledger (C2SP tlog-proof), for whoever holds the entry.
    Prove {
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// The entry, from 0.
        #[arg(long)]
        entry: u64,
        /// The file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Print what to post to a witness's `/add-checkpoint`. Its answer goes at the end of the checkpoint.
    AskWitness {
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// The size that the witness cosigned last; it answers with it when this is not.
        #[arg(long, default_value_t = 0)]
        old: u64,
    },
    /// Print the newest checkpoint, or write it to the copy outside the database.
    Checkpoint {
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// Replace the copy. Only after the ledger was verified against somebody else's checkpoint.
        #[arg(long)]
        write: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// What is not in order.
pub async fn run(arguments: AuditArguments) -> anyhow::Result<()> {
    match arguments.verb {
        AuditVerb::Verify { config: Some(path), checkpoint, .. } => verify_database(&path, &checkpoint).await,
        AuditVerb::Verify { export, key, checkpoint, .. } => {
            let path = export.context("say what to verify: --config or --export")?;
            let request = Request { path, key, older: checkpoint, ..Request::default() };
            say(&verify::verify(&request, &mut |_, _| ())?.report);
            Ok(())
        }
        AuditVerb::Export { config, format: Format::Tiles, to, filter, .. } => {
            anyhow::ensure!(
                filter.is_empty(),
                "a filter needs --format ndjson; tiles are of the whole ledger"
            );
            export_tiles(&config, &to.context("say where the tiles go: --to")?).await
        }
        AuditVerb::Export { config, format, out, filter, .. } => {
            export(&config, format, &out.context("say where the file goes: --out")?, filter).await
        }
        AuditVerb::Mirror { gateway, key, witness, quorum, checkpoint, to, every } => {
            let expected = Expected { key, witnesses: witness, quorum, older: checkpoint };
            follow(&gateway.remote()?, &to, &expected, every).await
        }
        AuditVerb::Prove { config, entry, out } => prove(&config, entry, &out).await,
        AuditVerb::AskWitness { config, old } => ask_witness(&config, old).await,
        AuditVerb::Checkpoint { config, write } => checkpoint(&config, write).await,
    }
}

async fn open(config: &Path) -> anyhow::Result<(config::Settings, Archive, String)> {
    let settings = config::load(config)?;
    let archive =
        crate::blocks::reader(&settings).await.with_context(|| settings.ledger.database.to_string())?;
    let seeds = config::read_keys(&settings.ledger.signing_key)?;
    let newest = seeds.last().map(|seed| NoteSigner::from_seed(&settings.ledger.origin, seed).verifier_key());
    let public_key = newest.unwrap_or_default();
    Ok((settings, archive, public_key))
}

async fn follow(gateway: &Remote, to: &Path, expected: &Expected, every: Option<u64>) -> anyhow::Result<()> {
    loop {
        let mut bar = verify::progress::Progress::new(false);
        let outcome = mirror::bring_up_to_date(gateway, to, expected, &mut |progress| match progress {
            Progress::Fetched(done, all) => bar.show(done, all, "files"),
            Progress::Verified(done, all) => bar.show(done, all, "entries"),
        })
        .await;
        bar.clear();
        match outcome? {
            Outcome::Verified(verified) => {
                say(&verified.report);
                for cosigned in &verified.report.cosigned_by {
                    output::line(&format!("cosigned by {}", cosigned.witness));
                }
            }
            Outcome::Refused(error, aside) => anyhow::bail!(
                "what the ledger says now does not verify: {error}. The copy in {} is as it was; what was said is in {}: keep both, and tell the partners",
                to.display(),
                aside.display()
            ),
        }
        let Some(seconds) = every else { return Ok(()) };
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(seconds.max(1))) => {}
            () = stop::stop_signal() => return Ok(()),
        }
    }
}

async fn verify_database(config: &Path, older: &[PathBuf]) -> anyhow::Result<()> {
    let (settings, archive, public_key) = open(config).await?;
    let mut verifier = Verifier::new(&public_key)?;
    verifier.with_scratch(verify::scratch());
    // A running gateway writes the copy after the database, so the copy is never ahead.
    if let Ok(note) = std::fs::read_to_string(&settings.ledger.checkpoint_copy) {
        verifier.expect_checkpoint(&note, "the checkpoint outside the database")?;
    }
    expect_all(&mut verifier, older)?;
    let head = archive.head().await?;
    each_leaf(&archive, head.size, |leaf| Ok(verifier.entry(leaf)?)).await?;
    say(&verifier.finish(&head.checkpoint)?);
    Ok(())
}

fn expect_all(verifier: &mut Verifier, older: &[PathBuf]) -> anyhow::Result<()> {
    for path in older {
        verifier.expect_checkpoint(&config::read(path)?, &path.display().to_string())?;
    }
    Ok(())
}

fn say(report: &Report) {
    output::line(&format!("{} entries of {} verify", report.entries, report.origin));
    for (kind, count) in &report.kinds {
        output::line(&format!("  {count:>8}  {kind}"));
    }
    output::line(&format!("  root {}", report.root));
    if report.clock_steps_back > 0 {
        output::line(&format!(
            "  {} entries are dated before the one in front of them",
            report.clock_steps_back
        ));
    }
    if !report.open_intents.is_empty() {
        output::line(&format!("  {} questions are still open", report.open_intents.len()));
    }
}

async fn export(config: &Path, format: Format, out: &Path, filter: Filter) -> anyhow::Result<()> {
    exporting::check(format, &filter)?;
    let (settings, archive, public_key) = open(config).await?;
    let what = format!("export {} {}", format.name(), filter.words());
    note_read(&settings, &archive, what.trim()).await?;
    let origin = settings.ledger.origin;
    let mut bar = verify::progress::Progress::new(false);
    let export = Export { archive: &archive, origin, public_key, format, filter, may_see: None, out };
    let written = exporting::write(export, &mut |done, all| bar.show(done, all, "entries")).await;
    bar.clear();
    let manifest =
        written.with_context(|| "the export broke off; the same command goes on with an ndjson file")?;
    let beside = verify::manifest_path(out);
    let mut said =
        format!("{} entries in {}, manifest in {}", manifest.until, out.display(), beside.display());
    if manifest.withheld > 0 {
        said = format!("{said}; {} of them withheld, as bare hashes", manifest.withheld);
    }
    if manifest.left_out > 0 {
        said =
            format!("{said}; {} of them are not about a person's record and are left out", manifest.left_out);
    }
    output::line(&said);
    Ok(())
}

/// Reading the ledger out is an entry. The gateway writes it, since it alone writes.
async fn note_read(settings: &config::Settings, archive: &Archive, what: &str) -> anyhow::Result<()> {
    let note = audit_reads::Note {
        what: what.to_owned(),
        by_operator: config::operator(),
        from: 0,
        until: archive.head().await?.size,
    };
    audit_reads::leave(&settings.ledger.beside(), &SystemEntropy, &note).with_context(|| {
        format!(
            "{}: nothing is exported unless that is recorded",
            audit_reads::folder(&settings.ledger.beside()).display()
        )
    })
}

async fn export_tiles(config: &Path, to: &Path) -> anyhow::Result<()> {
    let (settings, archive, public_key) = open(config).await?;
    note_read(&settings, &archive, "export tiles").await?;
    let head = archive.head().await?;
    let mut export = TilesExport::new(directory::Directory::new_or_empty(to)?);
    each_leaf(&archive, head.size, |leaf| Ok(export.entry(leaf)?)).await?;
    let (size, root) = export.finish(&head.checkpoint)?;
    anyhow::ensure!(
        (size, root) == (head.size, head.root),
        "the entries are not those of the checkpoint; run `concordat audit verify`"
    );
    output::line(&format!("{size} entries as tiles in {}; their key is {public_key}", to.display()));
    Ok(())
}

/// Takes every entry below `size` in order, a page at a time.
async fn each_leaf(
    archive: &Archive,
    size: u64,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut next, mut tree) = (0, Frontier::empty());
    while next < size {
        let leaves = archive.leaves(next, PAGE).await?;
        anyhow::ensure!(!leaves.is_empty(), "entry {next} is missing from the database");
        let mut nodes = Vec::new();
        for leaf in leaves.into_iter().filter(|leaf| leaf.seq < size) {
            take(&leaf.bytes)?;
            nodes.extend(tree.push(leaf_hash(&leaf.bytes)));
            next = leaf.seq + 1;
        }
        anyhow::ensure!(
            archive.has_nodes(&nodes).await?,
            "the tree beside the entries does not have what they make of it, at or before entry {}: restore a backup",
            next.saturating_sub(1)
        );
    }
    Ok(())
}

async fn checkpoint(config: &Path, write: bool) -> anyhow::Result<()> {
    let (settings, archive, _) = open(config).await?;
    let head = archive.head().await?;
    if write {
        let copy = &settings.ledger.checkpoint_copy;
        for copy in [copy.clone(), store::synced_copy(copy)] {
            std::fs::write(&copy, &head.checkpoint).with_context(|| copy.display().to_string())?;
        }
    }
    output::line(head.checkpoint.trim_end());
    Ok(())
}

async fn prove(config: &Path, index: u64, out: &Path) -> anyhow::Result<()> {
    let (_, archive, _) = open(config).await?;
    let head = archive.head().await?;
    let hashes = archive.inclusion(index, head.size).await?;
    let proof = TlogProof { extra: None, index, hashes, checkpoint: head.checkpoint };
    std::fs::write(out, proof.to_text()).with_context(|| out.display().to_string())?;
    output::line(&format!("entry {index} is among the {} of the checkpoint: {}", head.size, out.display()));
    Ok(())
}

async fn ask_witness(config: &Path, old: u64) -> anyhow::Result<()> {
    let (_, archive, _) = open(config).await?;
    let head = archive.head().await?;
    let proof = archive.consistency(old, head.size).await?;
    output::line(AddCheckpoint { old, proof, checkpoint: head.checkpoint }.to_text().trim_end());
    Ok(())
}
