//! Bodies of up to one chunk: a single `Put Blob`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{HeaderValue, IF_NONE_MATCH};
use uuid::Uuid;

use super::account::{Account, check, is_taken};
use super::claim::{Claim, Made, OWNER, known};
use crate::engine::api::{Call, Lost, Reply};
use crate::engine::claim::{Answer, Attempt, Create, Name, create, names};
use crate::engine::finish::to_completion;
use crate::engine::media::media_type;
use crate::{Chunk, Digests, Object, Result, Stored};

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is a blob to be removed.
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
        let call = self.call(&name.text)?;
        let (account, blob, owner) = (Arc::clone(&self.account), name.text.clone(), self.owner.clone());
        let claim = Claim::doubtful(Made { account, blob, owner });
        claim.judge(answer(self.account.ask(&call).await, &self.md5, "store an object")).await
    }
}

/// What an answer to a request that makes a blob says; `md5` is that of the request's body, and `what` what it is for.
pub(super) fn answer(answer: std::result::Result<Reply, Lost>, md5: &str, what: &str) -> Answer<Option<String>> {
    match answer {
        Err(lost) => lost.into(),
        Ok(reply) if reply.is_done() => match check(&reply, md5) {
            Ok(()) => Answer::Created(known(&reply)),
            Err(error) => Answer::Corrupted(known(&reply), error),
        },
        Ok(reply) if is_taken(&reply) => Answer::Taken(reply.refusal(what), reply.doubtful),
        Ok(reply) if reply.had_no_effect() => Answer::Refused(reply.refusal(what), false),
        Ok(reply) => Answer::Unknown(reply.refusal(what)),
    }
}

impl Single {
    fn call(&self, name: &str) -> Result<Call> {
        let mut call = self.account.call(Method::PUT, None, name, "");
        call.data = self.chunk.data.clone();
        call.header("x-ms-blob-type", HeaderValue::from_static("BlockBlob"))
            .header(IF_NONE_MATCH, ANY)
            .text("x-ms-blob-content-type", &self.content_type)?
            .text("content-md5", &self.md5)?
            .text(OWNER, &self.owner)
    }
}

/// For `If-None-Match`: only where there is no blob.
pub(super) const ANY: HeaderValue = HeaderValue::from_static("*");
