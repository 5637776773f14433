//! Finds drivers, and opens a [`Backend`](crate::Backend) from a plan's `handler` and settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use stowage_base::settings::Settings;

use super::DRIVERS;
use super::error::{Error, Kind, Result};
use super::oauth::OAuth;
use crate::driver::{Context, Driver};
use crate::engine::budget::Budget;
use crate::engine::upload::CHUNK_BYTES;
use crate::health::{Breakers, Health, Standing};
use crate::opened::{Opened, secrets};

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

/// Opens storages, and caches the opened ones with their connections.
#[derive(Debug)]
pub struct Registry {
    context: Context,
    opened: Cache<String, Arc<Opened>>,
    breakers: Breakers,
    spare: Budget,
}

impl Registry {
    /// Returns the OAuth documents that storages may name.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        &self.context.oauth
    }

    /// Creates an empty registry. `spare` is the budget for bodies that are kept until a storage has acknowledged them.
    #[must_use]
    pub fn new(context: Context, breakers: Breakers, spare: Budget) -> Self {
        let opened = Cache::builder().max_capacity(MOST_OPENED).time_to_idle(KEEP_OPENED).build();
        Self { context, opened, breakers, spare }
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
        let context = Context { budget: self.context.budget.part(CHUNK_BYTES), ..self.context.clone() };
        let backend = (driver.open)(settings, &context).map_err(|error| error.without(&secrets))?;
        let health = Health::new(settings.id(), driver.handler, self.breakers);
        let opened = Arc::new(Opened::new(backend, secrets, health, (context.budget, self.spare.part(CHUNK_BYTES))));
        self.opened.insert(key, Arc::clone(&opened));
        Ok(opened)
    }
}

/// The maximum number of opened storages; the least used ones are closed first.
const MOST_OPENED: u64 = 1000;
/// The idle time after which a storage is closed.
const KEEP_OPENED: Duration = Duration::from_secs(600);
