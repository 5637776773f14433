//! Log lines on standard error, as text or JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::filter::LevelFilter;

use crate::config::{Log, LogFormat};

/// Starts logging. A second start in one process (tests) changes nothing.
pub fn start(config: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(config.level))
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
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
