//! The `link` driver of a plan: it stores nothing.
//!
//! KAZOO makes a link from options of the call that stores an attachment, and drops the bytes; over CouchDB's API there are
//! no such options, and bytes that were acknowledged may not be dropped. So a plan that sends attachments to a link is
//! refused before a byte is read. Links in documents are read without any plan (`handlers::link`).

use super::{Driver, Fit, Identity, Naming, Server, Spelling};

/// The `link` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "link",
    naming: Naming::Flat,
    fit: Fit { part: 1024, whole: 1024, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Id,
    secrets: &[],
    endpoints: &[],
    key: crate::engine::location::whole,
    open: |settings, _| {
        Err(settings.wrong("handler", "is link: links are read, but nothing can be stored in one").into())
    },
};
