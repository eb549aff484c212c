//! The trace that work belongs to, as W3C Trace Context writes it: from a request through the jobs that it causes, in whatever
//! process and however much later they run.

use std::fmt;
use std::future::Future;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

tokio::task_local! {
    static PARENT: TraceParent;
}

/// A place in a trace. Written as a `traceparent` header: `00-<trace>-<span>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl TraceParent {
    /// The beginning of a trace of its own.
    pub fn begin() -> Self {
        let trace = TraceId::from_bytes(rand::random::<[u8; 16]>());
        Self { trace, span: SpanId::from_bytes(rand::random::<[u8; 8]>()), flags: TraceFlags::SAMPLED }
    }

    /// Reads a header; `None` when it is not one of version 00 or of a later version that begins alike.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let hex = |text: &str, chars: usize| {
            text.len() == chars && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !(hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2)) || version == "ff" {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok().filter(|id| *id != TraceId::INVALID)?;
        let span = SpanId::from_hex(span).ok().filter(|id| *id != SpanId::INVALID)?;
        Some(Self { trace, span, flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) })
    }

    /// Where the caller's work stands: in its span where spans are exported, else where [`Self::instrument`] put it.
    pub fn current() -> Option<Self> {
        let context = Span::current().context();
        let own = context.span().span_context().clone();
        if own.is_valid() {
            return Some(Self { trace: own.trace_id(), span: own.span_id(), flags: own.trace_flags() });
        }
        PARENT.try_with(|parent| *parent).ok()
    }

    /// What all work of the trace has in common: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// Runs work in this span, as what this place caused.
    pub async fn instrument<T>(self, span: Span, work: impl Future<Output = T>) -> T {
        let parent = SpanContext::new(self.trace, self.span, self.flags, true, TraceState::default());
        // Refused where no span is exported, or this one is filtered out.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
        PARENT.scope(self, work.instrument(span)).await
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_written_and_others_are_refused() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(header).unwrap();
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.to_string(), header);
        assert_eq!(TraceParent::parse(&TraceParent::begin().to_string()).map(|_| ()), Some(()));
        // A later version may say more.
        assert!(TraceParent::parse(&format!("01-{}-more", &header[3..])).is_some());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn traces_begin_apart() {
        assert_ne!(TraceParent::begin().trace_id(), TraceParent::begin().trace_id());
    }
}
