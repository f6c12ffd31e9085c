//! Many people at once: a list, answered in chunks.
//!
//! Each person on it is a question of its own, decided, minimised and recorded as one that was asked alone. What a list adds
//! is the gate before each chunk: the policies that are in force by now are read, nothing may have stopped releases, and an
//! entry says what is about to leave, durable before a line of the chunk does. A person's line therefore waits for the other
//! lines of its chunk, so that when it comes says nothing about the person.
//!
//! Nobody's record is released before everybody's of its chunk is there, so that what is taken back while one record holder is
//! slow stops the records of all who had been quicker: what is held about a person is read once more, and checked in the
//! transaction of the release, when the chunk is about to leave.
//!
//! Nothing of the answer is kept: a chunk is made when the one before it has been taken, so that memory does not grow with
//! the list, and a caller that reads slowly slows it down.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use ledger::{entry::Body, tree::hexadecimal};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use sharing::{
    Decision, Question, Reason, SubjectIdentifier, SubjectState, SystemId, Writing, decide::decide,
    identifier::ListId,
};
use store::{CommitError, Committed, ReplayGuard, Submission};
use tokio::sync::watch;

use crate::{
    app::App,
    caller::{Caller, Context},
    disclose::{Answer, Ask, disclose, stopped},
    edge::refuse_undecided,
    fault::commit_problem,
    policies,
    problem::{Problem, Refusal},
    receipt::Receipt,
    routes::disclosures::terms_json,
};

/// Most people in one list, whatever is agreed.
pub const PEOPLE_MAX: u32 = 100_000;
/// Largest body of a request for a list.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most people in one chunk, who are all asked about at the same time.
const CHUNK_PEOPLE: usize = 32;
/// Most lists at the same time, of everybody and of one system.
const LISTS_MAX: (usize, usize) = (8, 2);

/// Which lists are being worked on, by the system that asked.
#[derive(Default)]
pub struct Lists(Arc<Mutex<Vec<SystemId>>>);

/// A list's place among them, until it is dropped.
struct Place {
    lists: Arc<Mutex<Vec<SystemId>>>,
    system: SystemId,
}

impl Lists {
    fn take(&self, system: &SystemId) -> Result<Place, Problem> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_all, of_one) = LISTS_MAX;
        if lists.iter().filter(|one| *one == system).count() >= of_one {
            return Err(Problem::TooManyAtOnce);
        }
        if lists.len() >= of_all {
            return Err(Problem::Overloaded);
        }
        lists.push(system.clone());
        Ok(Place { lists: self.0.clone(), system: system.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = lists.iter().position(|one| *one == self.system) {
            lists.swap_remove(position);
        }
    }
}

/// The people of a list, where they are in the body of its request.
pub struct People {
    body: Bytes,
    lines: Vec<Range<u32>>,
}

impl People {
    /// Lines of this body that have been read and are in order.
    pub fn new(body: Bytes, lines: Vec<Range<u32>>) -> Self {
        Self { body, lines }
    }

    fn get(&self, position: usize) -> Option<SubjectIdentifier> {
        let line = self.lines.get(position)?;
        let line = self.body.get(line.start as usize..line.end as usize)?;
        person(line).ok()
    }

    fn count(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// Reads one line of a list.
///
/// # Errors
/// [`Problem::InvalidRequest`], which never repeats the value.
pub fn person(line: &[u8]) -> Result<SubjectIdentifier, Problem> {
    const LINE_BYTES_MAX: usize = 1024;
    crate::edge::parse_body::<crate::routes::subject::Subject>(line, LINE_BYTES_MAX)?.parse()
}

/// A list that is asked about.
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// Why and for which case.
    pub context: Context,
    /// The question about the first of them; about the others it is the same.
    pub question: Question,
    /// The caller's own id for the request.
    pub request_id: Option<String>,
    /// Whom it is about.
    pub people: People,
}

/// Begins a list: checks what does not depend on anybody in it, and records that it begins.
///
/// # Errors
/// The [`Refusal`] to answer with. It has been recorded, unless the ledger itself cannot be written.
pub async fn begin(
    app: Arc<App>,
    mut asked: Asked,
) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send, Refusal> {
    asked.question.list_people = Some(asked.people.count());
    let place = match may_begin(&app, &asked) {
        Ok(place) => place,
        Err(problem) => {
            return Err(refuse_undecided(&app, &asked.caller, problem, asked.request_id.clone()).await);
        }
    };
    let id = ListId::from_random(app.entropy.bits());
    let (question, context) = (&asked.question, &asked.context);
    let entry = Body::ListBegan {
        list_id: id.to_string(),
        provider: question.provider.to_string(),
        recipient: question.recipient.to_string(),
        purpose: question.purpose.to_string(),
        case_reference: context.case_reference.as_str().to_owned(),
        people: asked.people.count().into(),
        context_sha256: context.digest.clone(),
        by: asked.caller.actor(),
    };
    let mut submission = Submission::of(app.clock.now(), vec![entry]);
    submission.replay = Some(ReplayGuard {
        issuer: asked.caller.client_id.clone(),
        jti: context.jti.clone(),
        expires: context.expires,
    });
    match app.store.commit(submission).await {
        Ok(_) => {}
        Err(error @ CommitError::Replayed) => {
            let problem = commit_problem(error);
            return Err(refuse_undecided(&app, &asked.caller, problem, asked.request_id.clone()).await);
        }
        Err(error) => return Err(commit_problem(error).into()),
    }
    let running = Running {
        first: Some(json!({ "list_id": id.as_str(), "people": asked.people.count() })),
        app,
        asked,
        id,
        next: 0,
        chunk: 0,
        released: 0,
        has_end: false,
        _place: place,
    };
    Ok(stream::unfold(running, |mut running| async move {
        let lines = running.step().await?;
        Some((Ok(Bytes::from(lines)), running))
    }))
}

/// What stands against all of it, whoever is in it.
fn may_begin(app: &App, asked: &Asked) -> Result<Place, Problem> {
    if let Some(problem) = stopped(app) {
        return Err(problem);
    }
    let decision = decide(&asked.question, &app.policies().set, &SubjectState::default(), app.clock.now());
    let reasons = match decision {
        Decision::Permit(_) => Vec::new(),
        Decision::Deny(denial) => denial.reasons,
        Decision::Refer(referral) => referral.reasons,
    };
    let reasons: Vec<_> = reasons.into_iter().filter(|reason| is_about_the_list(*reason)).collect();
    if !reasons.is_empty() {
        return Err(Problem::Refused(reasons, Vec::new()));
    }
    app.lists.take(&asked.caller.system)
}

/// Whether a reason stands against everybody in a list, and not against one of them.
fn is_about_the_list(reason: Reason) -> bool {
    !reason.depends_on_person() && reason != Reason::NoRelationship
}

/// A list on its way.
struct Running {
    app: Arc<App>,
    asked: Asked,
    id: ListId,
    /// What is said before anybody's line.
    first: Option<Value>,
    /// How many have an answer.
    next: usize,
    chunk: u64,
    released: u64,
    has_end: bool,
    _place: Place,
}

/// A place in a chunk: whoever's record is there waits for all others' of it, or for them to have ended without one.
pub struct Together {
    /// Given up on arriving, or with the question.
    not_there: Mutex<Option<watch::Receiver<()>>>,
    all: Arc<watch::Sender<()>>,
}

impl Together {
    fn new(count: usize) -> Vec<Self> {
        let (all, not_there) = watch::channel(());
        let all = Arc::new(all);
        let place = || Self { not_there: Mutex::new(Some(not_there.clone())), all: all.clone() };
        std::iter::repeat_with(place).take(count).collect()
    }

    /// Ends when all are there.
    pub async fn gathered(&self) {
        drop(self.not_there.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.all.closed().await;
    }
}

/// The lines of a chunk.
struct Chunk {
    lines: Vec<u8>,
    answered: usize,
    released: u64,
    /// Why nobody else is asked about.
    stop: Option<Problem>,
}

impl Running {
    /// The next lines, and nothing when the end has been said.
    async fn step(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take() {
            return Some(line(&first));
        }
        if self.has_end {
            return None;
        }
        if self.next >= self.asked.people.lines.len() {
            return Some(self.end(None).await);
        }
        if let Err(problem) = self.gate().await {
            return Some(self.end(Some(problem)).await);
        }
        let mut chunk = self.ask().await;
        let answered = u64::try_from(self.next + chunk.answered).unwrap_or(u64::MAX);
        match self.record("chunk", (answered, self.released + chunk.released), None).await {
            Ok(committed) => {
                self.next += chunk.answered;
                self.released += chunk.released;
                chunk.lines.extend(line(&json!({
                    "chunk": self.chunk,
                    "answered": answered,
                    "released": self.released,
                    "log_position": committed.entries.last().map(|(position, _)| *position),
                    "checkpoint": &*committed.checkpoint,
                })));
                self.chunk += 1;
            }
            // What is recorded as released is not told: nothing leaves that its chunk's entry does not stand for.
            Err(problem) => return Some(self.end(Some(problem)).await),
        }
        if let Some(problem) = chunk.stop {
            chunk.lines.extend(self.end(Some(problem)).await);
        }
        Some(chunk.lines)
    }

    /// What has to hold before each chunk.
    async fn gate(&self) -> Result<(), Problem> {
        let app = &self.app;
        if app.is_draining() {
            return Err(Problem::Draining);
        }
        policies::follow(app).await.map_err(|_| Problem::LedgerUnavailable)?;
        if let Some(problem) = stopped(app) {
            return Err(problem);
        }
        let registry = app.authenticator.registry.load();
        if !registry.has(&self.asked.caller.system) {
            return Err(Problem::CapabilityMissing);
        }
        Ok(())
    }

    /// Asks about the people of the next chunk.
    async fn ask(&self) -> Chunk {
        let until = (self.next + CHUNK_PEOPLE).min(self.asked.people.lines.len());
        let all = Together::new(until - self.next);
        let answers = (self.next..until).zip(all).map(|(position, together)| async move {
            let Some(subject) = self.asked.people.get(position) else { return Err(Problem::Internal.into()) };
            policies::follow(&self.app).await.map_err(|_| Refusal::from(Problem::LedgerUnavailable))?;
            disclose(&self.app, self.question(subject, together)).await
        });
        let mut answers = std::pin::pin!(stream::iter(answers).buffered(CHUNK_PEOPLE));
        let mut chunk = Chunk { lines: Vec::new(), answered: 0, released: 0, stop: None };
        let mut failed = 0;
        while let Some(outcome) = answers.next().await {
            let position = self.next + chunk.answered;
            chunk.answered += 1;
            let said = match outcome {
                Ok(answer) => {
                    chunk.released += 1;
                    released(position, &answer)
                }
                Err(refusal) => {
                    failed += usize::from(matches!(refusal.problem, Problem::ProviderUnavailable));
                    let said = line(&self.refused(position, &refusal));
                    if stops(&refusal.problem) && chunk.stop.is_none() {
                        chunk.stop = Some(refusal.problem);
                    }
                    said
                }
            };
            chunk.lines.extend(said);
        }
        if failed == chunk.answered && chunk.stop.is_none() {
            chunk.stop = Some(Problem::ProviderUnavailable);
        }
        chunk
    }

    fn question(&self, subject: SubjectIdentifier, together: Together) -> Ask {
        let Asked { caller, context, question, request_id, .. } = &self.asked;
        Ask {
            caller: caller.clone(),
            context: context.clone(),
            question: Question { subject, ..question.clone() },
            request_id: request_id.clone(),
            answer_only: false,
            writing: Writing::Items,
            continues: true,
            list: Some((self.id.to_string(), together)),
            deadline: Instant::now() + self.app.limits.deadline,
        }
    }

    fn refused(&self, position: usize, refusal: &Refusal) -> Value {
        let mut said = if matches!(refusal.problem, Problem::NoRecordAvailable) {
            json!({ "position": position, "answer": "no-record-available" })
        } else {
            let mut problem = refusal.details(self.asked.request_id.as_deref());
            if let Some(members) = problem.as_object_mut() {
                members.remove("receipt");
                members.remove("decision_id");
            }
            json!({ "position": position, "answer": "not-answered", "problem": problem })
        };
        if let (Some(members), Some(receipt)) = (said.as_object_mut(), &refusal.receipt) {
            members.insert("receipt".to_owned(), short(receipt));
        }
        said
    }

    /// Records where the list is.
    async fn record(
        &self,
        action: &str,
        (answered, released): (u64, u64),
        reason: Option<String>,
    ) -> Result<Committed, Problem> {
        let entry = Body::ListMoved {
            list_id: self.id.to_string(),
            action: action.to_owned(),
            chunk: self.chunk,
            answered,
            released,
            reason,
        };
        let submission = Submission::of(self.app.clock.now(), vec![entry]);
        self.app.store.commit(submission).await.map_err(commit_problem)
    }

    /// The last line. A list whose answer has none broke off.
    async fn end(&mut self, problem: Option<Problem>) -> Vec<u8> {
        let answered = u64::try_from(self.next).unwrap_or(u64::MAX);
        let (action, reason) = match &problem {
            None => ("completed", None),
            Some(problem) => ("stopped", Some(problem.code())),
        };
        let committed = self.record(action, (answered, self.released), reason).await;
        self.has_end = true;
        let mut said = json!({ "end": action, "answered": answered, "released": self.released });
        if let Some(members) = said.as_object_mut() {
            if let Some(problem) = problem {
                let details = Refusal::from(problem).details(self.asked.request_id.as_deref());
                members.insert("problem".to_owned(), details);
            }
            if let Ok(committed) = committed {
                let position = committed.entries.last().map(|(position, _)| *position);
                members.insert("log_position".to_owned(), position.into());
                members.insert("checkpoint".to_owned(), (*committed.checkpoint).into());
            }
        }
        line(&said)
    }
}

impl Drop for Running {
    /// Nobody reads on: the caller broke off.
    fn drop(&mut self) {
        if self.has_end {
            return;
        }
        let entry = Body::ListMoved {
            list_id: self.id.to_string(),
            action: "stopped".to_owned(),
            chunk: self.chunk,
            answered: u64::try_from(self.next).unwrap_or(u64::MAX),
            released: self.released,
            reason: Some("caller-gone".to_owned()),
        };
        if !self.app.store.commit_unattended(Submission::of(self.app.clock.now(), vec![entry])) {
            tracing::warn!("that a list broke off could not be recorded");
        }
    }
}

/// Whether nobody else is to be asked about after such an answer.
fn stops(problem: &Problem) -> bool {
    match problem {
        Problem::Refused(reasons, _) => reasons.iter().copied().any(is_about_the_list),
        Problem::NoRecordAvailable
        | Problem::Referred
        | Problem::ProviderUnavailable
        | Problem::ProviderAnswerRefused
        | Problem::TookTooLong
        | Problem::Unsettled => false,
        _ => true,
    }
}

/// Somebody whose record is released. The record is the text that its digest in the ledger is of.
#[derive(Serialize)]
struct Released<'a> {
    position: usize,
    answer: &'static str,
    record: Option<&'a RawValue>,
    #[serde(flatten)]
    terms: Value,
}

fn released(position: usize, answer: &Answer) -> Vec<u8> {
    let mut terms = terms_json(answer);
    if let Some(receipt) = terms.get_mut("receipt") {
        without_checkpoint(receipt);
    }
    let record = answer.record.as_ref().and_then(|record| serde_json::from_str(record.as_json()).ok());
    line(&Released { position, answer: "released", record, terms })
}

/// A receipt without its checkpoint: the one at the end of the chunk covers it.
fn short(receipt: &Receipt) -> Value {
    let mut said = serde_json::to_value(receipt).unwrap_or_default();
    without_checkpoint(&mut said);
    said
}

fn without_checkpoint(receipt: &mut Value) {
    if let Some(members) = receipt.as_object_mut() {
        members.remove("checkpoint");
    }
}

fn line(said: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    line.push(b'\n');
    line
}

/// SHA-256 of a body, as the signed context names it.
pub fn digest(body: &[u8]) -> String {
    use sha2::Digest as _;
    hexadecimal(&sha2::Sha256::digest(body))
}
