//! For the benchmark alone: what nginx asks with `auth_request`: a small server that checks the access token and evaluates a Rego policy. It
//! keeps the token's key and the compiled policy, reads no database and writes nothing.

use std::{convert::Infallible, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use regorus::{CompiledPolicy, Engine, Value};
use serde_json::json;
use tokio::net::TcpListener;

const POLICY: &str = r#"
package sharing
import rego.v1

default allow := false

allow if {
    input.purpose in data.organisations[input.recipient].purposes
    flow := data.flows[input.provider][input.recipient][input.purpose]
    flow.status == "active"
    flow.effective_from <= input.now
    input.now < flow.effective_until
    flow.provider_signed <= input.now
    flow.recipient_signed <= input.now
    flow.dpia_accepted
    input.now < flow.dpia_until
    input.scheme in flow.identifiers
    input.role in flow.roles
    some item in input.items
    item in flow.items
}
"#;
/// The gateway that is measured beside it has this name.
const AUDIENCE: &str = "https://gateway.concordat.example";
const ENTRY: &str = "data.sharing.allow";

/// What a token says that decides.
#[derive(serde::Deserialize)]
struct Claims {
    client_id: String,
    exp: i64,
}

struct Service {
    key: DecodingKey,
    validation: Validation,
    policy: CompiledPolicy,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, listen] = arguments.as_slice() else { bail!("the arguments are: folder port") };
    run(Path::new(folder), listen.parse()?).await
}

async fn run(folder: &Path, listen: u16) -> anyhow::Result<()> {
    let service = Arc::new(service(folder)?);
    let listener = TcpListener::bind(("127.0.0.1", listen)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.answer(&request)) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn service(folder: &Path) -> anyhow::Result<Service> {
    let keys: JwkSet = serde_json::from_slice(&std::fs::read(folder.join("issuer.jwks.json"))?)?;
    let key = DecodingKey::from_jwk(keys.keys.first().context("the issuer has no key")?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    let mut engine = Engine::new();
    engine.add_policy("sharing.rego".to_owned(), POLICY.to_owned())?;
    engine.add_data(Value::from_json_str(&agreements().to_string())?)?;
    let policy = engine.compile_with_entrypoint(&Arc::from(ENTRY))?;
    Ok(Service { key, validation, policy })
}

/// The one agreement that is asked about.
fn agreements() -> serde_json::Value {
    json!({
        "organisations": { "gmca-prevention": { "purposes": ["fire-prevention-targeting", "safe-and-well-referral"] } },
        "flows": { "nhs-pds": { "gmca-prevention": { "fire-prevention-targeting": {
            "status": "active", "effective_from": 1_775_000_000, "effective_until": 1_838_000_000,
            "provider_signed": 1_773_000_000, "recipient_signed": 1_774_000_000,
            "dpia_accepted": true, "dpia_until": 1_834_000_000,
            "identifiers": ["nhs-number"], "roles": ["prevention-officer", "unattended"],
            "items": ["person.family_name", "person.given_name", "person.birth_date", "person.address", "person.gender"],
        } } } },
    })
}

impl Service {
    fn answer(&self, request: &Request<Incoming>) -> Response<Empty<Bytes>> {
        let status = match self.allows(request) {
            Some(true) => StatusCode::NO_CONTENT,
            Some(false) => StatusCode::FORBIDDEN,
            None => StatusCode::UNAUTHORIZED,
        };
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    }

    /// Whether the policy allows it; `None` where the token is not good.
    fn allows(&self, request: &Request<Incoming>) -> Option<bool> {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let token = header("authorization")?.strip_prefix("Bearer ")?;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?.claims;
        let input = json!({
            "recipient": claims.client_id, "provider": "nhs-pds", "purpose": header("purpose")?,
            "role": "prevention-officer", "scheme": "nhs-number", "now": claims.exp - 600,
            "items": ["person.family_name", "person.address"],
        });
        let answer = self.policy.eval_with_input(Value::from(input)).ok()?;
        Some(answer == Value::Bool(true))
    }
}
