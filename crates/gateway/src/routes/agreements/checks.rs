//! What to look at in a version: less data that could do, the legal bases side by side, and what an experienced lead would
//! ask. It decides nothing.

use super::{
    App, Arc, IntoResponse, Json, Path, Request, Response, Serialize, State, Terms, ToSchema, Value,
    agreements, documents, internal, request_id, respond,
};
use sharing::{
    agreement::{ladder, side_by_side},
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
        let failed = |error: &dyn std::fmt::Display| internal(error);
        let terms = Terms::kept(&row.terms).map_err(|error| failed(&error))?;
        let agreement = terms.agreement().map_err(|error| failed(&error))?;
        let in_force = app.policies().set;
        let set = agreements::with_terms(&in_force, &terms).map_err(|error| failed(&error))?;
        let json = |value: Result<Value, serde_json::Error>| value.map_err(|error| failed(&error));
        let lesser =
            ladder::ladder(&agreement, &set).into_iter().map(|rung| json(serde_json::to_value(rung)));
        let bases = side_by_side::side_by_side(&agreement, &set);
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
        let findings = findings.collect();
        let (lesser, bases) = (lesser.collect::<Result<_, _>>()?, bases.collect::<Result<_, _>>()?);
        Ok(Json(ChecksBody { lesser, bases, findings }).into_response())
    })
    .await
}
