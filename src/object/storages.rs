//! Opens the storages that pointers and plans refer to.

use std::sync::Arc;

use stowage_base::settings::Settings;
use stowage_storage::{Opened, Reference, resolve};

use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::{DocumentPlan, Subject};
use crate::pointer::StoredObject;
use crate::router::Database;

/// Opens the storage that a pointer refers to, with the current plan's settings. The settings in an old pointer only serve storages that no plan
/// names any more.
pub(crate) fn storage_of(
    gateway: &Gateway,
    plan: &DocumentPlan,
    database: &Database,
    place: &StoredObject,
) -> Result<Arc<Opened>, Error> {
    let settings = settings_of(plan, database, place);
    open(gateway, &settings.ok_or_else(|| Error::Forgotten(place.storage.as_str().into()))?)
}

/// Returns the settings of the storage that a pointer refers to, if they are known.
pub(crate) fn settings_of(plan: &DocumentPlan, database: &Database, place: &StoredObject) -> Option<Settings> {
    let inside = place.inside.as_ref();
    let reference = Reference { handler: &place.handler, id: &place.storage, inside, location: &place.location };
    let document_type = plan.document_type.as_deref();
    let subject = Subject { class: database.class, database: &database.name, document_type };
    let known = resolve(reference, plan.reaches(&subject)).or_else(|| inside.cloned());
    known.or_else(|| fetched_simply(place))
}

/// Opens a storage.
pub(crate) fn open(gateway: &Gateway, settings: &Settings) -> Result<Arc<Opened>, Error> {
    gateway.storages.open(settings).map_err(|error| Error::Storage(settings.id().into(), error))
}

/// Returns settings to fetch an HTTP location, which needs no credentials, even if no plan names its storage any more.
fn fetched_simply(place: &StoredObject) -> Option<Settings> {
    let url = place.location.get("url").filter(|_| place.handler == "http")?;
    let members = [("url".to_owned(), url.clone())].into_iter().collect();
    Some(Settings::new(&place.storage, "http", members))
}
