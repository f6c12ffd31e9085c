//! An evidence pack: the entries of one decision, each with a proof that leads from its bytes to a signed checkpoint. What it says
//! in words beside them is the gateway's, and is not proven.

use std::collections::BTreeSet;

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
    /// The decision that it says it belongs to, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
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
    are_of_one_decision(&entries)?;
    Ok(VerifiedPack { format: "evidence-pack", key: key.clone(), entries })
}

/// Entries of several decisions prove nothing about one.
fn are_of_one_decision(entries: &[VerifiedEntry]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    let decision = entries.iter().find_map(|entry| entry.decision_id.as_deref());
    for entry in entries {
        let fault = |code, detail: String| Err(Fault { index: Some(entry.index), code, detail });
        if !seen.insert(entry.index) {
            return fault("sequence", "it is in the pack twice".to_owned());
        }
        if let (Some(decision), Some(other)) = (decision, entry.decision_id.as_deref())
            && decision != other
        {
            return fault("decision", format!("it is of {other}, and another entry of {decision}"));
        }
    }
    Ok(())
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
    let cosigned_by: BTreeSet<_> = seen.cosignatures.iter().map(|signature| signature.name.clone()).collect();
    if cosigned_by.len() < quorum {
        let said = format!("{} of {quorum} witnesses have seen its checkpoint", cosigned_by.len());
        return Err(fault("quorum", said));
    }
    Ok(VerifiedEntry {
        index: one.index,
        kind: decoded.body.kind().to_owned(),
        decision_id: decoded.body.decision_id().map(str::to_owned),
        ledger_size: seen.checkpoint.size,
        cosigned_by: cosigned_by.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_two_decisions_are_no_pack_of_one() {
        let entry = |index, decision: Option<&str>| VerifiedEntry {
            index,
            kind: "release".to_owned(),
            decision_id: decision.map(str::to_owned),
            ledger_size: 9,
            cosigned_by: Vec::new(),
        };
        let one = [entry(1, Some("dec_a")), entry(4, None), entry(5, Some("dec_a"))];
        assert!(are_of_one_decision(&one).is_ok());
        let two = [entry(1, None), entry(4, Some("dec_a")), entry(5, Some("dec_b"))];
        assert_eq!(are_of_one_decision(&two).unwrap_err().code, "decision");
    }
}
