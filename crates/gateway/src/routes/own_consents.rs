//! A person's own answer to whether their records may leave, given in the console. It is no route of the public interface: whoever
//! the person is and that it is they who answer is what the console's sign-in has found out. What they agree to is read from the
//! agreement and not from the request, so that a page can ask for nothing else.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use console::person::Role;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sharing::{
    consenting::{self, ConsentQuestion},
    explain,
    subject::{ConsentStatus, ConsentType, GivenBy},
};
use store::{Change, ConsentRow, Recorded, Submission};

use super::{
    consents::{ConsentRequest, kind_of, parse, recorded, resolve_to_record, respond},
    said::Method,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id},
    fault::commit_problem,
    problem::{Problem, Refusal},
    receipt::Receipt,
};

const ROUTE: &str = "/v1/own-consents";

/// What is said with the record of how it is known that the person gave it.
const EVIDENCE: &str =
    "the person's own answer in the console, signed in with an identity that the provider checked";

/// An answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnConsentRequest {
    subject: Subject,
    agreement: String,
    /// The version that they were shown.
    version: u32,
    flow: String,
    /// SHA-256 of what they were shown, in hexadecimal.
    shown: String,
    /// `given` or `refused`.
    answer: ConsentStatus,
}

/// Records what a person answers for themselves.
pub async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<OwnConsentRequest>(app.limits.body_bytes_max).await;
        let kind = asked.as_ref().map_or(Recorded::Allows, |asked| kind_of(asked.answer));
        let rows = asked.and_then(|asked| rows(&app, &received, &asked));
        let (rows, identifier) = match rows {
            Ok(found) => found,
            Err(problem) => return Err(received.refuse(&app, problem, ROUTE).await),
        };
        let subject = resolve_to_record(&app, &received, &identifier, (ROUTE, kind)).await?;
        let named = |row| ConsentRow { subject: subject.pseudonym.clone(), ..row };
        let rows: Vec<_> = rows.into_iter().map(named).collect();
        let entries = rows.iter().map(|row| recorded(row, received.caller.actor())).collect();
        let mut submission = Submission::of(app.now(), entries);
        submission.replay = Some(received.replay_guard());
        submission.changes = vec![Change::KnowSubject(subject)];
        submission.changes.extend(rows.iter().map(|row| Change::RecordConsent(Box::new(row.clone()))));
        let committed = app.store.commit(submission).await;
        let committed = committed.map_err(|error| Refusal::from(commit_problem(error)))?;
        let ids: Vec<_> = rows.iter().map(|row| row.record.id.to_string()).collect();
        let receipt = Receipt::of(ids.first().map_or("", String::as_str), &committed);
        Ok((StatusCode::CREATED, Json(json!({ "consents": ids, "receipt": receipt }))).into_response())
    })
    .await
}

/// A row for each consent that the flow needs.
fn rows(
    app: &App,
    received: &Received,
    asked: &OwnConsentRequest,
) -> Result<(Vec<ConsentRow>, sharing::SubjectIdentifier), Problem> {
    if received.caller.named.role() != Role::Citizen.as_str() {
        return Err(Problem::NotAllowed("whoever records somebody else's consent says so, under consents"));
    }
    if !matches!(asked.answer, ConsentStatus::Given | ConsentStatus::Refused) {
        return Err(Problem::InvalidRequest("answer: given or refused".to_owned()));
    }
    let identifier = asked.subject.parse()?;
    let (set, at) = (app.policies().set, app.now());
    let questions = consenting::questions(&set, identifier.scheme(), &received.caller.organisation, at);
    let question = questions.into_iter().find(|question| {
        question.agreement.id().as_str() == asked.agreement
            && question.flow.id.get_ref().as_str() == asked.flow
    });
    let question = question.ok_or(Problem::NoSuchEntry)?;
    let shown = question.shown();
    // The same version may need a yes for other items now: what is confidential is in the catalogue. A no is taken all the same:
    // it is to every flow of the same three, whatever was shown.
    let is_current = question.agreement.version == asked.version && shown.sha256() == asked.shown;
    if !is_current && asked.answer == ConsentStatus::Given {
        let changed = "the agreement was changed while you read it; read it again, and answer then";
        return Err(Problem::WrongState(changed));
    }
    let mut rows = Vec::new();
    for consent_type in &question.types {
        let (mut row, _) = parse(app, received, &request(&set, asked, &question, *consent_type, at))?;
        row.record.shown = is_current.then(|| Box::new(shown.clone()));
        rows.push(row);
    }
    Ok((rows, identifier))
}

fn request(
    set: &sharing::PolicySet,
    asked: &OwnConsentRequest,
    question: &ConsentQuestion<'_>,
    consent_type: ConsentType,
    at: Timestamp,
) -> ConsentRequest {
    let provider = question.flow.provider.get_ref().as_str();
    let items = question.asked.iter();
    let is_given = asked.answer == ConsentStatus::Given;
    ConsentRequest {
        subject: Subject { scheme: asked.subject.scheme.clone(), value: asked.subject.value.clone() },
        consent_type,
        status: asked.answer,
        controller: question.provider.organisation().to_string(),
        recipients: vec![question.flow.recipient.get_ref().to_string()],
        purposes: vec![question.flow.purpose.to_string()],
        data_categories: items.map(|item| explain::released_item(set, provider, &item.with_form())).collect(),
        given_by: GivenBy::Person,
        given_at: None,
        method: Method::Online,
        notice_version: format!(
            "{} version {}, {}, as shown in the console",
            asked.agreement, asked.version, asked.flow
        ),
        expires_at: is_given.then(|| question.expires_at(at).to_string()),
        evidence_reference: Some(EVIDENCE.to_owned()),
    }
}
