//! What can be seen of the writer from outside: how far the ledger is, how many wait, and how each batch went.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::open::Store;

/// A batch that the writer has ended.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// How many submissions were in it.
    pub submissions: usize,
    /// How many entries they had.
    pub entries: usize,
    /// From taking it to having told everybody.
    pub took: Duration,
    /// Whether the writer goes on.
    pub is_committed: bool,
}

/// Shared between a writer and its stores.
#[derive(Default)]
pub(crate) struct Observed {
    entries: AtomicU64,
    each: OnceLock<Box<dyn Fn(Batch) + Send + Sync>>,
}

impl Observed {
    pub(crate) fn batch(&self, batch: Batch) {
        if let Some(each) = self.each.get() {
            each(batch);
        }
    }

    pub(crate) fn is_at(&self, entries: u64) {
        self.entries.store(entries, Ordering::Relaxed);
    }
}

impl Store {
    /// Has each batch told to `each`, on the writer's task: it must not wait. The first to ask is told, nobody else.
    pub fn observe(&self, each: impl Fn(Batch) + Send + Sync + 'static) {
        // A second one is of a second gateway over one store, which is a test's.
        let _ = self.observed.each.set(Box::new(each));
    }

    /// How many entries the ledger had when this writer last wrote to it.
    pub fn entries(&self) -> u64 {
        self.observed.entries.load(Ordering::Relaxed)
    }

    /// How many submissions wait for the writer.
    pub fn queued(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }
}

pub(crate) type Observer = Arc<Observed>;
