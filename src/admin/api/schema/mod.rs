//! Validates plans against the JSON Schemas in `schemas/`, and reports errors in the platform's terms.
//!
//! A storage's `handler` selects its schema, so that an error names the field rather than ten alternatives. `null` counts as missing, as it does when
//! plans are read. No message contains a value, which may be a misplaced secret.

use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use serde::Serialize;
use serde_json::{Map, Value, json};
use stowage_http::body::BoxError;
use stowage_storage::{DRIVERS, Driver, driver};

use super::envelope::Errors;
use super::runs::Kind;
use crate::plan::LOCAL;

/// The compiled schemas.
#[derive(Debug)]
pub(super) struct Schemas {
    storage: Validator,
    connection: Validator,
    /// The members common to all storages.
    entry: Validator,
    /// The schemas by handler.
    entries: Vec<(&'static str, Validator)>,
    migration: Validator,
    verification: Validator,
}

impl Schemas {
    /// Compiles the schemas.
    ///
    /// # Errors
    /// Never fails for the built-in files.
    pub(super) fn new() -> Result<Self, BoxError> {
        let entries = DRIVERS.iter().map(|driver| Ok((driver.handler, compiled(driver.schema)?)));
        Ok(Self {
            storage: compiled(include_str!("schemas/storage.json"))?,
            connection: compiled(include_str!("schemas/connection.json"))?,
            entry: compiled(r##"{ "$ref": "#/$defs/entry" }"##)?,
            entries: entries.collect::<Result<_, BoxError>>()?,
            migration: compiled(include_str!("schemas/migration.json"))?,
            verification: compiled(include_str!("schemas/verification.json"))?,
        })
    }

    /// Validates a plan's public members.
    pub(super) fn check(&self, members: &Map<String, Value>, errors: &mut Errors) {
        let plan = as_read(&Value::Object(members.clone()));
        report(&self.storage, &plan, &[], errors);
        let entries = |part: &str| plan.get(part).and_then(Value::as_object).into_iter().flatten();
        for (id, entry) in entries("attachments") {
            check_id("attachments", id, errors);
            self.check_storage(&["attachments", id], entry, errors);
        }
        for (id, entry) in entries("connections") {
            if id == LOCAL && entry.is_object() {
                continue;
            }
            check_id("connections", id, errors);
            report(&self.connection, entry, &["connections", id], errors);
        }
    }

    /// Validates the options of a run.
    pub(super) fn check_run(&self, kind: Kind, options: &Map<String, Value>, errors: &mut Errors) {
        let schema = match kind {
            Kind::Migration => &self.migration,
            Kind::Verification => &self.verification,
        };
        report(schema, &as_read(&Value::Object(options.clone())), &[], errors);
    }

    fn check_storage(&self, place: &[&str; 2], entry: &Value, errors: &mut Errors) {
        let handler = entry.get("handler").and_then(Value::as_str);
        let known = handler.and_then(|handler| self.entries.iter().find(|(known, _)| *known == handler));
        report(known.map_or(&self.entry, |(_, schema)| schema), entry, place, errors);
        if handler.is_none_or(|handler| handler.is_empty() || driver(handler).is_some()) {
            return;
        }
        let handlers: Vec<&str> = DRIVERS.iter().map(|driver| driver.handler).collect();
        let details = json!({ "message": NOT_LISTED, "target": handlers });
        errors.add(&[place[0], place[1], "handler"], "enum", details);
    }
}

/// Returns the schemas, for building forms; `secrets` lists the settings of each handler that responses mask.
pub(super) fn shown() -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let secrets = |driver: &Driver| -> Value {
        let schema = parsed(driver.schema);
        let settings = schema.pointer("/properties/settings/properties").and_then(Value::as_object);
        settings.into_iter().flatten().map(|(key, _)| key.clone()).filter(|key| driver.is_secret(key)).collect()
    };
    json!({
        "plan": parsed(include_str!("schemas/storage.json")),
        "connection": parsed(include_str!("schemas/connection.json")),
        "defs": parsed(include_str!("schemas/defs.json")),
        "handlers": DRIVERS.iter().map(|driver| (driver.handler.to_owned(), parsed(driver.schema))).collect::<Map<_, _>>(),
        "secrets": DRIVERS.iter().map(|driver| (driver.handler.to_owned(), secrets(driver))).collect::<Map<_, _>>(),
    })
}

/// Compiles a schema with the shared definitions.
fn compiled(text: &str) -> Result<Validator, BoxError> {
    let mut schema: Map<String, Value> = serde_json::from_str(text)?;
    let mut shared: Map<String, Value> = serde_json::from_str(include_str!("schemas/defs.json"))?;
    if let Some(Value::Object(own)) = schema.remove("$defs") {
        shared.extend(own);
    }
    schema.insert("$defs".to_owned(), Value::Object(shared));
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    jsonschema::validator_for(&Value::Object(schema)).map_err(|error| error.to_string().into())
}

/// Normalises a plan: null is missing, and two members ignore case.
fn as_read(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, member)| !member.is_null()).map(|(key, member)| {
                let member = match member {
                    Value::String(word) if ["verb", "multipart_subtype"].contains(&key.as_str()) => {
                        word.to_ascii_lowercase().into()
                    }
                    member => as_read(member),
                };
                (key.clone(), member)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(as_read).collect()),
        value => value.clone(),
    }
}

fn check_id(part: &str, id: &str, errors: &mut Errors) {
    let sound = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !sound {
        errors.add(&[part, id], "pattern", pattern("^[a-z0-9]{32}$"));
    }
}

fn report(schema: &Validator, value: &Value, place: &[&str], errors: &mut Errors) {
    for error in schema.iter_errors(value) {
        say(&error, place, errors);
    }
}

fn say(error: &ValidationError<'_>, place: &[&str], errors: &mut Errors) {
    let mut path: Vec<String> = place.iter().map(|key| (*key).to_owned()).collect();
    path.extend(error.instance_path().into_iter().map(|segment| segment.to_string()));
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            path.push(property.as_str().unwrap_or_default().to_owned());
            errors.say(&path, "required", "Field is required but missing");
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected {
                path.push(name.clone());
                errors.say(&path, "additionalProperties", UNKNOWN);
                path.pop();
            }
        }
        // The schemas only use `oneOf` for "exactly one of these fields".
        ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| say(error, place, errors));
        }
        kind => errors.add(&path, kind.keyword(), details(kind)),
    }
}

fn details(kind: &ValidationErrorKind) -> Value {
    match kind {
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(kind) => kind.to_string(),
                TypeKind::Multiple(kinds) => {
                    kinds.into_iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
                }
            };
            bound(format!("Value did not match type(s): {types}"), types)
        }
        ValidationErrorKind::Enum { options } => json!({ "message": NOT_LISTED, "target": **options }),
        ValidationErrorKind::MinLength { limit } => bound(format!("String must be at least {limit} characters"), limit),
        ValidationErrorKind::MaxLength { limit } => {
            bound(format!("String must not be more than {limit} characters"), limit)
        }
        ValidationErrorKind::Minimum { limit } => bound(format!("Value must be at least {limit}"), limit),
        ValidationErrorKind::Maximum { limit } => bound(format!("Value must be at most {limit}"), limit),
        ValidationErrorKind::MaxItems { limit } => bound(format!("The list is more than {limit} items"), limit),
        ValidationErrorKind::MaxProperties { limit } => {
            bound(format!("The object must have at most {limit} keys"), limit)
        }
        ValidationErrorKind::Pattern { pattern: wanted } => pattern(wanted),
        ValidationErrorKind::OneOfMultipleValid { .. } => json!({ "message": NOT_BOTH }),
        _ => json!({ "message": "failed to validate" }),
    }
}

fn pattern(pattern: &str) -> Value {
    bound(format!("Failed to match pattern '{pattern}'"), pattern)
}

fn bound(message: String, target: impl Serialize) -> Value {
    json!({ "message": message, "target": target })
}

const NOT_LISTED: &str = "Value not found in enumerated list of values";
const NOT_BOTH: &str = "Of these fields exactly one is wanted";
const UNKNOWN: &str = "Strict checking of data is enabled; only include schema-defined properties";

#[cfg(test)]
mod tests;
