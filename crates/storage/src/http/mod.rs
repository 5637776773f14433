//! The `http` driver: any web server, with PUT or POST to store, GET to fetch, DELETE to remove. `docs/backends/http.md` documents it.
//!
//! | file | contains |
//! |---|---|
//! | `options` | the validated settings |
//! | `link` | URLs without normalization; the URL for a name |
//! | `web`, `redirect` | requests, credentials only for their own server, redirects |
//! | `put`, `flow`, `form`, `folders`, `cleanup` | storing: a free name, holding back the body, its encoding, WebDAV folders, failures' clean-up |
//! | `fetch`, `query`, `decide` | fetching: ranges, resuming, metadata, raw or base64 |

mod cleanup;
mod decide;
mod fetch;
mod flow;
mod folders;
mod form;
mod link;
mod options;
mod put;
mod query;
mod redirect;
pub(super) mod steps;
#[cfg(test)]
mod tests;
mod web;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;

use self::folders::Dav;
use self::options::Options;
use self::web::Web;
use super::error::Result;
use super::{
    Backend, Budget, Context, Download, Driver, Fetch, Fit, Identity, Location, Naming, Object, Server, Spelling,
    Stored, Upload,
};
use crate::engine::names::Names;

/// The `http` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "http",
    naming: Naming::Path,
    exclusive: false,
    by_id: false,
    // Nextcloud accepts 250 bytes, of which it needs 28 during an upload. Servers limit URLs to 2,048 to 8,192 bytes.
    fit: Fit { part: 220, whole: 2048, spelling: Spelling::Url },
    schema: include_str!("schema.json"),
    server: Server::Url,
    identity: Identity::Url,
    secrets: &[],
    endpoints: &[],
    key: crate::engine::location::whole,
    open: |settings, context| Ok(Arc::new(Http::open(settings, context)?)),
};

/// The `http` driver.
#[derive(Debug)]
pub(super) struct Http {
    options: Arc<Options>,
    web: Arc<Web>,
    dav: Dav,
    names: Names,
    tasks: Tasks,
    budget: Budget,
}

impl Http {
    /// Reads the settings, without sending a request.
    ///
    /// # Errors
    /// Returns `Settings` for missing or invalid settings.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let mut options = Options::read(settings)?;
        let headers = std::mem::take(&mut options.headers);
        let web = Arc::new(Web::new(context.client.clone(), &options.base, headers));
        Ok(Self {
            options: Arc::new(options),
            web,
            dav: Dav::default(),
            names: Names::default(),
            tasks: context.tasks.clone(),
            budget: context.budget.clone(),
        })
    }
}

#[async_trait]
impl Backend for Http {
    async fn put(&self, object: &Object, upload: Upload) -> Result<Stored> {
        put::put(self, object, upload).await
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        fetch::get(self, location, fetch).await
    }

    fn url(&self, name: &str) -> String {
        self.options.base.object(name).text()
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        cleanup::remove(&self.web, &fetch::link(self, location)?).await.map(drop)
    }

    fn place(&self, name: &str) -> Location {
        self.options.location(&self.options.base.object(name))
    }
}

/// The member of a location for the object's URL.
const URL: &str = "url";
/// The member of a location that marks base64, and the name of that encoding.
const BASE64: &str = "base64";
/// The timeout for `100 Continue`, after which the body is sent anyway.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);
