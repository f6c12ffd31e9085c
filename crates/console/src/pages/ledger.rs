//! The ledger's health, and verifying all of it by a click.

use std::sync::{Arc, Mutex, PoisonError};

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

use crate::{
    Console,
    fault::Fault,
    form::Form,
    page::{Frame, in_london, render},
    person::Right,
    session::Signed,
};

/// Most entries that are verified while somebody waits. More are verified with `concordat audit verify`.
const ENTRIES_MAX: u64 = 100_000;
/// Entries read at once.
const PAGE: u32 = 1_000;

/// How the last verification went, in this process.
#[derive(Default)]
pub(crate) struct Verified(Mutex<Option<Last>>);

#[derive(Clone)]
struct Last {
    is_sound: bool,
    words: String,
    when: String,
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct LedgerPage {
    frame: Frame,
    facts: Vec<(&'static str, String)>,
    last: Option<Last>,
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
    let last = console.verified.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let page = LedgerPage {
        frame: Frame::of(&signed, "The ledger", "/ledger"),
        facts,
        last,
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
    let (is_sound, words) = if head.size > ENTRIES_MAX {
        let words = format!(
            "It has {} entries, too many to verify while you wait. `concordat audit verify` does it, and so does anybody with an export and `concordat-verify`.",
            head.size
        );
        (true, words)
    } else {
        match recomputed(&console, head.size, &head.checkpoint).await? {
            Ok(()) => {
                let words = format!(
                    "All {} entries were read and the tree was computed again: it is the one that was signed, and what the entries say follows the rules.",
                    head.size
                );
                (true, words)
            }
            Err(fault) => {
                (false, format!("Do not rely on it; tell the operator and the witnesses: {fault}."))
            }
        }
    };
    let last = Last { is_sound, words, when: in_london(now) };
    *console.verified.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    Ok(Redirect::to("/ledger").into_response())
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
        // Others have their turn.
        tokio::task::yield_now().await;
    }
    Ok(match verifier {
        Some(verifier) => verifier.finish(checkpoint).map(drop).map_err(|fault| fault.to_string()),
        None => Err("it is empty".to_owned()),
    })
}
