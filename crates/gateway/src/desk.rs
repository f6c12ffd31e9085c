//! The console beside the API: what it is given of the gateway, and where it listens.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use console::{Console, ConsoleSettings, Witnesses};
use jiff::Timestamp;
use sharing::PolicySet;
use store::Store;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    app::App,
    config,
    edge::framing,
    listener::{self, Limits},
    problem::{Face, Refusal},
    routes, tls,
};

/// What the console has of the gateway.
struct Desk(Arc<App>);

impl console::Gateway for Desk {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn bits(&self) -> u128 {
        self.0.entropy.bits()
    }

    fn policies(&self) -> Arc<PolicySet> {
        self.0.policies().set
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn witnesses(&self) -> Option<Witnesses> {
        self.0.witnessing.as_ref().map(|witnessing| witnessing.seen(&self.0.store, self.0.clock.now()))
    }
}

/// The console's pages, and what works beside them.
pub type Pages = (axum::Router, console::Background);

/// The console's pages.
///
/// # Errors
/// Which setting cannot be used, and why.
pub fn pages(app: &Arc<App>, settings: &ConsoleSettings) -> anyhow::Result<Pages> {
    is_defined(&app.policies().set, settings)?;
    let secret = Zeroizing::new(config::read(&settings.client_secret)?);
    let trusted = config::read(&settings.trusted)?;
    let desk = Arc::new(Desk(app.clone()));
    let console = Console::new(settings.clone(), secret, &trusted, desk, routes::desk(app.clone()));
    let own = Listening { app: app.clone(), host: framing::host_of(&settings.public_url).into() };
    let looked_at = |pages: axum::Router| pages.layer(middleware::from_fn_with_state(own, framed));
    Ok(console.context("settings")?.router(routes::public_register(app.clone()), looked_at))
}

/// What requests to the console are held against.
#[derive(Clone)]
struct Listening {
    app: Arc<App>,
    host: Arc<str>,
}

/// What every reader reads alike, as at the partners' listener. Who asks for another host does not get this far.
async fn framed(State(own): State<Listening>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let app = &own.app;
    match framing::read(&parts, body, &own.host, app.limits.body_read_timeout).await {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => {
            app.shed.note(None, "not-well-formed", app.clock.now());
            let mut refused = Refusal::from(problem).into_response(Face::Problem, None);
            framing::end_with(parts.version, &mut refused);
            refused
        }
    }
}

/// What can be told of the console's settings without a gateway.
///
/// # Errors
/// When a setting or a file cannot be used.
pub fn check(set: &PolicySet, settings: &ConsoleSettings) -> anyhow::Result<()> {
    is_defined(set, settings)?;
    config::read(&settings.client_secret)?;
    config::read(&settings.trusted)?;
    server_tls(settings)?;
    Ok(())
}

fn is_defined(set: &PolicySet, settings: &ConsoleSettings) -> anyhow::Result<()> {
    anyhow::ensure!(
        framing::is_host(framing::host_of(&settings.public_url)),
        "settings: [console] public_url: `{}` names no host of letters, digits, dots and hyphens",
        settings.public_url
    );
    if let Some(organisation) = &settings.citizens_of {
        anyhow::ensure!(
            set.organisation(organisation).is_some(),
            "settings: [console] citizens_of: no policy file defines `{organisation}`"
        );
    }
    Ok(())
}

/// Serves the console until told to stop. SIGHUP reads its certificate again.
///
/// # Errors
/// When a setting or a certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    (pages, background): Pages,
    settings: ConsoleSettings,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (replacing, current) = watch::channel(server_tls(&settings)?);
    let ending = stop.clone();
    let reloader = tokio::spawn(async move {
        let hangup = tokio::signal::unix::SignalKind::hangup();
        let Ok(mut hangups) = tokio::signal::unix::signal(hangup) else { return ending.cancelled().await };
        loop {
            tokio::select! {
                () = ending.cancelled() => return,
                Some(()) = hangups.recv() => match server_tls(&settings) {
                    Ok(config) => drop(replacing.send_replace(config)),
                    Err(error) => tracing::error!(%error, "the console's certificate stays as it was"),
                },
            }
        }
    });
    let working = tokio::spawn(background.run(stop.clone().cancelled_owned()));
    tracing::info!(address = %listener.local_addr()?, "serving the console");
    let refused = |reason: listener::HandshakeRefusal| {
        tracing::debug!(reason = reason.as_str(), "a browser's connection was not made");
    };
    listener::serve(listener, current, pages, limits, refused, stop).await;
    working.await?;
    Ok(reloader.await?)
}

fn server_tls(settings: &ConsoleSettings) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    Ok(tls::console_config(&config::read(&settings.certificate)?, &config::read(&settings.key)?)?)
}
