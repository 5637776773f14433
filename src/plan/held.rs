//! A cached plan document.

use serde_json::Value;
use tokio::time::Instant;

/// A cached document, which may be absent.
pub(super) struct Held {
    pub(super) document: Option<Value>,
    /// The version when the request to CouchDB was sent.
    pub(super) version: u64,
    /// When CouchDB returned the document.
    pub(super) loaded: Instant,
    /// When a refresh last failed.
    pub(super) failed: Option<Instant>,
}

/// The acceptable age of a document.
#[derive(Clone, Copy)]
pub(super) enum Age {
    /// No older than the cache allows.
    Believed,
    /// Any age.
    Any,
}

impl Default for Held {
    fn default() -> Self {
        Self { document: None, version: 0, loaded: Instant::now(), failed: None }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("present", &self.document.is_some()).finish_non_exhaustive()
    }
}
