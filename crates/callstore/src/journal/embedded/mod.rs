//! The journal of a single instance: files of rows in a folder, with group commit.
//!
//! One thread writes. Entries that arrive during a flush go into the next one, up to 2 MiB: a single client never waits for others, and many share
//! one flush. A row contains the entries of one flush.

mod cursor;
mod row;
mod segments;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use stowage_base::tasks::Tasks;
use tokio::sync::{mpsc, oneshot, watch};

use self::cursor::Cursor;
use self::segments::Segments;
use self::writer::{Job, Writer};
use super::{Draft, Entries, Journal, JournalError, Offset};
use crate::fold::Micros;

/// Returns the free bytes on the journal's disk.
pub type Room = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// The options of the journal.
#[derive(Clone)]
pub struct Options {
    /// The folder, created if missing.
    pub path: PathBuf,
    /// The bytes of the disk to keep free: with fewer left, no entries are accepted.
    pub reserve: u64,
    /// The size in bytes at which a new file is begun.
    pub segment: u64,
    /// Returns the free bytes on the disk; `None` queries the file system, others are for tests.
    pub room: Option<Room>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("reserve", &self.reserve)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

/// The embedded journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    segments: Arc<Segments>,
    writer: mpsc::Sender<Job>,
    end: watch::Receiver<Offset>,
    tasks: Tasks,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("next", &*self.end.borrow()).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the journal; `tasks` tracks its writer and readers.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] for invalid files, which are never repaired by guessing.
    pub fn open(options: &Options, tasks: &Tasks) -> Result<Self, JournalError> {
        let (segments, tail, next) = Segments::open(&options.path)?;
        let segments = Arc::new(segments);
        let (ends, end) = watch::channel(next);
        let (writer, jobs) = mpsc::channel(WAITING);
        let room = options.room.clone().unwrap_or_else(|| room_of(&options.path));
        let (reserve, segment) = (options.reserve, options.segment);
        let write = Writer { segments: Arc::clone(&segments), tail, room, reserve, segment, next, ends };
        drop(tasks.spawn("journal", async move {
            drop(tokio::task::spawn_blocking(move || write.run(jobs)).await);
        }));
        Ok(Self(Arc::new(Inner { segments, writer, end, tasks: tasks.clone() })))
    }

    /// Removes entries before this offset, in whole files only.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub async fn trim(&self, before: Offset) -> Result<(), JournalError> {
        let segments = Arc::clone(&self.0.segments);
        on_a_thread(move || segments.trim(before)).await
    }

    /// Returns the first entry's offset, and when it was taken; `None` if the journal is empty.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub async fn first(&self) -> Result<Option<(Offset, Micros)>, JournalError> {
        let segments = Arc::clone(&self.0.segments);
        on_a_thread(move || segments.first()).await
    }

    /// Returns the last offset before a time, for trimming by age.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub async fn before(&self, time: Micros) -> Result<Option<Offset>, JournalError> {
        let segments = Arc::clone(&self.0.segments);
        on_a_thread(move || segments.before(time)).await
    }
}

#[async_trait]
impl Journal for Embedded {
    async fn append(&self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        if drafts.is_empty() {
            return Ok(());
        }
        let (done, outcome) = oneshot::channel();
        let gone = || JournalError::Unavailable("the journal has been closed".into());
        self.0.writer.send(Job { drafts, done }).await.map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn follow(&self, after: Option<Offset>) -> Result<Entries, JournalError> {
        let (sender, entries) = mpsc::channel(AHEAD);
        let mut end = self.0.end.clone();
        let tasks = self.0.tasks.clone();
        let mut cursor = Cursor::new(Arc::clone(&self.0.segments), after.map_or(0, |after| after + 1));
        drop(self.0.tasks.spawn("reader of the journal", async move {
            loop {
                let known = *end.borrow_and_update();
                while cursor.next < known {
                    let read = on_a_thread(move || Ok((cursor.read(known), cursor)));
                    let (read, back) = match read.await {
                        Ok((read, back)) => (read, Some(back)),
                        Err(error) => (Err(error), None),
                    };
                    let failed = read.is_err();
                    tokio::select! {
                        sent = sender.send(read) => if sent.is_err() || failed { return },
                        () = tasks.stopping() => return,
                    }
                    let Some(back) = back else { return };
                    cursor = back;
                }
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                    () = tasks.stopping() => return,
                }
            }
        }));
        Ok(entries)
    }

    async fn end(&self) -> Result<Option<Offset>, JournalError> {
        Ok(self.last_known())
    }

    fn last_known(&self) -> Option<Offset> {
        self.0.end.borrow().checked_sub(1)
    }
}

/// Runs blocking disk operations.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(JournalError::Unavailable(error.into())))
}

fn room_of(folder: &Path) -> Room {
    let folder = folder.to_path_buf();
    Arc::new(move || {
        let known = rustix::fs::statvfs(&folder)?;
        Ok(known.f_bavail.saturating_mul(known.f_frsize))
    })
}

/// Converts an I/O error.
fn writing(error: io::Error) -> JournalError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full,
        _ => JournalError::Unavailable(error.into()),
    }
}

/// The maximum size of a file, in bytes: a start reads the newest file, and space is freed one file at a time.
pub const SEGMENT: u64 = 32 << 20;
/// The capacity of the writer's queue.
const WAITING: usize = 64;
/// The number of batches read ahead of a consumer.
const AHEAD: usize = 4;
