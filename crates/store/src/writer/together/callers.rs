//! How much callers ask, for submissions that are taken together: as `project::caller_use` counts it for one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use sharing::policy::hexadecimal;

use super::listed;
use crate::{
    caller_use::{AnswerUse, CallerUse},
    change::Submission,
    database::{Database, Transaction, places, portions},
    error::{CommitError, StoreError},
    queue::AlertRow,
    row::to_list,
    writer::project::{
        alerting,
        caller_use::{Admitted, Answers, Counts},
    },
};

/// Most people in one statement of a file's.
const PEOPLE_MAX: usize = 64;

/// A practitioner or a system, and a day.
type Day<'a> = (&'a str, &'a str);
/// A person by hash, about whom a practitioner or a system asked, and the day. In this order, which tells most of them apart by the first bytes.
type Asking<'a> = (&'a [u8], &'a str, &'a str);

/// A caller, and the hour.
type Hour<'a> = (&'a str, &'a str);

impl Answers {
    fn add(&mut self, more: Self) {
        self.answered += more.answered;
        self.no_record += more.no_record;
        self.scans += more.scans;
    }
}

/// How many identifiers around each that was asked with had been asked with, and it: of a caller, on a day, by hash.
#[derive(Default)]
struct Runs(HashMap<String, HashMap<String, HashMap<Vec<u8>, i64>>>);

impl Runs {
    fn get(&self, caller: &str, day: &str, person: &[u8]) -> i64 {
        let of_day = self.0.get(caller).and_then(|days| days.get(day));
        of_day.and_then(|people| people.get(person)).copied().unwrap_or_default()
    }

    /// Unless it is there.
    fn put(&mut self, (caller, day, person): (String, String, Vec<u8>), run: i64) {
        self.0.entry(caller).or_default().entry(day).or_default().entry(person).or_insert(run);
    }
}

/// The counts that are there, with what the submissions so far make of them, and what each adds.
#[derive(Default)]
pub(super) struct Callers<'a> {
    subjects: BTreeMap<(String, String), i64>,
    runs: Runs,
    answers: BTreeMap<(String, String), Answers>,
    // What is to be written.
    new: Vec<(Asking<'a>, i64)>,
    more: BTreeMap<Day<'a>, i64>,
    told: BTreeMap<Hour<'a>, Answers>,
    raised: Vec<&'a AlertRow>,
}

impl<'a> Callers<'a> {
    pub(super) async fn read(
        tx: &mut Transaction,
        database: &Database,
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
        .bind(listed(practitioners.clone().chain(systems.clone()).collect()))
        .bind(&days)
        .fetch_all(&mut **tx)
        .await?;
        callers.subjects = rows.into_iter().map(|(caller, day, count)| ((caller, day), count)).collect();
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
            "SELECT caller, hour, answered, no_record, scans FROM answer_use
             WHERE caller IN (SELECT value FROM json_each($1)) AND hour IN (SELECT value FROM json_each($2))",
        )
        .bind(listed(practitioners.chain(systems).collect()))
        .bind(listed(using.iter().map(|using| using.hour.as_str()).collect()))
        .fetch_all(&mut **tx)
        .await?;
        for (caller, hour, answered, no_record, scans) in rows {
            callers.answers.insert((caller, hour), Answers { answered, no_record, scans });
        }
        let nearest = people(using.iter().map(|using| (*using, using.neighbours.nearest())));
        callers.read_people(tx, database, nearest).await?;
        // Whoever has a question next to one that was asked, or that is asked along with it.
        let along: BTreeSet<_> = using
            .iter()
            .flat_map(|using| callers_of(using).map(|of| (of, &using.day, &using.person)))
            .collect();
        let is_near = |using: &&&CallerUse| {
            let nearest = using.neighbours.nearest();
            let near = callers_of(using).map(|of| nearest.iter().map(move |person| (of, person)));
            near.into_iter().flatten().any(|(of, person)| {
                along.contains(&(of, &using.day, person)) || callers.runs.get(of, &using.day, person) > 0
            })
        };
        let near: Vec<&CallerUse> = using.iter().filter(is_near).copied().collect();
        if !near.is_empty() {
            let around = people(near.iter().map(|using| (*using, using.neighbours.all())));
            callers.read_people(tx, database, around).await?;
        }
        Ok(callers)
    }

    /// A server is asked once for all, while others wait for the head; a file is asked for each by its key, which is quicker there
    /// than reading a list.
    async fn read_people(
        &mut self,
        tx: &mut Transaction,
        database: &Database,
        people: BTreeSet<Asking<'_>>,
    ) -> Result<(), StoreError> {
        if let Some(statement) = database.asked_about() {
            let rows = sqlx::query_as(statement).bind(as_list(&people)).fetch_all(&mut **tx).await?;
            self.take_runs(rows);
            return Ok(());
        }
        let people: Vec<_> = people.into_iter().collect();
        for portion in people.chunks(PEOPLE_MAX) {
            // Of a few lengths, so that there are a few statements, which stay prepared: the last stands there as often as it takes.
            let length = portion.len().next_power_of_two();
            let last = portion.last().into_iter().cycle();
            let places = places(length, 3);
            // In this order: the few who are asked about, and then one row of the table for each.
            let sql = format!(
                "WITH asked (caller, day, person_hash) AS (VALUES {places})
                 SELECT used.caller, used.day, used.person_hash, used.run FROM asked CROSS JOIN subject_use AS used
                 WHERE used.caller = asked.caller AND used.day = asked.day AND used.person_hash = asked.person_hash"
            );
            let mut read = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            for (person, caller, day) in portion.iter().chain(last).take(length) {
                read = read.bind(*caller).bind(*day).bind(*person);
            }
            self.take_runs(read.fetch_all(&mut **tx).await?);
        }
        Ok(())
    }

    fn take_runs(&mut self, rows: Vec<(String, String, Vec<u8>, i64)>) {
        rows.into_iter().for_each(|(caller, day, person, run)| self.runs.put((caller, day, person), run));
    }

    /// How many identifiers around this one were asked about, and this one.
    fn around(&self, caller: &str, using: &CallerUse) -> i64 {
        let is_asked = |person: &&Vec<u8>| self.runs.get(caller, &using.day, person) > 0;
        let is_near = using.neighbours.nearest().iter().any(|person| is_asked(&person));
        let count = if is_near { using.neighbours.all().iter().filter(is_asked).count() } else { 0 };
        i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Whether the caller may ask one more question.
    pub(super) fn admit(&self, using: &CallerUse) -> Result<Admitted, CommitError> {
        let subjects = |caller: &str| {
            self.subjects.get(&(caller.to_owned(), using.day.clone())).copied().unwrap_or_default()
        };
        let answers = |caller: &str| {
            self.answers.get(&(caller.to_owned(), using.hour.clone())).copied().unwrap_or_default()
        };
        let [practitioner, system] = callers_of(using);
        let counts = Counts {
            own: subjects(practitioner),
            systems: subjects(system),
            is_seen: self.runs.get(practitioner, &using.day, &using.person) > 0,
            answers: answers(practitioner),
            systems_answers: answers(system),
        };
        if let Some(admitted) = counts.admit(&using.limits)? {
            return Ok(admitted);
        }
        let (run, system_run) = (self.around(practitioner, using), self.around(system, using));
        Ok(Admitted { is_new: true, run, system_run })
    }

    /// Counts the question, and raises what going through identifiers raises.
    pub(super) fn count(&mut self, using: &'a CallerUse, admitted: &Admitted) {
        if !admitted.is_new {
            return;
        }
        let (practitioner, day) = (&using.practitioner, &using.day);
        let systems = using.limits.run_per_system_at_least.map(|_| (&using.system, admitted.system_run));
        for (caller, run) in std::iter::once((practitioner, admitted.run)).chain(systems) {
            self.runs.put((caller.clone(), day.clone(), using.person.clone()), run);
            self.new.push(((&using.person, caller, day), run));
        }
        for caller in [practitioner, &using.system] {
            *self.subjects.entry((caller.clone(), day.clone())).or_default() += 1;
            *self.more.entry((caller, day)).or_default() += 1;
        }
        let mut is_scan = false;
        for caller in admitted.scans(using) {
            is_scan = true;
            self.tell(caller, &using.hour, Answers { scans: 1, ..Answers::default() });
        }
        if is_scan {
            self.raised.extend(&using.scan);
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self, using: &'a AnswerUse) {
        let answers = Answers { answered: 1, no_record: i64::from(using.is_no_record), scans: 0 };
        for caller in std::iter::once(&using.practitioner).chain(&using.system) {
            self.tell(caller, &using.hour, answers);
        }
    }

    fn tell(&mut self, caller: &'a str, hour: &'a str, more: Answers) {
        self.answers.entry((caller.to_owned(), hour.to_owned())).or_default().add(more);
        self.told.entry((caller, hour)).or_default().add(more);
    }

    pub(super) async fn write(self, tx: &mut Transaction) -> Result<(), StoreError> {
        for people in portions(&self.new) {
            let places = places(people.len(), 4);
            let sql = format!(
                "INSERT INTO subject_use (caller, day, person_hash, run) VALUES {places}
                 ON CONFLICT (caller, day, person_hash) DO NOTHING"
            );
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for ((person, caller, day), run) in people {
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

/// Whose questions are counted: the practitioner's, and the system's.
fn callers_of(using: &CallerUse) -> [&str; 2] {
    [&using.practitioner, &using.system]
}

/// Whom these questions and those next to them are about.
fn people<'a>(using: impl Iterator<Item = (&'a CallerUse, &'a [Vec<u8>])>) -> BTreeSet<Asking<'a>> {
    let mut people = BTreeSet::new();
    for (using, around) in using {
        for person in std::iter::once(&using.person).chain(around) {
            people.extend(callers_of(using).map(|caller| (person.as_slice(), caller, using.day.as_str())));
        }
    }
    people
}

/// The same as one text each, because lists are bound as JSON: the day, which is ten characters, the hash, which is 32 bytes, and the
/// caller.
fn as_list(people: &BTreeSet<Asking<'_>>) -> String {
    let texts = people.iter().map(|(person, caller, day)| format!("{day}{}{caller}", hexadecimal(person)));
    to_list(&texts.collect::<Vec<_>>())
}
