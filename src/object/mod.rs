//! Objects in storages, which hold the attachments that CouchDB does not keep: stored, fetched, removed.

pub(crate) mod counted;
pub(crate) mod intent;
pub(crate) mod lent;
pub(crate) mod memory;
pub(crate) mod new_object;
pub(crate) mod operation;
pub(crate) mod outgoing;
pub(crate) mod remove;
pub(crate) mod source;
pub(crate) mod storages;
pub(crate) mod unsaved;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Formats an MD5 the way CouchDB does.
pub(crate) fn couch_digest(md5: &[u8]) -> String {
    format!("md5-{}", STANDARD.encode(md5))
}

/// The default media type.
pub(crate) const OCTETS: &str = "application/octet-stream";
/// How long a save without a response may still arrive.
pub(crate) const DOUBTFUL_FOR: Duration = Duration::from_secs(120);
