//! A bare reverse proxy: the gateway's own TLS and listener, and nothing else. It forwards and looks at nothing.

use std::path::Path;

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use gateway::{
    listener::{self, Limits},
    tls,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(folder: &Path, listen: u16, upstream: u16) -> anyhow::Result<()> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned());
    let config = tls::server_config(&read("gateway.pem")?, &read("gateway.key")?, &read("ca.pem")?, &[])?;
    let identity = format!("{}\n{}", read("gateway.pem")?, read("gateway.key")?);
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(read("ca.pem")?.as_bytes())?])
        .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
        .no_proxy()
        .build()?;
    let app = Router::new().fallback(forward).with_state((client, upstream));
    let listener = TcpListener::bind(("127.0.0.1", listen)).await?;
    listener::serve(
        listener,
        tokio::sync::watch::channel(config).1,
        app,
        Limits::default(),
        |_| {},
        CancellationToken::new(),
    )
    .await;
    Ok(())
}

async fn forward(State((client, upstream)): State<(reqwest::Client, u16)>, request: Request) -> Response {
    let url = format!("https://localhost:{upstream}{}", request.uri().path());
    let mut sent = client.get(url);
    if let Some(id) = request.headers().get("x-request-id") {
        sent = sent.header("x-request-id", id);
    }
    match sent.send().await {
        Ok(answer) => {
            let status = answer.status();
            match answer.bytes().await {
                Ok(bytes) => (status, Body::from(bytes)).into_response(),
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
