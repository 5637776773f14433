//! Cached plan documents, and what happens to them: readings in progress, and marks of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use stowage_couch as couch;
use tokio::sync::watch;
use tokio::time::Instant;

use super::document::{Documents, Merged};
use crate::database::AccountId;

/// A cached document, which may be absent.
pub(super) struct Held {
    pub(super) id: String,
    pub(super) document: Option<Value>,
    /// The version when the request to CouchDB was sent.
    pub(super) version: u64,
    /// When CouchDB returned the document.
    pub(super) loaded: Instant,
    /// The last refresh, if it has failed.
    pub(super) failed: Option<Failure>,
}

/// A refresh that has failed.
pub(super) struct Failure {
    pub(super) at: Instant,
    pub(super) why: Unavailable,
    /// Whether the document surely has changed since it was read.
    pub(super) has_changed: bool,
}

/// The plans cannot be read, and the cached ones are too old or missing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the storage plans cannot be read")]
pub struct Unavailable(#[source] pub(super) Arc<couch::Error>);

/// Says that a cached or pending document has to be read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// The version at which the document last changed: answers to requests sent before it are stale.
    pub(super) version: u64,
    /// Whether it surely changed. If the feed was interrupted, it may have.
    pub(super) is_sure: bool,
}

/// The readings in progress, by document.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<HashMap<String, Reading>>);

#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) began: Instant,
    /// Receives the document.
    pub(super) outcome: watch::Receiver<Option<Arc<Held>>>,
}

impl Readings {
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<String, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    pub(super) async fn end(&mut self) -> Result<Arc<Held>, Unavailable> {
        let held = self.outcome.wait_for(Option::is_some).await.ok().and_then(|held| held.clone());
        held.ok_or_else(|| {
            Unavailable(Arc::new(couch::Error::Body("the gateway has ended the reading of a plan".into())))
        })
    }
}

/// The acceptable age of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// As old as the last reading that was due, however long that takes.
    Read,
    /// No older than the cache allows.
    Believed,
    /// Any age.
    Any,
}

impl Held {
    /// Returns why a document that counts as absent could not be read.
    pub(super) fn unread(&self) -> Option<&Unavailable> {
        self.failed.as_ref().filter(|_| self.document.is_none()).map(|failed| &failed.why)
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { id: String::new(), document: None, version: 0, loaded: Instant::now(), failed: None }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("present", &self.document.is_some()).finish_non_exhaustive()
    }
}

/// The cached documents that cover an account's databases, or the system's; see [`Documents`].
#[derive(Default)]
pub(super) struct HeldDocuments {
    pub(super) account_id: Option<AccountId>,
    pub(super) system: Arc<Held>,
    pub(super) named: Option<Arc<Held>>,
    pub(super) account: Option<Arc<Held>>,
    pub(super) owner: Option<Arc<Held>>,
}

impl HeldDocuments {
    /// Merges the documents that count.
    pub(super) fn merged(&self) -> Merged {
        Merged::from_documents(&Documents {
            account_id: self.account_id.as_ref().map(AccountId::as_str),
            system: self.system.document.as_ref(),
            named: document(self.named.as_deref()),
            account: document(self.account.as_deref()),
            owner: document(self.owner.as_deref()),
        })
    }

    /// Returns why one of them, which counts as absent, could not be read.
    pub(super) fn unread(&self) -> Option<&Unavailable> {
        self.all().find_map(|held| held.unread())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Held>> {
        [Some(&self.system), self.named.as_ref(), self.account.as_ref(), self.owner.as_ref()].into_iter().flatten()
    }
}

fn document(held: Option<&Held>) -> Option<&Value> {
    held?.document.as_ref()
}
