//! The members of an event, as they stand in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fold::Val;

/// The members of a JSON object, borrowed from its text.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        // Looked at once as a whole, it is not looked at again for each member.
        match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        }
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// A member as it stands; of several of one name the last.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A text that is not empty, also of a number.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).and_then(text)
    }

    /// A whole number, also written as a text.
    #[must_use]
    pub fn num(&self, name: &str) -> Option<i64> {
        self.raw(name).and_then(num)
    }

    /// A flag, also written as a text.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.raw(name).and_then(flag)
    }

    /// The members of a member that is an object.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        self.raw(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }
}

/// A text that is not empty, also of a number.
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

/// A whole number, also written as a text or with a fraction.
#[must_use]
pub(crate) fn num(value: &RawValue) -> Option<i64> {
    let text = text(value)?;
    let whole = text.trim().split('.').next().unwrap_or_default();
    whole.parse().ok()
}

/// A flag, also written as a text.
#[must_use]
pub(crate) fn flag(value: &RawValue) -> Option<bool> {
    match value.get().trim_matches('"') {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A value for state: a text that is not empty.
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
