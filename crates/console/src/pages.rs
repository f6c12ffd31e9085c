//! The pages. Each is one file here, its templates in `templates`, and its lines in [`routes`].

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};

use crate::{
    Console, assets,
    fault::{self, Fault},
    form::Form,
    page::{Frame, Plain, render},
    session::{self, Signed},
    sign_in,
};

mod agreements;
mod alerts;
mod citizen;
mod consenting;
mod decision;
mod disclosed;
mod exports;
mod home;
mod kept;
pub(crate) mod ledger;
mod objections;
mod person;
mod pictures;
mod referrals;
mod rights;
mod said;
mod saved;
mod sure;
mod trail;
mod unusual;
mod wishes;

/// The field in which somebody says that they are sure.
pub(crate) const SURE: &str = "sure";

/// Every address.
pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(home::home))
        .route("/sign-in", get(sign_in::start))
        .route("/signed-in", get(sign_in::finish))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/signed-out", get(sign_in::signed_out))
        .route("/alerts", get(alerts::list))
        .route("/reviews", get(alerts::emergencies))
        .route("/alerts/{id}", get(alerts::show))
        .route("/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/alerts/{id}/review", post(alerts::review))
        .route("/alerts/{id}/reopen", post(alerts::reopen))
        .route("/trail", get(trail::search))
        .route("/trail/keep", post(saved::keep))
        .route("/trail/forget", post(saved::forget))
        .route("/disclosed", get(disclosed::ask).post(disclosed::show))
        .route("/decisions/{id}", get(decision::show))
        .route("/decisions/{id}/evidence", get(decision::evidence))
        .route("/ledger", get(ledger::show))
        .route("/ledger/verify", post(ledger::verify))
        .route("/referrals", get(referrals::list))
        .route("/referrals/{id}", get(referrals::show))
        .route("/referrals/{id}/take", post(referrals::take))
        .route("/referrals/{id}/ask", post(referrals::ask))
        .route("/referrals/{id}/decide", post(referrals::decide))
        .route("/referrals/{id}/revoke", post(referrals::revoke))
        .route("/agreements", get(agreements::list))
        .route("/agreements-year", get(agreements::calendar::show))
        .route("/agreements-frameworks", get(agreements::frameworks::show))
        .route("/agreements/{id}", get(agreements::show).post(agreements::step::act))
        .route("/agreements/{id}/versions/{version}", get(agreements::document::version))
        .route("/agreements/{id}/versions/{version}/document.pdf", get(agreements::document::pdf))
        .route("/agreements/{id}/versions/{version}/signed-bytes", get(agreements::document::signed_bytes))
        .route("/agreements/{id}/terms", get(agreements::terms::show).post(agreements::terms::write))
        .route("/agreements/{id}/talks", get(agreements::talks::show))
        .route("/agreements/{id}/comments", post(agreements::talks::comment))
        .route("/agreements/{id}/comments/{comment}", post(agreements::talks::answer))
        .route("/agreements/{id}/disputes", post(agreements::disputes::open))
        .route(
            "/agreements/{id}/disputes/{dispute}",
            get(agreements::disputes::show).post(agreements::disputes::act),
        )
        .route(
            "/agreements/{id}/signatures",
            get(agreements::signatures::show).post(agreements::signatures::act),
        )
        .route("/agreements/{id}/impact", get(agreements::used::impact))
        .route("/agreements/{id}/use", get(agreements::used::show).post(agreements::used::note))
        .route("/agreements/{id}/diff", get(agreements::differences::show))
        .route("/person", get(person::ask).post(person::show))
        .route("/person/consent", post(wishes::consent_form))
        .route("/person/consent/record", post(wishes::record_consent))
        .route("/person/objection", post(objections::form))
        .route("/person/objection/record", post(objections::record))
        .route("/person/rights-request", post(rights::form))
        .route("/person/rights-request/record", post(rights::record))
        .route("/consents/{id}", get(wishes::consent))
        .route("/consents/{id}/withdraw", post(wishes::withdraw_consent))
        .route("/consents/{id}/status", post(wishes::change_consent))
        .route("/objections/{id}", get(objections::show))
        .route("/objections/{id}/withdraw", post(objections::withdraw))
        .route("/objections/{id}/answer", post(objections::answer))
        .route("/rights-requests", get(rights::list))
        .route("/rights-requests/{id}", get(rights::show))
        .route("/rights-requests/{id}/acknowledge", post(rights::acknowledge))
        .route("/rights-requests/{id}/answer", post(rights::answer))
        .route("/my-data", get(citizen::data))
        .route("/my-choices", get(citizen::choices))
        .route("/my-choices/consent/{agreement}/{flow}", get(consenting::show).post(consenting::answer))
        .route("/my-choices/object", post(citizen::object))
        .route("/my-choices/withdraw", post(citizen::withdraw))
        .route("/my-choices/take-back", post(citizen::take_back))
        .route("/my-requests", get(citizen::requests).post(citizen::request))
        .route("/my-requests/new", get(citizen::request_form))
        .route("/exports", get(exports::list).post(exports::request))
        .route("/exports/{id}", get(exports::show))
        .route("/exports/{id}/approve", post(exports::approve))
        .route("/exports/{id}/refuse", post(exports::refuse))
        .route("/exports/{id}/file", get(exports::file))
        .route("/exports/{id}/manifest", get(exports::manifest))
        .route("/flows", get(pictures::show))
        .route("/unusual", get(unusual::show))
        .route("/still-here", get(still_here))
        .route("/accessibility", get(accessibility))
        .route("/cookies", get(cookies))
        .route("/assets/{name}", get(assets::file))
}

/// Where a form is that was sent to this address. Whoever loads the address of a form's answer, keeps it, or is sent back to it
/// after signing in, is on the page where the form is.
pub(crate) async fn of_form(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return Fault::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "Page not found",
            "nothing is sent to this address",
        )
        .into_response();
    }
    Redirect::to(&place_of_form(uri.path())).into_response()
}

fn place_of_form(path: &str) -> String {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["person", ..] => "/person".to_owned(),
        ["agreements", id, "comments" | "disputes", ..] => format!("/agreements/{id}/talks"),
        [first, id, _] => format!("/{first}/{id}"),
        [first, _] => format!("/{first}"),
        _ => "/".to_owned(),
    }
}

/// A part of an address, so that nothing in it becomes another address.
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What matters most needs somebody to have proved who they are lately; else they are sent to prove it.
pub(crate) fn step_up(console: &Console, signed: &Signed, to: &str) -> Option<Response> {
    if signed.is_fresh(console) {
        return None;
    }
    Some(Redirect::to(&sign_in::address(to, true)).into_response())
}

#[derive(Template)]
#[template(path = "prove.html")]
struct Prove {
    frame: Frame,
    /// Whether what was filled in is there when they are back.
    is_kept: bool,
    address: String,
}

/// As [`step_up`], for a form. Browsers follow no redirect from a form to another site, which the provider is (`form-action`), so
/// there is a link to follow.
pub(crate) fn step_up_form(console: &Console, signed: &Signed, to: &str) -> Option<Response> {
    (!signed.is_fresh(console)).then(|| prove(signed, to, false))
}

/// As [`step_up_form`], for a form in which somebody writes. What was filled in is given back, and is sent from there once they have signed in.
pub(crate) fn step_up_written(console: &Console, form: &Form, to: &str) -> Option<Response> {
    if form.signed.is_fresh(console) {
        return None;
    }
    if form.written.is_anything() {
        let sign_in = sign_in::address(to, true);
        return Some(fault::to_prove(&form.signed, sign_in, form.written.clone()));
    }
    Some(prove(&form.signed, to, false))
}

fn prove(signed: &Signed, to: &str, is_kept: bool) -> Response {
    let frame = Frame::of(signed, "Prove that it is you", "");
    render(&Prove { frame, is_kept, address: sign_in::address(to, true) })
}

/// Somebody who writes, or says so, is still here: their session goes on (WCAG 2.2, 2.2.1).
async fn still_here(State(console): State<Arc<Console>>, headers: HeaderMap) -> Result<StatusCode, Fault> {
    let signed = session::find(&console, &headers).await?;
    Ok(if signed.is_some() { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED })
}

/// A page that is there for whoever is signed in, and for whoever is not.
async fn public(
    console: &Console,
    headers: &HeaderMap,
    title: &str,
    paragraphs: &[&str],
) -> Result<Response, Fault> {
    let frame = match session::find(console, headers).await? {
        Some(signed) => Frame::of(&signed, title, ""),
        None => Frame::bare(title),
    };
    let paragraphs = paragraphs.iter().map(|&text| text.to_owned()).collect();
    Ok(render(&Plain { frame, paragraphs, link: None }))
}

async fn accessibility(State(console): State<Arc<Console>>, headers: HeaderMap) -> Result<Response, Fault> {
    let said = [
        "The pages are made to meet level AA of the Web Content Accessibility Guidelines 2.2. They are tested with axe on every change, in every role, with the keyboard alone, at 320 pixels and without JavaScript.",
        "Pictures have a table beside them that says the same. Colour is never the only sign of anything.",
        "You are signed out after a while without use, and some hours after you signed in. Writing counts as use, and you are asked two minutes before whether you are still there; both need JavaScript. Without it, what you wrote is given back to you if your session ends before you send it, and you can send it once you have signed in again.",
        "They have not been audited by people with disabilities yet. If something does not work for you, tell your organisation's information governance lead: agreements name the contact.",
    ];
    public(&console, &headers, "Accessibility", &said).await
}

async fn cookies(State(console): State<Arc<Console>>, headers: HeaderMap) -> Result<Response, Fault> {
    let said = [
        "Two cookies are used, and both are needed: one while you sign in, one while you are signed in. They end when you sign out, close the browser, or do nothing for a while. Nothing is measured, and nothing comes from another site.",
        "What you read and do is written to the audit ledger with your identifier, your organisation and your role, because the law asks for a record of who saw what about whom.",
    ];
    public(&console, &headers, "Cookies and privacy", &said).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_forms_are_sent_to_leads_to_the_form() {
        for (path, place) in [
            ("/my-choices/object", "/my-choices"),
            ("/person/consent/record", "/person"),
            ("/alerts/alt_1/review", "/alerts/alt_1"),
            ("/agreements/pilot/comments/mat_1", "/agreements/pilot/talks"),
            ("/sign-out", "/"),
            ("/ledger/verify", "/ledger"),
        ] {
            assert_eq!(place_of_form(path), place);
        }
    }
}
