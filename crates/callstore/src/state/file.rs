//! The file of the state: the items, the position in the journal, and the pending work, updated in one commit per batch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, Durability, ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};
use serde::Deserialize;

use super::StateError;
use super::brief::{Brief, Names};
use super::layout::{CALLS, DUE, ITEMS, META, NEWS, OVER, stored};
use super::short::{self, LIVE};
use super::stored::{Meta, News, Stored};
use super::tables::Tables;
use crate::fold::{Key, Micros};

/// The file of the state.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// `None` if reopening failed.
    db: RwLock<Option<Database>>,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        Ok(Self { path: path.to_path_buf(), db: RwLock::new(Some(open(path)?)) })
    }

    /// Reopens the file after a failed write, such as on a full disk, since redb refuses everything until then. Unflushed commits are lost; returns
    /// whether the file was reopened.
    pub(super) fn mend(&self) -> Result<bool, StateError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if db.as_ref().is_some_and(|db| db.begin_write().is_ok()) {
            return Ok(false);
        }
        // Release the lock first.
        drop(db.take());
        *db = Some(open(&self.path)?);
        Ok(true)
    }

    pub(super) fn read(&self) -> Result<Reading, StateError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Reading(db.as_ref().ok_or_else(closed)?.begin_read().map_err(StateError::file)?))
    }

    /// Begins a commit. It is flushed if `is_durable`; else it becomes durable with the next flushed commit, and until then the journal has its
    /// entries.
    pub(super) fn write(&self, is_durable: bool) -> Result<Writing, StateError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = db.as_ref().ok_or_else(closed)?.begin_write().map_err(StateError::file)?;
        transaction.set_quick_repair(is_durable);
        transaction.set_durability(if is_durable { Durability::Immediate } else { Durability::None });
        Ok(Writing(transaction))
    }
}

/// Opens the file, and creates missing tables.
fn open(path: &Path) -> Result<Database, StateError> {
    super::guarded(|| {
        let db = Database::builder().set_cache_size(CACHE).create(path).map_err(StateError::opening)?;
        let mut transaction = db.begin_write().map_err(StateError::file)?;
        // Without quick repair, the whole file is read after a crash.
        transaction.set_quick_repair(true);
        short::prepare(&transaction)?;
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

/// A snapshot of the file.
#[derive(Debug)]
pub(super) struct Reading(ReadTransaction);

impl Reading {
    pub(super) fn meta(&self) -> Result<Meta, StateError> {
        let table = self.0.open_table(META).map_err(StateError::file)?;
        let Some(bytes) = table.get("meta").map_err(StateError::file)? else { return Ok(Meta::default()) };
        serde_json::from_slice(bytes.value()).map_err(|error| StateError::Damaged(error.into()))
    }

    pub(super) fn item(&self, key: &Key) -> Result<Option<Stored>, StateError> {
        self.items()?.get(key)
    }

    /// The items, for several of them.
    pub(super) fn items(&self) -> Result<Items, StateError> {
        Ok(Items(self.0.open_table(ITEMS).map_err(StateError::file)?))
    }

    /// What memory holds, and whether the record of each is due.
    pub(super) fn live(&self, names: &mut Names, mut each: impl FnMut(Brief, bool)) -> Result<(), StateError> {
        let live = self.0.open_table(LIVE).map_err(StateError::file)?;
        for row in live.iter().map_err(StateError::file)? {
            let (key, short) = row.map_err(StateError::file)?;
            let (brief, is_due) = short::read(key.value(), short.value(), names)
                .ok_or_else(|| StateError::Damaged("a row of what lives cannot be read".into()))?;
            each(brief, is_due);
        }
        Ok(())
    }

    /// Returns the items of a call.
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

    /// Returns ended items, newest first, before this end and key.
    pub(super) fn over(&self, before: (Micros, &str), most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(OVER).map_err(StateError::file)?;
        times(table.range(..before).map_err(StateError::file)?.rev(), most)
    }

    /// Returns items that ended before a time, oldest first, after this end and key.
    pub(super) fn long_over(
        &self,
        after: (Micros, &str),
        before: Micros,
        most: usize,
    ) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(OVER).map_err(StateError::file)?;
        between(&table, after, (before, ""), most)
    }

    /// Returns the items with due records, oldest first, after this time and key.
    pub(super) fn due(
        &self,
        after: (Micros, &str),
        until: Micros,
        most: usize,
    ) -> Result<Vec<(Micros, Key)>, StateError> {
        let table = self.0.open_table(DUE).map_err(StateError::file)?;
        between(&table, after, (until.saturating_add(1), ""), most)
    }

    /// Returns the notices to be sent, oldest first.
    pub(super) fn news(&self, most: usize) -> Result<Vec<News>, StateError> {
        let table = self.0.open_table(NEWS).map_err(StateError::file)?;
        let rows = table.iter().map_err(StateError::file)?.take(most);
        rows.map(|row| row.map(|(key, bytes)| (key.value().1.into(), bytes.value().to_vec())).map_err(StateError::file))
            .collect()
    }
}

/// The table of items in a view of the file.
#[derive(Debug)]
pub(super) struct Items(ReadOnlyTable<&'static str, &'static [u8]>);

impl Items {
    pub(super) fn get(&self, key: &Key) -> Result<Option<Stored>, StateError> {
        let found = self.0.get(key.as_str()).map_err(StateError::file)?;
        found.map(|bytes| stored(bytes.value())).transpose()
    }
}

type Row<'a> = Result<(redb::AccessGuard<'a, (i64, &'static str)>, redb::AccessGuard<'a, ()>), redb::StorageError>;

/// Returns the rows after one and before another; none if those are not in order.
fn between(
    table: &ReadOnlyTable<(i64, &'static str), ()>,
    after: (Micros, &str),
    before: (Micros, &str),
    most: usize,
) -> Result<Vec<(Micros, Key)>, StateError> {
    if after >= before {
        return Ok(Vec::new());
    }
    let range = (Bound::Excluded(after), Bound::Excluded(before));
    times(table.range(range).map_err(StateError::file)?, most)
}

fn times<'a>(rows: impl Iterator<Item = Row<'a>>, most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
    let mut found = Vec::new();
    for row in rows.take(most) {
        let (row, _) = row.map_err(StateError::file)?;
        let (at, key) = row.value();
        found.extend(Key::parse(key).map(|key| (at, key)));
    }
    Ok(found)
}

/// The dialog that a notice is about.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    dialog_id: Cow<'a, str>,
}

/// A batch being written.
pub(super) struct Writing(WriteTransaction);

impl Writing {
    /// Opens the tables of items, once per batch.
    pub(super) fn tables(&self) -> Result<Tables<'_>, StateError> {
        Tables::open(&self.0)
    }

    /// Stores a notice to be sent.
    pub(super) fn tell(&self, at: Micros, id: &str, news: &[u8]) -> Result<(), StateError> {
        let mut table = self.0.open_table(NEWS).map_err(StateError::file)?;
        table.insert((at, id), news).map(drop).map_err(StateError::file)
    }

    /// Removes the notices with these ids, and those about these dialogs, whose deaths were found by these times: the id of a notice depends on which
    /// deaths of the dialog's legs were in one batch.
    pub(super) fn told(
        &self,
        ids: &BTreeMap<Box<str>, Micros>,
        dialogs: &BTreeMap<Box<str>, Micros>,
    ) -> Result<(), StateError> {
        if ids.is_empty() && dialogs.is_empty() {
            return Ok(());
        }
        let settled = |news: &[u8]| {
            let about: About<'_> = serde_json::from_slice(news).ok()?;
            dialogs.get(&*about.dialog_id).copied()
        };
        let mut table = self.0.open_table(NEWS).map_err(StateError::file)?;
        let is_wanted = |found: Micros, id: &str, news: &[u8]| {
            ids.get(id).is_none_or(|until| found > *until) && settled(news).is_none_or(|until| found > until)
        };
        table.retain(|(found, id), news| is_wanted(found, id, news)).map_err(StateError::file)
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

/// The size of redb's cache, in bytes.
const CACHE: usize = 8 << 20;
/// The maximum number of legs and dialogs returned for a call.
const MOST: usize = 1000;
