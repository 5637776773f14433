//! What the machine may use.
//!
//! A read of an *older* revision's attachment is no operation here, on purpose: the object of an attachment that was replaced or
//! deleted is removed from its storage, so that storages do not fill with what cannot be found, while CouchDB keeps the bytes until
//! the next compaction. For the same reason copies and stubs start from leaves only. Compressible types are left out too: CouchDB
//! gzips them and hashes what it made, a storage keeps what it was sent.

/// A part of the gateway that the operations of the machine can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `couchdb.present_stubs = true`: documents are compared as they are. Without it the machine itself turns pointers into stubs
    /// before it compares, and does not look at the lengths of documents.
    PresentStubs,
    /// Documents saved with stubs that name outside attachments keep them.
    Stubs,
    /// `attachments=true`, and documents as multipart.
    InlineReads,
    /// Stubs over a revision that is no leaf: a conflict, whatever the stubs say.
    StaleStubs,
    /// `atts_since` where one revision is read, which asks for attachments without `attachments=true`.
    AttsSince,
    /// COPY gives the copy objects of its own.
    Copies,
    /// Attachments that are written over tombstones: a conflict with the tombstone's revision, a beginning with `revpos` 1 without one. And attachments
    /// of a tombstone.
    Tombstones,
    /// One document twice in a `_bulk_docs`: the first is saved, the second refused.
    Twice,
    /// Attachments of replicated revisions that do not say their `revpos`, as no replicator leaves it: CouchDB makes it 0.
    RevposLeftOut,
    /// Attachments that a client has gzipped, and read as gzip. The embedded store unpacks them.
    Packed,
}

/// What the gateway, or the store behind it, does not do yet. A feature that is taken out of this list is tested from then on.
const NOT_YET: &[Feature] = &[];

impl Feature {
    /// Whether it is there.
    pub fn on(self) -> bool {
        let is_there = self != Self::Packed || std::env::var_os("COUCHDB_URL").is_some();
        is_there && !NOT_YET.contains(&self)
    }
}
