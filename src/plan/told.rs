//! Tracks which plan documents exist, so that one that cannot be read is not mistaken for a missing one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The documents that exist, as far as the changes feed, the storage API or a read has told.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<String>>);

impl Told {
    /// Records whether a document exists.
    pub(super) fn tell(&self, id: &str, exists: bool) {
        if exists {
            self.ids().insert(id.to_owned());
        } else {
            self.ids().remove(id);
        }
    }

    /// Returns whether a document is known to exist.
    pub(super) fn exists(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
