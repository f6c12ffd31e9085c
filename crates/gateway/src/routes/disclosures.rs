//! `POST /v1/disclosures` and `POST /v1/decisions`: ask for a record, or for the decision alone.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sharing::{Question, SubjectIdentifier, Writing, decide::Asked, identifier::ItemId};
use utoipa::ToSchema;

use super::subject::Subject;
use crate::{
    app::App,
    caller::{Action, Caller, Capability, Context},
    disclose::{Answer, Ask, disclose as walk},
    edge::{Received, receive},
    problem::{Face, Problem, Refusal},
    receipt::Receipt,
};

/// A question about one person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisclosureRequest {
    /// Whom it is about.
    subject: Subject,
    /// The record holder.
    #[schema(example = "nhs-pds")]
    provider: String,
    /// For what; the same as in the signed context.
    #[schema(example = "fire-prevention-targeting")]
    purpose: String,
    /// The case; the same as in the signed context.
    #[schema(example = "HFSA/2026-04417")]
    case_reference: String,
    /// The items; leave it out to ask for everything agreed.
    items: Option<Vec<String>>,
    /// The emergency that you declared at `/v1/break-glass` and ask under.
    break_glass: Option<String>,
}

/// A permitted disclosure.
#[derive(Serialize, ToSchema)]
pub struct DisclosureResponse {
    /// The permitted items that the source gives, by name.
    #[schema(value_type = Object)]
    record: Box<RawValue>,
    #[serde(flatten)]
    terms: Terms,
}

/// A permitted decision without its record.
#[derive(Serialize, ToSchema)]
pub struct DecisionResponse {
    /// Always `permit`: a refusal is a problem.
    decision: &'static str,
    /// The items that a disclosure would release, as `item:form`.
    items: Vec<String>,
    #[serde(flatten)]
    terms: Terms,
}

/// What comes with every permit.
#[derive(Serialize, ToSchema)]
struct Terms {
    /// What was asked for and is not in the answer.
    withheld: Vec<WithheldItem>,
    /// What the recipient takes on by receiving.
    obligations: ObligationsBody,
    /// The version of the flow it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<AgreementBody>,
    /// The grant it rests on, in place of an agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// The emergency it was asked under, which will be reviewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    break_glass: Option<String>,
    /// When the source last changed the record, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_time: Option<String>,
    /// Where the ledger records it.
    receipt: Receipt,
}

/// An item that is not in the answer.
#[derive(Serialize, ToSchema)]
struct WithheldItem {
    /// The item.
    item: String,
    /// `not_agreed` or `not_available`.
    reason_code: &'static str,
}

/// What the recipient takes on.
#[derive(Serialize, ToSchema)]
struct ObligationsBody {
    /// The one purpose it may be used for.
    purpose: String,
    /// Delete before this instant.
    retain_until: String,
    /// Whether it may be passed on.
    onward_sharing: bool,
    /// Whom to tell of an error in it.
    rectification_contact: String,
    /// Whom to tell of a breach.
    breach_contact: String,
    /// No consent to a visit is recorded: get it before booking one.
    obtain_consent_to_visit: bool,
    /// The same in words, for whoever reads the record.
    in_words: Vec<String>,
}

/// A version of a flow.
#[derive(Serialize, ToSchema)]
struct AgreementBody {
    /// The agreement.
    id: String,
    /// Its version.
    version: u32,
    /// The flow.
    flow: String,
}

/// Ask for a person's record.
#[utoipa::path(post, path = "/v1/disclosures", tag = "disclosures", request_body = DisclosureRequest,
    responses((status = 200, description = "The permitted items", body = DisclosureResponse),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "The agreement does not allow it"), (status = 404, description = "No record is available"),
        (status = 502, description = "The record holder is not answering, or its answer was not used"),
        (status = 503, description = "The ledger cannot be written, or too many requests")))]
pub async fn disclose(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, Action::Read, |answer| {
        let record = answer.record.as_ref().map(|record| record.as_json().to_owned()).unwrap_or_default();
        let record = RawValue::from_string(record).map_err(|error| crate::fault::internal(&error))?;
        Ok(Json(DisclosureResponse { record, terms: terms(answer) }).into_response())
    })
    .await
}

/// Ask for the decision alone. Everything happens as for a disclosure, but no record is answered.
#[utoipa::path(post, path = "/v1/decisions", tag = "disclosures", request_body = DisclosureRequest,
    responses((status = 200, description = "It would be permitted", body = DecisionResponse),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "The agreement does not allow it"), (status = 404, description = "No record is available"),
        (status = 502, description = "The record holder is not answering, or its answer was not used"),
        (status = 503, description = "The ledger cannot be written, or too many requests")))]
pub async fn decide(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, Action::Decide, |answer| {
        let items = answer.items.clone();
        Ok(Json(DecisionResponse { decision: "permit", items, terms: terms(answer) }).into_response())
    })
    .await
}

async fn answer(
    app: &App,
    request: Request,
    action: Action,
    body: impl FnOnce(&Answer) -> Result<Response, Problem>,
) -> Response {
    let id = crate::edge::request_id(request.headers());
    let answered = async {
        let mut received = receive(app, request, Capability::Ask, action).await?;
        let asked = match received.json::<DisclosureRequest>(app.limits.body_bytes_max).await {
            Ok(asked) => ask(app, &received, &asked, action),
            Err(problem) => Err(problem),
        };
        match asked {
            Ok(ask) => body(&walk(app, ask).await?).map_err(Refusal::from),
            Err(problem) => Err(received.refuse(app, problem, route(action)).await),
        }
    };
    answered.await.unwrap_or_else(|refusal| refusal.into_response(Face::Problem, id.as_deref()))
}

fn route(action: Action) -> &'static str {
    if action == Action::Decide { "/v1/decisions" } else { "/v1/disclosures" }
}

fn ask(app: &App, received: &Received, asked: &DisclosureRequest, action: Action) -> Result<Ask, Problem> {
    let subject = asked.subject.parse()?;
    check_context(&received.context, &subject)?;
    let break_glass = asked.break_glass.as_ref().map(|id| id.parse()).transpose();
    let break_glass =
        break_glass.map_err(|error| Problem::InvalidRequest(format!("break_glass: {error}")))?;
    let wanted = Wanted {
        provider: &asked.provider,
        purpose: &asked.purpose,
        case_reference: &asked.case_reference,
        items: asked.items.as_deref(),
    };
    let question = Question { break_glass, ..question(app, received, &wanted, subject, action)? };
    let (caller, context): (Caller, Context) = (received.caller.clone(), received.context.clone());
    Ok(Ask {
        caller,
        context,
        question,
        request_id: received.request_id.clone(),
        answer_only: action == Action::Decide,
        writing: Writing::Items,
        continues: false,
        list: None,
        deadline: received.deadline,
    })
}

/// What is wanted, as the body says it.
pub(super) struct Wanted<'a> {
    pub(super) provider: &'a str,
    pub(super) purpose: &'a str,
    pub(super) case_reference: &'a str,
    pub(super) items: Option<&'a [String]>,
}

/// The question about this person. Purpose and case have to be those that were signed.
pub(super) fn question(
    app: &App,
    received: &Received,
    asked: &Wanted<'_>,
    subject: SubjectIdentifier,
    action: Action,
) -> Result<Question, Problem> {
    let invalid = |what: String| Problem::InvalidRequest(what);
    let purpose = asked.purpose.parse().map_err(|error| invalid(format!("purpose: {error}")))?;
    let provider = asked.provider.parse().map_err(|error| invalid(format!("provider: {error}")))?;
    let items = asked.items.map(|items| parse_items(app, items)).transpose()?;
    if received.context.purpose != purpose {
        return Err(Problem::ContextMismatch("the purpose in the body is not the one that was signed"));
    }
    if received.context.case_reference.as_str() != asked.case_reference {
        return Err(Problem::ContextMismatch(
            "the case_reference in the body is not the one that was signed",
        ));
    }
    Ok(Question {
        recipient: received.caller.organisation.clone(),
        role: received.caller.named.role().to_owned(),
        practitioner: received.caller.named.practitioner().map(str::to_owned),
        break_glass: None,
        provider,
        purpose,
        subject,
        asked: items.map_or(Asked::AllAgreed, Asked::Items),
        list_people: None,
        agreements: received.caller.granted(purpose, action).flatten(),
    })
}

/// The signed context must be about the person asked for (GP Connect: the provider SHALL check it).
pub(super) fn check_context(context: &Context, subject: &SubjectIdentifier) -> Result<(), Problem> {
    match &context.requested_record {
        Some(record) if record == subject => Ok(()),
        _ => Err(Problem::ContextMismatch("requested_record is not the person in the request")),
    }
}

pub(super) fn parse_items(app: &App, items: &[String]) -> Result<Vec<ItemId>, Problem> {
    if items.is_empty() || items.len() > app.limits.items_max {
        let what =
            format!("items: name 1 to {} items, or leave it out for everything agreed", app.limits.items_max);
        return Err(Problem::InvalidRequest(what));
    }
    let set = app.policies().set;
    let mut parsed = Vec::new();
    for (position, text) in items.iter().enumerate() {
        let known = |id: &ItemId| set.providers().any(|provider| provider.item(id).is_some());
        let item = text.parse::<ItemId>().ok().filter(known);
        let unknown =
            || Problem::InvalidRequest(format!("items[{position}] is not an item of the catalogue"));
        let item = item.ok_or_else(unknown)?;
        if !parsed.contains(&item) {
            parsed.push(item);
        }
    }
    Ok(parsed)
}

fn terms(answer: &Answer) -> Terms {
    let obligations = &answer.obligations;
    Terms {
        withheld: answer
            .withheld
            .iter()
            .map(|(item, reason)| WithheldItem { item: item.to_string(), reason_code: reason.as_str() })
            .collect(),
        obligations: ObligationsBody {
            purpose: obligations.purpose.to_string(),
            retain_until: obligations.retain_until.to_string(),
            onward_sharing: obligations.onward_sharing,
            rectification_contact: obligations.rectification_contact.to_string(),
            breach_contact: obligations.breach_contact.to_string(),
            obtain_consent_to_visit: obligations.obtain_consent_to_visit,
            in_words: obligations.in_words(answer.source_time.as_deref()),
        },
        agreement: answer.authority.agreement().map(|agreement| AgreementBody {
            id: agreement.agreement.to_string(),
            version: agreement.version,
            flow: agreement.flow.to_string(),
        }),
        grant: answer.authority.grant().map(ToString::to_string),
        break_glass: answer.break_glass.as_ref().map(ToString::to_string),
        source_time: answer.source_time.clone(),
        receipt: answer.receipt.clone(),
    }
}

/// For FHIR answers, where the terms have no place in the resource, and for lists.
pub(crate) fn terms_json(answer: &Answer) -> Value {
    serde_json::to_value(terms(answer)).unwrap_or_default()
}
