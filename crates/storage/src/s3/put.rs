//! Bodies of up to one chunk: a single signed PUT.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use uuid::Uuid;

use super::bucket::{Bucket, Call, Lost, Reply};
use super::claim::{Claim, Made, OWNER, with_tag};
use super::sign::Payload;
use crate::engine::claim::{Answer, Attempt, Create, Name, create, is_free, names};
use crate::engine::finish::to_completion;
use crate::engine::media::media_type;
use crate::{Chunk, Digests, Error, Kind, Object, Result, Stored};

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is an
/// object to remove.
pub(super) async fn store(bucket: &Arc<Bucket>, object: &Object, chunk: Chunk, digests: &Digests) -> Result<Stored> {
    let owner = Uuid::new_v4().simple().to_string();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, value(&media_type(&object.content_type))?);
    headers.insert(MD5, value(&STANDARD.encode(digests.md5))?);
    headers.insert(HeaderName::from_static(OWNER), value(&owner)?);
    let single = Single { bucket: Arc::clone(bucket), owner, headers, md5: digests.md5, sha256: digests.sha256, chunk };
    to_completion(&bucket.tasks, "s3 put", create(names(object), single)).await?.keep()
}

struct Single {
    bucket: Arc<Bucket>,
    owner: String,
    headers: HeaderMap,
    md5: [u8; 16],
    sha256: [u8; 32],
    chunk: Chunk,
}

impl Create for Single {
    type Made = Claim;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim>> {
        let key = &name.text;
        let mut call = Call::new(Method::PUT, key, "");
        call.headers = self.headers.clone();
        call.data = self.chunk.data.clone();
        call.payload = Payload::Sha256(self.sha256);
        if !name.unique {
            // Servers other than Amazon's may ignore the condition below.
            if self.bucket.address.custom && !is_free(self.bucket.head(key).await)? {
                return Ok(Attempt::Taken(Error::new(Kind::Refused, "something else is at the key")));
            }
            call.headers.insert(IF_NONE_MATCH, ANY);
        }
        let made = Made { bucket: Arc::clone(&self.bucket), key: key.clone(), owner: self.owner.clone() };
        let claim = Claim::doubtful(made);
        let answer = self.send(call).await?;
        match claim.judge(answer).await? {
            Attempt::Made(claim) => with_tag(claim).await.map(Attempt::Made),
            taken @ Attempt::Taken(_) => Ok(taken),
        }
    }
}

impl Single {
    async fn send(&self, mut call: Call) -> Result<Answer<Option<String>>> {
        // Whether any attempt before the last may have taken effect.
        let mut doubtful = false;
        loop {
            let reply = match self.bucket.ask(&call).await {
                Ok(reply) => reply,
                Err(lost) => return Ok(Lost { seen: lost.seen || doubtful, ..lost }.into()),
            };
            doubtful |= reply.doubtful;
            if reply.status == StatusCode::NOT_IMPLEMENTED && call.headers.remove(IF_NONE_MATCH).is_some() {
                if self.bucket.address.custom || is_free(self.bucket.head(&call.key).await)? {
                    continue;
                }
                return Ok(Answer::Taken(reply.refusal("store an object"), doubtful));
            }
            return Ok(self.read(&reply, doubtful));
        }
    }

    fn read(&self, reply: &Reply, doubtful: bool) -> Answer<Option<String>> {
        if reply.is_done() {
            let etag = reply.etag();
            return if self.bucket.tags.contradict(&reply.headers, etag.as_deref(), &self.md5) {
                Answer::Corrupted(etag, other_bytes())
            } else {
                Answer::Created(etag)
            };
        }
        let error = reply.refusal("store an object");
        match reply.status {
            StatusCode::PRECONDITION_FAILED => Answer::Taken(error, doubtful),
            status => Answer::Refused(error, doubtful || !status.is_client_error()),
        }
    }
}

pub(super) fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::new(Kind::Refused, "a header for S3 cannot be made"))
}

fn other_bytes() -> Error {
    Error::new(Kind::Passing, "S3 has stored other bytes than it was sent, says its ETag")
}

/// RFC 1864.
pub(super) const MD5: HeaderName = HeaderName::from_static("content-md5");
/// For `If-None-Match`: only succeeds if there is no object (supported by Amazon since 2024, "Conditional writes").
pub(super) const ANY: HeaderValue = HeaderValue::from_static("*");
