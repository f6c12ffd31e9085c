//! Signing in with OpenID Connect: the authorization code flow with PKCE, state and nonce; the ID token's signature, issuer,
//! audience, times and nonce are checked by the `openidconnect` crate.
//!
//! What is on its way is in the database, sealed, and is used once. Source: OpenID Connect Core 1.0 §3.1; RFC 7636; RFC 9700.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use openidconnect::{
    AdditionalClaims, AuthenticationFlow, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndSessionUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadataWithLogout, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse,
    TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType, CoreRevocableToken,
        CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use outbound::{OutOfReach, Reach};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{SessionRow, Submission};
use subtle::ConstantTimeEq as _;

use crate::{
    Console, ConsoleError,
    fault::Fault,
    form::{self, Form},
    page::{CONTENT_SECURITY_POLICY, Frame, Plain, render},
    person::{Person, Role},
    session::{self, COOKIE, Ending, SIGN_IN_COOKIE, Secret, clear_cookie, set_cookie},
};

/// How long somebody may take to sign in.
const WAIT: SignedDuration = SignedDuration::from_mins(10);
/// Largest answer of the provider.
const BYTES_MAX: usize = 256 * 1024;
const CALLBACK: &str = "/signed-in";

/// The claims that no standard names.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Said {
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl AdditionalClaims for Said {}

type Fields = IdTokenFields<
    Said,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Provider = Client<
    Said,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Somebody is signing in.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    to: String,
    again: bool,
}

/// Where somebody signs in who wants to go there; `again` makes the provider ask who they are once more.
pub(crate) fn address(to: &str, again: bool) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("to", to)
        .append_pair("again", if again { "1" } else { "" })
        .finish();
    format!("/sign-in?{query}")
}

/// The client that asks the provider, and how far it reaches.
#[derive(Clone)]
pub(crate) struct ProviderClient {
    client: reqwest::Client,
    reach: Reach,
}

/// The client that asks the provider at this address: its authorities alone.
pub(crate) fn client(issuer: &str, trusted_pem: &str) -> Result<ProviderClient, ConsoleError> {
    let address = Url::parse(issuer).map_err(|_| ConsoleError::Address("issuer"))?;
    let roots = reqwest::Certificate::from_pem_bundle(trusted_pem.as_bytes());
    let client = outbound::client(issuer).map_err(|_| ConsoleError::Address("issuer"))?;
    let client = client.tls_certs_only(roots.map_err(|_| ConsoleError::Trusted)?).https_only(true);
    let client = client.timeout(Duration::from_secs(5)).build().map_err(|_| ConsoleError::Trusted)?;
    Ok(ProviderClient { client, reach: Reach::said(&address) })
}

/// The provider's answer could not be used.
#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error("the provider did not answer: {0}")]
    Request(reqwest::Error),
    /// What the provider says of itself leads there, or its name does.
    #[error("{0}: {1}")]
    OutOfReach(String, OutOfReach),
    #[error("the provider's answer is too large")]
    TooLarge,
    #[error("the provider's answer cannot be read")]
    Answer(#[from] http::Error),
}

impl From<reqwest::Error> for ProviderError {
    fn from(error: reqwest::Error) -> Self {
        if outbound::is_out_of_reach(&error) {
            let host = error.url().map(Url::to_string).unwrap_or_default();
            return Self::OutOfReach(host, OutOfReach);
        }
        Self::Request(error)
    }
}

async fn send(http: ProviderClient, request: HttpRequest) -> Result<HttpResponse, ProviderError> {
    let request: reqwest::Request = request.try_into()?;
    // Where the keys and the tokens are the provider says.
    if !http.reach.allows_url(request.url()) {
        return Err(ProviderError::OutOfReach(request.url().to_string(), OutOfReach));
    }
    let mut response = http.client.execute(request).await?;
    let mut builder = http::Response::builder().status(response.status());
    for (name, value) in response.headers() {
        builder = builder.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > BYTES_MAX {
            return Err(ProviderError::TooLarge);
        }
    }
    Ok(builder.body(body)?)
}

fn unreachable(error: &dyn std::fmt::Display) -> Fault {
    tracing::error!(%error, "signing in to the console failed at the provider");
    Fault::refused(
        StatusCode::BAD_GATEWAY,
        "Signing in does not work at the moment",
        "try again in a few minutes; if it goes on, tell whoever looks after the sign-in service",
    )
}

impl Console {
    /// The provider as it describes itself now, keys included.
    async fn provider(&self) -> Result<(Provider, Option<EndSessionUrl>), Fault> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone()).map_err(|error| Fault::broken(&error))?;
        let http = |request| send(self.http.clone(), request);
        let described = ProviderMetadataWithLogout::discover_async(issuer, &http).await;
        let described = described.map_err(|error| unreachable(&error))?;
        let ends = described.additional_metadata().end_session_endpoint.clone();
        let redirect = RedirectUrl::new(format!("{}{CALLBACK}", self.settings.public_url));
        let client = Client::from_provider_metadata(
            described,
            ClientId::new(self.settings.client_id.clone()),
            Some(ClientSecret::new(self.client_secret.trim().to_owned())),
        );
        Ok((client.set_redirect_uri(redirect.map_err(|error| Fault::broken(&error))?), ends))
    }
}

/// What signing in begins with.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    to: String,
    #[serde(default)]
    again: String,
}

/// Sends somebody to the provider.
pub(crate) async fn start(
    State(console): State<Arc<Console>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Fault> {
    let (provider, _) = console.provider().await?;
    let fresh = || Secret::new(&console).to_text();
    let again = wanted.again == "1";
    let verifier = PkceCodeVerifier::new(fresh());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let pending = Pending {
        state: fresh(),
        nonce: fresh(),
        verifier: verifier.secret().clone(),
        to: if is_here(&wanted.to) { wanted.to } else { "/".to_owned() },
        again,
    };
    let (state, nonce) = (pending.state.clone(), pending.nonce.clone());
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let asking = provider.authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce));
    let longest = if again { console.settings.step_up_s } else { console.settings.absolute_timeout_s };
    let mut asking = asking
        .add_scope(Scope::new("profile".to_owned()))
        .set_pkce_challenge(challenge)
        .set_max_age(Duration::from_secs(u64::from(longest)));
    if again {
        asking = asking.add_prompt(CoreAuthPrompt::Login);
    }
    let (place, _, _) = asking.url();
    let (secret, now) = (Secret::new(&console), console.gateway.now().as_microsecond());
    let row = SessionRow {
        id: secret.id(),
        kind: "sign-in".to_owned(),
        sealed: secret.seal(&pending)?,
        begun_us: now,
        seen_us: now,
        authenticated_us: 0,
    };
    let store = console.gateway.store();
    // Who began and did not come back: nobody has to sign in for it to be forgotten.
    let late = console.gateway.now().checked_sub(WAIT).unwrap_or(Timestamp::MIN);
    store.forget_sign_ins(late).await.map_err(|error| Fault::broken(&error))?;
    store.keep_session(&row).await.map_err(|error| Fault::broken(&error))?;
    let cookie = set_cookie(SIGN_IN_COOKIE, &secret.to_text());
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place.to_string()), (header::SET_COOKIE, cookie)])
        .into_response())
}

/// A path of ours, and nothing that a browser would take for another place.
fn is_here(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 2_000
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// What the provider says when somebody comes back from it.
#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    error: String,
}

/// Somebody comes back from the provider.
pub(crate) async fn finish(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Result<Response, Fault> {
    let not_begun = || {
        Fault::refused(
            StatusCode::BAD_REQUEST,
            "You are not signed in",
            "this was not begun in this browser, or took too long; go to the home page and sign in from there",
        )
    };
    let store = console.gateway.store();
    let secret = Secret::of(&headers, SIGN_IN_COOKIE).ok_or_else(not_begun)?;
    let row = store.end_session(&secret.id()).await.map_err(|error| Fault::broken(&error))?;
    let row = row.filter(|row| row.kind == "sign-in").ok_or_else(not_begun)?;
    let pending: Pending = secret.open(&row.sealed).ok_or_else(not_begun)?;
    let now = console.gateway.now();
    let begun = Timestamp::from_microsecond(row.begun_us).unwrap_or_default();
    let same = pending.state.as_bytes().ct_eq(back.state.as_bytes());
    if bool::from(same) && !back.error.is_empty() {
        return Err(Fault::refused(
            StatusCode::FORBIDDEN,
            "The sign-in service did not let you in",
            "go to the home page to try again; if it goes on, ask whoever looks after your account there",
        ));
    }
    if !bool::from(same) || back.code.is_empty() || now.duration_since(begun) > WAIT {
        return Err(not_begun());
    }
    let (person, authenticated, ending) = who(&console, &pending, back.code).await?;
    if pending.again && now.duration_since(authenticated) >= seconds(console.settings.step_up_s) {
        return Err(Fault::refused(
            StatusCode::BAD_GATEWAY,
            "You were not asked who you are again",
            "the sign-in service has to ask for it here; tell whoever looks after it",
        ));
    }
    let before = session::find(&console, &headers).await?;
    // Whatever session this browser had is over.
    if let Some(earlier) = Secret::of(&headers, COOKIE) {
        store.end_session(&earlier.id()).await.map_err(|error| Fault::broken(&error))?;
    }
    // Whoever is to prove that it is them is nobody else.
    if pending.again && before.as_ref().is_some_and(|before| !before.is(&person)) {
        return Err(Fault::refused(
            StatusCode::FORBIDDEN,
            "Somebody else has signed in",
            "whoever was signed in here had to prove that it is them, and another person did; both are signed out here now, so go to the home page and sign in as yourself",
        ));
    }
    let to = if person.is_citizen() && pending.to == "/" { "/my-data".to_owned() } else { pending.to };
    let secret = session::begin(&console, person, authenticated.min(now), (ending, before)).await?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    for cookie in [set_cookie(COOKIE, &secret.to_text()), clear_cookie(SIGN_IN_COOKIE)] {
        let cookie = HeaderValue::from_str(&cookie).map_err(|error| Fault::broken(&error))?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn seconds(seconds: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(seconds))
}

/// Who the provider says it is, and when they proved it.
async fn who(
    console: &Console,
    pending: &Pending,
    code: String,
) -> Result<(Person, Timestamp, Option<Ending>), Fault> {
    let (provider, ends) = console.provider().await?;
    let http = |request| send(console.http.clone(), request);
    let asking = provider.exchange_code(AuthorizationCode::new(code)).map_err(|error| unreachable(&error))?;
    let asking = asking.set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
    let tokens = asking.request_async(&http).await.map_err(|error| unreachable(&error))?;
    let token = tokens.id_token().ok_or_else(|| unreachable(&"there is no id token"))?;
    let now_s = console.gateway.now().as_second();
    let verifier = provider.id_token_verifier().set_time_fn(move || openidconnect_time(now_s));
    let claims = token.claims(&verifier, &Nonce::new(pending.nonce.clone()));
    let claims = claims.map_err(|error| unreachable(&error))?;
    let authenticated = claims.auth_time().map(|at| at.timestamp());
    let authenticated = authenticated.and_then(|at| Timestamp::from_second(at).ok());
    let all = serde_json::to_value(claims).unwrap_or_default();
    let person = person(console, &all).await?;
    let ends = ends.filter(|place| place.url().scheme() == "https");
    // A token that holds a number is in no address: the provider asks instead.
    let has_number = all.get(&console.settings.claims.nhs_number).is_some_and(|number| !number.is_null());
    let hint = (!has_number).then(|| token.to_string());
    let ending = ends.map(|place| Ending { endpoint: place.to_string(), hint });
    Ok((person, authenticated.unwrap_or_default(), ending))
}

/// The `openidconnect` crate wants `chrono`'s time.
fn openidconnect_time(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

async fn person(console: &Console, claims: &Value) -> Result<Person, Fault> {
    let names = &console.settings.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let given: Vec<String> = match claims.get(&names.roles) {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(value)) => vec![value.clone()],
        _ => Vec::new(),
    };
    let has = |values: &Vec<String>| values.iter().any(|value| given.contains(value));
    let mut roles: BTreeSet<Role> =
        console.settings.roles.iter().filter(|(_, values)| has(values)).map(|(role, _)| *role).collect();
    let id = text(&names.person);
    let citizen = roles.contains(&Role::Citizen);
    if roles.len() > 1 {
        // Their own data is for another sign-in.
        roles.remove(&Role::Citizen);
    }
    let own = if citizen && roles.len() == 1 { console.settings.citizens_of.clone() } else { None };
    let organisation = own.or_else(|| text(&names.organisation).parse().ok());
    let known = organisation.filter(|id| console.gateway.policies().organisation(id).is_some());
    let plain = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.|:@".contains(&byte));
    match known {
        Some(organisation) if plain && !roles.is_empty() => {
            let name = text(&names.name);
            let name = if name.is_empty() { id.clone() } else { name.chars().take(80).collect() };
            let level = text(&names.identity_check);
            let checks = &console.settings.identity_checks;
            let identity_check = checks.iter().find(|(_, levels)| levels.contains(&level));
            let identity_check = identity_check.map(|(check, _)| check.clone());
            // Where it is said which checks are enough, a number that came by another is nobody's.
            let is_checked = checks.is_empty() || identity_check.is_some();
            let nhs_number =
                Some(text(&names.nhs_number)).filter(|number| citizen && is_checked && !number.is_empty());
            Ok(Person { organisation, id, name, roles, nhs_number, identity_check })
        }
        other => {
            let entry = Body::RequestRefused {
                code: "console-no-role".to_owned(),
                route: CALLBACK.to_owned(),
                system: Some("console".to_owned()),
                organisation: other.map(|organisation| organisation.to_string()),
                certificate_sha256: None,
                request_id: None,
            };
            let recorded = Submission::of(console.gateway.now(), vec![entry]);
            console.gateway.store().commit(recorded).await.map_err(|error| Fault::broken(&error))?;
            Err(Fault::refused(
                StatusCode::FORBIDDEN,
                "You cannot use this service",
                "the sign-in service says who you are, and no role here or no organisation that takes part; ask whoever looks after roles in your organisation",
            ))
        }
    }
}

/// The page from which the provider's session is ended, too.
#[derive(Template)]
#[template(path = "signing_out.html")]
struct SigningOut {
    frame: Frame,
    action: String,
    inputs: Vec<(String, String)>,
}

/// Ends the session, here and in the database; and at the provider, where it says how (OpenID Connect RP-Initiated Logout 1.0 §2).
/// A resident's ID token holds their number, and that is in no address: the provider asks them instead.
///
/// Whose session here is over already has perhaps one there: on a computer of many it is to end, too.
pub(crate) async fn sign_out(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    form: Result<Form, Response>,
) -> Result<Response, Response> {
    let is_own = form::says_own_site(&headers, &console.settings.public_url);
    let ending = match form {
        Ok(form) => {
            let ended = console.gateway.store().end_session(&form.signed.name).await;
            ended.map_err(|error| Fault::broken(&error).into_response())?;
            form.signed.ending
        }
        Err(refused) if is_own && refused.status() == StatusCode::UNAUTHORIZED => {
            let (_, ends) = console.provider().await.map_err(IntoResponse::into_response)?;
            let ends = ends.filter(|place| place.url().scheme() == "https");
            ends.map(|place| Ending { endpoint: place.to_string(), hint: None })
        }
        Err(refused) => return Err(refused),
    };
    let onward = ending.as_ref().and_then(|ending| onward(&console, ending));
    let mut response = match onward {
        Some((page, policy)) => ([(header::CONTENT_SECURITY_POLICY, policy)], render(&page)).into_response(),
        None => (StatusCode::SEE_OTHER, [(header::LOCATION, "/signed-out")]).into_response(),
    };
    // What the browser has kept of pages is forgotten, too.
    let cookie = HeaderValue::from_str(&clear_cookie(COOKIE));
    let cookie = cookie.map_err(|error| Fault::broken(&error).into_response())?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    let forget = header::HeaderName::from_static("clear-site-data");
    response.headers_mut().insert(forget, HeaderValue::from_static("\"cache\""));
    Ok(response)
}

/// The page that goes on to the provider, and the policy that lets its form go there and nothing else through.
fn onward(console: &Console, ending: &Ending) -> Option<(SigningOut, HeaderValue)> {
    let endpoint = EndSessionUrl::new(ending.endpoint.clone()).ok()?;
    let place = endpoint.url();
    let own = "form-action 'self'";
    let policy =
        CONTENT_SECURITY_POLICY.replace(own, &format!("{own} {}", place.origin().ascii_serialization()));
    // A form leaves out what its address asks.
    let mut inputs: Vec<_> = place.query_pairs().into_owned().collect();
    let back = format!("{}/signed-out", console.settings.public_url);
    let said = [
        ("client_id", console.settings.client_id.as_str()),
        ("post_logout_redirect_uri", &back),
        ("state", EVERYWHERE),
    ];
    inputs.extend(said.map(|(name, value)| (name.to_owned(), value.to_owned())));
    inputs.extend(ending.hint.clone().map(|token| ("id_token_hint".to_owned(), token)));
    let action = ending.endpoint.split('?').next().unwrap_or_default().to_owned();
    let page = SigningOut { frame: Frame::bare("You have signed out here"), action, inputs };
    Some((page, HeaderValue::from_str(&policy).ok()?))
}

/// Back from the provider, perhaps.
#[derive(Deserialize)]
pub(crate) struct SignedOut {
    #[serde(default)]
    state: String,
}

/// What the provider sends back when it has ended its session.
const EVERYWHERE: &str = "everywhere";

/// Signed out.
pub(crate) async fn signed_out(Query(back): Query<SignedOut>) -> Response {
    let said = if back.state == EVERYWHERE {
        "Your session here has ended, and the sign-in service has ended its own."
    } else {
        "Your session here has ended. The sign-in service may still know you: sign out there too, or close the browser, if others use this computer."
    };
    render(&Plain {
        frame: Frame::bare("You have signed out"),
        paragraphs: vec![said.to_owned()],
        link: Some(("/", "Sign in again")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        assert!(is_here("/alerts/alt_1?x=1"));
        for elsewhere in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "alerts"]
        {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
        assert_eq!(address("/a?b=c", true), "/sign-in?to=%2Fa%3Fb%3Dc&again=1");
    }
}
