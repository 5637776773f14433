//! The items of a `field_list`.

use serde_json::Value;
use stowage_storage::{Naming, driver};

use crate::plan::{PlanError, Settings};

/// One item of a `field_list`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A value that every attachment has.
    Arg(Arg),
    /// A public field of the document.
    Field(&'a str),
    /// The plan author's own text.
    Text(&'a str),
    /// Items joined without a separator.
    Group(Vec<Self>),
}

/// A value that every attachment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    AccountId,
    Database,
    Id,
    Attachment,
}

impl<'a> Item<'a> {
    /// Parses a `field_list`; an error names the backend of `settings`.
    pub(super) fn parse_list(items: &'a [Value], settings: &Settings) -> Result<Vec<Self>, PlanError> {
        items.iter().map(|item| Self::parse(item, settings)).collect()
    }

    /// Parses an item: an object with one member, or a string. Additional members are refused, since their author meant them to be in the name.
    fn parse(item: &'a Value, settings: &Settings) -> Result<Self, PlanError> {
        let wrong = |what: &str| PlanError::wrong(settings.id(), format!("`field_list` {what}"));
        let none = || wrong("has an item that is not exactly one arg, field, const or group, or a text");
        let members = match item {
            Value::String(text) => return Ok(Self::Text(text)),
            Value::Object(members) => members,
            _ => return Err(none()),
        };
        let mut members = members.iter().filter(|(_, value)| !value.is_null());
        let (Some((key, value)), None) = (members.next(), members.next()) else { return Err(none()) };
        let text = || value.as_str().ok_or_else(|| wrong(&format!("has a `{key}` that is not text")));
        match key.as_str() {
            "arg" => Arg::parse(text()?)
                .map(Self::Arg)
                .ok_or_else(|| wrong("has an `arg` that is not one of account_id, db, id, attachment")),
            "field" => text().map(Self::Field),
            "const" => text().map(Self::Text),
            "group" => {
                let items = value.as_array().ok_or_else(|| wrong("has a `group` that is not a list"))?;
                Self::parse_list(items, settings).map(Self::Group)
            }
            _ => Err(none()),
        }
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

/// Returns the `field_list` of a backend that sets none.
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
