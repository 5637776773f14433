//! One id, one count and one log line for every request, at the end of its answer's body, or when that is dropped.
//!
//! Lines of attachments and of failures are `info`; what is merely forwarded is `debug`: CouchDB logs it too.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::admit::{Admitted, Permitted};
use crate::handlers::{Exchange, Gateway};
use crate::http::body::{Body, BoxError};
use crate::tasks::Tasks;
use crate::telemetry::log::RequestId;
use crate::telemetry::metrics::Metrics;

/// Makes [`Observe`].
#[derive(Debug, Clone)]
pub struct ObserveLayer {
    metrics: Metrics,
    tasks: Tasks,
    idle_body: Duration,
}

impl ObserveLayer {
    /// Counts into the gateway's metrics.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        let (metrics, tasks) = (gateway.metrics.clone(), gateway.tasks.clone());
        Self { metrics, tasks, idle_body: gateway.timeouts.idle_body }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, layer: self.clone() }
    }
}

/// The outermost layer: from hyper's request to the gateway's [`Exchange`].
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S> Service<Request<Incoming>> for Observe<S>
where
    S: Service<Exchange, Response = Admitted, Error = Infallible>,
{
    type Response = Response<Observed>;
    type Error = Infallible;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let id = RequestId::next();
        let record = Record {
            metrics: self.layer.metrics.clone(),
            began: Instant::now(),
            id,
            method: request.method().clone(),
            route: "gone",
            status: 0,
            bytes: 0,
            failed: false,
        };
        let waits = !request.body().is_end_stream()
            && request
                .headers()
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let request = request.map(|body| Body::request(body, self.layer.idle_body, waits, &self.layer.tasks));
        Observing { inner: self.inner.call(Exchange { request, id }), record: Some(record) }
    }
}

pin_project! {
    /// The future of [`Observe`].
    #[derive(Debug)]
    pub struct Observing<F> {
        #[pin]
        inner: F,
        record: Option<Record>,
    }
}

impl<F> Future for Observing<F>
where
    F: Future<Output = Result<Admitted, Infallible>>,
{
    type Output = Result<Response<Observed>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(Admitted { mut response, route }) = ready!(this.inner.poll(cx));
        let mut record = this.record.take();
        if let Some(record) = &mut record {
            record.route = route;
            record.status = response.status().as_u16();
            if !response.headers().contains_key(&COUCH_REQUEST_ID)
                && let Ok(id) = HeaderValue::try_from(record.id.to_string())
            {
                response.headers_mut().insert(&COUCH_REQUEST_ID, id);
            }
        }
        Poll::Ready(Ok(response.map(|body| Observed { body, record })))
    }
}

/// A body whose end is recorded.
#[derive(Debug)]
pub struct Observed {
    body: Permitted,
    record: Option<Record>,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => {
                    record.failed = true;
                    tracing::warn!(request = %record.id, error = %error, "an answer broke off");
                }
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is known of a request; written when it is dropped, which is when the last byte has been handed over.
#[derive(Debug)]
struct Record {
    metrics: Metrics,
    began: Instant,
    id: RequestId,
    method: Method,
    route: &'static str,
    status: u16,
    bytes: u64,
    failed: bool,
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let method = method_label(&self.method);
        let mut digits = itoa::Buffer::new();
        self.metrics.requests(self.route, method, digits.format(self.status)).inc();
        self.metrics.request_seconds(self.route).observe(took.as_secs_f64());
        let milliseconds = took.as_secs_f64() * 1000.0;
        let (id, route, status, bytes, broken) = (self.id, self.route, self.status, self.bytes, self.failed);
        if route == "forward" && status < 500 && !broken {
            tracing::debug!(request = %id, route, method, status, bytes, milliseconds, "answered");
        } else {
            tracing::info!(request = %id, route, method, status, bytes, milliseconds, broken, "answered");
        }
    }
}

/// Methods that clients make up must not become labels.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "COPY" => "COPY",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

static COUCH_REQUEST_ID: HeaderName = HeaderName::from_static("x-couch-request-id");
