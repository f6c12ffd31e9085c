//! Backups of the database, and what a restored one proves: that it holds every entry that checkpoints outside of it, and
//! the receipts that partners keep, say that it once had.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{BufReader, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ledger::{
    checkpoint::Checkpoint,
    note::{NoteSigner, NoteVerifier},
    tree::{Frontier, hexadecimal, leaf_hash},
    verify::{Fault, Verifier},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sharing::policy::{MANAGED, managed_path};
use store::{Archive, Projected, StoreError, durable};

use crate::{blocks, config::Settings, receipts::StoredReceipt, replay, serve};

/// The database in a backup's folder.
pub const DATABASE: &str = "concordat.db";
/// What is said of it.
pub const MANIFEST: &str = "backup.json";

const PAGE: u32 = 1_000;

/// What a backup is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// When it was begun.
    pub made_at: String,
    /// The ledger's name.
    pub origin: String,
    /// How many entries the copy has.
    pub entries: u64,
    /// The checkpoint over them.
    pub checkpoint: String,
    /// The schema's newest migration.
    pub schema: i64,
    /// The file's size.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Copies the database into a new folder, reads the copy back, and verifies all of its ledger.
///
/// # Errors
/// What is in the way, or what is wrong with the copy. What was written stays, without a manifest.
pub async fn write(
    settings: &Settings,
    to: &Path,
    made_at: String,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> anyhow::Result<Manifest> {
    let within = || to.display().to_string();
    std::fs::create_dir_all(to).with_context(within)?;
    let is_empty = std::fs::read_dir(to).with_context(within)?.next().is_none();
    anyhow::ensure!(is_empty, "{} is not empty; name a new folder", to.display());
    let file = to.join(DATABASE);
    // It holds what people wrote, sealed, and everything else about them: nobody else reads it.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&file).with_context(within)?;
    let live = blocks::reader(settings).await.with_context(|| settings.ledger.database.to_string())?;
    live.copy_to(&file).await.context("the database could not be copied")?;
    let copied = File::open(&file).with_context(within)?;
    copied.sync_all().with_context(within)?;
    let copy = Archive::open(&file.as_path().into(), blocks::source(settings)?).await?;
    let head = copy.head().await?;
    let checked = check(settings, &copy, Evidence::default(), progress).await?;
    anyhow::ensure!(checked.is_whole(), "the copy is not in order: {}", checked.faults.join("; "));
    let manifest = Manifest {
        made_at,
        origin: settings.ledger.origin.clone(),
        entries: head.size,
        checkpoint: head.checkpoint,
        schema: copy.schema().await?,
        bytes: copied.metadata().with_context(within)?.len(),
        sha256: digest(&file)?,
    };
    let text = format!("{}\n", serde_json::to_string_pretty(&manifest)?);
    durable::write(&to.join(MANIFEST), text.as_bytes()).with_context(within)?;
    Ok(manifest)
}

/// What a database is held against, besides itself.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Checkpoints, each with where it comes from.
    pub checkpoints: Vec<(String, String)>,
    /// Receipts that partners kept.
    pub receipts: Vec<StoredReceipt>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// How many entries the database has.
    pub entries: u64,
    /// The tree's root over them, in hexadecimal.
    pub root: String,
    /// How many checkpoints are prefixes of it.
    pub checkpoints: usize,
    /// How many receipts are what the ledger says.
    pub receipts: usize,
    /// How many entries there were that are gone, as far as the evidence goes.
    pub entries_lost: u64,
    /// Decisions whose receipts are of entries that are gone.
    pub decisions_lost: Vec<String>,
    /// How many questions were open; the next start closes them as indeterminate.
    pub open_questions: i64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

impl Checked {
    /// Whether nothing is lost and nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.entries_lost == 0 && self.decisions_lost.is_empty()
    }
}

/// Checks a whole database: the file's structure, its keys, every entry against the tree and the signed head, the evidence,
/// and the tables against the entries.
///
/// # Errors
/// When the check itself cannot be done. What is wrong with the database is in what it returns.
pub async fn check(
    settings: &Settings,
    database: &Archive,
    evidence: Evidence,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> anyhow::Result<Checked> {
    let mut checked = Checked::default();
    if let Err(error) = database.check_structure().await {
        checked.faults.push(error.to_string());
        return Ok(checked);
    }
    if let Err(error) = database.check_schema().await {
        checked.faults.push(error.to_string());
        return Ok(checked);
    }
    let keys = serve::store_settings(settings)?;
    if let Err(error) = database.check_keys(&keys.lookup_key, &keys.wrapping_keys).await {
        checked.faults.push(error.to_string());
    }
    checked.open_questions = database.open_questions().await?;
    let head = database.head().await?;
    checked.entries = head.size;
    checked.root = hexadecimal(&head.root);
    let rows = database.signing_keys().await?;
    let of_ledger: Vec<_> = rows.iter().filter_map(|row| NoteVerifier::parse(&row.public_key).ok()).collect();
    let opening = rows.first().map(|row| row.public_key.clone());
    let Some(mut verifier) = opening.as_deref().and_then(|key| Verifier::new(key).ok()) else {
        checked.faults.push("there is no ledger in the database".to_owned());
        return Ok(checked);
    };
    verifier.with_scratch(verify::scratch());
    let in_file =
        keys.signing_seeds.iter().map(|seed| NoteSigner::from_seed(&keys.origin, seed).verifier_key());
    let in_file: Vec<_> = in_file.collect();
    if rows.iter().any(|row| row.retired.is_none() && !in_file.contains(&row.public_key)) {
        checked.faults.push(
            "the signing key file lacks a key that the ledger says is in use; put the right file back"
                .to_owned(),
        );
    }
    let mut before = 0;
    for (label, note) in &evidence.checkpoints {
        match lost(note, &of_ledger, head.size) {
            Ok(0) => match verifier.expect_checkpoint(note, label) {
                Ok(()) => before += 1,
                Err(fault) => checked.faults.push(fault.to_string()),
            },
            Ok(gone) => {
                checked.entries_lost = checked.entries_lost.max(gone);
                checked.faults.push(format!(
                    "{label} is over {} entries, and the database has {}",
                    head.size + gone,
                    head.size
                ));
            }
            Err(error) => checked.faults.push(format!("{label} is no checkpoint of this ledger: {error}")),
        }
    }
    let mut wanted = BTreeMap::<u64, Vec<&StoredReceipt>>::new();
    for receipt in &evidence.receipts {
        let label = format!("the checkpoint in the receipt of {}", receipt.decision_id());
        match Checkpoint::open(receipt.checkpoint(), of_ledger.as_slice()) {
            Err(error) => checked.faults.push(format!(
                "the receipt of {} is not signed by this ledger: {error}",
                receipt.decision_id()
            )),
            Ok(over) if receipt.position() >= over.size => {
                checked
                    .faults
                    .push(format!("{label} does not cover its entry: the receipt is none of this ledger's"));
            }
            Ok(over) => {
                let gone = over.size.saturating_sub(head.size);
                // As a checkpoint that somebody keeps by itself: another history over as many entries is a fork.
                if gone == 0
                    && let Err(fault) = verifier.expect_checkpoint(receipt.checkpoint(), &label)
                {
                    checked.faults.push(fault.to_string());
                }
                checked.entries_lost = checked.entries_lost.max(gone);
                if receipt.position() < head.size {
                    wanted.entry(receipt.position()).or_default().push(receipt);
                } else {
                    checked.decisions_lost.push(receipt.decision_id().to_owned());
                }
            }
        }
    }
    let mut projected = Projected::default();
    let walked =
        walk(database, head.size, (verifier, &mut projected), &wanted, &mut checked, progress).await?;
    match walked.and_then(|verifier| verifier.finish(&head.checkpoint)) {
        Ok(_) => checked.checkpoints = before,
        Err(fault) => checked.faults.push(fault.to_string()),
    }
    // Entries that are not in order say nothing about the tables.
    if checked.faults.is_empty() {
        let found = check_tables(database, head.size, projected).await?;
        checked.faults = found.unwrap_or_else(|| {
            vec!["something is writing to the database: stop what uses it, and check again".to_owned()]
        });
    }
    Ok(checked)
}

/// Holds the tables that a gateway decides by against what the first `size` entries make of them, which are all that there are:
/// `None` where more were written meanwhile.
///
/// # Errors
/// When the check itself cannot be done.
pub async fn check_tables(
    database: &Archive,
    size: u64,
    projected: Projected,
) -> anyhow::Result<Option<Vec<String>>> {
    let announced = projected.policies().map(|(revision, digest)| (revision, digest.to_owned()));
    let mut faults = database.faults_of_tables(projected).await?;
    if let Some((revision, digest)) = announced {
        faults.extend(check_policies(database, revision, &digest).await?);
    }
    Ok(if database.head().await?.size == size { Some(faults) } else { None })
}

/// The policies in force are kept with the database, and so are the agreements among them that are managed over the API.
async fn check_policies(database: &Archive, revision: u64, digest: &str) -> anyhow::Result<Vec<String>> {
    let kept = match replay::policies_of(database, i64::try_from(revision)?).await {
        Err(error) if error.is::<StoreError>() => return Err(error),
        kept => kept.ok().filter(|set| set.digest() == digest),
    };
    let Some(set) = kept else {
        return Ok(vec![format!(
            "revision {revision} of the policies is not kept as the ledger announced it"
        )]);
    };
    let managed = database.managed_files().await?;
    let managed: BTreeMap<_, _> = managed.into_iter().map(|(id, text)| (managed_path(&id), text)).collect();
    let in_force = set.files().iter().filter(|file| file.path.starts_with(MANAGED));
    let in_force: BTreeMap<_, _> = in_force.map(|file| (file.path.clone(), file.text.clone())).collect();
    let names: BTreeSet<_> = managed.keys().chain(in_force.keys()).collect();
    let differing = names.into_iter().filter(|name| managed.get(*name) != in_force.get(*name));
    Ok(differing.map(|name| format!("{name}: the agreement is not kept as it is in force")).collect())
}

/// Takes every entry in order. The inner error is what the verifier does not accept.
async fn walk(
    database: &Archive,
    size: u64,
    (mut verifier, projected): (Verifier, &mut Projected),
    wanted: &BTreeMap<u64, Vec<&StoredReceipt>>,
    checked: &mut Checked,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> anyhow::Result<Result<Verifier, Fault>> {
    let (mut next, mut tree) = (0, Frontier::empty());
    while next < size {
        let mut nodes = Vec::new();
        let leaves = match database.leaves(next, PAGE).await {
            Ok(leaves) if !leaves.is_empty() => leaves,
            Ok(_) => {
                checked.faults.push(format!("entry {next} is missing from the database"));
                return Ok(Ok(verifier));
            }
            Err(error) => return Err(error.into()),
        };
        for leaf in leaves.into_iter().filter(|leaf| leaf.seq < size) {
            let entry = match verifier.read(&leaf.bytes) {
                Ok(entry) => entry,
                Err(fault) => return Ok(Err(fault)),
            };
            projected.follow(&entry);
            for receipt in wanted.get(&leaf.seq).into_iter().flatten() {
                let decision = receipt.decision_id();
                if *receipt.leaf_hash() != leaf_hash(&leaf.bytes) {
                    checked.faults.push(format!(
                        "entry {} is not the one that the receipt of {decision} is of",
                        leaf.seq
                    ));
                } else if entry.body.decision_id().is_some_and(|of| of != decision) {
                    checked.faults.push(format!(
                        "the receipt of {decision} is of entry {}, which is of another decision: the receipt was changed",
                        leaf.seq
                    ));
                } else {
                    checked.receipts += 1;
                }
            }
            nodes.extend(tree.push(leaf_hash(&leaf.bytes)));
            next = leaf.seq + 1;
        }
        if !database.has_nodes(&nodes).await? {
            checked.faults.push(format!(
                "the tree beside the entries does not have what they make of it, at or before entry {}",
                next.saturating_sub(1)
            ));
            return Ok(Ok(verifier));
        }
        progress(next, size);
    }
    Ok(Ok(verifier))
}

/// How many entries a checkpoint covers beyond those that there are. Any key that the ledger had may have signed it.
fn lost(note: &str, keys: &[NoteVerifier], size: u64) -> anyhow::Result<u64> {
    Ok(Checkpoint::open(note, keys)?.size.saturating_sub(size))
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn digest(file: &Path) -> anyhow::Result<String> {
    let within = || file.display().to_string();
    let mut reader = BufReader::with_capacity(1 << 20, File::open(file).with_context(within)?);
    let (mut hash, mut bytes) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = reader.read(&mut bytes).with_context(within)?;
        let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The database in a backup's folder, if its file is what the manifest says.
///
/// # Errors
/// What is not in order.
pub fn open(folder: &Path) -> anyhow::Result<(PathBuf, Manifest)> {
    let path = folder.join(MANIFEST);
    let text = std::fs::read(&path)
        .with_context(|| format!("{}: a backup without it was not finished; use another", path.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let file = folder.join(DATABASE);
    anyhow::ensure!(
        digest(&file)? == manifest.sha256,
        "{} is not the file that was backed up: it was changed or is damaged; use another backup",
        file.display()
    );
    Ok((file, manifest))
}
