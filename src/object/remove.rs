//! Removes an object, now or by a job.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use stowage_base::activity::Activity;
use stowage_base::log::chain;
use stowage_storage::{self as storage, Backend as _, Location, Opened};

use super::operation::Operation;
use crate::gateway::Gateway;
use crate::jobs::Job;

/// Removes an object, with retries while its storage is busy. After any other failure, or if that lasts, the job `removal` does it later: an attempt
/// may have taken effect, and only a job makes sure that another gateway has not stored an object of the same name since.
pub(crate) async fn remove_object(gateway: &Gateway, backend: &Opened, removal: &Job, activity: &Activity) {
    let Some(place) = &removal.object else { return };
    let whose = (&*place.handler, &*place.storage);
    let mut pauses = PAUSES.into_iter();
    while let Err(error) = try_to_remove(gateway, backend, whose, &place.location, activity).await {
        let is_busy = matches!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS));
        match pauses.next().filter(|_| is_busy && backend.health().down().is_none()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return remove_later(gateway, removal, &chain(&error), activity).await,
        }
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
            let (database, document, attachment) = (&removal.database, &removal.document, &removal.attachment);
            tracing::error!(
                %request, %storage, %location, %database, %document, %attachment, why, reason,
                "an object stays in its storage, perhaps without a document"
            );
        }
    }
}

/// Adds a job for what a failed upload has left. Without a version, a job could not tell it from an object that another document has stored since,
/// unless the name is unique: then one log line names what stays.
pub(crate) async fn remove_leftover(gateway: &Gateway, removal: &Job, is_unique: bool, activity: &Activity) {
    let Some(place) = &removal.object else { return };
    if is_unique || place.etag.is_some() {
        return remove_later(gateway, removal, "an upload failed", activity).await;
    }
    gateway.metrics.object_left();
    let (request, storage, location) = (activity.id(), &place.storage, json!(place.location));
    let (database, document, attachment) = (&removal.database, &removal.document, &removal.attachment);
    tracing::error!(
        %request, %storage, %location, %database, %document, %attachment,
        "a failed upload may have left an object, whose version its storage does not tell: it stays"
    );
}

/// The pauses between attempts.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];
