//! The tables of the state's file, except the one of `short`.

use redb::TableDefinition;

use super::StateError;
use super::stored::Stored;

pub(super) const ITEMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("items");
/// The items of each call.
pub(super) const CALLS: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("calls");
/// Records to be written, by due time.
pub(super) const DUE: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("due");
/// Ended items, by the time of their end.
pub(super) const OVER: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("over");
/// Notices to be sent, by the time of detection.
pub(super) const NEWS: TableDefinition<'_, (i64, &str), &[u8]> = TableDefinition::new("news");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Reads an item.
pub(super) fn stored(bytes: &[u8]) -> Result<Stored, StateError> {
    serde_json::from_slice(bytes).map_err(|error| StateError::Damaged(error.into()))
}
