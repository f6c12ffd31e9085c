//! The keys of a ledger, as it announced them itself. Trust begins with the key that the reader was given and goes on to
//! the next where a checkpoint that a trusted key signed covers the announcement: the entry that retires a key has that
//! checkpoint in it.

use super::Fault;
use crate::{
    checkpoint::Checkpoint,
    note::{NoteVerifier, open},
    tree::Hash,
};

/// The keys that the entries have named so far.
pub(super) struct Keys {
    given: String,
    trusted: Vec<NoteVerifier>,
    current: Vec<(String, NoteVerifier)>,
    /// Every key that there ever was.
    known: Vec<NoteVerifier>,
    opened: bool,
    /// The key that was given opened the ledger, or was announced in it.
    names_given: bool,
    handovers: usize,
}

impl Keys {
    /// Trusts the key that was given.
    pub(super) fn new(public_key: &str) -> Result<Self, Fault> {
        let key = NoteVerifier::parse(public_key).map_err(|error| Fault::of_log("key", error.to_string()))?;
        Ok(Self {
            given: public_key.to_owned(),
            trusted: vec![key],
            current: Vec::new(),
            known: Vec::new(),
            opened: false,
            names_given: false,
            handovers: 0,
        })
    }

    /// The keys that the newest checkpoint can be believed by.
    pub(super) fn trusted(&self) -> &[NoteVerifier] {
        &self.trusted
    }

    /// Every key that the entries named.
    pub(super) fn known(&self) -> &[NoteVerifier] {
        &self.known
    }

    /// How many keys handed over to another that was not trusted before.
    pub(super) fn handovers(&self) -> usize {
        self.handovers
    }

    /// The ledger was opened with this key, or it announces that this one signs too.
    pub(super) fn announce(&mut self, public_key: &str) -> Result<(), &'static str> {
        self.opened = true;
        let key = NoteVerifier::parse(public_key).map_err(|_| "it announces a key that cannot be read")?;
        if self.current.iter().any(|(_, other)| other.name() != key.name()) {
            return Err("it announces a key of another name than the ledger's");
        }
        if self.known.iter().any(|other| other.shares_secret_with(&key)) {
            return Err("it announces a key that the ledger has or had");
        }
        self.names_given |= public_key == self.given;
        self.known.push(key.clone());
        self.current.push((public_key.to_owned(), key));
        Ok(())
    }

    /// The ledger retires this key at entry `index`, over `root`, with the last checkpoint that it signed.
    pub(super) fn retire(
        &mut self,
        public_key: &str,
        handover: &str,
        (index, root): (u64, &Hash),
    ) -> Result<(), &'static str> {
        let place = self.current.iter().position(|(spelled, _)| spelled == public_key);
        let Some(place) = place.filter(|_| self.current.len() > 1) else {
            return Err("it retires a key that is not in use, or the only one");
        };
        let (_, retired) = self.current.remove(place);
        let said = Checkpoint::open(handover, &retired)
            .map_err(|_| "the checkpoint that it hands over with is not signed by the key that it retires")?;
        if said.size != index || said.root != *root {
            return Err("the checkpoint that it hands over with is not of the entries before it");
        }
        let successors: Vec<_> = self.current.iter().map(|(_, key)| key.clone()).collect();
        let signed = open(handover, &successors).map_err(|_| "the key that takes over did not sign it")?;
        if signed.signatures.len() != successors.len() {
            return Err("the key that takes over did not sign it");
        }
        let is_retired = |key: &NoteVerifier| key.shares_secret_with(&retired);
        if self.trusted.iter().any(is_retired) {
            self.trusted.retain(|key| !is_retired(key)); // what it signs from here on counts for nothing
            for key in successors {
                if !self.trusted.iter().any(|trusted| trusted.shares_secret_with(&key)) {
                    self.trusted.push(key);
                    self.handovers += 1;
                }
            }
        }
        Ok(())
    }

    /// The key that was given is one of this ledger's. Nothing can be said where the first entry is withheld.
    pub(super) fn check_given(&self) -> Result<(), Fault> {
        if self.names_given || !self.opened {
            return Ok(());
        }
        Err(Fault::at(
            0,
            "opening-key",
            "the ledger was opened with another key, and never announced this one",
        ))
    }
}
