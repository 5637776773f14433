//! What becomes of one request: counted, written as one access line, and ended as a span.

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

/// What is known of a request; written when it is dropped, which is when the last byte has been handed over.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) metrics: Metrics,
    pub(super) access: AccessLog,
    pub(super) began: Instant,
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) client: Option<SocketAddr>,
    /// There will be a line or a span.
    pub(super) shown: bool,
    pub(super) path: Option<PathAndQuery>,
    pub(super) trace: Option<TraceId>,
    pub(super) span: Option<Box<RequestSpan>>,
    pub(super) activity: Activity,
    pub(super) route: &'static str,
    pub(super) status: u16,
    /// Of the answer's body.
    pub(super) sent: u64,
    /// The answer has come to its end.
    pub(super) whole: bool,
    /// The answer broke off on the side of the servers.
    pub(super) broken: bool,
}

impl AccessLog {
    /// The level of a request's line; a failure is worth more.
    fn level(self, route: &str, failed: bool) -> Level {
        match self {
            Self::All => Level::INFO,
            Self::Attachments if route != "forward" || failed => Level::INFO,
            Self::Attachments | Self::Off => Level::DEBUG,
        }
    }

    /// Whether any request has a line.
    pub(super) fn is_on(self) -> bool {
        match self {
            Self::All | Self::Attachments => tracing::enabled!(Level::INFO),
            Self::Off => tracing::enabled!(Level::DEBUG),
        }
    }
}

/// The same fields at either level.
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
    /// How it went, in one word.
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

/// With three digits, as more would only pretend.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
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
