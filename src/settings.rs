//! A storage's settings as its driver reads them: typed, tolerant, and never printed.
//!
//! Plans are JSON that tenants write: numbers and booleans may stand as text, `null` counts as missing. A value of a
//! wrong type is an error that names the storage's id and the key, never the value.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The final settings of one entry of a plan's `attachments`.
#[derive(Clone)]
pub struct Settings {
    id: String,
    handler: String,
    members: Map<String, Value>,
}

impl Settings {
    /// `id` is the entry's key in the plan, `handler` the driver that it names.
    pub fn new(id: impl Into<String>, handler: impl Into<String>, members: Map<String, Value>) -> Self {
        Self { id: id.into(), handler: handler.into(), members }
    }

    /// The entry's key in the plan.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The driver's name.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// A text; numbers count as their JSON text.
    ///
    /// # Errors
    /// For a value of another type.
    pub fn text(&self, key: &'static str) -> Result<Option<String>, WrongSetting> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(self.wrong(key, "must be a text")),
        }
    }

    /// A text that has to be there and not to be empty.
    ///
    /// # Errors
    /// For a missing, empty or wrong value.
    pub fn required(&self, key: &'static str) -> Result<String, WrongSetting> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong(key, "is required"))
    }

    /// `true` or `false`, also as text.
    ///
    /// # Errors
    /// For any other value.
    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, WrongSetting> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(self.wrong(key, "must be true or false")),
        }
    }

    /// A whole number from 0, also as text.
    ///
    /// # Errors
    /// For any other value.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, WrongSetting> {
        let number = match self.member(key) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(key, "must be a whole number"))
    }

    /// A list.
    ///
    /// # Errors
    /// For any other value.
    pub fn list(&self, key: &'static str) -> Result<Option<&Vec<Value>>, WrongSetting> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "must be a list")),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// For any other value.
    pub fn object(&self, key: &'static str) -> Result<Option<&Map<String, Value>>, WrongSetting> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.wrong(key, "must be an object")),
        }
    }

    /// An error about a setting, for drivers' own rules. `what` reads on after the key.
    pub fn wrong(&self, key: impl Into<String>, what: impl Into<String>) -> WrongSetting {
        WrongSetting { id: self.id.clone(), key: key.into(), what: what.into() }
    }

    /// The same text for the same settings, and no way back to them.
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

    fn member(&self, key: &str) -> Option<&Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.members.keys().collect();
        f.debug_struct("Settings").field("id", &self.id).field("handler", &self.handler).field("keys", &keys).finish()
    }
}

/// A setting that is missing or of a wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// The storage's id in the plan.
    pub id: String,
    /// The key below its `settings`.
    pub key: String,
    /// What is wrong, to be read after the key.
    pub what: String,
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the setting {} of storage {} {}", self.key, self.id, self.what)
    }
}

impl std::error::Error for WrongSetting {}
