//! What a question counts for: its caller's budgets, and whether its identifier is a trap.
//!
//! Slowing a caller down depends on what the caller did and was told, never on whom it was about.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::Deserialize;
use sharing::{
    SubjectIdentifier,
    agreement::london_day,
    alerting::Kind,
    identifier::{IdentifierError, SubjectScheme},
};
use store::{AnswerUse, CallerLimits, CallerUse, Change};

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
    pub run_at_least: u32,
    pub records_about_one_per_day: NonZeroU32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            subjects_per_practitioner_per_day: 500,
            subjects_per_system_per_day: 20_000,
            no_record_at_least: 200,
            no_record_percent: 80,
            run_at_least: 12,
            records_about_one_per_day: const { NonZeroU32::new(200).unwrap() },
        }
    }
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

/// The practitioner, as the counts know them.
fn practitioner(caller: &Caller) -> String {
    format!("practitioner\n{}\n{}", caller.organisation, caller.named.id())
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
    let found = [(Kind::SequenceScan, caller.organisation.clone())];
    let scan = familiar::alerts(app, caller, &found, decision, at);
    let scan = scan.into_iter().filter_map(|change| match change {
        Change::RaiseAlert(row) => Some(*row),
        _ => None,
    });
    let neighbours = subject.neighbours();
    CallerUse {
        practitioner: practitioner(caller),
        system: format!("system\n{}", caller.system),
        day: london_day(at).to_string(),
        hour: hour(at),
        person: app.store.asked_hash(subject),
        neighbours: neighbours.iter().map(|near| app.store.asked_hash(near)).collect(),
        limits: CallerLimits {
            subjects_per_practitioner: (!is_bounded).then_some(budgets.subjects_per_practitioner_per_day),
            subjects_per_system: (!is_bounded).then_some(budgets.subjects_per_system_per_day),
            no_record_at_least: budgets.no_record_at_least,
            no_record_percent: budgets.no_record_percent,
            // A list goes through whoever is on it.
            run_at_least: if is_bounded || bounded.is_listed { u32::MAX } else { budgets.run_at_least },
        },
        scan: scan.collect(),
    }
}

/// What an answer counts for.
pub fn of_answer(caller: &Caller, is_no_record: bool, at: Timestamp) -> Change {
    Change::CountAnswer(AnswerUse { practitioner: practitioner(caller), hour: hour(at), is_no_record })
}
