//! The evaluator: follows the ledger's entries beside the requests and raises what has to be counted.
//!
//! Where it is stands in the database and moves in the transaction that raises what was found up to there, so that a
//! crash skips nothing and raises nothing twice. The counts are in memory; at a start, and when the policies change,
//! they are made again from the entries of the longest window. No request waits for it, whatever it waits for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    entry::{Actor, Body, Decided, Entry},
    trail::decided,
};
use sharing::{
    OrganisationId, PolicySet,
    alerting::{Answer, Candidate, Event, Human, Question, Tell, Watch, What, saw},
};
use store::{AlertRow, Change, StoreError, Submission, Written};
use tokio::sync::{Mutex, MutexGuard};

use super::once;
use crate::{app::App, caller::Named};

/// How many entries are held against the rules at a time.
const PAGE: u32 = 500;

/// Questions end within their deadline: what was asked so long before a window is not looked at.
pub const BEFORE_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The evaluator's state, in memory. Made again whenever it is lost.
#[derive(Debug, Default)]
pub struct Evaluator(Mutex<Option<State>>);

/// The counts, and how far they go.
#[derive(Debug)]
pub struct State {
    digest: String,
    next: u64,
    watch: Watch,
    forgotten: u64,
    /// When what last raised a series happened, as the database knew it. Of a series that was put forward since, nothing.
    causes: HashMap<Vec<u8>, i64>,
}

/// More series than this are not kept in mind: each is asked for again.
const CAUSES_MAX: usize = 10_000;

impl Evaluator {
    /// Stops the evaluator for as long as the guard is held.
    pub async fn hold(&self) -> MutexGuard<'_, Option<State>> {
        self.0.lock().await
    }
}

/// Holds what the ledger has beyond the last time against the rules in force. Returns how many entries.
///
/// # Errors
/// [`StoreError`] when the database fails; nothing is lost by it.
pub async fn catch_up(app: &App) -> Result<u64, StoreError> {
    let mut held = app.evaluator.hold().await;
    // Not what is asked meanwhile, or this would not end while anybody asks.
    let size = app.store.head().await?.size;
    let set = app.policies().set;
    let mut state = match held.take() {
        Some(state) if state.digest == set.digest() => state,
        _ => begin(app, &set).await?,
    };
    let mut seen = 0;
    while state.next < size {
        let entries = app.store.entries_from(state.next, PAGE).await?;
        let Some(last) = entries.last() else { break };
        let next = last.entry.seq + 1;
        let mut raised = Vec::new();
        for Written { entry, .. } in &entries {
            for event in events(entry) {
                let said = state.watch.see(&event);
                raised.extend(said.iter().flat_map(|candidate| put_forward(app, &set, candidate)));
            }
        }
        let mut changes = state.without_quiet(app, raised).await?;
        changes.push(Change::EvaluatedUntil(next));
        let mut submission = Submission::of(app.clock.now(), Vec::new());
        submission.changes = changes;
        // On an error the state is gone, and begun again from what the database says.
        app.store.commit(submission).await.map_err(|error| StoreError::Ledger(error.to_string()))?;
        seen += next - state.next;
        state.next = next;
    }
    if state.watch.forgotten() > state.forgotten {
        state.forgotten = state.watch.forgotten();
        tracing::warn!(
            forgotten = state.forgotten,
            "alerts count more than there is room for; the oldest sightings are forgotten early"
        );
    }
    *held = Some(state);
    Ok(seen)
}

/// Counts from the longest window before the place that the database knows. The first time, nothing that is past
/// raises anything.
async fn begin(app: &App, set: &PolicySet) -> Result<State, StoreError> {
    let next = match app.store.alert_position().await? {
        Some(next) => next,
        None => app.store.head().await?.size,
    };
    let mut watch = Watch::new(set.alerts());
    let last = app.store.entries_from(next.saturating_sub(1), 1).await?;
    let until = match last.first() {
        Some(last) => instant(&last.entry),
        None => app.clock.now(),
    };
    let back = set.alerts().longest_window() + BEFORE_WINDOW;
    let mut from = app.store.first_since(until.checked_sub(back).unwrap_or(Timestamp::MIN)).await?;
    while from < next {
        let limit = u32::try_from(next - from).unwrap_or(PAGE).min(PAGE);
        let entries = app.store.entries_from(from, limit).await?;
        let Some(last) = entries.last() else { break };
        for Written { entry, .. } in &entries {
            events(entry).iter().for_each(|event| drop(watch.see(event)));
        }
        from = last.entry.seq + 1;
    }
    Ok(State { digest: set.digest().to_owned(), next, watch, forgotten: 0, causes: HashMap::new() })
}

impl State {
    /// What may have to be raised: without what is of a series that spoke already, so that somebody who goes on and on costs the
    /// writer nothing. The writer looks again.
    async fn without_quiet(
        &mut self,
        app: &App,
        raised: Vec<(AlertRow, Timestamp)>,
    ) -> Result<Vec<Change>, StoreError> {
        let series: BTreeSet<&[u8]> = raised.iter().filter_map(|(row, _)| row.series.as_deref()).collect();
        let unknown: Vec<_> = series.into_iter().filter(|one| !self.causes.contains_key(*one)).collect();
        if !unknown.is_empty() {
            if self.causes.len() > CAUSES_MAX {
                self.causes.clear();
            }
            self.causes.extend(app.store.alert_causes(&unknown).await?);
        }
        let spoke = |row: &AlertRow, quiet_from: Timestamp| {
            let cause_us = row.series.as_ref().and_then(|series| self.causes.get(series));
            cause_us.is_some_and(|cause_us| *cause_us > quiet_from.as_microsecond())
        };
        let kept: Vec<_> = raised.into_iter().filter(|(row, quiet_from)| !spoke(row, *quiet_from)).collect();
        for (row, _) in &kept {
            row.series.as_ref().map(|series| self.causes.remove(series));
        }
        Ok(kept.into_iter().map(|(row, from)| Change::RaiseUnlessQuiet(Box::new(row), from)).collect())
    }
}

fn put_forward(app: &App, set: &PolicySet, candidate: &Candidate) -> Vec<(AlertRow, Timestamp)> {
    let Some(rule) = set.alerts().named(&candidate.rule) else { return Vec::new() };
    let quiet_from = candidate.at.checked_sub(candidate.quiet).unwrap_or(Timestamp::MIN);
    let alert = |organisation: &OrganisationId| {
        let row = AlertRow {
            series: Some(app.store.alert_series(organisation.as_str(), &candidate.series)),
            cause_us: Some(candidate.at.as_microsecond()),
            ..once(app, rule, organisation, &candidate.decision, &candidate.human, app.clock.now())
        };
        (row, quiet_from)
    };
    told(set, candidate).iter().map(alert).collect()
}

/// The organisations that are told, each once.
pub fn told(set: &PolicySet, candidate: &Candidate) -> Vec<OrganisationId> {
    let of = |tell: &Tell| match tell {
        Tell::Asker => candidate.human.organisation.parse().ok(),
        Tell::Holder => {
            let provider = candidate.provider.parse().ok()?;
            set.provider(&provider).map(|provider| provider.organisation().clone())
        }
    };
    let mut told: Vec<OrganisationId> = candidate.tell.iter().filter_map(of).collect();
    told.dedup();
    told
}

/// What an entry is to the watch.
pub fn events(entry: &Entry) -> Vec<Event> {
    let at = instant(entry);
    let what = match &entry.body {
        Body::Release { decision_id, subjects, .. } => {
            let (decision, names) = (decision_id.clone(), subjects.clone());
            vec![What::Answered { decision, answer: Answer::Told, names }]
        }
        Body::Closure { decision_id, outcome, reasons, linked, .. } => {
            let (decision, names) = (decision_id.clone(), linked.clone());
            vec![What::Answered { decision, answer: saw(outcome, reasons), names }]
        }
        Body::GrantMade { decision_id, provider, by, .. } => {
            let (decision, provider) = (decision_id.clone(), provider.clone());
            vec![What::GrantMade { decision, provider, human: human(by) }]
        }
        body => decided(body).map(|first| asked(body, first)).unwrap_or_default(),
    };
    what.into_iter().map(|what| Event { at, what }).collect()
}

fn asked(body: &Body, first: &Decided) -> Vec<What> {
    let mut what = vec![What::Asked(question(first))];
    // A refusal about the agreement ends here; one about a person has a closure of its own.
    if matches!(body, Body::Refusal(_)) && saw("not_released", &first.reasons) == Answer::Refused {
        let (decision, names) = (first.decision_id.clone(), Vec::new());
        what.push(What::Answered { decision, answer: Answer::Refused, names });
    }
    what
}

fn instant(entry: &Entry) -> Timestamp {
    Timestamp::from_microsecond(entry.at_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn question(first: &Decided) -> Question {
    Question {
        decision: first.decision_id.clone(),
        human: human(&first.by),
        provider: first.provider.clone(),
        purpose: first.purpose.clone(),
        case_reference: first.case_reference.clone(),
        subject: first.subject.clone(),
    }
}

fn human(by: &Actor) -> Human {
    let id = by.practitioner.clone().or_else(|| by.unattended_owner.clone());
    Human {
        organisation: by.organisation.clone(),
        service: by.service.clone(),
        system: by.system.clone(),
        id: id.unwrap_or_default(),
        role: by.role.clone().unwrap_or_else(|| Named::UNATTENDED.to_owned()),
    }
}

/// Catches up every second until the token is cancelled.
pub async fn follow(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if !app.leads() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = catch_up(&app) => {
                if let Err(error) = done {
                    tracing::error!(%error, "the ledger could not be held against the alerts' rules");
                }
            }
        }
    }
}
