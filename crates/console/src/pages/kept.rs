//! What somebody has written and not sent yet: kept for them, so that nothing is lost while they prove again who they are, or when
//! somebody else was first.

use axum::response::Response;
use jiff::SignedDuration;
use serde::{Serialize, de::DeserializeOwned};
use store::KeptRow;

use crate::{Console, fault::Fault, session::Signed};

/// How long it is kept, when nobody comes back to it.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Whose it is.
fn owner(signed: &Signed) -> (&str, &str) {
    (signed.person.organisation.as_str(), &signed.person.id)
}

/// Keeps it, in place of what was kept under the name.
pub(super) async fn keep(
    console: &Console,
    signed: &Signed,
    (kind, name): (&str, &str),
    content: &impl Serialize,
) -> Result<(), Fault> {
    let now = console.gateway.now();
    let store = console.gateway.store();
    let failed = |error: store::StoreError| Fault::broken(&error);
    let (organisation, person) = owner(signed);
    let row = KeptRow {
        organisation: organisation.to_owned(),
        person: person.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        content: serde_json::to_string(content).map_err(|error| Fault::broken(&error))?,
        kept_us: now.as_microsecond(),
    };
    store.forget_kept_before(kind, now.checked_sub(KEPT).unwrap_or(now)).await.map_err(failed)?;
    // Whoever keeps too much already is not kept from working.
    store.keep(&row).await.map(drop).map_err(failed)
}

/// What is kept under a name, if a program of this version can read it.
pub(super) async fn kept<T: DeserializeOwned>(
    console: &Console,
    signed: &Signed,
    (kind, name): (&str, &str),
) -> Result<Option<T>, Fault> {
    let rows = console.gateway.store().kept(owner(signed), kind).await;
    let rows = rows.map_err(|error| Fault::broken(&error))?;
    let row = rows.into_iter().find(|row| row.name == name);
    Ok(row.and_then(|row| serde_json::from_str(&row.content).ok()))
}

/// What is kept under a name, once: whoever is shown it has it in their form, and sends it or not.
pub(super) async fn take<T: DeserializeOwned>(
    console: &Console,
    signed: &Signed,
    (kind, name): (&str, &str),
) -> Result<Option<T>, Fault> {
    let found = kept(console, signed, (kind, name)).await?;
    if found.is_some() {
        forget(console, signed, (kind, name)).await?;
    }
    Ok(found)
}

/// As [`super::step_up_form`]: what was filled in is there when they are back, and was not sent.
pub(super) async fn step_up_form(
    console: &Console,
    signed: &Signed,
    to: &str,
    (name, filled): (&str, &impl Serialize),
) -> Result<Option<Response>, Fault> {
    if signed.is_fresh(console) {
        return Ok(None);
    }
    keep(console, signed, ("words", name), filled).await?;
    Ok(Some(super::prove(signed, to, true)))
}

/// Forgets it.
pub(super) async fn forget(
    console: &Console,
    signed: &Signed,
    (kind, name): (&str, &str),
) -> Result<(), Fault> {
    let forgotten = console.gateway.store().forget_kept(owner(signed), (kind, name)).await;
    forgotten.map_err(|error| Fault::broken(&error))
}
