//! One evaluation: about a person's record the whole way of a decision, about anything else the policies in
//! `policies/access`; and what is answered, in AuthZEN's words.

use serde_json::{Value, json};
use sharing::{Question, Writing, access::PERSON_RECORD, decide::Asked, identifier::BreakGlassId};

use super::wire::{Entity, Evaluation, party, verb};
use crate::{
    app::App,
    caller::Action,
    disclose::{Answer, Ask, disclose},
    edge::Received,
    problem::{Problem, Refusal},
    referrals::due,
    routes::{
        disclosures::{check_context, parse_items, terms_json},
        subject::Subject,
    },
};

/// One evaluation. A denial is an answer; what could not be evaluated is a refusal.
pub(super) async fn evaluate(
    app: &App,
    received: &Received,
    asked: Evaluation,
    continues: bool,
    route: &str,
) -> Result<Value, Refusal> {
    if asked.resource.kind != PERSON_RECORD {
        let set = app.policies().set;
        let verdict = set.access().decide(
            party(&asked.subject),
            verb(&asked.action),
            party(&asked.resource),
            &asked.context,
        );
        return match verdict {
            Ok(verdict) if verdict.permitted => Ok(json!({ "decision": true })),
            Ok(verdict) => {
                if verdict.faulted {
                    tracing::error!("a policy in policies/access met an error, so the answer is no");
                }
                Ok(json!({ "decision": false, "context": { "reason": "not-permitted" } }))
            }
            Err(error) => Err(received.refuse(app, unreadable(error), route).await),
        };
    }
    let question = match question(app, received, &asked) {
        Ok(question) => question,
        Err(problem) => return Err(received.refuse(app, problem, route).await),
    };
    let ask = Ask {
        caller: received.caller.clone(),
        context: received.context.clone(),
        question,
        request_id: received.request_id.clone(),
        answer_only: true,
        writing: Writing::Items,
        continues,
        list: None,
        deadline: received.deadline,
    };
    match disclose(app, ask).await {
        Ok(answer) => Ok(permitted(app, &answer)),
        Err(refusal) => denied(app, &refusal).ok_or(refusal),
    }
}

pub(super) fn question(app: &App, received: &Received, asked: &Evaluation) -> Result<Question, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    check_subject(received, &asked.subject)?;
    if asked.action.name != "disclose" {
        return Err(invalid("action.name: disclose is the one action on a person-record"));
    }
    let text = |name: &str| asked.resource.properties.get(name).and_then(Value::as_str);
    let scheme = text("scheme")
        .ok_or_else(|| invalid("resource.properties.scheme: nhs-number, or local: and the organisation"))?;
    let subject = Subject { scheme: scheme.to_owned(), value: asked.resource.id.clone() }.parse()?;
    let provider = text("provider").and_then(|id| id.parse().ok());
    let provider = provider.ok_or_else(|| invalid("resource.properties.provider: name the record holder"))?;
    check_context(&received.context, &subject)?;
    let purpose = received.context.purpose;
    let said = |name: &str| asked.context.get(name).map(|value| value.as_str().unwrap_or(""));
    if said("purpose").is_some_and(|said| said != purpose.as_str()) {
        return Err(Problem::ContextMismatch("context.purpose is not the one that was signed"));
    }
    if said("case_reference").is_some_and(|said| said != received.context.case_reference.as_str()) {
        return Err(Problem::ContextMismatch("context.case_reference is not the one that was signed"));
    }
    // A misspelt member would be passed over, as the standard asks, and the question would grow: so this one has
    // to be there.
    let asked_items = match asked.action.properties.get("items") {
        Some(Value::String(all)) if all == "all-agreed" => Asked::AllAgreed,
        Some(Value::Array(items)) => {
            let items: Option<Vec<String>> =
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            let items = items.ok_or_else(|| invalid("action.properties.items: a list of item names"))?;
            Asked::Items(parse_items(app, &items)?)
        }
        _ => return Err(invalid("action.properties.items: a list of item names, or all-agreed")),
    };
    let break_glass = asked
        .action
        .properties
        .get("break_glass")
        .map(|id| id.as_str().unwrap_or("").parse::<BreakGlassId>());
    let break_glass = break_glass
        .transpose()
        .map_err(|error| Problem::InvalidRequest(format!("action.properties.break_glass: {error}")))?;
    Ok(Question {
        recipient: received.caller.organisation.clone(),
        role: received.caller.named.role().to_owned(),
        practitioner: received.caller.named.practitioner().map(str::to_owned),
        break_glass,
        provider,
        purpose,
        subject,
        asked: asked_items,
        list_people: None,
        agreements: received.caller.granted(purpose, Action::Decide).flatten(),
    })
}

/// The subject of a question about a person is whoever signed it: nobody asks in another's name.
pub(super) fn check_subject(received: &Received, subject: &Entity) -> Result<(), Problem> {
    let kind = if received.caller.named.practitioner().is_some() { "practitioner" } else { "unattended-job" };
    if subject.kind == kind && subject.id == received.caller.named.id() {
        return Ok(());
    }
    Err(Problem::ContextMismatch(
        "subject must be the practitioner (or unattended-job, with its owner's id) of the signed context",
    ))
}

fn permitted(app: &App, answer: &Answer) -> Value {
    let mut context = terms_json(answer);
    if let Value::Object(members) = &mut context {
        let obligations = members.remove("obligations").unwrap_or_default();
        members.insert("obligations".to_owned(), obligations_of(&obligations));
        members.insert("in_words".to_owned(), obligations.get("in_words").cloned().unwrap_or_default());
        members.insert("items".to_owned(), answer.items.clone().into());
        members.insert("evaluation_id".to_owned(), answer.receipt.decision_id.clone().into());
        members.insert("evaluated_at".to_owned(), app.clock.now().to_string().into());
    }
    json!({ "decision": true, "context": context })
}

/// Each obligation as one object. None of the registered types says what ours do, so each is `custom`.
fn obligations_of(obligations: &Value) -> Value {
    let one = |id: &str, properties: Value| {
        let mut properties = properties;
        if let Value::Object(members) = &mut properties {
            members.insert("vendor".to_owned(), "concordat".into());
            members.insert("action".to_owned(), id.into());
        }
        json!({ "id": id, "type": "custom", "properties": properties })
    };
    let of = |name: &str| obligations.get(name).cloned().unwrap_or_default();
    let mut all = vec![
        one("use-for-purpose-only", json!({ "purpose": of("purpose") })),
        one("delete-by", json!({ "until": of("retain_until") })),
        one("report-errors", json!({ "to": of("rectification_contact") })),
        one("report-breaches", json!({ "to": of("breach_contact") })),
    ];
    if of("onward_sharing") != Value::Bool(true) {
        all.push(one("no-onward-sharing", json!({})));
    }
    if of("obtain_consent_to_visit") == Value::Bool(true) {
        all.push(one("obtain-consent-to-visit", json!({})));
    }
    all.into()
}

/// A refusal that is a decision, as a denial.
fn denied(app: &App, refusal: &Refusal) -> Option<Value> {
    let requestable = matches!(refusal.problem, Problem::Referred);
    let is_decision = matches!(
        refusal.problem,
        Problem::Refused(..) | Problem::Referred | Problem::NoRecordAvailable | Problem::CeilingReached
    );
    let receipt = refusal.receipt.as_ref().filter(|_| is_decision)?;
    let now = app.clock.now();
    let mut context = json!({
        "evaluation_id": receipt.decision_id,
        "evaluated_at": now.to_string(),
        "reason": refusal.problem.code(),
        "detail": refusal.problem.detail(),
        "receipt": receipt,
    });
    if let (true, Value::Object(members)) = (requestable, &mut context) {
        let base = &app.authenticator.public_url;
        let request = json!({
            "endpoint": format!("{base}/access/v1/requests"),
            "template": "one-off-disclosure",
            "expires_at": due(now).to_string(),
            "request_schema_url": format!("{base}/openapi.json#/components/schemas/RequestForm"),
            "display": {
                "title": "Ask for a one-off disclosure",
                "description": "A named person of the record holder decides. Send the form in context.form.",
            },
        });
        members.insert("access_request".to_owned(), request);
    }
    Some(json!({ "decision": false, "context": context }))
}

pub(super) fn unreadable(error: sharing::access::Unreadable) -> Problem {
    Problem::InvalidRequest(error.to_string())
}
