//! Intents: jobs saved before an object is stored, so that a gateway killed in between leaves a job rather than an orphan.
//!
//! The job is also a lock on the object's name. A worker that cleans up after a dead gateway holds the job, and an upload that finds it held uses a
//! unique name instead.

use stowage_storage::{Backend as _, Location, Object, Opened};

use crate::jobs::{Claim, Held, Job, Jobs};
use crate::pointer::StoredObject;

/// A job for an object that is being stored, or that its document does not name yet. After a drop, its lease runs until it expires; then a worker
/// checks whether a document names the object.
pub(crate) struct Intent(Box<Held>);

impl Intent {
    /// Saves an intent for an object about to be stored, possibly choosing its name. Returns `None` if there is no intent: `jobs.intents` is off, the
    /// storage chooses its own locations, or jobs cannot be saved. `job` creates the removal job of a location.
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
                Ok(Claim::Held(held)) => return Some(Self(held)),
                Ok(Claim::Taken) => object.taken = true,
                Err(reason) => return unnoted(&reason),
            }
        }
        match jobs.claim(job(place(&spare)).intent()).await {
            Ok(Claim::Held(held)) => Some(Self(held)),
            Ok(Claim::Taken) => unnoted("a name that nothing else has is taken"),
            Err(reason) => unnoted(&reason),
        }
    }

    /// Points the job at the object's actual location if a server has redirected the upload, before any document names it. The locations noted first
    /// may redirect there as well.
    pub(crate) async fn moves_to(&self, location: &Location) {
        let changed = self.0.change(|job| {
            let noted = job.object.as_ref().is_some_and(|object| object.location == *location);
            if noted || job.spares.contains(location) {
                return false;
            }
            job.spares.clear();
            if let Some(object) = &mut job.object {
                object.location = location.clone();
            }
            true
        });
        if changed {
            self.0.renew().await;
        }
    }

    /// Runs a future, renewing the lease until it completes.
    pub(crate) async fn during<F: Future>(&self, work: F) -> F::Output {
        self.0.during(work).await
    }

    /// Returns whether the lease still holds, so that the object cannot be removed before its document is saved.
    pub(crate) async fn is_held(&self) -> bool {
        self.0.is_held().await
    }

    /// Removes the job, since a document names the object or the object is gone. Objects that a dead gateway left behind are for the worker to clean
    /// up.
    pub(crate) async fn done(&self) {
        self.0.done().await;
    }
}

fn unnoted(reason: &str) -> Option<Intent> {
    tracing::warn!(reason, "what is about to be stored could not be noted: it stays if the gateway is killed now");
    None
}
