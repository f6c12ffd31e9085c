//! Proof files (C2SP tlog-proof): that one entry is in the ledger, with all that is needed to check it offline.
//!
//! Source: <https://c2sp.org/tlog-proof>.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Witnessed},
    note::{LogKeys, NoteVerifier},
    tree::{Hash, TreeError, leaf_hash, verify_inclusion},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes that a proof can need.
const HASHES_MAX: usize = 64;

/// An entry's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Whatever was put beside it. Nobody signed it.
    pub extra: Option<Vec<u8>>,
    /// The entry, from 0.
    pub index: u64,
    /// From the entry's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// A proof that is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof file.
    #[error("not a c2sp.org/tlog-proof@v1 file")]
    Malformed,
    /// Its checkpoint is not in order.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not lead from the entry to the checkpoint.
    #[error("the proof does not lead from this entry to the checkpoint")]
    Inclusion(#[from] TreeError),
}

impl TlogProof {
    /// The file.
    pub fn to_text(&self) -> String {
        let extra = self.extra.as_ref().map(|extra| format!("extra {}\n", BASE64.encode(extra)));
        let (extra, index, hashes) = (extra.unwrap_or_default(), self.index, hash_lines(&self.hashes));
        format!("{HEADER}\n{extra}index {index}\n{hashes}\n{}", self.checkpoint)
    }

    /// Reads a file. The checkpoint in it is not opened yet.
    ///
    /// # Errors
    /// [`ProofError::Malformed`] when it is not exactly one.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        if lines.next()? != HEADER {
            return None;
        }
        let extra = match lines.peek()?.strip_prefix("extra ") {
            Some(encoded) => {
                lines.next();
                Some(BASE64.decode(encoded).ok()?)
            }
            None => None,
        };
        let spelled = lines.next()?.strip_prefix("index ")?;
        let index: u64 = spelled.parse().ok()?;
        let hashes = read_hash_lines(lines).filter(|hashes| hashes.len() < HASHES_MAX)?;
        let one_spelling = index.to_string() == spelled;
        one_spelling.then(|| Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that an entry is the one at the proof's index in a ledger, and says which witnesses had seen it.
    ///
    /// # Errors
    /// [`ProofError`] when it is not shown to be.
    pub fn verify<L: LogKeys + ?Sized>(
        &self,
        entry: &[u8],
        log: &L,
        witnesses: &[NoteVerifier],
    ) -> Result<Witnessed, ProofError> {
        let opened = Checkpoint::open_witnessed(&self.checkpoint, log, witnesses)?;
        let Checkpoint { size, root, .. } = &opened.checkpoint;
        verify_inclusion(&leaf_hash(entry), self.index, *size, &self.hashes, root)?;
        Ok(opened)
    }
}

/// Hashes in base64, one a line.
pub(crate) fn hash_lines(hashes: &[Hash]) -> String {
    hashes.iter().fold(String::new(), |lines, hash| lines + &BASE64.encode(hash) + "\n")
}

/// Reads hashes in base64, one a line.
pub(crate) fn read_hash_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    lines.map(|line| BASE64.decode(line).ok()?.try_into().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        note::{Cosigner, NoteSigner},
        tree::node_hash,
    };

    fn proof() -> (TlogProof, NoteVerifier, NoteVerifier) {
        let (log, witness) = (NoteSigner::from_seed("o", &[1; 32]), Cosigner::from_seed("w", &[2; 32]));
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let checkpoint = Checkpoint { origin: "o".to_owned(), size: 2, root: node_hash(&left, &right) };
        let note = checkpoint.sign(&log) + &witness.cosign(&checkpoint.to_text(), 5);
        let keys = [log.verifier_key(), witness.verifier_key()].map(|key| NoteVerifier::parse(&key).unwrap());
        let [log, witness] = keys;
        (TlogProof { extra: None, index: 1, hashes: vec![left], checkpoint: note }, log, witness)
    }

    #[test]
    fn a_proof_reads_back_and_verifies() {
        let (proof, log, witness) = proof();
        let with_extra = TlogProof { extra: Some(b"beside".to_vec()), ..proof.clone() };
        for proof in [&proof, &with_extra] {
            assert_eq!(TlogProof::parse(&proof.to_text()).as_ref(), Ok(proof));
        }
        let witnessed = proof.verify(b"right", &log, &[witness]).unwrap();
        assert_eq!((witnessed.checkpoint.size, witnessed.cosignatures[0].time_s), (2, Some(5)));
        assert!(with_extra.to_text().starts_with("c2sp.org/tlog-proof@v1\nextra YmVzaWRl\nindex 1\n"));
    }

    #[test]
    fn nothing_else_verifies() {
        let (proof, log, _) = proof();
        let refused = |proof: &TlogProof, entry: &[u8]| proof.verify(entry, &log, &[]).is_err();
        assert!(!refused(&proof, b"right"));
        assert!(refused(&proof, b"left"));
        assert!(refused(&TlogProof { index: 0, ..proof.clone() }, b"right"));
        assert!(refused(&TlogProof { hashes: Vec::new(), ..proof.clone() }, b"right"));
        assert!(refused(
            &TlogProof { checkpoint: proof.checkpoint.replacen('2', "3", 1), ..proof.clone() },
            b"right"
        ));
        for (good, bad) in
            [("index 1", "index 01"), ("proof@v1", "proof@v2"), ("index 1", "indexes 1"), ("\n\n", "\n")]
        {
            assert_eq!(
                TlogProof::parse(&proof.to_text().replacen(good, bad, 1)),
                Err(ProofError::Malformed),
                "{bad}"
            );
        }
        let endless = TlogProof { hashes: vec![[0; 32]; HASHES_MAX], ..proof };
        assert_eq!(TlogProof::parse(&endless.to_text()), Err(ProofError::Malformed));
    }
}
