//! The routes. Each is one file here and one line in [`router`].

use std::sync::Arc;

use axum::{Router, extract::Request, middleware, response::Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    edge,
    problem::{Problem, Refusal},
};

pub mod agreements;
pub mod alert_marks;
pub mod alert_rules;
pub mod alerts;
pub mod audit_log;
pub mod authzen;
pub mod break_glass;
pub mod consent_receipts;
pub mod consents;
pub mod dataspace;
pub mod decisions;
pub mod described;
pub mod disclosures;
pub mod erasures;
pub mod exports;
pub mod fhir;
pub mod fhir_consents;
pub mod health;
pub mod holds;
pub mod lists;
pub mod oauth2;
pub mod objections;
mod own_consents;
pub mod referrals;
pub mod register;
pub mod relationships;
mod request_key;
pub mod rights_requests;
pub mod ropa;
pub mod said;
pub mod subject;
pub mod subject_access;
pub mod trail;

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Concordat",
        description = "Consent-aware disclosure of personal records between public services. Every request needs a client certificate, an access token bound to it (RFC 9068, RFC 8705, RFC 9396) and a signed `Sharing-Context` header. Errors are RFC 9457 problems; on FHIR routes, OperationOutcomes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "disclosures", description = "Ask for a record, or for the decision alone"),
        (name = "fhir", description = "The same for FHIR R4 clients"),
        (name = "consents", description = "Consent records"),
        (name = "objections", description = "Objections (UK GDPR Art 21) and dissent"),
        (name = "relationships", description = "Why an organisation or practitioner has to do with a person"),
        (name = "break-glass", description = "Emergencies that a practitioner declares"),
        (name = "alerts", description = "What privacy officers have to look at"),
        (name = "referrals", description = "Requests for a one-off disclosure, decided by a named person"),
        (name = "decisions", description = "How a decision came about"),
        (name = "authzen", description = "The same decisions for OpenID AuthZEN enforcement points"),
        (name = "audit", description = "The ledger for those who verify it and search it"),
        (name = "subject-access", description = "Who asked about a person, and why, for that person (UK GDPR Art 15)"),
        (name = "rights", description = "Complaints (Data Protection Act 2018 s164A) and rectification (UK GDPR Art 16)"),
        (name = "privacy", description = "Holds, and erasure (UK GDPR Art 17)"),
        (name = "agreements", description = "Agreements from the first draft to their end, and who signs them"),
        (name = "dataspace", description = "The same with other organisations' connectors (Eclipse Dataspace Protocol 2025-1)"),
        (name = "register", description = "The public register of agreements in force, for anybody"),
        (name = "tokens", description = "Access tokens of our own issuing, where the deployment issues any"),
        (name = "health", description = "Whether the process lives and can work")
    )
)]
struct Description;

#[expect(clippy::too_many_lines, reason = "a line a route")]
fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(disclosures::disclose))
        .routes(routes!(disclosures::decide))
        .routes(routes!(lists::disclose))
        .routes(routes!(consents::record))
        .routes(routes!(consents::read))
        .routes(routes!(consents::withdraw))
        .routes(routes!(consents::search))
        .routes(routes!(objections::record))
        .routes(routes!(objections::read))
        .routes(routes!(objections::withdraw))
        .routes(routes!(objections::answer))
        .routes(routes!(relationships::record))
        .routes(routes!(relationships::end))
        .routes(routes!(break_glass::declare))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::review))
        .routes(routes!(alerts::reopen))
        .routes(routes!(alerts::show))
        .routes(routes!(alert_rules::rules))
        .routes(routes!(alert_rules::deliveries))
        .routes(routes!(alert_rules::retry))
        .routes(routes!(alert_marks::practitioner))
        .routes(routes!(alert_marks::watch))
        .routes(routes!(alert_marks::unwatch))
        .routes(routes!(referrals::list))
        .routes(routes!(referrals::show))
        .routes(routes!(referrals::request))
        .routes(routes!(referrals::take))
        .routes(routes!(referrals::ask))
        .routes(routes!(referrals::answer))
        .routes(routes!(referrals::decide))
        .routes(routes!(referrals::revoke))
        .routes(routes!(decisions::explanation))
        .routes(routes!(consents::change))
        .routes(routes!(consent_receipts::read))
        .routes(routes!(fhir::read))
        .routes(routes!(fhir::search))
        .routes(routes!(fhir_consents::create))
        .routes(routes!(fhir_consents::read))
        .routes(routes!(fhir_consents::update))
        .routes(routes!(fhir_consents::search))
        .routes(routes!(fhir_consents::metadata))
        .routes(routes!(authzen::metadata))
        .routes(routes!(authzen::evaluation))
        .routes(routes!(authzen::evaluations))
        .routes(routes!(authzen::search_subject))
        .routes(routes!(authzen::search_resource))
        .routes(routes!(authzen::search_action))
        .routes(routes!(authzen::request_access))
        .routes(routes!(authzen::access_request))
        .routes(routes!(audit_log::checkpoint))
        .routes(routes!(audit_log::witnessed))
        .routes(routes!(audit_log::proof))
        .routes(routes!(audit_log::consistency))
        .routes(routes!(audit_log::handovers))
        .routes(routes!(trail::search))
        .routes(routes!(trail::disclosed))
        .routes(routes!(trail::counts::counts))
        .routes(routes!(exports::request, exports::list))
        .routes(routes!(exports::show))
        .routes(routes!(exports::approve))
        .routes(routes!(exports::refuse))
        .routes(routes!(exports::file))
        .routes(routes!(exports::manifest))
        .routes(routes!(subject_access::answer))
        .routes(routes!(subject_access::find_usage))
        .routes(routes!(subject_access::events))
        .routes(routes!(subject_access::decide))
        .routes(routes!(rights_requests::record, rights_requests::list))
        .routes(routes!(rights_requests::show))
        .routes(routes!(rights_requests::acknowledge))
        .routes(routes!(rights_requests::answer))
        .routes(routes!(holds::place))
        .routes(routes!(holds::list))
        .routes(routes!(holds::lift))
        .routes(routes!(erasures::ask))
        .routes(routes!(erasures::carry_out))
        .routes(routes!(agreements::begin, agreements::list))
        .routes(routes!(agreements::show))
        .routes(routes!(agreements::steps::steps, agreements::take))
        .routes(routes!(agreements::documents::differences))
        .routes(routes!(agreements::documents::terms))
        .routes(routes!(agreements::documents::page))
        .routes(routes!(agreements::documents::pdf))
        .routes(routes!(agreements::documents::bundled))
        .routes(routes!(agreements::documents::compare))
        .routes(routes!(agreements::checks::check))
        .routes(routes!(agreements::deliveries::list))
        .routes(routes!(agreements::deliveries::retry))
        .routes(routes!(agreements::used::note))
        .routes(routes!(agreements::used::usage))
        .routes(routes!(agreements::used::impact))
        .routes(routes!(agreements::checks::fits))
        .routes(routes!(register::page))
        .routes(routes!(register::json))
        .routes(routes!(register::csv))
        .routes(routes!(ropa::json))
        .routes(routes!(ropa::csv))
        .routes(routes!(agreements::comments::make, agreements::comments::list))
        .routes(routes!(agreements::comments::take))
        .routes(routes!(agreements::disputes::open, agreements::disputes::list))
        .routes(routes!(agreements::disputes::show))
        .routes(routes!(agreements::disputes::take))
        .routes(routes!(agreements::disputes::precedents))
        .routes(routes!(agreements::negotiations::list))
        .routes(routes!(agreements::negotiations::show))
        .routes(routes!(agreements::negotiations::take))
        .routes(routes!(dataspace::version))
        .routes(routes!(dataspace::catalogue))
        .routes(routes!(dataspace::dataset))
        .routes(routes!(dataspace::begin))
        .routes(routes!(dataspace::show))
        .routes(routes!(dataspace::ask))
        .routes(routes!(dataspace::accept))
        .routes(routes!(dataspace::verify))
        .routes(routes!(dataspace::end))
        .routes(routes!(agreements::frameworks::list))
        .routes(routes!(agreements::officers::ask, agreements::officers::list))
        .routes(routes!(agreements::officers::confirm))
        .routes(routes!(agreements::officers::end))
        .routes(routes!(oauth2::token))
        .routes(routes!(oauth2::keys))
        .routes(routes!(oauth2::server_metadata))
        .routes(routes!(oauth2::resource_metadata))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// The OpenAPI 3.1 document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described::complete(described().into_openapi())
}

/// The whole API.
pub fn router(app: Arc<App>) -> Router {
    let (router, document) = described().split_for_parts();
    let document = described::complete(document).to_json().unwrap_or_default();
    router
        // A tile's name has slashes in it, which an OpenAPI path cannot say.
        .route("/.well-known/audit/tile/{*name}", axum::routing::get(audit_log::tile))
        .route("/fhir/Consent", axum::routing::get(fhir_consents::search_by_address))
        .route("/openapi.json", axum::routing::get(move || serve_document(document.clone())))
        .fallback(|request: Request| refuse(request, Problem::NoSuchRoute))
        .method_not_allowed_fallback(|request: Request| refuse(request, Problem::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(app.clone(), edge::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

/// What the console may ask in this process, for people whom it has signed in: nothing that releases a record or decides on one.
pub fn desk(app: Arc<App>) -> Router {
    use axum::routing::{get, post};
    Router::new()
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/alerts/{id}", get(alerts::show))
        .route("/v1/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/v1/alerts/{id}/review", post(alerts::review))
        .route("/v1/alerts/{id}/reopen", post(alerts::reopen))
        .route("/v1/referrals", get(referrals::list))
        .route("/v1/referrals/{decision_id}", get(referrals::show))
        .route("/v1/referrals/{decision_id}/take", post(referrals::take))
        .route("/v1/referrals/{decision_id}/ask", post(referrals::ask))
        .route("/v1/referrals/{decision_id}/decide", post(referrals::decide))
        .route("/v1/referrals/{decision_id}/revoke", post(referrals::revoke))
        .route("/v1/decisions/{id}/explanation", get(decisions::explanation))
        .route("/v1/trail/search", post(trail::search))
        .route("/v1/trail/disclosed", post(trail::disclosed))
        .route("/v1/trail/counts", post(trail::counts::counts))
        .route("/v1/consents", post(consents::record))
        .route("/v1/consents/search", post(consents::search))
        .route("/v1/consents/{id}", get(consents::read))
        .route("/v1/consents/{id}/status", post(consents::change))
        .route("/v1/consents/{id}/withdraw", post(consents::withdraw))
        .route("/v1/own-consents", post(own_consents::answer))
        .route("/v1/objections", post(objections::record))
        .route("/v1/objections/{id}", get(objections::read))
        .route("/v1/objections/{id}/answer", post(objections::answer))
        .route("/v1/objections/{id}/withdraw", post(objections::withdraw))
        .route("/v1/rights-requests", get(rights_requests::list).post(rights_requests::record))
        .route("/v1/rights-requests/{id}", get(rights_requests::show))
        .route("/v1/rights-requests/{id}/acknowledge", post(rights_requests::acknowledge))
        .route("/v1/rights-requests/{id}/answer", post(rights_requests::answer))
        .route("/v1/exports", get(exports::list).post(exports::request))
        .route("/v1/exports/{id}", get(exports::show))
        .route("/v1/exports/{id}/approve", post(exports::approve))
        .route("/v1/exports/{id}/refuse", post(exports::refuse))
        .route("/v1/exports/{id}/file", get(exports::file))
        .route("/v1/exports/{id}/manifest", get(exports::manifest))
        .route("/v1/subject-access", post(subject_access::answer))
        .route("/v1/subject-access/events", post(subject_access::events))
        .route("/v1/agreements", get(agreements::list))
        .route("/v1/agreements/{id}", get(agreements::show))
        .route("/v1/agreements/{id}/steps", get(agreements::steps::steps).post(agreements::take))
        .route("/v1/agreements/{id}/diff", get(agreements::documents::differences))
        .route("/v1/agreements/{id}/versions/{version}", get(agreements::documents::terms))
        .route("/v1/agreements/{id}/versions/{version}/document.pdf", get(agreements::documents::pdf))
        .route("/v1/agreements/{id}/versions/{version}/compare", post(agreements::documents::compare))
        .route("/v1/agreements/{id}/versions/{version}/bundle", get(agreements::documents::bundled))
        .route("/v1/agreements/{id}/versions/{version}/checks", get(agreements::checks::check))
        .route("/v1/agreements/{id}/versions/{version}/impact", get(agreements::used::impact))
        .route("/v1/agreements/{id}/usage", get(agreements::used::usage))
        .route("/v1/agreements/{id}/records", post(agreements::used::note))
        .route(
            "/v1/agreements/{id}/comments",
            get(agreements::comments::list).post(agreements::comments::make),
        )
        .route("/v1/agreements/{id}/comments/{comment}/steps", post(agreements::comments::take))
        .route(
            "/v1/agreements/{id}/disputes",
            get(agreements::disputes::list).post(agreements::disputes::open),
        )
        .route("/v1/agreements/{id}/disputes/{dispute}", get(agreements::disputes::show))
        .route("/v1/agreements/{id}/disputes/{dispute}/steps", post(agreements::disputes::take))
        .route("/v1/frameworks", get(agreements::frameworks::list))
        .route("/v1/agreement-officers", get(agreements::officers::list))
        .fallback(|request: Request| refuse(request, Problem::NoSuchRoute))
        .layer(middleware::from_fn_with_state(app.clone(), edge::admit_vouched))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

/// What a load balancer may ask without a certificate, on a listener of its own.
pub fn probes(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", axum::routing::get(health::healthz))
        .route("/readyz", axum::routing::get(health::readyz))
        .route("/metrics", axum::routing::get(health::metrics))
        .route("/.well-known/dspace-version", axum::routing::get(dataspace::version))
        .with_state(app.clone())
        .merge(public_register(app))
}

/// What a browser may do with a page that has all it needs in itself: show it.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The register, for everybody.
pub fn public_register(app: Arc<App>) -> Router {
    Router::new()
        .route("/register", axum::routing::get(register::page))
        .route("/register.json", axum::routing::get(register::json))
        .route("/register.csv", axum::routing::get(register::csv))
        .with_state(app)
}

#[expect(clippy::unused_async, reason = "a handler is asynchronous")]
async fn serve_document(document: String) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], document)
}

#[expect(clippy::unused_async, reason = "a fallback handler is asynchronous")]
async fn refuse(request: Request, problem: Problem) -> Response {
    let id = edge::request_id(request.headers());
    Refusal::from(problem).into_response(edge::face_of(request.uri().path()), id.as_deref())
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request ended in a panic");
    Refusal::from(Problem::Internal).into_response(crate::problem::Face::Problem, None)
}
