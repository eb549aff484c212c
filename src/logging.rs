//! Where log lines go: stderr, as text for people or JSON for machines. And where spans go: to an OpenTelemetry collector, if
//! there is one.

use std::io::{IsTerminal, stderr};

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};

/// What is told to the collector at the latest when this is dropped.
#[must_use = "dropped, it stops the export of spans"]
pub struct Spans(Option<SdkTracerProvider>);

impl Drop for Spans {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::debug!(%error, "the last spans were not exported");
        }
    }
}

/// Sends this process' logs to stderr, and its spans where the settings say. A second call changes nothing: the first one's
/// subscriber stays.
///
/// # Errors
/// An address to which spans cannot be sent.
pub fn begin(settings: &Log) -> anyhow::Result<Spans> {
    let filter = EnvFilter::try_new(&settings.filter).expect("checked with the configuration");
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let provider = exporter(&settings.otlp_url)?;
    let spans =
        provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("sira")));
    let begun = tracing_subscriber::registry().with(filter).with(lines).with(spans).try_init();
    // The default hook prints the payload, which may quote a value: the place is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    if begun.is_err() {
        tracing::debug!("logging has begun already");
    }
    Ok(Spans(provider))
}

/// Nobody, where there is no address.
fn exporter(url: &str) -> anyhow::Result<Option<SdkTracerProvider>> {
    if url.is_empty() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().with_endpoint(url).build()?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("sira").with_attribute(version).build();
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}
