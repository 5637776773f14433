//! Tracing: context propagation (W3C Trace Context), and spans for an OpenTelemetry collector.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use prometheus::IntCounter;
use tokio::sync::mpsc;

/// Returns the trace context a client sent; `None` if there is none, or if it is invalid by
/// <https://www.w3.org/TR/trace-context-1/#traceparent-header>.
#[must_use]
pub fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let lower = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.splitn(5, '-');
    let mut part = |length| parts.next().filter(|part: &&str| part.len() == length && lower(part));
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // Later versions may append fields; version 255 is invalid.
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let sampled = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, sampled, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

/// Creates spans; disabled unless a collector is configured. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

impl Tracer {
    /// Creates a tracer and the receiver of its finished spans. `sample` is the share of requests to trace among those without a
    /// sampled trace of their own. Spans that are not consumed fast enough are dropped and counted.
    #[must_use]
    pub fn new(sample: f64, dropped: IntCounter) -> (Self, mpsc::Receiver<SpanData>) {
        let (sender, spans) = mpsc::channel(QUEUE);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Queue { sender, dropped })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample))))
            .build();
        let scope = InstrumentationScope::builder("stowage").with_version(env!("CARGO_PKG_VERSION")).build();
        (Self(Some(provider.tracer_with_scope(scope))), spans)
    }

    /// Returns whether spans are exported.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the span of a client's request, if the request is sampled.
    #[must_use]
    pub fn request(&self, remote: Option<&SpanContext>) -> Option<RequestSpan> {
        let tracer = self.0.as_ref()?;
        let parent = remote.map_or_else(Context::new, |remote| Context::new().with_remote_span_context(remote.clone()));
        let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server);
        let span = tracer.build_with_context(builder, &parent);
        span.is_recording().then(|| RequestSpan { tracer: tracer.clone(), span, begun_here: remote.is_none() })
    }
}

/// The span of a client's request; exported on drop.
#[derive(Debug)]
pub struct RequestSpan {
    tracer: SdkTracer,
    span: Span,
    /// Whether the trace starts here rather than continuing a client's.
    begun_here: bool,
}

impl RequestSpan {
    /// Returns the trace id.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.span.span_context().trace_id()
    }

    /// Returns the context for child spans.
    #[must_use]
    pub fn parent(&self) -> Parent {
        let context = Context::new().with_remote_span_context(self.span.span_context().clone());
        Parent { tracer: self.tracer.clone(), context, begun_here: self.begun_here }
    }

    /// Sets the span's name, attributes and status.
    pub fn describe(&mut self, name: String, attributes: Vec<KeyValue>, failed: bool) {
        self.span.update_name(name);
        self.span.set_attributes(attributes);
        if failed {
            self.span.set_status(Status::error(""));
        }
    }
}

/// Creates child spans of a request's span.
#[derive(Debug, Clone)]
pub struct Parent {
    tracer: SdkTracer,
    context: Context,
    begun_here: bool,
}

impl Parent {
    fn child(&self, name: String, attributes: Vec<KeyValue>) -> Call {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, &self.context);
        Call(Some(Box::new(Running { span, begun_here: self.begun_here })))
    }

    /// Starts the span of a request to CouchDB.
    pub(super) fn couch(&self, method: &Method) -> Call {
        let attributes = vec![
            KeyValue::new("db.system.name", "couchdb"),
            KeyValue::new("http.request.method", method.as_str().to_owned()),
        ];
        self.child(format!("CouchDB {method}"), attributes)
    }

    /// Starts the span of a storage operation.
    pub(super) fn storage(&self, backend: &str, storage: &str, operation: &'static str) -> Call {
        let attributes = vec![
            KeyValue::new("stowage.backend", backend.to_owned()),
            KeyValue::new("stowage.storage", storage.to_owned()),
            KeyValue::new("stowage.operation", operation),
        ];
        self.child(format!("{backend} {operation}"), attributes)
    }
}

/// The span of one outgoing call made for a request; exported on drop. Empty if the request is not traced.
#[derive(Debug, Default)]
pub struct Call(Option<Box<Running>>);

#[derive(Debug)]
struct Running {
    span: Span,
    begun_here: bool,
}

impl Call {
    /// Adds the span's context to outgoing headers. A client's `tracestate` is kept only if its trace continues; without that trace
    /// it has no meaning.
    pub fn propagate(&self, headers: &mut HeaderMap) {
        let Some(Running { span, begun_here }) = self.0.as_deref() else { return };
        if *begun_here {
            headers.remove(TRACESTATE);
        }
        let context = span.span_context();
        let text = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Ends the span with the server's status.
    pub fn answered(mut self, status: StatusCode) {
        if let Some(Running { span, .. }) = self.0.as_deref_mut() {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
            if status.is_client_error() || status.is_server_error() {
                span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
                span.set_status(Status::error(""));
            }
        }
    }

    /// Ends the span with an outcome; `ok` is success.
    pub fn ended(mut self, outcome: &'static str) {
        if let Some(Running { span, .. }) = self.0.as_deref_mut()
            && outcome != "ok"
        {
            span.set_attribute(KeyValue::new("error.type", outcome));
            span.set_status(Status::error(""));
        }
    }
}

/// Queue of finished spans for the exporter. Never blocks.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    /// Counts dropped spans.
    dropped: IntCounter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Name of the W3C header.
pub const TRACEPARENT: &str = "traceparent";
/// Vendor-specific trace data; only valid with a `traceparent`.
const TRACESTATE: &str = "tracestate";
/// Capacity of the span queue; a span takes about a kilobyte.
const QUEUE: usize = 4096;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{TRACEPARENT, remote};

    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn parsed(values: &[&str]) -> Option<(String, String, bool)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        let context = remote(&headers)?;
        Some((context.trace_id().to_string(), context.span_id().to_string(), context.is_sampled()))
    }

    #[test]
    fn a_valid_traceparent_is_understood() {
        let ids = |sampled| Some(("4bf92f3577b34da6a3ce929d0e0e4736".into(), "00f067aa0ba902b7".into(), sampled));
        for (flags, sampled) in [("01", true), ("00", false), ("02", false), ("03", true), ("ff", true)] {
            assert_eq!(parsed(&[&format!("00-{IDS}-{flags}")]), ids(sampled), "{flags}");
        }
        for later in [format!("cc-{IDS}-01"), format!("01-{IDS}-01-what-else")] {
            assert_eq!(parsed(&[&later]), ids(true), "{later}");
        }
    }

    #[test]
    fn anything_else_is_ignored() {
        let valid = format!("00-{IDS}-01");
        let (long, dash) = (format!("{valid}-x"), format!("{valid}-"));
        for wrong in [
            "",
            "00",
            &long,
            &dash,
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        ] {
            assert_eq!(parsed(&[wrong]), None, "{wrong:?}");
        }
        assert_eq!(parsed(&[&valid, &valid]), None, "two of them");
        assert_eq!(parsed(&[]), None);
    }
}
