//! The journal of a single instance: files of rows in a folder, with group commit.
//!
//! One thread writes. What waits while a flush is on its way to the disk goes into the next one, up to 2 MiB: a single
//! writer never waits for others, and many share one flush. A row holds what one flush made safe.

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

/// Says how many bytes are free where the journal lies.
pub type Room = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// How the journal is kept.
#[derive(Clone)]
pub struct Options {
    /// The folder; made when it is missing.
    pub path: PathBuf,
    /// So many bytes of the disk stay free: below that nothing is taken any more.
    pub reserve: u64,
    /// At so many bytes a new file is begun.
    pub segment: u64,
    /// Says how many bytes are free; for tests, `None` asks the file system.
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

/// The journal; cheap to clone.
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
    /// Opens the journal; `tasks` tracks its writer and its readers.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] for files that are no journal any more; nothing is repaired by guessing.
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

    /// Forgets the entries before this offset, whole files only.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub async fn trim(&self, before: Offset) -> Result<(), JournalError> {
        let segments = Arc::clone(&self.0.segments);
        on_a_thread(move || segments.trim(before)).await
    }

    /// The first entry that is left, and when it was taken; none where it is empty.
    ///
    /// # Errors
    /// Where the files cannot be read.
    pub async fn first(&self) -> Result<Option<(Offset, Micros)>, JournalError> {
        let segments = Arc::clone(&self.0.segments);
        on_a_thread(move || segments.first()).await
    }

    /// The last offset before a time, to trim by age.
    ///
    /// # Errors
    /// Where the files cannot be read.
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
        Ok(self.0.end.borrow().checked_sub(1))
    }
}

/// Runs what waits for the disk.
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

/// What reading or writing failed of.
fn writing(error: io::Error) -> JournalError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full,
        _ => JournalError::Unavailable(error.into()),
    }
}

/// How large the files become, in bytes: a start reads the newest one, and room is given back a file at a time.
pub const SEGMENT: u64 = 32 << 20;
/// How many may wait to be written.
const WAITING: usize = 64;
/// How many batches a reader may be ahead of who takes them.
const AHEAD: usize = 4;
