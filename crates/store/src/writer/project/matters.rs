//! The tables of what is beside an agreement's course.

use super::{Tx, execute};
use crate::{
    error::{CommitError, StoreError},
    matters::MatterMove,
};

/// Whether it is where a step was decided at.
pub(super) async fn may_move(tx: &mut Tx, step: &MatterMove) -> Result<Result<(), CommitError>, StoreError> {
    let revision: Option<i64> = sqlx::query_scalar("SELECT revision FROM agreement_matter WHERE id = $1")
        .bind(&step.row.id)
        .fetch_optional(&mut **tx)
        .await?;
    if revision.unwrap_or(0) + 1 != step.row.revision {
        return Ok(Err(CommitError::Changed));
    }
    if step.row.about == "negotiation" && revision.is_none() && negotiates(tx, &step.row.agreement).await? {
        return Ok(Err(CommitError::Changed));
    }
    super::agreements::is_new(tx, step.request.as_ref()).await
}

/// Whether an agreement is negotiated with a peer's connector already: one at a time.
async fn negotiates(tx: &mut Tx, agreement: &str) -> Result<bool, StoreError> {
    let open: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM agreement_matter WHERE agreement = $1 AND about = 'negotiation'
            AND state IN ('REQUESTED', 'OFFERED', 'ACCEPTED', 'AGREED', 'VERIFIED') LIMIT 1",
    )
    .bind(agreement)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(open.is_some())
}

/// Whether nothing that signing has to wait for came up since it was decided to ask for signatures.
pub(super) async fn may_open_signing(
    tx: &mut Tx,
    agreement: &str,
) -> Result<Result<(), CommitError>, StoreError> {
    let blocked: Option<i64> = sqlx::query_scalar(
        "SELECT blocks FROM agreement_matter WHERE agreement = $1 AND about = 'comment' AND blocks = 1 LIMIT 1",
    )
    .bind(agreement)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(if blocked.is_some() { Err(CommitError::Changed) } else { Ok(()) })
}

pub(super) async fn move_matter(tx: &mut Tx, moved: &MatterMove) -> Result<(), StoreError> {
    let row = &moved.row;
    let upsert = "INSERT INTO agreement_matter (id, agreement, about, revision, version, state, blocks, course, published,
            next_us, opened_us, moved_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO UPDATE SET
            revision = excluded.revision, state = excluded.state, blocks = excluded.blocks, course = excluded.course,
            published = excluded.published, next_us = excluded.next_us, moved_us = excluded.moved_us";
    let upsert = sqlx::query(upsert).bind(&row.id).bind(&row.agreement).bind(&row.about).bind(row.revision);
    let upsert = upsert.bind(row.version).bind(&row.state).bind(row.blocks).bind(&row.course);
    let upsert = upsert.bind(&row.published).bind(row.next_us).bind(row.opened_us);
    execute(tx, upsert.bind(row.moved_us)).await?;
    let step = &moved.step;
    let insert = "INSERT INTO agreement_matter_step (matter, revision, action, organisation, person, reason, written, at_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let insert = sqlx::query(insert).bind(&step.matter).bind(step.revision).bind(&step.action);
    let insert = insert.bind(&step.organisation).bind(&step.person).bind(&step.reason);
    execute(tx, insert.bind(&step.written).bind(step.at_us)).await?;
    tell(tx, moved).await?;
    match &moved.request {
        Some(request) => super::agreements::remember(tx, request, step.at_us).await,
        None => Ok(()),
    }
}

/// Messages to whoever has to do with it.
async fn tell(tx: &mut Tx, moved: &MatterMove) -> Result<(), StoreError> {
    let row = &moved.row;
    let mut told = Vec::new();
    if moved.tells_members {
        let members = "SELECT organisation FROM agreement_member WHERE agreement = $1 ORDER BY organisation";
        let members: Vec<String> =
            sqlx::query_scalar(members).bind(&row.agreement).fetch_all(&mut **tx).await?;
        told.extend(members.into_iter().map(|member| (member, "webhook")));
    }
    told.extend(moved.tells_peer.iter().map(|peer| (peer.to_string(), "dataspace")));
    super::alerting::tell_of_matter(tx, (&row.id, row.revision), &told, row.moved_us).await
}
