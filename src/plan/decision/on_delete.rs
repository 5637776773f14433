//! The handling of objects whose document is deleted, or saved without them.

use serde_json::Value;

use super::super::members::{Members, must_be, object};
use super::super::{Merged, PlanError};
use super::{Subject, type_entry};
use crate::database::Class;

/// What a plan wants for objects that their document no longer names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// Keep the objects.
    #[default]
    Keep,
    /// Delete the objects.
    Delete,
}

impl OnDelete {
    /// Returns its name in a plan.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }

    fn of(value: &Value) -> Option<Self> {
        [Self::Keep, Self::Delete].into_iter().find(|word| value == word.as_str())
    }
}

impl Merged {
    /// Returns what happens to a document's objects when it is deleted: `on_delete` in the `attachments` of its type, else of its class. It may also
    /// be set beside `attachments`.
    ///
    /// # Errors
    /// Returns an error for an unknown value, or if a part of the plan on the way to it is malformed.
    pub fn on_delete(&self, subject: &Subject<'_>) -> Result<OnDelete, PlanError> {
        let (class_place, class) = self.class_entry(subject.class, subject.database)?;
        let (type_place, of_type) = type_entry(class, &class_place, subject)?;
        for (place, entry) in [(type_place, of_type), (class_place, class)] {
            let inside = object(entry, &place, "attachments")?;
            for (place, members) in [(format!("{place}.attachments"), inside), (place, entry)] {
                if let Some(value) = members.and_then(|members| members.get(KEY)) {
                    let wrong = || must_be(format!("{place}.{KEY}"), "\"keep\" or \"delete\"");
                    return if value.is_null() { Ok(OnDelete::Keep) } else { OnDelete::of(value).ok_or_else(wrong) };
                }
            }
        }
        Ok(OnDelete::Keep)
    }

    /// Returns whether objects of any document of this database may be deleted with it. `false` is certain, and saves reading documents.
    #[must_use]
    pub fn may_delete(&self, class: Class, database: &str) -> bool {
        let says = |entry: &Members| {
            let inside = entry.get("attachments").and_then(Value::as_object);
            let words = [entry.get(KEY), inside.and_then(|inside| inside.get(KEY))];
            words.into_iter().flatten().any(|word| !word.is_null() && word != OnDelete::Keep.as_str())
        };
        let Ok((_, Some(entry))) = self.class_entry(class, database) else { return false };
        let types = entry.get("types").and_then(Value::as_object);
        says(entry) || types.is_some_and(|types| types.values().filter_map(Value::as_object).any(says))
    }
}

const KEY: &str = "on_delete";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::with_plan;
    use super::*;
    use crate::database::Class;

    fn said(modb: &Value, document_type: Option<&str>) -> String {
        let subject = Subject { class: Class::Modb, database: "db", document_type };
        match with_plan(json!({ "modb": modb })).on_delete(&subject) {
            Ok(word) => word.as_str().to_owned(),
            Err(error) => format!("!{}", error.id()),
        }
    }

    #[test]
    fn the_type_goes_over_its_class_and_nothing_said_is_keep() {
        for (modb, of_fax, of_others) in [
            (json!(null), "keep", "keep"),
            (json!({ "attachments": { "handler": "one" } }), "keep", "keep"),
            (json!({ "attachments": { "on_delete": "delete" } }), "delete", "delete"),
            (json!({ "on_delete": "delete" }), "delete", "delete"),
            (json!({ "on_delete": "delete", "attachments": { "on_delete": "keep" } }), "keep", "keep"),
            (json!({ "types": { "fax": { "attachments": { "on_delete": "delete" } } } }), "delete", "keep"),
            (json!({ "types": { "fax": { "on_delete": "delete" } } }), "delete", "keep"),
            (
                json!({ "attachments": { "on_delete": "delete" }, "types": { "fax": { "on_delete": "keep" } } }),
                "keep",
                "delete",
            ),
            (
                json!({ "on_delete": "delete", "types": { "fax": { "attachments": { "on_delete": null } } } }),
                "keep",
                "delete",
            ),
            (json!({ "on_delete": "delete", "types": { "fax": { "attachments": {} } } }), "delete", "delete"),
        ] {
            assert_eq!(said(&modb, Some("fax")), of_fax, "{modb}");
            assert_eq!(said(&modb, None), of_others, "{modb}");
            assert_eq!(said(&modb, Some("other")), of_others, "{modb}");
        }
    }

    #[test]
    fn another_word_is_refused_by_its_place() {
        for word in [json!("Delete"), json!(true), json!("purge"), json!([]), json!("")] {
            let place = "!plan.modb.attachments.on_delete";
            assert_eq!(said(&json!({ "attachments": { "on_delete": word } }), None), place);
            assert_eq!(said(&json!({ "on_delete": word }), None), "!plan.modb.on_delete");
            let of_type = json!({ "types": { "fax": { "attachments": { "on_delete": word } } } });
            assert_eq!(said(&of_type, Some("fax")), "!plan.modb.types.fax.attachments.on_delete");
            assert_eq!(said(&of_type, None), "keep", "what is not asked may be malformed");
        }
        for modb in [json!(1), json!({ "types": 1 }), json!({ "attachments": "x" })] {
            assert!(said(&modb, Some("fax")).starts_with('!'), "{modb}");
        }
    }
}
