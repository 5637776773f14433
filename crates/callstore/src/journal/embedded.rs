//! The journal of a single instance: a table of batches in a redb file, with group commit.
//!
//! One thread writes. What waits while a commit is on its way to the disk goes into the next one, up to [`BATCH`] entries: a single
//! writer never waits for others, and many share one flush. A row holds a whole batch under the offset of its first entry.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use redb::{Database, TableDefinition};
use stowage_base::tasks::Tasks;
use tokio::sync::{mpsc, oneshot, watch};

use super::rows::{self, Row};
use super::{Draft, Entries, Entry, Journal, JournalError, Offset};
use crate::fold::Micros;

/// Says how many bytes are free where the journal lies.
pub type Room = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// How the journal is kept.
#[derive(Clone)]
pub struct Options {
    /// The file; made when it is missing.
    pub path: PathBuf,
    /// So many bytes of the disk stay free: below that nothing is taken any more.
    pub reserve: u64,
    /// Says how many bytes are free; for tests, `None` asks the file system.
    pub room: Option<Room>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("path", &self.path).field("reserve", &self.reserve).finish_non_exhaustive()
    }
}

/// The journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    db: Arc<Database>,
    writer: mpsc::Sender<Job>,
    end: watch::Receiver<Offset>,
    tasks: Tasks,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("next", &*self.end.borrow()).finish_non_exhaustive()
    }
}

struct Job {
    drafts: Vec<Draft>,
    done: oneshot::Sender<Result<(), JournalError>>,
}

impl Embedded {
    /// Opens the journal; `tasks` tracks its writer and its readers.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] for a file that is no journal any more; nothing is repaired by guessing.
    pub fn open(options: &Options, tasks: &Tasks) -> Result<Self, JournalError> {
        if let Some(folder) = options.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| JournalError::Unavailable(error.into()))?;
        }
        let (db, next) = guarded(|| {
            let db = Database::builder().set_cache_size(CACHE).create(&options.path).map_err(opening)?;
            let next = rows::prepare(&db)?;
            Ok((db, next))
        })
        .unwrap_or_else(|reason| Err(JournalError::Damaged(reason.into())))?;
        let db = Arc::new(db);
        let (ends, end) = watch::channel(next);
        let (writer, jobs) = mpsc::channel(WAITING);
        let room = options.room.clone().unwrap_or_else(|| room_of(&options.path));
        let write = Writer { db: Arc::clone(&db), room, reserve: options.reserve, next, ends };
        drop(tasks.spawn("journal", async move {
            drop(tokio::task::spawn_blocking(move || write.run(jobs)).await);
        }));
        Ok(Self(Arc::new(Inner { db, writer, end, tasks: tasks.clone() })))
    }

    /// Forgets the entries before this offset, whole batches only.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub async fn trim(&self, before: Offset) -> Result<(), JournalError> {
        let db = Arc::clone(&self.0.db);
        on_a_thread(move || rows::trim(&db, before)).await
    }

    /// The first entry that is left; none where it is empty.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub async fn first(&self) -> Result<Option<(Offset, Micros)>, JournalError> {
        let db = Arc::clone(&self.0.db);
        on_a_thread(move || rows::first(&db)).await
    }

    /// The last offset before a time, to trim by age.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub async fn before(&self, time: Micros) -> Result<Option<Offset>, JournalError> {
        let db = Arc::clone(&self.0.db);
        on_a_thread(move || rows::before(&db, time)).await
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
        let (db, mut end) = (Arc::clone(&self.0.db), self.0.end.clone());
        let tasks = self.0.tasks.clone();
        let mut next = after.map_or(0, |after| after + 1);
        drop(self.0.tasks.spawn("reader of the journal", async move {
            loop {
                let known = *end.borrow_and_update();
                while next < known {
                    let db = Arc::clone(&db);
                    let read = on_a_thread(move || rows::read(&db, next, READ)).await;
                    let last =
                        read.as_ref().ok().and_then(|entries: &Vec<Entry>| entries.last().map(|last| last.offset));
                    let failed = read.is_err();
                    // A gap at the end of a trimmed journal: there is nothing before `known`.
                    if last.is_none() && !failed {
                        next = known;
                        continue;
                    }
                    tokio::select! {
                        sent = sender.send(read) => if sent.is_err() || failed { return },
                        () = tasks.stopping() => return,
                    }
                    next = last.map_or(known, |last| last + 1);
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

struct Writer {
    db: Arc<Database>,
    room: Room,
    reserve: u64,
    next: Offset,
    ends: watch::Sender<Offset>,
}

impl Writer {
    /// Writes until there is nobody left who could ask for it. It waits for the disk, on a thread of its own.
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let mut entries = job.drafts.len();
            let mut batch = vec![job];
            while entries < BATCH {
                let Ok(job) = jobs.try_recv() else { break };
                entries += job.drafts.len();
                batch.push(job);
            }
            self.commit(batch);
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let outcome = self.write(&jobs);
        let now_next = match &outcome {
            Ok(next) => *next,
            Err(_) => self.next,
        };
        self.next = now_next;
        // Before its writer is told: whoever asks for the end after that has to find its own entries before it.
        self.ends.send_if_modified(|end| std::mem::replace(end, now_next) != now_next);
        for job in jobs {
            let told = outcome.as_ref().map(drop).map_err(JournalError::again);
            // Whoever asked may have gone; the entries are there all the same.
            drop(job.done.send(told));
        }
    }

    fn write(&self, jobs: &[Job]) -> Result<Offset, JournalError> {
        let room = (self.room)().map_err(|error| JournalError::Unavailable(error.into()))?;
        if room < self.reserve {
            return Err(JournalError::Full);
        }
        let mut row = Row::begin(crate::clock::now());
        jobs.iter().flat_map(|job| &job.drafts).for_each(|draft| row.add(draft));
        let count = row.count();
        let transaction = self.db.begin_write().map_err(writing)?;
        {
            let mut table = transaction.open_table(table()).map_err(writing)?;
            table.insert(self.next, row.bytes()).map_err(writing)?;
        }
        transaction.commit().map_err(writing)?;
        Ok(self.next + count)
    }
}

/// Opens a file of redb, which asserts that its header and its length fit each other: one that was cut off makes it panic. The
/// outer error is what it said then.
pub(crate) fn guarded<T>(open: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).map_err(|panic| {
        let said =
            panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        said.unwrap_or_else(|| "the file is not what it was".to_owned())
    })
}

/// Runs what waits for the disk.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(JournalError::Unavailable(error.into())))
}

fn room_of(path: &Path) -> Room {
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    Arc::new(move || {
        let known = rustix::fs::statvfs(&folder)?;
        Ok(known.f_bavail.saturating_mul(known.f_frsize))
    })
}

pub(super) const fn table() -> TableDefinition<'static, u64, &'static [u8]> {
    TableDefinition::new("batches")
}

/// What opening failed of.
fn opening(error: redb::DatabaseError) -> JournalError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => JournalError::Unavailable(error.into()),
        redb::DatabaseError::Storage(error) => writing(error),
        error => JournalError::Damaged(error.into()),
    }
}

/// What reading or writing failed of.
pub(super) fn writing(error: impl Into<redb::Error>) -> JournalError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => JournalError::Full,
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            JournalError::Damaged(error.into())
        }
        error @ redb::Error::Corrupted(_) => JournalError::Damaged(error.into()),
        error => JournalError::Unavailable(error.into()),
    }
}

/// At so many entries a batch is closed.
const BATCH: usize = 256;
/// How many may wait to be written.
const WAITING: usize = 64;
/// How many batches a reader may be ahead of who takes them.
const AHEAD: usize = 4;
/// How many entries are read at once.
const READ: usize = 1024;
/// How much of the file is held in memory, in bytes.
const CACHE: usize = 4 << 20;
