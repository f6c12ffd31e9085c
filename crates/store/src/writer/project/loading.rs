//! The table of loads.

use super::{Tx, execute};
use crate::{audit::to_i64, error::StoreError, loading::LoadRow};

pub(super) async fn move_load(tx: &mut Tx, row: &LoadRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO data_load (id, source_sha256, is_generated, state, rows_done, people, consents, first_seq, began_us, ended_us)
        SELECT $1, $2, $3, $4, $5, $6, $7, coalesce(max(seq), -1) + 1, $8, $9 FROM ledger_entry WHERE true
        ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_us = excluded.ended_us";
    let insert = sqlx::query(insert)
        .bind(&row.id)
        .bind(&row.source_sha256)
        .bind(i64::from(row.is_generated))
        .bind(row.state.as_str())
        .bind(to_i64(row.rows_done))
        .bind(to_i64(row.people))
        .bind(to_i64(row.consents))
        .bind(row.began_at.as_microsecond())
        .bind(row.ended_at.map(jiff::Timestamp::as_microsecond));
    execute(tx, insert).await
}
