//! What a gateway is about to store, noted before it does: one that is killed leaves a job about it, not an object.
//!
//! The job is also the right to the object's name. Who clears up after a dead gateway holds the job, and an upload that
//! finds it held takes a name that nothing else has.

use std::sync::{Mutex, PoisonError};

use stowage_storage::{Backend as _, Location, Object, Opened};
use tokio::time::Instant;

use crate::jobs::{Claim, Job, Jobs};
use crate::pointer::StoredObject;

/// A job about an object that is being stored, or is not in its document yet. Dropped, it lasts as long as a gateway is
/// believed to live, and then the worker looks whether a document names the object.
pub(crate) struct Intent {
    jobs: Jobs,
    /// As it was saved last, and when that was.
    held: Mutex<(Job, Option<Instant>)>,
    /// Whether it was a gateway's that is dead.
    inherits: bool,
}

impl Intent {
    /// Notes an object that is about to be stored; may choose its name. `None` where nothing is noted: `jobs.intents` is off,
    /// the storage chooses places itself, or there is no place for jobs. `job` makes a removal of a place.
    pub(crate) async fn write(
        jobs: &Jobs,
        backend: &Opened,
        object: &mut Object,
        job: impl Fn(StoredObject) -> Job,
        place: impl Fn(&Location) -> StoredObject,
    ) -> Option<Self> {
        if !jobs.config().intents || !jobs.is_open() {
            return None;
        }
        let mut places = backend.places(object);
        let spare = places.pop()?;
        if let (false, Some(composed)) = (object.taken, places.pop()) {
            let mut both = job(place(&composed)).intent();
            both.spares.push(spare.clone());
            match jobs.claim(both).await {
                Ok(Claim::Held { job, inherits }) => return Some(Self::of(jobs, *job, inherits)),
                Ok(Claim::Taken) => object.taken = true,
                Err(reason) => return unnoted(&reason),
            }
        }
        match jobs.claim(job(place(&spare)).intent()).await {
            Ok(Claim::Held { job, inherits }) => Some(Self::of(jobs, *job, inherits)),
            Ok(Claim::Taken) => unnoted("a name that nothing else has is taken"),
            Err(reason) => unnoted(&reason),
        }
    }

    fn of(jobs: &Jobs, held: Job, inherits: bool) -> Self {
        Self { jobs: jobs.clone(), held: Mutex::new((held, Some(Instant::now()))), inherits }
    }

    /// The object lies elsewhere, as a server that redirects has it: the job is about that place alone, before any document
    /// names it. What was noted may lead there too.
    pub(crate) async fn moves_to(&self, location: &Location) {
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let job = &mut held.0;
            let noted = job.object.as_ref().is_some_and(|object| object.location == *location);
            if noted || job.spares.contains(location) {
                return;
            }
            job.spares.clear();
            if let Some(object) = &mut job.object {
                object.location = location.clone();
            }
        }
        self.renew().await;
    }

    /// Waits for something, and holds the job as long as that lasts.
    pub(crate) async fn during<F: Future>(&self, work: F) -> F::Output {
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

    /// Whether the job is held still, so that the object is not cleared away before its document is saved.
    pub(crate) async fn is_held(&self) -> bool {
        let since = self.held.lock().unwrap_or_else(PoisonError::into_inner).1;
        since.is_some_and(|since| since.elapsed() < self.jobs.config().lease / 3) || self.renew().await
    }

    async fn renew(&self) -> bool {
        let job = self.held.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        match self.jobs.save(self.jobs.held(job)).await {
            Ok(Some(held)) => {
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = (held, Some(Instant::now()));
                true
            }
            // Another gateway has it.
            Ok(None) => self.is_lost(),
            Err(reason) => {
                tracing::debug!(reason, "a job about what is being stored could not be renewed");
                self.is_lost()
            }
        }
    }

    /// It has to be renewed before it is believed again.
    fn is_lost(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
        false
    }

    /// A document names the object, or it is gone. What a dead gateway left is the worker's to look after.
    pub(crate) async fn done(&self) {
        let mut job = self.held.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let ended = match self.inherits {
            true => {
                job.holder = None;
                self.jobs.save(job).await.map(drop)
            }
            false => self.jobs.drop_done(&job).await.map(drop),
        };
        if let Err(reason) = ended {
            tracing::debug!(reason, "a job about what was stored stays: it finds nothing to do");
        }
    }
}

fn unnoted(reason: &str) -> Option<Intent> {
    tracing::warn!(reason, "what is about to be stored could not be noted: it stays if the gateway is killed now");
    None
}
