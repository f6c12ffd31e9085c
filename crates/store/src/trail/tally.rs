//! How many decisions there were, counted as the index takes entries in: what pictures of months are made of without reading
//! months of entries. It is made of the leaves like the rest of the index, and proves as little.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date};
use ledger::{
    entry::{Body, Decided, Entry},
    trail,
};
use sharing::agreement::{london_day, london_hour};
use sqlx::{QueryBuilder, Row as _, Sqlite, Transaction};

use super::TrailIndex;
use crate::StoreError;

/// What decisions are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The day in London, as `2026-11-28`.
    Day,
    /// The day of the week in London: 1 for Monday to 7 for Sunday.
    Weekday,
    /// The hour of the day in London, 0 to 23.
    Hour,
    /// How it was decided (`allowed`, `refused` or `referred`) and how it ended (`released`, `answered` where only an answer
    /// was asked for, or `not_released`): every decision counts once as each.
    Outcome,
    /// The record holder.
    Provider,
    /// The purpose.
    Purpose,
    /// The organisation that asked.
    Recipient,
    /// A reason for which something was not released, without what it is about. A decision counts once for each.
    Reason,
}

impl Dimension {
    fn sql(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Weekday => "strftime('%u', day)",
            Self::Hour => "CAST(hour AS TEXT)",
            Self::Outcome => "outcome",
            Self::Provider => "provider",
            Self::Purpose => "purpose",
            Self::Recipient => "recipient",
            Self::Reason => "reason",
        }
    }
}

/// What to count.
#[derive(Debug, Clone)]
pub struct TallyQuery {
    /// What decisions are told apart by. Hours and reasons are not counted together.
    pub by: Vec<Dimension>,
    /// From this day in London on.
    pub from: Date,
    /// Before this day in London.
    pub until: Date,
    /// Only of these record holders; all where there is none.
    pub providers: Option<Vec<String>>,
}

/// Decisions that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// One value for each dimension, in their order.
    pub values: Vec<String>,
    /// How many.
    pub decisions: u64,
}

/// Day, hour, outcome, record holder, purpose and recipient.
type Key = (String, u8, &'static str, String, String, String);
/// Day, outcome, record holder, purpose, recipient and reason.
type ReasonKey = (String, &'static str, String, String, String, String);

/// What entries add.
#[derive(Default)]
pub(super) struct Tally {
    decisions: BTreeMap<Key, u64>,
    reasons: BTreeMap<ReasonKey, u64>,
}

/// How a decision was made or ended, and why nothing was released.
fn outcome(body: &Body) -> Option<(&'static str, &[String])> {
    match body {
        Body::Intent(decided) => Some(("allowed", &decided.reasons)),
        Body::Refusal(decided) => Some(("refused", &decided.reasons)),
        Body::Referral(decided) => Some(("referred", &decided.reasons)),
        Body::Release { .. } => Some(("released", &[])),
        Body::Closure { outcome, reasons, .. } if outcome == "decision_only" => Some(("answered", reasons)),
        Body::Closure { reasons, .. } => Some(("not_released", reasons)),
        _ => None,
    }
}

impl Tally {
    /// `first` is what decided the question that the entry ends, where it ends one.
    pub(super) fn count(&mut self, entry: &Entry, first: Option<&Decided>) {
        let Some((outcome, reasons)) = outcome(&entry.body) else { return };
        let Some(decided) = first.or_else(|| trail::decided(&entry.body)) else { return };
        let Ok(at) = Timestamp::from_microsecond(entry.at_us) else { return };
        let day = london_day(at).to_string();
        let of = || (decided.provider.clone(), decided.purpose.clone(), decided.recipient.clone());
        // What was released was released for no reason, whatever was withheld beside it.
        let decided_for: &[String] = if outcome == "not_released" { &decided.reasons } else { &[] };
        let reasons: BTreeSet<_> = reasons
            .iter()
            .chain(decided_for)
            .map(|reason| reason.split(':').next().unwrap_or(reason))
            .collect();
        for reason in reasons {
            let (provider, purpose, recipient) = of();
            let key = (day.clone(), outcome, provider, purpose, recipient, reason.to_owned());
            *self.reasons.entry(key).or_default() += 1;
        }
        let (provider, purpose, recipient) = of();
        let key = (day, london_hour(at), outcome, provider, purpose, recipient);
        *self.decisions.entry(key).or_default() += 1;
    }

    pub(super) async fn add(&self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        let list = |error: serde_json::Error| StoreError::Ledger(error.to_string());
        let decisions: Vec<_> = self.decisions.iter().collect();
        let reasons: Vec<_> = self.reasons.iter().collect();
        for (sql, counts) in [
            (
                "INSERT INTO tally (day, hour, outcome, provider, purpose, recipient, decisions)
                    SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]', value ->> '$[0][4]', value ->> '$[0][5]', value ->> '$[1]'
                    FROM json_each($1) WHERE true
                    ON CONFLICT (day, hour, outcome, provider, purpose, recipient) DO UPDATE SET decisions = tally.decisions + excluded.decisions",
                serde_json::to_string(&decisions).map_err(list)?,
            ),
            (
                "INSERT INTO tally_reason (day, outcome, provider, purpose, recipient, reason, decisions)
                    SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]', value ->> '$[0][4]', value ->> '$[0][5]', value ->> '$[1]'
                    FROM json_each($1) WHERE true
                    ON CONFLICT (day, outcome, provider, purpose, recipient, reason) DO UPDATE SET decisions = tally_reason.decisions + excluded.decisions",
                serde_json::to_string(&reasons).map_err(list)?,
            ),
        ] {
            sqlx::query(sql).bind(counts).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

impl TrailIndex {
    /// How many decisions there were, told apart by what is asked, in the order of their values; at most `limit` kinds.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn tally(&self, query: &TallyQuery, limit: u32) -> Result<Vec<Counted>, StoreError> {
        if query.by.is_empty() {
            return Ok(Vec::new());
        }
        let table = if query.by.contains(&Dimension::Reason) { "tally_reason" } else { "tally" };
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT ");
        for dimension in &query.by {
            sql.push(dimension.sql()).push(", ");
        }
        sql.push("sum(decisions) FROM ").push(table).push(" WHERE day >= ").push_bind(query.from.to_string());
        sql.push(" AND day < ").push_bind(query.until.to_string());
        if let Some(providers) = &query.providers {
            sql.push(" AND provider IN (");
            let mut list = sql.separated(", ");
            for provider in providers {
                list.push_bind(provider);
            }
            sql.push(")");
        }
        for clause in [" GROUP BY ", " ORDER BY "] {
            sql.push(clause);
            let mut places = sql.separated(", ");
            for place in 1..=query.by.len() {
                places.push(place);
            }
        }
        sql.push(" LIMIT ").push_bind(i64::from(limit));
        let rows = sql.build().fetch_all(&self.pool).await?;
        let counted = |row: sqlx::sqlite::SqliteRow| {
            let values = (0..query.by.len()).map(|place| row.try_get(place)).collect::<Result<_, _>>()?;
            let decisions: i64 = row.try_get(query.by.len())?;
            Ok(Counted { values, decisions: u64::try_from(decisions).unwrap_or_default() })
        };
        rows.into_iter().map(counted).collect()
    }
}
