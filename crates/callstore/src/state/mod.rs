//! The state of an instance: the fold of its journal, in a file of its own, with live items also in memory.
//!
//! The file may be lost: it is rebuilt from the journal. Commits are flushed only periodically; those lost in a crash are folded again from the
//! offset in the file.

mod apply;
mod brief;
mod closing;
mod decided;
mod file;
mod layout;
mod query;
mod short;
mod sites;
mod stored;
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use stowage_http::body::BoxError;
use tokio::sync::{broadcast, watch};

pub use apply::Applied;
pub use brief::{Brief, Dialogs, Index, Listed};
pub(crate) use closing::CDR;
pub use closing::{standing_of, talk_of};
pub use query::{Filter, Page, WithLegs};
pub use stored::{Meta, News, Node, Stored};

use crate::fold::{Key, Micros};
use crate::roles::Serves;
use brief::Names;
use file::File;

/// A change, for subscribers.
#[derive(Debug, Clone)]
pub struct Change {
    /// The item after the change.
    pub brief: Arc<Brief>,
    /// The event that caused the change.
    pub event: Box<str>,
}

/// The state; cheap to share.
#[derive(Debug)]
pub struct State {
    file: File,
    index: RwLock<Index>,
    hot: Mutex<Hot>,
    changes: broadcast::Sender<Change>,
    close_after: Duration,
    serves: Serves,
    names: Mutex<Names>,
    /// The states of other sites, which receive this site's decisions about their calls.
    others: BTreeMap<Box<str>, Arc<Self>>,
    adopted: watch::Sender<BTreeSet<Box<str>>>,
}

/// Recently used items, and the time of the last flush.
#[derive(Debug)]
struct Hot {
    items: HashMap<Key, Stored>,
    flushed: Instant,
    /// Whether all commits are flushed.
    is_flushed: bool,
}

impl State {
    /// Opens or creates the file. A dialog's record is due `close_after` its end.
    ///
    /// # Errors
    /// Returns [`StateError::Damaged`] for an invalid file.
    pub fn open(path: &Path, close_after: Duration) -> Result<Self, StateError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StateError::Unavailable(error.into()))?;
        }
        let file = File::open(path)?;
        let (changes, _) = broadcast::channel(CHANGES);
        let hot = Mutex::new(Hot { items: HashMap::new(), flushed: Instant::now(), is_flushed: true });
        let state = Self {
            file,
            index: RwLock::default(),
            hot,
            changes,
            close_after,
            serves: Serves::default(),
            names: Mutex::default(),
            others: BTreeMap::new(),
            adopted: watch::Sender::default(),
        };
        state.load()?;
        Ok(state)
    }

    /// Opens or creates the file; a damaged one is moved aside and replaced by an empty state, for which the caller folds the journal from its start.
    ///
    /// # Errors
    /// As for [`open`](Self::open), except for damaged files.
    pub fn open_or_begin_anew(path: &Path, close_after: Duration) -> Result<(Self, Option<PathBuf>), StateError> {
        match Self::open(path, close_after) {
            Err(StateError::Damaged(error)) => {
                let aside = path.with_extension(format!("damaged-{}", crate::clock::now() / 1_000_000));
                std::fs::rename(path, &aside).map_err(|error| StateError::Unavailable(error.into()))?;
                tracing::error!(%error, file = %path.display(), kept = %aside.display(), "the state is damaged; it is made anew from the journal");
                Ok((Self::open(path, close_after)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Restricts the calls that are followed to their ends, and whose records are written here.
    #[must_use]
    pub fn serving(mut self, serves: Serves) -> Self {
        let meta = self.file.read().and_then(|reading| reading.meta()).unwrap_or_default();
        self.index_mut().epoch = meta.epoch(serves.group());
        self.serves = serves;
        self
    }

    /// Loads live items into memory.
    fn load(&self) -> Result<(), StateError> {
        let reading = self.file.read()?;
        let meta = reading.meta()?;
        let mut index = self.index_mut();
        let mut names = self.names();
        index.clear();
        guarded(|| {
            reading.live(&mut names, |brief, is_due| {
                index.waiting += u64::from(is_due);
                index.add(Arc::new(brief));
            })
        })
        .unwrap_or_else(|reason| Err(StateError::Damaged(reason.into())))?;
        drop(names);
        self.adopted.send_replace(meta.adopted.clone());
        index.offset = meta.offset;
        index.taken = meta.taken;
        index.epoch = meta.epoch(self.serves.group());
        index.nodes = meta.nodes.iter().map(|(node, known)| (Arc::from(&**node), *known)).collect();
        Ok(())
    }

    /// Makes the file usable again after a failed write, such as on a full disk. Unflushed commits are lost; the journal has to be folded again from
    /// the new offset in [`index`](Self::index).
    ///
    /// # Errors
    /// If the file is still unusable.
    pub fn mend(&self) -> Result<(), StateError> {
        let mut hot = self.hot();
        if self.file.mend()? {
            *hot = Hot { items: HashMap::new(), flushed: Instant::now(), is_flushed: true };
            self.load()?;
        }
        Ok(())
    }

    /// Resets the position in the journal after that was recreated: its entries are merged with the known items.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn rewind(&self) -> Result<(), StateError> {
        let _hot = self.hot();
        let mut meta = self.file.read()?.meta()?;
        meta.rewind();
        let writing = self.file.write(true)?;
        writing.meta(&meta)?;
        writing.commit()?;
        self.index_mut().offset = None;
        Ok(())
    }

    /// Locks the in-memory index for reading; hold the lock only briefly.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to changes. A slow receiver is told how many it missed.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Returns a complete leg or dialog.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn item(&self, key: &Key) -> Result<Option<Stored>, StateError> {
        self.file.read()?.item(key)
    }

    /// Returns the items with due records, oldest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn due(&self, until: Micros, most: usize) -> Result<Vec<(Micros, Key)>, StateError> {
        self.due_after((Micros::MIN, ""), until, most)
    }

    /// Returns the items with due records, oldest first, after one of them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn due_after(
        &self,
        after: (Micros, &str),
        until: Micros,
        most: usize,
    ) -> Result<Vec<(Micros, Key)>, StateError> {
        self.file.read()?.due(after, until, most)
    }

    /// Returns the notices to be sent, oldest first, as ids and JSON.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn news(&self, most: usize) -> Result<Vec<News>, StateError> {
        self.file.read()?.news(most)
    }

    /// Removes items that ended before a time and are recorded; returns their number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn purge(&self, before: Micros) -> Result<usize, StateError> {
        let (mut count, mut after) = (0, (Micros::MIN, String::new()));
        loop {
            let mut hot = self.hot();
            let reading = self.file.read()?;
            let old = reading.long_over((after.0, after.1.as_str()), before, PURGE)?;
            // Go on behind what has to stay: it may be more than a commit's worth.
            let Some((at, key)) = old.last() else { break };
            after = (*at, key.as_str().to_owned());
            let writing = self.file.write(false)?;
            let mut tables = writing.tables()?;
            for (_, key) in old {
                let Some(stored) = reading.item(&key)?.filter(|stored| stored.due.is_none()) else { continue };
                // A dialog whose record is pending still needs its legs.
                let dialogs =
                    ["dialog", "alone"].iter().flat_map(|kind| stored.item.linked(kind)).cloned().collect::<Vec<_>>();
                if wants(&reading, &dialogs)? {
                    continue;
                }
                tables.forget(&key, &stored)?;
                hot.items.remove(&key);
                count += 1;
            }
            drop(tables);
            writing.commit()?;
        }
        self.names().forget();
        Ok(count)
    }
}

/// Returns whether one of these dialogs is live or waits for its record.
fn wants(reading: &file::Reading, dialogs: &[Key]) -> Result<bool, StateError> {
    for dialog in dialogs {
        if reading.item(dialog)?.is_some_and(|dialog| dialog.due.is_some() || dialog.over.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens or reads a file of redb. redb asserts that the header fits the length, and that values are of their type, so a damaged file makes it
/// panic. The outer error is the text of that panic.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).map_err(|panic| {
        let said =
            panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        said.unwrap_or_else(|| "the file is not what it was".to_owned())
    })
}

/// An error of the state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is damaged.
    #[error("the state file is damaged")]
    Damaged(#[source] BoxError),
    /// The file is currently unreadable or unwritable.
    #[error("the state file cannot be used now")]
    Unavailable(#[source] BoxError),
}

impl StateError {
    fn opening(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Unavailable(error.into()),
            redb::DatabaseError::Storage(error) => Self::file(error),
            error => Self::Damaged(error.into()),
        }
    }

    fn file(error: impl Into<redb::Error>) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error.into() {
            redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
                Self::Damaged(error.into())
            }
            error @ (redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. }) => Self::Damaged(error.into()),
            error => Self::Unavailable(error.into()),
        }
    }
}

/// The number of changes buffered for a slow subscriber.
const CHANGES: usize = 1024;
/// The maximum number of items looked at, and removed, per commit.
const PURGE: usize = 1000;
