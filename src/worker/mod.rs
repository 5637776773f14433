//! Does what the queue of jobs says, beside all other gateways.
//!
//! The queue is looked through page by page, at once after this gateway has added a job and else every `jobs.poll`; a long one
//! less often, so that reading it takes a tenth of the time at most. What fails rests by its storage, not by itself: one try
//! tells about all jobs of a storage that is down. A job is never given up; one that is older than `jobs.dead_after` is tried
//! once a day.

mod moves;
mod removal;
mod rests;
mod step;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stowage_base::tasks::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};
use crate::metrics::Queue;
use rests::Rests;
use step::{Step, step};

/// Works until the program stops.
pub(crate) async fn run(gateway: Arc<Gateway>, tasks: Tasks) {
    let concurrency = gateway.jobs.config().concurrency;
    let worker = Arc::new(Worker { rests: Rests::default(), permits: Arc::new(Semaphore::new(concurrency)), gateway });
    let poll = worker.gateway.jobs.config().poll;
    let mut pause = poll;
    loop {
        let mut reading = Duration::ZERO;
        tokio::select! {
            outcome = worker.pass(&mut reading) => match outcome {
                Ok(()) => pause = poll,
                Err(reason) => {
                    if pause == poll {
                        tracing::warn!(reason, "the jobs cannot be read; they wait");
                    }
                    // CouchDB locks out who comes with a wrong password again and again.
                    pause = (pause * 2).min(poll.max(LONGEST_PAUSE));
                }
            },
            () = tasks.stopping() => return,
        }
        // Each job that is added during an outage would else have all that wait read once more.
        let rest = reading * REST;
        tokio::select! {
            () = async { tokio::join!(worker.gateway.jobs.added(), tokio::time::sleep(rest)); } => {}
            () = tokio::time::sleep(pause.max(rest)) => {}
            () = tasks.stopping() => return,
        }
    }
}

struct Worker {
    gateway: Arc<Gateway>,
    rests: Rests,
    permits: Arc<Semaphore>,
}

impl Worker {
    /// Looks through the whole queue once, and begins what is due. Adds up how long CouchDB took for that.
    async fn pass(self: &Arc<Self>, reading: &mut Duration) -> Result<(), String> {
        let mut queue = Counted::default();
        let mut from = String::new();
        loop {
            let began = Instant::now();
            let page = self.gateway.jobs.page(&from).await?;
            *reading += began.elapsed();
            for job in page.jobs {
                let now = SystemTime::now();
                queue.count(&job, now, self.gateway.jobs.config().dead_after);
                if !job.is_due(now) || (!job.asked && self.rests.rests(&self.gateway, &job).await) {
                    continue;
                }
                let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Ok(()) };
                let worker = Arc::clone(self);
                // A job that is cut off is another gateway's once its lease is over: the drain does not wait for it.
                drop(self.gateway.tasks.spawn("job", async move {
                    tokio::select! {
                        biased;
                        () = worker.gateway.tasks.stopping() => {}
                        () = Arc::clone(&worker).take(job, permit) => {}
                    }
                }));
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.gateway.metrics.outages().queue(&queue.told());
        Ok(())
    }

    /// Takes a job, unless another gateway has it, and does it.
    async fn take(self: Arc<Self>, job: Job, permit: OwnedSemaphorePermit) {
        let (id, kind) = (job.id.clone(), job.kind);
        let outcome = match self.hold(job).await {
            Ok(Some(job)) => self.work(job).await,
            // Another was faster.
            Ok(None) => return,
            Err(reason) => Err(reason),
        };
        drop(permit);
        match outcome {
            Ok(outcome) => self.gateway.metrics.outages().job_done(kind.as_str(), outcome),
            Err(reason) => {
                self.gateway.metrics.outages().job_done(kind.as_str(), "failed");
                tracing::warn!(job = %id, reason, "what became of a job could not be saved: it is tried again");
            }
        }
    }

    /// Saves this gateway as the holder.
    async fn hold(&self, job: Job) -> Result<Option<Job>, String> {
        self.gateway.jobs.save(self.gateway.jobs.held(job)).await
    }

    /// Does a job that this gateway holds, and saves what became of it.
    async fn work(&self, mut job: Job) -> Result<&'static str, String> {
        let made = {
            let gateway = Arc::clone(&self.gateway);
            let mut doing = Box::pin(step(&gateway, job.clone()));
            loop {
                tokio::select! {
                    made = &mut doing => break made,
                    () = tokio::time::sleep(self.gateway.jobs.config().lease / 3) => match self.hold(job.clone()).await? {
                        Some(held) => job = held,
                        None => return self.lost(&job).await,
                    },
                }
            }
        };
        self.rests.note(&self.gateway, &job, &made).await;
        let jobs = &self.gateway.jobs;
        (job.holder, job.asked) = (None, false);
        match made {
            Step::Done => {
                if !jobs.drop_done(&job).await? {
                    return self.lost(&job).await;
                }
                Ok("ok")
            }
            Step::Waits { pause, seen } => {
                job.seen = seen;
                job.next = SystemTime::now() + pause;
                self.ended(job, "waits").await
            }
            Step::Failed(failure) => {
                job.tries += 1;
                let age = SystemTime::now().duration_since(job.since).unwrap_or_default();
                let pause = if age > jobs.config().dead_after { ONCE_A_DAY } else { failure.pause_after(job.tries) };
                job.next = SystemTime::now() + pause;
                if job.error.as_deref() != Some(&*failure.reason) {
                    tracing::warn!(job = %job.id, storage = %job.storage, reason = %failure.reason, "a job waits");
                }
                job.error = Some(failure.reason);
                self.ended(job, "failed").await
            }
        }
    }

    /// Saves a job that stays, without its holder.
    async fn ended(&self, job: Job, outcome: &'static str) -> Result<&'static str, String> {
        match self.gateway.jobs.save(job.clone()).await? {
            Some(_) => Ok(outcome),
            None => self.lost(&job).await,
        }
    }

    /// The job was added anew, or asked for, while it was worked on: it is looked at once more, by the first gateway that finds it.
    async fn lost(&self, job: &Job) -> Result<&'static str, String> {
        if let Some(mut now) = self.gateway.jobs.read(&job.id).await?
            && self.gateway.jobs.holds(&now)
        {
            now.holder = None;
            drop(self.gateway.jobs.save(now).await?);
        }
        Ok("waits")
    }
}

/// What a pass counts.
#[derive(Default)]
struct Counted {
    waiting: HashMap<Kind, u64>,
    oldest: Duration,
    stuck: u64,
}

impl Counted {
    fn count(&mut self, job: &Job, now: SystemTime, dead_after: Duration) {
        let age = now.duration_since(job.since).unwrap_or_default();
        *self.waiting.entry(job.kind).or_default() += 1;
        self.oldest = self.oldest.max(age);
        self.stuck += u64::from(age > dead_after);
    }

    fn told(&self) -> Queue {
        let count = |kind: Kind| (kind.as_str(), self.waiting.get(&kind).copied().unwrap_or_default());
        Queue { waiting: Kind::ALL.map(count).into(), oldest: self.oldest, stuck: self.stuck }
    }
}

/// So many times as long as it took to read the queue, nothing is read.
const REST: u32 = 9;
/// The longest pause while the jobs cannot be read.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often a stuck job is tried.
const ONCE_A_DAY: Duration = Duration::from_secs(24 * 3600);
