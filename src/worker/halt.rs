//! A halt of all jobs, while this gateway cannot be saved as their holder.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::LONGEST_PAUSE;

/// No job starts during a halt: each would fail in the same way, whatever its storage.
#[derive(Default)]
pub(super) struct Halt(Mutex<Option<Pause>>);

#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Halt {
    /// Returns whether no job may start now.
    pub(super) fn is_on(&self) -> bool {
        self.until().is_some()
    }

    /// Waits until no halt is on.
    pub(super) async fn over(&self) {
        while let Some(until) = self.until() {
            tokio::time::sleep_until(until).await;
        }
    }

    fn until(&self) -> Option<Instant> {
        self.pause().map(|pause| pause.until).filter(|until| Instant::now() < *until)
    }

    /// Begins a halt, twice as long as the one before. Returns false if one is on: jobs that started together fail together.
    pub(super) fn begin(&self, first: Duration) -> bool {
        let (mut known, now) = (self.pause(), Instant::now());
        let length = match *known {
            Some(pause) if now < pause.until => return false,
            Some(pause) => (pause.length * 2).min(first.max(LONGEST_PAUSE)),
            None => first,
        };
        *known = Some(Pause { until: now + length, length });
        true
    }

    /// Ends the halt: a holder was saved.
    pub(super) fn end(&self) {
        *self.pause() = None;
    }

    fn pause(&self) -> MutexGuard<'_, Option<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_halt_grows_until_a_holder_is_saved() {
        let (halt, first) = (Halt::default(), Duration::from_secs(10));
        assert!(!halt.is_on());
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert!(halt.begin(first) && !halt.begin(first), "{seconds}");
            tokio::time::advance(Duration::from_secs(seconds - 1)).await;
            assert!(halt.is_on(), "{seconds}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!halt.is_on(), "{seconds}");
        }
        halt.end();
        assert!(halt.begin(first));
        let began = Instant::now();
        halt.over().await;
        assert!(!halt.is_on() && began.elapsed() >= first);
    }
}
