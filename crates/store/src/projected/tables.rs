//! The tables, read row by row and held against what the entries make of them.

use std::collections::{BTreeSet, HashMap};

use futures_util::TryStreamExt as _;
use ledger::entry::{AgreementRef, ConsentShown};
use sha2::{Digest as _, Sha256};
use sharing::{policy::hexadecimal, subject::Shown};
use sqlx::{Row as _, any::AnyRow};

use super::{Mark, Projected, mark};
use crate::{Archive, Fact, StoreError, audit::to_i64, fact, row::to_list};

/// How an objection stands, as far as it stops anything; and a relationship or a grant.
pub(super) const IN_FORCE: &str = "in force";
pub(super) const ENDED: &str = "ended";

/// Most faults that are named.
const NAMED_MAX: usize = 20;

/// How many people are looked up in one statement.
const TOGETHER: usize = 500;

/// What entries make rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    OpenQuestion,
    Consent,
    Objection,
    Fact,
    OptOuts,
    Hold,
    Erasure,
    Visibility,
    RightsRequest,
    Referral,
    Alert,
    Export,
    Agreement,
    Step,
    Terms,
    Signature,
    Officer,
    Matter,
    Load,
}

/// A state, and until when it lasts.
pub(super) fn until(state: &str, until: Option<&str>) -> String {
    format!("{state} until {}", until.unwrap_or("further notice"))
}

pub(super) fn times(from_us: i64, until_us: Option<i64>) -> String {
    until(&from_us.to_string(), until_us.map(|at| at.to_string()).as_deref())
}

/// A row, as far as entries say it.
struct Found {
    lasting: Vec<String>,
    /// The ways in which an entry may have said how it stands.
    states: Vec<String>,
    /// The times that decide, where there are any.
    times: Option<Times>,
}

/// The times of a consent, in microseconds. Which of a yes and a no is the later one is told by them.
struct Times {
    given: i64,
    recorded: i64,
    /// When it was ended, where it says no: whether it must have been, and when.
    ended: Option<(bool, Option<i64>)>,
}

/// By how much a row's time and its entry's may differ: clocks of replicas by what is tolerated, and a request waits.
const APART_MAX_US: i64 = 10 * 60 * 1_000_000;

impl Times {
    /// Whether they are those of the entries that recorded and last changed it.
    fn are_of(&self, [recorded, changed]: [Option<i64>; 2]) -> bool {
        let near = |one: i64, other: i64| one.abs_diff(other) <= APART_MAX_US.unsigned_abs();
        // A load dates all that it records at its beginning.
        let begun = recorded.is_none_or(|at| self.given.max(self.recorded) <= at + APART_MAX_US);
        let ended = match (self.ended, changed) {
            (Some((_, Some(ended))), Some(at)) => near(ended, at),
            (Some((true, None)), Some(_)) => false,
            (Some((_, Some(_))), None) => recorded.is_none(),
            (Some((_, None)) | None, _) => true,
        };
        begun && ended
    }
}

impl Table {
    const ALL: [Self; 19] = [
        Self::OpenQuestion,
        Self::Consent,
        Self::Objection,
        Self::Fact,
        Self::OptOuts,
        Self::Hold,
        Self::Erasure,
        Self::Visibility,
        Self::RightsRequest,
        Self::Referral,
        Self::Alert,
        Self::Export,
        Self::Agreement,
        Self::Step,
        Self::Terms,
        Self::Signature,
        Self::Officer,
        Self::Matter,
        Self::Load,
    ];

    /// What retention and erasure forget by its random name.
    pub(super) const FORGETTABLE: [Self; 6] =
        [Self::Consent, Self::Objection, Self::Fact, Self::Referral, Self::RightsRequest, Self::Alert];

    pub(super) fn key<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Mark {
        mark(std::iter::once(self.noun()).chain(keys))
    }

    fn noun(self) -> &'static str {
        match self {
            Self::OpenQuestion => "an open question",
            Self::Consent => "a consent",
            Self::Objection => "an objection",
            Self::Fact => "a relationship, grant or emergency",
            Self::OptOuts => "an opt-out check",
            Self::Hold => "a legal hold",
            Self::Erasure => "an erasure that was asked for",
            Self::Visibility => "a decision on what a person is told",
            Self::RightsRequest => "a complaint or correction",
            Self::Referral => "a referral",
            Self::Alert => "an alert",
            Self::Export => "a request for an export",
            Self::Agreement => "an agreement",
            Self::Step => "a step of an agreement",
            Self::Terms => "a version of an agreement",
            Self::Signature => "a signature",
            Self::Officer => "an office for agreements",
            Self::Matter => "a comment, dispute or note on an agreement",
            Self::Load => "a load of people",
        }
    }

    /// Its rows, and how many columns in front are their key.
    fn statement(self) -> (&'static str, usize) {
        match self {
            Self::OpenQuestion => ("SELECT decision_id FROM open_intent", 1),
            Self::Consent => (
                "SELECT id, subject, consent_type, controller, recipients, purposes, status, CAST(expires_us AS TEXT),
                    CAST(given_us AS TEXT), CAST(recorded_us AS TEXT), CAST(ended_us AS TEXT), shown FROM consent",
                1,
            ),
            Self::Objection => ("SELECT id, subject, purposes, recipients, status FROM objection", 1),
            Self::Fact => ("SELECT id, subject, kind, body, CAST(ended_us AS TEXT) FROM subject_fact", 1),
            Self::OptOuts => (
                "SELECT id, purpose, CAST(expires_us AS TEXT), CAST((SELECT count(*) FROM opt_out_checked
                    WHERE opt_out_checked.batch = opt_out_batch.id) AS TEXT) FROM opt_out_batch
                    WHERE imported_us > 0",
                1,
            ),
            Self::Hold => ("SELECT id, coalesce(subject, '') FROM legal_hold WHERE lifted_us IS NULL", 1),
            Self::Erasure => ("SELECT id, subject FROM erasure", 1),
            Self::Visibility => (
                "SELECT decision_id, organisation, state, CAST(until_us AS TEXT), coalesce(ground, '') FROM event_visibility",
                2,
            ),
            Self::RightsRequest => {
                ("SELECT id, subject, about_right, organisation, state FROM rights_request", 1)
            }
            Self::Referral => ("SELECT decision_id FROM referral", 1),
            Self::Alert => ("SELECT id FROM alert", 1),
            Self::Export => ("SELECT id FROM export_request", 1),
            Self::Agreement => ("SELECT id, CAST(revision AS TEXT), state FROM agreement", 1),
            Self::Step => (
                "SELECT agreement, CAST(revision AS TEXT), CAST(version AS TEXT), state FROM agreement_step",
                2,
            ),
            Self::Terms => (
                "SELECT agreement, CAST(version AS TEXT), terms_sha256, terms FROM agreement_version",
                2,
            ),
            Self::Signature => (
                "SELECT agreement, CAST(version AS TEXT), officer_id, role, signature, organisation
                 FROM agreement_signature",
                3,
            ),
            Self::Officer => (
                "SELECT id, organisation, person, role, coalesce(key_id, ''), state FROM agreement_officer",
                1,
            ),
            Self::Matter => {
                ("SELECT id, agreement, about, CAST(revision AS TEXT), state FROM agreement_matter", 1)
            }
            Self::Load => ("SELECT id, source_sha256, state FROM data_load", 1),
        }
    }

    /// Whether there may be rows that no entry of this kind names: a referral that was only decided, an alert that nobody has
    /// handled.
    fn may_have_more(self) -> bool {
        matches!(self, Self::Referral | Self::Alert)
    }

    /// The columns behind the key, as the entries say them; `None` for a row that cannot be read.
    fn found(self, columns: &[Option<String>]) -> Option<Found> {
        let text = |place: usize| columns.get(place).cloned().flatten();
        let all = |count: usize| (0..count).map(text).collect::<Option<Vec<_>>>();
        let mut times = None;
        let (lasting, states) = match self {
            Self::OpenQuestion | Self::Referral | Self::Alert | Self::Export => (Vec::new(), Vec::new()),
            Self::Consent => {
                let status = text(5)?;
                let time = |place: usize| text(place).map(|text| text.parse::<i64>());
                let ended = time(9).transpose().ok()?;
                let ended = match status.as_str() {
                    "withdrawn" | "revoked" => Some((true, ended)),
                    "refused" => Some((false, ended)),
                    _ => None,
                };
                times = Some(Times { given: time(7)?.ok()?, recorded: time(8)?.ok()?, ended });
                let shown = text(10).map(|text| serde_json::from_str::<Shown>(&text)).transpose().ok()?;
                let mut lasting = all(5)?;
                lasting.push(shown.map(|shown| shown_text(&shown)).unwrap_or_default());
                (lasting, vec![until(&status, text(6).as_deref()), status])
            }
            Self::Objection => {
                let in_force = matches!(text(3)?.as_str(), "received" | "upheld");
                (all(3)?, vec![if in_force { IN_FORCE } else { ENDED }.to_owned()])
            }
            Self::Fact => {
                let state = if text(3).is_some() { ENDED } else { IN_FORCE };
                (fact_parts(text(0)?, &text(1)?, &text(2)?)?, vec![state.to_owned()])
            }
            Self::OptOuts | Self::Signature => (all(3)?, Vec::new()),
            Self::Hold | Self::Erasure => (all(1)?, Vec::new()),
            Self::Visibility => (vec![until(&text(0)?, text(1).as_deref()), text(2)?], Vec::new()),
            Self::RightsRequest => (all(3)?, vec![text(3)?]),
            Self::Agreement => (Vec::new(), vec![format!("{} {}", text(0)?, text(1)?)]),
            Self::Step => (all(2)?, Vec::new()),
            Self::Terms => {
                let digest = text(0)?;
                let is_of_terms = hexadecimal(&Sha256::digest(text(1)?)) == digest;
                (is_of_terms.then(|| vec![digest])?, Vec::new())
            }
            Self::Officer => (all(4)?, vec![text(4)?]),
            Self::Matter => (all(2)?, vec![format!("{} {}", text(2)?, text(3)?)]),
            Self::Load => (all(1)?, vec![text(1)?]),
        };
        Some(Found { lasting, states, times })
    }
}

/// What a person was shown, as its row says it.
fn shown_text(shown: &Shown) -> String {
    let Shown { agreement, version, flow, digest, provider, items, retain_days, onward_sharing } = shown;
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!(
        "{agreement} {version} {flow} {digest} {provider} {} {retain_days} {onward_sharing}",
        to_list(&items)
    )
}

/// As [`shown_text`], as its entry says it.
pub(super) fn entry_text(shown: &ConsentShown) -> String {
    let ConsentShown { agreement, provider, items, retain_days, onward_sharing } = shown;
    let AgreementRef { agreement, version, flow, digest } = agreement;
    format!(
        "{agreement} {version} {flow} {digest} {provider} {} {retain_days} {onward_sharing}",
        to_list(items)
    )
}

/// A relationship, grant or emergency as its entry says it.
fn fact_parts(subject: String, kind: &str, body: &str) -> Option<Vec<String>> {
    let said = |text: &str| text.to_owned();
    Some(match fact::read(kind, body, None)? {
        Fact::Relationship(relationship) => vec![
            said("relationship"),
            subject,
            relationship.organisation.to_string(),
            relationship.practitioner.unwrap_or_default(),
            said(relationship.kind.as_str()),
            times(
                relationship.from.as_microsecond(),
                relationship.until.map(jiff::Timestamp::as_microsecond),
            ),
        ],
        Fact::Grant(grant) => vec![
            said("grant"),
            subject,
            grant.recipient.to_string(),
            grant.practitioner,
            grant.provider.to_string(),
            grant.purpose.to_string(),
            to_list(&grant.items.iter().map(ToString::to_string).collect::<Vec<_>>()),
            times(grant.from.as_microsecond(), Some(grant.until.as_microsecond())),
        ],
        Fact::BreakGlass(declared) => vec![
            said("break-glass"),
            subject,
            declared.organisation.to_string(),
            declared.practitioner,
            declared.purpose.to_string(),
            said(declared.reason.as_str()),
            declared.cannot_consent.to_string(),
            times(declared.from.as_microsecond(), Some(declared.until.as_microsecond())),
        ],
    })
}

/// What is wrong, the first of it in words.
#[derive(Default)]
struct Faults {
    named: Vec<String>,
    others: u64,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.named.len() < NAMED_MAX {
            self.named.push(fault);
        } else {
            self.others += 1;
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if self.others > 0 {
            self.named.push(format!("and {} more rows are not as the entries say", self.others));
        }
        self.named
    }
}

impl Archive {
    /// Where the tables are not what the entries make of them, in words that name nobody; none when all is as they say.
    /// Nothing may be writing to the database meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn faults_of_tables(&self, mut projected: Projected) -> Result<Vec<String>, StoreError> {
        let mut faults = Faults::default();
        for table in Table::ALL {
            self.hold(table, &mut projected, &mut faults).await?;
        }
        let mut lost: Vec<_> = projected.expected.values().collect();
        lost.sort_unstable_by_key(|expected| expected.seq);
        for expected in lost {
            let (seq, noun) = (expected.seq, expected.table.noun());
            faults.add(format!("entry {seq} is about {noun} that is not in the database"));
        }
        self.hold_policies(&projected, &mut faults).await?;
        self.hold_people(&projected, &mut faults).await?;
        Ok(faults.into_words())
    }

    async fn hold(
        &self,
        table: Table,
        projected: &mut Projected,
        faults: &mut Faults,
    ) -> Result<(), StoreError> {
        let (statement, keys) = table.statement();
        let mut rows = sqlx::query(statement).fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            let columns = columns(&row)?;
            let (key, rest) = columns.split_at(keys.min(columns.len()));
            let key: Vec<_> = key.iter().map(|part| part.as_deref().unwrap_or_default()).collect();
            let named = || format!("{} ({})", table.noun(), key.join(" "));
            let Some(expected) = projected.expected.remove(&table.key(key.iter().copied())) else {
                if !table.may_have_more() {
                    faults.add(format!("the database has {} that no entry is about", named()));
                }
                continue;
            };
            let agrees = table.found(rest).is_some_and(|found| {
                let lasting = mark(found.lasting.iter().map(String::as_str));
                expected.lasting.is_none_or(|said| said == lasting)
                    && found.times.is_none_or(|times| times.are_of(expected.times_us))
                    && expected
                        .state
                        .is_none_or(|said| found.states.iter().any(|state| mark([state.as_str()]) == said))
            });
            if !agrees {
                faults.add(format!("{} is not as entry {} says", named(), expected.seq));
            }
        }
        Ok(())
    }

    async fn hold_policies(&self, projected: &Projected, faults: &mut Faults) -> Result<(), StoreError> {
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT revision, digest FROM policy_set WHERE id = 1")
                .fetch_optional(&self.pool)
                .await?;
        let Some(said) = &projected.policies else {
            if row.is_some() {
                faults.add("the database has policies that no entry announced".to_owned());
            }
            return Ok(());
        };
        if row != Some((to_i64(said.revision), said.digest.clone())) {
            faults.add(format!("the policies in force are not those that entry {} announced", said.seq));
        }
        let rows: Vec<(String, i64, String, String)> =
            sqlx::query_as("SELECT agreement, version, digest, status FROM policy_agreement")
                .fetch_all(&self.pool)
                .await?;
        let found: BTreeSet<_> = rows.into_iter().collect();
        let announced = said.agreements.iter().map(|stamp| {
            let stamp = stamp.clone();
            (stamp.agreement, i64::from(stamp.version), stamp.digest, stamp.status)
        });
        let announced: BTreeSet<_> = announced.collect();
        for (agreement, ..) in announced.symmetric_difference(&found) {
            faults.add(format!("the agreement {agreement} is not in force as entry {} says", said.seq));
        }
        Ok(())
    }

    /// Whoever is one person by the entries is by the tables, restricted and dead people are marked, and whoever something is
    /// held about is found by an identifier.
    async fn hold_people(&self, projected: &Projected, faults: &mut Faults) -> Result<(), StoreError> {
        let is_known = |name: &&str| !projected.forgotten.contains(*name);
        let joined = projected.people.joined().flat_map(|name| [name, projected.people.person(name)]);
        let shown = projected.shown.iter().map(|shown| shown.name.as_str());
        let mut names: Vec<_> = joined.chain(shown).filter(is_known).collect();
        names.sort_unstable();
        names.dedup();
        let mut groups = HashMap::new();
        let mut marked = HashMap::new();
        for some in names.chunks(TOGETHER) {
            let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
                "SELECT pseudonym, person_group, restricted, deceased FROM subject
                 WHERE pseudonym IN (SELECT value FROM json_each($1))",
            )
            .bind(to_list(some))
            .fetch_all(&self.pool)
            .await?;
            for (name, group, restricted, deceased) in rows {
                let person = projected.people.person(&name).to_owned();
                let marks = marked.entry(person).or_insert((false, false));
                *marks = (marks.0 || restricted != 0, marks.1 || deceased != 0);
                groups.insert(name, group);
            }
        }
        for name in names.iter().filter(|name| !groups.contains_key(**name)) {
            faults.add(format!("the person {name}, whom entries are about, is not in the database"));
        }
        for name in projected.people.joined() {
            let person = projected.people.person(name);
            if let (Some(one), Some(other)) = (groups.get(name), groups.get(person))
                && one != other
            {
                faults.add(format!(
                    "{name} and {person} are one person by the entries, and two in the database"
                ));
            }
        }
        for shown in &projected.shown {
            let marks = marked.get(projected.people.person(&shown.name)).copied();
            if marks.is_some_and(|(restricted, deceased)| !if shown.is_death { deceased } else { restricted })
            {
                let what = if shown.is_death { "has died" } else { "is restricted" };
                faults
                    .add(format!("entry {} says that a person {what}, and the database does not", shown.seq));
            }
        }
        let nameless: Vec<String> = sqlx::query_scalar(
            "SELECT pseudonym FROM subject WHERE NOT EXISTS (SELECT 1 FROM subject_identifier
                WHERE subject_identifier.pseudonym = subject.pseudonym) LIMIT 21",
        )
        .fetch_all(&self.pool)
        .await?;
        for name in nameless {
            faults.add(format!(
                "no identifier leads to the person {name}: what is held about them would not be found"
            ));
        }
        Ok(())
    }
}

fn columns(row: &AnyRow) -> Result<Vec<Option<String>>, StoreError> {
    (0..row.len()).map(|place| Ok(row.try_get(place)?)).collect()
}
