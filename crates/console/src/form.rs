//! Forms: bounded, from this site, with the session's own token, each field once.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts as _, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use subtle::ConstantTimeEq as _;

use crate::{
    Console,
    fault::Fault,
    session::Signed,
    unsent::{Unsent, Written},
};

/// Largest form: terms of 64 KiB, with what a browser makes of their quotation marks.
const BYTES_MAX: usize = 256 * 1024;
/// Most fields of a form: terms of twenty flows, with thirty items each.
const FIELDS_MAX: usize = 2_000;

/// The session's token, and whether they are sure.
const OF_ONE_SENDING: [&str; 2] = ["csrf", crate::pages::SURE];

/// What somebody who is signed in has sent.
pub(crate) struct Form {
    pub(crate) signed: Signed,
    /// What was written in it, for a page that says why it is not done yet.
    pub(crate) written: Written,
    /// What it had, in its order, but for what is of this one sending.
    pub(crate) sent: Vec<(String, String)>,
    fields: BTreeMap<String, Vec<String>>,
}

impl Form {
    /// A field, without blanks around it; empty where it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|values| values.first()).map_or("", |value| value.trim())
    }

    /// Every value of a field: of boxes that are ticked.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }
}

impl FromRequest<Arc<Console>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let signed = Signed::from_request_parts(&mut parts, console).await;
        let public_url = &console.settings.public_url;
        if signed.is_err() && !says_own_site(&parts.headers, public_url) {
            return Err(signed.err().unwrap_or_default());
        }
        let all = read(&parts.headers, body).await;
        let action = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let written = Written::of(action, all.as_deref().unwrap_or_default());
        if let (Some(unsent), true) =
            (parts.extensions.get::<Unsent>(), says_own_site(&parts.headers, public_url))
        {
            unsent.leave(written.clone());
        }
        let signed = signed?;
        let (mut fields, mut sent) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for (name, value) in all.map_err(IntoResponse::into_response)? {
            if !OF_ONE_SENDING.contains(&name.as_str()) {
                sent.push((name.clone(), value.clone()));
            }
            fields.entry(name).or_default().push(value);
        }
        let form = Self { signed, written, sent, fields };
        let own = is_own_site(&parts.headers, public_url);
        let token = form.field("csrf").as_bytes().ct_eq(form.signed.csrf.as_bytes());
        if !own || !bool::from(token) {
            return Err(Fault::not_taken().into_response());
        }
        Ok(form)
    }
}

/// Browsers say where a form comes from. One that says another site is not ours.
fn is_own_site(headers: &HeaderMap, public_url: &str) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    said("sec-fetch-site").is_none_or(|site| site == "same-origin")
        && said("origin").is_none_or(|origin| origin == public_url)
}

/// As [`is_own_site`], where the browser does say it: what was written is given back to nobody else.
pub(crate) fn says_own_site(headers: &HeaderMap, public_url: &str) -> bool {
    let says = headers.contains_key("sec-fetch-site") || headers.contains_key("origin");
    says && is_own_site(headers, public_url)
}

async fn read(headers: &HeaderMap, body: axum::body::Body) -> Result<Vec<(String, String)>, Fault> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let cannot = || {
        Fault::refused(
            StatusCode::BAD_REQUEST,
            "This form cannot be read",
            "go back, load the page again, and send it again; a text can have a few thousand characters",
        )
    };
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(cannot());
    }
    let read =
        tokio::time::timeout(std::time::Duration::from_secs(10), Limited::new(body, BYTES_MAX).collect());
    let bytes = read.await.map_err(|_| cannot())?.map_err(|_| cannot())?.to_bytes();
    let fields = form_urlencoded::parse(&bytes);
    if fields.count() > FIELDS_MAX {
        return Err(cannot());
    }
    let fields = fields.into_owned();
    Ok(fields.map(|(name, value)| (name, value.replace("\r\n", "\n"))).collect())
}
