//! Storing an object in a bucket.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::bucket::{Bucket, Made, OWNER, Resource, changed};
use crate::engine::api::Reply;
use crate::engine::finish::to_the_end;
use crate::google::claim::Claim;
use crate::google::fault::is_another_generation;
use crate::google::link;
use crate::google::related::{media_type, related};
use crate::google::session::Session;
use crate::{Chunk, Digests, Error, Kind, Object, Result, Stored, Upload};

/// Stores a whole body. The request is carried to its end even if the caller is dropped: only then is it known whether
/// there is an object to be removed.
pub(super) async fn single(bucket: &Arc<Bucket>, object: &Object, chunk: Chunk, digests: Digests) -> Result<Stored> {
    let single = Single {
        bucket: Arc::clone(bucket),
        names: names(object),
        media_type: media_type(&object.content_type),
        chunk,
        digests,
    };
    to_the_end(&bucket.service.tasks, "google_storage put", single.store()).await.map(kept)
}

/// Stores a body of more than one chunk, whose first chunk was taken already.
pub(super) async fn resumable(
    bucket: &Arc<Bucket>,
    object: &Object,
    mut upload: Upload,
    first: Chunk,
) -> Result<Stored> {
    let begin = begin(Arc::clone(bucket), names(object), media_type(&object.content_type), upload.length());
    let session = to_the_end(&bucket.service.tasks, "google_storage upload", begin).await?;
    let (resource, claim) = session.store(&mut upload, first).await?;
    let digests = upload.report().digests();
    let resource = serde_json::from_slice(&resource)
        .map_err(|_| Error::new(Kind::Refused, "Google ended an upload with an answer that makes no sense"))?;
    confirm(claim, resource, &digests.ok_or_else(changed)?).map(kept)
}

/// The names to be tried, one after the other.
fn names(object: &Object) -> Vec<String> {
    let name = (!object.taken).then(|| object.name.clone());
    name.into_iter().chain([object.spare.clone()]).collect()
}

fn made(bucket: &Arc<Bucket>, name: &str) -> Made {
    let owner = Uuid::new_v4().simple().to_string();
    Made { bucket: Arc::clone(bucket), name: name.to_owned(), owner, generation: None }
}

fn metadata(made: &Made, media_type: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(made.name));
    metadata.insert("contentType".to_owned(), json!(media_type));
    metadata.insert("metadata".to_owned(), json!({ OWNER: made.owner }));
    metadata
}

/// An object whose bytes are those that were sent; any other is dropped, and removed with its claim.
fn confirm(mut claim: Claim<Made>, resource: Resource, digests: &Digests) -> Result<Claim<Made>> {
    claim.confirm();
    claim.trace.generation = Some(resource.generation);
    let md5 = resource.md5_hash.is_none_or(|md5| md5 == STANDARD.encode(digests.md5));
    let size = resource.size.is_none_or(|size| size == digests.length.to_string());
    if md5 && size { Ok(claim) } else { Err(changed()) }
}

fn kept(claim: Claim<Made>) -> Stored {
    let made = claim.keep();
    let mut location = Map::new();
    location.insert("bucket".to_owned(), Value::String(made.bucket.name.clone()));
    location.insert("name".to_owned(), Value::String(made.name));
    if let Some(generation) = &made.generation {
        location.insert("generation".to_owned(), Value::String(generation.clone()));
    }
    Stored { location, etag: made.generation, ..Stored::default() }
}

fn all_taken() -> Error {
    Error::new(Kind::Refused, "Google says that a unique name is taken")
}

struct Single {
    bucket: Arc<Bucket>,
    names: Vec<String>,
    media_type: String,
    chunk: Chunk,
    digests: Digests,
}

impl Single {
    async fn store(mut self) -> Result<Claim<Made>> {
        let mut taken = all_taken();
        for name in std::mem::take(&mut self.names) {
            match self.create(made(&self.bucket, &name)).await? {
                Ok(claim) => return Ok(claim),
                Err(error) => taken = error,
            }
        }
        Err(taken)
    }

    /// The inner error: something else has the name.
    async fn create(&mut self, made: Made) -> Result<Result<Claim<Made>>> {
        let mut metadata = metadata(&made, &self.media_type);
        // Google refuses bytes that changed on their way ("Data validation and change detection").
        metadata.insert("md5Hash".to_owned(), json!(STANDARD.encode(self.digests.md5)));
        let (kind, body) = related(&Value::Object(metadata), &self.media_type, &mut self.chunk.data)?;
        let call = self.bucket.service.call(Method::POST, &self.bucket.upload_path("multipart")).body(kind, body);
        let mut claim = Claim::new(made);
        claim.doubt();
        let reply = match self.bucket.service.ask(&call).await {
            Ok(reply) => reply,
            Err(lost) if !lost.seen => {
                claim.give_up();
                return Err(lost.error);
            }
            // A claim that stays doubtful looks again: the request may still be at work.
            Err(lost) => {
                let resource = claim.trace.look().await?.ok_or(lost.error)?;
                return confirm(claim, resource, &self.digests).map(Ok);
            }
        };
        if reply.status.is_success() {
            return confirm(claim, reply.json()?, &self.digests).map(Ok);
        }
        if is_taken(&reply) {
            // The first try may have made the very object that the second one met.
            if reply.doubtful
                && let Some(resource) = claim.trace.look().await?
            {
                return confirm(claim, resource, &self.digests).map(Ok);
            }
            claim.give_up();
            return Ok(Err(reply.refusal("store an object")));
        }
        if reply.had_no_effect() {
            claim.give_up();
        }
        Err(reply.refusal("store an object"))
    }
}

/// Whether something has the name: an object (412), another upload at the same moment (409), or an object that may not be
/// written over yet ("HTTP status and error codes for JSON": retention, holds).
fn is_taken(reply: &Reply) -> bool {
    match reply.status {
        StatusCode::PRECONDITION_FAILED => is_another_generation(reply),
        StatusCode::CONFLICT => true,
        StatusCode::FORBIDDEN => matches!(reply.code(), "retentionPolicyNotMet" | "objectUnderActiveHold"),
        _ => false,
    }
}

async fn begin(
    bucket: Arc<Bucket>,
    names: Vec<String>,
    media_type: String,
    length: Option<u64>,
) -> Result<Session<Made>> {
    let mut taken = all_taken();
    for name in names {
        let made = made(&bucket, &name);
        let call = bucket.service.call(Method::POST, &bucket.upload_path("resumable"));
        let metadata = Value::Object(metadata(&made, &media_type));
        let begin = link::begin(call, &metadata, &media_type, length);
        let reply = bucket.service.ask(&begin).await?;
        if is_taken(&reply) {
            taken = reply.refusal("begin an upload");
            continue;
        }
        if !reply.status.is_success() {
            return Err(reply.refusal("begin an upload"));
        }
        return Session::of(&begin, &reply, made);
    }
    Err(taken)
}
