//! The rows of the state's file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fold::{Item, Micros, Standing};
use crate::journal::Offset;

/// A leg or dialog with the state's bookkeeping.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The merged events.
    pub item: Item,
    /// The offset of the last entry that changed the item.
    #[serde(default)]
    pub changed: Offset,
    /// When the item's record is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Micros>,
    /// The end under which the item is in the table of ended items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Micros>,
    /// The status; that of a dialog includes its legs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// When the parties of a dialog began to talk, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk: Option<Micros>,
    /// Whether this is a one-legged dialog that was replaced by one with two legs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_absorbed: bool,
    /// The call under which the item is in the table of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<str>>,
}

/// An item's place in the tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) due: Option<Micros>,
    pub(super) over: Option<Micros>,
    pub(super) call: Option<Box<str>>,
    pub(super) is_live: bool,
}

impl Place {
    pub(super) fn of(stored: &Stored) -> Self {
        Self { due: stored.due, over: stored.over, call: stored.call.clone(), is_live: stored.is_live() }
    }
}

impl Stored {
    /// Returns whether the item is held in memory: it is live, or its record is pending. One that no event dates is of no known age: it is not
    /// followed until an event or a sweep dates it.
    pub(super) const fn is_live(&self) -> bool {
        (self.over.is_none() || self.due.is_some()) && !self.is_absorbed && self.item.first.is_some()
    }
}

/// A notice to be sent: its id and JSON.
pub type News = (Box<str>, Vec<u8>);

/// A switch, as known from its events and responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The time of its newest event.
    pub event: Micros,
    /// The time of its newest response.
    pub answer: Micros,
}

impl Node {
    /// Returns the time of the last sign of life.
    #[must_use]
    pub fn last(&self) -> Micros {
        self.event.max(self.answer)
    }
}

/// The position in the journal, and data that belongs to no item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The last applied entry.
    pub offset: Option<Offset>,
    /// When the journal took that entry.
    pub taken: Micros,
    /// The newest epoch of each group in what was read of the journal.
    pub epochs: BTreeMap<u32, u64>,
    /// The newest epochs before the journal was last read from its beginning: no later leader may have an older one.
    #[serde(default)]
    pub epochs_before: BTreeMap<u32, u64>,
    /// The switches.
    pub nodes: BTreeMap<Box<str>, Node>,
    /// The other sites whose calls are finished here.
    #[serde(default)]
    pub adopted: BTreeSet<Box<str>>,
}

impl Meta {
    /// Returns the newest epoch of a group that was ever seen.
    pub(super) fn epoch(&self, group: u32) -> u64 {
        let newest = |epochs: &BTreeMap<u32, u64>| epochs.get(&group).copied().unwrap_or_default();
        newest(&self.epochs).max(newest(&self.epochs_before))
    }

    /// Begins the journal anew. Its decisions are read again in the order in which they were made, so the newest epoch starts over and grows with them.
    /// Otherwise, decisions from before the last change of leaders would be refused.
    pub(super) fn rewind(&mut self) {
        self.offset = None;
        for (group, epoch) in std::mem::take(&mut self.epochs) {
            let newest = self.epochs_before.entry(group).or_default();
            *newest = epoch.max(*newest);
        }
    }
}
