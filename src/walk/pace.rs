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
    /// CouchDB's best time for an answer, as when it is idle, and the recent average.
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

    /// Records a document, with the time of CouchDB's slowest answer about it; `None` without any. Waits if the rate limit is exceeded, or if answers
    /// have become much slower.
    pub(super) async fn took(&self, time: Option<Duration>, tally: &Tally) {
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
            if let Some(time) = time {
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

    /// Waits after a document that CouchDB has not answered, or with a 5xx status: it is likely to be overloaded.
    pub(super) async fn failed(&self) {
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
}

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
        pace.took(None, &checked).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        pace.took(None, &Tally { unread: 0, ..checked }).await;
        assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn slower_answers_pause_a_walk_whatever_the_size_of_its_documents() {
        let (pace, began) = (Pace::new(1, None), Instant::now());
        let large = Tally { attachments: 1, bytes: 10 << 20, ..Tally::default() };
        for _ in 0..10 {
            pace.took(Some(Duration::from_millis(20)), &large).await;
        }
        pace.took(None, &large).await;
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        for _ in 0..10 {
            pace.took(Some(Duration::from_secs(2)), &large).await;
        }
        assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_couchdb_pauses_a_walk() {
        let (pace, began) = (Pace::new(1, None), Instant::now());
        pace.failed().await;
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
