//! Reads an attachment's bytes from its storage, opened with the current plan's settings.

use std::sync::Arc;

use http_body::Body as _;
use md5::{Digest, Md5};
use serde_json::{Map, Value};
use sha2::Sha256;
use stowage_base::activity::Activity;
use stowage_couch::Document;
use stowage_http::body::{Body, BoxError, cause};
use stowage_http::client;
use stowage_http::range::{ByteRange, Cut, Exact};
use stowage_storage::{self as storage, Backend as _, Download, Fetch, Opened, Served};

use super::couch_digest;
use super::counted::counted;
use super::operation::Operation;
use super::storages::storage_of;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::plan_for;
use crate::pointer::Pointer;
use crate::router::Target;

/// The source of one attachment's bytes.
pub(crate) struct Source {
    gateway: Arc<Gateway>,
    activity: Activity,
    backend: Arc<Opened>,
    metadata: Map<String, Value>,
    pub(crate) pointer: Pointer,
    /// The length in bytes; `None` if neither the document nor the storage has it.
    pub(crate) length: Option<u64>,
}

impl Source {
    /// Opens the source of a pointer. If the document does not contain the length, asks the storage.
    pub(crate) async fn of(
        gateway: Arc<Gateway>,
        activity: Activity,
        target: &Target,
        document: &Document,
        pointer: Pointer,
    ) -> Result<Self, Error> {
        let plan = plan_for(&gateway.plans, &target.database, document).await?;
        let backend = storage_of(&gateway, &plan, &target.database, &pointer.stowage)?;
        let length = pointer.length;
        let mut source =
            Self { gateway, activity, backend, metadata: metadata(document, &target.document), pointer, length };
        if length.is_none() {
            source.length = source.fetch(None).await?.body.size_hint().exact();
        }
        Ok(source)
    }

    /// Opens the attachment, or a range of it. The body has exactly the announced length, or fails.
    pub(crate) async fn open(&self, range: Option<ByteRange>) -> Result<Body, Error> {
        let mut download = self.fetch(range).await?;
        let given = download.etag.as_ref().filter(|tag| !tag.is_empty());
        let known = self.pointer.stowage.etag.as_ref();
        if known.is_some() && given.is_some() && known != given {
            self.verify().await?;
            download = self.fetch(range).await?;
        }
        let body = match (range, download.served) {
            (Some(range), Served::Whole) => Body::boxed(Cut::new(download.body, range)),
            _ => download.body,
        };
        let bytes = self.gateway.metrics.attachment_bytes(&self.pointer.stowage.handler, "out");
        let Some(length) = range.map(ByteRange::len).or(self.length) else {
            return Ok(counted(body, bytes));
        };
        if body.size_hint().exact().is_some_and(|announced| announced != length) {
            let error =
                storage::Error::new(storage::Kind::Refused, "the object has another length than its document says");
            return Err(self.failed(error));
        }
        Ok(counted(Exact::new(body, length), bytes))
    }

    /// Returns whether another object may have taken the place of an older revision's without a tag that shows it.
    pub(crate) fn may_be_another(&self) -> bool {
        let place = &self.pointer.stowage;
        // KAZOO overwrites objects, and `inside` marks its entries.
        let has_id = place.inside.is_none() && storage::driver(&place.handler).is_some_and(|driver| driver.by_id);
        place.etag.is_none() && !has_id
    }

    async fn fetch(&self, range: Option<ByteRange>) -> Result<Download, Error> {
        let place = &self.pointer.stowage;
        let whose = (&*place.handler, &*place.storage);
        let operation = Operation::of_request(&self.gateway, &self.activity, &self.backend, whose, "get").await;
        let operation = operation.map_err(|error| self.failed(error))?;
        let fetch = Fetch { range, length: self.length, metadata: &self.metadata };
        let outcome = operation.bound(self.backend.get(&place.location, fetch)).await;
        operation.done(&outcome);
        let download = outcome.map_err(|error| self.failed(error))?;
        if let Served::Part(served) = download.served
            && Some(served) != range
        {
            let error = storage::Error::new(storage::Kind::Refused, "it served another range than asked for");
            return Err(self.failed(error));
        }
        Ok(download)
    }

    /// Reads the whole object and compares it with the pointer; an object that was replaced counts as missing.
    pub(crate) async fn verify(&self) -> Result<(), Error> {
        use http_body_util::BodyExt;
        let (Some(length), Some(digest)) = (self.length, &self.pointer.digest) else { return Ok(()) };
        let mut body = Exact::new(self.fetch(None).await?.body, length);
        let mut md5 = Md5::new();
        let gone = || self.failed(storage::Error::new(storage::Kind::Missing, "the object is another one now"));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(error).map_or_else(gone, |error| self.failed(error)))?;
            self.activity.deadline().restart();
            if let Ok(data) = frame.into_data() {
                md5.update(&data);
            }
        }
        if couch_digest(&md5.finalize()) == *digest { Ok(()) } else { Err(gone()) }
    }

    /// Checks whether the object matches its document: by its length and its storage's tag; with `read`, or if these are inconclusive, by all its
    /// bytes.
    pub(crate) async fn sound(&self, read: bool) -> Result<Sound, Error> {
        let download = self.fetch(None).await?;
        let (length, known) = (download.body.size_hint().exact(), self.pointer.stowage.etag.as_ref());
        if length.is_some() && self.length.is_some() && length != self.length {
            return Ok(Sound::Different("it has another length than its document says"));
        }
        let is_retagged = known.is_some_and(|known| download.etag.as_ref().is_some_and(|given| given != known));
        if !read && length.is_some() && !is_retagged {
            return Ok(Sound::Unread);
        }
        self.compare(download.body).await
    }

    /// Reads all bytes, and compares them with the pointer.
    async fn compare(&self, body: Body) -> Result<Sound, Error> {
        let seen = self.read_through(body).await?;
        let is_long = self.length.is_none_or(|said| said == seen.length);
        let is_md5 = self.pointer.digest.as_ref().is_none_or(|said| *said == seen.digest);
        let is_sha256 = self.pointer.stowage.sha256.as_ref().is_none_or(|said| *said == seen.sha256);
        Ok(match (is_long, is_md5 && is_sha256) {
            (false, _) => Sound::Different("it has another length than its document says"),
            (true, false) => Sound::Different("it has other bytes than its document says"),
            (true, true) => Sound::Same,
        })
    }

    /// Reads the object and returns its properties.
    pub(crate) async fn seen(&self) -> Result<Seen, Error> {
        let download = self.fetch(None).await?;
        let seen = self.read_through(download.body).await?;
        Ok(Seen { etag: download.etag.filter(|tag| !tag.is_empty()), ..seen })
    }

    async fn read_through(&self, mut body: Body) -> Result<Seen, Error> {
        use http_body_util::BodyExt;
        let (mut md5, mut sha256, mut length) = (Md5::new(), Sha256::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failed(storage::Error::of_body(error)))?;
            if let Ok(data) = frame.into_data() {
                length += data.len() as u64;
                md5.update(&data);
                sha256.update(&data);
            }
        }
        let (digest, sha256) = (couch_digest(&md5.finalize()), hex::encode(sha256.finalize()));
        Ok(Seen { length, digest, sha256, etag: None })
    }

    fn failed(&self, error: storage::Error) -> Error {
        Error::Storage(self.pointer.stowage.storage.as_str().into(), error)
    }
}

/// The properties of an object that was read.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The length in bytes.
    pub(crate) length: u64,
    /// The MD5 in CouchDB's form.
    pub(crate) digest: String,
    /// The SHA-256 in hex.
    pub(crate) sha256: String,
    /// The storage's own tag.
    pub(crate) etag: Option<String>,
}

/// Whether an object matches its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    Same,
    /// The length and the storage's tag match; the bytes were not read.
    Unread,
    /// The difference.
    Different(&'static str),
}

/// Returns the error if the storage or the connection failed, which does not show that the object was replaced; `None` for any other error.
fn broken(error: BoxError) -> Option<storage::Error> {
    if let Some(inner) = cause::<storage::Error>(&*error) {
        let passes = inner.kind() == storage::Kind::Passing;
        return passes.then(|| error.downcast().map_or_else(storage::Error::of_body, |error| *error));
    }
    cause::<client::Error>(&*error).is_some().then(|| storage::Error::of_body(error))
}

/// Returns the query that servers expect in a fetch: the document's `metadata`, or else its public fields and its `id`.
fn metadata(document: &Document, id: &str) -> Map<String, Value> {
    match document.value("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => document.public_fields(id),
    }
}
