//! Legitimate relationships: asserted and ended. Some flows release only to who has one with the person.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{
    OrganisationId, RelationshipId, SubjectIdentifier,
    alerting::Kind,
    subject::{LegitimateRelationship, RelationshipKind},
};
use store::{Change, Fact, FactRow, Recorded};
use utoipa::ToSchema;

use super::{
    consents::{commit, instant, resolve_to_record, respond},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    alerts,
    app::App,
    caller::{Action, Capability, Named},
    edge::{Received, receive, request_id},
    fault::internal,
    problem::{Problem, Refusal},
    receipt::Receipt,
};

/// A relationship to record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationshipRequest {
    /// The person.
    subject: Subject,
    /// `referral`, `caseload` or `self-claimed`. A self-claimed one alerts your own privacy officers and lasts at
    /// most a day.
    #[schema(value_type = String, example = "caseload")]
    kind: RelationshipKind,
    /// For a referral: the organisation that the person is referred to. Otherwise your own.
    organisation: Option<String>,
    /// Whether it holds for the whole organisation, and not for the practitioner who records it alone.
    #[serde(default)]
    whole_organisation: bool,
    /// When it ends; at most a year from now.
    until: String,
    /// Why there is one: a referral's or caseload's reference, or for a self-claimed one the reason. Do not name
    /// the person in it.
    reason: String,
}

/// A relationship.
#[derive(Serialize, ToSchema)]
pub struct RelationshipBody {
    /// Its identifier.
    id: String,
    /// How.
    #[schema(value_type = String)]
    kind: RelationshipKind,
    /// The organisation that has to do with the person.
    organisation: String,
    /// The one practitioner, unless it is the whole organisation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    practitioner: Option<String>,
    /// From when.
    from: String,
    /// Until when.
    until: String,
    /// Where the ledger records this answer.
    receipt: Receipt,
}

/// Longest life of a relationship.
fn longest(kind: RelationshipKind) -> SignedDuration {
    match kind {
        RelationshipKind::SelfClaimed => SignedDuration::from_hours(24),
        RelationshipKind::Referral | RelationshipKind::Caseload => SignedDuration::from_hours(366 * 24),
    }
}

/// Record a relationship with a person.
#[utoipa::path(post, path = "/v1/relationships", tag = "relationships", request_body = RelationshipRequest,
    responses((status = 201, description = "Recorded", body = RelationshipBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let asked = received.json::<RelationshipRequest>(app.limits.body_bytes_max).await;
        let now = app.now();
        let parsed = asked.and_then(|asked| Ok((parse(&app, &received, &asked, now)?, asked.reason)));
        let ((identifier, relationship), reason) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/relationships").await),
        };
        let subject =
            resolve_to_record(&app, &received, &identifier, ("/v1/relationships", Recorded::Allows)).await?;
        let entry = Body::RelationshipRecorded {
            relationship_id: relationship.id.to_string(),
            subject: subject.pseudonym.to_string(),
            organisation: relationship.organisation.to_string(),
            practitioner: relationship.practitioner.clone(),
            relationship: relationship.kind.as_str().to_owned(),
            from_us: relationship.from.as_microsecond(),
            until_us: relationship.until.map(Timestamp::as_microsecond),
            by: received.caller.actor(),
        };
        let row = FactRow {
            fact: Fact::Relationship(relationship.clone()),
            subject: subject.pseudonym.clone(),
            details: serde_json::json!({ "reason": reason }).to_string(),
            recorded_by: received.caller.organisation.clone(),
            recorded_at: now,
            ended_at: None,
        };
        let mut changes = vec![Change::KnowSubject(subject), Change::RecordFact(Box::new(row))];
        if relationship.kind == RelationshipKind::SelfClaimed {
            let (kind, of) = (Kind::RelationshipSelfClaimed, &relationship.organisation);
            let about = Some(&received.caller);
            changes.push(alerts::raise(&app, kind, of, relationship.id.as_str(), about, now));
        }
        let committed = commit(&app, &received, entry, changes).await?;
        let receipt = Receipt::of(relationship.id.as_str(), &committed);
        Ok((StatusCode::CREATED, Json(body(&relationship, receipt))).into_response())
    })
    .await
}

/// End a relationship.
#[utoipa::path(post, path = "/v1/relationships/{id}/end", tag = "relationships", params(("id" = String, Path, description = "The relationship")),
    responses((status = 200, description = "Ended", body = RelationshipBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to end"), (status = 409, description = "It has ended already")))]
pub async fn end(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let found = app.store.fact(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = &received.caller.organisation;
        let held = found.and_then(|row| match &row.fact {
            Fact::Relationship(held) if row.recorded_by == *mine || held.organisation == *mine => {
                Some((held.clone(), row.subject.clone(), row.ended_at.is_some()))
            }
            Fact::Relationship(_) | Fact::Grant(_) | Fact::BreakGlass(_) => None,
        });
        let route = "/v1/relationships/{id}/end";
        let Some((mut relationship, subject, ended)) = held else {
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        if ended {
            return Err(received.refuse(&app, Problem::WrongState("it has ended already"), route).await);
        }
        let entry = Body::RelationshipEnded {
            relationship_id: id.clone(),
            subject: subject.to_string(),
            by: received.caller.actor(),
        };
        let committed = commit(&app, &received, entry, vec![Change::EndFact(id.clone())]).await?;
        relationship.until = Some(app.now());
        Ok(Json(body(&relationship, Receipt::of(&id, &committed))).into_response())
    })
    .await
}

fn parse(
    app: &App,
    received: &Received,
    asked: &RelationshipRequest,
    now: Timestamp,
) -> Result<(SubjectIdentifier, LegitimateRelationship), Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let mine = &received.caller.organisation;
    let organisation = match &asked.organisation {
        None => mine.clone(),
        Some(text) => {
            let set = app.policies().set;
            let known = text.parse::<OrganisationId>().ok().filter(|id| set.organisation(id).is_some());
            known.ok_or_else(|| invalid("organisation: not a registered organisation"))?
        }
    };
    if organisation != *mine && asked.kind != RelationshipKind::Referral {
        return Err(invalid("organisation: only a referral is to another organisation than your own"));
    }
    let by_person = matches!(received.caller.named, Named::Practitioner { .. });
    if asked.kind == RelationshipKind::SelfClaimed && (!by_person || asked.whole_organisation) {
        return Err(invalid("kind: a self-claimed relationship is one named practitioner's own"));
    }
    if !(3..=500).contains(&asked.reason.trim().chars().count()) {
        return Err(invalid("reason: say in 3 to 500 characters why there is a relationship"));
    }
    let limit = now.checked_add(longest(asked.kind)).unwrap_or(now);
    let until = instant(&asked.until).filter(|until| *until > now && *until <= limit).ok_or_else(|| {
        invalid("until: an rfc 3339 time from now on, at most a year ahead (a day if self-claimed)")
    })?;
    let whole = asked.whole_organisation || organisation != *mine || !by_person;
    Ok((
        identifier,
        LegitimateRelationship {
            id: RelationshipId::from_random(app.entropy.bits()),
            organisation,
            practitioner: (!whole).then(|| received.caller.named.id().to_owned()),
            kind: asked.kind,
            from: now,
            until: Some(until),
        },
    ))
}

fn body(relationship: &LegitimateRelationship, receipt: Receipt) -> RelationshipBody {
    RelationshipBody {
        id: relationship.id.to_string(),
        kind: relationship.kind,
        organisation: relationship.organisation.to_string(),
        practitioner: relationship.practitioner.clone(),
        from: relationship.from.to_string(),
        until: relationship.until.map(|until| until.to_string()).unwrap_or_default(),
        receipt,
    }
}
