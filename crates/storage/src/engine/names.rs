//! Names currently being written or cleaned up.
//!
//! Between checking that a name is free and storing under it, and while a broken object is being removed, no other upload may use
//! the name: its object would be overwritten or removed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The reservations of one backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashSet<String>>>);

/// A name reserved by one upload; released on drop.
#[derive(Debug)]
pub(crate) struct Reserved {
    names: Names,
    name: String,
}

impl Names {
    /// Reserves a name; `None` while another upload holds it.
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
