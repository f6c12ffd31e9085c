//! The demonstration's OpenID provider: whoever comes chooses who they are. It is there so that the console can be tried without
//! anything else being installed, and it is compiled into the demonstration alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use askama::Template;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use console::person::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock as _, SystemClock, SystemEntropy},
    config::Settings,
    listener::{self, HandshakeRefusal, Limits},
    mint::MintingKey,
    tls,
};

/// Somebody invented.
struct Persona {
    id: &'static str,
    name: &'static str,
    organisation: &'static str,
    role: Role,
    nhs_number: &'static str,
}

const fn staff(id: &'static str, name: &'static str, organisation: &'static str, role: Role) -> Persona {
    Persona { id, name, organisation, role, nhs_number: "" }
}

const PERSONAS: [Persona; 17] = [
    staff("TRF-IG-1", "Ines Gale", "trafford-council", Role::IgOfficer),
    staff("TRF-PO-2", "Priya Oduya", "trafford-council", Role::PrivacyOfficer),
    staff("TRF-CG-1", "Callum Grant", "trafford-council", Role::CaldicottGuardian),
    staff("TRF-SIRO-1", "Sunita Rao", "trafford-council", Role::Signatory),
    staff("GMFRS-IG-1", "Farah Iqbal", "gmca", Role::IgOfficer),
    staff("GMFRS-REV-1", "Rob Evans", "gmca", Role::PractitionerReviewer),
    staff("GMFRS-DPO-1", "Dara Owens", "gmca", Role::DataProtectionOfficer),
    staff("GMFRS-SIRO-1", "Simon Hart", "gmca", Role::Signatory),
    staff("NHS-IG-1", "Nadia Iles", "nhs-england", Role::IgOfficer),
    staff("NHS-CG-1", "Chris Grey", "nhs-england", Role::CaldicottGuardian),
    staff("NHS-PO-1", "Paula Orr", "nhs-england", Role::PrivacyOfficer),
    staff("TRF-MED-1", "Mina Edwards", "trafford-council", Role::Mediator),
    staff("TRF-AUD-3", "Amir Dean", "trafford-council", Role::Auditor),
    staff("TRF-AUD-4", "Ada Moss", "trafford-council", Role::Auditor),
    staff("TRF-OP-1", "Owen Pike", "trafford-council", Role::Operator),
    Persona {
        id: "resident-1",
        name: "A. Sanderson",
        organisation: "nhs-england",
        role: Role::Citizen,
        nhs_number: "9732110317",
    },
    Persona {
        id: "resident-2",
        name: "B. Resident",
        organisation: "nhs-england",
        role: Role::Citizen,
        nhs_number: "9736363023",
    },
];

/// What somebody who signs in is to get.
struct Granted {
    persona: usize,
    nonce: String,
    challenge: String,
    redirect: String,
    at_s: i64,
}

struct Provider {
    issuer: String,
    client_id: String,
    client_secret: String,
    redirect: String,
    signed_out: String,
    key: MintingKey,
    codes: Mutex<HashMap<String, Granted>>,
}

/// A line of the page: id, name, role, organisation.
type Choice = (&'static str, &'static str, &'static str, &'static str);

#[derive(Template)]
#[template(path = "demo_sign_in.html")]
struct Choose {
    people: Vec<Choice>,
    query: String,
}

#[derive(Deserialize)]
struct Asked {
    client_id: String,
    redirect_uri: String,
    state: String,
    #[serde(default)]
    nonce: String,
    code_challenge: String,
}

/// Serves the provider until told to stop.
///
/// # Errors
/// When its certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    settings: &Settings,
    key: MintingKey,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(console) = &settings.console else { return Ok(()) };
    let provider = Provider {
        issuer: console.issuer.clone(),
        client_id: console.client_id.clone(),
        client_secret: crate::config::read(&console.client_secret)?.trim().to_owned(),
        redirect: format!("{}/signed-in", console.public_url),
        signed_out: format!("{}/signed-out", console.public_url),
        key,
        codes: Mutex::default(),
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(description))
        .route("/jwks", get(keys))
        .route("/authorize", get(choose))
        .route("/token", post(token))
        .route("/logout", get(logout))
        .with_state(Arc::new(provider));
    let certificate = crate::config::read(&console.certificate)?;
    let tls = tls::console_config(&certificate, &crate::config::read(&console.key)?)?;
    let (_keep, current) = watch::channel(tls);
    listener::serve(listener, current, router, Limits::default(), |_: HandshakeRefusal| {}, stop).await;
    Ok(())
}

async fn description(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "end_session_endpoint": at("/logout"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(provider.key.jwks().unwrap_or_default())
}

/// Shows who one can be; with `who`, goes back as them.
async fn choose(
    State(provider): State<Arc<Provider>>,
    Query(asked): Query<Asked>,
    Query(mut all): Query<HashMap<String, String>>,
) -> Response {
    if asked.client_id != provider.client_id || asked.redirect_uri != provider.redirect {
        return (StatusCode::BAD_REQUEST, "it is not the demonstration's console that asks").into_response();
    }
    let Some(who) = all.remove("who") else {
        let people =
            PERSONAS.iter().map(|one| (one.id, one.name, one.role.title(), one.organisation)).collect();
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&all).finish();
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        return match (Choose { people, query }).render() {
            Ok(page) => ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
    };
    let Some(persona) = PERSONAS.iter().position(|one| one.id == who) else {
        return (StatusCode::NOT_FOUND, "nobody is called that here").into_response();
    };
    let code = clock::uuid(&SystemEntropy);
    let granted = Granted {
        persona,
        nonce: asked.nonce,
        challenge: asked.code_challenge,
        redirect: asked.redirect_uri.clone(),
        at_s: SystemClock.now().as_second(),
    };
    provider.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), granted);
    let back = form_urlencoded::Serializer::new(format!("{}?", asked.redirect_uri))
        .append_pair("code", &code)
        .append_pair("state", &asked.state)
        .finish();
    Redirect::to(&back).into_response()
}

/// It keeps no session: whoever comes is asked who they are. So nothing is to be ended but the visit.
async fn logout(
    State(provider): State<Arc<Provider>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    if asked.get("post_logout_redirect_uri") != Some(&provider.signed_out) {
        return (StatusCode::BAD_REQUEST, "it is not the demonstration's console that asks").into_response();
    }
    let state = asked.get("state").map(String::as_str).unwrap_or_default();
    let back = form_urlencoded::Serializer::new(format!("{}?", provider.signed_out))
        .append_pair("state", state)
        .finish();
    Redirect::to(&back).into_response()
}

/// The code for an ID token, once, for the client that has the secret and the verifier.
async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: String) -> Response {
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let form: HashMap<_, _> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let basic = format!("{}:{}", provider.client_id, provider.client_secret);
    let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value.as_bytes() != expected.as_bytes()) {
        return refuse("invalid_client");
    }
    let granted = provider.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(text("code"));
    let now = SystemClock.now().as_second();
    let challenge = BASE64URL.encode(Sha256::digest(text("code_verifier")));
    let Some(granted) = granted.filter(|granted| {
        granted.challenge == challenge && granted.redirect == text("redirect_uri") && now - granted.at_s < 60
    }) else {
        return refuse("invalid_grant");
    };
    let Some(persona) = PERSONAS.get(granted.persona) else { return refuse("invalid_grant") };
    let mut claims = json!({
        "iss": provider.issuer,
        "aud": provider.client_id,
        "sub": persona.id,
        "iat": now,
        "exp": now + 300,
        "auth_time": granted.at_s,
        "nonce": granted.nonce,
        "name": persona.name,
        "organisation": persona.organisation,
        "roles": [persona.role.as_str()],
    });
    if let (false, Some(members)) = (persona.nhs_number.is_empty(), claims.as_object_mut()) {
        members.insert("nhs_number".to_owned(), persona.nhs_number.into());
    }
    match provider.key.sign("JWT", &claims) {
        Ok(signed) => Json(json!({
            "access_token": clock::uuid(&SystemEntropy),
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": signed,
        }))
        .into_response(),
        Err(_) => refuse("server_error"),
    }
}
