//! The console: pages for information governance officers, auditors and the people whose data it is.
//!
//! It signs people in ([`person`], `sign_in`, `session`), asks the API for them in this process (`desk`), and puts the answers
//! into words (`pages`). It depends on nothing that can reach a record holder, and has no right to ask for a record, so no page
//! shows one. How and why: `docs/console.md`, `docs/adr/0024-console.md`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use sharing::{OrganisationId, PolicySet};
use store::Store;
use zeroize::Zeroizing;

mod assets;
mod days;
mod desk;
#[cfg(test)]
mod examples;
mod fault;
#[cfg(test)]
mod fixtures;
mod form;
mod page;
mod pages;
pub mod person;
mod session;
mod settings;
mod sign_in;
mod unsent;

pub use settings::{ClaimNames, ConsoleSettings};

/// What the console needs of the gateway.
pub trait Gateway: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;
    /// 128 fresh random bits.
    fn bits(&self) -> u128;
    /// The policies in force.
    fn policies(&self) -> Arc<PolicySet>;
    /// The database.
    fn store(&self) -> &Store;
    /// The ledger's witnesses, where it has any.
    fn witnesses(&self) -> Option<Witnesses>;
}

/// The other organisations that cosign the ledger's checkpoints, as this process knows them.
#[derive(Debug, Clone)]
pub struct Witnesses {
    /// How many different organisations have to have cosigned.
    pub needed: usize,
    /// Each with how many entries it has cosigned; `None` where it has not since this process started.
    pub each: Vec<(OrganisationId, Option<u64>)>,
    /// The entries that enough of them have cosigned, and when they did.
    pub witnessed: Option<(u64, Timestamp)>,
    /// One of them holds other entries of this ledger.
    pub is_contradicted: bool,
    /// Enough of them have seen it lately.
    pub is_in_order: bool,
}

/// Checks of a resident's identity that a provider can say it made.
const IDENTITY_CHECKS: [&str; 2] = ["nhs-login-p9", "gov-uk-one-login"];

/// The console.
pub struct Console {
    settings: ConsoleSettings,
    client_secret: Zeroizing<String>,
    http: sign_in::ProviderClient,
    gateway: Arc<dyn Gateway>,
    /// The routes that it may use, which take [`person::Vouched`].
    api: Router,
    verified: pages::ledger::Verified,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The provider's authorities cannot be read or used.
    #[error("[console] trusted: the authorities of the OpenID provider cannot be used")]
    Trusted,
    /// An address that is not one.
    #[error("[console] {0}: an https:// address without a slash at its end")]
    Address(&'static str),
    /// Nobody could sign in.
    #[error("[console.roles]: name at least one role, with the values that the provider has for it")]
    NoRoles,
    /// A check of identities that the ledger has no word for.
    #[error("[console.identity_checks]: {IDENTITY_CHECKS:?} are known")]
    IdentityCheck,
    /// Citizens have nobody who answers them.
    #[error(
        "[console] citizens_of: name the organisation that answers citizens, or take the role `citizen` out"
    )]
    NobodyAnswers,
}

impl Console {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConsoleError`] saying which setting cannot be used.
    pub fn new(
        settings: ConsoleSettings,
        client_secret: Zeroizing<String>,
        trusted_pem: &str,
        gateway: Arc<dyn Gateway>,
        api: Router,
    ) -> Result<Self, ConsoleError> {
        for (name, address) in [("public_url", &settings.public_url), ("issuer", &settings.issuer)] {
            if !address.starts_with("https://") || (name == "public_url" && address.ends_with('/')) {
                return Err(ConsoleError::Address(name));
            }
        }
        if settings.register_url.as_ref().is_some_and(|address| !address.starts_with("https://")) {
            return Err(ConsoleError::Address("register_url"));
        }
        if settings.roles.is_empty() {
            return Err(ConsoleError::NoRoles);
        }
        if settings.identity_checks.keys().any(|check| !IDENTITY_CHECKS.contains(&check.as_str())) {
            return Err(ConsoleError::IdentityCheck);
        }
        if settings.roles.contains_key(&person::Role::Citizen) && settings.citizens_of.is_none() {
            return Err(ConsoleError::NobodyAnswers);
        }
        let http = sign_in::client(&settings.issuer, trusted_pem)?;
        Ok(Self { settings, client_secret, http, gateway, api, verified: pages::ledger::Verified::default() })
    }

    /// Where the public register is: beside these pages, unless the settings name another place.
    fn register(&self) -> String {
        self.settings.register_url.clone().unwrap_or_else(|| "/register".to_owned())
    }

    /// The pages, with what is shown `beside` them to everybody and what looks at each request first, and what works beside them.
    pub fn router(self, beside: Router, looked_at: impl FnOnce(Router) -> Router) -> (Router, Background) {
        let console = Arc::new(self);
        let pages = pages::routes()
            .fallback(|| async { fault::Fault::not_found().into_response() })
            .method_not_allowed_fallback(pages::of_form)
            .with_state(console.clone())
            .merge(beside);
        let router = looked_at(pages).layer(middleware::from_fn_with_state(console.clone(), dress));
        (router, Background(console))
    }
}

/// What the console does beside its pages.
pub struct Background(Arc<Console>);

impl Background {
    /// Works until `stop` is done.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        pages::ledger::verify_when_asked(self.0, stop).await;
    }
}

/// Every answer says what browsers may do with it, and pages are kept nowhere: not in the browser's history either.
async fn dress(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    if host != console.settings.public_url.strip_prefix("https://") {
        return fault::Fault::not_found().into_response();
    }
    let (sent, method) = (request.headers().clone(), request.method().clone());
    let unsent = unsent::Unsent::default();
    request.extensions_mut().insert(unsent.clone());
    let mut response = next.run(request).await;
    if let Some(said) = response.extensions_mut().remove::<fault::Said>() {
        response = said.framed(&console, &sent, response.status(), unsent.written()).await;
        if let Some(seconds) = said.again(&method) {
            response.headers_mut().insert(header::REFRESH, seconds);
        }
    }
    let headers = response.headers_mut();
    for (name, value) in page::HEADERS {
        // The page that signs out at the provider sends its form there.
        headers.entry(name).or_insert(value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
