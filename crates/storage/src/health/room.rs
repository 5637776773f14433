//! The room for operations in flight on one storage, and for those that wait for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A place in the room, free again once it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

#[derive(Debug)]
pub(super) struct Room {
    size: usize,
    /// Gives free places in order of arrival.
    places: Arc<Semaphore>,
    queue: Semaphore,
}

impl Room {
    /// Creates a room with `size` places, and with as many for those that wait.
    pub(super) fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self { size, places: Arc::new(Semaphore::new(size)), queue: Semaphore::new(size) }
    }

    /// Takes a free place, if there is one.
    pub(super) fn try_enter(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits for a place; `None` at once if too many wait already.
    pub(super) async fn enter(&self) -> Option<Place> {
        let _waiting = self.queue.try_acquire().ok()?;
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Returns the number of places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.size - self.places.available_permits()
    }
}
