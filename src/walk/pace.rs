//! The pace of a walk, which leaves clients their share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::progress::Tally;

/// The pace of a walk.
#[derive(Debug)]
pub struct Pace {
    /// The limit on documents processed at once, in all databases together.
    pub at_once: usize,
    bytes_per_second: Option<u64>,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the rate limit allows the next bytes.
    paid_until: Instant,
    /// The best time for one document, as on an idle CouchDB, and the recent average.
    best: Option<Duration>,
    late: Duration,
}

impl Pace {
    /// Creates a pace with limits on documents at once and on bytes per second.
    #[must_use]
    pub fn new(at_once: usize, bytes_per_second: Option<u64>) -> Self {
        let state = Mutex::new(State { paid_until: Instant::now(), best: None, late: Duration::ZERO });
        Self { at_once, bytes_per_second, turns: Semaphore::new(at_once), state }
    }

    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Records the time that a document took. Waits if the rate limit is exceeded, or if responses have become much slower.
    pub(super) async fn took(&self, time: Duration, tally: &Tally) {
        let until = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let mut until = now;
            if let Some(rate) = self.bytes_per_second {
                let bytes = tally.bytes.saturating_sub(tally.unread);
                let millis = bytes.saturating_mul(1000) / rate.max(1);
                state.paid_until = state.paid_until.max(now) + Duration::from_millis(millis);
                until = state.paid_until;
            }
            // The time of a large document says nothing about CouchDB.
            if tally.attachments > 0 && tally.bytes < SMALL {
                let best = state.best.map_or(time, |best| best.min(time)).max(LEAST);
                state.best = Some(best);
                state.late = (state.late * 7 + time) / 8;
                if state.late > best * MUCH_SLOWER {
                    until = until.max(now + (state.late - best * MUCH_SLOWER).min(LONGEST_PAUSE));
                }
            }
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

/// The size below which a document's time counts, in bytes.
const SMALL: u64 = 1 << 20;
/// The floor of the best time: faster is noise.
const LEAST: Duration = Duration::from_millis(20);
/// The slowdown at which CouchDB is considered overloaded.
const MUCH_SLOWER: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_bytes_that_are_read_count_for_the_rate() {
        let (pace, began) = (Pace::new(1, Some(1 << 20)), Instant::now());
        let checked = Tally { attachments: 1, bytes: 10 << 20, unread: 10 << 20, ..Tally::default() };
        pace.took(Duration::ZERO, &checked).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        pace.took(Duration::ZERO, &Tally { unread: 0, ..checked }).await;
        assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
