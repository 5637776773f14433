//! The body and the query of a request.

use serde_json::{Map, Value};
use stowage_http::body::{Body, ClientGone, TooLarge, cause, collect};

use super::envelope::Failure;

/// Parameters of the query, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is turned off.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "false" | "0" | "no"))
    }
}

/// What a request carries.
#[derive(Debug)]
pub(super) struct Data {
    /// `data`: a plan, or the options of a run.
    pub(super) members: Map<String, Value>,
    /// Whether `validate_settings` stands beside it and is off.
    pub(super) unvalidated: bool,
}

/// Reads `{"data": {...}}`. Whatever the media type says: it can be nothing else.
///
/// # Errors
/// 400 for anything else, 413 for a body over the limit, 408 for one that stops coming.
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
    let unvalidated = match envelope.get("validate_settings") {
        Some(Value::Bool(validate)) => !validate,
        Some(Value::String(text)) => text == "false",
        _ => false,
    };
    match envelope.remove("data") {
        Some(data) if depth(&data) > DEEPEST => {
            Err(Failure::wrong("data", "invalid", format!("Value is nested deeper than {DEEPEST} levels")))
        }
        Some(Value::Object(members)) => Ok(Data { members, unvalidated }),
        Some(_) => Err(Failure::wrong("data", "type", "Value did not match type(s): object")),
        None => Err(Failure::wrong("data", "required", "Field is required but missing")),
    }
}

/// How deep objects and lists stand in each other; what the parser takes is bounded.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Half of what readers of JSON take (serde_json: 128), so that the plan can stand in a list in an answer.
const DEEPEST: usize = 64;
