//! Log lines on standard error, as text or JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::reader::Section;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads the format and the least severe level that is written from the section `[log]`.
pub fn read(section: &mut Section<'_>) -> (Format, Level) {
    let format = match section.text("format", "text").as_str() {
        "text" => Format::Text,
        "json" => Format::Json,
        _ => {
            section.problem("format", "must be \"text\" or \"json\"");
            Format::Text
        }
    };
    let level = section.text("level", "info").parse().unwrap_or_else(|_| {
        section.problem("level", "must be one of error, warn, info, debug, trace");
        Level::INFO
    });
    (format, level)
}

/// Initializes logging. A second call in the same process (tests) has no effect.
///
/// In JSON, every line is one flat object: `timestamp` (RFC 3339, UTC), `level`, `message`, and the event's fields. Panics are
/// logged the same way.
///
/// `level` applies to this workspace's own events. Other crates are capped at `info`: they do not know what is secret here
/// (`aws-sigv4` logs the key of every request it signs).
pub fn start(format: Format, level: Level) {
    let level = LevelFilter::from_level(level);
    let filter = Targets::new()
        // Targets match by prefix, so this covers every crate of the workspace.
        .with_target("stowage", level)
        .with_target("callstore", level)
        // Azure's SDK pipeline logs each failed attempt, which the caller already handles.
        .with_target("typespec_client_core", level.min(LevelFilter::WARN))
        // The AMQP client logs every connection that ends, even one closed on purpose; its callers report what matters.
        .with_target("lapin", LevelFilter::OFF)
        .with_default(level.min(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, reason = panic.payload_as_str(), "panic");
        }));
    }
}

/// Formats an error and its chain of causes for one log line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Identifies a request in all its log lines; also sent as `X-Couch-Request-ID` if CouchDB did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    /// Id of work that does not belong to a request.
    pub const NONE: Self = Self(0);

    /// Returns the next id of this process.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}
