//! Moves out the attachments that CouchDB kept while their storage was down, and makes copies that failed.

use std::sync::Arc;

use super::step::{Shown, Step};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::moving::{self, Found, Moved, Native, natives};
use crate::router::Target;

/// Moves an attachment out of CouchDB, once its document has been unchanged for a while, so that a client in the middle of its own changes does not
/// meet a new revision.
pub(super) async fn move_out(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let Some((found, _)) = native(gateway, job).await? else { return Ok(Step::Done) };
    let mut moved = found.to_move_out()?;
    moved.retain(|native| native.name == job.attachment);
    let quiet = gateway.jobs.config().quiet;
    if !moved.is_empty() && job.seen != found.document.rev() {
        return Ok(Step::Waits { pause: quiet, seen: found.document.rev(), shown: Shown::Nothing });
    }
    Ok(match found.move_out(gateway, moved).await? {
        Moved::Done { .. } | Moved::Nothing => Step::Done,
        // A client was faster: its revision has to rest first as well.
        Moved::Conflict => Step::Waits { pause: quiet, seen: None, shown: Shown::Nothing },
    })
}

/// Makes the copy of an attachment in CouchDB.
pub(super) async fn copy(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    if let Some((found, native)) = native(gateway, job).await? {
        moving::copy(gateway, &found, &native).await?;
    }
    Ok(Step::Done)
}

/// Returns the attachment of a job; `None` if CouchDB no longer has it.
async fn native(gateway: &Gateway, job: &Job) -> Result<Option<(Found, Native)>, Error> {
    let Some(target) = Target::of(&job.database, &job.document, &job.attachment) else { return Ok(None) };
    let Some(found) = Found::read(gateway, &target).await? else { return Ok(None) };
    let native = natives(&found.document, &found.target).into_iter().find(|native| native.name == job.attachment);
    Ok(native.map(|native| (found, native)))
}
