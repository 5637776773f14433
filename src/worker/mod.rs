//! Processes the queue of jobs, alongside all other gateways.
//!
//! The queue is read once and then followed through its changes feed: a waiting job costs CouchDB nothing until it is due. Without a feed, the queue
//! is read repeatedly: at once after this gateway has added a job, else every `jobs.poll`, and less often if it is long. After a failure the storage
//! rests, rather than the job: one attempt is conclusive for all jobs of a storage that is down. Jobs are never given up; one that is older than
//! `jobs.dead_after` is attempted once a day.

mod halt;
mod job;
mod known;
mod moves;
mod pages;
mod removal;
mod rests;
mod step;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use stowage_base::tasks::Tasks;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use crate::gateway::Gateway;
use crate::jobs::{Change, Feed};
use halt::Halt;
use known::Known;
use rests::{Leave, Rests};

/// Processes jobs until the program stops.
pub(crate) async fn run(gateway: Arc<Gateway>, tasks: Tasks) {
    let jobs = gateway.jobs.config();
    let (poll, concurrency) = (jobs.poll, jobs.concurrency);
    let known = Mutex::new(Known::new(jobs.held_in_memory));
    let permits = Arc::new(Semaphore::new(concurrency));
    let worker = Arc::new(Worker { gateway, rests: Rests::default(), halt: Halt::default(), known, permits });
    let (mut pause, mut standing) = (poll, Standing::default());
    loop {
        let turn = tokio::select! {
            turn = worker.turn(&mut standing) => turn,
            () = tasks.stopping() => return,
        };
        let Err(reason) = turn else {
            pause = poll;
            continue;
        };
        if pause == poll {
            tracing::warn!(reason, "the jobs cannot be read; they wait");
        }
        // CouchDB locks out accounts after repeated wrong passwords.
        pause = (pause * 2).min(poll.max(LONGEST_PAUSE));
        tokio::select! {
            () = worker.gateway.jobs.added() => {}
            () = tokio::time::sleep(pause) => {}
            () = tasks.stopping() => return,
        }
    }
}

struct Worker {
    gateway: Arc<Gateway>,
    rests: Rests,
    halt: Halt,
    known: Mutex<Known>,
    permits: Arc<Semaphore>,
}

/// How this gateway observes the queue.
#[derive(Default)]
struct Standing {
    /// Whether more jobs wait than are kept in memory.
    is_long: bool,
    /// Whether the log already says that the queue cannot be followed.
    complained: bool,
}

impl Standing {
    fn complain(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(reason, "the jobs cannot be followed: their database is read again and again");
        }
    }
}

impl Worker {
    /// Reads the queue, and processes it until it has to be read again.
    async fn turn(self: &Arc<Self>, standing: &mut Standing) -> Result<(), String> {
        if standing.is_long {
            standing.is_long = self.walk().await?;
            return Ok(());
        }
        let began = Instant::now();
        let (jobs, mut feed) = (&self.gateway.jobs, None);
        // Taken before reading, so that no change between reading and following is missed.
        let position = jobs.position().await;
        self.known().clear();
        if !matches!(position, Ok(None)) && !self.read().await? {
            standing.is_long = true;
            return Ok(());
        }
        let followed = match position {
            Ok(Some(position)) => jobs.follow(&position).await.map(|opened| feed = Some(opened)),
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        followed.unwrap_or_else(|reason| standing.complain(&reason));
        self.follow(feed, began, standing).await;
        Ok(())
    }

    /// Starts due jobs, and records changes. Without a feed, it ends when the queue may be read again; with one, some time after the feed broke.
    async fn follow(self: &Arc<Self>, mut feed: Option<Feed>, began: Instant, standing: &mut Standing) {
        let poll = self.gateway.jobs.config().poll;
        let soonest = Instant::now() + began.elapsed() * pages::REST;
        let mut end = if feed.is_some() { began + READ_AGAIN } else { soonest.max(began + poll) };
        let mut ticks = tokio::time::interval(poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ready, mut looks) = (VecDeque::new(), true);
        loop {
            if ready.is_empty() && !self.halt.is_on() && std::mem::take(&mut looks) {
                ready = self.due().await;
                looks = !ready.is_empty();
            }
            tokio::select! {
                change = next(&mut feed) => match change {
                    Ok(Change::Gone(id)) => self.known().forget(&id),
                    Ok(Change::Saved(job)) => {
                        looks |= job.is_due(SystemTime::now());
                        if !self.known().note(&job) {
                            standing.is_long = true;
                            return;
                        }
                    }
                    Err(reason) => {
                        // A feed that is cut off at once is no better than none.
                        standing.complained &= began.elapsed() < LONGEST_PAUSE;
                        standing.complain(&reason);
                        (feed, end) = (None, soonest.max(Instant::now() + poll));
                    }
                },
                permit = Arc::clone(&self.permits).acquire_owned(), if !ready.is_empty() && !self.halt.is_on() => {
                    // The job that has given back the permit may have begun a halt.
                    if !self.halt.is_on()
                        && let (Ok(permit), Some(id)) = (permit, ready.pop_front())
                    {
                        self.begin(Arc::clone(self).take_known(id, permit));
                    }
                }
                _ = ticks.tick() => {
                    looks = true;
                    self.tell();
                }
                () = self.gateway.jobs.added(), if feed.is_none() => end = end.min(soonest),
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    /// Returns some of the jobs that are due and do not rest.
    async fn due(&self) -> VecDeque<Arc<str>> {
        let (now, config) = (SystemTime::now(), self.gateway.jobs.config());
        let mut ready = VecDeque::new();
        let lanes = self.known().due(now);
        for (subject, sample) in lanes {
            if ready.len() >= AT_ONCE {
                break;
            }
            let leave = if sample.asked { Leave::All } else { self.rests.leave(&self.gateway, &sample).await };
            let most = match leave {
                Leave::All => known::AT_ONCE,
                Leave::One => 1,
                Leave::None => {
                    self.known().rest(&subject, now + config.poll);
                    continue;
                }
            };
            // The feed reports what becomes of them; failing that, they are due once more.
            ready.extend(self.known().take(&subject, most, now, now + config.lease));
        }
        ready
    }

    /// Starts a job. The drain does not wait for it: if it is cut off, another gateway claims it once its lease has expired.
    fn begin(&self, job: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.gateway.tasks.clone();
        drop(self.gateway.tasks.spawn("job", async move {
            tokio::select! {
                biased;
                () = tasks.stopping() => {}
                () = job => {}
            }
        }));
    }

    fn tell(&self) {
        let queue = self.known().told(SystemTime::now(), self.gateway.jobs.config().dead_after);
        self.gateway.metrics.outages().queue(&queue);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn next(feed: &mut Option<Feed>) -> Result<Change, String> {
    match feed {
        Some(feed) => feed.next().await,
        None => pending().await,
    }
}

/// How long the queue is followed before it is read again, to be safe.
const READ_AGAIN: Duration = Duration::from_secs(3600);
/// The longest delay while the jobs cannot be read or claimed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The number of jobs prepared for processing.
const AT_ONCE: usize = 256;
