//! A call that has no answer.

use crate::error::Error;

/// There is no answer, or only ones that pass.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// Whether the call may have had its effect.
    pub(crate) seen: bool,
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        lost.error
    }
}

/// Before anything was sent.
impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self { error, seen: false }
    }
}
