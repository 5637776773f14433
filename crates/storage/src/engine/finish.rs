//! Steps that a dropped future must not leave half done.

use std::future::Future;
use std::time::Duration;

use stowage_base::tasks::Tasks;
use tokio::sync::oneshot;

use crate::error::{Error, Kind, Result};

/// Runs a step to its end even if the caller is dropped meanwhile. What it gives is then dropped too: a value whose
/// `Drop` cleans up leaves nothing behind.
///
/// # Errors
/// The step's own; `Passing` if it panicked.
pub(crate) async fn to_completion<T, F>(tasks: &Tasks, what: &'static str, step: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Not by the task's own handle: that drops what is not waited for after the task has ceased to count as running, and
    // the clean-up that begins then would be overlooked in between.
    let (sender, receiver) = oneshot::channel();
    drop(tasks.spawn(what, async move { drop(sender.send(step.await)) }));
    let broke_off = |_| Error::new(Kind::Passing, format!("the task \"{what}\" broke off"));
    receiver.await.map_err(broke_off)?
}

/// Starts clean-up from a `Drop`, where nothing can be awaited. Without a runtime the program is over already.
pub(crate) fn clean_up<F>(tasks: &Tasks, what: &'static str, step: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if tokio::runtime::Handle::try_current().is_ok() {
        drop(tasks.spawn(what, step));
    }
}

/// The tries of a clean-up: until it has done its work, a few times.
///
/// One that finds nothing to do has not failed, but it is tried again: a request whose answer was lost may still be at work
/// on the server.
#[derive(Debug, Default)]
pub(crate) struct CleanUp {
    made: usize,
    done: bool,
    failure: Option<Error>,
}

impl CleanUp {
    /// Waits for the next try, if there is to be one.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(pause) = PAUSES.get(self.made).filter(|_| !self.done) else { return false };
        self.made += 1;
        tokio::time::sleep(*pause).await;
        true
    }

    /// What came of a try: whether it has done its work.
    pub(crate) fn note(&mut self, outcome: Result<bool>) {
        self.done = outcome.as_ref().is_ok_and(|done| *done);
        self.failure = outcome.err();
    }

    /// Why the last try failed, if it did.
    pub(crate) fn failure(self) -> Option<Error> {
        self.failure
    }
}

/// As long as a server may take to notice that a connection is gone.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
