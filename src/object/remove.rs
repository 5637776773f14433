//! Removes an object, now or by a job.

use std::time::Duration;

use serde_json::json;
use stowage_base::activity::Activity;
use stowage_base::log::chain;
use stowage_storage::{self as storage, Backend as _, Location, Opened};

use super::operation::Operation;
use crate::gateway::Gateway;
use crate::jobs::Job;

/// Removes an object, with retries. If its storage cannot, the job `removal` does it later.
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

/// Attempts once to remove an object from its storage.
pub(crate) async fn try_to_remove(
    gateway: &Gateway,
    backend: &Opened,
    whose: (&str, &str),
    location: &Location,
    activity: &Activity,
) -> storage::Result<()> {
    let operation = Operation::beside_request(gateway, activity, backend, whose, "delete").await?;
    let outcome = backend.delete(location).await;
    operation.done(&outcome);
    outcome
}

/// Adds a job that removes an object unless a document names it. If jobs cannot be saved, one log line names what stays.
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

/// The number of attempts.
pub(crate) const TRIES: u32 = 4;
/// The delay before the first retry; it quadruples with each further retry.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
