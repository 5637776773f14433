//! Removing an object.

use std::time::Duration;

use serde_json::json;
use stowage_base::activity::Activity;
use stowage_base::log::chain;
use stowage_storage::{Backend, Location};

use super::operation::Operation;
use crate::gateway::Gateway;

/// An object that is to go.
pub(crate) struct Object<'a> {
    /// The kind of its storage.
    pub(crate) handler: &'a str,
    /// The id of its storage.
    pub(crate) storage: &'a str,
    pub(crate) location: &'a Location,
}

/// Removes an object; tries a few times, and says in one line what stays behind if the storage cannot be reached.
pub(crate) async fn remove_object(gateway: &Gateway, backend: &dyn Backend, object: Object<'_>, activity: &Activity) {
    let Object { handler, storage, location } = object;
    let mut pause = FIRST_PAUSE;
    for left in (0..TRIES).rev() {
        let operation = Operation::beside_request(gateway, activity, handler, storage, "delete");
        let outcome = backend.delete(location).await;
        operation.done(&outcome);
        match outcome {
            Ok(()) => return,
            Err(error) if left == 0 => {
                gateway.metrics.object_left();
                tracing::error!(
                    request = %activity.id(),
                    storage,
                    location = %json!(location),
                    error = %chain(&error),
                    "an object that no document names stays in the storage"
                );
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 4;
    }
}

/// How often a removal is tried.
pub(crate) const TRIES: u32 = 4;
/// The first pause between two tries; each is four times as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
