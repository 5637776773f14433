//! What the machine may use.
//!
//! A read of an *older* revision's attachment is no operation here, on purpose: the object of an attachment that was replaced or
//! deleted is removed from its storage, so that storages do not fill with what nobody can find, while CouchDB keeps the bytes until
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
    /// Stubs over a revision that is no leaf: a conflict to CouchDB and the gateway, whatever the stubs say. The embedded store looks at the
    /// stubs first where the document has been deleted.
    StaleStubs,
    /// `atts_since` where one revision is read, which asks for attachments without `attachments=true`.
    AttsSince,
    /// COPY gives the copy objects of its own.
    Copies,
    /// Attachments that are written over tombstones. With the tombstone's revision, CouchDB and the gateway leave the document deleted,
    /// and the embedded store brings it back; without a revision they say that the attachment's `revpos` is 1, it says where it is. And
    /// attachments of a tombstone, which the embedded store drops.
    Tombstones,
    /// One document twice in a `_bulk_docs`: CouchDB saves the first and refuses the second, the embedded store may save both.
    Twice,
    /// Attachments of replicated revisions that do not say their `revpos`, as no replicator leaves it: CouchDB makes it 0.
    RevposLeftOut,
}

/// What the gateway, or the store behind it, does not do yet. A feature that is taken out of this list is tested from then on.
const NOT_YET: &[Feature] = &[];

impl Feature {
    /// Whether it is there.
    pub fn on(self) -> bool {
        !NOT_YET.contains(&self)
    }
}
