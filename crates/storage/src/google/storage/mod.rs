//! The `google_storage` driver: objects in a bucket of Google Cloud Storage, over its JSON API.
//!
//! Bodies of up to one chunk are stored with one request that includes the metadata, larger ones with a resumable upload, both with
//! `ifGenerationMatch=0`: only if no object has the name ("Request preconditions" of Cloud Storage).

mod bucket;
mod get;
mod list;
mod put;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use serde_json::Value;
use stowage_base::settings::Settings;

use self::bucket::{Bucket, is_bucket, is_generation, name_fault};
use super::service::{ENDPOINTS, Service};
use crate::engine::location::{location, text};
use crate::engine::read;
use crate::oauth::Subject;
use crate::{
    Backend, Context, Download, Driver, Error, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object, Result,
    Server, Spelling, Stored, Upload,
};

/// The `google_storage` driver for [`DRIVERS`](crate::DRIVERS).
pub(crate) const DRIVER: Driver = Driver {
    handler: "google_storage",
    naming: Naming::Flat,
    exclusive: true,
    by_id: false,
    // In bytes of UTF-8 ("Object name requirements").
    fit: Fit { part: 1024, whole: 1024, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Settings { all: &["bucket"], kazoo: &[], hosts: &[] },
    secrets: &[],
    endpoints: ENDPOINTS,
    key: bucket::key,
    open: |settings, context| Ok(Arc::new(GoogleStorage::open(settings, context)?)),
};

/// An opened bucket.
#[derive(Debug)]
struct GoogleStorage {
    bucket: Arc<Bucket>,
}

impl GoogleStorage {
    fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let name = settings.required("bucket")?;
        if !is_bucket(&name) {
            let what = "must be 3 to 222 lower-case letters, digits, dots, hyphens and underscores";
            return Err(settings.wrong("bucket", what).into());
        }
        let named = |key| settings.text(key).map(|id| id.filter(|id| !id.is_empty()));
        let subject = match (named("oauth_doc_id")?, named("oauth_app_id")?) {
            (Some(document), _) => Subject::Document(document),
            (None, Some(app)) => Subject::App(app),
            (None, None) => return Err(settings.wrong("oauth_doc_id", "or oauth_app_id is required").into()),
        };
        let service = Arc::new(Service::open(settings, context, subject, SCOPE)?);
        Ok(Self { bucket: Arc::new(Bucket { name, service }) })
    }

    /// Returns the bucket (the plan's if the location names none), the name and the generation in a location.
    fn place(&self, location: &Location) -> Result<(Arc<Bucket>, String, Option<String>)> {
        let wrong = |what: &str| Error::new(Kind::Location, format!("the location of a Google Storage object {what}"));
        let bucket = match location.get("bucket") {
            None => Arc::clone(&self.bucket),
            Some(Value::String(name)) if *name == self.bucket.name => Arc::clone(&self.bucket),
            Some(Value::String(name)) if is_bucket(name) => {
                Arc::new(Bucket { name: name.clone(), service: Arc::clone(&self.bucket.service) })
            }
            Some(_) => return Err(wrong("names no bucket")),
        };
        let name = text(location, "name").filter(|name| name_fault(name).is_none());
        let name = name.ok_or_else(|| wrong("has no name"))?.to_owned();
        let generation = match location.get("generation") {
            None => None,
            Some(Value::String(generation)) if is_generation(generation) => Some(generation.clone()),
            Some(_) => return Err(wrong("has a generation that is none")),
        };
        Ok((bucket, name, generation))
    }
}

#[async_trait]
impl Backend for GoogleStorage {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        for name in [&object.name, &object.spare] {
            name_fault(name).map_or(Ok(()), |fault| Err(Error::new(Kind::Refused, fault)))?;
        }
        let report = upload.report();
        let chunk = upload.chunk().await?;
        match report.digests() {
            Some(digests) if chunk.last => put::single(&self.bucket, object, chunk, digests).await,
            _ => put::resumable(&self.bucket, object, upload, chunk).await,
        }
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let (bucket, name, generation) = self.place(location)?;
        read::open(get::Stored { bucket, name, generation }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        self.bucket.service.endpoint.url(&self.bucket.path(name))
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        let (bucket, name, generation) = self.place(location)?;
        bucket.remove(&name, generation.as_deref()).await
    }

    fn place(&self, name: &str) -> Location {
        location([("bucket", &self.bucket.name), ("name", name)])
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.bucket).boxed())
    }
}

/// "Cloud Storage OAuth 2.0 scopes".
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
