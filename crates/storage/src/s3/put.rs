//! Bodies of up to one chunk: a single signed PUT.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use uuid::Uuid;

use super::ask::{Bucket, Call};
use super::claim::{Claim, Found, OWNER};
use super::sign::Payload;
use crate::engine::finish::to_the_end;
use crate::{Chunk, Digests, Error, Kind, Object, Result, Stored};

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is an object to be removed.
pub(super) async fn store(bucket: &Arc<Bucket>, object: &Object, chunk: Chunk, digests: &Digests) -> Result<Stored> {
    let single = Single {
        bucket: Arc::clone(bucket),
        name: (!object.taken).then(|| object.name.clone()),
        spare: object.spare.clone(),
        owner: Uuid::new_v4().simple().to_string(),
        headers: headers(&object.content_type, digests)?,
        md5: digests.md5,
        sha256: digests.sha256,
        chunk,
    };
    to_the_end(&bucket.tasks, "s3 put", single.store()).await.map(Claim::keep)
}

struct Single {
    bucket: Arc<Bucket>,
    /// `None`: it is taken.
    name: Option<String>,
    spare: String,
    owner: String,
    headers: HeaderMap,
    md5: [u8; 16],
    sha256: [u8; 32],
    chunk: Chunk,
}

impl Single {
    async fn store(self) -> Result<Claim> {
        if let Some(name) = &self.name
            && let Some(claim) = self.create(name).await?
        {
            return Ok(claim);
        }
        let call = self.call(&self.spare)?;
        self.send(call).await?.ok_or_else(|| Error::new(Kind::Refused, "S3 says that a unique name is taken"))
    }

    /// Stores under the composed name; `None`: it is taken.
    async fn create(&self, name: &str) -> Result<Option<Claim>> {
        // Another server than Amazon's may ignore the condition below.
        if self.bucket.address.custom && !self.bucket.is_free(name).await? {
            return Ok(None);
        }
        let mut call = self.call(name)?;
        call.headers.insert(IF_NONE_MATCH, ANY);
        self.send(call).await
    }

    /// `None`: something else is there.
    async fn send(&self, mut call: Call) -> Result<Option<Claim>> {
        let mut claim = Claim::doubtful(Arc::clone(&self.bucket), &call.key, &self.owner);
        // Whether any try before the last one may have had its effect.
        let mut doubtful = false;
        loop {
            let reply = match self.bucket.ask(&call).await {
                Ok(reply) => reply,
                Err(lost) if !lost.seen && !doubtful => {
                    claim.give_up();
                    return Err(lost.error);
                }
                Err(lost) => {
                    return if claim.settle().await.unwrap_or(false) { Ok(Some(claim)) } else { Err(lost.error) };
                }
            };
            doubtful |= reply.doubtful;
            if reply.is_done() {
                let etag = reply.etag();
                let wrong = self.bucket.tags.contradict(&reply.headers, etag.as_deref(), &self.md5);
                claim.confirm(etag);
                if wrong {
                    // What was stored is removed with the claim.
                    return Err(other_bytes());
                }
                claim.look_for_tag().await?;
                return Ok(Some(claim));
            }
            if reply.is(StatusCode::PRECONDITION_FAILED) {
                // The first try may have made the very object that the second one met, or may still be at it: then the claim stays.
                if doubtful && claim.settle().await.unwrap_or(false) {
                    return Ok(Some(claim));
                }
                if !doubtful {
                    claim.give_up();
                }
                return Ok(None);
            }
            if reply.is(StatusCode::NOT_IMPLEMENTED) && call.headers.remove(IF_NONE_MATCH).is_some() {
                if self.bucket.address.custom || self.bucket.is_free(&call.key).await? {
                    continue;
                }
                if !doubtful {
                    claim.give_up();
                }
                return Ok(None);
            }
            if reply.status.is_client_error() && !doubtful {
                claim.give_up();
            }
            return Err(reply.refusal("store an object"));
        }
    }

    fn call(&self, key: &str) -> Result<Call> {
        let mut call = Call::new(Method::PUT, key, "");
        call.headers = self.headers.clone();
        call.headers.insert(HeaderName::from_static(OWNER), value(&self.owner)?);
        call.data = self.chunk.data.clone();
        call.payload = Payload::Sha256(self.sha256);
        Ok(call)
    }
}

impl Bucket {
    /// Whether the server says that nothing is at a key.
    pub(super) async fn is_free(&self, key: &str) -> Result<bool> {
        Ok(matches!(self.look(key).await?, Found::Nothing))
    }
}

/// The media type for a header; what cannot stand in one is left out.
pub(super) fn content_type(given: &str) -> HeaderValue {
    // Servers disagree about runs of spaces in what was signed.
    let text = given.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    HeaderValue::from_str(&text).ok().filter(|_| fits).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

pub(super) fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::new(Kind::Refused, "a header for S3 cannot be made"))
}

fn headers(given: &str, digests: &Digests) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type(given));
    headers.insert(MD5, value(&STANDARD.encode(digests.md5))?);
    Ok(headers)
}

fn other_bytes() -> Error {
    Error::new(Kind::Passing, "S3 has stored other bytes than it was sent, says its ETag")
}

/// RFC 1864.
pub(super) const MD5: HeaderName = HeaderName::from_static("content-md5");
/// For `If-None-Match`: only where there is no object (Amazon has it since 2024, "Conditional writes").
pub(super) const ANY: HeaderValue = HeaderValue::from_static("*");

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
