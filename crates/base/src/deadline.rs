//! One deadline for a whole request: from the last byte that its client has sent to the head of its answer.
//!
//! KAZOO gives up after 20 s without an answer. A request asks CouchDB and its storage several times, and each of these waits
//! has a deadline on silence of its own: only one clock for all of them keeps the answer inside that time.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When a request has to be answered; cheap to clone. The default is never.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Option<Arc<Clock>>);

#[derive(Debug)]
struct Clock {
    limit: Duration,
    /// What the limit counts from; `None` once there is no limit any more.
    from: Mutex<Option<Instant>>,
}

impl Deadline {
    /// Begins now.
    #[must_use]
    pub fn begin(limit: Duration) -> Self {
        Self(Some(Arc::new(Clock { limit, from: Mutex::new(Some(Instant::now())) })))
    }

    /// The time itself; `None` is never.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        let clock = self.0.as_ref()?;
        clock.from.lock().unwrap_or_else(PoisonError::into_inner).map(|from| from + clock.limit)
    }

    /// Begins anew: something moves that may take as long as it moves.
    pub fn restart(&self) {
        self.change(|from| *from = from.map(|_| Instant::now()));
    }

    /// Does not count a wait that was the client's.
    pub fn extend(&self, by: Duration) {
        self.change(|from| *from = from.map(|from| from + by));
    }

    /// The answer is there: what follows has no deadline.
    pub fn lift(&self) {
        self.change(|from| *from = None);
    }

    /// Waits for something until the deadline; `None` if it took longer. It is dropped then.
    pub async fn bound<F: Future>(&self, future: F) -> Option<F::Output> {
        self.bound_before(Duration::ZERO, future).await
    }

    /// Waits for something until so long before the deadline; `None` if it took longer.
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
