//! State shared by everything that handles one request: what its access log line and spans report, and its deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::Method;

use super::log::RequestId;
use super::trace::{Call, Parent};
use crate::deadline::Deadline;

/// Handle to one request's shared state. Cheap to clone; the default belongs to no request.
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
    /// The storage's driver; empty if none was used.
    pub backend: String,
    /// The storage's id in the plan.
    pub storage: String,
    /// Outcome of the latest operation, once known.
    pub outcome: Option<&'static str>,
}

impl Activity {
    /// Starts the state of a request; `parent` is set if the request is traced.
    #[must_use]
    pub fn new(id: RequestId, parent: Option<Parent>) -> Self {
        let (received, note, deadline) = (AtomicU64::new(0), Mutex::default(), OnceLock::new());
        Self(Some(Arc::new(Inner { id, received, note, parent, deadline })))
    }

    /// Returns the request's id.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.0.as_ref().map_or(RequestId::NONE, |inner| inner.id)
    }

    /// Sets the deadline of the response. The first call wins.
    pub fn answer_within(&self, limit: Duration) -> Deadline {
        let begun = |inner: &Arc<Inner>| inner.deadline.get_or_init(|| Deadline::begin(limit)).clone();
        self.0.as_ref().map(begun).unwrap_or_default()
    }

    /// Returns the deadline of the response; never expires if none was set.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.0.as_ref().and_then(|inner| inner.deadline.get().cloned()).unwrap_or_default()
    }

    /// Adds to the count of request body bytes received.
    pub fn add_received(&self, bytes: u64) {
        if let Some(inner) = &self.0 {
            inner.received.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Returns how many bytes of the request body have been received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.received.load(Ordering::Relaxed))
    }

    /// Records which storage the request uses.
    pub fn uses(&self, backend: &str, storage: &str) {
        self.note_with(|note| *note = Note { backend: backend.to_owned(), storage: storage.to_owned(), outcome: None });
    }

    /// Records the outcome of the request, or of its storage operation.
    pub fn ended(&self, outcome: &'static str) {
        self.note_with(|note| note.outcome = Some(outcome));
    }

    /// Returns what the request did with a storage.
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

    /// Starts the span of a request to CouchDB.
    #[must_use]
    pub fn couch(&self, method: &Method) -> Call {
        self.parent().map(|parent| parent.couch(method)).unwrap_or_default()
    }

    /// Starts the span of a storage operation.
    #[must_use]
    pub fn storage(&self, backend: &str, storage: &str, operation: &'static str) -> Call {
        self.parent().map(|parent| parent.storage(backend, storage, operation)).unwrap_or_default()
    }

    fn parent(&self) -> Option<&Parent> {
        self.0.as_ref()?.parent.as_ref()
    }
}
