//! A call that has no answer.

use super::error::Error;

/// There is no answer, or only ones that pass.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    /// Whether the call may have had its effect.
    pub(super) seen: bool,
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        lost.error
    }
}
