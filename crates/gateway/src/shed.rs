//! What was turned away unread is in the ledger too, without the ledger becoming what there is too much of: counts a system and
//! reason, written every second as one entry each. Nothing was asked and nothing released, so nothing waits for them. A crash
//! loses the counts of a second at most; a stop loses none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use ledger::entry::Body;
use store::Submission;
use tokio_util::sync::CancellationToken;

use crate::{app::App, caller::System};

/// How often the counts are written.
const EVERY: Duration = Duration::from_secs(1);

/// System and organisation, where it is registered, and the reason.
type Of = (Option<(String, String)>, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    count: u64,
    from: Timestamp,
    until: Timestamp,
}

/// The counts that wait to be written. There are as many as systems and reasons.
#[derive(Debug, Default)]
pub struct Shed(Mutex<BTreeMap<Of, Counted>>);

impl Shed {
    /// One more was turned away.
    pub fn note(&self, system: Option<&System>, reason: &'static str, at: Timestamp) {
        let who =
            system.map(|system| (system.settings.id.to_string(), system.settings.organisation.to_string()));
        self.add((who, reason), Counted { count: 1, from: at, until: at });
    }

    fn add(&self, of: Of, more: Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts.entry(of).or_insert(Counted { count: 0, ..more });
        counted.count = counted.count.saturating_add(more.count);
        counted.from = counted.from.min(more.from);
        counted.until = counted.until.max(more.until);
    }

    fn take(&self) -> BTreeMap<Of, Counted> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what was counted. When the ledger cannot be written, it is counted on.
pub async fn record(app: &App) {
    let counts = app.shed.take();
    if counts.is_empty() {
        return;
    }
    let entries = counts.iter().map(|((who, reason), counted)| Body::RequestsShed {
        reason: (*reason).to_owned(),
        system: who.as_ref().map(|(system, _)| system.clone()),
        organisation: who.as_ref().map(|(_, organisation)| organisation.clone()),
        count: counted.count,
        from_us: counted.from.as_microsecond(),
        until_us: counted.until.as_microsecond(),
    });
    let submission = Submission::of(app.clock.now(), entries.collect());
    if app.store.commit(submission).await.is_err() {
        tracing::error!("what was turned away could not be recorded; it is counted on");
        counts.into_iter().for_each(|(of, counted)| app.shed.add(of, counted));
        return;
    }
    for ((who, reason), counted) in &counts {
        let system = who.as_ref().map_or("unregistered", |(system, _)| system);
        tracing::warn!(system, reason, count = counted.count, "requests were turned away");
    }
}

/// Writes every second, and once more at the end.
pub async fn follow(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = every.tick() => record(&app).await,
        }
    }
    record(&app).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_could_not_be_written_are_counted_on() {
        let (shed, second) = (Shed::default(), |at| Timestamp::from_second(at).unwrap());
        shed.note(None, "overloaded", second(10));
        shed.note(None, "overloaded", second(12));
        shed.note(None, "too-many-requests", second(12));
        let taken = shed.take();
        assert_eq!(taken.len(), 2);
        shed.note(None, "overloaded", second(13));
        taken.into_iter().for_each(|(of, counted)| shed.add(of, counted));
        let counted = shed.take()[&(None, "overloaded")];
        assert_eq!(counted, Counted { count: 3, from: second(10), until: second(13) });
        assert!(shed.take().is_empty());
    }
}
