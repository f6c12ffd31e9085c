//! What an organisation's webhook was not told yet of the steps of its agreements, or could not be.

use store::{Change, DeliveryRow, Messages};

use super::{
    App, Arc, Body, IntoResponse, Json, Received, Refusal, Request, Response, Serialize, State, ToSchema,
    commit, internal, receive, request_id, respond,
};
use crate::routes::alert_rules::DeliveryStanding;

/// Messages.
#[derive(Serialize, ToSchema)]
pub struct StepDeliveriesBody {
    /// At most 200, those that were given up first.
    deliveries: Vec<StepDeliveryBody>,
}

/// A message about a step of an agreement, or of something beside its course.
#[derive(Serialize, ToSchema)]
pub struct StepDeliveryBody {
    /// The agreement, where it is about a step of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<String>,
    /// The comment, dispute or negotiation, where it is about a step of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    matter: Option<String>,
    /// The step's number.
    revision: String,
    /// `webhook`, or `dataspace` for a message to your connector.
    channel: String,
    #[serde(flatten)]
    standing: DeliveryStanding,
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
    let deliveries = rows.into_iter().map(|row: DeliveryRow| {
        let is_step = row.about == "agreement";
        StepDeliveryBody {
            standing: DeliveryStanding::of(&row),
            agreement: is_step.then(|| row.subject.clone()),
            matter: (!is_step).then_some(row.subject),
            revision: row.event,
            channel: row.channel,
        }
    });
    Ok(Json(StepDeliveriesBody { deliveries: deliveries.collect() }).into_response())
}
