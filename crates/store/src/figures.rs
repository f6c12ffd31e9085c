//! How batches go: how many were waiting, for how long the first of them waited, and how long the work took. Counts that
//! name nobody, for whoever shows them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper ends of the buckets of batch sizes; the last has no end.
pub const SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Upper ends of the buckets of times, in microseconds; the last has no end.
pub const TIMES_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// How often a value fell into each range of values.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    ends: [u64; N],
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The upper end of each bucket, and how many values were at most that: cumulative, as Prometheus has them.
    pub buckets: Vec<(u64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    fn new(ends: [u64; N]) -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { ends, buckets, beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn note(&self, value: u64) {
        let place = self.ends.iter().position(|end| value <= *end);
        let bucket = place.and_then(|place| self.buckets.get(place)).unwrap_or(&self.beyond);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(N);
        for (end, bucket) in self.ends.iter().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            buckets.push((*end, count));
        }
        count += self.beyond.load(Ordering::Relaxed);
        Counts { buckets, count, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// How the batches of one kind go.
#[derive(Debug)]
pub struct Batches {
    /// How many were taken at once.
    pub size: Histogram<9>,
    /// How long the first of a batch waited before its batch began, in microseconds.
    pub wait_us: Histogram<12>,
    /// How long a batch took, in microseconds: of writes, with its commit.
    pub work_us: Histogram<12>,
}

/// How the database is used.
#[derive(Debug)]
pub struct Figures {
    /// Submissions to the ledger.
    pub writes: Batches,
    /// Look-ups of people.
    pub reads: Batches,
}

impl Default for Figures {
    fn default() -> Self {
        Self { writes: Batches::new(), reads: Batches::new() }
    }
}

impl Batches {
    fn new() -> Self {
        Self {
            size: Histogram::new(SIZES),
            wait_us: Histogram::new(TIMES_US),
            work_us: Histogram::new(TIMES_US),
        }
    }

    pub(crate) fn note(&self, size: usize, wait: Duration, work: Duration) {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.size.note(size as u64);
        self.wait_us.note(microseconds(wait));
        self.work_us.note(microseconds(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_buckets() {
        let histogram = Histogram::new([1, 2, 4]);
        for value in [1, 2, 3, 4, 5] {
            histogram.note(value);
        }
        let expected = Counts { buckets: vec![(1, 1), (2, 2), (4, 4)], count: 5, sum: 15 };
        assert_eq!(histogram.counts(), expected);
    }
}
