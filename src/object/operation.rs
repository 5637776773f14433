//! One operation on a storage, from its beginning to its outcome: counted, timed, traced, and in the access line.

use std::time::Instant;

use stowage_base::activity::Activity;
use stowage_base::trace::Call;
use stowage_storage::{Kind, Result};

use crate::gateway::Gateway;
use crate::metrics::Metrics;

/// An operation that runs; dropped without an outcome it counts as interrupted.
pub(crate) struct Operation<'a> {
    metrics: &'a Metrics,
    activity: &'a Activity,
    backend: &'a str,
    name: &'static str,
    /// Its outcome is the request's.
    tells: bool,
    began: Instant,
    call: Option<Call>,
}

impl<'a> Operation<'a> {
    /// Begins what a request is about: `get` or `put`.
    pub(crate) fn of_request(
        gateway: &'a Gateway,
        activity: &'a Activity,
        backend: &'a str,
        storage: &str,
        name: &'static str,
    ) -> Self {
        activity.uses(backend, storage);
        let mut operation = Self::beside_request(gateway, activity, backend, storage, name);
        operation.tells = true;
        operation
    }

    /// Begins something whose outcome is not the request's: a removal of what was replaced, a copy.
    pub(crate) fn beside_request(
        gateway: &'a Gateway,
        activity: &'a Activity,
        backend: &'a str,
        storage: &str,
        name: &'static str,
    ) -> Self {
        let call = Some(activity.storage(backend, storage, name));
        Self { metrics: &gateway.metrics, activity, backend, name, tells: false, began: Instant::now(), call }
    }

    /// It has ended.
    pub(crate) fn done<T>(mut self, result: &Result<T>) {
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
