//! The `azure` driver: block blobs of Azure Storage, with requests signed by the account's key.
//!
//! Bodies of up to one chunk are stored with one `Put Blob`; larger ones as blocks (`Put Block`) that a `Put Block List` commits. Every blob is
//! created with `If-None-Match: *`. Retries, headers and HMAC are those of `azure_core`'s pipeline; the transport is our own client, and the shared
//! key policy is ours, because the official crates have none.
//!
//! Sources: the pages of "Blob Storage REST API" (Put Blob, Put Block, Put Block List, Get Blob, Get Blob Properties, Delete Blob, "Specifying
//! conditional headers", "Status and error codes") and "Authorize with Shared Key". Limits: 50,000 blocks per blob, which is 244 GiB in chunks; names
//! of up to 1024 characters.

mod address;
mod ask;
mod attempt;
mod blocks;
mod claim;
mod fault;
mod get;
mod list;
mod put;
mod shared_key;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use stowage_base::settings::Settings;

use self::address::{Address, blob_name, check_name, is_container, name_fault};
use self::ask::Account;
use self::shared_key::SharedKey;
use super::{
    Backend, Context, Download, Driver, Error, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object, Result,
    Server, Spelling, Stored, Upload,
};
use crate::engine::location::text;
use crate::engine::read;

/// The `azure` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "azure",
    naming: Naming::Flat,
    exclusive: true,
    by_id: false,
    // In characters ("Naming and Referencing Containers, Blobs, and Metadata"); segments have no limit of their own.
    fit: Fit { part: 1024, whole: 1024, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Host(&["account", "host", "scheme", "port"]),
    identity: Identity::Settings { all: &["container"], kazoo: &["account"], hosts: &[] },
    secrets: &["key"],
    endpoints: &[],
    key: crate::engine::location::whole,
    open: |settings, context| Ok(Arc::new(Azure::open(settings, context)?)),
};

/// An opened storage account.
#[derive(Debug)]
struct Azure {
    account: Arc<Account>,
}

impl Azure {
    /// Reads the settings, without sending a request.
    fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let address = Address::read(settings)?;
        let signer = SharedKey::new(address.account.clone(), settings.required("key")?)
            .ok_or_else(|| settings.wrong("key", "must be base64"))?;
        let account = Account::new(settings.id(), address, signer, context.client.clone(), context.tasks.clone());
        Ok(Self { account: Arc::new(account) })
    }
}

#[async_trait]
impl Backend for Azure {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        let object = &Object { name: blob_name(&object.name), spare: blob_name(&object.spare), ..object.clone() };
        check_name(&object.name)?;
        check_name(&object.spare)?;
        let report = upload.report();
        let chunk = upload.chunk().await?;
        match report.digests() {
            Some(digests) if chunk.last => put::store(&self.account, object, chunk, &digests).await,
            _ => blocks::store(&self.account, object, upload, chunk).await,
        }
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let (container, blob) = place(location)?;
        let (container, blob) = (container.map(str::to_owned), blob.to_owned());
        read::open(get::Stored { account: Arc::clone(&self.account), container, blob }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        let address = &self.account.address;
        format!("{}{}", address.origin, address.path(&address.container, &blob_name(name)))
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        let (container, blob) = place(location)?;
        self.account.remove(container, blob).await
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.account).boxed())
    }

    // Uncommitted blocks are not an object, and Azure removes them by itself.
    fn place(&self, name: &str) -> Location {
        self.account.location(&blob_name(name))
    }
}

/// Returns the container (`None` for the plan's) and the blob of a location.
fn place(location: &Location) -> Result<(Option<&str>, &str)> {
    let wrong = |what: &str| Error::new(Kind::Location, format!("the location of a blob {what}"));
    let container = text(location, "container").filter(|name| is_container(name));
    if container.is_none() && location.contains_key("container") {
        return Err(wrong("names no container"));
    }
    let blob = text(location, "blob").ok_or_else(|| wrong("has no name"))?;
    match name_fault(blob) {
        None => Ok((container, blob)),
        Some(_) => Err(wrong("has a name that cannot be")),
    }
}
