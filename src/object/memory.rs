//! Charges the memory of uploads to the storages that they wait for.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use stowage_base::deadline::Deadline;
use stowage_storage::{Budget, CHUNK_BYTES, Error, Kind, Opened, Permit, Result};
use tokio::time::Instant;

use super::lent::FALLBACK_TAKES;
use crate::gateway::Gateway;

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
    pub(super) async fn charge(
        &self,
        gateway: &Gateway,
        backend: &Opened,
        storage: &str,
        deadline: &Deadline,
    ) -> Result<Option<Permit>> {
        let share = match self {
            Self::Request(share) if share.bytes != 0 => share,
            Self::Chunks | Self::Request(_) => return Ok(None),
        };
        // The storage and the fallback need time as well.
        let margin = 2 * gateway.timeouts.answer / FALLBACK_TAKES;
        let until = deadline.at().map_or_else(|| Instant::now() + LONGEST, |at| at.checked_sub(margin).unwrap_or(at));
        let hinders = || gateway.budget.is_exhausted() || backend.health().down().is_some();
        let charge = share.charge(backend.budget(), storage, until, hinders).await;
        charge
            .ok_or_else(|| Error::new(Kind::Passing, "uploads that wait for it hold too much memory already"))
            .map(Some)
    }
}

impl Share {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Charges the share to a storage's part of the budget. Others may wait for the share: while it `hinders` them, this waits no longer than for an
    /// operation's turn. It waits only for the first of the request's attachments: hundreds of them would hold the share for minutes.
    async fn charge(&self, part: &Budget, storage: &str, until: Instant, hinders: impl Fn() -> bool) -> Option<Permit> {
        let full = || self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let mut charge = pin!(part.charge(self.bytes));
        if full().contains(storage) {
            return charge.now_or_never().flatten();
        }
        loop {
            match tokio::time::timeout_at(until.min(Instant::now() + WAITS), charge.as_mut()).await {
                Ok(charged) => return charged,
                Err(_) if hinders() || Instant::now() >= until => break,
                Err(_) => {}
            }
        }
        full().insert(storage.to_owned());
        None
    }
}

/// How long an upload waits for room in the storage's part of the budget while others wait for the share that it holds.
const WAITS: Duration = Duration::from_secs(1);
/// How long one without a deadline waits while no others do.
const LONGEST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn only_the_first_attachment_of_a_request_waits_for_a_full_storage() {
        let part = Budget::new(BYTES as u64);
        let held = part.share(BYTES).await.unwrap();
        let share = Share::of(BYTES);
        let until = Instant::now() + LONGEST;
        assert!(share.charge(&part, "full", until, || true).await.is_none());
        assert!(Instant::now() < until);
        assert!(share.charge(&part, "full", until, || true).now_or_never().unwrap().is_none());
        assert!(share.charge(&part, "other", until, || true).now_or_never().is_none());
        drop(held);
        assert!(share.charge(&part, "full", until, || true).now_or_never().unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_waits_until_the_deadline_while_it_hinders_no_others() {
        let part = Budget::new(BYTES as u64);
        let held = part.share(BYTES).await.unwrap();
        let share = Share::of(BYTES);
        let until = Instant::now() + 10 * WAITS;
        let (charged, ()) = tokio::join!(share.charge(&part, "busy", until, || false), async {
            tokio::time::sleep(5 * WAITS).await;
            drop(held);
        });
        assert!(charged.is_some());
        assert!(share.charge(&part, "busy", until, || false).await.is_none());
        assert!(Instant::now() >= until);
    }
}
