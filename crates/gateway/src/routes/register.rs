//! The public register. It needs no token: it says nothing that is not for everybody. On the API's listener whoever has a
//! certificate reads it; on the probes' listener a web server in front can pass these three addresses on to the public.

use std::sync::Arc;

use askama::Template as _;
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};

use super::PAGE_POLICY;
use crate::{
    agreements::register::{self, Register},
    app::App,
    fault::internal,
    problem::{Face, Refusal},
};

/// The agreements in force, for people.
#[utoipa::path(get, path = "/register", tag = "register",
    responses((status = 200, description = "The page", content_type = "text/html")))]
pub async fn page(State(app): State<Arc<App>>) -> Response {
    let answer = async {
        let page = made(&app).await?.render().map_err(|error| Refusal::from(internal(&error)))?;
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        ];
        Ok((headers, page).into_response())
    };
    or_refuse(answer.await)
}

/// The agreements in force, for programs.
#[utoipa::path(get, path = "/register.json", tag = "register",
    responses((status = 200, description = "The register", body = Register)))]
pub async fn json(State(app): State<Arc<App>>) -> Response {
    or_refuse(made(&app).await.map(|register| Json(register).into_response()))
}

/// The agreements in force, for spreadsheets: one flow a line.
#[utoipa::path(get, path = "/register.csv", tag = "register",
    responses((status = 200, description = "The table", content_type = "text/csv")))]
pub async fn csv(State(app): State<Arc<App>>) -> Response {
    let answer = async {
        let text = made(&app).await?.csv().map_err(|error| Refusal::from(internal(&error)))?;
        Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response())
    };
    or_refuse(answer.await)
}

async fn made(app: &App) -> Result<Register, Refusal> {
    register::register(app).await.map_err(|error| Refusal::from(internal(&error)))
}

fn or_refuse(answer: Result<Response, Refusal>) -> Response {
    answer.unwrap_or_else(|refusal| refusal.into_response(Face::Problem, None))
}
