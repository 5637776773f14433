//! The `file` driver: a directory below the configured root.

mod list;
mod place;
mod read;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::TryFutureExt;
use futures_util::stream::{self, BoxStream, StreamExt};

use self::place::Place;
pub use self::write::sweep;
use super::{
    Backend, Context, Download, Driver, Error, FILE_NAME, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object,
    Result, Server, Spelling, Stored, Upload,
};
use crate::engine::location::{location, text};
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;

/// The `file` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "file",
    naming: Naming::Path,
    exclusive: true,
    by_id: false,
    // Together with the root, the path must not exceed the 4096 bytes of `PATH_MAX`.
    fit: Fit { part: FILE_NAME, whole: 2048, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Id,
    secrets: &[],
    endpoints: &[],
    key: crate::engine::location::whole,
    open: |settings, context| Ok(Arc::new(Directory::open(settings, context)?)),
};

/// An opened directory.
#[derive(Debug)]
pub(super) struct Directory {
    place: Arc<Place>,
    tasks: Tasks,
}

impl Directory {
    /// Reads the settings and resolves the directory.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let place = Place::open(settings, context.options.file_root.as_deref())?;
        Ok(Self { place: Arc::new(place), tasks: context.tasks.clone() })
    }

    fn path(&self, location: &Location) -> Result<PathBuf> {
        let name = text(location, "path");
        let name = name.ok_or_else(|| Error::new(Kind::Location, "the location of a file has no path"))?;
        self.place.path(name).map_err(|fault| Error::new(Kind::Location, fault))
    }
}

#[async_trait]
impl Backend for Directory {
    async fn put(&self, object: &Object, upload: Upload) -> Result<Stored> {
        write::store(&self.place, &self.tasks, object, upload).await
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        read::open(Arc::clone(&self.place), self.path(location)?, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        self.place.path(name).map_or_else(|_| name.to_owned(), |path| path.display().to_string())
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        let (place, path) = (Arc::clone(&self.place), self.path(location)?);
        write::blocking(move || write::remove(&place, &path)).await
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        let place = Arc::clone(&self.place);
        let listed = write::blocking(move || Ok(list::all(&place)));
        Some(listed.map_ok(stream::iter).try_flatten_stream().boxed())
    }

    // Partial files are removed at the next start.
    fn place(&self, name: &str) -> Location {
        location([("path", name)])
    }
}
