//! The newest entries as this process wrote them, for what follows the ledger beside the requests: the trail's index, the alerts
//! and the counts of use would otherwise read and decode each of them once more.
//!
//! It holds an unbroken run that ends with the last that was written here. What others write, on a server, is not in it: whoever
//! follows reads that from the database.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ledger::{
    entry::{Decided, Entry},
    trail,
    tree::{Hash, leaf_hash},
};

use crate::{
    StoreError,
    audit::{StoredLeaf, decode},
    open::Store,
};

/// Not more entries than this are held: more than a busy gateway writes in a second, which is how often they are taken in.
const ENTRIES_MAX: usize = 4_096;

/// And not more than this, by what they have in the ledger.
const BYTES_MAX: usize = 8 << 20;

/// An entry of the ledger, with the hash of its leaf.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What it says.
    pub entry: Arc<Entry>,
    /// The hash of its leaf (RFC 6962).
    pub hash: Hash,
}

impl AsRef<Entry> for Written {
    fn as_ref(&self) -> &Entry {
        &self.entry
    }
}

impl Written {
    fn read(leaf: &StoredLeaf) -> Result<Self, StoreError> {
        let entry = decode(&leaf.bytes)?;
        Ok(Self { entry: Arc::new(entry), hash: leaf_hash(&leaf.bytes) })
    }
}

/// The run. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<Run>>);

#[derive(Default)]
struct Run {
    /// Each with the bytes of its leaf.
    entries: VecDeque<(Written, usize)>,
    bytes: usize,
}

impl Recent {
    fn run(&self) -> MutexGuard<'_, Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was committed, in order. Where somebody else wrote in between, the run begins with it.
    pub(crate) fn push(&self, committed: impl IntoIterator<Item = (Written, usize)>) {
        let mut run = self.run();
        for (written, bytes) in committed {
            if run.entries.back().is_some_and(|(last, _)| last.entry.seq + 1 != written.entry.seq) {
                *run = Run::default();
            }
            run.bytes += bytes;
            run.entries.push_back((written, bytes));
            while run.entries.len() > ENTRIES_MAX || run.bytes > BYTES_MAX {
                let Some((_, gone)) = run.entries.pop_front() else { break };
                run.bytes -= gone;
            }
        }
    }

    /// Up to `limit` entries from `from` on, in order; none where it does not have the first.
    pub(crate) fn from(&self, from: u64, limit: u32) -> Vec<Written> {
        let run = self.run();
        let Some(skipped) = run.entries.front().and_then(|(first, _)| from.checked_sub(first.entry.seq))
        else {
            return Vec::new();
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let entries = run.entries.iter().skip(skipped.min(run.entries.len())).take(limit as usize);
        entries.map(|(written, _)| written.clone()).collect()
    }

    /// Forgets all: the ledger may not be what it was.
    pub(crate) fn clear(&self) {
        *self.run() = Run::default();
    }

    /// What decided questions that entries before `until` follow, as far as that is held: what is found is taken from what is wanted.
    pub(crate) fn deciding(
        &self,
        until: u64,
        wanted: &mut BTreeSet<&str>,
        known: &mut HashMap<String, Decided>,
    ) {
        let run = self.run();
        let Some((first, _)) = run.entries.front() else { return };
        // What decides a question is before what follows it.
        let before = usize::try_from(until.saturating_sub(first.entry.seq)).unwrap_or(usize::MAX);
        for (written, _) in run.entries.iter().take(before).rev() {
            if wanted.is_empty() {
                return;
            }
            let decided = trail::decided(&written.entry.body);
            let Some(decided) = decided.filter(|decided| wanted.remove(&*decided.decision_id)) else {
                continue;
            };
            known.insert(decided.decision_id.clone(), decided.clone());
        }
    }
}

impl Store {
    /// Up to `limit` entries from `from` on, in order, for whoever follows the ledger: fewer than there are, where the newest are
    /// held in memory and not as many; none only where there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or an entry cannot be read.
    pub async fn entries_from(&self, from: u64, limit: u32) -> Result<Vec<Written>, StoreError> {
        let recent = self.recent.from(from, limit);
        if !recent.is_empty() {
            return Ok(recent);
        }
        self.leaves(from, limit).await?.iter().map(Written::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use ledger::entry::Body;

    use super::*;

    fn written(seq: u64) -> (Written, usize) {
        let body = Body::HandshakeRefused { reason: "unknown-issuer".to_owned(), count: 1 };
        let entry = Entry { v: 1, seq, at_us: 1, blind: None, body };
        (Written { entry: Arc::new(entry), hash: [0; 32] }, 1_000)
    }

    fn places(recent: &Recent, from: u64, limit: u32) -> Vec<u64> {
        recent.from(from, limit).iter().map(|written| written.entry.seq).collect()
    }

    #[test]
    fn what_is_held_is_an_unbroken_run() {
        let recent = Recent::default();
        assert_eq!(places(&recent, 0, 10), [] as [u64; 0]);
        recent.push((5..10).map(written));
        recent.push((10..12).map(written));
        assert_eq!(places(&recent, 5, 3), [5, 6, 7]);
        assert_eq!(places(&recent, 9, 10), [9, 10, 11]);
        assert_eq!(places(&recent, 12, 10), [] as [u64; 0], "nobody knows here what comes next");
        assert_eq!(places(&recent, 4, 10), [] as [u64; 0], "what is before it is in the database");
        recent.push((14..16).map(written));
        assert_eq!(places(&recent, 11, 10), [] as [u64; 0], "somebody else wrote 12 and 13");
        assert_eq!(places(&recent, 14, 10), [14, 15]);
    }

    #[test]
    fn it_is_bounded_by_entries_and_by_bytes() {
        let recent = Recent::default();
        let most = u64::try_from(ENTRIES_MAX).unwrap();
        recent.push((0..most + 10).map(written));
        assert_eq!(places(&recent, 9, 1), [] as [u64; 0]);
        assert_eq!(places(&recent, 10, u32::MAX).len(), ENTRIES_MAX);
        let (large, _) = written(most + 10);
        recent.push([(large, BYTES_MAX - 2_500)]);
        assert_eq!(places(&recent, most + 8, u32::MAX), [most + 8, most + 9, most + 10]);
        assert_eq!(places(&recent, most + 7, u32::MAX), [] as [u64; 0]);
        let (larger, _) = written(most + 11);
        recent.push([(larger, BYTES_MAX + 1)]);
        assert_eq!(places(&recent, most + 11, 1), [] as [u64; 0], "it is read from the database");
        recent.push([written(most + 12)]);
        assert_eq!(places(&recent, most + 12, 1), [most + 12]);
    }
}
