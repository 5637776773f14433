//! One attempt at a job, and its outcome.

use std::sync::Arc;
use std::time::Duration;

use stowage_storage as storage;

use super::{moves, removal};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};

/// The outcome of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The job is done, or there is nothing left to do.
    Done,
    /// The job is not due yet.
    Waits {
        pause: Duration,
        /// The observation to compare with at the next attempt.
        seen: Option<String>,
    },
    Failed(Failure),
}

/// The reason that an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether its storage is the cause: then all of that storage's jobs rest.
    pub(super) of_storage: bool,
    /// Whether it will persist until the plan or the storage is changed.
    pub(super) refused: bool,
    pause: Duration,
}

impl Failure {
    /// Returns the delay after this many attempts, at least one: doubling each time, up to [`LATER`].
    pub(super) fn pause_after(&self, tries: u32) -> Duration {
        self.pause.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LATER)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (of_storage, refused) = match &error {
            Error::Storage(_, error) => (true, error.kind() != storage::Kind::Passing),
            Error::Forgotten(_) | Error::Plan(_) | Error::Connection(..) => (false, true),
            _ => (false, false),
        };
        // A job whose storage rests is due as soon as the rest ends.
        let pause = match (of_storage, refused) {
            (true, _) => Duration::ZERO,
            (false, true) => LATER,
            (false, false) => SOON,
        };
        let reason = match &error {
            // The page and the command show the reason: the storage's own text is left out.
            Error::Storage(_, inner) => format!("{error}: {inner}"),
            _ => error.to_string(),
        };
        Self { reason, of_storage, refused, pause }
    }
}

/// Attempts a job once.
pub(super) async fn step(gateway: &Arc<Gateway>, job: Job) -> Step {
    let outcome = match job.kind {
        Kind::Move => moves::move_out(gateway, &job).await,
        Kind::Copy => moves::copy(gateway, &job).await,
        Kind::Remove => removal::remove(gateway, &job).await,
    };
    outcome.unwrap_or_else(|error| Step::Failed(error.into()))
}

/// The delay after a transient failure.
const SOON: Duration = Duration::from_secs(10);
/// The delay after a failure that the operator or the account has to fix.
const LATER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_waits_longer_each_time() {
        let failure = Failure::from(Error::bad_gateway("CouchDB answers 403"));
        let waits = [1, 2, 3, 100].map(|tries| failure.pause_after(tries).as_secs());
        assert_eq!(waits, [10, 20, 40, 600]);
    }
}
