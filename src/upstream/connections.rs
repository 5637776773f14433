//! The CouchDB servers that plans name in addition to the configured one.
//!
//! A connection is opened on first use, and closed once no plan names it. Its settings follow KAZOO's schema `storage.connection`; `ip` and `port`
//! give its address.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use stowage_base::secret::Secret;
use stowage_base::settings::{Settings, WrongSetting};
use stowage_couch::Couch;
use stowage_http::client::Client;
use stowage_http::connect::Reach;
use stowage_http::pooling::Pooling;
use stowage_http::target::Origin;
use tokio::time::Instant;

use crate::database::AccountId;

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    client: Client,
    document_bytes: u64,
    /// Whether a connection's own credentials replace the client's.
    own_credentials: bool,
    open: Mutex<HashMap<Fingerprint, Open>>,
}

type Fingerprint = String;

/// The owner of a plan: an account, or the system if there is none; with a user, the plan for that user's documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The account.
    pub account: Option<AccountId>,
    /// The user.
    pub user: Option<String>,
}

/// An open connection.
#[derive(Debug, Clone)]
pub struct Open {
    couch: Couch,
    /// The id in the plans.
    pub id: String,
    /// The owners of the plans through which it was opened.
    pub named_by: HashSet<Whose>,
    used: Instant,
}

impl Connections {
    /// Creates an empty set of connections.
    #[must_use]
    pub fn new(client: Client, document_bytes: u64, own_credentials: bool) -> Self {
        Self { client, document_bytes, own_credentials, open: Mutex::default() }
    }

    /// Returns the CouchDB of a connection, opening it if necessary.
    ///
    /// # Errors
    /// Returns an error if the settings name no server, or a driver that does not exist.
    pub fn open(&self, settings: &Settings, whose: &Whose) -> Result<Couch, WrongSetting> {
        let key = settings.fingerprint();
        if let Some(open) = self.opened().get_mut(&key) {
            open.used = Instant::now();
            if !open.named_by.contains(whose) {
                open.named_by.insert(whose.clone());
            }
            return Ok(open.couch.clone());
        }
        let couch = self.connect(settings)?;
        let new = || Open { couch, id: settings.id().to_owned(), named_by: HashSet::new(), used: Instant::now() };
        let mut opened = self.opened();
        let open = opened.entry(key).or_insert_with(new);
        open.named_by.insert(whose.clone());
        Ok(open.couch.clone())
    }

    /// Returns the open connections by the fingerprints of their settings.
    #[must_use]
    pub fn named(&self) -> HashMap<String, Open> {
        self.opened().clone()
    }

    /// Records that these plans no longer name a connection. Closes it if they were the last, or if it has not been used for a while;
    /// requests in flight still finish.
    pub fn unnamed(&self, fingerprint: &str, by: &[Whose]) {
        let mut opened = self.opened();
        let Some(open) = opened.get_mut(fingerprint) else { return };
        for whose in by {
            open.named_by.remove(whose);
        }
        if open.named_by.is_empty() || open.used.elapsed() > KEEP_UNUSED {
            opened.remove(fingerprint);
        }
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<Fingerprint, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, settings: &Settings) -> Result<Couch, WrongSetting> {
        let server = self.client.pooled(origin_of(settings)?, Reach::Tenant, pooling(settings)?);
        let account = account(settings)?;
        let account = account.as_ref().map(|(name, password)| (name.as_str(), password));
        let patience = self.client.patience();
        let couch = Couch::new(server, "", account, patience, self.document_bytes)
            .map_err(|_| settings.wrong("credentials", "cannot be sent"))?
            .named(settings.id());
        Ok(if self.own_credentials && account.is_some() { couch.in_place_of_clients() } else { couch })
    }
}

/// Checks the settings of a connection; returns its server.
///
/// # Errors
/// Returns an error for the first invalid setting.
pub fn check(settings: &Settings) -> Result<Origin, WrongSetting> {
    pooling(settings)?;
    account(settings)?;
    origin_of(settings)
}

/// Returns the user name and password of a connection, if it has them.
fn account(settings: &Settings) -> Result<Option<(String, Secret)>, WrongSetting> {
    let Some(credentials) = settings.below("credentials")? else { return Ok(None) };
    let name = credentials.text("username")?.filter(|name| !name.is_empty());
    let password = match credentials.members().get("password") {
        // KAZOO's schema allows a number.
        Some(Value::Number(number)) => number.to_string(),
        _ => credentials.text("password")?.unwrap_or_default(),
    };
    Ok(name.map(|name| (name, Secret::new(password))))
}

/// Returns the server of a connection: `ip`, an address or a name, and `port`.
///
/// # Errors
/// Returns an error if the settings name no server, or a driver that does not exist.
pub fn origin_of(settings: &Settings) -> Result<Origin, WrongSetting> {
    if !matches!(settings.handler(), "" | DRIVER) {
        let driver = settings.handler();
        return Err(settings.wrong("driver", format!("`{driver}` does not exist: there is only `{DRIVER}`")));
    }
    let port = settings.number("port")?.unwrap_or(DEFAULT_PORT);
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| settings.wrong("port", "must be a port, from 1 to 65535"))?;
    let host = settings.required("ip")?;
    let host = host.trim();
    let wrong = |error: &dyn fmt::Display| settings.wrong("ip", format!("names no server: {error}"));
    if host.contains(['/', '?', '#', '@', '\\']) {
        return Err(wrong(&"it is an address or a name, and nothing more"));
    }
    let bracketed = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let url = url::Url::parse(&format!("http://{bracketed}:{port}/")).map_err(|error| wrong(&error))?;
    Origin::of(&url).ok_or_else(|| wrong(&"no host"))
}

/// Returns a connection's socket settings. All sockets use the system's keepalive, whatever the plan says. `max_sessions` and `max_pipeline_size` are
/// about KAZOO's client: here, each request in flight has a socket of its own, and `limits.in_flight` bounds them.
fn pooling(settings: &Settings) -> Result<Pooling, WrongSetting> {
    let mut pooling = Pooling::default();
    if let Some(milliseconds) = settings.number("connect_timeout")?.filter(|milliseconds| *milliseconds > 0) {
        pooling.connect = Some(Duration::from_millis(milliseconds));
    }
    for key in ["max_sessions", "max_pipeline_size"] {
        settings.number(key)?;
    }
    if let Some(pool) = settings.below("pool")?
        && let Some(size) = pool.number("size")?.filter(|size| *size > 0)
    {
        pooling.most_idle = usize::try_from(size).unwrap_or(usize::MAX).min(pooling.most_idle);
    }
    if let Some(options) = settings.below("connect_options")? {
        options.flag("keepalive")?;
    }
    Ok(pooling)
}

/// The only driver.
const DRIVER: &str = "kazoo_couch";
/// CouchDB's default port.
const DEFAULT_PORT: u64 = 5984;
/// How long an unused connection stays open; the next use opens it again.
const KEEP_UNUSED: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Settings, origin_of, pooling};

    fn settings(driver: &str, members: &Value) -> Settings {
        Settings::new("c1", driver, members.as_object().cloned().unwrap())
    }

    fn couch(members: &Value) -> Settings {
        settings("kazoo_couch", members)
    }

    #[test]
    fn address_and_port_name_the_server() {
        for (members, expected) in [
            (json!({"ip": "10.0.0.1", "port": 15984}), "http://10.0.0.1:15984"),
            (json!({"ip": " 10.0.0.1 ", "port": "15984"}), "http://10.0.0.1:15984"),
            (json!({"ip": "couch.example"}), "http://couch.example:5984"),
            (json!({"ip": "::1", "port": 80}), "http://[::1]"),
            (json!({"ip": "[::1]"}), "http://[::1]:5984"),
        ] {
            assert_eq!(origin_of(&couch(&members)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_names_no_server_is_refused_by_its_key() {
        for (members, key) in [
            (json!({}), "ip"),
            (json!({"ip": ""}), "ip"),
            (json!({"ip": 7}), "ip"),
            (json!({"ip": "canary@h"}), "ip"),
            (json!({"ip": "http://canary"}), "ip"),
            (json!({"ip": "a canary"}), "ip"),
            (json!({"ip": "h", "port": "canary"}), "port"),
            (json!({"ip": "h", "port": 0}), "port"),
            (json!({"ip": "h", "port": 65536}), "port"),
        ] {
            let error = origin_of(&couch(&members)).unwrap_err();
            assert_eq!((error.id(), error.key()), ("c1", key), "{members}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        let error = origin_of(&settings("pigeon", &json!({"ip": "h"}))).unwrap_err();
        assert!(error.key() == "driver" && error.what().contains("`pigeon`"), "{error}");
    }

    #[test]
    fn sockets_are_kept_as_the_connection_says() {
        let usual = pooling(&couch(&json!({}))).unwrap();
        assert_eq!(usual.connect, None);
        let all = json!({"connect_timeout": "500", "connect_options": {"keepalive": "true"}, "max_sessions": "10",
            "max_pipeline_size": 1, "pool": {"name": "p", "size": "7"}});
        let told = pooling(&couch(&all)).unwrap();
        assert_eq!((told.connect.unwrap().as_millis(), told.most_idle), (500, 7));
        let large = pooling(&couch(&json!({"pool": {"size": 1_000_000}, "connect_timeout": 0}))).unwrap();
        assert_eq!((large.connect, large.most_idle), (None, usual.most_idle));
        for (members, key) in [
            (json!({"connect_timeout": "soon"}), "connect_timeout"),
            (json!({"max_sessions": []}), "max_sessions"),
            (json!({"pool": {"size": "x"}}), "pool.size"),
            (json!({"pool": 7}), "pool"),
            (json!({"connect_options": {"keepalive": 7}}), "connect_options.keepalive"),
        ] {
            assert_eq!(pooling(&couch(&members)).err().unwrap().key(), key, "{members}");
        }
    }
}
