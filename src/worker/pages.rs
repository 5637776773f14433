//! Reads the queue page by page.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Worker;
use super::known::Counted;
use crate::jobs::LONG_PAGE;

impl Worker {
    /// Records all waiting jobs; returns false if there are more than can be kept in memory.
    pub(super) async fn read(&self) -> Result<bool, String> {
        let mut from = String::new();
        loop {
            let page = self.gateway.jobs.page(&from, LONG_PAGE).await?;
            let mut known = self.known();
            if !page.jobs.iter().all(|job| known.note(job)) {
                known.clear();
                return Ok(false);
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(true),
            }
        }
    }

    /// Walks through a queue that is too long to be kept in memory, and starts the due jobs; then waits, so that reading takes at most a tenth of the
    /// time. Returns whether the queue is still too long.
    pub(super) async fn walk(self: &Arc<Self>) -> Result<bool, String> {
        let config = self.gateway.jobs.config();
        let (mut queue, mut reading, mut from) = (Counted::default(), Duration::ZERO, String::new());
        loop {
            let began = Instant::now();
            let page = self.gateway.jobs.page(&from, LONG_PAGE).await?;
            reading += began.elapsed();
            for job in page.jobs {
                let now = SystemTime::now();
                queue.count(job.kind, job.since, now, config.dead_after);
                if !job.is_due(now) || (!job.asked && self.rests.rests(&self.gateway, &job).await) {
                    continue;
                }
                let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Ok(true) };
                // A pass takes long. The jobs after this one would wait for another.
                self.halt.over().await;
                self.begin(Arc::clone(self).take(job, permit));
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.gateway.metrics.outages().queue(&queue.told());
        // Otherwise each job added during an outage would cause another full read.
        let rest = reading * REST;
        tokio::select! {
            ((), ()) = async { tokio::join!(self.gateway.jobs.added(), tokio::time::sleep(rest)) } => {}
            () = tokio::time::sleep(config.poll.max(rest)) => {}
        }
        Ok(queue.all() > config.held_in_memory / 2)
    }
}

/// The rest between reads of the queue, as a multiple of the time that a read takes.
pub(super) const REST: u32 = 9;
