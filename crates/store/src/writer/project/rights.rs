//! The table of complaints and corrections.

use jiff::Timestamp;

use super::{Tx, execute, from_state, sealed};
use crate::{
    error::{CommitError, StoreError},
    rights::{RightsMove, RightsRow},
    sealing::WrappingKeys,
};

/// Whether it was not sent before with the same key.
pub(super) async fn may_open(tx: &mut Tx, row: &RightsRow) -> Result<Result<(), CommitError>, StoreError> {
    let (Some(system), Some(key)) = (&row.request_system, &row.request_key) else { return Ok(Ok(())) };
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM rights_request WHERE request_system = $1 AND request_key = $2")
            .bind(system)
            .bind(key)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(if known.is_some() { Err(CommitError::Changed) } else { Ok(()) })
}

pub(super) async fn may_move(tx: &mut Tx, step: &RightsMove) -> Result<Result<(), CommitError>, StoreError> {
    let state = sqlx::query_scalar("SELECT state FROM rights_request WHERE id = $1");
    from_state(tx, state.bind(&step.id), step.from).await
}

pub(super) async fn open(tx: &mut Tx, keys: &WrappingKeys, row: &RightsRow) -> Result<(), StoreError> {
    let details = keys.seal(tx, &row.subject, &row.details).await?;
    let insert =
        "INSERT INTO rights_request (id, subject, about_right, decision_id, organisation, recorded_by, state,
            received_us, acknowledge_due_us, answer_due_us, details, request_system, request_key)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.subject).bind(&row.about_right);
    let insert = insert.bind(&row.decision_id).bind(&row.organisation).bind(&row.recorded_by);
    let insert = insert.bind(&row.state).bind(row.received_us).bind(row.acknowledge_due_us);
    let insert = insert.bind(row.answer_due_us).bind(details).bind(&row.request_system);
    execute(tx, insert.bind(&row.request_key)).await
}

pub(super) async fn step(
    tx: &mut Tx,
    keys: &WrappingKeys,
    step: &RightsMove,
    at: Timestamp,
) -> Result<(), StoreError> {
    let subject = sqlx::query_scalar("SELECT subject FROM rights_request WHERE id = $1").bind(&step.id);
    let (outcome, answer) = step.answer.clone().unzip();
    let answer = sealed(tx, keys, subject, answer.as_deref()).await?;
    let at_us = at.as_microsecond();
    let answered = step.answer.as_ref().map(|_| at_us);
    // An answer acknowledges, too.
    let update = "UPDATE rights_request SET state = $1, acknowledged_us = coalesce(acknowledged_us, $2),
            answered_us = $3, answered_by = $4, outcome = $5, answer = $6 WHERE id = $7";
    let update = sqlx::query(update).bind(step.to).bind(at_us).bind(answered);
    let update = update.bind(answered.map(|_| step.by.as_str())).bind(outcome).bind(answer);
    execute(tx, update.bind(&step.id)).await
}
