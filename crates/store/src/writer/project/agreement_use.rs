//! The tables of how much agreements are used.

use super::{Tx, execute};
use crate::{
    agreement_use::UseCount,
    error::{CommitError, StoreError},
};

/// Whether counting goes on where it stopped: two that count at once do not count twice.
pub(super) async fn may_count(tx: &mut Tx, from: i64) -> Result<Result<(), CommitError>, StoreError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT next_seq FROM agreement_use_position WHERE id = 1")
        .fetch_optional(&mut **tx)
        .await?;
    Ok(if next.unwrap_or(0) == from { Ok(()) } else { Err(CommitError::Changed) })
}

pub(super) async fn count(tx: &mut Tx, until: i64, counts: &[UseCount]) -> Result<(), StoreError> {
    for count in counts {
        let add = "INSERT INTO agreement_use (agreement, flow, quarter, what, name, uses) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (agreement, flow, quarter, what, name) DO UPDATE SET uses = agreement_use.uses + excluded.uses";
        let add = sqlx::query(add).bind(&count.agreement).bind(&count.flow).bind(&count.quarter);
        execute(tx, add.bind(&count.what).bind(&count.name).bind(count.count)).await?;
    }
    let position = "INSERT INTO agreement_use_position (id, next_seq) VALUES (1, $1)
        ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq";
    execute(tx, sqlx::query(position).bind(until)).await
}
