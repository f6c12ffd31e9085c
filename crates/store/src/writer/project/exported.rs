//! The table of exports.

use super::{Tx, execute};
use crate::{
    error::StoreError,
    exported::{ExportMove, ExportRow},
};

pub(super) async fn open_export(tx: &mut Tx, row: &ExportRow) -> Result<(), StoreError> {
    let insert = "INSERT INTO export_request (id, organisation, requested_by, format, filter, purpose,
            case_reference, state, requested_us, expires_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let insert = sqlx::query(insert).bind(&row.id).bind(&row.organisation).bind(&row.requested_by);
    let insert = insert.bind(&row.format).bind(&row.filter).bind(&row.purpose);
    let insert = insert.bind(&row.case_reference).bind(&row.state);
    execute(tx, insert.bind(row.requested_us).bind(row.expires_us)).await
}

pub(super) async fn move_export(tx: &mut Tx, step: &ExportMove) -> Result<(), StoreError> {
    let (organisation, person) = step.decided_by.clone().unzip();
    let update = "UPDATE export_request SET state = $1,
            decider_organisation = coalesce($2, decider_organisation), decided_by = coalesce($3, decided_by),
            expires_us = coalesce($4, expires_us), manifest = coalesce($5, manifest) WHERE id = $6";
    let update = sqlx::query(update).bind(step.to).bind(organisation).bind(person);
    execute(tx, update.bind(step.expires_us).bind(&step.manifest).bind(&step.id)).await
}
