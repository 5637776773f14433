//! What a merged plan means for one document.

use serde_json::{Map, Value};

use super::settings::as_flag;
use super::{Merged, PlanError, Settings};
use crate::database::{self, Class};

#[cfg(test)]
mod tests;

/// The connection that is always there: the gateway's configured CouchDB.
pub const LOCAL: &str = "local";

/// Settings that published documents also put beside `settings`.
const BESIDE_SETTINGS: [&str; 3] = ["field_list", "field_separator", "folder_base_path"];

/// What is asked about: a document, or a database where its documents have no type.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The database's class.
    pub class: Class,
    /// The database's decoded name.
    pub database: &'a str,
    /// The document's `pvt_type`.
    pub document_type: Option<&'a str>,
}

/// Where the attachments of a document go.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// They belong to CouchDB.
    PassThrough {
        /// The CouchDB that has the document: a key of `connections`, or [`LOCAL`].
        connection: String,
    },
    /// They go to a backend.
    Store(Decision),
}

/// A backend chosen by a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The backend's settings with the plan's params over them; they know the backend's id and driver.
    pub settings: Settings,
    /// The CouchDB that has the document: a key of `connections`, or [`LOCAL`].
    pub connection: String,
    /// CouchDB keeps the attachment itself and the backend gets a copy.
    pub stub: bool,
}

impl Decision {
    /// The backend's id, a key of the plan's `attachments`.
    pub fn storage(&self) -> &str {
        self.settings.id()
    }

    /// The backend's driver: `s3`, `http`, ...
    pub fn handler(&self) -> &str {
        self.settings.handler()
    }
}

type Members = Map<String, Value>;

impl Merged {
    /// Decides where the attachments of a document go.
    ///
    /// # Errors
    ///
    /// Where the plan names a backend or connection that it does not define, or a part that the decision needs is
    /// malformed: then nothing may be stored anywhere, because the plan's author wanted something else.
    pub fn decide(&self, subject: &Subject<'_>) -> Result<Outcome, PlanError> {
        let (class_key, class) = self.class_entry(subject.class, subject.database)?;
        let class_place = format!("plan.{class_key}");
        let (type_place, of_type) = type_entry(class, &class_place, subject)?;

        let connection = match text(of_type, &type_place, "connection")? {
            Some(connection) => connection,
            None => text(class, &class_place, "connection")?.unwrap_or(LOCAL),
        };
        self.check_connection(connection)?;
        let connection = connection.to_owned();

        let class_attachments = object(class, &class_place, "attachments")?;
        let type_attachments = object(of_type, &type_place, "attachments")?;
        let chosen = |key| {
            let (place, value) = match type_attachments.and_then(|members| members.get(key)) {
                Some(value) => (&type_place, value),
                None => (&class_place, class_attachments?.get(key)?),
            };
            (!value.is_null()).then(|| (format!("{place}.attachments.{key}"), value))
        };
        let Some((place, handler)) = chosen("handler") else {
            return Ok(Outcome::PassThrough { connection });
        };
        let id = handler.as_str().ok_or_else(|| must_be(place, "text"))?;
        let mut settings = self
            .backend(id)?
            .ok_or_else(|| PlanError::unknown("handler", id))?;
        if let Some((_, params)) = chosen("params") {
            let params = params
                .as_object()
                .ok_or_else(|| settings.wrong("`params` must be an object"))?;
            settings.overlay(params);
        }
        let stub = match chosen("stub") {
            None => false,
            Some((_, stub)) => {
                as_flag(stub).ok_or_else(|| settings.wrong("`stub` must be true or false"))?
            }
        };
        Ok(Outcome::Store(Decision {
            settings,
            connection,
            stub,
        }))
    }

    /// Whether a document of this database could be decided otherwise than to pass through to [`LOCAL`].
    ///
    /// `false` is certain and saves reading the document; a malformed plan gives `true`, so that it is looked at.
    pub fn class_has_handler(&self, class: Class, database: &str) -> bool {
        let entry = match self.class_entry(class, database) {
            Ok((_, Some(entry))) => entry,
            Ok((_, None)) => return false,
            Err(_) => return true,
        };
        may_leave(entry)
            || match entry.get("types") {
                None | Some(Value::Null) => false,
                Some(Value::Object(types)) => types.values().any(|of_type| match of_type {
                    Value::Null => false,
                    Value::Object(of_type) => may_leave(of_type),
                    _ => true,
                }),
                Some(_) => true,
            }
    }

    /// The settings of a backend by its id, to reach what an older pointer names; `None` where it cannot be used.
    pub fn storage(&self, id: &str) -> Option<Settings> {
        self.backend(id).ok().flatten()
    }

    /// The settings of every backend that can be used.
    pub fn storages(&self) -> impl Iterator<Item = Settings> {
        let attachments = self.part("attachments").ok().flatten();
        attachments
            .into_iter()
            .flat_map(Map::keys)
            .filter_map(|id| self.storage(id))
    }

    /// The settings of a connection; its driver stands for the handler. `None` where the plan does not define it.
    ///
    /// # Errors
    ///
    /// Where the connection is malformed.
    pub fn connection(&self, id: &str) -> Result<Option<Settings>, PlanError> {
        let place = format!("connections.{id}");
        let Some(entry) = object(self.part("connections")?, "connections", id)? else {
            return Ok(None);
        };
        let driver = text(Some(entry), &place, "driver")?.unwrap_or_default();
        let members = object(Some(entry), &place, "settings")?;
        let members = members.cloned().unwrap_or_default();
        Ok(Some(Settings::new(id, driver, members)))
    }

    /// The entry that speaks of a database, with its key.
    fn class_entry(
        &self,
        class: Class,
        database: &str,
    ) -> Result<(&'static str, Option<&Members>), PlanError> {
        let plan = self.part("plan")?;
        if class == Class::Aggregate {
            let aggregate = object(plan, "plan", class.as_str())?;
            if aggregate.is_some() && lists_database(aggregate, database)? {
                return Ok((class.as_str(), aggregate));
            }
            return self.class_entry(Class::System, database);
        }
        Ok((class.as_str(), object(plan, "plan", class.as_str())?))
    }

    fn check_connection(&self, id: &str) -> Result<(), PlanError> {
        if id == LOCAL || object(self.part("connections")?, "connections", id)?.is_some() {
            return Ok(());
        }
        Err(PlanError::unknown("connection", id))
    }

    fn backend(&self, id: &str) -> Result<Option<Settings>, PlanError> {
        let entry = match self.part("attachments")?.and_then(|all| all.get(id)) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(entry)) => entry,
            Some(_) => return Err(must_be(id.to_owned(), "an object")),
        };
        let handler = text(Some(entry), id, "handler")?
            .ok_or_else(|| PlanError::wrong(id, "`handler` is missing"))?;
        let beside = BESIDE_SETTINGS
            .into_iter()
            .filter_map(|key| entry.get(key).map(|value| (key.to_owned(), value.clone())));
        let mut settings = Settings::new(id, handler, beside.collect());
        if let Some(members) = object(Some(entry), id, "settings")? {
            settings.overlay(members);
        }
        Ok(Some(settings))
    }

    fn part(&self, key: &str) -> Result<Option<&Members>, PlanError> {
        as_object(self.members().get(key), || key.to_owned())
    }
}

/// The entry of the document's type, and where it stands.
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
        // The platform asks for all databases of numbers under one name.
        database::is_numbers(subject.database).then_some("numbers"),
    ];
    for name in names.into_iter().flatten() {
        if let Some(entry) = object(types, &types_place, name)? {
            return Ok((format!("{types_place}.{name}"), Some(entry)));
        }
    }
    Ok((types_place, None))
}

fn lists_database(aggregate: Option<&Members>, database: &str) -> Result<bool, PlanError> {
    let place = "plan.aggregate.database";
    let settings = object(aggregate, "plan.aggregate", "database")?;
    match settings.and_then(|settings| settings.get("names")) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Array(names)) => Ok(names.iter().any(|name| name == database)),
        Some(_) => Err(must_be(format!("{place}.names"), "a list")),
    }
}

/// Whether a class's or type's entry names a backend or another CouchDB, or is malformed where it would.
fn may_leave(entry: &Members) -> bool {
    let handler = match entry.get("attachments") {
        Some(Value::Object(attachments)) => attachments.get("handler"),
        other => other,
    };
    let connection = entry.get("connection");
    handler.is_some_and(|handler| !handler.is_null())
        || connection.is_some_and(|connection| !connection.is_null() && connection != LOCAL)
}

fn object<'a>(
    parent: Option<&'a Members>,
    place: &str,
    key: &str,
) -> Result<Option<&'a Members>, PlanError> {
    let value = parent.and_then(|members| members.get(key));
    as_object(value, || format!("{place}.{key}"))
}

fn as_object(
    value: Option<&Value>,
    place: impl FnOnce() -> String,
) -> Result<Option<&Members>, PlanError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(must_be(place(), "an object")),
    }
}

fn text<'a>(
    parent: Option<&'a Members>,
    place: &str,
    key: &str,
) -> Result<Option<&'a str>, PlanError> {
    match parent.and_then(|members| members.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(must_be(format!("{place}.{key}"), "text")),
    }
}

fn must_be(place: String, kind: &str) -> PlanError {
    PlanError::wrong(place, format!("it must be {kind}"))
}
