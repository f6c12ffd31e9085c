//! What every request can reach, and the router.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use connectors::Connectors;
use sharing::{PolicySet, SubjectIdentifier};
use store::{Store, trail::TrailIndex};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    admission::{Admission, PartnerLimits, Places, Reserved},
    alerts::{deliver::Notifier, evaluate::Evaluator},
    answer_time::RecordTimes,
    blocks::Archiving,
    caller::Authenticator,
    caller_use::Budgets,
    clock::{Clock, Entropy, SET_MAX},
    dataspace::Dataspace,
    exporting::asked::Exports,
    list::Lists,
    policies::Folder,
    shed::Shed,
    telemetry::{gauges::Expiry, metrics::Metrics},
    witnessed::Witnessing,
};

/// Policies in force, and the revision under which the ledger announced them.
#[derive(Clone)]
pub struct InForce {
    /// The policies.
    pub set: Arc<PolicySet>,
    /// Their revision, from 1.
    pub revision: i64,
}

/// Bounds on requests.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Largest body.
    pub body_bytes_max: usize,
    /// Largest body with the terms of an agreement: sixty parties and their flows fit.
    pub terms_bytes_max: usize,
    /// Longest time for one request.
    pub deadline: Duration,
    /// The first of the times at which "no record is available" is answered; see [`crate::answer_time`].
    pub no_record_step: Duration,
    /// Most requests worked on at once.
    pub requests_max: usize,
    /// Most items in one question.
    pub items_max: usize,
    /// Longest time for a body to arrive.
    pub body_read_timeout: Duration,
    /// What one partner's system may have.
    pub partner: PartnerLimits,
    /// How much a caller may ask.
    pub budgets: Budgets,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            terms_bytes_max: 512 * 1024,
            deadline: Duration::from_secs(10),
            no_record_step: Duration::from_millis(25),
            requests_max: 256,
            items_max: 100,
            body_read_timeout: Duration::from_secs(5),
            partner: PartnerLimits::default(),
            budgets: Budgets::default(),
        }
    }
}

/// What every request can reach.
pub struct App {
    /// The store.
    pub store: Store,
    /// The record holders.
    pub connectors: ArcSwap<Connectors>,
    /// Who may call.
    pub authenticator: Authenticator,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// How long record holders take.
    pub record_times: RecordTimes,
    /// The index for searching the trail.
    pub trail: TrailIndex,
    /// Who cosigns the ledger, where anybody is asked to.
    pub witnessing: Option<Witnessing>,
    /// What counts for alerts, beside the requests.
    pub evaluator: Evaluator,
    /// How people are told of alerts.
    pub notifier: Notifier,
    /// Whom agreements are negotiated with over the Dataspace Protocol, where they are.
    pub dataspace: Option<Dataspace>,
    /// What is taken away.
    pub exports: Exports,
    /// Where closed ranges are archived, where they are.
    pub archiving: Option<Archiving>,
    /// Identifiers that are traps.
    pub honey_records: Vec<SubjectIdentifier>,
    /// What is counted.
    pub metrics: Metrics,
    expiries: ArcSwap<Vec<Expiry>>,
    pub(crate) delivering: Mutex<()>,
    policies: ArcSwap<InForce>,
    /// One at a time takes policies in that another replica put in force.
    pub(crate) following: Mutex<()>,
    /// What is known of the policies' folder, which one at a time reads again.
    pub(crate) folder: Mutex<Folder>,
    leads: AtomicBool,
    /// Who may have how much.
    pub(crate) admission: Admission,
    /// Which lists are being worked on.
    pub(crate) lists: Lists,
    /// What was turned away.
    pub(crate) shed: Shed,
    pub(crate) places: Arc<Semaphore>,
    /// For taking consents back and for objecting, which is never turned away for other people's requests.
    pub(crate) reserved: Reserved,
    draining: AtomicBool,
    /// Whether the database's clock agrees.
    agrees: AtomicBool,
    /// By how much this machine's clock is behind the database server's, in microseconds, where they agree.
    behind_us: AtomicI64,
}

/// What an [`App`] is made of.
#[expect(missing_docs, reason = "each is described where it ends up, in App")]
pub struct Parts {
    pub store: Store,
    pub trail: TrailIndex,
    pub connectors: Connectors,
    pub authenticator: Authenticator,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub limits: RequestLimits,
    pub witnessing: Option<Witnessing>,
    pub notifier: Notifier,
    pub dataspace: Option<Dataspace>,
    pub exports: Exports,
    pub archiving: Option<Archiving>,
    pub metrics: Metrics,
    pub expiries: Vec<Expiry>,
    pub honey_records: Vec<SubjectIdentifier>,
    pub folder: Folder,
}

impl App {
    /// Brings everything together.
    pub fn new(parts: Parts, policies: InForce) -> Self {
        let Parts {
            store,
            trail,
            connectors,
            authenticator,
            clock,
            entropy,
            limits,
            witnessing,
            notifier,
            dataspace,
            exports,
            archiving,
            metrics,
            expiries,
            honey_records,
            folder,
        } = parts;
        let places = Arc::new(Semaphore::new(limits.requests_max));
        let reserved = Reserved::default();
        let policies = ArcSwap::from_pointee(policies);
        let (evaluator, delivering) = (Evaluator::default(), Mutex::new(()));
        let leads = AtomicBool::new(!store.is_shared());
        Self {
            store,
            connectors: ArcSwap::from_pointee(connectors),
            authenticator,
            clock,
            entropy,
            limits,
            record_times: RecordTimes::default(),
            trail,
            witnessing,
            evaluator,
            notifier,
            dataspace,
            exports,
            archiving,
            metrics,
            honey_records,
            expiries: ArcSwap::from_pointee(expiries),
            delivering,
            policies,
            following: Mutex::new(()),
            folder: Mutex::new(folder),
            leads,
            admission: Admission::new(limits.partner),
            lists: Lists::default(),
            shed: Shed::default(),
            places,
            reserved,
            draining: AtomicBool::new(false),
            agrees: AtomicBool::new(true),
            behind_us: AtomicI64::new(0),
        }
    }

    /// Whether the time can be believed: the clock was not set while the process ran, and is not behind the ledger's.
    pub fn is_clock_steady(&self) -> bool {
        self.clock.is_steady()
            && self.agrees.load(Ordering::Relaxed)
            && self.store.latest().duration_since(self.clock.now()) <= SET_MAX
    }

    /// The time by which questions are decided: the latest of this machine's, the database server's, and the ledger's. What
    /// another replica recorded with a clock that is ahead is not in the future here, and what has ended by the clock that
    /// all replicas share has ended here.
    pub fn now(&self) -> jiff::Timestamp {
        let behind = jiff::SignedDuration::from_micros(self.behind_us.load(Ordering::Relaxed));
        let now = self.clock.now();
        now.checked_add(behind).unwrap_or(now).max(self.store.latest())
    }

    /// Compares the clock with the database's, which all replicas share.
    pub(crate) fn compare_clock(&self, database: jiff::Timestamp) {
        let agrees = self.clock.is_near(database);
        // What was asked for took a moment to come: never too much. A server whose clock is far ahead would carry the ledger's time
        // with it.
        let behind = self
            .clock
            .skew_max()
            .filter(|_| agrees)
            .map(|_| database.duration_since(self.clock.now()).as_micros());
        let behind_us = behind.and_then(|behind| i64::try_from(behind.max(0)).ok()).unwrap_or(0);
        self.behind_us.store(behind_us, Ordering::Relaxed);
        if self.agrees.swap(agrees, Ordering::Relaxed) != agrees {
            tracing::error!(agrees, %database, "this machine's clock beside the database's");
        }
    }

    /// Whether the process is about to stop: whoever asks is sent elsewhere from now on.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says that the process is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether this is the replica that does what only one has to do.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leading(&self, leads: bool) {
        if self.leads.swap(leads, Ordering::Relaxed) != leads {
            tracing::info!(leads, "the replica that looks after alerts, retention, exports and blocks");
        }
    }

    /// What of the files in the settings ends, and when.
    pub fn expiries(&self) -> Arc<Vec<Expiry>> {
        self.expiries.load_full()
    }

    /// The files in the settings were read again.
    pub(crate) fn set_expiries(&self, expiries: Vec<Expiry>) {
        self.expiries.store(Arc::new(expiries));
    }

    /// Each pool of places: how many are taken, and how many there are.
    pub fn places_in_use(&self) -> [(&'static str, usize, usize); 3] {
        let all = self.limits.requests_max;
        let reserved = |kind| self.reserved.in_use(kind);
        [
            ("questions", all.saturating_sub(self.places.available_permits()), all),
            ("withdrawals", reserved(Places::TakesBack), Reserved::OF_ALL),
            ("consents", reserved(Places::Wishes), Reserved::OF_ALL),
        ]
    }

    /// The policies in force.
    pub fn policies(&self) -> InForce {
        (**self.policies.load()).clone()
    }

    /// Puts policies in force that the ledger has announced.
    pub fn set_policies(&self, policies: InForce) {
        self.policies.store(Arc::new(policies));
    }
}
