//! A reader's place in the journal.

use std::fs::File;
use std::sync::Arc;

use super::row::Head;
use super::segments::Segments;
use super::writing;
use crate::journal::{Entry, JournalError, Offset};

/// Where a reader is.
#[derive(Debug)]
pub(super) struct Cursor {
    segments: Arc<Segments>,
    /// The offset that is read next.
    pub(super) next: Offset,
    place: Option<Place>,
}

/// The row that is read next.
#[derive(Debug)]
struct Place {
    file: File,
    at: u64,
    first: Offset,
}

impl Cursor {
    /// Before this offset.
    pub(super) const fn new(segments: Arc<Segments>, next: Offset) -> Self {
        Self { segments, next, place: None }
    }

    /// Some entries, of at least one row, if there are some before `end`, which is the offset after those that are safe. What was trimmed
    /// is passed over.
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

    /// The row at the place where this is; none where a file is over, and this is at the next one.
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

    /// Opens the file that has what is next; one that is trimmed meanwhile is passed over.
    fn open(&mut self) -> Result<Place, JournalError> {
        loop {
            let first = self.segments.having(self.next).ok_or_else(|| damaged(self.next))?;
            match self.segments.read(first) {
                Ok(file) => {
                    self.next = self.next.max(first);
                    return Ok(Place { file, at: 0, first });
                }
                // Gone from the list before it is gone from the folder.
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

/// At so many entries a reading is closed,
const ENTRIES: usize = 1024;
/// and at so many bytes.
const BYTES: u64 = 2 << 20;
