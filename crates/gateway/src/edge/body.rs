//! Reading a body strictly: bounded, no duplicate keys, no unknown members. Faults name members and never values.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use sharing::json::{self, JsonFault, Limits};

use crate::problem::Problem;

/// Reads the form of a request that says who sent it in the form itself.
///
/// # Errors
/// The [`Problem`], whose words never repeat values.
pub async fn read_form(
    request: (&HeaderMap, Body),
    body_bytes_max: usize,
    longest: Duration,
) -> Result<Vec<(String, String)>, Problem> {
    let kinds = ["application/x-www-form-urlencoded"];
    let bytes = read_body(request, &kinds, body_bytes_max, longest).await?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

pub(super) async fn read_body(
    (headers, body): (&HeaderMap, Body),
    kinds: &[&str],
    body_bytes_max: usize,
    longest: Duration,
) -> Result<bytes::Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    let is_one = kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
    if !is_one || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::UnsupportedMediaType);
    }
    // A body is a few segments: one that drips holds a place.
    let read = Limited::new(body, body_bytes_max).collect();
    let read = tokio::time::timeout(longest, read).await.map_err(|_| Problem::BodyTooSlow)?;
    let bytes = read.map_err(|error| {
        if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() {
            Problem::BodyTooLarge
        } else {
            Problem::InvalidRequest("the body broke off".to_owned())
        }
    })?;
    Ok(bytes.to_bytes())
}

/// Reads JSON strictly: no duplicate keys, bounded, no member that its kind does not have.
///
/// # Errors
/// The [`Problem`], whose words name members and never values.
pub fn parse_body<T: DeserializeOwned>(bytes: &[u8], body_bytes_max: usize) -> Result<T, Problem> {
    let limits =
        Limits { bytes_max: body_bytes_max, depth_max: 16, values_max: (body_bytes_max / 16).max(5_000) };
    json::parse(bytes, &limits).map_err(|error| match error.fault {
        JsonFault::TooLarge => Problem::BodyTooLarge,
        _ => Problem::InvalidRequest(format!("the body is not usable json: {error}")),
    })?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| misfit(&error, None))
}

/// Reads a value that was read strictly already into a shape.
///
/// # Errors
/// The [`Problem`], whose words name members and never values.
pub fn shape<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let is_whole = error.path().iter().next().is_none();
        let blamed = is_whole.then(|| blamed::<T>(value, &error.inner().to_string())).flatten();
        misfit(&error, blamed)
    })
}

/// Most members of a body that are tried one by one.
const TRIED_MAX: usize = 32;

/// The member that says which of several shapes a body has.
const TAG: &str = "step";

/// The member that a fault is about, where the reader does not say it because another one had to be read first: the one without
/// which the fault is another.
fn blamed<'a, T: DeserializeOwned>(value: &'a serde_json::Value, said: &str) -> Option<&'a str> {
    let members = value.as_object()?;
    let is_it = |name: &&String| {
        let mut others = members.clone();
        others.remove(name.as_str());
        let read = T::deserialize(&serde_json::Value::Object(others));
        read.map_or_else(|error| error.to_string() != said, |_| true)
    };
    let mut found: Vec<&str> = members.keys().take(TRIED_MAX).filter(is_it).map(String::as_str).collect();
    if found.len() > 1 {
        found.retain(|name| *name != TAG);
    }
    found.first().copied()
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>, blamed: Option<&str>) -> Problem {
    let said = error.inner().to_string();
    // The last: what was sent may have these words in it.
    let expected =
        said.rsplit_once(", expected ").map(|(_, rest)| rest.split(" at line ").next().unwrap_or(""));
    let member = blamed.map_or_else(|| error.path().to_string(), str::to_owned);
    Problem::InvalidRequest(match (said.starts_with("unknown field"), expected) {
        (true, Some(expected)) => {
            format!("the body has a member that is not known here; expected {expected}")
        }
        _ if said.starts_with("missing field") => {
            format!(
                "the body lacks {}",
                said.trim_start_matches("missing field ").split(" at line").next().unwrap_or("")
            )
        }
        _ => match expected.filter(|_| said.starts_with("unknown variant")) {
            Some(expected) => {
                format!("`{member}` is not of the kind that is documented for it; expected {expected}")
            }
            None => format!("`{member}` is not of the kind that is documented for it"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only the reading is tested")]
        purpose: u8,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Tagged {
        Reviewed { next_on: jiff::civil::Date, text: String },
        Stop { reason: Why, text: String },
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Why {
        Breach,
        Other,
    }

    #[test]
    fn errors_name_members_of_bodies_of_several_shapes() {
        let said = |body: serde_json::Value| match shape::<Tagged>(&body).unwrap_err() {
            Problem::InvalidRequest(text) => text,
            other => other.code(),
        };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(
            said(json(r#"{"step":"reviewed","next_on":"Jane Smith","text":"a"}"#)),
            "`next_on` is not of the kind that is documented for it"
        );
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"Jane, expected Smith","text":"a"}"#)),
            "`reason` is not of the kind that is documented for it; expected `breach` or `other`"
        );
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"breach","text":7}"#)),
            "`text` is not of the kind that is documented for it"
        );
        assert_eq!(
            said(json(r#"{"step":"Jane Smith"}"#)),
            "`step` is not of the kind that is documented for it; expected `reviewed` or `stop`"
        );
        assert_eq!(said(json(r#"{"step":"stop","text":"a"}"#)), "the body lacks `reason`");
        assert_eq!(
            said(json(r#"{"step":"stop","reason":"breach","text":"a","Jane Smith":1}"#)),
            "the body has a member that is not known here; expected `reason` or `text`"
        );
    }

    fn said(body: &str) -> String {
        match parse_body::<Shape>(body.as_bytes(), 1024).unwrap_err() {
            Problem::InvalidRequest(text) => text,
            other => other.code(),
        }
    }

    #[test]
    fn errors_name_members_and_never_repeat_values() {
        assert_eq!(
            said(r#"{"purpose":"Jane Smith"}"#),
            "`purpose` is not of the kind that is documented for it"
        );
        assert_eq!(said("{}"), "the body lacks `purpose`");
        assert_eq!(
            said(r#"{"Jane Smith":1}"#),
            "the body has a member that is not known here; expected `purpose`"
        );
        assert_eq!(
            said(r#"{"purpose":1,"purpose":2}"#),
            "the body is not usable json: the same key twice in one object (byte 22)"
        );
    }
}
