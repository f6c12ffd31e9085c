//! Projections: what must hold before a submission is taken, and the tables that change with it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sharing::{Pseudonym, subject::ObjectionStatus};

use crate::{
    audit::to_i64,
    change::{Ceiling, Change, Recheck, ReplayGuard, Submission},
    database::Arguments,
    error::{CommitError, StoreError},
    lookup::Resolved,
    opt_out::OptOutChecks,
    row::{ConsentRow, ObjectionRow, to_list, to_shown, to_word},
    sealing::WrappingKeys,
};

mod agreement_use;
mod agreements;
pub(super) mod alerting;
mod blocks;
pub(super) mod caller_use;
mod exported;
mod loading;
mod matters;
mod opt_outs;
mod privacy;
mod queue;
mod rights;

type Tx = crate::database::Transaction;

/// Checks everything that could refuse this submission, so that nothing of it is written if anything does.
pub(super) async fn admit(
    tx: &mut Tx,
    submission: &Submission,
) -> Result<Result<Option<caller_use::Admitted>, CommitError>, StoreError> {
    if let Some(recheck) = &submission.recheck {
        if !still_holds(tx, recheck).await? {
            return Ok(Err(CommitError::Changed));
        }
        if let Some(ceiling) = &recheck.ceiling
            && is_reached(tx, ceiling).await?
        {
            return Ok(Err(CommitError::CeilingReached));
        }
    }
    for change in &submission.changes {
        if let Err(refused) = applicable(tx, change).await? {
            return Ok(Err(refused));
        }
    }
    let counted = match &submission.using {
        None => None,
        Some(using) => match caller_use::admit(tx, using).await? {
            Ok(counted) => Some(counted),
            Err(refused) => return Ok(Err(refused)),
        },
    };
    // Last, because it writes.
    match &submission.replay {
        Some(guard) if !use_up(tx, guard).await? => Ok(Err(CommitError::Replayed)),
        _ => Ok(Ok(counted)),
    }
}

/// Counts what the caller asks, as it was admitted.
pub(super) async fn count_use(
    tx: &mut Tx,
    submission: &Submission,
    counted: Option<&caller_use::Admitted>,
) -> Result<(), StoreError> {
    match (&submission.using, counted) {
        (Some(using), Some(counted)) => caller_use::count(tx, using, counted).await,
        _ => Ok(()),
    }
}

async fn still_holds(tx: &mut Tx, recheck: &Recheck) -> Result<bool, StoreError> {
    for (name, revision) in &recheck.names {
        let current: Option<i64> = sqlx::query_scalar("SELECT revision FROM subject WHERE pseudonym = $1")
            .bind(name.as_str())
            .fetch_optional(&mut **tx)
            .await?;
        if current != Some(*revision) {
            return Ok(false);
        }
    }
    if let Some(decided_under) = recheck.policies {
        let current: Option<i64> = sqlx::query_scalar("SELECT revision FROM policy_set WHERE id = 1")
            .fetch_optional(&mut **tx)
            .await?;
        if current != Some(decided_under) {
            return Ok(false);
        }
    }
    if let Some(OptOutChecks { purpose, batches }) = &recheck.opt_outs {
        let current: Vec<String> =
            sqlx::query_scalar("SELECT id FROM opt_out_batch WHERE purpose = $1 AND imported_us > 0")
                .bind(purpose.as_str())
                .fetch_all(&mut **tx)
                .await?;
        if !batches.iter().eq(&BTreeSet::from_iter(current)) {
            return Ok(false);
        }
    }
    let Some((agreement, digest)) = &recheck.agreement else { return Ok(true) };
    let current: Option<(String, String)> =
        sqlx::query_as("SELECT digest, status FROM policy_agreement WHERE agreement = $1")
            .bind(agreement.as_str())
            .fetch_optional(&mut **tx)
            .await?;
    Ok(current.is_some_and(|(current, status)| current == *digest && status == "active"))
}

async fn name_behind(tx: &mut Tx, resolved: &Resolved) -> Result<Option<String>, StoreError> {
    let known = sqlx::query_scalar("SELECT pseudonym FROM subject_identifier WHERE lookup_hash = $1");
    Ok(known.bind(&resolved.lookup_hash).fetch_optional(&mut **tx).await?)
}

/// Whether an identifier still stands for whom it was taken for: it is nobody else's, and the person was not forgotten meanwhile.
pub(super) fn still_means(resolved: &Resolved, known: Option<&str>) -> Result<(), CommitError> {
    let still = match known {
        Some(known) => known == resolved.pseudonym.as_str(),
        None => !resolved.known,
    };
    if still { Ok(()) } else { Err(CommitError::Changed) }
}

async fn is_reached(tx: &mut Tx, ceiling: &Ceiling) -> Result<bool, StoreError> {
    let releases: Option<i64> =
        sqlx::query_scalar("SELECT releases FROM flow_use WHERE flow = $1 AND day = $2")
            .bind(&ceiling.flow)
            .bind(&ceiling.day)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(releases.unwrap_or(0) >= i64::from(ceiling.releases_max))
}

/// Counts a release. Called once everything else has been admitted.
pub(super) async fn count_release(tx: &mut Tx, ceiling: &Ceiling) -> Result<(), StoreError> {
    let count = "INSERT INTO flow_use (flow, day, releases) VALUES ($1, $2, 1)
        ON CONFLICT (flow, day) DO UPDATE SET releases = flow_use.releases + 1";
    execute(tx, sqlx::query(count).bind(&ceiling.flow).bind(&ceiling.day)).await
}

async fn applicable(tx: &mut Tx, change: &Change) -> Result<Result<(), CommitError>, StoreError> {
    let wanted = match change {
        Change::KnowSubject(resolved) => {
            return Ok(still_means(resolved, name_behind(tx, resolved).await?.as_deref()));
        }
        Change::CloseIntent(decision_id) => {
            let open: Option<i64> = sqlx::query_scalar("SELECT 1 FROM open_intent WHERE decision_id = $1")
                .bind(decision_id)
                .fetch_optional(&mut **tx)
                .await?;
            return Ok(open.map(drop).ok_or(CommitError::NotOpen));
        }
        Change::HoldOptOuts(batch) => return opt_outs::may_hold(tx, &batch.check).await,
        Change::CountOptOuts(check, people) => return opt_outs::may_count(tx, check, *people).await,
        // A consent that was taken back stays so: a new one is a new record.
        Change::ChangeConsent { id, .. } => sqlx::query_scalar::<_, i64>(
            "SELECT 1 FROM consent WHERE id = $1 AND status IN ('requested', 'given', 'renewed', 'unknown')",
        )
        .bind(id.as_str()),
        Change::ChangeObjection { id, status: ObjectionStatus::Withdrawn, .. } => {
            sqlx::query_scalar("SELECT 1 FROM objection WHERE id = $1 AND status IN ('received', 'upheld')")
                .bind(id.as_str())
        }
        Change::ChangeObjection { id, .. } => {
            sqlx::query_scalar("SELECT 1 FROM objection WHERE id = $1 AND status = 'received'")
                .bind(id.as_str())
        }
        Change::EndFact(id) => {
            sqlx::query_scalar("SELECT 1 FROM subject_fact WHERE id = $1 AND ended_us IS NULL").bind(id)
        }
        Change::EndMark(id) => sqlx::query_scalar("SELECT 1 FROM alert_mark WHERE id = $1").bind(id),
        Change::MoveReferral(step) => {
            let state = sqlx::query_scalar("SELECT state FROM referral WHERE decision_id = $1");
            return from_state(tx, state.bind(&step.decision_id), step.from).await;
        }
        Change::HandleAlert(step) => {
            let state = "SELECT state FROM alert WHERE id = $1 AND coalesce(handled_us, 0) = $2";
            let state = sqlx::query_scalar(state).bind(&step.id).bind(step.handled_us.unwrap_or(0));
            return from_state(tx, state, step.from).await;
        }
        Change::ActivatePolicies { revision, .. } => return may_activate(tx, *revision).await,
        Change::OpenIntent(_)
        | Change::CountAnswer(_)
        | Change::Beat
        | Change::ForgetReplica(_)
        | Change::Link(_)
        | Change::Restrict(_)
        | Change::Die(_)
        | Change::RecordConsent(_)
        | Change::RecordObjection(_)
        | Change::RecordFact(_)
        | Change::OpenReferral(_)
        | Change::RaiseAlert(_)
        | Change::PlaceHold(_)
        | Change::AskErasure(_)
        | Change::DecideVisibility(_)
        | Change::ReplaceLookupKey(_)
        | Change::RewrapKeys
        | Change::MoveLoad(_)
        | Change::RaiseUnlessQuiet(..)
        | Change::EvaluatedUntil(_)
        | Change::SetMarks { .. }
        | Change::AddMark(_)
        | Change::ForgetEndedMarks
        | Change::OpenExport(_)
        | Change::AddBlock(_)
        | Change::DetachLeaves { .. }
        | Change::BlockDetached(_)
        | Change::MoveDelivery(_)
        | Change::RetryDeliveries(..)
        | Change::ForgetOptOuts(_) => return Ok(Ok(())),
        Change::MoveExport(step) => {
            let state = sqlx::query_scalar("SELECT state FROM export_request WHERE id = $1");
            return from_state(tx, state.bind(&step.id), &[step.from]).await;
        }
        Change::MoveAgreement(step) => return agreements::may_move(tx, step).await,
        Change::CountUse { from, .. } => return agreement_use::may_count(tx, *from).await,
        Change::MoveMatter(step) => return matters::may_move(tx, step).await,
        Change::OpenRightsRequest(row) => return rights::may_open(tx, row).await,
        Change::MoveRightsRequest(step) => return rights::may_move(tx, step).await,
        Change::MoveOfficer(step) => return agreements::may_move_officer(tx, step).await,
        Change::Forget(cutoffs, what) => {
            let may = privacy::may_forget(tx, cutoffs, what).await?;
            return Ok(if may { Ok(()) } else { Err(CommitError::Changed) });
        }
        Change::EndErasure { id, .. } => {
            sqlx::query_scalar("SELECT 1 FROM erasure WHERE id = $1 AND done_us IS NULL").bind(id)
        }
        Change::LiftHold { id, .. } => {
            sqlx::query_scalar("SELECT 1 FROM legal_hold WHERE id = $1 AND lifted_us IS NULL").bind(id)
        }
    };
    Ok(wanted.fetch_optional(&mut **tx).await?.map(drop).ok_or(CommitError::NotFound))
}

/// Whether policies of this revision are the next.
async fn may_activate(tx: &mut Tx, revision: i64) -> Result<Result<(), CommitError>, StoreError> {
    let current: Option<i64> =
        sqlx::query_scalar("SELECT revision FROM policy_set WHERE id = 1").fetch_optional(&mut **tx).await?;
    let next = current.unwrap_or(0) + 1;
    Ok(if revision == next { Ok(()) } else { Err(CommitError::Changed) })
}

/// Whether something is in a state from which it may move.
async fn from_state(
    tx: &mut Tx,
    state: sqlx::query::QueryScalar<'_, sqlx::Any, String, Arguments>,
    from: &[&str],
) -> Result<Result<(), CommitError>, StoreError> {
    let state = state.fetch_optional(&mut **tx).await?;
    let allowed = state.is_some_and(|state| from.contains(&state.as_str()));
    Ok(if allowed { Ok(()) } else { Err(CommitError::NotFound) })
}

/// Remembers a context until it expires. `false` when it was used before.
async fn use_up(tx: &mut Tx, guard: &ReplayGuard) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO used_context (issuer, jti, expires_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(&guard.issuer)
    .bind(&guard.jti)
    .bind(guard.expires.as_microsecond())
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets used contexts that have expired.
pub(super) async fn forget_contexts(tx: &mut Tx, at_us: i64) -> Result<(), StoreError> {
    let forget = sqlx::query("DELETE FROM used_context WHERE expires_us < $1");
    execute(tx, forget.bind(at_us - FORGET_AFTER_US)).await
}

/// A minute longer than any leeway in checking expiry.
const FORGET_AFTER_US: i64 = 60_000_000;

#[expect(clippy::too_many_lines, reason = "a line a change")]
pub(super) async fn apply(
    tx: &mut Tx,
    (keys, replica): (&WrappingKeys, &str),
    change: &Change,
    at: Timestamp,
) -> Result<(), StoreError> {
    match change {
        Change::KnowSubject(resolved) => know(tx, &resolved.pseudonym, &resolved.lookup_hash, at).await,
        Change::CountAnswer(using) => caller_use::answered(tx, using).await,
        Change::OpenIntent(decision_id) => {
            let insert =
                sqlx::query("INSERT INTO open_intent (decision_id, at_us, replica) VALUES ($1, $2, $3)");
            execute(tx, insert.bind(decision_id).bind(at.as_microsecond()).bind(replica)).await
        }
        Change::CloseIntent(decision_id) => {
            execute(tx, sqlx::query("DELETE FROM open_intent WHERE decision_id = $1").bind(decision_id)).await
        }
        Change::Beat => Ok(()), // the head was written to when it was locked
        Change::ForgetReplica(id) => {
            let forget = "DELETE FROM replica WHERE id = $1
                AND NOT EXISTS (SELECT 1 FROM open_intent WHERE open_intent.replica = replica.id)";
            execute(tx, sqlx::query(forget).bind(id)).await
        }
        Change::Link(names) => link(tx, names).await,
        Change::Restrict(name) => {
            let update = "UPDATE subject SET restricted = 1, restricted_us = $2, revision = revision + 1 WHERE pseudonym = $1 AND restricted = 0";
            execute(tx, sqlx::query(update).bind(name.as_str()).bind(at.as_microsecond())).await
        }
        Change::Die(name) => {
            let update = "UPDATE subject SET deceased = 1, deceased_us = $2, revision = revision + 1 WHERE pseudonym = $1 AND deceased = 0";
            execute(tx, sqlx::query(update).bind(name.as_str()).bind(at.as_microsecond())).await
        }
        Change::RecordConsent(row) => record_consent(tx, keys, row).await,
        Change::ChangeConsent { id, status, ended_at, expires_at, reason } => {
            let status = (to_word(status), reason.as_deref());
            change_consent(tx, keys, id.as_str(), status, (*ended_at, *expires_at), at).await
        }
        Change::RecordObjection(row) => record_objection(tx, keys, row).await,
        Change::ChangeObjection { id, status, reason } => {
            let keep = "INSERT INTO objection_change (objection, recorded_us, status_before, reason_before)
                SELECT id, $2, status, status_reason FROM objection WHERE id = $1 ON CONFLICT DO NOTHING";
            execute(tx, sqlx::query(keep).bind(id.as_str()).bind(at.as_microsecond())).await?;
            let subject = sqlx::query_scalar("SELECT subject FROM objection WHERE id = $1").bind(id.as_str());
            let reason = sealed(tx, keys, subject, reason.as_deref()).await?;
            let update = sqlx::query("UPDATE objection SET status = $1, status_reason = $2 WHERE id = $3");
            execute(tx, update.bind(to_word(status)).bind(reason).bind(id.as_str())).await?;
            let revise = "UPDATE subject SET revision = revision + 1 WHERE pseudonym = (SELECT subject FROM objection WHERE id = $1)";
            execute(tx, sqlx::query(revise).bind(id.as_str())).await
        }
        Change::OpenRightsRequest(row) => rights::open(tx, keys, row).await,
        Change::MoveRightsRequest(step) => rights::step(tx, keys, step, at).await,
        Change::RecordFact(row) => {
            let insert =
                "INSERT INTO subject_fact (id, subject, kind, body, details, recorded_by, recorded_us, ends_us)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let insert = sqlx::query(insert).bind(row.fact.id()).bind(row.subject.as_str());
            let details = keys.seal(tx, row.subject.as_str(), &row.details).await?;
            let insert = insert.bind(row.fact.kind()).bind(row.fact.body()).bind(details);
            let insert = insert.bind(row.recorded_by.as_str()).bind(row.recorded_at.as_microsecond());
            execute(tx, insert.bind(row.fact.ends_at().map(Timestamp::as_microsecond))).await?;
            revise(tx, &row.subject).await
        }
        Change::EndFact(id) => {
            let end = sqlx::query("UPDATE subject_fact SET ended_us = $1 WHERE id = $2");
            execute(tx, end.bind(at.as_microsecond()).bind(id)).await?;
            let revise = "UPDATE subject SET revision = revision + 1 WHERE pseudonym = (SELECT subject FROM subject_fact WHERE id = $1)";
            execute(tx, sqlx::query(revise).bind(id)).await
        }
        Change::OpenReferral(row) => queue::open_referral(tx, keys, row).await,
        Change::MoveReferral(step) => queue::move_referral(tx, keys, step, at).await,
        Change::RaiseAlert(row) => alerting::raise(tx, row, None).await,
        Change::RaiseUnlessQuiet(row, from) => alerting::raise(tx, row, Some(*from)).await,
        Change::EvaluatedUntil(next) => alerting::evaluated(tx, to_i64(*next)).await,
        Change::SetMarks { organisation, practitioner, marks } => {
            alerting::set_marks(tx, (organisation, practitioner), marks).await
        }
        Change::AddMark(mark) => alerting::add_mark(tx, mark).await,
        Change::EndMark(id) => alerting::end_mark(tx, id).await,
        Change::AddBlock(row) => blocks::add(tx, row).await,
        Change::DetachLeaves { from, until } => blocks::detach(tx, to_i64(*from), to_i64(*until)).await,
        Change::BlockDetached(from) => blocks::detached(tx, to_i64(*from), at.as_microsecond()).await,
        Change::OpenExport(row) => exported::open_export(tx, row).await,
        Change::MoveExport(step) => exported::move_export(tx, step).await,
        Change::MoveAgreement(step) => agreements::move_agreement(tx, step, at).await,
        Change::CountUse { until, counts, .. } => agreement_use::count(tx, *until, counts).await,
        Change::MoveMatter(step) => matters::move_matter(tx, step).await,
        Change::MoveOfficer(step) => agreements::move_officer(tx, step, at).await,
        Change::ForgetEndedMarks => {
            // Two days: nobody's day is still going on anywhere.
            let before = at.checked_sub(SignedDuration::from_hours(48)).unwrap_or(at);
            caller_use::forget_before(tx, &before.strftime("%Y-%m-%d").to_string()).await?;
            alerting::forget_ended_marks(tx, at).await
        }
        Change::MoveDelivery(row) => alerting::move_delivery(tx, row).await,
        Change::RetryDeliveries(of, about) => alerting::retry_deliveries(tx, (of.as_str(), *about), at).await,
        Change::HandleAlert(step) => queue::handle_alert(tx, step, at).await,
        Change::HoldOptOuts(batch) => opt_outs::hold(tx, batch).await,
        Change::CountOptOuts(check, _) => opt_outs::count(tx, check, at).await,
        Change::ForgetOptOuts(id) => opt_outs::forget(tx, id).await,
        Change::Forget(_, what) => privacy::forget(tx, what).await,
        Change::PlaceHold(row) => privacy::place_hold(tx, keys, row).await,
        Change::LiftHold { id, by } => privacy::lift_hold(tx, id, by, at).await,
        Change::AskErasure(row) => privacy::ask_erasure(tx, row).await,
        Change::DecideVisibility(row) => privacy::decide_visibility(tx, row).await,
        Change::EndErasure { id, by } => privacy::end_erasure(tx, id, by, at).await,
        Change::ReplaceLookupKey(new) => privacy::replace_lookup_key(tx, new).await,
        Change::MoveLoad(row) => loading::move_load(tx, row).await,
        Change::RewrapKeys => keys.rewrap(tx).await.map(drop),
        Change::ActivatePolicies { revision, digest, agreements, files } => {
            activate(tx, (*revision, digest), agreements, files, at).await
        }
    }
}

async fn change_consent(
    tx: &mut Tx,
    keys: &WrappingKeys,
    id: &str,
    (status, reason): (String, Option<&str>),
    (ended_at, expires_at): (Option<Timestamp>, Option<Timestamp>),
    at: Timestamp,
) -> Result<(), StoreError> {
    let at_us = at.as_microsecond();
    let keep = "INSERT INTO consent_change (consent, recorded_us, status_before, ended_before, expires_before, reason_before)
        SELECT id, $2, status, ended_us, expires_us, status_reason FROM consent WHERE id = $1 ON CONFLICT DO NOTHING";
    execute(tx, sqlx::query(keep).bind(id).bind(at_us)).await?;
    let update = "UPDATE consent SET status = $1, withdrawn_us = $2, ended_us = $3,
        expires_us = coalesce($4, expires_us), status_reason = $5 WHERE id = $6";
    let subject = sqlx::query_scalar("SELECT subject FROM consent WHERE id = $1").bind(id);
    let reason = sealed(tx, keys, subject, reason).await?;
    let update = sqlx::query(update).bind(status).bind(at_us);
    let update = update.bind(ended_at.map(Timestamp::as_microsecond));
    execute(tx, update.bind(expires_at.map(Timestamp::as_microsecond)).bind(reason).bind(id)).await?;
    let revise = "UPDATE subject SET revision = revision + 1 WHERE pseudonym = (SELECT subject FROM consent WHERE id = $1)";
    execute(tx, sqlx::query(revise).bind(id)).await
}

async fn activate(
    tx: &mut Tx,
    (revision, digest): (i64, &str),
    agreements: &[crate::change::AgreementRow],
    files: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let keep = "INSERT INTO policy_archive (revision, digest, activated_us, files) VALUES ($1, $2, $3, $4)";
    let keep = sqlx::query(keep).bind(revision).bind(digest).bind(at.as_microsecond());
    execute(tx, keep.bind(files)).await?;
    let set = "INSERT INTO policy_set (id, revision, digest) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, digest = excluded.digest";
    execute(tx, sqlx::query(set).bind(revision).bind(digest)).await?;
    execute(tx, sqlx::query("DELETE FROM policy_agreement")).await?;
    for row in agreements {
        let insert =
            "INSERT INTO policy_agreement (agreement, version, digest, status) VALUES ($1, $2, $3, $4)";
        let insert = sqlx::query(insert).bind(row.agreement.as_str()).bind(i64::from(row.version));
        execute(tx, insert.bind(&row.digest).bind(&row.status)).await?;
    }
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, Arguments>;

async fn execute(tx: &mut Tx, query: Query<'_>) -> Result<(), StoreError> {
    query.execute(&mut **tx).await?;
    Ok(())
}

/// Seals what was said about the person of a row, if anything was.
async fn sealed(
    tx: &mut Tx,
    keys: &WrappingKeys,
    subject: sqlx::query::QueryScalar<'_, sqlx::Any, String, Arguments>,
    said: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let Some(said) = said else { return Ok(None) };
    let subject = subject.fetch_one(&mut **tx).await?;
    keys.seal(tx, &subject, said).await.map(Some)
}

/// How exactly it is kept when somebody last had to do with a person, in microseconds: a day. More often nothing is
/// written.
const SEEN_TO_US: i64 = 86_400_000_000;

async fn know(
    tx: &mut Tx,
    pseudonym: &Pseudonym,
    lookup_hash: &[u8],
    at: Timestamp,
) -> Result<(), StoreError> {
    let at_us = at.as_microsecond();
    let subject = "INSERT INTO subject (pseudonym, person_group, revision, restricted, deceased, seen_us)
        VALUES ($1, $1, 0, 0, 0, $2) ON CONFLICT (pseudonym) DO UPDATE SET seen_us = excluded.seen_us
        WHERE coalesce(subject.seen_us, 0) < $3";
    let subject = sqlx::query(subject).bind(pseudonym.as_str()).bind(at_us).bind(at_us - SEEN_TO_US);
    execute(tx, subject).await?;
    let identifier =
        "INSERT INTO subject_identifier (lookup_hash, pseudonym) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    execute(tx, sqlx::query(identifier).bind(lookup_hash).bind(pseudonym.as_str())).await
}

/// Merges the groups of these names and revises every name in them.
async fn link(tx: &mut Tx, names: &[Pseudonym]) -> Result<(), StoreError> {
    let merge = "UPDATE subject SET revision = revision + 1,
            person_group = (SELECT min(person_group) FROM subject WHERE pseudonym IN (SELECT value FROM json_each($1)))
        WHERE person_group IN (SELECT person_group FROM subject WHERE pseudonym IN (SELECT value FROM json_each($1)))";
    execute(tx, sqlx::query(merge).bind(to_list(names))).await
}

async fn record_consent(tx: &mut Tx, keys: &WrappingKeys, row: &ConsentRow) -> Result<(), StoreError> {
    let details = keys.seal(tx, row.subject.as_str(), &row.details).await?;
    let insert =
        "INSERT INTO consent (id, subject, consent_type, status, controller, recipients, purposes, given_us,
            expires_us, recorded_by, recorded_us, withdrawn_us, details, given_by, ended_us, shown)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let record = &row.record;
    let query = sqlx::query(insert)
        .bind(record.id.as_str())
        .bind(row.subject.as_str())
        .bind(to_word(&record.consent_type))
        .bind(to_word(&record.status))
        .bind(record.controller.as_str())
        .bind(to_list(&record.recipients))
        .bind(to_list(&record.purposes))
        .bind(record.given_at.as_microsecond())
        .bind(record.expires_at.map(Timestamp::as_microsecond))
        .bind(row.recorded_by.as_str())
        .bind(row.record.recorded_at.as_microsecond())
        .bind(row.withdrawn_at.map(Timestamp::as_microsecond))
        .bind(details)
        .bind(serde_json::to_string(&record.given_by).unwrap_or_default())
        .bind(record.ended_at.map(Timestamp::as_microsecond))
        .bind(to_shown(record));
    execute(tx, query).await?;
    revise(tx, &row.subject).await
}

async fn record_objection(tx: &mut Tx, keys: &WrappingKeys, row: &ObjectionRow) -> Result<(), StoreError> {
    let details = keys.seal(tx, row.subject.as_str(), &row.details).await?;
    let insert = "INSERT INTO objection (id, subject, purposes, recipients, status, recorded_by, recorded_us,
            answer_due_us, details, objection_kind, controller)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let query = sqlx::query(insert)
        .bind(row.record.id.as_str())
        .bind(row.subject.as_str())
        .bind(to_list(&row.record.purposes))
        .bind(to_list(&row.record.recipients))
        .bind(to_word(&row.record.status))
        .bind(row.recorded_by.as_str())
        .bind(row.recorded_at.as_microsecond())
        .bind(row.answer_due.as_microsecond())
        .bind(details)
        .bind(to_word(&row.record.kind))
        .bind(row.controller.as_str());
    execute(tx, query).await?;
    revise(tx, &row.subject).await
}

async fn revise(tx: &mut Tx, subject: &Pseudonym) -> Result<(), StoreError> {
    execute(
        tx,
        sqlx::query("UPDATE subject SET revision = revision + 1 WHERE pseudonym = $1").bind(subject.as_str()),
    )
    .await
}
