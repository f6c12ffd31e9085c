//! An agreement's versions: the terms that are signed, what differs between two of them, a document that people read, and
//! a bundle that verifies offline.

use super::{
    AgreementId, App, Arc, Deserialize, IntoResponse, Json, ManagedRow, Path, Problem, Received, Refusal,
    Refused, Request, Response, Serialize, State, StepError, Terms, ToSchema, Value, agreements, found,
    header, inconsistent, internal, named, receive, record_read, request_id, respond, settle,
};
use sharing::agreement::diff;
use store::TermsRow;

use crate::{
    agreements::{bundle, document::Document},
    routes::PAGE_POLICY,
};

/// Terms that somebody thinks of offering.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareRequest {
    /// The terms, as for a counter-proposal.
    #[schema(value_type = Object)]
    terms: Value,
}

/// What would differ from a version, were these terms offered.
#[derive(Serialize, ToSchema)]
pub struct CompareBody {
    /// The version that they are compared with.
    from: u32,
    /// SHA-256 of the terms as canonical JSON, under the number that they would get.
    terms_sha256: String,
    /// Every member that differs, what widens first.
    differences: Vec<DifferenceBody>,
}

/// Two versions to compare. Each is the newest where it is left out.
#[derive(Deserialize)]
struct Between {
    from: u32,
    to: u32,
}

/// What differs between two versions.
#[derive(Serialize, ToSchema)]
pub struct DiffBody {
    /// From.
    from: u32,
    /// To.
    to: u32,
    /// Every member that differs, what widens first. None is left out: terms without a difference are the same terms.
    differences: Vec<DifferenceBody>,
}

/// A member that differs.
#[derive(Serialize, ToSchema)]
pub struct DifferenceBody {
    /// Where.
    #[schema(example = "flows[referral].items[person.address].form")]
    place: String,
    /// `widens`, `alters` or `narrows`.
    direction: &'static str,
    /// What it was; none when it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    from: Option<Value>,
    /// What it is; none when it was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    to: Option<Value>,
}

impl DifferenceBody {
    fn of(found: diff::Difference) -> Self {
        Self { place: found.place, direction: found.direction.as_str(), from: found.from, to: found.to }
    }
}

/// The terms of a version, as the canonical JSON (RFC 8785) that is signed.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "The bytes that are signed; `ETag` is their SHA-256", content_type = "application/json"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn terms(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let (row, _) = seen(&app, request, (&id, &version), "/v1/agreements/{id}/versions/{version}").await?;
        let tag = format!("\"{}\"", row.terms_sha256);
        Ok(([(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, tag)], row.terms)
            .into_response())
    })
    .await
}

/// A version as people read it: a page that prints, with the hash of the terms it was made from.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}/document", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "The page", content_type = "text/html"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn page(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/document";
        let document = read(&app, request, (&id, &version), route).await?;
        let page = document.html().map_err(|error| Refusal::from(internal(&error)))?;
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        ];
        Ok((headers, page).into_response())
    })
    .await
}

/// The same as a PDF, tagged for screen readers (PDF/UA-1) and fit for an archive (PDF/A-2a), with that hash on every page.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}/document.pdf", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "The document", content_type = "application/pdf"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn pdf(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/document.pdf";
        let document = read(&app, request, (&id, &version), route).await?;
        // Long agreements take a while: other requests do not wait for it.
        let made = tokio::task::spawn_blocking(move || document.pdf()).await;
        let made = made.map_err(|error| Refusal::from(internal(&error)))?;
        let made = made.map_err(|error| Refusal::from(internal(&error)))?;
        Ok(([(header::CONTENT_TYPE, "application/pdf")], made).into_response())
    })
    .await
}

async fn read(
    app: &App,
    request: Request,
    (id, version): (&str, &str),
    route: &'static str,
) -> Result<Document, Refusal> {
    let (terms, row) = seen(app, request, (id, version), route).await?;
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let (id, number) = (named(&row)?, u32::try_from(terms.version).unwrap_or_default());
    let mut signatures = Vec::new();
    for signature in app.store.signatures(&id, number).await.map_err(failed)? {
        let officer = app.store.officer(&signature.officer_id).await.map_err(failed)?;
        let name = officer.map(|officer| officer.name).unwrap_or_default();
        signatures.push((signature, name));
    }
    let managed = agreements::read(&row).map_err(|error| Refusal::from(internal(&error)))?;
    let document = Document::of(&app.policies().set, &terms, managed.state_of(number), &signatures);
    document.map_err(|error| Refusal::from(internal(&error)))
}

/// A version with its signatures, their keys and the ledger's proofs: what `concordat agreement verify` checks offline.
#[utoipa::path(get, path = "/v1/agreements/{id}/versions/{version}/bundle", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "The bundle", content_type = "application/json"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn bundled(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/bundle";
        let (terms, row) = seen(&app, request, (&id, &version), route).await?;
        let (id, number) = (named(&row)?, u32::try_from(terms.version).unwrap_or_default());
        crate::sight::indexed(&app).await?;
        let made =
            bundle::make(&app, &id, number).await.map_err(|error| Refusal::from(internal(error.as_ref())))?;
        Ok(Json(made).into_response())
    })
    .await
}

/// What differs between two versions, member by member.
#[utoipa::path(get, path = "/v1/agreements/{id}/diff", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("from" = u32, Query, description = "A version"), ("to" = u32, Query, description = "Another")),
    responses((status = 200, description = "The differences", body = DiffBody), (status = 400, description = "`from` and `to` are missing"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn differences(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/diff";
        let between = between(request.uri().query().unwrap_or_default());
        let received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let Some(between) = between else {
            let problem = Problem::InvalidRequest("from, to: two versions, as numbers".to_owned());
            return Err(received.refuse(&app, problem, route).await);
        };
        let id = named(&row)?;
        let mut both = Vec::new();
        for version in [between.from, between.to] {
            let terms = visible(&app, &received, (&row, &id), version).await?;
            let Some(terms) = terms else {
                return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
            };
            both.push(Terms::kept(&terms.terms).map_err(|error| Refusal::from(internal(&error)))?);
        }
        record_read(&app, &received, id.as_str()).await?;
        let [from, to] = both.as_slice() else { return Err(Refusal::from(inconsistent(&"two versions"))) };
        let differences = diff::diff(from, to, &app.policies().set);
        let differences = differences.into_iter().map(DifferenceBody::of).collect();
        Ok(Json(DiffBody { from: between.from, to: between.to, differences }).into_response())
    })
    .await
}

/// What would differ from a version, were these terms offered: nothing is. What does not fit is said as it would be then.
#[utoipa::path(post, path = "/v1/agreements/{id}/versions/{version}/compare", tag = "agreements",
    params(("id" = String, Path, description = "The agreement"), ("version" = u32, Path, description = "The version")), request_body = CompareRequest,
    responses((status = 200, description = "The differences", body = CompareBody), (status = 400, description = "The terms do not fit"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn compare(
    State(app): State<Arc<App>>,
    Path((id, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/agreements/{id}/versions/{version}/compare";
        let mut received = receive(&app, request).await?;
        let row = found(&app, &received, &id, route).await?;
        let name = named(&row)?;
        let kept = match version.parse() {
            Ok(version) => visible(&app, &received, (&row, &name), version).await?,
            Err(_) => None,
        };
        let Some(kept) = kept else { return Err(received.refuse(&app, Problem::NoSuchEntry, route).await) };
        let asked = received.json::<CompareRequest>(app.limits.terms_bytes_max).await;
        let work = async {
            let asked = asked.map_err(Refused::Problem)?;
            let next = agreements::read(&row)?.latest + 1;
            let offered = Terms::offered(&name, next, asked.terms)
                .map_err(|error| Refused::Problem(Problem::InvalidRequest(error.to_string())))?;
            let set = app.policies().set;
            let outline = agreements::outline(&set, &offered)?;
            let from = Terms::kept(&kept.terms).map_err(|error| StepError::Kept(error.to_string()))?;
            record_read(&app, &received, name.as_str())
                .await
                .map_err(|refusal| Refused::Problem(refusal.problem))?;
            let differences = diff::diff(&from, &offered, &set).into_iter().map(DifferenceBody::of).collect();
            let from = u32::try_from(kept.version).unwrap_or_default();
            let shown = CompareBody { from, terms_sha256: outline.terms_sha256, differences };
            Ok(Json(shown).into_response())
        };
        settle(&app, &received, route, work.await).await
    })
    .await
}

fn between(query: &str) -> Option<Between> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let [(one, from), (other, to)] = pairs.as_slice() else { return None };
    let (from, to) = match (one.as_ref(), other.as_ref()) {
        ("from", "to") => (from, to),
        ("to", "from") => (to, from),
        _ => return None,
    };
    Some(Between { from: from.parse().ok()?, to: to.parse().ok()? })
}

/// A version's terms, if the caller may see them.
pub(super) async fn seen(
    app: &App,
    request: Request,
    (id, version): (&str, &str),
    route: &'static str,
) -> Result<(TermsRow, ManagedRow), Refusal> {
    let received = receive(app, request).await?;
    let row = found(app, &received, id, route).await?;
    let name = named(&row)?;
    let terms = match version.parse() {
        Ok(version) => visible(app, &received, (&row, &name), version).await?,
        Err(_) => None,
    };
    let Some(terms) = terms else { return Err(received.refuse(app, Problem::NoSuchEntry, route).await) };
    record_read(app, &received, &row.id).await?;
    Ok((terms, row))
}

/// A draft is seen by whoever writes it alone, beside a version in force as well, and when it was taken back.
async fn visible(
    app: &App,
    received: &Received,
    (row, id): (&ManagedRow, &AgreementId),
    version: u32,
) -> Result<Option<TermsRow>, Refusal> {
    let managed = agreements::read(row).map_err(|error| Refusal::from(internal(&error)))?;
    if !managed.shows(version, &received.caller.organisation) {
        return Ok(None);
    }
    app.store.terms(id, version).await.map_err(|error| Refusal::from(internal(&error)))
}
