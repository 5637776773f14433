//! Assigns each request an id, and emits one count, access line and span when its response body ends or is dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_base::tasks::Tasks;
use stowage_base::trace::{Tracer, remote};
use stowage_http::body::{Body, BoxError};
use stowage_http::forwarded::Arrival;
use tokio::sync::OwnedSemaphorePermit;
use tower::Service;

use super::record::Record;
use crate::config::AccessLog;
use crate::exchange::{Answered, Exchange};
use crate::gateway::Gateway;
use crate::metrics::Metrics;

/// What [`Observe`] reports to.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    metrics: Metrics,
    tasks: Tasks,
    idle_body: Duration,
    access: AccessLog,
    tracer: Tracer,
}

impl Observer {
    pub(super) fn new(gateway: &Gateway, access: AccessLog, tracer: Tracer) -> Self {
        let (metrics, tasks) = (gateway.metrics.clone(), gateway.tasks.clone());
        Self { metrics, tasks, idle_body: gateway.timeouts.http.idle_body, access, tracer }
    }
}

/// The outermost layer: converts hyper's request to the gateway's [`Exchange`].
#[derive(Debug, Clone)]
pub struct Observe<S> {
    pub(super) inner: S,
    pub(super) observer: Observer,
    pub(super) arrival: Option<Arrival>,
}

impl<S> Observe<S> {
    /// Starts the record of a request. Collects only what will be written.
    fn record(&self, request: &Request<Incoming>) -> Record {
        let (id, observer) = (RequestId::next(), &self.observer);
        let shown = observer.tracer.is_on() || observer.access.is_on();
        let remote = if shown { remote(request.headers()) } else { None };
        let span = observer.tracer.request(remote.as_ref()).map(Box::new);
        let trace = remote.map(|remote| remote.trace_id()).or_else(|| span.as_ref().map(|span| span.trace_id()));
        Record {
            metrics: observer.metrics.clone(),
            access: observer.access,
            began: Instant::now(),
            id,
            method: request.method().clone(),
            client: self.arrival.as_ref().map(|arrival| arrival.peer),
            shown,
            path: request.uri().path_and_query().filter(|_| shown).cloned(),
            trace,
            activity: Activity::new(id, span.as_ref().map(|span| span.parent())),
            span,
            route: "gone",
            status: 0,
            sent: 0,
            whole: false,
            broken: false,
        }
    }
}

impl<S> Service<Request<Incoming>> for Observe<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
{
    type Response = Response<Observed>;
    type Error = Infallible;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let record = self.record(&request);
        if let Some(arrival) = &self.arrival {
            arrival.tell(request.headers_mut());
        }
        let (id, activity) = (record.id, record.activity.clone());
        let waits = !request.body().is_end_stream()
            && request
                .headers()
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (idle, tasks) = (self.observer.idle_body, &self.observer.tasks);
        let request = request.map(|body| Body::request(body, idle, waits, tasks, &activity));
        Observing { inner: self.inner.call(Exchange { request, id, activity }), record: Some(record) }
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
    F: Future<Output = Result<Answered, Infallible>>,
{
    type Output = Result<Response<Observed>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(answered) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(Observed::of(answered, this.record.take())))
    }
}

/// A body that records its end.
#[derive(Debug)]
pub struct Observed {
    body: Body,
    /// The request's place among those in flight.
    _permit: Option<OwnedSemaphorePermit>,
    /// The full length, if known.
    expected: Option<u64>,
    record: Option<Record>,
}

impl Observed {
    /// Completes a request's record with the head of its response.
    fn of(answered: Answered, mut record: Option<Record>) -> Response<Self> {
        let Answered { mut response, route, permit } = answered;
        if let Some(record) = &mut record {
            record.route = route;
            record.status = response.status().as_u16();
            if !response.headers().contains_key(&COUCH_REQUEST_ID)
                && let Ok(id) = HeaderValue::try_from(record.id.to_string())
            {
                response.headers_mut().insert(&COUCH_REQUEST_ID, id);
            }
        }
        let expected = response.body().size_hint().exact();
        response.map(|body| Self { body, _permit: permit, expected, record })
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => record.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => {
                    record.broken = true;
                    tracing::warn!(request = %record.id, error = %error, "an answer broke off");
                }
                None => record.whole = true,
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

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record {
            // hyper does not poll a body again once it has ended or delivered all its bytes.
            record.whole |= self.body.is_end_stream() || self.expected == Some(record.sent);
        }
    }
}

static COUCH_REQUEST_ID: HeaderName = HeaderName::from_static("x-couch-request-id");
