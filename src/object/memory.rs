//! Charges the memory of uploads to the storages that they wait for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use stowage_storage::{Budget, CHUNK_BYTES, Error, Kind, Opened, Permit, Result};

/// What the memory of an upload is charged to.
#[derive(Debug, Clone)]
pub(crate) enum Memory {
    /// The storage's part of the budget, chunk by chunk.
    Chunks,
    /// The share of the request, which was taken before the storage was known.
    Request(Share),
}

/// The memory that a request holds for all its attachments; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Share {
    bytes: usize,
    /// The ids of the storages whose part of the budget had no room in time.
    full: Arc<Mutex<HashSet<String>>>,
}

impl Memory {
    /// Returns the budget for the chunks.
    pub(super) fn budget(&self, backend: &Opened) -> Budget {
        match self {
            Self::Chunks => backend.budget().clone(),
            Self::Request(_) => Budget::new(2 * CHUNK_BYTES as u64),
        }
    }

    /// Charges the request's share to the storage for as long as it is used.
    ///
    /// # Errors
    /// Returns `Passing` if the storage's part of the budget has no room for it.
    pub(super) async fn charge(&self, backend: &Opened, storage: &str) -> Result<Option<Permit>> {
        let share = match self {
            Self::Request(share) if share.bytes != 0 => share,
            Self::Chunks | Self::Request(_) => return Ok(None),
        };
        let charge = share.charge(backend.budget(), storage).await;
        charge
            .ok_or_else(|| Error::new(Kind::Passing, "uploads that wait for it hold too much memory already"))
            .map(Some)
    }
}

impl Share {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Charges the share to a storage's part of the budget. Others may wait for the share, so this waits no longer than for an operation's turn, and only
    /// for the first of the request's attachments: hundreds of them would hold the share for minutes.
    async fn charge(&self, part: &Budget, storage: &str) -> Option<Permit> {
        let full = || self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let charge = part.charge(self.bytes);
        let is_full = full().contains(storage);
        let charge = if is_full { charge.now_or_never() } else { tokio::time::timeout(WAITS, charge).await.ok() };
        if charge.is_none() {
            full().insert(storage.to_owned());
        }
        charge.flatten()
    }
}

/// How long an upload waits for room in the storage's part of the budget while it holds a share.
const WAITS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn only_the_first_attachment_of_a_request_waits_for_a_full_storage() {
        let part = Budget::new(BYTES as u64);
        let held = part.share(BYTES).await.unwrap();
        let share = Share::of(BYTES);
        assert!(share.charge(&part, "full").await.is_none());
        assert!(share.charge(&part, "full").now_or_never().unwrap().is_none());
        assert!(share.charge(&part, "other").now_or_never().is_none());
        drop(held);
        assert!(share.charge(&part, "full").now_or_never().unwrap().is_some());
    }
}
