//! How fast a walk goes, so that clients keep their share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::progress::Tally;

/// How fast a walk goes.
#[derive(Debug)]
pub struct Pace {
    /// Documents in work at once, in all databases together.
    pub at_once: usize,
    bytes_per_second: Option<u64>,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the bytes that were moved so far may have been moved.
    paid_until: Instant,
    /// The time of an idle CouchDB for one document, and of late.
    best: Option<Duration>,
    late: Duration,
}

impl Pace {
    /// So many documents at once, and at most so many bytes a second.
    #[must_use]
    pub fn new(at_once: usize, bytes_per_second: Option<u64>) -> Self {
        let state = Mutex::new(State { paid_until: Instant::now(), best: None, late: Duration::ZERO });
        Self { at_once, bytes_per_second, turns: Semaphore::new(at_once), state }
    }

    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// A document took so long. Waits where bytes went too fast, or where answers have got much slower than they were.
    pub(super) async fn took(&self, time: Duration, tally: &Tally) {
        let until = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let mut until = now;
            if let Some(rate) = self.bytes_per_second {
                let millis = tally.bytes.saturating_mul(1000) / rate.max(1);
                state.paid_until = state.paid_until.max(now) + Duration::from_millis(millis);
                until = state.paid_until;
            }
            // Of large ones the time says nothing about CouchDB.
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

/// In bytes.
const SMALL: u64 = 1 << 20;
/// What is faster tells nothing.
const LEAST: Duration = Duration::from_millis(20);
/// So many times the best time is a CouchDB that has too much to do.
const MUCH_SLOWER: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
