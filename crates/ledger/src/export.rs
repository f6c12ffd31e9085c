//! Export formats: NDJSON with the leaves' own bytes, CSV for people with spreadsheets, and tiles ([`tiles`]).

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    entry::{Body, Decided, Entry},
    tree::{Hash, hexadecimal, leaf_hash},
};

pub mod tiles;

/// What accompanies an export, so that it can be verified without its keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The ledger's name.
    pub origin: String,
    /// The key that checkpoints verify with, `name+hash+key`.
    pub public_key: String,
    /// The first entry in the file.
    pub from: u64,
    /// One past the last entry in the file.
    pub until: u64,
    /// `ndjson` or `csv`.
    pub format: String,
    /// SHA-256 of the file, in hexadecimal.
    pub file_sha256: String,
    /// The newest checkpoint when the export was made.
    pub checkpoint: String,
    /// The leaves' schema.
    pub schema_version: u8,
    /// How many entries are withheld: their lines have the leaf's hash alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withheld: u64,
    /// How many entries the format has nothing for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// By what the entries were chosen, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the line of an entry that is withheld begins with; the leaf's RFC 6962 hash in hexadecimal and `"}` follow.
pub(crate) const WITHHELD: &str = "{\"withheld\":\"";

/// Writes a line in place of a leaf that is withheld: its hash, so that the whole tree can still be computed, and how many
/// entries there are, and where.
///
/// # Errors
/// Whatever the writer answers.
pub fn write_withheld(out: &mut impl Write, leaf: &[u8]) -> io::Result<()> {
    writeln!(out, "{WITHHELD}{}\"}}", hexadecimal(&leaf_hash(leaf)))
}

/// The hash that a line stands for, without its end: of the leaf that it is, or the one that it withholds, and whether it
/// withholds it. `None` where it withholds something that is no hash.
pub fn line_hash(line: &[u8]) -> Option<(Hash, bool)> {
    let Some(spelled) = line.strip_prefix(WITHHELD.as_bytes()) else { return Some((leaf_hash(line), false)) };
    let digits = spelled.strip_suffix(b"\"}").filter(|digits| digits.len() == 64)?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let is_lower = pair.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let text = std::str::from_utf8(pair).ok().filter(|_| is_lower)?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some((hash, true))
}

/// Counts and hashes what is written through it.
pub struct Hashed<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Hashed<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// Counts what was written before, by an export that broke off.
    pub fn already(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The writer, and SHA-256 of everything written, in hexadecimal.
    pub fn finish(self) -> (W, String) {
        (self.inner, hexadecimal(&self.hasher.finalize()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes one leaf as a line, byte for byte.
///
/// # Errors
/// Whatever the writer answers.
pub fn write_ndjson(out: &mut impl Write, leaf: &[u8]) -> io::Result<()> {
    out.write_all(leaf)?;
    out.write_all(b"\n")
}

/// The columns of the CSV, in order.
pub const CSV_COLUMNS: [&str; 20] = [
    "seq",
    "at",
    "kind",
    "decision_id",
    "organisation",
    "system",
    "practitioner",
    "role",
    "provider",
    "recipient",
    "purpose",
    "case_reference",
    "agreement",
    "agreement_version",
    "subject",
    "asked",
    "items",
    "outcome",
    "reasons",
    "leaf_sha256",
];

/// Writes CSV (RFC 4180). A cell that a spreadsheet would take for a formula gets an apostrophe in front.
pub struct CsvWriter<W: Write> {
    rows: csv::Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Begins with the header.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn new(out: W) -> io::Result<Self> {
        let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        rows.write_record(CSV_COLUMNS)?;
        Ok(Self { rows })
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn write(&mut self, entry: &Entry, leaf: &[u8]) -> io::Result<()> {
        let hash = hexadecimal(&leaf_hash(leaf));
        let row = Row::of(&entry.body);
        let head = [entry.seq.to_string(), rfc3339(entry.at_us), entry.body.kind().to_owned()];
        let cells = head.into_iter().chain(row.cells()).chain([hash]);
        Ok(self.rows.write_record(cells.map(|cell| guarded(&cell)))?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Whatever the writer answers.
    pub fn finish(self) -> io::Result<W> {
        self.rows.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// What an entry says in the columns between its kind and its hash, in order; lists are words with spaces between.
pub fn cells(body: &Body) -> Vec<String> {
    Row::of(body).cells().collect()
}

/// What an entry puts in the columns between its kind and its hash.
#[derive(Default)]
struct Row {
    decision: String,
    by: [String; 4],
    provider: String,
    recipient: String,
    purpose: String,
    case_reference: String,
    agreement: [String; 2],
    subject: String,
    asked: String,
    items: String,
    outcome: String,
    reasons: String,
}

impl Row {
    #[expect(clippy::too_many_lines, reason = "one exhaustive match: a kind and its columns side by side")]
    fn of(body: &Body) -> Self {
        let none = Self { decision: body.decision_id().unwrap_or("").to_owned(), ..Self::default() };
        match body {
            Body::Intent(decided) => Self::decided(decided, "permitted"),
            Body::Refusal(decided) => Self::decided(decided, "refused"),
            Body::Referral(decided) => Self::decided(decided, "referred"),
            Body::Release { subjects, items, .. } => Self {
                subject: subjects.join(" "),
                items: items.join(" "),
                outcome: "released".to_owned(),
                ..none
            },
            Body::Closure { outcome, reasons, .. } => {
                Self { outcome: outcome.clone(), reasons: reasons.join(" "), ..none }
            }
            Body::ConsentRecorded { subject, status, purposes, recipients, by, .. } => Self {
                subject: subject.clone(),
                outcome: status.clone(),
                purpose: purposes.join(" "),
                recipient: recipients.join(" "),
                by: actor(by),
                ..none
            },
            Body::ConsentWithdrawn { subject, by, .. } => {
                Self { subject: subject.clone(), outcome: "withdrawn".to_owned(), by: actor(by), ..none }
            }
            Body::ObjectionRecorded { subject, purposes, recipients, by, .. } => Self {
                subject: subject.clone(),
                purpose: purposes.join(" "),
                recipient: recipients.join(" "),
                outcome: "received".to_owned(),
                by: actor(by),
                ..none
            },
            Body::ObjectionEnded { subject, outcome, by, .. }
            | Body::ObjectionAnswered { subject, outcome, by, .. } => {
                Self { subject: subject.clone(), outcome: outcome.clone(), by: actor(by), ..none }
            }
            Body::RightsRequestMoved { subject, right, action, controller, outcome, by, .. } => Self {
                subject: subject.clone(),
                recipient: controller.clone(),
                outcome: outcome.clone().unwrap_or_else(|| format!("{right} {action}")),
                by: actor(by),
                ..none
            },
            Body::ConsentStatusChanged { subject, status, by, .. } => {
                Self { subject: subject.clone(), outcome: status.clone(), by: actor(by), ..none }
            }
            Body::RelationshipRecorded { subject, organisation, relationship, by, .. } => Self {
                subject: subject.clone(),
                recipient: organisation.clone(),
                outcome: relationship.clone(),
                by: actor(by),
                ..none
            },
            Body::RelationshipEnded { subject, by, .. } => {
                Self { subject: subject.clone(), outcome: "ended".to_owned(), by: actor(by), ..none }
            }
            Body::BreakGlassDeclared { subject, purpose, organisation, reason, by, .. } => Self {
                subject: subject.clone(),
                purpose: purpose.clone(),
                recipient: organisation.clone(),
                reasons: reason.clone(),
                by: actor(by),
                ..none
            },
            Body::AlertMarksRecorded { of, by, .. } => Self { items: of.clone(), by: actor(by), ..none },
            Body::AlertHandled { action, outcome, by, .. } => Self {
                items: action.clone(),
                outcome: outcome.clone(),
                by: by.as_ref().map(actor).unwrap_or_default(),
                ..none
            },
            Body::ReferralMoved { action, by, .. } | Body::LoadMoved { action, by, .. } => {
                Self { outcome: action.clone(), by: actor(by), ..none }
            }
            Body::ListBegan { provider, recipient, purpose, by, .. } => Self {
                recipient: recipient.clone(),
                provider: provider.clone(),
                purpose: purpose.clone(),
                outcome: "began".to_owned(),
                by: actor(by),
                ..none
            },
            Body::ListMoved { action, reason, .. } => {
                Self { outcome: action.clone(), reasons: reason.clone().unwrap_or_default(), ..none }
            }
            Body::GrantMade { subject, recipient, provider, purpose, items, by, .. } => Self {
                subject: subject.clone(),
                recipient: recipient.clone(),
                provider: provider.clone(),
                purpose: purpose.clone(),
                items: items.join(" "),
                outcome: "granted".to_owned(),
                by: actor(by),
                ..none
            },
            Body::GrantRevoked { subject, by, .. } => {
                Self { subject: subject.clone(), outcome: "revoked".to_owned(), by: actor(by), ..none }
            }
            Body::OptOutsImported { purpose, .. } => Self { purpose: purpose.clone(), ..none },
            Body::HoldPlaced { subject, by, .. } => {
                Self { subject: subject.clone().unwrap_or_default(), by: actor(by), ..none }
            }
            Body::HoldLifted { by, .. } => Self { outcome: "lifted".to_owned(), by: actor(by), ..none },
            Body::ErasureAsked { subject, ground, by, .. } => {
                Self { subject: subject.clone(), reasons: ground.clone(), by: actor(by), ..none }
            }
            Body::VisibilityDecided { of, visibility, ground, by, .. } => Self {
                decision: of.clone(),
                outcome: visibility.clone(),
                reasons: ground.clone().unwrap_or_default(),
                by: actor(by),
                ..none
            },
            Body::RecordsForgotten { ground, records, people, by, .. } => Self {
                subject: people.join(" "),
                items: records.join(" "),
                reasons: ground.clone(),
                outcome: "forgotten".to_owned(),
                by: by.as_ref().map(actor).unwrap_or_default(),
                ..none
            },
            Body::DecisionRead { of, what, by } => {
                Self { decision: of.clone(), items: what.clone(), by: actor(by), ..none }
            }
            Body::SubjectRecordRead { subject, what, purpose, by } => Self {
                subject: subject.clone(),
                items: what.clone(),
                purpose: purpose.clone().unwrap_or_default(),
                by: actor(by),
                ..none
            },
            Body::RequestRefused { code, system, organisation, .. } => Self {
                outcome: "refused".to_owned(),
                reasons: code.clone(),
                by: [
                    organisation.clone().unwrap_or_default(),
                    system.clone().unwrap_or_default(),
                    String::new(),
                    String::new(),
                ],
                ..none
            },
            Body::RequestsShed { reason, system, organisation, .. } => Self {
                outcome: "refused".to_owned(),
                reasons: reason.clone(),
                by: [
                    organisation.clone().unwrap_or_default(),
                    system.clone().unwrap_or_default(),
                    String::new(),
                    String::new(),
                ],
                ..none
            },
            Body::AccessTokenIssued { token_id, system, organisation, purposes, .. } => Self {
                decision: token_id.clone(),
                outcome: "issued".to_owned(),
                purpose: purposes.join(" "),
                by: [organisation.clone(), system.clone(), String::new(), String::new()],
                ..none
            },
            Body::HandshakeRefused { reason, .. } | Body::SigningKeyRetired { reason, .. } => {
                Self { reasons: reason.clone(), ..none }
            }
            Body::PolicySetRejected { code, .. } => Self { reasons: code.clone(), ..none },
            Body::ExportRequested { subjects, purpose, format, by, .. } => Self {
                subject: subjects.join(" "),
                purpose: purpose.clone(),
                items: format.clone(),
                by: actor(by),
                ..none
            },
            Body::ExportMoved { action, by, .. } => {
                Self { outcome: action.clone(), by: by.as_ref().map(actor).unwrap_or_default(), ..none }
            }
            Body::AgreementMoved { agreement, version, action, reason, by, .. }
            | Body::AgreementMatterMoved { agreement, version, action, reason, by, .. } => Self {
                agreement: [agreement.clone(), version.to_string()],
                outcome: action.clone(),
                reasons: reason.clone().unwrap_or_default(),
                by: by.as_ref().map(actor).unwrap_or_default(),
                ..none
            },
            Body::AgreementSigned { agreement, version, role, by, .. } => Self {
                agreement: [agreement.clone(), version.to_string()],
                items: role.clone(),
                outcome: "signed".to_owned(),
                by: actor(by),
                ..none
            },
            Body::AgreementOfficerMoved { action, role, by, .. } => {
                Self { items: role.clone(), outcome: action.clone(), by: actor(by), ..none }
            }
            Body::AuditRead { what, .. } => Self { items: what.clone(), ..none },
            Body::LogOpened { .. }
            | Body::PolicySetActivated { .. }
            | Body::SigningKeyAnnounced { .. }
            | Body::BlockMoved { .. }
            | Body::LookupKeyReplaced { .. }
            | Body::WrappingKeyReplaced { .. } => none,
        }
    }

    fn decided(decided: &Decided, outcome: &str) -> Self {
        let agreement = decided.agreement.as_ref();
        Self {
            decision: decided.decision_id.clone(),
            by: actor(&decided.by),
            provider: decided.provider.clone(),
            recipient: decided.recipient.clone(),
            purpose: decided.purpose.clone(),
            case_reference: decided.case_reference.clone(),
            agreement: agreement.map_or_else(Default::default, |agreement| {
                [agreement.agreement.clone(), agreement.version.to_string()]
            }),
            subject: decided.subject.clone(),
            asked: decided.asked.join(" "),
            items: decided.permitted.join(" "),
            outcome: outcome.to_owned(),
            reasons: decided.reasons.join(" "),
        }
    }

    fn cells(self) -> impl Iterator<Item = String> {
        let middle = [self.provider, self.recipient, self.purpose, self.case_reference];
        let last = [self.subject, self.asked, self.items, self.outcome, self.reasons];
        [self.decision].into_iter().chain(self.by).chain(middle).chain(self.agreement).chain(last)
    }
}

fn actor(by: &crate::entry::Actor) -> [String; 4] {
    let person = by.practitioner.clone().or_else(|| by.unattended_owner.clone()).unwrap_or_default();
    [by.organisation.clone(), by.system.clone(), person, by.role.clone().unwrap_or_default()]
}

/// Source: OWASP, CSV Injection.
fn guarded(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

/// Microseconds since 1970 as RFC 3339 in UTC.
fn rfc3339(at_us: i64) -> String {
    let (seconds, micros) = (at_us.div_euclid(1_000_000), at_us.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil from days: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_guarded() {
        let hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"];
        for cell in hostile {
            let body = Body::PolicySetRejected { digest: None, code: cell.to_owned() };
            let entry = Entry { v: 1, seq: 0, at_us: 0, blind: None, body };
            let mut writer = CsvWriter::new(Vec::new()).unwrap();
            writer.write(&entry, b"").unwrap();
            let bytes = writer.finish().unwrap();
            let mut rows = csv::Reader::from_reader(bytes.as_slice());
            let row = rows.records().next().unwrap().unwrap();
            assert_eq!(row.len(), CSV_COLUMNS.len());
            assert_eq!(&row[18], format!("'{cell}"));
        }
    }

    #[test]
    fn times_are_calendar_times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_709_164_800_000_001), "2024-02-29T00:00:00.000001Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
    }
}
