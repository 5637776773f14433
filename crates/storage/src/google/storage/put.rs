//! Storing an object in a bucket.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::bucket::{Bucket, Made, OWNER, Resource};
use crate::engine::api::Reply;
use crate::engine::claim::{Answer, Attempt, Claim, Create, Name, create, names};
use crate::engine::finish::to_completion;
use crate::google::fault::{changed, is_another_generation};
use crate::google::link;
use crate::google::related::{media_type, related};
use crate::google::session::{self, Session};
use crate::{Chunk, Digests, Object, Result, Stored, Upload};

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is an
/// object to remove.
pub(super) async fn single(bucket: &Arc<Bucket>, object: &Object, chunk: Chunk, digests: Digests) -> Result<Stored> {
    let (media_type, bucket) = (media_type(&object.content_type), Arc::clone(bucket));
    let single = create(
        names(object),
        Single { bucket: Arc::clone(&bucket), media_type, md5: STANDARD.encode(digests.md5), chunk },
    );
    sound(to_completion(&bucket.service.tasks, "google_storage put", single).await?, &digests)?.keep()
}

/// Stores a body larger than one chunk, of which the first chunk was already taken.
pub(super) async fn resumable(
    bucket: &Arc<Bucket>,
    object: &Object,
    mut upload: Upload,
    first: Chunk,
) -> Result<Stored> {
    let (media_type, length) = (media_type(&object.content_type), upload.length());
    let begin = create(names(object), Begin { bucket: Arc::clone(bucket), media_type, length });
    let session = to_completion(&bucket.service.tasks, "google_storage upload", begin).await?;
    let claim = session::store(session, &mut upload, first).await?;
    sound(claim, &upload.report().digests().ok_or_else(changed)?)?.keep()
}

fn made(bucket: &Arc<Bucket>, name: &Name) -> Made {
    let owner = Uuid::new_v4().simple().to_string();
    Made { bucket: Arc::clone(bucket), name: name.text.clone(), owner }
}

/// Given an MD5, Google rejects bytes that changed in transit ("Data validation and change detection").
fn metadata(made: &Made, media_type: &str, md5: Option<&str>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(made.name));
    metadata.insert("contentType".to_owned(), json!(media_type));
    metadata.insert("metadata".to_owned(), json!({ OWNER: made.owner }));
    metadata.extend(md5.map(|md5| ("md5Hash".to_owned(), json!(md5))));
    Value::Object(metadata)
}

/// Verifies that the object has the bytes that were sent; otherwise the claim is dropped, which removes the object.
fn sound(claim: Claim<Made>, digests: &Digests) -> Result<Claim<Made>> {
    let fits = |resource: &Resource| {
        resource.md5_hash.as_ref().is_none_or(|md5| *md5 == STANDARD.encode(digests.md5))
            && resource.size.as_ref().is_none_or(|size| *size == digests.length.to_string())
    };
    if claim.known().is_some_and(fits) { Ok(claim) } else { Err(changed()) }
}

/// A body in memory.
struct Single {
    bucket: Arc<Bucket>,
    media_type: String,
    /// In base64.
    md5: String,
    chunk: Chunk,
}

impl Create for Single {
    type Made = Claim<Made>;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Claim<Made>>> {
        let (made, service) = (made(&self.bucket, name), &self.bucket.service);
        let metadata = metadata(&made, &self.media_type, Some(&self.md5));
        let (kind, body) = related(&metadata, &self.media_type, &mut self.chunk.data)?;
        let call = service.call(Method::POST, &self.bucket.upload_path("multipart")).body(kind, body);
        let claim = Claim::doubtful(made);
        let answer = match service.ask(&call).await {
            Err(lost) => lost.into(),
            Ok(reply) if reply.status.is_success() => match reply.json() {
                Ok(resource) => Answer::Created(resource),
                Err(error) => Answer::Refused(error, true),
            },
            Ok(reply) => {
                let error = reply.refusal("store an object");
                if is_taken(&reply) {
                    Answer::Taken(error, reply.doubtful)
                } else {
                    Answer::Refused(error, !reply.had_no_effect())
                }
            }
        };
        claim.judge(answer).await
    }
}

/// Returns whether the name is taken: by an object (412), a concurrent upload (409), or an object that must not be overwritten yet
/// ("HTTP status and error codes for JSON": retention, holds).
fn is_taken(reply: &Reply) -> bool {
    match reply.status {
        StatusCode::PRECONDITION_FAILED => is_another_generation(reply),
        StatusCode::CONFLICT => true,
        StatusCode::FORBIDDEN => matches!(reply.code(), "retentionPolicyNotMet" | "objectUnderActiveHold"),
        _ => false,
    }
}

/// A session to be started.
struct Begin {
    bucket: Arc<Bucket>,
    media_type: String,
    length: Option<u64>,
}

impl Create for Begin {
    type Made = Session<Made>;

    async fn create(&mut self, name: &Name) -> Result<Attempt<Session<Made>>> {
        let (made, service) = (made(&self.bucket, name), &self.bucket.service);
        let call = service.call(Method::POST, &self.bucket.upload_path("resumable"));
        let begin = link::begin(call, &metadata(&made, &self.media_type, None), &self.media_type, self.length);
        let reply = service.ask(&begin).await?;
        match reply.status {
            _ if is_taken(&reply) => Ok(Attempt::Taken(reply.refusal("begin an upload"))),
            status if status.is_success() => session::begun(service, &begin, &reply, made).map(Attempt::Made),
            _ => Err(reply.refusal("begin an upload")),
        }
    }
}
