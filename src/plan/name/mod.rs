//! Composes an object's name from a plan's `field_list` and folder.
//!
//! Values from a document (its id, the attachment's name, fields) are percent-encoded; constants, separators and folders are the plan author's own
//! text and stay as they are. Parts too long for the driver's servers are shortened ([`mod@fit`]), and the result must stay inside its folder
//! ([`mod@confine`]).

use std::fmt;
use std::ops::Range;

use stowage_base::settings::WrongSetting;
use stowage_couch::Document;
use stowage_http::target::encode;
use stowage_storage::driver;

use super::{PlanError, Settings};
use confine::confine;
use item::{Arg, Item, default_items};

mod confine;
mod fit;
mod item;
#[cfg(test)]
mod properties;
mod suffix;
#[cfg(test)]
mod tests;

/// The account segment for documents that belong to no account.
const UNKNOWN_ACCOUNT: &str = "unknown_account";

/// The values that a name is composed of.
#[derive(Clone, Copy)]
pub struct NameSource<'a> {
    /// The account in the database's name; `system_data` for the credential check of a system plan.
    pub account: Option<&'a str>,
    /// The database's decoded name.
    pub database: &'a str,
    /// The document's decoded id.
    pub document_id: &'a str,
    /// The attachment's decoded name.
    pub attachment: &'a str,
    /// The document.
    pub document: &'a Document,
}

impl fmt::Debug for NameSource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NameSource")
            .field("database", &self.database)
            .field("document_id", &self.document_id)
            .field("attachment", &self.attachment)
            .finish_non_exhaustive()
    }
}

/// The reason that no name could be composed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name would leave its folder: a 400 with this reason.
    #[error("the attachment's name in its storage would have {0}")]
    Refused(&'static str),
    /// The plan is invalid: a 502.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl From<WrongSetting> for NameError {
    fn from(wrong: WrongSetting) -> Self {
        Self::Plan(wrong.into())
    }
}

/// An object's name, relative to the location in its backend's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    text: String,
    /// The ranges that came from the document.
    values: Vec<Range<usize>>,
}

/// Composes the name of an attachment's object.
///
/// # Errors
///
/// Returns an error if the plan's `field_list`, `field_separator` or folder is malformed, or if the name would leave its folder.
pub fn compose(settings: &Settings, source: &NameSource<'_>) -> Result<Name, NameError> {
    let items = match settings.list("field_list")? {
        Some(items) => Item::parse_list(items, settings)?,
        None => default_items(settings.handler()),
    };
    let separator = settings.text("field_separator")?.unwrap_or_else(|| "/".to_owned());
    let mut name = source.render(&items, &separator);
    let folder = folder(settings)?;
    if !folder.is_empty() {
        name = name.below(&folder);
    }
    if let Some(driver) = driver(settings.handler()) {
        name = name.fitted(driver.fit, source);
    }
    confine(settings.handler(), name.as_str()).map_err(NameError::Refused)?;
    Ok(name)
}

impl Name {
    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the end of the last value from the document, in the segment that distinguishes this object from others.
    fn value_end(&self) -> Option<usize> {
        self.values.last().map(|value| value.end)
    }

    fn constant(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    fn value(text: &str) -> Self {
        let text = encode(text);
        Self { values: std::iter::once(0..text.len()).collect(), text }
    }

    fn append(&mut self, piece: &Self) {
        let start = self.text.len();
        self.text.push_str(&piece.text);
        self.values.extend(piece.values.iter().map(|value| value.start + start..value.end + start));
    }

    /// Prefixes a folder, with a single slash between.
    fn below(&self, folder: &str) -> Self {
        let name = self.text.trim_start_matches('/');
        let trimmed = self.text.len() - name.len();
        let values = self.values.iter();
        let values =
            values.map(|value| value.start.saturating_sub(trimmed)..value.end.saturating_sub(trimmed)).collect();
        let mut below = Self::constant(&format!("{folder}/"));
        below.append(&Self { text: name.to_owned(), values });
        below
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl NameSource<'_> {
    fn render(&self, items: &[Item<'_>], separator: &str) -> Name {
        let mut name = Name::default();
        let pieces = items.iter().filter_map(|item| self.piece(item));
        for (position, piece) in pieces.enumerate() {
            if position > 0 {
                name.text.push_str(separator);
            }
            name.append(&piece);
        }
        name
    }

    /// Renders an item; `None` if it is left out.
    fn piece(&self, item: &Item<'_>) -> Option<Name> {
        match item {
            Item::Text(text) => Some(Name::constant(text)),
            Item::Arg(Arg::AccountId) => Some(Name::value(&self.account_id())),
            Item::Arg(Arg::Database) => Some(Name::value(self.database)),
            Item::Arg(Arg::Id) => Some(Name::value(self.document_id)),
            Item::Arg(Arg::Attachment) => Some(Name::value(self.attachment)),
            Item::Field(key) => self.field(key).map(|text| Name::value(&text)),
            Item::Group(items) => {
                let group = self.render(items, "");
                (!group.text.is_empty()).then_some(group)
            }
        }
    }

    fn account_id(&self) -> String {
        self.text("pvt_account_id")
            .or_else(|| self.account.map(str::to_owned))
            .unwrap_or_else(|| UNKNOWN_ACCOUNT.to_owned())
    }

    /// Returns a public field's text; `id` is the document's id, which the platform shows among the public fields.
    fn field(&self, key: &str) -> Option<String> {
        if key == "id" {
            return Some(self.document_id.to_owned());
        }
        if key.starts_with('_') || key.starts_with("pvt_") {
            return None;
        }
        match self.document.raw(key)?.get() {
            "" | "null" => None,
            raw if raw.starts_with(['{', '[']) => None,
            raw if raw.starts_with('"') => self.text(key),
            raw => Some(raw.to_owned()),
        }
    }

    /// Returns a member that is a non-empty string.
    fn text(&self, key: &str) -> Option<String> {
        self.document.text(key).filter(|text| !text.is_empty())
    }
}

/// Returns the folder in the settings and params without slashes at either end; empty if there is none.
fn folder(settings: &Settings) -> Result<String, PlanError> {
    if let Some(path) = settings.text("path")? {
        return Ok(path.trim_matches('/').to_owned());
    }
    let base = settings.text("folder_base_path")?.unwrap_or_default();
    let folder = settings.text("folder_path")?.unwrap_or_default();
    let parts = [base.trim_matches('/'), folder.trim_matches('/')];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    Ok(parts.collect::<Vec<_>>().join("/"))
}
