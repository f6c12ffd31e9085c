//! "Who looked at me, and why?": the events about a person that one organisation answers for, as the ledger has them.
//!
//! An organisation answers for what was asked of its records and for what it asked. As the one that asked it sees no more
//! than it did then: whether an event is told depends on the purpose, and never on a mark on the person's record that the
//! asker must not learn of.

use jiff::Timestamp;
use ledger::{
    entry::{Body, Decided, Entry},
    trail::{self, Field, Term},
};
use sharing::{OrganisationId, Pseudonym, PurposeClass, visibility::Visibility};
use store::{StoreError, trail::TrailQuery, visibility::VisibilityRow};

use crate::app::App;

mod looks;
mod words;

pub use looks::{Look, ToldLook, look_of, look_reference, told_look};
pub(crate) use words::in_london;
pub use words::{Told, told};

/// Most events and looks in one answer. Whoever has more asks by years.
pub const EVENTS_MAX: usize = 2_000;

/// How many places of the index are read at a time.
const PAGE: u32 = 200;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A record was released.
    Given,
    /// Nothing was.
    NotGiven,
    /// Only whether it would be was asked.
    AskedOnly,
    /// It is not ended, or its end was lost in a crash.
    Unknown,
}

/// Somebody asked for a person's record.
#[derive(Debug, Clone)]
pub struct Event {
    /// What was asked and decided first.
    pub decided: Decided,
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// The items that were released, as `item:form`.
    pub items: Vec<String>,
    /// Whether the person is told. Only what the viewing organisation may know bears on it.
    pub visibility: Visibility,
    /// What was decided about telling.
    pub decisions: Vec<VisibilityRow>,
}

/// From when until when, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
}

/// Events and whether there are more.
pub struct Events {
    /// The newest first.
    pub events: Vec<Event>,
    /// Looks without a record being asked for, the newest first.
    pub looks: Vec<Look>,
    /// There are older ones in the window that are not here.
    pub more: bool,
}

/// Everything that happened to a person's data and that `viewer` answers for.
///
/// # Errors
/// [`StoreError`] when the database fails or the ledger cannot be read.
pub async fn events(
    app: &App,
    viewer: &OrganisationId,
    names: &[Pseudonym],
    window: Window,
) -> Result<Events, StoreError> {
    app.trail.catch_up(&app.store).await?;
    let terms = names.iter().map(|name| Term::new(Field::Subject, name.as_str())).collect();
    let mut query = TrailQuery {
        all_of: vec![terms],
        from_us: window.from.map(Timestamp::as_microsecond),
        until_us: window.until.map(Timestamp::as_microsecond),
        before: None,
    };
    let (mut events, mut looks) = (Vec::new(), Vec::new());
    loop {
        let places = app.trail.find(&query, PAGE).await?;
        if places.is_empty() {
            return Ok(Events { events, looks, more: false });
        }
        for place in places {
            query.before = Some(place);
            if events.len() + looks.len() >= EVENTS_MAX {
                return Ok(Events { events, looks, more: true });
            }
            let Some(leaf) = app.store.leaves(place, 1).await?.into_iter().next() else { continue };
            let entry = decode(&leaf.bytes)?;
            looks.extend(looks::look(app, viewer, &entry).await?);
            // A decision is one event, found where it began; a release may name it under another name.
            let first = match (trail::decided(&entry.body), &entry.body) {
                (Some(decided), _) => Some((decided.clone(), entry.at_us)),
                (None, Body::Release { decision_id, .. }) => begun(app, decision_id, names).await?,
                _ => None,
            };
            if let Some((decided, at_us)) = first
                && let Some(event) = event(app, viewer, decided, at_us).await?
            {
                events.push(event);
            }
        }
    }
}

/// Where a release's decision began, if it did so under a name that is not searched for.
async fn begun(
    app: &App,
    decision_id: &str,
    names: &[Pseudonym],
) -> Result<Option<(Decided, i64)>, StoreError> {
    let Some(entry) = store::trail::first_of(&app.store, decision_id).await? else { return Ok(None) };
    let decided = trail::decided(&entry.body).cloned();
    let elsewhere = decided.filter(|decided| !names.iter().any(|name| name.as_str() == decided.subject));
    Ok(elsewhere.map(|decided| (decided, entry.at_us)))
}

/// One decision as `viewer` answers for it; `None` when it does not.
///
/// # Errors
/// [`StoreError`] when the database fails or the ledger cannot be read.
pub async fn event_of(
    app: &App,
    viewer: &OrganisationId,
    decision_id: &str,
) -> Result<Option<Event>, StoreError> {
    let Some(entry) = store::trail::first_of(&app.store, decision_id).await? else { return Ok(None) };
    match trail::decided(&entry.body) {
        Some(decided) => event(app, viewer, decided.clone(), entry.at_us).await,
        None => Ok(None),
    }
}

async fn event(
    app: &App,
    viewer: &OrganisationId,
    decided: Decided,
    at_us: i64,
) -> Result<Option<Event>, StoreError> {
    let set = app.policies().set;
    let holder = decided
        .provider
        .parse()
        .ok()
        .and_then(|id| set.provider(&id).map(|held| held.organisation().clone()));
    let is_holder = holder.as_ref() == Some(viewer);
    if !is_holder && decided.recipient != viewer.as_str() {
        return Ok(None);
    }
    let mut outcome = if decided.answer_only { Outcome::AskedOnly } else { Outcome::Unknown };
    let mut items = Vec::new();
    let mut hidden = shows_restriction(&decided.reasons);
    for leaf in app.store.decision(&decided.decision_id).await? {
        match decode(&leaf.bytes)?.body {
            Body::Refusal(_) | Body::Referral(_) => outcome = Outcome::NotGiven,
            Body::Release { items: released, observed, .. } => {
                outcome = Outcome::Given;
                items = released;
                hidden |= shows_restriction(&observed);
            }
            Body::Closure { outcome: ended, reasons, observed, .. } => {
                outcome = if ended == "decision_only" { Outcome::AskedOnly } else { Outcome::NotGiven };
                hidden |= shows_restriction(&reasons) || shows_restriction(&observed);
            }
            _ => {}
        }
    }
    let decisions = app.store.visibility(std::slice::from_ref(&decided.decision_id)).await?;
    let mut event = Event {
        at: Timestamp::from_microsecond(at_us).unwrap_or_default(),
        outcome,
        items,
        visibility: Visibility::NeedsReview,
        decisions,
        decided,
    };
    event.visibility = visibility(&event, viewer, holder.as_ref(), hidden && is_holder, app.clock.now());
    Ok(Some(event))
}

/// Whoever holds the record decides; whoever asked can withhold too. Of a record holder's decision the asker sees only
/// that it withholds.
fn visibility(
    event: &Event,
    viewer: &OrganisationId,
    holder: Option<&OrganisationId>,
    hidden: bool,
    at: Timestamp,
) -> Visibility {
    if event.decisions.iter().any(|row| row.withholds(at)) {
        return Visibility::Withheld;
    }
    let decided_by = |organisation: &OrganisationId| {
        event.decisions.iter().any(|row| row.organisation == organisation.as_str())
    };
    if holder.is_some_and(decided_by) || (holder != Some(viewer) && decided_by(viewer)) {
        return Visibility::Visible;
    }
    let purpose = event.decided.purpose.parse::<PurposeClass>();
    match purpose.map(Visibility::at_first) {
        Ok(Visibility::Visible) if !hidden => Visibility::Visible,
        _ => Visibility::NeedsReview,
    }
}

fn shows_restriction(codes: &[String]) -> bool {
    let shows = |code: &String| {
        let sign = code.split(':').next().unwrap_or(code);
        matches!(sign, "restricted" | "restriction-unconfirmed")
    };
    codes.iter().any(shows)
}

fn decode(leaf: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(leaf).map_err(|error| StoreError::Ledger(error.to_string()))
}
