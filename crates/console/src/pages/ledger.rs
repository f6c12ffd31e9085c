//! The ledger's health, and verifying all of it by a click.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use ledger::{
    entry::{Body, Entry},
    tree::hexadecimal,
    verify::Verifier,
};
use store::Submission;
use tokio::sync::{Notify, watch};

use crate::{
    Console,
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
    last: Option<Last>,
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

#[derive(Clone)]
struct Last {
    is_sound: bool,
    /// It came to an end.
    is_whole: bool,
    words: String,
    when: String,
}

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
    last: Option<Last>,
    running: Option<Running>,
    may_verify: bool,
    checkpoint: String,
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
    // Every signature after the first is a witness's, or of a key that takes over.
    let signatures = head.checkpoint.lines().filter(|line| line.starts_with('\u{2014}')).count();
    let facts = vec![
        ("Name", head.checkpoint.lines().next().unwrap_or_default().to_owned()),
        ("Entries", head.size.to_string()),
        ("Newest entry", at.map(in_london).unwrap_or_default()),
        ("Root", hexadecimal(&head.root)),
        ("Signatures on the checkpoint", signatures.to_string()),
        ("Keys", store.ledger_keys().iter().map(|key| key.name().to_owned()).collect::<Vec<_>>().join(", ")),
    ];
    let Progress { running, last } = console.verified.state.borrow().clone();
    let page = LedgerPage {
        frame: Frame::of(&signed, "The ledger", "/ledger"),
        facts,
        last,
        running,
        may_verify: may_verify(&signed),
        checkpoint: head.checkpoint,
    };
    Ok(render(&page))
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
        console.verified.state.send_modify(|state| *state = Progress { running: None, last: Some(last) });
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
