//! Removes objects that nothing names any more.

use std::sync::Arc;

use stowage_base::activity::Activity;
use stowage_storage::{self as storage, Backend as _, Fetch, Location};

use super::step::Step;
use crate::commit::cleanup::named_by;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::object::remove::try_to_remove;
use crate::object::storages::storage_of;
use crate::plan::plan_for;
use crate::pointer::StoredObject;
use crate::router::Target;

/// Removes an object that no leaf of its document names.
///
/// Leftovers of a dead gateway's upload are removed at once: this gateway holds the job, and with it the name. Any other object is checked twice,
/// `jobs.quiet` apart. If it exists at the first check and is unnamed at both, no request can have stored it under the same name without having saved
/// it yet: a taken name is not reused, and any request ends long before the second check.
pub(super) async fn remove(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let (Some(place), Some(target)) = (&job.object, Target::of(&job.database, &job.document, &job.attachment)) else {
        return Ok(Step::Done);
    };
    let locations: Vec<&Location> = [&place.location].into_iter().chain(&job.spares).collect();
    let home = gateway.homes.of(&target.database).await?;
    let document = job.stand_in();
    let plan = plan_for(&gateway.plans, &target.database, &document).await?;
    let mut named = Vec::new();
    for caller in home.own_accounts()? {
        named.extend(named_by(&caller, &target.of_document(), &plan).await?);
    }
    let is_named = |location: &Location| {
        let place = StoredObject { location: location.clone(), ..(**place).clone() };
        named.iter().any(|pointer| pointer.stowage.is_same(&place))
    };
    let unnamed: Vec<&Location> = locations.iter().filter(|location| !is_named(location)).copied().collect();
    if unnamed.is_empty() {
        return Ok(Step::Done);
    }
    let backend = storage_of(gateway, &plan, &target.database, place)?;
    let failed = |error| Error::Storage(place.storage.as_str().into(), error);
    if !job.intent && job.seen.is_none() {
        let fetch = Fetch { range: None, length: None, metadata: &document.public_fields(&job.document) };
        return match backend.get(&place.location, fetch).await {
            Err(error) if error.kind() == storage::Kind::Missing && job.spares.is_empty() => Ok(Step::Done),
            Err(error) if error.kind() == storage::Kind::Passing => Err(failed(error)),
            Ok(_) | Err(_) => Ok(Step::Waits { pause: gateway.jobs.config().quiet, seen: Some(LOOKED.to_owned()) }),
        };
    }
    let whose = (&*place.handler, &*place.storage);
    for location in unnamed {
        match job.intent {
            true => backend.clear(location).await.map_err(failed)?,
            false => try_to_remove(gateway, &backend, whose, location, &Activity::default()).await.map_err(failed)?,
        }
    }
    Ok(Step::Done)
}

/// The mark that a removal had its first check.
const LOOKED: &str = "looked";
