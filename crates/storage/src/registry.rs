//! From a plan's `handler` text and settings to an opened [`Backend`].

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

/// What the rest of the gateway knows of a driver; each driver's folder has one, and [`DRIVERS`] lists them.
#[derive(Debug)]
pub struct Driver {
    /// Its name in plans, as `handler`.
    pub handler: &'static str,
    /// How objects are named where the plan does not say.
    pub naming: Naming,
    /// Which names its servers take.
    pub fit: Fit,
    /// JSON Schema of its entry in a plan; what all have in common stands in `api/schema/schemas/defs.json`.
    pub schema: &'static str,
    /// Who chooses the server.
    pub server: Server,
    /// Which storages of a plan are the one that a pointer names.
    pub identity: Identity,
    /// Settings that are never shown, besides `secret`, `password`, the values of `headers` and what a URL hides.
    pub secrets: &'static [&'static str],
    /// The keys of `[storage.endpoints]` that say where the vendor's servers are, with their defaults. Drivers of one vendor
    /// may name the same ones.
    pub endpoints: &'static [(&'static str, &'static str)],
    /// What tells the object of a location apart from every other object of its storage, however the location came about: two of
    /// them may mean the same. `None` where a location does not say it.
    pub key: fn(&Location) -> Option<String>,
    /// Opens it; nothing is sent. Fails with `Settings`.
    pub open: fn(&Settings, &Context) -> Result<Arc<dyn Backend>>,
}

/// Who chooses a driver's server: what a plan chooses is looked at before the plan is saved, and secrets stay with the
/// server that they were given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The vendor or the operator.
    Fixed,
    /// The plan, by the setting `url`.
    Url,
    /// The plan, by the setting `host` and others; where secrets travel nowhere but to it, those that name it.
    Host(&'static [&'static str]),
}

/// What a storage is known by: what a pointer says of it and the settings of a plan say too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Its id alone.
    Id,
    /// The server of its `url`.
    Url,
    /// What these settings say.
    Settings {
        /// Named by every pointer.
        all: &'static [&'static str],
        /// Named by KAZOO's besides.
        kazoo: &'static [&'static str],
        /// What ends the names of hosts that are all one; the first is meant where `host` names none.
        hosts: &'static [&'static str],
    },
}

/// How objects are named where a plan has no `field_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `{account}/{owner}/{document}/{attachment}`
    Path,
    /// `{database}/{document}_{attachment}`
    Database,
    /// `{document}_{attachment}`
    Flat,
}

/// Which names a driver's servers take. What is composed longer, or otherwise than they take it, is changed before it gets
/// to a driver (`plan/name/fit`): the pointer says where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The longest part of a name, between slashes, in bytes.
    pub part: usize,
    /// The longest name, with its folder, in bytes.
    pub whole: usize,
    /// How they read a name.
    pub spelling: Spelling,
}

/// How a driver's servers read a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As it stands.
    Plain,
    /// As a part of a URL: a server undoes the percent-encoding, so a part counts as long as it then is.
    Url,
    /// As Windows and the programs that synchronise folders do: some names mean something else there.
    Desktop,
}

/// What file systems take as one part of a path, in bytes (`NAME_MAX` of Linux); characters on Windows.
pub(super) const FILE_NAME: usize = 255;

/// The driver of this name.
#[must_use]
pub fn driver(handler: &str) -> Option<&'static Driver> {
    DRIVERS.iter().copied().find(|driver| driver.handler == handler)
}

/// The keys of `[storage.endpoints]` with their defaults, each once.
#[must_use]
pub fn endpoints() -> BTreeMap<&'static str, &'static str> {
    DRIVERS.iter().flat_map(|driver| driver.endpoints).copied().collect()
}

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
    pub options: Arc<Options>,
    /// Tokens of vendors that want OAuth.
    pub oauth: OAuth,
}

/// Opens drivers and keeps the opened ones, with their connections.
#[derive(Debug)]
pub struct Registry {
    context: Context,
    opened: Cache<String, Arc<Opened>>,
    breakers: Breakers,
}

/// When a storage is left alone.
#[derive(Debug, Clone, Copy)]
pub struct Breakers {
    /// So many failures within 30 s open a storage's breaker; 0: it never opens.
    pub failures: u32,
    /// How many operations may run at once on one storage.
    pub in_flight: usize,
}

impl Driver {
    /// Whether a setting of this name is never shown.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        matches!(key, "secret" | "password") || self.secrets.contains(&key)
    }

    /// The setting that names the OAuth document that such a storage uses, and the document's id; `None` where it uses none.
    #[must_use]
    pub fn grant(&self, settings: &Settings) -> Option<(&'static str, String)> {
        let takes = |key: &&str| self.schema.contains(&format!("\"{key}\": {{"));
        let named = |key| Some((key, settings.text(key).ok()??)).filter(|(_, id): &(_, String)| !id.is_empty());
        ["oauth_doc_id", "oauth_app_id"].into_iter().filter(takes).find_map(named)
    }
}

impl Registry {
    /// The OAuth documents that storages may name.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        &self.context.oauth
    }

    /// An empty registry.
    #[must_use]
    pub fn new(context: Context, breakers: Breakers) -> Self {
        let opened = Cache::builder().max_capacity(MOST_OPENED).time_to_idle(KEEP_OPENED).build();
        Self { context, opened, breakers }
    }

    /// The storages that are open now, as far as they were asked lately.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.opened.iter().map(|(_, opened)| opened.health().standing())
    }

    /// The driver for these settings.
    ///
    /// # Errors
    /// `Settings` for a handler that does not exist and for settings that the driver refuses.
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

/// Opened drivers with their idle connections; the least used go first.
const MOST_OPENED: u64 = 1000;
/// A driver that was not used for this long is dropped.
const KEEP_OPENED: Duration = Duration::from_secs(600);
