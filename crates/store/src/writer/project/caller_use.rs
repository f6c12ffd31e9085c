//! The counts of what callers ask.

use super::{Tx, alerting, execute};
use crate::{
    caller_use::{AnswerUse, CallerLimits, CallerUse},
    error::{CommitError, StoreError},
};

/// What a question adds to the counts.
pub(in crate::writer) struct Admitted {
    /// The person is new to the practitioner's day.
    pub(in crate::writer) is_new: bool,
    /// How many identifiers in a row led up to this one.
    pub(in crate::writer) run: i64,
}

/// What of the counts a question is held against.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::writer) struct Counts {
    /// Different people whom the practitioner has asked about today.
    pub(in crate::writer) own: i64,
    /// Whom all of the system's have.
    pub(in crate::writer) systems: i64,
    /// The person's run, where the practitioner has asked about them today; 0 otherwise.
    pub(in crate::writer) seen: i64,
    /// Questions that were answered this hour,
    pub(in crate::writer) answered: i64,
    /// those of them without a record,
    pub(in crate::writer) no_record: i64,
    /// and runs of identifiers that were too long.
    pub(in crate::writer) scans: i64,
}

impl Counts {
    /// Whether the caller may ask one more question. `None`: so far; it depends on the identifiers next to it how much it
    /// counts.
    pub(in crate::writer) fn admit(&self, limits: &CallerLimits) -> Result<Option<Admitted>, CommitError> {
        let is_guessing = self.no_record >= i64::from(limits.no_record_at_least)
            && self.no_record.saturating_mul(100)
                >= self.answered.saturating_mul(i64::from(limits.no_record_percent));
        if self.scans > 0 || is_guessing {
            return Err(CommitError::Throttled);
        }
        if self.seen > 0 {
            return Ok(Some(Admitted { is_new: false, run: self.seen }));
        }
        let is_full = |max: Option<u32>, count| max.is_some_and(|max| count >= i64::from(max));
        if is_full(limits.subjects_per_practitioner, self.own)
            || is_full(limits.subjects_per_system, self.systems)
        {
            return Err(CommitError::BudgetReached);
        }
        Ok(None)
    }
}

/// Whether the caller may ask one more question.
pub(super) async fn admit(
    tx: &mut Tx,
    using: &CallerUse,
) -> Result<Result<Admitted, CommitError>, StoreError> {
    let counts = "SELECT coalesce((SELECT subjects FROM caller_use WHERE caller = $1 AND day = $3), 0),
            coalesce((SELECT subjects FROM caller_use WHERE caller = $2 AND day = $3), 0),
            coalesce((SELECT run FROM subject_use WHERE caller = $1 AND day = $3 AND person_hash = $5), 0),
            coalesce((SELECT answered FROM answer_use WHERE caller = $1 AND hour = $4), 0),
            coalesce((SELECT no_record FROM answer_use WHERE caller = $1 AND hour = $4), 0),
            coalesce((SELECT scans FROM answer_use WHERE caller = $1 AND hour = $4), 0)";
    let (own, systems, seen, answered, no_record, scans) = sqlx::query_as(counts)
        .bind(&using.practitioner)
        .bind(&using.system)
        .bind(&using.day)
        .bind(&using.hour)
        .bind(&using.person)
        .fetch_one(&mut **tx)
        .await?;
    let counts = Counts { own, systems, seen, answered, no_record, scans };
    match counts.admit(&using.limits) {
        Ok(Some(admitted)) => return Ok(Ok(admitted)),
        Ok(None) => {}
        Err(refused) => return Ok(Err(refused)),
    }
    let mut longest = 0;
    for neighbour in &using.neighbours {
        let run: Option<i64> = sqlx::query_scalar(
            "SELECT run FROM subject_use WHERE caller = $1 AND day = $2 AND person_hash = $3",
        )
        .bind(&using.practitioner)
        .bind(&using.day)
        .bind(neighbour)
        .fetch_optional(&mut **tx)
        .await?;
        longest = longest.max(run.unwrap_or(0));
    }
    Ok(Ok(Admitted { is_new: true, run: longest + 1 }))
}

/// Counts the question, and raises what a run of identifiers raises. Called once everything else has been admitted.
pub(super) async fn count(tx: &mut Tx, using: &CallerUse, admitted: &Admitted) -> Result<(), StoreError> {
    if !admitted.is_new {
        return Ok(());
    }
    let insert = "INSERT INTO subject_use (caller, day, person_hash, run) VALUES ($1, $2, $3, $4)";
    let insert = sqlx::query(insert).bind(&using.practitioner).bind(&using.day).bind(&using.person);
    execute(tx, insert.bind(admitted.run)).await?;
    let add = "INSERT INTO caller_use (caller, day, subjects) VALUES ($1, $3, 1), ($2, $3, 1)
        ON CONFLICT (caller, day) DO UPDATE SET subjects = caller_use.subjects + 1";
    let add = sqlx::query(add).bind(&using.practitioner).bind(&using.system).bind(&using.day);
    execute(tx, add).await?;
    if admitted.run < i64::from(using.limits.run_at_least) {
        return Ok(());
    }
    let scan = "INSERT INTO answer_use (caller, hour, answered, no_record, scans) VALUES ($1, $2, 0, 0, 1)
        ON CONFLICT (caller, hour) DO UPDATE SET scans = answer_use.scans + 1";
    execute(tx, sqlx::query(scan).bind(&using.practitioner).bind(&using.hour)).await?;
    for row in &using.scan {
        alerting::raise(tx, row, None).await?;
    }
    Ok(())
}

/// Counts an answer.
pub(super) async fn answered(tx: &mut Tx, using: &AnswerUse) -> Result<(), StoreError> {
    let add = "INSERT INTO answer_use (caller, hour, answered, no_record, scans) VALUES ($1, $2, 1, $3, 0)
        ON CONFLICT (caller, hour) DO UPDATE SET answered = answer_use.answered + 1,
            no_record = answer_use.no_record + excluded.no_record";
    let add = sqlx::query(add).bind(&using.practitioner).bind(&using.hour);
    execute(tx, add.bind(i64::from(using.is_no_record))).await
}

/// Forgets what no count needs any more.
pub(super) async fn forget_before(tx: &mut Tx, day: &str) -> Result<(), StoreError> {
    execute(tx, sqlx::query("DELETE FROM subject_use WHERE day < $1").bind(day)).await?;
    execute(tx, sqlx::query("DELETE FROM caller_use WHERE day < $1").bind(day)).await?;
    execute(tx, sqlx::query("DELETE FROM answer_use WHERE hour < $1").bind(day)).await
}
