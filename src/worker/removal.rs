//! Objects that nothing names any more.

use std::sync::Arc;

use stowage_base::activity::Activity;
use stowage_http::range::ByteRange;
use stowage_storage::{self as storage, Backend as _, Fetch};

use super::step::Step;
use crate::commit::cleanup::is_named;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::object::remove::try_to_remove;
use crate::object::storages::storage_of;
use crate::plan::plan_for;
use crate::router::Target;

/// Removes an object that no leaf of its document names.
///
/// It is looked at twice, `jobs.quiet` apart. An object that is there at the first look and unnamed at both is not one that
/// a request has stored under the same name and not saved yet: a name that is taken is not given away again, and a request
/// has ended long before the second look.
pub(super) async fn remove(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let (Some(place), Some(target)) = (&job.object, Target::of(&job.database, &job.document, &job.attachment)) else {
        return Ok(Step::Done);
    };
    let home = gateway.homes.of(&target.database).await?;
    let document = job.stand_in();
    let plan = plan_for(&gateway.plans, &target.database, &document).await?;
    for caller in home.own_accounts()? {
        if is_named(&caller, &target.of_document(), &plan, place).await? {
            return Ok(Step::Done);
        }
    }
    let backend = storage_of(gateway, &plan, &target.database, place)?;
    let failed = |error| Error::Storage(place.storage.as_str().into(), error);
    if job.seen.is_none() {
        let fetch = Fetch { range: None::<ByteRange>, length: None, metadata: &document.public_fields(&job.document) };
        return match backend.get(&place.location, fetch).await {
            Err(error) if error.kind() == storage::Kind::Missing => Ok(Step::Done),
            Err(error) if error.kind() == storage::Kind::Passing => Err(failed(error)),
            Ok(_) | Err(_) => Ok(Step::Waits { pause: gateway.jobs.config().quiet, seen: Some(LOOKED.to_owned()) }),
        };
    }
    let whose = (&*place.handler, &*place.storage);
    try_to_remove(gateway, &backend, whose, &place.location, &Activity::default()).await.map_err(failed)?;
    Ok(Step::Done)
}

/// What a removal says of its first look.
const LOOKED: &str = "looked";
