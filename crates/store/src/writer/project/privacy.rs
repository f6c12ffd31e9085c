//! Forgetting, holds, and keys that are replaced.

use jiff::Timestamp;

use super::{Tx, execute};
use crate::{
    error::StoreError,
    lookup::{hash_with, taken_in},
    privacy::{Cutoffs, ErasureRow, Forgettable, HoldRow, Kind, NewLookupKey},
    sealing::WrappingKeys,
    visibility::VisibilityRow,
};

/// Whether all of it may still be forgotten.
pub(super) async fn may_forget(
    tx: &mut Tx,
    cutoffs: &Cutoffs,
    what: &Forgettable,
) -> Result<bool, StoreError> {
    let people = [(Kind::Person, cutoffs.people, &what.people)];
    let records = [
        (Kind::Consent, cutoffs.consents, &what.consents),
        (Kind::Objection, cutoffs.objections, &what.objections),
        (Kind::Exception, cutoffs.exceptions, &what.exceptions),
        (Kind::Referral, cutoffs.referrals, &what.referrals),
        (Kind::Rights, cutoffs.objections, &what.rights),
        (Kind::Alert, cutoffs.alerts, &what.alerts),
    ];
    for (kind, cutoff, names) in records.into_iter().chain(people) {
        let still = kind.still();
        for name in names {
            let query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(still.clone()))
                .bind(cutoff.as_microsecond());
            let query = query.bind(None::<String>).bind(None::<String>).bind(name);
            if query.fetch_optional(&mut **tx).await?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

pub(super) async fn forget(tx: &mut Tx, what: &Forgettable) -> Result<(), StoreError> {
    let steps = [
        (
            &what.consents,
            ["DELETE FROM consent_change WHERE consent = $1", "DELETE FROM consent WHERE id = $1"].as_slice(),
        ),
        (
            &what.objections,
            &["DELETE FROM objection_change WHERE objection = $1", "DELETE FROM objection WHERE id = $1"],
        ),
        (&what.exceptions, &["DELETE FROM subject_fact WHERE id = $1"]),
        (
            &what.referrals,
            &[
                "DELETE FROM referral_message WHERE decision_id = $1",
                "DELETE FROM referral WHERE decision_id = $1",
            ],
        ),
        (&what.rights, &["DELETE FROM rights_request WHERE id = $1"]),
        (&what.alerts, &["DELETE FROM alert_delivery WHERE alert = $1", "DELETE FROM alert WHERE id = $1"]),
        (
            &what.people,
            &[
                "DELETE FROM subject_key WHERE subject = $1",
                "DELETE FROM subject_identifier WHERE pseudonym = $1",
                "DELETE FROM legal_hold WHERE subject = $1",
                "DELETE FROM subject WHERE pseudonym = $1",
            ],
        ),
    ];
    for (names, statements) in steps {
        for name in names {
            for statement in statements {
                execute(tx, sqlx::query(*statement).bind(name)).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn place_hold(tx: &mut Tx, keys: &WrappingKeys, row: &HoldRow) -> Result<(), StoreError> {
    let reason = match &row.subject {
        Some(subject) => keys.seal(tx, subject, &row.reason).await?,
        None => row.reason.clone(),
    };
    let insert = "INSERT INTO legal_hold (id, subject, organisation, reason, placed_by, placed_us)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.subject).bind(&row.organisation);
    execute(tx, insert.bind(reason).bind(&row.placed_by).bind(row.placed_us)).await
}

pub(super) async fn lift_hold(tx: &mut Tx, id: &str, by: &str, at: Timestamp) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE legal_hold SET lifted_by = $1, lifted_us = $2 WHERE id = $3");
    execute(tx, update.bind(by).bind(at.as_microsecond()).bind(id)).await
}

pub(super) async fn ask_erasure(tx: &mut Tx, row: &ErasureRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO erasure (id, subject, organisation, ground, asked_by, asked_us)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.subject).bind(&row.organisation);
    execute(tx, insert.bind(&row.ground).bind(&row.asked_by).bind(row.asked_us)).await
}

pub(super) async fn end_erasure(tx: &mut Tx, id: &str, by: &str, at: Timestamp) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE erasure SET done_by = $1, done_us = $2 WHERE id = $3");
    execute(tx, update.bind(by).bind(at.as_microsecond()).bind(id)).await
}

pub(super) async fn decide_visibility(tx: &mut Tx, row: &VisibilityRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO event_visibility (decision_id, organisation, state, until_us, ground, decided_by, decided_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (decision_id, organisation) DO UPDATE SET
            state = excluded.state, until_us = excluded.until_us, ground = excluded.ground,
            decided_by = excluded.decided_by, decided_us = excluded.decided_us";
    let insert = sqlx::query(insert).bind(&row.decision_id).bind(&row.organisation).bind(&row.state);
    let insert = insert.bind(row.until_us).bind(&row.ground).bind(&row.decided_by);
    execute(tx, insert.bind(row.decided_us)).await
}

/// Hashes every hash again, a page at a time.
pub(super) async fn replace_lookup_key(tx: &mut Tx, new: &NewLookupKey) -> Result<(), StoreError> {
    let replacing = taken_in(&new.key);
    let make = "CREATE TABLE subject_identifier_next (
        lookup_hash BLOB PRIMARY KEY, pseudonym TEXT NOT NULL REFERENCES subject (pseudonym))";
    execute(tx, sqlx::query(make)).await?;
    let mut after = Vec::new();
    loop {
        let page: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT lookup_hash, pseudonym FROM subject_identifier WHERE lookup_hash > $1 ORDER BY lookup_hash LIMIT 1000",
        )
        .bind(&after)
        .fetch_all(&mut **tx)
        .await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (hash, pseudonym) in page {
            let insert = "INSERT INTO subject_identifier_next (lookup_hash, pseudonym) VALUES ($1, $2)";
            execute(tx, sqlx::query(insert).bind(hash_with(&replacing, &hash)).bind(pseudonym)).await?;
        }
    }
    execute(tx, sqlx::query("DELETE FROM subject_identifier")).await?;
    execute(tx, sqlx::query("DROP TABLE subject_identifier")).await?;
    execute(tx, sqlx::query("ALTER TABLE subject_identifier_next RENAME TO subject_identifier")).await?;
    // Checks for the opt-out run out by themselves, and are few: they are hashed again in place.
    let checked: Vec<(Vec<u8>, String)> =
        sqlx::query_as("SELECT person_hash, batch FROM opt_out_checked").fetch_all(&mut **tx).await?;
    for (hash, batch) in checked {
        let update =
            sqlx::query("UPDATE opt_out_checked SET person_hash = $1 WHERE person_hash = $2 AND batch = $3");
        execute(tx, update.bind(hash_with(&replacing, &hash)).bind(hash).bind(batch)).await?;
    }
    // So are what alerts compare with, and what makes another alert the same again.
    for (table, column, key) in [("alert_mark", "hash", "id"), ("alert", "series", "id")] {
        let select = format!("SELECT {column}, {key} FROM {table} WHERE {column} IS NOT NULL");
        let held: Vec<(Vec<u8>, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(&mut **tx).await?;
        let update = format!("UPDATE {table} SET {column} = $1 WHERE {key} = $2");
        for (hash, id) in held {
            let update = sqlx::query(sqlx::AssertSqlSafe(update.clone()));
            execute(tx, update.bind(hash_with(&replacing, &hash)).bind(id)).await?;
        }
    }
    let check = sqlx::query("UPDATE key_check SET value = $1 WHERE name = 'lookup'");
    execute(tx, check.bind(&new.check_value)).await
}
