//! Searching the index: what all of a search's terms have in common, block by block, the newest first.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::Ordering,
};

use ledger::trail::{Field, Sight, Term};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{TrailIndex, block::Block, is_rare, name_of, read};
use crate::{StoreError, audit::to_i64};

/// Beyond so many entries, terms count as equally common.
const COUNTED_MAX: i64 = 5_000;

/// As many blocks of a term are counted.
const BLOCKS_COUNTED: i64 = 1_000;

/// Of so many entries that have one term, no more are held against the others at a time.
const SCANNED_MAX: u64 = 50_000;

/// So many blocks of a name are read at first: where many entries are what is looked for, few are enough.
const BLOCKS: u32 = if cfg!(test) { 2 } else { 16 };

/// And so many at a time in the end, where hardly any are.
const BLOCKS_MAX: u32 = 512;

/// What to look for: every term, within a time, before a place.
#[derive(Debug, Clone, Default)]
pub struct TrailQuery {
    /// Every one of these groups must be met, each by one of its terms.
    pub all_of: Vec<Vec<Term>>,
    /// From this microsecond on.
    pub from_us: Option<i64>,
    /// Before this microsecond.
    pub until_us: Option<i64>,
    /// Before this place.
    pub before: Option<u64>,
    /// Only what these officers see; everything where there is none.
    pub seen_by: Option<Vec<Sight>>,
}

/// Where entries are that may be what is looked for.
#[derive(Debug)]
pub struct Places {
    /// The newest first.
    pub found: Vec<u64>,
    /// Nothing before this place has been looked at.
    pub stopped_at: Option<u64>,
}

impl TrailIndex {
    /// Places of entries that may be what is looked for, the newest first. Each is to be checked against the entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn find(&self, query: &TrailQuery, limit: u32) -> Result<Vec<u64>, StoreError> {
        let mut query = query.clone();
        let mut found = Vec::new();
        loop {
            let places =
                self.look(&query, limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit))).await?;
            found.extend(places.found);
            match places.stopped_at {
                Some(place) if found.len() < limit as usize => query.before = Some(place),
                _ => return Ok(found),
            }
        }
    }

    /// As [`Self::find`], for so long as one search may take.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn look(&self, query: &TrailQuery, limit: u32) -> Result<Places, StoreError> {
        self.look_at(query, limit, SCANNED_MAX).await
    }

    pub(crate) async fn look_at(
        &self,
        query: &TrailQuery,
        limit: u32,
        scanned_max: u64,
    ) -> Result<Places, StoreError> {
        let found = self.look_in(query, limit, scanned_max).await;
        if matches!(found, Err(StoreError::IndexDamaged)) {
            self.is_damaged.store(true, Ordering::Relaxed);
            self.wanted.notify_one();
        }
        found
    }

    async fn look_in(&self, query: &TrailQuery, limit: u32, scanned_max: u64) -> Result<Places, StoreError> {
        let range = self.range(query).await?;
        if query.all_of.is_empty() && query.seen_by.is_none() {
            return self.by_time(range, limit).await;
        }
        let everybody = [None];
        let sights: Vec<_> = query.seen_by.iter().flatten().map(Some).collect();
        let sights = if query.seen_by.is_some() { sights.as_slice() } else { &everybody };
        let (mut places, mut stopped_at) = (BTreeSet::new(), None);
        for sight in sights {
            let groups = self.groups(query, *sight).await?;
            let Some((leading, others)) = groups.split_first() else { continue };
            for name in leading {
                let (found, stopped) = self.led(*name, others, range, limit, scanned_max).await?;
                places.extend(found);
                stopped_at = stopped_at.max(stopped);
            }
        }
        let found = places.into_iter().rev().filter(|place| stopped_at.is_none_or(|stop| *place >= stop));
        let found: Vec<_> = found.take(limit as usize).filter_map(|seq| u64::try_from(seq).ok()).collect();
        // Of as many as were wanted, the last says where to go on.
        let stopped_at = stopped_at.filter(|_| found.len() < limit as usize);
        Ok(Places { found, stopped_at: stopped_at.and_then(|seq| u64::try_from(seq).ok()) })
    }

    /// The names of each group of terms. What fewest entries have leads: a place is in the index in order, so that the newest are
    /// found first.
    async fn groups(&self, query: &TrailQuery, sight: Option<&Sight>) -> Result<Vec<Vec<i64>>, StoreError> {
        let mut groups = Vec::new();
        let mut is_narrowed = sight.is_none();
        for group in &query.all_of {
            let texts: Vec<_> = group.iter().map(|term| name_of(term, sight)).collect();
            is_narrowed |= group.iter().all(|term| !is_rare(term.field));
            let commonness = group.iter().map(|term| commonness(term.field)).max();
            let known = self.known_terms(&texts).await?;
            groups.push((known.entries, commonness, known.names));
        }
        if let Some(sight) = sight.filter(|_| !is_narrowed) {
            let known = self.known_terms(&[sight.to_string()]).await?;
            groups.push((known.entries, None, known.names));
        }
        groups.sort();
        Ok(groups.into_iter().map(|(.., names)| names).collect())
    }

    /// Places that have one name and one of each of the others, and the place before which nothing was looked at.
    async fn led(
        &self,
        name: i64,
        others: &[Vec<i64>],
        (from, until): (i64, i64),
        limit: u32,
        scanned_max: u64,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let (mut found, mut scanned, mut count) = (Vec::new(), 0, BLOCKS);
        let first = Block::of(from);
        let mut last = Block::of(until.saturating_sub(1));
        while until > from && last >= first {
            let mut blocks = blocks(&mut connection, name, (first, last), count).await?;
            count = BLOCKS_MAX.min(2 * count);
            let Some((oldest, _)) = blocks.last() else { break };
            last = *oldest - 1;
            for (number, block) in &mut blocks {
                block.keep_between(*number, from, until);
                scanned += block.entries();
            }
            for names in others {
                if blocks.iter().all(|(_, block)| block.entries() == 0) {
                    break;
                }
                let has = blocks_of_any(&mut connection, names, &blocks).await?;
                for (number, block) in &mut blocks {
                    *block = has.get(number).map_or_else(Block::default, |has| block.and(has));
                }
            }
            found.extend(blocks.iter().flat_map(|(number, block)| block.newest_first(*number)));
            if found.len() >= limit as usize {
                found.truncate(limit as usize);
                return Ok((found, None));
            }
            if scanned >= scanned_max && !others.is_empty() && last >= first {
                return Ok((found, Some(Block::begin(last + 1))));
            }
        }
        Ok((found, None))
    }

    async fn by_time(&self, (from, until): (i64, i64), limit: u32) -> Result<Places, StoreError> {
        let sql = "SELECT seq FROM written WHERE seq >= $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
        let sql = sqlx::query_scalar(sql).bind(from).bind(until).bind(i64::from(limit));
        let found: Vec<i64> = sql.fetch_all(&self.pool).await?;
        let found = found.into_iter().filter_map(|seq| u64::try_from(seq).ok()).collect();
        Ok(Places { found, stopped_at: None })
    }

    /// Times never go back in a ledger: a time is a range of places.
    async fn range(&self, query: &TrailQuery) -> Result<(i64, i64), StoreError> {
        let (mut from, mut until) = (0, query.before.map_or(i64::MAX, to_i64));
        if let Some(at_us) = query.from_us {
            from = self.first_since(at_us).await?;
        }
        if let Some(at_us) = query.until_us {
            until = until.min(self.first_since(at_us).await?);
        }
        Ok((from, until))
    }

    /// The first place of this time or later, by halves.
    async fn first_since(&self, at_us: i64) -> Result<i64, StoreError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(seq) FROM written").fetch_one(&self.pool).await?;
        let (mut from, mut until) = (0, last.map_or(0, |last| last + 1));
        while from < until {
            let middle = from + (until - from) / 2;
            let written = sqlx::query_scalar("SELECT at_us FROM written WHERE seq = $1");
            let written: Option<i64> = written.bind(middle).fetch_optional(&self.pool).await?;
            if written.is_some_and(|written| written < at_us) {
                from = middle + 1;
            } else {
                until = middle;
            }
        }
        Ok(from)
    }

    /// Which of the terms there are, and how many entries have them, as far as that is counted.
    async fn known_terms(&self, terms: &[String]) -> Result<KnownTerms, StoreError> {
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new(
            "SELECT id, (SELECT coalesce(sum(entries), 0) FROM (SELECT entries FROM posting WHERE posting.name = id LIMIT ",
        );
        sql.push_bind(BLOCKS_COUNTED).push(")) FROM name WHERE term IN (");
        let mut list = sql.separated(", ");
        for term in terms {
            list.push_bind(term);
        }
        sql.push(")");
        let rows: Vec<(i64, i64)> = sql.build_query_as().fetch_all(&self.pool).await?;
        let entries = rows.iter().map(|(_, entries)| *entries).sum::<i64>().min(COUNTED_MAX);
        Ok(KnownTerms { names: rows.into_iter().map(|(name, _)| name).collect(), entries })
    }
}

struct KnownTerms {
    names: Vec<i64>,
    entries: i64,
}

/// Some of a name's blocks between two, those included, the newest first.
async fn blocks(
    connection: &mut SqliteConnection,
    name: i64,
    (first, last): (i64, i64),
    count: u32,
) -> Result<Vec<(i64, Block)>, StoreError> {
    let sql = "SELECT block, places FROM posting WHERE name = $1 AND block >= $2 AND block <= $3 ORDER BY block DESC LIMIT $4";
    let sql = sqlx::query_as(sql).bind(name).bind(first).bind(last).bind(i64::from(count));
    let rows: Vec<(i64, Vec<u8>)> = sql.fetch_all(connection).await?;
    rows.into_iter().map(|(number, places)| Ok((number, read(&places)?))).collect()
}

/// Where any of these names is, in the blocks that are asked about.
async fn blocks_of_any(
    connection: &mut SqliteConnection,
    names: &[i64],
    asked: &[(i64, Block)],
) -> Result<HashMap<i64, Block>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT block, places FROM posting WHERE name IN (");
    let mut list = sql.separated(", ");
    for name in names {
        list.push_bind(*name);
    }
    sql.push(") AND block IN (");
    let mut list = sql.separated(", ");
    for (number, _) in asked.iter().filter(|(_, block)| block.entries() > 0) {
        list.push_bind(*number);
    }
    sql.push(")");
    let rows: Vec<(i64, Vec<u8>)> = sql.build_query_as().persistent(false).fetch_all(connection).await?;
    let mut has = HashMap::<i64, Block>::new();
    for (number, places) in rows {
        has.entry(number).or_default().add(&read(&places)?);
    }
    Ok(has)
}

/// How many entries a term of this field is likely to have, by rank.
fn commonness(field: Field) -> u8 {
    match field {
        Field::Reference | Field::Case => 0,
        Field::Subject => 1,
        Field::Practitioner => 2,
        Field::Reason => 3,
        Field::Agreement | Field::Item => 4,
        Field::Provider | Field::Purpose => 5,
        Field::Organisation => 6,
        Field::Kind => 7,
    }
}
