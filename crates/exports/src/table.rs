//! Parquet: a row an entry, with types that DuckDB and pandas read: times as timestamps in UTC, lists as lists, codes as
//! dictionaries, the leaf verbatim beside its hash.
//!
//! Rows are written in groups of [`GROUP`], so that memory does not grow with the ledger.

use std::{io::Write, sync::Arc};

use ledger::{entry::Entry, export::cells, tree::leaf_hash};
use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

/// Rows in a group.
pub const GROUP: usize = 20_000;

/// The columns, in order.
pub const SCHEMA: &str = "message entry {
    required int64 seq;
    required int64 written_at (TIMESTAMP(MICROS, true));
    required binary kind (STRING);
    optional binary decision_id (STRING);
    optional binary organisation (STRING);
    optional binary system (STRING);
    optional binary practitioner (STRING);
    optional binary role (STRING);
    optional binary provider (STRING);
    optional binary recipient (STRING);
    optional binary purpose (STRING);
    optional binary case_reference (STRING);
    optional binary agreement (STRING);
    optional int32 agreement_version;
    required group subjects (LIST) { repeated group list { required binary element (STRING); } }
    required group asked (LIST) { repeated group list { required binary element (STRING); } }
    required group items (LIST) { repeated group list { required binary element (STRING); } }
    optional binary outcome (STRING);
    required group reasons (LIST) { repeated group list { required binary element (STRING); } }
    required binary leaf (STRING);
    required fixed_len_byte_array(32) leaf_hash;
}";

/// Columns whose cells are lists, by their place among the cells.
const LISTS: [usize; 4] = [11, 12, 13, 15];
/// The version of an agreement, by its place among the cells.
const VERSION: usize = 10;
/// Kinds whose `items` are a phrase and not a list.
const PHRASES: [&str; 4] = ["audit_read", "decision_read", "subject_record_read", "alert_handled"];

/// Writes a file.
pub struct TableWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<(Entry, Vec<u8>)>,
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a file. What it is of is said in its metadata: `concordat.origin`, `.public_key`, `.from`, `.until`,
    /// `.checkpoint`.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn new(out: W, about: &[(&str, String)]) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let pairs =
            about.iter().map(|(name, value)| KeyValue::new(format!("concordat.{name}"), value.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("concordat".to_owned())
            .set_key_value_metadata(Some(pairs.collect()));
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?;
        Ok(Self { file, rows: Vec::with_capacity(GROUP) })
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn write(&mut self, entry: Entry, leaf: &[u8]) -> Result<(), ParquetError> {
        self.rows.push((entry, leaf.to_vec()));
        if self.rows.len() < GROUP { Ok(()) } else { self.flush() }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn finish(mut self) -> Result<W, ParquetError> {
        self.flush()?;
        self.file.into_inner()
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let cells: Vec<Vec<String>> = rows.iter().map(|(entry, _)| cells(&entry.body)).collect();
        let mut group = self.file.next_row_group()?;
        integers(&mut group, rows.iter().map(|(entry, _)| i64::try_from(entry.seq).unwrap_or(i64::MAX)))?;
        integers(&mut group, rows.iter().map(|(entry, _)| entry.at_us))?;
        required(&mut group, rows.iter().map(|(entry, _)| entry.body.kind().into()))?;
        for place in 0..cells.first().map_or(0, Vec::len) {
            let column = || cells.iter().map(|row| row.get(place).map_or("", String::as_str));
            if LISTS.contains(&place) {
                let phrases = rows.iter().map(|(entry, _)| PHRASES.contains(&entry.body.kind()));
                lists(&mut group, column().zip(phrases))?;
            } else if place == VERSION {
                optional_versions(&mut group, column())?;
            } else {
                optional(&mut group, column())?;
            }
        }
        required(&mut group, rows.iter().map(|(_, leaf)| leaf.as_slice().into()))?;
        hashes(&mut group, rows.iter().map(|(_, leaf)| leaf_hash(leaf)))?;
        group.close()?;
        self.rows = Vec::with_capacity(GROUP);
        Ok(())
    }
}

type Group<'a, W> = SerializedRowGroupWriter<'a, W>;

fn too_few() -> ParquetError {
    ParquetError::General("the schema has fewer columns than are written".to_owned())
}

fn integers<W: Write + Send>(
    group: &mut Group<'_, W>,
    values: impl Iterator<Item = i64>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<Int64Type>().write_batch(&values.collect::<Vec<_>>(), None, None)?;
    column.close()
}

fn required<W: Write + Send>(
    group: &mut Group<'_, W>,
    values: impl Iterator<Item = ByteArray>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<ByteArrayType>().write_batch(&values.collect::<Vec<_>>(), None, None)?;
    column.close()
}

/// An empty cell is null.
fn optional<'c, W: Write + Send>(
    group: &mut Group<'_, W>,
    cells: impl Iterator<Item = &'c str>,
) -> Result<(), ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(!cell.is_empty()));
        if !cell.is_empty() {
            values.push(ByteArray::from(cell));
        }
    }
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

fn optional_versions<'c, W: Write + Send>(
    group: &mut Group<'_, W>,
    cells: impl Iterator<Item = &'c str>,
) -> Result<(), ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        let version = cell.parse::<i32>().ok();
        levels.push(i16::from(version.is_some()));
        values.extend(version);
    }
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<Int32Type>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

/// Each cell is a list of words, or, where that is said, one phrase.
fn lists<'c, W: Write + Send>(
    group: &mut Group<'_, W>,
    cells: impl Iterator<Item = (&'c str, bool)>,
) -> Result<(), ParquetError> {
    let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    for (cell, is_phrase) in cells {
        let words: Vec<&str> = if is_phrase { vec![cell] } else { cell.split(' ').collect() };
        let mut first = true;
        for word in words.into_iter().filter(|word| !word.is_empty()) {
            values.push(ByteArray::from(word));
            definition.push(1);
            repetition.push(i16::from(!first));
            first = false;
        }
        if first {
            definition.push(0);
            repetition.push(0);
        }
    }
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<ByteArrayType>().write_batch(&values, Some(&definition), Some(&repetition))?;
    column.close()
}

fn hashes<W: Write + Send>(
    group: &mut Group<'_, W>,
    values: impl Iterator<Item = [u8; 32]>,
) -> Result<(), ParquetError> {
    let values: Vec<_> = values.map(|hash| FixedLenByteArray::from(hash.to_vec())).collect();
    let mut column = group.next_column()?.ok_or_else(too_few)?;
    column.typed::<FixedLenByteArrayType>().write_batch(&values, None, None)?;
    column.close()
}
