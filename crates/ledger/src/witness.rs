//! What a witness answers (C2SP tlog-witness): it cosigns a checkpoint only when that extends the one it cosigned
//! before. Who keeps the state and speaks HTTP asks here.
//!
//! Source: <https://c2sp.org/tlog-witness>.

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    note::LogKeys,
    proof::{hash_lines, read_hash_lines},
    tree::{Frontier, Hash},
};

/// The most hashes that a request may bring.
const HASHES_MAX: usize = 63;

/// Asks a witness to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as far as the asker knows; 0 for none.
    pub old: u64,
    /// That the new checkpoint extends the old one.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed.
    pub checkpoint: String,
}

/// Why a witness does not cosign. Each has its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// 400.
    #[error("not an add-checkpoint request")]
    Malformed,
    /// 404.
    #[error("the checkpoint is of a log that this witness does not know")]
    UnknownLog,
    /// 403.
    #[error("the checkpoint is not signed by its log")]
    Unsigned,
    /// 409, with the size that was cosigned last.
    #[error("the last checkpoint that was cosigned has {0} entries")]
    Conflict(u64),
    /// 422.
    #[error("the checkpoint is not shown to extend the last one that was cosigned")]
    Inconsistent,
}

impl WitnessRefusal {
    /// The HTTP status that the protocol gives it.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl AddCheckpoint {
    /// The request's body.
    pub fn to_text(&self) -> String {
        format!("old {}\n{}\n{}", self.old, hash_lines(&self.proof), self.checkpoint)
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// [`WitnessRefusal::Malformed`] when it is not exactly one.
    pub fn parse(text: &str) -> Result<Self, WitnessRefusal> {
        Self::read(text).ok_or(WitnessRefusal::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let spelled = lines.next()?.strip_prefix("old ")?;
        let old: u64 = spelled.parse().ok()?;
        let proof = read_hash_lines(lines).filter(|proof| proof.len() <= HASHES_MAX)?;
        (old.to_string() == spelled).then(|| Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The log that it says it is of. Nothing has been verified.
    pub fn origin(&self) -> Option<&str> {
        self.checkpoint.split_once('\n').map(|(origin, _)| origin)
    }

    /// Decides whether to cosign, given the log's key or keys and the checkpoint that was cosigned last. Whoever asks must
    /// keep the answer durably before they sign, and let nobody else decide in between.
    ///
    /// # Errors
    /// [`WitnessRefusal`] saying why not.
    pub fn decide<L: LogKeys + ?Sized>(
        &self,
        log: Option<&L>,
        last: Option<&Checkpoint>,
    ) -> Result<Checkpoint, WitnessRefusal> {
        let log = log.ok_or(WitnessRefusal::UnknownLog)?;
        let new = Checkpoint::open(&self.checkpoint, log).map_err(|error| match error {
            CheckpointError::Note(_) => WitnessRefusal::Unsigned,
            CheckpointError::Origin => WitnessRefusal::UnknownLog,
            CheckpointError::Malformed | CheckpointError::Tree(_) => WitnessRefusal::Malformed,
        })?;
        if self.old > new.size {
            return Err(WitnessRefusal::Malformed);
        }
        let empty = Checkpoint { origin: new.origin.clone(), size: 0, root: Frontier::empty().root() };
        let last = last.unwrap_or(&empty);
        if self.old != last.size {
            return Err(WitnessRefusal::Conflict(last.size));
        }
        new.verify_extends(last, &self.proof).map_err(|_| WitnessRefusal::Inconsistent)?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        note::{NoteSigner, NoteVerifier},
        tree::{Frontier, leaf_hash, node_hash},
    };

    fn log() -> (NoteSigner, NoteVerifier) {
        let signer = NoteSigner::from_seed("log.example", &[1; 32]);
        let verifier = NoteVerifier::parse(&signer.verifier_key()).unwrap();
        (signer, verifier)
    }

    fn at(size: u8) -> Checkpoint {
        let mut tree = Frontier::empty();
        (0..size).for_each(|leaf| drop(tree.push(leaf_hash(&[leaf]))));
        Checkpoint { origin: "log.example".to_owned(), size: tree.size(), root: tree.root() }
    }

    fn ask(old: u64, proof: Vec<Hash>, new: &Checkpoint) -> AddCheckpoint {
        AddCheckpoint { old, proof, checkpoint: new.sign(&log().0) }
    }

    #[test]
    fn what_extends_is_cosigned_and_nothing_else() {
        let (_, key) = log();
        let proof = vec![leaf_hash(&[2])];
        let decide = |ask: &AddCheckpoint, last: Option<&Checkpoint>| {
            ask.decide(Some(&key), last).map(|checkpoint| checkpoint.size)
        };
        assert_eq!(decide(&ask(0, Vec::new(), &at(2)), None), Ok(2));
        assert_eq!(decide(&ask(2, proof.clone(), &at(3)), Some(&at(2))), Ok(3));
        assert_eq!(decide(&ask(2, Vec::new(), &at(2)), Some(&at(2))), Ok(2));
        // A rollback, with and without knowing.
        assert_eq!(decide(&ask(0, Vec::new(), &at(2)), Some(&at(3))), Err(WitnessRefusal::Conflict(3)));
        assert_eq!(decide(&ask(3, Vec::new(), &at(2)), Some(&at(3))), Err(WitnessRefusal::Malformed));
        // A fork of the same size, and one that goes on.
        let forked = Checkpoint { root: node_hash(&[1; 32], &[2; 32]), ..at(2) };
        assert_eq!(decide(&ask(2, Vec::new(), &forked), Some(&at(2))), Err(WitnessRefusal::Inconsistent));
        assert_eq!(decide(&ask(2, proof.clone(), &at(3)), Some(&forked)), Err(WitnessRefusal::Inconsistent));
        assert_eq!(decide(&ask(2, Vec::new(), &at(3)), Some(&at(2))), Err(WitnessRefusal::Inconsistent));
        assert_eq!(decide(&ask(0, proof.clone(), &at(3)), None), Err(WitnessRefusal::Inconsistent));
        let nothing = Checkpoint { root: [0; 32], ..at(0) };
        assert_eq!(decide(&ask(0, Vec::new(), &nothing), None), Err(WitnessRefusal::Inconsistent));
        assert_eq!(decide(&ask(0, Vec::new(), &at(0)), None), Ok(0));
        let stranger = NoteSigner::from_seed("log.example", &[9; 32]);
        let unsigned = AddCheckpoint { checkpoint: at(2).sign(&stranger), ..ask(0, Vec::new(), &at(2)) };
        assert_eq!(decide(&unsigned, None), Err(WitnessRefusal::Unsigned));
        assert_eq!(
            ask(0, Vec::new(), &at(2)).decide(None::<&NoteVerifier>, None),
            Err(WitnessRefusal::UnknownLog)
        );
    }

    #[test]
    fn a_request_has_one_spelling() {
        let asked = ask(2, vec![leaf_hash(&[2])], &at(3));
        assert_eq!(AddCheckpoint::parse(&asked.to_text()), Ok(asked.clone()));
        assert_eq!(asked.origin(), Some("log.example"));
        for (good, bad) in [("old 2", "old 02"), ("old 2", "new 2"), ("\n\n", "\n"), ("old 2\n", "old 2\n\n")]
        {
            let changed = asked.to_text().replacen(good, bad, 1);
            let read = AddCheckpoint::parse(&changed);
            assert!(read != Ok(asked.clone()), "{bad}");
        }
        let endless = ask(2, vec![[0; 32]; HASHES_MAX + 1], &at(3));
        assert_eq!(AddCheckpoint::parse(&endless.to_text()), Err(WitnessRefusal::Malformed));
    }
}
