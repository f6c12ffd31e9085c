//! Messages as they come: plain JSON in the shape that the protocol's schemas ask for, which JSON-LD in compacted form is, too.

use serde_json::Value;

use super::{CONTEXT, Problem, invalid};
use crate::agreements::document::readable::visible;

/// Longest name, address or identifier, in bytes.
const WORD_BYTES_MAX: usize = 1_024;

/// Most reasons that are kept of a termination.
const REASONS_MAX: usize = 20;

/// Longest text that is kept of them, in characters.
const TEXT_MAX: usize = 2_000;

/// A message of the kind that its route takes.
pub(super) struct Sent<'a>(pub(super) &'a Value);

/// The offer of a request.
pub(super) struct Offer<'a> {
    /// Its name.
    pub(super) id: &'a str,
    /// The dataset.
    pub(super) target: &'a str,
    /// Its rules, in the object that they are members of.
    pub(super) rules: &'a Value,
}

impl<'a> Sent<'a> {
    /// A message with the one context, of this kind.
    pub(super) fn of(value: &'a Value, kind: &str) -> Result<Self, Problem> {
        let context = value.get("@context").and_then(Value::as_array);
        let fits = context.is_some_and(|context| {
            context.iter().all(Value::is_string) && context.iter().any(|one| one.as_str() == Some(CONTEXT))
        });
        if !fits {
            return Err(invalid("@context: a list with the context of Dataspace Protocol 2025-1"));
        }
        if value.get("@type").and_then(Value::as_str) != Some(kind) {
            return Err(Problem::InvalidRequest(format!("@type: a {kind} is expected here")));
        }
        Ok(Self(value))
    }

    /// A text.
    pub(super) fn word(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| is_plain(text))
    }

    /// The consumer's name for the negotiation. It becomes one segment of an address.
    pub(super) fn consumer_pid(&self) -> Result<&'a str, Problem> {
        let pid = self.word("consumerPid").filter(|pid| pid.len() <= 256 && *pid != "." && *pid != "..");
        pid.ok_or_else(|| {
            invalid("consumerPid: your name for the negotiation, of 1 to 256 visible ASCII characters")
        })
    }

    /// Why a negotiation is ended, as the other side puts it: its code and its reasons, in one text of bounded length, with what nobody
    /// would see standing as its number.
    pub(super) fn termination(&self) -> Option<String> {
        let said = |value: &Value| match value.get("@value").unwrap_or(value) {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        let code = self.0.get("code").map(said);
        let reasons = self.0.get("reason").and_then(Value::as_array).into_iter().flatten().take(REASONS_MAX);
        let all = code.into_iter().chain(reasons.map(said)).filter(|text| !text.is_empty());
        let text: String = visible(&all.collect::<Vec<_>>().join("; ")).chars().take(TEXT_MAX).collect();
        (!text.is_empty()).then_some(text)
    }

    /// The offer. Its rules have no target of their own.
    pub(super) fn offer(&self) -> Result<Offer<'a>, Problem> {
        let offer = self.0.get("offer").ok_or_else(|| invalid("offer: what you ask for"))?;
        let word = |name: &str| offer.get(name).and_then(Value::as_str).filter(|text| is_plain(text));
        match (word("@id"), word("target"), word("@type")) {
            (Some(id), Some(target), Some("Offer")) => Ok(Offer { id, target, rules: offer }),
            _ => Err(invalid("offer: an Offer with `@id` and `target`")),
        }
    }
}

fn is_plain(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn why_a_negotiation_ends_is_kept_in_bounds_and_to_be_seen() {
        let said = |message: Value| Sent(&message).termination();
        assert_eq!(said(json!({})), None);
        assert_eq!(said(json!({ "code": " ", "reason": "no list" })), None);
        let reasons = json!({ "code": 7, "reason": ["a\u{202e}b\u{200b}", { "@value": "c", "@language": "en" }, { "d": 1 }] });
        assert_eq!(said(reasons).unwrap(), "7; a[U+202E]b[U+200B]; c; {\"d\":1}");
        let long = said(json!({ "reason": ["x".repeat(5_000)] })).unwrap();
        assert_eq!(long.chars().count(), TEXT_MAX);
        assert_eq!(said(json!({ "reason": vec!["x"; 100] })).unwrap().matches('x').count(), REASONS_MAX);
    }
}
