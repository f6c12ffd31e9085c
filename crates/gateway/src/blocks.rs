//! Closed ranges of the ledger: archived outside the database as tiles and Parquet, read back, and after a time removed from
//! the database. Every request goes on meanwhile, and every search still finds them.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use blocks::{Blocks, S3};
use exports::table::TableWriter;
use jiff::{SignedDuration, Timestamp};
use ledger::{
    entry::{Body, Entry, SCHEMA_VERSION},
    tile::{TILE_WIDTH, TileOf, TileRef, entries_in},
    tree::{Frontier, hexadecimal, leaf_hash},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Archive, BlockRow, Change, LeafSource, Submission};

use crate::{
    app::App,
    config::{self, Settings},
};

/// How many leaves are removed in one transaction, so that no request waits long for it.
const DETACHED_AT_ONCE: u64 = 2_048;

/// Where and when closed ranges are archived.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct BlockSettings {
    pub to: Place,
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub region: Option<String>,
    #[serde(default)]
    pub access_key: Option<std::path::PathBuf>,
    #[serde(default)]
    pub secret_key: Option<std::path::PathBuf>,
    #[serde(default)]
    pub trusted: Option<std::path::PathBuf>,
    #[serde(default = "default_entries")]
    pub entries: u64,
    #[serde(default)]
    pub detach_after_days: Option<u32>,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Place {
    /// A bucket, and what names in it begin with.
    Bucket(String, String),
    /// A folder.
    Folder(std::path::PathBuf),
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        match text.strip_prefix("s3://") {
            Some(place) => {
                let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
                Self::Bucket(bucket.to_owned(), prefix.to_owned())
            }
            None => Self::Folder(text.into()),
        }
    }
}

fn default_entries() -> u64 {
    65_536
}

/// The archive, and when.
#[derive(Debug)]
pub struct Archiving {
    blocks: Blocks,
    entries: u64,
    detach_after: Option<SignedDuration>,
}

/// What the archive says of a range.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlockManifest {
    origin: String,
    schema_version: u8,
    from: u64,
    until: u64,
    /// The RFC 6962 root over these leaves alone.
    range_root: String,
    /// A checkpoint that covers them, signed.
    checkpoint: String,
    parquet: String,
    parquet_sha256: String,
}

/// The place that the settings name.
///
/// # Errors
/// What is wrong with them, and what to do.
pub fn open(settings: &BlockSettings) -> anyhow::Result<Blocks> {
    let whole = u64::from(TILE_WIDTH);
    anyhow::ensure!(
        settings.entries >= whole && settings.entries.is_multiple_of(whole),
        "settings: ledger.blocks.entries is a multiple of {whole}"
    );
    let (bucket, prefix) = match &settings.to {
        Place::Bucket(bucket, prefix) => (bucket, prefix),
        Place::Folder(folder) => {
            return Blocks::in_folder(folder)
                .context("settings: ledger.blocks.to is a folder that is there, or s3://BUCKET/PREFIX");
        }
    };
    let endpoint = settings.endpoint.as_deref().context("settings: ledger.blocks.endpoint is missing")?;
    anyhow::ensure!(
        endpoint.starts_with("https://") || crate::witnessed::is_loopback(endpoint),
        "settings: ledger.blocks.endpoint must begin with https://, or with http:// for a loopback address"
    );
    let key = |name: &str, path: &Option<std::path::PathBuf>| {
        let path = path.as_ref().with_context(|| format!("settings: ledger.blocks.{name} is missing"))?;
        anyhow::Ok(zeroize::Zeroizing::new(config::read(path)?.trim().to_owned()))
    };
    let (access_key, secret_key) =
        (key("access_key", &settings.access_key)?, key("secret_key", &settings.secret_key)?);
    let trusted = settings.trusted.as_deref().map(config::read).transpose()?;
    Ok(Blocks::in_s3(&S3 {
        bucket,
        prefix,
        endpoint,
        region: settings.region.as_deref().unwrap_or("us-east-1"),
        access_key: &access_key,
        secret_key: &secret_key,
        trusted_pem: trusted.as_deref(),
    })?)
}

/// Where leaves are that are not in the database, for the store.
///
/// # Errors
/// As [`open`].
pub fn source(settings: &Settings) -> anyhow::Result<Option<Arc<dyn LeafSource>>> {
    let Some(blocks) = &settings.ledger.blocks else { return Ok(None) };
    Ok(Some(Arc::new(open(blocks)?)))
}

/// The ledger for reading alone, with what is archived.
///
/// # Errors
/// When the database or the settings cannot be used.
pub async fn reader(settings: &Settings) -> anyhow::Result<Archive> {
    Ok(Archive::open(&settings.ledger.database, source(settings)?).await?)
}

impl Archiving {
    /// Archives to this place.
    pub fn new(settings: &BlockSettings, blocks: Blocks) -> Self {
        let days = settings.detach_after_days;
        let detach_after = days.map(|days| SignedDuration::from_hours(i64::from(days) * 24));
        Self { blocks, entries: settings.entries, detach_after }
    }
}

/// Archives every range that is closed, and removes from the database what has been archived long enough. Returns how
/// many ranges were worked on.
///
/// # Errors
/// What went wrong; it is tried again, and nothing was removed that was not read back.
pub async fn work(app: &App) -> anyhow::Result<usize> {
    let Some(archiving) = &app.archiving else { return Ok(0) };
    let mut worked = 0;
    let known = app.store.blocks().await?;
    let mut next = known.last().map_or(0, |row| u64::try_from(row.until_seq).unwrap_or(0));
    // The newest range stays open: what happens now is in it.
    while app.store.head().await?.size >= next + archiving.entries {
        let until = next + archiving.entries;
        archive(app, archiving, next, until).await.with_context(|| format!("entries {next} to {until}"))?;
        (next, worked) = (until, worked + 1);
    }
    let Some(after) = archiving.detach_after else { return Ok(worked) };
    for row in app.store.blocks().await?.into_iter().filter(|row| row.detached_us.is_none()) {
        let archived = Timestamp::from_microsecond(row.archived_us)?;
        if app.clock.now().duration_since(archived) >= after {
            detach(app, archiving, &row).await.with_context(|| format!("entries from {}", row.from_seq))?;
            worked += 1;
        }
    }
    Ok(worked)
}

async fn archive(app: &App, archiving: &Archiving, from: u64, until: u64) -> anyhow::Result<()> {
    let blocks = &archiving.blocks;
    let head = app.store.head().await?;
    for tile in tiles(from, until) {
        let bytes = app.store.tile(tile).await?.with_context(|| format!("{tile} is missing"))?;
        blocks.put(&tile.to_string(), bytes).await?;
    }
    let origin = app.store.verifiers().first().context("the ledger has no key")?.name().to_owned();
    let (table, range_root) = table(app, &origin, &head.checkpoint, from, until).await?;
    let parquet = format!("blocks/{from}-{until}.parquet");
    let manifest = BlockManifest {
        origin,
        schema_version: SCHEMA_VERSION,
        from,
        until,
        range_root: range_root.clone(),
        checkpoint: head.checkpoint,
        parquet_sha256: hexadecimal(&Sha256::digest(&table)),
        parquet,
    };
    let name = manifest_name(from, until);
    // One that an earlier try left has the checkpoint of then, which covers the same entries.
    let text = match blocks.get(&name).await? {
        Some(there) if is_same(&there, &manifest) => there,
        _ => serde_json::to_vec_pretty(&manifest)?,
    };
    let manifest: BlockManifest = serde_json::from_slice(&text)?;
    if blocks.get(&manifest.parquet).await?.is_none_or(|there| digest(&there) != manifest.parquet_sha256) {
        blocks.put(&manifest.parquet, table).await?;
    }
    blocks.put(&name, text.clone()).await?;
    let manifest_sha256 = digest(&text);
    read_back(app, archiving, (from, until), &manifest_sha256).await?;
    let at = app.clock.now();
    let entry = Body::BlockMoved {
        action: "archived".to_owned(),
        from,
        until,
        range_root,
        manifest_sha256: manifest_sha256.clone(),
    };
    let mut submission = Submission::of(at, vec![entry]);
    submission.changes.push(Change::AddBlock(Box::new(BlockRow {
        from_seq: i64::try_from(from)?,
        until_seq: i64::try_from(until)?,
        range_root: bytes_of(&manifest.range_root),
        manifest_sha256,
        archived_us: at.as_microsecond(),
        detached_us: None,
    })));
    app.store.commit(submission).await?;
    tracing::info!(from, until, "a closed range of the ledger is archived");
    Ok(())
}

fn is_same(there: &[u8], manifest: &BlockManifest) -> bool {
    serde_json::from_slice::<BlockManifest>(there).is_ok_and(|there| {
        (there.from, there.until, &there.range_root, &there.origin)
            == (manifest.from, manifest.until, &manifest.range_root, &manifest.origin)
    })
}

/// The range as Parquet, and the root over its leaves.
async fn table(
    app: &App,
    origin: &str,
    checkpoint: &str,
    from: u64,
    until: u64,
) -> anyhow::Result<(Vec<u8>, String)> {
    let about = [
        ("origin", origin.to_owned()),
        ("from", from.to_string()),
        ("until", until.to_string()),
        ("checkpoint", checkpoint.to_owned()),
    ];
    let mut rows = TableWriter::new(Vec::new(), &about)?;
    let mut tree = Frontier::empty();
    let mut next = from;
    while next < until {
        let leaves = app.store.leaves(next, 1_000).await?;
        anyhow::ensure!(!leaves.is_empty(), "entry {next} is missing from the database");
        for leaf in leaves.into_iter().filter(|leaf| leaf.seq < until) {
            tree.push(leaf_hash(&leaf.bytes));
            rows.write(Entry::decode(&leaf.bytes)?, &leaf.bytes)?;
            next = leaf.seq + 1;
        }
    }
    Ok((rows.finish()?, hexadecimal(&tree.root())))
}

/// Reads everything of a range back from the archive and holds it against the database's tree.
async fn read_back(
    app: &App,
    archiving: &Archiving,
    (from, until): (u64, u64),
    manifest_sha256: &str,
) -> anyhow::Result<()> {
    let blocks = &archiving.blocks;
    let name = manifest_name(from, until);
    let text = blocks.get(&name).await?.with_context(|| format!("{name} is missing from the archive"))?;
    anyhow::ensure!(digest(&text) == manifest_sha256, "{name} in the archive is not what was written");
    let manifest: BlockManifest = serde_json::from_slice(&text)?;
    let table = blocks.get(&manifest.parquet).await?;
    anyhow::ensure!(
        table.is_some_and(|table| digest(&table) == manifest.parquet_sha256),
        "{} in the archive is not what was written",
        manifest.parquet
    );
    let mut tree = Frontier::empty();
    for tile in tiles(from, until) {
        let there = blocks.get(&tile.to_string()).await?;
        let there = there.with_context(|| format!("{tile} is missing from the archive"))?;
        if tile.of != TileOf::Entries {
            let here = app.store.tile(tile).await?;
            anyhow::ensure!(here.as_ref() == Some(&there), "{tile} in the archive is not the tree's");
            continue;
        }
        let entries =
            entries_in(tile, &there).with_context(|| format!("{tile} in the archive is no whole bundle"))?;
        let hashes = app.store.tile(TileRef { of: TileOf::Hashes(0), ..tile }).await?;
        let hashes = hashes.with_context(|| format!("the hashes of {tile} are missing"))?;
        for (entry, hash) in entries.iter().zip(hashes.chunks(32)) {
            let found = leaf_hash(entry);
            anyhow::ensure!(found.as_slice() == hash, "{tile} in the archive does not hold what was signed");
            tree.push(found);
        }
    }
    anyhow::ensure!(
        hexadecimal(&tree.root()) == manifest.range_root && tree.size() == until - from,
        "the archive does not hold these entries"
    );
    Ok(())
}

async fn detach(app: &App, archiving: &Archiving, row: &BlockRow) -> anyhow::Result<()> {
    let (from, until) = (u64::try_from(row.from_seq)?, u64::try_from(row.until_seq)?);
    // Once more, now: what was lost since is still here.
    read_back(app, archiving, (from, until), &row.manifest_sha256).await?;
    let mut next = from;
    while next < until {
        let end = (next + DETACHED_AT_ONCE).min(until);
        let mut submission = Submission::of(app.clock.now(), Vec::new());
        submission.changes.push(Change::DetachLeaves { from: next, until: end });
        if end == until {
            submission.entries.push(Body::BlockMoved {
                action: "detached".to_owned(),
                from,
                until,
                range_root: hexadecimal(&row.range_root),
                manifest_sha256: row.manifest_sha256.clone(),
            });
            submission.changes.push(Change::BlockDetached(from));
        }
        app.store.commit(submission).await?;
        next = end;
        tokio::task::yield_now().await;
    }
    tracing::info!(from, until, "a range of the ledger is in the archive alone");
    Ok(())
}

/// The whole tiles that end in a range: entries, their hashes, and hashes above them.
fn tiles(from: u64, until: u64) -> impl Iterator<Item = TileRef> {
    let width = u64::from(TILE_WIDTH);
    let row = move |of: TileOf, entries: u64| {
        (from / entries..until / entries).map(move |index| TileRef { of, index, width: TILE_WIDTH })
    };
    let levels = (0..8_u8).map_while(move |level| {
        width
            .checked_pow(u32::from(level) + 1)
            .filter(|entries| *entries <= until)
            .map(|entries| (level, entries))
    });
    let hashes = levels.flat_map(move |(level, entries)| row(TileOf::Hashes(level), entries));
    hashes.chain(row(TileOf::Entries, width))
}

fn manifest_name(from: u64, until: u64) -> String {
    format!("blocks/{from}-{until}.json")
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// Works every minute until the token is cancelled.
pub async fn follow(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_mins(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if !app.leads() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = work(&app) => {
                if let Err(error) = done {
                    tracing::error!(error = format!("{error:#}"), "the ledger could not be archived");
                }
            }
        }
    }
}
