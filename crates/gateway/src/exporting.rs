//! Writing exports: every entry, or those that were asked for with the others as bare hashes. In constant memory, and an
//! NDJSON file that broke off is gone on with.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, BufWriter, Read as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::ValueEnum;
use exports::{audit_event, ocsf, table::TableWriter};
use ledger::{
    entry::{Body, Decided, Entry, LEAF_BYTES_MAX},
    export::{CsvWriter, Hashed, Manifest, line_hash, write_ndjson, write_withheld},
    trail::{self, Field, Term},
    tree::{Frontier, leaf_hash},
};
use serde::{Deserialize, Serialize};
use store::{Archive, durable};
use verify::manifest_path;

pub mod asked;

const PAGE: u32 = 1_000;

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One leaf a line, byte for byte.
    Ndjson,
    /// RFC 4180, guarded against formulas.
    Csv,
    /// A C2SP tlog-tiles directory, which other programs verify too.
    Tiles,
    /// For DuckDB, pandas and the like.
    Parquet,
    /// FHIR R4 AuditEvents, one a line; entries that are not about a person's record are left out.
    FhirAuditEvent,
    /// OCSF 1.6 API Activity events, one a line, for security monitoring.
    Ocsf,
}

impl Format {
    /// The formats that are one file.
    pub const FILES: [Self; 5] = [Self::Ndjson, Self::Csv, Self::Parquet, Self::FhirAuditEvent, Self::Ocsf];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Tiles => "tiles",
            Self::Parquet => "parquet",
            Self::FhirAuditEvent => "fhir-audit-event",
            Self::Ocsf => "ocsf",
        }
    }
}

/// Which entries; all by default.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only entries that this organisation acted, asked or received in; the others are withheld as bare hashes.
    #[arg(long)]
    pub organisation: Option<String>,
    /// Only entries under this agreement.
    #[arg(long)]
    pub agreement: Option<String>,
    /// Only entries of this kind; may be repeated.
    #[arg(long)]
    pub kind: Vec<String>,
    /// Only entries from this time on.
    #[arg(long)]
    pub from: Option<jiff::Timestamp>,
    /// Only entries before this time.
    #[arg(long)]
    pub until: Option<jiff::Timestamp>,
    /// Only entries about a person, under any of these pseudonyms.
    #[arg(skip)]
    pub subjects: Vec<String>,
    /// Only what this organisation's privacy officers see.
    #[arg(skip)]
    pub seen_by: Option<String>,
}

/// Whether whoever asks may see an entry; the second is what decided the question that it ends.
pub type MaySee<'a> = &'a (dyn Fn(&Entry, Option<&Decided>) -> bool + Sync);

impl Filter {
    /// Nothing is left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn takes(&self, entry: &Entry, first: Option<&Decided>) -> bool {
        let terms = trail::terms(entry, first);
        let has = |field, value: &String| terms.contains(&Term::new(field, value.clone()));
        self.organisation.as_ref().is_none_or(|value| has(Field::Organisation, value))
            && self.agreement.as_ref().is_none_or(|value| has(Field::Agreement, value))
            && (self.kind.is_empty() || self.kind.iter().any(|value| has(Field::Kind, value)))
            && (self.subjects.is_empty() || self.subjects.iter().any(|value| has(Field::Subject, value)))
            && self.from.is_none_or(|from| entry.at_us >= from.as_microsecond())
            && self.until.is_none_or(|until| entry.at_us < until.as_microsecond())
    }

    /// By what it selects; never whom.
    pub fn selects_by(&self) -> Vec<&'static str> {
        let by = [
            ("organisation", self.organisation.is_some()),
            ("agreement", self.agreement.is_some()),
            ("kind", !self.kind.is_empty()),
            ("from", self.from.is_some()),
            ("until", self.until.is_some()),
            ("subject", !self.subjects.is_empty()),
            ("seen-by", self.seen_by.is_some()),
        ];
        by.into_iter().filter_map(|(name, is)| is.then_some(name)).collect()
    }

    /// What it asks for, in words for the manifest and the ledger.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.organisation.iter().map(|value| format!("organisation {value}")));
        words.extend(self.agreement.iter().map(|value| format!("agreement {value}")));
        words.extend(self.kind.iter().map(|value| format!("kind {value}")));
        words.extend(self.from.iter().map(|value| format!("from {value}")));
        words.extend(self.until.iter().map(|value| format!("until {value}")));
        words.extend(self.subjects.iter().map(|value| format!("subject {value}")));
        words.extend(self.seen_by.iter().map(|value| format!("seen-by {value}")));
        words.join(", ")
    }
}

/// What to write.
pub struct Export<'a> {
    /// The ledger.
    pub archive: &'a Archive,
    /// Its name.
    pub origin: String,
    /// Its key.
    pub public_key: String,
    /// As what.
    pub format: Format,
    /// Which entries.
    pub filter: Filter,
    /// Which of them whoever asks may see at all.
    pub may_see: Option<MaySee<'a>>,
    /// Where to.
    pub out: &'a Path,
}

enum Writer<W: Write + Send> {
    Lines(W),
    Csv(Box<CsvWriter<W>>),
    Table(Box<TableWriter<W>>),
}

/// What an export that broke off was of. It is gone on with by the same alone.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    origin: String,
    format: String,
    filter: Filter,
}

/// What an export that broke off has written.
#[derive(Default)]
struct Done {
    tree: Option<Frontier>,
    withheld: u64,
    bytes: u64,
}

/// Whether the format can be written in part.
///
/// # Errors
/// When it cannot.
pub fn check(format: Format, filter: &Filter) -> anyhow::Result<()> {
    anyhow::ensure!(
        filter.is_empty() || format == Format::Ndjson,
        "a filter needs the format ndjson, where what is withheld can be shown as hashes; or export everything and filter there"
    );
    Ok(())
}

/// Writes the file and its manifest. The file gets its name when it is whole: one that broke off does not look like one
/// that did not.
///
/// # Errors
/// When something cannot be read or written, or the entries are not those of the checkpoint.
pub async fn write(
    export: Export<'_>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> anyhow::Result<Manifest> {
    let Export { archive, origin, public_key, format, filter, may_see, out } = export;
    let head = archive.head().await?;
    let (part, begun_file) = (beside(out, ".part"), beside(out, ".part.json"));
    let begun = Begun { origin: origin.clone(), format: format.name().to_owned(), filter: filter.clone() };
    let (hashed, done) = open(&part, &begun_file, &begun, format, head.size)?;
    let mut tree = done.tree.unwrap_or_else(Frontier::empty);
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
    let (mut withheld, mut left_out) = (done.withheld, 0_u64);
    // Where each leaf is written as it is, what it says is not looked at.
    let verbatim = format == Format::Ndjson && filter.is_empty() && may_see.is_none();
    while tree.size() < head.size {
        let next = tree.size();
        let leaves = archive.leaves(next, PAGE).await?;
        anyhow::ensure!(!leaves.is_empty(), "entry {next} is missing from the database");
        if let (true, Writer::Lines(out)) = (verbatim, &mut writer) {
            for leaf in leaves.iter().filter(|leaf| leaf.seq < head.size) {
                anyhow::ensure!(
                    leaf.seq == tree.size(),
                    "entry {} is missing from the database",
                    tree.size()
                );
                tree.push(leaf_hash(&leaf.bytes));
                write_ndjson(out, &leaf.bytes)?;
            }
            progress(tree.size(), head.size);
            continue;
        }
        let entries = leaves.iter().map(|leaf| Entry::decode(&leaf.bytes)).collect::<Result<Vec<_>, _>>()?;
        let needs_deciding = !filter.is_empty() || may_see.is_some() || format == Format::FhirAuditEvent;
        let deciding = if needs_deciding { archive.deciding(&entries).await? } else { HashMap::new() };
        let page = leaves.into_iter().zip(entries).filter(|(leaf, _)| leaf.seq < head.size);
        for (leaf, entry) in page {
            anyhow::ensure!(leaf.seq == tree.size(), "entry {} is missing from the database", tree.size());
            tree.push(leaf_hash(&leaf.bytes));
            let first = trail::follows(&entry.body).and_then(|decision| deciding.get(decision));
            match &mut writer {
                Writer::Csv(rows) => rows.write(&entry, &leaf.bytes)?,
                Writer::Table(rows) => rows.write(entry, &leaf.bytes)?,
                Writer::Lines(out) => match format {
                    Format::Ocsf => writeln!(out, "{}", ocsf::event(&entry, &leaf.bytes))?,
                    Format::FhirAuditEvent => match audit_event::event(&entry, &leaf.bytes, first) {
                        Some(event) => writeln!(out, "{event}")?,
                        None => left_out += 1,
                    },
                    _ if is_shown(&filter, may_see, &entry, first) => {
                        write_ndjson(out, &leaf.bytes)?;
                    }
                    _ => {
                        write_withheld(out, &leaf.bytes)?;
                        withheld += 1;
                    }
                },
            }
        }
        progress(tree.size(), head.size);
    }
    anyhow::ensure!(
        tree.root() == head.root,
        "the entries are not those of the checkpoint: remove {} if it is there, and run `concordat audit verify`",
        part.display()
    );
    let hashed = match writer {
        Writer::Lines(out) => out,
        Writer::Csv(rows) => rows.finish()?,
        Writer::Table(rows) => rows.finish()?,
    };
    let (writer, file_sha256) = hashed.finish();
    writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
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
    let manifest_file = manifest_path(out);
    durable::write(&manifest_file, format!("{}\n", serde_json::to_string_pretty(&manifest)?).as_bytes())
        .with_context(|| manifest_file.display().to_string())?;
    std::fs::rename(&part, out).with_context(|| out.display().to_string())?;
    let _ = std::fs::remove_file(&begun_file); // the part that it spoke of is gone
    Ok(manifest)
}

fn is_shown(filter: &Filter, may_see: Option<MaySee<'_>>, entry: &Entry, first: Option<&Decided>) -> bool {
    if filter.is_empty() && may_see.is_none() {
        return true;
    }
    // What names the ledger's keys says nothing about anybody, and without it nobody gets from one to the next.
    let is_of_keys = matches!(
        entry.body,
        Body::LogOpened { .. } | Body::SigningKeyAnnounced { .. } | Body::SigningKeyRetired { .. }
    );
    is_of_keys || filter.takes(entry, first) && may_see.is_none_or(|may_see| may_see(entry, first))
}

/// Opens the part, at its end where one that broke off can be gone on with.
fn open(
    part: &Path,
    begun_file: &Path,
    begun: &Begun,
    format: Format,
    size: u64,
) -> anyhow::Result<(Hashed<BufWriter<File>>, Done)> {
    let named = || part.display().to_string();
    let before = std::fs::read(begun_file).ok().and_then(|text| serde_json::from_slice::<Begun>(&text).ok());
    let can_go_on = format == Format::Ndjson && before.as_ref() == Some(begun) && part.exists();
    if can_go_on {
        let done = read_part(part, size)?;
        let file = OpenOptions::new().append(true).open(part).with_context(named)?;
        file.set_len(done.bytes).with_context(named)?;
        let mut hashed = Hashed::new(BufWriter::new(file));
        // Once more, for the digest of the whole.
        let mut written = BufReader::new(File::open(part).with_context(named)?);
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = written.read(&mut bytes)?;
            let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else { break };
            hashed.already(read);
        }
        return Ok((hashed, done));
    }
    durable::write(begun_file, &serde_json::to_vec(begun)?)
        .with_context(|| begun_file.display().to_string())?;
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(part).with_context(named)?;
    Ok((Hashed::new(BufWriter::new(file)), Done::default()))
}

/// The whole lines of a part.
fn read_part(part: &Path, size: u64) -> anyhow::Result<Done> {
    let mut file = BufReader::new(File::open(part).with_context(|| part.display().to_string())?);
    let mut done = Done::default();
    let mut tree = Frontier::empty();
    let mut line = Vec::new();
    while tree.size() < size {
        line.clear();
        file.by_ref().take(LEAF_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line)?;
        let Some((hash, is_withheld)) = line.strip_suffix(b"\n").and_then(line_hash) else { break };
        tree.push(hash);
        done.withheld += u64::from(is_withheld);
        done.bytes += line.len() as u64;
    }
    done.tree = Some(tree);
    Ok(done)
}

fn beside(out: &Path, ending: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
