//! Finds documents in CouchDB's JSON responses as they stream through.
//!
//! Everything outside documents passes unchanged, in the pieces it arrived in. A document is buffered up to its
//! `_attachments`, which CouchDB always emits last (`couch_doc:to_json_obj`): it may contain inline data of any size, and is therefore
//! delivered entry by entry, with each value in pieces. Nothing else is ever buffered, and nothing recurses.

mod finder;
mod guard;
mod position;
mod walk;
mod words;

use std::borrow::Cow;

use bytes::{Buf as _, Bytes, BytesMut};

pub use finder::{Finder, Text};
pub use guard::Guard;
use position::Position;
pub use position::{Path, Step};
use walk::{Skip, Token, Walker};
pub use words::{Words, mentions_pointers};

/// The next piece of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes to pass on.
    Pass(Bytes),
    /// A document without `_attachments`.
    Document(Bytes),
    /// The start of a document: `{` and the members before `_attachments`, including the trailing comma; and the bytes from there to the
    /// first entry.
    Begin(Bytes, Bytes),
    /// An entry of `_attachments`: its name as written, quoted.
    Entry(Bytes),
    /// Bytes of the entry's value.
    Value(Bytes),
    /// Bytes after the `}` of `_attachments`, up to the document's own `}`.
    End(Bytes),
}

/// Why a response cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A document exceeds the size limit, not counting inline data.
    #[error("a document in the answer is larger than limits.document_bytes")]
    TooLarge,
    /// `pvt_attachments` comes after `_attachments`.
    #[error("a document in the answer has its attachments before its own members")]
    Order,
    /// The response ended within a document.
    #[error("the answer ended in the middle of a document")]
    Cut,
    /// The response contains pointers in a place that cannot be rewritten.
    #[error("the answer says where attachments are stored, and is in no form that hides it")]
    Pointers,
}

/// Splits a response into events.
#[derive(Debug)]
pub struct Scanner {
    limit: usize,
    input: Bytes,
    phase: Phase,
    /// Position of the bytes outside documents.
    position: Position,
    /// Walks the current document.
    walker: Walker,
    held: BytesMut,
    /// Start of the current key in `held`.
    key_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Outside,
    /// In a document, before its `_attachments`.
    Head,
    /// In `_attachments`, between values.
    Entries,
    /// In an entry's value.
    Value,
    /// After `_attachments`.
    Tail,
    /// In a document that passes unchanged.
    Passing,
}

impl Scanner {
    /// `limit` is the maximum number of buffered bytes of a document.
    #[must_use]
    pub fn new(paths: &'static [Path], limit: u64) -> Self {
        Self {
            position: Position::new(paths),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            input: Bytes::new(),
            phase: Phase::Outside,
            walker: Walker::default(),
            held: BytesMut::new(),
            key_at: 0,
        }
    }

    /// Provides more bytes, after [`Self::event`] has returned `None`.
    pub fn feed(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "what was given before is not read");
        self.input = bytes;
    }

    /// Returns the next event; `None` if more bytes are needed.
    ///
    /// # Errors
    /// See [`Fault`]; nothing can be read after an error.
    pub fn event(&mut self) -> Result<Option<Event>, Fault> {
        while !self.input.is_empty() {
            let event = match self.phase {
                Phase::Outside => self.outside(),
                Phase::Head => self.head()?,
                Phase::Entries => self.entries()?,
                Phase::Value => self.value(),
                Phase::Tail => self.tail()?,
                Phase::Passing => Some(self.passing()?),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Passes the rest of the document unchanged. Called after [`Event::Begin`].
    pub fn pass_on(&mut self) {
        if self.phase == Phase::Entries {
            self.phase = Phase::Passing;
            self.walker = Walker::behind_value();
            self.walker.skip(Skip::container());
        }
    }

    /// Checks that the response is complete. Called at the end.
    ///
    /// # Errors
    /// [`Fault::Cut`]
    pub fn ended(&self) -> Result<(), Fault> {
        if self.phase == Phase::Outside { Ok(()) } else { Err(Fault::Cut) }
    }

    /// Returns the index of the current value in the outermost list, which is its row or result.
    #[must_use]
    pub fn row(&self) -> usize {
        self.position.row()
    }

    fn outside(&mut self) -> Option<Event> {
        let mut next = 0;
        loop {
            let index = next + self.position.idle(self.input.get(next..).unwrap_or_default());
            let Some(byte) = self.input.get(index).copied() else { break };
            next = index + 1;
            if byte == b'{' && self.position.is_document() {
                if index > 0 {
                    return Some(Event::Pass(self.input.split_to(index)));
                }
                self.input.advance(1);
                self.held.extend_from_slice(b"{");
                (self.phase, self.walker) = (Phase::Head, Walker::in_object());
                return None;
            }
            self.position.step(byte);
        }
        Some(Event::Pass(std::mem::take(&mut self.input)))
    }

    /// Returns the next significant byte of a document from `next` on, and its position.
    fn seek(&self, next: &mut usize) -> Option<(usize, u8)> {
        let index = *next + self.walker.idle(self.input.get(*next..).unwrap_or_default());
        let byte = self.input.get(index).copied()?;
        *next = index + 1;
        Some((index, byte))
    }

    fn hold(&mut self, count: usize) -> Result<(), Fault> {
        let bytes = self.input.split_to(count);
        if self.held.len() + bytes.len() > self.limit {
            return Err(Fault::TooLarge);
        }
        self.held.extend_from_slice(&bytes);
        Ok(())
    }

    fn head(&mut self) -> Result<Option<Event>, Fault> {
        let mut next = 0;
        while let Some((index, byte)) = self.seek(&mut next) {
            match self.walker.eat(byte, false) {
                Token::KeyBegins => self.key_at = self.held.len() + index,
                Token::Open if byte == b'{' && self.walker.key_is(ATTACHMENTS) => {
                    self.hold(index + 1)?;
                    let head = self.held.split_to(self.key_at).freeze();
                    let opening = self.held.split().freeze();
                    (self.phase, self.walker) = (Phase::Entries, Walker::in_object());
                    return Ok(Some(Event::Begin(head, opening)));
                }
                Token::Open => self.walker.skip(Skip::container()),
                Token::Close => {
                    self.hold(index + 1)?;
                    self.leave();
                    return Ok(Some(Event::Document(self.held.split().freeze())));
                }
                Token::Key | Token::Comma | Token::Nothing => {}
            }
        }
        self.hold(self.input.len())?;
        Ok(None)
    }

    /// Leaves the document at its end.
    fn leave(&mut self) {
        self.phase = Phase::Outside;
        self.position.passed();
    }

    fn entries(&mut self) -> Result<Option<Event>, Fault> {
        while let Some(byte) = self.input.first().copied() {
            if self.walker.is_at_value() && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':' | b',' | b'}') {
                self.phase = Phase::Value;
                return Ok(Some(Event::Entry(self.held.split().freeze())));
            }
            let token = self.walker.eat(byte, false);
            if token == Token::KeyBegins || token == Token::Key || self.walker.is_in_key() {
                self.hold(1)?;
                continue;
            }
            self.input.advance(1);
            if token == Token::Close {
                (self.phase, self.walker) = (Phase::Tail, Walker::behind_value());
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn value(&mut self) -> Option<Event> {
        let mut next = 0;
        while let Some((index, byte)) = self.seek(&mut next) {
            // A number or literal ends at the next delimiter.
            if self.walker.is_at_value() && matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n') {
                self.phase = Phase::Entries;
                self.walker = Walker::behind_value();
                return (index > 0).then(|| Event::Value(self.input.split_to(index)));
            }
            if self.walker.eat(byte, false) == Token::Open {
                self.walker.skip(Skip::container());
            }
        }
        Some(Event::Value(std::mem::take(&mut self.input)))
    }

    fn tail(&mut self) -> Result<Option<Event>, Fault> {
        let mut next = 0;
        while let Some((index, byte)) = self.seek(&mut next) {
            if self.behind(byte)? {
                self.hold(index + 1)?;
                self.leave();
                return Ok(Some(Event::End(self.held.split().freeze())));
            }
        }
        self.hold(self.input.len())?;
        Ok(None)
    }

    fn passing(&mut self) -> Result<Event, Fault> {
        let mut next = 0;
        while let Some((index, byte)) = self.seek(&mut next) {
            if self.behind(byte)? {
                self.leave();
                return Ok(Event::Pass(self.input.split_to(index + 1)));
            }
        }
        Ok(Event::Pass(std::mem::take(&mut self.input)))
    }

    /// Processes one byte after `_attachments`; returns whether it ends the document.
    fn behind(&mut self, byte: u8) -> Result<bool, Fault> {
        match self.walker.eat(byte, false) {
            Token::Open => self.walker.skip(Skip::container()),
            Token::Close => return Ok(true),
            Token::Key if self.walker.key_is(POINTERS) || self.walker.key_is(ATTACHMENTS) => return Err(Fault::Order),
            _ => {}
        }
        Ok(false)
    }
}

/// Unescapes a quoted name.
#[must_use]
pub fn unquoted(quoted: &[u8]) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).unwrap_or_default().into();
    }
    String::from_utf8_lossy(inner)
}

const ATTACHMENTS: &str = "_attachments";
const POINTERS: &str = "pvt_attachments";

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests;
