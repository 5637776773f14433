//! Log lines on standard error, as text or JSON.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
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
        Format::Text => lines.fmt_fields(text_fields()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, reason = panic.payload_as_str(), "panic");
        }));
    }
}

/// Formats the fields of a text line like the default formatter, but escapes control characters: a line break in the name of an
/// attachment would forge a line of the log.
fn text_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(write_field).delimited(" ")
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut line = OneLine(writer);
    match field.name() {
        "message" => write!(line, "{value:?}"),
        name => write!(line, "{name}={value:?}"),
    }
}

/// Escapes control characters.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let plain = piece.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            for control in piece.chars().rev().take_while(|char| char.is_control()) {
                write!(self.0, "{}", control.escape_default())?;
            }
        }
        Ok(())
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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_field_cannot_begin_a_line() {
        let lines = Lines::default();
        let written = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || written.clone())
            .fmt_fields(text_fields());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let name = "a\n2026 \u{1b}[31mERROR\r\u{85}é";
            tracing::warn!(status = 413, error = %name, quoted = "b\nc", "request {}", "re\nfused");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let expected = r#"WARN request re\nfused status=413 error=a\n2026 \u{1b}[31mERROR\r\u{85}é quoted="b\nc""#;
        assert!(text.ends_with(&format!("{expected}\n")), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }
}
