//! The tables of what waits for people.

use jiff::Timestamp;

use super::{Tx, alerting, execute, sealed};
use crate::{
    error::StoreError,
    queue::{AlertMove, ReferralMove, ReferralRow},
    sealing::WrappingKeys,
};

pub(super) async fn open_referral(
    tx: &mut Tx,
    keys: &WrappingKeys,
    row: &ReferralRow,
) -> Result<(), StoreError> {
    let form = keys.seal(tx, &row.subject, &row.form).await?;
    let insert =
        "INSERT INTO referral (decision_id, subject, recipient, practitioner, provider, holder, purpose,
            asked, state, opened_us, due_us, form)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(&row.decision_id).bind(&row.subject).bind(&row.recipient);
    let insert = insert.bind(&row.practitioner).bind(&row.provider).bind(&row.holder).bind(&row.purpose);
    let insert = insert.bind(&row.asked).bind(&row.state).bind(row.opened_us).bind(row.due_us);
    execute(tx, insert.bind(form)).await
}

pub(super) async fn move_referral(
    tx: &mut Tx,
    keys: &WrappingKeys,
    step: &ReferralMove,
    at: Timestamp,
) -> Result<(), StoreError> {
    let of =
        || sqlx::query_scalar("SELECT subject FROM referral WHERE decision_id = $1").bind(&step.decision_id);
    let form = sealed(tx, keys, of(), step.form.as_deref()).await?;
    let outcome = sealed(tx, keys, of(), step.outcome.as_deref()).await?;
    let update =
        "UPDATE referral SET state = $1, due_us = coalesce($2, due_us), taken_by = coalesce($3, taken_by),
            form = coalesce($4, form), outcome = coalesce($5, outcome) WHERE decision_id = $6";
    let update = sqlx::query(update).bind(step.to).bind(step.due.map(Timestamp::as_microsecond));
    let update = update.bind(&step.taken_by).bind(form).bind(outcome).bind(&step.decision_id);
    execute(tx, update).await?;
    let Some((organisation, author, text)) = &step.message else { return Ok(()) };
    let text = sealed(tx, keys, of(), Some(text)).await?;
    let insert = "INSERT INTO referral_message (decision_id, position, organisation, author, at_us, text)
        SELECT $1, count(*), $2, $3, $4, $5 FROM referral_message WHERE decision_id = $1";
    let insert = sqlx::query(insert).bind(&step.decision_id).bind(organisation.as_str()).bind(author);
    execute(tx, insert.bind(at.as_microsecond()).bind(text)).await
}

pub(super) async fn handle_alert(tx: &mut Tx, step: &AlertMove, at: Timestamp) -> Result<(), StoreError> {
    let at_us = at.as_microsecond();
    let escalated = (step.to == "escalated").then_some(at_us);
    let handled = step.by.as_ref().map(|_| at_us);
    let (outcome, note) = step.review.clone().unzip();
    let update = "UPDATE alert SET state = $1, escalated_us = coalesce($2, escalated_us),
            handled_by = coalesce($3, handled_by), handled_us = coalesce($4, handled_us),
            outcome = coalesce($5, outcome), note = coalesce($6, note) WHERE id = $7";
    let update = sqlx::query(update).bind(step.to).bind(escalated).bind(&step.by).bind(handled);
    execute(tx, update.bind(outcome).bind(note).bind(&step.id)).await?;
    if escalated.is_some() { alerting::tell(tx, &step.id, "escalated", at_us).await } else { Ok(()) }
}
