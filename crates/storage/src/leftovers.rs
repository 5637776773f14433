//! What a failed upload may have left, for the caller to remove.

use std::fmt;
use std::sync::Arc;

use crate::Stored;

/// Takes note of locations where a failed `put` may have left bytes. A driver reports those that it cannot remove safely by itself: its server says
/// nothing, or another gateway may have stored an object of the same name since. The default ignores them.
#[derive(Clone, Default)]
pub struct Leftovers(Option<Arc<dyn Fn(Stored) + Send + Sync>>);

impl Leftovers {
    /// Calls a function for each location, with the version that is there if the storage says. It must not block.
    pub fn new(note: impl Fn(Stored) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(note)))
    }

    pub(crate) fn note(&self, left: Stored) {
        if let Some(note) = &self.0 {
            note(left);
        }
    }
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftovers").finish_non_exhaustive()
    }
}
