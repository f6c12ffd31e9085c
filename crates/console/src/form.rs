//! Forms: bounded, from this site, with the session's own token, each field once.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts as _, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use subtle::ConstantTimeEq as _;

use crate::{Console, fault::Fault, session::Signed};

/// Largest form: terms of 64 KiB, with what a browser makes of their quotation marks.
const BYTES_MAX: usize = 256 * 1024;

/// What somebody who is signed in has sent.
pub(crate) struct Form {
    pub(crate) signed: Signed,
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
        let signed = Signed::from_request_parts(&mut parts, console).await?;
        let fields = read(&parts.headers, body).await.map_err(IntoResponse::into_response)?;
        let form = Self { signed, fields };
        let own = is_own_site(&parts.headers, &console.settings.public_url);
        let token = form.field("csrf").as_bytes().ct_eq(form.signed.csrf.as_bytes());
        if !own || !bool::from(token) {
            return Err(Fault::refused(
                StatusCode::FORBIDDEN,
                "This form was not taken",
                "it did not come from a page of yours, or from a session that has ended; go back to the page, load it again, and send it again",
            )
            .into_response());
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

async fn read(headers: &HeaderMap, body: axum::body::Body) -> Result<BTreeMap<String, Vec<String>>, Fault> {
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
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(&bytes).into_owned() {
        fields.entry(name).or_default().push(value.replace("\r\n", "\n"));
    }
    Ok(fields)
}
