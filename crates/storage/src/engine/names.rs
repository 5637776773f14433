//! The names that are being written or cleaned up at this moment.
//!
//! Between asking whether a name is free and storing under it, and while a broken object is being removed, no other upload
//! may take the name: what they store would be overwritten or removed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by everything that one backend does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashSet<String>>>);

/// A name that no other upload has; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    names: Names,
    name: String,
}

impl Names {
    /// `None` while another upload has it.
    pub(crate) fn reserve(&self, name: &str) -> Option<Reserved> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = names.insert(name.to_owned());
        reserved.then(|| Reserved { names: self.clone(), name: name.to_owned() })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
