//! What an organisation's webhook was not told yet of the steps of its agreements, or could not be.

use store::{Change, DeliveryRow, Messages};

use super::{
    App, Arc, Body, IntoResponse, Json, Received, Refusal, Request, Response, Serialize, State, ToSchema,
    commit, internal, receive, request_id, respond, time,
};

/// Messages.
#[derive(Serialize, ToSchema)]
pub struct StepDeliveriesBody {
    /// At most 200, those that were given up first.
    deliveries: Vec<StepDeliveryBody>,
}

/// A message about a step.
#[derive(Serialize, ToSchema)]
pub struct StepDeliveryBody {
    /// The agreement.
    agreement: String,
    /// The step's number.
    revision: String,
    /// `waiting` or `dead`.
    state: String,
    /// How often it was tried.
    attempts: i64,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// See the messages to your webhook about agreements that wait or were given up.
#[utoipa::path(get, path = "/v1/agreements/deliveries", tag = "agreements",
    responses((status = 200, description = "The messages", body = StepDeliveriesBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        answer(&app, &received, "agreement deliveries", Vec::new()).await
    })
    .await
}

/// Try again what was given up.
#[utoipa::path(post, path = "/v1/agreements/deliveries/retry", tag = "agreements",
    responses((status = 200, description = "The messages as they wait now", body = StepDeliveriesBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn retry(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let again = Change::RetryDeliveries(received.caller.organisation.clone(), Messages::Agreements);
        answer(&app, &received, "agreement deliveries, tried again", vec![again]).await
    })
    .await
}

async fn answer(
    app: &App,
    received: &Received,
    what: &str,
    changes: Vec<Change>,
) -> Result<Response, Refusal> {
    let caller = &received.caller;
    let entry = Body::DecisionRead { of: "agreements".to_owned(), what: what.to_owned(), by: caller.actor() };
    commit(app, received, entry, changes).await?;
    let rows = app.store.agreement_deliveries(&caller.organisation).await;
    let rows = rows.map_err(|error| Refusal::from(internal(&error)))?;
    let deliveries = rows.into_iter().map(|row: DeliveryRow| StepDeliveryBody {
        next_at: (row.state == "waiting").then(|| time(row.next_us)),
        agreement: row.subject,
        revision: row.event,
        state: row.state,
        attempts: row.attempts,
        fault: row.fault,
    });
    Ok(Json(StepDeliveriesBody { deliveries: deliveries.collect() }).into_response())
}
