//! The memory limit shared by all uploads.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Accounts for the chunks of all uploads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    kibibytes: Arc<Semaphore>,
    total: u64,
}

/// A share of the budget, released on drop.
pub type Permit = OwnedSemaphorePermit;

impl Budget {
    /// `bytes` is rounded down to whole KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let kibibytes = usize::try_from(bytes >> 10).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes)), total: bytes }
    }

    /// Waits for a share, capped at the whole budget. A holder of a share must not wait for another, so that every upload can make
    /// progress.
    ///
    /// # Errors
    /// `None` after the budget was closed, which never happens while the program runs.
    pub async fn share(&self, bytes: usize) -> Option<Permit> {
        let whole = usize::try_from(self.total).unwrap_or(usize::MAX) & !1023;
        Arc::clone(&self.kibibytes).acquire_many_owned(kibibytes(bytes.min(whole))).await.ok()
    }

    /// Returns a share if one is available now.
    #[must_use]
    pub fn try_share(&self, bytes: usize) -> Option<Permit> {
        Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes(bytes)).ok()
    }

    /// Returns how many bytes are in use.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.total.saturating_sub((self.kibibytes.available_permits() as u64) << 10)
    }
}

fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
