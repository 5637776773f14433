//! The items of a `field_list`.

use serde_json::Value;

use crate::plan::{PlanError, Settings};
use crate::storage::{Naming, driver};

/// One item of a `field_list`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// Something that every attachment has.
    Arg(Arg),
    /// A public field of the document.
    Field(&'a str),
    /// The plan author's own text.
    Text(&'a str),
    /// Items with nothing between them.
    Group(Vec<Self>),
}

/// What every attachment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    AccountId,
    Database,
    Id,
    Attachment,
}

impl<'a> Item<'a> {
    /// Reads a `field_list`; an error names the backend of `settings`.
    pub(super) fn parse_list(items: &'a [Value], settings: &Settings) -> Result<Vec<Self>, PlanError> {
        items.iter().map(|item| Self::parse(item, settings)).collect()
    }

    fn parse(item: &'a Value, settings: &Settings) -> Result<Self, PlanError> {
        let wrong = |what: &str| PlanError::wrong(settings.id(), format!("`field_list` {what}"));
        if let Some(text) = item.as_str() {
            return Ok(Self::Text(text));
        }
        let text = |key: &str| match item.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(wrong(&format!("has a `{key}` that is not text"))),
        };
        if let Some(group) = item.get("group").filter(|group| !group.is_null()) {
            let items = group.as_array().ok_or_else(|| wrong("has a `group` that is not a list"))?;
            return Self::parse_list(items, settings).map(Self::Group);
        }
        if let Some(arg) = text("arg")? {
            return Arg::parse(arg)
                .map(Self::Arg)
                .ok_or_else(|| wrong("has an `arg` that is not one of account_id, db, id, attachment"));
        }
        if let Some(key) = text("field")? {
            return Ok(Self::Field(key));
        }
        text("const")?
            .map(Self::Text)
            .ok_or_else(|| wrong("has an item that is not an arg, field, const, group or text"))
    }
}

impl Arg {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "account_id" => Self::AccountId,
            "db" => Self::Database,
            "id" => Self::Id,
            "attachment" => Self::Attachment,
            _ => return None,
        })
    }
}

/// The `field_list` of a backend that has none.
pub(super) fn default_items(handler: &str) -> Vec<Item<'static>> {
    let flat = || Item::Group(vec![Item::Arg(Arg::Id), Item::Text("_"), Item::Arg(Arg::Attachment)]);
    match driver(handler).map_or(Naming::Path, |driver| driver.naming) {
        Naming::Database => vec![Item::Arg(Arg::Database), flat()],
        Naming::Flat => vec![flat()],
        Naming::Path => {
            vec![Item::Arg(Arg::AccountId), Item::Field("owner_id"), Item::Arg(Arg::Id), Item::Arg(Arg::Attachment)]
        }
    }
}
