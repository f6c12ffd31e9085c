//! The verifier: recomputes everything and names the first entry that is not in order.
//!
//! It checks that the bytes are the ones that were signed ([`Verifier::finish`]) and that what they say obeys
//! the ledger's own rules (`order`): no release without its intent, nothing released beyond what was
//! permitted, nothing after a withdrawal, an objection, a suspension or an end date that covers it.
//! [`verify_ndjson`] and [`verify_tiles`] do so for the two exports that hold the entries themselves.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Witnessed},
    entry::{Body, Entry},
    note::{KeyKind, NoteError, NoteVerifier},
    tree::{Frontier, Hash, hexadecimal, leaf_hash},
};

mod agreed;
mod courses;
mod decided;
mod keys;
mod ndjson;
mod order;
mod tiles;

pub use decided::{MakeScratch, Scratch};
pub use ndjson::verify_ndjson;
pub use tiles::{opening_key, verify_tiles};

/// Why nothing was verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified<E> {
    /// Something is not in order.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Something cannot be read, so nothing is known.
    #[error("it cannot be read")]
    Unreadable(E),
}

/// The first thing that is not in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The entry, from 0; none where the fault is not in one entry.
    pub index: Option<u64>,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(
                formatter,
                "entry {index} is the first that is not in order: {} ({})",
                self.detail, self.code
            ),
            None => write!(formatter, "{} ({})", self.detail, self.code),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn at(index: u64, code: &'static str, detail: impl Into<String>) -> Self {
        Self { index: Some(index), code, detail: detail.into() }
    }

    fn of_log(code: &'static str, detail: impl Into<String>) -> Self {
        Self { index: None, code, detail: detail.into() }
    }
}

/// A witness that cosigned the newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// The witness's name.
    pub witness: String,
    /// When it did so by its own clock, seconds since 1970.
    pub at_s: Option<u64>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The ledger's name.
    pub origin: String,
    /// How many entries.
    pub entries: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// When the first entry was written, microseconds since 1970.
    pub first_at_us: Option<i64>,
    /// When the last entry was written, microseconds since 1970.
    pub last_at_us: Option<i64>,
    /// The root, in hexadecimal.
    pub root: String,
    /// The witnesses, of those that were asked for, that cosigned the newest checkpoint.
    pub cosigned_by: Vec<Cosigned>,
    /// How many older checkpoints were prefixes.
    pub older_checkpoints: usize,
    /// How often the key that was given, or its successor, handed over to another key in the entries.
    #[serde(skip_serializing_if = "is_none_of")]
    pub handovers: usize,
    /// How many entries are dated before the one in front of them.
    pub clock_steps_back: u64,
    /// How many entries were withheld, as bare hashes: they are in their places, and what they say was not seen.
    #[serde(skip_serializing_if = "is_zero")]
    pub withheld: u64,
    /// Whether what the entries say obeys the ledger's rules. It cannot be told where any are withheld.
    pub order_checked: bool,
    /// Decisions that were permitted and have not ended. Questions in flight, or a process that has not been
    /// restarted since it died.
    pub open_intents: Vec<String>,
}

/// Checks a ledger entry by entry, with memory for what is still open and in force alone.
pub struct Verifier {
    keys: keys::Keys,
    witnesses: Vec<NoteVerifier>,
    quorum: usize,
    frontier: Frontier,
    prefixes: BTreeMap<u64, (Hash, String)>,
    /// Older checkpoints that no key that was given signed: told when the ledger's keys are known.
    others: Vec<Other>,
    order: order::Order,
    kinds: BTreeMap<&'static str, u64>,
    first_at_us: Option<i64>,
    last_at_us: Option<i64>,
    clock_steps_back: u64,
    withheld: u64,
    in_part: bool,
}

/// An older checkpoint, signed by a key that is not known yet.
struct Other {
    checkpoint: Checkpoint,
    note: String,
    label: String,
    /// Whether the entries up to there are those that it is over.
    holds: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none_of(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Verifier {
    /// A verifier for the ledger with this key, `name+hash+key`.
    ///
    /// # Errors
    /// [`Fault`] when the key cannot be read.
    pub fn new(public_key: &str) -> Result<Self, Fault> {
        Ok(Self {
            keys: keys::Keys::new(public_key)?,
            witnesses: Vec::new(),
            quorum: 0,
            frontier: Frontier::empty(),
            prefixes: BTreeMap::new(),
            others: Vec::new(),
            order: order::Order::default(),
            kinds: BTreeMap::new(),
            first_at_us: None,
            last_at_us: None,
            clock_steps_back: 0,
            withheld: 0,
            in_part: false,
        })
    }

    /// Gives it space for what it must remember of every decision: without, its memory grows with the ledger. What was
    /// decided or ended twice is told at the end.
    pub fn with_scratch(&mut self, make: MakeScratch) {
        self.order.with_scratch(make);
    }

    /// Takes entries of which some are withheld: what they say together is not checked then. Call it before the first.
    pub fn expect_in_part(&mut self) {
        self.in_part = true;
    }

    /// Takes the hash of the next entry, which is withheld.
    ///
    /// # Errors
    /// [`Fault`] when none was expected to be, or it contradicts an older checkpoint.
    pub fn withheld(&mut self, hash: Hash) -> Result<(), Fault> {
        let index = self.frontier.size();
        if !self.in_part {
            return Err(Fault::at(index, "withheld", "it is withheld, and the manifest does not say so"));
        }
        self.withheld += 1;
        self.frontier.push(hash);
        self.check_prefix()
    }

    /// Also expects at least `quorum` of these witnesses to have cosigned the newest checkpoint.
    ///
    /// # Errors
    /// [`Fault`] when a key cannot be read, two are one witness's or the ledger's own, or the quorum is more than
    /// there are.
    pub fn expect_witnesses(&mut self, keys: &[String], quorum: usize) -> Result<(), Fault> {
        for text in keys {
            let key =
                NoteVerifier::parse(text).map_err(|error| Fault::of_log("witness-key", error.to_string()))?;
            if key.kind() == KeyKind::Ed25519 {
                let detail =
                    format!("{} is a log's key; a witness's is of the kind for cosignatures", key.name());
                return Err(Fault::of_log("witness-key", detail));
            }
            let mut known = self.witnesses.iter().chain(self.keys.trusted());
            if let Some(same) = known.find(|known| known.shares_secret_with(&key)) {
                let detail =
                    format!("{} and {} are one key, so they are no two parties", same.name(), key.name());
                return Err(Fault::of_log("witness-key", detail));
            }
            self.witnesses.push(key);
        }
        self.quorum = quorum;
        if quorum > self.witnesses.len() {
            let detail =
                format!("a quorum of {quorum} is more than the {} witnesses given", self.witnesses.len());
            return Err(Fault::of_log("witness-key", detail));
        }
        Ok(())
    }

    /// Also expects this older checkpoint to be a prefix. Call it before the first entry.
    ///
    /// # Errors
    /// [`Fault`] when the checkpoint is not one of this ledger.
    pub fn expect_checkpoint(&mut self, note: &str, label: &str) -> Result<(), Fault> {
        let not_in_order = |error: CheckpointError| Fault::of_log("checkpoint", format!("{label}: {error}"));
        let checkpoint = match Checkpoint::open(note, self.keys.trusted()) {
            Ok(checkpoint) => checkpoint,
            // The ledger may have had another key.
            Err(CheckpointError::Note(NoteError::Unsigned)) => {
                let text = note.rsplit_once("\n\n").map_or("", |(text, _)| text);
                let checkpoint = Checkpoint::parse(&format!("{text}\n")).map_err(not_in_order)?;
                let (note, label) = (note.to_owned(), label.to_owned());
                let holds = (checkpoint.size == 0).then_some(checkpoint.root == Frontier::empty().root());
                self.others.push(Other { checkpoint, note, label, holds });
                return Ok(());
            }
            Err(error) => return Err(not_in_order(error)),
        };
        if checkpoint.size == 0 && checkpoint.root != Frontier::empty().root() {
            return Err(Fault::of_log("prefix", format!("{label} is over no entries and says otherwise")));
        }
        match self.prefixes.insert(checkpoint.size, (checkpoint.root, label.to_owned())) {
            Some((root, other)) if root != checkpoint.root => {
                let detail = format!(
                    "the ledger was forked: {other} and {label} are both signed over {} entries, and not the same ones",
                    checkpoint.size
                );
                Err(Fault::of_log("fork", detail))
            }
            _ => Ok(()),
        }
    }

    /// How many entries there are to be read. The newest checkpoint may be signed by a key that only the entries name:
    /// whether it can be believed is seen at the end.
    fn expected(&self, checkpoint_note: &str) -> Result<Checkpoint, Fault> {
        match Checkpoint::open(checkpoint_note, self.keys.trusted()) {
            Err(CheckpointError::Note(NoteError::Unsigned)) => {
                let text = checkpoint_note.rsplit_once("\n\n").map_or("", |(text, _)| text);
                Checkpoint::parse(&format!("{text}\n"))
                    .map_err(|error| Fault::of_log("checkpoint", error.to_string()))
            }
            _ => Ok(self.open(checkpoint_note)?.checkpoint),
        }
    }

    /// Opens the newest checkpoint: signed by a key of the ledger's that is trusted, and by enough witnesses.
    ///
    /// # Errors
    /// [`Fault`] when it is not.
    pub fn open(&self, checkpoint_note: &str) -> Result<Witnessed, Fault> {
        let opened = Checkpoint::open_witnessed(checkpoint_note, self.keys.trusted(), &self.witnesses)
            .map_err(|error| Fault::of_log("checkpoint", error.to_string()))?;
        let cosigned = opened.cosignatures.len();
        if cosigned < self.quorum {
            let detail = format!(
                "{cosigned} of the {} witnesses cosigned the checkpoint, and {} must",
                self.witnesses.len(),
                self.quorum
            );
            return Err(Fault::of_log("quorum", detail));
        }
        Ok(opened)
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Fault`] when it is not in order; the verifier is of no further use then.
    pub fn entry(&mut self, leaf: &[u8]) -> Result<(), Fault> {
        self.read(leaf).map(drop)
    }

    /// Takes the next entry, as [`Self::entry`] does, and gives it to whoever goes on with it.
    ///
    /// # Errors
    /// [`Fault`] when it is not in order; the verifier is of no further use then.
    pub fn read(&mut self, leaf: &[u8]) -> Result<Entry, Fault> {
        self.take(leaf).map_err(|fault| {
            // One in front of it may be out of order as well, and be the first.
            self.settled().err().filter(|earlier| earlier.index < fault.index).unwrap_or(fault)
        })
    }

    /// The decisions that are open, if none was made or ended twice.
    fn settled(&mut self) -> Result<Vec<String>, Fault> {
        let told = std::mem::take(&mut self.order).finish();
        let (open, broken) = told.map_err(|error| {
            Fault::of_log("scratch", format!("the temporary file cannot be read back: {error}; try again"))
        })?;
        match broken {
            Some((index, code, detail)) => Err(Fault::at(index, code, detail)),
            None => Ok(open),
        }
    }

    fn take(&mut self, leaf: &[u8]) -> Result<Entry, Fault> {
        let index = self.frontier.size();
        let entry = Entry::decode(leaf).map_err(|error| Fault::at(index, "leaf", error.to_string()))?;
        if entry.seq != index {
            return Err(Fault::at(index, "sequence", format!("it says that it is entry {}", entry.seq)));
        }
        self.check_keys(index, &entry.body)?;
        if !self.in_part {
            self.order.check(&entry).map_err(|(code, detail)| Fault::at(index, code, detail))?;
        }
        self.frontier.push(leaf_hash(leaf));
        self.check_prefix()?;
        *self.kinds.entry(entry.body.kind()).or_default() += 1;
        self.clock_steps_back += u64::from(self.last_at_us.is_some_and(|last| entry.at_us < last));
        self.first_at_us = self.first_at_us.or(Some(entry.at_us));
        self.last_at_us = Some(entry.at_us);
        Ok(entry)
    }

    /// Ends with the newest checkpoint, which must be over exactly these entries.
    ///
    /// # Errors
    /// [`Fault`] when it is not.
    pub fn finish(mut self, checkpoint_note: &str) -> Result<Report, Fault> {
        let open_intents = self.settled()?;
        let Witnessed { checkpoint, cosignatures } = self.open(checkpoint_note)?;
        self.keys.check_given()?;
        let own =
            self.keys.known().iter().find(|key| self.witnesses.iter().any(|one| one.shares_secret_with(key)));
        if let Some(own) = own {
            let detail =
                format!("a witness's key is one of {}'s own, so they are no two parties", own.name());
            return Err(Fault::of_log("witness-key", detail));
        }
        let size = self.frontier.size();
        if checkpoint.size != size {
            let detail = format!("the checkpoint covers {} entries and there are {size}", checkpoint.size);
            return Err(Fault::of_log("size", detail));
        }
        if checkpoint.root != self.frontier.root() {
            let detail = "the entries are not the ones that were signed: some entry was changed, and no older checkpoint says which";
            return Err(Fault::of_log("root", detail));
        }
        if let Some((missing, (_, label))) = self.prefixes.range(size + 1..).next() {
            let detail =
                format!("{label} covers {missing} entries and there are {size}: the end was cut off");
            return Err(Fault::of_log("truncated", detail));
        }
        self.check_others()?;
        Ok(Report {
            origin: checkpoint.origin,
            entries: size,
            kinds: self.kinds,
            first_at_us: self.first_at_us,
            last_at_us: self.last_at_us,
            root: hexadecimal(&checkpoint.root),
            cosigned_by: cosignatures
                .into_iter()
                .map(|signature| Cosigned { witness: signature.name, at_s: signature.time_s })
                .collect(),
            older_checkpoints: self.prefixes.len() + self.others.len(),
            handovers: self.keys.handovers(),
            clock_steps_back: self.clock_steps_back,
            withheld: self.withheld,
            order_checked: !self.in_part,
            open_intents,
        })
    }

    /// Takes the keys that an entry names. It is not in the tree yet.
    fn check_keys(&mut self, index: u64, body: &Body) -> Result<(), Fault> {
        match body {
            Body::LogOpened { public_key, .. } if index == 0 => {
                self.keys.announce(public_key).map_err(|_| {
                    Fault::at(0, "opening-key", "it opens the ledger with a key that cannot be read")
                })
            }
            _ if index == 0 => Err(Fault::at(0, "opening", "the first entry does not open the ledger")),
            Body::SigningKeyAnnounced { public_key } => {
                self.keys.announce(public_key).map_err(|why| Fault::at(index, "signing-key", why))
            }
            Body::SigningKeyRetired { public_key, handover, .. } => {
                let root = self.frontier.root();
                let retired = self.keys.retire(public_key, handover, (index, &root));
                retired.map_err(|why| Fault::at(index, "signing-key", why))
            }
            _ => Ok(()),
        }
    }

    /// Older checkpoints that the key that was given did not sign: one of the ledger's keys did, and over these entries.
    fn check_others(&self) -> Result<(), Fault> {
        let size = self.frontier.size();
        for Other { checkpoint, note, label, holds } in &self.others {
            Checkpoint::open(note, self.keys.known())
                .map_err(|error| Fault::of_log("checkpoint", format!("{label}: {error}")))?;
            match holds {
                Some(true) => {}
                Some(false) => {
                    let detail = format!("{label} was signed over other entries up to here");
                    return Err(match checkpoint.size.checked_sub(1) {
                        Some(last) => Fault::at(last, "prefix", detail),
                        None => Fault::of_log("prefix", detail),
                    });
                }
                None => {
                    let detail = format!(
                        "{label} covers {} entries and there are {size}: the end was cut off",
                        checkpoint.size
                    );
                    return Err(Fault::of_log("truncated", detail));
                }
            }
        }
        Ok(())
    }

    fn check_prefix(&mut self) -> Result<(), Fault> {
        let size = self.frontier.size();
        for other in self.others.iter_mut().filter(|other| other.checkpoint.size == size) {
            other.holds = Some(other.checkpoint.root == self.frontier.root());
        }
        match self.prefixes.get(&self.frontier.size()) {
            Some((root, label)) if *root != self.frontier.root() => {
                let detail = format!("{label} was signed over other entries up to here");
                Err(Fault::at(self.frontier.size() - 1, "prefix", detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
