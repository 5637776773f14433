//! The `ftp` driver: FTP (RFC 959, 2428, 3659) and FTP over TLS (RFC 4217, and the older implicit mode). `docs/backends/ftp.md` documents it.
//!
//! | file | contains |
//! |---|---|
//! | `address` | the validated settings; URLs, paths and locations |
//! | `fault` | the errors of commands |
//! | `pool` | the pooled control connections |
//! | `wire`, `tickets`, `session` | one control connection: opening it, and a method per command |
//! | `stat` | checks whether something is at a path |
//! | `passive`, `transfer` | one data connection: its port, and the transfer up to its completion reply |
//! | `put`, `draft` | storing: a unique name first, then the composed one; clean-up after failures |
//! | `get` | reading: ranges, resuming after a break |
//! | `list` | listing the files below the folder |

mod address;
mod draft;
mod fault;
mod get;
mod list;
mod passive;
mod pool;
mod put;
mod session;
mod stat;
#[cfg(test)]
mod tests;
mod tickets;
mod transfer;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;

use self::address::Address;
use self::draft::removed;
use self::fault::ResultExt;
use self::pool::Pool;
use crate::engine::names::Names;
use crate::engine::tries::Tries;
use crate::{
    Backend, Context, Download, Driver, FILE_NAME, Fetch, Fit, Identity, Listed, Location, Naming, Object, Result,
    Server, Spelling, Stored, Upload,
};

/// The `ftp` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "ftp",
    naming: Naming::Path,
    exclusive: false,
    by_id: false,
    // Servers accept command lines of at least 512 bytes, which include the command and the folder in the URL.
    fit: Fit { part: FILE_NAME, whole: 400, spelling: Spelling::Desktop },
    schema: include_str!("schema.json"),
    server: Server::Url,
    identity: Identity::Url,
    secrets: &[],
    endpoints: &[],
    key: address::key,
    open: |settings, context| Ok(Arc::new(Ftp::open(settings, context)?)),
};

/// A folder on an FTP server.
#[derive(Debug)]
pub(super) struct Ftp {
    host: Arc<Host>,
    /// The document's field to be set to the object's URL.
    url_field: Option<String>,
}

/// The shared parts of operations.
#[derive(Debug)]
struct Host {
    /// The storage's id in the plan.
    id: String,
    address: Arc<Address>,
    pool: Arc<Pool>,
    tasks: Tasks,
    names: Names,
}

impl Ftp {
    /// Reads the settings, without sending a request.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let address = Arc::new(Address::read(settings)?);
        let host = Host {
            id: settings.id().to_owned(),
            pool: Pool::of(&address, &context.client, &context.tasks),
            address,
            tasks: context.tasks.clone(),
            names: Names::default(),
        };
        Ok(Self { host: Arc::new(host), url_field: settings.public_field("document_url_field")? })
    }
}

#[async_trait]
impl Backend for Ftp {
    async fn put(&self, object: &Object, upload: Upload) -> Result<Stored> {
        let mut stored = put::store(&self.host, object, upload).await?;
        if let Some(field) = &self.url_field {
            let url = self.host.address.url(address::path(&stored.location));
            stored.fields.insert(field.clone(), url.into());
        }
        Ok(stored)
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        get::open(&self.host, self.host.address.find(location)?, fetch).await
    }

    fn url(&self, name: &str) -> String {
        self.host.address.url(&self.host.address.below(name))
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        self.host.delete(self.host.address.find(location)?).await
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.host).boxed())
    }

    fn place(&self, name: &str) -> Location {
        let address = &self.host.address;
        address.location(&address.below(name))
    }
}

impl Host {
    /// Removes a file, which may be gone already. A removal whose reply was lost is not repeated.
    async fn delete(&self, path: &str) -> Result<()> {
        let mut tries = Tries::start(0);
        loop {
            let mut session = retried(|| self.pool.take(path)).await?;
            let outcome = removed(&mut session, path).await;
            session.leave();
            let is_last = outcome.as_ref().is_err_and(|fault| !fault.is_answer());
            match outcome.map(drop).context("remove an object") {
                Err(error) if !is_last && tries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }
}

/// Repeats an operation while its failure may pass.
async fn retried<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    let mut tries = Tries::start(0);
    loop {
        match attempt().await {
            Err(error) if tries.again(&error).await => {}
            outcome => return outcome,
        }
    }
}
