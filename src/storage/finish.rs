//! Steps that a dropped future must not leave half done.

use std::future::Future;

use super::error::{Error, Kind, Result};
use crate::tasks::Tasks;

/// Runs a step to its end even if the caller is dropped meanwhile. What it gives is then dropped too: a value whose
/// `Drop` cleans up leaves nothing behind.
///
/// # Errors
/// The step's own; `Passing` if it panicked.
pub(super) async fn to_the_end<T, F>(tasks: &Tasks, what: &'static str, step: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    match tasks.spawn(what, step).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) => Err(Error::new(Kind::Passing, format!("the task \"{what}\" broke off"))),
    }
}

/// Starts clean-up from a `Drop`, where nothing can be awaited. Without a runtime the program is over already.
pub(super) fn clean_up<F>(tasks: &Tasks, what: &'static str, step: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if tokio::runtime::Handle::try_current().is_ok() {
        drop(tasks.spawn(what, step));
    }
}
