//! Documents: written with their attachments inside, copied, deleted.

pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod write;
