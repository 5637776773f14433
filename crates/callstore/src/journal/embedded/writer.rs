//! The thread that writes the journal.

use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::row::Row;
use super::segments::{Segments, Tail};
use super::{Room, writing};
use crate::journal::{Draft, JournalError, Offset};

/// Entries to be written, and their waiter.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) drafts: Vec<Draft>,
    pub(super) done: oneshot::Sender<Result<(), JournalError>>,
}

/// The state of the writing thread.
pub(super) struct Writer {
    pub(super) segments: Arc<Segments>,
    /// The file being written; `None` until the first write to a new one.
    pub(super) tail: Option<Tail>,
    pub(super) room: Room,
    pub(super) reserve: u64,
    pub(super) segment: u64,
    /// The offset of the next entry.
    pub(super) next: Offset,
    pub(super) ends: watch::Sender<Offset>,
}

impl Writer {
    /// Writes until all senders of jobs are gone. This blocks on the disk, so it runs on a thread of its own.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let (mut drafts, mut waiting) = (job.drafts, vec![job.done]);
            let bytes = |drafts: &[Draft]| drafts.iter().map(|draft| draft.body.len()).sum::<usize>();
            let mut size = bytes(&drafts);
            while size < GROUP {
                let Ok(job) = jobs.try_recv() else { break };
                size += bytes(&job.drafts);
                drafts.extend(job.drafts);
                waiting.push(job.done);
            }
            self.commit(drafts, waiting);
        }
    }

    fn commit(&mut self, drafts: Vec<Draft>, waiting: Vec<oneshot::Sender<Result<(), JournalError>>>) {
        let count = drafts.len() as u64;
        let outcome = self.write(drafts);
        if outcome.is_ok() {
            self.next += count;
            // Announce the new end before replying: a client that then queries the end has to find its own entries before it.
            self.ends.send_replace(self.next);
        }
        for done in waiting {
            let told = outcome.as_ref().map(drop).map_err(JournalError::again);
            // The client may be gone; its entries are written all the same.
            drop(done.send(told));
        }
    }

    fn write(&mut self, drafts: Vec<Draft>) -> Result<(), JournalError> {
        if (self.room)().map_err(writing)? < self.reserve {
            return Err(JournalError::Full);
        }
        let row = Row::of(drafts, self.next, crate::clock::now())?;
        self.put(&row).map_err(writing)
    }

    /// Writes and flushes a row. The remains of a failed write are cut off before the next one, so that the journal recovers.
    fn put(&mut self, row: &Row) -> io::Result<()> {
        let mut tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.segments.begin(self.next)?,
        };
        let written = put(&mut tail, row);
        let is_over = written.is_ok() && tail.length >= self.segment;
        self.tail = Some(tail).filter(|_| !is_over);
        written
    }
}

fn put(tail: &mut Tail, row: &Row) -> io::Result<()> {
    if tail.is_torn {
        tail.file.set_len(tail.length)?;
    }
    tail.is_torn = true;
    tail.file.seek(SeekFrom::Start(tail.length))?;
    row.write(&mut tail.file)?;
    tail.file.sync_data()?;
    tail.is_torn = false;
    tail.length += row.size();
    Ok(())
}

/// The number of bytes at which a row is complete.
const GROUP: usize = 2 << 20;
