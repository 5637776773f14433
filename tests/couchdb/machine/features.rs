//! The features that the machine may use.
//!
//! Reading an attachment of an *older* revision is intentionally not an operation: the object of a replaced or deleted attachment is removed from its
//! storage, which would otherwise fill with unreachable objects, while CouchDB keeps the bytes until the next compaction. For the same reason, copies
//! and stubs only start from leaves. Compressible types are excluded, too: CouchDB gzips them and hashes the result, while a storage keeps what it
//! was sent.

/// A feature of the gateway that operations of the machine may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `couchdb.present_stubs = true`: documents are compared as they are. Without it, the machine itself converts pointers to stubs before
    /// comparing, and ignores the lengths of documents.
    PresentStubs,
    /// Documents saved with stubs of outside attachments keep these.
    Stubs,
    /// `attachments=true`, and documents as multipart.
    InlineReads,
    /// Stubs over a revision that is not a leaf: always a conflict.
    StaleStubs,
    /// `atts_since` when reading one revision, which requests attachments without `attachments=true`.
    AttsSince,
    /// COPY gives the copy objects of its own.
    Copies,
    /// Attachments written over tombstones: a conflict with the tombstone's revision, a new beginning with `revpos` 1 without one. Also attachments
    /// of tombstones.
    Tombstones,
    /// One document twice in a `_bulk_docs`: the first is saved, the second refused.
    Twice,
    /// Attachments of replicated revisions without `revpos`, which no replicator omits: CouchDB sets it to 0.
    RevposLeftOut,
    /// Attachments gzipped by the client, and read as gzip. The embedded store decompresses them.
    Packed,
}

/// Features not yet supported by the gateway or the store behind it. A feature removed from this list is tested from then on.
const NOT_YET: &[Feature] = &[];

impl Feature {
    /// Returns whether the feature is supported.
    pub fn on(self) -> bool {
        let is_there = self != Self::Packed || std::env::var_os("COUCHDB_URL").is_some();
        is_there && !NOT_YET.contains(&self)
    }
}
