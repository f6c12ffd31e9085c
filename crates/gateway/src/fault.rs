//! What failed, as callers are told of it: what our own parts say becomes a [`Problem`], and is logged where it is a fault of ours.

use store::CommitError;

use crate::problem::Problem;

/// What a record holder that failed means to the caller.
pub fn provider_problem(fault: connectors::FetchFault) -> Problem {
    use connectors::FetchFault::{
        Busy, Crowded, NoRoute, NotFound, OutOfReach, Resting, Status, TimedOut, TooLarge, Unexpected,
        Unreachable,
    };
    match fault {
        NotFound => Problem::NoRecordAvailable,
        NoRoute | Unreachable | TimedOut | Busy | Status(_) | Crowded | Resting | OutOfReach => {
            Problem::ProviderUnavailable
        }
        Unexpected | TooLarge => Problem::ProviderAnswerRefused,
    }
}

/// What a failed commit means to the caller.
pub fn commit_problem(error: CommitError) -> Problem {
    match error {
        CommitError::Changed => Problem::Unsettled,
        CommitError::Replayed => Problem::ContextReplayed,
        CommitError::NotOpen => Problem::TookTooLong,
        CommitError::NotFound => Problem::WrongState("it has moved on in the meantime; read it again"),
        CommitError::CeilingReached => Problem::CeilingReached,
        CommitError::BudgetReached => Problem::BudgetReached,
        CommitError::Throttled => Problem::Throttled,
        CommitError::TooLarge => Problem::InvalidRequest(
            "what this says is more than one entry may hold; send it in parts".to_owned(),
        ),
        CommitError::Unavailable => Problem::LedgerUnavailable,
    }
}

/// Logs a fault of ours once, and says nothing of it to the caller but whether it is worth asking again.
pub fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if causes.any(|error| error.downcast_ref().is_some_and(store::StoreError::is_outage)) {
        tracing::error!(%error, "the database does not answer a request");
        return Problem::StoreUnavailable;
    }
    inconsistent(&error)
}

/// Logs once that something is not as this program left it, and says nothing of it to the caller.
pub fn inconsistent(what: &dyn std::fmt::Display) -> Problem {
    tracing::error!(error = %what, "a request could not be worked on");
    Problem::Internal
}
