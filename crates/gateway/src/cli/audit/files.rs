//! Writing exports: every entry, or those that were asked for with the others as bare hashes.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use exports::{audit_event, ocsf, table::TableWriter};
use ledger::{
    entry::{Body, Decided, Entry},
    export::{CsvWriter, Hashed, Manifest, write_ndjson, write_withheld},
    trail::{self, Field, Term},
};
use store::Archive;
use verify::manifest_path;

use super::{Format, PAGE, output};

/// Which entries; all by default.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Filter {
    /// Only entries that this organisation acted, asked or received in; the others are withheld as bare hashes.
    #[arg(long)]
    organisation: Option<String>,
    /// Only entries under this agreement.
    #[arg(long)]
    agreement: Option<String>,
    /// Only entries of this kind; may be repeated.
    #[arg(long)]
    kind: Vec<String>,
    /// Only entries from this time on.
    #[arg(long)]
    from: Option<jiff::Timestamp>,
    /// Only entries before this time.
    #[arg(long)]
    until: Option<jiff::Timestamp>,
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        self.organisation.is_none()
            && self.agreement.is_none()
            && self.kind.is_empty()
            && self.from.is_none()
            && self.until.is_none()
    }

    fn takes(&self, entry: &Entry, first: Option<&Decided>) -> bool {
        // What names the ledger's keys says nothing about anybody, and without it nobody gets from one to the next.
        if matches!(
            entry.body,
            Body::LogOpened { .. } | Body::SigningKeyAnnounced { .. } | Body::SigningKeyRetired { .. }
        ) {
            return true;
        }
        let terms = trail::terms(entry, first);
        let has = |field, value: &String| terms.contains(&Term::new(field, value.clone()));
        self.organisation.as_ref().is_none_or(|value| has(Field::Organisation, value))
            && self.agreement.as_ref().is_none_or(|value| has(Field::Agreement, value))
            && (self.kind.is_empty() || self.kind.iter().any(|value| has(Field::Kind, value)))
            && self.from.is_none_or(|from| entry.at_us >= from.as_microsecond())
            && self.until.is_none_or(|until| entry.at_us < until.as_microsecond())
    }

    /// What it asks for, in words for the manifest and the ledger.
    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.organisation.iter().map(|value| format!("organisation {value}")));
        words.extend(self.agreement.iter().map(|value| format!("agreement {value}")));
        words.extend(self.kind.iter().map(|value| format!("kind {value}")));
        words.extend(self.from.iter().map(|value| format!("from {value}")));
        words.extend(self.until.iter().map(|value| format!("until {value}")));
        words.join(", ")
    }
}

/// What to write.
pub(super) struct Export<'a> {
    pub(super) archive: &'a Archive,
    pub(super) origin: String,
    pub(super) public_key: String,
    pub(super) format: Format,
    pub(super) filter: Filter,
    pub(super) out: &'a Path,
}

enum Writer<W: Write + Send> {
    Lines(W),
    Csv(Box<CsvWriter<W>>),
    Table(Box<TableWriter<W>>),
}

/// Whether the format can be written in part.
pub(super) fn check(format: Format, filter: &Filter) -> anyhow::Result<()> {
    anyhow::ensure!(
        filter.is_empty() || format == Format::Ndjson,
        "a filter needs --format ndjson, where what is withheld can be shown as hashes; or export everything and filter there"
    );
    Ok(())
}

/// Writes the file and its manifest. The file gets its name when it is whole: one that broke off does not look like one
/// that did not.
pub(super) async fn write(export: Export<'_>) -> anyhow::Result<()> {
    let Export { archive, origin, public_key, format, filter, out } = export;
    let head = archive.head().await?;
    let part = part_of(out);
    let file = File::create(&part).with_context(|| part.display().to_string())?;
    let hashed = Hashed::new(BufWriter::new(file));
    let about = [
        ("origin", origin.clone()),
        ("public_key", public_key.clone()),
        ("from", "0".to_owned()),
        ("until", head.size.to_string()),
        ("checkpoint", head.checkpoint.clone()),
    ];
    let mut writer = match format {
        Format::Csv => Writer::Csv(Box::new(CsvWriter::new(hashed)?)),
        Format::Parquet => Writer::Table(Box::new(TableWriter::new(hashed, &about)?)),
        _ => Writer::Lines(hashed),
    };
    let (mut withheld, mut left_out) = (0_u64, 0_u64);
    let mut next = 0;
    while next < head.size {
        let leaves = archive.leaves(next, PAGE).await?;
        anyhow::ensure!(!leaves.is_empty(), "entry {next} is missing from the database");
        for leaf in leaves.into_iter().filter(|leaf| leaf.seq < head.size) {
            next = leaf.seq + 1;
            let entry = Entry::decode(&leaf.bytes)?;
            let first = first_of(archive, &entry, format, &filter).await?;
            match &mut writer {
                Writer::Csv(rows) => rows.write(&entry, &leaf.bytes)?,
                Writer::Table(rows) => rows.write(entry, &leaf.bytes)?,
                Writer::Lines(out) => match format {
                    Format::Ocsf => writeln!(out, "{}", ocsf::event(&entry, &leaf.bytes))?,
                    Format::FhirAuditEvent => match audit_event::event(&entry, &leaf.bytes, first.as_ref()) {
                        Some(event) => writeln!(out, "{event}")?,
                        None => left_out += 1,
                    },
                    _ if filter.is_empty() || filter.takes(&entry, first.as_ref()) => {
                        write_ndjson(out, &leaf.bytes)?;
                    }
                    _ => {
                        write_withheld(out, &leaf.bytes)?;
                        withheld += 1;
                    }
                },
            }
        }
    }
    let hashed = match writer {
        Writer::Lines(out) => out,
        Writer::Csv(rows) => rows.finish()?,
        Writer::Table(rows) => rows.finish()?,
    };
    let (writer, file_sha256) = hashed.finish();
    writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&part, out).with_context(|| out.display().to_string())?;
    let manifest = Manifest {
        origin,
        public_key,
        from: 0,
        until: head.size,
        format: format.name().to_owned(),
        file_sha256,
        checkpoint: head.checkpoint,
        schema_version: ledger::entry::SCHEMA_VERSION,
        withheld,
        left_out,
        filter: filter.words(),
    };
    let beside = manifest_path(out);
    std::fs::write(&beside, format!("{}\n", serde_json::to_string_pretty(&manifest)?))
        .with_context(|| beside.display().to_string())?;
    let mut said = format!("{} entries in {}, manifest in {}", head.size, out.display(), beside.display());
    if withheld > 0 {
        said = format!("{said}; {withheld} of them withheld, as bare hashes");
    }
    if left_out > 0 {
        said = format!("{said}; {left_out} of them are not about a person's record and are left out");
    }
    output::line(&said);
    Ok(())
}

/// The decision that an entry ends, where that is needed.
async fn first_of(
    archive: &Archive,
    entry: &Entry,
    format: Format,
    filter: &Filter,
) -> anyhow::Result<Option<Decided>> {
    if filter.is_empty() && format != Format::FhirAuditEvent {
        return Ok(None);
    }
    let Some(decision) = trail::follows(&entry.body) else { return Ok(None) };
    let leaves = archive.decision(decision).await?;
    let first = leaves.first().map(|leaf| Entry::decode(&leaf.bytes)).transpose()?;
    Ok(first.and_then(|first| trail::decided(&first.body).cloned()))
}

fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
