//! One try of a job, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use stowage_storage as storage;

use super::{moves, removal};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};

/// What came of a try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done, or there is nothing to do any more.
    Done,
    /// It is not the time yet.
    Waits {
        pause: Duration,
        /// What was found, to be compared then.
        seen: Option<String>,
    },
    Failed(Failure),
}

/// Why a try failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether its storage is why: then all of that storage's jobs rest.
    pub(super) of_storage: bool,
    /// Whether it will stay so until the plan or the storage is changed.
    pub(super) refused: bool,
    pause: Duration,
}

impl Failure {
    /// How long it waits after so many tries, at least one: twice as long each time, up to [`LATER`].
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
        // What rests by its storage is due at once when that does not rest any more.
        let pause = match (of_storage, refused) {
            (true, _) => Duration::ZERO,
            (false, true) => LATER,
            (false, false) => SOON,
        };
        let reason = match &error {
            // The page and the command show it: what the storage itself said is left out.
            Error::Storage(_, inner) => format!("{error}: {inner}"),
            _ => error.to_string(),
        };
        Self { reason, of_storage, refused, pause }
    }
}

/// Tries a job once.
pub(super) async fn step(gateway: &Arc<Gateway>, job: Job) -> Step {
    let outcome = match job.kind {
        Kind::Move => moves::move_out(gateway, &job).await,
        Kind::Copy => moves::copy(gateway, &job).await,
        Kind::Remove => removal::remove(gateway, &job).await,
    };
    outcome.unwrap_or_else(|error| Step::Failed(error.into()))
}

/// After a failure that passes.
const SOON: Duration = Duration::from_secs(10);
/// After a failure that the operator or the account has to mend.
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
