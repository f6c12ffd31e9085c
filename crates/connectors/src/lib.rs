//! Outbound HTTPS to the organisations that hold records.
//!
//! Nothing is asked without a [`sharing::Permit`], save a decoy for a refusal that must look like "no such
//! person". Requests are built from the catalogue's templates; nothing of the caller's request is forwarded but
//! the identifier. Redirects are never followed, proxies never used, answers capped while they arrive, and
//! whatever a record holder says when it fails is thrown away unread. This crate cannot see the store.

pub mod breaker;
mod kind;
pub mod notify;
pub mod peer;
pub mod upstream;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use outbound::{Reach, Resolver};
use reqwest::{Certificate, Client, Identity, StatusCode, Url, header};
use sharing::{
    Denial, Permit, Provider, SubjectIdentifier,
    catalogue::{Lookup, Method},
    identifier::ProviderId,
    restriction::RestrictionCheck,
};

use self::upstream::{Seen, Upstream};

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
    /// Most questions on their way at once.
    pub in_flight_max: usize,
    /// Where it may be.
    pub reach: Reach,
}

/// What goes with a question to a record holder.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// A fresh UUID of ours: the partner's own never reaches the record holder.
    pub request_id: &'a str,
    /// By when there must be an answer.
    pub until: Instant,
}

/// The clients for every record holder, one each.
pub struct Connectors {
    clients: BTreeMap<ProviderId, Connector>,
}

struct Connector {
    client: Client,
    base_url: Option<String>,
    body_bytes_max: usize,
    timeout: Duration,
    reach: Reach,
    upstream: Arc<Upstream>,
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
    /// As many questions as it may have are on their way.
    #[error("too many questions to the record holder are on their way")]
    Crowded,
    /// It failed too often, and is left alone for a moment.
    #[error("the record holder failed too often and is left alone for a moment")]
    Resting,
    /// It has an address that no record holder may have.
    #[error("the record holder's address is one that may not be asked")]
    OutOfReach,
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
            Self::Crowded => "provider-crowded",
            Self::Resting => "provider-resting",
            Self::OutOfReach => "provider-out-of-reach",
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
    /// The address is one that no record holder may have, or none.
    #[error(
        "the base url of record holder `{0}` is none that may be asked: this machine, its link and clouds' metadata are out of reach unless its settings say `loopback = true`"
    )]
    OutOfReach(ProviderId),
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
        let clients = routes.into_iter().map(|(provider, route)| {
            let resolver = Resolver::new(route.reach);
            Ok((provider.clone(), connector(provider, route, resolver)?))
        });
        Ok(Self { clients: clients.collect::<Result<_, _>>()? })
    }

    /// As it was before, where a record holder is the same: what goes on with it, and whether it rests.
    #[must_use]
    pub fn in_place_of(mut self, before: &Self) -> Self {
        for (provider, connector) in &mut self.clients {
            let old = before.clients.get(provider).map(|old| &old.upstream);
            if let Some(old) = old.filter(|old| old.in_flight_max == connector.upstream.in_flight_max) {
                connector.upstream = old.clone();
            }
        }
        self
    }

    /// How each record holder is.
    pub fn seen(&self) -> impl Iterator<Item = (&ProviderId, Seen)> {
        self.clients.iter().map(|(provider, connector)| (provider, connector.upstream.seen()))
    }

    /// Asks for the record that the permit is about.
    ///
    /// # Errors
    /// [`FetchFault`]; nothing of the answer is kept.
    pub async fn fetch(
        &self,
        provider: &Provider,
        permit: &Permit,
        call: Call<'_>,
    ) -> Result<Fetched, FetchFault> {
        debug_assert_eq!(provider.id(), permit.provider(), "a permit names its record holder");
        let lookup = provider.lookup(permit.subject().scheme()).ok_or(FetchFault::NoRoute)?;
        self.ask(provider, lookup, permit.subject(), call).await
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
        call: Call<'_>,
    ) -> Result<Fetched, FetchFault> {
        debug_assert_eq!(by.id(), check.by(), "a check names whom to ask");
        match check.subject() {
            None => {
                self.ask_any_decoy(by, call).await?;
                Err(FetchFault::NotFound)
            }
            Some(subject) => {
                let lookup = by.lookup(subject.scheme()).ok_or(FetchFault::NoRoute)?;
                self.ask(by, lookup, subject, call).await
            }
        }
    }

    /// Asks for somebody who does not exist, in place of a second opinion on a record that is not there.
    ///
    /// # Errors
    /// [`FetchFault`] when the record holder fails.
    pub async fn ask_any_decoy(&self, provider: &Provider, call: Call<'_>) -> Result<(), FetchFault> {
        let lookup = provider.lookups.first().ok_or(FetchFault::NoRoute)?;
        match self.ask_for_nobody(provider, lookup, call).await {
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
        call: Call<'_>,
    ) -> Result<(), FetchFault> {
        let lookup = provider.lookup(denial.subject().scheme()).ok_or(FetchFault::NoRoute)?;
        self.ask_for_nobody(provider, lookup, call).await
    }

    async fn ask_for_nobody(
        &self,
        provider: &Provider,
        lookup: &Lookup,
        call: Call<'_>,
    ) -> Result<(), FetchFault> {
        let decoy = SubjectIdentifier::parse(lookup.scheme.clone(), &lookup.decoy)
            .map_err(|_| FetchFault::NoRoute)?;
        self.ask(provider, lookup, &decoy, call).await.map(drop)
    }

    async fn ask(
        &self,
        provider: &Provider,
        lookup: &Lookup,
        subject: &SubjectIdentifier,
        call: Call<'_>,
    ) -> Result<Fetched, FetchFault> {
        let connector = self.clients.get(provider.id()).ok_or(FetchFault::NoRoute)?;
        let going = connector.upstream.go(call.until).await?;
        let left = call.until.saturating_duration_since(Instant::now());
        let within = left.min(connector.timeout);
        let asked = tokio::time::timeout(within, connector.ask(provider, lookup, subject, call.request_id));
        let asked = asked.await.unwrap_or(Err(FetchFault::TimedOut));
        going.ended(asked.as_ref().err().copied(), within < connector.timeout);
        asked
    }
}

impl Connector {
    async fn ask(
        &self,
        provider: &Provider,
        lookup: &Lookup,
        subject: &SubjectIdentifier,
        request_id: &str,
    ) -> Result<Fetched, FetchFault> {
        let base = self.base_url.as_deref().unwrap_or(&provider.provider.base_url).trim_end_matches('/');
        // The identifier is digits, or letters, digits and hyphens: it cannot leave its path segment.
        let url = format!("{base}{}", lookup.path.replace("{value}", subject.as_str()));
        // The catalogue's address is looked at here, the settings' own when they are read: each time, since it costs nothing.
        let url = Url::parse(&url).map_err(|_| FetchFault::OutOfReach)?;
        if !self.reach.allows_url(&url) {
            return Err(FetchFault::OutOfReach);
        }
        let request = match (lookup.method, &lookup.body_member) {
            (Method::Post, Some(member)) => {
                let body = serde_json::Map::from_iter([(member.clone(), subject.as_str().into())]);
                self.client.post(url).json(&serde_json::Value::Object(body))
            }
            _ => self.client.get(url),
        };
        let accept = provider.provider.media_types.join(", ");
        let request = request.header(header::ACCEPT, accept).header("X-Request-ID", request_id);
        let response = request.send().await.map_err(|error| fault(&error))?;
        accept_status(response.status())?;
        kind::accept(response.headers(), &provider.provider.media_types)?;
        read_capped(response, self.body_bytes_max).await
    }
}

fn connector(provider: ProviderId, route: Route, resolver: Resolver) -> Result<Connector, RouteError> {
    if route.base_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
        return Err(RouteError::NotHttps(provider));
    }
    if let Some(base) = &route.base_url {
        let is_reachable = Url::parse(base).is_ok_and(|base| route.reach.allows_url(&base));
        if !is_reachable {
            return Err(RouteError::OutOfReach(provider));
        }
    }
    let build = || {
        let trusted = Certificate::from_pem_bundle(route.trusted_pem.as_bytes())?;
        outbound::client_with(resolver)
            .tls_certs_only(trusted)
            .identity(Identity::from_pem(route.identity_pem.as_bytes())?)
            .https_only(true)
            .timeout(route.timeout)
            .connect_timeout(route.timeout)
            .pool_idle_timeout(Duration::from_mins(1))
            .build()
    };
    let client = build().map_err(|source| RouteError::Certificates { provider, source })?;
    Ok(Connector {
        client,
        base_url: route.base_url,
        body_bytes_max: route.body_bytes_max,
        timeout: route.timeout,
        reach: route.reach,
        upstream: Arc::new(Upstream::new(route.in_flight_max)),
    })
}

/// The error may hold the URL, and so the identifier: it is reduced to its kind and dropped here.
fn fault(error: &reqwest::Error) -> FetchFault {
    match error {
        _ if outbound::is_out_of_reach(error) => FetchFault::OutOfReach,
        _ if error.is_timeout() => FetchFault::TimedOut,
        _ => FetchFault::Unreachable,
    }
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

#[cfg(test)]
mod out_of_reach;
