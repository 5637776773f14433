//! Bodies of up to 4 MB: a single PUT (`learn.microsoft.com/onedrive/developer/rest-api/api/driveitem_put_content`).

use std::sync::Arc;

use http::Method;

use super::claim::{Claim, Made, Sum};
use super::drive::{Shared, bytes, may_be_taken};
use super::hash::QuickXor;
use crate::engine::claim::{Answer, Attempt, Create, Name, create, names};
use crate::engine::digest::computed;
use crate::engine::finish::to_completion;
use crate::{Chunk, Object, Result, Stored};

/// Maximum body of a single PUT, in bytes. Graph's documentation says 250 MB and OneDrive's own 4 MB; this satisfies both, and
/// either meaning of MB.
pub(super) const LARGEST: usize = 4_000_000;

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is an
/// item to remove.
pub(super) async fn store(drive: &Shared, object: &Object, chunk: Chunk) -> Result<Stored> {
    let data = chunk.data.clone();
    let hash = computed(move || {
        let mut hash = QuickXor::default();
        hash.update(&data);
        hash
    });
    let sum = Sum::from(&hash.await?);
    let single = create(names(object), Single { drive: Arc::clone(drive), sum, chunk });
    to_completion(&drive.tasks, "onedrive upload", single).await?.keep()
}

struct Single {
    drive: Shared,
    sum: Sum,
    chunk: Chunk,
}

impl Create for Single {
    type Made = Claim;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim>> {
        let action = ":/content?@microsoft.graph.conflictBehavior=fail";
        let call = bytes(self.drive.at(Method::PUT, &name.text, action), self.chunk.data.clone());
        let made = Made { drive: Arc::clone(&self.drive), name: name.clone(), sum: self.sum };
        let answer = match self.drive.ask(&call).await {
            Err(lost) => lost.into(),
            Ok(reply) if reply.is_done() => match reply.json() {
                Ok(item) => made.answer(item),
                Err(error) => Answer::Refused(error, true),
            },
            Ok(reply) => {
                let error = reply.refusal("store an object");
                if may_be_taken(&reply) {
                    // An earlier attempt may have created the very item this one conflicts with. Under a name that others may use, that cannot
                    // be determined: it is left alone, and the object gets its unique name.
                    Answer::Taken(error, reply.doubtful)
                } else {
                    Answer::Refused(error, !reply.had_no_effect())
                }
            }
        };
        Claim::doubtful(made).judge(answer).await
    }
}
