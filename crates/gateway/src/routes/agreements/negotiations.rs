//! Negotiations with other organisations' connectors (Dataspace Protocol), for the people who decide what is answered.

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::Map;
use sharing::agreement::{
    dataspace::{Exchange, Message},
    lifecycle::Command,
};
use store::{Change, MatterRow, Submission};

use super::{
    App, Arc, Deserialize, Hand, IntoResponse, Json, ManagedRow, Path, Problem, Receipt, Received, Refusal,
    Refused, Request, Response, Serialize, State, StatusCode, StepError, Terms, ToSchema, Value, Wanted,
    agreements,
    comments::{self, SaidBody},
    found, hand, internal, named, receive, record_read, request_id, respond, settle, shape,
    step::{self, CounterReason},
    wanted,
};
use crate::{
    agreements::matters::{self, Moved, Said},
    dataspace,
};

/// A step of a negotiation, by the provider's people.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NegotiationStep {
    /// Offer the version of the agreement that is on the table now.
    Offer {},
    /// Take what the consumer asks for as a new version of the agreement: a counter-proposal of yours, to which nobody has agreed.
    Adopt {
        /// Why.
        reason: CounterReason,
        /// In words.
        text: String,
    },
    /// End it. What is in force goes on.
    Terminate {
        /// Why, in words. They are sent to the consumer.
        text: String,
    },
    /// Send the newest message again that was given up.
    SendAgain {},
}

/// A negotiation with a connector.
#[derive(Serialize, ToSchema)]
pub struct NegotiationBody {
    /// Its name.
    id: String,
    /// The provider's name for it in the protocol.
    provider_pid: String,
    /// How many steps it has taken. Send it as `If-Match`, in quotes.
    revision: i64,
    /// `REQUESTED`, `OFFERED`, `ACCEPTED`, `AGREED`, `VERIFIED`, `FINALIZED` or `TERMINATED`.
    state: String,
    /// Whose connector it is.
    consumer: String,
    /// The version that is on the table.
    version: u32,
    /// The terms that the consumer asks for in its place, as they would be offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    asked: Option<Value>,
    /// The newest message to the consumer: `waiting`, `delivered`, `dead`, or `off` where another took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// What went wrong with it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// What was done, the oldest first.
    thread: Vec<SaidBody>,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Negotiations.
#[derive(Serialize, ToSchema)]
pub struct NegotiationsBody {
    /// At most 500, the oldest first.
    negotiations: Vec<NegotiationBody>,
}

/// List the negotiations with connectors about an agreement.
#[utoipa::path(get, path = "/v1/agreements/{id}/negotiations", tag = "agreements", params(("id" = String, Path, description = "The agreement")),
    responses((status = 200, description = "The negotiations", body = NegotiationsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn list(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, "/v1/agreements/{id}/negotiations").await?;
        record_read(&app, &received, &row.id).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| Refusal::from(internal(error));
        let mut negotiations = Vec::new();
        for row in app.store.matters(&named(&row)?, "negotiation").await.map_err(|error| failed(&error))? {
            negotiations.push(body(&app, &row, None).await.map_err(|error| failed(&error))?);
        }
        Ok(Json(NegotiationsBody { negotiations }).into_response())
    })
    .await
}

/// See a negotiation.
#[utoipa::path(get, path = "/v1/agreements/{id}/negotiations/{negotiation}", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("negotiation" = String, Path, description = "The negotiation")),
    responses((status = 200, description = "The negotiation; `ETag` is its revision", body = NegotiationBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path((id, negotiation)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/negotiations/{negotiation}";
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let about = (&row, negotiation.as_str(), "negotiation");
        let matter = comments::found_matter(&app, &received, about, route).await?;
        record_read(&app, &received, &matter.id).await?;
        let shown = body(&app, &matter, None).await.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(tagged(&shown))
    })
    .await
}

/// Take a step of a negotiation, for the organisation whose data it is about. Every step needs `If-Match`.
#[utoipa::path(post, path = "/v1/agreements/{id}/negotiations/{negotiation}/steps", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("negotiation" = String, Path, description = "The negotiation")), request_body = NegotiationStep,
    responses((status = 200, description = "The negotiation after it; `ETag` is its revision", body = NegotiationBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Somebody else has to do it"),
        (status = 404, description = "There is none, or it is not yours to see"), (status = 409, description = "It is not possible in this state"),
        (status = 412, description = "It has changed since it was read"), (status = 428, description = "If-Match is missing")))]
pub async fn take(
    State(app): State<Arc<App>>,
    Path((id, negotiation)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/negotiations/{negotiation}/steps";
        let headers: HeaderMap = request.headers().clone();
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let about = (&row, negotiation.as_str(), "negotiation");
        let matter = comments::found_matter(&app, &received, about, route).await?;
        let asked = received.json::<Value>(app.limits.body_bytes_max).await;
        let work = async {
            let asked: NegotiationStep =
                shape(&asked.map_err(Refused::Problem)?).map_err(Refused::Problem)?;
            let read_at = step::revision(headers.get(header::IF_MATCH), false).map_err(Refused::Problem)?;
            if read_at != Some(matter.revision) {
                return Err(Refused::Problem(Problem::VersionMismatch));
            }
            let hand = hand(&app, &received, &named(&row).map_err(Refused::Problem)?).await?;
            let whose = Whose { app: &app, received: &received, hand: &hand };
            let (row, receipt) = match asked {
                NegotiationStep::SendAgain {} => (whose.send_again(&matter).await?, None),
                asked => {
                    let moved = Box::pin(whose.step(asked, (&row, &matter))).await?;
                    let name = format!("{}/{}", moved.row.id, moved.row.revision);
                    let receipt = Receipt::of(&name, &moved.committed);
                    (moved.row, Some(receipt))
                }
            };
            Ok(tagged(&body(&app, &row, receipt).await?))
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

/// Who takes a step.
struct Whose<'a> {
    app: &'a App,
    received: &'a Received,
    hand: &'a Hand,
}

impl Whose<'_> {
    async fn step(
        &self,
        asked: NegotiationStep,
        (row, matter): (&ManagedRow, &MatterRow),
    ) -> Result<Moved<Exchange>, Refused> {
        let words = |text: &str| comments::words(&[("text", Some(text))]).map_err(Refused::Problem);
        match asked {
            NegotiationStep::Adopt { reason, text } => {
                let (version, countered) = self.adopt((row, matter), (reason, &text)).await?;
                let decide = |exchange: Exchange, _| Ok((exchange.adopt(version, self.hand)?, "adopted"));
                let said = |_: &Exchange| {
                    let said = self.said(Map::new());
                    // A counter-proposal has used the signed context up.
                    Ok(if countered { Said { replay: None, ..said } } else { said })
                };
                Ok(matters::take(self.app, &matter.id, Some(matter.revision), decide, said).await?)
            }
            NegotiationStep::Terminate { text } => {
                let written = words(&text)?;
                let decide =
                    |exchange: Exchange, _| Ok((exchange.end(self.hand)?, Message::Terminate.as_str()));
                let said = |exchange: &Exchange| {
                    let tells_peer = Some(exchange.consumer.clone());
                    Ok(Said { tells_peer, ..self.said(written.clone()) })
                };
                Ok(matters::take(self.app, &matter.id, Some(matter.revision), decide, said).await?)
            }
            NegotiationStep::Offer {} | NegotiationStep::SendAgain {} => {
                let exchange: Exchange = matters::read(matter)?;
                let on_offer = dataspace::offered_of(self.app, row, &exchange).await?;
                let version = on_offer.map(|found| found.version);
                let version = version.ok_or(Refused::Problem(Problem::WrongState(
                    "nothing of this flow is on offer to this consumer; propose it first, or end the negotiation",
                )))?;
                let decide = |exchange: Exchange, _| {
                    Ok((exchange.offer(version, self.hand)?, Message::Offer.as_str()))
                };
                let said = |exchange: &Exchange| {
                    Ok(Said { tells_peer: Some(exchange.consumer.clone()), ..self.said(Map::new()) })
                };
                Ok(matters::take(self.app, &matter.id, Some(matter.revision), decide, said).await?)
            }
        }
    }

    fn said(&self, written: Map<String, Value>) -> Said<'_> {
        Said { written, ..comments::by(self.received, self.hand) }
    }

    /// Counters with what the consumer asks for, unless that is on the table already. Returns the version that has it, and whether it
    /// was countered with.
    async fn adopt(
        &self,
        (row, matter): (&ManagedRow, &MatterRow),
        (reason, text): (CounterReason, &str),
    ) -> Result<(u32, bool), Refused> {
        let exchange: Exchange = matters::read(matter)?;
        exchange.may_adopt(self.hand).map_err(StepError::from)?;
        comments::words(&[("text", Some(text))]).map_err(Refused::Problem)?;
        let managed = agreements::read(row)?;
        let (id, next) = (named(row).map_err(Refused::Problem)?, managed.latest + 1);
        let asked = asked(self.app, (&id, managed.latest), &exchange).await?;
        let asked = asked.ok_or_else(|| StepError::Kept("nothing is asked for".to_owned()))?;
        let invalid = |error: sharing::agreement::terms::TermsError| {
            Refused::Problem(Problem::InvalidRequest(error.to_string()))
        };
        let terms = Terms::offered(&id, next, asked).map_err(invalid)?;
        let same = agreements::canonical(&terms.as_version(managed.latest))?.1;
        if managed.outline().is_some_and(|outline| outline.terms_sha256 == same) {
            return Ok((managed.latest, false));
        }
        let outline = agreements::outline(&self.app.policies().set, &terms)?;
        let counter = Wanted {
            command: Some(Command::Counter(outline)),
            read_at: Some(row.revision),
            reason: Some(reason.as_str().to_owned()),
            written: Some(text.to_owned()),
            terms: Some(terms),
            ..wanted(self.received, self.hand)
        };
        agreements::take(self.app, &id, &counter).await?;
        Ok((next, true))
    }

    /// Has a message tried again that was given up.
    async fn send_again(&self, matter: &MatterRow) -> Result<MatterRow, Refused> {
        let exchange: Exchange = matters::read(matter)?;
        exchange.decides(self.hand).map_err(StepError::from)?;
        let row = self.app.store.peer_delivery(&matter.id, matter.revision).await?;
        let mut row = row
            .filter(|row| row.state == "dead")
            .ok_or(Refused::Problem(Problem::WrongState("no message of this negotiation was given up")))?;
        "waiting".clone_into(&mut row.state);
        row.attempts = 0;
        row.next_us = self.app.clock.now().as_microsecond();
        let entry = ledger::entry::Body::DecisionRead {
            of: matter.id.clone(),
            what: "negotiation, sent again".to_owned(),
            by: self.received.caller.actor(),
        };
        let mut submission = Submission::of(self.app.clock.now(), vec![entry]);
        submission.replay = Some(self.received.replay_guard());
        submission.changes.push(Change::MoveDelivery(Box::new(row)));
        self.app.store.commit(submission).await.map_err(|_| StepError::Unavailable)?;
        Ok(matter.clone())
    }
}

/// What the consumer asks for, as terms in the place of this version's.
async fn asked(
    app: &App,
    (id, version): (&sharing::AgreementId, u32),
    exchange: &Exchange,
) -> Result<Option<Value>, StepError> {
    let Some(asked) = &exchange.asked else { return Ok(None) };
    let kept = app.store.terms(id, version).await?;
    let kept = kept.ok_or_else(|| StepError::Kept("the terms of a version are not kept".to_owned()))?;
    let terms = Terms::kept(&kept.terms).map_err(|error| StepError::Kept(error.to_string()))?;
    asked.apply(&terms).map(Some).map_err(|fault| StepError::Terms(fault.to_string()))
}

async fn body(app: &App, row: &MatterRow, receipt: Option<Receipt>) -> Result<NegotiationBody, StepError> {
    let exchange: Exchange = matters::read(row)?;
    let steps = app.store.matter_steps(&row.id).await?;
    let message = app.store.peer_delivery(&row.id, row.revision).await?;
    let id = row.agreement.parse().map_err(|_| StepError::Kept("an agreement without a name".to_owned()))?;
    let asked = asked(app, (&id, exchange.version), &exchange).await?;
    let (message, fault) = message.map(|message| (message.state, message.fault)).unzip();
    Ok(NegotiationBody {
        id: row.id.clone(),
        provider_pid: dataspace::provider_pid(&row.id),
        revision: row.revision,
        state: row.state.clone(),
        consumer: exchange.consumer.to_string(),
        version: exchange.version,
        asked,
        message,
        fault: fault.flatten(),
        thread: steps.iter().map(SaidBody::of).collect(),
        receipt,
    })
}

fn tagged(body: &NegotiationBody) -> Response {
    let mut response = (StatusCode::OK, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", body.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
