//! What no member of an answer may say outside of its documents: where attachments are, and how to get in.
//!
//! The text is never taken apart: a member is known by its name in front of a colon, at any depth, whatever stands around it.
//! Where such a member stands, its value is held and judged; everything else passes in the pieces that it came in.

use bytes::{Bytes, BytesMut};

use super::walk::Skip;
use super::{Fault, POINTERS, unquoted};

/// Watches over text that passes.
#[derive(Debug)]
pub struct Guard {
    limit: usize,
    state: State,
    /// Behind a backslash.
    escape: bool,
    /// The member is the first of its object: the comma behind it goes with it.
    first: bool,
    name: Vec<u8>,
    /// From the comma or brace before a name up to its value.
    lead: BytesMut,
    value: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a string that is no name that matters.
    Text,
    /// Behind a comma or an opening brace.
    Separated,
    Name,
    /// Behind a name that matters.
    Named,
    /// Behind its colon.
    Colon,
    /// In its value.
    Value(Skip),
    /// In its value, which is a number or a word.
    Word,
    /// Behind a member that was left out, the first of its object.
    LeftOut,
}

/// Where the work on one piece of text is.
struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
    /// What is not passed on yet begins here.
    from: usize,
    /// The lead begins here, if not in an earlier piece.
    lead: usize,
    out: Vec<Bytes>,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes on what is before `to`.
    fn pass(&mut self, to: usize) {
        if self.from < to {
            self.out.push(self.bytes.slice(self.from..to));
        }
        self.from = to;
    }
}

impl Guard {
    /// `limit`: the most bytes that are held of a value.
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

    /// Takes the next piece of the text and gives what may pass of it. `judge` gets a member's name and value, and says what is
    /// left of the value; the member goes where it says nothing.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], and those of `judge`; nothing may pass after one.
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

    /// Something else comes next that is not given here, so that no name follows: what is held of one may pass.
    pub fn release(&mut self) -> Bytes {
        if matches!(self.state, State::Separated | State::Name | State::Named | State::Colon) {
            self.state = State::Between;
        }
        self.lead.split().freeze()
    }

    /// To be asked at the end: what is still held.
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

    /// One byte between a separator and a value.
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

    /// What looked like a lead is none.
    fn cancel(&mut self, cursor: &mut Cursor<'_>) {
        if !self.lead.is_empty() {
            cursor.out.push(self.lead.split().freeze());
        }
        self.state = State::Between;
    }

    /// The lead ends here.
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

    /// One byte of a value; whether it is complete.
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

/// Whether a member of this name holds pointers, or what one of KAZOO's holds.
fn matters(name: &str) -> bool {
    name == POINTERS || name.starts_with("kz_att_")
}

/// Longer than any name that matters, however it is escaped.
const MOST_NAME: usize = 256;
