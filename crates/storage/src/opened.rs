//! Opened storages: their health, and masking of secrets in errors, because some storages echo what they were sent.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use stowage_base::settings::{Settings, is_secret_parameter};
use url::Url;

use crate::driver::Driver;
use crate::error::Result;
use crate::health::Health;
use crate::{Backend, Budget, Download, Fetch, Listed, Location, Object, Stored, Upload};

/// A storage opened with the settings of one entry of a plan's `attachments`.
pub struct Opened {
    driver: Arc<dyn Backend>,
    secrets: Vec<String>,
    health: Health,
    budget: Budget,
    spare: Budget,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver.fmt(f)
    }
}

impl Opened {
    pub(crate) fn new(
        driver: Arc<dyn Backend>,
        secrets: Vec<String>,
        health: Health,
        (budget, spare): (Budget, Budget),
    ) -> Self {
        Self { driver, secrets, health, budget, spare }
    }

    /// Returns the storage's health. The caller reports outcomes to it, because only the caller knows its own deadline.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Returns the storage's part of the memory budget of all uploads.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the storage's part of the memory budget for bodies that are kept until it has acknowledged them.
    #[must_use]
    pub const fn spare(&self) -> &Budget {
        &self.spare
    }
}

#[async_trait]
impl Backend for Opened {
    async fn put(&self, object: &Object, upload: Upload) -> Result<Stored> {
        self.driver.put(object, upload).await.map_err(|error| error.without(&self.secrets))
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        self.driver.get(location, fetch).await.map_err(|error| error.without(&self.secrets))
    }

    fn url(&self, name: &str) -> String {
        self.driver.url(name)
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        self.driver.delete(location).await.map_err(|error| error.without(&self.secrets))
    }

    fn place(&self, name: &str) -> Location {
        self.driver.place(name)
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        let listed = self.driver.list()?;
        Some(listed.map_err(|error| error.without(&self.secrets)).boxed())
    }

    async fn clear(&self, location: &Location) -> Result<()> {
        self.driver.clear(location).await.map_err(|error| error.without(&self.secrets))
    }
}

/// Collects all secrets of a storage's settings in the forms in which they are sent, longest first.
pub(crate) fn secrets(settings: &Settings, driver: &Driver) -> Vec<String> {
    let mut found = Vec::new();
    of_members(settings.members(), driver, &mut found);
    found.retain(|secret: &String| !secret.is_empty());
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.dedup();
    found
}

fn of_members(members: &Map<String, Value>, driver: &Driver, found: &mut Vec<String>) {
    for (key, value) in members {
        match value {
            Value::String(text) if driver.is_secret(key) => found.push(text.clone()),
            Value::Object(headers) if key == "headers" => {
                found.extend(headers.values().filter_map(Value::as_str).map(str::to_owned));
            }
            Value::String(text) if key == "url" => of_url(text, found),
            Value::Object(members) => of_members(members, driver, found),
            _ => {}
        }
    }
}

fn of_url(text: &str, found: &mut Vec<String>) {
    let Ok(url) = text.parse::<Url>() else { return };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), url.password().map(decoded).unwrap_or_default());
    if !user.is_empty() || !password.is_empty() {
        found.push(STANDARD.encode(format!("{user}:{password}")));
    }
    found.extend([url.password().unwrap_or_default().to_owned(), password]);
    let raw = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    for (_, value) in raw.filter(|(name, _)| is_secret_parameter(name)) {
        found.extend([value.to_owned(), decoded(value)]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::secrets;
    use crate::{Error, Kind, driver};
    use stowage_base::settings::Settings;

    #[test]
    fn what_a_storage_repeats_is_masked() {
        let settings = json!({
            "url": "https://me:p%40ss@h/x?token=t0ken&recording=", "headers": {"X-Key": "header-secret"}, "password": "pw",
        });
        let settings = Settings::new("a", "http", settings.as_object().unwrap().clone());
        let secrets = secrets(&settings, driver("http").unwrap());
        let said = b"you sent bWU6cEBzcw== p@ss p%40ss t0ken header-secret pw";
        let error = Error::new(Kind::Refused, "it said t0ken").saying(said).without(&secrets);
        assert_eq!(error.said(), "you sent ******** ******** ******** ******** ******** ********");
        assert_eq!(error.to_string(), "it said ********");
    }
}
