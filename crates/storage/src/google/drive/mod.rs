//! The `google_drive` driver: files in a user's Google Drive, over API version 3.
//!
//! Files are located by id, so names need not be unique: each put creates a new file of the composed name, and the gateway removes a replaced file by
//! its id. Ids are generated in advance, which makes creation idempotent: repeating a request that had succeeded results in a 409 ("Generate IDs to
//! use with your files" in "Create and manage files").

mod file;
mod folders;
mod get;
mod ids;
mod list;
mod name;
mod put;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use stowage_base::settings::Settings;

use self::file::Drive;
use self::ids::Ids;
use self::name::{Path, is_id};
use super::service::{ENDPOINTS, Service};
use crate::engine::location::{location, text};
use crate::engine::read;
use crate::oauth::Subject;
use crate::{
    Backend, Context, Download, Driver, Error, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object, Result,
    Server, Spelling, Stored, Upload,
};

/// The `google_drive` driver for [`DRIVERS`](crate::DRIVERS).
pub(crate) const DRIVER: Driver = Driver {
    handler: "google_drive",
    naming: Naming::Flat,
    exclusive: true,
    by_id: false,
    // Drive documents no limit; folders are looked up by a query in a URL.
    fit: Fit { part: 1024, whole: 1024, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Settings { all: &["oauth_doc_id"], kazoo: &[], hosts: &[] },
    secrets: &[],
    endpoints: ENDPOINTS,
    key: |location| text(location, "id").map(str::to_owned),
    open: |settings, context| Ok(Arc::new(GoogleDrive::open(settings, context)?)),
};

/// A user's Drive, or a folder of it.
#[derive(Debug)]
struct GoogleDrive {
    drive: Arc<Drive>,
}

impl GoogleDrive {
    fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let subject = Subject::Document(settings.required("oauth_doc_id")?);
        let folder = settings.text("folder_id")?.filter(|folder| !folder.is_empty());
        if !folder.as_deref().is_none_or(is_id) {
            return Err(settings.wrong("folder_id", "must be the id of a folder").into());
        }
        let service = Arc::new(Service::open(settings, context, subject, SCOPE)?);
        Ok(Self { drive: Arc::new(Drive { service, folder, ids: Ids::default() }) })
    }
}

impl GoogleDrive {
    /// Returns the id in a location, or that of the oldest file at its path if it has none; `None` if there is no such file.
    async fn id(&self, location: &Location) -> Result<Option<String>> {
        let wrong = |what: &str| Error::new(Kind::Location, format!("the location of a Google Drive file {what}"));
        if location.get("path").is_some_and(|path| !path.as_str().is_some_and(|path| path.starts_with('/'))) {
            return Err(wrong("has a path that is none"));
        }
        if location.contains_key("id") {
            let id = text(location, "id").filter(|id| is_id(id)).ok_or_else(|| wrong("has an id that is none"))?;
            return Ok(Some(id.to_owned()));
        }
        let path = text(location, "path").and_then(|path| Path::of(path).ok()).ok_or_else(|| wrong("has no id"))?;
        folders::file(&self.drive, &path).await
    }
}

#[async_trait]
impl Backend for GoogleDrive {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        let path = Path::of(&object.name)?;
        let report = upload.report();
        let chunk = upload.chunk().await?;
        match report.digests() {
            Some(digests) if chunk.last && chunk.data.len() <= MOST_IN_ONE => {
                put::single(&self.drive, path, object, chunk, digests).await
            }
            _ => put::resumable(&self.drive, path, object, upload, chunk).await,
        }
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let id = self.id(location).await?;
        let id = id.ok_or_else(|| Error::new(Kind::Missing, "the file is not in the Drive"))?;
        read::open(get::File { drive: Arc::clone(&self.drive), id }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        match &self.drive.folder {
            Some(folder) => {
                let name = name.rsplit('/').next().unwrap_or_default();
                format!("Google Drive, folder {folder}: {name}")
            }
            None => format!("Google Drive: /{}", name.trim_start_matches('/')),
        }
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        match self.id(location).await? {
            Some(id) => self.drive.remove(&id).await,
            None => Ok(()),
        }
    }

    fn place(&self, name: &str) -> Location {
        location([("path", &format!("/{name}"))])
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.drive).boxed())
    }
}

/// Only files created by the app itself ("Choose Google Drive API scopes").
const SCOPE: &str = "https://www.googleapis.com/auth/drive.file";
/// The maximum body of a multipart upload in bytes: 5 MB ("Upload file data"), which is less than a chunk.
const MOST_IN_ONE: usize = 5_000_000;
