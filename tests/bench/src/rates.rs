//! Questions that come at a rate of their own, whatever becomes of those before them (an open loop): where the gateway cannot do
//! more, what it does of five times as many, and a steady load that is accounted for to the last answer.
//!
//! `target/release/bench rates [SECONDS [STEADY_SECONDS]]`, with `--database` and `--people COUNT`, who are loaded first, each with a
//! consent. The client shares the processors with the gateway and signs each question's context as it goes.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio_rustls::TlsConnector;

use crate::{
    PRACTITIONERS, Signing,
    client::{self, Offered},
    contestants::{self, GATEWAY, cpu, memory, pid},
    say, upstream,
};

/// Connections for what can be answered; as many as a system has places.
const CALM: usize = 96;
/// And for what cannot.
const FLOOD: usize = 900;
/// The first rate, and how much each is above the one before.
const FIRST: u32 = 400;
const MORE_PERCENT: u32 = 25;
/// The highest rate that is tried.
const RATE_MAX: u32 = 10_000;
/// A rate is answered where all but one of a hundred have an answer, all but one of a hundred within so long.
const KNEE: Duration = Duration::from_millis(500);
/// After which a token is replaced.
const TOKEN_FOR: Duration = Duration::from_mins(4);

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) seconds: u32,
    pub(crate) steady_seconds: u32,
    pub(crate) database: Option<&'a str>,
    pub(crate) people: Option<u64>,
}

/// Finds the knee, goes five times beyond it, and then stays at half of it.
pub(crate) async fn run(wanted: &Wanted<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path();
    // Limits as they are without settings, but for the connections that one system may have.
    let more = "[limits]\nconnections_per_certificate_max = 1000\nconnections_per_address_max = 1000\n";
    let running = contestants::alone(state, wanted.database, more, wanted.people).await?;
    let gateway = pid(&running.gateway)?;
    let asking = Asking::of(state)?;
    say(
        "| connections | offered a second | answered a second | turned away | not sent in time | without an answer | p50 | p99 | p99.9 | CPU per request | memory |",
    );
    say("|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut released, mut knee, mut at_knee, mut peak) = (0, 0, 0.0_f64, 0.0_f64);
    let mut rate = FIRST;
    // A disk that others use stops now and then: what is not answered is tried once more.
    let mut failed = 0;
    while rate < RATE_MAX && failed < 2 {
        let offered = asking.offer(gateway, rate, wanted.seconds, CALM).await?;
        released += offered.answered();
        peak = peak.max(offered.per_second());
        if is_answered(&offered, rate * wanted.seconds) {
            (knee, at_knee, failed) = (rate, offered.per_second(), 0);
            rate += rate * MORE_PERCENT / 100;
        } else {
            failed += 1;
        }
    }
    ensure!(knee > 0, "not even {FIRST} a second are answered");
    let flood = asking.offer(gateway, 5 * knee, wanted.seconds, FLOOD).await?;
    released += flood.answered();
    let kept = |of: f64| flood.per_second() / of * 100.0;
    say("");
    say(&format!(
        "The knee is at {knee} a second, of which {at_knee:.0} were answered; {peak:.0} were at most. Of five times as many {:.0} % of the one and {:.0} % of the other were.",
        kept(at_knee),
        kept(peak)
    ));
    if wanted.steady_seconds > 0 {
        say("");
        let steady = asking.offer(gateway, knee / 2, wanted.steady_seconds, CALM).await?;
        released += steady.answered();
        let all = u64::from(knee / 2 * wanted.steady_seconds);
        say("");
        say(&format!("{} of {all} were answered.", steady.answered()));
    }
    let recorded = running.end(state).await?;
    say("");
    say(&format!("{released} records were received, and the ledger has {recorded} releases."));
    ensure!(recorded >= released, "a record was received that is not in the ledger");
    Ok(())
}

fn is_answered(offered: &Offered, asked: u32) -> bool {
    offered.answered() * 100 >= u64::from(asked) * 99 && offered.took(990) <= KNEE
}

/// The partner that asks, and about whom.
struct Asking {
    connector: TlsConnector,
    people: Vec<String>,
    partner: Signing,
    token: RefCell<(String, Instant)>,
    next: Cell<usize>,
}

impl Asking {
    fn of(state: &Path) -> anyhow::Result<Rc<Self>> {
        let partner = Signing::of(state)?;
        let token = RefCell::new((partner.token()?, Instant::now()));
        let (people, _) = upstream::people()?;
        let connector = client::connector(state)?;
        Ok(Rc::new(Self { connector, people, partner, token, next: Cell::new(0) }))
    }

    /// The next question, signed.
    fn question(&self) -> anyhow::Result<Vec<u8>> {
        let mut token = self.token.borrow_mut();
        if token.1.elapsed() > TOKEN_FOR {
            *token = (self.partner.token()?, Instant::now());
        }
        let place = self.next.replace(self.next.get() + 1);
        let number = self.people.get(place % self.people.len()).context("nobody to ask about")?;
        self.partner.question(&token.0, "fire-prevention-targeting", number, place % PRACTITIONERS)
    }

    /// So many a second, for so many seconds, over so many connections; and the line of the table.
    async fn offer(
        self: &Rc<Self>,
        gateway: u32,
        rate: u32,
        seconds: u32,
        connections: usize,
    ) -> anyhow::Result<Offered> {
        let before = cpu(&[gateway])?;
        let asking = self.clone();
        let next = move || asking.question();
        let offered =
            client::offer(&self.connector, GATEWAY, next, connections, (rate, rate * seconds)).await?;
        let used = cpu(&[gateway])?.saturating_sub(before) / (rate * seconds);
        let ms = |of| offered.took(of).as_secs_f64() * 1e3;
        say(&format!(
            "| {connections} | {rate} | {:.0} | {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {} µs | {} MB |",
            offered.per_second(),
            offered.turned_away,
            offered.not_sent,
            offered.unanswered,
            ms(500),
            ms(990),
            ms(999),
            used.as_micros(),
            memory(gateway)?.0,
        ));
        Ok(offered)
    }
}
