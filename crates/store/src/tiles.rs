//! The ledger as tiles (C2SP tlog-tiles), made from the tree's stored nodes when they are asked for.

use ledger::{
    proof::TlogProof,
    tile::{self, TileOf, TileRef},
    tree::{Hash, consistency_plan, inclusion_plan},
};

use crate::{StoreError, audit, audit::to_i64, open::Store};

impl Store {
    /// The bytes of a tile or bundle; `None` where the ledger does not reach that far.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or an entry is too large for a bundle.
    pub async fn tile(&self, named: TileRef) -> Result<Option<Vec<u8>>, StoreError> {
        let size = self.head().await?.size;
        let level = match named.of {
            TileOf::Hashes(level) => u32::from(level) * 8,
            TileOf::Entries => 0,
        };
        let first = named.index.checked_mul(256);
        let there = size.checked_shr(level).unwrap_or(0);
        let Some(first) =
            first.filter(|first| first.checked_add(u64::from(named.width)).is_some_and(|end| end <= there))
        else {
            return Ok(None);
        };
        match named.of {
            TileOf::Hashes(_) => {
                let hashes: Vec<Vec<u8>> = sqlx::query_scalar(
                    "SELECT hash FROM ledger_node WHERE level = $1 AND position >= $2 AND position < $3 ORDER BY position",
                )
                .bind(i64::from(level))
                .bind(to_i64(first))
                .bind(to_i64(first + u64::from(named.width)))
                .fetch_all(&self.readers)
                .await?;
                Ok((hashes.len() == usize::from(named.width)).then(|| hashes.concat()))
            }
            TileOf::Entries => {
                let mut bundle = Vec::new();
                for leaf in self.leaves(first, u32::from(named.width)).await? {
                    tile::write_entry(&mut bundle, &leaf.bytes)
                        .map_err(|error| StoreError::Ledger(error.to_string()))?;
                }
                Ok(Some(bundle))
            }
        }
    }

    /// That an entry is in the ledger, under its newest checkpoint; `None` where there is no such entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn proof(&self, index: u64) -> Result<Option<TlogProof>, StoreError> {
        let head = self.head().await?;
        let Ok(plan) = inclusion_plan(index, head.size) else { return Ok(None) };
        let hashes = audit::folded(&self.readers, &plan).await?;
        Ok(Some(TlogProof { extra: None, index, hashes, checkpoint: head.checkpoint }))
    }

    /// That the first `new` entries extend the first `old`, as RFC 6962 proves it; nothing to prove for 0.
    ///
    /// # Errors
    /// [`StoreError`] when there are not as many or the database fails.
    pub async fn consistency_between(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError> {
        if old == 0 {
            return Ok(Vec::new());
        }
        let plan = consistency_plan(old, new).map_err(|error| StoreError::Ledger(error.to_string()))?;
        audit::folded(&self.readers, &plan).await
    }

    /// That the ledger extends what it was when it had so many entries, with its newest checkpoint; `None` where it
    /// never had.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn consistency(&self, old: u64) -> Result<Option<(Vec<Hash>, String)>, StoreError> {
        let head = self.head().await?;
        let Ok(plan) = consistency_plan(old, head.size) else { return Ok(None) };
        Ok(Some((audit::folded(&self.readers, &plan).await?, head.checkpoint)))
    }
}
