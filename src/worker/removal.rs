//! Removes objects that nothing names any more.

use std::sync::Arc;

use serde_json::json;
use stowage_base::activity::Activity;
use stowage_storage::{self as storage, Backend as _, Download, Fetch};

use super::step::{Shown, Step, is_of_object};
use crate::commit::cleanup::{UNSURE, named_by};
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
/// Leftovers of a dead gateway's upload are removed at once, as nothing else has their name. Any other object is checked twice,
/// `jobs.quiet` apart. If it exists at the first check and is unnamed at both, no request can have stored it under the same name without having saved
/// it yet: a taken name is not reused, and any request ends long before the second check.
pub(super) async fn remove(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let (Some(place), Some(target)) = (&job.object, Target::of(&job.database, &job.document, &job.attachment)) else {
        return Ok(Step::Done);
    };
    let document = job.stand_in();
    // Without the plan, a document that names the object would be looked for on the wrong server, and be gone.
    gateway.plans.all_read(target.database.account.as_ref(), document.text("owner_id").as_deref()).await?;
    let home = gateway.homes.of(&target.database).await?;
    let plan = plan_for(&gateway.plans, &target.database, &document).await?;
    let mut is_unsure = false;
    for caller in home.own_accounts()? {
        let named = named_by(&caller, &target.of_document(), &plan).await?;
        if named.objects.iter().any(|pointer| may_be(&pointer.stowage, place, job.intent)) {
            return Ok(Step::Done);
        }
        // It may be the deleted revision's, which can still be read.
        if job.in_doubt && named.keeps_deleted {
            return Ok(Step::Done);
        }
        is_unsure |= named.is_unsure;
    }
    if is_unsure {
        return Err(Error::bad_gateway(format!("the object stays: {UNSURE}")));
    }
    let backend = storage_of(gateway, &plan, &target.database, place)?;
    let failed = |error| Error::Storage(place.storage.as_str().into(), error);
    if !job.intent {
        let fetch = Fetch { range: None, length: None, metadata: &document.public_fields(&job.document) };
        match backend.get(&place.location, fetch).await {
            Err(error) if error.kind() == storage::Kind::Missing => return Ok(Step::Done),
            Ok(download) if is_another(&download, place) => {
                let (storage, location) = (&place.storage, json!(place.location));
                tracing::warn!(job = %job.id, storage, %location, "another version of an object to be removed is there: it stays");
                return Ok(Step::Done);
            }
            Err(error) if fails_removal(&error) => return Err(failed(error)),
            looked if job.seen.is_none() => {
                let pause = gateway.jobs.config().quiet;
                let shown =
                    if looked.err().is_none_or(|error| is_of_object(&error)) { Shown::Answers } else { Shown::Nothing };
                return Ok(Step::Waits { pause, seen: Some(LOOKED.to_owned()), shown });
            }
            Ok(_) | Err(_) => {}
        }
    }
    let whose = (&*place.handler, &*place.storage);
    let removed = if job.intent {
        backend.clear(&place.location).await
    } else {
        try_to_remove(gateway, &backend, whose, &place.location, &Activity::default()).await
    };
    removed.map_err(failed)?;
    Ok(Step::Done)
}

/// Returns whether a removal would fail as this look at its object has, with one more wrong password. A storage that cannot be read, as an FTP server
/// that tells no length, may still remove.
fn fails_removal(error: &storage::Error) -> bool {
    use storage::Kind;
    error.is_of_login() || matches!(error.kind(), Kind::Passing | Kind::Settings | Kind::Location)
}

/// Returns whether the storage has another version than the one to be removed. Another document's object may have got the name since, where a plan
/// gives several attachments the same one.
fn is_another(download: &Download, object: &StoredObject) -> bool {
    matches!((&download.etag, &object.etag), (Some(there), Some(known)) if there != known)
}

/// Returns whether a document names the object of a job.
fn may_be(named: &StoredObject, object: &StoredObject, is_intent: bool) -> bool {
    if is_intent {
        named.storage == object.storage && object.is_noted_for(&named.location)
    } else {
        named.is_same(object)
    }
}

/// The mark that a removal had its first check.
const LOOKED: &str = "looked";
