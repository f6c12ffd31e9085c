//! How a question ends: in the ledger, whatever becomes of it.

use std::sync::atomic::Ordering;

use ledger::entry::Body;
use store::{Change, CommitError, Committed, Recheck, Submission};

use super::{Walk, learned::Learned};
use crate::{
    app::App,
    caller_use,
    fault::commit_problem,
    problem::{Problem, Refusal},
};

impl Walk<'_> {
    /// An open question has its end in the ledger, or gets one as soon as there is somebody to write it.
    pub(super) fn settle(&self, open: Option<OpenIntent<'_>>) {
        let Some(mut open) = open else { return };
        if self.has_end.load(Ordering::Relaxed) {
            open.ended();
        } else if self.is_too_late() {
            open.why = ("not_released", "deadline-passed");
        } else {
            open.why = ("indeterminate", "not-recorded");
        }
    }

    pub(super) fn closure(
        &self,
        outcome: &str,
        reasons: Vec<String>,
        observed: Vec<String>,
        linked: Vec<String>,
    ) -> Body {
        let (decision_id, outcome) = (self.decision_id.to_owned(), outcome.to_owned());
        Body::Closure { decision_id, outcome, reasons, observed, linked }
    }

    /// Ends an open intent without a release.
    pub(super) async fn close(&self, outcome: &str, reasons: &[&str], problem: Problem) -> Refusal {
        let reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
        let changes = vec![Change::CloseIntent(self.decision_id.to_owned())];
        self.end(outcome, reasons, Learned { changes, ..Learned::default() }, problem).await
    }

    pub(super) async fn end(
        &self,
        outcome: &str,
        reasons: Vec<String>,
        learned: Learned,
        problem: Problem,
    ) -> Refusal {
        match self.try_end(outcome, reasons, learned, None, &problem).await {
            Ok(committed) => self.refusal(problem, &committed),
            Err(error) => commit_problem(error).into(),
        }
    }

    pub(super) async fn try_end(
        &self,
        outcome: &str,
        reasons: Vec<String>,
        learned: Learned,
        recheck: Option<Recheck>,
        problem: &Problem,
    ) -> Result<Committed, CommitError> {
        let Learned { changes, observed, linked } = learned;
        let entry = self.closure(outcome, reasons, observed, linked);
        let at = self.app.clock.now();
        let mut submission = Submission::of(at, vec![entry]);
        submission.recheck = recheck;
        submission.changes = changes;
        let is_no_record = matches!(problem, Problem::NoRecordAvailable);
        let answered = (is_no_record, self.ask.list.is_some());
        submission.changes.push(caller_use::of_answer(&self.ask.caller, answered, at));
        self.commit_end(submission).await
    }

    /// Commits the end of the question.
    pub(super) async fn commit_end(&self, submission: Submission) -> Result<Committed, CommitError> {
        let committed = self.app.store.commit(submission).await?;
        self.has_end.store(true, Ordering::Relaxed);
        Ok(committed)
    }
}

/// Closes an intent that nobody is walking any more: the caller broke off, or a deadline passed.
pub(super) struct OpenIntent<'a> {
    pub(super) app: &'a App,
    pub(super) decision_id: Option<String>,
    /// Outcome and reason of the closure.
    pub(super) why: (&'static str, &'static str),
}

impl OpenIntent<'_> {
    pub(super) fn ended(mut self) {
        self.decision_id = None;
    }
}

impl Drop for OpenIntent<'_> {
    fn drop(&mut self) {
        let Some(decision_id) = self.decision_id.take() else { return };
        let closure = Body::Closure {
            decision_id: decision_id.clone(),
            outcome: self.why.0.to_owned(),
            reasons: vec![self.why.1.to_owned()],
            observed: Vec::new(),
            linked: Vec::new(),
        };
        let mut submission = Submission::of(self.app.clock.now(), vec![closure]);
        // Refused by the writer if a release was committed in the meantime: each decision ends once.
        submission.changes.push(Change::CloseIntent(decision_id));
        if !self.app.store.commit_unattended(submission) {
            tracing::warn!("an abandoned question stays open until the next start");
        }
    }
}
