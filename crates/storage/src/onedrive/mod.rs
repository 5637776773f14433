//! The `onedrive` driver: files in a user's OneDrive, over Microsoft Graph v1.0.
//!
//! Sources: `learn.microsoft.com/graph/api/resources/onedrive` and the older `OneDrive/onedrive-api-docs`. Bodies of up to 4 MB are stored with one
//! PUT, larger ones with an upload session, in fragments of one chunk: 16 times the 320 KiB of which a fragment must be a multiple. A session
//! requires the total length, so a body of unknown length is first written to a temporary file.

mod claim;
mod drive;
mod fragment;
mod get;
mod hash;
mod list;
mod names;
mod put;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use stowage_base::settings::Settings;

use self::drive::{Drive, Shared};
use super::{
    Backend, Context, Download, Driver, Error, FILE_NAME, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object,
    Result, Server, Spelling, Stored, Upload,
};
use crate::engine::location::text;
use crate::engine::read;

/// The `onedrive` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "onedrive",
    naming: Naming::Flat,
    // The limit is 400 characters, including the prefix in a work account: `personal/{user}/Documents/`.
    fit: Fit { part: FILE_NAME, whole: 280, spelling: Spelling::Desktop },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Settings { all: &["oauth_doc_id"], kazoo: &[], hosts: &[] },
    secrets: &[],
    endpoints: drive::ENDPOINTS,
    key: |location| text(location, "item").map(str::to_owned),
    open: |settings, context| Ok(Arc::new(OneDrive::open(settings, context)?)),
};

/// An opened drive.
#[derive(Debug)]
pub(super) struct OneDrive {
    drive: Shared,
}

impl OneDrive {
    /// Reads the settings, without sending a request.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let grant = settings.required("oauth_doc_id")?;
        Ok(Self { drive: Arc::new(Drive::open(settings.id(), grant, context)?) })
    }
}

#[async_trait]
impl Backend for OneDrive {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        names::check(&object.name)?;
        names::check(&object.spare)?;
        let chunk = upload.chunk().await?;
        if chunk.last && chunk.data.len() <= put::LARGEST {
            return put::store(&self.drive, object, chunk).await;
        }
        session::store(&self.drive, object, upload, chunk).await
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let (drive, item) = place(location)?;
        let place = (drive.to_owned(), item.to_owned());
        read::open(get::Stored { drive: Arc::clone(&self.drive), place }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        self.drive.url(name)
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        self.drive.remove(place(location)?).await
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.drive).boxed())
    }
}

/// Returns drive and item of a location. The path next to them is informational: an item keeps its id when it is moved.
fn place(location: &Location) -> Result<(&str, &str)> {
    let wrong = |what| Error::new(Kind::Location, format!("the location of a OneDrive item {what}"));
    if location.get("path").is_some_and(|path| !path.as_str().is_some_and(|path| path.starts_with('/'))) {
        return Err(wrong("has a path that is none"));
    }
    let id = |member| text(location, member).filter(|id| is_id(id));
    Ok((id("drive").ok_or_else(|| wrong("names no drive"))?, id("item").ok_or_else(|| wrong("names no item"))?))
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'_' | b'-');
    (1..=255).contains(&text.len()) && text.bytes().all(allowed)
}
