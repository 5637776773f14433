//! Reading the journal into state, for as long as the program runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stowage_base::log;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::journal::{Entry, Journal, Offset};
use crate::metrics::Metrics;
use crate::state::State;

/// What reads the journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Where entries come from.
    pub journal: Arc<dyn Journal>,
    /// Where they go.
    pub state: Arc<State>,
    /// What counts them.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// How far it is.
    pub progress: Progress,
}

/// How far the journal was read; cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    ready: Arc<AtomicBool>,
    folded: watch::Sender<Option<Offset>>,
}

impl Progress {
    /// From where state stands.
    #[must_use]
    pub fn new(offset: Option<Offset>) -> Self {
        Self { ready: Arc::default(), folded: watch::channel(offset).0 }
    }

    /// Whether the journal was once read to its end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until an entry is folded.
    pub async fn reaches(&self, offset: Offset) {
        let mut folded = self.folded.subscribe();
        // The sender is here: it cannot be gone.
        drop(folded.wait_for(|at| at.is_some_and(|at| at >= offset)).await);
    }

    /// Waits until the journal was read to its end.
    pub async fn until_ready(&self) {
        let mut folded = self.folded.subscribe();
        while !self.is_ready() {
            if folded.changed().await.is_err() {
                return;
            }
        }
    }

    fn at(&self, offset: Option<Offset>, is_ready: bool) {
        if is_ready {
            self.ready.store(true, Ordering::Release);
        }
        self.folded.send_replace(offset);
    }
}

impl Follower {
    /// Follows until the program is to stop. What fails is tried again from where state stands.
    pub async fn run(self, tasks: Tasks) {
        let mut told = String::new();
        let mut has_failed = false;
        loop {
            let outcome = tokio::select! {
                outcome = self.follow(has_failed) => outcome,
                () = tasks.stopping() => return,
            };
            has_failed = outcome.is_err();
            let reason = outcome.err().map(|error| log::chain(&*error)).unwrap_or_default();
            // The same reason again is no news.
            if !reason.is_empty() && reason != told {
                tracing::error!(error = reason, "the journal cannot be followed; it is tried again");
            }
            told = reason;
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = tasks.stopping() => return,
            }
        }
    }

    async fn follow(&self, has_failed: bool) -> Result<(), BoxError> {
        if has_failed {
            let state = Arc::clone(&self.state);
            tokio::task::spawn_blocking(move || state.mend()).await??;
        }
        let mut begin = self.state.index().offset;
        let end = self.journal.end().await?;
        if begin.is_some_and(|begin| end.is_none_or(|end| end < begin)) {
            tracing::error!(begin, end, "the journal lost entries or was made anew: it is read from its beginning");
            let state = Arc::clone(&self.state);
            tokio::task::spawn_blocking(move || state.rewind()).await??;
            begin = None;
        }
        self.note(begin, end);
        let mut entries = self.journal.follow(begin).await?;
        loop {
            let mut batch = match tokio::time::timeout(QUIET, entries.recv()).await {
                Ok(Some(batch)) => batch?,
                Ok(None) => return Ok(()),
                // So that a start after a crash in quiet times folds nothing again.
                Err(_) => {
                    let state = Arc::clone(&self.state);
                    tokio::task::spawn_blocking(move || state.flush()).await??;
                    continue;
                }
            };
            // What came meanwhile goes into the same commit.
            while batch.len() < BATCH {
                let Ok(more) = entries.try_recv() else { break };
                batch.extend(more?);
            }
            self.apply(batch).await?;
            self.note(self.state.index().offset, end);
        }
    }

    /// It is ready once it has all that was there when it began.
    fn note(&self, at: Option<Offset>, end: Option<Offset>) {
        self.progress.at(at, end.is_none_or(|end| at.is_some_and(|at| at >= end)));
    }

    async fn apply(&self, batch: Vec<Entry>) -> Result<(), BoxError> {
        let (state, now) = (Arc::clone(&self.state), self.clock.now());
        let applied = tokio::task::spawn_blocking(move || state.apply(&batch, now)).await??;
        self.metrics.applied(&applied);
        Ok(())
    }
}

/// How many entries are folded in one commit when many wait.
const BATCH: usize = 512;
/// When so long nothing came, the state is flushed.
const QUIET: Duration = Duration::from_secs(1);
/// The pause after a failure.
const AGAIN: Duration = Duration::from_secs(1);
