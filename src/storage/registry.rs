//! From a plan's `handler` text and settings to an opened [`Backend`].
//!
//! The table in [`Registry::build`] is the one place that knows which drivers exist.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::error::{Error, Kind, Result};
use super::file::Directory;
use super::http::Http;
use super::s3::S3;
use super::{Backend, Budget};
use crate::config;
use crate::http::client::Client;
use crate::settings::Settings;
use crate::tasks::Tasks;

/// What drivers need of the rest of the program; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The one HTTP client.
    pub client: Client,
    /// For clean-up that outlives a dropped future.
    pub tasks: Tasks,
    /// The memory of all uploads.
    pub budget: Budget,
    /// Roots and endpoints.
    pub config: Arc<config::Storage>,
}

/// Opens drivers and keeps the opened ones, with their connections.
#[derive(Debug)]
pub struct Registry {
    context: Context,
    opened: Cache<String, Arc<dyn Backend>>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let opened = Cache::builder().max_capacity(MOST_OPENED).time_to_idle(KEEP_OPENED).build();
        Self { context, opened }
    }

    /// The driver for these settings.
    ///
    /// # Errors
    /// `Settings` for a handler that does not exist and for settings that the driver refuses.
    pub fn open(&self, settings: &Settings) -> Result<Arc<dyn Backend>> {
        let key = settings.fingerprint();
        if let Some(backend) = self.opened.get(&key) {
            return Ok(backend);
        }
        let backend = self.build(settings)?;
        self.opened.insert(key, Arc::clone(&backend));
        Ok(backend)
    }

    fn build(&self, settings: &Settings) -> Result<Arc<dyn Backend>> {
        let context = &self.context;
        match settings.handler() {
            "file" => Ok(Arc::new(Directory::open(settings, context)?)),
            "http" => Ok(Arc::new(Http::open(settings, context)?)),
            "s3" => Ok(Arc::new(S3::open(settings, context)?)),
            other => {
                let text = format!("storage {} names the handler {other}, which does not exist", settings.id());
                Err(Error::new(Kind::Settings, text))
            }
        }
    }
}

/// Opened drivers with their idle connections; the least used go first.
const MOST_OPENED: u64 = 1000;
/// A driver that nobody used for this long is dropped.
const KEEP_OPENED: Duration = Duration::from_secs(600);
