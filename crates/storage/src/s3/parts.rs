//! Bodies larger than one chunk: a multipart upload, with the next chunk being filled while the previous one is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, HeaderName, IF_NONE_MATCH};
use http::{Method, StatusCode};
use md5::Md5;
use sha2::{Digest, Sha256};
use stowage_base::tasks::Tasks;
use stowage_http::target::encode;
use uuid::Uuid;

use super::bucket::{Bucket, Call};
use super::claim::{Claim, Made, OWNER, with_tag};
use super::put::{ANY, MD5, value};
use super::sign::Payload;
use super::{list, xml};
use crate::engine::claim::{is_free, taken_meanwhile};
use crate::engine::digest::computed;
use crate::engine::finish::{CleanUp, to_completion};
use crate::engine::media::media_type;
use crate::engine::session::{Open, Session};
use crate::{CHUNK_BYTES, Chunk, Error, Kind, Object, Result, Stored, Upload};

/// Stores a body larger than one chunk, of which the first chunk was already taken.
pub(super) async fn store(bucket: &Arc<Bucket>, object: &Object, mut upload: Upload, first: Chunk) -> Result<Stored> {
    if upload.length().is_some_and(|length| length.div_ceil(CHUNK_BYTES as u64) > MOST_PARTS as u64) {
        return Err(too_many_parts());
    }
    let exclusive = !object.taken && is_free(bucket.head(&object.name).await)?;
    let key = if exclusive { &object.name } else { &object.spare };
    let begin = begin(Arc::clone(bucket), key.clone(), object.content_type.clone());
    let mut session = to_completion(&bucket.tasks, "s3 multipart upload", begin).await?;
    session.send_all(&mut upload, first).await?;
    to_completion(&bucket.tasks, "s3 multipart upload", complete(session, exclusive)).await?.keep()
}

/// An open multipart upload.
#[derive(Debug)]
struct Multipart {
    bucket: Arc<Bucket>,
    key: String,
    upload: String,
    owner: String,
}

/// The parts sent so far.
#[derive(Debug, Default)]
struct Parts {
    tags: Vec<String>,
    /// Set if the upload may have been completed.
    claim: Option<Claim>,
}

async fn begin(bucket: Arc<Bucket>, key: String, given: String) -> Result<Open<Multipart>> {
    let owner = Uuid::new_v4().simple().to_string();
    let mut call = Call::new(Method::POST, &key, "uploads=");
    call.headers.insert(CONTENT_TYPE, value(&media_type(&given))?);
    call.headers.insert(HeaderName::from_static(OWNER), value(&owner)?);
    let reply = bucket.ask(&call).await?.done("begin a multipart upload")?;
    let upload = xml::text(&reply.document, "UploadId").filter(|id| !id.is_empty());
    let upload = upload.ok_or_else(|| Error::new(Kind::Refused, "S3 began a multipart upload without an id"))?;
    Ok(Open::new(Multipart { bucket, key, upload, owner }, Parts::default()))
}

async fn complete(mut session: Open<Multipart>, exclusive: bool) -> Result<Claim> {
    let list = xml::complete(&session.progress()?.tags);
    let Multipart { bucket, key, upload, owner } = session.session();
    let mut call = Call::new(Method::POST, key, format!("uploadId={}", encode(upload)));
    call.data = list.into();
    call.payload = Payload::Sha256(Sha256::digest(&call.data).into());
    call.slow = true;
    if exclusive {
        call.headers.insert(IF_NONE_MATCH, ANY);
    }
    let bucket = Arc::clone(bucket);
    let made = Made { bucket: Arc::clone(&bucket), key: key.clone(), owner: owner.clone() };
    let mut claim = Claim::doubtful(made);
    loop {
        let reply = match bucket.ask(&call).await {
            Ok(reply) => reply,
            Err(lost) => return decide(session, claim, lost.seen, lost.error).await,
        };
        if reply.is_done() {
            return completed(session, claim, &reply.document).await;
        }
        if reply.status == StatusCode::NOT_IMPLEMENTED && call.headers.remove(IF_NONE_MATCH).is_some() {
            if is_free(bucket.head(&call.key).await)? {
                continue;
            }
            claim.give_up();
            return Err(taken_meanwhile());
        }
        let error = if reply.status == StatusCode::PRECONDITION_FAILED {
            taken_meanwhile()
        } else {
            reply.refusal("complete a multipart upload")
        };
        return decide(session, claim, reply.doubtful || !reply.status.is_client_error(), error).await;
    }
}

/// Handles a response with a success status. Its document is preceded by white space, possibly for minutes; if the document does
/// not arrive, the upload may have failed.
async fn completed(session: Open<Multipart>, mut claim: Claim, document: &[u8]) -> Result<Claim> {
    if !xml::is_root(document, "CompleteMultipartUploadResult") {
        let error = Error::new(Kind::Passing, "S3 does not say what became of a multipart upload");
        return decide(session, claim, true, error).await;
    }
    session.close()?;
    // Ceph sends an empty ETag.
    let tag = xml::text(document, "ETag").map(|tag| tag.trim_matches('"').to_owned());
    claim.confirm(tag.filter(|tag| !tag.is_empty()));
    with_tag(claim).await
}

/// Handles an inconclusive response by finding out whether the upload was completed.
async fn decide(mut session: Open<Multipart>, mut claim: Claim, doubtful: bool, error: Error) -> Result<Claim> {
    if !doubtful {
        claim.give_up();
    } else if claim.settle().await.unwrap_or(false) {
        session.close()?;
        return Ok(claim);
    } else {
        session.progress()?.claim = Some(claim);
    }
    Err(error)
}

impl Session for Multipart {
    type Progress = Parts;

    fn tasks(&self) -> &Tasks {
        &self.bucket.tasks
    }

    async fn send(&self, parts: &mut Parts, chunk: &Chunk) -> Result<()> {
        let number = parts.tags.len() + 1;
        if number > MOST_PARTS {
            return Err(too_many_parts());
        }
        let query = format!("partNumber={number}&uploadId={}", encode(&self.upload));
        parts.tags.push(part(&self.bucket, Call::new(Method::PUT, &self.key, query), chunk).await?);
        Ok(())
    }

    async fn abort(&self, parts: Option<Parts>) {
        let mut tries = CleanUp::default();
        while tries.again().await {
            tries.note(abort(&self.bucket, None, &self.key, &self.upload).await.map(|()| true));
        }
        if let Some(error) = tries.failure() {
            let (storage, key) = (&self.bucket.id, &self.key);
            tracing::warn!(%storage, %key, %error, "parts of a multipart upload may be left");
        }
        // An aborted upload can no longer be completed, so the claim is evaluated after that.
        drop(parts);
    }
}

async fn part(bucket: &Bucket, mut call: Call, chunk: &Chunk) -> Result<String> {
    call.data = chunk.data.clone();
    call.payload = if bucket.address.is_tls() {
        // TLS protects the bytes; a second SHA-256 would cost as much as sending them.
        Payload::Unsigned
    } else {
        let data = chunk.data.clone();
        Payload::Sha256(computed(move || Sha256::digest(&data).into()).await?)
    };
    let mut with_md5 = bucket.parts_need_md5.load(Ordering::Relaxed);
    let reply = loop {
        if with_md5 {
            let data = call.data.clone();
            call.headers.insert(MD5, value(&computed(move || STANDARD.encode(Md5::digest(&data))).await?)?);
        }
        let reply = bucket.ask(&call).await?;
        if reply.is_done() {
            bucket.parts_need_md5.store(with_md5, Ordering::Relaxed);
            break reply;
        }
        // A bucket with a default retention rejects parts without a digest ("Object Lock considerations" in the S3 user guide):
        // Amazon with InvalidRequest, MinIO with MissingContentMD5.
        if with_md5 || reply.status != StatusCode::BAD_REQUEST {
            return Err(reply.refusal("store a part"));
        }
        with_md5 = true;
    };
    let tag = reply.header("etag").map(str::to_owned);
    tag.ok_or_else(|| Error::new(Kind::Refused, "S3 stored a part without a tag"))
}

fn too_many_parts() -> Error {
    Error::new(Kind::Refused, "S3 takes no more than 10,000 parts, which are 48 GiB here")
}

/// "Amazon S3 multipart upload limits" in the S3 user guide.
const MOST_PARTS: usize = 10_000;

/// Aborts all unfinished multipart uploads of a key ("ListMultipartUploads" in the S3 API reference).
pub(super) async fn abort_all(bucket: &Bucket, named: Option<&str>, key: &str) -> Result<()> {
    for upload in list::begun(bucket, named, key).await? {
        abort(bucket, named, key, &upload).await?;
    }
    Ok(())
}

/// Aborts one unfinished multipart upload ("AbortMultipartUpload").
pub(super) async fn abort(bucket: &Bucket, named: Option<&str>, key: &str, upload: &str) -> Result<()> {
    let mut call = Call::new(Method::DELETE, key, format!("uploadId={}", encode(upload)));
    call.bucket = named.map(str::to_owned);
    let reply = bucket.ask(&call).await?;
    if !reply.is_done() && reply.code() != "NoSuchUpload" {
        return Err(reply.refusal("abort a multipart upload"));
    }
    Ok(())
}
