//! Access tokens of our own issuing, and what says where tokens come from.
//!
//! Source: RFC 6749 sections 4.4 and 5, RFC 7523, RFC 8414, RFC 9728. Everything here needs a client certificate, as all
//! else does; the metadata says nothing about anybody and needs no more.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use ledger::entry::Body;
use serde_json::json;
use store::{CommitError, ReplayGuard, Submission};

use crate::{
    app::App,
    authorization_server::{AuthorizationServer, TokenFault, TokenRequest},
    caller::{Action, Registry, System, access_token::DETAIL_TYPE, client_assertion::AssertionFault},
    clock::uuid,
    edge::{Shown, read_form, request_id},
    fault::commit_problem,
    listener::PeerCertificate,
    problem::{Face, Problem, Refusal},
};

/// Largest form: an assertion of 8 KiB and details of 8 KiB, with what escaping adds.
const FORM_BYTES_MAX: usize = 32 * 1024;

/// Get an access token.
#[utoipa::path(post, path = "/oauth2/token", tag = "tokens",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`grant_type=client_credentials`, `client_assertion_type`, `client_assertion` (RFC 7523) and `authorization_details` (RFC 9396)"),
    responses((status = 200, description = "`access_token`, `token_type`, `expires_in` and `authorization_details`", body = Object),
        (status = 400, description = "RFC 6749: `error` and `error_description`", body = Object),
        (status = 401, description = "`invalid_client`", body = Object),
        (status = 404, description = "This gateway issues no tokens")))]
pub async fn token(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = request_id(request.headers());
    let registry = app.authenticator.registry.load_full();
    let answered = async {
        let own = registry.own().ok_or(Problem::NoSuchRoute)?;
        issue(&app, (&*registry, own), request).await
    };
    answered.await.unwrap_or_else(|refusal: Refusal| refusal.into_response(Face::OAuth, id.as_deref()))
}

async fn issue(
    app: &App,
    (registry, own): (&Registry, &AuthorizationServer),
    request: Request,
) -> Result<Response, Refusal> {
    let shown = Shown::by(&request);
    // What clients sign, and what they are given, goes by the clock that all have; the ledger's time goes by the one that is believed.
    let now = app.clock.wall();
    let peer = shown.peer().ok_or(Problem::Internal)?;
    let system = match registered(registry, peer, now.as_second()) {
        Ok(system) => system,
        Err(fault) => return Err(shown.refuse(app, None, Problem::Token(fault)).await),
    };
    let checked = async {
        let read = read(own, &system, request, app.limits.body_read_timeout).await?;
        let assertion = own.check(&read, &system, now).await.map_err(Problem::Token)?;
        let token_id = uuid(app.entropy.as_ref());
        let issued = own.issue(&read, &system, peer.fingerprint, (now, token_id));
        let issued = issued.map_err(|error| {
            tracing::error!(%error, "an access token could not be signed");
            Problem::Internal
        })?;
        let mut submission = Submission::of(
            app.clock.now(),
            vec![entry(&system, &peer, &read, (&issued.token_id, issued.expires_s))],
        );
        submission.replay = Some(ReplayGuard {
            // Apart from the names under which contexts are remembered, which are client_ids alone.
            issuer: format!("token {}", system.settings.client_id),
            jti: assertion.jti,
            expires: assertion.expires,
        });
        match app.store.commit(submission).await {
            Ok(_) => Ok((read, issued)),
            Err(CommitError::Replayed) => Err(Problem::Token(TokenFault::Client(AssertionFault::Replayed))),
            Err(error) => Err(commit_problem(error)),
        }
    };
    match checked.await {
        Ok((read, issued)) => Ok(Json(json!({
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in_s,
            "authorization_details": read.details(),
        }))
        .into_response()),
        Err(problem) => Err(shown.refuse(app, Some(&system), problem).await),
    }
}

fn registered(registry: &Registry, peer: PeerCertificate, now_s: i64) -> Result<Arc<System>, TokenFault> {
    if now_s > peer.not_after_s {
        return Err(TokenFault::Certificate("certificate-expired"));
    }
    let system = registry.system_of(&peer.fingerprint).cloned();
    system.ok_or(TokenFault::Certificate("certificate-not-registered"))
}

async fn read(
    own: &AuthorizationServer,
    system: &System,
    request: Request,
    longest: Duration,
) -> Result<TokenRequest, Problem> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::Token(TokenFault::SecondMethod));
    }
    let form = read_form((&parts.headers, body), FORM_BYTES_MAX, longest).await?;
    let read = own.read(&form).map_err(Problem::Token)?;
    if !TokenRequest::names(&form, &system.settings.client_id) {
        return Err(Problem::Token(TokenFault::Client(AssertionFault::Client)));
    }
    Ok(read)
}

fn entry(
    system: &System,
    peer: &PeerCertificate,
    request: &TokenRequest,
    (token_id, expires_s): (&str, i64),
) -> Body {
    let mut purposes: Vec<_> = request.grants.iter().map(|grant| grant.purpose.as_str().to_owned()).collect();
    let all = request.grants.iter().flat_map(|grant| grant.actions.iter().copied());
    let mut actions: Vec<_> = all.map(Action::as_str).map(str::to_owned).collect();
    [&mut purposes, &mut actions].into_iter().for_each(|names| {
        names.sort_unstable();
        names.dedup();
    });
    Body::AccessTokenIssued {
        token_id: token_id.to_owned(),
        system: system.settings.id.to_string(),
        organisation: system.settings.organisation.to_string(),
        certificate_sha256: peer.fingerprint.to_hex(),
        purposes,
        actions,
        expires_us: expires_s.saturating_mul(1_000_000),
    }
}

/// The keys that verify our own tokens.
#[utoipa::path(get, path = "/oauth2/jwks.json", tag = "tokens",
    responses((status = 200, description = "A JSON Web Key Set (RFC 7517)", body = Object), (status = 404, description = "This gateway issues no tokens")))]
pub async fn keys(State(app): State<Arc<App>>, request: Request) -> Response {
    of_own(&app, &request, |own| own.jwks().clone())
}

/// What our own authorization server offers.
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "tokens",
    responses((status = 200, description = "RFC 8414 metadata", body = Object), (status = 404, description = "This gateway issues no tokens")))]
pub async fn server_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    of_own(&app, &request, AuthorizationServer::metadata)
}

fn of_own(
    app: &App,
    request: &Request,
    say: impl FnOnce(&AuthorizationServer) -> serde_json::Value,
) -> Response {
    match app.authenticator.registry.load().own() {
        Some(own) => Json(say(own)).into_response(),
        None => Refusal::from(Problem::NoSuchRoute)
            .into_response(Face::Problem, request_id(request.headers()).as_deref()),
    }
}

/// What this gateway wants of access tokens, and where the calling system gets them.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource", tag = "tokens",
    responses((status = 200, description = "RFC 9728 metadata", body = Object)))]
pub async fn resource_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    let registry = app.authenticator.registry.load();
    let system = Shown::by(&request).peer().and_then(|peer| registry.system_of(&peer.fingerprint).cloned());
    let mut issuers: Vec<_> = system.iter().flat_map(|system| system.issuers()).collect();
    if issuers.is_empty() {
        issuers.extend(registry.own().map(|own| own.name.as_str()));
    }
    Json(json!({
        "resource": app.authenticator.public_url,
        "resource_name": "Concordat",
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": true,
        "authorization_details_types_supported": [DETAIL_TYPE],
        "audience": app.authenticator.audience,
    }))
    .into_response()
}
