//! A partner's check of its stored receipts: each must still be what the ledger says, and the ledger must extend what
//! it was when the receipt was given. A history that was rewritten since is caught by whoever kept a receipt.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ledger::{
    checkpoint::{Checkpoint, CheckpointError},
    entry::{Body, Entry},
    note::{NoteError, NoteVerifier},
    proof::TlogProof,
    tree::{Hash, hexadecimal, verify_consistency, verify_inclusion},
};
use serde_json::Value;

/// Where the ledger is asked for its proofs: a gateway, or what was saved of one.
pub trait Proofs {
    /// The text below `/.well-known/audit/`.
    fn get(&self, path: &str) -> impl Future<Output = anyhow::Result<String>>;
}

/// A receipt as a partner stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    decision_id: String,
    position: u64,
    leaf_hash: Hash,
    checkpoint: String,
}

impl StoredReceipt {
    /// The decision.
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }

    /// The place of its entry.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The hash of its entry.
    pub fn leaf_hash(&self) -> &Hash {
        &self.leaf_hash
    }

    /// The checkpoint that covered it.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

/// How one receipt was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The decision.
    pub decision_id: String,
    /// What is wrong; none where the ledger still says what it said.
    pub wrong: Option<String>,
}

/// How a check went.
pub struct Outcome {
    /// Each receipt.
    pub checked: Vec<Checked>,
    /// The ledger's newest checkpoint, to be kept.
    pub newest: String,
    /// The keys that were given, and those that took over from them.
    pub keys: Vec<NoteVerifier>,
}

/// Every receipt in a JSON document: the document itself, or whatever in it has the members of one.
pub fn receipts_in(document: &Value) -> Vec<StoredReceipt> {
    within(document, &|value| text_of(value, "checkpoint"))
}

/// Every receipt in documents that follow each other, such as the lines of a list's answer, where the checkpoint of a chunk
/// covers the receipts before it, which have none of their own.
///
/// # Errors
/// When it is not JSON.
pub fn receipts_in_text(text: &str) -> serde_json::Result<Vec<StoredReceipt>> {
    let (mut found, mut waiting) = (Vec::new(), Vec::<Value>::new());
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document?;
        found.extend(receipts_in(&document));
        if document.get("chunk").is_none() {
            waiting.push(document);
            continue;
        }
        let of_chunk = text_of(&document, "checkpoint");
        for line in waiting.drain(..) {
            let without = |value: &Value| of_chunk.clone().filter(|_| value.get("checkpoint").is_none());
            found.extend(within(&line, &without));
        }
    }
    Ok(found)
}

/// Whatever has the members of a receipt, with the checkpoint that is said to be its.
fn within(document: &Value, checkpoint: &dyn Fn(&Value) -> Option<String>) -> Vec<StoredReceipt> {
    let (mut found, mut waiting) = (Vec::new(), vec![document]);
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                found.extend(checkpoint(value).and_then(|checkpoint| stored(value, checkpoint)));
                waiting.extend(members.values());
            }
            Value::Array(values) => waiting.extend(values),
            _ => {}
        }
    }
    found
}

fn text_of(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

fn stored(value: &Value, checkpoint: String) -> Option<StoredReceipt> {
    Some(StoredReceipt {
        decision_id: text_of(value, "decision_id")?,
        position: value.get("log_position")?.as_u64()?,
        leaf_hash: from_hexadecimal(value.get("leaf_hash")?.as_str()?)?,
        checkpoint,
    })
}

fn from_hexadecimal(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (hexadecimal(&hash) == text).then_some(hash)
}

/// Checks receipts against the ledger's newest checkpoint. `kept` is the newest one that this partner saw before,
/// which must be a prefix; the one seen now comes back, to be kept.
///
/// # Errors
/// When the ledger cannot be asked, or its newest checkpoint is not its key's, or does not extend the kept one.
pub async fn check(
    receipts: &[StoredReceipt],
    keys: &[NoteVerifier],
    proofs: &impl Proofs,
    kept: Option<&str>,
) -> anyhow::Result<Outcome> {
    let newest_note = proofs.get("checkpoint").await?;
    let keys = followed(keys, &newest_note, proofs).await?;
    let keys = keys.as_slice();
    let newest = Checkpoint::open(&newest_note, keys)
        .map_err(|error| anyhow::anyhow!("the ledger's newest checkpoint: {error}"))?;
    if let Some(kept) = kept {
        let kept = Checkpoint::open(kept, keys)
            .map_err(|error| anyhow::anyhow!("the checkpoint that was kept: {error}"))?;
        if let Err(wrong) = extends(&kept, &newest, proofs, keys).await {
            anyhow::bail!("the ledger does not extend the checkpoint that was kept: {wrong}");
        }
    }
    let mut checked = Vec::new();
    for receipt in receipts {
        let wrong = check_one(receipt, &newest, keys, proofs).await.err().map(|error| format!("{error:#}"));
        checked.push(Checked { decision_id: receipt.decision_id.clone(), wrong });
    }
    Ok(Outcome { checked, newest: newest_note, keys: keys.to_vec() })
}

/// The keys, and those that took over from them, where the newest checkpoint is signed by none of these. Every step is
/// vouched for by a key that is trusted already.
async fn followed(
    keys: &[NoteVerifier],
    newest: &str,
    proofs: &impl Proofs,
) -> anyhow::Result<Vec<NoteVerifier>> {
    let mut keys = keys.to_vec();
    let is_signed = Checkpoint::open(newest, keys.as_slice());
    if !matches!(is_signed, Err(CheckpointError::Note(NoteError::Unsigned))) {
        return Ok(keys);
    }
    let said: Value = serde_json::from_str(&proofs.get("handovers").await?)?;
    for one in said.get("handovers").and_then(Value::as_array).into_iter().flatten() {
        let text = |name| one.get(name).and_then(Value::as_str);
        let (Some(entry), Some(proof)) = (text("entry"), text("proof")) else { continue };
        let vouched =
            TlogProof::parse(proof).and_then(|proof| proof.verify(entry.as_bytes(), keys.as_slice(), &[]));
        let Ok(Entry { body: Body::SigningKeyAnnounced { public_key }, .. }) =
            Entry::decode(entry.as_bytes())
        else {
            continue;
        };
        if vouched.is_ok() {
            let key = NoteVerifier::parse(&public_key)?;
            if !keys.iter().any(|known| known.shares_secret_with(&key)) {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

async fn check_one(
    receipt: &StoredReceipt,
    newest: &Checkpoint,
    keys: &[NoteVerifier],
    proofs: &impl Proofs,
) -> anyhow::Result<()> {
    let given = Checkpoint::open(&receipt.checkpoint, keys)
        .map_err(|error| anyhow::anyhow!("its checkpoint: {error}"))?;
    anyhow::ensure!(receipt.position < given.size, "its checkpoint does not cover its place");
    extends(&given, newest, proofs, keys).await?;
    let text = proofs.get(&format!("proof/{}", receipt.position)).await?;
    let proof = TlogProof::parse(&text)?;
    let under = Checkpoint::open(&proof.checkpoint, keys)?;
    anyhow::ensure!(proof.index == receipt.position, "the proof is of another entry");
    verify_inclusion(&receipt.leaf_hash, proof.index, under.size, &proof.hashes, &under.root)
        .map_err(|_| anyhow::anyhow!("the ledger has another entry in its place"))?;
    extends(&given, &under, proofs, keys).await
}

/// That one checkpoint's ledger is the beginning of the other's.
async fn extends(
    old: &Checkpoint,
    new: &Checkpoint,
    proofs: &impl Proofs,
    keys: &[NoteVerifier],
) -> anyhow::Result<()> {
    anyhow::ensure!(
        old.size <= new.size,
        "the ledger was cut off: it had {} entries and has {}",
        old.size,
        new.size
    );
    let rewritten = "the ledger is not the one that it was: an entry before this one was changed";
    if old.size == new.size {
        anyhow::ensure!(old.root == new.root, rewritten);
        return Ok(());
    }
    let text = proofs.get(&format!("consistency/{}", old.size)).await?;
    let (hashes, note) = text
        .split_once("\n\n")
        .or_else(|| Some(("", text.strip_prefix('\n')?)))
        .ok_or_else(|| anyhow::anyhow!("not a consistency proof"))?;
    let hashes: Option<Vec<Hash>> =
        hashes.lines().map(|line| BASE64.decode(line).ok()?.try_into().ok()).collect();
    let hashes = hashes.ok_or_else(|| anyhow::anyhow!("not a consistency proof"))?;
    let shown = Checkpoint::open(note, keys)?;
    anyhow::ensure!(shown.size >= new.size, "the ledger shows an older checkpoint than before");
    verify_consistency(old.size, shown.size, &old.root, &shown.root, &hashes)
        .map_err(|_| anyhow::anyhow!(rewritten))
}
