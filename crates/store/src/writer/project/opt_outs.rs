//! Opt-out checks: taken in and forgotten in portions, so that nobody else waits long for the ledger. A batch whose `imported_us` is 0
//! counts nowhere: it is on its way in, or out.

use jiff::Timestamp;

use super::{Tx, execute};
use crate::{
    audit::to_i64,
    database::{places, portions},
    error::{CommitError, StoreError},
    opt_out::{OptOutBatch, OptOutCheck, PORTION},
};

/// When a batch was taken in whole, 0 while it is on its way; `None` where there is none.
async fn imported(tx: &mut Tx, id: &str) -> Result<Option<i64>, StoreError> {
    let imported = sqlx::query_scalar("SELECT imported_us FROM opt_out_batch WHERE id = $1").bind(id);
    Ok(imported.fetch_optional(&mut **tx).await?)
}

/// Whether more of it may be taken in: one that is there whole stays as it is.
pub(super) async fn may_hold(
    tx: &mut Tx,
    check: &OptOutCheck,
) -> Result<Result<(), CommitError>, StoreError> {
    let is_whole = imported(tx, &check.id).await?.is_some_and(|at_us| at_us > 0);
    Ok(if is_whole { Err(CommitError::Changed) } else { Ok(()) })
}

/// Whether it may count: all of it is there, and it does not count yet.
pub(super) async fn may_count(
    tx: &mut Tx,
    check: &OptOutCheck,
    people: u64,
) -> Result<Result<(), CommitError>, StoreError> {
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM opt_out_checked WHERE batch = $1")
        .bind(&check.id)
        .fetch_one(&mut **tx)
        .await?;
    Ok(match imported(tx, &check.id).await? {
        Some(0) if there == to_i64(people) => Ok(()),
        Some(0) | None => Err(CommitError::NotFound),
        Some(_) => Err(CommitError::Changed),
    })
}

pub(super) async fn hold(tx: &mut Tx, batch: &OptOutBatch) -> Result<(), StoreError> {
    let check = &batch.check;
    let insert = "INSERT INTO opt_out_batch (id, purpose, imported_us, expires_us) VALUES ($1, $2, 0, $3)
        ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(insert).bind(&check.id).bind(check.purpose.as_str());
    execute(tx, insert.bind(check.expires_at.as_microsecond())).await?;
    for people in portions(&batch.checked) {
        let places = places(people.len(), 3);
        let sql = format!(
            "INSERT INTO opt_out_checked (person_hash, batch, opted_out) VALUES {places}
             ON CONFLICT (person_hash, batch) DO UPDATE SET opted_out = excluded.opted_out"
        );
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (hash, opted_out) in people {
            insert = insert.bind(hash.0.as_slice()).bind(&check.id).bind(i64::from(*opted_out));
        }
        execute(tx, insert).await?;
    }
    Ok(())
}

/// From now on it counts. Those that have run out count no more.
pub(super) async fn count(tx: &mut Tx, check: &OptOutCheck, at: Timestamp) -> Result<(), StoreError> {
    let at_us = at.as_microsecond();
    let end = "UPDATE opt_out_batch SET imported_us = 0 WHERE expires_us <= $1";
    execute(tx, sqlx::query(end).bind(at_us)).await?;
    let count = sqlx::query("UPDATE opt_out_batch SET imported_us = $1 WHERE id = $2");
    execute(tx, count.bind(at_us).bind(&check.id)).await
}

/// Forgets a portion of one that has run out, and the batch itself with the last of them.
pub(super) async fn forget(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    let people = "DELETE FROM opt_out_checked WHERE batch = $1 AND person_hash IN
        (SELECT person_hash FROM opt_out_checked WHERE batch = $1 LIMIT $2)";
    execute(tx, sqlx::query(people).bind(id).bind(to_i64(PORTION as u64))).await?;
    let batch = "DELETE FROM opt_out_batch WHERE id = $1
        AND NOT EXISTS (SELECT 1 FROM opt_out_checked WHERE opt_out_checked.batch = opt_out_batch.id)";
    execute(tx, sqlx::query(batch).bind(id)).await
}
