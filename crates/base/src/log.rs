//! Log lines on standard error, as text or JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A second start in one process (tests) changes nothing.
///
/// In JSON every line is one flat object: `timestamp` (RFC 3339, UTC), `level`, `message`, and the fields of the line. A
/// panic is such a line too.
///
/// The level is that of the program's own lines. What other crates say below `info` is left out: they do not know what a
/// secret is here (`aws-sigv4` writes the key of every request that it signs).
pub fn start(format: Format, level: Level) {
    let level = LevelFilter::from_level(level);
    let filter = Targets::new()
        // Of all crates of the house: a target is a prefix.
        .with_target("stowage", level)
        .with_target("callstore", level)
        // The pipeline of Azure's SDK logs each failed try, which its caller deals with.
        .with_target("typespec_client_core", level.min(LevelFilter::WARN))
        // The AMQP client logs each connection that ends, also those that were given up; its callers say what that means.
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

/// An error with all its causes, for one log line.
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

/// Names a request in every line about it; also sent as `X-Couch-Request-ID` where CouchDB did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    /// Of work that no request asked for.
    pub const NONE: Self = Self(0);

    /// The next one of this process.
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
