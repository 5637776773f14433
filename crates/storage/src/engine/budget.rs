//! The memory limit shared by all uploads, and the part of it that each storage may hold.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Accounts for the chunks of all uploads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    kibibytes: Arc<Semaphore>,
    total: u64,
    /// The budget that this is a part of.
    whole: Option<Arc<Semaphore>>,
}

/// A share of the budget, released on drop.
#[derive(Debug)]
pub struct Permit {
    /// Released first: what waits for the part can then go on.
    whole: Option<OwnedSemaphorePermit>,
    own: OwnedSemaphorePermit,
}

impl Permit {
    /// Returns the size of the share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.own.num_permits() << 10
    }

    /// Gives back what exceeds this size.
    pub fn shrink(&mut self, bytes: usize) {
        let more = self.own.num_permits().saturating_sub(kibibytes(bytes) as usize);
        if let Some(whole) = &mut self.whole {
            drop(whole.split(more));
        }
        drop(self.own.split(more));
    }
}

impl Budget {
    /// `bytes` is rounded down to whole KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let kibibytes = usize::try_from(bytes >> 10).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes)), total: bytes, whole: None }
    }

    /// Returns the part of this budget that one storage may hold, so that a slow one leaves the others enough: half of it, but at least `least`
    /// bytes. A share of the part is also one of the whole.
    #[must_use]
    pub fn part(&self, least: usize) -> Self {
        let total = (self.total / 2).max(least as u64).min(self.total);
        Self { whole: Some(Arc::clone(&self.kibibytes)), ..Self::new(total) }
    }

    /// Waits for a share, capped at the whole budget. A holder of a share must not wait for another, so that every upload can make
    /// progress.
    ///
    /// # Errors
    /// `None` after the budget was closed, which never happens while the program runs.
    pub async fn share(&self, bytes: usize) -> Option<Permit> {
        let size = self.capped(bytes);
        // In this order: what waits for a slow storage's part must hold nothing that other storages wait for.
        let own = Arc::clone(&self.kibibytes).acquire_many_owned(size).await.ok()?;
        let whole = match &self.whole {
            Some(whole) => Some(Arc::clone(whole).acquire_many_owned(size).await.ok()?),
            None => None,
        };
        Some(Permit { whole, own })
    }

    /// Returns a share if one is available now.
    #[must_use]
    pub fn try_share(&self, bytes: usize) -> Option<Permit> {
        let size = kibibytes(bytes);
        let own = Arc::clone(&self.kibibytes).try_acquire_many_owned(size).ok()?;
        let whole = match &self.whole {
            Some(whole) => Some(Arc::clone(whole).try_acquire_many_owned(size).ok()?),
            None => None,
        };
        Some(Permit { whole, own })
    }

    /// Waits until this part has room for a share of the whole that the caller holds already. Because others wait for the whole, the caller must not
    /// wait here for long.
    ///
    /// # Errors
    /// As for [`share`](Self::share).
    pub async fn charge(&self, bytes: usize) -> Option<Permit> {
        let own = Arc::clone(&self.kibibytes).acquire_many_owned(self.capped(bytes)).await.ok()?;
        Some(Permit { whole: None, own })
    }

    /// Returns how many bytes are in use.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.total.saturating_sub((self.kibibytes.available_permits() as u64) << 10)
    }

    /// Returns whether all of it is in use, or shares are waited for.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.kibibytes.available_permits() == 0
    }

    /// Returns the KiB of a share that is no larger than the whole budget.
    fn capped(&self, bytes: usize) -> u32 {
        let most = usize::try_from(self.total).unwrap_or(usize::MAX) & !1023;
        kibibytes(bytes.min(most))
    }
}

fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    const CHUNK_BYTES: usize = 5 << 20;
    const CHUNKS: u64 = CHUNK_BYTES as u64;

    #[tokio::test]
    async fn one_storage_holds_at_most_half_and_its_waiters_hold_nothing() {
        let whole = Budget::new(4 * CHUNKS);
        let (slow, well) = (whole.part(CHUNK_BYTES), whole.part(CHUNK_BYTES));
        let held = [slow.share(CHUNK_BYTES).await.unwrap(), slow.try_share(CHUNK_BYTES).unwrap()];
        assert!(slow.try_share(1).is_none());
        let mut waiting = pin!(slow.share(CHUNK_BYTES));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(whole.held(), 2 * CHUNKS);
        let other = [well.share(CHUNK_BYTES).await.unwrap(), well.try_share(CHUNK_BYTES).unwrap()];
        assert_eq!(whole.held(), 4 * CHUNKS);
        drop(held);
        assert!(waiting.await.is_some());
        drop(other);
        assert_eq!((whole.held(), slow.held(), well.held()), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_charge_takes_a_part_of_what_is_held_already() {
        let whole = Budget::new(4 * CHUNKS);
        let slow = whole.part(CHUNK_BYTES);
        let document = whole.share(3 * CHUNK_BYTES).await.unwrap();
        assert_eq!(document.bytes(), 3 * CHUNK_BYTES);
        let charge = slow.charge(document.bytes()).await.unwrap();
        assert_eq!((whole.held(), slow.held()), (3 * CHUNKS, 2 * CHUNKS));
        assert!(slow.charge(1).now_or_never().is_none());
        drop(charge);
        assert!(slow.charge(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_share_gives_back_what_it_does_not_need() {
        let whole = Budget::new(4 * CHUNKS);
        let part = whole.part(CHUNK_BYTES);
        let mut share = part.share(2 * CHUNK_BYTES).await.unwrap();
        share.shrink(CHUNK_BYTES);
        assert_eq!((share.bytes(), whole.held(), part.held()), (CHUNK_BYTES, CHUNKS, CHUNKS));
        share.shrink(2 * CHUNK_BYTES);
        assert_eq!((share.bytes(), whole.held(), part.held()), (CHUNK_BYTES, CHUNKS, CHUNKS));
    }

    #[tokio::test]
    async fn a_budget_is_exhausted_while_a_share_is_waited_for() {
        let budget = Budget::new(2 * CHUNKS);
        let held = budget.share(CHUNK_BYTES).await.unwrap();
        assert!(!budget.is_exhausted());
        let mut waiting = pin!(budget.share(2 * CHUNK_BYTES));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(budget.is_exhausted());
        drop(held);
        assert!(waiting.await.is_some());
    }

    #[test]
    fn a_part_has_room_for_a_chunk_if_the_whole_has() {
        assert!(Budget::new(CHUNKS + 1024).part(CHUNK_BYTES).try_share(CHUNK_BYTES).is_some());
        assert!(Budget::new(2048).part(CHUNK_BYTES).try_share(2048).is_some());
    }
}
