//! The ledger's signing keys: those in the key file are those that the ledger says are in use.

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    entry::Body,
    note::{NoteSigner, NoteVerifier},
    proof::TlogProof,
    tree::inclusion_plan,
};
use sqlx::AnyPool;

use crate::{
    audit::{self, Archive, StoredLeaf, to_i64, to_u64},
    error::StoreError,
    open::Store,
};

/// A key's place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// The key, `name+hash+key`.
    pub public_key: String,
    /// The entry that opened the ledger with it, or announced it, and its time in microseconds since 1970.
    pub announced: (u64, i64),
    /// The entry that retired it, and the checkpoint that it handed over with.
    pub retired: Option<(u64, String)>,
}

/// A key that took over: the entry that announced it, and that the key before it vouches for the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The leaf, as it was signed.
    pub entry: Vec<u8>,
    /// A C2SP tlog-proof under the last checkpoint of the key before it.
    pub proof: String,
}

/// Every key that the ledger had, in the order of their announcements.
pub(crate) async fn keys(pool: &AnyPool) -> Result<Vec<SigningKeyRow>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, leaf FROM ledger_entry WHERE kind IN ('log_opened', 'signing_key_announced', 'signing_key_retired')
         ORDER BY seq",
    )
    .fetch_all(pool)
    .await?;
    let mut keys: Vec<SigningKeyRow> = Vec::new();
    for (seq, bytes) in rows {
        let entry = audit::decode(&bytes)?;
        match entry.body {
            Body::LogOpened { public_key, .. } | Body::SigningKeyAnnounced { public_key } => {
                let announced = (to_u64(seq), entry.at_us);
                keys.push(SigningKeyRow { public_key, announced, retired: None });
            }
            Body::SigningKeyRetired { public_key, handover, .. } => {
                let of_it = keys.iter_mut().filter(|key| key.public_key == public_key);
                of_it.for_each(|key| key.retired = Some((to_u64(seq), handover.clone())));
            }
            _ => {}
        }
    }
    Ok(keys)
}

/// The keys in the file must be the keys in use. A ledger that is opened now takes the first. With the time when the newest of
/// them was announced, in microseconds.
pub(crate) async fn check(
    pool: &AnyPool,
    held: &[String],
) -> Result<(Vec<NoteVerifier>, Option<i64>), StoreError> {
    let keys = keys(pool).await?;
    let in_use: Vec<&String> =
        keys.iter().filter(|key| key.retired.is_none()).map(|key| &key.public_key).collect();
    if keys.is_empty() && held.len() > 1 {
        return Err(StoreError::Unsafe(
            "the signing key file holds several keys, and a new ledger is opened with one".to_owned(),
        ));
    }
    if let Some(strange) = held.iter().find(|key| !keys.is_empty() && !in_use.contains(key)) {
        let retired = keys.iter().any(|key| key.public_key == *strange);
        return Err(StoreError::Unsafe(format!(
            "the signing key file holds {strange}, which {}; if replacing the key was interrupted, the new file lies beside it and ends in `.next`: rename it over the old one",
            if retired { "the ledger has retired" } else { "is none of this ledger's" }
        )));
    }
    if let Some(missing) = in_use.into_iter().find(|key| !held.contains(key)) {
        return Err(StoreError::Unsafe(format!(
            "the signing key file lacks {missing}, which the ledger says is in use; if replacing the key was interrupted, the new file lies beside it and ends in `.next`: rename it over the old one"
        )));
    }
    let parsed = held.iter().map(|key| NoteVerifier::parse(key));
    let parsed = parsed
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::Ledger(format!("a signing key cannot be used: {error}")))?;
    Ok((parsed, keys.iter().filter(|key| key.retired.is_none()).map(|key| key.announced.1).max()))
}

/// Every key in use signs the head, also where the last entry was written with fewer.
pub(crate) async fn sign_head(pool: &AnyPool, signers: &[NoteSigner]) -> Result<(), StoreError> {
    let head = audit::head(pool).await?;
    if head.size == 0 {
        return Ok(());
    }
    let origin = signers.first().map(NoteSigner::name).unwrap_or_default().to_owned();
    let checkpoint = Checkpoint { origin, size: head.size, root: head.root }.sign_with(signers);
    if checkpoint != head.checkpoint {
        let update = sqlx::query("UPDATE ledger_head SET checkpoint = $1 WHERE id = 1 AND size = $2");
        update.bind(checkpoint).bind(to_i64(head.size)).execute(pool).await?;
    }
    Ok(())
}

impl Archive {
    /// Every key that the ledger had, in the order of their announcements.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        keys(&self.pool).await
    }
}

impl Store {
    /// When the newest of the keys that sign was announced.
    pub fn signing_since(&self) -> Timestamp {
        self.signing_since
    }

    /// Every key that the ledger had, in the order of their announcements.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        keys(&self.readers).await
    }

    /// Every key that took over from another, in order, each with what the one before it signed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn handovers(&self) -> Result<Vec<Handover>, StoreError> {
        let keys = self.signing_keys().await?;
        let mut handovers = Vec::new();
        for key in keys.iter().filter(|key| key.announced.0 > 0) {
            let (index, _) = key.announced;
            let over = keys.iter().filter_map(|other| other.retired.as_ref()).find(|(seq, _)| *seq > index);
            let Some((size, checkpoint)) = over else { continue };
            let leaves = self.leaves(index, 1).await?;
            let Some(StoredLeaf { bytes, .. }) = leaves.into_iter().next() else { continue };
            let plan = inclusion_plan(index, *size).map_err(|error| StoreError::Ledger(error.to_string()))?;
            let hashes = audit::folded(&self.readers, &plan).await?;
            let proof = TlogProof { extra: None, index, hashes, checkpoint: checkpoint.clone() };
            handovers.push(Handover { entry: bytes, proof: proof.to_text() });
        }
        Ok(handovers)
    }
}
