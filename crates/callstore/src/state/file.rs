//! The file that state is kept in: what is known, how far the journal was read, and what is still to be done, in one commit a
//! batch.

use std::collections::BTreeSet;
use std::path::Path;

use redb::{Database, Durability, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::brief::Node;
use crate::fold::{Attr, Item, Key, Micros, Reg, Standing};
use crate::journal::Offset;

const ITEMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("items");
/// The items of each call.
const CALLS: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("calls");
/// Records that are to be written, by the time that they are due.
const DUE: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("due");
/// What is over, by the time of its end.
const OVER: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("over");
/// What others are to be told, by the time that it was found out.
const NEWS: TableDefinition<'_, (i64, &str), &[u8]> = TableDefinition::new("news");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

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
struct Light {
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
}

impl Place {
    pub(super) fn of(stored: &Stored) -> Self {
        Self { due: stored.due, over: stored.over, call: stored.call.clone() }
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

/// The file.
#[derive(Debug)]
pub(super) struct File(Database);

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let db = Database::builder().set_cache_size(CACHE).create(path).map_err(StateError::opening)?;
        let file = Self(db);
        let transaction = file.0.begin_write().map_err(StateError::file)?;
        drop(transaction.open_table(ITEMS).map_err(StateError::file)?);
        drop(transaction.open_table(CALLS).map_err(StateError::file)?);
        drop(transaction.open_table(DUE).map_err(StateError::file)?);
        drop(transaction.open_table(OVER).map_err(StateError::file)?);
        drop(transaction.open_table(NEWS).map_err(StateError::file)?);
        drop(transaction.open_table(META).map_err(StateError::file)?);
        transaction.commit().map_err(StateError::file)?;
        Ok(file)
    }

    pub(super) fn read(&self) -> Result<Reading, StateError> {
        Ok(Reading(self.0.begin_read().map_err(StateError::file)?))
    }

    /// `is_durable`: flushed; else it is only as safe as the next commit that is. The journal has it all.
    pub(super) fn write(&self, is_durable: bool) -> Result<Writing, StateError> {
        let mut transaction = self.0.begin_write().map_err(StateError::file)?;
        transaction.set_quick_repair(is_durable);
        transaction.set_durability(if is_durable { Durability::Immediate } else { Durability::None });
        Ok(Writing(transaction))
    }
}

/// A view of the file.
#[derive(Debug)]
pub(super) struct Reading(ReadTransaction);

impl Reading {
    pub(super) fn meta(&self) -> Result<Meta, StateError> {
        let table = self.0.open_table(META).map_err(StateError::file)?;
        let Some(bytes) = table.get("meta").map_err(StateError::file)? else { return Ok(Meta::default()) };
        serde_json::from_slice(bytes.value()).map_err(|error| StateError::Damaged(error.into()))
    }

    pub(super) fn item(&self, key: &Key) -> Result<Option<Stored>, StateError> {
        let table = self.0.open_table(ITEMS).map_err(StateError::file)?;
        let found = table.get(key.as_str()).map_err(StateError::file)?;
        found.map(|bytes| stored(bytes.value())).transpose()
    }

    /// All items, without their stories.
    pub(super) fn items(&self, mut each: impl FnMut(Key, Stored)) -> Result<(), StateError> {
        let table = self.0.open_table(ITEMS).map_err(StateError::file)?;
        for row in table.iter().map_err(StateError::file)? {
            let (key, bytes) = row.map_err(StateError::file)?;
            if let Some(key) = Key::parse(key.value()) {
                let light: Light =
                    serde_json::from_slice(bytes.value()).map_err(|error| StateError::Damaged(error.into()))?;
                each(key, light.into());
            }
        }
        Ok(())
    }

    /// The items of a call.
    pub(super) fn call(&self, call: &str) -> Result<Vec<Key>, StateError> {
        let table = self.0.open_table(CALLS).map_err(StateError::file)?;
        let mut found = Vec::new();
        for row in table.range((call, "")..).map_err(StateError::file)? {
            let (row, ()) = row.map(|(key, value)| (key, value.value())).map_err(StateError::file)?;
            let (of, key) = row.value();
            if of != call || found.len() >= MOST {
                break;
            }
            found.extend(Key::parse(key));
        }
        Ok(found)
    }

    /// What is over, newest first, before this end and key.
    pub(super) fn over(&self, before: (Micros, &str), most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(OVER).map_err(StateError::file)?;
        times(table.range(..before).map_err(StateError::file)?.rev(), most)
    }

    /// What was over before a time, oldest first.
    pub(super) fn long_over(&self, before: Micros, most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(OVER).map_err(StateError::file)?;
        times(table.range(..(before, "")).map_err(StateError::file)?, most)
    }

    /// Whose records are due, oldest first.
    pub(super) fn due(&self, until: Micros, most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(DUE).map_err(StateError::file)?;
        times(table.range(..(until.saturating_add(1), "")).map_err(StateError::file)?, most)
    }

    /// What others are to be told, oldest first.
    pub(super) fn news(&self, most: usize) -> Result<Vec<News>, StateError> {
        let table = self.0.open_table(NEWS).map_err(StateError::file)?;
        let rows = table.iter().map_err(StateError::file)?.take(most);
        rows.map(|row| row.map(|(key, bytes)| (key.value().1.into(), bytes.value().to_vec())).map_err(StateError::file))
            .collect()
    }
}

type Row<'a> = Result<(redb::AccessGuard<'a, (i64, &'static str)>, redb::AccessGuard<'a, ()>), redb::StorageError>;

fn times<'a>(rows: impl Iterator<Item = Row<'a>>, most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
    let mut found = Vec::new();
    for row in rows.take(most) {
        let (row, _) = row.map_err(StateError::file)?;
        let (at, key) = row.value();
        found.extend(Key::parse(key).map(|key| (at, key)));
    }
    Ok(found)
}

fn stored(bytes: &[u8]) -> Result<Stored, StateError> {
    serde_json::from_slice(bytes).map_err(|error| StateError::Damaged(error.into()))
}

/// A batch that is being written.
pub(super) struct Writing(WriteTransaction);

impl Writing {
    /// Writes an item, and moves it in the tables that it stands in.
    pub(super) fn item(&self, key: &Key, known: Option<&Place>, now: &Stored) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(now).map_err(|error| StateError::Damaged(error.into()))?;
        let mut items = self.0.open_table(ITEMS).map_err(StateError::file)?;
        items.insert(key.as_str(), &*bytes).map_err(StateError::file)?;
        let call = known.and_then(|known| known.call.as_deref());
        if call != now.call.as_deref() {
            let mut table = self.0.open_table(CALLS).map_err(StateError::file)?;
            if let Some(call) = call {
                table.remove((call, key.as_str())).map_err(StateError::file)?;
            }
            if let Some(call) = now.call.as_deref() {
                table.insert((call, key.as_str()), ()).map_err(StateError::file)?;
            }
        }
        self.moved(DUE, key, known.and_then(|known| known.due), now.due)?;
        self.moved(OVER, key, known.and_then(|known| known.over), now.over)
    }

    fn moved(
        &self,
        table: TableDefinition<'_, (i64, &'static str), ()>,
        key: &Key,
        from: Option<Micros>,
        to: Option<Micros>,
    ) -> Result<(), StateError> {
        if from == to {
            return Ok(());
        }
        let mut table = self.0.open_table(table).map_err(StateError::file)?;
        if let Some(from) = from {
            table.remove((from, key.as_str())).map_err(StateError::file)?;
        }
        if let Some(to) = to {
            table.insert((to, key.as_str()), ()).map_err(StateError::file)?;
        }
        Ok(())
    }

    /// Forgets an item.
    pub(super) fn forget(&self, key: &Key, known: &Stored) -> Result<(), StateError> {
        let mut items = self.0.open_table(ITEMS).map_err(StateError::file)?;
        items.remove(key.as_str()).map_err(StateError::file)?;
        if let Some(call) = known.call.as_deref() {
            let mut table = self.0.open_table(CALLS).map_err(StateError::file)?;
            table.remove((call, key.as_str())).map_err(StateError::file)?;
        }
        self.moved(DUE, key, known.due, None)?;
        self.moved(OVER, key, known.over, None)
    }

    /// Writes down what others are to be told.
    pub(super) fn tell(&self, at: Micros, id: &str, news: &[u8]) -> Result<(), StateError> {
        let mut table = self.0.open_table(NEWS).map_err(StateError::file)?;
        table.insert((at, id), news).map(drop).map_err(StateError::file)
    }

    /// They were told.
    pub(super) fn told(&self, id: &str) -> Result<(), StateError> {
        let mut table = self.0.open_table(NEWS).map_err(StateError::file)?;
        table.retain(|(_, known), _| known != id).map_err(StateError::file)
    }

    pub(super) fn meta(&self, meta: &Meta) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(meta).map_err(|error| StateError::Damaged(error.into()))?;
        let mut table = self.0.open_table(META).map_err(StateError::file)?;
        table.insert("meta", &*bytes).map(drop).map_err(StateError::file)
    }

    pub(super) fn commit(self) -> Result<(), StateError> {
        self.0.commit().map_err(StateError::file)
    }
}

/// How much of the file is held in memory, in bytes.
const CACHE: usize = 8 << 20;
/// How many legs and dialogs of a call are shown.
const MOST: usize = 1000;
