//! A job that this gateway holds for as long as something lasts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Job, Jobs};

/// A job that this gateway holds. Dropped, it lasts as long as a gateway is believed to live; then any worker takes it.
#[derive(Debug)]
pub struct Held {
    jobs: Jobs,
    /// As it was saved last, and when that was.
    state: Mutex<(Job, Option<Instant>)>,
    /// Whether it was another gateway's: what that left has to be looked after.
    inherits: bool,
}

impl Held {
    pub(super) fn new(jobs: &Jobs, job: Job, inherits: bool) -> Self {
        Self { jobs: jobs.clone(), state: Mutex::new((job, Some(Instant::now()))), inherits }
    }

    /// Changes the job, and says whether it was; [`renew`](Self::renew) saves that.
    pub fn change(&self, change: impl FnOnce(&mut Job) -> bool) -> bool {
        change(&mut self.state().0)
    }

    /// Waits for something, and holds the job as long as that lasts.
    pub async fn during<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.jobs.config().lease / 3) => {
                    self.renew().await;
                }
            }
        }
    }

    /// Whether it is held still; what depends on that is to be done soon.
    pub async fn is_held(&self) -> bool {
        let since = self.state().1;
        since.is_some_and(|since| since.elapsed() < self.jobs.config().lease / 3) || self.renew().await
    }

    /// Holds it for longer; false where it is another gateway's now, or nobody can tell.
    pub async fn renew(&self) -> bool {
        let job = self.state().0.clone();
        match self.jobs.save(self.jobs.held(job)).await {
            Ok(Some(held)) => {
                *self.state() = (held, Some(Instant::now()));
                true
            }
            // Another gateway has it.
            Ok(None) => self.is_lost(),
            Err(reason) => {
                tracing::debug!(reason, "a job could not be renewed");
                self.is_lost()
            }
        }
    }

    /// It has to be renewed before it is believed again.
    fn is_lost(&self) -> bool {
        self.state().1 = None;
        false
    }

    /// It is done. What a dead gateway left is the worker's to look after.
    pub async fn done(&self) {
        let mut job = self.state().0.clone();
        let ended = match self.inherits && job.object.is_some() {
            true => {
                job.holder = None;
                self.jobs.save(job).await.map(drop)
            }
            false => self.jobs.drop_done(&job).await.map(drop),
        };
        if let Err(reason) = ended {
            tracing::debug!(reason, "a job that is done stays: it finds nothing to do");
        }
    }

    fn state(&self) -> MutexGuard<'_, (Job, Option<Instant>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
