//! Typed access to the members of a plan, any of which may be malformed.

use serde_json::{Map, Value};

use super::PlanError;

/// An object's members.
pub(super) type Members = Map<String, Value>;

/// Returns a member that is an object; null counts as missing. `place` is the path of `parent`, for the error.
pub(super) fn object<'a>(
    parent: Option<&'a Members>,
    place: &str,
    key: &str,
) -> Result<Option<&'a Members>, PlanError> {
    let value = parent.and_then(|members| members.get(key));
    as_object(value, || format!("{place}.{key}"))
}

/// Returns an object's members; null counts as missing.
pub(super) fn as_object(value: Option<&Value>, place: impl FnOnce() -> String) -> Result<Option<&Members>, PlanError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(must_be(place(), "an object")),
    }
}

/// Returns a member that is a string; null counts as missing. `place` is the path of `parent`, for the error.
pub(super) fn text<'a>(parent: Option<&'a Members>, place: &str, key: &str) -> Result<Option<&'a str>, PlanError> {
    match parent.and_then(|members| members.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(must_be(format!("{place}.{key}"), "text")),
    }
}

/// Creates the error for a part of the wrong kind.
pub(super) fn must_be(place: String, kind: &str) -> PlanError {
    PlanError::wrong(place, format!("it must be {kind}"))
}
