//! Outbound HTTPS to the organisations that hold records.
//!
//! Nothing is asked without a [`sharing::Permit`], save a decoy for a refusal that must look like "no such
//! person". Requests are built from the catalogue's templates; nothing of the caller's request is forwarded but
//! the identifier. Redirects are never followed, proxies never used, answers capped while they arrive, and
//! whatever a record holder says when it fails is thrown away unread. This crate cannot see the store.

pub mod notify;

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Certificate, Client, Identity, StatusCode, header};
use sharing::{
    Denial, Permit, Provider, SubjectIdentifier,
    catalogue::{Lookup, Method},
    identifier::ProviderId,
    restriction::RestrictionCheck,
};

/// How to reach one record holder: the deployment's side of its catalogue entry.
pub struct Route {
    /// Where it answers, in place of the catalogue's `base_url`.
    pub base_url: Option<String>,
    /// The certificate authorities it is trusted through, PEM.
    pub trusted_pem: String,
    /// The gateway's own certificate and key, PEM, as it knows us.
    pub identity_pem: String,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// Largest answer.
    pub body_bytes_max: usize,
}

/// The clients for every record holder, one each.
pub struct Connectors {
    clients: BTreeMap<ProviderId, Connector>,
}

struct Connector {
    client: Client,
    base_url: Option<String>,
    body_bytes_max: usize,
}

/// A record holder's answer, unread.
pub struct Fetched {
    /// The bytes; at most [`Route::body_bytes_max`].
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Fetched({} bytes)", self.body.len())
    }
}

/// Why there is no answer to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// It has no such person.
    #[error("the record holder has no such person")]
    NotFound,
    /// No route is configured for it.
    #[error("no route to this record holder is configured")]
    NoRoute,
    /// It could not be reached, or broke off.
    #[error("the record holder could not be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("the record holder did not answer in time")]
    TimedOut,
    /// It asks us to slow down.
    #[error("the record holder is refusing further questions for now")]
    Busy,
    /// It answered with an error.
    #[error("the record holder answered with status {0}")]
    Status(u16),
    /// It answered with something else than a record: a redirect, another media type, a compressed body.
    #[error("the record holder's answer is not of the agreed kind")]
    Unexpected,
    /// Its answer is larger than allowed.
    #[error("the record holder's answer is too large")]
    TooLarge,
}

impl FetchFault {
    /// The fault's code in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "subject-unknown",
            Self::NoRoute => "provider-no-route",
            Self::Unreachable => "provider-unreachable",
            Self::TimedOut => "provider-timed-out",
            Self::Busy => "provider-busy",
            Self::Status(_) => "provider-error",
            Self::Unexpected => "provider-unexpected-answer",
            Self::TooLarge => "provider-answer-too-large",
        }
    }
}

/// A route that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// A certificate or key cannot be read.
    #[error("the certificates for record holder `{provider}` cannot be used: {source}")]
    Certificates {
        /// Which.
        provider: ProviderId,
        /// Why.
        source: reqwest::Error,
    },
    /// The URL is not HTTPS.
    #[error("the base url of record holder `{0}` must begin with https://")]
    NotHttps(ProviderId),
}

impl Connectors {
    /// Builds one client for each route.
    ///
    /// # Errors
    /// [`RouteError`] naming the record holder.
    pub fn new(routes: BTreeMap<ProviderId, Route>) -> Result<Self, RouteError> {
        let clients =
            routes.into_iter().map(|(provider, route)| Ok((provider.clone(), connector(provider, route)?)));
        Ok(Self { clients: clients.collect::<Result<_, _>>()? })
    }

    /// Asks for the record that the permit is about.
    ///
    /// `request_id` is a fresh UUID of ours: the partner's own never reaches the record holder.
    ///
    /// # Errors
    /// [`FetchFault`]; nothing of the answer is kept.
    pub async fn fetch(
        &self,
        provider: &Provider,
        permit: &Permit,
        request_id: &str,
    ) -> Result<Fetched, FetchFault> {
        debug_assert_eq!(provider.id(), permit.provider(), "a permit names its record holder");
        let lookup = provider.lookup(permit.subject().scheme()).ok_or(FetchFault::NoRoute)?;
        self.ask(provider, lookup, permit.subject(), request_id).await
    }

    /// Asks a second record holder whether the person of a record is restricted; for somebody who does not exist,
    /// where the record has no identifier that it knows, so that this takes as long.
    ///
    /// # Errors
    /// [`FetchFault`]; nothing of the answer is kept.
    pub async fn ask_restriction(
        &self,
        by: &Provider,
        check: &RestrictionCheck,
        request_id: &str,
    ) -> Result<Fetched, FetchFault> {
        debug_assert_eq!(by.id(), check.by(), "a check names whom to ask");
        match check.subject() {
            None => {
                self.ask_any_decoy(by, request_id).await?;
                Err(FetchFault::NotFound)
            }
            Some(subject) => {
                let lookup = by.lookup(subject.scheme()).ok_or(FetchFault::NoRoute)?;
                self.ask(by, lookup, subject, request_id).await
            }
        }
    }

    /// Asks for somebody who does not exist, in place of a second opinion on a record that is not there.
    ///
    /// # Errors
    /// [`FetchFault`] when the record holder fails.
    pub async fn ask_any_decoy(&self, provider: &Provider, request_id: &str) -> Result<(), FetchFault> {
        let lookup = provider.lookups.first().ok_or(FetchFault::NoRoute)?;
        match self.ask_for_nobody(provider, lookup, request_id).await {
            Ok(()) | Err(FetchFault::NotFound) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Asks for somebody who does not exist, in place of a person about whom nothing may be told, so that the
    /// refusal takes as long, and fails in the same ways, as "no such person". What comes back is thrown away.
    ///
    /// # Errors
    /// [`FetchFault`]; [`FetchFault::NotFound`] is what a record holder in good order answers.
    pub async fn ask_decoy(
        &self,
        provider: &Provider,
        denial: &Denial,
        request_id: &str,
    ) -> Result<(), FetchFault> {
        let lookup = provider.lookup(denial.subject().scheme()).ok_or(FetchFault::NoRoute)?;
        self.ask_for_nobody(provider, lookup, request_id).await
    }

    async fn ask_for_nobody(
        &self,
        provider: &Provider,
        lookup: &Lookup,
        request_id: &str,
    ) -> Result<(), FetchFault> {
        let decoy = SubjectIdentifier::parse(lookup.scheme.clone(), &lookup.decoy)
            .map_err(|_| FetchFault::NoRoute)?;
        self.ask(provider, lookup, &decoy, request_id).await.map(drop)
    }

    async fn ask(
        &self,
        provider: &Provider,
        lookup: &Lookup,
        subject: &SubjectIdentifier,
        request_id: &str,
    ) -> Result<Fetched, FetchFault> {
        let connector = self.clients.get(provider.id()).ok_or(FetchFault::NoRoute)?;
        let base = connector.base_url.as_deref().unwrap_or(&provider.provider.base_url).trim_end_matches('/');
        // The identifier is digits, or letters, digits and hyphens: it cannot leave its path segment.
        let url = format!("{base}{}", lookup.path.replace("{value}", subject.as_str()));
        let request = match (lookup.method, &lookup.body_member) {
            (Method::Post, Some(member)) => {
                let body = serde_json::Map::from_iter([(member.clone(), subject.as_str().into())]);
                connector.client.post(url).json(&serde_json::Value::Object(body))
            }
            _ => connector.client.get(url),
        };
        let accept = provider.provider.media_types.join(", ");
        let request = request.header(header::ACCEPT, accept).header("X-Request-ID", request_id);
        let response = request.send().await.map_err(|error| fault(&error))?;
        accept_status(response.status())?;
        accept_kind(response.headers(), &provider.provider.media_types)?;
        read_capped(response, connector.body_bytes_max).await
    }
}

fn connector(provider: ProviderId, route: Route) -> Result<Connector, RouteError> {
    if route.base_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
        return Err(RouteError::NotHttps(provider));
    }
    let build = || {
        let trusted = Certificate::from_pem_bundle(route.trusted_pem.as_bytes())?;
        Client::builder()
            .tls_certs_only(trusted)
            .identity(Identity::from_pem(route.identity_pem.as_bytes())?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(route.timeout)
            .connect_timeout(route.timeout)
            .pool_idle_timeout(Duration::from_mins(1))
            .build()
    };
    let client = build().map_err(|source| RouteError::Certificates { provider, source })?;
    Ok(Connector { client, base_url: route.base_url, body_bytes_max: route.body_bytes_max })
}

/// The error may hold the URL, and so the identifier: it is reduced to its kind and dropped here.
fn fault(error: &reqwest::Error) -> FetchFault {
    if error.is_timeout() { FetchFault::TimedOut } else { FetchFault::Unreachable }
}

fn accept_status(status: StatusCode) -> Result<(), FetchFault> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND => Err(FetchFault::NotFound),
        StatusCode::TOO_MANY_REQUESTS => Err(FetchFault::Busy),
        other if other.is_redirection() => Err(FetchFault::Unexpected),
        other => Err(FetchFault::Status(other.as_u16())),
    }
}

fn accept_kind(headers: &header::HeaderMap, allowed: &[String]) -> Result<(), FetchFault> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let plain = !headers.contains_key(header::CONTENT_ENCODING);
    if plain && allowed.contains(&kind) { Ok(()) } else { Err(FetchFault::Unexpected) }
}

async fn read_capped(mut response: reqwest::Response, body_bytes_max: usize) -> Result<Fetched, FetchFault> {
    if response.content_length().is_some_and(|length| length > body_bytes_max as u64) {
        return Err(FetchFault::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > body_bytes_max {
            return Err(FetchFault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { body })
}
