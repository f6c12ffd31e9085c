//! The outermost layer: how many requests at once and for how long, and what every answer has.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, Version, header},
    middleware::Next,
    response::Response,
};
use console::person::Vouched;
use tracing::Instrument as _;

use super::{face_of, framing, plain_id, request_id, uuid_header};
use crate::{
    admission::{Places, TurnedAway},
    app::App,
    caller::{System, is_for_citizens},
    listener::PeerCertificate,
    policies,
    problem::{Face, Problem, Refusal, Told},
    telemetry,
};

/// By when a request has been answered, from its admission on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

/// What says whose access tokens are taken.
const RESOURCE_METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Which places a request takes. Those that take back what was allowed, or may, have places of their own, so that no flood of
/// questions keeps somebody's withdrawal waiting, or whoever switches an agreement off.
fn places_of(method: &Method, route: &str) -> Places {
    // A refusal is a consent record, too.
    let wishes = ["/v1/consents", "/fhir/Consent"];
    let takes_back = [
        "/v1/consents/{id}/withdraw",
        "/v1/consents/{id}/status",
        "/v1/own-consents",
        "/v1/objections",
        "/v1/relationships/{id}/end",
        "/v1/referrals/{decision_id}/revoke",
        "/fhir/Consent/{id}",
        "/v1/agreements/{id}/steps",
    ];
    match *method {
        Method::POST | Method::PUT if wishes.contains(&route) => Places::Wishes,
        Method::POST | Method::PUT if takes_back.contains(&route) => Places::TakesBack,
        _ => Places::Questions,
    }
}

/// What is said of a request that was begun and not done with in time. Whoever asked has got nothing. What was to be recorded may
/// be on its way to the disk all the same.
fn cut_off(method: &Method, route: &str) -> TurnedAway {
    let only_asks = [
        "/v1/disclosures",
        "/v1/disclosures/list",
        "/v1/decisions",
        "/v1/consents/search",
        "/v1/trail/search",
        "/v1/trail/disclosed",
        "/v1/trail/counts",
        "/v1/subject-access",
        "/v1/subject-access/events",
        "/v1/agreements/check",
    ];
    if method.is_safe() || only_asks.contains(&route) || route.starts_with("/access/v1/") {
        TurnedAway::TookTooLong
    } else {
        TurnedAway::MayBeRecorded
    }
}

/// The method, if it is one that any route knows. Others are a caller's own words.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// What of a request its answer needs.
struct Arrived {
    began: Instant,
    face: Face,
    method: Method,
    /// The template, never the path: on FHIR routes the path holds the identifier.
    route: String,
    id: Option<String>,
    /// AuthZEN: whatever the request's identifier is, it comes back.
    any_id: Option<String>,
    correlation: Option<String>,
    system: Option<Arc<System>>,
    span: tracing::Span,
}

/// The outermost layer: a bound on requests and on their time, and the headers that every answer has.
pub async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let arrived = Arrived::of(&app, &request);
    let deadline = arrived.began + app.limits.deadline;
    request.extensions_mut().insert(Deadline(deadline));
    let partner = app.admission.partner(arrived.system.as_deref());
    let places = places_of(&arrived.method, &arrived.route);
    let admitted = match places {
        Places::Questions => partner.admit(&app.places),
        places => partner.admit_in_turn(places, &app.reserved, deadline).await,
    };
    let mut response = match &admitted {
        Ok(_) => {
            let worked = arrived.work(&app, request, next, deadline).await;
            worked.unwrap_or_else(|away| arrived.turn_away(&app, away))
        }
        Err(away) => {
            // What has not been read of it takes room while its answer waits.
            drop((request, next));
            arrived.turn_away(&app, *away)
        }
    };
    let is_flood = admitted.is_err() && places == Places::Questions;
    arrived.tell(&app, &response, is_flood);
    if is_flood {
        // It is counted by now, whatever becomes of whoever waits for it.
        app.admission.before_turning_away(&partner).await;
    }
    partner.describe(admitted.as_ref().map_err(|away| *away), response.headers_mut());
    arrived.dress(&app, &mut response);
    response
}

/// The outermost layer of what the console asks in this process: a bound on requests and on their time.
pub async fn admit_vouched(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let deadline = Instant::now() + app.limits.deadline;
    request.extensions_mut().insert(Deadline(deadline));
    let refuse = |problem: Problem| Refusal::from(problem).into_response(Face::Problem, None);
    let Some(vouched) = request.extensions().get::<Vouched>() else { return refuse(Problem::Internal) };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if vouched.person.is_citizen() && !is_for_citizens(request.method(), route) {
        return refuse(Problem::CapabilityMissing);
    }
    let place = match app.reserved.of_kind(places_of(request.method(), route)) {
        Some(reserved) => {
            let turn = reserved.clone().acquire_owned();
            tokio::time::timeout_at(deadline.into(), turn).await.ok().and_then(Result::ok)
        }
        None => app.places.clone().try_acquire_owned().ok(),
    };
    let Some(_place) = place else { return refuse(Problem::Overloaded) };
    let away = cut_off(request.method(), route);
    let answer = async {
        match policies::follow(&app).await {
            Ok(()) => next.run(request).await,
            Err(error) => {
                tracing::error!(%error, "the policies in force could not be confirmed");
                refuse(Problem::LedgerUnavailable)
            }
        }
    };
    let answer = tokio::time::timeout_at(deadline.into(), answer).await;
    answer.unwrap_or_else(|_| refuse(away.problem()))
}

impl Arrived {
    fn of(app: &App, request: &Request) -> Self {
        let (headers, path) = (request.headers(), request.uri().path());
        let method = request.method().clone();
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
        let span = tracing::info_span!(
            "request",
            method = method_name(&method),
            route = &route,
            status = tracing::field::Empty,
            problem = tracing::field::Empty
        );
        telemetry::link(&span, headers);
        Self {
            began: Instant::now(),
            face: face_of(path),
            method,
            route,
            id: request_id(headers),
            any_id: path.starts_with("/access/v1/").then(|| plain_id(headers)).flatten(),
            correlation: uuid_header(headers, "x-correlation-id"),
            system: shown_system(app, request),
            span,
        }
    }

    fn refuse(&self, problem: Problem) -> Response {
        Refusal::from(problem).into_response(self.face, self.id.as_deref())
    }

    /// The answer of whoever the request is for, unless it is none to be read, or takes too long.
    async fn work(
        &self,
        app: &App,
        request: Request,
        next: Next,
        deadline: Instant,
    ) -> Result<Response, TurnedAway> {
        let (parts, body) = request.into_parts();
        let own_host = framing::host_of(&app.authenticator.public_url);
        let body = match framing::read(&parts, body, own_host, app.limits.body_read_timeout).await {
            Ok(body) => body,
            Err(problem) => {
                app.shed.note(self.system.as_deref(), "not-well-formed", app.clock.now());
                let mut refused = self.refuse(problem);
                framing::end_with(parts.version, &mut refused);
                return Ok(refused);
            }
        };
        let answer = async {
            // Whatever another replica has put in force, or suspended, counts from the next request on.
            let asks_for_health = matches!(self.route.as_str(), "/healthz" | "/readyz");
            if !asks_for_health && let Err(error) = policies::follow(app).await {
                tracing::error!(%error, "the policies in force could not be confirmed");
                return self.refuse(Problem::LedgerUnavailable);
            }
            next.run(Request::from_parts(parts, body)).await
        };
        let answer = tokio::time::timeout_at(deadline.into(), answer.instrument(self.span.clone()));
        answer.await.map_err(|_| cut_off(&self.method, &self.route))
    }

    /// Counts a request that was turned away, for the ledger, and answers it.
    fn turn_away(&self, app: &App, away: TurnedAway) -> Response {
        app.shed.note(self.system.as_deref(), away.as_str(), app.clock.now());
        let name = self.system.as_ref().map_or("unregistered", |system| system.settings.id.as_str());
        app.metrics.shed(name, away.as_str());
        self.refuse(away.problem())
    }

    /// Tells the span, the counts and the log how it went.
    fn tell(&self, app: &App, response: &Response, is_flood: bool) {
        let problem = response.extensions().get::<Told>().map(|told| told.0.as_str());
        let status = response.status().as_u16();
        self.span.record("status", status);
        self.span.record("problem", problem.unwrap_or("none"));
        app.metrics.answered(&self.route, method_name(&self.method), status, problem, self.began.elapsed());
        // Of questions that are turned away `shed` has a line a second, or the log would be what there is too much of.
        self.span.in_scope(|| {
            if is_flood {
                tracing::debug!(status, request_id = self.id, "turned away");
            } else {
                tracing::info!(status, request_id = self.id, "answered");
            }
        });
    }

    fn dress(self, app: &App, response: &mut Response) {
        let is_http1 = response.version() < Version::HTTP_2;
        let headers = response.headers_mut();
        if headers.contains_key(header::WWW_AUTHENTICATE) {
            // RFC 9728: where it says whose tokens are taken.
            let base = &app.authenticator.public_url;
            let said = format!(
                "Bearer error=\"invalid_token\", resource_metadata=\"{base}{RESOURCE_METADATA_PATH}\""
            );
            if let Ok(said) = HeaderValue::from_str(&said) {
                headers.insert(header::WWW_AUTHENTICATE, said);
            }
        }
        if app.is_draining() && is_http1 {
            // The caller's next request goes over a connection to somebody else.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mirrored_id = self.any_id.or(self.id);
        let mirrored = [("x-request-id", mirrored_id), ("x-correlation-id", self.correlation)];
        for (name, value) in mirrored {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// The system that the client certificate is registered for, before anything else is known of it.
fn shown_system(app: &App, request: &Request) -> Option<Arc<System>> {
    let peer = request.extensions().get::<PeerCertificate>()?;
    app.authenticator.registry.load().system_of(&peer.fingerprint).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_a_consent_and_taking_one_back_have_places_of_their_own() {
        let post = |route| places_of(&Method::POST, route);
        assert_eq!([post("/v1/consents"), post("/fhir/Consent")], [Places::Wishes; 2]);
        for back in
            ["/v1/consents/{id}/withdraw", "/v1/objections", "/v1/own-consents", "/v1/relationships/{id}/end"]
        {
            assert_eq!(post(back), Places::TakesBack);
        }
        assert_eq!(places_of(&Method::PUT, "/fhir/Consent/{id}"), Places::TakesBack);
        for asks in ["/v1/disclosures", "/v1/consents/search", "/v1/relationships"] {
            assert_eq!(post(asks), Places::Questions);
        }
        assert_eq!(places_of(&Method::GET, "/fhir/Consent"), Places::Questions);
    }
}
