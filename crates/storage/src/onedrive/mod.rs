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
use http::Method;
use stowage_base::settings::Settings;

use self::drive::{Drive, Shared};
use super::{
    Backend, Context, Download, Driver, Error, FILE_NAME, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object,
    Result, Server, Spelling, Stored, Upload,
};
use crate::engine::location::{location, text};
use crate::engine::read;

/// The `onedrive` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "onedrive",
    naming: Naming::Flat,
    exclusive: true,
    by_id: true,
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
        let call = match place(location)? {
            Place::Item(drive, item) => self.drive.item(Method::GET, (drive, item), "/content"),
            Place::Path(name) => self.drive.at(Method::GET, name, ":/content"),
        };
        read::open(get::Stored { drive: Arc::clone(&self.drive), call: call.object() }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        self.drive.url(name)
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        match place(location)? {
            Place::Item(drive, item) => self.drive.remove((drive, item)).await,
            // Graph documents removal by id alone.
            Place::Path(name) => match self.drive.head(name).await?.filter(|item| item.file.is_some()) {
                Some(item) => self.drive.remove(item.place()?).await,
                None => Ok(()),
            },
        }
    }

    fn place(&self, name: &str) -> Location {
        location([("path", &format!("/{name}"))])
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.drive).boxed())
    }
}

/// Where an item is.
enum Place<'a> {
    /// The ids of the drive and of the item, which stay the same when the item is moved.
    Item(&'a str, &'a str),
    /// Its path from the root, without the first slash.
    Path(&'a str),
}

/// Returns the ids in a location, or its path if it has none.
fn place(location: &Location) -> Result<Place<'_>> {
    let wrong = |what: &str| Error::new(Kind::Location, format!("the location of a OneDrive item {what}"));
    if location.get("path").is_some_and(|path| !path.as_str().is_some_and(|path| path.starts_with('/'))) {
        return Err(wrong("has a path that is none"));
    }
    if !location.contains_key("drive") && !location.contains_key("item") {
        let name = text(location, "path").and_then(|path| path.strip_prefix('/'));
        let name = name.filter(|name| names::check(name).is_ok()).ok_or_else(|| wrong("names no item"))?;
        return Ok(Place::Path(name));
    }
    let id = |member| text(location, member).filter(|id| is_id(id));
    Ok(Place::Item(
        id("drive").ok_or_else(|| wrong("names no drive"))?,
        id("item").ok_or_else(|| wrong("names no item"))?,
    ))
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'_' | b'-');
    (1..=255).contains(&text.len()) && text.bytes().all(allowed)
}
