//! The ledger in other systems' formats: Parquet for analysis, FHIR AuditEvent for health records' audit repositories,
//! OCSF for security monitoring.
//!
//! These are for reading. What proves anything are the leaves themselves (NDJSON, tiles): every row and event here has its
//! leaf's place and hash, by which it is found there. Nothing of this is part of the verifier.

pub mod audit_event;
pub mod ocsf;
pub mod table;

/// Microseconds since 1970 as RFC 3339 in UTC.
fn rfc3339(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us).map(|at| at.to_string()).unwrap_or_default()
}
