//! Reading the queue page by page.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Worker;
use super::known::Counted;

impl Worker {
    /// Takes note of all that waits; false where that is more than is held in memory.
    pub(super) async fn read(&self) -> Result<bool, String> {
        let mut from = String::new();
        loop {
            let page = self.gateway.jobs.page(&from).await?;
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

    /// Looks through a queue that is longer than what is held in memory, and begins what is due; then waits, so that reading takes a
    /// tenth of the time at most. Gives whether it is as long still.
    pub(super) async fn walk(self: &Arc<Self>) -> Result<bool, String> {
        let config = self.gateway.jobs.config();
        let (mut queue, mut reading, mut from) = (Counted::default(), Duration::ZERO, String::new());
        loop {
            let began = Instant::now();
            let page = self.gateway.jobs.page(&from).await?;
            reading += began.elapsed();
            for job in page.jobs {
                let now = SystemTime::now();
                queue.count(job.kind, job.since, now, config.dead_after);
                if !job.is_due(now) || (!job.asked && self.rests.rests(&self.gateway, &job).await) {
                    continue;
                }
                let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Ok(true) };
                self.begin(Arc::clone(self).take(job, permit));
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.gateway.metrics.outages().queue(&queue.told());
        // Each job that is added during an outage would else have all that waits read once more.
        let rest = reading * REST;
        tokio::select! {
            ((), ()) = async { tokio::join!(self.gateway.jobs.added(), tokio::time::sleep(rest)) } => {}
            () = tokio::time::sleep(config.poll.max(rest)) => {}
        }
        Ok(queue.all() > config.held_in_memory / 2)
    }
}

/// So many times as long as it took to read the queue, nothing is read.
pub(super) const REST: u32 = 9;
