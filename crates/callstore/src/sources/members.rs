//! The raw members of an event.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fold::Val;

/// The members of a JSON object, borrowed from its text.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Parses an object.
    ///
    /// # Errors
    /// Text that is not a JSON object.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        // Validating UTF-8 once as a whole saves validating each member.
        match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        }
    }

    /// Returns the members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// Returns a member's raw value; the last one of duplicates.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Returns a non-empty string; numbers are converted.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).and_then(text)
    }

    /// Returns an integer; strings are parsed.
    #[must_use]
    pub fn num(&self, name: &str) -> Option<i64> {
        self.raw(name).and_then(num)
    }

    /// Returns a flag; strings are parsed.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.raw(name).and_then(flag)
    }

    /// Returns the members of an object-valued member.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        self.raw(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }
}

/// Converts a non-empty string or a number to a string.
#[must_use]
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = value.get();
    if raw.starts_with('"') {
        let Text(text) = serde_json::from_str(raw).ok()?;
        return Some(text).filter(|text| !text.is_empty());
    }
    raw.starts_with(|c: char| c.is_ascii_digit() || c == '-').then_some(Cow::Borrowed(raw))
}

/// Parses an integer, also from a string or a number with a fraction.
#[must_use]
pub(crate) fn num(value: &RawValue) -> Option<i64> {
    let text = text(value)?;
    let whole = text.trim().split('.').next().unwrap_or_default();
    whole.parse().ok()
}

/// Parses a flag, also from a string.
#[must_use]
pub(crate) fn flag(value: &RawValue) -> Option<bool> {
    match value.get().trim_matches('"') {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Converts a non-empty string to a value for the state.
#[must_use]
pub(crate) fn val(value: &RawValue) -> Option<Val> {
    text(value).map(|text| Val::Text(text.into()))
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(serde::Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::with_capacity(64);
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    members.push((name, map.next_value::<&'de RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Whole)
    }
}
