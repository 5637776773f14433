//! A plan document in memory.

use serde_json::Value;
use tokio::time::Instant;

/// What is held of one document.
pub(super) struct Held {
    pub(super) document: Option<Value>,
    /// The version at which CouchDB was asked.
    pub(super) version: u64,
    /// When CouchDB said so.
    pub(super) loaded: Instant,
    /// When asking again failed last.
    pub(super) failed: Option<Instant>,
}

/// How old a document may be.
#[derive(Clone, Copy)]
pub(super) enum Age {
    /// As old as is believed.
    Believed,
    /// As old as it is.
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
