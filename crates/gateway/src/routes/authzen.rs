//! AuthZEN: the same decisions, asked in the words that other products' enforcement points speak.
//!
//! A person's record goes the whole way of `/v1/decisions`: same rules, same ledger, same answer for "not to be
//! told" and "no such person". Anything else is decided by the Cedar policies in `policies/access`. Searches list
//! what agreements and policies name, and never people.
//!
//! Source: OpenID AuthZEN Authorization API 1.0, its Obligations and Access Request profiles; `docs/authzen.md`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use sharing::{
    access::{Deed, PERSON_RECORD, Party},
    decide::Asked,
};
use store::ReferralRow;

use super::{
    alerts::time,
    consents,
    referrals::{Own, own, submit},
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id, shape},
    fault::internal,
    problem::{AccessRequestFault, Face, Problem, Refusal},
};

mod evaluating;
mod wire;

use evaluating::{check_subject, evaluate, question, unreadable};
use wire::{
    AccessRequest, ActionSearch, Entity, Evaluation, ResourceSearch, Semantic, Sought, SubjectSearch, Verb,
    party, verb,
};

/// Most evaluations in one request.
const EVALUATIONS_MAX: usize = 20;

/// What this decision point offers.
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "authzen",
    responses((status = 200, description = "AuthZEN metadata", body = Object)))]
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    let base = &app.authenticator.public_url;
    Json(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{base}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{base}/access/v1/search/resource"),
        "search_action_endpoint": format!("{base}/access/v1/search/action"),
        "access_request_endpoint": format!("{base}/access/v1/requests"),
        "supported_obligations": ["custom"],
        "capabilities": ["urn:openid:authzen:capability:access-request"],
    }))
    .into_response()
}

/// Ask whether somebody may do something.
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Access Evaluation request; see docs/authzen.md"),
    responses((status = 200, description = "The decision", body = Object), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn evaluation(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/access/v1/evaluation";
        let (received, body) = read(&app, request, route).await?;
        let asked = match shape::<Evaluation>(&body) {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let decided = evaluate(&app, &received, asked, false, route).await?;
        Ok(Json(decided).into_response())
    })
    .await
}

/// Ask several things at once, of one person.
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Access Evaluations request: at most 20"),
    responses((status = 200, description = "The decisions, in the order asked", body = Object), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn evaluations(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/access/v1/evaluations";
        let (received, body) = read(&app, request, route).await?;
        let (items, semantic) = match batch(&body) {
            Ok(batch) => batch,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        if items.is_empty() {
            let asked = match shape::<Evaluation>(&body) {
                Ok(asked) => asked,
                Err(problem) => return Err(received.refuse(&app, problem, route).await),
            };
            return Ok(Json(evaluate(&app, &received, asked, false, route).await?).into_response());
        }
        let mut decided = Vec::new();
        let mut asked_before = false;
        for item in items {
            let one = match shape::<Evaluation>(&item) {
                Ok(asked) => {
                    let about_person = asked.resource.kind == PERSON_RECORD;
                    let answered = evaluate(&app, &received, asked, asked_before, route).await;
                    asked_before |= about_person;
                    match answered {
                        Ok(decided) => decided,
                        Err(refusal) if is_about_the_caller(&refusal.problem) => return Err(refusal),
                        Err(refusal) => failed(&refusal.problem),
                    }
                }
                Err(problem) => failed(&received.refuse(&app, problem, route).await.problem),
            };
            let permitted = one.get("decision") == Some(&Value::Bool(true));
            decided.push(one);
            match semantic {
                Semantic::DenyOnFirstDeny if !permitted => break,
                Semantic::PermitOnFirstPermit if permitted => break,
                _ => {}
            }
        }
        Ok(Json(json!({ "evaluations": decided })).into_response())
    })
    .await
}

/// Search for subjects that may do something. Never over people.
#[utoipa::path(post, path = "/access/v1/search/subject", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Subject Search request"),
    responses((status = 200, description = "What is known and permitted", body = Object), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "People are not listed")))]
pub async fn search_subject(State(app): State<Arc<App>>, request: Request) -> Response {
    search(&app, request, "/access/v1/search/subject", |app, _, body| {
        let asked: SubjectSearch = shape(body)?;
        never_people(&[&asked.resource.kind, &asked.subject.kind])?;
        let access = app.policies().set;
        let access = access.access();
        let mut found = Vec::new();
        for id in access.known(&asked.subject.kind) {
            let subject = Party { kind: &asked.subject.kind, id: &id, properties: &asked.subject.properties };
            let verdict = access.decide(subject, verb(&asked.action), party(&asked.resource), &asked.context);
            if verdict.map_err(unreadable)?.permitted {
                found.push(json!({ "type": asked.subject.kind, "id": id }));
            }
        }
        Ok(found)
    })
    .await
}

/// Search for resources. `record-holder` lists those that an agreement lets you ask, `item` what it lists; neither
/// says that a question would be permitted.
#[utoipa::path(post, path = "/access/v1/search/resource", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Resource Search request"),
    responses((status = 200, description = "What is known and permitted", body = Object), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "People are not listed")))]
pub async fn search_resource(State(app): State<Arc<App>>, request: Request) -> Response {
    search(&app, request, "/access/v1/search/resource", |app, received, body| {
        let asked: ResourceSearch = shape(body)?;
        never_people(&[&asked.resource.kind])?;
        if matches!(asked.resource.kind.as_str(), "record-holder" | "item") {
            check_subject(received, &asked.subject)?;
            let listed = if asked.action.name == "disclose" {
                listed(app, received, &asked.resource)
            } else {
                Vec::new()
            };
            return Ok(listed);
        }
        let access = app.policies().set;
        let access = access.access();
        let mut found = Vec::new();
        for id in access.known(&asked.resource.kind) {
            let resource =
                Party { kind: &asked.resource.kind, id: &id, properties: &asked.resource.properties };
            let verdict = access.decide(party(&asked.subject), verb(&asked.action), resource, &asked.context);
            if verdict.map_err(unreadable)?.permitted {
                found.push(json!({ "type": asked.resource.kind, "id": id }));
            }
        }
        Ok(found)
    })
    .await
}

/// Search for actions.
#[utoipa::path(post, path = "/access/v1/search/action", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Action Search request"),
    responses((status = 200, description = "What is known and permitted", body = Object), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "People are not listed")))]
pub async fn search_action(State(app): State<Arc<App>>, request: Request) -> Response {
    search(&app, request, "/access/v1/search/action", |app, received, body| {
        let asked: ActionSearch = shape(body)?;
        never_people(&[&asked.resource.kind])?;
        if asked.resource.kind == "record-holder" {
            check_subject(received, &asked.subject)?;
            let sought = Sought { kind: "record-holder".to_owned(), properties: Map::new() };
            let id = Some(asked.resource.id.as_str());
            let may =
                listed(app, received, &sought).iter().any(|one| one.get("id").and_then(Value::as_str) == id);
            return Ok(if may { vec![json!({ "name": "disclose" })] } else { Vec::new() });
        }
        let access = app.policies().set;
        let access = access.access();
        let (mut found, none) = (Vec::new(), Map::new());
        for name in access.actions() {
            let action = Deed { name: &name, properties: &none };
            let verdict =
                access.decide(party(&asked.subject), action, party(&asked.resource), &asked.context);
            if verdict.map_err(unreadable)?.permitted {
                found.push(json!({ "name": name }));
            }
        }
        Ok(found)
    })
    .await
}

/// Ask a named person of the record holder to allow what was denied: the form of `/v1/referrals/{id}/request`.
#[utoipa::path(post, path = "/access/v1/requests", tag = "authzen",
    request_body(content = Object, description = "An AuthZEN Access Request: the denied evaluation, its evaluation_id in `denial`, the form in `context.form`"),
    responses((status = 202, description = "It waits for a named person", body = Object), (status = 400, description = "It cannot be read, or is not about that evaluation"),
        (status = 401, description = "The caller was not accepted"), (status = 409, description = "It was requested before")))]
pub async fn request_access(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = request_id(request.headers());
    let answered = async {
        let route = "/access/v1/requests";
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let body = received.json::<Value>(app.limits.body_bytes_max).await;
        let asked = match body.and_then(|body| shape::<AccessRequest>(&body)) {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let found = own(&app, &received, &asked.denial.evaluation_id).await?;
        let Ok(Own::Waiting(row) | Own::Refused(row)) = found else {
            let problem = Problem::AccessRequest(AccessRequestFault::InvalidDenialBinding);
            return Err(received.refuse(&app, problem, route).await);
        };
        if !is_bound(&app, &received, &row, &asked).await? {
            let problem = Problem::AccessRequest(AccessRequestFault::InvalidDenialBinding);
            return Err(received.refuse(&app, problem, route).await);
        }
        let id = asked.denial.evaluation_id.clone();
        submit(&app, &received, &id, &asked.context.form, route).await?;
        let row =
            app.store.referral(&id).await.map_err(|error| Refusal::from(internal(&error)))?.unwrap_or(row);
        let body = task(&app, &row);
        let location = body.pointer("/task/status_endpoint").and_then(Value::as_str).unwrap_or("").to_owned();
        let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    };
    answered.await.unwrap_or_else(|refusal: Refusal| refusal.into_response(Face::Problem, id.as_deref()))
}

/// How far an access request has got.
#[utoipa::path(get, path = "/access/v1/requests/{id}", tag = "authzen", params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "The task, with its result once it was approved", body = Object),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is no such task of yours")))]
pub async fn access_request(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let request_id = request_id(request.headers());
    let answered = async {
        let received = receive(&app, request, Capability::Ask, Action::Read).await?;
        match own(&app, &received, &id).await? {
            Ok(Own::Waiting(row)) if row.state != "waiting-for-form" => {
                super::referrals::read(&app, &received, &id, "referral").await?;
                Ok(Json(task(&app, &row)).into_response())
            }
            _ => {
                let problem = Problem::AccessRequest(AccessRequestFault::UnknownTask);
                Err(received.refuse(&app, problem, "/access/v1/requests/{id}").await)
            }
        }
    };
    answered
        .await
        .unwrap_or_else(|refusal: Refusal| refusal.into_response(Face::Problem, request_id.as_deref()))
}

async fn respond(id: Option<String>, work: impl Future<Output = Result<Response, Refusal>>) -> Response {
    work.await.unwrap_or_else(|refusal| refusal.into_response(Face::AuthZen, id.as_deref()))
}

async fn read(app: &App, request: Request, route: &str) -> Result<(Received, Value), Refusal> {
    let mut received = receive(app, request, Capability::Ask, Action::Decide).await?;
    match received.json::<Map<String, Value>>(app.limits.body_bytes_max).await {
        Ok(body) => Ok((received, Value::Object(body))),
        Err(problem) => Err(received.refuse(app, problem, route).await),
    }
}

/// The evaluations of a batch, each with the defaults it does not override, and how to go on after each.
fn batch(body: &Value) -> Result<(Vec<Value>, Semantic), Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let semantic = match body.pointer("/options/evaluations_semantic") {
        None => Semantic::ExecuteAll,
        Some(named) => serde_json::from_value(named.clone()).map_err(|_| {
            invalid("options.evaluations_semantic: execute_all, deny_on_first_deny or permit_on_first_permit")
        })?,
    };
    let items = match body.get("evaluations") {
        None => return Ok((Vec::new(), semantic)),
        Some(Value::Array(items)) if items.len() <= EVALUATIONS_MAX => items,
        Some(Value::Array(_)) => return Err(invalid("evaluations: at most 20 in one request")),
        Some(_) => return Err(invalid("evaluations: a list")),
    };
    let defaults = ["subject", "action", "resource", "context"];
    let merged = items.iter().map(|item| {
        let mut item = item.as_object().cloned().ok_or_else(|| invalid("evaluations: a list of objects"))?;
        for name in defaults {
            if let (false, Some(value)) = (item.contains_key(name), body.get(name)) {
                item.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Value::Object(item))
    });
    Ok((merged.collect::<Result<_, Problem>>()?, semantic))
}

/// A failure inside a batch.
fn failed(problem: &Problem) -> Value {
    json!({ "decision": false, "context": { "reason": problem.code(), "detail": problem.detail() } })
}

fn is_about_the_caller(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Caller(_)
            | Problem::NotGranted
            | Problem::CapabilityMissing
            | Problem::ContextReplayed
            | Problem::LedgerUnavailable
            | Problem::StoreUnavailable
            | Problem::LedgerUnwitnessed
            | Problem::ClockNotSteady
    )
}

async fn search(
    app: &App,
    request: Request,
    route: &str,
    find: impl FnOnce(&App, &Received, &Value) -> Result<Vec<Value>, Problem>,
) -> Response {
    respond(request_id(request.headers()), async {
        let (received, body) = read(app, request, route).await?;
        match find(app, &received, &body) {
            Ok(results) => Ok(Json(json!({ "results": results })).into_response()),
            Err(problem) => Err(received.refuse(app, problem, route).await),
        }
    })
    .await
}

fn never_people(kinds: &[&str]) -> Result<(), Problem> {
    if kinds.contains(&PERSON_RECORD) {
        return Err(Problem::NotAllowed("people are never listed: ask about one person at a time"));
    }
    Ok(())
}

/// What the agreements in force list for the caller, their purpose and their role.
fn listed(app: &App, received: &Received, sought: &Sought) -> Vec<Value> {
    let (set, now) = (app.policies().set, app.clock.now());
    let caller = &received.caller;
    let flows = set.may_ask(&caller.organisation, received.context.purpose, caller.named.role(), now);
    let holder = sought.properties.get("provider").and_then(Value::as_str);
    let mut found = Vec::new();
    for (_, flow) in flows {
        let provider = flow.provider.get_ref().as_str();
        if sought.kind == "record-holder" {
            found.push(json!({ "type": "record-holder", "id": provider }));
        } else if holder.is_none_or(|holder| holder == provider) {
            found.extend(flow.items.iter().map(|item| {
                let id = item.item.get_ref().as_str();
                json!({ "type": "item", "id": id, "properties": { "provider": provider, "form": item.form.as_str() } })
            }));
        }
    }
    let mut unique: Vec<Value> = Vec::new();
    for one in found {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}

/// Whether an access request is about the evaluation that it names, member by member.
async fn is_bound(
    app: &App,
    received: &Received,
    row: &ReferralRow,
    asked: &AccessRequest,
) -> Result<bool, Refusal> {
    let evaluation = Evaluation {
        subject: Entity {
            properties: Map::new(),
            kind: asked.subject.kind.clone(),
            id: asked.subject.id.clone(),
        },
        action: Verb { name: asked.action.name.clone(), properties: asked.action.properties.clone() },
        resource: Entity {
            kind: asked.resource.kind.clone(),
            id: asked.resource.id.clone(),
            properties: asked.resource.properties.clone(),
        },
        context: Map::new(),
    };
    if asked.resource.kind != PERSON_RECORD {
        return Ok(false);
    }
    let Ok(question) = question(app, received, &evaluation) else { return Ok(false) };
    let mut items: Vec<String> = match &question.asked {
        Asked::AllAgreed => Vec::new(),
        Asked::Items(items) => items.iter().map(ToString::to_string).collect(),
    };
    let mut bound: Vec<String> = serde_json::from_str(&row.asked).unwrap_or_default();
    items.sort();
    bound.sort();
    let person = consents::resolve(app, &question.subject).await?.pseudonym;
    Ok(items == bound
        && question.provider.as_str() == row.provider
        && question.purpose.as_str() == row.purpose
        && person.as_str() == row.subject)
}

fn task(app: &App, row: &ReferralRow) -> Value {
    let id = &row.decision_id;
    let outcome: Value =
        row.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let status = match row.state.as_str() {
        "granted" => "approved",
        "refused" => "denied",
        "revoked" => "cancelled",
        _ => "pending",
    };
    let mut body = json!({
        "task": {
            "id": id,
            "status": status,
            "status_endpoint": format!("{}/access/v1/requests/{id}", app.authenticator.public_url),
            "progress": { "step_name": row.state },
            "display": {
                "title": "Request for a one-off disclosure",
                "description": format!("A named person of {} decides by {}.", row.holder, time(row.due_us)),
            },
        },
    });
    if let (true, Value::Object(members)) = (status == "approved", &mut body) {
        let approval = json!({ "id": outcome.get("grant_id"), "approved_until": outcome.get("until") });
        members.insert("result".to_owned(), json!({ "mode": "reevaluate", "approval": approval }));
    }
    body
}
