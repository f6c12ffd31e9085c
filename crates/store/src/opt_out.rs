//! National data opt-out checks: batches for one purpose that expire, looked up by a hash that can be joined with
//! nothing else here. Whether somebody opted out is used in a decision and never shown.

use jiff::Timestamp;
use sharing::{NhsNumber, PurposeClass, SubjectIdentifier, SubjectScheme, subject::OptOut};

use crate::{database::Transaction, error::StoreError, lookup::LookupKey};

/// The answers of one check, with every NHS number already hashed.
#[derive(Debug, Clone)]
pub struct OptOutBatch {
    /// Its name: random.
    pub id: String,
    /// The purpose that it was made for.
    pub purpose: PurposeClass,
    /// First instant at which it says nothing any more.
    pub expires_at: Timestamp,
    /// Everybody who was checked, with whether they were taken out.
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

/// What the checks in force say. Of several batches the strictest counts; of several NHS numbers too.
pub(crate) async fn look_up(
    tx: &mut Transaction,
    key: &LookupKey,
    purpose: PurposeClass,
    identifiers: &[SubjectIdentifier],
    at: Timestamp,
) -> Result<OptOut, StoreError> {
    let mut answer = OptOut::NotChecked;
    for identifier in identifiers.iter().filter(|one| *one.scheme() == SubjectScheme::NhsNumber) {
        let Ok(number) = identifier.as_str().parse::<NhsNumber>() else { continue };
        let opted_out: Option<i64> = sqlx::query_scalar(
            "SELECT max(opted_out) FROM opt_out_checked JOIN opt_out_batch ON opt_out_batch.id = opt_out_checked.batch
             WHERE person_hash = $1 AND purpose = $2 AND imported_us <= $3 AND expires_us > $3",
        )
        .bind(key.opt_out_hash(purpose, &number).0)
        .bind(purpose.as_str())
        .bind(at.as_microsecond())
        .fetch_one(&mut **tx)
        .await?;
        answer = match (answer, opted_out) {
            (OptOut::OptedOut, _) | (_, Some(1..)) => OptOut::OptedOut,
            (_, Some(_)) => OptOut::Clear,
            (answer, None) => answer,
        };
    }
    Ok(answer)
}
