//! Removing an object, now or by a job.

use std::time::Duration;

use serde_json::json;
use stowage_base::activity::Activity;
use stowage_base::log::chain;
use stowage_storage::{self as storage, Backend as _, Location, Opened};

use super::operation::Operation;
use crate::gateway::Gateway;
use crate::jobs::Job;

/// Removes an object; tries a few times. Where its storage does not let it go, the job `removal` does that later.
pub(crate) async fn remove_object(gateway: &Gateway, backend: &Opened, removal: &Job, activity: &Activity) {
    let Some(place) = &removal.object else { return };
    let mut pause = FIRST_PAUSE;
    for left in (0..TRIES).rev() {
        let error =
            match try_to_remove(gateway, backend, (&place.handler, &place.storage), &place.location, activity).await {
                Ok(()) => return,
                Err(error) => error,
            };
        if left == 0 || backend.health().down().is_some() {
            return remove_later(gateway, removal, &chain(&error), activity).await;
        }
        tokio::time::sleep(pause).await;
        pause *= 4;
    }
}

/// Asks a storage once to remove an object.
pub(crate) async fn try_to_remove(
    gateway: &Gateway,
    backend: &Opened,
    whose: (&str, &str),
    location: &Location,
    activity: &Activity,
) -> storage::Result<()> {
    let operation = Operation::beside_request(gateway, activity, backend, whose, "delete")?;
    let outcome = backend.delete(location).await;
    operation.done(&outcome);
    outcome
}

/// Notes that an object is to go unless a document names it. Where there is no place for jobs, one line says what stays.
pub(crate) async fn remove_later(gateway: &Gateway, removal: &Job, why: &str, activity: &Activity) {
    let Some(place) = &removal.object else { return };
    let (request, storage, location) = (activity.id(), &place.storage, json!(place.location));
    match gateway.jobs.add(removal).await {
        Ok(_) => {
            tracing::warn!(%request, %storage, %location, why, "an object stays in its storage for now: a job removes it");
        }
        Err(reason) => {
            gateway.metrics.object_left();
            tracing::error!(%request, %storage, %location, why, reason, "an object stays in its storage, perhaps without a document");
        }
    }
}

/// How often a removal is tried.
pub(crate) const TRIES: u32 = 4;
/// The first pause between two tries; each is four times as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
