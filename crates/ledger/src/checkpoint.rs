//! Checkpoints (C2SP tlog-checkpoint): a tree's size and root, signed.
//!
//! Source: <https://c2sp.org/tlog-checkpoint>.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    note::{LogKeys, NoteError, NoteSigner, NoteVerifier, VerifiedSignature, open},
    tree::{Frontier, Hash, TreeError, verify_consistency},
};

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger's name.
    pub origin: String,
    /// How many entries it covers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// A checkpoint that is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Its note is not in order.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is not a checkpoint.
    #[error("not a checkpoint: origin, size and root are needed, a line each")]
    Malformed,
    /// It is another ledger's.
    #[error("the checkpoint is of another ledger")]
    Origin,
    /// It is not shown to extend the older one.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A checkpoint with the witnesses that cosigned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// What the ledger signed.
    pub checkpoint: Checkpoint,
    /// The known witnesses' cosignatures, one a witness.
    pub cosignatures: Vec<VerifiedSignature>,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// Reads the text. Extension lines are allowed and ignored.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] when it is not exactly a checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed);
        };
        let number: u64 = size.parse().map_err(|_| CheckpointError::Malformed)?;
        let root: Option<Hash> = BASE64.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(CheckpointError::Malformed)?;
        if origin.is_empty() || number.to_string() != size || lines.any(str::is_empty) {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }

    /// The signed note.
    pub fn sign(&self, signer: &NoteSigner) -> String {
        signer.sign(&self.to_text())
    }

    /// The note, signed by several keys of the ledger's.
    pub fn sign_with(&self, signers: &[NoteSigner]) -> String {
        let text = self.to_text();
        signers.iter().fold(format!("{text}\n"), |note, signer| note + &signer.line(&text))
    }

    /// Opens a signed checkpoint of the ledger that the key, or the keys, are named after.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is not signed by that key or is not a checkpoint of that ledger.
    pub fn open<L: LogKeys + ?Sized>(note: &str, log: &L) -> Result<Self, CheckpointError> {
        Ok(Self::open_witnessed(note, log, &[])?.checkpoint)
    }

    /// Opens a signed checkpoint, with the cosignatures of these witnesses. One of theirs that is wrong refuses
    /// the whole; how many are enough is the caller's to say.
    ///
    /// # Errors
    /// [`CheckpointError`] as for [`Checkpoint::open`].
    pub fn open_witnessed<L: LogKeys + ?Sized>(
        note: &str,
        log: &L,
        witnesses: &[NoteVerifier],
    ) -> Result<Witnessed, CheckpointError> {
        let keys: Vec<_> = log.keys().iter().chain(witnesses).cloned().collect();
        let opened = open(note, &keys)?;
        let is_by_log = |signature: &VerifiedSignature| log.keys().iter().any(|key| signature.is_by(key));
        let (by_log, cosignatures): (Vec<_>, Vec<_>) = opened.signatures.into_iter().partition(is_by_log);
        if by_log.is_empty() {
            return Err(NoteError::Unsigned.into());
        }
        let checkpoint = Self::parse(&opened.text)?;
        if log.keys().iter().any(|key| checkpoint.origin != key.name()) {
            return Err(CheckpointError::Origin);
        }
        Ok(Witnessed { checkpoint, cosignatures })
    }

    /// Checks that this checkpoint extends an older one of the same ledger.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is not shown to.
    pub fn verify_extends(&self, older: &Self, proof: &[Hash]) -> Result<(), CheckpointError> {
        if self.origin != older.origin {
            return Err(CheckpointError::Origin);
        }
        if older.size == 0 {
            let nothing = older.root == Frontier::empty().root() && proof.is_empty();
            let stays_empty = self.size > 0 || self.root == older.root;
            return if nothing && stays_empty { Ok(()) } else { Err(TreeError::Proof.into()) };
        }
        Ok(verify_consistency(older.size, self.size, &older.root, &self.root, proof)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let checkpoint = Checkpoint { origin: "ledger.example".to_owned(), size: 12, root: [9; 32] };
        assert_eq!(Checkpoint::parse(&checkpoint.to_text()), Ok(checkpoint.clone()));
        for (good, bad) in
            [("\n12\n", "\n012\n"), ("\n12\n", "\n+12\n"), ("ledger.example", ""), ("CQkJ", "CQ=J")]
        {
            assert!(Checkpoint::parse(&checkpoint.to_text().replacen(good, bad, 1)).is_err(), "{bad}");
        }
        let signer = NoteSigner::from_seed("ledger.example", &[1; 32]);
        let verifier = NoteVerifier::parse(&signer.verifier_key()).unwrap();
        assert_eq!(Checkpoint::open(&checkpoint.sign(&signer), &verifier), Ok(checkpoint.clone()));
        let elsewhere = Checkpoint { origin: "other.example".to_owned(), ..checkpoint };
        assert_eq!(Checkpoint::open(&elsewhere.sign(&signer), &verifier), Err(CheckpointError::Origin));
    }
}
