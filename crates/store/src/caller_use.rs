//! How much a caller asks: distinct people a day, how often there was no record, and identifiers that are next to each other, for a
//! practitioner and for all of a system's, who are whom the system says they are. Counted in the
//! transaction that records the question, so that neither a restart nor a second replica doubles a budget.
//!
//! What is counted is what the caller did and was told, never what is held about anybody: people are told apart by the identifier
//! asked with, so that a budget does not show that two of them are one person's.

use std::sync::LazyLock;

use sharing::SubjectIdentifier;

use crate::{lookup::LookupKey, open::Store, queue::AlertRow};

/// A question, for the counts.
#[derive(Debug)]
pub struct CallerUse {
    /// The organisation and the practitioner, as one text.
    pub practitioner: String,
    /// The system.
    pub system: String,
    /// The day in Europe/London, as `2026-11-23`.
    pub day: String,
    /// The hour (UTC), as `2026-11-23T10`.
    pub hour: String,
    /// The person, by [`Store::asked_hash`].
    pub person: Vec<u8>,
    /// The identifiers around it, likewise.
    pub neighbours: Neighbours,
    /// From when on it is too much.
    pub limits: CallerLimits,
    /// The alerts that a run of identifiers raises, once.
    pub scan: Vec<AlertRow>,
}

type Hashes = Vec<Vec<u8>>;

/// The identifiers around one, by [`Store::asked_hash`]. Where the caller has asked about none of the nearest the others are not
/// looked at, and not even made.
pub struct Neighbours {
    nearest: Hashes,
    all: LazyLock<Hashes, Box<dyn FnOnce() -> Hashes + Send>>,
}

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Neighbours(..)")
    }
}

impl Neighbours {
    /// Of a question that counts for no run.
    pub fn none() -> Self {
        Self::new(Vec::new(), Vec::new)
    }

    pub(crate) fn new(nearest: Hashes, all: impl FnOnce() -> Hashes + Send + 'static) -> Self {
        Self { nearest, all: LazyLock::new(Box::new(all)) }
    }

    /// Those that are looked at first.
    pub(crate) fn nearest(&self) -> &[Vec<u8>] {
        &self.nearest
    }

    /// All of them, the nearest among them.
    pub(crate) fn all(&self) -> &[Vec<u8>] {
        &self.all
    }
}

/// How much a caller may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimits {
    /// Different people a practitioner may ask about in a day; `None` for a job that its flow's ceiling bounds.
    pub subjects_per_practitioner: Option<u32>,
    /// Different people whom all practitioners of a system may ask about in a day, each counted for each practitioner.
    pub subjects_per_system: Option<u32>,
    /// Whether the question waits where there was guessing, and what is; `None` for one that never does.
    pub guessing: Option<GuessLimits>,
    /// From how many identifiers among those around one of them on a practitioner waits for the next hour; `None` where it does not count.
    pub run_at_least: Option<u32>,
    /// From how many that are around one of them on it counts against all of a system's, who wait after [`SYSTEM_SCANS`] such questions.
    pub run_per_system_at_least: Option<u32>,
}

/// From when on questions without a record are guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuessLimits {
    /// From how many questions of a practitioner in an hour that led to no record on,
    pub no_record_at_least: u32,
    /// if they are so many of a hundred, the practitioner waits for the next hour.
    pub no_record_percent: u32,
    /// From how many on all of a system do, by the same share.
    pub no_record_per_system_at_least: u32,
}

/// After so many questions in an hour that go through identifiers all of a system's wait: a scan goes on and comes to them at once, while one
/// more question near those of the morning does not stop everybody.
pub const SYSTEM_SCANS: i64 = 5;

/// How many of the identifiers around one are looked at first, on each side.
const NEAREST: u8 = 3;

/// How a question ended, for the counts.
#[derive(Debug)]
pub struct AnswerUse {
    /// The organisation and the practitioner, as one text.
    pub practitioner: String,
    /// The system; `None` where it is not counted for all of its.
    pub system: Option<String>,
    /// The hour (UTC).
    pub hour: String,
    /// The caller was told that no record is available.
    pub is_no_record: bool,
}

impl LookupKey {
    fn asked_hash(&self, identifier: &SubjectIdentifier) -> Vec<u8> {
        let scheme = identifier.scheme().to_string();
        self.hash_parts(&[b"asked", scheme.as_bytes(), identifier.as_str().as_bytes()])
    }

    fn asked_hashes(&self, identifiers: &[SubjectIdentifier]) -> Hashes {
        identifiers.iter().map(|identifier| self.asked_hash(identifier)).collect()
    }
}

impl Store {
    /// The hash by which an identifier that was asked with is known again. It is another than the one by which people are
    /// found.
    pub fn asked_hash(&self, identifier: &SubjectIdentifier) -> Vec<u8> {
        self.lookup_key.asked_hash(identifier)
    }

    /// The identifiers around one, so many on each side.
    pub fn neighbours(&self, identifier: &SubjectIdentifier, each_side: u8) -> Neighbours {
        let nearest = self.lookup_key.asked_hashes(&identifier.neighbours(NEAREST.min(each_side)));
        let (key, identifier) = (self.lookup_key.clone(), identifier.clone());
        Neighbours::new(nearest, move || key.asked_hashes(&identifier.neighbours(each_side)))
    }
}
