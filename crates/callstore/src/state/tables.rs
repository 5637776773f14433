//! The tables of items, as written by a batch.

use redb::{Table, WriteTransaction};

use super::StateError;
use super::brief::Brief;
use super::layout::{CALLS, DUE, ITEMS, OVER};
use super::short::{self, LIVE, Row};
use super::stored::{Place, Stored};
use crate::fold::{Key, Micros};

/// The open tables; they have to be dropped before the commit.
pub(super) struct Tables<'a> {
    items: Table<'a, &'static str, &'static [u8]>,
    live: Table<'a, &'static str, Row>,
    calls: Table<'a, (&'static str, &'static str), ()>,
    due: Times<'a>,
    over: Times<'a>,
    /// An item on its way to its table.
    bytes: Vec<u8>,
}

/// A table of items by time.
struct Times<'a>(Table<'a, (i64, &'static str), ()>);

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, StateError> {
        Ok(Self {
            items: transaction.open_table(ITEMS).map_err(StateError::file)?,
            live: transaction.open_table(LIVE).map_err(StateError::file)?,
            calls: transaction.open_table(CALLS).map_err(StateError::file)?,
            due: Times(transaction.open_table(DUE).map_err(StateError::file)?),
            over: Times(transaction.open_table(OVER).map_err(StateError::file)?),
            bytes: Vec::new(),
        })
    }

    /// Writes an item, and updates its places in the tables.
    pub(super) fn item(&mut self, brief: &Brief, known: Option<&Place>, now: &Stored) -> Result<(), StateError> {
        let key = &brief.key;
        self.bytes.clear();
        serde_json::to_writer(&mut self.bytes, now).map_err(|error| StateError::Damaged(error.into()))?;
        self.items.insert(key.as_str(), &*self.bytes).map_err(StateError::file)?;
        if now.is_live() {
            self.live.insert(key.as_str(), short::of(brief, now.due.is_some())).map_err(StateError::file)?;
        } else if known.is_some_and(|known| known.is_live) {
            self.live.remove(key.as_str()).map_err(StateError::file)?;
        }
        self.belongs(key, known.and_then(|known| known.call.as_deref()), now.call.as_deref())?;
        self.due.moved(key, known.and_then(|known| known.due), now.due)?;
        self.over.moved(key, known.and_then(|known| known.over), now.over)
    }

    /// Removes an item.
    pub(super) fn forget(&mut self, key: &Key, known: &Stored) -> Result<(), StateError> {
        self.items.remove(key.as_str()).map_err(StateError::file)?;
        if known.is_live() {
            self.live.remove(key.as_str()).map_err(StateError::file)?;
        }
        self.belongs(key, known.call.as_deref(), None)?;
        self.due.moved(key, known.due, None)?;
        self.over.moved(key, known.over, None)
    }

    fn belongs(&mut self, key: &Key, was: Option<&str>, is: Option<&str>) -> Result<(), StateError> {
        if was == is {
            return Ok(());
        }
        if let Some(call) = was {
            self.calls.remove((call, key.as_str())).map_err(StateError::file)?;
        }
        if let Some(call) = is {
            self.calls.insert((call, key.as_str()), ()).map_err(StateError::file)?;
        }
        Ok(())
    }
}

impl Times<'_> {
    fn moved(&mut self, key: &Key, from: Option<Micros>, to: Option<Micros>) -> Result<(), StateError> {
        if from == to {
            return Ok(());
        }
        if let Some(from) = from {
            self.0.remove((from, key.as_str())).map_err(StateError::file)?;
        }
        if let Some(to) = to {
            self.0.insert((to, key.as_str()), ()).map_err(StateError::file)?;
        }
        Ok(())
    }
}
