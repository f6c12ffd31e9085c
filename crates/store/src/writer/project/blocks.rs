//! The table of closed ranges, and leaves that are removed.

use super::{Tx, execute};
use crate::{blocks::BlockRow, error::StoreError};

pub(super) async fn add(tx: &mut Tx, row: &BlockRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO ledger_block (from_seq, until_seq, range_root, manifest_sha256, archived_us)
        VALUES ($1, $2, $3, $4, $5)";
    let insert = sqlx::query(insert).bind(row.from_seq).bind(row.until_seq).bind(&row.range_root);
    execute(tx, insert.bind(&row.manifest_sha256).bind(row.archived_us)).await
}

/// Removes leaves of an archived range. Those that name the ledger's keys stay: every start reads them.
pub(super) async fn detach(tx: &mut Tx, from: i64, until: i64) -> Result<(), StoreError> {
    let update = "UPDATE ledger_entry SET leaf = $3 WHERE seq >= $1 AND seq < $2
        AND kind NOT IN ('log_opened', 'signing_key_announced', 'signing_key_retired')
        AND EXISTS (SELECT 1 FROM ledger_block WHERE from_seq <= $1 AND until_seq >= $2)";
    execute(tx, sqlx::query(update).bind(from).bind(until).bind(Vec::new())).await
}

pub(super) async fn detached(tx: &mut Tx, from: i64, at_us: i64) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE ledger_block SET detached_us = $1 WHERE from_seq = $2");
    execute(tx, update.bind(at_us).bind(from)).await
}
