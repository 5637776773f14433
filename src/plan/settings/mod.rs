//! A backend's settings and the typed reading of them.

use std::fmt;

use serde_json::{Map, Value};

use super::PlanError;

#[cfg(test)]
mod tests;

/// The settings of one backend, merged and not yet interpreted.
///
/// Reading is tolerant of numbers and booleans written as strings; null counts as missing; any other type is an error
/// that names the backend and the key. Settings hold secrets, so `Debug` prints keys only.
#[derive(Clone, PartialEq)]
pub struct Settings {
    id: String,
    handler: String,
    members: Map<String, Value>,
}

impl Settings {
    /// Settings of the backend `id` (a key of a plan's `attachments`), whose driver is `handler` (`s3`, `http`, ...).
    pub fn new(
        id: impl Into<String>,
        handler: impl Into<String>,
        members: Map<String, Value>,
    ) -> Self {
        Self {
            id: id.into(),
            handler: handler.into(),
            members,
        }
    }

    /// The backend's id in the plan.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The driver's name in the plan.
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// All members as they are, secrets included.
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Puts members over those that are there.
    pub(super) fn overlay(&mut self, members: &Map<String, Value>) {
        for (key, value) in members {
            self.members.insert(key.clone(), value.clone());
        }
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// Where the setting is not a string.
    pub fn text(&self, key: &str) -> Result<Option<&str>, PlanError> {
        self.read(key, "text", Value::as_str)
    }

    /// A text that has to be there and not be empty.
    ///
    /// # Errors
    ///
    /// Where the setting is missing, empty or not a string.
    pub fn required_text(&self, key: &str) -> Result<&str, PlanError> {
        self.text(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.wrong(&format!("`{key}` is missing")))
    }

    /// A whole number from 0, also one written as a string.
    ///
    /// # Errors
    ///
    /// Where the setting is anything else.
    pub fn number(&self, key: &str) -> Result<Option<u64>, PlanError> {
        self.read(key, "a whole number", |value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        })
    }

    /// A boolean, also one written as a string.
    ///
    /// # Errors
    ///
    /// Where the setting is anything else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, PlanError> {
        self.read(key, "true or false", as_flag)
    }

    /// A list.
    ///
    /// # Errors
    ///
    /// Where the setting is not an array.
    pub fn list(&self, key: &str) -> Result<Option<&[Value]>, PlanError> {
        self.read(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// An object.
    ///
    /// # Errors
    ///
    /// Where the setting is not an object.
    pub fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, PlanError> {
        self.read(key, "an object", Value::as_object)
    }

    /// An error that names this backend; `what` must not contain a value.
    pub fn wrong(&self, what: &str) -> PlanError {
        PlanError::wrong(self.id.as_str(), what)
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, PlanError> {
        match self.members.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value)
                .map(Some)
                .ok_or_else(|| self.wrong(&format!("`{key}` must be {kind}"))),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("id", &self.id)
            .field("handler", &self.handler)
            .field("keys", &self.members.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A boolean, also one written as a string.
pub(super) fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
