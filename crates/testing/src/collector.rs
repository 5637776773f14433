//! An OpenTelemetry collector that receives spans as OTLP over HTTP and verifies everything: any deviation from the protocol is
//! recorded as a fault and answered with 400.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::watch;

use super::serve::{Served, listen, serve};
use super::upstream::soon;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    served: Served,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    spans: watch::Sender<Vec<Span>>,
    /// Number of requests received, whatever the response.
    requests: watch::Sender<usize>,
    faults: Mutex<Vec<String>>,
    script: Mutex<Vec<Reply>>,
}

/// How the collector handles a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Accepts the spans.
    Take,
    /// Accepts them, but reports this many as rejected.
    Reject(i64),
    /// Responds with this status; 503 with `Retry-After: 0`.
    Status(u16),
    /// Never responds.
    Hang,
}

impl Collector {
    /// Starts a collector that accepts everything.
    pub async fn start() -> Self {
        Self::scripted(&[]).await
    }

    /// Starts a collector that handles the first requests as scripted, and then accepts everything.
    pub async fn scripted(replies: &[Reply]) -> Self {
        let state = Arc::new(State::default());
        state.script.lock().expect("script").extend(replies.iter().rev());
        let (listener, _) = listen().await;
        let shared = Arc::clone(&state);
        let served = serve(listener, move |_| {
            let state = Arc::clone(&shared);
            service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            })
        });
        Self { served, state }
    }

    /// Returns the base URL for `telemetry.otlp`.
    pub fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// Returns the spans accepted so far.
    pub fn spans(&self) -> Vec<Span> {
        self.state.spans.borrow().clone()
    }

    /// Waits until this many spans were accepted; fails on any fault.
    pub async fn wait_for(&self, count: usize) -> Vec<Span> {
        let mut spans = self.state.spans.subscribe();
        let found = soon("spans", spans.wait_for(|spans| spans.len() >= count)).await.expect("the sender lives");
        let found = found.clone();
        self.assert_faultless();
        found
    }

    /// Waits until this many requests were received.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut requests = self.state.requests.subscribe();
        drop(soon("requests", requests.wait_for(|requests| *requests >= count)).await.expect("the sender lives"));
    }

    /// Asserts that everything received conformed to the protocol.
    pub fn assert_faultless(&self) {
        let faults = self.state.faults.lock().expect("faults").clone();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        self.requests.send_modify(|requests| *requests += 1);
        let media_type = head.headers.get("content-type").map(|value| value.as_bytes());
        let mut faults = Vec::new();
        if (head.method != Method::POST) || head.uri != "/v1/traces" {
            faults.push(format!("{} {}", head.method, head.uri));
        }
        if media_type != Some(b"application/x-protobuf") {
            faults.push(format!("content type {media_type:?}"));
        }
        let spans = spans_of(&body, &mut faults);
        let known: HashSet<Vec<u8>> = self.spans.borrow().iter().map(|span| span.span_id.clone()).collect();
        faults.extend(spans.iter().filter(|span| known.contains(&span.span_id)).map(|span| format!("again: {span:?}")));
        if !faults.is_empty() {
            self.faults.lock().expect("faults").append(&mut faults);
            return answer(400, Vec::new());
        }
        let reply = self.script.lock().expect("script").pop().unwrap_or(Reply::Take);
        let rejected = match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Status(status) => return answer(status, Vec::new()),
            Reply::Reject(rejected) => rejected,
            Reply::Take => 0,
        };
        self.spans.send_modify(|known| known.extend(spans));
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: String::new() };
        answer(200, ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }.encode_to_vec())
    }
}

fn answer(status: u16, body: Vec<u8>) -> Response<Full<Bytes>> {
    let builder = Response::builder().status(status).header("content-type", "application/x-protobuf");
    let builder = if status == 503 { builder.header("retry-after", "0") } else { builder };
    builder.body(Full::from(body)).expect("an answer")
}

fn spans_of(body: &Bytes, faults: &mut Vec<String>) -> Vec<Span> {
    let request = match ExportTraceServiceRequest::decode(body.clone()) {
        Ok(request) => request,
        Err(error) => {
            faults.push(error.to_string());
            return Vec::new();
        }
    };
    // Re-encoding loses fields unknown to this version of the protocol.
    if request.encode_to_vec() != *body {
        faults.push("the request has more in it than the protocol knows".to_owned());
    }
    let mut all = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        for name in ["service.name", "service.version", "service.instance.id"] {
            if text(&attributes, name).is_none_or(|text| text.is_empty()) {
                faults.push(format!("no {name}"));
            }
        }
        for scope in resource.scope_spans {
            if scope.scope.is_none_or(|scope| scope.name.is_empty()) {
                faults.push("a scope without a name".to_owned());
            }
            all.extend(scope.spans);
        }
    }
    if all.is_empty() {
        faults.push("a request without spans".to_owned());
    }
    for span in &all {
        if let Some(fault) = fault_of(span) {
            faults.push(format!("{fault}: {span:?}"));
        }
    }
    all
}

fn fault_of(span: &Span) -> Option<&'static str> {
    let id = |bytes: &[u8], length| bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
    let mut names = HashSet::new();
    if !id(&span.trace_id, 16) || !id(&span.span_id, 8) {
        return Some("a wrong id");
    }
    if !span.parent_span_id.is_empty() && !id(&span.parent_span_id, 8) {
        return Some("a wrong parent");
    }
    if span.name.is_empty() || span.name.len() > 64 {
        return Some("a wrong name");
    }
    if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
        return Some("wrong times");
    }
    // 2 is a server span, 3 a client span.
    if !matches!(span.kind, 2 | 3) {
        return Some("a wrong kind");
    }
    if !span.attributes.iter().all(|pair| pair.value.is_some() && names.insert(&pair.key)) {
        return Some("an attribute without value, or there twice");
    }
    None
}

/// Returns a text attribute.
pub fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    match value(attributes, name)? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Returns a number attribute.
pub fn number(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match value(attributes, name)? {
        any_value::Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a any_value::Value> {
    attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.value.as_ref()
}
