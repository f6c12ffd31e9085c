//! Messages as they come: plain JSON in the shape that the protocol's schemas ask for, which JSON-LD in compacted form is, too.

use serde_json::Value;

use super::{CONTEXT, Problem, invalid};

/// Longest name, address or identifier, in bytes.
const WORD_BYTES_MAX: usize = 1_024;

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
