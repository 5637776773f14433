//! Calls without a response.

use crate::error::Error;

/// No response, or only transient failures.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// Whether the call may have taken effect.
    pub(crate) seen: bool,
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        lost.error
    }
}

/// An error before anything was sent.
impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self { error, seen: false }
    }
}
