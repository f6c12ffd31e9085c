//! National data opt-out checks: batches for one purpose that expire, looked up by a hash that can be joined with
//! nothing else here. Whether somebody opted out is used in a decision and never shown.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ledger::entry::Body;
use sharing::{
    NhsNumber, PurposeClass, SubjectIdentifier, SubjectScheme, policy::hexadecimal, subject::OptOut,
};

use crate::{
    change::{Change, Submission},
    database::Transaction,
    error::{CommitError, StoreError},
    lookup::LookupKey,
    open::Store,
    row::to_list,
};

/// How many people of a check are taken in, or forgotten, in one transaction: others' commits wait for it.
pub(crate) const PORTION: usize = 2_000;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutCheck {
    /// Its name: random.
    pub id: String,
    /// The purpose that it was made for.
    pub purpose: PurposeClass,
    /// First instant at which it says nothing any more.
    pub expires_at: Timestamp,
}

/// The answers of one check, with every NHS number already hashed.
#[derive(Debug, Clone)]
pub struct OptOutBatch {
    /// Which check.
    pub check: OptOutCheck,
    /// Those who were checked, each once, with whether they were taken out.
    pub checked: Vec<(OptOutHash, bool)>,
}

/// The name of a person in one purpose's checks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptOutHash(pub Vec<u8>);

impl LookupKey {
    /// The name of a person in the checks for this purpose. Another purpose gives another name, and neither is
    /// the one by which the person is looked up.
    pub fn opt_out_hash(&self, purpose: PurposeClass, number: &NhsNumber) -> OptOutHash {
        let parts =
            [b"national-data-opt-out".as_slice(), purpose.as_str().as_bytes(), number.as_str().as_bytes()];
        OptOutHash(self.hash_parts(&parts))
    }
}

/// The batches of checks for a purpose that a decision was made beside. Whoever rests on it rests on no other having come
/// meanwhile: whom a batch is about is known from nothing but its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutChecks {
    /// The purpose.
    pub purpose: PurposeClass,
    /// Their names.
    pub batches: BTreeSet<String>,
}

/// What one check says of a person.
pub(crate) struct RawOptOut {
    pub(crate) person_hash: Vec<u8>,
    pub(crate) purpose: String,
    pub(crate) expires_us: i64,
    pub(crate) opted_out: i64,
}

columns!(RawOptOut { person_hash, purpose, expires_us, opted_out });

/// The names of a person in the checks for a purpose.
pub(crate) fn hashes(
    key: &LookupKey,
    purpose: PurposeClass,
    identifiers: &[SubjectIdentifier],
) -> Vec<OptOutHash> {
    let numbers = identifiers.iter().filter(|one| *one.scheme() == SubjectScheme::NhsNumber);
    let numbers = numbers.filter_map(|number| number.as_str().parse::<NhsNumber>().ok());
    numbers.map(|number| key.opt_out_hash(purpose, &number)).collect()
}

/// What all checks say under these names, which are a list of hexadecimal digits in JSON.
async fn read(tx: &mut Transaction, hashes: String) -> Result<Vec<RawOptOut>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT person_hash, purpose, expires_us, opted_out
         FROM opt_out_checked JOIN opt_out_batch ON opt_out_batch.id = opt_out_checked.batch
         WHERE person_hash IN (SELECT unhex(value) FROM json_each($1)) AND imported_us > 0",
    );
    Ok(rows.bind(hashes).fetch_all(&mut **tx).await?)
}

/// What the checks in force say. Of several batches the strictest counts; of several NHS numbers too. One that was taken in between `at`
/// and the moment that was read counts already.
pub(crate) fn strictest(
    rows: &[RawOptOut],
    hashes: &[OptOutHash],
    purpose: PurposeClass,
    at: Timestamp,
) -> OptOut {
    let at_us = at.as_microsecond();
    let in_force = rows.iter().filter(|row| row.purpose == purpose.as_str() && at_us < row.expires_us);
    let about = in_force.filter(|row| hashes.iter().any(|hash| hash.0 == row.person_hash));
    match about.map(|row| row.opted_out).max() {
        None => OptOut::NotChecked,
        Some(1..) => OptOut::OptedOut,
        Some(_) => OptOut::Clear,
    }
}

/// What the checks in force say of one person.
pub(crate) async fn look_up(
    tx: &mut Transaction,
    key: &LookupKey,
    purpose: PurposeClass,
    identifiers: &[SubjectIdentifier],
    at: Timestamp,
) -> Result<OptOut, StoreError> {
    let hashes = hashes(key, purpose, identifiers);
    let listed: Vec<_> = hashes.iter().map(|hash| hexadecimal(&hash.0)).collect();
    let rows = read(tx, to_list(&listed)).await?;
    Ok(strictest(&rows, &hashes, purpose, at))
}

impl Store {
    /// Takes in a check, a portion at a time, and has it count with the last one, as `entry` says. What was interrupted goes on where
    /// it is begun again. `now` tells the time.
    ///
    /// # Errors
    /// [`CommitError::Changed`] where it counts already. [`CommitError::NotFound`] where a part of it is gone again, as it is when it runs out
    /// meanwhile. [`CommitError`] where the ledger cannot be written.
    pub async fn import_opt_outs(
        &self,
        batch: OptOutBatch,
        entry: Body,
        now: impl Fn() -> Timestamp,
    ) -> Result<(), CommitError> {
        let OptOutBatch { check, checked } = batch;
        for portion in checked.chunks(PORTION) {
            let held = OptOutBatch { check: check.clone(), checked: portion.to_vec() };
            let mut submission = Submission::of(now(), Vec::new());
            submission.changes.push(Change::HoldOptOuts(Box::new(held)));
            self.commit(submission).await?;
        }
        let mut last = Submission::of(now(), vec![entry]);
        last.changes.push(Change::CountOptOuts(check, checked.len() as u64));
        self.commit(last).await.map(drop)
    }

    /// Forgets the checks that have run out, a portion at a time.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or cannot be written.
    pub async fn forget_opt_outs(&self, now: impl Fn() -> Timestamp) -> Result<(), StoreError> {
        loop {
            let run_out =
                "SELECT id FROM opt_out_batch WHERE imported_us = 0 AND expires_us <= $1 ORDER BY id LIMIT 1";
            let run_out = sqlx::query_scalar(run_out).bind(now().as_microsecond());
            let Some(id) = run_out.fetch_optional(&self.readers).await? else { return Ok(()) };
            let mut submission = Submission::of(now(), Vec::new());
            submission.changes.push(Change::ForgetOptOuts(id));
            self.commit(submission).await.map_err(|error| StoreError::Ledger(error.to_string()))?;
        }
    }
}
