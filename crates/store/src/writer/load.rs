//! Portions of a load: entries and tables in bulk, in one transaction, with the head moved over them.
//!
//! A server takes rows by its COPY protocol, which sqlx has for a connection of PostgreSQL's own alone; a file takes
//! statements of many rows. Rows are written in the order of their keys, which are random: a page of an index is then
//! touched once a portion.

use std::collections::HashMap;

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    entry::Body,
    note::NoteSigner,
    tree::{Frontier, hexadecimal},
};
use sharing::Pseudonym;

use super::{Appended, Writer};
use crate::{
    audit::to_i64,
    error::StoreError,
    failpoint,
    loading::{LoadRow, LoadedRow},
    lookup::LookupKey,
    row::{ConsentRow, to_list, to_shown, to_word},
    sealing::{PersonKey, sealed},
};

mod bulk;

use bulk::{Bulk, Table, Value};

/// The next rows of a load.
pub(crate) struct Portion<'a> {
    pub(crate) rows: Vec<LoadedRow>,
    pub(crate) load: &'a mut LoadRow,
    pub(crate) at: Timestamp,
}

/// What is known already of the people of a portion.
#[derive(Default)]
struct Known {
    /// By hash.
    names: HashMap<Vec<u8>, String>,
    /// By name.
    keys: HashMap<String, PersonKey>,
}

/// The rows that a portion becomes.
struct Tables {
    people: Table,
    identifiers: Table,
    keys: Table,
    consents: Table,
    /// Names that were known and whose consents change.
    revised: Vec<String>,
}

impl Writer {
    /// Commits a portion whole.
    pub(crate) async fn load(
        &mut self,
        lookup_key: &LookupKey,
        portion: Portion<'_>,
        entry: impl Fn(&ConsentRow) -> Body,
    ) -> Result<(), StoreError> {
        let Portion { rows, load, at } = portion;
        let (count, hashed) = (rows.len() as u64, hashed(lookup_key, rows));
        let known = self.known(&hashed).await?;
        let mut frontier = self.frontier.clone();
        let (tables, appended) = self.build(hashed, known, entry, (at, &mut frontier))?;
        let people = load.people + tables.people.rows.len() as u64;
        let consents = load.consents + tables.consents.rows.len() as u64;
        let moved = [load.rows_done + count, people, consents].map(|number| Value::Number(to_i64(number)));
        let [done, named, recorded] = moved;
        let before = Value::Number(to_i64(load.rows_done));
        let progress = [done, named, recorded, Value::Text(load.id.clone()), before];

        let mut bulk = Bulk::begin(&self.pool, &self.database).await?;
        let size = Value::Number(to_i64(self.frontier.size()));
        let root = Value::Bytes(self.frontier.root().to_vec());
        let lock = "UPDATE ledger_head SET id = id WHERE id = 1 AND size = $1 AND root = $2";
        only_one(bulk.execute(lock, &[size.clone(), root]).await?)?;
        let [entries, nodes] = ledger_tables(&appended);
        let Tables { people: subjects, identifiers, keys, consents: recorded, revised } = tables;
        for table in [entries, nodes, subjects, identifiers, keys, recorded] {
            bulk.write(table).await?;
        }
        failpoint::at("load-written");
        if !revised.is_empty() {
            let revise = "UPDATE subject SET revision = revision + 1 WHERE pseudonym IN (SELECT value FROM json_each($1))";
            bulk.execute(revise, &[Value::Text(to_list(&revised))]).await?;
        }
        let checkpoint = if appended.entries.is_empty() {
            None
        } else {
            let (head, note) = self.signed(&frontier);
            let moved = [
                Value::Number(to_i64(head.size)),
                Value::Bytes(head.root.to_vec()),
                Value::Text(note.clone()),
                size,
            ];
            let statement =
                "UPDATE ledger_head SET size = $1, root = $2, checkpoint = $3 WHERE id = 1 AND size = $4";
            only_one(bulk.execute(statement, &moved).await?)?;
            Some(note)
        };
        let statement = "UPDATE data_load SET rows_done = $1, people = $2, consents = $3
            WHERE id = $4 AND rows_done = $5 AND state = 'began'";
        only_one(bulk.execute(statement, &progress).await?)?;
        bulk.commit().await?;
        failpoint::at("load-committed");
        self.frontier = frontier;
        (load.rows_done, load.people, load.consents) = (load.rows_done + count, people, consents);
        checkpoint.map_or(Ok(()), |checkpoint| self.copies.copy(&checkpoint))
    }

    fn signed(&self, frontier: &Frontier) -> (Checkpoint, String) {
        let origin = self.signers.first().map(NoteSigner::name).unwrap_or_default().to_owned();
        let head = Checkpoint { origin, size: frontier.size(), root: frontier.root() };
        let note = head.sign_with(&self.signers);
        (head, note)
    }

    /// Nobody else writes, so that what is read here holds until it is committed.
    async fn known(&self, rows: &[(Vec<u8>, LoadedRow)]) -> Result<Known, StoreError> {
        let hashes: Vec<_> = rows.iter().map(|(hash, _)| hexadecimal(hash)).collect();
        let found: Vec<(Vec<u8>, String)> = sqlx::query_as(self.database.names_by_hash())
            .bind(to_list(&hashes))
            .fetch_all(&self.pool)
            .await?;
        let named: HashMap<_, _> = found.into_iter().collect();
        let with_consents = rows.iter().filter(|(_, row)| row.consent.is_some());
        let mut wanted: Vec<_> = with_consents.filter_map(|(hash, _)| named.get(hash)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut known = Known::default();
        if !wanted.is_empty() {
            let keys: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
                "SELECT subject, wrapping_key, wrapped FROM subject_key WHERE subject IN (SELECT value FROM json_each($1))",
            )
            .bind(to_list(&wanted))
            .fetch_all(&self.pool)
            .await?;
            for (subject, name, wrapped) in keys {
                let key = self.wrapping_keys.unwrap(&subject, &name, &wrapped)?;
                known.keys.insert(subject, key);
            }
        }
        known.names = named;
        Ok(known)
    }

    fn build(
        &mut self,
        rows: Vec<(Vec<u8>, LoadedRow)>,
        mut known: Known,
        entry: impl Fn(&ConsentRow) -> Body,
        (at, frontier): (Timestamp, &mut Frontier),
    ) -> Result<(Tables, Appended), StoreError> {
        let mut tables = Tables::new();
        let mut appended = Appended::default();
        let mut revisions: HashMap<String, i64> = HashMap::new();
        let mut fresh: Vec<(String, Vec<u8>)> = Vec::new();
        for (hash, row) in rows {
            let name = if let Some(name) = known.names.get(&hash) {
                name.clone()
            } else {
                let name = row.fresh.to_string();
                known.names.insert(hash.clone(), name.clone());
                fresh.push((name.clone(), hash));
                revisions.insert(name.clone(), 0);
                name
            };
            let Some(mut consent) = row.consent else { continue };
            match revisions.get_mut(&name) {
                Some(revision) => *revision += 1,
                None => tables.revised.push(name.clone()),
            }
            let key = if let Some(key) = known.keys.get(&name) {
                key
            } else {
                let (key, wrapping_key, wrapped) = self.wrapping_keys.fresh(&name)?;
                let stored =
                    vec![Value::Text(name.clone()), Value::Text(wrapping_key), Value::Bytes(wrapped)];
                tables.keys.rows.push(stored);
                known.keys.entry(name.clone()).or_insert(key)
            };
            let details = sealed(key, &name, &consent.details)?;
            consent.subject = named(&name)?;
            self.append(at, vec![entry(&consent)], frontier, &mut appended)?;
            tables.consents.rows.push(consent_values(&consent, details));
        }
        for (name, hash) in fresh {
            let revision = revisions.get(&name).copied().unwrap_or(0);
            tables.identifiers.rows.push(vec![Value::Bytes(hash), Value::Text(name.clone())]);
            tables.people.rows.push(person_values(name, revision, at));
        }
        for table in [&mut tables.people, &mut tables.identifiers, &mut tables.keys, &mut tables.consents] {
            table.rows.sort_unstable_by(|one, other| one.first().cmp(&other.first()));
        }
        Ok((tables, appended))
    }
}

impl Tables {
    fn new() -> Self {
        const PERSON: &[&str] =
            &["pseudonym", "person_group", "revision", "restricted", "deceased", "seen_us"];
        const CONSENT: &[&str] = &[
            "id",
            "subject",
            "consent_type",
            "status",
            "controller",
            "recipients",
            "purposes",
            "given_us",
            "expires_us",
            "recorded_by",
            "recorded_us",
            "details",
            "given_by",
            "shown",
        ];
        Self {
            people: Table::new("subject", PERSON),
            identifiers: Table::new("subject_identifier", &["lookup_hash", "pseudonym"]),
            keys: Table::new("subject_key", &["subject", "wrapping_key", "wrapped"]),
            consents: Table::new("consent", CONSENT),
            revised: Vec::new(),
        }
    }
}

fn hashed(lookup_key: &LookupKey, rows: Vec<LoadedRow>) -> Vec<(Vec<u8>, LoadedRow)> {
    rows.into_iter().map(|row| (lookup_key.hash(&row.identifier), row)).collect()
}

fn named(name: &str) -> Result<Pseudonym, StoreError> {
    name.parse()
        .map_err(|_| StoreError::CorruptRow { table: "subject_identifier", row: "by hash".to_owned() })
}

/// As `Change::KnowSubject` makes them.
fn person_values(name: String, revision: i64, at: Timestamp) -> Vec<Value> {
    let numbers = [revision, 0, 0, at.as_microsecond()].map(Value::Number);
    [Value::Text(name.clone()), Value::Text(name)].into_iter().chain(numbers).collect()
}

/// As `Change::RecordConsent` makes them.
fn consent_values(row: &ConsentRow, details: String) -> Vec<Value> {
    let record = &row.record;
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        text(record.id.as_str()),
        text(row.subject.as_str()),
        Value::Text(to_word(&record.consent_type)),
        Value::Text(to_word(&record.status)),
        text(record.controller.as_str()),
        Value::Text(to_list(&record.recipients)),
        Value::Text(to_list(&record.purposes)),
        Value::Number(record.given_at.as_microsecond()),
        record.expires_at.map_or(Value::Nothing, |at| Value::Number(at.as_microsecond())),
        text(row.recorded_by.as_str()),
        Value::Number(row.record.recorded_at.as_microsecond()),
        Value::Text(details),
        Value::Text(serde_json::to_string(&record.given_by).unwrap_or_default()),
        to_shown(record).map_or(Value::Nothing, Value::Text),
    ]
}

fn ledger_tables(appended: &Appended) -> [Table; 2] {
    let mut entries = Table::new("ledger_entry", &["seq", "at_us", "kind", "decision_id", "leaf"]);
    entries.rows = appended
        .entries
        .iter()
        .map(|(entry, bytes, _)| {
            let (seq, at) = (Value::Number(to_i64(entry.seq)), Value::Number(entry.at_us));
            let decision = entry.body.decision_id().map_or(Value::Nothing, |id| Value::Text(id.to_owned()));
            vec![seq, at, Value::Text(entry.body.kind().to_owned()), decision, Value::Bytes(bytes.clone())]
        })
        .collect();
    let mut nodes = Table::new("ledger_node", &["level", "position", "hash"]);
    let values = |node: &ledger::tree::StoredNode| {
        let (level, position) = (Value::Number(i64::from(node.level)), Value::Number(to_i64(node.index)));
        vec![level, position, Value::Bytes(node.hash.to_vec())]
    };
    nodes.rows = appended.nodes.iter().map(values).collect();
    [entries, nodes]
}

fn only_one(changed: u64) -> Result<(), StoreError> {
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::Unsafe(
        "somebody else wrote to the database during the load; nothing of this portion was written".to_owned(),
    ))
}
