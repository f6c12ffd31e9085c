//! Style and script, compiled in. Their names change with what is in them, so browsers keep them for good.
//!
//! GOV.UK Frontend (MIT) without its typeface, crest and icons, which are for gov.uk alone: docs/THIRD-PARTY.md.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

const FILES: [(&str, &str, &str); 4] = [
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
    ("console-1.js", "text/javascript; charset=utf-8", include_str!("../assets/console-1.js")),
];

/// A file.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => {
            let kept = "public, max-age=31536000, immutable";
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, kept)], *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
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
