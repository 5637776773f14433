//! What the state's file has rows of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::brief::Node;
use crate::fold::{Attr, Item, Key, Micros, Reg, Standing};
use crate::journal::Offset;

/// A leg or dialog with what state needs besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What is known of it.
    pub item: Item,
    /// The last entry that changed it.
    #[serde(default)]
    pub changed: Offset,
    /// When its record is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Micros>,
    /// The end that it stands under in the table of what is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Micros>,
    /// How it stands; a dialog also by its legs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// A dialog of one leg that gave way to one of two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_absorbed: bool,
    /// The call that it stands under in the table of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<str>>,
}

/// An item without its story, which takes the most time to read.
#[derive(Deserialize)]
pub(super) struct Light {
    item: LightItem,
    #[serde(default)]
    due: Option<Micros>,
    #[serde(default)]
    over: Option<Micros>,
    #[serde(default)]
    standing: Option<Standing>,
    #[serde(default)]
    is_absorbed: bool,
}

#[derive(Deserialize)]
struct LightItem {
    #[serde(default)]
    first: Option<Micros>,
    #[serde(default)]
    last: Option<Micros>,
    #[serde(default)]
    attrs: Vec<(Attr, Reg)>,
    #[serde(default)]
    links: BTreeSet<(Box<str>, Key)>,
}

impl From<Light> for Stored {
    fn from(light: Light) -> Self {
        let Light { item: LightItem { first, last, attrs, links }, due, over, standing, is_absorbed } = light;
        let item = Item { first, last, attrs, links, ..Item::default() };
        Self { item, due, over, standing, is_absorbed, ..Self::default() }
    }
}

/// Where an item stands in the tables.
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
    /// Whether memory holds it: it goes on, or its record waits.
    pub(super) const fn is_live(&self) -> bool {
        (self.over.is_none() || self.due.is_some()) && !self.is_absorbed
    }
}

/// What others are to be told: an id, and JSON.
pub type News = (Box<str>, Vec<u8>);

/// How far the journal was read, and what belongs to no item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The last entry that was taken in.
    pub offset: Option<Offset>,
    /// When the journal took it.
    pub taken: Micros,
    /// The newest epoch of each group.
    pub epochs: std::collections::BTreeMap<u32, u64>,
    /// The switches.
    pub nodes: std::collections::BTreeMap<Box<str>, Node>,
    /// The other sites whose calls are finished here.
    #[serde(default)]
    pub adopted: BTreeSet<Box<str>>,
}
