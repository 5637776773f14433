//! The state of a document while it is presented, and the rules for it.

use std::sync::Arc;

use bytes::Bytes;
use stowage_couch::{Document, unquoted};
use stowage_http::base64::encoded_length;

use super::requested::{Requested, RequestedRows};
use crate::pointer::{Entry, Outside, Pointer};

/// The rules for editing the documents of a response.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The database's decoded name.
    pub(super) database: String,
    pub(super) requested_rows: RequestedRows,
    /// Whether `_revisions` were requested by the gateway rather than by the client.
    pub(super) hides_history: bool,
    /// The limit on the bytes of a document held in memory.
    pub(super) limit: u64,
}

/// A document with pointers, while its `_attachments` are being read.
pub(super) struct Current {
    pub(super) document: Arc<Document>,
    pub(super) requested: Requested,
    pub(super) known: Option<u64>,
    /// The pointers that have not been presented yet.
    pub(super) outside: Vec<Outside>,
    /// Whether an entry has been written.
    pub(super) written: bool,
    pub(super) held: Held,
}

/// CouchDB's entries, by quoted name, that have not been written yet.
pub(super) enum Held {
    /// All of them, as long as they are short: pointers go between them.
    All(Vec<(Bytes, Vec<u8>)>),
    /// The entries are too long to be held, so pointers come after them. `Some` is an entry with the name of a pointer: its value determines which of
    /// the two is shown.
    Doubtful(Option<(Bytes, Vec<u8>)>),
    /// As `Doubtful(None)`, while the rest of an entry passes that was left out because a pointer of its name is shown.
    LeftOut,
}

/// An attachment whose bytes go into a response.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) document: Arc<Document>,
    pub(super) outside: Outside,
}

impl Inline {
    fn object(&self) -> Option<&Pointer> {
        match &self.outside.entry {
            Ok(Entry::Object(pointer)) => Some(pointer),
            _ => None,
        }
    }

    /// Returns whether the bytes are gzip that the client sent.
    pub(super) fn is_gzip(&self) -> bool {
        self.object().is_some_and(Pointer::is_gzip)
    }

    /// Returns the stored length, if the document contains it.
    pub(super) fn length(&self) -> Option<u64> {
        self.object()?.length
    }

    /// Returns the length of the decompressed bytes as base64.
    pub(super) fn encoded_length(&self) -> Option<u64> {
        self.length().filter(|_| !self.is_gzip()).map(encoded_length)
    }
}

impl Current {
    /// Returns the place of the pointer with this quoted name.
    pub(super) fn pointer(&self, name: &[u8]) -> Option<usize> {
        let plain = unquoted(name);
        self.outside.iter().position(|outside| outside.name == plain)
    }

    /// Returns the place of the pointer that counts although CouchDB has an attachment of the same name.
    pub(super) fn winner(&self, name: &[u8], native: Option<u64>) -> Option<usize> {
        let at = self.pointer(name)?;
        let wins = |outside: &Outside| native.is_none_or(|native| outside.wins_over(native));
        self.outside.get(at).is_some_and(wins).then_some(at)
    }

    /// Drops the pointer with this quoted name, which CouchDB's attachment hides.
    pub(super) fn drop_pointer(&mut self, name: &[u8]) {
        if let Some(at) = self.pointer(name) {
            self.outside.remove(at);
        }
    }
}
