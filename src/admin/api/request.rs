//! Parses the body and the query of a request.

use serde_json::{Map, Value};
use stowage_http::body::{Body, ClientGone, TooLarge, cause, collect};

use super::envelope::Failure;

/// The decoded query parameters.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// Returns the first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether a flag is off, if it is given.
    fn is_off(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| matches!(value, "false" | "0" | "no"))
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Data {
    /// The member `data`: a plan, or the options of a run.
    pub(super) members: Map<String, Value>,
    /// Whether the member `validate_settings` inside of `data` is off.
    inside: Option<bool>,
    /// Whether the one beside `data` is off.
    beside: Option<bool>,
}

impl Data {
    /// Returns whether the storages are not to be tested. Of several flags, the first counts that KAZOO finds (`cb_context:req_value/3`).
    pub(super) fn is_unvalidated(&self, query: &Query) -> bool {
        self.inside.or_else(|| query.is_off(VALIDATE)).or(self.beside).unwrap_or(false)
    }
}

/// Reads `{"data": {...}}`, whatever the media type.
///
/// # Errors
/// Returns a 400 for anything else, a 413 for a body over the limit, or a 408 for one that stalls.
pub(super) async fn data(body: Body, limit: u64) -> Result<Data, Failure> {
    let bytes = match collect(body, limit).await {
        Ok(bytes) => bytes,
        Err(error) if error.is::<TooLarge>() => return Err(Failure::too_large()),
        Err(error) => {
            let silent = matches!(cause::<ClientGone>(&*error), Some(ClientGone::Silent));
            return Err(if silent { Failure::too_slow() } else { Failure::unreadable() });
        }
    };
    let Ok(Value::Object(mut envelope)) = serde_json::from_slice(&bytes) else {
        return Err(Failure::unreadable());
    };
    let beside = envelope.get(VALIDATE).map(is_off);
    match envelope.remove("data") {
        Some(data) if depth(&data) > DEEPEST => {
            Err(Failure::wrong("data", "invalid", format!("Value is nested deeper than {DEEPEST} levels")))
        }
        Some(Value::Object(mut members)) => {
            // It is no member of the plan, whose schema would refuse it.
            let inside = members.remove(VALIDATE).as_ref().map(is_off);
            Ok(Data { members, inside, beside })
        }
        Some(_) => Err(Failure::wrong("data", "type", "Value did not match type(s): object")),
        None => Err(Failure::wrong("data", "required", "Field is required but missing")),
    }
}

/// Returns whether a flag in JSON is explicitly off.
fn is_off(flag: &Value) -> bool {
    match flag {
        Value::Bool(flag) => !flag,
        Value::String(text) => text == "false",
        _ => false,
    }
}

/// Returns the nesting depth of objects and lists, which the parser bounds.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The member that says whether the storages are tested.
const VALIDATE: &str = "validate_settings";
/// Half of what JSON parsers accept (serde_json: 128), so that a plan can be nested in a list in a response.
const DEEPEST: usize = 64;
