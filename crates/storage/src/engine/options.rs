//! What the operator says of storages.

use std::path::PathBuf;

/// `[storage]`: what the operator says of every storage.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory below which `file` backends write; `None` turns them off.
    pub file_root: Option<PathBuf>,
    /// Where the public services are, for private clouds, proxies and tests.
    pub endpoints: Endpoints,
}

/// `[storage.endpoints]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Google Storage and Drive.
    pub google_api: String,
    /// Google's token endpoint; empty: what the provider document says.
    pub google_oauth: String,
    /// Dropbox uploads and downloads.
    pub dropbox_content: String,
    /// Dropbox calls.
    pub dropbox_api: String,
    /// Microsoft Graph.
    pub graph: String,
}
