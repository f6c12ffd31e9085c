//! Closed ranges of entries that are kept outside the database, and their leaves where they are only there. Every leaf that
//! comes from outside is checked against the tree.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use ledger::{
    tile::{TILE_WIDTH, TileOf, TileRef, entries_in},
    tree::leaf_hash,
};
use sqlx::AnyPool;

use crate::{
    audit::{self, StoredLeaf},
    error::StoreError,
    open::Store,
};

/// Where leaves are when they are not in the database.
pub trait LeafSource: Send + Sync + fmt::Debug {
    /// A whole entry bundle (C2SP tlog-tiles).
    fn bundle(&self, index: u64) -> BoxFuture<'_, Result<Vec<u8>, String>>;
}

/// A closed range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Its first entry.
    pub from_seq: i64,
    /// One past its last.
    pub until_seq: i64,
    /// The RFC 6962 root over its leaves alone.
    pub range_root: Vec<u8>,
    /// The digest of its manifest in the archive.
    pub manifest_sha256: String,
    /// When it was archived and read back.
    pub archived_us: i64,
    /// When its leaves were removed from the database.
    pub detached_us: Option<i64>,
}

columns!(BlockRow { from_seq, until_seq, range_root, manifest_sha256, archived_us, detached_us });

/// Bundles that are kept at hand.
const CACHED_MAX: usize = 16;

type Cached = Arc<Vec<Vec<u8>>>;

/// The archive, with what was read of it last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detached {
    source: Option<Arc<dyn LeafSource>>,
    cached: Arc<Mutex<VecDeque<(u64, Cached)>>>,
}

impl Detached {
    pub(crate) fn new(source: Option<Arc<dyn LeafSource>>) -> Self {
        Self { source, cached: Arc::default() }
    }

    /// Fills in the leaves that are not in the database.
    pub(crate) async fn fill(
        &self,
        pool: &AnyPool,
        mut leaves: Vec<StoredLeaf>,
    ) -> Result<Vec<StoredLeaf>, StoreError> {
        let mut absent: Vec<_> = leaves.iter_mut().filter(|leaf| leaf.bytes.is_empty()).collect();
        let nodes: Vec<_> = absent.iter().map(|leaf| (0, leaf.seq)).collect();
        let hashes = audit::node_hashes(pool, &nodes).await?;
        for (leaf, hash) in absent.iter_mut().zip(hashes) {
            let index = leaf.seq / u64::from(TILE_WIDTH);
            let bundle = self.bundle(leaf.seq, index).await?;
            let place = usize::try_from(leaf.seq % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            let bytes = bundle.get(place).cloned().unwrap_or_default();
            if leaf_hash(&bytes) != hash {
                return Err(StoreError::Ledger(format!(
                    "entry {} in the archive is not the one that was signed; restore the archive",
                    leaf.seq
                )));
            }
            leaf.bytes = bytes;
        }
        Ok(leaves)
    }

    async fn bundle(&self, seq: u64, index: u64) -> Result<Cached, StoreError> {
        let cached = |all: &VecDeque<(u64, Cached)>| {
            all.iter().find(|(other, _)| *other == index).map(|(_, bundle)| bundle.clone())
        };
        if let Some(bundle) = cached(&self.cached.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(bundle);
        }
        let source = self.source.as_ref().ok_or_else(|| {
            StoreError::Unsafe(format!(
                "entry {seq} is in the archive alone; name it in the settings, [ledger.blocks]"
            ))
        })?;
        let bytes = source.bundle(index).await;
        let bytes = bytes.map_err(|error| StoreError::Ledger(format!("the archive: {error}")))?;
        let named = TileRef { of: TileOf::Entries, index, width: TILE_WIDTH };
        let entries = entries_in(named, &bytes)
            .ok_or_else(|| StoreError::Ledger(format!("{named} in the archive is no whole bundle")))?;
        let bundle: Cached = Arc::new(entries.into_iter().map(<[u8]>::to_vec).collect());
        let mut all = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back((index, bundle.clone()));
        if all.len() > CACHED_MAX {
            all.pop_front();
        }
        Ok(bundle)
    }
}

impl Store {
    /// Every closed range, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn blocks(&self) -> Result<Vec<BlockRow>, StoreError> {
        let rows = sqlx::query_as("SELECT * FROM ledger_block ORDER BY from_seq");
        Ok(rows.fetch_all(&self.readers).await?)
    }

    /// Whether an entry's leaf is outside the database alone.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn is_detached(&self, seq: u64) -> Result<bool, StoreError> {
        let length: Option<i64> = sqlx::query_scalar("SELECT length(leaf) FROM ledger_entry WHERE seq = $1")
            .bind(audit::to_i64(seq))
            .fetch_optional(&self.readers)
            .await?;
        Ok(length == Some(0))
    }
}
