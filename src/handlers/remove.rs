//! Removing objects that no document names.

use std::time::Duration;

use serde_json::json;

use super::Gateway;
use super::operation::Operation;
use crate::couch::Document;
use crate::pointer::{self, Entry, Pointer};
use crate::router::Target;
use crate::storage::{Backend, Location};
use crate::telemetry::activity::Activity;
use crate::telemetry::log::chain;

/// An object that is to go.
pub(super) struct Object<'a> {
    /// The kind of its storage.
    pub(super) handler: &'a str,
    /// The id of its storage.
    pub(super) storage: &'a str,
    pub(super) location: &'a Location,
}

/// Removes an object; tries a few times, and says in one line what stays behind if the storage cannot be reached.
pub(super) async fn remove_object(gateway: &Gateway, backend: &dyn Backend, object: Object<'_>, activity: &Activity) {
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

/// Removes the object of a pointer that a save has replaced or taken out, unless it is not the document's own.
///
/// `saved` is the document as it was saved. A pointer that came from another document (a copy) may be read here but not
/// deleted by; an object that another entry of the document names stays as well.
pub(super) async fn remove_replaced(
    gateway: &Gateway,
    target: &Target,
    saved: &Document,
    backend: &dyn Backend,
    replaced: &Pointer,
    activity: &Activity,
) {
    let place = &replaced.stowage;
    let own = place.owner.as_ref().is_some_and(|owner| {
        owner.database == target.database.name
            && owner.document == target.document
            && owner.attachment == target.attachment
    });
    let kept = pointer::find(saved, target.at()).ok().flatten().and_then(Entry::object);
    let same = kept.is_some_and(|kept| kept.stowage.is_same(place));
    if own && !same && !pointer::is_shared(saved, target.at(), place) {
        let object = Object { handler: &place.handler, storage: &place.storage, location: &place.location };
        remove_object(gateway, backend, object, activity).await;
    }
}

/// How often a removal is tried.
const TRIES: u32 = 4;
/// The first pause between two tries; each is four times as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
