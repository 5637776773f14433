//! The journal's files, each named after the offset of its first row.
//!
//! Only the newest file is written, and only that is read at a start, so that the start's duration does not depend on the journal's length. Old
//! entries are removed one file at a time, which frees their space immediately.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::row::{self, Head};
use super::writing;
use crate::fold::Micros;
use crate::journal::{JournalError, Offset};

/// The folder of the files.
#[derive(Debug)]
pub(super) struct Segments {
    path: PathBuf,
    /// Locked against a second process, and flushed after a file is created.
    folder: File,
    firsts: RwLock<BTreeSet<Offset>>,
}

/// The newest file and its end.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: File,
    /// The bytes of complete rows.
    pub(super) length: u64,
    /// Whether the file may continue past `length`.
    pub(super) is_torn: bool,
}

impl Segments {
    /// Opens or creates the folder; also returns the newest file and the next entry's offset.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Tail>, Offset), JournalError> {
        std::fs::create_dir_all(path).map_err(writing)?;
        let folder = File::open(path).map_err(writing)?;
        folder.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::Unavailable("another process has the journal".into()),
            TryLockError::Error(error) => writing(error),
        })?;
        let mut firsts = BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(writing)? {
            let name = entry.map_err(writing)?.file_name();
            firsts.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<Offset>().ok()));
        }
        let newest = firsts.last().copied();
        let segments = Self { path: path.to_path_buf(), folder, firsts: RwLock::new(firsts) };
        let Some(first) = newest else { return Ok((segments, None, 0)) };
        let file = File::options().read(true).write(true).open(segments.file(first)).map_err(writing)?;
        let (next, length) = end(&file, first)?;
        file.set_len(length).map_err(writing)?;
        // Data written by a killed process may not be on the disk yet, but counts as durable from here on.
        file.sync_data().map_err(writing)?;
        Ok((segments, Some(Tail { file, length, is_torn: false }), next))
    }

    /// Creates the file that begins with this offset.
    pub(super) fn begin(&self, first: Offset) -> io::Result<Tail> {
        // A file left by a failure contains no acknowledged entries.
        let file = File::options().read(true).write(true).create(true).truncate(true).open(self.file(first))?;
        self.folder.sync_all()?;
        self.firsts_mut().insert(first);
        Ok(Tail { file, length: 0, is_torn: false })
    }

    /// Returns the file with this offset or, if that was removed, the next one.
    pub(super) fn having(&self, offset: Offset) -> Option<Offset> {
        let firsts = self.firsts();
        firsts.range(..=offset).next_back().or_else(|| firsts.range(offset..).next()).copied()
    }

    /// Opens a file for reading.
    pub(super) fn read(&self, first: Offset) -> io::Result<File> {
        File::open(self.file(first))
    }

    /// Returns the first entry's offset, and when it was taken.
    pub(super) fn first(&self) -> Result<Option<(Offset, Micros)>, JournalError> {
        let Some(first) = self.firsts().first().copied() else { return Ok(None) };
        Ok(self.taken(first)?.map(|taken| (first, taken)))
    }

    /// Returns the last offset of the files whose entries were all taken before a time.
    pub(super) fn before(&self, time: Micros) -> Result<Option<Offset>, JournalError> {
        let firsts: Vec<_> = self.firsts().iter().skip(1).copied().collect();
        let mut last = None;
        for first in firsts {
            // The previous file's entries were taken before this file's first one.
            if self.taken(first)?.is_none_or(|taken| taken >= time) {
                break;
            }
            last = first.checked_sub(1);
        }
        Ok(last)
    }

    /// Removes files whose entries are all before this offset, except for the newest one, so that offsets never restart.
    pub(super) fn trim(&self, before: Offset) -> Result<(), JournalError> {
        let firsts: Vec<_> = self.firsts().iter().copied().collect();
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            if *next > before {
                break;
            }
            self.firsts_mut().remove(first);
            std::fs::remove_file(self.file(*first)).map_err(writing)?;
        }
        Ok(())
    }

    /// Returns when the first entry of a file was taken.
    fn taken(&self, first: Offset) -> Result<Option<Micros>, JournalError> {
        let file = self.read(first).map_err(writing)?;
        Ok(Head::read(&file, 0).map_err(writing)?.map(|head| head.taken))
    }

    fn file(&self, first: Offset) -> PathBuf {
        self.path.join(format!("{first:020}{SUFFIX}"))
    }

    fn firsts(&self) -> RwLockReadGuard<'_, BTreeSet<Offset>> {
        self.firsts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn firsts_mut(&self) -> RwLockWriteGuard<'_, BTreeSet<Offset>> {
        self.firsts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Segments {
    /// Unlocks explicitly: a child process being spawned shares the lock until it executes its program.
    fn drop(&mut self) {
        drop(self.folder.unlock());
    }
}

/// Returns the newest file's end: the next entry's offset, and the bytes of complete rows. Only a row left unfinished by a crash, which was never
/// acknowledged, is cut off.
fn end(file: &File, first: Offset) -> Result<(Offset, u64), JournalError> {
    let damaged = |what: &str| JournalError::Damaged(format!("the file from offset {first} on {what}").into());
    let (mut next, mut length) = (first, 0);
    loop {
        let head = Head::read(file, length).map_err(writing)?;
        let is_whole = match &head {
            Some(head) if head.first != next => return Err(damaged("has rows that do not follow each other")),
            Some(head) => head.rest(file, length).map_err(writing)?.is_some(),
            None => false,
        };
        if let Some(head) = head.filter(|_| is_whole) {
            next = head.next();
            length += head.size();
            continue;
        }
        let is_unfinished = row::is_unfinished(file, length).map_err(writing)?;
        if !is_unfinished || row::has_head_after(file, length).map_err(writing)? {
            return Err(damaged("is not what was written"));
        }
        return Ok((next, length));
    }
}

/// The suffix of the files' names.
const SUFFIX: &str = ".rows";
