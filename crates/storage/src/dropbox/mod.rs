//! The `dropbox` driver: files in a user's Dropbox, over API v2.
//!
//! Sources: `files.stone` and `auth.stone` of `dropbox/dropbox-api-spec`, and `dropbox.com/developers/documentation/http/documentation`. Bodies of up
//! to one chunk are stored with one `/2/files/upload`, larger ones with an upload session: a single request may have 150 MiB, but only a chunk can be
//! repeated if Dropbox limits the rate, or the connection breaks, in the middle of it.

mod account;
mod claim;
mod get;
mod hash;
mod list;
mod put;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use stowage_base::settings::Settings;

use self::account::{Account, Shared};
use super::{
    Backend, Context, Download, Driver, Error, FILE_NAME, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object,
    Result, Server, Spelling, Stored, Upload,
};
use crate::engine::location::{location, text};
use crate::engine::read;

/// The `dropbox` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "dropbox",
    naming: Naming::Flat,
    exclusive: true,
    by_id: false,
    // A segment has at most 255 characters ("File names", help.dropbox.com); no limit of the whole path is documented.
    fit: Fit { part: FILE_NAME, whole: 1024, spelling: Spelling::Desktop },
    schema: include_str!("schema.json"),
    server: Server::Fixed,
    identity: Identity::Settings { all: &["oauth_doc_id"], kazoo: &[], hosts: &[] },
    secrets: &[],
    endpoints: account::ENDPOINTS,
    key: |location| text(location, "id").map(str::to_owned),
    open: |settings, context| Ok(Arc::new(Dropbox::open(settings, context)?)),
};

/// An opened Dropbox.
#[derive(Debug)]
pub(super) struct Dropbox {
    account: Shared,
}

impl Dropbox {
    /// Reads the settings, without sending a request.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let grant = settings.required("oauth_doc_id")?;
        Ok(Self { account: Arc::new(Account::open(settings.id(), grant, context)?) })
    }
}

#[async_trait]
impl Backend for Dropbox {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        check(&object.name)?;
        check(&object.spare)?;
        let chunk = upload.chunk().await?;
        if chunk.last {
            return put::store(&self.account, object, chunk).await;
        }
        session::store(&self.account, object, upload, chunk).await
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let file = file_of(location)?.to_owned();
        read::open(get::Stored { account: Arc::clone(&self.account), file }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        format!("dropbox:{}", path_of(name))
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        self.account.remove(file_of(location)?).await
    }

    fn place(&self, name: &str) -> Location {
        location([("path", &path_of(name))])
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.account).boxed())
    }
}

/// Returns the path for a name, as KAZOO does.
fn path_of(name: &str) -> String {
    format!("/{name}")
}

/// Rejects a name that leaves its folder. Dropbox itself rejects other invalid names: `disallowed_name`, `malformed_path`.
fn check(name: &str) -> Result<()> {
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::new(Kind::Refused, "the object's name leaves its folder or has an empty part"));
    }
    Ok(())
}

/// Returns the id of a file, which it keeps when it is moved, or its path if the id is unknown: Dropbox takes either.
fn file_of(location: &Location) -> Result<&str> {
    let wrong = |what| Error::new(Kind::Location, format!("the location of a Dropbox file {what}"));
    if location.get("path").is_some_and(|path| !path.as_str().is_some_and(|path| path.starts_with('/'))) {
        return Err(wrong("has a path that is none"));
    }
    if location.contains_key("id") {
        return text(location, "id").filter(|id| is_id(id)).ok_or_else(|| wrong("has an id that is none"));
    }
    let path = text(location, "path").filter(|path| path.strip_prefix('/').is_some_and(|name| check(name).is_ok()));
    path.ok_or_else(|| wrong("has no id"))
}

fn is_id(text: &str) -> bool {
    let id = text.strip_prefix("id:").unwrap_or_default();
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
