//! What has to end although the client that began it is gone.

use http::Response;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use tokio::sync::oneshot;

use crate::error::Error;

/// Gives the client its answer; one that is gone gets none, and that changes nothing.
pub(crate) struct Reply(oneshot::Sender<Result<Response<Body>, Error>>);

impl Reply {
    /// Waits for nothing.
    pub(crate) fn give(self, outcome: Result<Response<Body>, Error>) {
        drop(self.0.send(outcome));
    }
}

/// Begins a task that shutdown waits for, and waits for the answer that it gives. Where the client leaves, this future is
/// dropped and the task is not. `what` names it in the log if it panics.
pub(crate) fn outlive<F>(
    tasks: Tasks,
    what: &'static str,
    work: impl FnOnce(Reply) -> F,
) -> impl Future<Output = Result<Response<Body>, Error>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (reply, answered) = oneshot::channel();
    drop(tasks.spawn(what, work(Reply(reply))));
    // The caller waits for the answer alone: the work would end with a future that held it.
    async move { answered.await.unwrap_or(Err(Error::Bug("a task ended without an answer"))) }
}
