//! Loads in bulk: people and their consents, from another system's records. What it writes is what recording them one by one
//! writes, in portions that are each committed whole; how far a load has come is committed with each.
//!
//! A load has the database to itself. While one is unfinished no gateway starts over it: among what is missing may be a
//! refusal that outweighs a consent that is there. It is gone on with, or abandoned.

use jiff::Timestamp;
use ledger::entry::{Actor, Body};
use sharing::{ConsentId, Pseudonym, SubjectIdentifier, subject::ConsentStatus};
use sqlx::AnyPool;

use crate::{
    CommitError, Settings, StoreError, Submission,
    audit::{decode, to_i64, to_u64},
    change::Change,
    database::Database,
    open::Ready,
    row::{ConsentRow, instant, optional_instant, to_list},
    writer::Portion,
};

/// How a load stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// Begun and not ended.
    Unfinished,
    /// All of it is there.
    Completed,
    /// It was ended before all was there; its consents were invalidated.
    Abandoned,
}

impl LoadState {
    /// As it is stored, and as the ledger names what led to it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfinished => "began",
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Unfinished, Self::Completed, Self::Abandoned].into_iter().find(|one| one.as_str() == text)
    }
}

/// A load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRow {
    /// Its name: random.
    pub id: String,
    /// SHA-256 of what is loaded, in hexadecimal.
    pub source_sha256: String,
    /// Whether the people were made up.
    pub is_generated: bool,
    /// How it stands.
    pub state: LoadState,
    /// How many rows of it are there.
    pub rows_done: u64,
    /// How many people it named that nobody had named before.
    pub people: u64,
    /// How many consents it recorded.
    pub consents: u64,
    /// When it began.
    pub began_at: Timestamp,
    /// When it was completed or abandoned.
    pub ended_at: Option<Timestamp>,
}

/// A person, and perhaps a consent of theirs.
#[derive(Debug, Clone)]
pub struct LoadedRow {
    /// Who.
    pub identifier: SubjectIdentifier,
    /// Their name here, if nobody has named them yet.
    pub fresh: Pseudonym,
    /// The consent. Whose it is, is filled in.
    pub consent: Option<Box<ConsentRow>>,
}

/// A load that did not go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A submission was not committed.
    #[error("the ledger could not be written: {0}")]
    Commit(#[from] CommitError),
    /// The same was loaded before.
    #[error("the same was loaded before, completed at {0}; nothing was loaded again")]
    LoadedBefore(Timestamp),
    /// Another load is unfinished.
    #[error(
        "another load is unfinished: go on with it by giving what it was given, or end it with `concordat load --abandon`"
    )]
    Unfinished,
    /// The one that is unfinished is another organisation's.
    #[error(
        "this load was begun for {0}, and what is left of it would be recorded by another organisation: give --organisation {0}"
    )]
    OtherOrganisation(String),
    /// No load is unfinished.
    #[error("no load is unfinished; there is nothing to abandon")]
    NothingUnfinished,
    /// Made-up people are not put among others.
    #[error(
        "the database knows people who were not made up; made-up people are for measuring, in a database of their own"
    )]
    AmongOthers,
}

/// A database that a load has to itself.
pub struct Loading {
    ready: Ready,
    load: Option<LoadRow>,
}

/// How many consents are invalidated in one commit.
const INVALIDATED_AT_ONCE: usize = 250;

impl Loading {
    /// Opens the database, creating it where there is none, with nobody beside.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be used safely, or is in use; the message says what to do.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Self, LoadError> {
        let origin = settings.origin.clone();
        let mut ready = Ready::of(settings, true).await?;
        if ready.writer.is_empty() {
            let opened = ready.writer.opening(origin);
            ready.writer.commit_one(Submission::of(now, vec![opened])).await?;
        }
        let load = unfinished(&ready.readers).await?;
        Ok(Self { ready, load })
    }

    /// Begins a load, or finds how far the same came before: how many of its rows are there.
    ///
    /// # Errors
    /// [`LoadError`] when the same was loaded before, or something else, or for another organisation, is unfinished.
    pub async fn begin(&mut self, new: LoadRow, by: &Actor) -> Result<u64, LoadError> {
        if let Some(load) = &self.load {
            if load.source_sha256 != new.source_sha256 {
                return Err(LoadError::Unfinished);
            }
            self.is_of(load, by).await?;
            return Ok(load.rows_done);
        }
        let completed: Option<i64> = sqlx::query_scalar(
            "SELECT max(ended_us) FROM data_load WHERE source_sha256 = $1 AND state = 'completed'",
        )
        .bind(&new.source_sha256)
        .fetch_one(&self.ready.readers)
        .await
        .map_err(StoreError::from)?;
        if let Some(at) = completed.and_then(instant) {
            return Err(LoadError::LoadedBefore(at));
        }
        if new.is_generated && self.knows_others().await? {
            return Err(LoadError::AmongOthers);
        }
        self.moved(&new, new.began_at, by).await?;
        self.load = Some(new);
        Ok(0)
    }

    /// That the load was begun for the organisation that goes on with it. Whose it is, its first entry says.
    async fn is_of(&self, load: &LoadRow, by: &Actor) -> Result<i64, LoadError> {
        let corrupt = || StoreError::CorruptRow { table: "data_load", row: load.id.clone() };
        let began: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT first_seq, leaf FROM data_load JOIN ledger_entry ON seq = first_seq WHERE id = $1",
        )
        .bind(&load.id)
        .fetch_optional(&self.ready.readers)
        .await
        .map_err(StoreError::from)?;
        let (first, leaf) = began.ok_or_else(corrupt)?;
        let entry = decode(&leaf)?;
        let Body::LoadMoved { load_id, by: begun_by, .. } = entry.body else { return Err(corrupt().into()) };
        if load_id != load.id {
            return Err(corrupt().into());
        }
        if begun_by.organisation != by.organisation {
            return Err(LoadError::OtherOrganisation(begun_by.organisation));
        }
        Ok(first)
    }

    /// Whether people are known who were not made up.
    async fn knows_others(&self) -> Result<bool, StoreError> {
        let others: i64 = sqlx::query_scalar(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM subject)
                AND (NOT EXISTS (SELECT 1 FROM data_load WHERE is_generated = 1)
                     OR EXISTS (SELECT 1 FROM data_load WHERE is_generated = 0)) THEN 1 ELSE 0 END",
        )
        .fetch_one(&self.ready.readers)
        .await?;
        Ok(others == 1)
    }

    /// Loads the next rows: all of them are committed, or none.
    ///
    /// # Errors
    /// [`LoadError`]; how far it came is found by whoever begins again.
    pub async fn portion(
        &mut self,
        rows: Vec<LoadedRow>,
        entry: impl Fn(&ConsentRow) -> Body,
        now: Timestamp,
    ) -> Result<&LoadRow, LoadError> {
        let load = self.load.as_mut().ok_or(LoadError::NothingUnfinished)?;
        let portion = Portion { rows, load, at: now };
        self.ready.presence.assert_held().await?;
        self.ready.writer.load(&self.ready.lookup_key, portion, entry).await?;
        Ok(load)
    }

    /// Ends the load, all of which is there. The database counts what it holds, so that its plans fit.
    ///
    /// # Errors
    /// [`LoadError`] when the ledger cannot be written.
    pub async fn complete(&mut self, now: Timestamp, by: &Actor) -> Result<LoadRow, LoadError> {
        let load = self.end(LoadState::Completed, now, by).await?;
        if let Database::Server(_) = &self.ready.database {
            for statement in ANALYZED {
                sqlx::query(statement).execute(&self.ready.writing).await.map_err(StoreError::from)?;
            }
        }
        Ok(load)
    }

    /// Ends a load that nobody goes on with: each consent that it recorded is invalidated, by an entry of its own. Refusals
    /// stay, and so do the people, of whom nothing is known but that somebody named them.
    ///
    /// # Errors
    /// [`LoadError`] when nothing is unfinished or the ledger cannot be written; it can be abandoned again then.
    pub async fn abandon(&mut self, now: Timestamp, by: &Actor) -> Result<(LoadRow, u64), LoadError> {
        let load = self.load.as_ref().ok_or(LoadError::NothingUnfinished)?;
        let (mut next, mut invalidated) = (self.is_of(load, by).await?, 0);
        loop {
            let consents = self.recorded_from(&mut next).await?;
            let Some(consents) = consents else { break };
            let mut submission = Submission::of(now, Vec::new());
            for (id, subject) in consents {
                submission.entries.push(Body::ConsentStatusChanged {
                    consent_id: id.to_string(),
                    subject,
                    status: "invalidated".to_owned(),
                    by: by.clone(),
                });
                let (status, ended_at) = (ConsentStatus::Invalidated, Some(now));
                submission.changes.push(Change::ChangeConsent {
                    id,
                    status,
                    ended_at,
                    expires_at: None,
                    reason: None,
                });
                invalidated += 1;
            }
            if !submission.entries.is_empty() {
                self.ready.writer.commit_one(submission).await?;
            }
        }
        Ok((self.end(LoadState::Abandoned, now, by).await?, invalidated))
    }

    /// The next consents that the load recorded and that are in effect; `None` when there are no more entries.
    async fn recorded_from(&self, next: &mut i64) -> Result<Option<Vec<(ConsentId, String)>>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT seq, leaf FROM ledger_entry WHERE seq >= $1 ORDER BY seq LIMIT $2")
                .bind(*next)
                .bind(to_i64(INVALIDATED_AT_ONCE as u64))
                .fetch_all(&self.ready.readers)
                .await?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        *next = last + 1;
        let mut recorded = Vec::new();
        for (_, leaf) in &rows {
            let entry = decode(leaf)?;
            if let Body::ConsentRecorded { consent_id, .. } = entry.body {
                recorded.push(consent_id);
            }
        }
        let in_effect: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, subject FROM consent WHERE id IN (SELECT value FROM json_each($1))
             AND status IN ('requested', 'given', 'renewed', 'unknown') ORDER BY id",
        )
        .bind(to_list(&recorded))
        .fetch_all(&self.ready.readers)
        .await?;
        let parsed = in_effect.into_iter().map(|(id, subject)| {
            let corrupt = |_| StoreError::CorruptRow { table: "consent", row: id.clone() };
            Ok((id.parse().map_err(corrupt)?, subject))
        });
        parsed.collect::<Result<Vec<_>, _>>().map(Some)
    }

    async fn end(&mut self, state: LoadState, now: Timestamp, by: &Actor) -> Result<LoadRow, LoadError> {
        let load = self.load.as_ref().ok_or(LoadError::NothingUnfinished)?;
        let ended = LoadRow { state, ended_at: Some(now), ..load.clone() };
        self.moved(&ended, now, by).await?;
        self.load = None;
        Ok(ended)
    }

    async fn moved(&mut self, load: &LoadRow, at: Timestamp, by: &Actor) -> Result<(), LoadError> {
        let entry = Body::LoadMoved {
            load_id: load.id.clone(),
            action: load.state.as_str().to_owned(),
            source_sha256: load.source_sha256.clone(),
            people: load.people,
            consents: load.consents,
            by: by.clone(),
        };
        let mut submission = Submission::of(at, vec![entry]);
        submission.changes.push(Change::MoveLoad(Box::new(load.clone())));
        self.ready.writer.commit_one(submission).await?;
        Ok(())
    }

    /// Closes the database.
    pub async fn close(self) {
        self.ready.readers.close().await;
        self.ready.writing.close().await;
    }
}

/// What a server counts after a load. One statement each: none of them is in a transaction.
const ANALYZED: [&str; 6] = [
    "ANALYZE subject",
    "ANALYZE subject_identifier",
    "ANALYZE subject_key",
    "ANALYZE consent",
    "ANALYZE ledger_entry",
    "ANALYZE ledger_node",
];

/// No gateway runs over half a load.
pub(crate) async fn refuse_unfinished(pool: &AnyPool) -> Result<(), StoreError> {
    let Some(load) = unfinished(pool).await? else { return Ok(()) };
    Err(StoreError::Unsafe(format!(
        "a load that began at {} is unfinished after {} rows, and what is missing may be a refusal: go on with it by running `concordat load` with what it was given, or end it with `concordat load --abandon`",
        load.began_at, load.rows_done
    )))
}

/// Id, source, whether it was made up, state, rows, people, consents, beginning and end.
type RawLoad = (String, String, i64, String, i64, i64, i64, i64, Option<i64>);

async fn unfinished(pool: &AnyPool) -> Result<Option<LoadRow>, StoreError> {
    let raw: Option<RawLoad> = sqlx::query_as(
        "SELECT id, source_sha256, is_generated, state, rows_done, people, consents, began_us, ended_us
         FROM data_load WHERE state = 'began'",
    )
    .fetch_optional(pool)
    .await?;
    let Some((id, source_sha256, generated, state, rows, people, consents, began_us, ended_us)) = raw else {
        return Ok(None);
    };
    let corrupt = || StoreError::CorruptRow { table: "data_load", row: id.clone() };
    Ok(Some(LoadRow {
        source_sha256,
        is_generated: generated != 0,
        state: LoadState::parse(&state).ok_or_else(corrupt)?,
        rows_done: to_u64(rows),
        people: to_u64(people),
        consents: to_u64(consents),
        began_at: instant(began_us).ok_or_else(corrupt)?,
        ended_at: optional_instant(ended_us).ok_or_else(corrupt)?,
        id,
    }))
}
