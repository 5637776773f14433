//! A storage's settings as its driver reads them: typed, lenient, and never printed.
//!
//! Plans are JSON written by tenants: numbers and booleans may be strings, and `null` counts as missing. A value of the wrong
//! type is an error that names the storage's id and the key, never the value.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The effective settings of one entry of a plan's `attachments`.
#[derive(Clone, PartialEq)]
pub struct Settings {
    id: String,
    handler: String,
    members: Map<String, Value>,
    /// Path of enclosing keys, each followed by a dot.
    within: String,
}

impl Settings {
    /// `id` is the entry's key in the plan, `handler` the name of its driver.
    pub fn new(id: impl Into<String>, handler: impl Into<String>, members: Map<String, Value>) -> Self {
        Self { id: id.into(), handler: handler.into(), members, within: String::new() }
    }

    /// Returns the entry's key in the plan.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the driver's name.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// Returns all members unchanged, secrets included.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Overwrites members with those given.
    pub fn overlay(&mut self, members: &Map<String, Value>) {
        for (key, value) in members {
            self.members.insert(key.clone(), value.clone());
        }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn text(&self, key: &str) -> Result<Option<String>, WrongSetting> {
        self.read(key, "must be a text", |value| value.as_str().map(str::to_owned))
    }

    /// Reads a string that must be present and not empty.
    ///
    /// # Errors
    /// If the value is missing, empty or of another type.
    pub fn required(&self, key: &str) -> Result<String, WrongSetting> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong(key, "is required"))
    }

    /// Reads the name of a public field of a document; an empty one counts as missing.
    ///
    /// # Errors
    /// If the field is private.
    pub fn public_field(&self, key: &str) -> Result<Option<String>, WrongSetting> {
        let is_private = |field: &str| field.starts_with('_') || field.starts_with("pvt_");
        match self.text(key)?.filter(|field| !field.is_empty()) {
            Some(field) if is_private(&field) => Err(self.wrong(key, "must be a public field")),
            field => Ok(field),
        }
    }

    /// Reads a boolean, which may be written as a string.
    ///
    /// # Errors
    /// For any other value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, WrongSetting> {
        self.read(key, "must be true or false", as_flag)
    }

    /// Reads a non-negative integer, which may be written as a string.
    ///
    /// # Errors
    /// For any other value.
    pub fn number(&self, key: &str) -> Result<Option<u64>, WrongSetting> {
        self.read(key, "must be a whole number", |value| match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64(),
        })
    }

    /// Reads an array.
    ///
    /// # Errors
    /// For any other value.
    pub fn list(&self, key: &str) -> Result<Option<&Vec<Value>>, WrongSetting> {
        self.read(key, "must be a list", Value::as_array)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// For any other value.
    pub fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, WrongSetting> {
        self.read(key, "must be an object", Value::as_object)
    }

    /// Returns the settings inside a nested object; errors include its key.
    ///
    /// # Errors
    /// If the value is not an object.
    pub fn below(&self, key: &str) -> Result<Option<Self>, WrongSetting> {
        let within = format!("{}{key}.", self.within);
        let below = |members: &Map<String, Value>| Self { members: members.clone(), within, ..self.clone() };
        Ok(self.object(key)?.map(below))
    }

    /// Builds an error about a setting, for driver-specific rules. `what` continues the sentence after the key.
    pub fn wrong(&self, key: impl Into<String>, what: impl Into<String>) -> WrongSetting {
        let key = format!("{}{}", self.within, key.into());
        WrongSetting(Box::new(Fault { id: self.id.clone(), key, what: what.into() }))
    }

    /// Returns a one-way digest: equal settings give equal text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let members = Value::Object(self.members.clone()).to_string();
        let mut digest = Sha256::new();
        for part in [&self.id, &self.handler, &members] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        hex::encode(digest.finalize())
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        must: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WrongSetting> {
        let Some(value) = self.members.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, must))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.members.keys().collect();
        f.debug_struct("Settings").field("id", &self.id).field("handler", &self.handler).field("keys", &keys).finish()
    }
}

/// A setting that is missing or has the wrong type. Boxed to keep `Result`s small.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {} of storage {} {}", self.key(), self.id(), self.what())]
pub struct WrongSetting(Box<Fault>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    id: String,
    key: String,
    what: String,
}

impl WrongSetting {
    /// Returns the storage's id in the plan.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the key within `settings`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns the problem, phrased to follow the key.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }
}

/// Reads a boolean, which may be written as a string.
#[must_use]
pub fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Replaces every secret value shown to people or stored in documents.
pub const MASK: &str = "********";

/// Masks the secrets in a URL's query: the values of `key`, `token`, `sig`, `secret` and `password`.
#[must_use]
pub fn masked_query(url: &str) -> String {
    each_pair(url, |name, value| if is_secret_parameter(name) { MASK.to_owned() } else { value.to_owned() })
}

/// Masks the parts of `url` that match a secret in the URL `secrets`. A parameter that merely has a secret-sounding name is kept:
/// its value may be an object's name.
#[must_use]
pub fn without_secrets_of(secrets: &str, url: &str) -> String {
    each_pair(url, |name, value| match secret_of(secrets, name) {
        Some(secret) if value == secret => MASK.to_owned(),
        _ => value.to_owned(),
    })
}

/// Restores the secrets of the URL `secrets` wherever `url` has the mask.
#[must_use]
pub fn with_secrets_of(secrets: &str, url: &str) -> String {
    each_pair(url, |name, value| match secret_of(secrets, name) {
        Some(secret) if value == MASK => secret.to_owned(),
        _ => value.to_owned(),
    })
}

fn secret_of<'a>(secrets: &'a str, wanted: &str) -> Option<&'a str> {
    let (_, query) = secrets.split_once('?').filter(|_| is_secret_parameter(wanted))?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, value)| *name == wanted && !value.is_empty()).map(|(_, value)| value)
}

fn each_pair(url: &str, change: impl Fn(&str, &str) -> String) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => format!("{name}={}", change(name, value)),
        None => pair.to_owned(),
    };
    format!("{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
}

/// Returns whether a query parameter of this name is secret.
#[must_use]
pub fn is_secret_parameter(name: &str) -> bool {
    ["key", "token", "sig", "secret", "password"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Settings, masked_query, with_secrets_of, without_secrets_of};

    fn settings(members: &Value) -> Settings {
        Settings::new("backend1", "s3", members.as_object().cloned().unwrap())
    }

    #[test]
    fn numbers_and_booleans_may_be_written_as_text() {
        let settings = settings(&json!({
            "port": "9000", "port2": 9000, "yes": "true", "no": false, "text": "a", "list": [1], "object": {"a": 1}
        }));
        assert_eq!(settings.number("port"), Ok(Some(9000)));
        assert_eq!(settings.number("port2"), Ok(Some(9000)));
        assert_eq!(settings.flag("yes"), Ok(Some(true)));
        assert_eq!(settings.flag("no"), Ok(Some(false)));
        assert_eq!(settings.text("text").unwrap().as_deref(), Some("a"));
        assert_eq!(settings.list("list").unwrap().map(Vec::len), Some(1));
        assert_eq!(settings.object("object").unwrap().map(|object| object.len()), Some(1));
    }

    #[test]
    fn missing_and_null_are_the_same() {
        let settings = settings(&json!({ "null": null }));
        for key in ["null", "missing"] {
            assert_eq!(settings.text(key), Ok(None));
            assert_eq!(settings.number(key), Ok(None));
            assert_eq!(settings.flag(key), Ok(None));
            assert!(settings.required(key).is_err());
        }
    }

    #[test]
    fn a_wrong_type_names_backend_and_key_and_never_the_value() {
        for value in [json!({"canary": 1}), json!(["canary"]), json!(1.5), json!(-1), json!(true)] {
            let settings = settings(&json!({ "key": value }));
            let errors = [settings.text("key").err(), settings.number("key").err()];
            for error in errors.into_iter().flatten() {
                let text = error.to_string();
                assert!(text.contains("key") && text.contains("backend1") && !text.contains("canary"), "{text}");
            }
            assert!(settings.text("key").is_err());
            assert!(!format!("{settings:?}").contains("canary"));
        }
    }

    #[test]
    fn the_secrets_of_a_query_are_masked_and_put_back() {
        let secret = "https://h/p?key=abc&x=1&Token=t%20u&recording=";
        let masked = masked_query(&format!("{secret}a%2Fb"));
        assert_eq!(masked, "https://h/p?key=********&x=1&Token=********&recording=a%2Fb");
        assert_eq!(without_secrets_of(secret, &format!("{secret}a%2Fb")), masked);
        assert_eq!(with_secrets_of(secret, &masked), format!("{secret}a%2Fb"));
        assert_eq!(without_secrets_of("https://h/p?key=", "https://h/p?key=a.mp3"), "https://h/p?key=a.mp3");
        assert_eq!(masked_query("https://h/key=1"), "https://h/key=1");
    }

    #[test]
    fn a_fingerprint_tells_settings_apart() {
        let one = settings(&json!({"a": 1})).fingerprint();
        assert_eq!(one, settings(&json!({"a": 1})).fingerprint());
        assert_ne!(one, settings(&json!({"a": 2})).fingerprint());
    }
}
