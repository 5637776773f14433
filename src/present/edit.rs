//! Edits documents within JSON into their presented form: only `_attachments` and `pvt_attachments` change, everything else passes unchanged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use stowage_couch::{self as couch, Document, Event, Guard, Path, Scanner, mentions_pointers};

use super::state::{Current, Held, Inline, Terms};
use crate::error::Error;
use crate::pointer::{self, Outside};

/// A piece of a response.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// An attachment's base64.
    Data(Box<Inline>),
}

impl Piece {
    /// Returns the length in bytes, if it is known without opening the attachment.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Data(inline) => inline.encoded_length(),
        }
    }
}

/// Edits CouchDB's JSON into what clients see.
pub(super) struct Editor {
    pub(super) terms: Arc<Terms>,
    scanner: Scanner,
    /// Checks everything that passes unchanged.
    guard: Guard,
    pub(super) current: Option<Current>,
    pub(super) pieces: VecDeque<Piece>,
    /// The number of documents completed.
    pub(super) documents: usize,
}

impl Editor {
    pub(super) fn new(terms: Arc<Terms>, paths: &'static [Path]) -> Self {
        let scanner = Scanner::new(paths, terms.limit);
        let guard = Guard::new(terms.limit);
        Self { terms, scanner, guard, current: None, pieces: VecDeque::new(), documents: 0 }
    }

    /// Consumes the next bytes of CouchDB's response.
    pub(super) fn feed(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.scanner.feed(bytes);
        while let Some(event) = self.scanner.event()? {
            self.event(event)?;
        }
        Ok(())
    }

    /// Finishes the response. Call this at the end of CouchDB's.
    pub(super) fn ended(&mut self) -> Result<(), Error> {
        self.scanner.ended()?;
        let held = self.guard.ended()?;
        self.write(held);
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Error> {
        if matches!(event, Event::Document(_) | Event::Begin(..)) {
            let held = self.guard.release();
            self.write(held);
        }
        match event {
            Event::Pass(bytes) => self.pass(&bytes)?,
            Event::Document(bytes) => {
                self.documents += 1;
                match self.begin(&bytes)? {
                    Some(mut current) => {
                        self.write_head(&current, !current.outside.is_empty())?;
                        if !current.outside.is_empty() {
                            self.show_rest(&mut current)?;
                            self.write("}");
                        }
                        self.write("}");
                    }
                    None => self.write(bytes),
                }
            }
            Event::Begin(head, opening) => {
                let mut whole = head.trim_ascii_end();
                whole = whole.strip_suffix(b",").unwrap_or(whole);
                match self.begin(&[whole, b"}"].concat())? {
                    Some(current) => {
                        self.write_head(&current, true)?;
                        self.current = Some(current);
                    }
                    None => {
                        self.scanner.pass_on();
                        self.documents += 1;
                        self.write(head);
                        self.pass(&opening)?;
                    }
                }
            }
            Event::Entry(name) => self.entry(name)?,
            Event::Value(bytes) => match self.current.take() {
                Some(mut current) => {
                    self.value(&mut current, &bytes)?;
                    self.current = Some(current);
                }
                None => self.pass(&bytes)?,
            },
            Event::End(tail) => {
                self.documents += 1;
                if let Some(mut current) = self.current.take() {
                    self.settle_all(&mut current)?;
                    self.show_rest(&mut current)?;
                }
                self.write("}");
                self.pass(&tail)?;
            }
        }
        Ok(())
    }

    /// Passes on what CouchDB sent, without pointers.
    pub(super) fn pass(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let database = &self.terms.database;
        let judge = |name: &str, value: &[u8]| pointer::left_of(name, value, database).map_err(Error::from);
        let left = self.guard.feed(bytes, judge)?;
        left.into_iter().for_each(|bytes| self.write(bytes));
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.pieces.push_back(Piece::Bytes(bytes));
        }
    }

    /// Starts a document whose `_attachments` follow; `None` if nothing in it changes.
    fn begin(&self, bytes: &[u8]) -> Result<Option<Current>, Error> {
        let requested = self.terms.requested_rows.of(self.scanner.row());
        if !mentions_pointers(bytes) && !self.terms.hides_history {
            return Ok(None);
        }
        let (document, outside) = pointers(&self.terms, bytes)?;
        if outside.is_empty() && !self.terms.hides_history {
            return Ok(None);
        }
        let known = requested.known(&document);
        let requested = requested.clone();
        let held = if outside.is_empty() { Held::Doubtful(None) } else { Held::All(Vec::new()) };
        Ok(Some(Current { document: Arc::new(document), requested, known, outside, written: false, held }))
    }

    /// Writes the members before `_attachments`, and the start of that member if it has any entry.
    fn write_head(&mut self, current: &Current, has_entries: bool) -> Result<(), Error> {
        let mut text = shown(&self.terms, &current.document, &current.outside)?.to_bytes()?;
        text.pop();
        if has_entries {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(br#""_attachments":{"#);
        }
        self.write(text);
        Ok(())
    }
}

/// Parses a document and its pointers.
pub(super) fn pointers(terms: &Terms, bytes: &[u8]) -> Result<(Document, Vec<Outside>), Error> {
    let document = Document::parse(bytes).map_err(|error| Error::from(couch::Error::Nonsense(error)))?;
    let id = document.text("_id").unwrap_or_default();
    let found = pointer::pointers(&document, &terms.database, &id);
    Ok((document, found))
}

/// Returns the presented document without its `_attachments`.
pub(super) fn shown(terms: &Terms, document: &Document, pointers: &[Outside]) -> Result<Document, Error> {
    let mut document = document.clone();
    pointer::hide(&mut document, pointers)?;
    if terms.hides_history {
        document.remove("_revisions");
    }
    Ok(document)
}
