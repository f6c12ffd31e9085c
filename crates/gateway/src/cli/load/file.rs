//! Files of people and consents: newline-delimited JSON, a row what `POST /v1/consents` takes, or CSV with the same names as
//! columns. Faults name the line and the member, and never repeat a value.

use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ledger::tree::hexadecimal;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use store::Recorded;

use super::Row;
use crate::{
    edge::{parse_body, shape},
    problem::Problem,
    routes::{
        consents::{ConsentRequest, Recorder, kind_of, times},
        subject::Subject,
    },
};

/// Longest row: as long as a request may be.
const ROW_BYTES_MAX: usize = 64 * 1024;

/// Columns that hold several values, separated by `;`.
const LISTS: [&str; 3] = ["recipients", "purposes", "data_categories"];
/// Columns that hold one.
const TEXTS: [&str; 8] = [
    "consent_type",
    "status",
    "controller",
    "given_at",
    "method",
    "notice_version",
    "expires_at",
    "evidence_reference",
];
/// Columns that say who gave the consent, and of whom the row is.
const OTHERS: [&str; 5] = ["subject_scheme", "subject_value", "given_by", "authority", "capacity_statement"];

#[derive(Clone, Copy)]
enum Format {
    Lines,
    Columns,
}

/// A file of rows.
pub(super) struct Source {
    path: PathBuf,
    format: Format,
}

/// What a file was found to hold.
pub(super) struct Checked {
    pub(super) rows: u64,
    pub(super) consents: u64,
    pub(super) sha256: String,
    /// The first faults, each with its line.
    pub(super) faults: Vec<String>,
    pub(super) faults_count: u64,
}

/// A row as it is in the file, and its line; or what is wrong with it.
type Raw = (u64, Result<Value, Problem>);

impl Source {
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let format = match ending {
            "ndjson" | "jsonl" => Format::Lines,
            "csv" => Format::Columns,
            _ => anyhow::bail!("{}: a file of people ends in .ndjson, .jsonl or .csv", path.display()),
        };
        Ok(Self { path: path.to_owned(), format })
    }

    /// Reads every row, and says what is wrong with each that is not in order, or has more consents about one person than
    /// anybody may record of somebody in a day.
    pub(super) fn check(
        &self,
        recorder: &Recorder<'_>,
        faults_max: usize,
        about_one_max: u64,
    ) -> anyhow::Result<Checked> {
        // By hash: a file may have ten million people.
        let (hash, mut about) = (RandomState::new(), HashMap::<(u64, bool), u64>::new());
        let sha256 = self.sha256()?;
        let mut checked = Checked { rows: 0, consents: 0, sha256, faults: Vec::new(), faults_count: 0 };
        for raw in self.raw()? {
            let (line, value) = raw?;
            checked.rows += 1;
            let row = value.and_then(|value| read(&value, recorder)).and_then(|(identifier, consent)| {
                let Some(consent) = consent else { return Ok(()) };
                checked.consents += 1;
                let kind = kind_of(consent.record.status);
                let name = (hash.hash_one(&identifier), kind == Recorded::Refuses);
                let count = about.entry(name).or_default();
                *count += 1;
                if *count > times(kind) * about_one_max {
                    return Err(Problem::TooManyRecords);
                }
                Ok(())
            });
            match row {
                Ok(()) => {}
                Err(problem) => {
                    checked.faults_count += 1;
                    if checked.faults.len() < faults_max {
                        checked.faults.push(format!("{}:{line}: {}", self.path.display(), said(&problem)));
                    }
                }
            }
        }
        let more = checked.faults_count - checked.faults.len() as u64;
        if more > 0 {
            checked.faults.push(format!("{}: and {more} more rows", self.path.display()));
        }
        Ok(checked)
    }

    /// The rows of a file that was checked.
    pub(super) fn rows<'a>(
        &self,
        recorder: &'a Recorder<'a>,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Row>> + use<'a>> {
        let path = self.path.display().to_string();
        Ok(self.raw()?.map(move |raw| {
            let (line, value) = raw?;
            let row = value.and_then(|value| read(&value, recorder));
            row.map_err(|problem| anyhow::anyhow!("{path}:{line}: {}", said(&problem)))
        }))
    }

    pub(super) fn sha256(&self) -> anyhow::Result<String> {
        let mut digest = Sha256::new();
        let mut file = self.open()?;
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = file.read(&mut bytes).with_context(|| self.path.display().to_string())?;
            if length == 0 {
                return Ok(hexadecimal(&digest.finalize()));
            }
            digest.update(bytes.get(..length).unwrap_or_default());
        }
    }

    fn open(&self) -> anyhow::Result<File> {
        File::open(&self.path).with_context(|| self.path.display().to_string())
    }

    fn raw(&self) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Raw>>>> {
        let file = self.open()?;
        Ok(match self.format {
            Format::Lines => Box::new(lines(file)),
            Format::Columns => Box::new(columns(file).with_context(|| self.path.display().to_string())?),
        })
    }
}

/// What is wrong with a row, in the words of the API.
fn said(problem: &Problem) -> String {
    match problem {
        Problem::BodyTooLarge => "a row is at most 64 KiB".to_owned(),
        Problem::TooManyRecords => {
            "too many consents about one person: all of them are read for each question about them; load what is in effect".to_owned()
        }
        _ => problem.detail().replace("the body", "the row"),
    }
}

fn read(value: &Value, recorder: &Recorder<'_>) -> Result<Row, Problem> {
    let only_subject = value.as_object().is_some_and(|row| row.len() == 1 && row.contains_key("subject"));
    if only_subject {
        let subject: Subject = shape(value.get("subject").unwrap_or(&Value::Null))?;
        return Ok((subject.parse()?, None));
    }
    let asked: ConsentRequest = shape(value)?;
    Ok((asked.subject.parse()?, Some(Box::new(recorder.check(&asked)?))))
}

/// Lines that are not empty.
fn lines(file: File) -> impl Iterator<Item = anyhow::Result<Raw>> {
    let (mut reader, mut number) = (BufReader::new(file), 0_u64);
    std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            let read = match next_line(&mut reader, &mut line) {
                Ok(read) => read,
                Err(error) => return Some(Err(error.into())),
            };
            if read == 0 {
                return None;
            }
            number += 1;
            if !line.trim_ascii().is_empty() {
                return Some(Ok((number, parse_body(line.trim_ascii(), ROW_BYTES_MAX))));
            }
        }
    })
}

/// Reads a line whole, and keeps no more of it than tells that it is too long.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<usize> {
    let limit = ROW_BYTES_MAX as u64 + 2;
    let mut read = reader.by_ref().take(limit).read_until(b'\n', line)?;
    while read > 0 && line.len() > ROW_BYTES_MAX && line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        let more = reader.by_ref().take(limit).read_until(b'\n', &mut rest)?;
        if more == 0 || rest.last() == Some(&b'\n') {
            break;
        }
        read += more;
    }
    Ok(read)
}

fn columns(file: File) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Raw>>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(BufReader::new(file));
    let header: Vec<String> =
        reader.headers()?.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    for name in &header {
        let is_known = [&LISTS[..], &TEXTS, &OTHERS].iter().any(|known| known.contains(&name.as_str()));
        anyhow::ensure!(is_known, "1: a column is not known; those that are: {}", all_columns());
    }
    for name in ["subject_scheme", "subject_value"] {
        anyhow::ensure!(header.iter().any(|column| column == name), "1: the column {name} is missing");
    }
    let rows = reader.into_records().map(move |record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let what = "the row has not as many columns as the first, or is not UTF-8".to_owned();
                return Ok((line, Err(Problem::InvalidRequest(what))));
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let cells = header.iter().map(String::as_str).zip(record.iter());
        Ok((line, Ok(row_of(&cells.filter(|(_, text)| !text.is_empty()).collect::<Vec<_>>()))))
    });
    Ok(rows)
}

fn all_columns() -> String {
    let all: Vec<_> = OTHERS.iter().chain(&TEXTS).chain(&LISTS).copied().collect();
    all.join(", ")
}

/// The cells that are not empty, in the shape of the API.
fn row_of(cells: &[(&str, &str)]) -> Value {
    let cell = |name: &str| cells.iter().find(|(column, _)| *column == name).map(|(_, text)| *text);
    let mut row = Map::new();
    let subject = json!({ "scheme": cell("subject_scheme").unwrap_or(""), "value": cell("subject_value").unwrap_or("") });
    row.insert("subject".to_owned(), subject);
    for (name, text) in cells {
        if TEXTS.contains(name) {
            row.insert((*name).to_owned(), json!(text));
        } else if LISTS.contains(name) {
            let parts: Vec<_> = text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
            row.insert((*name).to_owned(), json!(parts));
        }
    }
    let who: Map<String, Value> =
        [("who", "given_by"), ("authority", "authority"), ("capacity_statement", "capacity_statement")]
            .into_iter()
            .filter_map(|(member, column)| Some((member.to_owned(), json!(cell(column)?))))
            .collect();
    if !who.is_empty() {
        row.insert("given_by".to_owned(), Value::Object(who));
    }
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_row_has_the_shape_of_the_api() {
        let alone = row_of(&[("subject_scheme", "nhs-number"), ("subject_value", "9990000018")]);
        assert_eq!(alone, json!({ "subject": { "scheme": "nhs-number", "value": "9990000018" } }));
        let whole = row_of(&[
            ("subject_scheme", "local:trafford-council"),
            ("subject_value", "A-1"),
            ("recipients", "gmca; nhs-gm ;"),
            ("given_by", "person"),
            ("method", "in-person"),
        ]);
        assert_eq!(whole["recipients"], json!(["gmca", "nhs-gm"]));
        assert_eq!(whole["given_by"], json!({ "who": "person" }));
        assert_eq!(whole["method"], "in-person");
    }
}
