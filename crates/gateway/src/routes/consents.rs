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
use ledger::entry::{Actor, AgreementRef, Body, ConsentShown};
use serde::{Deserialize, Serialize};
use sharing::{
    ConsentId, OrganisationId, PolicySet, Pseudonym, PurposeClass, SubjectIdentifier,
    subject::{ConsentRecord, ConsentStatus, ConsentType, GivenBy, Shown},
};
use store::{Change, Committed, ConsentRow, Recorded, Resolved, Submission};
use utoipa::ToSchema;

use super::{
    disclosures::check_context,
    objections::ObjectionBody,
    rights_requests::{self, RightsBody},
    said::{Method, WithdrawalRequest, withdrawal},
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    clock::Entropy,
    edge::{Received, receive, request_id},
    fault::{commit_problem, internal},
    kept,
    problem::{Face, Problem, Refusal},
    receipt::Receipt,
};

/// A consent to record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentRequest {
    /// Whose consent it is.
    pub(crate) subject: Subject,
    /// `gdpr-consent`, `confidentiality-consent`, `consent-to-service` or `preference`: four different things.
    #[schema(value_type = String, example = "confidentiality-consent")]
    pub(crate) consent_type: ConsentType,
    /// `given`, `refused` or `requested`.
    #[schema(value_type = String, example = "given")]
    pub(crate) status: ConsentStatus,
    /// Whose records may leave.
    #[schema(example = "trafford-council")]
    pub(crate) controller: String,
    /// To whom they may go.
    pub(crate) recipients: Vec<String>,
    /// For what.
    pub(crate) purposes: Vec<String>,
    /// The categories of data that the person was told of, in words.
    pub(crate) data_categories: Vec<String>,
    /// Who gave it: `{"who": "person"}`, or `{"who": "proxy", "authority": …, "capacity_statement": …}` with the
    /// authority `health-and-welfare-attorney`, `court-deputy` or `parental-responsibility`. A property attorney
    /// and next of kin have none.
    #[schema(value_type = Object)]
    pub(crate) given_by: GivenBy,
    /// When it was given or refused; leave it out for now. A refusal outweighs every consent that was given before it, and one
    /// that was given up to 48 hours after it unless that is also recorded after it.
    pub(crate) given_at: Option<String>,
    /// How: `in-person`, `by-telephone`, `in-writing`, `online`.
    pub(crate) method: Method,
    /// The version of the notice that the person was given.
    pub(crate) notice_version: String,
    /// When it ends, if it does.
    pub(crate) expires_at: Option<String>,
    /// Where the evidence is kept.
    pub(crate) evidence_reference: Option<String>,
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
    /// When it was withdrawn, or otherwise ended by somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn_at: Option<String>,
    /// Why its status was changed, where somebody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    /// Who gave it.
    #[schema(value_type = Object)]
    given_by: GivenBy,
    /// What the person was shown when they answered, where it is known: the version of a flow, the items that leave only after a
    /// yes, and for how long they are kept. A yes is to nothing beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    shown: Option<Shown>,
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
    /// Objections that the caller's organisation recorded or has to answer.
    objections: Vec<ObjectionBody>,
    /// Complaints and requests for rectification that the caller's organisation recorded or has to answer.
    rights_requests: Vec<RightsBody>,
}

/// Whose records to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The person.
    subject: Subject,
    /// What was held at this instant, as far as it had been recorded by then; leave it out for now.
    as_of: Option<String>,
}

/// A change of a consent's status.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// `given` or `refused` (the answer to a request), `renewed`, `revoked` (ended by another party) or
    /// `invalidated` (found never to have been valid). A person's own withdrawal is `/withdraw`.
    #[schema(value_type = String, example = "renewed")]
    status: ConsentStatus,
    /// For a renewal: until when it holds from now on.
    expires_at: Option<String>,
    /// Why, in 3 to 500 characters.
    reason: String,
}

/// Record a consent.
#[utoipa::path(post, path = "/v1/consents", tag = "consents", request_body = ConsentRequest,
    responses((status = 201, description = "Recorded", body = ConsentBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = match received.json::<ConsentRequest>(app.limits.body_bytes_max).await {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/consents").await),
        };
        let (row, receipt) = record_asked(&app, &received, &asked, "/v1/consents").await?;
        Ok((StatusCode::CREATED, Json(body(&row, Some(receipt)))).into_response())
    })
    .await
}

/// Records a consent that was asked for on this route.
pub(super) async fn record_asked(
    app: &App,
    received: &Received,
    asked: &ConsentRequest,
    route: &str,
) -> Result<(ConsentRow, Receipt), Refusal> {
    let (row, subject) = match parse(app, received, asked) {
        Ok((row, identifier)) => {
            (row, resolve_to_record(app, received, &identifier, (route, kind_of(asked.status))).await?)
        }
        Err(problem) => return Err(received.refuse(app, problem, route).await),
    };
    let row = ConsentRow { subject: subject.pseudonym.clone(), ..row };
    let entry = recorded(&row, received.caller.actor());
    let changes = vec![Change::KnowSubject(subject), Change::RecordConsent(Box::new(row.clone()))];
    let committed = commit(app, received, entry, changes).await?;
    let receipt = Receipt::of(row.record.id.as_str(), &committed);
    Ok((row, receipt))
}

/// The entry that records a consent.
pub(crate) fn recorded(row: &ConsentRow, by: Actor) -> Body {
    let record = &row.record;
    Body::ConsentRecorded {
        consent_id: record.id.to_string(),
        subject: row.subject.to_string(),
        consent_type: word(&record.consent_type),
        status: word(&record.status),
        controller: record.controller.to_string(),
        recipients: record.recipients.iter().map(ToString::to_string).collect(),
        purposes: record.purposes.iter().map(ToString::to_string).collect(),
        expires_us: record.expires_at.map(Timestamp::as_microsecond),
        record_sha256: kept::digest(record.id.as_str(), &row.details),
        shown: record.shown.as_deref().map(shown_entry).map(Box::new),
        by,
    }
}

fn shown_entry(shown: &Shown) -> ConsentShown {
    ConsentShown {
        agreement: AgreementRef {
            agreement: shown.agreement.to_string(),
            version: shown.version,
            flow: shown.flow.to_string(),
            digest: shown.digest.clone(),
        },
        provider: shown.provider.to_string(),
        items: shown.items.iter().map(ToString::to_string).collect(),
        retain_days: u32::from(shown.retain_days),
        onward_sharing: shown.onward_sharing,
    }
}

/// Read a consent. Reading is recorded.
#[utoipa::path(get, path = "/v1/consents/{id}", tag = "consents", params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "The consent", body = ConsentBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see")))]
pub async fn read(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        let entry = received.read_of(row.subject.as_str(), "consent");
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        Ok(Json(body(&row, Some(Receipt::of(row.record.id.as_str(), &committed)))).into_response())
    })
    .await
}

/// Withdraw a consent. It takes effect on the next decision; what was lawfully disclosed before stands.
#[utoipa::path(post, path = "/v1/consents/{id}/withdraw", tag = "consents", request_body(content = Option<WithdrawalRequest>), params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "Withdrawn", body = ConsentBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see"), (status = 409, description = "It was withdrawn before")))]
pub async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/consents/{id}/withdraw";
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let said = match withdrawal(&app, &mut received).await {
            Ok(said) => said,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let row = visible(&app, &received, &id).await?;
        if row.record.status.takes_back() {
            let problem =
                Problem::WrongState("it was withdrawn before; record a new consent if there is one");
            return Err(received.refuse(&app, problem, route).await);
        }
        let entry = Body::ConsentWithdrawn {
            consent_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            by: received.caller.actor(),
        };
        let end = (ConsentStatus::Withdrawn, Some(app.now()), None);
        let reason = said.map(|said| format!("withdrawn {}", said.in_words()));
        let (row, receipt) = record_change(&app, &received, row, entry, end, reason).await?;
        Ok(Json(body(&row, Some(receipt))).into_response())
    })
    .await
}

/// Change a consent's status. It takes effect on the next decision.
#[utoipa::path(post, path = "/v1/consents/{id}/status", tag = "consents", request_body = StatusRequest,
    params(("id" = String, Path, description = "The consent")),
    responses((status = 200, description = "Changed", body = ConsentBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not the caller's to see"),
        (status = 409, description = "It is not in a state that allows this")))]
pub async fn change(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/consents/{id}/status";
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<StatusRequest>(app.limits.body_bytes_max).await;
        let asked =
            match asked.and_then(|asked| check_status(&app, &asked).map(|expires_at| (asked, expires_at))) {
                Ok(asked) => asked,
                Err(problem) => return Err(received.refuse(&app, problem, route).await),
            };
        let row = visible(&app, &received, &id).await?;
        match change_status(&app, &received, &row, asked.0.status, asked.1, Some(asked.0.reason)).await? {
            Ok((row, receipt)) => Ok(Json(body(&row, Some(receipt))).into_response()),
            Err(problem) => Err(received.refuse(&app, problem, route).await),
        }
    })
    .await
}

fn check_status(app: &App, asked: &StatusRequest) -> Result<Option<Timestamp>, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    if !(3..=500).contains(&asked.reason.trim().chars().count()) {
        return Err(invalid("reason: say why in 3 to 500 characters"));
    }
    let renewal = asked.status == ConsentStatus::Renewed;
    let expires_at = asked.expires_at.as_deref().map(|text| {
        let expires = instant(text).filter(|expires| renewal && *expires > app.now());
        expires.ok_or_else(|| invalid("expires_at: an rfc 3339 time in the future, for a renewal alone"))
    });
    expires_at.transpose()
}

/// Changes a status where the consent's present one allows it, and answers with what is held then.
pub(super) async fn change_status(
    app: &App,
    received: &Received,
    row: &ConsentRow,
    status: ConsentStatus,
    expires_at: Option<Timestamp>,
    reason: Option<String>,
) -> Result<Result<(ConsentRow, Receipt), Problem>, Refusal> {
    use ConsentStatus::{
        Expired, Given, Invalidated, Refused, Renewed, Requested, Revoked, Unknown, Withdrawn,
    };
    let allowed = match status {
        Given | Refused => row.record.status == Requested,
        Renewed | Revoked | Invalidated | Withdrawn => matches!(row.record.status, Given | Renewed | Unknown),
        Requested | Expired | Unknown => false,
    };
    if !allowed {
        return Ok(Err(Problem::WrongState(
            "this status cannot follow the one it has; record a new consent if there is one",
        )));
    }
    let now = app.now();
    let ends = matches!(status, Refused | Revoked | Invalidated | Withdrawn);
    let entry = if status == Withdrawn {
        Body::ConsentWithdrawn {
            consent_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            by: received.caller.actor(),
        }
    } else {
        Body::ConsentStatusChanged {
            consent_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            status: word(&status),
            by: received.caller.actor(),
        }
    };
    let end = (status, ends.then_some(now), expires_at);
    record_change(app, received, row.clone(), entry, end, reason).await.map(Ok)
}

/// Records a change of a consent's status, and says how the consent is then. It is not read again: what was recorded is
/// acknowledged, whatever becomes of the database afterwards.
async fn record_change(
    app: &App,
    received: &Received,
    mut row: ConsentRow,
    entry: Body,
    (status, ended_at, expires_at): (ConsentStatus, Option<Timestamp>, Option<Timestamp>),
    reason: Option<String>,
) -> Result<(ConsentRow, Receipt), Refusal> {
    let id = row.record.id.clone();
    let change = Change::ChangeConsent { id, status, ended_at, expires_at, reason: reason.clone() };
    let committed = commit(app, received, entry, vec![change]).await?;
    row.record.status = status;
    row.record.ended_at = ended_at;
    row.record.expires_at = expires_at.or(row.record.expires_at);
    row.status_reason = reason;
    let receipt = Receipt::of(row.record.id.as_str(), &committed);
    Ok((row, receipt))
}

/// Look up what is held about a person. Looking is recorded.
#[utoipa::path(post, path = "/v1/consents/search", tag = "consents", request_body = SearchRequest,
    responses((status = 200, description = "What the caller's organisation may see", body = HeldBody),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted")))]
pub async fn search(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<SearchRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| {
            let as_of = asked.as_of.as_deref().map(|text| {
                let past = instant(text).filter(|as_of| *as_of <= app.now());
                let invalid = "as_of: an rfc 3339 time that is not in the future";
                past.ok_or_else(|| Problem::InvalidRequest(invalid.to_owned()))
            });
            Ok((asked.subject.parse()?, as_of.transpose()?))
        });
        let (identifier, as_of) = match parsed {
            Ok((identifier, as_of)) if check_context(&received.context, &identifier).is_ok() => {
                (identifier, as_of)
            }
            Ok(_) => {
                let problem = Problem::ContextMismatch("requested_record is not the person in the request");
                return Err(received.refuse(&app, problem, "/v1/consents/search").await);
            }
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/consents/search").await),
        };
        let subject = resolve(&app, &identifier).await?;
        let entry = received.read_of(subject.pseudonym.as_str(), "consents and objections");
        let name = subject.pseudonym.clone();
        commit(&app, &received, entry, vec![Change::KnowSubject(subject)]).await?;
        let held =
            app.store.held_about(&name, as_of).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = &received.caller.organisation;
        let consents = held.0.iter().filter(|row| may_see(row, mine)).map(|row| body(row, None)).collect();
        let objections = held.1.iter().filter(|row| row.recorded_by == *mine || row.controller == *mine);
        let objections = objections.map(|row| super::objections::body(row, None)).collect();
        let rights_requests = rights_requests::of_person(&app, &received, &name).await?;
        Ok(Json(HeldBody { consents, objections, rights_requests }).into_response())
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

/// As [`resolve`], for whoever records something about the person on this route: what is held about somebody is read for each
/// question about them, so that a system that repeats itself would slow down everybody's.
pub(super) async fn resolve_to_record(
    app: &App,
    received: &Received,
    identifier: &SubjectIdentifier,
    (route, kind): (&str, Recorded),
) -> Result<Resolved, Refusal> {
    let subject = resolve(app, identifier).await?;
    if !subject.known {
        return Ok(subject);
    }
    let (organisation, since) = (&received.caller.organisation, app.now() - A_DAY);
    let recorded = app.store.recorded_since(&subject.pseudonym, organisation, since, kind).await;
    let recorded = recorded.map_err(|error| Refusal::from(internal(&error)))?;
    if recorded >= times(kind) * u64::from(app.limits.budgets.records_about_one_per_day.get()) {
        return Err(received.refuse(app, Problem::TooManyRecords, route).await);
    }
    Ok(subject)
}

/// How many times as much of a kind as of what allows may be recorded.
pub(crate) fn times(kind: Recorded) -> u64 {
    match kind {
        Recorded::Allows => 1,
        Recorded::Refuses => 2,
        Recorded::Emergency => 5,
    }
}

/// As what an answer is counted.
pub(crate) fn kind_of(status: ConsentStatus) -> Recorded {
    if status.takes_back() { Recorded::Refuses } else { Recorded::Allows }
}

const A_DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

pub(super) async fn commit(
    app: &App,
    received: &Received,
    entry: Body,
    changes: Vec<Change>,
) -> Result<Committed, Refusal> {
    let mut submission = Submission::of(app.now(), vec![entry]);
    submission.replay = Some(received.replay_guard());
    submission.changes = changes;
    app.store.commit(submission).await.map_err(|error| commit_problem(error).into())
}

pub(super) fn parse(
    app: &App,
    received: &Received,
    asked: &ConsentRequest,
) -> Result<(ConsentRow, SubjectIdentifier), Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    let set = app.policies().set;
    let recorder = Recorder {
        organisation: &received.caller.organisation,
        human: received.caller.named.id(),
        set: &set,
        at: app.now(),
        entropy: app.entropy.as_ref(),
    };
    Ok((recorder.check(asked)?, identifier))
}

/// Who records a consent, and under what.
pub(crate) struct Recorder<'a> {
    /// Their organisation.
    pub(crate) organisation: &'a OrganisationId,
    /// Their organisation's identifier for them.
    pub(crate) human: &'a str,
    /// The policies, which say what organisations there are.
    pub(crate) set: &'a PolicySet,
    /// When.
    pub(crate) at: Timestamp,
    /// For the consent's name and salt.
    pub(crate) entropy: &'a dyn Entropy,
}

impl Recorder<'_> {
    /// The row of a consent. Whose it is, is filled in by whoever resolves the identifier.
    ///
    /// # Errors
    /// The [`Problem`], whose words never repeat values.
    pub(crate) fn check(&self, asked: &ConsentRequest) -> Result<ConsentRow, Problem> {
        check_said(asked)?;
        let (controller, recipients, purposes) = self.check_flow(asked)?;
        let (given_at, expires_at) = check_times(asked, self.at)?;
        let details = serde_json::json!({
            "data_categories": asked.data_categories,
            "given_by": asked.given_by,
            "method": asked.method,
            "notice_version": asked.notice_version,
            "evidence_reference": asked.evidence_reference,
            "recorded_by_practitioner": self.human,
            "salt": kept::salt(self.entropy),
        });
        let record = ConsentRecord {
            id: ConsentId::from_random(self.entropy.bits()),
            consent_type: asked.consent_type,
            status: asked.status,
            controller,
            recipients,
            purposes,
            given_by: asked.given_by.clone(),
            recorded_at: self.at,
            given_at,
            expires_at,
            ended_at: None,
            shown: None,
        };
        Ok(ConsentRow {
            record,
            subject: Pseudonym::from_random(0),
            recorded_by: self.organisation.clone(),
            withdrawn_at: None,
            details: details.to_string(),
            status_reason: None,
        })
    }

    fn check_flow(
        &self,
        asked: &ConsentRequest,
    ) -> Result<(OrganisationId, Vec<OrganisationId>, Vec<PurposeClass>), Problem> {
        let organisation =
            |text: &str| text.parse::<OrganisationId>().ok().filter(|id| self.set.organisation(id).is_some());
        let controller = organisation(&asked.controller)
            .ok_or_else(|| invalid("controller: not a registered organisation"))?;
        let recipients: Option<Vec<_>> = asked.recipients.iter().map(|text| organisation(text)).collect();
        let recipients = recipients.filter(|list| (1..=20).contains(&list.len()));
        let recipients =
            recipients.ok_or_else(|| invalid("recipients: name 1 to 20 registered organisations"))?;
        let purposes: Option<Vec<PurposeClass>> =
            asked.purposes.iter().map(|code| code.parse().ok()).collect();
        let purposes = purposes.filter(|list| (1..=16).contains(&list.len()));
        let purposes = purposes.ok_or_else(|| invalid("purposes: name 1 to 16 purpose codes"))?;
        if controller != *self.organisation && !recipients.contains(self.organisation) {
            return Err(invalid("controller and recipients: your organisation must be one of them"));
        }
        Ok((controller, recipients, purposes))
    }
}

fn invalid(what: &str) -> Problem {
    Problem::InvalidRequest(what.to_owned())
}

/// What was said of the consent, by whom and on which notice.
fn check_said(asked: &ConsentRequest) -> Result<(), Problem> {
    if !matches!(asked.status, ConsentStatus::Given | ConsentStatus::Refused | ConsentStatus::Requested) {
        return Err(invalid(
            "status: a consent is recorded as given, refused or requested; other states come later",
        ));
    }
    if let GivenBy::Proxy { capacity_statement, .. } = &asked.given_by
        && !(10..=2_000).contains(&capacity_statement.trim().chars().count())
    {
        return Err(invalid(
            "given_by.capacity_statement: say in 10 to 2,000 characters why the person could not decide",
        ));
    }
    let too_long = |text: &str| text.trim().is_empty() || text.chars().count() > 500;
    if too_long(&asked.notice_version) || asked.data_categories.is_empty() {
        return Err(invalid(
            "notice_version, data_categories: say which notice the person was given and about which data",
        ));
    }
    Ok(())
}

fn check_times(asked: &ConsentRequest, now: Timestamp) -> Result<(Timestamp, Option<Timestamp>), Problem> {
    let given_at = asked.given_at.as_deref().map_or(Some(now), instant).filter(|given| *given <= now);
    let given_at = given_at.ok_or_else(|| invalid("given_at: an rfc 3339 time that is not in the future"))?;
    let expires_at = asked.expires_at.as_deref().map(|text| {
        let expires = instant(text).filter(|expires| *expires > given_at);
        expires.ok_or_else(|| invalid("expires_at: an rfc 3339 time after given_at"))
    });
    Ok((given_at, expires_at.transpose()?))
}

/// Truncated to the database's microseconds.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let parsed: Timestamp = text.parse().ok()?;
    Timestamp::from_microsecond(parsed.as_microsecond()).ok()
}

/// The consent, if the caller may see it. Otherwise there is none.
pub(super) async fn visible(app: &App, received: &Received, id: &str) -> Result<ConsentRow, Refusal> {
    let found = match id.parse::<ConsentId>() {
        Ok(id) => app.store.consent(&id).await.map_err(|error| Refusal::from(internal(&error)))?,
        Err(_) => None,
    };
    match found.filter(|row| may_see(row, &received.caller.organisation)) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, "/v1/consents/{id}").await),
    }
}

pub(super) fn may_see(row: &ConsentRow, organisation: &OrganisationId) -> bool {
    row.recorded_by == *organisation
        || row.record.controller == *organisation
        || row.record.recipients.contains(organisation)
}

pub(super) fn word<T: Serialize>(value: &T) -> String {
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
        withdrawn_at: row.record.ended_at.map(|at| at.to_string()),
        status_reason: row.status_reason.clone(),
        given_by: row.record.given_by.clone(),
        shown: row.record.shown.as_deref().cloned(),
        recorded_by: row.recorded_by.to_string(),
        recorded_at: row.record.recorded_at.to_string(),
        details: serde_json::from_str(&row.details).unwrap_or_default(),
        receipt,
    }
}
