//! Any web server as a storage: PUT or POST to store, GET to fetch, DELETE to remove. `docs/backends/http.md` is its page.
//!
//! | file | is |
//! |---|---|
//! | `options` | the settings, checked |
//! | `link` | URLs that nothing normalises; where a name goes |
//! | `web`, `redirect` | requests, credentials only for their own server, redirects |
//! | `put`, `flow`, `form`, `folders`, `cleanup` | storing: a free name, a body that can be held back, its form, WebDAV's folders, what a failure leaves |
//! | `fetch`, `query`, `decide` | fetching: ranges, breaks, metadata, raw or base64 |

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

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::Value;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;

use self::folders::Dav;
use self::link::Link;
use self::options::Options;
use self::web::Web;
use super::error::Result;
use super::{
    Backend, Budget, Context, Download, Driver, Fetch, Fit, Identity, Location, Naming, Object, Server, Spelling,
    Stored, Upload,
};
use crate::engine::location::location;
use crate::engine::names::Names;

/// The `http` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "http",
    naming: Naming::Path,
    // Nextcloud takes 250 bytes, with 28 of its own while an upload lasts. URLs end at 2,048 to 8,192 bytes, by the server.
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
    /// The storage's id in the plan.
    id: String,
    options: Options,
    web: Arc<Web>,
    dav: Dav,
    names: Names,
    tasks: Tasks,
    budget: Budget,
}

impl Http {
    /// Opens a storage.
    ///
    /// # Errors
    /// `Settings` for settings that are missing or wrong.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let mut options = Options::read(settings)?;
        let headers = std::mem::take(&mut options.headers);
        let web = Arc::new(Web::new(context.client.clone(), &options.base, headers));
        Ok(Self {
            id: settings.id().to_owned(),
            options,
            web,
            dav: Dav::default(),
            names: Names::default(),
            tasks: context.tasks.clone(),
            budget: context.budget.clone(),
        })
    }
}

impl Http {
    /// The location of an object at a URL.
    fn location(&self, link: &Link) -> Location {
        let mut location = location([(URL, &self.options.base.masked(link))]);
        if self.options.form.base64 {
            location.insert(BASE64.to_owned(), Value::Bool(true));
        }
        location
    }
}

impl Backend for Http {
    fn put<'a>(&'a self, object: &'a Object, upload: Upload) -> BoxFuture<'a, Result<Stored>> {
        put::put(self, object, upload).boxed()
    }

    fn get<'a>(&'a self, location: &'a Location, fetch: Fetch<'a>) -> BoxFuture<'a, Result<Download>> {
        fetch::get(self, location, fetch).boxed()
    }

    fn url(&self, name: &str) -> String {
        self.options.base.object(name).text()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move { cleanup::remove(&self.web, &fetch::link(self, location)?).await.map(drop) }.boxed()
    }

    fn places(&self, object: &Object) -> Vec<Location> {
        object.names().map(|name| self.location(&self.options.base.object(name))).collect()
    }
}

/// The member of a location that holds the object's URL.
const URL: &str = "url";
/// The member of a location that says that base64 was stored, and the name of that encoding.
const BASE64: &str = "base64";
/// How long a server may take to say `100 Continue` before the body flows all the same.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);
