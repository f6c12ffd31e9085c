//! What a request must be as HTTP before anything else looks at it: one host, one length, nothing for anybody on the way,
//! and a path that says one thing to whoever reads it.
//!
//! The gateway takes requests apart and makes its own to record holders, so nothing can be passed on. What two readers could
//! read differently is refused all the same: in front of us may be a proxy that reads it otherwise.
//!
//! Source: RFC 9112 sections 3.2, 6.1, 6.3 and 11.2; OWASP ASVS 5.0 4.2.1 to 4.2.5.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request::Parts, uri::Scheme},
    response::Response,
};
use http_body_util::{BodyExt as _, Limited};

use crate::problem::Problem;

/// Headers that are for a connection, and that nobody has to send here.
const FOR_THE_WAY: [&str; 6] =
    ["upgrade", "http2-settings", "te", "trailer", "proxy-connection", "proxy-authorization"];

/// Longest path. None that exists is half as long.
const PATH_BYTES_MAX: usize = 512;

/// That a request is such as every reader reads alike.
///
/// # Errors
/// The [`Problem`]; it repeats nothing of the request.
pub fn check(parts: &Parts, own_host: &str) -> Result<(), Problem> {
    let invalid = |what: &str| Err(Problem::InvalidRequest(what.to_owned()));
    let headers = &parts.headers;
    let is_http1 = parts.version < Version::HTTP_2;
    if parts.version < Version::HTTP_11 {
        return invalid("use http/1.1 or http/2");
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::LengthRequired);
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return invalid("one content-length says how long the body is");
    }
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return invalid("one content-type says what the body is");
    }
    if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTPS) {
        return invalid("this is https: say no other scheme");
    }
    if FOR_THE_WAY.iter().any(|name| is_for_the_way(headers, name, is_http1)) {
        return invalid("leave out upgrade, te, trailer and proxy headers: nothing is passed on from here");
    }
    if !connection_is_plain(headers) {
        return invalid("connection may say close or keep-alive alone: nothing is passed on from here");
    }
    if !path_is_plain(parts.uri.path()) {
        return invalid(
            "a path here has letters, digits and - . _ ~ $ : between single slashes, and no percent-encoding",
        );
    }
    match host(headers, &parts.uri, is_http1) {
        Some(host) if host.eq_ignore_ascii_case(own_host) => Ok(()),
        Some(_) => Err(Problem::MisdirectedRequest),
        None => invalid("say one host, and the same one wherever it is said"),
    }
}

/// That what only reads has no body: some read it, some pass over it, and some take it for the next request. Over HTTP/2 the end of one
/// without any may come in a frame of its own.
///
/// # Errors
/// The [`Problem`]; it repeats nothing of the request.
pub async fn check_body(parts: &Parts, body: Body, longest: Duration) -> Result<Body, Problem> {
    if !parts.method.is_safe() || body.is_end_stream() {
        return Ok(body);
    }
    if parts.version >= Version::HTTP_2 {
        let read = tokio::time::timeout(longest, Limited::new(body, 0).collect()).await;
        if read.is_ok_and(|read| read.is_ok_and(|read| read.to_bytes().is_empty())) {
            return Ok(Body::empty());
        }
    }
    Err(Problem::InvalidRequest("what only reads is sent without a body".to_owned()))
}

/// Both: the request's body, where all of it is such as every reader reads alike.
///
/// # Errors
/// The [`Problem`]; it repeats nothing of the request.
pub async fn read(parts: &Parts, body: Body, own_host: &str, longest: Duration) -> Result<Body, Problem> {
    check(parts, own_host)?;
    check_body(parts, body, longest).await
}

/// Ends the connection with the refusal of such a request: what follows on it was perhaps to be taken for another one.
pub fn end_with(version: Version, refused: &mut Response) {
    if version < Version::HTTP_2 {
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn is_for_the_way(headers: &HeaderMap, name: &'static str, is_http1: bool) -> bool {
    let mut said = headers.get_all(HeaderName::from_static(name)).iter().peekable();
    if said.peek().is_none() {
        return false;
    }
    // HTTP/2 knows `te: trailers`, which asks for nothing.
    is_http1 || name != "te" || said.any(|value| value != "trailers")
}

fn connection_is_plain(headers: &HeaderMap) -> bool {
    let options = headers.get_all(header::CONNECTION).iter().map(|value| value.to_str().unwrap_or("?"));
    options.flat_map(|value| value.split(',')).all(|option| {
        let option = option.trim();
        option.eq_ignore_ascii_case("close") || option.eq_ignore_ascii_case("keep-alive")
    })
}

/// One spelling, and no way up: `..`, `;`, `%2e`, `%252f`, `\` and NUL do not get as far as a route.
fn path_is_plain(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && path.starts_with('/')
        && !path.contains("//")
        && path.split('/').all(|segment| segment != "." && segment != "..")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~$:".contains(&byte))
}

/// The one host that the request names, without its port.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri, is_http1: bool) -> Option<&'a str> {
    let mut said = headers.get_all(header::HOST).iter();
    let named = said.next();
    if said.next().is_some() || (is_http1 && named.is_none()) {
        return None;
    }
    let named =
        named.map(|value| value.to_str().ok().and_then(plain_authority)).map(Option::unwrap_or_default);
    let addressed = uri.authority().map(|authority| plain_authority(authority.as_str()).unwrap_or_default());
    let host = match (named, addressed) {
        (Some(named), Some(addressed)) if !named.eq_ignore_ascii_case(addressed) => return None,
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return None,
    };
    (!host.is_empty()).then_some(host)
}

/// A name with at most a port, nothing before and nothing behind it.
fn plain_authority(text: &str) -> Option<&str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port),
        Some(_) => return None,
        None => (text, "1"),
    };
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_host(host) && is_port).then_some(host)
}

/// Whether it is a host as a request can name one here.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// The host of an address of ours, for [`check`].
pub fn host_of(public_url: &str) -> &str {
    let rest = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap().into_parts().0
    }

    #[test]
    fn paths_have_one_spelling() {
        for plain in [
            "/v1/disclosures",
            "/fhir/Patient/9732110317",
            "/fhir/Patient/$match",
            "/v1/consents/con_0a/withdraw",
        ] {
            assert!(path_is_plain(plain), "{plain}");
        }
        for crooked in [
            "/v1/../metrics",
            "/v1/%2e%2e/x",
            "/v1/%252e%252e/x",
            "/v1/..%2fx",
            "/v1/x%2fy",
            "/v1/x%5cy",
            "/v1/..;/x",
            "/v1/x;a=b",
            "/v1//x",
            "//evil.example/x",
            "/v1/x%00",
            "/v1/%c0%ae%c0%ae/x",
            "/v1/./x",
            "/v1/x/..",
            "/v1/x\\y",
            "/v1/%0d%0aSet-Cookie:x",
            "/v1/é",
            "*",
            "",
        ] {
            assert!(!path_is_plain(crooked), "{crooked}");
        }
        assert!(!path_is_plain(&format!("/{}", "x".repeat(PATH_BYTES_MAX))));
    }

    #[test]
    fn there_is_one_host_and_it_is_ours() {
        let said = |uri: &str, headers: &[(&str, &str)]| match check(&parts(uri, headers), "gateway.example")
        {
            Ok(()) => "taken".to_owned(),
            Err(problem) => problem.code(),
        };
        for headers in [&[("host", "gateway.example")][..], &[("host", "GATEWAY.example:8443")]] {
            assert_eq!(said("/v1/x", headers), "taken");
        }
        assert_eq!(said("https://gateway.example/v1/x", &[("host", "gateway.example")]), "taken");
        for other in ["evil.example", "gateway.example.evil.example", "127.0.0.1"] {
            assert_eq!(said("/v1/x", &[("host", other)]), "misdirected-request", "{other}");
        }
        for (uri, headers) in [
            ("/v1/x", &[][..]),
            ("/v1/x", &[("host", "")]),
            ("/v1/x", &[("host", "gateway.example"), ("host", "gateway.example")]),
            ("/v1/x", &[("host", "me@gateway.example")]),
            ("/v1/x", &[("host", "gateway.example:")]),
            ("/v1/x", &[("host", "gateway.example:80:80")]),
            ("/v1/x", &[("host", "gateway.example/evil")]),
            ("/v1/x", &[("host", "[::1]")]),
            ("https://evil.example/v1/x", &[("host", "gateway.example")]),
            ("https://me@gateway.example/v1/x", &[("host", "gateway.example")]),
        ] {
            assert_eq!(said(uri, headers), "invalid-request", "{uri} {headers:?}");
        }
    }

    #[test]
    fn nothing_is_for_anybody_on_the_way() {
        let host = ("host", "gateway.example");
        for (name, value) in [
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("proxy-connection", "keep-alive"),
            ("connection", "sharing-context"),
            ("connection", "close, authorization"),
            ("connection", "Upgrade"),
            ("connection", ""),
            ("content-length", "1, 2"),
        ] {
            let is_length = name == "content-length";
            let refused = check(&parts("/v1/x", &[host, (name, value)]), "gateway.example").is_err();
            // A list of lengths is the server's to refuse.
            assert!(refused || is_length, "{name}: {value}");
        }
        for value in ["close", "keep-alive", "Keep-Alive, close"] {
            assert!(check(&parts("/v1/x", &[host, ("connection", value)]), "gateway.example").is_ok());
        }
        let chunked = check(&parts("/v1/x", &[host, ("transfer-encoding", "chunked")]), "gateway.example");
        assert_eq!(chunked.unwrap_err().code(), "length-required");
    }

    #[test]
    fn a_kind_is_said_once_and_the_scheme_is_https() {
        let host = ("host", "gateway.example");
        let kind = ("content-type", "application/json");
        assert!(check(&parts("/v1/x", &[host, kind]), "gateway.example").is_ok());
        for other in ["application/json", "application/xml"] {
            let twice = [host, kind, ("content-type", other)];
            assert!(check(&parts("/v1/x", &twice), "gateway.example").is_err(), "{other}");
        }
        assert!(check(&parts("https://gateway.example/v1/x", &[host]), "gateway.example").is_ok());
        assert!(check(&parts("http://gateway.example/v1/x", &[host]), "gateway.example").is_err());
    }

    #[tokio::test]
    async fn what_only_reads_has_no_body() {
        let checked = |method: &str, version, body| {
            let (parts, ()) =
                Request::builder().method(method).version(version).body(()).unwrap().into_parts();
            async move { check_body(&parts, body, Duration::from_secs(5)).await.is_ok() }
        };
        // Of a body of which it is not said that there is nothing in it.
        let untold = |bytes: &'static str| {
            Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]))
        };
        for method in ["GET", "HEAD"] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                assert!(checked(method, version, Body::empty()).await);
                assert!(!checked(method, version, Body::from("x")).await);
                assert!(!checked(method, version, untold("x")).await);
            }
            assert!(checked(method, Version::HTTP_2, untold("")).await, "its end comes by itself");
            assert!(!checked(method, Version::HTTP_11, untold("")).await);
        }
        assert!(checked("POST", Version::HTTP_11, Body::from("x")).await);
    }

    #[test]
    fn our_own_host_is_read_from_our_address() {
        assert_eq!(host_of("https://gateway.example"), "gateway.example");
        assert_eq!(host_of("https://gateway.example:8443/x"), "gateway.example");
    }
}
