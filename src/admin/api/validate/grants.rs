//! Checks that the OAuth documents named by a plan exist: without them nothing can be stored, even if the credential check is skipped.

use stowage_storage::{OAuth, driver};

use super::super::envelope::{Errors, Failure};
use super::references::Ground;
use crate::error::Error;

/// Refuses a storage that names an OAuth document that does not exist.
///
/// # Errors
/// Returns a 400 with each of them, or a 503 if CouchDB does not respond.
pub(in crate::admin::api) async fn check_grants(ground: &Ground, oauth: &OAuth) -> Result<(), Failure> {
    let mut errors = Errors::default();
    for id in ground.own_ids("attachments") {
        let Some(settings) = ground.merged.storage(id) else { continue };
        let named = driver(settings.handler()).and_then(|driver| driver.grant(&settings));
        let Some((key, document)) = named else { continue };
        let known = oauth.knows(&document).await;
        if !known.map_err(|error| Failure::from(Error::Storage(id.as_str().into(), error)))? {
            let message = format!("{key} names an OAuth document that does not exist");
            errors.say(&["attachments", id, "settings", key], "invalid", message);
        }
    }
    errors.check()
}
