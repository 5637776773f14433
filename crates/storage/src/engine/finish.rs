//! Steps that a dropped future must not leave half done.

use std::future::Future;

use stowage_base::tasks::Tasks;
use tokio::sync::oneshot;

use crate::error::{Error, Kind, Result};

/// Runs a step to its end even if the caller is dropped meanwhile. What it gives is then dropped too: a value whose
/// `Drop` cleans up leaves nothing behind.
///
/// # Errors
/// The step's own; `Passing` if it panicked.
pub(crate) async fn to_the_end<T, F>(tasks: &Tasks, what: &'static str, step: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Not by the task's own handle: that drops what nobody waits for after the task has ceased to count as running, and
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
