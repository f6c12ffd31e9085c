//! Whether the process lives, and whether it can work. Neither depends on a record holder.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, policies};

/// How long the database may take to say what it is asked here. One that takes longer can confirm nothing: whoever asks is told
/// so, rather than left waiting.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// What was checked.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `failing`.
    status: &'static str,
    /// Each check and whether it passed.
    checks: Vec<Check>,
}

/// One check.
#[derive(Serialize, ToSchema)]
pub struct Check {
    /// What.
    name: &'static str,
    /// Whether it passed.
    passed: bool,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It lives", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", checks: Vec::new() })
}

/// Whether it can decide and record. A process that cannot is sent no requests.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, description = "It can work", body = Health), (status = 503, description = "It cannot", body = Health)))]
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let (database, policies) = tokio::join!(
        tokio::time::timeout(CONFIRMED_WITHIN, app.store.head()),
        tokio::time::timeout(CONFIRMED_WITHIN, policies::follow(&app)),
    );
    let mut checks = vec![
        Check { name: "not-stopping", passed: !app.is_draining() },
        Check { name: "clock-steady", passed: app.is_clock_steady() },
        Check { name: "ledger-writable", passed: app.store.is_writable() },
        Check { name: "database-readable", passed: matches!(database, Ok(Ok(_))) },
        Check { name: "policies-in-force", passed: matches!(policies, Ok(Ok(()))) },
    ];
    if let Some(witnessing) = &app.witnessing {
        let passed = witnessing.is_in_order(app.clock.now());
        checks.push(Check { name: "ledger-witnessed", passed });
    }
    let passed = checks.iter().all(|check| check.passed);
    let (status, word) =
        if passed { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    (status, Json(Health { status: word, checks }))
}

/// What is counted, for Prometheus. On the probes' listener alone: what it shows is for the operator, not for partners.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    // What is looked at is looked at here, and must not hold up requests.
    let exposed = tokio::task::spawn_blocking(move || app.metrics.exposed()).await;
    match exposed.ok().flatten() {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
