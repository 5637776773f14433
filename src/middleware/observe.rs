//! One id, one count, one access line and one span for every request, at the end of its answer's body, or when that is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_base::tasks::Tasks;
use stowage_base::trace::{Tracer, remote};
use stowage_http::body::{Body, BoxError};
use stowage_http::forwarded::Arrival;
use tokio::sync::OwnedSemaphorePermit;

use super::record::Record;
use crate::config::AccessLog;
use crate::exchange::{Answered, Exchange};
use crate::gateway::Gateway;
use crate::metrics::Metrics;

/// Takes note of every request.
#[derive(Debug)]
pub(super) struct Observer {
    metrics: Metrics,
    tasks: Tasks,
    idle_body: Duration,
    access: AccessLog,
    tracer: Tracer,
}

impl Observer {
    /// Counts into the gateway's metrics.
    pub(super) fn new(gateway: &Gateway, access: AccessLog, tracer: Tracer) -> Self {
        let (metrics, tasks) = (gateway.metrics.clone(), gateway.tasks.clone());
        Self { metrics, tasks, idle_body: gateway.timeouts.http.idle_body, access, tracer }
    }

    /// From hyper's request to the gateway's [`Exchange`].
    pub(super) fn begin(&self, mut request: Request<Incoming>, arrival: &Arrival) -> (Exchange, Record) {
        let record = self.record(&request, arrival);
        arrival.tell(request.headers_mut());
        let (id, activity) = (record.id, record.activity.clone());
        let waits = !request.body().is_end_stream()
            && request
                .headers()
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let request = request.map(|body| Body::request(body, self.idle_body, waits, &self.tasks, &activity));
        (Exchange { request, id, activity }, record)
    }

    /// Begins to take note of a request. Only what will be written down is looked for.
    fn record(&self, request: &Request<Incoming>, arrival: &Arrival) -> Record {
        let id = RequestId::next();
        let shown = self.tracer.is_on() || self.access.is_on();
        let remote = if shown { remote(request.headers()) } else { None };
        let span = self.tracer.request(remote.as_ref()).map(Box::new);
        let trace = remote.map(|remote| remote.trace_id()).or_else(|| span.as_ref().map(|span| span.trace_id()));
        Record {
            metrics: self.metrics.clone(),
            access: self.access,
            began: Instant::now(),
            id,
            method: request.method().clone(),
            client: arrival.peer,
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

impl Record {
    /// The answer, whose body is recorded to its end. The permit goes with it.
    pub(super) fn watch(mut self, answered: Answered, permit: Option<OwnedSemaphorePermit>) -> Response<Observed> {
        let Answered { mut response, route } = answered;
        self.route = route;
        self.status = response.status().as_u16();
        if !response.headers().contains_key(&COUCH_REQUEST_ID)
            && let Ok(id) = HeaderValue::try_from(self.id.to_string())
        {
            response.headers_mut().insert(&COUCH_REQUEST_ID, id);
        }
        let expected = response.body().size_hint().exact();
        response.map(|body| Observed { body, expected, _permit: permit, record: self })
    }
}

/// A body whose end is recorded.
#[derive(Debug)]
pub struct Observed {
    body: Body,
    /// Its whole length, where that is known.
    expected: Option<u64>,
    _permit: Option<OwnedSemaphorePermit>,
    record: Record,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let record = &mut this.record;
        match &frame {
            Some(Ok(frame)) => record.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                record.broken = true;
                tracing::warn!(request = %record.id, error = %error, "an answer broke off");
            }
            None => record.whole = true,
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
        // A body that is at its end, or has given all its bytes, is not polled again.
        self.record.whole |= self.body.is_end_stream() || self.expected == Some(self.record.sent);
    }
}

static COUCH_REQUEST_ID: HeaderName = HeaderName::from_static("x-couch-request-id");
