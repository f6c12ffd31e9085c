//! Receipts: what a caller keeps, to show later what the ledger said at the time.

use serde::Serialize;
use sharing::policy::hexadecimal;
use store::Committed;
use utoipa::ToSchema;

/// Where in the ledger an answer is recorded. Every answer that is a decision carries one, refusals included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Receipt {
    /// The decision.
    #[schema(example = "dec_00000000000000000000000000000001")]
    pub decision_id: String,
    /// The place of its last entry in the ledger, from 0.
    pub log_position: u64,
    /// The RFC 6962 hash of that entry's leaf, in hexadecimal.
    pub leaf_hash: String,
    /// The signed checkpoint (C2SP signed note) that covers it.
    pub checkpoint: String,
    /// Where a record was released: the salt with which the entry's `record_sha256` is made, as SHA-256 of the salt and
    /// the record's compact JSON. Nobody else has it, so that nobody else can try out what the record said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_salt: Option<String>,
}

impl Receipt {
    /// The receipt for the last entry of a commit.
    pub fn of(decision_id: &str, committed: &Committed) -> Self {
        let (position, hash) = committed.entries.last().copied().unwrap_or_default();
        Self {
            decision_id: decision_id.to_owned(),
            log_position: position,
            leaf_hash: hexadecimal(&hash),
            checkpoint: committed.checkpoint.to_string(),
            record_salt: None,
        }
    }
}
