//! How a decision came about: in plain words for the practitioner who asked, in full for officers. Reading is
//! recorded.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use ledger::entry::{Body, Decided};
use serde::Serialize;
use sharing::explain::{End, Recorded};
use utoipa::ToSchema;

use super::consents::{commit, respond};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive_any, request_id},
    fault::internal,
    problem::{Problem, Refusal},
    referrals::{decided_in, decided_of},
};

/// A decision in words.
#[derive(Serialize, ToSchema)]
pub struct ExplanationBody {
    /// The decision.
    decision_id: String,
    /// `permitted`, `refused`, `no-record-available`, `referred`, `no-answer` or `open`.
    result: &'static str,
    /// What happened and what to do next. It says no more about the person than the answer did.
    in_words: Vec<String>,
    /// In full, for officers of the record holder, and for auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_full: Option<InFull>,
}

/// Everything that bore on a decision.
#[derive(Serialize, ToSchema)]
pub struct InFull {
    /// Every rule that was looked at, in order.
    rules: Vec<RuleBody>,
    /// Every reason against it.
    reasons: Vec<ReasonBody>,
    /// The agreement, its version and flow, and the SHA-256 of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    agreement: Option<serde_json::Value>,
    /// The policy set it was decided under.
    policy_revision: u64,
    /// The consents it rests on.
    consents: Vec<String>,
    /// The items that were permitted, as `item:form`.
    permitted: Vec<String>,
    /// The guardrails that forbade it.
    guardrails: Vec<String>,
    /// The grant it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// The emergency it was asked under.
    #[serde(skip_serializing_if = "Option::is_none")]
    break_glass: Option<String>,
}

/// A rule.
#[derive(Serialize, ToSchema)]
pub struct RuleBody {
    /// Its name.
    rule: String,
    /// `pass`, `fail`, `n/a` or `overridden`.
    outcome: String,
    /// What it asks.
    sentence: &'static str,
}

/// A reason.
#[derive(Serialize, ToSchema)]
pub struct ReasonBody {
    /// Its code.
    code: String,
    /// What was wrong.
    sentence: &'static str,
}

/// Read how a decision of yours, or about a record of yours, came about.
#[utoipa::path(get, path = "/v1/decisions/{id}/explanation", tag = "decisions", params(("id" = String, Path, description = "The decision")),
    responses((status = 200, description = "The decision in words", body = ExplanationBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn explanation(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let (received, officer) = receive_either(&app, request).await?;
        let leaves = app.store.decision(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
        let found = decided_in(&leaves);
        let seen = found.as_ref().and_then(|(first, end)| {
            let decided = decided_of(first)?;
            let view = view(&app, &received, officer, decided)?;
            Some((first, end, decided, view))
        });
        let Some((first, end, decided, view)) = seen else {
            let route = "/v1/decisions/{id}/explanation";
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        };
        let set = app.policies().set;
        let recorded = Recorded { names: Some(&set), ..recorded(decided, end.as_ref()) };
        let referred = matches!(first, Body::Referral(_));
        let body = ExplanationBody {
            decision_id: id.clone(),
            result: recorded.result(referred).as_str(),
            in_words: if is_asker(&received, decided) {
                recorded.to_practitioner(referred)
            } else {
                recorded.to_others(referred)
            },
            in_full: (view == View::Full).then(|| in_full(decided, &recorded)),
        };
        let entry =
            Body::DecisionRead { of: id, what: "explanation".to_owned(), by: received.caller.actor() };
        commit(&app, &received, entry, Vec::new()).await?;
        Ok(Json(body).into_response())
    })
    .await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Own,
    Full,
}

/// Who may read what. The asker's own officers read what their practitioner could: the rest is about a person
/// whom their organisation was not told of.
fn view(app: &App, received: &Received, officer: bool, decided: &Decided) -> Option<View> {
    let caller = &received.caller;
    // Auditors see the whole ledger.
    if caller.may(Capability::Audit) && caller.granted(received.context.purpose, Action::Audit).is_some() {
        return Some(View::Full);
    }
    let provider = decided.provider.parse().ok()?;
    let policies = app.policies();
    let holder = policies.set.provider(&provider).map(|provider| provider.organisation().clone());
    if officer && holder.as_ref() == Some(&caller.organisation) {
        return Some(View::Full);
    }
    let own = decided.recipient == caller.organisation.as_str() && (officer || is_asker(received, decided));
    own.then_some(View::Own)
}

/// Whether it was the caller's own question.
fn is_asker(received: &Received, decided: &Decided) -> bool {
    let caller = &received.caller;
    let person = Some(caller.named.id());
    decided.recipient == caller.organisation.as_str()
        && (decided.by.practitioner.as_deref() == person || decided.by.unattended_owner.as_deref() == person)
}

/// Accepts an asker, a reviewer or an auditor; says whether it is a reviewer.
async fn receive_either(app: &App, request: Request) -> Result<(Received, bool), Refusal> {
    let either = [
        (Capability::Ask, Action::Read),
        (Capability::Review, Action::Review),
        (Capability::Audit, Action::Audit),
    ];
    let received = receive_any(app, request, &either).await?;
    let officer = received.caller.may(Capability::Review)
        && received.caller.granted(received.context.purpose, Action::Review).is_some();
    Ok((received, officer))
}

/// What the ledger keeps of a decision, as `explain` reads it.
pub fn recorded<'a>(decided: &'a Decided, end: Option<&'a Body>) -> Recorded<'a> {
    Recorded {
        recipient: &decided.recipient,
        provider: &decided.provider,
        purpose: &decided.purpose,
        agreement: decided
            .agreement
            .as_ref()
            .map(|reference| (reference.agreement.as_str(), reference.version)),
        grant: decided.grant.as_deref(),
        break_glass: decided.break_glass.as_deref(),
        trace: &decided.trace,
        reasons: &decided.reasons,
        end: match end {
            Some(Body::Release { items, .. }) => End::Released { items },
            Some(Body::Closure { outcome, .. }) if outcome == "decision_only" => End::AnswerOnly,
            Some(Body::Closure { outcome, reasons, .. }) => End::NotReleased { outcome, reasons },
            _ => End::None,
        },
        names: None,
    }
}

fn in_full(decided: &Decided, recorded: &Recorded<'_>) -> InFull {
    let rules = recorded.to_officer().into_iter();
    InFull {
        rules: rules
            .map(|line| RuleBody { rule: line.rule, outcome: line.outcome, sentence: line.sentence })
            .collect(),
        reasons: recorded
            .reasons_to_officer()
            .into_iter()
            .map(|(code, sentence)| ReasonBody { code, sentence })
            .collect(),
        agreement: decided.agreement.as_ref().and_then(|reference| serde_json::to_value(reference).ok()),
        policy_revision: decided.policy_revision,
        consents: decided.consents.clone(),
        permitted: decided.permitted.clone(),
        guardrails: decided.guardrails.clone(),
        grant: decided.grant.clone(),
        break_glass: decided.break_glass.clone(),
    }
}
