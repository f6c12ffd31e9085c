//! Who signs and advises for an organisation. Two of its people put somebody in office: one asks, another confirms.

use super::{
    Action, App, Arc, Body, Capability, Deserialize, IntoResponse, Json, Named, OfficerRow, Path, Problem,
    Receipt, Received, Refusal, Request, Response, Serialize, State, StatusCode, ToSchema, Value, commit,
    internal, receive_any, record_read, request_id, respond, signature, time,
};
use sharing::agreement::SignatoryRole;
use store::{Change, OfficerMove};

/// Somebody to put in office.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfficerRequest {
    /// Who, by your organisation's identifier: the practitioner of the signed context of their requests.
    person: String,
    /// Their name, as agreements print it.
    name: String,
    /// `siro`, `caldicott-guardian` or `iao`, who sign; `dpo`, who advises; `governance-lead` or `board`, who settle disputes.
    #[schema(value_type = String, example = "siro")]
    role: SignatoryRole,
    /// The public key that they sign with, as a JWK: Ed25519 or P-256. Whoever does not sign has none.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    key: Option<Value>,
    /// An e-mail address at which they are told when a dispute comes to their level. What is sent identifies nobody.
    #[serde(default)]
    address: Option<String>,
}

/// An office.
#[derive(Serialize, ToSchema)]
pub struct OfficerBody {
    /// Its name.
    id: String,
    /// The organisation.
    organisation: String,
    /// Who.
    person: String,
    /// Their name.
    name: String,
    /// The role.
    role: String,
    /// The RFC 7638 thumbprint of their key: the `kid` of their signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// Where they are told of disputes at their level. Only your own organisation's are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// `asked`, `registered` or `ended`.
    state: String,
    /// Who asked.
    asked_by: String,
    /// Who confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_by: Option<String>,
    /// When it was asked for.
    asked_at: String,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Offices.
#[derive(Serialize, ToSchema)]
pub struct OfficersBody {
    /// Those in office first.
    officers: Vec<OfficerBody>,
}

/// Ask for somebody of your organisation to be put in office.
#[utoipa::path(post, path = "/v1/agreement-officers", tag = "agreements", request_body = OfficerRequest,
    responses((status = 201, description = "It waits for a second person", body = OfficerBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn ask(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreement-officers";
        let mut received = receive(&app, request, route).await?;
        let asked = received.json::<OfficerRequest>(app.limits.body_bytes_max).await;
        let row = match asked.and_then(|asked| row(&app, &received, asked)) {
            Ok(row) => row,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        if row.person == row.asked_by {
            let problem = Problem::NotAllowed("nobody puts themselves in office; two colleagues do");
            return Err(received.refuse(&app, problem, route).await);
        }
        if let Some(fault) = stands_against(&app, &row).await? {
            let problem = Problem::InvalidRequest(fault.to_owned());
            return Err(received.refuse(&app, problem, route).await);
        }
        let change = Change::MoveOfficer(OfficerMove::Ask(Box::new(row.clone())));
        let receipt = moved(&app, &received, &row, ("asked", change)).await?;
        Ok((StatusCode::CREATED, Json(body(&row, Some(receipt)))).into_response())
    })
    .await
}

/// List your organisation's offices; for auditors and mediators, everybody's.
#[utoipa::path(get, path = "/v1/agreement-officers", tag = "agreements",
    responses((status = 200, description = "The offices", body = OfficersBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = super::receive(&app, request).await?;
        record_read(&app, &received, "agreement-officers").await?;
        let of = (!super::sees_all(&received)).then_some(&received.caller.organisation);
        let rows = app.store.officers(of).await.map_err(|error| Refusal::from(internal(&error)))?;
        let own = received.caller.organisation.as_str();
        let shown = rows.iter().map(|row| OfficerBody {
            address: row.address.clone().filter(|_| row.organisation == own),
            ..body(row, None)
        });
        Ok(Json(OfficersBody { officers: shown.collect() }).into_response())
    })
    .await
}

/// Confirm what a colleague asked for: neither whoever asked nor whoever is to be in office can.
#[utoipa::path(post, path = "/v1/agreement-officers/{id}/confirm", tag = "agreements", params(("id" = String, Path, description = "The office")),
    responses((status = 200, description = "In office", body = OfficerBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Somebody else has to do it"), (status = 404, description = "There is none"), (status = 409, description = "It does not wait any more")))]
pub async fn confirm(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreement-officers/{id}/confirm";
        let received = receive(&app, request, route).await?;
        let row = found(&app, &received, &id, route).await?;
        let who = received.caller.named.id().to_owned();
        let problem = if row.asked_by == who || row.person == who {
            Some(Problem::NotAllowed("a second person puts somebody in office, who is not that person"))
        } else if row.state != "asked" {
            Some(Problem::WrongState("it was confirmed or is over"))
        } else {
            // Somebody else may have been registered with it since, or they in another office.
            stands_against(&app, &row).await?.map(Problem::WrongState)
        };
        if let Some(problem) = problem {
            return Err(received.refuse(&app, problem, route).await);
        }
        let change = Change::MoveOfficer(OfficerMove::Register { id: row.id.clone(), by: who.clone() });
        let receipt = moved(&app, &received, &row, ("registered", change)).await?;
        let row = OfficerRow { state: "registered".to_owned(), registered_by: Some(who), ..row };
        Ok(Json(body(&row, Some(receipt))).into_response())
    })
    .await
}

/// End an office, at once: whoever has left signs nothing any more. Earlier signatures stand.
#[utoipa::path(post, path = "/v1/agreement-officers/{id}/end", tag = "agreements", params(("id" = String, Path, description = "The office")),
    responses((status = 200, description = "Over", body = OfficerBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none"), (status = 409, description = "It is over already")))]
pub async fn end(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreement-officers/{id}/end";
        let received = receive(&app, request, route).await?;
        let row = found(&app, &received, &id, route).await?;
        if row.state == "ended" {
            return Err(received.refuse(&app, Problem::WrongState("it is over already"), route).await);
        }
        let change = Change::MoveOfficer(OfficerMove::End { id: row.id.clone() });
        let receipt = moved(&app, &received, &row, ("ended", change)).await?;
        Ok(Json(body(&OfficerRow { state: "ended".to_owned(), ..row }, Some(receipt))).into_response())
    })
    .await
}

async fn receive(app: &App, request: Request, route: &'static str) -> Result<Received, Refusal> {
    let received = receive_any(app, request, &[(Capability::Approve, Action::Agree)]).await?;
    match &received.caller.named {
        Named::Practitioner { .. } => Ok(received),
        Named::Unattended { .. } => {
            let problem = Problem::NotAllowed("named people put somebody in office; a job does not");
            Err(received.refuse(app, problem, route).await)
        }
    }
}

/// What stands against somebody's holding this office: whose key it is, and the offices that they hold. A person may hold several, and signs in one of them;
/// a data protection officer holds no other, of whose work they would be the judge.
///
/// Source: UK GDPR Art 38(6).
async fn stands_against(app: &App, row: &OfficerRow) -> Result<Option<&'static str>, Refusal> {
    let shared = signature::shared_key(app, row).await.map_err(|error| Refusal::from(internal(&error)))?;
    if shared.is_some() {
        return Ok(shared);
    }
    let of = row.organisation.parse().map_err(|error| Refusal::from(internal(&error)))?;
    let held = app.store.offices(&of, &row.person).await.map_err(|error| Refusal::from(internal(&error)))?;
    let is_dpo = |role: &str| role == SignatoryRole::Dpo.as_str();
    let conflicts = held.iter().any(|office| is_dpo(&office.role) != is_dpo(&row.role));
    Ok(conflicts.then_some(
        "a data protection officer holds no other office of the same organisation (UK GDPR Art 38(6)); end the other first, or name somebody else",
    ))
}

fn row(app: &App, received: &Received, asked: OfficerRequest) -> Result<OfficerRow, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let fits = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
    if !fits(&asked.person, 64) || !fits(&asked.name, 120) {
        return Err(invalid("person, name: 1 to 64 and 1 to 120 characters"));
    }
    let (jwk, key_id) = match (&asked.key, asked.role) {
        (None, role) if !role.approves() => (None, None),
        (Some(_), role) if !role.approves() => {
            return Err(invalid("key: this office signs nothing; leave it out"));
        }
        (None, _) => return Err(invalid("key: whoever signs needs a public key")),
        (Some(key), _) => {
            let (jwk, id) =
                signature::key(key).map_err(|fault| Problem::InvalidRequest(format!("key: {fault}")))?;
            (Some(jwk), Some(id))
        }
    };
    let address = asked.address.filter(|address| !address.trim().is_empty());
    if address
        .as_deref()
        .is_some_and(|address| connectors::notify::mailbox(address).is_err() || !fits(address, 254))
    {
        return Err(invalid("address: an e-mail address, as `lead@council.example.org`"));
    }
    Ok(OfficerRow {
        id: format!("off_{:032x}", app.entropy.bits()),
        organisation: received.caller.organisation.to_string(),
        person: asked.person,
        name: asked.name,
        role: asked.role.as_str().to_owned(),
        key_id,
        jwk,
        address,
        state: "asked".to_owned(),
        asked_by: received.caller.named.id().to_owned(),
        registered_by: None,
        asked_us: app.clock.now().as_microsecond(),
        registered_us: None,
        ended_us: None,
    })
}

async fn found(app: &App, received: &Received, id: &str, route: &'static str) -> Result<OfficerRow, Refusal> {
    let row = app.store.officer(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    match row.filter(|row| row.organisation == received.caller.organisation.as_str()) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

async fn moved(
    app: &App,
    received: &Received,
    row: &OfficerRow,
    (action, change): (&str, Change),
) -> Result<Receipt, Refusal> {
    let entry = Body::AgreementOfficerMoved {
        officer_id: row.id.clone(),
        action: action.to_owned(),
        organisation: row.organisation.clone(),
        person: row.person.clone(),
        role: row.role.clone(),
        key: row.key_id.clone(),
        by: received.caller.actor(),
    };
    let committed = commit(app, received, entry, vec![change]).await?;
    Ok(Receipt::of(&row.id, &committed))
}

fn body(row: &OfficerRow, receipt: Option<Receipt>) -> OfficerBody {
    OfficerBody {
        id: row.id.clone(),
        organisation: row.organisation.clone(),
        person: row.person.clone(),
        name: row.name.clone(),
        role: row.role.clone(),
        key_id: row.key_id.clone(),
        address: row.address.clone(),
        state: row.state.clone(),
        asked_by: row.asked_by.clone(),
        registered_by: row.registered_by.clone(),
        asked_at: time(row.asked_us),
        receipt,
    }
}
