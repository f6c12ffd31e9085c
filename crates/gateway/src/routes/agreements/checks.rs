//! What to look at in a version: less data that could do, the legal bases side by side, and what an experienced lead would
//! ask. It decides nothing.

use super::{
    AgreementId, AgreementRequest, App, Arc, IntoResponse, Json, Path, Problem, Refused, Request, Response,
    Serialize, State, StepError, Terms, ToSchema, Value, agreements,
    comments::{self, CommentBody},
    documents, internal, receive, record_read, request_id, respond, settle,
};
use sharing::{
    agreement::{Agreement, ControllerRole, ladder, lifecycle::Refusal::NotAParty, side_by_side},
    lint,
};

/// What to look at in a version.
#[derive(Serialize, ToSchema)]
pub struct ChecksBody {
    /// Less data that could do, from the catalogue's coarser forms: `place`, `how` (`drop`, `band`, `flag`, `household`,
    /// `pull-on-demand`, `aggregate`), `form`, and what it would `cost` the recipient's purpose.
    #[schema(value_type = Vec<Object>)]
    lesser: Vec<Value>,
    /// Each flow's legal bases, the `provider`'s beside the `recipient`'s, with `gaps` where something is missing.
    #[schema(value_type = Vec<Object>)]
    bases: Vec<Value>,
    /// What an experienced lead would ask.
    findings: Vec<FindingBody>,
    /// Comments, to any version, that wait for somebody's answer.
    unresolved_comments: Vec<CommentBody>,
}

/// Something to ask about.
#[derive(Serialize, ToSchema)]
pub struct FindingBody {
    /// `refuses`: requests would be refused because of it; `soon`; `ask`.
    severity: &'static str,
    /// Its code.
    code: &'static str,
    /// The agreement, or `agreement/flow`.
    place: String,
    /// What it is and what to do.
    message: String,
}

/// Whether terms would fit, were they offered.
#[derive(Serialize, ToSchema)]
pub struct FitsBody {
    /// The agreement's name.
    id: String,
    /// SHA-256 of the terms as canonical JSON.
    terms_sha256: String,
}

/// See whether an agreement could be begun with these terms: nothing is. What does not fit is said as it would be then.
#[utoipa::path(post, path = "/v1/agreements/check", tag = "agreements", request_body = AgreementRequest,
    responses((status = 200, description = "They fit", body = FitsBody), (status = 400, description = "The terms do not fit"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn fits(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/check";
        let mut received = receive(&app, request).await?;
        let asked = received.json::<AgreementRequest>(app.limits.terms_bytes_max).await;
        let work = async {
            let asked = asked.map_err(Refused::Problem)?;
            let invalid = |said: String| Refused::Problem(Problem::InvalidRequest(said));
            let id: AgreementId = asked.id.parse().map_err(|error| invalid(format!("id: {error}")))?;
            let terms = Terms::offered(&id, 1, asked.terms).map_err(|error| invalid(error.to_string()))?;
            let outline = agreements::outline(&app.policies().set, &terms)?;
            agreements::is_free(&app, &id).await?;
            if !outline.parties.contains_key(&received.caller.organisation) {
                return Err(Refused::Step(StepError::Refused(NotAParty)));
            }
            record_read(&app, &received, id.as_str())
                .await
                .map_err(|refusal| Refused::Problem(refusal.problem))?;
            Ok(Json(FitsBody { id: id.to_string(), terms_sha256: outline.terms_sha256 }).into_response())
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

/// What to look at before agreeing to a version: lesser data that could do, legal bases side by side, gaps.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}/checks", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "What to look at", body = ChecksBody),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn check(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/checks";
        let (row, _) = documents::seen(&app, request, (&id, &version), route).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| internal(error);
        let terms = Terms::kept(&row.terms).map_err(|error| failed(&error))?;
        let agreement = terms.agreement().map_err(|error| failed(&error))?;
        let in_force = app.policies().set;
        let set = agreements::with_terms(&in_force, &terms).map_err(|error| failed(&error))?;
        let json = |value: Result<Value, serde_json::Error>| value.map_err(|error| failed(&error));
        let lesser =
            ladder::ladder(&agreement, &set).into_iter().map(|rung| json(serde_json::to_value(rung)));
        let bases = side_by_side::side_by_side(&agreement, &set, app.clock.now());
        let bases = bases.into_iter().map(|bases| json(serde_json::to_value(bases)));
        let own = agreement.id().as_str();
        let findings = lint::lint(&set, None, app.clock.now()).into_iter().filter(|finding| {
            let of = finding.place.split('/').next();
            // Nobody has signed what is being looked at.
            of == Some(own) && finding.code != "not-signed"
        });
        let findings = findings.map(|finding| FindingBody {
            severity: finding.severity.as_str(),
            code: finding.code,
            place: finding.place,
            message: finding.message,
        });
        let findings = findings.chain(missing(&agreement)).collect();
        let (lesser, bases) = (lesser.collect::<Result<_, _>>()?, bases.collect::<Result<_, _>>()?);
        let unresolved_comments =
            comments::unresolved(&app, agreement.id()).await.map_err(|error| failed(&error))?;
        Ok(Json(ChecksBody { lesser, bases, findings, unresolved_comments }).into_response())
    })
    .await
}

/// What would keep it from being put in force, that nothing else finds in its terms: said while there is time to counter.
fn missing(agreement: &Agreement) -> impl Iterator<Item = FindingBody> {
    agreement.parties.iter().flat_map(|party| {
        let of = party.organisation.get_ref();
        let found = |code: &'static str, message: String| FindingBody {
            severity: lint::Severity::Refuses.as_str(),
            code,
            place: agreement.id().to_string(),
            message,
        };
        let notice = (!party.has_notice()).then(|| {
            found(
                "notice-missing",
                format!("{of} has no `privacy_notice`; without one its flows are not put in force"),
            )
        });
        let processor = (party.controller == ControllerRole::Processor).then(|| {
            let message = format!("{of} is a processor; whoever provides records has to be their controller");
            found("processor", message)
        });
        notice.into_iter().chain(processor)
    })
}
