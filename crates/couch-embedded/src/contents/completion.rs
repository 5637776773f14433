//! Work that a dropped caller must not leave half done.

use stowage_base::tasks::Tasks;

use crate::exchange::answer::Failure;

/// Runs work to its end even if the caller is dropped. `what` names it in the log.
pub(crate) async fn to_completion<T, F>(tasks: &Tasks, what: &'static str, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let outcome = tasks.spawn(what, work).await.ok().flatten();
    outcome.unwrap_or_else(|| Err(Failure::internal(format!("the task \"{what}\" broke off"))))
}
