//! Storing a file.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::file::{Drive, FIELDS, Made};
use super::folders::{self, gone};
use super::name::Path;
use crate::engine::api::Reply;
use crate::engine::claim::{Answer, Attempt, Claim};
use crate::engine::finish::to_completion;
use crate::google::fault::{changed, is_gone};
use crate::google::link;
use crate::google::related::{media_type, related};
use crate::google::session::{self, Session};
use crate::{Chunk, Digests, Error, Object, Result, Stored, Upload};

/// A file to be created.
struct NewFile {
    drive: Arc<Drive>,
    /// The composed name.
    name: String,
    path: Path,
    media_type: String,
}

/// Stores a whole body. The request runs to completion even if the caller is dropped: only then is it known whether there is a
/// file to remove.
pub(super) async fn single(
    drive: &Arc<Drive>,
    path: Path,
    object: &Object,
    chunk: Chunk,
    digests: Digests,
) -> Result<Stored> {
    let file = NewFile::new(drive, path, object);
    to_completion(&drive.service.tasks, "google_drive put", file.store(chunk, digests)).await?.keep()
}

/// Stores a larger body, of which the first chunk was already taken.
pub(super) async fn resumable(
    drive: &Arc<Drive>,
    path: Path,
    object: &Object,
    mut upload: Upload,
    first: Chunk,
) -> Result<Stored> {
    let file = NewFile::new(drive, path.clone(), object);
    let begin = file.begin(upload.length());
    let session = to_completion(&drive.service.tasks, "google_drive upload", begin).await?;
    let ended = session::store(session, &mut upload, first).await;
    let ended = ended.and_then(|claim| sound(claim, &upload.report().digests().ok_or_else(changed)?));
    if let Err(error) = &ended
        && error.status() == Some(StatusCode::NOT_FOUND)
    {
        folders::forget(drive, &path.folders).await;
    }
    ended?.keep()
}

impl NewFile {
    fn new(drive: &Arc<Drive>, path: Path, object: &Object) -> Self {
        let (name, media_type) = (object.name.clone(), media_type(&object.content_type));
        Self { drive: Arc::clone(drive), name, path, media_type }
    }

    /// Returns an id, and the metadata of a file with this id in the right folder.
    async fn prepare(&self) -> Result<(Made, Value)> {
        let parent = match &self.drive.folder {
            Some(folder) => folder.clone(),
            None => folders::find(&self.drive, &self.path.folders).await?,
        };
        let id = self.drive.ids.take(&self.drive.service).await?;
        let metadata = json!({ "id": id, "name": self.path.name, "parents": [parent], "mimeType": self.media_type });
        Ok((Made { drive: Arc::clone(&self.drive), id, name: self.name.clone() }, metadata))
    }

    async fn store(self, mut chunk: Chunk, digests: Digests) -> Result<Claim<Made>> {
        let first = self.create(&mut chunk, &digests).await;
        if !self.may_find_again(&first).await {
            return first;
        }
        self.create(&mut chunk, &digests).await
    }

    async fn create(&self, chunk: &mut Chunk, digests: &Digests) -> Result<Claim<Made>> {
        let service = &self.drive.service;
        let (made, metadata) = self.prepare().await?;
        let (kind, body) = related(&metadata, &self.media_type, &mut chunk.data)?;
        let call = service.call(Method::POST, &target("multipart")).body(kind, body);
        let claim = Claim::doubtful(made);
        let answer = match service.ask(&call).await {
            Err(lost) => lost.into(),
            Ok(reply) if reply.status.is_success() => match reply.json() {
                Ok(file) => Answer::Created(file),
                Err(error) => Answer::Refused(error, true),
            },
            // The first attempt created the very file that the second one conflicts with.
            Ok(reply) if reply.status == StatusCode::CONFLICT && reply.doubtful => {
                Answer::Unknown(reply.refusal("store a file"))
            }
            Ok(reply) => Answer::Refused(self.refusal(&reply), !reply.had_no_effect()),
        };
        match claim.judge(answer).await? {
            Attempt::Made(claim) => sound(claim, digests),
            Attempt::Taken(error) => Err(error),
        }
    }

    /// A 404 is about the folder, which may have been removed since it was found; one from the settings should exist.
    fn refusal(&self, reply: &Reply) -> Error {
        if is_gone(reply) && self.drive.folder.is_none() { gone() } else { reply.refusal("store a file") }
    }

    async fn begin(self, length: Option<u64>) -> Result<Session<Made>> {
        let first = self.open(length).await;
        if !self.may_find_again(&first).await {
            return first;
        }
        self.open(length).await
    }

    async fn open(&self, length: Option<u64>) -> Result<Session<Made>> {
        let service = &self.drive.service;
        let (made, metadata) = self.prepare().await?;
        let call = service.call(Method::POST, &target("resumable"));
        let begin = link::begin(call, &metadata, &self.media_type, length);
        let reply = service.ask(&begin).await?;
        match reply.status {
            status if status.is_success() => session::begun(service, &begin, &reply, made),
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Returns whether a folder of the path is gone, in which case it is looked up again.
    async fn may_find_again<T: Send + Sync>(&self, outcome: &Result<T>) -> bool {
        let gone = outcome.as_ref().is_err_and(|error| error.status() == Some(StatusCode::NOT_FOUND));
        if !gone || self.drive.folder.is_some() || self.path.folders.is_empty() {
            return false;
        }
        folders::forget(&self.drive, &self.path.folders).await;
        true
    }
}

fn target(kind: &str) -> String {
    format!("/upload/drive/v3/files?uploadType={kind}&supportsAllDrives=true&fields={FIELDS}")
}

/// Verifies that the file has the bytes that were sent and is not in the trash; otherwise the claim is dropped, which removes
/// the file.
fn sound(claim: Claim<Made>, digests: &Digests) -> Result<Claim<Made>> {
    match claim.known() {
        Some(file) if !file.is(digests) => Err(changed()),
        Some(file) if file.trashed => Err(gone()),
        _ => Ok(claim),
    }
}
