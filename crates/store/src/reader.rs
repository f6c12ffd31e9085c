//! The one reader of what decides about people. It takes whatever look-ups are waiting, answers them with one statement for
//! all of them, and keeps nothing. It has connections of its own: nobody who reads much holds up a decision.
//!
//! A look-up is taken before the snapshot begins, so that whoever asked sees everything that was committed before they
//! asked: there is no cache between a withdrawal and the next decision. There is no timer either: one that is alone is
//! answered at once. Everything is read whatever is known of a person, so that nobody can tell from the time that it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use sharing::{
    Pseudonym, PurposeClass, SubjectIdentifier, SubjectState,
    policy::hexadecimal,
    subject::{ConsentRecord, Objection},
};
use sqlx::AnyPool;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    alerting::MarkRow,
    database::{ANSWERED_MAX, Database},
    error::StoreError,
    fact::Fact,
    figures::Figures,
    lookup::{LookupKey, Resolved},
    open::{Store, beside},
    opt_out::{self, OptOutChecks, RawOptOut},
    row::to_list,
    subjects::{self, RawName},
};

mod parts;

pub(crate) use parts::HELD;
use parts::Part;

/// Most look-ups in one statement.
const BATCH_MAX: usize = 128;

/// How many batches a server works on at once: one is on its way while another is worked on.
const LANES_OF_SERVER: u32 = 2;

/// How many connections the reader of a database has.
pub(crate) fn lanes(database: &Database) -> u32 {
    if database.is_shared() { LANES_OF_SERVER } else { 1 }
}

/// What is looked up for one question about one person.
#[derive(Debug, Clone)]
pub struct LookUp {
    /// By which the person is named.
    pub identifiers: Vec<SubjectIdentifier>,
    /// The name that stands for those of them that nobody has used before.
    pub fresh: Pseudonym,
    /// Every identifier that the opt-out checks may know the person by.
    pub checked_as: Vec<SubjectIdentifier>,
    /// The purpose.
    pub purpose: PurposeClass,
    /// The registered marks that are compared, where any are.
    pub marks: Option<MarksWanted>,
    /// When it is asked.
    pub at: Timestamp,
}

/// Which marks are compared: those with one of these hashes, and all of the practitioner's.
#[derive(Debug, Clone)]
pub struct MarksWanted {
    /// The practitioner's organisation.
    pub organisation: String,
    /// The practitioner.
    pub practitioner: String,
    /// The hashes.
    pub hashes: Vec<Vec<u8>>,
}

/// What is held about the person of a look-up.
#[derive(Debug)]
pub struct Held {
    /// The name behind each of the identifiers, in their order.
    pub resolved: Vec<Resolved>,
    /// What decides.
    pub state: SubjectState,
    /// The opt-out checks that it was read beside, for a purpose that they apply to.
    pub checks: Option<OptOutChecks>,
    /// The marks in force.
    pub marks: Vec<MarkRow>,
}

/// The policies in force, by revision and digest, and the time of the ledger's newest entry.
pub(crate) type PoliciesRow = (i64, String, i64);

/// One that waits.
pub(crate) enum Waiting {
    Person(Box<LookUp>, oneshot::Sender<Result<Held, StoreError>>, Instant),
    Policies(oneshot::Sender<Result<Option<PoliciesRow>, StoreError>>, Instant),
}

impl Waiting {
    fn since(&self) -> Instant {
        match self {
            Self::Person(_, _, since) | Self::Policies(_, since) => *since,
        }
    }

    fn fail(self, error: &StoreError) {
        let error = StoreError::Ledger(error.to_string());
        // Nobody may be waiting any more.
        match self {
            Self::Person(_, reply, _) => drop(reply.send(Err(error))),
            Self::Policies(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

impl Store {
    /// What is held about the person of a question: read after this was called, with whatever else is waiting.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn look_up(&self, look_up: LookUp) -> Result<Held, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.read(Waiting::Person(Box::new(look_up), reply, Instant::now()), answer).await
    }

    /// The policy set in force: its revision and digest. Read after this was called; and so is the ledger's time
    /// ([`Self::latest`]), which other replicas move on.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn policy_set(&self) -> Result<Option<(i64, String)>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let policies = self.read(Waiting::Policies(reply, Instant::now()), answer).await?;
        Ok(policies.map(|(revision, digest, latest_us)| {
            self.is_later(latest_us);
            (revision, digest)
        }))
    }

    async fn read<T>(
        &self,
        waiting: Waiting,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let gone =
            || StoreError::Ledger("too many look-ups are waiting, or the database was closed".to_owned());
        self.look_ups.try_send(waiting).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What a reader reads with.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) pool: AnyPool,
    pub(crate) database: Database,
    pub(crate) lookup_key: Arc<LookupKey>,
    pub(crate) figures: Arc<Figures>,
}

impl Reader {
    /// Begins to answer what is put into the queue that it returns.
    ///
    /// # Errors
    /// [`StoreError`] when no thread can be had.
    pub(crate) fn start(self, queue_max: usize) -> Result<mpsc::Sender<Waiting>, StoreError> {
        let (asking, asked) = mpsc::channel(queue_max);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..lanes(&self.database) {
            beside(&self.database, "look-ups", self.clone().run(asked.clone()))?;
        }
        Ok(asking)
    }

    /// Runs until every [`Store`] is gone. Several may take from one queue.
    async fn run(self, queue: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let count = queue.lock().await.recv_many(&mut batch, BATCH_MAX).await;
            let Some(first) = batch.first() else { return };
            let (began, waited) = (Instant::now(), first.since().elapsed());
            let read = self.database.answered(ANSWERED_MAX, self.read(&batch)).await;
            self.figures.reads.note(count, waited, began.elapsed());
            match read {
                Ok(read) => batch.drain(..).for_each(|waiting| read.answer(waiting, &self.lookup_key)),
                Err(error) => batch.drain(..).for_each(|waiting| waiting.fail(&error)),
            }
        }
    }

    /// Everything that bears on a batch, as it is at one moment.
    async fn read(&self, batch: &[Waiting]) -> Result<Read, StoreError> {
        let look_ups: Vec<&LookUp> = batch
            .iter()
            .filter_map(|waiting| match waiting {
                Waiting::Person(look_up, ..) => Some(&**look_up),
                Waiting::Policies(..) => None,
            })
            .collect();
        let mut read = Read::default();
        if look_ups.is_empty() {
            let policies = sqlx::query_as(
                "SELECT revision, digest, coalesce((SELECT at_us FROM ledger_entry ORDER BY seq DESC LIMIT 1), 0)
                 FROM policy_set WHERE id = 1",
            );
            read.policies = policies.fetch_optional(&self.pool).await?;
            return Ok(read);
        }
        let identifiers = look_ups.iter().flat_map(|one| &one.identifiers);
        let hashes = identifiers.map(|identifier| self.lookup_key.hash(identifier));
        let fresh = look_ups.iter().map(|one| one.fresh.as_str()).collect();
        let marks: Vec<_> = look_ups.iter().filter_map(|one| one.marks.as_ref()).collect();
        let of_marks = marks.iter().flat_map(|wanted| wanted.hashes.iter().cloned());
        let organisations = marks.iter().map(|wanted| wanted.organisation.as_str()).collect();
        let practitioners = marks.iter().map(|wanted| wanted.practitioner.as_str()).collect();
        let checked = look_ups.iter().filter(|one| one.purpose.rules().opt_out_applies);
        let of_checks = checked
            .flat_map(|one| opt_out::hashes(&self.lookup_key, one.purpose, &one.checked_as))
            .map(|hash| hash.0);
        let held = sqlx::query(HELD).bind(hexadecimals(hashes)).bind(listed(fresh));
        let held = held.bind(hexadecimals(of_marks)).bind(listed(organisations)).bind(listed(practitioners));
        for row in held.bind(hexadecimals(of_checks)).fetch_all(&self.pool).await? {
            read.take(Part::read(&row)?);
        }
        Ok(read)
    }
}

/// A name that was found, by which hash or other name of the same person.
struct FoundName {
    hash: Option<Vec<u8>>,
    via: String,
    member: RawName,
}

type BySubject<T> = BTreeMap<String, Vec<Result<T, StoreError>>>;

/// What was read for a batch. A row that cannot be read fails the look-ups of its person alone.
#[derive(Default)]
struct Read {
    policies: Option<PoliciesRow>,
    names: Vec<FoundName>,
    consents: BySubject<ConsentRecord>,
    objections: BySubject<Objection>,
    facts: BySubject<Fact>,
    marks: BTreeMap<String, MarkRow>,
    opt_outs: Vec<RawOptOut>,
    /// The batches of opt-out checks of each purpose.
    checks: BTreeMap<String, BTreeSet<String>>,
}

impl Read {
    fn take(&mut self, part: Part) {
        match part {
            Part::Name(hash, via, member) => self.names.push(FoundName { hash, via, member }),
            Part::Consent(raw) => {
                self.consents.entry(raw.subject.clone()).or_default().push(raw.try_into());
            }
            Part::Objection(raw) => {
                self.objections.entry(raw.subject.clone()).or_default().push(raw.try_into());
            }
            Part::Fact(subject, fact) => self.facts.entry(subject).or_default().push(fact),
            Part::Mark(mark) => drop(self.marks.insert(mark.id.clone(), mark)),
            Part::OptOut(checked) => self.opt_outs.push(checked),
            Part::Checks(batch, purpose) => drop(self.checks.entry(purpose).or_default().insert(batch)),
            Part::Policies(row) => self.policies = Some(row),
        }
    }

    fn answer(&self, waiting: Waiting, key: &LookupKey) {
        // Nobody may be waiting any more.
        match waiting {
            Waiting::Person(look_up, reply, _) => drop(reply.send(self.held(&look_up, key))),
            Waiting::Policies(reply, _) => drop(reply.send(Ok(self.policies.clone()))),
        }
    }

    fn held(&self, look_up: &LookUp, key: &LookupKey) -> Result<Held, StoreError> {
        let resolved =
            look_up.identifiers.iter().map(|identifier| self.resolve(key.hash(identifier), &look_up.fresh));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let is_asked = |name: &&FoundName| resolved.iter().any(|one| one.pseudonym.as_str() == name.via);
        let members: BTreeMap<_, _> = self
            .names
            .iter()
            .filter(is_asked)
            .map(|name| (name.member.pseudonym.as_str(), &name.member))
            .collect();
        let mut state = subjects::named(members.values().copied(), None)?;
        for name in members.keys() {
            state.consents.extend(of(&self.consents, name)?);
            state.objections.extend(of(&self.objections, name)?);
            for fact in of(&self.facts, name)? {
                fact.add_to(&mut state);
            }
        }
        state.consents.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        state.objections.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        state.relationships.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        state.grants.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        state.emergencies.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        let mut checks = None;
        if look_up.purpose.rules().opt_out_applies {
            let batches = self.checks.get(look_up.purpose.as_str()).cloned().unwrap_or_default();
            checks = Some(OptOutChecks { purpose: look_up.purpose, batches });
            let hashes = opt_out::hashes(key, look_up.purpose, &look_up.checked_as);
            state.opt_out = opt_out::strictest(&self.opt_outs, &hashes, look_up.purpose, look_up.at);
        }
        let marks = look_up.marks.as_ref().map(|wanted| self.marks_for(wanted, look_up.at));
        Ok(Held { resolved, state, checks, marks: marks.unwrap_or_default() })
    }

    fn resolve(&self, lookup_hash: Vec<u8>, fresh: &Pseudonym) -> Result<Resolved, StoreError> {
        let known = self.names.iter().find(|name| name.hash.as_ref() == Some(&lookup_hash));
        let Some(known) = known else {
            return Ok(Resolved { pseudonym: fresh.clone(), known: false, lookup_hash });
        };
        let corrupt = |_| StoreError::CorruptRow { table: "subject_identifier", row: "by hash".to_owned() };
        Ok(Resolved { pseudonym: known.via.parse().map_err(corrupt)?, known: true, lookup_hash })
    }

    fn marks_for(&self, wanted: &MarksWanted, at: Timestamp) -> Vec<MarkRow> {
        let is_wanted = |mark: &&MarkRow| {
            let is_own = mark.organisation == wanted.organisation && mark.practitioner == wanted.practitioner;
            (is_own || wanted.hashes.contains(&mark.hash))
                && mark.until_us.is_none_or(|until| at.as_microsecond() < until)
        };
        self.marks.values().filter(is_wanted).cloned().collect()
    }
}

/// What was found of one name.
fn of<T: Clone>(found: &BySubject<T>, name: &str) -> Result<Vec<T>, StoreError> {
    let rows = found.get(name).into_iter().flatten();
    let copied = rows.map(|row| match row {
        Ok(value) => Ok(value.clone()),
        Err(StoreError::CorruptRow { table, row }) => Err(StoreError::CorruptRow { table, row: row.clone() }),
        Err(error) => Err(StoreError::Ledger(error.to_string())),
    });
    copied.collect()
}

fn hexadecimals(hashes: impl IntoIterator<Item = Vec<u8>>) -> String {
    let distinct: BTreeSet<_> = hashes.into_iter().map(|hash| hexadecimal(&hash)).collect();
    to_list(&distinct.into_iter().collect::<Vec<_>>())
}

fn listed(values: BTreeSet<&str>) -> String {
    to_list(&values.into_iter().collect::<Vec<_>>())
}
