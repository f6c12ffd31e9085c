//! The tables of agreements that are managed over the API.

use jiff::Timestamp;

use super::{Tx, execute, from_state};
use crate::{
    agreements::{AgreementMove, OfficerMove, OfficerRow, RequestRow, SignatureRow, StepRow, TermsRow},
    error::{CommitError, StoreError},
};

/// How long a request's key is remembered, in microseconds: a week.
const REMEMBERED_US: i64 = 7 * 86_400_000_000;

/// Whether an agreement is where a step was decided at.
pub(super) async fn may_move(
    tx: &mut Tx,
    step: &AgreementMove,
) -> Result<Result<(), CommitError>, StoreError> {
    let revision: Option<i64> = sqlx::query_scalar("SELECT revision FROM agreement WHERE id = $1")
        .bind(&step.row.id)
        .fetch_optional(&mut **tx)
        .await?;
    if revision.unwrap_or(0) + 1 != step.row.revision {
        return Ok(Err(CommitError::Changed));
    }
    if step.step.action == "signing-opened"
        && let Err(waits) = super::matters::may_open_signing(tx, &step.row.id).await?
    {
        return Ok(Err(waits));
    }
    is_new(tx, step.request.as_ref()).await
}

/// Whether a request was not carried out before.
pub(super) async fn is_new(
    tx: &mut Tx,
    request: Option<&RequestRow>,
) -> Result<Result<(), CommitError>, StoreError> {
    let Some(request) = request else { return Ok(Ok(())) };
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM agreement_request WHERE system = $1 AND request_key = $2")
            .bind(&request.system)
            .bind(&request.request_key)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(if known.is_some() { Err(CommitError::Changed) } else { Ok(()) })
}

pub(super) async fn move_agreement(
    tx: &mut Tx,
    step: &AgreementMove,
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = &step.row;
    let upsert = "INSERT INTO agreement (id, revision, state, course, policy_file, next_us, moved_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET revision = excluded.revision,
            state = excluded.state, course = excluded.course, policy_file = excluded.policy_file,
            next_us = excluded.next_us, moved_us = excluded.moved_us";
    let upsert = sqlx::query(upsert).bind(&row.id).bind(row.revision).bind(&row.state).bind(&row.course);
    execute(tx, upsert.bind(&row.policy_file).bind(row.next_us).bind(at.as_microsecond())).await?;
    for member in &step.members {
        let insert =
            "INSERT INTO agreement_member (agreement, organisation) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        execute(tx, sqlx::query(insert).bind(&row.id).bind(member.as_str())).await?;
    }
    if let Some(terms) = &step.terms {
        write_terms(tx, &row.id, terms).await?;
    }
    write_step(tx, &step.step).await?;
    let of = (row.id.as_str(), row.revision);
    super::alerting::tell_of_step(tx, of, &step.told, at.as_microsecond()).await?;
    if let Some(signature) = &step.signature {
        write_signature(tx, signature).await?;
    }
    match &step.request {
        Some(request) => remember(tx, request, at.as_microsecond()).await,
        None => Ok(()),
    }
}

async fn write_terms(tx: &mut Tx, agreement: &str, terms: &TermsRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO agreement_version (agreement, version, terms, terms_sha256, organisation, author, written_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (agreement, version) DO UPDATE SET terms = excluded.terms,
            terms_sha256 = excluded.terms_sha256, organisation = excluded.organisation, author = excluded.author,
            written_us = excluded.written_us";
    let insert = sqlx::query(insert).bind(agreement).bind(terms.version).bind(&terms.terms);
    let insert = insert.bind(&terms.terms_sha256).bind(&terms.organisation).bind(&terms.author);
    execute(tx, insert.bind(terms.written_us)).await
}

async fn write_step(tx: &mut Tx, step: &StepRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO agreement_step (agreement, revision, version, action, state, organisation, person, scope,
            reason, written, at_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let insert = sqlx::query(insert).bind(&step.agreement).bind(step.revision).bind(step.version);
    let insert = insert.bind(&step.action).bind(&step.state).bind(&step.organisation).bind(&step.person);
    let insert = insert.bind(&step.scope).bind(&step.reason).bind(&step.written);
    execute(tx, insert.bind(step.at_us)).await
}

async fn write_signature(tx: &mut Tx, signature: &SignatureRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO agreement_signature (agreement, version, officer_id, organisation, person, role, revision,
            signature, signed_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let insert = sqlx::query(insert).bind(&signature.agreement).bind(signature.version);
    let insert = insert.bind(&signature.officer_id).bind(&signature.organisation).bind(&signature.person);
    let insert = insert.bind(&signature.role).bind(signature.revision).bind(&signature.signature);
    execute(tx, insert.bind(signature.signed_us)).await
}

pub(super) async fn remember(tx: &mut Tx, request: &RequestRow, at_us: i64) -> Result<(), StoreError> {
    let forget = "DELETE FROM agreement_request WHERE at_us < $1";
    execute(tx, sqlx::query(forget).bind(at_us - REMEMBERED_US)).await?;
    let insert =
        "INSERT INTO agreement_request (system, request_key, body_sha256, agreement, revision, at_us)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let insert = sqlx::query(insert).bind(&request.system).bind(&request.request_key);
    let insert = insert.bind(&request.body_sha256).bind(&request.agreement).bind(request.revision);
    execute(tx, insert.bind(at_us)).await
}

/// Whether somebody's office is where a step was decided at.
pub(super) async fn may_move_officer(
    tx: &mut Tx,
    step: &OfficerMove,
) -> Result<Result<(), CommitError>, StoreError> {
    let (id, from): (_, &[&str]) = match step {
        OfficerMove::Ask(_) => return Ok(Ok(())),
        OfficerMove::Register { id, .. } => (id, &["asked"]),
        OfficerMove::End { id } => (id, &["asked", "registered"]),
    };
    let state = sqlx::query_scalar("SELECT state FROM agreement_officer WHERE id = $1");
    from_state(tx, state.bind(id), from).await
}

pub(super) async fn move_officer(tx: &mut Tx, step: &OfficerMove, at: Timestamp) -> Result<(), StoreError> {
    match step {
        OfficerMove::Ask(row) => ask_for(tx, row).await,
        OfficerMove::Register { id, by } => {
            let update =
                "UPDATE agreement_officer SET state = 'registered', registered_by = $1, registered_us = $2
                WHERE id = $3";
            execute(tx, sqlx::query(update).bind(by).bind(at.as_microsecond()).bind(id)).await
        }
        OfficerMove::End { id } => {
            let update = "UPDATE agreement_officer SET state = 'ended', ended_us = $1 WHERE id = $2";
            execute(tx, sqlx::query(update).bind(at.as_microsecond()).bind(id)).await
        }
    }
}

async fn ask_for(tx: &mut Tx, row: &OfficerRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO agreement_officer (id, organisation, person, name, role, key_id, jwk, address, state, asked_by, asked_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'asked', $9, $10)";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.organisation).bind(&row.person);
    let insert = insert.bind(&row.name).bind(&row.role).bind(&row.key_id).bind(&row.jwk);
    let insert = insert.bind(&row.address);
    execute(tx, insert.bind(&row.asked_by).bind(row.asked_us)).await
}
