//! The ledger's own rows: its head, its entries, its tree.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    entry::Entry,
    tree::{Hash, StoredNode},
};

use crate::{
    audit::{self, to_i64},
    database::{Transaction, places, portions},
    error::StoreError,
    recent::Written,
};

/// What one batch appends.
#[derive(Default)]
pub(super) struct Appended {
    /// Each as it is stored, with the hash of its leaf.
    pub(super) entries: Vec<(Entry, Vec<u8>, Hash)>,
    pub(super) nodes: Vec<StoredNode>,
}

impl Appended {
    /// For what follows the ledger: each entry, and how many bytes it has.
    pub(super) fn written(self) -> Vec<(Written, usize)> {
        let written = |(entry, bytes, hash): (Entry, Vec<u8>, Hash)| {
            (Written { entry: Arc::new(entry), hash }, bytes.len())
        };
        self.entries.into_iter().map(written).collect()
    }
}

pub(super) async fn insert(transaction: &mut Transaction, appended: &Appended) -> Result<(), StoreError> {
    for entries in portions(&appended.entries) {
        let places = places(entries.len(), 5);
        let sql = format!("INSERT INTO ledger_entry (seq, at_us, kind, decision_id, leaf) VALUES {places}");
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (entry, bytes, _) in entries {
            insert = insert.bind(to_i64(entry.seq)).bind(entry.at_us).bind(entry.body.kind());
            insert = insert.bind(entry.body.decision_id()).bind(bytes.as_slice());
        }
        insert.execute(&mut **transaction).await?;
    }
    for nodes in portions(&appended.nodes) {
        let places = places(nodes.len(), 3);
        let sql = format!("INSERT INTO ledger_node (level, position, hash) VALUES {places}");
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
        for node in nodes {
            insert = insert.bind(i64::from(node.level)).bind(to_i64(node.index)).bind(node.hash.as_slice());
        }
        insert.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// The head, which nobody else moves until this transaction ends.
#[derive(Clone, Copy)]
pub(super) struct Locked {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// What a server's clock shows.
    pub(super) now: Option<Timestamp>,
    /// Whether a server keeps what it acknowledges.
    pub(super) is_durable: bool,
}

/// Locks the head; `None` while there is none. A row that is written is locked.
pub(super) async fn lock_head(
    transaction: &mut Transaction,
    statement: &'static str,
) -> Result<Option<Locked>, StoreError> {
    let head: Option<(i64, Vec<u8>, i64, i64)> =
        sqlx::query_as(statement).fetch_optional(&mut **transaction).await?;
    let Some((size, root, now_us, durable)) = head else { return Ok(None) };
    let root =
        root.try_into().map_err(|_| StoreError::CorruptRow { table: "ledger_head", row: "1".to_owned() })?;
    let now = (now_us > 0).then(|| Timestamp::from_microsecond(now_us).ok()).flatten();
    Ok(Some(Locked { size: audit::to_u64(size), root, now, is_durable: durable != 0 }))
}

/// Compare-and-swap: the head moves only from where this batch began.
pub(super) async fn move_head(
    transaction: &mut Transaction,
    size_before: u64,
    head: &Checkpoint,
    checkpoint: &str,
) -> Result<(), StoreError> {
    let statement = if size_before == 0 {
        "INSERT INTO ledger_head (id, size, root, checkpoint) VALUES (1, $1, $2, $3)"
    } else {
        "UPDATE ledger_head SET size = $1, root = $2, checkpoint = $3 WHERE id = 1 AND size = $4"
    };
    let query = sqlx::query(statement).bind(to_i64(head.size)).bind(head.root.as_slice()).bind(checkpoint);
    let query = if size_before == 0 { query } else { query.bind(to_i64(size_before)) };
    let moved = query.execute(&mut **transaction).await?.rows_affected();
    if moved == 1 {
        Ok(())
    } else {
        Err(StoreError::Ledger("the ledger's head was moved by somebody else".to_owned()))
    }
}
