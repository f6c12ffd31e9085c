//! The counts of what callers ask.

use super::{Tx, alerting, execute};
use crate::{
    caller_use::{AnswerUse, CallerLimits, CallerUse, GuessLimits, SYSTEM_SCANS},
    error::{CommitError, StoreError},
};

/// What a question adds to the counts.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::writer) struct Admitted {
    /// The person is new to the practitioner's day.
    pub(in crate::writer) is_new: bool,
    /// How many identifiers around this one the practitioner has asked about today, and this one,
    pub(in crate::writer) run: i64,
    /// and how many all of the system's have, where that counts.
    pub(in crate::writer) system_run: i64,
}

impl Admitted {
    /// Who has come to too many.
    pub(in crate::writer) fn scans<'a>(&self, using: &'a CallerUse) -> impl Iterator<Item = &'a str> {
        let is_many = |most: Option<u32>, run| most.is_some_and(|most| run >= i64::from(most));
        let (limits, own, systems) = (using.limits, self.run, self.system_run);
        let own = is_many(limits.run_at_least, own).then_some(using.practitioner.as_str());
        let systems = is_many(limits.run_per_system_at_least, systems).then_some(using.system.as_str());
        own.into_iter().chain(systems)
    }
}

/// How a caller's questions of an hour went.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::writer) struct Answers {
    /// Questions that were answered,
    pub(in crate::writer) answered: i64,
    /// those of them without a record,
    pub(in crate::writer) no_record: i64,
    /// and how often identifiers were gone through.
    pub(in crate::writer) scans: i64,
}

impl Answers {
    fn is_guessing(&self, scans_max: i64, (at_least, percent): (u32, u32)) -> bool {
        let share = self.no_record.saturating_mul(100) >= self.answered.saturating_mul(i64::from(percent));
        self.scans >= scans_max || (self.no_record >= i64::from(at_least) && share)
    }
}

/// What of the counts a question is held against.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::writer) struct Counts {
    /// Different people whom the practitioner has asked about today.
    pub(in crate::writer) own: i64,
    /// Whom all of the system's have.
    pub(in crate::writer) systems: i64,
    /// The practitioner has asked about the person today.
    pub(in crate::writer) is_seen: bool,
    /// The practitioner's questions this hour,
    pub(in crate::writer) answers: Answers,
    /// and those of all of the system's.
    pub(in crate::writer) systems_answers: Answers,
}

impl Counts {
    /// Whether the caller may ask one more question. `None`: so far; it depends on the identifiers next to it how much it
    /// counts.
    pub(in crate::writer) fn admit(&self, limits: &CallerLimits) -> Result<Option<Admitted>, CommitError> {
        if let Some(GuessLimits {
            no_record_at_least,
            no_record_percent: percent,
            no_record_per_system_at_least,
        }) = limits.guessing
        {
            let own = self.answers.is_guessing(1, (no_record_at_least, percent));
            let systems = (no_record_per_system_at_least, percent);
            if own || self.systems_answers.is_guessing(SYSTEM_SCANS, systems) {
                return Err(CommitError::Throttled);
            }
        }
        if self.is_seen {
            return Ok(Some(Admitted::default()));
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
            coalesce((SELECT run FROM subject_use WHERE caller = $1 AND day = $3 AND person_hash = $4), 0)";
    let (own, systems, seen): (i64, i64, i64) = sqlx::query_as(counts)
        .bind(&using.practitioner)
        .bind(&using.system)
        .bind(&using.day)
        .bind(&using.person)
        .fetch_one(&mut **tx)
        .await?;
    let answers =
        "SELECT caller, answered, no_record, scans FROM answer_use WHERE caller IN ($1, $2) AND hour = $3";
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(answers)
        .bind(&using.practitioner)
        .bind(&using.system)
        .bind(&using.hour)
        .fetch_all(&mut **tx)
        .await?;
    let answers = |caller: &str| {
        let found = rows.iter().find(|(of, ..)| of == caller);
        found.map_or_else(Answers::default, |(_, answered, no_record, scans)| Answers {
            answered: *answered,
            no_record: *no_record,
            scans: *scans,
        })
    };
    let (answers, systems_answers) = (answers(&using.practitioner), answers(&using.system));
    let counts = Counts { own, systems, is_seen: seen > 0, answers, systems_answers };
    match counts.admit(&using.limits) {
        Ok(Some(admitted)) => return Ok(Ok(admitted)),
        Ok(None) => {}
        Err(refused) => return Ok(Err(refused)),
    }
    let (mut own, mut systems) = asked_about(tx, using, using.neighbours.nearest()).await?;
    if own + systems > 0 {
        let (all_own, all_systems) = asked_about(tx, using, using.neighbours.all()).await?;
        own = if own > 0 { all_own } else { 0 };
        systems = if systems > 0 { all_systems } else { 0 };
    }
    Ok(Ok(Admitted { is_new: true, run: own + 1, system_run: systems + 1 }))
}

/// About how many of these people the practitioner has asked today, and all of the system's.
async fn asked_about(tx: &mut Tx, using: &CallerUse, people: &[Vec<u8>]) -> Result<(i64, i64), StoreError> {
    if people.is_empty() {
        return Ok((0, 0));
    }
    let places: Vec<_> = (4..).take(people.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT caller, count(*) FROM subject_use WHERE caller IN ($1, $2) AND day = $3 AND person_hash IN ({})
         GROUP BY caller",
        places.join(", ")
    );
    let mut asked = sqlx::query_as(sqlx::AssertSqlSafe(sql));
    asked = asked.bind(&using.practitioner).bind(&using.system).bind(&using.day);
    for person in people {
        asked = asked.bind(person);
    }
    let rows: Vec<(String, i64)> = asked.fetch_all(&mut **tx).await?;
    let of = |caller: &str| rows.iter().find(|(of, _)| of == caller).map_or(0, |(_, count)| *count);
    Ok((of(&using.practitioner), of(&using.system)))
}

/// Counts the question, and raises what going through identifiers raises. Called once everything else has been admitted.
pub(super) async fn count(tx: &mut Tx, using: &CallerUse, admitted: &Admitted) -> Result<(), StoreError> {
    if !admitted.is_new {
        return Ok(());
    }
    let insert = "INSERT INTO subject_use (caller, day, person_hash, run) VALUES ($1, $2, $3, $4)
        ON CONFLICT (caller, day, person_hash) DO NOTHING";
    let systems = using.limits.run_per_system_at_least.map(|_| (&using.system, admitted.system_run));
    for (caller, run) in std::iter::once((&using.practitioner, admitted.run)).chain(systems) {
        let insert = sqlx::query(insert).bind(caller).bind(&using.day).bind(&using.person);
        execute(tx, insert.bind(run)).await?;
    }
    let add = "INSERT INTO caller_use (caller, day, subjects) VALUES ($1, $3, 1), ($2, $3, 1)
        ON CONFLICT (caller, day) DO UPDATE SET subjects = caller_use.subjects + 1";
    let add = sqlx::query(add).bind(&using.practitioner).bind(&using.system).bind(&using.day);
    execute(tx, add).await?;
    let mut is_scan = false;
    for caller in admitted.scans(using) {
        is_scan = true;
        let scan =
            "INSERT INTO answer_use (caller, hour, answered, no_record, scans) VALUES ($1, $2, 0, 0, 1)
            ON CONFLICT (caller, hour) DO UPDATE SET scans = answer_use.scans + 1";
        execute(tx, sqlx::query(scan).bind(caller).bind(&using.hour)).await?;
    }
    for row in using.scan.iter().filter(|_| is_scan) {
        alerting::raise(tx, row, None).await?;
    }
    Ok(())
}

/// Counts an answer.
pub(super) async fn answered(tx: &mut Tx, using: &AnswerUse) -> Result<(), StoreError> {
    let add = "INSERT INTO answer_use (caller, hour, answered, no_record, scans) VALUES ($1, $2, 1, $3, 0)
        ON CONFLICT (caller, hour) DO UPDATE SET answered = answer_use.answered + 1,
            no_record = answer_use.no_record + excluded.no_record";
    for caller in std::iter::once(&using.practitioner).chain(&using.system) {
        let add = sqlx::query(add).bind(caller).bind(&using.hour);
        execute(tx, add.bind(i64::from(using.is_no_record))).await?;
    }
    Ok(())
}

/// Forgets what no count needs any more.
pub(super) async fn forget_before(tx: &mut Tx, day: &str) -> Result<(), StoreError> {
    execute(tx, sqlx::query("DELETE FROM subject_use WHERE day < $1").bind(day)).await?;
    execute(tx, sqlx::query("DELETE FROM caller_use WHERE day < $1").bind(day)).await?;
    execute(tx, sqlx::query("DELETE FROM answer_use WHERE hour < $1").bind(day)).await
}
