//! Where log lines go: stderr, as text for people or JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sends this process' logs to stderr. A second call changes nothing: the first one's subscriber stays.
pub fn begin(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.filter).expect("checked with the configuration");
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let begun = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // The default hook prints the payload, which may quote a value: the place is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    if begun.is_err() {
        tracing::debug!("logging has begun already");
    }
}
