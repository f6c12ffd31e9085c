//! Submissions that are taken together: what questions and releases ask of the writer, checked and applied as sets of rows,
//! a few statements for all of them.
//!
//! The outcome is that of taking them one after the other, as `project` does with everything else: what is there is
//! read once, each submission is held against it in its turn, and what each changes counts for the next. The ledger's
//! head is locked meanwhile, so that nobody else writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use sharing::policy::hexadecimal;

use self::callers::Callers;
use super::project::still_means;
use crate::{
    change::{Change, Recheck, Submission},
    database::{Database, Transaction, places, portions},
    error::{CommitError, StoreError},
    opt_out::OptOutChecks,
    row::to_list,
};

mod callers;

/// Whether a submission is one of these: it changes nothing but what is kept track of here.
pub(super) fn fits(submission: &Submission) -> bool {
    let has_ceiling = submission.recheck.as_ref().is_some_and(|recheck| recheck.ceiling.is_some());
    let simple = |change: &Change| {
        matches!(
            change,
            Change::KnowSubject(_) | Change::OpenIntent(_) | Change::CloseIntent(_) | Change::CountAnswer(_)
        )
    };
    !has_ceiling && submission.changes.iter().all(simple)
}

/// Checks each submission, and applies those that are admitted.
pub(super) async fn take(
    tx: &mut Transaction,
    (database, replica): (&Database, &str),
    run: &[(Timestamp, &Submission)],
) -> Result<Vec<Result<(), CommitError>>, StoreError> {
    let mut there = There::read(tx, database, run).await?;
    let outcomes = run.iter().map(|(at, submission)| there.admit(*at, submission)).collect();
    there.write(tx, replica).await?;
    Ok(outcomes)
}

/// How exactly it is kept when somebody last had to do with a person, in microseconds: a day. More often nothing is
/// written.
const SEEN_TO_US: i64 = 86_400_000_000;

/// What is there, and what the submissions so far make of it.
#[derive(Default)]
struct There<'a> {
    /// How much callers have asked.
    callers: Callers<'a>,
    /// Revision and last sight of each name.
    subjects: HashMap<String, (i64, Option<i64>)>,
    /// The name behind each hash.
    identifiers: HashMap<Vec<u8>, String>,
    /// Digest and status of each agreement.
    agreements: HashMap<String, (String, String)>,
    /// The revision of the policies in force.
    policies: Option<i64>,
    /// The batches of opt-out checks of each purpose.
    checks: HashMap<String, BTreeSet<String>>,
    open: HashSet<String>,
    used: HashSet<(String, String)>,
    // What is to be written.
    seen: BTreeMap<String, i64>,
    known: BTreeMap<Vec<u8>, String>,
    opened: BTreeMap<String, i64>,
    closed: BTreeSet<String>,
    contexts: Vec<(String, String, i64)>,
}

impl<'a> There<'a> {
    async fn read(
        tx: &mut Transaction,
        database: &Database,
        run: &[(Timestamp, &'a Submission)],
    ) -> Result<Self, StoreError> {
        let mut asked = Asked::default();
        run.iter().for_each(|(_, submission)| asked.add(submission));
        let mut there = Self { callers: Callers::read(tx, database, run).await?, ..Self::default() };
        if !asked.names.is_empty() {
            let rows: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
                "SELECT pseudonym, revision, seen_us FROM subject WHERE pseudonym IN (SELECT value FROM json_each($1))",
            )
            .bind(listed(asked.names))
            .fetch_all(&mut **tx)
            .await?;
            there.subjects =
                rows.into_iter().map(|(name, revision, seen)| (name, (revision, seen))).collect();
        }
        if !asked.hashes.is_empty() {
            let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
                "SELECT lookup_hash, pseudonym FROM subject_identifier
                 WHERE lookup_hash IN (SELECT unhex(value) FROM json_each($1))",
            )
            .bind(to_list(&asked.hashes.into_iter().collect::<Vec<_>>()))
            .fetch_all(&mut **tx)
            .await?;
            there.identifiers = rows.into_iter().collect();
        }
        if asked.policies {
            let rows: Vec<(String, String, String, Option<i64>)> = sqlx::query_as(
                "SELECT agreement, digest, status, CAST(NULL AS BIGINT) FROM policy_agreement
                 WHERE agreement IN (SELECT value FROM json_each($1))
                 UNION ALL SELECT '', '', '', revision FROM policy_set WHERE id = 1",
            )
            .bind(listed(asked.agreements))
            .fetch_all(&mut **tx)
            .await?;
            there.policies = rows.iter().find_map(|(.., revision)| *revision);
            there.agreements =
                rows.into_iter().map(|(id, digest, status, _)| (id, (digest, status))).collect();
        }
        if asked.checks {
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT purpose, id FROM opt_out_batch WHERE imported_us > 0")
                    .fetch_all(&mut **tx)
                    .await?;
            for (purpose, batch) in rows {
                there.checks.entry(purpose).or_default().insert(batch);
            }
        }
        if !asked.closing.is_empty() {
            let rows: Vec<String> = sqlx::query_scalar(
                "SELECT decision_id FROM open_intent WHERE decision_id IN (SELECT value FROM json_each($1))",
            )
            .bind(listed(asked.closing))
            .fetch_all(&mut **tx)
            .await?;
            there.open = rows.into_iter().collect();
        }
        if !asked.contexts.is_empty() {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT used.issuer, used.jti FROM json_each($1) AS issuers CROSS JOIN json_each($2) AS contexts
                 CROSS JOIN used_context AS used
                 WHERE contexts.key = issuers.key AND used.issuer = issuers.value AND used.jti = contexts.value",
            )
            .bind(to_list(&asked.contexts.iter().map(|(issuer, _)| issuer).collect::<Vec<_>>()))
            .bind(to_list(&asked.contexts.iter().map(|(_, jti)| jti).collect::<Vec<_>>()))
            .fetch_all(&mut **tx)
            .await?;
            there.used = rows.into_iter().collect();
        }
        Ok(there)
    }

    /// Whether one submission is taken. If so, what it changes counts from now on; if not, nothing of it does.
    fn admit(&mut self, at: Timestamp, submission: &'a Submission) -> Result<(), CommitError> {
        if submission.recheck.as_ref().is_some_and(|recheck| !self.still_holds(recheck)) {
            return Err(CommitError::Changed);
        }
        for change in &submission.changes {
            self.applicable(change)?;
        }
        let using = submission.using.as_deref();
        let counted = using.map(|using| self.callers.admit(using)).transpose()?;
        // Last, because it changes something.
        if let Some(guard) = &submission.replay {
            if !self.used.insert((guard.issuer.clone(), guard.jti.clone())) {
                return Err(CommitError::Replayed);
            }
            let expires_us = guard.expires.as_microsecond();
            self.contexts.push((guard.issuer.clone(), guard.jti.clone(), expires_us));
        }
        if let (Some(using), Some(counted)) = (using, counted) {
            self.callers.count(using, &counted);
        }
        submission.changes.iter().for_each(|change| self.apply(at, change));
        Ok(())
    }

    fn still_holds(&self, recheck: &Recheck) -> bool {
        let is_current = |name: &str, revision: i64| {
            self.subjects.get(name).is_some_and(|(current, _)| *current == revision)
        };
        let names = recheck.names.iter().all(|(name, revision)| is_current(name.as_str(), *revision));
        let agreement = recheck.agreement.as_ref().is_none_or(|(id, decided_under)| {
            let current = self.agreements.get(id.as_str());
            current.is_some_and(|(digest, status)| digest == decided_under && status == "active")
        });
        let checks = recheck.opt_outs.as_ref().is_none_or(|OptOutChecks { purpose, batches }| {
            self.checks.get(purpose.as_str()).unwrap_or(&BTreeSet::new()) == batches
        });
        let policies = recheck.policies.is_none_or(|revision| self.policies == Some(revision));
        names && agreement && checks && policies
    }

    fn applicable(&self, change: &Change) -> Result<(), CommitError> {
        match change {
            Change::KnowSubject(resolved) => {
                let known = self.identifiers.get(&resolved.lookup_hash);
                still_means(resolved, known.map(String::as_str))
            }
            Change::CloseIntent(decision_id) if !self.open.contains(decision_id) => Err(CommitError::NotOpen),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, at: Timestamp, change: &'a Change) {
        let at_us = at.as_microsecond();
        match change {
            Change::KnowSubject(resolved) => {
                let name = resolved.pseudonym.as_str();
                let last = self.subjects.get(name).map(|(revision, seen)| (*revision, seen.unwrap_or(0)));
                if last.is_none_or(|(_, seen)| seen < at_us - SEEN_TO_US) {
                    let revision = last.map_or(0, |(revision, _)| revision);
                    self.subjects.insert(name.to_owned(), (revision, Some(at_us)));
                    self.seen.insert(name.to_owned(), at_us);
                }
                if !self.identifiers.contains_key(&resolved.lookup_hash) {
                    self.identifiers.insert(resolved.lookup_hash.clone(), name.to_owned());
                    self.known.insert(resolved.lookup_hash.clone(), name.to_owned());
                }
            }
            Change::OpenIntent(decision_id) => {
                self.open.insert(decision_id.clone());
                self.opened.insert(decision_id.clone(), at_us);
            }
            Change::CloseIntent(decision_id) => {
                self.open.remove(decision_id);
                if self.opened.remove(decision_id).is_none() {
                    self.closed.insert(decision_id.clone());
                }
            }
            Change::CountAnswer(using) => self.callers.answered(using),
            _ => {} // `fits` lets nothing else through
        }
    }

    async fn write(self, tx: &mut Transaction, replica: &str) -> Result<(), StoreError> {
        self.callers.write(tx).await?;
        let seen: Vec<_> = self.seen.into_iter().collect();
        for people in portions(&seen) {
            let places = places(people.len(), 6);
            let sql = format!(
                "INSERT INTO subject (pseudonym, person_group, revision, restricted, deceased, seen_us) VALUES {places}
                 ON CONFLICT (pseudonym) DO UPDATE SET seen_us = excluded.seen_us"
            );
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (name, seen_us) in people {
                insert = insert.bind(name).bind(name).bind(0_i64).bind(0_i64).bind(0_i64).bind(*seen_us);
            }
            insert.execute(&mut **tx).await?;
        }
        let known: Vec<_> = self.known.into_iter().collect();
        for identifiers in portions(&known) {
            let places = places(identifiers.len(), 2);
            let sql = format!("INSERT INTO subject_identifier (lookup_hash, pseudonym) VALUES {places}");
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (hash, name) in identifiers {
                insert = insert.bind(hash.as_slice()).bind(name);
            }
            insert.execute(&mut **tx).await?;
        }
        for contexts in portions(&self.contexts) {
            let places = places(contexts.len(), 3);
            let sql = format!("INSERT INTO used_context (issuer, jti, expires_us) VALUES {places}");
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (issuer, jti, expires_us) in contexts {
                insert = insert.bind(issuer).bind(jti).bind(*expires_us);
            }
            insert.execute(&mut **tx).await?;
        }
        if !self.closed.is_empty() {
            let closed: Vec<_> = self.closed.into_iter().collect();
            sqlx::query("DELETE FROM open_intent WHERE decision_id IN (SELECT value FROM json_each($1))")
                .bind(to_list(&closed))
                .execute(&mut **tx)
                .await?;
        }
        let opened: Vec<_> = self.opened.into_iter().collect();
        for intents in portions(&opened) {
            let places = places(intents.len(), 3);
            let sql = format!("INSERT INTO open_intent (decision_id, at_us, replica) VALUES {places}");
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (decision_id, at_us) in intents {
                insert = insert.bind(decision_id).bind(*at_us).bind(replica);
            }
            insert.execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// What has to be read for a run.
#[derive(Default)]
struct Asked<'a> {
    names: BTreeSet<&'a str>,
    hashes: BTreeSet<String>,
    agreements: BTreeSet<&'a str>,
    policies: bool,
    checks: bool,
    closing: BTreeSet<&'a str>,
    contexts: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Asked<'a> {
    fn add(&mut self, submission: &'a Submission) {
        if let Some(recheck) = &submission.recheck {
            self.names.extend(recheck.names.iter().map(|(name, _)| name.as_str()));
            self.agreements.extend(recheck.agreement.iter().map(|(id, _)| id.as_str()));
            self.policies |= recheck.agreement.is_some() || recheck.policies.is_some();
            self.checks |= recheck.opt_outs.is_some();
        }
        for change in &submission.changes {
            match change {
                Change::KnowSubject(resolved) => {
                    self.names.insert(resolved.pseudonym.as_str());
                    self.hashes.insert(hexadecimal(&resolved.lookup_hash));
                }
                Change::CloseIntent(decision_id) => {
                    self.closing.insert(decision_id);
                }
                _ => {}
            }
        }
        if let Some(guard) = &submission.replay {
            self.contexts.insert((&guard.issuer, &guard.jti));
        }
    }
}

fn listed(values: BTreeSet<&str>) -> String {
    to_list(&values.into_iter().collect::<Vec<_>>())
}
