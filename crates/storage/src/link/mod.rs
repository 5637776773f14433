//! The `link` driver of a plan, which stores nothing.
//!
//! KAZOO creates a link from options of the call that stores an attachment, and drops the bytes. CouchDB's API has no such options, and acknowledged
//! bytes must not be dropped, so a plan that sends attachments to a link is refused before the body is read. Links in documents are read without a
//! plan (`handlers::link`).

use super::{Driver, Fit, Identity, Naming, Server, Spelling};

/// The `link` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "link",
    naming: Naming::Flat,
    exclusive: true,
    by_id: false,
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
