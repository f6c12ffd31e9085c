//! The record of processing activities (UK GDPR Art 30) of the caller's organisation, as far as it is sharing under the
//! agreements in force here.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use sharing::{Agreement, OrganisationId, PolicySet, agreement::DataFlow, explain};
use utoipa::ToSchema;

use super::{
    agreements::{receive, record_read},
    consents::respond,
};
use crate::{
    agreements::{document, register},
    app::App,
    edge::request_id,
    fault::internal,
    problem::Refusal,
};

/// A record of processing activities.
#[derive(Serialize, ToSchema)]
pub struct RopaBody {
    /// The controller.
    controller: String,
    /// Whom to ask there.
    contact: String,
    /// What it shares and receives under the agreements in force here. What it does besides is in its own record.
    activities: Vec<Activity>,
}

/// A processing activity (Art 30(1)).
#[derive(Serialize, ToSchema)]
pub struct Activity {
    /// The agreement and flow.
    reference: String,
    /// `discloses` or `receives`.
    role: &'static str,
    /// The purpose (b).
    purpose: String,
    /// Categories of data subjects (c).
    data_subjects: String,
    /// Categories of personal data (c).
    categories: Vec<&'static str>,
    /// What is shared.
    items: Vec<String>,
    /// The other party: the recipient (d), or the source.
    counterparty: String,
    /// Transfers to a third country (e).
    transfers: &'static str,
    /// The time limit for erasure (f), in days after receipt.
    retain_days: u16,
    /// Security measures (g).
    security: &'static str,
    /// The legal basis, with the condition for special categories (DPA 2018 Sch 1 para 41).
    basis: String,
    /// The impact assessment.
    assessment: String,
    /// First day on which it is not current any more.
    assessment_current_until: String,
}

/// Your organisation's record of processing activities (UK GDPR Art 30), from the agreements in force.
#[utoipa::path(get, path = "/v1/ropa", tag = "agreements",
    responses((status = 200, description = "The record", body = RopaBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn json(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async { Ok(Json(made(&app, request).await?).into_response()) })
        .await
}

/// The same as a table.
#[utoipa::path(get, path = "/v1/ropa.csv", tag = "agreements",
    responses((status = 200, description = "The table", content_type = "text/csv"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn csv(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let ropa = made(&app, request).await?;
        let columns = [
            "controller",
            "contact",
            "reference",
            "role",
            "purpose",
            "data_subjects",
            "categories",
            "items",
            "counterparty",
            "transfers",
            "retain_days",
            "security",
            "basis",
            "assessment",
            "assessment_current_until",
        ];
        let mut lines = vec![columns.map(str::to_owned).to_vec()];
        lines.extend(ropa.activities.iter().map(|activity| {
            vec![
                ropa.controller.clone(),
                ropa.contact.clone(),
                activity.reference.clone(),
                activity.role.to_owned(),
                activity.purpose.clone(),
                activity.data_subjects.clone(),
                activity.categories.join(" "),
                activity.items.join("; "),
                activity.counterparty.clone(),
                activity.transfers.to_owned(),
                activity.retain_days.to_string(),
                activity.security.to_owned(),
                activity.basis.clone(),
                activity.assessment.clone(),
                activity.assessment_current_until.clone(),
            ]
        }));
        let text = register::table(&lines).map_err(|error| Refusal::from(internal(&error)))?;
        Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response())
    })
    .await
}

async fn made(app: &App, request: Request) -> Result<RopaBody, Refusal> {
    let received = receive(app, request).await?;
    record_read(app, &received, "ropa").await?;
    let set = app.policies().set;
    let own = &received.caller.organisation;
    let at = app.clock.now();
    let in_force = set.agreements().filter(|agreement| register::is_in_force(agreement, at));
    let activities = in_force.flat_map(|agreement| {
        let set = &set;
        agreement.flows.iter().flat_map(move |flow| activities(set, agreement, flow, own))
    });
    let mut activities: Vec<_> = activities.collect();
    activities.sort_unstable_by(|one, other| one.reference.cmp(&other.reference));
    let organisation = set.organisation(own);
    Ok(RopaBody {
        controller: explain::organisation(&set, own.as_str()),
        contact: organisation.map(|known| known.contact.clone()).unwrap_or_default(),
        activities,
    })
}

/// What an organisation does in a flow: nothing, one of both, or both where it asks itself.
fn activities(
    set: &PolicySet,
    agreement: &Agreement,
    flow: &DataFlow,
    own: &OrganisationId,
) -> Vec<Activity> {
    let provider = set.provider(flow.provider.get_ref());
    let discloses = provider.is_some_and(|provider| provider.organisation() == own);
    let receives = flow.recipient.get_ref() == own;
    let items = flow.items.iter().filter_map(|listed| provider?.item(listed.item.get_ref()));
    let mut categories: Vec<_> = items.map(|item| item.category).collect();
    categories.sort_unstable();
    categories.dedup();
    let roles = [("discloses", discloses), ("receives", receives)];
    let activities = roles.into_iter().filter(|(_, plays)| *plays).map(|(role, _)| {
        let line = document::flow_line(set, flow);
        let (counterparty, basis) = match role {
            "discloses" => (line.to, line.provider_basis),
            _ => (line.from, line.recipient_basis),
        };
        Activity {
            reference: format!("{}/{}", agreement.id(), line.id),
            role,
            purpose: line.purpose,
            data_subjects: match flow.cohort.age_from_years {
                Some(years) => format!("people of {years} years or more, known to the provider"),
                None => "people known to the provider".to_owned(),
            },
            categories: categories.iter().map(|category| category.as_str()).collect::<Vec<&'static str>>(),
            items: line.items.into_iter().map(|item| format!("{} ({})", item.title, item.form)).collect(),
            counterparty,
            transfers: "none by the gateway",
            retain_days: line.retain_days,
            security: "TLS with client certificates; decided, minimised and recorded for each request",
            basis,
            assessment: agreement.dpia.reference.clone(),
            assessment_current_until: agreement.dpia.current_until.to_string(),
        }
    });
    activities.collect()
}
