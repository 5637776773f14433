//! Bodies of more than one chunk: a multipart upload, the next chunk filling while the last one is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryFutureExt;
use http::header::{CONTENT_TYPE, HeaderName, IF_NONE_MATCH};
use http::{Method, StatusCode};
use md5::Md5;
use sha2::{Digest, Sha256};
use stowage_http::target::encode;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ask::{Bucket, Call};
use super::claim::{Claim, Made, OWNER, with_tag};
use super::put::{ANY, MD5, content_type, value};
use super::sign::Payload;
use super::xml;
use crate::engine::finish::{CleanUp, clean_up, to_the_end};
use crate::engine::session::{self, send_all};
use crate::{CHUNK_BYTES, Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body of more than one chunk, whose first chunk was taken already.
pub(super) async fn store(bucket: &Arc<Bucket>, object: &Object, mut upload: Upload, first: Chunk) -> Result<Stored> {
    if upload.length().is_some_and(|length| length.div_ceil(CHUNK_BYTES as u64) > MOST_PARTS as u64) {
        return Err(too_many_parts());
    }
    let exclusive = !object.taken && bucket.is_free(&object.name).await?;
    let key = if exclusive { &object.name } else { &object.spare };
    let begin = begin(Arc::clone(bucket), key.clone(), object.content_type.clone());
    let mut session = to_the_end(&bucket.tasks, "s3 multipart upload", begin).await?;
    send_all(&mut session, &mut upload, first).await?;
    to_the_end(&bucket.tasks, "s3 multipart upload", session.complete(exclusive)).await?.keep()
}

/// A multipart upload that has begun; aborted by `Drop` unless it was completed.
#[derive(Debug)]
struct Session {
    bucket: Arc<Bucket>,
    key: String,
    upload: String,
    owner: String,
    tags: Vec<String>,
    sending: Option<JoinHandle<Option<Result<String>>>>,
    open: bool,
}

async fn begin(bucket: Arc<Bucket>, key: String, media_type: String) -> Result<Session> {
    let owner = Uuid::new_v4().simple().to_string();
    let mut call = Call::new(Method::POST, &key, "uploads=");
    call.document = true;
    call.headers.insert(CONTENT_TYPE, content_type(&media_type));
    call.headers.insert(HeaderName::from_static(OWNER), value(&owner)?);
    let reply = bucket.ask(&call).await?;
    if !reply.is_done() {
        return Err(reply.refusal("begin a multipart upload"));
    }
    let upload = xml::text(&reply.document, "UploadId").filter(|id| !id.is_empty());
    let upload = upload.ok_or_else(|| Error::new(Kind::Refused, "S3 began a multipart upload without an id"))?;
    Ok(Session { bucket, key, upload, owner, tags: Vec::new(), sending: None, open: true })
}

impl Session {
    async fn complete(self, exclusive: bool) -> Result<Claim> {
        let mut call = Call::new(Method::POST, &self.key, format!("uploadId={}", encode(&self.upload)));
        call.document = true;
        call.data = xml::complete(&self.tags).into();
        call.payload = Payload::Sha256(Sha256::digest(&call.data).into());
        if exclusive {
            call.headers.insert(IF_NONE_MATCH, ANY);
        }
        let (bucket, key, owner) = (Arc::clone(&self.bucket), self.key.clone(), self.owner.clone());
        let mut claim = Claim::doubtful(Made { bucket, key, owner });
        loop {
            let reply = match self.bucket.ask(&call).await {
                Ok(reply) => reply,
                Err(lost) => {
                    let done = lost.seen && claim.settle().await.unwrap_or(false);
                    return self.decide(claim, done, lost.seen, lost.error);
                }
            };
            if reply.is_done() {
                return self.completed(claim, reply.document).await;
            }
            if reply.is(StatusCode::NOT_IMPLEMENTED) && call.headers.remove(IF_NONE_MATCH).is_some() {
                if self.bucket.is_free(&self.key).await? {
                    continue;
                }
                claim.give_up();
                return Err(taken_meanwhile());
            }
            let error = if reply.is(StatusCode::PRECONDITION_FAILED) {
                taken_meanwhile()
            } else {
                reply.refusal("complete a multipart upload")
            };
            let doubtful = reply.doubtful || !reply.status.is_client_error();
            let done = doubtful && claim.settle().await.unwrap_or(false);
            return self.decide(claim, done, doubtful, error);
        }
    }

    /// After an answer with a status of success. Its document comes after white space that may have gone on for minutes; where
    /// it does not come, the upload may have failed.
    async fn completed(mut self, mut claim: Claim, document: Bytes) -> Result<Claim> {
        if !xml::is_root(&document, "CompleteMultipartUploadResult") {
            let error = Error::new(Kind::Passing, "S3 does not say what became of a multipart upload");
            let done = claim.settle().await.unwrap_or(false);
            return self.decide(claim, done, true, error);
        }
        self.open = false;
        // Ceph sends an empty tag.
        let tag = xml::text(&document, "ETag").map(|tag| tag.trim_matches('"').to_owned());
        claim.confirm(tag.filter(|tag| !tag.is_empty()));
        with_tag(claim).await
    }

    /// After an answer that does not say it: was the upload completed?
    fn decide(mut self, mut claim: Claim, done: bool, doubtful: bool, error: Error) -> Result<Claim> {
        if done {
            self.open = false;
            return Ok(claim);
        }
        // Once it has been aborted, nothing can be completed any more, so the claim is looked at after that.
        if doubtful {
            self.abort_then(Some(claim));
        } else {
            claim.give_up();
            self.abort_then(None);
        }
        Err(error)
    }

    fn abort_then(&mut self, claim: Option<Claim>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let (bucket, key) = (Arc::clone(&self.bucket), std::mem::take(&mut self.key));
        let (upload, sending) = (std::mem::take(&mut self.upload), self.sending.take());
        clean_up(&self.bucket.tasks, "s3 abort", async move {
            if let Some(sending) = sending {
                // Whatever came of it: the part is not on its way any more.
                let _ = sending.await;
            }
            abort(&bucket, &key, &upload).await;
            drop(claim);
        });
    }
}

impl session::Session for Session {
    /// Begins to send a part. It is sent to its end even if the caller is dropped: an abort that overtakes a part leaves
    /// the part behind (`AbortMultipartUpload` in the S3 API reference).
    fn send(&mut self, chunk: Chunk) -> Result<()> {
        let number = self.tags.len() + 1;
        if number > MOST_PARTS {
            return Err(too_many_parts());
        }
        let query = format!("partNumber={number}&uploadId={}", encode(&self.upload));
        let call = Call::new(Method::PUT, &self.key, query);
        self.sending = Some(self.bucket.tasks.spawn("s3 part", part(Arc::clone(&self.bucket), call, chunk)));
        Ok(())
    }

    /// Waits for the part that is being sent.
    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let outcome = sending.map_err(|_| broke_off()).await;
        self.sending = None;
        self.tags.push(outcome?.ok_or_else(broke_off)??);
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abort_then(None);
    }
}

async fn part(bucket: Arc<Bucket>, mut call: Call, chunk: Chunk) -> Result<String> {
    call.data = chunk.data.clone();
    call.payload = if bucket.address.is_tls() {
        // TLS guards the bytes; a second SHA-256 would cost as much as sending them.
        Payload::Unsigned
    } else {
        let data = chunk.data.clone();
        let hash = tokio::task::spawn_blocking(move || Sha256::digest(&data).into()).await;
        Payload::Sha256(hash.map_err(|_| broke_off())?)
    };
    let mut with_md5 = bucket.parts_need_md5.load(Ordering::Relaxed);
    let reply = loop {
        if with_md5 {
            call.headers.insert(MD5, value(&md5(call.data.clone()).await?)?);
        }
        let reply = bucket.ask(&call).await?;
        if reply.is_done() {
            bucket.parts_need_md5.store(with_md5, Ordering::Relaxed);
            break reply;
        }
        // A bucket with a default retention refuses parts without a digest ("Object Lock considerations" in the S3 user
        // guide): Amazon says InvalidRequest, MinIO MissingContentMD5.
        if with_md5 || !reply.is(StatusCode::BAD_REQUEST) {
            return Err(reply.refusal("store a part"));
        }
        with_md5 = true;
    };
    let tag = reply.headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    tag.ok_or_else(|| Error::new(Kind::Refused, "S3 stored a part without a tag"))
}

async fn md5(data: Bytes) -> Result<String> {
    tokio::task::spawn_blocking(move || STANDARD.encode(Md5::digest(&data))).await.map_err(|_| broke_off())
}

async fn abort(bucket: &Bucket, key: &str, upload: &str) {
    let call = Call::new(Method::DELETE, key, format!("uploadId={}", encode(upload)));
    let mut tries = CleanUp::default();
    while tries.again().await {
        tries.note(match bucket.ask(&call).await {
            Ok(reply) if reply.is_done() || reply.code() == "NoSuchUpload" => Ok(true),
            Ok(reply) => Err(reply.refusal("abort a multipart upload")),
            Err(lost) => Err(lost.error),
        });
    }
    if let Some(error) = tries.failure() {
        tracing::warn!(storage = %bucket.id, %key, %error, "parts of a multipart upload may be left");
    }
}

fn taken_meanwhile() -> Error {
    Error::new(Kind::Passing, "another object took the name during the upload")
}

fn too_many_parts() -> Error {
    Error::new(Kind::Refused, "S3 takes no more than 10,000 parts, which are 48 GiB here")
}

fn broke_off() -> Error {
    Error::new(Kind::Passing, "the upload of a part broke off")
}

/// "Amazon S3 multipart upload limits" in the S3 user guide.
const MOST_PARTS: usize = 10_000;
