//! Faults that identifiers trigger, so that tests and partners can see how the gateway takes them.

use std::time::Duration;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

/// A personal name that must never leave the gateway: planted where only a leak would find it.
pub const CANARY: &str = "Canarybird";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table in README.md says what each does")]
pub enum Fault {
    Slow,
    Pausing,
    Html,
    Another,
    Large,
    Invalid,
    Redirect,
    Failing,
    Busy,
    Duplicate,
    Deep,
    HangUp,
    Extras,
    WrongIdentifier,
    Superseded,
}

/// Every fault, with the NHS number and the reference that trigger it.
pub const ALL: [(Fault, &str, &str); 15] = [
    (Fault::Slow, "9990000018", "FAULT-SLOW"),
    (Fault::Pausing, "9990000204", "FAULT-PAUSING"),
    (Fault::Html, "9990000026", "FAULT-HTML"),
    (Fault::Another, "9990000034", "FAULT-ANOTHER"),
    (Fault::Large, "9990000042", "FAULT-LARGE"),
    (Fault::Invalid, "9990000050", "FAULT-INVALID"),
    (Fault::Redirect, "9990000069", "FAULT-REDIRECT"),
    (Fault::Failing, "9990000077", "FAULT-FAILING"),
    (Fault::Busy, "9990000085", "FAULT-BUSY"),
    (Fault::Duplicate, "9990000093", "FAULT-DUPLICATE"),
    (Fault::Deep, "9990000107", "FAULT-DEEP"),
    (Fault::HangUp, "9990000115", "FAULT-HANG-UP"),
    (Fault::Extras, "9990000123", "FAULT-EXTRAS"),
    (Fault::WrongIdentifier, "9990000131", "FAULT-WRONG-IDENTIFIER"),
    (Fault::Superseded, "9990000158", "FAULT-SUPERSEDED"),
];

/// The fault that this identifier triggers.
pub fn triggered_by(identifier: &str) -> Option<Fault> {
    ALL.iter()
        .find(|(_, number, reference)| [*number, *reference].contains(&identifier))
        .map(|(fault, _, _)| *fault)
}

/// The identifier that triggers a fault.
pub fn nhs_number(fault: Fault) -> &'static str {
    ALL.iter().find(|(one, _, _)| *one == fault).map_or("", |(_, number, _)| number)
}

/// Faults of transport and syntax, the same for every service. `good` is a record that would otherwise be
/// answered; faults about whom it is about are the service's own.
pub(crate) async fn transport(fault: Fault, media_type: &'static str, good: &str) -> Option<Response> {
    let json = |body: Body| ([(header::CONTENT_TYPE, media_type)], body).into_response();
    Some(match fault {
        Fault::Slow => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            json(Body::from(good.to_owned()))
        }
        Fault::Pausing => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            json(Body::from(good.to_owned()))
        }
        Fault::Html => {
            let page = format!("<html><body>Record of {CANARY}</body></html>");
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
        }
        Fault::Large => {
            let filler = Bytes::from(vec![b'x'; 64 * 1024]);
            let chunks = std::iter::once(Bytes::from_static(b"{\"filler\":\""))
                .chain(std::iter::repeat_n(filler, 160));
            let chunks = chunks.chain(std::iter::once(Bytes::from_static(b"\"}")));
            json(Body::from_stream(futures_util::stream::iter(chunks.map(Ok::<_, std::io::Error>))))
        }
        Fault::Invalid => json(Body::from(good.get(..good.len() / 2).unwrap_or("{").to_owned())),
        Fault::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        Fault::Failing => {
            let trace = format!("{{\"error\":\"NullPointerException at {CANARY}\"}}");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, media_type)], trace).into_response()
        }
        Fault::Busy => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "5")]).into_response(),
        Fault::Duplicate => {
            json(Body::from(good.replacen('{', "{\"id\":\"0\",\"nhs_number\":\"0\",\"case_id\":\"0\",", 1)))
        }
        Fault::Deep => json(Body::from(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)))),
        Fault::HangUp => {
            let part = Bytes::from(good.get(..good.len() / 2).unwrap_or("{").to_owned());
            let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "hang up");
            json(Body::from_stream(futures_util::stream::iter([Ok(part), Err(broken)])))
        }
        Fault::Another | Fault::Extras | Fault::WrongIdentifier | Fault::Superseded => return None,
    })
}
