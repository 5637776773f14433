//! Attachments that CouchDB itself keeps.

use http::StatusCode;
use stowage_couch::{Caller, Document};
use stowage_http::body::Body;

use super::refused;
use crate::error::Error;
use crate::object::OCTETS;
use crate::pointer::{self, Pointer};
use crate::router::DocumentTarget;

/// An attachment in CouchDB, as described by its stub with `att_encoding_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Native {
    pub(crate) name: String,
    pub(crate) revpos: u64,
    pub(crate) content_type: String,
    /// The digest of the bytes in CouchDB, compressed or not.
    digest: String,
    /// The length of the bytes in CouchDB, compressed or not.
    pub(crate) length: u64,
    /// The decompressed length, if CouchDB has compressed the bytes.
    pub(crate) unpacked: Option<u64>,
}

/// Returns a document's attachments in CouchDB, except for those that a newer pointer hides.
pub(crate) fn natives(document: &Document, target: &DocumentTarget) -> Vec<Native> {
    let Some(entries) = document.object(NATIVE) else { return Vec::new() };
    let of = |name: &str| {
        let at = target.attachment(name);
        // An entry that cannot be parsed and is not older stays alone.
        if !matches!(pointer::find(document, at.at()), Ok(None)) {
            return None;
        }
        let stub = entries.object(name)?;
        let number = |key| stub.value(key).and_then(|value| value.as_u64());
        let is_packed = stub.text("encoding").is_some_and(|encoding| encoding == "gzip");
        let length = number("length")?;
        Some(Native {
            name: name.to_owned(),
            revpos: number("revpos").unwrap_or(1),
            content_type: stub.text("content_type").unwrap_or_else(|| OCTETS.to_owned()),
            digest: stub.text("digest").unwrap_or_default(),
            length: if is_packed { number("encoded_length")? } else { length },
            unpacked: is_packed.then_some(length),
        })
    };
    entries.keys().filter_map(of).collect()
}

impl Native {
    /// Opens the bytes as CouchDB has them.
    pub(crate) async fn open(&self, caller: &Caller, target: &DocumentTarget, rev: &str) -> Result<Body, Error> {
        let answer = caller.open_attachment(&target.path, &self.name, rev).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(refused(status, "the attachment")),
        }
    }

    /// Returns whether a pointer describes these bytes.
    pub(crate) fn is_told_by(&self, pointer: &Pointer) -> bool {
        let digest = pointer.digest.as_deref().unwrap_or_default();
        pointer.length == Some(self.length) && (digest == self.digest || !self.digest.starts_with("md5-"))
    }
}

/// The member of a document for CouchDB's own attachments.
pub(super) const NATIVE: &str = "_attachments";
