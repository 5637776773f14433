//! A reader's position in the journal.

use std::fs::File;
use std::sync::Arc;

use super::row::Head;
use super::segments::Segments;
use super::writing;
use crate::journal::{Entry, JournalError, Offset};

/// A reader's position.
#[derive(Debug)]
pub(super) struct Cursor {
    segments: Arc<Segments>,
    /// The offset to be read next.
    pub(super) next: Offset,
    place: Option<Place>,
}

/// The place of the row to be read next.
#[derive(Debug)]
struct Place {
    file: File,
    at: u64,
    first: Offset,
}

impl Cursor {
    /// Creates a cursor before this offset.
    pub(super) const fn new(segments: Arc<Segments>, next: Offset) -> Self {
        Self { segments, next, place: None }
    }

    /// Reads at least one row's entries if there are any before `end`, the offset after the durable ones. Trimmed entries are skipped.
    pub(super) fn read(&mut self, end: Offset) -> Result<Vec<Entry>, JournalError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        while self.next < end && found.len() < ENTRIES && bytes < BYTES {
            let Some((head, file, at)) = self.row()? else { continue };
            if head.next() > self.next {
                let rest = head.rest(&file, at).map_err(writing)?;
                let entries = rest.and_then(|rest| head.entries(rest)).ok_or_else(|| damaged(head.first))?;
                found.extend(entries.into_iter().filter(|entry| entry.offset >= self.next));
                bytes += head.size();
                self.next = head.next();
            }
            self.place = Some(Place { file, at: at + head.size(), first: head.next() });
        }
        Ok(found)
    }

    /// Reads the head of the next row. Returns `None` at the end of a file, and moves to the next file.
    fn row(&mut self) -> Result<Option<(Head, File, u64)>, JournalError> {
        let Place { file, at, first } = match self.place.take() {
            Some(place) => place,
            None => self.open()?,
        };
        match Head::read(&file, at).map_err(writing)? {
            Some(head) if head.first == first => Ok(Some((head, file, at))),
            None if at == file.metadata().map_err(writing)?.len() && self.segments.having(first) >= Some(first) => {
                self.next = self.next.max(first);
                Ok(None)
            }
            _ => Err(damaged(first)),
        }
    }

    /// Opens the file with the next entry; skips one that is trimmed meanwhile.
    fn open(&mut self) -> Result<Place, JournalError> {
        loop {
            let first = self.segments.having(self.next).ok_or_else(|| damaged(self.next))?;
            match self.segments.read(first) {
                Ok(file) => {
                    self.next = self.next.max(first);
                    return Ok(Place { file, at: 0, first });
                }
                // Trimming removes a file from the list first, then from the folder.
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound
                        && self.segments.having(self.next) != Some(first) => {}
                Err(error) => return Err(writing(error)),
            }
        }
    }
}

fn damaged(first: Offset) -> JournalError {
    JournalError::Damaged(format!("the batch at {first} is not what was written").into())
}

/// The number of entries after which a batch is complete.
const ENTRIES: usize = 1024;
/// The number of bytes after which a batch is complete.
const BYTES: u64 = 2 << 20;
