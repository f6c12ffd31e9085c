//! What may be said about a request, a span or a count to whoever watches the gateway: a closed list of keys, each with
//! the shape of its values. Nothing else leaves, whoever put it there.

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanEvents, SpanExporter},
};

/// Longest value.
const VALUE_BYTES_MAX: usize = 96;
/// Digits in a row at most: a person's numbers have more, and versions, ports and statuses fewer.
const DIGITS_MAX: usize = 5;
/// What stands in the place of a value that is not of its key's shape.
const OTHER: &str = "other";

/// Every key that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/observability.md describes each")]
pub enum AttributeKey {
    Breaker,
    Expires,
    Method,
    Name,
    Outcome,
    Pool,
    Problem,
    Provider,
    Purpose,
    Reason,
    Route,
    ServiceName,
    ServiceVersion,
    Stage,
    Status,
    System,
}

impl AttributeKey {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Breaker,
        Self::Expires,
        Self::Method,
        Self::Name,
        Self::Outcome,
        Self::Pool,
        Self::Problem,
        Self::Provider,
        Self::Purpose,
        Self::Reason,
        Self::Route,
        Self::ServiceName,
        Self::ServiceVersion,
        Self::Stage,
        Self::Status,
        Self::System,
    ];

    /// The key as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Expires => "expires",
            Self::Method => "method",
            Self::Name => "name",
            Self::Outcome => "outcome",
            Self::Pool => "pool",
            Self::Problem => "problem",
            Self::Provider => "provider",
            Self::Purpose => "purpose",
            Self::Reason => "reason",
            Self::Route => "route",
            Self::ServiceName => "service.name",
            Self::ServiceVersion => "service.version",
            Self::Stage => "stage",
            Self::Status => "status",
            Self::System => "system",
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == key)
    }

    /// The keys, for whatever aggregates: others are not looked at.
    pub(super) fn keys() -> impl Iterator<Item = Key> {
        Self::ALL.into_iter().map(|key| Key::from_static_str(key.as_str()))
    }

    /// This key with a value, or with `other` where the value is not of its shape.
    pub fn with(self, value: &str) -> KeyValue {
        let value = if self.takes(value) { value.to_owned() } else { OTHER.to_owned() };
        KeyValue::new(self.as_str(), value)
    }

    /// As [`Self::with`], without a copy.
    pub fn with_word(self, value: &'static str) -> KeyValue {
        KeyValue::new(self.as_str(), if self.takes(value) { value } else { OTHER })
    }

    /// Codes, names of what is in settings and policies, and route templates: no blanks, no `@`, no long numbers.
    fn takes(self, value: &str) -> bool {
        let is_template = matches!(self, Self::Route);
        let is_shaped = value.bytes().all(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => true,
            b'A'..=b'Z' => matches!(self, Self::Method | Self::Name | Self::Route),
            b'/' => matches!(self, Self::Route | Self::Name),
            b'{' | b'}' | b'*' | b'$' => is_template,
            _ => false,
        });
        let mut run = 0;
        let is_number = value.bytes().any(|byte| {
            run = if byte.is_ascii_digit() { run + 1 } else { 0 };
            run > DIGITS_MAX
        });
        let begins = !is_template || value == "none" || value.starts_with('/');
        is_shaped && begins && !is_number && (1..=VALUE_BYTES_MAX).contains(&value.len())
    }
}

/// Whether an attribute may leave, as it is.
fn may_leave(attribute: &KeyValue) -> bool {
    let Some(key) = AttributeKey::of(attribute.key.as_str()) else { return false };
    match &attribute.value {
        Value::String(text) => key.takes(text.as_str()),
        // A status. A longer number could be somebody's.
        Value::I64(number) => key == AttributeKey::Status && (100..1_000).contains(number),
        _ => false,
    }
}

/// An exporter behind which only what is on the list comes out. Events and descriptions of errors are in the log, where
/// what is written is under our control; here they could hold a dependency's words, and are dropped whole.
#[derive(Debug)]
pub struct Allowed<E>(pub E);

impl<E: SpanExporter> SpanExporter for Allowed<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.export(batch.into_iter().map(only_allowed).collect())
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.0.set_resource(resource);
    }
}

fn only_allowed(mut span: SpanData) -> SpanData {
    span.attributes.retain(may_leave);
    span.events = SpanEvents::default();
    for link in &mut span.links.links {
        link.attributes.clear();
    }
    if let opentelemetry::trace::Status::Error { description } = &mut span.status {
        *description = "".into();
    }
    if !AttributeKey::Stage.takes(&span.name) {
        span.name = OTHER.into();
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_code_is_other() {
        let said = |key: AttributeKey, value: &str| key.with(value).value.to_string();
        for (key, value) in [
            (AttributeKey::Problem, "no-record-available"),
            (AttributeKey::Route, "/v1/consents/{id}/withdraw"),
            (AttributeKey::Route, "/fhir/Patient/{id}/$everything"),
            (AttributeKey::Provider, "nhs-pds"),
            (AttributeKey::Name, "gmca-prevention/0003"),
        ] {
            assert_eq!(said(key, value), value);
        }
        for (key, value) in [
            (AttributeKey::Problem, "Jane Smith"),
            (AttributeKey::Problem, "9990000018"),
            (AttributeKey::Route, "9990000018"),
            (AttributeKey::Route, "/fhir/Patient/9990000018"),
            (AttributeKey::Provider, "jane@example.org"),
            (AttributeKey::Name, "5 Oxygen Lane"),
            (AttributeKey::Reason, ""),
        ] {
            assert_eq!(said(key, value), OTHER, "{value}");
        }
    }

    #[test]
    fn an_attribute_of_another_key_does_not_leave() {
        assert!(may_leave(&KeyValue::new("route", "/v1/disclosures")));
        assert!(may_leave(&KeyValue::new("status", 404)));
        for attribute in [
            KeyValue::new("subject", "nobody"),
            KeyValue::new("url.query", "nobody"),
            KeyValue::new("exception.message", "nobody"),
            KeyValue::new("route", "Jane Smith"),
            KeyValue::new("status", 9_990_000_018_i64),
            KeyValue::new("problem", 404),
        ] {
            assert!(!may_leave(&attribute), "{attribute:?}");
        }
    }
}
