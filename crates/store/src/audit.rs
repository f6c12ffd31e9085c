//! Reading the ledger: its head, its leaves in order, and the tree's nodes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ledger::{
    checkpoint::Checkpoint,
    entry::{Decided, Entry},
    note::NoteVerifier,
    trail,
    tree::{Frontier, Hash, NodeRef, StoredNode, consistency_plan, fold_right, inclusion_plan, leaf_hash},
};
use sqlx::{Any, AnyPool, Executor};

use crate::{
    blocks::{Detached, LeafSource},
    database::{Access, Database, Transaction},
    error::StoreError,
    open::Store,
    recent::Recent,
    row::to_list,
};

/// The ledger's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many entries it has.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
    /// The signed checkpoint, a C2SP signed note; empty for an empty ledger.
    pub checkpoint: String,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Its place, from 0.
    pub seq: u64,
    /// Its bytes: canonical JSON.
    pub bytes: Vec<u8>,
}

/// What a leaf says.
pub(crate) fn decode(leaf: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(leaf).map_err(|error| StoreError::Ledger(error.to_string()))
}

/// The ledger opened for reading alone, also while a gateway writes to it.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(crate) pool: AnyPool,
    pub(crate) database: Database,
    detached: Detached,
}

impl Archive {
    /// Opens a database for reading, with what is kept outside of it.
    ///
    /// # Errors
    /// [`StoreError`] when there is none, or it cannot be read.
    pub async fn open(
        database: &Database,
        archived: Option<Arc<dyn LeafSource>>,
    ) -> Result<Self, StoreError> {
        let pool = database.connect(Access::Look, 1).await?;
        Ok(Self { pool, database: database.clone(), detached: Detached::new(archived) })
    }

    /// The ledger's head.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn head(&self) -> Result<Head, StoreError> {
        head(&self.pool).await
    }

    /// Whether the tree has these nodes, as entries make them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn has_nodes(&self, nodes: &[StoredNode]) -> Result<bool, StoreError> {
        let places: Vec<_> = nodes.iter().map(|node| (u32::from(node.level), node.index)).collect();
        match node_hashes(&self.pool, &places).await {
            Ok(hashes) => Ok(hashes.iter().zip(nodes).all(|(hash, node)| *hash == node.hash)),
            Err(StoreError::CorruptRow { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// That an entry is among the first `size`, as RFC 6962 proves it.
    ///
    /// # Errors
    /// [`StoreError`] when there is no such entry or the database fails.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        let plan = inclusion_plan(index, size).map_err(|error| StoreError::Ledger(error.to_string()))?;
        folded(&self.pool, &plan).await
    }

    /// That the first `new` entries extend the first `old`, as RFC 6962 proves it; nothing to prove for 0.
    ///
    /// # Errors
    /// [`StoreError`] when there are not as many or the database fails.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError> {
        if old == 0 {
            return Ok(Vec::new());
        }
        let plan = consistency_plan(old, new).map_err(|error| StoreError::Ledger(error.to_string()))?;
        folded(&self.pool, &plan).await
    }

    /// What decided the questions that these entries follow, by decision.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or an entry cannot be read.
    pub async fn deciding(&self, entries: &[Entry]) -> Result<HashMap<String, Decided>, StoreError> {
        deciding(&self.pool, (&self.detached, None), entries).await
    }

    /// Every entry of one decision, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn decision(&self, decision_id: &str) -> Result<Vec<StoredLeaf>, StoreError> {
        self.detached.fill(&self.pool, decision(&self.pool, decision_id).await?).await
    }

    /// Questions that were decided in `[from, until)`, in order: intents, refusals and referrals.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn questions(
        &self,
        from: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Vec<StoredLeaf>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, leaf FROM ledger_entry
             WHERE kind IN ('intent', 'refusal', 'referral') AND at_us >= $1 AND at_us < $2 ORDER BY seq",
        )
        .bind(from.as_microsecond())
        .bind(until.as_microsecond())
        .fetch_all(&self.pool)
        .await?;
        let leaves = rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect();
        self.detached.fill(&self.pool, leaves).await
    }

    /// The files of a policy set as they were when it came into force, as JSON; `None` for a revision that was
    /// not kept.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn policy_files(&self, revision: i64) -> Result<Option<String>, StoreError> {
        policy_files(&self.pool, revision).await
    }

    /// The revision of the policy set in force.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn policy_revision(&self) -> Result<Option<i64>, StoreError> {
        let revision = sqlx::query_scalar("SELECT revision FROM policy_set WHERE id = 1");
        Ok(revision.fetch_optional(&self.pool).await?)
    }

    /// The place of the first entry written at this instant or later.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn first_since(&self, at: jiff::Timestamp) -> Result<u64, StoreError> {
        crate::alerting::first_since(&self.pool, at).await
    }

    /// Up to `limit` entries from `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn leaves(&self, from: u64, limit: u32) -> Result<Vec<StoredLeaf>, StoreError> {
        self.detached.fill(&self.pool, leaves(&self.pool, from, limit).await?).await
    }
}

async fn leaves(pool: &AnyPool, from: u64, limit: u32) -> Result<Vec<StoredLeaf>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, leaf FROM ledger_entry WHERE seq >= $1 ORDER BY seq LIMIT $2")
            .bind(to_i64(from))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect())
}

impl Store {
    /// The files of a policy set as they were when it came into force, as JSON; `None` for a revision that was not kept.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn policy_files(&self, revision: i64) -> Result<Option<String>, StoreError> {
        policy_files(&self.readers, revision).await
    }

    /// The ledger's head.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn head(&self) -> Result<Head, StoreError> {
        head(&self.readers).await
    }

    /// Up to `limit` entries from `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn leaves(&self, from: u64, limit: u32) -> Result<Vec<StoredLeaf>, StoreError> {
        self.detached.fill(&self.readers, leaves(&self.readers, from, limit).await?).await
    }

    /// The entries at these places, in order; places that there are not are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn leaves_at(&self, places: &[u64]) -> Result<Vec<StoredLeaf>, StoreError> {
        let places = serde_json::to_string(places).map_err(|error| StoreError::Ledger(error.to_string()))?;
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, leaf FROM ledger_entry WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_each($1)) ORDER BY seq",
        )
        .bind(places)
        .fetch_all(&self.readers)
        .await?;
        let leaves = rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect();
        self.detached.fill(&self.readers, leaves).await
    }

    /// What decided the questions that these entries follow, by decision.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or an entry cannot be read.
    pub async fn deciding(
        &self,
        entries: &[impl AsRef<Entry> + Sync],
    ) -> Result<HashMap<String, Decided>, StoreError> {
        deciding(&self.readers, (&self.detached, Some(&self.recent)), entries).await
    }

    /// Every entry of one decision, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn decision(&self, decision_id: &str) -> Result<Vec<StoredLeaf>, StoreError> {
        self.detached.fill(&self.readers, decision(&self.readers, decision_id).await?).await
    }

    /// Every entry of these decisions, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn decisions(&self, decision_ids: &[String]) -> Result<Vec<StoredLeaf>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, leaf FROM ledger_entry WHERE decision_id IN (SELECT value FROM json_each($1)) ORDER BY seq",
        )
        .bind(to_list(decision_ids))
        .fetch_all(&self.readers)
        .await?;
        let leaves = rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect();
        self.detached.fill(&self.readers, leaves).await
    }

    /// The keys that checkpoints verify with: one, or two while one takes over from the other.
    pub fn verifiers(&self) -> &[NoteVerifier] {
        &self.verifiers
    }
}

async fn policy_files(pool: &AnyPool, revision: i64) -> Result<Option<String>, StoreError> {
    let files = sqlx::query_scalar("SELECT files FROM policy_archive WHERE revision = $1");
    Ok(files.bind(revision).fetch_optional(pool).await?)
}

async fn decision(pool: &AnyPool, decision_id: &str) -> Result<Vec<StoredLeaf>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, leaf FROM ledger_entry WHERE decision_id = $1 ORDER BY seq")
            .bind(decision_id)
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect())
}

pub(crate) async fn head(pool: impl Executor<'_, Database = Any>) -> Result<Head, StoreError> {
    let row: Option<(i64, Vec<u8>, String)> =
        sqlx::query_as("SELECT size, root, checkpoint FROM ledger_head WHERE id = 1")
            .fetch_optional(pool)
            .await?;
    let Some((size, root, checkpoint)) = row else {
        return Ok(Head { size: 0, root: Frontier::empty().root(), checkpoint: String::new() });
    };
    Ok(Head { size: to_u64(size), root: to_hash(root, "ledger_head", "1")?, checkpoint })
}

pub(crate) async fn last_at(pool: impl Executor<'_, Database = Any>) -> Result<i64, StoreError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT at_us FROM ledger_entry ORDER BY seq DESC LIMIT 1")
        .fetch_optional(pool)
        .await?;
    Ok(last.unwrap_or(0))
}

/// The head, checked: its signature, its root against the tree, its size against the entries.
pub(crate) async fn check_head(
    pool: &AnyPool,
    database: &Database,
    verifiers: &[NoteVerifier],
) -> Result<Frontier, StoreError> {
    // As they are at one moment: others may be writing.
    let mut snapshot = pool.begin_with(database.begin_snapshot()).await?;
    let head = head(&mut *snapshot).await?;
    check_end(&mut snapshot, head.size).await?;
    let frontier = frontier_at(&mut *snapshot, head.size).await?;
    if head.size > 0 {
        let checkpoint = Checkpoint::open(&head.checkpoint, verifiers).map_err(|error| {
            StoreError::Ledger(format!("the ledger's checkpoint is not signed by this key: {error}; use the key that the ledger was opened with"))
        })?;
        if checkpoint.size != head.size || checkpoint.root != head.root || frontier.root() != head.root {
            return Err(StoreError::Ledger(
                "the ledger's head does not match its tree; run `concordat audit verify` and restore a backup".to_owned(),
            ));
        }
    }
    Ok(frontier)
}

/// How many of the newest entries every start reads again. `concordat audit verify` reads all.
const END_LENGTH: i64 = 1_000;

/// That the entries end where the head says, and that the newest are there and are those that the tree has. Counting them all
/// would take longer with each.
async fn check_end(snapshot: &mut Transaction, size: u64) -> Result<(), StoreError> {
    let from = to_i64(size).saturating_sub(END_LENGTH).max(0);
    let (first, last): (Option<i64>, Option<i64>) = (
        sqlx::query_scalar("SELECT min(seq) FROM ledger_entry").fetch_one(&mut **snapshot).await?,
        sqlx::query_scalar("SELECT max(seq) FROM ledger_entry").fetch_one(&mut **snapshot).await?,
    );
    let newest: Vec<(i64, Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, leaf, hash FROM ledger_entry JOIN ledger_node ON level = 0 AND position = seq
         WHERE seq >= $1 ORDER BY seq",
    )
    .bind(from)
    .fetch_all(&mut **snapshot)
    .await?;
    let broken = |what: &str| {
        let say = format!("{what}; run `concordat audit verify` and restore a backup");
        Err(StoreError::Ledger(say))
    };
    let is_whole = first == (size > 0).then_some(0)
        && last.map_or(0, |last| to_u64(last) + 1) == size
        && newest.len() as u64 == size - to_u64(from);
    if !is_whole {
        return broken(&format!("the ledger's head says {size} entries, and they are not all there"));
    }
    // A leaf that is kept elsewhere is empty here.
    let differs =
        newest.iter().find(|(_, leaf, hash)| !leaf.is_empty() && leaf_hash(leaf).as_slice() != hash);
    match differs {
        Some((seq, _, _)) => broken(&format!("entry {seq} is not the one that the tree has")),
        None => Ok(()),
    }
}

/// The tree as it was when it had `size` entries, from its complete nodes.
pub(crate) async fn frontier_at(
    pool: impl Executor<'_, Database = Any>,
    size: u64,
) -> Result<Frontier, StoreError> {
    frontier(size, node_hashes(pool, &peaks(size)).await?)
}

/// As [`frontier_at`], of two sizes with one question.
pub(crate) async fn two_frontiers_at(
    pool: impl Executor<'_, Database = Any>,
    [one, other]: [u64; 2],
) -> Result<[Frontier; 2], StoreError> {
    let (first, second) = (peaks(one), peaks(other));
    let wanted: Vec<_> = first.iter().chain(&second).copied().collect();
    let mut hashes = node_hashes(pool, &wanted).await?;
    let of_other = hashes.split_off(first.len());
    Ok([frontier(one, hashes)?, frontier(other, of_other)?])
}

/// The nodes that a tree of some size ends in.
fn peaks(size: u64) -> Vec<(u32, u64)> {
    let mut peaks = Vec::new();
    let mut covered = 0_u64;
    for level in (0..64_u32).rev() {
        if size >> level & 1 == 0 {
            continue;
        }
        peaks.push((level, covered >> level));
        covered += 1 << level;
    }
    peaks
}

fn frontier(size: u64, hashes: Vec<Hash>) -> Result<Frontier, StoreError> {
    Frontier::from_parts(size, hashes).map_err(|error| StoreError::Ledger(error.to_string()))
}

/// The hashes of a proof, from the tree's nodes.
pub(crate) async fn folded(pool: &AnyPool, plan: &[Vec<NodeRef>]) -> Result<Vec<Hash>, StoreError> {
    let nodes: Vec<_> = plan.iter().flatten().map(|node| (u32::from(node.level), node.index)).collect();
    let mut hashes = node_hashes(pool, &nodes).await?.into_iter();
    let fold = |group: &Vec<NodeRef>| fold_right(&hashes.by_ref().take(group.len()).collect::<Vec<_>>());
    Ok(plan.iter().filter_map(fold).collect())
}

/// Complete nodes of the tree by level and position, in the order in which they are asked for.
pub(crate) async fn node_hashes(
    pool: impl Executor<'_, Database = Any>,
    nodes: &[(u32, u64)],
) -> Result<Vec<Hash>, StoreError> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    // A place as one number: the level in the upper eight bits, which no position reaches.
    let numbers: Vec<_> = nodes.iter().map(|(level, position)| u64::from(*level) << 56 | position).collect();
    let wanted = serde_json::to_string(&numbers).map_err(|error| StoreError::Ledger(error.to_string()))?;
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT hash FROM json_each($1) AS wanted JOIN ledger_node
         ON level = CAST(wanted.value AS BIGINT) >> 56
         AND position = CAST(wanted.value AS BIGINT) & 72057594037927935 ORDER BY wanted.key",
    )
    .bind(wanted)
    .fetch_all(pool)
    .await?;
    if rows.len() != nodes.len() {
        let row = format!("{} of {} asked for", rows.len(), nodes.len());
        return Err(StoreError::CorruptRow { table: "ledger_node", row });
    }
    let named = rows.into_iter().zip(nodes);
    named
        .map(|(hash, (level, position))| to_hash(hash, "ledger_node", &format!("{level}/{position}")))
        .collect()
}

/// What decided the questions that these entries follow, by decision.
async fn deciding(
    pool: &AnyPool,
    (detached, recent): (&Detached, Option<&Recent>),
    entries: &[impl AsRef<Entry>],
) -> Result<HashMap<String, Decided>, StoreError> {
    let entries = || entries.iter().map(AsRef::as_ref);
    let mut known: HashMap<String, Decided> = HashMap::new();
    for decided in entries().filter_map(|entry: &Entry| trail::decided(&entry.body)) {
        known.entry(decided.decision_id.clone()).or_insert_with(|| decided.clone());
    }
    let follow = entries().filter_map(|entry: &Entry| trail::follows(&entry.body));
    let mut others: BTreeSet<_> = follow.filter(|decision| !known.contains_key(*decision)).collect();
    if let Some(recent) = recent {
        let until = entries().map(|entry: &Entry| entry.seq).max().unwrap_or(0);
        recent.deciding(until, &mut others, &mut known);
    }
    if others.is_empty() {
        return Ok(known);
    }
    let others = serde_json::to_string(&others).map_err(|error| StoreError::Ledger(error.to_string()))?;
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, leaf FROM ledger_entry WHERE seq IN (SELECT min(seq) FROM ledger_entry
            WHERE decision_id IN (SELECT value FROM json_each($1)) GROUP BY decision_id)",
    )
    .bind(others)
    .fetch_all(pool)
    .await?;
    let leaves = rows.into_iter().map(|(seq, bytes)| StoredLeaf { seq: to_u64(seq), bytes }).collect();
    for leaf in detached.fill(pool, leaves).await? {
        let entry = decode(&leaf.bytes)?;
        if let Some(decided) = trail::decided(&entry.body) {
            known.insert(decided.decision_id.clone(), decided.clone());
        }
    }
    Ok(known)
}

fn to_hash(bytes: Vec<u8>, table: &'static str, row: &str) -> Result<Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::CorruptRow { table, row: row.to_owned() })
}

/// Sizes and places fit: a ledger of 2^63 entries is out of reach.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
