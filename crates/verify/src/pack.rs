//! An evidence pack: the entries of one decision, each with a proof that leads from its bytes to a signed checkpoint. What it says
//! in words beside them is the gateway's, and is not proven.

use ledger::{entry::Entry, note::NoteVerifier, proof::TlogProof, verify::Fault};
use serde::{Deserialize, Serialize};

use crate::{Request, VerifyError};

/// A pack as the console writes it.
#[derive(Deserialize)]
pub(crate) struct Pack {
    entries: Vec<Proven>,
}

#[derive(Deserialize)]
struct Proven {
    index: u64,
    /// The leaf, byte for byte.
    entry: String,
    /// C2SP tlog-proof.
    proof: Option<String>,
}

/// What of a pack was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedPack {
    /// `evidence-pack`.
    pub format: &'static str,
    /// The key that the checkpoints verified with.
    pub key: String,
    /// Its entries, in the pack's order.
    pub entries: Vec<VerifiedEntry>,
}

/// An entry that is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedEntry {
    /// Its place, from 0.
    pub index: u64,
    /// Its kind.
    pub kind: String,
    /// The size of the ledger whose signed checkpoint has it.
    pub ledger_size: u64,
    /// The witnesses who had seen that checkpoint.
    pub cosigned_by: Vec<String>,
}

/// The pack that a text is, if it is one.
pub(crate) fn of(text: &str) -> Option<Pack> {
    serde_json::from_str(text).ok()
}

/// Verifies every entry of a pack.
///
/// # Errors
/// [`VerifyError`] with the first fault, or with why it cannot be told.
pub(crate) fn verify(pack: &Pack, request: &Request) -> Result<VerifiedPack, VerifyError> {
    let usage = |what: &str| VerifyError::Usage(what.to_owned());
    let Some(key) = &request.key else {
        return Err(usage(
            "an evidence pack names no key: give the ledger's with --key, as you got it from somebody other than the pack's maker",
        ));
    };
    if pack.entries.is_empty() {
        return Err(usage("the pack has no entries: there is nothing in it that could be proven"));
    }
    if !request.older.is_empty() {
        return Err(usage("--checkpoint is for exports: a pack has single entries"));
    }
    let read = |key: &String| NoteVerifier::parse(key).map_err(|error| VerifyError::Usage(error.to_string()));
    let log = read(key)?;
    let witnesses = request.witnesses.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let quorum = request.quorum.unwrap_or(witnesses.len());
    if quorum > witnesses.len() {
        return Err(usage("--quorum asks for more witnesses than are named"));
    }
    let verified = pack.entries.iter().map(|one| entry(one, &log, (&witnesses, quorum)));
    let entries = verified.collect::<Result<Vec<_>, _>>()?;
    Ok(VerifiedPack { format: "evidence-pack", key: key.clone(), entries })
}

fn entry(
    one: &Proven,
    log: &NoteVerifier,
    (witnesses, quorum): (&[NoteVerifier], usize),
) -> Result<VerifiedEntry, Fault> {
    let fault = |code, detail: String| Fault { index: Some(one.index), code, detail };
    let proof = one.proof.as_deref().ok_or_else(|| {
        fault("no-proof", "the pack has no proof of it: no signed checkpoint had it yet".to_owned())
    })?;
    let proof = TlogProof::parse(proof).map_err(|error| fault("proof", error.to_string()))?;
    let seen = proof.verify(one.entry.as_bytes(), log, witnesses);
    let seen = seen.map_err(|error| fault("proof", error.to_string()))?;
    let decoded = Entry::decode(one.entry.as_bytes()).map_err(|error| fault("entry", error.to_string()))?;
    if proof.index != one.index || decoded.seq != one.index {
        return Err(fault("sequence", format!("its proof is of entry {}", proof.index)));
    }
    let cosigned_by: std::collections::BTreeSet<_> =
        seen.cosignatures.iter().map(|signature| signature.name.clone()).collect();
    if cosigned_by.len() < quorum {
        let said = format!("{} of {quorum} witnesses have seen its checkpoint", cosigned_by.len());
        return Err(fault("quorum", said));
    }
    Ok(VerifiedEntry {
        index: one.index,
        kind: decoded.body.kind().to_owned(),
        ledger_size: seen.checkpoint.size,
        cosigned_by: cosigned_by.into_iter().collect(),
    })
}
