//! Logs as JSON lines on standard error; traces by OTLP where the settings name a collector, off otherwise.
//!
//! What never goes into either: identifiers, names, addresses, dates of birth, paths of FHIR routes, bodies,
//! tokens, and what record holders say.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{TelemetrySettings, default_log_filter};

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

fn start_with(settings: &TelemetrySettings, writer: BoxMakeWriter) -> anyhow::Result<Telemetry> {
    let filter = settings.log_filter.clone().unwrap_or_else(default_log_filter);
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(writer)
        .with_ansi(false)
        .with_filter(EnvFilter::try_new(&filter)?);
    let registry = tracing_subscriber::registry().with(logs);
    let Some(endpoint) = &settings.otlp_endpoint else {
        registry.try_init()?;
        return Ok(Telemetry(None));
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("concordat"));
    // Our own spans alone: what a dependency would put into one is not under our control.
    let ours = EnvFilter::try_new("gateway=info")?;
    registry.with(layer.with_filter(ours)).try_init()?;
    Ok(Telemetry(Some(provider)))
}
