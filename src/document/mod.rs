//! Document requests: writes with attachments inside, copies and deletions.

pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod write;
