//! The CouchDB servers that plans name beside the configured one.
//!
//! Each is opened when it is first asked for. What a connection may say is in KAZOO's schema `storage.connection`; `ip` and
//! `port` say where it is.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::client::Couch;
use crate::config::Secret;
use crate::http::client::Client;
use crate::http::connect::Reach;
use crate::http::target::Origin;
use crate::settings::{Settings, WrongSetting};

/// The opened connections.
#[derive(Debug)]
pub struct Connections {
    client: Client,
    document_bytes: u64,
    /// Whether a connection's own credentials stand in the place of the client's.
    own_credentials: bool,
    open: Mutex<HashMap<String, Couch>>,
}

impl Connections {
    /// None is open yet.
    #[must_use]
    pub fn new(client: Client, document_bytes: u64, own_credentials: bool) -> Self {
        Self { client, document_bytes, own_credentials, open: Mutex::default() }
    }

    /// The CouchDB that a plan's connection names.
    ///
    /// # Errors
    /// Settings that name no server.
    pub fn open(&self, settings: &Settings) -> Result<Couch, WrongSetting> {
        let key = settings.fingerprint();
        if let Some(couch) = self.opened().get(&key) {
            return Ok(couch.clone());
        }
        let couch = self.connect(settings)?;
        self.opened().insert(key, couch.clone());
        Ok(couch)
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Couch>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, settings: &Settings) -> Result<Couch, WrongSetting> {
        let host = settings.required("ip")?;
        let port = settings.number("port")?.unwrap_or(DEFAULT_PORT);
        let wrong = |error: &dyn fmt::Display| settings.wrong("ip", format!("names no server: {error}"));
        let bracketed = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let url = url::Url::parse(&format!("http://{bracketed}:{port}/")).map_err(|error| wrong(&error))?;
        let origin = Origin::of(&url).ok_or_else(|| wrong(&"no host"))?;
        let server = self.client.server(origin, Reach::Tenant);
        let credentials = settings.object("credentials")?.cloned().unwrap_or_default();
        let credentials = Settings::new(settings.id(), settings.handler(), credentials);
        let (name, password) = (credentials.text("username")?, credentials.text("password")?);
        let password = Secret::new(password.unwrap_or_default());
        let account = name.as_deref().map(|name| (name, &password));
        let patience = self.client.patience();
        let couch = Couch::new(server, "", account, patience, self.document_bytes).map_err(|error| wrong(&error))?;
        Ok(if self.own_credentials && name.is_some() { couch.in_place_of_clients() } else { couch })
    }
}

/// CouchDB's.
const DEFAULT_PORT: u64 = 5984;
