//! Style and script, compiled in. Their names change with what is in them, so browsers keep them for good.
//!
//! GOV.UK Frontend (MIT) without its typeface, crest and icons, which are for gov.uk alone: docs/THIRD-PARTY.md.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};

const FILES: [(&str, &str, &str); 5] = [
    (
        "govuk-frontend-6.6.0.min.css",
        "text/css; charset=utf-8",
        include_str!("../assets/govuk-frontend-6.6.0.min.css"),
    ),
    (
        "govuk-frontend-6.6.0.min.js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/govuk-frontend-6.6.0.min.js"),
    ),
    ("console-1.css", "text/css; charset=utf-8", include_str!("../assets/console-1.css")),
    ("look-1.css", "text/css; charset=utf-8", include_str!("../assets/look-1.css")),
    ("console-1.js", "text/javascript; charset=utf-8", include_str!("../assets/console-1.js")),
];

/// The same, pressed together once. They hold no secret that their length could tell.
static SMALLER: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let press = |text: &str| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::best());
        writer.write_all(text.as_bytes()).and_then(|()| writer.finish()).unwrap_or_default()
    };
    FILES.iter().map(|(_, _, text)| press(text)).collect()
});

/// A file.
pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(place) = FILES.iter().position(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (Some((_, kind, text)), smaller) = (FILES.get(place), SMALLER.get(place)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = "public, max-age=31536000, immutable";
    let about =
        [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, kept), (header::VARY, "accept-encoding")];
    match smaller.filter(|smaller| !smaller.is_empty() && takes_gzip(&headers)) {
        Some(smaller) => (about, [(header::CONTENT_ENCODING, "gzip")], smaller.as_slice()).into_response(),
        None => (about, *text).into_response(),
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let said = headers.get(header::ACCEPT_ENCODING).and_then(|said| said.to_str().ok()).unwrap_or_default();
    said.split(',').any(|one| one.trim() == "gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_for_gov_uk_alone_is_here() {
        for (name, _, text) in FILES {
            for forbidden in ["GDS Transport", "fonts/", "crest.svg", "url(", "favicon"] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }

    #[test]
    fn the_licence_is_with_the_files() {
        let notice = "MIT licence, Copyright (C) 2017 Crown Copyright (Government Digital Service)";
        assert_eq!(FILES.iter().filter(|(_, _, text)| text.contains(notice)).count(), 2);
    }
}
