//! What is held about a person, read at decision time in one snapshot. Never cached.

use jiff::Timestamp;
use sharing::{
    ConsentId, ObjectionId, OrganisationId, Pseudonym, PurposeClass, SubjectIdentifier, SubjectState,
};

use crate::{
    audit::Archive,
    database::Transaction,
    error::StoreError,
    fact::{FactRow, RawFact},
    open::Store,
    opt_out,
    row::{ConsentRow, ObjectionRow, RawConsent, RawObjection, optional_instant, to_list, word},
};

pub(crate) const NAMES: &str =
    "SELECT pseudonym, person_group, revision, restricted, deceased, restricted_us, deceased_us
    FROM subject
    WHERE person_group IN (SELECT person_group FROM subject
        WHERE pseudonym IN (SELECT value FROM json_each($1)))
    ORDER BY pseudonym";
pub(crate) const CONSENTS: &str =
    "SELECT id, subject, consent_type, status, controller, recipients, purposes, given_by, recorded_us, given_us, expires_us, ended_us, shown,
        recorded_by, withdrawn_us, details, status_reason
    FROM consent WHERE subject IN (SELECT value FROM json_each($1)) ORDER BY id";
const OBJECTIONS: &str =
    "SELECT * FROM objection WHERE subject IN (SELECT value FROM json_each($1)) ORDER BY id";
const FACTS: &str =
    "SELECT * FROM subject_fact WHERE subject IN (SELECT value FROM json_each($1)) ORDER BY id";
const CONSENT: &str =
    "SELECT id, subject, consent_type, status, controller, recipients, purposes, given_by, recorded_us, given_us, expires_us, ended_us, shown,
        recorded_by, withdrawn_us, details, status_reason
    FROM consent WHERE id = $1";
/// What an organisation has recorded under a name of a person since an instant, whatever became of it. Other names do not count: that
/// two are one person's is not for everybody to know.
const ALLOWED_SINCE: &str =
    "SELECT (SELECT count(*) FROM consent WHERE subject = $1 AND recorded_by = $2 AND recorded_us > $3 AND status <> 'refused')
        + (SELECT count(*) FROM subject_fact WHERE subject = $1 AND recorded_by = $2 AND recorded_us > $3 AND kind <> 'break-glass')";
const REFUSED_SINCE: &str =
    "SELECT (SELECT count(*) FROM consent WHERE subject = $1 AND recorded_by = $2 AND recorded_us > $3 AND status = 'refused')
        + (SELECT count(*) FROM objection WHERE subject = $1 AND recorded_by = $2 AND recorded_us > $3)";
const EMERGENCIES_SINCE: &str = "SELECT count(*) FROM subject_fact WHERE subject = $1 AND recorded_by = $2 AND recorded_us > $3 AND kind = 'break-glass'";
/// The first change recorded after the instant tells what was held then.
const CONSENT_BEFORE: &str =
    "SELECT status_before, ended_before, expires_before, reason_before FROM consent_change
    WHERE consent = $1 AND recorded_us > $2 ORDER BY recorded_us LIMIT 1";
const OBJECTION_BEFORE: &str = "SELECT status_before, reason_before FROM objection_change
    WHERE objection = $1 AND recorded_us > $2 ORDER BY recorded_us LIMIT 1";

/// Status, end, expiry and reason before a change.
type ConsentBefore = (String, Option<i64>, Option<i64>, Option<String>);

pub(crate) struct RawName {
    pub(crate) pseudonym: String,
    pub(crate) person_group: String,
    pub(crate) revision: i64,
    pub(crate) restricted: i64,
    pub(crate) deceased: i64,
    pub(crate) restricted_us: Option<i64>,
    pub(crate) deceased_us: Option<i64>,
}

columns!(RawName { pseudonym, person_group, revision, restricted, deceased, restricted_us, deceased_us });

/// What is recorded about a person, as far as it is counted. Each is counted by itself: nothing of one kind uses up what another
/// needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Consents, relationships and grants.
    Allows,
    /// Refusals, objections and restrictions.
    Refuses,
    /// Emergencies.
    Emergency,
}

impl Recorded {
    fn counted(self) -> &'static str {
        match self {
            Self::Allows => ALLOWED_SINCE,
            Self::Refuses => REFUSED_SINCE,
            Self::Emergency => EMERGENCIES_SINCE,
        }
    }
}

/// What a question is about, as far as more than the person bears on what is read.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The purpose.
    pub purpose: PurposeClass,
    /// Every identifier of the person that is known to the request.
    pub identifiers: &'a [SubjectIdentifier],
    /// When it is asked.
    pub at: Timestamp,
}

impl Store {
    /// Everything held under these names and under every name linked with them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn subject_state(&self, names: &[Pseudonym]) -> Result<SubjectState, StoreError> {
        let (store, names) = (self.clone(), names.to_vec());
        to_its_end(async move {
            let mut snapshot = store.snapshot().await?;
            read_state(&mut snapshot, &names, None).await
        })
        .await
    }

    /// As [`Store::subject_state`], with what the opt-out checks say for the purpose asked about.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn subject_state_about(
        &self,
        names: &[Pseudonym],
        about: About<'_>,
    ) -> Result<SubjectState, StoreError> {
        let (store, names) = (self.clone(), names.to_vec());
        let (purpose, identifiers, at) = (about.purpose, about.identifiers.to_vec(), about.at);
        to_its_end(async move {
            let mut snapshot = store.snapshot().await?;
            let mut state = read_state(&mut snapshot, &names, None).await?;
            if purpose.rules().opt_out_applies {
                state.opt_out =
                    opt_out::look_up(&mut snapshot, &store.lookup_key, purpose, &identifiers, at).await?;
            }
            Ok(state)
        })
        .await
    }

    /// A transaction that sees the database as it is at one moment. Only where nobody can drop it as it begins.
    async fn snapshot(&self) -> Result<Transaction, StoreError> {
        Ok(self.readers.begin_with(self.database.begin_snapshot()).await?)
    }
}

impl Archive {
    /// What was held at an instant, as far as this database knew it then. Opt-out checks are not kept.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn subject_state_as_of(
        &self,
        names: &[Pseudonym],
        as_of: Timestamp,
    ) -> Result<SubjectState, StoreError> {
        let mut snapshot = self.pool.begin_with(self.database.begin_snapshot()).await?;
        read_state(&mut snapshot, names, Some(as_of)).await
    }
}

/// Runs to its end also where nobody waits any more: a request may be dropped at any await, and sqlx 0.9.0 would give a
/// connection back to its pool inside a transaction that was dropped as it began (launchbadge/sqlx 4385).
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|_| Err(StoreError::Ledger("reading the database ended in a panic".to_owned())))
}

async fn read_state(
    snapshot: &mut Transaction,
    names: &[Pseudonym],
    as_of: Option<Timestamp>,
) -> Result<SubjectState, StoreError> {
    let rows: Vec<RawName> = sqlx::query_as(NAMES).bind(to_list(names)).fetch_all(&mut **snapshot).await?;
    let mut state = named(&rows, as_of)?;
    let all: Vec<_> = state.names.iter().map(|(name, _)| name.clone()).collect();
    state.consents = consents(snapshot, &all, as_of).await?.into_iter().map(|row| row.record).collect();
    state.objections = objections(snapshot, &all, as_of).await?.into_iter().map(|row| row.record).collect();
    let facts: Vec<RawFact> = sqlx::query_as(FACTS).bind(to_list(&all)).fetch_all(&mut **snapshot).await?;
    let facts = facts.into_iter().filter_map(|raw| match as_of {
        Some(at) => raw.known_at(at),
        None => Some(raw),
    });
    for raw in facts {
        FactRow::try_from(raw)?.fact.add_to(&mut state);
    }
    Ok(state)
}

/// What the rows of a person's names say themselves, in order of name.
pub(crate) fn named<'a>(
    rows: impl IntoIterator<Item = &'a RawName>,
    as_of: Option<Timestamp>,
) -> Result<SubjectState, StoreError> {
    let mut state = SubjectState { is_one_person: true, ..SubjectState::default() };
    // A row from before the times were kept has none: it is taken as always known.
    let known = |flag: i64, since_us: Option<i64>| {
        flag != 0 && as_of.is_none_or(|at| since_us.is_none_or(|since| since <= at.as_microsecond()))
    };
    let mut group = None;
    for row in rows {
        let corrupt = |_| StoreError::CorruptRow { table: "subject", row: row.pseudonym.clone() };
        let name: Pseudonym = row.pseudonym.parse().map_err(corrupt)?;
        state.is_one_person &= *group.get_or_insert(&row.person_group) == &row.person_group;
        state.names.push((name, row.revision));
        state.restricted |= known(row.restricted, row.restricted_us);
        state.deceased |= known(row.deceased, row.deceased_us);
    }
    Ok(state)
}

async fn consents(
    snapshot: &mut Transaction,
    names: &[Pseudonym],
    as_of: Option<Timestamp>,
) -> Result<Vec<ConsentRow>, StoreError> {
    let stored: Vec<RawConsent> =
        sqlx::query_as(CONSENTS).bind(to_list(names)).fetch_all(&mut **snapshot).await?;
    let mut rows = Vec::new();
    for raw in stored {
        let mut row = ConsentRow::try_from(raw)?;
        if let Some(at) = as_of {
            if row.record.recorded_at > at {
                continue;
            }
            let before: Option<ConsentBefore> = sqlx::query_as(CONSENT_BEFORE)
                .bind(row.record.id.as_str())
                .bind(at.as_microsecond())
                .fetch_optional(&mut **snapshot)
                .await?;
            if let Some((status, ended_us, expires_us, reason)) = before {
                let corrupt =
                    || StoreError::CorruptRow { table: "consent_change", row: row.record.id.to_string() };
                row.record.status = word(&status).ok_or_else(corrupt)?;
                row.record.ended_at = optional_instant(ended_us).ok_or_else(corrupt)?;
                row.record.expires_at = optional_instant(expires_us).ok_or_else(corrupt)?;
                row.withdrawn_at = None;
                row.status_reason = reason;
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn objections(
    snapshot: &mut Transaction,
    names: &[Pseudonym],
    as_of: Option<Timestamp>,
) -> Result<Vec<ObjectionRow>, StoreError> {
    let stored: Vec<RawObjection> =
        sqlx::query_as(OBJECTIONS).bind(to_list(names)).fetch_all(&mut **snapshot).await?;
    let mut rows = Vec::new();
    for raw in stored {
        let mut row = ObjectionRow::try_from(raw)?;
        if let Some(at) = as_of {
            if row.recorded_at > at {
                continue;
            }
            let before: Option<(String, Option<String>)> = sqlx::query_as(OBJECTION_BEFORE)
                .bind(row.record.id.as_str())
                .bind(at.as_microsecond())
                .fetch_optional(&mut **snapshot)
                .await?;
            if let Some((status, reason)) = before {
                row.status_reason = reason;
                row.record.status = word(&status).ok_or_else(|| StoreError::CorruptRow {
                    table: "objection_change",
                    row: row.record.id.to_string(),
                })?;
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Store {
    /// How much of a kind an organisation has recorded under a name of a person since an instant.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recorded_since(
        &self,
        person: &Pseudonym,
        organisation: &OrganisationId,
        since: Timestamp,
        kind: Recorded,
    ) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(kind.counted())
            .bind(person.as_str())
            .bind(organisation.as_str())
            .bind(since.as_microsecond())
            .fetch_one(&self.readers)
            .await?;
        Ok(count.unsigned_abs())
    }

    /// One consent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn consent(&self, id: &ConsentId) -> Result<Option<ConsentRow>, StoreError> {
        let raw: Option<RawConsent> =
            sqlx::query_as(CONSENT).bind(id.as_str()).fetch_optional(&self.readers).await?;
        match raw {
            Some(raw) => self.unsealed_consent(raw.try_into()?).await.map(Some),
            None => Ok(None),
        }
    }

    async fn unsealed_consent(&self, mut row: ConsentRow) -> Result<ConsentRow, StoreError> {
        row.details = self.unseal(row.subject.as_str(), &row.details).await?;
        row.status_reason = self.unseal_some(row.subject.as_str(), row.status_reason).await?;
        Ok(row)
    }

    async fn unsealed_objection(&self, mut row: ObjectionRow) -> Result<ObjectionRow, StoreError> {
        row.details = self.unseal(row.subject.as_str(), &row.details).await?;
        row.status_reason = self.unseal_some(row.subject.as_str(), row.status_reason).await?;
        Ok(row)
    }

    /// One objection.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn objection(&self, id: &ObjectionId) -> Result<Option<ObjectionRow>, StoreError> {
        let raw: Option<RawObjection> = sqlx::query_as("SELECT * FROM objection WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await?;
        match raw {
            Some(raw) => self.unsealed_objection(raw.try_into()?).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Store {
    /// What is held about a person, in full, for those who may read it: now, or as this database knew it at an
    /// earlier instant.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn held_about(
        &self,
        name: &Pseudonym,
        as_of: Option<Timestamp>,
    ) -> Result<(Vec<ConsentRow>, Vec<ObjectionRow>, Vec<FactRow>), StoreError> {
        let (store, name) = (self.clone(), name.clone());
        to_its_end(async move { store.read_about(&name, as_of).await }).await
    }

    async fn read_about(
        &self,
        name: &Pseudonym,
        as_of: Option<Timestamp>,
    ) -> Result<(Vec<ConsentRow>, Vec<ObjectionRow>, Vec<FactRow>), StoreError> {
        let mut snapshot = self.snapshot().await?;
        let state = read_state(&mut snapshot, std::slice::from_ref(name), None).await?;
        let names: Vec<_> = state.names.into_iter().map(|(name, _)| name).collect();
        let facts: Vec<RawFact> =
            sqlx::query_as(FACTS).bind(to_list(&names)).fetch_all(&mut *snapshot).await?;
        let facts = facts.into_iter().filter_map(|raw| match as_of {
            Some(at) => raw.known_at(at),
            None => Some(raw),
        });
        let stored_consents = consents(&mut snapshot, &names, as_of).await?;
        let stored_objections = objections(&mut snapshot, &names, as_of).await?;
        drop(snapshot);
        let (mut consents, mut objections, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for row in stored_consents {
            consents.push(self.unsealed_consent(row).await?);
        }
        for row in stored_objections {
            objections.push(self.unsealed_objection(row).await?);
        }
        for raw in facts {
            opened.push(self.unsealed_fact(raw.try_into()?).await?);
        }
        Ok((consents, objections, opened))
    }
}
