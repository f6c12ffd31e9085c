//! Sessions. The browser has 32 random bytes in a cookie; the database has their digest, and what the session says sealed
//! with a key made of them. Signing in always makes a new one, so that nobody goes on with a session that somebody else chose.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use sharing::policy::hexadecimal;
use std::sync::Arc;
use store::SessionRow;
use zeroize::Zeroizing;

use crate::{Console, fault::Fault, person::Person, sign_in};

/// `__Host-`: over TLS, from this host, for all of it (RFC 6265bis §4.1.3.2).
pub(crate) const COOKIE: &str = "__Host-concordat";
pub(crate) const SIGN_IN_COOKIE: &str = "__Host-concordat-sign-in";

/// A session is written down as used at most this often.
const SEEN_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// What a session says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Says {
    pub(crate) person: Person,
    pub(crate) csrf: String,
    #[serde(default)]
    pub(crate) ending: Option<Ending>,
    /// What fields of forms are sealed with. It goes on when its person proves who they are again, so that a form of before still says
    /// whom it is about.
    #[serde(default)]
    pub(crate) fields: Option<String>,
}

/// Somebody who is signed in, as a page sees them.
pub(crate) struct Signed {
    pub(crate) person: Person,
    pub(crate) csrf: String,
    pub(crate) name: String,
    pub(crate) authenticated: Timestamp,
    pub(crate) ending: Option<Ending>,
    /// How long the session lasts without use, in seconds.
    pub(crate) idle_s: u32,
    /// What fields of forms are sealed with.
    fields: Secret,
}

/// What ends the session at the provider, too.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// Where the provider is told.
    pub(crate) endpoint: String,
    /// The ID token by which it knows which session it is, where that may be in an address.
    pub(crate) hint: Option<String>,
}

/// What the browser keeps.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(crate) fn new(console: &Console) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        for half in bytes.chunks_mut(16) {
            half.copy_from_slice(&console.gateway.bits().to_be_bytes());
        }
        Self(bytes)
    }

    pub(crate) fn of(headers: &HeaderMap, cookie: &str) -> Option<Self> {
        Self::of_text(cookie_value(headers, cookie)?)
    }

    fn of_text(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        Some(Self(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?)))
    }

    pub(crate) fn to_text(&self) -> String {
        BASE64.encode(self.0.as_slice())
    }

    pub(crate) fn id(&self) -> String {
        hexadecimal(&self.derived("concordat console session id"))
    }

    fn derived(&self, of: &str) -> [u8; 32] {
        Sha256::new().chain_update(of).chain_update(self.0.as_slice()).finalize().into()
    }

    fn key(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.derived("concordat console session key")).ok()
    }

    pub(crate) fn seal<T: Serialize>(&self, says: &T) -> Result<String, Fault> {
        let mut text = serde_json::to_vec(says).map_err(|error| Fault::broken(&error))?;
        let sealing = self.key().and_then(|key| {
            let nonce = key.seal_in_place_append_tag(Aad::from(self.id()), &mut text).ok()?;
            Some(*nonce.as_ref())
        });
        let nonce = sealing.ok_or_else(|| Fault::broken(&"a session cannot be sealed"))?;
        Ok(BASE64.encode([nonce.as_slice(), &text].concat()))
    }

    pub(crate) fn open<T: DeserializeOwned>(&self, sealed: &str) -> Option<T> {
        let bytes = BASE64.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self.key()?.open_in_place(nonce, Aad::from(self.id()), &mut text).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name);
    let (_, value) = found.next()?;
    // Twice is none: which one counts is what attackers play with.
    if found.next().is_some() { None } else { Some(value) }
}

/// A cookie for as long as the browser runs.
pub(crate) fn set_cookie(name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

/// No cookie any more.
pub(crate) fn clear_cookie(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Begins a session for somebody who has proved who they are, and returns what the browser keeps. It goes on from an `earlier` one of
/// the same person as far as their forms are concerned.
pub(crate) async fn begin(
    console: &Console,
    person: Person,
    authenticated: Timestamp,
    (ending, earlier): (Option<Ending>, Option<Signed>),
) -> Result<Secret, Fault> {
    let (secret, now) = (Secret::new(console), console.gateway.now());
    let fields = earlier.filter(|earlier| earlier.is(&person)).map(|earlier| earlier.fields);
    let fields = Some(fields.unwrap_or_else(|| Secret::new(console)).to_text());
    let says = Says { person, csrf: Secret::new(console).to_text(), ending, fields };
    let row = SessionRow {
        id: secret.id(),
        kind: "session".to_owned(),
        sealed: secret.seal(&says)?,
        begun_us: now.as_microsecond(),
        seen_us: now.as_microsecond(),
        authenticated_us: authenticated.as_microsecond(),
    };
    let store = console.gateway.store();
    let ago = |seconds: u32| now.checked_sub(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(now);
    let (idle, whole) = (console.settings.idle_timeout_s, console.settings.absolute_timeout_s);
    store.forget_sessions(ago(idle), ago(whole)).await.map_err(|error| Fault::broken(&error))?;
    store.keep_session(&row).await.map_err(|error| Fault::broken(&error))?;
    Ok(secret)
}

/// Whoever is signed in, if anybody is.
pub(crate) async fn find(console: &Console, headers: &HeaderMap) -> Result<Option<Signed>, Fault> {
    let Some(secret) = Secret::of(headers, COOKIE) else { return Ok(None) };
    let store = console.gateway.store();
    let row = store.session(&secret.id()).await.map_err(|error| Fault::broken(&error))?;
    let Some(row) = row.filter(|row| row.kind == "session") else { return Ok(None) };
    let now = console.gateway.now();
    let since = |at_us: i64| {
        Timestamp::from_microsecond(at_us).map_or(SignedDuration::MAX, |at| now.duration_since(at))
    };
    let within = |at_us: i64, seconds: u32| since(at_us) < SignedDuration::from_secs(i64::from(seconds));
    let lives = within(row.seen_us, console.settings.idle_timeout_s)
        && within(row.begun_us, console.settings.absolute_timeout_s);
    if !lives {
        store.end_session(&row.id).await.map_err(|error| Fault::broken(&error))?;
        return Ok(None);
    }
    let Some(says) = secret.open::<Says>(&row.sealed) else { return Ok(None) };
    if since(row.seen_us) >= SEEN_EVERY {
        store.see_session(&row.id, now).await.map_err(|error| Fault::broken(&error))?;
    }
    let authenticated = Timestamp::from_microsecond(row.authenticated_us).unwrap_or_default();
    let Says { person, csrf, ending, fields } = says;
    let fields = fields.as_deref().and_then(Secret::of_text).unwrap_or(secret);
    let idle_s = console.settings.idle_timeout_s;
    Ok(Some(Signed { person, csrf, name: row.id, authenticated, ending, idle_s, fields }))
}

impl Signed {
    /// Whether they proved who they are lately enough for what matters most.
    pub(crate) fn is_fresh(&self, console: &Console) -> bool {
        let age = console.gateway.now().duration_since(self.authenticated);
        age < SignedDuration::from_secs(i64::from(console.settings.step_up_s))
    }

    /// Whether it is a session of this person.
    pub(crate) fn is(&self, person: &Person) -> bool {
        (&self.person.organisation, &self.person.id) == (&person.organisation, &person.id)
    }

    /// For a field of a form: nobody reads it who does not have the cookie of this session, or of one of the same person's that goes
    /// on from it, neither from the page nor from a copy of it.
    pub(crate) fn seal<T: Serialize>(&self, says: &T) -> Result<String, Fault> {
        self.fields.seal(says)
    }

    /// Whether it was sealed for a field of this session's forms.
    pub(crate) fn knows(&self, sealed: &str) -> bool {
        self.open::<serde_json::Value>(sealed).is_some()
    }

    /// What was sealed for a field of this session's forms.
    pub(crate) fn open<T: DeserializeOwned>(&self, sealed: &str) -> Option<T> {
        self.fields.open(sealed)
    }
}

impl FromRequestParts<Arc<Console>> for Signed {
    type Rejection = Response;

    /// Whoever is not signed in is sent to sign in, and back where they wanted to go. Whoever sends a form is told: browsers follow no
    /// redirect from a form to another site, which the provider is (`form-action`).
    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        match find(console, &parts.headers).await {
            Ok(Some(signed)) => Ok(signed),
            Ok(None) => {
                let to = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                if parts.method != http::Method::GET && parts.method != http::Method::HEAD {
                    return Err(Fault::signed_out().into_response());
                }
                let place = sign_in::address(to, false);
                Err((StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response())
            }
            Err(fault) => Err(fault.into_response()),
        }
    }
}
