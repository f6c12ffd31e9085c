//! Clients that keep an account of all they asked and received.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use acceptance::{Answer, Partners, Request};
use gateway::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// People about whom consent is given and taken back, one worker each.
pub const PEOPLE: [&str; 4] = ["SWR-2041", "SWR-2042", "SWR-2045", "SWR-2046"];
/// What references of made-up people begin with, all of whom the council has a record of; five figures follow.
pub const MADE_UP: &str = "GEN-0000";
/// Somebody about whom nothing changes.
pub const STEADY: &str = "9732110317";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The account: a line for every request, written when it ended.
pub struct Account {
    file: Mutex<std::fs::File>,
    begun: Instant,
    /// How many records came.
    pub received: AtomicU64,
    by_consent: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    unconnected: AtomicU64,
    unauthenticated: AtomicU64,
}

impl Account {
    /// Begins one.
    pub fn new(path: &std::path::Path) -> Self {
        let file = Mutex::new(std::fs::File::create(path).unwrap());
        Self {
            file,
            begun: Instant::now(),
            received: AtomicU64::new(0),
            by_consent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unconnected: AtomicU64::new(0),
            unauthenticated: AtomicU64::new(0),
        }
    }

    /// Microseconds since it began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    /// How many records came.
    pub fn records(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How many of them came because somebody had consented.
    pub fn by_consent(&self) -> u64 {
        self.by_consent.load(Ordering::Relaxed)
    }

    /// How many requests were answered with an error.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many requests had no answer.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How many of them because nobody took the connection.
    pub fn unconnected(&self) -> u64 {
        self.unconnected.load(Ordering::Relaxed)
    }

    /// How many requests were refused because of who sent them.
    pub fn unauthenticated(&self) -> u64 {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    /// Adds a line to it.
    pub fn note(&self, line: &Value) {
        writeln!(self.file.lock().unwrap(), "{line}").unwrap();
    }
}

/// Where requests go, changed while they run.
pub type Ports = Arc<Mutex<Vec<u16>>>;

/// Load that runs until it is stopped.
pub struct Load {
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

/// One that asks.
#[derive(Clone)]
pub struct Worker {
    number: usize,
    partners: Arc<Partners>,
    account: Arc<Account>,
    ports: Ports,
    stop: CancellationToken,
    clients: (reqwest::Client, reqwest::Client),
    turn: Arc<AtomicU64>,
}

impl Load {
    /// Starts it: a worker for each of [`PEOPLE`], and `steady` that ask about somebody about whom nothing changes, or
    /// whose identifier makes record holders fail.
    pub fn start(
        partners: &Arc<Partners>,
        account: &Arc<Account>,
        ports: &Ports,
        steady: &[&'static str],
    ) -> Self {
        let stop = CancellationToken::new();
        let worker = |number| Worker::new(number, partners, account, ports, &stop);
        let changing =
            PEOPLE.iter().enumerate().map(|(number, person)| tokio::spawn(worker(number).change(person)));
        let asking = steady.iter().enumerate().map(|(number, who)| {
            let worker = worker(PEOPLE.len() + number);
            tokio::spawn(worker.ask_about(if who.is_empty() { STEADY } else { who }))
        });
        let workers = changing.chain(asking).collect();
        Self { stop, workers }
    }

    /// None.
    pub fn none() -> Self {
        Self { stop: CancellationToken::new(), workers: Vec::new() }
    }

    /// Stops it, whatever is on its way.
    pub fn abort(self) {
        self.workers.iter().for_each(JoinHandle::abort);
    }

    /// Stops it, when the requests that are on their way have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        for worker in self.workers {
            worker.await.unwrap();
        }
    }
}

/// How answers were, by status; 0 is none.
pub type Statuses = BTreeMap<u16, u64>;

/// Answers to questions that were sent at a rate of their own.
pub struct Answered {
    /// How many of each status.
    pub statuses: Statuses,
    /// How long each took that came with a record, in order of length.
    took: Vec<Duration>,
}

impl Answered {
    /// How many came with a record.
    pub fn records(&self) -> u64 {
        self.statuses.get(&200).copied().unwrap_or(0)
    }

    /// How long the record took that so many in a hundred did not take longer than, in microseconds.
    pub fn took_us(&self, of_hundred: usize) -> u64 {
        let place = (self.took.len() * of_hundred).div_ceil(100).saturating_sub(1);
        self.took.get(place).map_or(0, |took| u64::try_from(took.as_micros()).unwrap())
    }

    /// With the answers of others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for (status, count) in others.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.took.extend(others.took);
        self.took.sort_unstable();
        self
    }
}

/// A partner's questions at a rate of their own, whatever becomes of those before (an open loop): a client that waits for answers
/// would slow down with the gateway, and show it faster than it is.
pub async fn open_loop(
    (partners, account, ports): (&Arc<Partners>, &Arc<Account>, &Ports),
    (partner, person): (&'static str, &'static str),
    (per_second, seconds): (u64, u64),
) -> Answered {
    let mut worker = Worker::new(100, partners, account, ports, &CancellationToken::new());
    worker.clients.1 = partners.client(partner);
    let mut every = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    for _ in 0..per_second * seconds {
        every.tick().await;
        let worker = worker.clone();
        sent.push(tokio::spawn(async move {
            let question = worker.partners.prevention(person);
            let request = Request { certificate_of: partner, tokens_of: partner, ..question };
            let begun = Instant::now();
            (worker.send("ask", &request, json!({ "person": person })).await, begun.elapsed())
        }));
    }
    let (mut statuses, mut took) = (Statuses::new(), Vec::new());
    for one in sent {
        let (answer, elapsed) = one.await.unwrap();
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            took.push(elapsed);
        }
        if let Some(answer) = &answer
            && answer.status != 200
        {
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        }
        *statuses.entry(answer.map_or(0, |answer| answer.status.as_u16())).or_default() += 1;
    }
    took.sort_unstable();
    Answered { statuses, took }
}

/// Takes these consents back, one after the other, each once. How many were taken.
pub async fn withdraw_each(
    (partners, account, ports): (&Arc<Partners>, &Arc<Account>, &Ports),
    consents: &[(String, String)],
) -> usize {
    let client = partners.client("council");
    let mut taken = 0;
    for (person, consent) in consents {
        let path = format!("/v1/consents/{consent}/withdraw");
        let request = partners.bare("council", "POST", &path, "safe-and-well-referral");
        let port = ports.lock().unwrap()[0];
        let sent_us = account.now_us();
        let answer = partners.send_to(&client, port, &request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        account.note(&json!({
            "op": "withdraw", "worker": 101, "port": port, "sent_us": sent_us, "answered_us": account.now_us(),
            "person": person, "consent": consent, "status": status,
            "media_type": answer.as_ref().ok().and_then(|answer| answer.headers.get("content-type")),
            "receipt": answer.as_ref().map(|answer| answer.body["receipt"].clone()).unwrap_or_default(),
            "body": answer.as_ref().map(|answer| answer.body.clone()).unwrap_or_default(),
        }));
        taken += usize::from(status == 200);
    }
    taken
}

impl Worker {
    /// One that asks until `stop`.
    pub fn new(
        number: usize,
        partners: &Arc<Partners>,
        account: &Arc<Account>,
        ports: &Ports,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            number,
            partners: partners.clone(),
            account: account.clone(),
            ports: ports.clone(),
            stop: stop.clone(),
            clients: (partners.client("council"), partners.client("fire")),
            turn: Arc::new(AtomicU64::new(u64::try_from(number).unwrap())),
        }
    }

    /// Sends a request to the next gateway and notes what came.
    async fn send(&self, op: &str, request: &Request, more: Value) -> Option<Answer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let port = {
            let ports = self.ports.lock().unwrap();
            ports[usize::try_from(turn).unwrap() % ports.len()]
        };
        let client = if request.certificate_of == "council" { &self.clients.0 } else { &self.clients.1 };
        let sent_us = self.account.now_us();
        let answered = timeout(PATIENCE, self.partners.send_to(client, port, request)).await;
        let answered_us = self.account.now_us();
        let mut line = json!({
            "op": op, "worker": self.number, "port": port, "sent_us": sent_us, "answered_us": answered_us,
        });
        let members = line.as_object_mut().unwrap();
        members.extend(more.as_object().cloned().unwrap_or_default());
        let by_consent = more["person"].as_str().is_some_and(|person| PEOPLE.contains(&person));
        let answer = match answered {
            Err(_) => {
                members.insert("failed".to_owned(), "no answer in time".into());
                None
            }
            Ok(Err(error)) => {
                self.account.unconnected.fetch_add(u64::from(error.is_connect()), Ordering::Relaxed);
                let kind = if error.is_connect() { "no connection" } else { "broken off" };
                members.insert("failed".to_owned(), kind.into());
                None
            }
            Ok(Ok(answer)) => {
                self.account.unauthenticated.fetch_add(u64::from(answer.status == 401), Ordering::Relaxed);
                self.account.refused.fetch_add(u64::from(answer.status.as_u16() >= 400), Ordering::Relaxed);
                members.insert("status".to_owned(), answer.status.as_u16().into());
                let media = answer.headers.get("content-type").cloned().unwrap_or_default();
                members.insert("media_type".to_owned(), media.into());
                members.insert("receipt".to_owned(), answer.body["receipt"].clone());
                if answer.body.get("record").is_some() {
                    self.account.received.fetch_add(1, Ordering::Relaxed);
                    self.account.by_consent.fetch_add(u64::from(by_consent), Ordering::Relaxed);
                    // As it came: its digest is over its text.
                    members.insert("text".to_owned(), answer.text.clone().into());
                } else {
                    members.insert("body".to_owned(), answer.body.clone());
                }
                Some(answer)
            }
        };
        self.account.note(&line);
        if answer.is_none() {
            self.account.failed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        answer
    }

    fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    async fn ask_about(self, number: &str) {
        while !self.stopped() {
            self.send("ask", &self.partners.prevention(number), json!({ "person": number })).await;
        }
    }

    /// Consent, questions, withdrawal in the middle of questions, questions; and again.
    async fn change(self, person: &'static str) {
        while !self.stopped() {
            let Some(consent) = self.give(person).await else { continue };
            let asking: Vec<_> = (0..3).map(|_| tokio::spawn(self.clone().ask(person, 3))).collect();
            let turn = self.turn.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(turn * 37 % 200)).await;
            self.withdraw(person, &consent).await;
            for one in asking {
                one.await.unwrap();
            }
            self.clone().ask(person, 2).await;
        }
    }

    /// Asks about somebody, one question after the other.
    pub async fn ask(self, person: &'static str, times: usize) {
        for _ in 0..times {
            self.send("ask", &self.partners.referral(person), json!({ "person": person })).await;
        }
    }

    /// Records a consent, whose identifier comes back when it was taken.
    pub async fn give(&self, person: &'static str) -> Option<String> {
        self.give_for(person, None).await
    }

    /// As [`Self::give`], for so long.
    pub async fn give_for(&self, person: &'static str, time: Option<Duration>) -> Option<String> {
        let mut request = self.partners.consent(person);
        let (now, body) = (SystemClock.now(), request.body.as_mut().unwrap());
        body["given_at"] = now.to_string().into();
        if let Some(time) = time {
            body["expires_at"] = (now + time).to_string().into();
        }
        let answer = self.send("consent", &request, json!({ "person": person })).await?;
        if answer.status != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return None;
        }
        Some(answer.body["id"].as_str().unwrap().to_owned())
    }

    /// Withdraws a consent: until somebody says that it was.
    pub async fn withdraw(&self, person: &'static str, consent: &str) {
        let path = format!("/v1/consents/{consent}/withdraw");
        for _ in 0..200 {
            let request = self.partners.bare("council", "POST", &path, "safe-and-well-referral");
            let more = json!({ "person": person, "consent": consent });
            let answer = self.send("withdraw", &request, more).await;
            if answer.is_some_and(|answer| answer.status == 200 || answer.status == 409) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a withdrawal was never taken");
    }
}
