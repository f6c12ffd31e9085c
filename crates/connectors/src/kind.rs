//! What kind of document an answer is, by its headers: one kind, in UTF-8, as it was written.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING};

use crate::FetchFault;

/// Takes an answer that says once what it is, that it is one of these media types, and that it is packed in nothing.
pub(crate) fn accept(headers: &HeaderMap, allowed: &[String]) -> Result<(), FetchFault> {
    let is_plain = !headers.contains_key(CONTENT_ENCODING)
        && headers.get_all(TRANSFER_ENCODING).iter().count() <= 1
        && only(headers, &TRANSFER_ENCODING)
            .is_none_or(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    let is_allowed = only(headers, &CONTENT_TYPE).is_some_and(|kind| {
        let mut parts = kind.split(';');
        let kind = parts.next().unwrap_or("").trim().to_ascii_lowercase();
        allowed.contains(&kind) && parts.all(leaves_it_utf8)
    });
    if is_plain && is_allowed { Ok(()) } else { Err(FetchFault::Unexpected) }
}

/// The header's value, where it is there once. One that is no text is empty.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().filter(|_| values.next().is_none())?;
    Some(first.to_str().unwrap_or(""))
}

/// What says that a text is in UTF-8, or in a part of it.
const UTF8: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Whether a parameter of a media type is none that says the text is in something else than UTF-8.
fn leaves_it_utf8(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    !name.trim().eq_ignore_ascii_case("charset")
        || UTF8.iter().any(|utf8| value.trim().trim_matches('"').eq_ignore_ascii_case(utf8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(headers: &[(HeaderName, &'static str)]) -> bool {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name.clone(), value.parse().unwrap());
        }
        accept(&all, &["application/fhir+json".to_owned()]).is_ok()
    }

    #[test]
    fn an_answer_says_once_what_it_is_and_that_it_is_utf8() {
        let good = [
            "application/fhir+json",
            "Application/FHIR+JSON ; Charset=UTF-8",
            "application/fhir+json; charset=\"utf-8\"; fhirVersion=4.0",
            "application/fhir+json;charset=utf8",
        ];
        for kind in good {
            assert!(is_taken(&[(CONTENT_TYPE, kind)]), "{kind}");
        }
        let odd = [
            "text/html",
            "",
            "application/fhir+json; charset=utf-16",
            "application/fhir+json; charset=utf-8; charset=utf-7",
            "application/fhir+json; charset",
            "application/fhir+json;charset =latin1",
            "application/fhir+json, text/html",
        ];
        for kind in odd {
            assert!(!is_taken(&[(CONTENT_TYPE, kind)]), "{kind}");
        }
        for second in ["text/html", "application/fhir+json"] {
            assert!(!is_taken(&[(CONTENT_TYPE, good[0]), (CONTENT_TYPE, second)]), "{second}");
        }
        assert!(!is_taken(&[]));
    }

    #[test]
    fn nothing_is_packed_on_the_way() {
        let with = |headers: &[(HeaderName, &'static str)]| {
            is_taken(&[&[(CONTENT_TYPE, "application/fhir+json")], headers].concat())
        };
        assert!(
            with(&[]) && with(&[(TRANSFER_ENCODING, "chunked")]) && with(&[(TRANSFER_ENCODING, "Chunked")])
        );
        for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity", ""] {
            assert!(!with(&[(TRANSFER_ENCODING, coding)]), "{coding}");
        }
        assert!(!with(&[(TRANSFER_ENCODING, "chunked"), (TRANSFER_ENCODING, "chunked")]));
        assert!(!with(&[(TRANSFER_ENCODING, "gzip"), (TRANSFER_ENCODING, "chunked")]));
        assert!(!with(&[(CONTENT_ENCODING, "identity")]));
    }
}
