//! Scenarios: a series of questions, and the alerts that an information governance lead expects of them.
//!
//! `policies/alert-cases/*.toml` hold them; `concordat policy test` runs them against the rules of the same set.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    AlertRules, Answer, Event, Human, Quiet, Watch, What,
    watch::{Candidate, Question},
};
use crate::{cases::CaseResult, identifier::CaseReference, policy::PolicyFile, purpose::PurposeClass};

/// Most questions in one scenario.
const QUESTIONS_MAX: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    why: String,
    ask: Vec<Ask>,
    /// Every alert, in order, as `rule practitioner time`.
    alerts: Vec<String>,
}

/// Questions of one practitioner, one after the other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    at: Timestamp,
    #[serde(default = "usual_organisation")]
    organisation: String,
    service: Option<String>,
    #[serde(default = "usual_system")]
    system: String,
    by: String,
    #[serde(default = "usual_role")]
    role: String,
    /// About whom; `*` is somebody else each time.
    about: String,
    #[serde(default = "usual_purpose")]
    purpose: PurposeClass,
    #[serde(default = "usual_case")]
    case: String,
    #[serde(default)]
    answer: Said,
    /// How often, the first at `at`.
    #[serde(default = "once")]
    times: usize,
    #[serde(default = "a_minute")]
    every_seconds: u32,
    /// Other names that turn out to be the same person's with the answer.
    #[serde(default)]
    also: Vec<String>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Said {
    #[default]
    Told,
    NoRecord,
    Refused,
    Other,
}

fn usual_organisation() -> String {
    "trafford-council".to_owned()
}
fn usual_system() -> String {
    "trafford-asc-case".to_owned()
}
fn usual_role() -> String {
    "social-worker".to_owned()
}
fn usual_purpose() -> PurposeClass {
    PurposeClass::DirectCare
}
fn usual_case() -> String {
    "ASC-2026-1187".to_owned()
}
fn once() -> usize {
    1
}
fn a_minute() -> u32 {
    60
}

/// Runs every scenario of a set of policy files against the set's rules.
pub fn run(files: &[PolicyFile]) -> Vec<CaseResult> {
    let rules = match AlertRules::load(files) {
        Ok(rules) => rules,
        Err(problems) => {
            let problem = problems.into_iter().next();
            let (file, said) =
                problem.map_or_else(Default::default, |one| (one.path.clone(), one.to_string()));
            return vec![CaseResult { file, name: "(the rules)".to_owned(), outcome: Err(said) }];
        }
    };
    let mut results = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("alert-cases/")) {
        let result =
            |name: &str, outcome| CaseResult { file: file.path.clone(), name: name.to_owned(), outcome };
        match toml::from_str::<File>(&file.text) {
            Err(error) => {
                let problem =
                    file.problem(error.span().map_or(0, |span| span.start), error.message().to_owned());
                results.push(result("(the file)", Err(problem.to_string())));
            }
            Ok(read) => {
                let outcomes = read.scenario.iter().map(|one| result(&one.name, one.outcome(&rules)));
                results.extend(outcomes);
            }
        }
    }
    results
}

impl Scenario {
    fn outcome(&self, rules: &AlertRules) -> Result<(), String> {
        if self.why.trim().is_empty() {
            return Err("say why in `why`".to_owned());
        }
        let events = self.events()?;
        let (mut watch, mut quiet) = (Watch::new(rules), Quiet::default());
        let mut raised = Vec::new();
        for event in &events {
            raised.extend(watch.see(event).into_iter().filter(|one| quiet.raises(one)).map(|one| line(&one)));
        }
        if raised == self.alerts {
            return Ok(());
        }
        Err(format!("expected {:?}, and there were {raised:?}", self.alerts))
    }

    /// What happened, in order of time: each question and, at the same instant, its answer.
    fn events(&self) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        let mut somebody = 0_u64;
        for (group, ask) in self.ask.iter().enumerate() {
            for number in 0..ask.times {
                if events.len() >= QUESTIONS_MAX {
                    return Err(format!("a scenario has at most {QUESTIONS_MAX} questions"));
                }
                let step =
                    i64::from(ask.every_seconds).saturating_mul(i64::try_from(number).unwrap_or(i64::MAX));
                let at = ask.at.checked_add(SignedDuration::from_secs(step));
                let at = at.map_err(|_| "a time is beyond the end of time".to_owned())?;
                if ask.case.parse::<CaseReference>().is_err() {
                    return Err(format!("`{}` is no case reference", ask.case));
                }
                somebody += 1;
                let subject =
                    if ask.about == "*" { format!("somebody-{somebody}") } else { ask.about.clone() };
                let decision = format!("{group}-{number}");
                let names = std::iter::once(subject.clone()).chain(ask.also.clone()).collect();
                let answer = match ask.answer {
                    Said::Told => Answer::Told,
                    Said::NoRecord => Answer::NoRecord,
                    Said::Refused => Answer::Refused,
                    Said::Other => Answer::Other,
                };
                let asked = What::Asked(ask.question(&decision, subject));
                events.push((at, asked, What::Answered { decision, answer, names }));
            }
        }
        events.sort_by_key(|(at, ..)| *at);
        let both = |(at, asked, answered)| [Event { at, what: asked }, Event { at, what: answered }];
        Ok(events.into_iter().flat_map(both).collect())
    }
}

impl Ask {
    fn question(&self, decision: &str, subject: String) -> Question {
        Question {
            decision: decision.to_owned(),
            human: Human {
                organisation: self.organisation.clone(),
                service: self.service.clone(),
                system: self.system.clone(),
                id: self.by.clone(),
                role: self.role.clone(),
            },
            provider: "nhs-pds".to_owned(),
            purpose: self.purpose.as_str().to_owned(),
            case_reference: self.case.clone(),
            subject,
        }
    }
}

fn line(one: &Candidate) -> String {
    format!("{} {} {}", one.rule, one.human.id, one.at)
}
