//! The members of a location.

use serde_json::Value;

use crate::Location;

/// Builds a location from these members.
pub(crate) fn location<const N: usize>(members: [(&str, &str); N]) -> Location {
    members.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text.to_owned()))).collect()
}

/// Returns a string member.
pub(crate) fn text<'a>(location: &'a Location, member: &str) -> Option<&'a str> {
    location.get(member).and_then(Value::as_str)
}

/// Returns all members of a location as one key, in the order of their names.
#[expect(clippy::unnecessary_wraps, reason = "other drivers' locations may say too little")]
pub(crate) fn whole(location: &Location) -> Option<String> {
    let mut members: Vec<_> = location.iter().map(|(key, value)| format!("{key}={value}")).collect();
    members.sort();
    Some(members.join("\n"))
}
