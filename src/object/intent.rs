//! Intents: jobs saved before an object is stored, so that a gateway killed in between leaves a job rather than an orphan.
//!
//! An object with an intent gets a name that nothing else has: once its gateway is dead, whatever is there can be removed, and no other document's
//! object is in danger.

use stowage_storage::{Location, Object};

use crate::jobs::{Claim, Held, Job, Jobs};

/// A job for an object that is being stored, or that its document does not name yet. Its lease is renewed until the intent is dropped; once the
/// lease has expired, a worker checks whether a document names the object.
pub(crate) struct Intent(Box<Held>);

impl Intent {
    /// Saves an intent for an object about to be stored, and gives the object the name in it. Returns the reason if jobs cannot be saved: the
    /// spare name must not be used then, as a worker may know it. `job` creates the removal job of a name.
    pub(crate) async fn write(jobs: &Jobs, object: &mut Object, job: impl Fn(&str) -> Job) -> Result<Self, String> {
        match jobs.claim(job(&object.spare).intent()).await? {
            Claim::Held(held) => {
                object.name.clone_from(&object.spare);
                object.taken = true;
                Ok(Self(held))
            }
            Claim::Taken => Err("a name that nothing else has is taken".to_owned()),
        }
    }

    /// Points the job at the object's actual location if a server has redirected the upload, before any document names it. The location noted first
    /// may redirect there as well.
    pub(crate) async fn moves_to(&self, location: &Location) {
        let change = |job: &mut Job| {
            let Some(object) = job.object.as_mut().filter(|object| !object.is_noted_for(location)) else {
                return false;
            };
            object.location = location.clone();
            true
        };
        self.0.change(change).await;
    }

    /// Returns whether the lease still holds, so that the object cannot be removed before its document is saved.
    pub(crate) async fn is_held(&self) -> bool {
        self.0.is_held().await
    }

    /// Removes the job, since a document names the object or the object is gone.
    pub(crate) async fn done(&self) {
        self.0.done().await;
    }
}
