//! The same for FHIR R4 clients: `GET /fhir/{provider}/Patient/{id}` and `?identifier=`.
//!
//! FHIR puts the identifier in the URL; nothing here writes that URL to a log. Search parameters are rebuilt from
//! one that is understood, and any other refuses.
//!
//! Source: <https://hl7.org/fhir/R4/http.html#read>, <https://hl7.org/fhir/R4/search.html>.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, Request, State},
    http::{HeaderName, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use sharing::{Question, SubjectIdentifier, SubjectScheme, Writing, decide::Asked};

use super::disclosures::{check_context, terms_json};
use crate::{
    app::App,
    caller::{Action, Capability},
    disclose::{Answer, Ask, disclose},
    edge::{Received, receive, request_id},
    problem::{Face, Problem, Refusal},
};

const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// Read a person's record as a smaller FHIR R4 Patient, tagged SUBSETTED.
#[utoipa::path(get, path = "/fhir/{provider}/Patient/{id}", tag = "fhir",
    params(("provider" = String, Path, description = "The record holder"), ("id" = String, Path, description = "The NHS number")),
    responses((status = 200, description = "A Patient", content_type = "application/fhir+json"),
        (status = 400, description = "OperationOutcome"), (status = 401, description = "OperationOutcome"),
        (status = 403, description = "OperationOutcome"), (status = 404, description = "OperationOutcome")))]
pub async fn read(
    State(app): State<Arc<App>>,
    Path((provider, id)): Path<(String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let request_id = request_id(request.headers());
    let parsed = if parameters.is_empty() { nhs_number(&id) } else { Err(unknown_parameter()) };
    match ask(&app, request, &provider, parsed, "/fhir/{provider}/Patient/{id}").await {
        Ok(answer) => resource(&answer, patient(&answer).to_owned()),
        Err(refusal) => refusal.into_response(Face::Fhir, request_id.as_deref()),
    }
}

/// Search for a person by `identifier` alone; the answer is a searchset of one.
#[utoipa::path(get, path = "/fhir/{provider}/Patient", tag = "fhir",
    params(("provider" = String, Path, description = "The record holder"),
        ("identifier" = String, Query, description = "`https://fhir.nhs.uk/Id/nhs-number|` and the NHS number")),
    responses((status = 200, description = "A searchset Bundle", content_type = "application/fhir+json"),
        (status = 400, description = "OperationOutcome"), (status = 401, description = "OperationOutcome"),
        (status = 403, description = "OperationOutcome"), (status = 404, description = "OperationOutcome")))]
pub async fn search(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request) -> Response {
    let request_id = request_id(request.headers());
    let parsed = searched_for(request.uri());
    match ask(&app, request, &provider, parsed, "/fhir/{provider}/Patient").await {
        Ok(answer) => {
            let bundle = [
                r#"{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{"resource":"#,
                patient(&answer),
                r#","search":{"mode":"match"}}]}"#,
            ];
            resource(&answer, bundle.concat())
        }
        Err(refusal) => refusal.into_response(Face::Fhir, request_id.as_deref()),
    }
}

fn nhs_number(id: &str) -> Result<SubjectIdentifier, Problem> {
    let parsed = SubjectIdentifier::parse(SubjectScheme::NhsNumber, id);
    parsed.map_err(|error| Problem::InvalidRequest(error.to_string()))
}

fn unknown_parameter() -> Problem {
    Problem::InvalidRequest(
        "the one search parameter is `identifier`; others are refused, not ignored".to_owned(),
    )
}

/// The one person whom a search is for.
///
/// # Errors
/// [`Problem::InvalidRequest`] for every parameter but one `identifier` of the one system.
pub fn searched_for(uri: &Uri) -> Result<SubjectIdentifier, Problem> {
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| unknown_parameter())?;
    let [(name, value)] = parameters.0.as_slice() else { return Err(unknown_parameter()) };
    if name != "identifier" {
        return Err(unknown_parameter());
    }
    match value.split_once('|') {
        Some((NHS_NUMBER_SYSTEM, number)) => nhs_number(number),
        _ => Err(Problem::InvalidRequest(format!(
            "identifier must be `{NHS_NUMBER_SYSTEM}|` and the nhs number"
        ))),
    }
}

async fn ask(
    app: &App,
    request: Request,
    provider: &str,
    subject: Result<SubjectIdentifier, Problem>,
    route: &str,
) -> Result<Answer, Refusal> {
    let received = receive(app, request, Capability::Ask, Action::Read).await?;
    match question(app, &received, provider, subject) {
        Ok(question) => {
            let Received { caller, context, request_id, deadline, .. } = received;
            let (answer_only, continues, list, writing) = (false, false, None, Writing::Patient);
            let ask = Ask {
                caller,
                context,
                question,
                request_id,
                answer_only,
                writing,
                continues,
                list,
                deadline,
            };
            disclose(app, ask).await
        }
        Err(problem) => Err(received.refuse(app, problem, route).await),
    }
}

fn question(
    app: &App,
    received: &Received,
    provider: &str,
    subject: Result<SubjectIdentifier, Problem>,
) -> Result<Question, Problem> {
    let subject = subject?;
    check_context(&received.context, &subject)?;
    let provider: sharing::identifier::ProviderId = provider.parse().map_err(|_| Problem::NoSuchRoute)?;
    let speaks_fhir =
        app.policies().set.provider(&provider).is_some_and(|provider| {
            provider.provider.protocol == sharing::catalogue::Protocol::FhirR4Patient
        });
    if !speaks_fhir {
        return Err(Problem::NoSuchRoute);
    }
    let purpose = received.context.purpose;
    Ok(Question {
        recipient: received.caller.organisation.clone(),
        role: received.caller.named.role().to_owned(),
        practitioner: received.caller.named.practitioner().map(str::to_owned),
        break_glass: None,
        provider,
        purpose,
        subject,
        asked: Asked::AllAgreed,
        list_people: None,
        agreements: received.caller.granted(purpose, Action::Read).flatten(),
    })
}

/// The Patient as compact JSON.
fn patient(answer: &Answer) -> &str {
    answer.record.as_ref().and_then(|record| record.as_fhir_patient()).unwrap_or("null")
}

/// The resource, with its terms in a header, where FHIR clients that know nothing of them leave them.
fn resource(answer: &Answer, body: String) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/fhir+json")], body).into_response();
    if let Ok(terms) = HeaderValue::from_str(&ascii(&terms_json(answer).to_string())) {
        response.headers_mut().insert(HeaderName::from_static("sharing-terms"), terms);
    }
    response
}

/// JSON in a header is ASCII: everything else is escaped.
pub(super) fn ascii(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::new(), |mut out, character| {
        if character.is_ascii() {
            out.push(character);
        } else {
            use std::fmt::Write as _;
            for unit in character.encode_utf16(&mut units) {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        out
    })
}
