//! The file that state is kept in: what is known, how far the journal was read, and what is still to be done, in one commit a
//! batch.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, Durability, ReadTransaction, ReadableTable, TableDefinition, TableHandle, WriteTransaction};

use super::StateError;
use super::stored::{Light, Meta, News, Stored};
use super::tables::Tables;
use crate::fold::{Key, Micros};

pub(super) const ITEMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("items");
/// The items that memory holds, so that a start reads no others.
pub(super) const LIVE: TableDefinition<'_, &str, ()> = TableDefinition::new("live");
/// The items of each call.
pub(super) const CALLS: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("calls");
/// Records that are to be written, by the time that they are due.
pub(super) const DUE: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("due");
/// What is over, by the time of its end.
pub(super) const OVER: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("over");
/// What others are to be told, by the time that it was found out.
const NEWS: TableDefinition<'_, (i64, &str), &[u8]> = TableDefinition::new("news");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// None where it could not be opened again.
    db: RwLock<Option<Database>>,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        Ok(Self { path: path.to_path_buf(), db: RwLock::new(Some(open(path)?)) })
    }

    /// After a write that failed, on a full disk for one, redb refuses everything until the file is opened again. What was not flushed
    /// is lost then; gives whether it was so.
    pub(super) fn mend(&self) -> Result<bool, StateError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if db.as_ref().is_some_and(|db| db.begin_write().is_ok()) {
            return Ok(false);
        }
        // Its lock has to be gone first.
        drop(db.take());
        *db = Some(open(&self.path)?);
        Ok(true)
    }

    pub(super) fn read(&self) -> Result<Reading, StateError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Reading(db.as_ref().ok_or_else(closed)?.begin_read().map_err(StateError::file)?))
    }

    /// `is_durable`: flushed; else it is only as safe as the next commit that is. The journal has it all.
    pub(super) fn write(&self, is_durable: bool) -> Result<Writing, StateError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = db.as_ref().ok_or_else(closed)?.begin_write().map_err(StateError::file)?;
        transaction.set_quick_repair(is_durable);
        transaction.set_durability(if is_durable { Durability::Immediate } else { Durability::None });
        Ok(Writing(transaction))
    }
}

/// Opens the file, and makes what is missing in it.
fn open(path: &Path) -> Result<Database, StateError> {
    super::guarded(|| {
        let db = Database::builder().set_cache_size(CACHE).create(path).map_err(StateError::opening)?;
        let mut transaction = db.begin_write().map_err(StateError::file)?;
        // Without it the file is read to its end after a crash.
        transaction.set_quick_repair(true);
        let is_new = !transaction.list_tables().map_err(StateError::file)?.any(|table| table.name() == LIVE.name());
        {
            let items = transaction.open_table(ITEMS).map_err(StateError::file)?;
            let mut live = transaction.open_table(LIVE).map_err(StateError::file)?;
            // A file of an older release may have items.
            for row in items.iter().map_err(StateError::file)?.take_while(|_| is_new) {
                let (key, bytes) = row.map_err(StateError::file)?;
                if light(bytes.value())?.is_live() {
                    live.insert(key.value(), ()).map_err(StateError::file)?;
                }
            }
        }
        drop(transaction.open_table(CALLS).map_err(StateError::file)?);
        drop(transaction.open_table(DUE).map_err(StateError::file)?);
        drop(transaction.open_table(OVER).map_err(StateError::file)?);
        drop(transaction.open_table(NEWS).map_err(StateError::file)?);
        drop(transaction.open_table(META).map_err(StateError::file)?);
        transaction.commit().map_err(StateError::file)?;
        Ok(db)
    })
    .unwrap_or_else(|reason| Err(StateError::Damaged(reason.into())))
}

fn closed() -> StateError {
    StateError::Unavailable("the file could not be opened again after a failure".into())
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

    /// What memory holds, without its stories.
    pub(super) fn live(&self, mut each: impl FnMut(Key, Stored)) -> Result<(), StateError> {
        let live = self.0.open_table(LIVE).map_err(StateError::file)?;
        let items = self.0.open_table(ITEMS).map_err(StateError::file)?;
        for row in live.iter().map_err(StateError::file)? {
            let (key, ()) = row.map(|(key, value)| (key, value.value())).map_err(StateError::file)?;
            let bytes = items.get(key.value()).map_err(StateError::file)?;
            if let Some((key, bytes)) = Key::parse(key.value()).zip(bytes) {
                each(key, light(bytes.value())?);
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

/// An item without its story.
fn light(bytes: &[u8]) -> Result<Stored, StateError> {
    let light: Light = serde_json::from_slice(bytes).map_err(|error| StateError::Damaged(error.into()))?;
    Ok(light.into())
}

fn stored(bytes: &[u8]) -> Result<Stored, StateError> {
    serde_json::from_slice(bytes).map_err(|error| StateError::Damaged(error.into()))
}

/// A batch that is being written.
pub(super) struct Writing(WriteTransaction);

impl Writing {
    /// The tables of items, opened once for as many as there are.
    pub(super) fn tables(&self) -> Result<Tables<'_>, StateError> {
        Tables::open(&self.0)
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
