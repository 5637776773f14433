//! The rows of the embedded journal: a batch of entries each.

use bytes::{Buf, Bytes};
use redb::{Database, ReadableTable, ReadableTableMetadata};

use super::embedded::{table, writing};
use super::{Draft, Entry, JournalError, Offset};
use crate::fold::Micros;

/// A batch as it is stored: when it was taken, then for each entry its length with the mark of a decision, and its bytes.
#[derive(Debug)]
pub(super) struct Row {
    bytes: Vec<u8>,
    count: u64,
}

impl Row {
    pub(super) fn begin(taken: Micros) -> Self {
        Self { bytes: taken.to_be_bytes().to_vec(), count: 0 }
    }

    pub(super) fn add(&mut self, draft: &Draft) {
        let length = u32::try_from(draft.body.len()).unwrap_or(u32::MAX) & LENGTH;
        let mark = if draft.is_decision { DECISION } else { 0 };
        self.bytes.extend_from_slice(&(length | mark).to_be_bytes());
        self.bytes.extend_from_slice(draft.body.get(..length as usize).unwrap_or_default());
        self.count += 1;
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The entries of a row, after the first `skip`.
fn entries(first: Offset, row: &[u8], skip: u64) -> Result<Vec<Entry>, JournalError> {
    let damaged = || JournalError::Damaged(format!("the batch at {first} is cut off").into());
    let mut row = Bytes::copy_from_slice(row);
    let taken = row.try_get_i64().map_err(|_| damaged())?;
    let (mut found, mut offset) = (Vec::new(), first);
    while row.has_remaining() {
        let head = row.try_get_u32().map_err(|_| damaged())?;
        let length = (head & LENGTH) as usize;
        if row.len() < length {
            return Err(damaged());
        }
        let body = row.split_to(length);
        if offset >= first + skip {
            found.push(Entry { offset, taken, body, is_decision: head & DECISION != 0 });
        }
        offset += 1;
    }
    Ok(found)
}

/// How many entries a row has.
fn count(first: Offset, row: &[u8]) -> Result<u64, JournalError> {
    entries(first, row, 0).map(|entries| entries.len() as u64)
}

/// Makes the table, and gives the offset of the next entry.
pub(super) fn prepare(db: &Database) -> Result<Offset, JournalError> {
    let transaction = db.begin_write().map_err(writing)?;
    let next = {
        let table = transaction.open_table(table()).map_err(writing)?;
        let last = table.last().map_err(writing)?;
        match last {
            None => 0,
            Some((first, row)) => first.value() + count(first.value(), row.value())?,
        }
    };
    transaction.commit().map_err(writing)?;
    Ok(next)
}

/// At least one batch from this offset on, up to about `most` entries.
pub(super) fn read(db: &Database, from: Offset, most: usize) -> Result<Vec<Entry>, JournalError> {
    let transaction = db.begin_read().map_err(writing)?;
    let table = transaction.open_table(table()).map_err(writing)?;
    let begin = table.range(..=from).map_err(writing)?.next_back();
    let begin = begin.transpose().map_err(writing)?.map_or(from, |(first, _)| first.value());
    let mut found = Vec::new();
    for row in table.range(begin..).map_err(writing)? {
        let (first, row) = row.map_err(writing)?;
        found.extend(entries(first.value(), row.value(), from.saturating_sub(first.value()))?);
        if found.len() >= most {
            break;
        }
    }
    Ok(found)
}

/// The first entry.
pub(super) fn first(db: &Database) -> Result<Option<(Offset, Micros)>, JournalError> {
    let transaction = db.begin_read().map_err(writing)?;
    let table = transaction.open_table(table()).map_err(writing)?;
    let first = table.first().map_err(writing)?;
    Ok(first.and_then(|(offset, row)| Some((offset.value(), row.value().try_get_i64().ok()?))))
}

/// The last offset of the batches that were taken before a time; the newest batch stays, so that offsets never begin anew.
pub(super) fn before(db: &Database, time: Micros) -> Result<Option<Offset>, JournalError> {
    let transaction = db.begin_read().map_err(writing)?;
    let table = transaction.open_table(table()).map_err(writing)?;
    if table.len().map_err(writing)? < 2 {
        return Ok(None);
    }
    let mut last = None;
    for row in table.iter().map_err(writing)? {
        let (first, row) = row.map_err(writing)?;
        let Ok(taken) = row.value().try_get_i64() else { break };
        if taken >= time {
            return Ok(last.or_else(|| first.value().checked_sub(1)).filter(|_| last.is_some()));
        }
        last = first.value().checked_sub(1).or(last);
    }
    Ok(last)
}

/// Forgets batches whose entries are all before this offset.
pub(super) fn trim(db: &Database, before: Offset) -> Result<(), JournalError> {
    let transaction = db.begin_write().map_err(writing)?;
    {
        let mut table = transaction.open_table(table()).map_err(writing)?;
        // The batch that the offset lies in, and the newest one, stay.
        let keep = table.range(..=before).map_err(writing)?.next_back().transpose().map_err(writing)?;
        let keep = keep.map(|(first, _)| first.value());
        if let Some(keep) = keep {
            table.retain_in(..keep, |_, _| false).map_err(writing)?;
        }
    }
    transaction.commit().map_err(writing)
}

/// The bits that are the length of an entry.
const LENGTH: u32 = 0x7fff_ffff;
/// The bit that marks a decision.
const DECISION: u32 = 0x8000_0000;
