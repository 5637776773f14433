//! What a gateway is about to store, noted before it does: one that is killed leaves a job about it, not an object.
//!
//! The job is also the right to the object's name. Who clears up after a dead gateway holds the job, and an upload that
//! finds it held takes a name that nothing else has.

use stowage_storage::{Backend as _, Location, Object, Opened};

use crate::jobs::{Claim, Held, Job, Jobs};
use crate::pointer::StoredObject;

/// A job about an object that is being stored, or is not in its document yet. Dropped, it lasts as long as a gateway is
/// believed to live, and then the worker looks whether a document names the object.
pub(crate) struct Intent(Box<Held>);

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

    /// The object lies elsewhere, as a server that redirects has it: the job is about that place alone, before any document
    /// names it. What was noted may lead there too.
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

    /// Waits for something, and holds the job as long as that lasts.
    pub(crate) async fn during<F: Future>(&self, work: F) -> F::Output {
        self.0.during(work).await
    }

    /// Whether the job is held still, so that the object is not cleared away before its document is saved.
    pub(crate) async fn is_held(&self) -> bool {
        self.0.is_held().await
    }

    /// A document names the object, or it is gone. What a dead gateway left is the worker's to look after.
    pub(crate) async fn done(&self) {
        self.0.done().await;
    }
}

fn unnoted(reason: &str) -> Option<Intent> {
    tracing::warn!(reason, "what is about to be stored could not be noted: it stays if the gateway is killed now");
    None
}
