//! Probes, without TLS: the operator's own network. Nothing that is sent here holds the process up, and nothing that is held open keeps
//! others from being answered.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{Limits, Newcomers, Owed, accept, impatient, network, until};

/// Most connections at once. When there are more the oldest goes.
const CONNECTIONS_MAX: usize = 64;
/// How long probes may take to finish: they are answered from what is known.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves HTTP/1.1 until `shutdown`, and a second longer at most.
pub async fn serve_plain(listener: TcpListener, app: Router, limits: Limits, shutdown: CancellationToken) {
    let limits = Limits { drain_timeout: DRAIN, ..limits };
    let tasks = TaskTracker::new();
    let connections = Newcomers::new(CONNECTIONS_MAX, CONNECTIONS_MAX);
    while let Some((stream, address)) = accept(&listener, &shutdown).await {
        let (mut place, _) = connections.join(network(address.ip()));
        let (app, shutdown) = (app.clone(), shutdown.clone());
        tasks.spawn(async move {
            let owed = Owed::new(&limits);
            let owing = owed.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                owing.clone().answer(app.clone().oneshot(request.map(Body::new) as Request))
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits.header_read_timeout);
            let stream = TokioIo::new(impatient(stream, limits.write_timeout));
            let serving = http.serve_connection(stream, service);
            tokio::select! {
                () = place.pushed_out() => {}
                () = until(serving, (limits.connection_max_age, limits), &owed, shutdown.cancelled()) => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    let _ = timeout(DRAIN, tasks.wait()).await; // they have that long themselves
}
