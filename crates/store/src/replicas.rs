//! Several gateways over one database: each beats, and what one that stopped left open is closed by the others.
//!
//! No clock is compared with another. A beat is a count; whoever watches sees for how long, by its own, it has not moved.
//! One that was only held up finds its questions closed when it goes on, and releases nothing for them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    change::{Change, Submission},
    database::ANSWERED_SOON_MAX,
    error::{CommitError, StoreError},
    open::Store,
};

/// How often a replica beats and looks at the others.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// After how long without a beat a replica has stopped.
pub const SILENT_MAX: Duration = Duration::from_secs(15);

/// What was seen of the others: the beat, and since when it has been the same.
#[derive(Debug, Default)]
pub struct Watch {
    others: HashMap<String, (i64, Option<Instant>)>,
    leads: bool,
}

impl Watch {
    /// Whether none of those that live has been there longer.
    pub fn leads(&self) -> bool {
        self.leads
    }
}

impl Store {
    /// Whether several gateways may be using the database.
    pub fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    /// The server's time. A file has none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        let at_us = self.database.answered(ANSWERED_SOON_MAX, self.database.now_us(&self.readers)).await?;
        Ok(at_us.and_then(|at_us| Timestamp::from_microsecond(at_us).ok()))
    }

    /// Says that this replica is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let beat = "INSERT INTO replica (id, beat) VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET beat = replica.beat + 1";
        let beating = sqlx::query(beat).bind(&*self.replica).execute(&self.writing);
        self.database.answered(ANSWERED_SOON_MAX, async { Ok(beating.await.map(drop)?) }).await
    }

    /// Whether a commit gets through, if nobody has anything to record. The writer tries; how it went is in
    /// [`Store::is_writable`].
    pub fn try_commit(&self, now: Timestamp) {
        let mut beat = Submission::of(now, Vec::new());
        beat.changes.push(Change::Beat);
        self.commit_unattended(beat); // a writer that takes nothing more is not writable
    }

    /// Closes, as indeterminate, what replicas left open that have not beaten for [`SILENT_MAX`]. Returns how many
    /// questions those were.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn close_for_silent(
        &self,
        watch: &mut Watch,
        seen: Instant,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let reading = sqlx::query_as(
            "SELECT id, beat FROM replica UNION
             SELECT DISTINCT replica, CAST(-1 AS BIGINT) FROM open_intent
             WHERE NOT EXISTS (SELECT 1 FROM replica WHERE replica.id = open_intent.replica)",
        )
        .fetch_all(&self.readers);
        let beats: Vec<(String, i64)> =
            self.database.answered(ANSWERED_SOON_MAX, async { Ok(reading.await?) }).await?;
        watch.others.retain(|id, _| beats.iter().any(|(other, _)| other == id));
        let mut closed = 0;
        watch.leads = true;
        for (id, beat) in beats.into_iter().filter(|(id, _)| **id != *self.replica) {
            let known = watch.others.entry(id.clone()).or_insert((beat, None));
            if known.0 != beat {
                *known = (beat, None);
            }
            let since = *known.1.get_or_insert(seen);
            if seen.saturating_duration_since(since) >= SILENT_MAX {
                closed += self.close_for(&id, now).await?;
            } else if *id < *self.replica && beat >= 0 {
                watch.leads = false;
            }
        }
        Ok(closed)
    }

    /// Says that this replica stops. What it leaves open the others close.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn leave(&self, now: Timestamp) -> Result<(), StoreError> {
        self.close_for(&self.replica, now).await.map(drop)
    }

    async fn close_for(&self, replica: &str, now: Timestamp) -> Result<usize, StoreError> {
        let open: Vec<String> = sqlx::query_scalar("SELECT decision_id FROM open_intent WHERE replica = $1")
            .bind(replica)
            .fetch_all(&self.readers)
            .await?;
        let mut closed = 0;
        for decision_id in &open {
            match self.commit(Submission::closing(now, decision_id, "process-ended")).await {
                Ok(_) => closed += 1,
                Err(CommitError::NotOpen) => {}
                Err(_) => return Ok(closed), // next time
            }
        }
        let mut forget = Submission::of(now, Vec::new());
        forget.changes.push(Change::ForgetReplica(replica.to_owned()));
        let _ = self.commit(forget).await; // next time
        Ok(closed)
    }
}
