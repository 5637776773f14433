//! A row of the journal, the entries of one flush, and its encoding in a file.
//!
//! Head: magic, length of the rest, number of entries, offset of the first entry, time of taking them, CRC-32 of the rest, CRC-32 of the head. Rest:
//! the length of each entry with the decision bit, then the entries themselves. Numbers are big-endian.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;

use bytes::{Buf, BufMut, Bytes};

use crate::fold::Micros;
use crate::journal::{Draft, Entry, JournalError, Offset};

/// The head of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The length of the rest in bytes.
    length: u32,
    /// The number of entries, at least one.
    pub(super) count: u32,
    /// The offset of the first entry.
    pub(super) first: Offset,
    /// When the entries were taken.
    pub(super) taken: Micros,
    check: u32,
}

impl Head {
    /// Parses a head. Returns `None` for an invalid or incomplete one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (covered, mut check) = bytes.get(..HEAD)?.split_at_checked(HEAD - 4)?;
        if check.get_u32() != crc32fast::hash(covered) {
            return None;
        }
        let mut fields = covered.strip_prefix(&MAGIC)?;
        Some(Self {
            length: fields.get_u32(),
            count: fields.get_u32(),
            first: fields.get_u64(),
            taken: fields.get_i64(),
            check: fields.get_u32(),
        })
    }

    /// Reads the head at a position in a file; `None` if there is none.
    pub(super) fn read(file: &File, at: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD];
        let length = fill(file, &mut bytes, at)?;
        Ok(bytes.get(..length).and_then(Self::parse))
    }

    /// Returns the size of the whole row in bytes.
    pub(super) const fn size(&self) -> u64 {
        HEAD as u64 + self.length as u64
    }

    /// Returns the offset after the last entry.
    pub(super) fn next(&self) -> Offset {
        self.first + Offset::from(self.count)
    }

    /// Reads the rest of the row whose head is at this position; `None` if it is truncated or corrupt.
    pub(super) fn rest(&self, file: &File, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut rest = vec![0; self.length as usize];
        let length = fill(file, &mut rest, at + HEAD as u64)?;
        Ok(Some(rest).filter(|rest| length == rest.len() && crc32fast::hash(rest) == self.check))
    }

    /// Splits the rest into entries; `None` if it has too few.
    pub(super) fn entries(&self, rest: Vec<u8>) -> Option<Vec<Entry>> {
        let mut bodies = Bytes::from(rest);
        let mut lengths = bodies.split_to(Some(self.count as usize * 4).filter(|table| *table <= bodies.len())?);
        let mut found = Vec::with_capacity(self.count as usize);
        for offset in self.first..self.next() {
            let word = lengths.try_get_u32().ok()?;
            let length = Some((word & LENGTH) as usize).filter(|length| *length <= bodies.len())?;
            let body = bodies.split_to(length);
            found.push(Entry { offset, taken: self.taken, body, is_decision: word & DECISION != 0 });
        }
        Some(found)
    }
}

/// The parts of a row; entries are not copied.
#[derive(Debug)]
pub(super) struct Row {
    /// The encoded head and lengths.
    head: Vec<u8>,
    bodies: Vec<Bytes>,
    size: u64,
}

impl Row {
    /// Creates a row from at least one draft, of less than 4 GiB in total.
    pub(super) fn of(drafts: Vec<Draft>, first: Offset, taken: Micros) -> Result<Self, JournalError> {
        let too_much = |_| JournalError::Unavailable("these are too many entries at once".into());
        let count = u32::try_from(drafts.len()).map_err(too_much)?;
        let mut lengths = Vec::with_capacity(drafts.len() * 4);
        let mut size = drafts.len() * 4;
        for draft in &drafts {
            let length = u32::try_from(draft.body.len()).ok().filter(|length| length & LENGTH == *length);
            let length = length.ok_or_else(|| JournalError::Unavailable("an entry is too long".into()))?;
            lengths.put_u32(if draft.is_decision { length | DECISION } else { length });
            size += draft.body.len();
        }
        let length = u32::try_from(size).map_err(too_much)?;
        let bodies: Vec<_> = drafts.into_iter().map(|draft| draft.body).collect();
        let mut check = crc32fast::Hasher::new();
        check.update(&lengths);
        bodies.iter().for_each(|body| check.update(body));
        let mut head = Vec::with_capacity(HEAD + lengths.len());
        head.extend_from_slice(&MAGIC);
        head.put_u32(length);
        head.put_u32(count);
        head.put_u64(first);
        head.put_i64(taken);
        head.put_u32(check.finalize());
        let check = crc32fast::hash(&head);
        head.put_u32(check);
        head.extend_from_slice(&lengths);
        Ok(Self { head, bodies, size: HEAD as u64 + u64::from(length) })
    }

    /// Returns the size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Writes the row at the file's position.
    pub(super) fn write(&self, file: &mut File) -> io::Result<()> {
        let parts = std::iter::once(self.head.as_slice()).chain(self.bodies.iter().map(|body| &**body));
        let mut slices: Vec<_> = parts.map(IoSlice::new).collect();
        let mut left = slices.as_mut_slice();
        // Drop empty slices, so that a write of zero bytes is an error.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends; returns the number of bytes.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(left) = buffer.get_mut(filled..).filter(|left| !left.is_empty()) {
        match file.read_at(left, at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns whether the data at a position where a row should begin is a row that a crash left unfinished: each page of it is written, or all zeros,
/// or missing.
pub(super) fn is_unfinished(file: &File, at: u64) -> io::Result<bool> {
    let mut bytes = [0; HEAD];
    let length = fill(file, &mut bytes, at)?;
    let head = bytes.get(..length).unwrap_or_default();
    if length < HEAD || Head::parse(head).is_some() {
        return Ok(true);
    }
    let page = usize::try_from(PAGE - at % PAGE).unwrap_or(HEAD).min(HEAD);
    let (left, right) = head.split_at_checked(page).unwrap_or((head, &[]));
    let is_blank = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| *byte == 0);
    Ok(is_blank(left) || is_blank(right))
}

/// Returns whether a complete head follows anywhere after a position, in which case the broken row there had been flushed. Entries cannot contain a
/// head, since JSON has no zero bytes.
pub(super) fn has_head_after(file: &File, at: u64) -> io::Result<bool> {
    let size = usize::try_from(file.metadata()?.len().saturating_sub(at + 1)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    let length = fill(file, &mut bytes, at + 1)?;
    let bytes = bytes.get(..length).unwrap_or_default();
    let is_head = |(place, window): (usize, &[u8])| {
        window == MAGIC && bytes.get(place..).is_some_and(|bytes| Head::parse(bytes).is_some())
    };
    Ok(bytes.windows(MAGIC.len()).enumerate().any(is_head))
}

/// The magic of a row; the last byte is the version of the encoding.
const MAGIC: [u8; 4] = [0, 0xff, b'r', 1];
/// The size of a head in bytes.
const HEAD: usize = 36;
/// The unit in which a disk's cache is written, in bytes.
const PAGE: u64 = 4096;
/// The bits of an entry's length.
const LENGTH: u32 = 0x7fff_ffff;
/// The decision bit.
const DECISION: u32 = 0x8000_0000;
