//! The outcome of an attempt at a job.

use std::time::Duration;

use stowage_storage as storage;

use crate::error::Error;
use crate::jobs::Kind;

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
        shown: Shown,
    },
    Failed(Failure),
}

/// The reason that an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) shown: Shown,
    pause: Duration,
}

/// What an attempt shows about the job's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// It can be used: a failure is about one object.
    Answers,
    /// It is down: all of its jobs rest.
    Down,
    /// It refuses all of its jobs until the plan or the storage is changed.
    Refuses,
}

impl Failure {
    /// Returns the delay after this many attempts, at least one: doubling each time, up to [`LATER`] or the first delay if that is longer.
    pub(super) fn pause_after(&self, tries: u32) -> Duration {
        self.pause.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LATER.max(self.pause))
    }
}

impl Failure {
    /// Classifies the error of an attempt at a job of this kind.
    pub(super) fn of(kind: Kind, error: &Error) -> Self {
        let (shown, pause) = match error {
            // A retention, a hold or a lease of one object, a grant that excludes removals, or a server that lists no unfinished uploads says nothing
            // about the storage's other jobs.
            Error::Storage(_, error) if kind == Kind::Remove && is_of_object(error) => (Shown::Answers, REFUSED),
            // The place of one object, which the driver does not even ask for.
            Error::Storage(_, error) if kind == Kind::Remove && error.kind() == storage::Kind::Location => {
                (Shown::Nothing, REFUSED)
            }
            // A job whose storage rests is due as soon as the rest ends.
            Error::Storage(_, error) if error.kind() == storage::Kind::Passing => (Shown::Down, Duration::ZERO),
            Error::Storage(..) => (Shown::Refuses, Duration::ZERO),
            Error::Forgotten(_) | Error::Plan(_) | Error::Connection(..) => (Shown::Nothing, LATER),
            _ => (Shown::Nothing, SOON),
        };
        let reason = match error {
            // The page and the command show the reason: the storage's own text is left out.
            Error::Storage(_, inner) => format!("{error}: {inner}"),
            _ => error.to_string(),
        };
        Self { reason, shown, pause }
    }
}

/// Returns whether a storage has answered and may have refused one object only. Failures without an answer, and wrong credentials, are those of all its
/// jobs: repeating a wrong password for each could lock the account.
pub(super) fn is_of_object(error: &storage::Error) -> bool {
    error.kind() == storage::Kind::Refused && error.status().is_some() && !error.is_of_login()
}

/// The delay after a transient failure.
const SOON: Duration = Duration::from_secs(10);
/// The delay after a failure that the operator or the account has to fix.
const LATER: Duration = Duration::from_secs(600);
/// The delay after the storage has refused to remove an object.
const REFUSED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_fails_again_and_again_waits_longer_each_time() {
        let failure = Failure::of(Kind::Move, &Error::bad_gateway("CouchDB answers 403"));
        let waits = [1, 2, 3, 100].map(|tries| failure.pause_after(tries).as_secs());
        assert_eq!(waits, [10, 20, 40, 600]);
    }

    #[test]
    fn an_object_that_must_not_be_removed_rests_alone() {
        let of = |kind, error| Failure::of(kind, &Error::Storage("s1".into(), error));
        let refused = || storage::Error::answered(StatusCode::FORBIDDEN, "retentionPolicyNotMet");
        let alone = of(Kind::Remove, refused());
        assert_eq!(alone.shown, Shown::Answers);
        assert_eq!([1, 2, 100].map(|tries| alone.pause_after(tries).as_secs()), [3600; 3]);
        for (kind, error, shown) in [
            (Kind::Move, refused(), Shown::Refuses),
            (Kind::Remove, storage::Error::answered(StatusCode::UNAUTHORIZED, "wrong key"), Shown::Refuses),
            (Kind::Remove, refused().of_login(), Shown::Refuses),
            (Kind::Remove, storage::Error::new(storage::Kind::Refused, "no TLS connection"), Shown::Refuses),
            (Kind::Remove, storage::Error::answered(StatusCode::NOT_IMPLEMENTED, "no such list"), Shown::Answers),
            (Kind::Remove, storage::Error::new(storage::Kind::Location, "it has no key"), Shown::Nothing),
            (Kind::Remove, storage::Error::late(), Shown::Down),
        ] {
            assert_eq!(of(kind, error).shown, shown, "{kind:?}");
        }
    }
}
