//! The one use case: a question about a person, from authenticated request to recorded answer.
//!
//! [`disclose`] reads top to bottom. Every way out of it is recorded in the ledger before it is answered. It may
//! be dropped at any await (a caller that breaks off): an open intent is then closed by `OpenIntent`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use connectors::Call;
use jiff::Timestamp;
use sharing::{
    Decision, Denial, Permit, Provider, Pseudonym, Question, Reason, SubjectIdentifier, SubjectState,
    Writing,
    alerting::Kind,
    decide::{Authority, ConfirmedPermit, Obligations, Withheld, decide, decide_with_facts},
    identifier::{BreakGlassId, DecisionId, ItemId, ProviderId},
    minimise::{ExamineFault, Examined, Familiar, MinimisedRecord},
    restriction::Marking,
    subject::RecordFacts,
};
use store::{Ceiling, Change, CommitError, Committed, LookUp, OptOutChecks, Recheck, Resolved, failpoint};

use crate::{
    alerts::{
        self,
        familiar::{self, Known},
    },
    app::{App, InForce},
    caller::{Caller, Context},
    clock, edge,
    fault::{commit_problem, inconsistent, internal, provider_problem},
    kept,
    list::Together,
    policies,
    problem::{Problem, Refusal},
    receipt::Receipt,
    telemetry::{metrics::Stage, timed, timed_now},
};

mod ceilings;
mod ending;
mod entries;
mod learned;

use ending::OpenIntent;
pub use entries::obligation_codes;
use learned::Learned;

/// A parsed question from an authenticated caller.
pub struct Ask {
    /// Who asks.
    pub caller: Caller,
    /// Why and for which case.
    pub context: Context,
    /// What.
    pub question: Question,
    /// The caller's own id for the request.
    pub request_id: Option<String>,
    /// The caller wants the decision and not the record.
    pub answer_only: bool,
    /// As what the record is written.
    pub writing: Writing,
    /// It belongs to a request whose signed context an earlier question has used up.
    pub continues: bool,
    /// The list that it is part of, and its place there.
    pub list: Option<(String, Together)>,
    /// By when it has been answered; of a list, by when a record holder has.
    pub deadline: Instant,
}

/// A permitted answer. It can be made only from a minimised record that is recorded as released, or from a
/// decision that is recorded as answered.
pub struct Answer {
    /// The record; none where the decision alone was asked for.
    pub record: Option<MinimisedRecord>,
    /// The items that were, or would be, released.
    pub items: Vec<String>,
    /// What was asked for and is not in the answer.
    pub withheld: Vec<(ItemId, Withheld)>,
    /// What the recipient takes on.
    pub obligations: Obligations,
    /// When the source last changed the record, as it says.
    pub source_time: Option<String>,
    /// What it rests on.
    pub authority: Authority,
    /// The emergency it was asked under.
    pub break_glass: Option<BreakGlassId>,
    /// Where it is recorded.
    pub receipt: Receipt,
}

/// Before its deadline by so much a question's answer has to be there: committing takes time too.
const COMMIT_TAKES: Duration = Duration::from_millis(100);
/// With less time than this left no commit is begun: its answer would come to nobody.
const COMMIT_TAKES_AT_LEAST: Duration = Duration::from_millis(50);

/// How often a question is decided again because what it rests on changed under it.
const ATTEMPTS_MAX: usize = 4;

/// One question, from top to bottom.
///
/// # Errors
/// The [`Refusal`] to answer with. It has been recorded, unless the ledger itself cannot be written.
pub async fn disclose(app: &App, ask: Ask) -> Result<Answer, Refusal> {
    // Before anything is looked up: whoever the person is, the answer is this one.
    if let Some(problem) = stopped(app) {
        return Err(edge::refuse_undecided(app, &ask.caller, problem, ask.request_id.clone()).await);
    }
    let asked = Instant::now();
    let decision_id = DecisionId::from_random(app.entropy.bits());
    let walk = Walk {
        app,
        ask: &ask,
        policies: app.policies(),
        decision_id: decision_id.as_str(),
        has_end: AtomicBool::new(false),
        has_record: AtomicBool::new(false),
    };
    let outcome = Box::pin(walk.answered()).await;
    let provider = &ask.question.provider;
    // One of a list waits for others.
    if walk.has_record.load(Ordering::Relaxed) && ask.list.is_none() {
        app.record_times.took(provider, asked.elapsed());
    }
    if matches!(&outcome, Err(refusal) if matches!(refusal.problem, Problem::NoRecordAvailable)) {
        let at = app.record_times.held_until(provider, asked.elapsed(), app.limits.no_record_step);
        // Who waits is answered in time, whoever the person is: "it took too long" would be another answer.
        let latest = ask.deadline.checked_sub(COMMIT_TAKES_AT_LEAST).unwrap_or(ask.deadline);
        tokio::time::sleep_until(asked.checked_add(at).map_or(latest, |at| at.min(latest)).into()).await;
    }
    outcome
}

/// Why nothing at all may be released now.
pub(crate) fn stopped(app: &App) -> Option<Problem> {
    if !app.store.is_writable() {
        return Some(Problem::LedgerUnavailable);
    }
    if !app.is_clock_steady() {
        return Some(Problem::ClockNotSteady);
    }
    let witnessing = app.witnessing.as_ref()?;
    witnessing.stops(app.clock.now()).then_some(Problem::LedgerUnwitnessed)
}

/// What stays the same along the way.
struct Walk<'a> {
    app: &'a App,
    ask: &'a Ask,
    policies: InForce,
    decision_id: &'a str,
    /// Whether the end of the question is in the ledger.
    has_end: AtomicBool,
    /// Whether the record holder answered with the person's record.
    has_record: AtomicBool,
}

impl Walk<'_> {
    async fn answered(&self) -> Result<Answer, Refusal> {
        let mut rests_on = Vec::new();
        match self.whole(&mut rests_on).await {
            // Whoever is to be told of is turned away by now: nobody is told apart from them.
            Err(refusal) if matches!(refusal.problem, Problem::NoRecordAvailable) => {
                let is_full = self.are_reached(&rests_on).await?;
                let problem = if is_full { Problem::CeilingReached } else { Problem::NoRecordAvailable };
                Err(Refusal { problem, ..refusal })
            }
            outcome => outcome,
        }
    }

    /// From looking up to the end. `rests_on` is left with the ceilings of what the answer rests on.
    async fn whole(&self, rests_on: &mut Vec<Ceiling>) -> Result<Answer, Refusal> {
        let (app, ask) = (self.app, self.ask);
        for _ in 0..ATTEMPTS_MAX {
            let at = app.now();
            let asked = std::slice::from_ref(&ask.question.subject);
            let fresh = Pseudonym::from_random(app.entropy.bits());
            let Person { known, state, familiar, .. } =
                timed(&app.metrics, Stage::LookUp, self.look_up(asked, fresh, at)).await?;
            let Some(subject) = known.into_iter().next() else {
                return Err(inconsistent(&"a person was looked up and is not there").into());
            };
            let decision = timed_now(&app.metrics, Stage::Decide, || {
                decide(&ask.question, &self.policies.set, &state, at)
            });
            *rests_on = self.ceilings(&decision, at);
            if self.are_reached(rests_on).await? {
                let (problem, id) = (Problem::CeilingReached, ask.request_id.clone());
                return Err(edge::refuse_undecided(app, &ask.caller, problem, id).await);
            }
            if self.is_too_late() {
                let (problem, id) = (Problem::TookTooLong, ask.request_id.clone());
                return Err(edge::refuse_undecided(app, &ask.caller, problem, id).await);
            }
            let recorded = self.record_decision(&decision, subject.clone(), &familiar, at);
            match timed(&app.metrics, Stage::Intent, recorded).await {
                Err(CommitError::Changed) => {}
                Err(error @ (CommitError::BudgetReached | CommitError::Throttled)) => {
                    let (problem, id) = (commit_problem(error), ask.request_id.clone());
                    return Err(edge::refuse_undecided(app, &ask.caller, problem, id).await);
                }
                Err(error) => return Err(commit_problem(error).into()),
                Ok((committed, open)) => {
                    self.count(&decision);
                    return match decision {
                        Decision::Permit(permit) => self.ask_provider(permit, &subject.pseudonym, open).await,
                        Decision::Deny(denial) => {
                            Err(self.refuse(denial, &committed, &subject.pseudonym, open).await)
                        }
                        Decision::Refer(_) => Err(self.refusal(Problem::Referred, &committed)),
                    };
                }
            }
        }
        Err(Problem::Unsettled.into())
    }

    /// Waits for the others of a chunk. Whatever becomes of somebody, the last entry about them comes after: whether it does would
    /// tell whose record decided against it.
    async fn gathered(&self) {
        if let Some((_, together)) = &self.ask.list {
            together.gathered().await;
        }
    }

    /// Whether there is no time left to commit anything for the caller. A list has all the time that its caller waits.
    fn is_too_late(&self) -> bool {
        self.ask.list.is_none()
            && self.ask.deadline.saturating_duration_since(Instant::now()) < COMMIT_TAKES_AT_LEAST
    }

    /// What goes with a question to a record holder: what is left of the time, less what the commit takes.
    fn call<'b>(&self, request_id: &'b str) -> Call<'b> {
        let until = self.ask.deadline.checked_sub(COMMIT_TAKES).unwrap_or(self.ask.deadline);
        Call { request_id, until }
    }

    fn count(&self, decision: &Decision) {
        let (outcome, reasons) = match decision {
            Decision::Permit(_) => ("permit", [].as_slice()),
            Decision::Deny(denial) => ("deny", denial.reasons.as_slice()),
            Decision::Refer(referral) => ("refer", referral.reasons.as_slice()),
        };
        self.app.metrics.decided(outcome, self.ask.question.purpose.as_str(), reasons);
    }

    /// What is held about whoever has these identifiers, and what is registered that bears on them. An identifier that
    /// nobody has used before stands for `fresh`.
    async fn look_up(
        &self,
        identifiers: &[SubjectIdentifier],
        fresh: Pseudonym,
        at: Timestamp,
    ) -> Result<Person, Refusal> {
        let (question, caller) = (&self.ask.question, &self.ask.caller);
        let holder = self.policies.set.provider(&question.provider).map(Provider::organisation);
        let marks = familiar::wanted(self.app, caller, holder, identifiers);
        let mut checked_as = identifiers.to_vec();
        if !checked_as.contains(&question.subject) {
            checked_as.push(question.subject.clone());
        }
        let look_up = LookUp {
            identifiers: identifiers.to_vec(),
            fresh,
            checked_as,
            purpose: question.purpose,
            marks: marks.clone(),
            at,
        };
        let held = self.app.store.look_up(look_up).await.map_err(|error| internal(&error))?;
        let familiar = Known::of(caller, marks.as_ref(), held.marks);
        Ok(Person { known: held.resolved, state: held.state, checks: held.checks, familiar })
    }

    /// The identifier belongs to nobody: whoever asks about it has it from where it was laid out.
    fn is_trap(&self) -> bool {
        self.app.honey_records.contains(&self.ask.question.subject)
    }

    fn refusal(&self, problem: Problem, committed: &Committed) -> Refusal {
        Refusal { problem, receipt: Some(Receipt::of(self.decision_id, committed)) }
    }

    /// A refusal about the agreement is answered at once. One about the person goes the way of "no such person":
    /// the record holder is asked for somebody who does not exist, and a second entry is written, even if the
    /// caller breaks off.
    async fn refuse(
        &self,
        denial: Denial,
        committed: &Committed,
        subject: &Pseudonym,
        open: Option<OpenIntent<'_>>,
    ) -> Refusal {
        if !denial.depends_on_person() {
            return self.refusal(Problem::Refused(denial.reasons.clone(), told(&denial)), committed);
        }
        let problem = match self.policies.set.provider(denial.provider()) {
            None => Problem::NoRecordAvailable,
            Some(provider) => {
                let request_id = clock::uuid(self.app.entropy.as_ref());
                let connectors = self.app.connectors.load_full();
                let asked = connectors.ask_decoy(provider, &denial, self.call(&request_id));
                match timed(&self.app.metrics, Stage::Fetch, asked).await {
                    Ok(()) | Err(connectors::FetchFault::NotFound) => {
                        match self.as_if_checked(provider).await {
                            Ok(()) => {
                                self.gathered().await;
                                self.as_if_read(subject).await;
                                Problem::NoRecordAvailable
                            }
                            Err(fault) => provider_problem(fault),
                        }
                    }
                    Err(fault) => provider_problem(fault),
                }
            }
        };
        let mut learned = Learned::default();
        if denial.reasons.contains(&Reason::Restricted) {
            learned.changes = self.alert_holder(Kind::RestrictedAttempt, self.app.clock.now());
        }
        learned.changes.push(Change::CloseIntent(self.decision_id.to_owned()));
        let reasons = denial.reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
        let refusal = self.end("not_released", reasons, learned, problem).await;
        self.settle(open);
        refusal
    }

    /// Does again what a record would have led to, and throws it away: where there was none to read, its answer
    /// must not come sooner than a refusal that rests on one.
    async fn as_if_read(&self, subject: &Pseudonym) {
        let (question, at) = (&self.ask.question, self.app.now());
        let looked_up = self.look_up(std::slice::from_ref(&question.subject), subject.clone(), at).await;
        let Ok(person) = looked_up else { return };
        let (policies, facts) = (self.app.policies(), RecordFacts::default());
        std::hint::black_box(decide_with_facts(question, &policies.set, &person.state, &facts, at));
    }

    /// Asks the record holder, decides again with what the record says, and releases.
    async fn ask_provider(
        &self,
        permit: Permit,
        subject: &Pseudonym,
        open: Option<OpenIntent<'_>>,
    ) -> Result<Answer, Refusal> {
        let Some(provider) = self.policies.set.provider(permit.provider()) else {
            return Err(inconsistent(&"a permit names a record holder that is not in the catalogue").into());
        };
        let request_id = clock::uuid(self.app.entropy.as_ref());
        failpoint::at("intent-recorded");
        let connectors = self.app.connectors.load_full();
        let fetched = connectors.fetch(provider, &permit, self.call(&request_id));
        let fetched = timed(&self.app.metrics, Stage::Fetch, fetched).await;
        failpoint::at("record-fetched");
        let outcome = match fetched {
            // Even if somebody put a record there, to see who takes it.
            Ok(_) if self.is_trap() => Err(self.nobody(provider, subject).await),
            Ok(fetched) => match permit.examine(provider, &fetched.body) {
                Ok(examined) => {
                    self.has_record.store(true, Ordering::Relaxed);
                    match self.check_restriction(&permit, provider, examined, subject).await {
                        Ok(examined) => {
                            self.gathered().await;
                            self.release(&permit, provider, &examined, subject).await
                        }
                        Err(refusal) => Err(refusal),
                    }
                }
                Err(ExamineFault::NoRecord) => Err(self.nobody(provider, subject).await),
                Err(ExamineFault::SubjectMismatch) => match self.as_if_checked(provider).await {
                    Ok(()) => Err(self.mismatched(provider.id(), subject).await),
                    Err(fault) => {
                        Err(self.close("provider_fault", &[fault.as_str()], provider_problem(fault)).await)
                    }
                },
                Err(fault) => Err(self.unusable(fault, provider.id()).await),
            },
            Err(connectors::FetchFault::NotFound) => Err(self.nobody(provider, subject).await),
            Err(fault) => Err(self.close("provider_fault", &[fault.as_str()], provider_problem(fault)).await),
        };
        self.settle(open);
        outcome
    }

    /// There is no record: everything else that a record would have led to happens all the same.
    async fn nobody(&self, provider: &Provider, subject: &Pseudonym) -> Refusal {
        match self.as_if_checked(provider).await {
            Ok(()) => {
                self.gathered().await;
                self.as_if_read(subject).await;
                self.close("not_released", &["subject-unknown"], Problem::NoRecordAvailable).await
            }
            Err(fault) => self.close("provider_fault", &[fault.as_str()], provider_problem(fault)).await,
        }
    }

    /// Asks the second record holder, where the catalogue names one, whether the record is restricted. When it
    /// cannot be asked, nothing is told; in a declared emergency, everything but the location.
    async fn check_restriction(
        &self,
        permit: &Permit,
        provider: &Provider,
        examined: Examined,
        subject: &Pseudonym,
    ) -> Result<Examined, Refusal> {
        let set = &self.policies.set;
        let Some(check) = permit.restriction_check(provider, set, &examined) else { return Ok(examined) };
        let Some(by) = set.provider(check.by()) else {
            return Err(inconsistent(
                &"a restriction check names a record holder that is not in the catalogue",
            )
            .into());
        };
        let request_id = clock::uuid(self.app.entropy.as_ref());
        let connectors = self.app.connectors.load_full();
        let asked = connectors.ask_restriction(by, &check, self.call(&request_id));
        let marking = match asked.await {
            Ok(fetched) => match check.read(by, &fetched.body) {
                Ok(marking) => marking,
                Err(fault) if self.ask.question.break_glass.is_some() => {
                    tracing::error!(decision_id = self.decision_id, provider = %by.id(), ?fault, "a record holder's answer was refused; in an emergency all but the location goes on");
                    Marking::Unconfirmed
                }
                Err(ExamineFault::SubjectMismatch) => return Err(self.mismatched(by.id(), subject).await),
                Err(fault) => return Err(self.unusable(fault, by.id()).await),
            },
            Err(connectors::FetchFault::NotFound) => Marking::Unconfirmed,
            Err(_) if self.ask.question.break_glass.is_some() => Marking::Unconfirmed,
            Err(fault) => {
                return Err(self.close("provider_fault", &[fault.as_str()], provider_problem(fault)).await);
            }
        };
        Ok(examined.checked(&check, marking))
    }

    /// The same for a record that is not there, or not to be told.
    async fn as_if_checked(&self, provider: &Provider) -> Result<(), connectors::FetchFault> {
        let by = provider.subject.restriction_check.as_ref();
        let Some(by) = by.and_then(|by| self.policies.set.provider(by.get_ref())) else { return Ok(()) };
        let request_id = clock::uuid(self.app.entropy.as_ref());
        match self.app.connectors.load_full().ask_any_decoy(by, self.call(&request_id)).await {
            Err(_) if self.ask.question.break_glass.is_some() => Ok(()),
            asked => asked,
        }
    }

    /// A record that is somebody else's, merged or not to be relied on says something about the person: the caller is
    /// answered as if there were none, at such a time, and the alarm and the ledger say what it was.
    async fn mismatched(&self, provider: &ProviderId, subject: &Pseudonym) -> Refusal {
        let code = "subject-mismatch";
        tracing::error!(decision_id = self.decision_id, %provider, code, "a record holder's answer was refused");
        self.gathered().await;
        self.as_if_read(subject).await;
        self.close("subject_mismatch", &[code], Problem::NoRecordAvailable).await
    }

    /// An answer that is no record at all is refused, and alarmed.
    async fn unusable(&self, fault: ExamineFault, provider: &ProviderId) -> Refusal {
        let (outcome, code) = match fault {
            ExamineFault::SubjectMismatch => ("subject_mismatch", "subject-mismatch"),
            ExamineFault::Json(_) => ("provider_fault", "provider-invalid-json"),
            ExamineFault::Unexpected | ExamineFault::NoRecord => {
                ("provider_fault", "provider-unexpected-answer")
            }
        };
        tracing::error!(decision_id = self.decision_id, %provider, code, "a record holder's answer was refused");
        self.close(outcome, &[code], Problem::ProviderAnswerRefused).await
    }

    async fn release(
        &self,
        permit: &Permit,
        provider: &Provider,
        examined: &Examined,
        subject: &Pseudonym,
    ) -> Result<Answer, Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            let at = self.app.now();
            // The asked name, and the name behind every identifier in the record. An identifier that nobody has used
            // before becomes another name of the same person.
            let Person { known, state, checks, familiar } =
                self.look_up(&examined.facts().identifiers, subject.clone(), at).await?;
            // Whom the question was about was forgotten while the record holder was asked. Nothing may go by that name any more.
            if !state.names.iter().any(|(name, _)| name == subject) {
                return Err(self.close("not_released", &["unsettled"], Problem::Unsettled).await);
            }
            let mut learned = Learned::of(examined, &state, &known, provider);
            if state.restricted || examined.facts().restricted {
                learned.changes.extend(self.alert_holder(Kind::RestrictedAttempt, at));
            }
            let (question, policies) = (&self.ask.question, self.app.policies());
            // The record was read by the catalogue of then: what is in it may be called otherwise now.
            if policies.revision != self.policies.revision
                && !catalogue(&policies).eq(catalogue(&self.policies))
            {
                let problem = Problem::Refused(vec![Reason::PolicyChanged], Vec::new());
                return Err(self.close("not_released", &[Reason::PolicyChanged.as_str()], problem).await);
            }
            let minimised = timed_now(&self.app.metrics, Stage::Minimise, || {
                let confirmed = permit.confirm(question, &policies.set, &state, examined, at);
                confirmed.map(|confirmed| {
                    let record = confirmed.minimise(provider, examined, at, self.ask.writing);
                    (confirmed, record)
                })
            });
            let (confirmed, record) = match minimised {
                Ok(minimised) => minimised,
                Err(denial) => match self.refuse_after_all(&denial, &state, learned).await {
                    Some(refusal) => return Err(refusal),
                    None => continue,
                },
            };
            learned.changes.extend(self.alerts_of_record(provider, examined, (&state, &familiar), at));
            let salt = kept::salt(self.app.entropy.as_ref());
            failpoint::at("before-release");
            if self.is_too_late() {
                return Err(Problem::TookTooLong.into());
            }
            let rests_on = Recheck {
                names: state.names.clone(),
                policies: Some(policies.revision),
                opt_outs: checks,
                ..Recheck::default()
            };
            let released = self.record_release(&confirmed, (&record, &salt), rests_on, learned, at);
            match timed(&self.app.metrics, Stage::Release, released).await {
                Ok(committed) => {
                    failpoint::at("release-recorded");
                    let record_salt = (!self.ask.answer_only).then_some(salt);
                    let receipt = Receipt { record_salt, ..Receipt::of(self.decision_id, &committed) };
                    return Ok(self.answer(&confirmed, record, examined, receipt));
                }
                // The person, or the agreement: another replica may have suspended it.
                Err(CommitError::Changed) => {
                    let followed = policies::catch_up(self.app).await;
                    followed.map_err(|_| Refusal::from(Problem::LedgerUnavailable))?;
                }
                Err(CommitError::CeilingReached) => {
                    return Err(self
                        .close("not_released", &["ceiling-reached"], Problem::CeilingReached)
                        .await);
                }
                Err(error) => return Err(commit_problem(error).into()),
            }
        }
        Err(self.close("not_released", &["unsettled"], Problem::Unsettled).await)
    }

    /// `None` where somebody has changed what is held about the person in between: then it is decided again.
    async fn refuse_after_all(
        &self,
        denial: &Denial,
        state: &SubjectState,
        learned: Learned,
    ) -> Option<Refusal> {
        let problem = if denial.depends_on_person() {
            Problem::NoRecordAvailable
        } else {
            Problem::Refused(denial.reasons.clone(), told(denial))
        };
        let reasons = denial.reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
        let mut learned = learned;
        learned.changes.push(Change::CloseIntent(self.decision_id.to_owned()));
        // Nothing is learned about somebody who was forgotten meanwhile.
        let rests_on = Recheck { names: state.names.clone(), ..Recheck::default() };
        match self.try_end("not_released", reasons, learned, Some(rests_on), &problem).await {
            Ok(committed) => Some(self.refusal(problem, &committed)),
            Err(CommitError::Changed) => None,
            Err(error) => Some(commit_problem(error).into()),
        }
    }

    /// What was released under an emergency is told to the record holder's privacy officers too.
    fn alerts_of_release(&self, permit: &Permit, at: Timestamp) -> Vec<Change> {
        if permit.break_glass().is_none() {
            return Vec::new();
        }
        self.alert_holder(Kind::BreakGlassUsed, at)
    }

    /// Raises an alert with the organisation that answers for the record holder. Never with the one that asks:
    /// an alert says something about the person.
    fn alert_holder(&self, kind: Kind, at: Timestamp) -> Vec<Change> {
        let Some(holder) = self.policies.set.provider(&self.ask.question.provider) else { return Vec::new() };
        let about = Some(&self.ask.caller);
        vec![alerts::raise(self.app, kind, holder.organisation(), self.decision_id, about, at)]
    }

    /// What a record that is about to be told shows of practitioner and person.
    fn alerts_of_record(
        &self,
        provider: &Provider,
        examined: &Examined,
        (state, known): (&SubjectState, &Known),
        at: Timestamp,
    ) -> Vec<Change> {
        let (caller, facts) = (&self.ask.caller, examined.facts());
        let mut found = known.kinds(caller);
        let is_own = |which, value: &str| known.is_own(self.app, &caller.organisation, which, value);
        let hidden = state.restricted || facts.restricted || facts.unconfirmed;
        for which in examined.resembles(provider, is_own) {
            match which {
                Familiar::Surname => found.push((Kind::SameSurname, caller.organisation.clone())),
                // Where a restricted person lives is not to be said, nor that it is where somebody else does.
                Familiar::Uprn if hidden => {}
                Familiar::Uprn => found.push((Kind::SameUprn, caller.organisation.clone())),
            }
        }
        familiar::alerts(self.app, caller, &found, self.decision_id, at)
    }

    fn answer(
        &self,
        confirmed: &ConfirmedPermit,
        record: MinimisedRecord,
        examined: &Examined,
        receipt: Receipt,
    ) -> Answer {
        let permit = confirmed.permit();
        let absent = record.absent().iter().map(|item| (item.clone(), Withheld::NotAvailable));
        let mut withheld: Vec<_> = permit.withheld().iter().cloned().chain(absent).collect();
        withheld.sort_by(|(one, _), (other, _)| one.cmp(other));
        Answer {
            items: record.items().map(ToString::to_string).collect(),
            record: (!self.ask.answer_only).then_some(record),
            withheld,
            obligations: permit.obligations().clone(),
            source_time: examined.facts().source_time.clone(),
            authority: permit.authority().clone(),
            break_glass: permit.break_glass().cloned(),
            receipt,
        }
    }
}

/// The files of the catalogue, as they were when a set was put in force.
fn catalogue(policies: &InForce) -> impl Iterator<Item = (&str, &str)> {
    let files = policies.set.files().iter().filter(|file| file.path.starts_with("catalogue/"));
    files.map(|file| (file.path.as_str(), file.text.as_str()))
}

/// What is held about somebody, read at one moment.
struct Person {
    /// The name behind each identifier.
    known: Vec<Resolved>,
    /// What decides.
    state: SubjectState,
    /// The opt-out checks that this was read beside.
    checks: Option<OptOutChecks>,
    /// What is registered that bears on them.
    familiar: Known,
}

/// What the guardrails that fired say to a practitioner, but for those that say something about the person.
fn told(denial: &Denial) -> Vec<String> {
    let told = denial.guardrails.iter().filter(|fired| !fired.about_person);
    told.map(|fired| fired.practitioner.clone()).collect()
}
