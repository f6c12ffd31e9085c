//! Requests to take entries away. One person asks, another approves, the first downloads it.

use jiff::Timestamp;
use sharing::OrganisationId;

use crate::{error::StoreError, open::Store};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// Its name.
    pub id: String,
    /// The organisation of whoever asks.
    pub organisation: String,
    /// Who asks: a practitioner of that organisation.
    pub requested_by: String,
    /// The format.
    pub format: String,
    /// Which entries, as JSON.
    pub filter: String,
    /// For what.
    pub purpose: String,
    /// The case.
    pub case_reference: String,
    /// `requested`, `approved`, `refused`, `ready`, `failed` or `expired`.
    pub state: String,
    /// When it was asked for.
    pub requested_us: i64,
    /// First instant at which it can neither be approved nor downloaded any more.
    pub expires_us: i64,
    /// The organisation of whoever decided.
    pub decider_organisation: Option<String>,
    /// Who approved or refused.
    pub decided_by: Option<String>,
    /// The manifest of the file that is ready, as JSON.
    pub manifest: Option<String>,
}

columns!(ExportRow {
    id,
    organisation,
    requested_by,
    format,
    filter,
    purpose,
    case_reference,
    state,
    requested_us,
    expires_us,
    decider_organisation,
    decided_by,
    manifest
});

/// A step. It is taken only from the state named.
#[derive(Debug, Clone)]
pub struct ExportMove {
    /// Which.
    pub id: String,
    /// The state from which it may be taken.
    pub from: &'static str,
    /// The state it leads to.
    pub to: &'static str,
    /// Who of which organisation decided.
    pub decided_by: Option<(String, String)>,
    /// When it expires from now on.
    pub expires_us: Option<i64>,
    /// The manifest.
    pub manifest: Option<String>,
}

/// Most rows in one list.
const LIST_MAX: i64 = 200;

impl Store {
    /// One request.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn export(&self, id: &str) -> Result<Option<ExportRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM export_request WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// An organisation's requests, or everybody's, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn exports(&self, of: Option<&OrganisationId>) -> Result<Vec<ExportRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM export_request WHERE CAST($1 AS TEXT) IS NULL OR organisation = $1
             ORDER BY requested_us DESC, id LIMIT $2",
        );
        Ok(rows.bind(of.map(OrganisationId::as_str)).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }
    /// Requests that were approved and have no file yet, and files whose time is over.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn exports_to_work_on(&self, at: Timestamp) -> Result<Vec<ExportRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM export_request WHERE state = 'approved' OR (state = 'ready' AND expires_us <= $1)
             ORDER BY requested_us, id LIMIT $2",
        );
        Ok(rows.bind(at.as_microsecond()).bind(LIST_MAX).fetch_all(&self.readers).await?)
    }
}
