//! What every API route does before and after its own work: admission, authentication, reading the body, and
//! recording what was refused.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderMap, header, request::Parts},
};
use console::person::Vouched;
use serde::de::DeserializeOwned;
use store::Submission;

use crate::{
    app::App,
    authorization_server::TOKEN_PATH,
    caller::{Action, Caller, CallerError, CallerFault, Capability, Context, Presented, System},
    listener::PeerCertificate,
    problem::{Face, Problem, Refusal},
    telemetry::{self, metrics::Stage},
};

mod admit;
mod body;
pub mod framing;
pub mod message;

use admit::Deadline;
pub use admit::{admit, admit_vouched};
use body::read_body;
pub use body::{parse_body, read_form, shape};

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
