//! The public status: no account, no name, no credential.

use std::time::Instant;

use serde_json::{Value, json};
use stowage_storage::Registry;

use crate::plan::Plans;

/// The part of the status that does not change while the program runs.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The name and URL of each listener.
    pub listeners: Vec<(&'static str, String)>,
    /// The address of CouchDB, without credentials.
    pub upstream: String,
    /// Whether the storage API has tokens, so that it can be used.
    pub storage_api: bool,
    /// When the program began to serve.
    pub began: Instant,
}

impl Standing {
    /// Returns the document at `/status`.
    pub(super) fn shown(&self, plans: &Plans, storages: &Registry, ready: bool) -> Value {
        let held = plans.held();
        let standings: Vec<_> = storages.standings().collect();
        let down = standings.iter().filter(|standing| standing.down.is_some()).count();
        let listeners = self.listeners.iter().map(|(name, url)| json!({ "name": name, "url": url }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": ready,
            "uptime_seconds": self.began.elapsed().as_secs(),
            "listeners": listeners.collect::<Vec<_>>(),
            "upstream": self.upstream,
            "plans": { "held": held.len(), "oldest_seconds": held.iter().map(std::time::Duration::as_secs).max() },
            "storages": { "open": standings.len(), "down": down },
            "storage_api": self.storage_api,
        })
    }
}
