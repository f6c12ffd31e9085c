//! How much callers ask, for submissions that are taken together: as `project::caller_use` counts it for one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sharing::policy::hexadecimal;

use super::listed;
use crate::{
    caller_use::{AnswerUse, CallerUse},
    change::Submission,
    database::{Transaction, places},
    error::{CommitError, StoreError},
    queue::AlertRow,
    row::to_list,
    writer::{
        portions,
        project::{
            alerting,
            caller_use::{Admitted, Counts},
        },
    },
};

/// A practitioner or a system, and a day.
type Day<'a> = (&'a str, &'a str);
/// A practitioner, a day, and a person by hash.
type Asking<'a> = (&'a str, &'a str, &'a [u8]);

/// Answers of one practitioner's hour: how many, how many of them without a record, and runs that were too long.
#[derive(Default, Clone, Copy)]
struct Answers {
    answered: i64,
    no_record: i64,
    scans: i64,
}

impl Answers {
    fn add(&mut self, more: Self) {
        self.answered += more.answered;
        self.no_record += more.no_record;
        self.scans += more.scans;
    }
}

/// The counts that are there, with what the submissions so far make of them, and what each adds.
#[derive(Default)]
pub(super) struct Callers<'a> {
    subjects: BTreeMap<(String, String), i64>,
    runs: BTreeMap<(String, String, Vec<u8>), i64>,
    answers: BTreeMap<(String, String), Answers>,
    // What is to be written.
    new: Vec<(Asking<'a>, i64)>,
    more: BTreeMap<Day<'a>, i64>,
    told: BTreeMap<Day<'a>, Answers>,
    raised: Vec<&'a AlertRow>,
}

impl<'a> Callers<'a> {
    pub(super) async fn read(
        tx: &mut Transaction,
        run: &[(Timestamp, &'a Submission)],
    ) -> Result<Self, StoreError> {
        let mut callers = Self::default();
        let using: Vec<&CallerUse> = run.iter().filter_map(|(_, one)| one.using.as_deref()).collect();
        if using.is_empty() {
            return Ok(callers);
        }
        let practitioners = using.iter().map(|using| using.practitioner.as_str());
        let systems = using.iter().map(|using| using.system.as_str());
        let days = listed(using.iter().map(|using| using.day.as_str()).collect());
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT caller, day, subjects FROM caller_use WHERE caller IN (SELECT value FROM json_each($1))
             AND day IN (SELECT value FROM json_each($2))",
        )
        .bind(listed(practitioners.clone().chain(systems).collect()))
        .bind(&days)
        .fetch_all(&mut **tx)
        .await?;
        callers.subjects = rows.into_iter().map(|(caller, day, count)| ((caller, day), count)).collect();
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
            "SELECT caller, hour, answered, no_record, scans FROM answer_use
             WHERE caller IN (SELECT value FROM json_each($1)) AND hour IN (SELECT value FROM json_each($2))",
        )
        .bind(listed(practitioners.collect()))
        .bind(listed(using.iter().map(|using| using.hour.as_str()).collect()))
        .fetch_all(&mut **tx)
        .await?;
        for (caller, hour, answered, no_record, scans) in rows {
            callers.answers.insert((caller, hour), Answers { answered, no_record, scans });
        }
        let rows: Vec<(String, String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT used.caller, used.day, used.person_hash, used.run FROM json_each($1) AS asked
             JOIN subject_use AS used ON used.day = substr(asked.value, 1, 10)
                 AND used.person_hash = unhex(substr(asked.value, 11, 64)) AND used.caller = substr(asked.value, 75)",
        )
        .bind(people(&using))
        .fetch_all(&mut **tx)
        .await?;
        callers.runs =
            rows.into_iter().map(|(caller, day, person, run)| ((caller, day, person), run)).collect();
        Ok(callers)
    }

    /// Whether the caller may ask one more question.
    pub(super) fn admit(&self, using: &CallerUse) -> Result<Admitted, CommitError> {
        let subjects = |caller: &str| {
            self.subjects.get(&(caller.to_owned(), using.day.clone())).copied().unwrap_or_default()
        };
        let run = |person: &Vec<u8>| {
            let asking = (using.practitioner.clone(), using.day.clone(), person.clone());
            self.runs.get(&asking).copied().unwrap_or_default()
        };
        let hour = (using.practitioner.clone(), using.hour.clone());
        let Answers { answered, no_record, scans } = self.answers.get(&hour).copied().unwrap_or_default();
        let (own, systems) = (subjects(&using.practitioner), subjects(&using.system));
        let counts = Counts { own, systems, seen: run(&using.person), answered, no_record, scans };
        if let Some(admitted) = counts.admit(&using.limits)? {
            return Ok(admitted);
        }
        let longest = using.neighbours.iter().map(run).max().unwrap_or_default();
        Ok(Admitted { is_new: true, run: longest + 1 })
    }

    /// Counts the question, and raises what a run of identifiers raises.
    pub(super) fn count(&mut self, using: &'a CallerUse, admitted: &Admitted) {
        if !admitted.is_new {
            return;
        }
        let (practitioner, day) = (&using.practitioner, &using.day);
        self.runs.insert((practitioner.clone(), day.clone(), using.person.clone()), admitted.run);
        self.new.push(((practitioner, day, &using.person), admitted.run));
        for caller in [practitioner, &using.system] {
            *self.subjects.entry((caller.clone(), day.clone())).or_default() += 1;
            *self.more.entry((caller, day)).or_default() += 1;
        }
        if admitted.run >= i64::from(using.limits.run_at_least) {
            self.tell(practitioner, &using.hour, Answers { scans: 1, ..Answers::default() });
            self.raised.extend(&using.scan);
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self, using: &'a AnswerUse) {
        let answers = Answers { answered: 1, no_record: i64::from(using.is_no_record), scans: 0 };
        self.tell(&using.practitioner, &using.hour, answers);
    }

    fn tell(&mut self, practitioner: &'a str, hour: &'a str, more: Answers) {
        self.answers.entry((practitioner.to_owned(), hour.to_owned())).or_default().add(more);
        self.told.entry((practitioner, hour)).or_default().add(more);
    }

    pub(super) async fn write(self, tx: &mut Transaction) -> Result<(), StoreError> {
        for people in portions(&self.new) {
            let places = places(people.len(), 4);
            let sql = format!("INSERT INTO subject_use (caller, day, person_hash, run) VALUES {places}");
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for ((caller, day, person), run) in people {
                insert = insert.bind(*caller).bind(*day).bind(*person).bind(*run);
            }
            insert.execute(&mut **tx).await?;
        }
        let more: Vec<_> = self.more.into_iter().collect();
        for days in portions(&more) {
            let places = places(days.len(), 3);
            let sql = format!(
                "INSERT INTO caller_use (caller, day, subjects) VALUES {places}
                 ON CONFLICT (caller, day) DO UPDATE SET subjects = caller_use.subjects + excluded.subjects"
            );
            let mut add = sqlx::query(sqlx::AssertSqlSafe(sql));
            for ((caller, day), subjects) in days {
                add = add.bind(*caller).bind(*day).bind(*subjects);
            }
            add.execute(&mut **tx).await?;
        }
        let told: Vec<_> = self.told.into_iter().collect();
        for hours in portions(&told) {
            let places = places(hours.len(), 5);
            let sql = format!(
                "INSERT INTO answer_use (caller, hour, answered, no_record, scans) VALUES {places}
                 ON CONFLICT (caller, hour) DO UPDATE SET answered = answer_use.answered + excluded.answered,
                     no_record = answer_use.no_record + excluded.no_record,
                     scans = answer_use.scans + excluded.scans"
            );
            let mut add = sqlx::query(sqlx::AssertSqlSafe(sql));
            for ((caller, hour), answers) in hours {
                add = add.bind(*caller).bind(*hour).bind(answers.answered);
                add = add.bind(answers.no_record).bind(answers.scans);
            }
            add.execute(&mut **tx).await?;
        }
        for row in self.raised {
            alerting::raise(tx, row, None).await?;
        }
        Ok(())
    }
}

/// Whom these questions and those next to them are about, one text each, because lists are bound as JSON: the day, which is
/// ten characters, the hash, which is 32 bytes, and the practitioner.
fn people(using: &[&CallerUse]) -> String {
    let mut people = BTreeSet::new();
    for using in using {
        for person in std::iter::once(&using.person).chain(&using.neighbours) {
            people.insert(format!("{}{}{}", using.day, hexadecimal(person), using.practitioner));
        }
    }
    to_list(&people.into_iter().collect::<Vec<_>>())
}
