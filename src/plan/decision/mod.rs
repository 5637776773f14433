//! The decision of a merged plan for one document.

mod connections;
mod on_delete;
mod reaches;

use serde_json::Value;
use stowage_base::settings::as_flag;

use super::members::{Members, must_be, object, text};
use super::{Merged, PlanError, Settings};
use crate::config::OnUnavailable;
use crate::database::{self, Class};

pub use on_delete::OnDelete;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(super) mod tests;

/// The connection that always exists: the configured CouchDB.
pub const LOCAL: &str = "local";

/// The subject of a decision: a document, or a database if its documents have no type.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The database's class.
    pub class: Class,
    /// The database's decoded name.
    pub database: &'a str,
    /// The document's `pvt_type`.
    pub document_type: Option<&'a str>,
}

/// Where a document's attachments go.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// CouchDB stores them.
    PassThrough {
        /// The CouchDB that holds the document: a key of `connections`, or [`LOCAL`].
        connection: String,
    },
    /// A backend stores them.
    Store(Decision),
}

impl Placement {
    /// Returns the backend; `None` if CouchDB stores the attachments.
    pub fn backend(self) -> Option<Decision> {
        match self {
            Self::Store(decision) => Some(decision),
            Self::PassThrough { .. } => None,
        }
    }
}

/// A backend chosen by a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The backend's settings, overlaid with the plan's params; they include its id and driver.
    pub settings: Settings,
    /// The CouchDB that holds the document: a key of `connections`, or [`LOCAL`].
    pub connection: String,
    /// Whether CouchDB keeps the attachment and the backend gets a copy.
    pub stub: bool,
    /// The fallback for an attachment that the backend cannot take; `None` uses the configured one.
    pub on_unavailable: Option<OnUnavailable>,
}

impl Decision {
    /// Returns the backend's id, a key of the plan's `attachments`.
    pub fn storage(&self) -> &str {
        self.settings.id()
    }

    /// Returns the backend's driver: `s3`, `http`, ...
    pub fn handler(&self) -> &str {
        self.settings.handler()
    }
}

impl Merged {
    /// Decides where the attachments of a document go.
    ///
    /// # Errors
    ///
    /// Returns an error if the plan names a backend or connection that it does not define, or if a part that the decision needs is malformed. Nothing
    /// may be stored anywhere then, because it is not what the plan's author wanted.
    pub fn decide(&self, subject: &Subject<'_>) -> Result<Placement, PlanError> {
        let (class_place, class) = self.class_entry(subject.class, subject.database)?;
        let (type_place, of_type) = type_entry(class, &class_place, subject)?;

        let connection = match text(of_type, &type_place, "connection")? {
            Some(connection) => connection,
            None => text(class, &class_place, "connection")?.unwrap_or(LOCAL),
        };
        self.check_connection(connection)?;
        let connection = connection.to_owned();

        let reference = Reference::of((&class_place, class), (&type_place, of_type))?;
        let Some(settings) = self.referred(&reference)? else {
            return Ok(Placement::PassThrough { connection });
        };
        let stub = match reference.chosen("stub") {
            None => false,
            Some((_, stub)) => {
                as_flag(stub).ok_or_else(|| PlanError::wrong(settings.id(), "`stub` must be true or false"))?
            }
        };
        let on_unavailable = match reference.chosen("on_unavailable") {
            None => None,
            Some((place, word)) => {
                let known = word.as_str().and_then(OnUnavailable::of);
                Some(known.ok_or_else(|| must_be(place, "\"couchdb\" or \"refuse\""))?)
            }
        };
        Ok(Placement::Store(Decision { settings, connection, stub, on_unavailable }))
    }

    /// Returns the settings of the backend that a part of the plan names, overlaid with its params.
    fn referred(&self, reference: &Reference<'_>) -> Result<Option<Settings>, PlanError> {
        let Some((place, handler)) = reference.chosen("handler") else { return Ok(None) };
        let id = handler.as_str().ok_or_else(|| must_be(place, "text"))?;
        let mut settings = self.backend(id)?.ok_or_else(|| PlanError::unknown("handler", id))?;
        if let Some((_, params)) = reference.chosen("params") {
            let params = params.as_object().ok_or_else(|| PlanError::wrong(id, "`params` must be an object"))?;
            settings.overlay(params);
        }
        Ok(Some(settings))
    }

    /// Returns whether any document of this database could have its attachments sent to a backend.
    ///
    /// `false` is certain, and saves reading the document; a malformed plan gives `true`, so that the document is read.
    pub fn class_has_handler(&self, class: Class, database: &str) -> bool {
        let entry = match self.class_entry(class, database) {
            Ok((_, Some(entry))) => entry,
            Ok((_, None)) => return false,
            Err(_) => return true,
        };
        may_store(entry)
            || match entry.get("types") {
                None | Some(Value::Null) => false,
                Some(Value::Object(types)) => types.values().any(|of_type| match of_type {
                    Value::Null => false,
                    Value::Object(of_type) => may_store(of_type),
                    _ => true,
                }),
                Some(_) => true,
            }
    }

    /// Returns whether the plan may make copies, which no document names. A malformed plan may.
    #[must_use]
    pub fn may_copy(&self) -> bool {
        let copies = |entry: &Value| {
            let stub = entry.get("attachments").and_then(|attachments| attachments.get("stub"));
            stub.is_some_and(|stub| !stub.is_null() && as_flag(stub) != Some(false))
        };
        self.any_entry(copies)
    }

    /// Returns whether something holds for the entry of any class or type; also true if the plan is malformed there.
    fn any_entry(&self, holds: impl Fn(&Value) -> bool) -> bool {
        let Ok(plan) = self.part("plan") else { return true };
        plan.is_some_and(|plan| {
            plan.values().any(|class| {
                let types = class.get("types").and_then(Value::as_object);
                holds(class) || types.is_some_and(|types| types.values().any(&holds))
            })
        })
    }

    /// Returns the entry that covers a database, with its place in the plan.
    fn class_entry(&self, class: Class, database: &str) -> Result<(String, Option<&Members>), PlanError> {
        let plan = self.part("plan")?;
        let entry = object(plan, "plan", class.as_str())?;
        if class == Class::Aggregate && !(entry.is_some() && takes_database(entry, database)?) {
            return self.class_entry(Class::System, database);
        }
        Ok((format!("plan.{}", class.as_str()), entry))
    }
}

/// The `attachments` of a type over those of its class, each with the place of its entry.
struct Reference<'a> {
    class: (&'a str, Option<&'a Members>),
    of_type: (&'a str, Option<&'a Members>),
}

impl<'a> Reference<'a> {
    fn of(class: (&'a str, Option<&'a Members>), of_type: (&'a str, Option<&'a Members>)) -> Result<Self, PlanError> {
        let attachments = |(place, entry)| object(entry, place, "attachments").map(|members| (place, members));
        Ok(Self { class: attachments(class)?, of_type: attachments(of_type)? })
    }

    /// Returns a member with its place, overriding one level deep: a type's `params` replace all of the class's.
    fn chosen(&self, key: &str) -> Option<(String, &'a Value)> {
        let member = |(place, members): (&'a str, Option<&'a Members>)| Some((place, members?.get(key)?));
        let (place, value) = member(self.of_type).or_else(|| member(self.class))?;
        (!value.is_null()).then(|| (format!("{place}.attachments.{key}"), value))
    }
}

/// Returns the entry for the document's type, with its place.
fn type_entry<'a>(
    class: Option<&'a Members>,
    class_place: &str,
    subject: &Subject<'_>,
) -> Result<(String, Option<&'a Members>), PlanError> {
    let types_place = format!("{class_place}.types");
    let types = object(class, class_place, "types")?;
    let by_database = matches!(subject.class, Class::System | Class::Aggregate);
    let names = [
        subject.document_type,
        by_database.then_some(subject.database),
        // The platform uses one name for all number databases.
        database::is_numbers(subject.database).then_some("numbers"),
    ];
    for name in names.into_iter().flatten() {
        if let Some(entry) = object(types, &types_place, name)? {
            return Ok((format!("{types_place}.{name}"), Some(entry)));
        }
    }
    Ok((types_place, None))
}

/// Returns whether the aggregate entry covers a database. Without a list or with an empty one, it covers its whole class (KAZOO's `kzs_plan`).
fn takes_database(aggregate: Option<&Members>, database: &str) -> Result<bool, PlanError> {
    let place = "plan.aggregate.database";
    let settings = object(aggregate, "plan.aggregate", "database")?;
    match settings.and_then(|settings| settings.get("names")) {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Array(names)) => Ok(names.is_empty() || names.iter().any(|name| name == database)),
        Some(_) => Err(must_be(format!("{place}.names"), "a list")),
    }
}

/// Returns whether an entry of a class or type names a backend, or is malformed where it would.
fn may_store(entry: &Members) -> bool {
    let handler = match entry.get("attachments") {
        Some(Value::Object(attachments)) => attachments.get("handler"),
        other => other,
    };
    handler.is_some_and(|handler| !handler.is_null())
}
