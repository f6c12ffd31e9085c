//! `concordat ndo import`: takes in the answers of a national data opt-out check.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use sharing::{NhsNumber, PurposeClass};
use store::LookupKey;

use super::output;
use crate::{
    clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy},
    config,
    opt_outs::{self, Spooled},
};

/// Longest time for which a check may be relied on: the policy guidance asks for a new one before each use, and
/// allows a temporary cache.
const HOURS_MAX: u16 = 24 * 21;

/// Work on national data opt-outs.
#[derive(Args)]
pub struct NdoArguments {
    #[command(subcommand)]
    verb: NdoVerb,
}

#[derive(Subcommand)]
enum NdoVerb {
    /// Take in a check: the list that was sent and the cleaned list that came back, one NHS number a line.
    Import {
        /// The gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// The purpose that the check was made for. It counts for no other.
        #[arg(long)]
        purpose: PurposeClass,
        /// The list that was sent.
        #[arg(long)]
        submitted: PathBuf,
        /// The cleaned list that came back: those without an opt-out.
        #[arg(long)]
        cleaned: PathBuf,
        /// For how many hours it can be relied on, at most 504 (three weeks).
        #[arg(long, default_value_t = 24 * 7)]
        hours: u16,
    },
}

/// Runs the verb.
///
/// # Errors
/// What is wrong with the files. No NHS number is repeated.
pub fn run(arguments: &NdoArguments) -> anyhow::Result<()> {
    let NdoVerb::Import { config, purpose, submitted, cleaned, hours } = &arguments.verb;
    anyhow::ensure!(
        purpose.rules().opt_out_applies,
        "the national data opt-out does not apply to {purpose}; nothing was imported"
    );
    anyhow::ensure!(
        (1..=HOURS_MAX).contains(hours),
        "--hours: 1 to {HOURS_MAX}; make a new check after that"
    );
    let settings = config::load(config)?;
    let key = LookupKey::chain(config::read_keys(&settings.ledger.lookup_key)?.to_vec());
    let (sent, back) = (numbers(submitted)?, numbers(cleaned)?);
    anyhow::ensure!(!sent.is_empty(), "{}: the list that was sent is empty", submitted.display());
    let strangers = back.iter().filter(|number| !sent.contains(*number)).count();
    anyhow::ensure!(
        strangers == 0,
        "{strangers} numbers came back that were not sent: these two files do not belong together; nothing was imported"
    );
    let hash = |number: &NhsNumber| opt_outs::hex(&key.opt_out_hash(*purpose, number));
    let expires_at = SystemClock.now().checked_add(SignedDuration::from_hours((*hours).into()))?;
    let batch = Spooled {
        id: format!("ndo_{:032x}", SystemEntropy.bits()),
        purpose: *purpose,
        key: key.check_value(),
        expires_at,
        clear: back.iter().map(hash).collect(),
        opted_out: sent.iter().filter(|number| !back.contains(*number)).map(hash).collect(),
    };
    let path = spool(&opt_outs::folder(&settings.ledger.beside()), &batch)?;
    output::line(&format!(
        "{} people were checked for {purpose}, until {expires_at}; the gateway takes the batch in within seconds of running ({})",
        sent.len(),
        path.display()
    ));
    Ok(())
}

/// Written whole under another name first, so that the gateway never reads half a batch.
fn spool(folder: &Path, batch: &Spooled) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let (path, next) = (folder.join(format!("{}.json", batch.id)), folder.join(format!("{}.next", batch.id)));
    let mut file = std::fs::File::create(&next).with_context(|| format!("{}", next.display()))?;
    file.write_all(&serde_json::to_vec(batch)?)?;
    file.sync_all()?;
    std::fs::rename(&next, &path).with_context(|| format!("{}", path.display()))?;
    Ok(path)
}

fn numbers(path: &Path) -> anyhow::Result<BTreeSet<NhsNumber>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim().trim_end_matches(','), number));
    let mut read = BTreeSet::new();
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let parsed = line.parse::<NhsNumber>();
        read.insert(parsed.map_err(|_| anyhow::anyhow!("{}:{number}: not an NHS number", path.display()))?);
    }
    Ok(read)
}
