//! Bodies of up to one chunk: a single `Put Blob`.

use std::sync::Arc;

use azure_core::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::ask::{Account, Call};
use super::claim::{Claim, OWNER};
use crate::engine::finish::to_the_end;
use crate::{Chunk, Digests, Error, Kind, Object, Result, Stored};

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is a blob to be removed.
pub(super) async fn store(account: &Arc<Account>, object: &Object, chunk: Chunk, digests: &Digests) -> Result<Stored> {
    let single = Single {
        account: Arc::clone(account),
        name: (!object.taken).then(|| object.name.clone()),
        spare: object.spare.clone(),
        owner: Uuid::new_v4().simple().to_string(),
        content_type: content_type(&object.content_type),
        md5: STANDARD.encode(digests.md5),
        chunk,
    };
    to_the_end(&account.tasks, "azure put", single.store()).await.map(Claim::keep)
}

struct Single {
    account: Arc<Account>,
    /// `None`: it is taken.
    name: Option<String>,
    spare: String,
    owner: String,
    content_type: String,
    md5: String,
    chunk: Chunk,
}

impl Single {
    async fn store(self) -> Result<Claim> {
        if let Some(name) = &self.name
            && let Some(claim) = self.create(name).await?
        {
            return Ok(claim);
        }
        let claim = self.create(&self.spare).await?;
        claim.ok_or_else(|| Error::new(Kind::Refused, "Azure says that a unique name is taken"))
    }

    /// `None`: something else is there.
    async fn create(&self, name: &str) -> Result<Option<Claim>> {
        let call = self.call(name)?;
        let mut claim = Claim::doubtful(Arc::clone(&self.account), name, &self.owner);
        let reply = match self.account.ask(&call).await {
            Ok(reply) => reply,
            Err(lost) if !lost.seen => {
                claim.give_up();
                return Err(lost.error);
            }
            Err(lost) => return if claim.settle().await.unwrap_or(false) { Ok(Some(claim)) } else { Err(lost.error) },
        };
        if reply.is_done() {
            claim.confirm(&reply);
            return reply.check(&self.md5).map(|()| Some(claim));
        }
        if reply.is_taken() {
            // The first try may have made the very blob that the second one met, or may still be at it: then the claim stays.
            if reply.doubtful && claim.settle().await.unwrap_or(false) {
                return Ok(Some(claim));
            }
            if !reply.doubtful {
                claim.give_up();
            }
            return Ok(None);
        }
        if !reply.doubtful {
            claim.give_up();
        }
        Err(reply.refusal())
    }

    fn call(&self, name: &str) -> Result<Call> {
        let call = self.account.call("store an object", Method::Put, None, name)?;
        Ok(call
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-blob-content-type", &self.content_type)
            .header("content-md5", &self.md5)
            .header("if-none-match", "*")
            .header(OWNER, &self.owner)
            .data(self.chunk.data.clone()))
    }
}

/// The media type for a header; what cannot stand in one is left out.
pub(super) fn content_type(given: &str) -> String {
    // What is signed has single spaces.
    let text = given.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fits { text } else { "application/octet-stream".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn media_types_fit_into_a_header() {
        assert_eq!(content_type("audio/mpeg;  charset=x"), "audio/mpeg; charset=x");
        for unfit in ["", " ", "a\u{7f}", "ü"] {
            assert_eq!(content_type(unfit), "application/octet-stream", "{unfit}");
        }
        assert_eq!(content_type("a\r\nb: c"), "a b: c");
    }
}
