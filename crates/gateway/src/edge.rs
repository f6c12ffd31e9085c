//! What every API route does before and after its own work: admission, authentication, reading the body, and
//! recording what was refused.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts},
    middleware::Next,
    response::Response,
};
use console::person::Vouched;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use sharing::json::{self, JsonFault, Limits};
use store::Submission;
use tracing::Instrument as _;

use crate::{
    admission::{Places, TurnedAway},
    app::App,
    authorization_server::TOKEN_PATH,
    caller::{
        Action, Caller, CallerError, CallerFault, Capability, Context, Presented, System, is_for_citizens,
    },
    listener::PeerCertificate,
    policies,
    problem::{Face, Problem, Refusal, Told},
    telemetry::{self, metrics::Stage},
};

pub mod framing;
pub mod message;

/// An authenticated request, its body not read yet.
pub struct Received {
    /// Who.
    pub caller: Caller,
    /// Why.
    pub context: Context,
    /// The caller's own id for the request.
    pub request_id: Option<String>,
    /// By when it has been answered.
    pub deadline: Instant,
    body_read_timeout: Duration,
    // A body can be sent between threads but not shared; the lock is never waited for.
    body: Mutex<Option<Body>>,
    headers: HeaderMap,
}

/// By when a request has been answered, from its admission on.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

/// What says whose access tokens are taken.
const RESOURCE_METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Which shape errors take below this path.
pub fn face_of(path: &str) -> Face {
    if path.starts_with("/fhir/") {
        Face::Fhir
    } else if path == TOKEN_PATH {
        Face::OAuth
    } else if path.starts_with("/access/v1/") && !path.starts_with("/access/v1/requests") {
        Face::AuthZen
    } else if path.starts_with("/dsp/catalog/") {
        Face::DataspaceCatalogue
    } else if path.starts_with("/dsp/") {
        Face::DataspaceNegotiation
    } else {
        Face::Problem
    }
}

/// The caller's `X-Request-ID`, if it is a UUID. Anything else is not repeated anywhere.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    uuid_header(headers, "x-request-id")
}

fn uuid_header(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    uuid::Uuid::try_parse(text).ok().map(|id| id.to_string())
}

/// An `X-Request-ID` of at most 128 visible ASCII characters. It is mirrored and written nowhere.
fn plain_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| text.to_owned())
}

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

/// Authenticates a request for this action, and records it if it is refused.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub async fn receive(
    app: &App,
    request: Request,
    capability: Capability,
    action: Action,
) -> Result<Received, Refusal> {
    receive_any(app, request, &[(capability, action)]).await
}

/// As [`receive`], for a request that more than one capability lets through, each with its action.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub async fn receive_any(
    app: &App,
    request: Request,
    either: &[(Capability, Action)],
) -> Result<Received, Refusal> {
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.headers);
    let deadline = parts.extensions.get::<Deadline>().map_or_else(Instant::now, |deadline| deadline.0);
    match telemetry::timed(&app.metrics, Stage::Authenticate, authenticate(app, &parts, either)).await {
        Ok((caller, context)) => Ok(Received {
            caller,
            context,
            request_id: id,
            deadline,
            body_read_timeout: app.limits.body_read_timeout,
            body: Mutex::new(Some(body)),
            headers: parts.headers,
        }),
        Err((problem, who)) => {
            let route = parts.extensions.get::<MatchedPath>().map_or("", |path| path.as_str());
            Err(record_refusal(app, problem, route, who, id).await)
        }
    }
}

/// What is known of a caller who was refused: certificate, system, organisation.
type Who = (Option<String>, Option<String>, Option<String>);

async fn authenticate(
    app: &App,
    parts: &Parts,
    either: &[(Capability, Action)],
) -> Result<(Caller, Context), (Problem, Who)> {
    // The console is in this process, and has signed the person in. Nothing that comes over a network has this.
    let (caller, context) = match parts.extensions.get::<Vouched>() {
        Some(vouched) => Caller::vouched(vouched, app.clock.now()),
        None => authenticate_system(app, parts).await?,
    };
    let known = || {
        (
            Some(caller.certificate.clone()),
            Some(caller.system.to_string()),
            Some(caller.organisation.to_string()),
        )
    };
    let mut may = either.iter().filter(|(capability, _)| caller.may(*capability)).peekable();
    if may.peek().is_none() {
        return Err((Problem::CapabilityMissing, known()));
    }
    if !may.any(|(_, action)| caller.granted(context.purpose, *action).is_some()) {
        return Err((Problem::NotGranted, known()));
    }
    Ok((caller, context))
}

/// Checks the client certificate, the access token and the signed context.
async fn authenticate_system(app: &App, parts: &Parts) -> Result<(Caller, Context), (Problem, Who)> {
    let Some(peer) = parts.extensions.get::<PeerCertificate>() else {
        return Err((Problem::Internal, (None, None, None)));
    };
    // A header that is there twice is no header: which one counts is what attackers play with.
    let text = |name: &str| {
        let mut values = parts.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    };
    let presented = Presented {
        method: parts.method.as_str(),
        path: parts
            .extensions
            .get::<axum::extract::OriginalUri>()
            .map_or(parts.uri.path(), |uri| uri.0.path()),
        authorization: text("authorization"),
        sharing_context: text("sharing-context"),
    };
    let authenticated = app.authenticator.authenticate(*peer, presented, app.clock.wall()).await;
    authenticated.map_err(|error| {
        let (system, organisation) = match &error.system {
            Some((system, organisation)) => (Some(system.to_string()), Some(organisation.to_string())),
            None => (None, None),
        };
        let certificate = Some(error.certificate.clone());
        (Problem::Caller(error), (certificate, system, organisation))
    })
}

/// What of a request names a system, without a token.
pub struct Shown {
    peer: Option<PeerCertificate>,
    route: String,
    request_id: Option<String>,
}

impl Shown {
    /// What this request shows.
    pub fn by(request: &Request) -> Self {
        Self {
            peer: request.extensions().get::<PeerCertificate>().copied(),
            route: request.extensions().get::<MatchedPath>().map_or("", |path| path.as_str()).to_owned(),
            request_id: request_id(request.headers()),
        }
    }

    /// The certificate that was shown.
    pub fn peer(&self) -> Option<PeerCertificate> {
        self.peer
    }

    /// Records a refusal of this request, of this system if it is one.
    pub async fn refuse(&self, app: &App, system: Option<&System>, problem: Problem) -> Refusal {
        let who = (
            self.peer.map(|peer| peer.fingerprint.to_hex()),
            system.map(|system| system.settings.id.to_string()),
            system.map(|system| system.settings.organisation.to_string()),
        );
        record_refusal(app, problem, &self.route, who, self.request_id.clone()).await
    }
}

/// The system behind the client certificate, for what needs no token because it says nothing about anybody.
///
/// # Errors
/// The [`Refusal`] to answer with; it has been recorded.
pub async fn known_system(app: &App, shown: Shown) -> Result<Arc<System>, Refusal> {
    let Some(peer) = shown.peer else { return Err(Problem::Internal.into()) };
    let fault = match app.authenticator.registry.load().system_of(&peer.fingerprint) {
        _ if app.clock.now().as_second() > peer.not_after_s => CallerFault::CertificateExpired,
        Some(system) => return Ok(system.clone()),
        None => CallerFault::CertificateNotRegistered,
    };
    let certificate = peer.fingerprint.to_hex();
    let error = CallerError { fault, certificate: certificate.clone(), system: None };
    let who = (Some(certificate), None, None);
    Err(record_refusal(app, Problem::Caller(error), &shown.route, who, shown.request_id).await)
}

/// Writes a refusal that happened before any decision to the ledger. If the ledger cannot be written, that is
/// the answer: nothing goes unrecorded.
async fn record_refusal(
    app: &App,
    problem: Problem,
    route: &str,
    who: Who,
    request_id: Option<String>,
) -> Refusal {
    let (certificate_sha256, system, organisation) = who;
    let entry = ledger::entry::Body::RequestRefused {
        code: problem.code(),
        route: route.to_owned(),
        system,
        organisation,
        certificate_sha256,
        request_id,
    };
    match app.store.commit(Submission::of(app.clock.now(), vec![entry])).await {
        Ok(_) => problem.into(),
        Err(_) => Problem::LedgerUnavailable.into(),
    }
}

/// Records a refusal of a question that was read, before any decision about it.
pub async fn refuse_undecided(
    app: &App,
    caller: &Caller,
    problem: Problem,
    request_id: Option<String>,
) -> Refusal {
    let who = (
        Some(caller.certificate.clone()),
        Some(caller.system.to_string()),
        Some(caller.organisation.to_string()),
    );
    record_refusal(app, problem, "disclosure", who, request_id).await
}

impl Received {
    /// That the context is used up by what is done with it.
    pub fn replay_guard(&self) -> store::ReplayGuard {
        store::ReplayGuard {
            issuer: self.caller.client_id.clone(),
            jti: self.context.jti.clone(),
            expires: self.context.expires,
        }
    }

    /// That what is held about a person was read, for the entry that every such read is.
    pub fn read_of(&self, subject: &str, what: impl Into<String>) -> ledger::entry::Body {
        ledger::entry::Body::SubjectRecordRead {
            subject: subject.to_string(),
            what: what.into(),
            purpose: Some(self.context.purpose.as_str().to_owned()),
            by: self.caller.actor(),
        }
    }

    /// Records a refusal of this request before any decision.
    pub async fn refuse(&self, app: &App, problem: Problem, route: &str) -> Refusal {
        let who = (
            Some(self.caller.certificate.clone()),
            Some(self.caller.system.to_string()),
            Some(self.caller.organisation.to_string()),
        );
        record_refusal(app, problem, route, who, self.request_id.clone()).await
    }

    /// Reads a JSON body strictly: no duplicate keys, no unknown members, bounded.
    ///
    /// # Errors
    /// The [`Problem`], whose words name members and never values.
    pub async fn json<T: DeserializeOwned>(&mut self, body_bytes_max: usize) -> Result<T, Problem> {
        let bytes = self.bytes(&["application/json"], body_bytes_max).await?;
        parse_body(&bytes, body_bytes_max)
    }

    /// As [`Self::json`], where there may be no body.
    ///
    /// # Errors
    /// The [`Problem`], whose words name members and never values.
    pub async fn json_if_any<T: DeserializeOwned>(
        &mut self,
        body_bytes_max: usize,
    ) -> Result<Option<T>, Problem> {
        let length = self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let is_typed = self.headers.contains_key(header::CONTENT_TYPE);
        if length == Some("0") || (length.is_none() && !is_typed) {
            return Ok(None);
        }
        let bytes = self.bytes(&["application/json"], body_bytes_max).await?;
        if bytes.is_empty() { Ok(None) } else { parse_body(&bytes, body_bytes_max) }
    }

    /// Reads a FHIR resource strictly: no duplicate keys, bounded. Its members are for the reader to account for.
    ///
    /// # Errors
    /// The [`Problem`], whose words never repeat values.
    pub async fn fhir_resource(&mut self, body_bytes_max: usize) -> Result<serde_json::Value, Problem> {
        let bytes = self.bytes(&["application/fhir+json", "application/json"], body_bytes_max).await?;
        parse_body(&bytes, body_bytes_max)
    }

    /// Reads a form.
    ///
    /// # Errors
    /// The [`Problem`], whose words never repeat values.
    pub async fn form(&mut self, body_bytes_max: usize) -> Result<Vec<(String, String)>, Problem> {
        let bytes = self.bytes(&["application/x-www-form-urlencoded"], body_bytes_max).await?;
        Ok(form_urlencoded::parse(&bytes).into_owned().collect())
    }

    /// Reads a body of lines, each of them JSON.
    ///
    /// # Errors
    /// The [`Problem`], whose words never repeat values.
    pub async fn lines(&mut self, body_bytes_max: usize) -> Result<bytes::Bytes, Problem> {
        self.bytes(&["application/x-ndjson"], body_bytes_max).await
    }

    async fn bytes(&mut self, kinds: &[&str], body_bytes_max: usize) -> Result<bytes::Bytes, Problem> {
        let body = self.body.get_mut().ok().and_then(Option::take).unwrap_or_default();
        read_body((&self.headers, body), kinds, body_bytes_max, self.body_read_timeout).await
    }
}

/// Reads the form of a request that says who sent it in the form itself.
///
/// # Errors
/// The [`Problem`], whose words never repeat values.
pub async fn read_form(
    request: (&HeaderMap, Body),
    body_bytes_max: usize,
    longest: Duration,
) -> Result<Vec<(String, String)>, Problem> {
    let kinds = ["application/x-www-form-urlencoded"];
    let bytes = read_body(request, &kinds, body_bytes_max, longest).await?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

async fn read_body(
    (headers, body): (&HeaderMap, Body),
    kinds: &[&str],
    body_bytes_max: usize,
    longest: Duration,
) -> Result<bytes::Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    let is_one = kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
    if !is_one || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::UnsupportedMediaType);
    }
    // A body is a few segments: one that drips holds a place.
    let read = Limited::new(body, body_bytes_max).collect();
    let read = tokio::time::timeout(longest, read).await.map_err(|_| Problem::BodyTooSlow)?;
    let bytes = read.map_err(|error| {
        if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() {
            Problem::BodyTooLarge
        } else {
            Problem::InvalidRequest("the body broke off".to_owned())
        }
    })?;
    Ok(bytes.to_bytes())
}

/// Reads JSON strictly: no duplicate keys, bounded, no member that its kind does not have.
///
/// # Errors
/// The [`Problem`], whose words name members and never values.
pub fn parse_body<T: DeserializeOwned>(bytes: &[u8], body_bytes_max: usize) -> Result<T, Problem> {
    let limits =
        Limits { bytes_max: body_bytes_max, depth_max: 16, values_max: (body_bytes_max / 16).max(5_000) };
    json::parse(bytes, &limits).map_err(|error| match error.fault {
        JsonFault::TooLarge => Problem::BodyTooLarge,
        _ => Problem::InvalidRequest(format!("the body is not usable json: {error}")),
    })?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| misfit(&error, None))
}

/// Reads a value that was read strictly already into a shape.
///
/// # Errors
/// The [`Problem`], whose words name members and never values.
pub fn shape<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let is_whole = error.path().iter().next().is_none();
        let blamed = is_whole.then(|| blamed::<T>(value, &error.inner().to_string())).flatten();
        misfit(&error, blamed)
    })
}

/// Most members of a body that are tried one by one.
const TRIED_MAX: usize = 32;

/// The member that says which of several shapes a body has.
const TAG: &str = "step";

/// The member that a fault is about, where the reader does not say it because another one had to be read first: the one without
/// which the fault is another.
fn blamed<'a, T: DeserializeOwned>(value: &'a serde_json::Value, said: &str) -> Option<&'a str> {
    let members = value.as_object()?;
    let is_it = |name: &&String| {
        let mut others = members.clone();
        others.remove(name.as_str());
        let read = T::deserialize(&serde_json::Value::Object(others));
        read.map_or_else(|error| error.to_string() != said, |_| true)
    };
    let mut found: Vec<&str> = members.keys().take(TRIED_MAX).filter(is_it).map(String::as_str).collect();
    if found.len() > 1 {
        found.retain(|name| *name != TAG);
    }
    found.first().copied()
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>, blamed: Option<&str>) -> Problem {
    let said = error.inner().to_string();
    // The last: what was sent may have these words in it.
    let expected =
        said.rsplit_once(", expected ").map(|(_, rest)| rest.split(" at line ").next().unwrap_or(""));
    let member = blamed.map_or_else(|| error.path().to_string(), str::to_owned);
    Problem::InvalidRequest(match (said.starts_with("unknown field"), expected) {
        (true, Some(expected)) => {
            format!("the body has a member that is not known here; expected {expected}")
        }
        _ if said.starts_with("missing field") => {
            format!(
                "the body lacks {}",
                said.trim_start_matches("missing field ").split(" at line").next().unwrap_or("")
            )
        }
        _ => match expected.filter(|_| said.starts_with("unknown variant")) {
            Some(expected) => {
                format!("`{member}` is not of the kind that is documented for it; expected {expected}")
            }
            None => format!("`{member}` is not of the kind that is documented for it"),
        },
    })
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

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only the reading is tested")]
        purpose: u8,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Tagged {
        Reviewed { next_on: jiff::civil::Date, text: String },
        Stop { reason: Why, text: String },
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Why {
        Breach,
        Other,
    }

    #[test]
    fn errors_name_members_of_bodies_of_several_shapes() {
        let said = |body: serde_json::Value| match shape::<Tagged>(&body).unwrap_err() {
            Problem::InvalidRequest(text) => text,
            other => other.code(),
        };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(
            said(json(r#"{"step":"reviewed","next_on":"Jane Smith","text":"a"}"#)),
            "`next_on` is not of the kind that is documented for it"
        );
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"Jane, expected Smith","text":"a"}"#)),
            "`reason` is not of the kind that is documented for it; expected `breach` or `other`"
        );
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"breach","text":7}"#)),
            "`text` is not of the kind that is documented for it"
        );
        assert_eq!(
            said(json(r#"{"step":"Jane Smith"}"#)),
            "`step` is not of the kind that is documented for it; expected `reviewed` or `stop`"
        );
        assert_eq!(said(json(r#"{"step":"stop","text":"a"}"#)), "the body lacks `reason`");
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"breach","text":"a","Jane Smith":1}"#)),
            "the body has a member that is not known here; expected `reason` or `text`"
        );
    }

    fn said(body: &str) -> String {
        match parse_body::<Shape>(body.as_bytes(), 1024).unwrap_err() {
            Problem::InvalidRequest(text) => text,
            other => other.code(),
        }
    }

    #[test]
    fn errors_name_members_and_never_repeat_values() {
        assert_eq!(
            said(r#"{"purpose":"Jane Smith"}"#),
            "`purpose` is not of the kind that is documented for it"
        );
        assert_eq!(said("{}"), "the body lacks `purpose`");
        assert_eq!(
            said(r#"{"Jane Smith":1}"#),
            "the body has a member that is not known here; expected `purpose`"
        );
        assert_eq!(
            said(r#"{"purpose":1,"purpose":2}"#),
            "the body is not usable json: the same key twice in one object (byte 22)"
        );
    }
}
