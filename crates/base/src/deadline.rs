//! One deadline for a whole request: from the last byte of its body to the head of the response.
//!
//! KAZOO gives up after 20 s without a response. A request makes several round trips to CouchDB and its storage, each with an
//! idle timeout of its own; only one clock across all of them keeps the response inside that limit.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The point in time by which a request must be answered; cheap to clone. The default never expires.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Option<Arc<Clock>>);

#[derive(Debug)]
struct Clock {
    limit: Duration,
    /// Start of the limit; `None` once the deadline is lifted.
    from: Mutex<Option<Instant>>,
}

impl Deadline {
    /// Starts a deadline of `limit` from now.
    #[must_use]
    pub fn begin(limit: Duration) -> Self {
        Self(Some(Arc::new(Clock { limit, from: Mutex::new(Some(Instant::now())) })))
    }

    /// Returns the point in time; `None` means never.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        let clock = self.0.as_ref()?;
        clock.from.lock().unwrap_or_else(PoisonError::into_inner).map(|from| from + clock.limit)
    }

    /// Restarts the clock: a transfer is in progress, which may take as long as it keeps moving.
    pub fn restart(&self) {
        self.change(|from| *from = from.map(|_| Instant::now()));
    }

    /// Extends the deadline by time spent waiting for the client.
    pub fn extend(&self, by: Duration) {
        self.change(|from| *from = from.map(|from| from + by));
    }

    /// Lifts the deadline: the response has begun, and the rest is not limited.
    pub fn lift(&self) {
        self.change(|from| *from = None);
    }

    /// Awaits `future` until the deadline, then drops it and returns `None`.
    pub async fn bound<F: Future>(&self, future: F) -> Option<F::Output> {
        self.bound_before(Duration::ZERO, future).await
    }

    /// Awaits `future` until `margin` before the deadline, then drops it and returns `None`.
    pub async fn bound_before<F: Future>(&self, margin: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            let Some(at) = self.at() else { return Some(future.await) };
            tokio::select! {
                biased;
                done = &mut future => return Some(done),
                () = sleep_until(at.checked_sub(margin).unwrap_or(at)) => if self.at() == Some(at) { return None },
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Option<Instant>)) {
        if let Some(clock) = &self.0 {
            change(&mut clock.from.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(18);

    #[tokio::test(start_paused = true)]
    async fn bound_ends_at_the_deadline_and_not_before() {
        let deadline = Deadline::begin(LIMIT);
        assert_eq!(deadline.bound(async { 1 }).await, Some(1));
        let (began, later) = (Instant::now(), deadline.clone());
        let moves = async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            later.restart();
            later.extend(Duration::from_secs(3));
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.bound(moves).await, None);
        assert_eq!(began.elapsed().as_secs(), 31);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_deadline_is_waited_for() {
        let long = || tokio::time::sleep(Duration::from_secs(1000));
        assert_eq!(Deadline::default().bound(long()).await, Some(()));
        let deadline = Deadline::begin(LIMIT);
        deadline.lift();
        deadline.restart();
        assert_eq!(deadline.bound(long()).await, Some(()));
    }
}
