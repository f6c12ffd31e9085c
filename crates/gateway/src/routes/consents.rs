//! Consent records: recorded, read, withdrawn. Each is a ledger entry before it is answered.
//!
//! Recording a consent widens nothing: it can only let through what an agreement already lists.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sharing::{
    ConsentId, OrganisationId, Pseudonym, PurposeClass,
    policy::hexadecimal,
    subject::{ConsentRecord, ConsentStatus, ConsentType},
};
use store::{Change, Committed, ConsentRow, ReplayGuard, Resolved, Submission};
use utoipa::ToSchema;

use super::{disclosures::check_context, objections::ObjectionBody, subject::Subject};
use crate::{
    app::App,
    caller::{Action, Capability},
    disclose::{commit_problem, internal},
    edge::{Received, receive, request_id},
    problem::{Face, Problem, Refusal},
    receipt::Receipt,
};

/// A consent to record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentRequest {
    /// Whose consent it is.
    subject: Subject,
    /// `gdpr-consent`, `confidentiality-consent`, `consent-to-service` or `preference`: four different things.
    #[schema(value_type = String, example = "confidentiality-consent")]
    consent_type: ConsentType,
    /// `given` or `refused`.
    #[schema(value_type = String, example = "given")]
    status: ConsentStatus,
    /// Whose records may leave.
    #[schema(example = "trafford-council")]
    controller: String,
    /// To whom they may go.
    recipients: Vec<String>,
    /// For what.
    purposes: Vec<String>,
    /// The categories of data that the person was told of, in words.
    data_categories: Vec<String>,
    /// Who gave it.
    given_by: GivenBy,
    /// When.
    given_at: String,
    /// How: `in-person`, `by-telephone`, `in-writing`, `online`.
    method: Method,
    /// The version of the notice that the person was given.
    notice_version: String,
    /// When it ends, if it does.
    expires_at: Option<String>,
    /// Where the evidence is kept.
    evidence_reference: Option<String>,
}

/// Who gave a consent.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(tag = "who", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GivenBy {
    /// The person.
    Person,
    /// Somebody with authority to decide for them. A property attorney and next of kin have none.
    Proxy {
        /// The authority.
        authority: ProxyAuthority,
        /// Why the person could not decide (Mental Capacity Act 2005), or their age.
        capacity_statement: String,
    },
}

/// Authorities under which one person decides for another.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyAuthority {
    /// Lasting power of attorney for health and welfare, while the donor lacks capacity.
    HealthAndWelfareAttorney,
    /// A deputy appointed by the Court of Protection.
    CourtDeputy,
    /// Parental responsibility, until the child is competent to decide.
    ParentalResponsibility,
}

/// How a consent was given.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Face to face.
    InPerson,
    /// By telephone.
    ByTelephone,
    /// On paper.
    InWriting,
    /// On a web page or in an app.
    Online,
}

/// A consent record.
#[derive(Serialize, ToSchema)]
pub struct ConsentBody {
    /// Its identifier.
    id: String,
    /// Which of the four.
    #[schema(value_type = String)]
    consent_type: ConsentType,
    /// Its status.
    #[schema(value_type = String)]
    status: ConsentStatus,
    /// Whose records may leave.
    controller: String,
    /// To whom.
    recipients: Vec<String>,
    /// For what.
    purposes: Vec<String>,
    /// When it was given.
    given_at: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When it was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn_at: Option<String>,
    /// The organisation that recorded it.
    recorded_by: String,
    /// When it was recorded.
    recorded_at: String,
    /// Everything else that was recorded with it.
    #[schema(value_type = Object)]
    details: serde_json::Value,
    /// Where the ledger records this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// What is held about a person.
#[derive(Serialize, ToSchema)]
pub struct HeldBody {
    /// Consents that the caller's organisation recorded or is named in.
    consents: Vec<ConsentBody>,
    /// Objections that the caller's organisation recorded.
    objections: Vec<ObjectionBody>,
}

/// Whose records to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The person.
    subject: Subject,
}

/// Record a consent.
#[utoipa::path(post, path = "/v1/consents", tag = "consents", request_body = ConsentRequest,
    responses((status = 201, description = "Recorded", body = ConsentBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<ConsentRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| parse(&app, &received, &asked));
        let (row, subject) = match parsed {
            Ok((row, identifier)) => (row, resolve(&app, &identifier).await?),
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/consents").await),
        };
        let row = ConsentRow { subject: subject.pseudonym.clone(), ..row };
        let record = &row.record;
        let entry = Body::ConsentRecorded {
            consent_id: record.id.to_string(),
            subject: row.subject.to_string(),
            consent_type: word(&record.consent_type),
            status: word(&record.status),
            controller: record.controller.to_string(),
            recipients: record.recipients.iter().map(ToString::to_string).collect(),
            purposes: record.purposes.iter().map(ToString::to_string).collect(),
            expires_us: record.expires_at.map(Timestamp::as_microsecond),
            record_sha256: hexadecimal(&Sha256::digest(format!("{}{}", record.id, row.details))),
            by: received.caller.actor(),
        };
        let changes = vec![Change::KnowSubject(subject), Change::RecordConsent(Box::new(row.clone()))];
        let committed = commit(&app, &received, entry, changes).await?;
        let body = body(&row, Some(Receipt::of(record.id.as_str(), &committed)));
        Ok((StatusCode::CREATED, Json(body)).into_response())
    })
    .await
}

/// Read a consent. Reading is recorded.
#[utoipa::path(get, path = "/v1/consents/{id}", tag = "consents", params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "The consent", body = ConsentBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see")))]
pub async fn read(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        let entry = Body::SubjectRecordRead {
            subject: row.subject.to_string(),
            what: "consent".to_owned(),
            by: received.caller.actor(),
        };
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        Ok(Json(body(&row, Some(Receipt::of(row.record.id.as_str(), &committed)))).into_response())
    })
    .await
}

/// Withdraw a consent. It takes effect on the next decision; what was lawfully disclosed before stands.
#[utoipa::path(post, path = "/v1/consents/{id}/withdraw", tag = "consents", params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "Withdrawn", body = ConsentBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see"), (status = 409, description = "It was withdrawn before")))]
pub async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        if row.withdrawn_at.is_some() {
            let problem =
                Problem::WrongState("it was withdrawn before; record a new consent if there is one");
            return Err(received.refuse(&app, problem, "/v1/consents/{id}/withdraw").await);
        }
        let entry = Body::ConsentWithdrawn {
            consent_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            by: received.caller.actor(),
        };
        let committed =
            commit(&app, &received, entry, vec![Change::WithdrawConsent(row.record.id.clone())]).await?;
        let stored =
            app.store.consent(&row.record.id).await.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(Json(body(&stored.unwrap_or(row), Some(Receipt::of(&id, &committed)))).into_response())
    })
    .await
}

/// Look up what is held about a person. Looking is recorded.
#[utoipa::path(post, path = "/v1/consents/search", tag = "consents", request_body = SearchRequest,
    responses((status = 200, description = "What the caller's organisation may see", body = HeldBody),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted")))]
pub async fn search(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<SearchRequest>(app.limits.body_bytes_max).await;
        let identifier = match asked.and_then(|asked| asked.subject.parse()) {
            Ok(identifier) if check_context(&received.context, &identifier).is_ok() => identifier,
            Ok(_) => {
                let problem = Problem::ContextMismatch("requested_record is not the person in the request");
                return Err(received.refuse(&app, problem, "/v1/consents/search").await);
            }
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/consents/search").await),
        };
        let subject = resolve(&app, &identifier).await?;
        let entry = Body::SubjectRecordRead {
            subject: subject.pseudonym.to_string(),
            what: "consents and objections".to_owned(),
            by: received.caller.actor(),
        };
        let name = subject.pseudonym.clone();
        commit(&app, &received, entry, vec![Change::KnowSubject(subject)]).await?;
        let held = app.store.held_about(&name).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = &received.caller.organisation;
        let consents = held.0.iter().filter(|row| may_see(row, mine)).map(|row| body(row, None)).collect();
        let objections = held.1.iter().filter(|row| row.recorded_by == *mine);
        let objections = objections.map(|row| super::objections::body(row, None)).collect();
        Ok(Json(HeldBody { consents, objections }).into_response())
    })
    .await
}

/// Runs a handler's work and puts a refusal into words.
pub(super) async fn respond(
    id: Option<String>,
    work: impl Future<Output = Result<Response, Refusal>>,
) -> Response {
    work.await.unwrap_or_else(|refusal| refusal.into_response(Face::Problem, id.as_deref()))
}

pub(super) async fn resolve(app: &App, identifier: &sharing::SubjectIdentifier) -> Result<Resolved, Refusal> {
    let fresh = Pseudonym::from_random(app.entropy.bits());
    app.store.resolve(identifier, fresh).await.map_err(|error| internal(&error).into())
}

pub(super) async fn commit(
    app: &App,
    received: &Received,
    entry: Body,
    changes: Vec<Change>,
) -> Result<Committed, Refusal> {
    let mut submission = Submission::of(app.clock.now(), vec![entry]);
    submission.replay = Some(ReplayGuard {
        issuer: received.caller.client_id.clone(),
        jti: received.context.jti.clone(),
        expires: received.context.expires,
    });
    submission.changes = changes;
    app.store.commit(submission).await.map_err(|error| commit_problem(error).into())
}

fn parse(
    app: &App,
    received: &Received,
    asked: &ConsentRequest,
) -> Result<(ConsentRow, sharing::SubjectIdentifier), Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    if !matches!(asked.status, ConsentStatus::Given | ConsentStatus::Refused) {
        return Err(invalid("status: a consent is recorded as given or refused; other states come later"));
    }
    let set = app.policies().set;
    let organisation =
        |text: &str| text.parse::<OrganisationId>().ok().filter(|id| set.organisation(id).is_some());
    let controller = organisation(&asked.controller)
        .ok_or_else(|| invalid("controller: not a registered organisation"))?;
    let recipients: Option<Vec<_>> = asked.recipients.iter().map(|text| organisation(text)).collect();
    let recipients = recipients.filter(|list| (1..=20).contains(&list.len()));
    let recipients =
        recipients.ok_or_else(|| invalid("recipients: name 1 to 20 registered organisations"))?;
    let purposes: Option<Vec<PurposeClass>> = asked.purposes.iter().map(|code| code.parse().ok()).collect();
    let purposes = purposes.filter(|list| (1..=16).contains(&list.len()));
    let purposes = purposes.ok_or_else(|| invalid("purposes: name 1 to 16 purpose codes"))?;
    let mine = &received.caller.organisation;
    if controller != *mine && !recipients.contains(mine) {
        return Err(invalid("controller and recipients: your organisation must be one of them"));
    }
    let now = app.clock.now();
    let given_at = instant(&asked.given_at).filter(|given| *given <= now);
    let given_at = given_at.ok_or_else(|| invalid("given_at: an rfc 3339 time that is not in the future"))?;
    let expires_at = asked.expires_at.as_deref().map(|text| {
        let expires = instant(text).filter(|expires| *expires > given_at);
        expires.ok_or_else(|| invalid("expires_at: an rfc 3339 time after given_at"))
    });
    let details = serde_json::json!({
        "data_categories": asked.data_categories,
        "given_by": asked.given_by,
        "method": asked.method,
        "notice_version": asked.notice_version,
        "evidence_reference": asked.evidence_reference,
        "recorded_by_practitioner": received.caller.named.id(),
    });
    let record = ConsentRecord {
        id: ConsentId::from_random(app.entropy.bits()),
        consent_type: asked.consent_type,
        status: asked.status,
        controller,
        recipients,
        purposes,
        given_at,
        expires_at: expires_at.transpose()?,
    };
    let row = ConsentRow {
        record,
        subject: Pseudonym::from_random(0), // replaced by the caller, who resolves the identifier
        recorded_by: mine.clone(),
        recorded_at: now,
        withdrawn_at: None,
        details: details.to_string(),
    };
    Ok((row, identifier))
}

/// Truncated to the database's microseconds.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let parsed: Timestamp = text.parse().ok()?;
    Timestamp::from_microsecond(parsed.as_microsecond()).ok()
}

/// The consent, if the caller may see it. Otherwise there is none.
async fn visible(app: &App, received: &Received, id: &str) -> Result<ConsentRow, Refusal> {
    let found = match id.parse::<ConsentId>() {
        Ok(id) => app.store.consent(&id).await.map_err(|error| Refusal::from(internal(&error)))?,
        Err(_) => None,
    };
    match found.filter(|row| may_see(row, &received.caller.organisation)) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, "/v1/consents/{id}").await),
    }
}

fn may_see(row: &ConsentRow, organisation: &OrganisationId) -> bool {
    row.recorded_by == *organisation
        || row.record.controller == *organisation
        || row.record.recipients.contains(organisation)
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn body(row: &ConsentRow, receipt: Option<Receipt>) -> ConsentBody {
    ConsentBody {
        id: row.record.id.to_string(),
        consent_type: row.record.consent_type,
        status: row.record.status,
        controller: row.record.controller.to_string(),
        recipients: row.record.recipients.iter().map(ToString::to_string).collect(),
        purposes: row.record.purposes.iter().map(ToString::to_string).collect(),
        given_at: row.record.given_at.to_string(),
        expires_at: row.record.expires_at.map(|at| at.to_string()),
        withdrawn_at: row.withdrawn_at.map(|at| at.to_string()),
        recorded_by: row.recorded_by.to_string(),
        recorded_at: row.recorded_at.to_string(),
        details: serde_json::from_str(&row.details).unwrap_or_default(),
        receipt,
    }
}
