//! The tables beside alerts' own: what is compared with, the evaluator's place, and messages.

use jiff::Timestamp;
use sharing::OrganisationId;

use super::{Tx, execute};
use crate::{
    alerting::{DELIVERIES_KEPT_US, DELIVERIES_WAITING_MAX, DeliveryRow, MarkRow, Messages},
    error::StoreError,
    queue::AlertRow,
};

/// What an alert can be delivered by.
const CHANNELS: [&str; 2] = ["webhook", "email"];

/// Raises an alert, once: not when it is there, nor when one of its series came from a cause after `quiet_from`.
pub(in crate::writer) async fn raise(
    tx: &mut Tx,
    row: &AlertRow,
    quiet_from: Option<Timestamp>,
) -> Result<(), StoreError> {
    if let (Some(series), Some(from)) = (&row.series, quiet_from) {
        let spoke: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM alert WHERE series = $1 AND cause_us > $2 LIMIT 1")
                .bind(series)
                .bind(from.as_microsecond())
                .fetch_optional(&mut **tx)
                .await?;
        if spoke.is_some() {
            return Ok(());
        }
    }
    let insert = "INSERT INTO alert (id, rule, organisation, reference, state, raised_us, due_us, severity,
            about_organisation, about_human, series, cause_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.rule).bind(&row.organisation);
    let insert = insert.bind(&row.reference).bind(&row.state).bind(row.raised_us).bind(row.due_us);
    let insert = insert.bind(&row.severity).bind(&row.about_organisation).bind(&row.about_human);
    let inserted = insert.bind(&row.series).bind(row.cause_us).execute(&mut **tx).await?;
    if inserted.rows_affected() == 1 { tell(tx, &row.id, "raised", row.raised_us).await } else { Ok(()) }
}

/// A message on every channel. Which of them are configured is not known here.
pub(super) async fn tell(tx: &mut Tx, alert: &str, event: &str, at_us: i64) -> Result<(), StoreError> {
    let organisation = "SELECT organisation FROM alert WHERE id = $1";
    let organisation: String = sqlx::query_scalar(organisation).bind(alert).fetch_one(&mut **tx).await?;
    let (state, fault) = begins(tx, &organisation).await?;
    for channel in CHANNELS {
        let insert = "INSERT INTO alert_delivery (alert, event, channel, organisation, state, attempts, next_us, fault)
            SELECT id, $2, $3, organisation, $4, 0, $5, $6 FROM alert WHERE id = $1 ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert).bind(alert).bind(event).bind(channel);
        execute(tx, insert.bind(state).bind(at_us).bind(fault)).await?;
    }
    Ok(())
}

/// Tells organisations of a step of an agreement.
pub(super) async fn tell_of_step(
    tx: &mut Tx,
    (agreement, revision): (&str, i64),
    told: &[OrganisationId],
    at_us: i64,
) -> Result<(), StoreError> {
    for organisation in told {
        let (state, fault) = begins(tx, organisation.as_str()).await?;
        let insert = "INSERT INTO agreement_delivery (agreement, revision, organisation, state, attempts, next_us, fault)
            VALUES ($1, $2, $3, $4, 0, $5, $6) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert).bind(agreement).bind(revision).bind(organisation.as_str());
        execute(tx, insert.bind(state).bind(at_us).bind(fault)).await?;
    }
    Ok(())
}

/// Tells organisations of a step of something beside an agreement's course, each on its channel.
pub(super) async fn tell_of_matter(
    tx: &mut Tx,
    (matter, revision): (&str, i64),
    told: &[(String, &'static str)],
    at_us: i64,
) -> Result<(), StoreError> {
    for (organisation, channel) in told {
        let (state, fault) = begins(tx, organisation).await?;
        let insert = "INSERT INTO matter_delivery (matter, revision, organisation, channel, state, attempts, next_us, fault)
            VALUES ($1, $2, $3, $4, $5, 0, $6, $7) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert).bind(matter).bind(revision).bind(organisation).bind(*channel);
        execute(tx, insert.bind(state).bind(at_us).bind(fault)).await?;
    }
    Ok(())
}

/// How another message of an organisation's begins: waiting, or given up at once where too many wait.
async fn begins(tx: &mut Tx, organisation: &str) -> Result<(&'static str, Option<&'static str>), StoreError> {
    let full: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM (SELECT next_us FROM alert_delivery WHERE state = 'waiting' AND organisation = $1
             UNION ALL SELECT next_us FROM agreement_delivery WHERE state = 'waiting' AND organisation = $1
             UNION ALL SELECT next_us FROM matter_delivery WHERE state = 'waiting' AND organisation = $1) AS waiting
         LIMIT 1 OFFSET $2",
    )
    .bind(organisation)
    .bind(DELIVERIES_WAITING_MAX)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(if full.is_some() { ("dead", Some("queue-full")) } else { ("waiting", None) })
}

pub(super) async fn evaluated(tx: &mut Tx, next_seq: i64) -> Result<(), StoreError> {
    let update = "INSERT INTO alert_position (id, next_seq) VALUES (1, $1)
        ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq";
    execute(tx, sqlx::query(update).bind(next_seq)).await
}

/// Replaces what is registered of a practitioner.
pub(super) async fn set_marks(
    tx: &mut Tx,
    (organisation, practitioner): (&str, &str),
    marks: &[MarkRow],
) -> Result<(), StoreError> {
    let forget = "DELETE FROM alert_mark WHERE organisation = $1 AND practitioner = $2";
    execute(tx, sqlx::query(forget).bind(organisation).bind(practitioner)).await?;
    for mark in marks {
        add_mark(tx, mark).await?;
    }
    Ok(())
}

pub(super) async fn add_mark(tx: &mut Tx, mark: &MarkRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO alert_mark (id, kind, organisation, practitioner, hash, recorded_us, until_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let insert = sqlx::query(insert).bind(&mark.id).bind(&mark.kind).bind(&mark.organisation);
    let insert = insert.bind(&mark.practitioner).bind(&mark.hash).bind(mark.recorded_us);
    execute(tx, insert.bind(mark.until_us)).await
}

pub(super) async fn end_mark(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    execute(tx, sqlx::query("DELETE FROM alert_mark WHERE id = $1").bind(id)).await
}

pub(super) async fn forget_ended_marks(tx: &mut Tx, at: Timestamp) -> Result<(), StoreError> {
    let forget = sqlx::query("DELETE FROM alert_mark WHERE until_us <= $1");
    execute(tx, forget.bind(at.as_microsecond())).await?;
    // Messages that nobody waits for. Those about alerts go with their alerts.
    for forget in [
        "DELETE FROM agreement_delivery WHERE state <> 'waiting' AND next_us < $1",
        "DELETE FROM matter_delivery WHERE state <> 'waiting' AND next_us < $1",
    ] {
        execute(tx, sqlx::query(forget).bind(at.as_microsecond() - DELIVERIES_KEPT_US)).await?;
    }
    Ok(())
}

pub(super) async fn move_delivery(tx: &mut Tx, row: &DeliveryRow) -> Result<(), StoreError> {
    if row.about == "agreement" {
        let update = "UPDATE agreement_delivery SET state = $1, attempts = $2, next_us = $3, fault = $4
            WHERE agreement = $5 AND CAST(revision AS TEXT) = $6 AND organisation = $7";
        let update = sqlx::query(update).bind(&row.state).bind(row.attempts).bind(row.next_us);
        let update = update.bind(&row.fault).bind(&row.subject).bind(&row.event);
        return execute(tx, update.bind(&row.organisation)).await;
    }
    if row.about == "matter" {
        let update = "UPDATE matter_delivery SET state = $1, attempts = $2, next_us = $3, fault = $4
            WHERE matter = $5 AND CAST(revision AS TEXT) = $6 AND organisation = $7 AND channel = $8";
        let update = sqlx::query(update).bind(&row.state).bind(row.attempts).bind(row.next_us);
        let update = update.bind(&row.fault).bind(&row.subject).bind(&row.event);
        return execute(tx, update.bind(&row.organisation).bind(&row.channel)).await;
    }
    let update = "UPDATE alert_delivery SET state = $1, attempts = $2, next_us = $3, fault = $4
        WHERE alert = $5 AND event = $6 AND channel = $7";
    let update = sqlx::query(update).bind(&row.state).bind(row.attempts).bind(row.next_us).bind(&row.fault);
    execute(tx, update.bind(&row.subject).bind(&row.event).bind(&row.channel)).await
}

pub(super) async fn retry_deliveries(
    tx: &mut Tx,
    (organisation, about): (&str, Messages),
    at: Timestamp,
) -> Result<(), StoreError> {
    let updates: &[&'static str] = match about {
        Messages::Alerts => &["UPDATE alert_delivery SET state = 'waiting', attempts = 0, next_us = $1
            WHERE organisation = $2 AND state = 'dead'"],
        Messages::Agreements => &[
            "UPDATE agreement_delivery SET state = 'waiting', attempts = 0, next_us = $1
            WHERE organisation = $2 AND state = 'dead'",
            "UPDATE matter_delivery SET state = 'waiting', attempts = 0, next_us = $1
            WHERE organisation = $2 AND state = 'dead'",
        ],
    };
    for update in updates {
        execute(tx, sqlx::query(*update).bind(at.as_microsecond()).bind(organisation)).await?;
    }
    Ok(())
}
