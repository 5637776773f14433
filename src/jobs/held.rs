//! Jobs that this gateway leases while it works on something.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::queue::Reason;
use super::{AT_ONCE, Job, Jobs, Unsaved};

/// A job held by this gateway. After a drop, the lease runs until it expires; then any worker may claim the job.
#[derive(Debug)]
pub struct Held {
    lease: Arc<Lease>,
    /// Renews the lease in time, until the drop.
    keeper: JoinSet<()>,
}

/// Several jobs held by this gateway, each as [`Held`].
#[derive(Debug)]
pub struct AllHeld {
    leases: Leases,
    _keeper: JoinSet<()>,
}

/// A list of leases that may still grow; cheap to clone.
#[derive(Debug, Clone, Default)]
struct Leases(Arc<std::sync::Mutex<Vec<Arc<Lease>>>>);

/// The outcome of a claim.
#[derive(Debug)]
pub enum Claim {
    /// This gateway holds the job.
    Held(Box<Held>),
    /// Another gateway holds the job.
    Taken,
}

#[derive(Debug)]
struct Lease {
    jobs: Jobs,
    /// The job as last saved, and when; `None` if the lease can no longer be trusted. Locked while the job is saved or removed.
    state: Mutex<(Job, Option<Instant>)>,
    /// The end of the lease as last saved; now, once another gateway holds the job.
    end: watch::Sender<Instant>,
}

impl Jobs {
    /// Claims a job that was read; returns `None` if another gateway was faster.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn hold(&self, job: Job) -> Result<Option<Held>, Unsaved> {
        Ok(self.save_over(self.held(job)).await?.map(|job| Held::new(self, job)))
    }

    /// Adds a job that this gateway holds. Takes over one whose holder is dead.
    ///
    /// # Errors
    /// Fails as [`add`](Self::add) does.
    pub async fn claim(&self, job: Job) -> Result<Claim, Reason> {
        Ok(match self.put(self.held(job), true).await? {
            Some(job) => Claim::Held(Box::new(Held::new(self, job))),
            None => Claim::Taken,
        })
    }

    /// Adds jobs that this gateway holds, several at a time, whether or not another one holds them. Leaves out those that cannot be saved.
    pub async fn hold_all(&self, jobs: Vec<Job>) -> AllHeld {
        let leases = Leases::default();
        // Thousands of jobs take longer to save than a lease lasts: the first ones are renewed meanwhile.
        let keeper = if jobs.is_empty() { JoinSet::new() } else { keeper(self, leases.clone()) };
        for some in jobs.chunks(HELD_AT_ONCE) {
            let added = join_all(some.iter().map(|job| self.add_held(job.clone()))).await;
            leases.extend(added.into_iter().flatten().map(|job| Lease::new(self, job)));
        }
        AllHeld { leases, _keeper: keeper }
    }

    async fn add_held(&self, job: Job) -> Result<Job, Reason> {
        self.add(&self.held(job)).await
    }
}

impl Held {
    fn new(jobs: &Jobs, job: Job) -> Self {
        let lease = Arc::new(Lease::new(jobs, job));
        let keeper = keeper(jobs, Leases::of(Arc::clone(&lease)));
        Self { lease, keeper }
    }

    /// Changes the job, and saves it if `change` returns that it has.
    pub async fn change(&self, change: impl FnOnce(&mut Job) -> bool) {
        let mut state = self.lease.state.lock().await;
        if change(&mut state.0) {
            self.lease.renew(&mut state).await;
        }
    }

    /// Returns whether the lease is still held. Act on the answer soon.
    pub async fn is_held(&self) -> bool {
        let mut state = self.lease.state.lock().await;
        state.1.is_some_and(|since| since.elapsed() < self.lease.jobs.config().lease / 3)
            || self.lease.renew(&mut state).await
    }

    /// Waits until the lease is lost: it has expired, another gateway holds the job, or the job was added or requested again.
    pub async fn lost(&self) {
        let mut end = self.lease.end.subscribe();
        loop {
            let until = *end.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                _ = end.changed() => {}
            }
        }
    }

    /// Stops renewing the lease, and returns the job as last saved.
    pub async fn end(mut self) -> Job {
        let state = self.lease.settled().await;
        self.keeper.abort_all();
        state.0.clone()
    }

    /// Removes the finished job.
    pub async fn done(&self) {
        self.lease.done().await;
    }
}

impl AllHeld {
    /// Removes the finished jobs. One that was added again meanwhile stays.
    pub async fn done(&self) {
        for some in self.leases.all().chunks(AT_ONCE) {
            join_all(some.iter().map(|lease| lease.done())).await;
        }
    }
}

impl Leases {
    fn of(lease: Arc<Lease>) -> Self {
        Self(Arc::new(std::sync::Mutex::new(vec![lease])))
    }

    fn extend(&self, more: impl Iterator<Item = Lease>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more.map(Arc::new));
    }

    /// Returns the leases so far.
    fn all(&self) -> Vec<Arc<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Renews leases in time, until the drop.
fn keeper(jobs: &Jobs, leases: Leases) -> JoinSet<()> {
    let mut keeper: JoinSet<()> = JoinSet::new();
    let third = jobs.config().lease / 3;
    keeper.spawn(async move {
        loop {
            tokio::time::sleep(third).await;
            for some in leases.all().chunks(AT_ONCE) {
                join_all(some.iter().map(|lease| lease.keep())).await;
            }
        }
    });
    keeper
}

impl Lease {
    fn new(jobs: &Jobs, job: Job) -> Self {
        let end = watch::Sender::new(end_of(&job));
        Self { jobs: jobs.clone(), state: Mutex::new((job, Some(Instant::now()))), end }
    }

    async fn keep(&self) {
        self.renew(&mut *self.state.lock().await).await;
    }

    /// Locks the state. A renewal whose answer was lost may have given the job another revision: it is made once more.
    async fn settled(&self) -> MutexGuard<'_, (Job, Option<Instant>)> {
        let mut state = self.state.lock().await;
        if state.1.is_none() {
            self.renew(&mut state).await;
        }
        state
    }

    async fn done(&self) {
        let state = self.settled().await;
        if let Err(reason) = self.jobs.drop_done(&state.0).await {
            tracing::debug!(reason, "a job that is done stays: it finds nothing to do");
        }
    }

    /// Renews the lease; returns false if another gateway holds the job now, or if the save failed. Then the lease must be renewed before it is
    /// trusted again.
    async fn renew(&self, state: &mut (Job, Option<Instant>)) -> bool {
        match self.save(&state.0).await {
            Ok(Some(held)) => {
                self.end.send_replace(end_of(&held));
                *state = (held, Some(Instant::now()));
            }
            // Another gateway holds the job.
            Ok(None) => {
                self.end.send_replace(Instant::now());
                state.1 = None;
            }
            Err(reason) => {
                tracing::debug!(reason, "a job could not be renewed");
                state.1 = None;
            }
        }
        state.1.is_some()
    }

    /// Saves the job for another lease, or returns `None` if another gateway holds it.
    async fn save(&self, job: &Job) -> Result<Option<Job>, String> {
        let jobs = &self.jobs;
        if let Some(held) = jobs.save(jobs.held(job.clone())).await? {
            return Ok(Some(held));
        }
        // An earlier save may have succeeded without an answer. Before the lease ends, nothing else makes this gateway the holder.
        if job.holder.as_ref().is_none_or(|holder| holder.until <= SystemTime::now()) {
            return Ok(None);
        }
        match jobs.read(&job.id).await? {
            // An operator's request for the job ends the lease, and so does a request to this gateway that has added the job again.
            Some(known) if jobs.holds(&known) && stamp(&known) == stamp(job) => {
                jobs.save(jobs.held(Job { rev: known.rev, ..job.clone() })).await
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// Returns the end of a job's lease.
fn end_of(job: &Job) -> Instant {
    let left = job.holder.as_ref().and_then(|holder| holder.until.duration_since(SystemTime::now()).ok());
    Instant::now() + left.unwrap_or_default()
}

/// Returns what a renewal keeps, and whatever else saves the job changes. CouchDB has the times in milliseconds.
fn stamp(job: &Job) -> (bool, [u128; 2]) {
    let millis = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    (job.asked, [job.since, job.next].map(millis))
}

/// The number of jobs that are saved at once before a write, which waits for all of them.
pub const HELD_AT_ONCE: usize = 64;
