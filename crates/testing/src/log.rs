//! Captures what a test's thread logs.

use std::cell::RefCell;
use std::io::{Result, Write};
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

thread_local! {
    static HERE: RefCell<Option<(Level, Log)>> = const { RefCell::new(None) };
}

/// The captured lines; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// Captures the thread's log lines while it lives.
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

/// Writes to the log of the current thread.
struct Here;

impl Write for Here {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        HERE.with_borrow(|here| {
            if let Some((_, log)) = here {
                log.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Log {
    /// Captures everything up to this level, until the guard is dropped.
    ///
    /// One subscriber serves all threads. With one per thread, `tracing` would ask only the thread that first reaches a call site whether anyone
    /// is interested, and cache the answer for all: a test without a log could thus silence that line for a test with one.
    pub fn begin(&self, level: Level) -> Guard {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let wanted = dynamic_filter_fn(|line, _| {
                HERE.with_borrow(|here| here.as_ref().is_some_and(|(level, _)| line.level() <= level))
            });
            let written = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Here);
            tracing_subscriber::registry().with(wanted).with(written).init();
        });
        HERE.set(Some((level, self.clone())));
        Guard(())
    }

    /// Returns all captured text.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("a text")
    }

    /// Returns the lines that contain a text.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}
