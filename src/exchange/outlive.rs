//! Work that must finish even if the client has disconnected.

use http::Response;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use tokio::sync::oneshot;

use crate::error::Error;

/// Delivers the response to the client; does nothing if the client has disconnected.
pub(crate) struct Reply(oneshot::Sender<Result<Response<Body>, Error>>);

impl Reply {
    /// Sends the response without blocking.
    pub(crate) fn give(self, outcome: Result<Response<Body>, Error>) {
        drop(self.0.send(outcome));
    }
}

/// Spawns a task that shutdown waits for, and awaits its response. If the client disconnects, this future is dropped and the task runs on. `what`
/// names the task in the log if it panics.
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
    // The future must not own the work: only the receiver is captured, so dropping it leaves the task running.
    async move { answered.await.unwrap_or(Err(Error::Bug("a task ended without an answer"))) }
}
