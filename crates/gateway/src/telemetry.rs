//! Logs as JSON lines on standard error; metrics for whoever fetches them; traces and metrics by OTLP where the settings
//! name a collector, off otherwise.
//!
//! What never goes into any of them: identifiers, names, addresses, dates of birth, paths of FHIR routes, bodies,
//! tokens, and what record holders say. [`attribute`] lets nothing through to a collector that is not on its list.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::{
    attribute::Allowed,
    metrics::{Metrics, Stage},
};
use crate::{
    config::{TelemetrySettings, default_log_filter},
    witnessed::is_loopback,
};

pub mod attribute;
pub mod expiries;
pub mod gauges;
pub mod metrics;

/// Keeps the exporter alive; dropping it sends what is left.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // Whatever cannot be sent now never will be: the process is ending.
            let _ = provider.shutdown();
        }
    }
}

/// Starts logging and, where asked for, tracing.
///
/// # Errors
/// When the filter or the collector's address cannot be used.
pub fn start(settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    start_with(settings, BoxMakeWriter::new(std::io::stderr))
}

/// As [`start`], with logs into a file.
///
/// # Errors
/// When the filter or the collector's address cannot be used.
pub fn start_to_file(settings: &TelemetrySettings, file: std::fs::File) -> anyhow::Result<Telemetry> {
    start_with(settings, BoxMakeWriter::new(std::sync::Mutex::new(file)))
}

/// What spans of stages belong to. The log leaves them out: it has a line a request.
const STAGES: &str = "gateway::stage";

/// How many spans wait for a collector at most. When it hangs, more are dropped and nobody waits.
const SPANS_MAX: usize = 4_096;

fn start_with(settings: &TelemetrySettings, writer: BoxMakeWriter) -> anyhow::Result<Telemetry> {
    let filter = settings.log_filter.clone().unwrap_or_else(default_log_filter);
    let filter = EnvFilter::try_new(&filter)?.add_directive(format!("{STAGES}=off").parse()?);
    let logs =
        tracing_subscriber::fmt::layer().json().with_writer(writer).with_ansi(false).with_filter(filter);
    let registry = tracing_subscriber::registry().with(logs);
    let Some(endpoint) = &settings.otlp_endpoint else {
        registry.try_init()?;
        return Ok(Telemetry(None));
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .with_http_client(collector(endpoint)?)
        .build()?;
    let batches = BatchConfigBuilder::default().with_max_queue_size(SPANS_MAX).build();
    let sending = BatchSpanProcessor::builder(Allowed(exporter)).with_batch_config(batches).build();
    let provider =
        SdkTracerProvider::builder().with_resource(metrics::resource()).with_span_processor(sending).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("concordat"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    // Our own spans alone: what a dependency would put into one is not under our control.
    let ours = EnvFilter::try_new("gateway=info")?;
    registry.with(layer.with_filter(ours)).try_init()?;
    Ok(Telemetry(Some(provider)))
}

/// How long a collector may take.
const COLLECTOR_MAX: Duration = Duration::from_secs(3);

/// The client that sends to a collector at this address, from a thread of the exporter's.
fn collector(endpoint: &str) -> anyhow::Result<reqwest::blocking::Client> {
    anyhow::ensure!(
        endpoint.starts_with("https://") || is_loopback(endpoint),
        "settings: [telemetry] `{endpoint}` must begin with https://, or with http:// for a loopback address"
    );
    let client = outbound::blocking_client(endpoint)?.timeout(COLLECTOR_MAX);
    // It begins and ends a runtime of its own, which nobody may do within another.
    let built = std::thread::spawn(move || client.build()).join();
    Ok(built.map_err(|_| anyhow::anyhow!("the client for the collector could not be made"))??)
}

/// Times a stage, and gives it a span of its own where spans are sent anywhere.
pub async fn timed<T>(metrics: &Metrics, stage: Stage, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let span = tracing::info_span!(target: STAGES, "stage", otel.name = stage.as_str());
    let done = work.instrument(span).await;
    metrics.stage(stage, began.elapsed());
    done
}

/// As [`timed`], for what does not wait.
pub fn timed_now<T>(metrics: &Metrics, stage: Stage, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let span = tracing::info_span!(target: STAGES, "stage", otel.name = stage.as_str());
    let done = span.in_scope(work);
    metrics.stage(stage, began.elapsed());
    done
}

/// Links a request's span to the caller's trace (W3C `traceparent`), so that both sides find each other. It is not
/// continued: whether we sample, and which trace it is, is not for a partner to say. `tracestate` and `baggage`, which can
/// hold anything, are read nowhere.
pub fn link(span: &tracing::Span, headers: &HeaderMap) {
    let mut all = headers.get_all("traceparent").iter();
    let (Some(value), None) = (all.next(), all.next()) else { return };
    if let Some(caller) = value.to_str().ok().and_then(trace_parent) {
        span.add_link(caller);
    }
}

/// Source: W3C Trace Context, section 3.2.2. Version 00 alone, in lower case, and no trace of zeros.
fn trace_parent(text: &str) -> Option<SpanContext> {
    let parts: Vec<_> = text.split('-').collect();
    let ["00", trace, span, flags] = parts.as_slice() else { return None };
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !(is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let caller = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    caller.is_valid().then_some(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_parent_is_linked() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(trace_parent(good).is_some());
        for bad in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-9990000018-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
        ] {
            assert!(trace_parent(bad).is_none(), "{bad}");
        }
    }
}
