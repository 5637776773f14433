//! Bodies of up to 4 MB: a single PUT (`learn.microsoft.com/onedrive/developer/rest-api/api/driveitem_put_content`).

use std::sync::Arc;

use http::Method;

use super::claim::{Claim, Name, Sum};
use super::drive::{Shared, bytes, may_be_taken};
use super::hash::QuickXor;
use crate::engine::finish::to_the_end;
use crate::{Chunk, Error, Kind, Object, Result, Stored};

/// The largest body of a single PUT, in bytes. Graph's page says 250 MB and OneDrive's own 4 MB; this is little enough for
/// both, and for those who count in powers of ten.
pub(super) const LARGEST: usize = 4_000_000;

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is an item to be removed.
pub(super) async fn store(drive: &Shared, object: &Object, chunk: Chunk) -> Result<Stored> {
    let single = single(Arc::clone(drive), candidates(object), chunk);
    to_the_end(&drive.tasks, "onedrive upload", single).await?.keep()
}

/// The names that an object may get, in order.
pub(super) fn candidates(object: &Object) -> Vec<Name> {
    let composed = (!object.taken).then(|| Name { text: object.name.clone(), unique: false });
    composed.into_iter().chain([Name { text: object.spare.clone(), unique: true }]).collect()
}

async fn single(drive: Shared, names: Vec<Name>, chunk: Chunk) -> Result<Claim> {
    let data = chunk.data.clone();
    let hash = tokio::task::spawn_blocking(move || {
        let mut hash = QuickXor::default();
        hash.update(&data);
        hash
    });
    let sum = Sum::from(&hash.await.map_err(|_| Error::new(Kind::Passing, "the body could not be hashed"))?);
    let mut taken = not_unique();
    for name in names {
        let call = bytes(
            drive.at(Method::PUT, &name.text, ":/content?@microsoft.graph.conflictBehavior=fail"),
            chunk.data.clone(),
        );
        let mut claim = Claim::doubtful(Arc::clone(&drive), name, sum);
        let reply = match drive.ask(&call).await {
            Ok(reply) => reply,
            Err(lost) if !lost.seen => {
                claim.give_up();
                return Err(lost.error);
            }
            Err(lost) => return if claim.settle().await? { Ok(claim) } else { Err(lost.error) },
        };
        if reply.is_done() {
            claim.confirm(reply.json()?)?;
            return Ok(claim);
        }
        if may_be_taken(&reply) {
            // An earlier try may have made the very item that this one met. Under a name that others may use that cannot
            // be known for certain: it is left alone, and the object gets the name that is its own.
            if reply.doubtful && claim.settle().await? {
                return Ok(claim);
            }
            claim.leave();
            taken = reply.refusal("store an object");
            continue;
        }
        if reply.had_no_effect() {
            claim.give_up();
        }
        return Err(reply.refusal("store an object"));
    }
    Err(taken)
}

pub(super) fn not_unique() -> Error {
    Error::new(Kind::Refused, "OneDrive says that a unique name is taken")
}
