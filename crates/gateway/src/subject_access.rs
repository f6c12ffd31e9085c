//! "Who looked at me, and why?": the events about a person that one organisation answers for, as the ledger has them.
//!
//! An organisation answers for what was asked of its records and for what it asked. As the one that asked it sees no more
//! than it did then: whether an event is told depends on the purpose, and never on a mark on the person's record that the
//! asker must not learn of.

use std::collections::{BTreeSet, HashMap};

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
pub use words::{Told, told};
pub(crate) use words::{in_london, until};

/// Most events and looks in one answer. Whoever has more asks by years.
pub const EVENTS_MAX: usize = 2_000;

/// Most looks of the person's own that are in one answer, the newest, and that are passed over for others'. They crowd out nobody's.
const OWN_MAX: usize = 500;
const OWN_PASSED_MAX: usize = 20_000;

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
        seen_by: None,
    };
    let (mut events, mut looks, mut own) = (Vec::new(), Vec::new(), 0);
    loop {
        let places = app.trail.find(&query, PAGE).await?;
        if places.is_empty() {
            return Ok(Events { events, looks, more: false });
        }
        query.before = places.last().copied();
        let reading = Reading::of(app, viewer, names, &places).await?;
        for entry in &reading.entries {
            let others = events.len() + looks.len() - own.min(OWN_MAX);
            if others >= EVENTS_MAX || own >= OWN_PASSED_MAX {
                return Ok(Events { events, looks, more: true });
            }
            if let Some(look) = looks::look(app, viewer, entry, &reading.visibility) {
                let is_own = looks::is_own(&look.by);
                if !is_own || own < OWN_MAX {
                    looks.push(look);
                }
                own += usize::from(is_own);
            }
            if let Some(begun) = begun(entry, names, &reading.deciding) {
                events.extend(reading.event(app, viewer, begun));
            }
        }
    }
}

/// Where a decision began.
struct Begun<'a> {
    decided: &'a Decided,
    at_us: i64,
}

/// The decision that an entry began. One is one event, found where it began; a release may name it under another name, and then
/// it is found by that.
fn begun<'a>(
    entry: &'a Entry,
    names: &[Pseudonym],
    deciding: &'a HashMap<String, Entry>,
) -> Option<Begun<'a>> {
    if let Some(decided) = trail::decided(&entry.body) {
        return Some(Begun { decided, at_us: entry.at_us });
    }
    let Body::Release { decision_id, .. } = &entry.body else { return None };
    let first = deciding.get(decision_id)?;
    let decided = trail::decided(&first.body)?;
    let is_elsewhere = !names.iter().any(|name| name.as_str() == decided.subject);
    is_elsewhere.then_some(Begun { decided, at_us: first.at_us })
}

/// Entries, and what bears on each, read together.
#[derive(Default)]
struct Reading {
    /// The newest first.
    entries: Vec<Entry>,
    /// The first entry of decisions that these only follow.
    deciding: HashMap<String, Entry>,
    /// Everything that came of each decision, in order.
    courses: HashMap<String, Vec<Body>>,
    visibility: Vec<VisibilityRow>,
}

impl Reading {
    async fn of(
        app: &App,
        viewer: &OrganisationId,
        names: &[Pseudonym],
        places: &[u64],
    ) -> Result<Self, StoreError> {
        let leaves = app.store.leaves_at(places).await?;
        let entries = leaves.iter().rev().map(|leaf| decode(&leaf.bytes)).collect::<Result<Vec<_>, _>>()?;
        let decided = entries.iter().filter_map(|entry| trail::decided(&entry.body));
        let mut wanted: BTreeSet<_> = decided.map(|decided| decided.decision_id.clone()).collect();
        let released = entries.iter().filter_map(|entry| match &entry.body {
            Body::Release { decision_id, .. } => Some(decision_id.clone()),
            _ => None,
        });
        wanted.extend(released);
        let mut reading = Self { entries, ..Self::default() };
        reading.follow(app, &wanted.into_iter().collect::<Vec<_>>()).await?;
        let answered = reading.entries.iter().filter_map(|entry| begun(entry, names, &reading.deciding));
        let answered =
            answered.filter(|begun| answers_for(viewer, holder(app, begun.decided).as_ref(), begun.decided));
        let mut told: Vec<_> = answered.map(|begun| begun.decided.decision_id.clone()).collect();
        let looks = reading.entries.iter().filter_map(|entry| looks::look(app, viewer, entry, &[]));
        told.extend(looks.map(|look| look.reference));
        reading.visibility = app.store.visibility(&told).await?;
        Ok(reading)
    }

    /// Reads what came of decisions.
    async fn follow(&mut self, app: &App, decision_ids: &[String]) -> Result<(), StoreError> {
        for leaf in app.store.decisions(decision_ids).await? {
            let entry = decode(&leaf.bytes)?;
            let begins = trail::decided(&entry.body).map(|decided| decided.decision_id.clone());
            if let Some(decision_id) = &begins {
                self.deciding.entry(decision_id.clone()).or_insert_with(|| entry.clone());
            }
            let of = begins.or_else(|| trail::follows(&entry.body).map(str::to_owned));
            if let Some(of) = of {
                self.courses.entry(of).or_default().push(entry.body);
            }
        }
        Ok(())
    }

    /// One decision as `viewer` answers for it; `None` when it does not.
    fn event(&self, app: &App, viewer: &OrganisationId, Begun { decided, at_us }: Begun) -> Option<Event> {
        let holder = holder(app, decided);
        if !answers_for(viewer, holder.as_ref(), decided) {
            return None;
        }
        let mut outcome = if decided.answer_only { Outcome::AskedOnly } else { Outcome::Unknown };
        let mut items = Vec::new();
        let mut hidden = shows_restriction(&decided.reasons);
        for body in self.courses.get(&decided.decision_id).into_iter().flatten() {
            match body {
                Body::Refusal(_) | Body::Referral(_) => outcome = Outcome::NotGiven,
                Body::Release { items: released, observed, .. } => {
                    outcome = Outcome::Given;
                    items.clone_from(released);
                    hidden |= shows_restriction(observed);
                }
                Body::Closure { outcome: ended, reasons, observed, .. } => {
                    outcome = if ended == "decision_only" { Outcome::AskedOnly } else { Outcome::NotGiven };
                    hidden |= shows_restriction(reasons) || shows_restriction(observed);
                }
                _ => {}
            }
        }
        let is_of_it = |row: &&VisibilityRow| row.decision_id == decided.decision_id;
        let mut event = Event {
            at: Timestamp::from_microsecond(at_us).unwrap_or_default(),
            outcome,
            items,
            visibility: Visibility::NeedsReview,
            decisions: self.visibility.iter().filter(is_of_it).cloned().collect(),
            decided: decided.clone(),
        };
        let hidden = hidden && holder.as_ref() == Some(viewer);
        event.visibility = visibility(&event, viewer, holder.as_ref(), hidden, app.clock.now());
        Some(event)
    }
}

/// Whose record was asked for, as far as that is known.
fn holder(app: &App, decided: &Decided) -> Option<OrganisationId> {
    let set = app.policies().set;
    let held = decided.provider.parse().ok().and_then(|id| set.provider(&id));
    held.map(|held| held.organisation().clone())
}

/// Whether `viewer` holds the record or asked for it.
fn answers_for(viewer: &OrganisationId, holder: Option<&OrganisationId>, decided: &Decided) -> bool {
    holder == Some(viewer) || decided.recipient == viewer.as_str()
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
    let mut reading = Reading::default();
    reading.follow(app, &[decision_id.to_owned()]).await?;
    reading.visibility = app.store.visibility(&[decision_id.to_owned()]).await?;
    let Some(first) = reading.deciding.get(decision_id) else { return Ok(None) };
    let begun = trail::decided(&first.body).map(|decided| Begun { decided, at_us: first.at_us });
    Ok(begun.and_then(|begun| reading.event(app, viewer, begun)))
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
