//! How CouchDB has answered a caller, for work that leaves clients their share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Response;

use super::caller::Caller;
use super::error::Error;

/// How CouchDB has answered a caller so far; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The longest time until an answer, in microseconds.
    slowest: AtomicU64,
    failed: AtomicBool,
}

impl Answers {
    /// Returns the longest time until an answer; `None` if there was no request.
    #[must_use]
    pub fn slowest(&self) -> Option<Duration> {
        let micros = self.0.slowest.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Returns whether a request had no answer, or one with a 5xx status.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }
}

impl Caller {
    /// Returns the caller with its answers recorded: to documents that it reads or saves, and to attachments that it opens. The time of a body that is
    /// sent as a stream depends on its source, and is not recorded.
    #[must_use]
    pub fn recorded(mut self, answers: &Answers) -> Self {
        self.answers = Some(answers.clone());
        self
    }

    /// Records an answer.
    pub(super) fn record<T>(&self, began: Instant, answer: &Result<Response<T>, Error>) {
        let Some(Answers(inner)) = &self.answers else { return };
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        inner.slowest.fetch_max(micros.max(1), Ordering::Relaxed);
        let is_good = matches!(answer, Ok(answer) if !answer.status().is_server_error());
        inner.failed.fetch_or(!is_good, Ordering::Relaxed);
    }
}
