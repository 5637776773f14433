//! The CouchDB that a plan assigns to a database, and the options for creating the database there.

use serde_json::Value;

use super::super::members::{Members, must_be, object, text};
use super::{LOCAL, Subject, type_entry};
use crate::database::Class;
use crate::plan::{Merged, PlanError, Settings};

impl Merged {
    /// Returns the connection of a database: its class's, or its own if the plan names it as a type.
    ///
    /// # Errors
    ///
    /// Returns an error if the plan names a connection that it does not define, or is malformed where it would name one.
    pub fn home(&self, class: Class, database: &str) -> Result<&str, PlanError> {
        let (place, entry) = self.class_entry(class, database)?;
        let own = match class {
            Class::System | Class::Aggregate => {
                let (place, itself) = type_entry(entry, &place, &Subject { class, database, document_type: None })?;
                text(itself, &place, "connection")?
            }
            Class::Account | Class::Modb | Class::Yodb => None,
        };
        let home = match own {
            Some(own) => own,
            None => text(entry, &place, "connection")?.unwrap_or(LOCAL),
        };
        self.check_connection(home)?;
        Ok(home)
    }

    /// Returns the connections other than [`home`](Self::home) that may hold documents of a database: those that its class and the class's types
    /// name. Whether they are defined is checked when one is opened.
    ///
    /// # Errors
    ///
    /// Returns an error if the plan is malformed where it would name one.
    pub fn beside(&self, class: Class, database: &str) -> Result<Vec<&str>, PlanError> {
        let home = self.home(class, database)?;
        let (place, entry) = self.class_entry(class, database)?;
        let mut beside = Vec::new();
        let mut add = |id| {
            if id != home && !beside.contains(&id) {
                beside.push(id);
            }
        };
        add(text(entry, &place, "connection")?.unwrap_or(LOCAL));
        let types_place = format!("{place}.types");
        let types = object(entry, &place, "types")?;
        for name in types.into_iter().flat_map(Members::keys) {
            let of_type = object(types, &types_place, name)?;
            if let Some(id) = text(of_type, &format!("{types_place}.{name}"), "connection")? {
                add(id);
            }
        }
        Ok(beside)
    }

    /// Returns the settings of a connection, if any part of the plan assigns databases or documents to it.
    #[must_use]
    pub fn connection_in_use(&self, id: &str) -> Option<Settings> {
        let names = |entry: &Value| entry.get("connection").and_then(Value::as_str) == Some(id);
        let mut entries = self.members().get("plan")?.as_object()?.values();
        let in_use = entries.any(|entry| {
            let types = entry.get("types").and_then(Value::as_object);
            names(entry) || types.is_some_and(|types| types.values().any(names))
        });
        in_use.then(|| self.connection(id).ok().flatten()).flatten()
    }

    /// Returns whether any part of the plan names another CouchDB than the configured one. A malformed plan may.
    #[must_use]
    pub fn may_connect(&self) -> bool {
        self.any_entry(|entry| {
            let id = entry.get("connection").filter(|id| !id.is_null());
            id.is_some_and(|id| id.as_str() != Some(LOCAL))
        })
    }

    /// Returns the query parameters for creating a database.
    ///
    /// # Errors
    ///
    /// Returns an error if that part of the plan is malformed.
    pub fn create_options(&self, class: Class, database: &str) -> Result<Vec<(&str, String)>, PlanError> {
        let (place, entry) = self.class_entry(class, database)?;
        let settings = object(entry, &place, "database")?;
        let place = format!("{place}.database");
        let options = object(settings, &place, "create_options")?;
        let mut found = Vec::new();
        for (key, value) in options.into_iter().flatten() {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(must_be(format!("{place}.create_options.{key}"), "a text, a number, true or false"));
                }
            };
            found.push((key.as_str(), value));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::database::Class;
    use crate::plan::Merged;

    fn plan(plan: &Value) -> Merged {
        let connection = json!({"driver": "kazoo_couch", "settings": {"ip": "h"}});
        let connections = json!({"a": connection, "b": connection, "c": connection});
        Merged::default().under(&json!({"connections": connections, "plan": plan}))
    }

    #[test]
    fn a_database_is_where_its_class_is_and_beside_it_where_types_are() {
        let types = json!({"cdr": {"connection": "b"}, "fax": {"connection": "a"}, "note": {"connection": "local"},
            "x": {}, "y": null, "z": {"connection": "b"}});
        let plan = plan(&json!({"modb": {"connection": "a", "types": types}, "yodb": {"types": types}}));
        assert_eq!(plan.home(Class::Modb, "x").unwrap(), "a");
        assert_eq!(plan.beside(Class::Modb, "x").unwrap(), ["b", "local"]);
        assert_eq!(plan.home(Class::Yodb, "x").unwrap(), "local");
        assert_eq!(plan.beside(Class::Yodb, "x").unwrap(), ["b", "a"]);
        assert_eq!(plan.beside(Class::Account, "x").unwrap(), [""; 0]);
    }

    #[test]
    fn a_database_of_the_system_may_be_named_as_a_type() {
        let types = json!({"system_media": {"connection": "b"}, "numbers": {"connection": "c"}});
        let plan = plan(&json!({"system": {"connection": "a", "types": types}}));
        for (name, home) in [("system_media", "b"), ("alerts", "a"), ("numbers/+1555", "c")] {
            assert_eq!(plan.home(Class::System, name).unwrap(), home);
        }
        assert_eq!(plan.beside(Class::System, "system_media").unwrap(), ["a", "c"]);
        assert_eq!(plan.home(Class::Aggregate, "faxes").unwrap(), "a");
    }

    #[test]
    fn what_is_wrong_with_a_type_is_no_matter_for_the_database_itself() {
        let wrong = plan(&json!({"modb": {"types": 7}, "yodb": {"types": {"x": {"connection": 7}}}}));
        for class in [Class::Modb, Class::Yodb] {
            assert_eq!(wrong.home(class, "x").unwrap(), "local");
            assert!(wrong.beside(class, "x").is_err());
        }
        let unknown = plan(&json!({"modb": {"connection": "d"}, "yodb": {"connection": 7}, "account": "x"}));
        for (class, id) in [(Class::Modb, "d"), (Class::Yodb, "plan.yodb.connection"), (Class::Account, "plan.account")]
        {
            assert_eq!(unknown.home(class, "x").unwrap_err().id(), id);
        }
    }

    #[test]
    fn a_connection_is_in_use_while_something_names_it() {
        let plan = plan(&json!({"modb": {"connection": "a", "types": {"x": {"connection": "b"}}}}));
        assert_eq!(plan.connection_in_use("a").unwrap().id(), "a");
        assert!(plan.connection_in_use("b").is_some());
        assert!(plan.connection_in_use("c").is_none());
        assert!(plan.connection_in_use("d").is_none());
    }

    #[test]
    fn a_plan_may_connect_if_any_class_or_type_names_another_couchdb() {
        for (classes, expected) in [
            (json!({"modb": {"types": {"x": {}}}, "yodb": null}), false),
            (json!({"modb": {"connection": "local", "types": {"x": {"connection": null}}}}), false),
            (json!({"yodb": {"connection": "a"}}), true),
            (json!({"modb": {"types": {"x": {"connection": "unknown"}}}}), true),
            (json!({"modb": {"connection": 7}}), true),
            (json!(7), true),
        ] {
            assert_eq!(plan(&classes).may_connect(), expected, "{classes}");
        }
    }

    #[test]
    fn options_are_texts_numbers_and_booleans() {
        let options = json!({"q": 1, "n": "3", "partitioned": true, "none": null, "f": 1.5});
        let told = plan(&json!({"modb": {"database": {"create_options": options}}}));
        let found = told.create_options(Class::Modb, "x").unwrap();
        let found: Vec<_> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(found, ["q=1", "n=3", "partitioned=true", "f=1.5"]);
        assert!(told.create_options(Class::Yodb, "x").unwrap().is_empty());
        for options in [json!(7), json!({"q": []}), json!({"q": {}})] {
            let wrong = plan(&json!({"modb": {"database": {"create_options": options}}}));
            assert!(wrong.create_options(Class::Modb, "x").is_err());
        }
    }
}
