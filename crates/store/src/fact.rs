//! Relationships, grants and emergencies, as they are stored: what decides as JSON, and when this database knew it.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sharing::{
    OrganisationId, Pseudonym, SubjectState,
    subject::{AdHocGrant, BreakGlass, LegitimateRelationship},
};

use crate::{
    error::StoreError,
    open::Store,
    row::{instant, optional_instant},
};

/// A fact about a person's standing with an organisation or practitioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A relationship.
    Relationship(LegitimateRelationship),
    /// A one-off disclosure that was allowed.
    Grant(AdHocGrant),
    /// An emergency that was declared.
    BreakGlass(BreakGlass),
}

/// A fact as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRow {
    /// What decides.
    pub fact: Fact,
    /// About whom.
    pub subject: Pseudonym,
    /// Everything else, as JSON.
    pub details: String,
    /// The organisation that recorded it.
    pub recorded_by: OrganisationId,
    /// When.
    pub recorded_at: Timestamp,
    /// When its end was recorded.
    pub ended_at: Option<Timestamp>,
}

impl Fact {
    /// Its identifier.
    pub fn id(&self) -> &str {
        match self {
            Self::Relationship(relationship) => relationship.id.as_str(),
            Self::Grant(grant) => grant.id.as_str(),
            Self::BreakGlass(declared) => declared.id.as_str(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Relationship(_) => "relationship",
            Self::Grant(_) => "grant",
            Self::BreakGlass(_) => "break-glass",
        }
    }

    /// When it ends by itself, if it does.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Relationship(relationship) => relationship.until,
            Self::Grant(grant) => Some(grant.until),
            Self::BreakGlass(declared) => Some(declared.until),
        }
    }

    pub(crate) fn body(&self) -> String {
        fn json<T: Serialize>(value: &T) -> String {
            serde_json::to_string(value).unwrap_or_default() // plain values: cannot fail
        }
        match self {
            Self::Relationship(relationship) => json(relationship),
            Self::Grant(grant) => json(grant),
            Self::BreakGlass(declared) => json(declared),
        }
    }

    /// Ends it at `at`, if it would last longer.
    fn end(&mut self, at: Timestamp) {
        match self {
            Self::Relationship(relationship) => {
                relationship.until = Some(relationship.until.map_or(at, |until| until.min(at)));
            }
            Self::Grant(grant) => grant.until = grant.until.min(at),
            Self::BreakGlass(declared) => declared.until = declared.until.min(at),
        }
    }

    pub(crate) fn add_to(self, state: &mut SubjectState) {
        match self {
            Self::Relationship(relationship) => state.relationships.push(relationship),
            Self::Grant(grant) => state.grants.push(grant),
            Self::BreakGlass(declared) => state.emergencies.push(declared),
        }
    }
}

pub(crate) struct RawFact {
    id: String,
    subject: String,
    kind: String,
    body: String,
    details: String,
    recorded_by: String,
    recorded_us: i64,
    ended_us: Option<i64>,
}

columns!(RawFact { id, subject, kind, body, details, recorded_by, recorded_us, ended_us });

/// A fact from what decides of its row; `None` where that cannot be read.
pub(crate) fn read(kind: &str, body: &str, ended_at: Option<Timestamp>) -> Option<Fact> {
    fn of<T: DeserializeOwned>(body: &str) -> Option<T> {
        serde_json::from_str(body).ok()
    }
    let mut fact = match kind {
        "relationship" => Fact::Relationship(of(body)?),
        "grant" => Fact::Grant(of(body)?),
        "break-glass" => Fact::BreakGlass(of(body)?),
        _ => return None,
    };
    if let Some(at) = ended_at {
        fact.end(at);
    }
    Some(fact)
}

impl RawFact {
    /// The row as it was known at `at`; `None` when it was not known yet.
    pub(crate) fn known_at(mut self, at: Timestamp) -> Option<Self> {
        let at_us = at.as_microsecond();
        if self.recorded_us > at_us {
            return None;
        }
        self.ended_us = self.ended_us.filter(|ended_us| *ended_us <= at_us);
        Some(self)
    }
}

impl TryFrom<RawFact> for FactRow {
    type Error = StoreError;

    fn try_from(raw: RawFact) -> Result<Self, Self::Error> {
        let read = || {
            let ended_at = optional_instant(raw.ended_us)?;
            let fact = read(&raw.kind, &raw.body, ended_at)?;
            Some(Self {
                fact,
                subject: raw.subject.parse().ok()?,
                details: raw.details.clone(),
                recorded_by: raw.recorded_by.parse().ok()?,
                recorded_at: instant(raw.recorded_us)?,
                ended_at,
            })
        };
        read().ok_or(StoreError::CorruptRow { table: "subject_fact", row: raw.id })
    }
}

impl Store {
    /// One relationship, grant or emergency.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or holds a row that cannot be read.
    pub async fn fact(&self, id: &str) -> Result<Option<FactRow>, StoreError> {
        let raw: Option<RawFact> = sqlx::query_as("SELECT * FROM subject_fact WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        match raw {
            Some(raw) => self.unsealed_fact(raw.try_into()?).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn unsealed_fact(&self, mut row: FactRow) -> Result<FactRow, StoreError> {
        row.details = self.unseal(row.subject.as_str(), &row.details).await?;
        Ok(row)
    }
}
