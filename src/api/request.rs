//! The body and the query of a request.

use http::header::HeaderMap;
use serde_json::{Map, Value};

use super::envelope::{Errors, Failure};
use crate::http::body::{Body, TooLarge, collect};

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
    /// `data`: the plan.
    pub(super) plan: Map<String, Value>,
    /// Whether `validate_settings` stands beside it and is off.
    pub(super) unvalidated: bool,
}

/// Reads `{"data": {...}}`.
///
/// # Errors
/// 400 for anything else, 413 for a body over the limit.
pub(super) async fn data(_: &HeaderMap, body: Body, limit: u64) -> Result<Data, Failure> {
    let bytes = match collect(body, limit).await {
        Ok(bytes) => bytes,
        Err(error) if error.is::<TooLarge>() => return Err(Failure::too_large()),
        Err(_) => return Err(wrong("json", "invalid", "The body broke off")),
    };
    let Ok(Value::Object(mut envelope)) = serde_json::from_slice(&bytes) else {
        return Err(wrong("json", "invalid", "The body must be a JSON object"));
    };
    let unvalidated = match envelope.get("validate_settings") {
        Some(Value::Bool(validate)) => !validate,
        Some(Value::String(text)) => text == "false",
        _ => false,
    };
    match envelope.remove("data") {
        Some(Value::Object(plan)) => Ok(Data { plan, unvalidated }),
        Some(_) => Err(wrong("data", "type", "Value did not match type(s): object")),
        None => Err(wrong("data", "required", "Field is required but missing")),
    }
}

fn wrong(field: &str, rule: &str, message: &str) -> Failure {
    let mut errors = Errors::default();
    errors.say(&[field], rule, message);
    Failure::invalid(errors)
}
