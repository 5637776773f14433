//! A row of the journal: the entries that were flushed together, in the form that they have in a file.
//!
//! Head: magic, length of the rest, number of entries, offset of the first one, when they were taken, CRC-32 of the rest, CRC-32 of
//! the head. Then for each entry its length with the mark of a decision, then the entries themselves. Numbers are big-endian.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;

use bytes::{Buf, BufMut, Bytes};

use crate::fold::Micros;
use crate::journal::{Draft, Entry, JournalError, Offset};

/// What stands before the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes that follow.
    length: u32,
    /// How many entries there are, at least one.
    pub(super) count: u32,
    /// The first one's offset.
    pub(super) first: Offset,
    /// When they were taken.
    pub(super) taken: Micros,
    check: u32,
}

impl Head {
    /// `None` for what is no head, or not a whole one.
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

    /// The one at a place of a file; `None` where there is none.
    pub(super) fn read(file: &File, at: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD];
        let length = fill(file, &mut bytes, at)?;
        Ok(bytes.get(..length).and_then(Self::parse))
    }

    /// Bytes of the whole row.
    pub(super) const fn size(&self) -> u64 {
        HEAD as u64 + self.length as u64
    }

    /// The offset after its last entry.
    pub(super) fn next(&self) -> Offset {
        self.first + Offset::from(self.count)
    }

    /// What follows the head that stands at a place of a file; `None` where that is cut off or not what was written.
    pub(super) fn rest(&self, file: &File, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut rest = vec![0; self.length as usize];
        let length = fill(file, &mut rest, at + HEAD as u64)?;
        Ok(Some(rest).filter(|rest| length == rest.len() && crc32fast::hash(rest) == self.check))
    }

    /// The entries in this rest; `None` where it does not have so many.
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

/// What a row is made of, so that no entry is copied.
#[derive(Debug)]
pub(super) struct Row {
    /// The head, and the lengths.
    head: Vec<u8>,
    bodies: Vec<Bytes>,
    size: u64,
}

impl Row {
    /// Of at least one draft, and less than 4 GiB.
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

    /// Bytes that it takes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of it where the file stands.
    pub(super) fn write(&self, file: &mut File) -> io::Result<()> {
        let parts = std::iter::once(self.head.as_slice()).chain(self.bodies.iter().map(|body| &**body));
        let mut slices: Vec<_> = parts.map(IoSlice::new).collect();
        let mut left = slices.as_mut_slice();
        // Without what is empty already, so that nothing written means that nothing can be.
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

/// Reads until the buffer is full or the file ends; gives how much.
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

/// Whether what stands at a place of a file, where a row should begin, is what a crash leaves of one that was being written: a page of
/// it is there as it was written, or as zeros, or not at all.
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

/// Whether a whole head stands anywhere after a place of a file: then the row that is broken there was flushed once. No entry has a
/// head in it, as no JSON has zero bytes.
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

/// How each row begins; the last byte is the version of its form.
const MAGIC: [u8; 4] = [0, 0xff, b'r', 1];
/// Bytes of a head.
const HEAD: usize = 36;
/// What a disk's cache writes at once, in bytes.
const PAGE: u64 = 4096;
/// The bits that are the length of an entry.
const LENGTH: u32 = 0x7fff_ffff;
/// The bit that marks a decision.
const DECISION: u32 = 0x8000_0000;
