//! The watch: events of the ledger in their order, held against the rules that count.
//!
//! What it says of an event depends on the event and on those within the longest window before it, and on nothing
//! else, so a watch that is begun anew some way back says the same again. Whether an alert was raised already is
//! for whoever keeps them ([`Quiet`] in memory, the store's table in service).

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{
    AlertRules,
    rule::{Kind, Rule, Tell, Watches},
    window::{SIGHTINGS_MAX, Sliding},
};
use crate::{agreement::london_day, decide::Reason};

/// Most questions whose answer is awaited, and most names known to be another's.
const PENDING_MAX: usize = 20_000;

/// Whoever asked: a practitioner, or a job's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Human {
    /// Their organisation.
    pub organisation: String,
    /// Its service.
    pub service: Option<String>,
    /// The system.
    pub system: String,
    /// Their organisation's identifier for them.
    pub id: String,
    /// Their role.
    pub role: String,
}

/// A question that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The decision.
    pub decision: String,
    /// Who asked.
    pub human: Human,
    /// The record holder.
    pub provider: String,
    /// For what.
    pub purpose: String,
    /// For which case.
    pub case_reference: String,
    /// About whom, by pseudonym.
    pub subject: String,
}

/// What the caller saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The record, or yes.
    Told,
    /// That no record is available, for whatever reason: the watch knows no more of it than the caller.
    NoRecord,
    /// A refusal that says why.
    Refused,
    /// Something went wrong, or a person is to decide.
    Other,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// A question was decided.
    Asked(Question),
    /// It was answered.
    Answered {
        /// The decision.
        decision: String,
        /// What the caller saw.
        answer: Answer,
        /// The names that are known to be one person's.
        names: Vec<String>,
    },
    /// A one-off disclosure was allowed.
    GrantMade {
        /// The decision that was left to a person.
        decision: String,
        /// The record holder.
        provider: String,
        /// Who allowed it.
        human: Human,
    },
}

/// An entry of the ledger, as far as the watch looks at it.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// Something that a rule speaks of. Raised unless its series was within `quiet` before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The rule.
    pub rule: String,
    /// The event's time.
    pub at: Timestamp,
    /// The decision.
    pub decision: String,
    /// Whom it is about.
    pub human: Human,
    /// The record holder.
    pub provider: String,
    /// Who is told.
    pub tell: Vec<Tell>,
    /// What makes another one the same again. It holds names: it is kept only as a keyed hash.
    pub series: String,
    /// For how long another one of the series says nothing new.
    pub quiet: SignedDuration,
}

/// The watch.
#[derive(Debug)]
pub struct Watch {
    rules: Vec<(Rule, Option<Sliding>)>,
    pending: BTreeMap<String, Question>,
    pending_order: VecDeque<String>,
    names: BTreeMap<String, String>,
    names_order: VecDeque<String>,
}

/// What a caller saw of a question that ended so. Reasons that this program does not know are about no person.
pub fn saw(outcome: &str, reasons: &[String]) -> Answer {
    let known = |text: &String| Reason::ALL.into_iter().find(|reason| reason.as_str() == text.as_str());
    let about_person =
        |text: &String| text == "subject-unknown" || known(text).is_some_and(Reason::depends_on_person);
    match outcome {
        "released" | "decision_only" => Answer::Told,
        "not_released" if !reasons.is_empty() && reasons.iter().all(about_person) => Answer::NoRecord,
        "not_released" if reasons.iter().any(|text| known(text).is_some()) => Answer::Refused,
        _ => Answer::Other,
    }
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(rules: &AlertRules) -> Self {
        Self::with_room(rules, SIGHTINGS_MAX)
    }

    pub(super) fn with_room(rules: &AlertRules, max: usize) -> Self {
        let counted = rules.all().filter(|rule| rule.enabled && rule.watches.kind().is_in_the_ledger());
        let sliding = |rule: &Rule| rule.watches.within().map(|within| Sliding::new(within, max));
        Self {
            rules: counted.map(|rule| (rule.clone(), sliding(rule))).collect(),
            pending: BTreeMap::new(),
            pending_order: VecDeque::new(),
            names: BTreeMap::new(),
            names_order: VecDeque::new(),
        }
    }

    /// Takes in the next event, and says what the rules say to it.
    pub fn see(&mut self, event: &Event) -> Vec<Candidate> {
        match &event.what {
            What::Asked(question) => {
                let said = self.asked(question, event.at);
                keep(&mut self.pending, &mut self.pending_order, question.decision.clone(), question.clone());
                said
            }
            What::Answered { decision, answer, names } => {
                self.alike(names);
                match self.pending.remove(decision) {
                    Some(question) => self.answered(&question, *answer, event.at),
                    None => Vec::new(),
                }
            }
            What::GrantMade { decision, provider, human } => {
                let made =
                    self.rules.iter().filter(|(rule, _)| rule.watches == Watches::One(Kind::GrantMade));
                let of = |rule: &Rule| Candidate {
                    rule: rule.id.clone(),
                    at: event.at,
                    decision: decision.clone(),
                    human: human.clone(),
                    provider: provider.clone(),
                    tell: rule.tell.clone(),
                    series: format!("{}\n{decision}\n{}", rule.id, event.at),
                    quiet: SignedDuration::ZERO,
                };
                made.map(|(rule, _)| of(rule)).collect()
            }
        }
    }

    /// How many sightings were forgotten before their time, for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.rules.iter().filter_map(|(_, seen)| seen.as_ref()).map(Sliding::forgotten).sum()
    }

    fn asked(&mut self, question: &Question, at: Timestamp) -> Vec<Candidate> {
        let subject = self.names.get(&question.subject).unwrap_or(&question.subject).clone();
        let (human, person) = (who(&question.human), about(&question.human, &subject));
        let peers = peers(&question.human);
        let mut said = Vec::new();
        for (rule, seen) in &mut self.rules {
            if rule.exempts(&question.human, at) {
                continue;
            }
            let series = match (&rule.watches, seen.as_mut()) {
                (Watches::RepeatLookUps { at_least, .. }, Some(seen)) => {
                    seen.see(at, &person, "");
                    (seen.total(&person, "") >= *at_least).then(|| person.clone())
                }
                (Watches::Volume { at_least, times_peers, peers_at_least, .. }, Some(seen)) => {
                    let id = &question.human.id;
                    seen.see(at, &peers, id);
                    let own = seen.total(&peers, id);
                    let is_more = || {
                        let others: Vec<u32> = seen.totals_beside(&peers, id).collect();
                        others.len() >= *peers_at_least as usize
                            && u64::from(own) > u64::from(*times_peers) * u64::from(median(others))
                    };
                    (own >= *at_least && is_more()).then(|| human.clone())
                }
                (Watches::OutOfHours(hours), _) => {
                    let excepted =
                        hours.except_purposes.iter().any(|purpose| purpose.as_str() == question.purpose);
                    (!excepted && !hours.covers(at)).then(|| format!("{human}\n{}", london_day(at)))
                }
                (Watches::PlaceholderCase { patterns, .. }, _) => {
                    is_placeholder(patterns, &question.case_reference).then(|| human.clone())
                }
                (Watches::PurposeShopping { .. }, Some(seen)) => {
                    seen.advance(at);
                    seen.has_other(&person, &question.purpose).then(|| person.clone())
                }
                _ => None,
            };
            said.extend(series.map(|series| candidate(rule, question, &series, at)));
        }
        said
    }

    fn answered(&mut self, question: &Question, answer: Answer, at: Timestamp) -> Vec<Candidate> {
        let subject = self.names.get(&question.subject).unwrap_or(&question.subject).clone();
        let (human, person) = (who(&question.human), about(&question.human, &subject));
        let mut said = Vec::new();
        for (rule, seen) in &mut self.rules {
            let Some(seen) = seen.as_mut() else { continue };
            if rule.exempts(&question.human, at) {
                continue;
            }
            match &rule.watches {
                Watches::Enumeration { at_least, .. } if answer == Answer::NoRecord => {
                    seen.see(at, &human, &subject);
                    if seen.members(&human) >= *at_least as usize {
                        said.push(candidate(rule, question, &human, at));
                    }
                }
                Watches::PurposeShopping { .. } if matches!(answer, Answer::NoRecord | Answer::Refused) => {
                    seen.see(at, &person, &question.purpose);
                }
                _ => {}
            }
        }
        said
    }

    /// These names are one person's: the first of them stands for all from now on.
    fn alike(&mut self, names: &[String]) {
        let Some(first) = names.iter().map(|name| self.names.get(name).unwrap_or(name)).min().cloned() else {
            return;
        };
        for name in names.iter().filter(|name| **name != first) {
            keep(&mut self.names, &mut self.names_order, name.clone(), first.clone());
        }
    }
}

fn keep<V>(map: &mut BTreeMap<String, V>, order: &mut VecDeque<String>, key: String, value: V) {
    if map.insert(key.clone(), value).is_none() {
        order.push_back(key);
    }
    while order.len() > PENDING_MAX {
        if let Some(oldest) = order.pop_front() {
            map.remove(&oldest);
        }
    }
}

fn who(human: &Human) -> String {
    format!("{}\n{}", human.organisation, human.id)
}

fn about(human: &Human, subject: &str) -> String {
    format!("{}\n{}\n{subject}", human.organisation, human.id)
}

/// Everybody with the same organisation and role.
fn peers(human: &Human) -> String {
    format!("{}\n{}", human.organisation, human.role)
}

/// The middle one, the lower of two.
fn median(mut of: Vec<u32>) -> u32 {
    of.sort_unstable();
    of.get(of.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

fn is_placeholder(patterns: &[String], case: &str) -> bool {
    let case = case.to_ascii_lowercase();
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(begin) => case.starts_with(begin),
        None => case == *pattern,
    })
}

fn candidate(rule: &Rule, question: &Question, series: &str, at: Timestamp) -> Candidate {
    Candidate {
        rule: rule.id.clone(),
        at,
        decision: question.decision.clone(),
        human: question.human.clone(),
        provider: question.provider.clone(),
        tell: rule.tell.clone(),
        series: format!("{}\n{series}", rule.id),
        // Of a day that is in the series there is no second.
        quiet: rule.watches.within().unwrap_or(SignedDuration::from_hours(48)),
    }
}

/// Which series have spoken, in memory.
#[derive(Debug, Default)]
pub struct Quiet(BTreeMap<String, Timestamp>);

impl Quiet {
    /// Whether an alert is raised: its series has said nothing for its time.
    pub fn raises(&mut self, candidate: &Candidate) -> bool {
        let last = self.0.get(&candidate.series);
        if last.is_some_and(|last| candidate.at.duration_since(*last) < candidate.quiet) {
            return false;
        }
        self.0.insert(candidate.series.clone(), candidate.at);
        true
    }
}
