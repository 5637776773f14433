//! Opens a [`Backend`] from a plan's `handler` and settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;
use stowage_http::client::Client;

use super::error::{Error, Kind, Result};
use super::oauth::OAuth;
use super::{Backend, Budget, DRIVERS, Location, Options};
use crate::health::{Health, Standing};
use crate::opened::{Opened, secrets};

/// The description of a driver; each driver's folder defines one, and [`DRIVERS`] lists them.
#[derive(Debug)]
pub struct Driver {
    /// The driver's name in plans, as `handler`.
    pub handler: &'static str,
    /// How objects are named by default.
    pub naming: Naming,
    /// Whether a server stores an object only if no other process has stored one under the name.
    pub exclusive: bool,
    /// Whether a location that the driver returns has the object's id, so that no other object ever gets it: there is no tag to compare.
    pub by_id: bool,
    /// The names that the driver's servers accept.
    pub fit: Fit,
    /// The JSON Schema of the driver's entry in a plan; the common part is `api/schema/schemas/defs.json`.
    pub schema: &'static str,
    /// Who chooses the server.
    pub server: Server,
    /// Which storages of a plan match a pointer.
    pub identity: Identity,
    /// Settings that are never shown, in addition to `secret`, `password`, the values of `headers` and the secret parts of a URL.
    pub secrets: &'static [&'static str],
    /// The keys of `[storage.endpoints]` for the vendor's servers, with their defaults. Drivers of one vendor may share keys.
    pub endpoints: &'static [(&'static str, &'static str)],
    /// Returns a key that identifies the object of a location within its storage, no matter who wrote the location: different locations of one object
    /// have the same key. `None` if the location does not identify it.
    pub key: fn(&Location) -> Option<String>,
    /// Opens a storage, without sending a request. Fails with `Settings`.
    pub open: fn(&Settings, &Context) -> Result<Arc<dyn Backend>>,
}

/// Who chooses a driver's server: a plan's choice is checked before the plan is saved, and secrets are only sent to the server that they were given
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The vendor or the operator.
    Fixed,
    /// The plan, with the setting `url`.
    Url,
    /// The plan, with the setting `host` and others. Lists those that name the server if the secrets must not be used for another one.
    Host(&'static [&'static str]),
}

/// How to match a pointer with a storage of a plan: by values in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// By the storage's id alone.
    Id,
    /// By the server of its `url`.
    Url,
    /// By these settings.
    Settings {
        /// The settings in every pointer.
        all: &'static [&'static str],
        /// Additional settings in KAZOO's pointers.
        kazoo: &'static [&'static str],
        /// The suffixes of hosts that are equivalent; the first is the default of `host`.
        hosts: &'static [&'static str],
    },
}

/// How objects are named if a plan has no `field_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `{account}/{owner}/{document}/{attachment}`
    Path,
    /// `{database}/{document}_{attachment}`
    Database,
    /// `{document}_{attachment}`
    Flat,
}

/// The names that a driver's servers accept. A composed name that does not fit is changed before the driver sees it (`plan/name/fit`), since the
/// pointer contains the object's actual location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The maximum length of a segment between slashes, in bytes.
    pub part: usize,
    /// The maximum length of a name including its folder, in bytes.
    pub whole: usize,
    /// How the servers interpret a name.
    pub spelling: Spelling,
}

/// How a driver's servers interpret a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Literally.
    Plain,
    /// As part of a URL: a server decodes percent-encoding, and the decoded length counts.
    Url,
    /// As Windows and file synchronization clients do: some names have a special meaning there.
    Desktop,
}

/// The maximum length of a path segment in file systems, in bytes (`NAME_MAX` of Linux); in characters on Windows.
pub(super) const FILE_NAME: usize = 255;

/// Returns the driver of this name.
#[must_use]
pub fn driver(handler: &str) -> Option<&'static Driver> {
    DRIVERS.iter().copied().find(|driver| driver.handler == handler)
}

/// Returns the keys of `[storage.endpoints]` with their defaults, without duplicates.
#[must_use]
pub fn endpoints() -> BTreeMap<&'static str, &'static str> {
    DRIVERS.iter().flat_map(|driver| driver.endpoints).copied().collect()
}

/// The dependencies of drivers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The shared HTTP client.
    pub client: Client,
    /// Tracks clean-up that outlives a dropped future.
    pub tasks: Tasks,
    /// The memory budget of all uploads.
    pub budget: Budget,
    /// Roots and endpoints.
    pub options: Arc<Options>,
    /// The tokens for vendors that require OAuth.
    pub oauth: OAuth,
}

/// Opens storages, and caches the opened ones with their connections.
#[derive(Debug)]
pub struct Registry {
    context: Context,
    opened: Cache<String, Arc<Opened>>,
    breakers: Breakers,
}

/// The limits of a storage's use.
#[derive(Debug, Clone, Copy)]
pub struct Breakers {
    /// The number of failures within 30 s that opens a storage's breaker; 0 to disable it.
    pub failures: u32,
    /// The maximum number of operations in flight per storage.
    pub in_flight: usize,
}

impl Driver {
    /// Returns whether a setting is never shown.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        matches!(key, "secret" | "password") || self.secrets.contains(&key)
    }

    /// Returns the setting that names a storage's OAuth document, and the document's id; `None` if it uses none.
    #[must_use]
    pub fn grant(&self, settings: &Settings) -> Option<(&'static str, String)> {
        let takes = |key: &&str| self.schema.contains(&format!("\"{key}\": {{"));
        let named = |key| Some((key, settings.text(key).ok()??)).filter(|(_, id): &(_, String)| !id.is_empty());
        ["oauth_doc_id", "oauth_app_id"].into_iter().filter(takes).find_map(named)
    }
}

impl Registry {
    /// Returns the OAuth documents that storages may name.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        &self.context.oauth
    }

    /// Creates an empty registry.
    #[must_use]
    pub fn new(context: Context, breakers: Breakers) -> Self {
        let opened = Cache::builder().max_capacity(MOST_OPENED).time_to_idle(KEEP_OPENED).build();
        Self { context, opened, breakers }
    }

    /// Returns the health of the currently opened storages.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.opened.iter().map(|(_, opened)| opened.health().standing())
    }

    /// Opens the storage with these settings, or returns it from the cache.
    ///
    /// # Errors
    /// Returns `Settings` for an unknown handler, or settings that the driver rejects.
    pub fn open(&self, settings: &Settings) -> Result<Arc<Opened>> {
        let key = settings.fingerprint();
        if let Some(opened) = self.opened.get(&key) {
            return Ok(opened);
        }
        let Some(driver) = driver(settings.handler()) else {
            let text =
                format!("storage {} names the handler {}, which does not exist", settings.id(), settings.handler());
            return Err(Error::new(Kind::Settings, text));
        };
        let secrets = secrets(settings, driver);
        let backend = (driver.open)(settings, &self.context).map_err(|error| error.without(&secrets))?;
        let health = Health::new(settings.id(), driver.handler, self.breakers);
        let opened = Arc::new(Opened::new(backend, secrets, health));
        self.opened.insert(key, Arc::clone(&opened));
        Ok(opened)
    }
}

/// The maximum number of opened storages; the least used ones are closed first.
const MOST_OPENED: u64 = 1000;
/// The idle time after which a storage is closed.
const KEEP_OPENED: Duration = Duration::from_secs(600);
