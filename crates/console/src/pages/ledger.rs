//! The ledger's health, and verifying all of it by a click.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::{
    entry::{Body, Entry},
    tree::hexadecimal,
    verify::Verifier,
};
use serde::{Deserialize, Serialize};
use store::{KeptRow, Submission};
use tokio::sync::{Notify, watch};

use crate::{
    Console, Witnesses,
    fault::Fault,
    form::Form,
    page::{Frame, in_london, render},
    person::Right,
    session::Signed,
};

/// Entries read at once.
const PAGE: u32 = 1_000;
/// Longest verification. What takes longer is for `concordat audit verify`, which has a processor of its own.
const LONGEST: Duration = Duration::from_hours(1);
/// How long whoever asked waits for the end before they are shown how far it is.
const WAIT: Duration = Duration::from_secs(2);

/// Verification in this process: one at a time, by a task of its own, whoever asks for it.
pub(crate) struct Verified {
    asked: Notify,
    state: watch::Sender<Progress>,
}

#[derive(Clone, Default)]
struct Progress {
    running: Option<Running>,
}

#[derive(Clone)]
struct Running {
    done: u64,
    size: u64,
    since: String,
}

impl Running {
    fn percent(&self) -> u64 {
        self.done.saturating_mul(100).checked_div(self.size).unwrap_or(0).min(100)
    }
}

/// How the last verification here ended, at whichever replica: kept, so that a restart does not hide a ledger that is not sound.
#[derive(Clone, Serialize, Deserialize)]
struct Last {
    is_sound: bool,
    /// It came to an end.
    is_whole: bool,
    words: String,
    when: String,
}

/// Whose it is, and its name, among what the console keeps.
const OWNER: (&str, &str) = ("", "console");
const KIND: (&str, &str) = ("verification", "last");

impl Default for Verified {
    fn default() -> Self {
        Self { asked: Notify::new(), state: watch::Sender::new(Progress::default()) }
    }
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct LedgerPage {
    frame: Frame,
    facts: Vec<(&'static str, String)>,
    witnesses: Option<WitnessTable>,
    last: Option<Last>,
    running: Option<Running>,
    may_verify: bool,
    checkpoint: String,
}

/// The witnesses in words.
struct WitnessTable {
    /// How it is with them.
    words: String,
    is_in_order: bool,
    /// Each organisation, and what it has seen.
    rows: Vec<(String, String)>,
}

impl WitnessTable {
    fn of(console: &Console, witnesses: Witnesses, size: u64) -> Self {
        let policies = console.gateway.policies();
        let Witnesses { needed, each, witnessed, is_contradicted, is_in_order } = witnesses;
        let seen = match witnessed {
            Some((entries, at)) => format!(
                "Enough of them ({needed}) have cosigned the first {entries} of {size} entries, on {}.",
                in_london(at)
            ),
            None => format!("Not enough of them ({needed}) have cosigned anything yet."),
        };
        let words = match (is_contradicted, is_in_order) {
            (true, _) => format!(
                "{seen} A witness holds other entries of this ledger: it was changed, or an older copy is in use. Tell the operator at once."
            ),
            (false, true) => seen,
            (false, false) => {
                format!("{seen} That is too long ago: the operator is to find out why they do not.")
            }
        };
        let rows = each.into_iter().map(|(organisation, entries)| {
            let name = policies.organisation(&organisation).map(|known| known.name.clone());
            let name = name.unwrap_or_else(|| organisation.to_string());
            let seen = entries.map_or_else(
                || "Not asked since this gateway started".to_owned(),
                |entries| format!("{entries} entries"),
            );
            (name, seen)
        });
        Self { words, is_in_order: is_in_order && !is_contradicted, rows: rows.collect() }
    }
}

/// How long ago, as people say it.
fn ago(since: SignedDuration) -> String {
    let minutes = since.as_mins();
    let counted = |count: i64, what: &str| format!("{count} {what}{} ago", if count == 1 { "" } else { "s" });
    match minutes {
        ..=0 => "less than a minute ago".to_owned(),
        1..=119 => counted(minutes, "minute"),
        120..=2_879 => counted(minutes / 60, "hour"),
        _ => counted(minutes / 1_440, "day"),
    }
}

/// The page.
pub(crate) async fn show(State(console): State<Arc<Console>>, signed: Signed) -> Result<Response, Fault> {
    if signed.person.is_citizen() {
        return Err(Fault::forbidden());
    }
    let store = console.gateway.store();
    let failed = |error: store::StoreError| Fault::broken(&error);
    let head = store.head().await.map_err(failed)?;
    let newest = head.size.checked_sub(1).map(|last| store.leaves(last, 1));
    let newest = match newest {
        Some(reading) => reading.await.map_err(failed)?.into_iter().next(),
        None => None,
    };
    let at = newest.and_then(|leaf| Entry::decode(&leaf.bytes).ok()).map(|entry| entry.at_us);
    let at = at.and_then(|at_us| Timestamp::from_microsecond(at_us).ok());
    let now = console.gateway.now();
    // Every signature after the first is a witness's, or of a key that takes over.
    let signatures = head.checkpoint.lines().filter(|line| line.starts_with('\u{2014}')).count();
    let facts = vec![
        ("Name", head.checkpoint.lines().next().unwrap_or_default().to_owned()),
        ("Entries", head.size.to_string()),
        (
            "Newest checkpoint",
            at.map(|at| format!("{} ({})", in_london(at), ago(now.duration_since(at)))).unwrap_or_default(),
        ),
        ("Root", hexadecimal(&head.root)),
        ("Signatures on the checkpoint", signatures.to_string()),
        ("Keys", store.ledger_keys().iter().map(|key| key.name().to_owned()).collect::<Vec<_>>().join(", ")),
    ];
    let Progress { running } = console.verified.state.borrow().clone();
    let last = last(&console).await?;
    let witnesses = console.gateway.witnesses();
    let page = LedgerPage {
        frame: Frame::of(&signed, "The ledger", "/ledger"),
        facts,
        witnesses: witnesses.map(|witnesses| WitnessTable::of(&console, witnesses, head.size)),
        last,
        running,
        may_verify: may_verify(&signed),
        checkpoint: head.checkpoint,
    };
    Ok(render(&page))
}

async fn last(console: &Console) -> Result<Option<Last>, Fault> {
    let (kind, name) = KIND;
    let rows = console.gateway.store().kept(OWNER, kind).await.map_err(|error| Fault::broken(&error))?;
    let row = rows.into_iter().find(|row| row.name == name);
    Ok(row.and_then(|row| serde_json::from_str(&row.content).ok()))
}

async fn keep(console: &Console, last: &Last) -> Result<(), Fault> {
    let ((organisation, person), (kind, name)) = (OWNER, KIND);
    let row = KeptRow {
        organisation: organisation.to_owned(),
        person: person.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        content: serde_json::to_string(last).map_err(|error| Fault::broken(&error))?,
        kept_us: console.gateway.now().as_microsecond(),
    };
    console.gateway.store().keep(&row).await.map(drop).map_err(|error| Fault::broken(&error))
}

fn may_verify(signed: &Signed) -> bool {
    signed.person.may(Right::Audit) || signed.person.may(Right::Review)
}

/// Verifies every entry, the tree, the signature, and the order of what happened.
pub(crate) async fn verify(State(console): State<Arc<Console>>, form: Form) -> Result<Response, Fault> {
    if !may_verify(&form.signed) {
        return Err(Fault::forbidden());
    }
    let store = console.gateway.store();
    let failed = |error: store::StoreError| Fault::broken(&error);
    let head = store.head().await.map_err(failed)?;
    let now = console.gateway.now();
    let entry = Body::AuditRead {
        what: "verified in the console".to_owned(),
        by_operator: form.signed.person.id.clone(),
        from: 0,
        until: head.size,
    };
    store.commit(Submission::of(now, vec![entry])).await.map_err(|error| Fault::broken(&error))?;
    let mut state = console.verified.state.subscribe();
    let running = Running { done: 0, size: head.size, since: in_london(now) };
    let begins = console.verified.state.send_if_modified(|state| {
        let idle = state.running.is_none();
        if idle {
            state.running = Some(running);
        }
        idle
    });
    if begins {
        console.verified.asked.notify_one();
    }
    // Most ledgers are done before anybody would wonder.
    let _ = tokio::time::timeout(WAIT, state.wait_for(|state| state.running.is_none())).await;
    Ok(Redirect::to("/ledger").into_response())
}

/// Verifies whenever somebody has asked for it, until `stop` is done.
pub(crate) async fn verify_when_asked(console: Arc<Console>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = console.verified.asked.notified() => {}
        }
        let ended = tokio::select! {
            () = &mut stop => return,
            ended = tokio::time::timeout(LONGEST, whole(&console)) => ended,
        };
        let (is_sound, is_whole, words) = match ended {
            Ok(Ok(Ok(size))) => (true, true, format!("All {size} entries were read and the tree was computed again: it is the one that was signed, and what the entries say follows the rules.")),
            Ok(Ok(Err(fault))) => (false, true, format!("Do not rely on it; tell the operator and the witnesses: {fault}.")),
            Ok(Err(_)) => (true, false, "It could not be read to its end. Try again, and tell the operator if that does not help.".to_owned()),
            Err(_) => (true, false, "It takes longer than an hour, and was stopped. `concordat audit verify` does it, and so does anybody with an export and `concordat-verify`.".to_owned()),
        };
        let last = Last { is_sound, is_whole, words, when: in_london(console.gateway.now()) };
        if let Err(fault) = keep(&console, &last).await {
            tracing::error!(?fault, is_sound, is_whole, "how the ledger's verification ended was not kept");
        }
        console.verified.state.send_modify(|state| state.running = None);
    }
}

/// Everything that is there now: how many entries, or what is wrong with them.
async fn whole(console: &Console) -> Result<Result<u64, String>, Fault> {
    let head = console.gateway.store().head().await.map_err(|error| Fault::broken(&error))?;
    let done = recomputed(console, head.size, &head.checkpoint).await?;
    Ok(done.map(|()| head.size))
}

async fn recomputed(console: &Console, size: u64, checkpoint: &str) -> Result<Result<(), String>, Fault> {
    let store = console.gateway.store();
    let (mut verifier, mut next) = (None, 0);
    while next < size {
        let wanted = u32::try_from(size - next).unwrap_or(PAGE).min(PAGE);
        let leaves = store.leaves(next, wanted).await.map_err(|error| Fault::broken(&error))?;
        if leaves.is_empty() {
            return Ok(Err(format!("entry {next} is missing")));
        }
        next += leaves.len() as u64;
        for leaf in leaves {
            let current = match &mut verifier {
                Some(current) => current,
                none => {
                    let Ok(Entry { body: Body::LogOpened { public_key, .. }, .. }) =
                        Entry::decode(&leaf.bytes)
                    else {
                        return Ok(Err("the first entry does not open a ledger".to_owned()));
                    };
                    match Verifier::new(&public_key) {
                        Ok(new) => none.insert(new),
                        Err(fault) => return Ok(Err(fault.to_string())),
                    }
                }
            };
            if let Err(fault) = current.entry(&leaf.bytes) {
                return Ok(Err(fault.to_string()));
            }
        }
        console.verified.state.send_modify(|state| {
            if let Some(running) = &mut state.running {
                (running.done, running.size) = (next, size);
            }
        });
        // Others have their turn.
        tokio::task::yield_now().await;
    }
    Ok(match verifier {
        Some(verifier) => verifier.finish(checkpoint).map(drop).map_err(|fault| fault.to_string()),
        None => Err("it is empty".to_owned()),
    })
}
