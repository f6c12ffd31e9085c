//! Persistence: the ledger's tables, and the projections that are written in the same transaction.
//!
//! Everything that changes anything goes through [`Store::commit`], where one writer appends to the ledger,
//! re-checks what a release rests on, and updates the projections, all or nothing. Reads are separate and never
//! cached. Only this crate names sqlx; it never calls out and never sees a record.

#[macro_use]
mod columns;

mod agreement_use;
mod agreements;
mod alerting;
mod audit;
mod backup;
mod blocks;
mod caller_use;
mod change;
mod console_kept;
mod console_sessions;
mod database;
pub mod durable;
mod error;
mod exported;
mod fact;
pub mod failpoint;
pub mod figures;
mod in_place;
pub mod loading;
mod lookup;
mod matters;
pub mod migrating;
mod observed;
mod open;
mod opt_out;
mod presence;
pub mod privacy;
mod projected;
mod queue;
mod reader;
mod recent;
mod replicas;
mod rights;
mod row;
#[cfg(any(test, feature = "failpoints"))]
pub mod scratch;
mod sealing;
mod signing_keys;
mod subjects;
mod tiles;
pub mod trail;
pub mod visibility;
mod watch;
mod writer;

pub use agreement_use::UseCount;
pub use agreements::{
    AgreementMove, ManagedRow, OfficerMove, OfficerRow, RequestRow, SignatureRow, StepRow, TermsRow,
};
pub use alerting::{AlertCount, DeliveryRow, MarkRow, Messages};
pub use audit::{Archive, Head, StoredLeaf};
pub use blocks::{BlockRow, LeafSource};
pub use caller_use::{AnswerUse, CallerLimits, CallerUse, GuessLimits, Neighbours, SYSTEM_SCANS};
pub use change::{AgreementRow, Ceiling, Change, Recheck, ReplayGuard, Submission};
pub use console_kept::KeptRow;
pub use console_sessions::SessionRow;
pub use database::Database;
pub use error::{CommitError, StoreError};
pub use exported::{ExportMove, ExportRow};
pub use fact::{Fact, FactRow};
pub use lookup::{LookupKey, Resolved};
pub use matters::{MatterMove, MatterRow, MatterStepRow};
pub use observed::Batch;
pub use open::{Settings, Store};
pub use opt_out::{OptOutBatch, OptOutCheck, OptOutChecks, OptOutHash};
pub use projected::Projected;
pub use queue::{AlertMove, AlertRow, ReferralMessage, ReferralMove, ReferralRow};
pub use reader::{Held, LookUp, MarksWanted};
pub use recent::Written;
pub use replicas::{BEAT_EVERY, SILENT_MAX, Watch};
pub use rights::{RightsMove, RightsRow};
pub use row::{ConsentRow, ObjectionRow};
pub use sealing::WrappingKeys;
pub use signing_keys::{Handover, SigningKeyRow};
pub use subjects::{About, Recorded};
pub use writer::{Committed, synced_copy};

#[cfg(test)]
mod plans;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod tests;
