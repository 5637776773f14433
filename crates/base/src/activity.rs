//! What belongs to one request while it is handled: what becomes known of it, for its access line and its spans, and when it
//! has to be answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::Method;

use super::log::RequestId;
use super::trace::{Call, Parent};
use crate::deadline::Deadline;

/// One request, as the parts of the gateway that work for it tell of it. Cheap to clone; the default belongs to no request.
#[derive(Debug, Clone, Default)]
pub struct Activity(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    received: AtomicU64,
    note: Mutex<Note>,
    parent: Option<Parent>,
    deadline: OnceLock<Deadline>,
}

/// What a request did with a storage.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// The kind of the storage; empty where none was used.
    pub backend: String,
    /// Its id in the plan.
    pub storage: String,
    /// How what was done last ended, where that is known.
    pub outcome: Option<&'static str>,
}

impl Activity {
    /// Of a request; `parent` where it is traced.
    #[must_use]
    pub fn new(id: RequestId, parent: Option<Parent>) -> Self {
        let (received, note, deadline) = (AtomicU64::new(0), Mutex::default(), OnceLock::new());
        Self(Some(Arc::new(Inner { id, received, note, parent, deadline })))
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.0.as_ref().map_or(RequestId::NONE, |inner| inner.id)
    }

    /// The request has to be answered in this time. The first to say so decides.
    pub fn answer_within(&self, limit: Duration) -> Deadline {
        let begun = |inner: &Arc<Inner>| inner.deadline.get_or_init(|| Deadline::begin(limit)).clone();
        self.0.as_ref().map(begun).unwrap_or_default()
    }

    /// When the request has to be answered; never, where it has not been said.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.0.as_ref().and_then(|inner| inner.deadline.get().cloned()).unwrap_or_default()
    }

    /// Counts bytes of the request's body.
    pub fn add_received(&self, bytes: u64) {
        if let Some(inner) = &self.0 {
            inner.received.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// How many bytes of the request's body have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.received.load(Ordering::Relaxed))
    }

    /// The request is about this storage.
    pub fn uses(&self, backend: &str, storage: &str) {
        self.note_with(|note| *note = Note { backend: backend.to_owned(), storage: storage.to_owned(), outcome: None });
    }

    /// How the request, or what it did with its storage, has ended.
    pub fn ended(&self, outcome: &'static str) {
        self.note_with(|note| note.outcome = Some(outcome));
    }

    /// What was done with a storage.
    #[must_use]
    pub fn note(&self) -> Note {
        let locked = |inner: &Arc<Inner>| inner.note.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.0.as_ref().map(locked).unwrap_or_default()
    }

    fn note_with(&self, change: impl FnOnce(&mut Note)) {
        if let Some(inner) = &self.0 {
            change(&mut inner.note.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Begins a request to CouchDB.
    #[must_use]
    pub fn couch(&self, method: &Method) -> Call {
        self.parent().map(|parent| parent.couch(method)).unwrap_or_default()
    }

    /// Begins an operation on a storage.
    #[must_use]
    pub fn storage(&self, backend: &str, storage: &str, operation: &'static str) -> Call {
        self.parent().map(|parent| parent.storage(backend, storage, operation)).unwrap_or_default()
    }

    fn parent(&self) -> Option<&Parent> {
        self.0.as_ref()?.parent.as_ref()
    }
}
