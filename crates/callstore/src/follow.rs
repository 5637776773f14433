//! Folding the journal into the state, for as long as the program runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stowage_base::log;
use stowage_base::tasks::Tasks;
use stowage_http::body::BoxError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::journal::{Journal, JournalError, Offset};
use crate::metrics::Metrics;
use crate::state::{State, StateError};

/// The task that folds the journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Follower {
    /// The journal to read.
    pub journal: Arc<dyn Journal>,
    /// The state to fold the entries into.
    pub state: Arc<State>,
    /// The metrics that count the entries.
    pub metrics: Metrics,
    /// The clock.
    pub clock: Clock,
    /// The progress to report to.
    pub progress: Progress,
}

/// How far the journal has been folded; cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    ready: Arc<AtomicBool>,
    folded: watch::Sender<Option<Offset>>,
}

impl Progress {
    /// Starts at the state's offset.
    #[must_use]
    pub fn new(offset: Option<Offset>) -> Self {
        Self { ready: Arc::default(), folded: watch::channel(offset).0 }
    }

    /// Returns whether the journal has been read to its end, since the start or since it was last read from its beginning.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until an entry is folded.
    pub async fn reaches(&self, offset: Offset) {
        let mut folded = self.folded.subscribe();
        // Cannot fail: `self` holds the sender.
        drop(folded.wait_for(|at| at.is_some_and(|at| at >= offset)).await);
    }

    /// Waits until the journal has been read to its end.
    pub async fn until_ready(&self) {
        self.until(true).await;
    }

    /// Waits until the journal is read from its beginning again.
    pub async fn until_rewound(&self) {
        self.until(false).await;
    }

    async fn until(&self, is_ready: bool) {
        let mut folded = self.folded.subscribe();
        while self.is_ready() != is_ready {
            if folded.changed().await.is_err() {
                return;
            }
        }
    }

    /// Begins anew: until the journal has been read to its end, the state is one of the past.
    fn rewind(&self) {
        self.ready.store(false, Ordering::Release);
        self.folded.send_replace(None);
    }

    fn at(&self, offset: Option<Offset>, is_ready: bool) {
        if is_ready {
            self.ready.store(true, Ordering::Release);
        }
        self.folded.send_replace(offset);
    }
}

impl Follower {
    /// Follows the journal until the program stops. After an error, it starts again from the state's offset.
    pub async fn run(self, tasks: Tasks) {
        let mut told = String::new();
        let mut has_failed = false;
        // Until the state is rewound: by the next query the journal may have grown past the state's offset again.
        let mut is_shortened = false;
        loop {
            let outcome = tokio::select! {
                outcome = self.follow(has_failed, &mut is_shortened, &tasks) => outcome,
                () = tasks.stopping() => return,
            };
            has_failed = outcome.is_err();
            let error = outcome.as_ref().err().and_then(|error| error.downcast_ref::<JournalError>());
            is_shortened |= matches!(error, Some(JournalError::Shortened(_)));
            let reason = outcome.err().map(|error| log::chain(&*error)).unwrap_or_default();
            // Log a repeated reason only once.
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

    async fn follow(&self, has_failed: bool, is_shortened: &mut bool, tasks: &Tasks) -> Result<(), BoxError> {
        if has_failed {
            self.work(tasks, |state| state.mend()).await?;
        }
        let mut begin = self.state.index().offset;
        let end = self.journal.end_after(begin).await?;
        let is_exact = self.journal.is_end_exact();
        if begin.is_some_and(|begin| *is_shortened || is_exact && end.is_none_or(|end| end < begin)) {
            tracing::error!(begin, end, "the journal lost entries or was made anew: it is read from its beginning");
            self.progress.rewind();
            self.work(tasks, |state| state.rewind()).await?;
            begin = None;
        }
        *is_shortened = false;
        self.note(begin, end);
        let mut entries = self.journal.follow(begin).await?;
        loop {
            let mut batch = match tokio::time::timeout(QUIET, entries.recv()).await {
                Ok(Some(batch)) => batch?,
                Ok(None) => return Ok(()),
                // Flush, so that a start after a crash in a quiet period folds nothing again.
                Err(_) => {
                    self.work(tasks, |state| state.flush()).await?;
                    continue;
                }
            };
            // What came meanwhile, or comes soon, goes into the same commit.
            let until = Instant::now() + SOON;
            while batch.len() < BATCH {
                let Ok(Some(more)) = tokio::time::timeout_at(until, entries.recv()).await else { break };
                batch.extend(more?);
            }
            let now = self.clock.now();
            let is_news = self.progress.is_ready();
            let mut applied = self.work(tasks, move |state| state.apply(&batch, now)).await?;
            // Deaths from before the start, or read again: all instances would count them again, each time that they read the journal anew.
            if !is_news {
                applied.dead = 0;
            }
            self.metrics.applied(&applied);
            self.note(self.state.index().offset, end);
        }
    }

    /// Reports the progress. The journal counts as read once the state has reached the end that it had at the start, or when it was begun again.
    fn note(&self, at: Option<Offset>, end: Option<Offset>) {
        self.progress.at(at, end.is_none_or(|end| at.is_some_and(|at| at >= end)));
    }

    /// Works with the state on a thread that may block. The program's end waits for it, so that the file is closed then.
    async fn work<T, W>(&self, tasks: &Tasks, work: W) -> Result<T, BoxError>
    where
        T: Send + 'static,
        W: FnOnce(&State) -> Result<T, StateError> + Send + 'static,
    {
        let state = Arc::clone(&self.state);
        let blocking = async move { tokio::task::spawn_blocking(move || work(&state)).await };
        let done = tasks.spawn("work with the state", blocking).await?;
        Ok(done.ok_or("work with the state panicked")???)
    }
}

/// The maximum number of entries folded in one commit.
const BATCH: usize = 512;
/// How long further ones are waited for.
const SOON: Duration = Duration::from_millis(5);
/// The idle time after which the state is flushed.
const QUIET: Duration = Duration::from_secs(1);
/// The delay before a retry.
const AGAIN: Duration = Duration::from_secs(1);
