//! Removes members that must not leave the gateway outside documents: attachment locations and access credentials.
//!
//! The text is never parsed: a member is recognized by its name before a colon, at any depth and in any context. The value of such
//! a member is buffered and judged; everything else passes in the pieces it arrived in.

use bytes::{Bytes, BytesMut};

use super::walk::Skip;
use super::{Fault, POINTERS, unquoted};

/// Watches text as it passes.
#[derive(Debug)]
pub struct Guard {
    limit: usize,
    state: State,
    /// After a backslash.
    escape: bool,
    /// The member is the first of its object, so that the comma after it is dropped with it.
    first: bool,
    name: Vec<u8>,
    /// From the comma or brace before a name up to its value.
    lead: BytesMut,
    value: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a string that is not a relevant name.
    Text,
    /// After a comma or an opening brace.
    Separated,
    Name,
    /// After a relevant name.
    Named,
    /// After the colon.
    Colon,
    /// In the value.
    Value(Skip),
    /// In a value that is a number or a literal.
    Word,
    /// After a dropped member that was the first of its object.
    LeftOut,
}

/// Progress within one piece of text.
struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
    /// Start of the bytes not yet passed on.
    from: usize,
    /// Start of the lead, unless it is in an earlier piece.
    lead: usize,
    out: Vec<Bytes>,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes on everything before `to`.
    fn pass(&mut self, to: usize) {
        if self.from < to {
            self.out.push(self.bytes.slice(self.from..to));
        }
        self.from = to;
    }
}

impl Guard {
    /// `limit` is the maximum number of buffered bytes of a value.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            state: State::Between,
            escape: false,
            first: false,
            name: Vec::new(),
            lead: BytesMut::new(),
            value: BytesMut::new(),
        }
    }

    /// Processes the next piece of text and returns what may pass. `judge` receives a member's name and value, and returns what to
    /// keep of the value; `None` drops the member.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], and those of `judge`; nothing may pass after an error.
    pub fn feed<E: From<Fault>>(
        &mut self,
        bytes: &Bytes,
        mut judge: impl FnMut(&str, &[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Vec<Bytes>, E> {
        let mut cursor = Cursor { bytes, at: 0, from: 0, lead: 0, out: Vec::new() };
        while let Some(byte) = bytes.get(cursor.at).copied() {
            match self.state {
                State::Between => self.between(&mut cursor),
                State::Text => self.text(&mut cursor),
                State::Name => self.name(&mut cursor, byte),
                State::Separated | State::Named | State::Colon => self.lead(&mut cursor, byte),
                State::Value(_) | State::Word => {
                    if self.value(&mut cursor, byte)? {
                        let left = judge(&unquoted(&self.name), &self.value)?;
                        self.judged(&mut cursor, left);
                    }
                }
                State::LeftOut => self.left_out(&mut cursor, byte),
            }
        }
        match self.state {
            State::Between | State::Text | State::LeftOut => cursor.pass(bytes.len()),
            State::Value(_) | State::Word => {}
            State::Separated | State::Name | State::Named | State::Colon => self.hold_lead(&mut cursor)?,
        }
        Ok(cursor.out)
    }

    /// Releases buffered bytes of a possible name: what follows is not fed to the guard, so that no name can follow.
    pub fn release(&mut self) -> Bytes {
        if matches!(self.state, State::Separated | State::Name | State::Named | State::Colon) {
            self.state = State::Between;
        }
        self.lead.split().freeze()
    }

    /// Called at the end; returns what is still buffered.
    ///
    /// # Errors
    /// [`Fault::Cut`] within a value.
    pub fn ended(&mut self) -> Result<Bytes, Fault> {
        match self.state {
            State::Value(_) | State::Word | State::Colon => Err(Fault::Cut),
            _ => Ok(self.lead.split().freeze()),
        }
    }

    fn between(&mut self, cursor: &mut Cursor<'_>) {
        let begins = cursor.rest().iter().position(|byte| matches!(byte, b'"' | b',' | b'{'));
        let Some(begins) = begins else { return cursor.at = cursor.bytes.len() };
        cursor.at += begins;
        cursor.lead = cursor.at;
        self.first = false;
        match cursor.rest().first() {
            Some(b'"') => self.begin_name(),
            byte => {
                self.first = byte == Some(&b'{');
                self.state = State::Separated;
            }
        }
        cursor.at += 1;
    }

    fn begin_name(&mut self) {
        self.state = State::Name;
        self.escape = false;
        self.name.clear();
        self.name.push(b'"');
    }

    fn text(&mut self, cursor: &mut Cursor<'_>) {
        if std::mem::take(&mut self.escape) {
            cursor.at += 1;
            return;
        }
        let Some(end) = cursor.rest().iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
            return cursor.at = cursor.bytes.len();
        };
        self.escape = cursor.rest().get(end) == Some(&b'\\');
        if !self.escape {
            self.state = State::Between;
        }
        cursor.at += end + 1;
    }

    fn name(&mut self, cursor: &mut Cursor<'_>, byte: u8) {
        let may_matter = self.name.len() > 1 || matches!(byte, b'p' | b'k' | b'\\');
        if !may_matter || self.name.len() >= MOST_NAME {
            self.cancel(cursor);
            self.state = State::Text;
            return;
        }
        cursor.at += 1;
        self.name.push(byte);
        match byte {
            _ if self.escape => self.escape = false,
            b'\\' => self.escape = true,
            b'"' if matters(&unquoted(&self.name)) => self.state = State::Named,
            b'"' => self.cancel(cursor),
            _ => {}
        }
    }

    /// Processes one byte between a separator and a value.
    fn lead(&mut self, cursor: &mut Cursor<'_>, byte: u8) {
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Separated, b'"') => self.begin_name(),
            (State::Named, b':') => self.state = State::Colon,
            (State::Colon, byte) => {
                self.take_lead(cursor);
                self.value.clear();
                self.state = match byte {
                    b'{' | b'[' => State::Value(Skip::container()),
                    b'"' => State::Value(Skip::string()),
                    _ => State::Word,
                };
                if self.state == State::Word {
                    return;
                }
                self.value.extend_from_slice(&[byte]);
            }
            _ => return self.cancel(cursor),
        }
        cursor.at += 1;
    }

    /// Discards a lead that turned out not to be one.
    fn cancel(&mut self, cursor: &mut Cursor<'_>) {
        if !self.lead.is_empty() {
            cursor.out.push(self.lead.split().freeze());
        }
        self.state = State::Between;
    }

    /// Completes the lead.
    fn take_lead(&mut self, cursor: &mut Cursor<'_>) {
        let begins = if self.lead.is_empty() { cursor.lead } else { 0 };
        cursor.pass(begins);
        self.lead.extend_from_slice(cursor.bytes.get(begins..cursor.at).unwrap_or_default());
        cursor.from = cursor.at;
    }

    fn hold_lead(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.take_lead(cursor);
        if self.lead.len() > self.limit { Err(Fault::TooLarge) } else { Ok(()) }
    }

    /// Processes one byte of a value; returns whether it is complete.
    fn value(&mut self, cursor: &mut Cursor<'_>, byte: u8) -> Result<bool, Fault> {
        if self.state == State::Word && matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
            return Ok(true);
        }
        if self.value.len() >= self.limit {
            return Err(Fault::TooLarge);
        }
        self.value.extend_from_slice(&[byte]);
        cursor.at += 1;
        Ok(match &mut self.state {
            State::Value(skip) => skip.eat(byte),
            _ => false,
        })
    }

    fn judged(&mut self, cursor: &mut Cursor<'_>, left: Option<Vec<u8>>) {
        let lead = self.lead.split().freeze();
        cursor.from = cursor.at;
        self.state = State::Between;
        match left {
            Some(value) => cursor.out.extend([lead, value.into()]),
            None if self.first => {
                if lead.first() == Some(&b'{') {
                    cursor.out.push(lead.slice(..1));
                }
                self.state = State::LeftOut;
            }
            None => {}
        }
    }

    fn left_out(&mut self, cursor: &mut Cursor<'_>, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => cursor.at += 1,
            b',' => {
                cursor.pass(cursor.at);
                cursor.at += 1;
                (cursor.from, cursor.lead) = (cursor.at, cursor.at);
                self.state = State::Separated;
            }
            _ => self.state = State::Between,
        }
    }
}

/// Returns whether a member of this name holds pointers, or is one of KAZOO's equivalents.
fn matters(name: &str) -> bool {
    name == POINTERS || name.starts_with("kz_att_")
}

/// Longer than any relevant name, even if fully escaped.
const MOST_NAME: usize = 256;
