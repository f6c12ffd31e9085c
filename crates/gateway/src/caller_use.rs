//! What a question counts for: its caller's budgets, and whether its identifier is a trap.
//!
//! Slowing a caller down depends on what the caller did and was told, never on whom it was about.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};
use sharing::{
    SubjectIdentifier,
    agreement::london_day,
    alerting::Kind,
    identifier::{IdentifierError, SubjectScheme},
};
use store::{AnswerUse, CallerLimits, CallerUse, Change, GuessLimits, Neighbours};

use crate::{
    alerts::familiar,
    app::App,
    caller::{Caller, Named},
};

/// How much a caller may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "described in deploy/concordat.example.toml")]
pub struct Budgets {
    pub subjects_per_practitioner_per_day: u32,
    pub subjects_per_system_per_day: u32,
    pub no_record_at_least: u32,
    pub no_record_percent: u32,
    pub no_record_per_system_at_least: u32,
    #[serde(deserialize_with = "run")]
    pub run_at_least: u32,
    #[serde(deserialize_with = "run")]
    pub run_per_system_at_least: u32,
    pub records_about_one_per_day: NonZeroU32,
    pub emergencies_per_practitioner_per_day: u32,
    pub emergencies_per_system_per_day: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            subjects_per_practitioner_per_day: 500,
            subjects_per_system_per_day: 20_000,
            no_record_at_least: 200,
            no_record_percent: 80,
            no_record_per_system_at_least: 1_000,
            run_at_least: 12,
            run_per_system_at_least: 18,
            records_about_one_per_day: const { NonZeroU32::new(200).unwrap() },
            emergencies_per_practitioner_per_day: 50,
            emergencies_per_system_per_day: 1_000,
        }
    }
}

/// From how many identifiers near each other on: more than are looked at is never, and is said so.
fn run<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let run = u32::deserialize(deserializer)?;
    let looked_at = 2 * u32::from(AROUND) + 1;
    if run <= looked_at || run == u32::MAX {
        return Ok(run);
    }
    Err(D::Error::custom(format!(
        "at most {looked_at} identifiers near each other are looked at; say {} for never",
        u32::MAX
    )))
}

/// An identifier that is a trap, as settings write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoneyRecord {
    /// `nhs-number`, or `local:` and an organisation.
    pub scheme: SubjectScheme,
    /// The identifier.
    pub value: String,
}

impl HoneyRecord {
    /// The identifier, read.
    ///
    /// # Errors
    /// [`IdentifierError`] when it is none: it could not be asked about.
    pub fn identifier(&self) -> Result<SubjectIdentifier, IdentifierError> {
        SubjectIdentifier::parse(self.scheme.clone(), &self.value)
    }
}

/// How many identifiers on each side of one are looked at.
const AROUND: u8 = 18;

/// The practitioner, as the counts know them. Who that is the system says: in other letters it is the same one, and how much a system
/// may ask depends on no name.
fn practitioner(caller: &Caller) -> String {
    format!("practitioner\n{}\n{}", caller.organisation, caller.named.id().trim().to_lowercase())
}

fn system(caller: &Caller) -> String {
    format!("system\n{}", caller.system)
}

fn hour(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H").to_string()
}

/// How a question is bounded otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Bounded {
    /// The flow that it rests on has a ceiling of releases a day, which is what bounds a declared job.
    pub has_ceiling: bool,
    /// It is one of a list, whose length is agreed.
    pub is_listed: bool,
    /// It is about an emergency, which is alerted, reviewed and bounded by itself: nobody in danger goes without for what others asked.
    pub is_urgent: bool,
}

/// What a question counts for.
pub fn of_question(
    app: &App,
    caller: &Caller,
    subject: &SubjectIdentifier,
    (decision, bounded): (&str, Bounded),
    at: Timestamp,
) -> CallerUse {
    let budgets = app.limits.budgets;
    let is_bounded = matches!(caller.named, Named::Unattended { .. }) && bounded.has_ceiling;
    let is_counted = !is_bounded && !bounded.is_urgent;
    let found = [(Kind::SequenceScan, caller.organisation.clone())];
    let scan = familiar::alerts(app, caller, &found, decision, at);
    let scan = scan.into_iter().filter_map(|change| match change {
        Change::RaiseAlert(row) => Some(*row),
        _ => None,
    });
    // A list goes through whoever is on it.
    let is_urgent = bounded.is_urgent;
    let counts_runs = !is_bounded && !bounded.is_listed && !is_urgent;
    // A desk that works through its cases asks about references in the order in which they were given.
    let neighbours = if counts_runs { app.store.neighbours(subject, AROUND) } else { Neighbours::none() };
    let counts_systems_runs = counts_runs && *subject.scheme() == SubjectScheme::NhsNumber;
    CallerUse {
        practitioner: practitioner(caller),
        system: system(caller),
        day: london_day(at).to_string(),
        hour: hour(at),
        person: app.store.asked_hash(subject),
        neighbours,
        limits: CallerLimits {
            subjects_per_practitioner: is_counted.then_some(budgets.subjects_per_practitioner_per_day),
            subjects_per_system: is_counted.then_some(budgets.subjects_per_system_per_day),
            guessing: (!is_urgent).then_some(GuessLimits {
                no_record_at_least: budgets.no_record_at_least,
                no_record_percent: budgets.no_record_percent,
                no_record_per_system_at_least: budgets.no_record_per_system_at_least,
            }),
            run_at_least: counts_runs.then(|| run_at_least(budgets.run_at_least, subject)),
            run_per_system_at_least: counts_systems_runs.then_some(budgets.run_per_system_at_least),
        },
        scan: scan.collect(),
    }
}

/// What an emergency counts for: the different people about whom the practitioner, and all of the system's, declared one today. They are
/// no part of how many may be asked about, which counts when the question comes.
pub fn of_emergency(app: &App, caller: &Caller, subject: &SubjectIdentifier, at: Timestamp) -> CallerUse {
    let budgets = app.limits.budgets;
    CallerUse {
        practitioner: format!("emergencies\n{}", practitioner(caller)),
        system: format!("emergencies\n{}", system(caller)),
        day: london_day(at).to_string(),
        hour: hour(at),
        person: app.store.asked_hash(subject),
        neighbours: Neighbours::none(),
        limits: CallerLimits {
            subjects_per_practitioner: Some(budgets.emergencies_per_practitioner_per_day),
            subjects_per_system: Some(budgets.emergencies_per_system_per_day),
            // Nothing is answered under these names.
            guessing: None,
            run_at_least: None,
            run_per_system_at_least: None,
        },
        scan: Vec::new(),
    }
}

/// References are given one after the other to people who come one after the other, and whoever works through such a case load asks
/// so: twice as many of them are too many.
fn run_at_least(budget: u32, subject: &SubjectIdentifier) -> u32 {
    let is_national = *subject.scheme() == SubjectScheme::NhsNumber;
    if is_national { budget } else { budget.saturating_mul(2) }
}

/// What an answer counts for. A list of which most have no record is no guess, and stops its caller at most.
pub fn of_answer(caller: &Caller, (is_no_record, is_listed): (bool, bool), at: Timestamp) -> Change {
    let system = (!is_listed).then(|| system(caller));
    let practitioner = practitioner(caller);
    Change::CountAnswer(AnswerUse { practitioner, system, hour: hour(at), is_no_record })
}
