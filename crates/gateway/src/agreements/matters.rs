//! What is beside an agreement's course: comments, disputes, and records of its use. Each has a course of its own in
//! `sharing::agreement`, an entry a step, and no say in what is in force.

use jiff::Timestamp;
use ledger::entry::{Actor, Body};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sharing::{
    OrganisationId,
    agreement::{comment::Comment, dataspace::Exchange, dispute::Dispute, lifecycle::Hand, record::Record},
};
use store::{
    Change, CommitError, Committed, MatterMove, MatterRow, MatterStepRow, ReplayGuard, RequestRow, Submission,
};

use super::StepError;
use crate::{app::App, kept};

pub mod precedent;

/// How often a step is tried again that another of the same matter got in the way of.
const TRIES: u8 = 4;

/// The course of something beside an agreement's.
pub trait Course: Serialize + DeserializeOwned {
    /// What it is, as in the ledger.
    fn about(&self) -> &'static str;

    /// Its state.
    fn state(&self) -> &'static str;

    /// Whether signing waits for it.
    fn blocks(&self) -> bool {
        false
    }

    /// Whether the agreement's members are told of its steps by webhook.
    fn tells(&self) -> bool {
        true
    }

    /// When time alone may change something.
    fn next_change(&self) -> Option<Timestamp> {
        None
    }
}

impl Course for Comment {
    fn about(&self) -> &'static str {
        "comment"
    }

    fn state(&self) -> &'static str {
        Self::state(self)
    }

    fn blocks(&self) -> bool {
        Self::blocks(self)
    }
}

impl Course for Dispute {
    fn about(&self) -> &'static str {
        "dispute"
    }

    fn state(&self) -> &'static str {
        Self::state(self)
    }

    fn next_change(&self) -> Option<Timestamp> {
        self.case().due
    }
}

impl Course for Record {
    fn about(&self) -> &'static str {
        self.kind.as_str()
    }

    fn state(&self) -> &'static str {
        "noted"
    }

    fn tells(&self) -> bool {
        false
    }
}

impl Course for Exchange {
    fn about(&self) -> &'static str {
        "negotiation"
    }

    fn state(&self) -> &'static str {
        self.state.as_str()
    }
}

/// What goes with a step.
#[derive(Default)]
pub struct Said<'a> {
    /// Whose hand it is; none where time did it.
    pub hand: Option<&'a Hand>,
    /// The hand as the ledger names it.
    pub by: Option<Actor>,
    /// The reason, as a code.
    pub reason: Option<String>,
    /// What was written: `text`, and what stands beside it.
    pub written: Map<String, Value>,
    /// The signed context, which is good once.
    pub replay: Option<ReplayGuard>,
    /// The precedent that was made of it.
    pub published: Option<String>,
    /// What else is to be there if the step is.
    pub changes: Vec<Change>,
    /// Whose connector it is a message to.
    pub tells_peer: Option<OrganisationId>,
    /// The request's key, and the digest of what it asks for: system, key, digest.
    pub request: Option<(String, String, String)>,
}

/// A step that was taken.
pub struct Moved<C> {
    /// After it.
    pub row: MatterRow,
    /// The same, read.
    pub course: C,
    /// Where it is recorded.
    pub committed: Committed,
}

/// The course as it is kept.
///
/// # Errors
/// [`StepError::Kept`] when this version cannot read it.
pub fn read<C: Course>(row: &MatterRow) -> Result<C, StepError> {
    serde_json::from_str(&row.course)
        .map_err(|_| StepError::Kept(format!("the course of `{}` cannot be read by this version", row.id)))
}

/// A dispute, as it is between those who have the parties' places now.
///
/// # Errors
/// [`StepError`] when the database fails, or this version cannot read it.
pub async fn dispute(app: &App, row: &MatterRow) -> Result<Dispute, StepError> {
    let found = disputes(app, std::slice::from_ref(row)).await?;
    found.into_iter().next().ok_or_else(|| StepError::Kept("there is no such dispute".to_owned()))
}

/// As [`dispute`], of several disputes of one agreement.
///
/// # Errors
/// [`StepError`] when the database fails, or this version cannot read one.
pub async fn disputes(app: &App, rows: &[MatterRow]) -> Result<Vec<Dispute>, StepError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let id =
        first.agreement.parse().map_err(|_| StepError::Kept("an agreement without a name".to_owned()))?;
    let managed = app.store.managed(&id).await?.map(|row| super::read(&row)).transpose()?;
    let successors = managed.map(|managed| managed.successors()).unwrap_or_default();
    rows.iter().map(|row| Ok(read::<Dispute>(row)?.succeeded(&successors))).collect()
}

/// Begins one.
///
/// # Errors
/// [`StepError`] saying what to do.
pub async fn begin<C: Course>(
    app: &App,
    (agreement, version): (&str, u32),
    course: C,
    action: &str,
    said: Said<'_>,
) -> Result<Moved<C>, StepError> {
    let at_us = app.clock.now().as_microsecond();
    let before = MatterRow {
        id: format!("mat_{:032x}", app.entropy.bits()),
        agreement: agreement.to_owned(),
        about: course.about().to_owned(),
        revision: 0,
        version: i64::from(version),
        state: String::new(),
        blocks: 0,
        course: String::new(),
        published: None,
        next_us: None,
        opened_us: at_us,
        moved_us: at_us,
    };
    let (row, committed) = record(app, &before, (&course, action), said).await?.map_err(super::refused)?;
    Ok(Moved { row, course, committed })
}

/// Takes a step. Where it was not said at which revision it was decided, what got in the way is read and it is tried again.
///
/// # Errors
/// [`StepError`] saying what to do.
pub async fn take<'a, C: Course>(
    app: &App,
    id: &str,
    read_at: Option<i64>,
    decide: impl Fn(C, Timestamp) -> Result<(C, &'static str), StepError>,
    said: impl Fn(&C) -> Result<Said<'a>, StepError>,
) -> Result<Moved<C>, StepError> {
    for _ in 0..TRIES {
        let before = app.store.matter(id).await?.ok_or(StepError::Changed)?;
        if read_at.is_some_and(|read_at| read_at != before.revision) {
            return Err(StepError::Changed);
        }
        let (course, action) = decide(read(&before)?, app.clock.now())?;
        let recorded = record(app, &before, (&course, action), said(&course)?).await?;
        match recorded {
            Ok((row, committed)) => return Ok(Moved { row, course, committed }),
            Err(CommitError::Changed) => {}
            Err(other) => return Err(super::refused(other)),
        }
    }
    Err(StepError::Unavailable)
}

/// Commits a step with its entry.
pub(super) async fn record<C: Course>(
    app: &App,
    before: &MatterRow,
    (course, action): (&C, &str),
    said: Said<'_>,
) -> Result<Result<(MatterRow, Committed), CommitError>, StepError> {
    let at = app.clock.now();
    let row = MatterRow {
        revision: before.revision + 1,
        state: course.state().to_owned(),
        blocks: i64::from(course.blocks()),
        course: serde_json::to_string(course).map_err(|error| StepError::Kept(error.to_string()))?,
        published: said.published.clone().or_else(|| before.published.clone()),
        next_us: course.next_change().map(Timestamp::as_microsecond),
        moved_us: at.as_microsecond(),
        ..before.clone()
    };
    let entropy = app.entropy.as_ref();
    let written = (!said.written.is_empty()).then(|| kept::salted_members(entropy, said.written.clone()));
    let entry = Body::AgreementMatterMoved {
        agreement: row.agreement.clone(),
        matter: row.id.clone(),
        about: row.about.clone(),
        revision: row.revision.unsigned_abs(),
        version: u32::try_from(row.version).unwrap_or_default(),
        action: action.to_owned(),
        state: row.state.clone(),
        reason: said.reason.clone(),
        text_sha256: written.as_ref().map(|written| kept::digest(&row.id, written)),
        by: said.by.clone(),
    };
    let person = said.hand.map(|hand| &hand.person);
    let step = MatterStepRow {
        matter: row.id.clone(),
        revision: row.revision,
        action: action.to_owned(),
        organisation: person.map(|person| person.organisation.to_string()),
        person: person.map(|person| person.id.clone()),
        reason: said.reason.clone(),
        written,
        at_us: at.as_microsecond(),
    };
    let mut submission = Submission::of(at, vec![entry]);
    submission.replay = said.replay;
    let request = said.request.map(|(system, request_key, body_sha256)| RequestRow {
        system,
        request_key,
        body_sha256,
        agreement: row.id.clone(),
        revision: row.revision,
        at_us: row.moved_us,
    });
    let moved = MatterMove {
        row: row.clone(),
        step,
        tells_members: course.tells(),
        tells_peer: said.tells_peer,
        request,
    };
    submission.changes.push(Change::MoveMatter(Box::new(moved)));
    submission.changes.extend(said.changes);
    Ok(app.store.commit(submission).await.map(|committed| (row, committed)))
}
