//! The outcome of one request: its count, its access line and its span.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use http::uri::PathAndQuery;
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceId;
use stowage_base::activity::{Activity, Note};
use stowage_base::log::RequestId;
use stowage_base::trace::RequestSpan;
use tracing::Level;

use crate::config::AccessLog;
use crate::metrics::Metrics;

/// The record of a request, written on drop: after the last byte has been handed to the connection.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) metrics: Metrics,
    pub(super) access: AccessLog,
    pub(super) began: Instant,
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) client: Option<SocketAddr>,
    /// Whether the request has an access line or a span.
    pub(super) shown: bool,
    pub(super) path: Option<PathAndQuery>,
    pub(super) trace: Option<TraceId>,
    pub(super) span: Option<Box<RequestSpan>>,
    pub(super) activity: Activity,
    pub(super) route: &'static str,
    pub(super) status: u16,
    /// Bytes of the response body sent so far.
    pub(super) sent: u64,
    /// Whether the response body was sent in full.
    pub(super) whole: bool,
    /// Whether CouchDB or a storage broke off the response.
    pub(super) broken: bool,
}

impl AccessLog {
    /// Returns the level of a request's access line; failures are more important.
    fn level(self, route: &str, failed: bool) -> Level {
        match self {
            Self::All => Level::INFO,
            Self::Attachments if route != "forward" || failed => Level::INFO,
            Self::Attachments | Self::Off => Level::DEBUG,
        }
    }

    /// Returns whether any request has an access line.
    pub(super) fn is_on(self) -> bool {
        match self {
            Self::All | Self::Attachments => tracing::enabled!(Level::INFO),
            Self::Off => tracing::enabled!(Level::DEBUG),
        }
    }
}

/// Emits the access line with the same fields at any level.
macro_rules! line {
    ($level:expr, $record:ident, $took:ident, $note:ident, $outcome:ident) => {
        tracing::event!(
            $level,
            request = %$record.id,
            client = $record.client.map(tracing::field::display),
            method = %$record.method,
            path = $record.path.as_ref().map(PathAndQuery::path),
            route = $record.route,
            status = $record.status,
            bytes_in = $record.activity.received(),
            bytes_out = $record.sent,
            milliseconds = milliseconds($took),
            backend = some(&$note.backend),
            storage = some(&$note.storage),
            outcome = $outcome,
            trace = $record.trace.map(tracing::field::display),
            "answered"
        )
    };
}

impl Record {
    /// Returns the request's outcome in one word.
    fn outcome(&self, note: &Note) -> &'static str {
        match (note.outcome, self.status) {
            _ if self.broken => "broken",
            _ if !self.whole => "interrupted",
            (_, 0..=399) => "ok",
            (Some(outcome), _) if outcome != "ok" => outcome,
            (_, 400..=499) => "refused",
            _ => "failed",
        }
    }

    fn end_span(&mut self, note: &Note, outcome: &'static str) {
        let Some(mut span) = self.span.take() else { return };
        let method = method_label(&self.method);
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let failed = self.broken || self.status >= 500;
        let mut attributes = vec![
            KeyValue::new("http.request.method", if method == "other" { "_OTHER" } else { method }),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
            KeyValue::new("http.request.body.size", whole(self.activity.received())),
            KeyValue::new("http.response.body.size", whole(self.sent)),
            KeyValue::new("stowage.request", self.id.to_string()),
            KeyValue::new("stowage.route", self.route),
            KeyValue::new("stowage.outcome", outcome),
        ];
        if let Some(path) = &self.path {
            attributes.push(KeyValue::new("url.path", path.path().to_owned()));
        }
        if let Some(client) = self.client {
            attributes.push(KeyValue::new("client.address", client.ip().to_string()));
        }
        for (name, value) in [("stowage.backend", &note.backend), ("stowage.storage", &note.storage)] {
            if !value.is_empty() {
                attributes.push(KeyValue::new(name, value.clone()));
            }
        }
        if failed {
            attributes.push(KeyValue::new("error.type", outcome));
        }
        span.describe(format!("{method} {}", self.route), attributes, failed);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let mut digits = itoa::Buffer::new();
        self.metrics.request_done(self.route, method_label(&self.method), digits.format(self.status), took);
        if !self.shown && self.whole && !self.broken && self.status < 400 {
            return;
        }
        let note = self.activity.note();
        let outcome = self.outcome(&note);
        if matches!(outcome, "broken" | "interrupted") {
            self.metrics.cut_off(self.route, outcome);
        }
        if self.access.level(self.route, self.broken || self.status >= 500) == Level::INFO {
            line!(Level::INFO, self, took, note, outcome);
        } else {
            line!(Level::DEBUG, self, took, note, outcome);
        }
        self.end_span(&note, outcome);
    }
}

/// Rounds to three digits; more would be false precision.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Maps methods to a fixed set of labels: clients can make up any method.
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
