//! Bodies of up to one chunk: a single `Put Blob`.

use std::sync::Arc;

use azure_core::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::ask::{Account, Lost, Reply};
use super::claim::{Claim, Made, OWNER, known};
use crate::engine::claim::{Answer, Attempt, Create, Name, create, names};
use crate::engine::finish::to_completion;
use crate::engine::media::media_type;
use crate::{Chunk, Digests, Object, Result, Stored};

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is a
/// blob to remove.
pub(super) async fn store(account: &Arc<Account>, object: &Object, chunk: Chunk, digests: &Digests) -> Result<Stored> {
    let single = Single {
        account: Arc::clone(account),
        owner: Uuid::new_v4().simple().to_string(),
        content_type: media_type(&object.content_type),
        md5: STANDARD.encode(digests.md5),
        chunk,
    };
    to_completion(&account.tasks, "azure put", create(names(object), single)).await?.keep()
}

struct Single {
    account: Arc<Account>,
    owner: String,
    content_type: String,
    md5: String,
    chunk: Chunk,
}

impl Create for Single {
    type Made = Claim;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim>> {
        let call = self.account.call("store an object", Method::Put, None, &name.text)?;
        let call = call
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-blob-content-type", &self.content_type)
            .header("content-md5", &self.md5)
            .header("if-none-match", "*")
            .header(OWNER, &self.owner)
            .data(self.chunk.data.clone());
        let (account, blob, owner) = (Arc::clone(&self.account), name.text.clone(), self.owner.clone());
        let claim = Claim::doubtful(Made { account, blob, owner });
        claim.judge(answer(self.account.ask(&call).await, &self.md5)).await
    }
}

/// Interprets the response to a request that creates a blob; `md5` is that of the request body.
pub(super) fn answer(answer: std::result::Result<Reply, Lost>, md5: &str) -> Answer<Option<String>> {
    match answer {
        Err(lost) => lost.into(),
        Ok(reply) if reply.is_done() => match reply.check(md5) {
            Ok(()) => Answer::Created(known(&reply)),
            Err(error) => Answer::Corrupted(known(&reply), error),
        },
        Ok(reply) if reply.is_taken() => Answer::Taken(reply.refusal(), reply.doubtful),
        Ok(reply) if reply.doubtful => Answer::Unknown(reply.refusal()),
        Ok(reply) => Answer::Refused(reply.refusal(), false),
    }
}
