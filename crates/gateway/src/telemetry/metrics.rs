//! What is counted and timed, on `/metrics` of the probes' listener and by OTLP where a collector is named.
//!
//! A count is a side channel: whoever sees "refused because restricted" go up by one when they ask about somebody knows
//! what the answer hides. Reasons about a person are therefore counted as one, `about-the-person`; the trail has them for
//! those who may know. Whatever is asked in a person's place (a decoy) is counted as the question itself.

use std::{borrow::Cow, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter, MeterProvider as _},
};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{Instrument, SdkMeterProvider, Stream},
};
use sharing::Reason;
use store::Batch;

use super::attribute::AttributeKey;
use crate::config::TelemetrySettings;

/// A stretch of the way of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/observability.md describes each")]
pub enum Stage {
    Authenticate,
    LookUp,
    Decide,
    Intent,
    Fetch,
    Minimise,
    Release,
}

impl Stage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::LookUp => "look-up",
            Self::Decide => "decide",
            Self::Intent => "intent",
            Self::Fetch => "fetch",
            Self::Minimise => "minimise",
            Self::Release => "release",
        }
    }
}

/// The counts. Without them every call is a branch.
pub struct Metrics(Option<Box<Instruments>>);

struct Instruments {
    provider: SdkMeterProvider,
    registry: prometheus::Registry,
    meter: Meter,
    requests: Counter<u64>,
    request_seconds: Histogram<f64>,
    decisions: Counter<u64>,
    stage_seconds: Histogram<f64>,
    handshakes_refused: Counter<u64>,
    shed: Counter<u64>,
    alerts: Counter<u64>,
    batch_submissions: Histogram<f64>,
    batch_entries: Histogram<f64>,
    commit_seconds: Histogram<f64>,
}

/// From a tenth of a millisecond, which a stage takes, to the deadline.
const SECONDS: [f64; 16] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const COUNTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

impl Metrics {
    /// Counts nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Counts, unless the settings say not to.
    ///
    /// # Errors
    /// When the collector's address cannot be used.
    pub fn new(settings: &TelemetrySettings) -> anyhow::Result<Self> {
        if !settings.metrics {
            return Ok(Self::off());
        }
        let registry = prometheus::Registry::new();
        let pulled =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let mut provider = SdkMeterProvider::builder()
            .with_resource(resource())
            .with_reader(pulled.build()?)
            .with_view(|instrument: &Instrument| {
                let stream = Stream::builder().with_name(instrument.name().to_owned());
                stream.with_allowed_attribute_keys(AttributeKey::keys()).build().ok()
            });
        if let Some(endpoint) = &settings.otlp_metrics_endpoint {
            let pushed = opentelemetry_otlp::MetricExporter::builder().with_http().with_endpoint(endpoint);
            let pushed = pushed.with_http_client(super::collector(endpoint)?).build()?;
            provider = provider.with_periodic_exporter(pushed);
        }
        let provider = provider.build();
        Ok(Self(Some(Box::new(Instruments::of(provider, registry)))))
    }

    /// What makes further instruments, if anything is counted.
    pub(super) fn meter(&self) -> Option<&Meter> {
        self.0.as_deref().map(|instruments| &instruments.meter)
    }

    /// What Prometheus fetches, in its text format. `None` where nothing is counted.
    pub fn exposed(&self) -> Option<String> {
        let instruments = self.0.as_deref()?;
        prometheus::TextEncoder::new().encode_to_string(&instruments.registry.gather()).ok()
    }

    /// Sends what is left to the collector.
    pub fn shut_down(&self) {
        if let Some(instruments) = &self.0 {
            // Whatever cannot be sent now never will be: the process is ending.
            let _ = instruments.provider.shutdown();
        }
    }

    /// A request was answered.
    pub fn answered(&self, route: &str, method: &str, status: u16, problem: Option<&str>, took: Duration) {
        let Some(instruments) = &self.0 else { return };
        let route = AttributeKey::Route.with(route);
        let outcome = match status {
            ..400 => "answered",
            400..500 => "refused",
            _ => "failed",
        };
        let method = AttributeKey::Method.with(method);
        let of = [
            route.clone(),
            method,
            AttributeKey::Outcome.with_word(outcome),
            AttributeKey::Problem.with(problem.unwrap_or("none")),
        ];
        instruments.requests.add(1, &of);
        instruments.request_seconds.record(took.as_secs_f64(), &[route]);
    }

    /// A question was decided.
    pub fn decided(&self, outcome: &'static str, purpose: &str, reasons: &[Reason]) {
        let Some(instruments) = &self.0 else { return };
        let reason = match reasons.iter().find(|reason| !reason.depends_on_person()) {
            Some(reason) => reason.as_str(),
            None if reasons.is_empty() => "none",
            None => "about-the-person",
        };
        let of = [
            AttributeKey::Outcome.with_word(outcome),
            AttributeKey::Purpose.with(purpose),
            AttributeKey::Reason.with_word(reason),
        ];
        instruments.decisions.add(1, &of);
    }

    /// A stage took so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let Some(instruments) = &self.0 else { return };
        let of = [AttributeKey::Stage.with_word(stage.as_str())];
        instruments.stage_seconds.record(took.as_secs_f64(), &of);
    }

    /// A TLS handshake was refused.
    pub fn handshake_refused(&self, reason: &'static str) {
        let Some(instruments) = &self.0 else { return };
        instruments.handshakes_refused.add(1, &[AttributeKey::Reason.with_word(reason)]);
    }

    /// A request was turned away unread.
    pub fn shed(&self, system: &str, reason: &'static str) {
        let Some(instruments) = &self.0 else { return };
        let of = [AttributeKey::System.with(system), AttributeKey::Reason.with_word(reason)];
        instruments.shed.add(1, &of);
    }

    /// Alerts are with privacy officers. Which rule and whose is in their lists alone: a count of one kind would tell whoever
    /// watches that the last question was about somebody special.
    pub fn alerted(&self, count: u64) {
        let Some(instruments) = &self.0 else { return };
        instruments.alerts.add(count, &[]);
    }

    /// The ledger's writer has ended a batch.
    pub fn committed(&self, batch: Batch) {
        let Some(instruments) = &self.0 else { return };
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let (submissions, entries) = (batch.submissions as f64, batch.entries as f64);
        instruments.batch_submissions.record(submissions, &[]);
        instruments.batch_entries.record(entries, &[]);
        let outcome = if batch.is_committed { "committed" } else { "failed" };
        let of = [AttributeKey::Outcome.with_word(outcome)];
        instruments.commit_seconds.record(batch.took.as_secs_f64(), &of);
    }
}

impl Instruments {
    fn of(provider: SdkMeterProvider, registry: prometheus::Registry) -> Self {
        let meter = provider.meter("concordat");
        let counter = |name: &'static str, what| meter.u64_counter(name).with_description(what).build();
        let histogram = |name: &'static str, what, boundaries: &[f64]| {
            meter.f64_histogram(name).with_description(what).with_boundaries(boundaries.to_vec()).build()
        };
        Self {
            requests: counter("concordat_requests", "requests answered"),
            request_seconds: histogram(
                "concordat_request_duration_seconds",
                "from admission to answer",
                &SECONDS,
            ),
            decisions: counter("concordat_decisions", "questions decided"),
            stage_seconds: histogram("concordat_stage_duration_seconds", "stages of a question", &SECONDS),
            handshakes_refused: counter("concordat_handshakes_refused", "tls handshakes refused"),
            shed: counter("concordat_requests_shed", "requests turned away unread"),
            alerts: counter("concordat_alerts_raised", "alerts that privacy officers have to look at"),
            batch_submissions: histogram(
                "concordat_ledger_batch_submissions",
                "submissions in one transaction",
                &COUNTS,
            ),
            batch_entries: histogram("concordat_ledger_batch_entries", "entries in one transaction", &COUNTS),
            commit_seconds: histogram(
                "concordat_ledger_commit_duration_seconds",
                "one transaction of the writer, checks and fsync included",
                &SECONDS,
            ),
            provider,
            registry,
            meter,
        }
    }
}

/// What this process is, and nothing of what its environment says it is.
pub(super) fn resource() -> Resource {
    let of: [KeyValue; 2] = [
        AttributeKey::ServiceName.with_word("concordat"),
        KeyValue::new(AttributeKey::ServiceVersion.as_str(), Cow::Borrowed(env!("CARGO_PKG_VERSION"))),
    ];
    Resource::builder_empty().with_attributes(of).build()
}
