//! An operation on a storage, from its admission by the storage's health to its outcome: counted, timed, traced, and noted for the access line.

use std::time::{Duration, Instant};

use stowage_base::activity::Activity;
use stowage_base::trace::Call;
use stowage_storage::{Admission, Error, Kind, Opened, Result};

use crate::gateway::Gateway;
use crate::metrics::Metrics;

/// An operation in progress; dropped without an outcome, it counts as interrupted.
pub(crate) struct Operation<'a> {
    metrics: &'a Metrics,
    activity: &'a Activity,
    backend: &'a str,
    name: &'static str,
    /// Whether its outcome is the request's.
    tells: bool,
    began: Instant,
    call: Option<Call>,
    admission: Option<Admission>,
}

impl<'a> Operation<'a> {
    /// Starts a request's own operation, `get` or `put`. A storage that is down is allowed a read sooner than anything else.
    ///
    /// # Errors
    /// Returns `Passing` if the storage is down.
    pub(crate) async fn of_request(
        gateway: &'a Gateway,
        activity: &'a Activity,
        opened: &Opened,
        (backend, storage): (&'a str, &str),
        name: &'static str,
    ) -> Result<Self> {
        activity.uses(backend, storage);
        let health = opened.health();
        let admission = if name == "get" { health.admit_read().await } else { health.admit().await };
        Self::begin(gateway, activity, admission, (backend, storage), (name, true))
    }

    /// Starts an operation whose outcome is not the request's, such as the removal of a replaced object, or a copy.
    ///
    /// # Errors
    /// Returns `Passing` if the storage is down.
    pub(crate) async fn beside_request(
        gateway: &'a Gateway,
        activity: &'a Activity,
        opened: &Opened,
        (backend, storage): (&'a str, &str),
        name: &'static str,
    ) -> Result<Self> {
        Self::begin(gateway, activity, opened.health().admit().await, (backend, storage), (name, false))
    }

    fn begin(
        gateway: &'a Gateway,
        activity: &'a Activity,
        admission: Result<Admission>,
        (backend, storage): (&'a str, &str),
        (name, tells): (&'static str, bool),
    ) -> Result<Self> {
        let metrics = &gateway.metrics;
        let admission = admission.inspect_err(|_| {
            metrics.backend_done(backend, name, DOWN, Duration::ZERO);
            if tells {
                activity.ended(DOWN);
            }
        })?;
        let call = Some(activity.storage(backend, storage, name));
        Ok(Self { metrics, activity, backend, name, tells, began: Instant::now(), call, admission: Some(admission) })
    }

    /// Waits for the storage, with a limit if it is considered down.
    pub(crate) async fn bound<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.activity.deadline();
        let asking = deadline.bound(asking);
        let outcome = match self.admission.as_ref().and_then(Admission::deadline) {
            Some(deadline) => tokio::time::timeout(deadline, asking).await.ok().flatten(),
            None => asking.await,
        };
        outcome.unwrap_or_else(|| Err(Error::late()))
    }

    /// Records the outcome.
    pub(crate) fn done<T>(mut self, result: &Result<T>) {
        if let Some(admission) = self.admission.take() {
            admission.done(result);
        }
        self.end(match result {
            Ok(_) => "ok",
            Err(error) => match error.kind() {
                Kind::Missing => "missing",
                Kind::Passing => "passing",
                Kind::Interrupted => "interrupted",
                Kind::TooLarge => "too_large",
                Kind::Refused | Kind::Settings | Kind::Location => "refused",
            },
        });
    }

    /// Ends an operation that does not begin after all, because its storage has too much to do.
    pub(crate) fn put_off(mut self) {
        self.end(DOWN);
    }

    fn end(&mut self, outcome: &'static str) {
        let Some(call) = self.call.take() else { return };
        call.ended(outcome);
        self.metrics.backend_done(self.backend, self.name, outcome, self.began.elapsed());
        if self.tells {
            self.activity.ended(outcome);
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.end("interrupted");
    }
}

/// The outcome of an operation that was not started, because its storage is down or has too much to do.
const DOWN: &str = "down";
