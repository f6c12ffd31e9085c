//! Break-glass: a practitioner declares an emergency about one person. It is alerted at once, ends by itself, and
//! is reviewed by somebody else. It never tells where a restricted person is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{
    BreakGlassId, SubjectIdentifier,
    alerting::Kind,
    decide::may_break_glass,
    subject::{BreakGlass, BreakGlassReason},
};
use store::{Change, CommitError, Fact, FactRow, Recorded, Submission};
use utoipa::ToSchema;

use super::{
    consents::{resolve_to_record, respond},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    alerts,
    app::App,
    caller::{Action, Capability, Named},
    caller_use,
    edge::{Received, receive, request_id},
    fault::commit_problem,
    kept,
    problem::Problem,
    receipt::Receipt,
};

/// Longest time for which an emergency can be declared.
const MINUTES_MAX: u16 = 240;

/// An emergency to declare. Its purpose is the one of the signed context.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassRequest {
    /// The person.
    subject: Subject,
    /// `immediate-risk-to-life`, `serious-harm`, `cannot-ask-person` or `usual-route-unavailable`.
    #[schema(value_type = String, example = "immediate-risk-to-life")]
    reason_code: BreakGlassReason,
    /// What happened and why it cannot wait, in 20 to 2,000 characters, for whoever reviews it.
    statement: String,
    /// You state that the person cannot consent (UK GDPR Art 9(2)(c)). Health items need it where no agreement
    /// covers them.
    #[serde(default)]
    cannot_consent: bool,
    /// For how many minutes, 1 to 240.
    #[serde(default = "an_hour")]
    minutes: u16,
}

fn an_hour() -> u16 {
    60
}

/// A declared emergency.
#[derive(Serialize, ToSchema)]
pub struct BreakGlassBody {
    /// Its identifier: name it as `break_glass` in a disclosure.
    id: String,
    /// The purpose it is for.
    purpose: String,
    /// Until when it can be used.
    until: String,
    /// By when somebody else reviews it.
    review_due: String,
    /// Where the ledger records it.
    receipt: Receipt,
}

/// Declare an emergency about a person.
#[utoipa::path(post, path = "/v1/break-glass", tag = "break-glass", request_body = BreakGlassRequest,
    responses((status = 201, description = "Declared, and alerted", body = BreakGlassBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted"), (status = 429, description = "The practitioner or the system has declared emergencies about as many people today as it may, or the organisation about this person")))]
pub async fn declare(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let asked = received.json::<BreakGlassRequest>(app.limits.body_bytes_max).await;
        let now = app.now();
        let parsed = asked.and_then(|asked| Ok((parse(&app, &received, &asked, now)?, asked.statement)));
        let ((identifier, declared), statement) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/break-glass").await),
        };
        let kind = Kind::BreakGlassDeclared;
        let review_due = app.policies().set.alerts().review_due(kind, now);
        let subject =
            resolve_to_record(&app, &received, &identifier, ("/v1/break-glass", Recorded::Emergency)).await?;
        let salt = kept::salt(app.entropy.as_ref());
        let details = serde_json::json!({ "statement": statement, "salt": salt }).to_string();
        let entry = Body::BreakGlassDeclared {
            break_glass_id: declared.id.to_string(),
            subject: subject.pseudonym.to_string(),
            organisation: declared.organisation.to_string(),
            practitioner: declared.practitioner.clone(),
            purpose: declared.purpose.to_string(),
            reason: declared.reason.as_str().to_owned(),
            cannot_consent: declared.cannot_consent,
            statement_sha256: kept::digest(declared.id.as_str(), &details),
            from_us: declared.from.as_microsecond(),
            until_us: declared.until.as_microsecond(),
            review_due_us: review_due.as_microsecond(),
            by: received.caller.actor(),
        };
        let row = FactRow {
            fact: Fact::BreakGlass(declared.clone()),
            subject: subject.pseudonym.clone(),
            details,
            recorded_by: received.caller.organisation.clone(),
            recorded_at: now,
            ended_at: None,
        };
        let about = Some(&received.caller);
        let alert = alerts::raise(&app, kind, &declared.organisation, declared.id.as_str(), about, now);
        let changes = vec![Change::KnowSubject(subject), Change::RecordFact(Box::new(row)), alert];
        let mut submission = Submission::of(now, vec![entry]);
        submission.replay = Some(received.replay_guard());
        submission.using = Some(Box::new(caller_use::of_emergency(&app, &received.caller, &identifier, now)));
        submission.changes = changes;
        let committed = match app.store.commit(submission).await {
            Ok(committed) => committed,
            Err(CommitError::BudgetReached) => {
                let reached = Problem::EmergenciesReached;
                return Err(received.refuse(&app, reached, "/v1/break-glass").await);
            }
            Err(error) => return Err(commit_problem(error).into()),
        };
        let body = BreakGlassBody {
            id: declared.id.to_string(),
            purpose: declared.purpose.to_string(),
            until: declared.until.to_string(),
            review_due: review_due.to_string(),
            receipt: Receipt::of(declared.id.as_str(), &committed),
        };
        Ok((StatusCode::CREATED, Json(body)).into_response())
    })
    .await
}

fn parse(
    app: &App,
    received: &Received,
    asked: &BreakGlassRequest,
    now: Timestamp,
) -> Result<(SubjectIdentifier, BreakGlass), Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let Named::Practitioner { id, .. } = &received.caller.named else {
        return Err(invalid("requesting_practitioner: only a named practitioner can declare an emergency"));
    };
    let purpose = received.context.purpose;
    if !may_break_glass(purpose) {
        return Err(invalid(
            "purpose: break-glass is for direct care, vital interests and safeguarding only",
        ));
    }
    if !(20..=2_000).contains(&asked.statement.trim().chars().count()) {
        return Err(invalid("statement: say in 20 to 2,000 characters what happened and why it cannot wait"));
    }
    if !(1..=MINUTES_MAX).contains(&asked.minutes) {
        return Err(invalid("minutes: 1 to 240; declare it again if the emergency lasts longer"));
    }
    let until = now.checked_add(SignedDuration::from_mins(i64::from(asked.minutes))).unwrap_or(now);
    Ok((
        identifier,
        BreakGlass {
            id: BreakGlassId::from_random(app.entropy.bits()),
            organisation: received.caller.organisation.clone(),
            practitioner: id.clone(),
            purpose,
            reason: asked.reason_code,
            cannot_consent: asked.cannot_consent,
            from: now,
            until,
        },
    ))
}
