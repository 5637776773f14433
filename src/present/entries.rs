//! The attachments of a presented document, as they come: CouchDB's own, and stubs for pointers.

use std::sync::Arc;

use bytes::Bytes;
use stowage_couch::{Document, Fault};

use super::edit::{Editor, Piece};
use super::state::{Current, Held, Inline};
use crate::error::Error;
use crate::pointer::{self, Outside, Shown};

impl Editor {
    pub(super) fn entry(&mut self, name: Bytes) -> Result<(), Error> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        match &mut current.held {
            Held::All(entries) => entries.push((name, Vec::new())),
            Held::Doubtful(_) | Held::LeftOut => {
                self.settle(&mut current)?;
                self.begin_entry(&mut current, name);
            }
        }
        self.current = Some(current);
        Ok(())
    }

    /// Starts an entry that is not held, unless it has the name of a pointer.
    fn begin_entry(&mut self, current: &mut Current, name: Bytes) {
        match current.pointer(&name) {
            Some(_) => current.held = Held::Doubtful(Some((name, Vec::new()))),
            None => self.write_name(current, &name),
        }
    }

    /// Consumes a piece of an entry's value.
    pub(super) fn value(&mut self, current: &mut Current, bytes: &Bytes) -> Result<(), Error> {
        match &mut current.held {
            Held::All(entries) => {
                let length: usize = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
                if length + bytes.len() > MOST_HELD {
                    return self.let_go(current, bytes);
                }
                if let Some((_, value)) = entries.last_mut() {
                    value.extend_from_slice(bytes);
                }
            }
            Held::Doubtful(Some((_, value))) => {
                let was_short = value.len() <= MOST_HELD;
                value.extend_from_slice(bytes);
                // The data of an attachment may be larger than a document.
                if was_short
                    && value.len() > MOST_HELD
                    && let Some(native) = revpos_before_data(value)
                {
                    return self.settle_by(current, Some(native), Held::LeftOut);
                }
                if value.len() as u64 > self.terms.limit {
                    return Err(Fault::TooLarge.into());
                }
            }
            Held::Doubtful(None) => self.pass(bytes)?,
            Held::LeftOut => {}
        }
        Ok(())
    }

    /// Writes the entries held so far, and holds no more. `bytes` continue the last one.
    fn let_go(&mut self, current: &mut Current, bytes: &Bytes) -> Result<(), Error> {
        let Held::All(entries) = std::mem::replace(&mut current.held, Held::Doubtful(None)) else { return Ok(()) };
        for (name, value) in entries {
            self.settle(current)?;
            self.begin_entry(current, name);
            self.value(current, &value.into())?;
        }
        self.value(current, bytes)
    }

    fn write_name(&mut self, current: &mut Current, name: &[u8]) {
        let comma: &[u8] = if current.written { b"," } else { b"" };
        current.written = true;
        self.write([comma, name, b":"].concat());
    }

    /// Decides between an attachment in CouchDB and a pointer of the same name.
    fn settle(&mut self, current: &mut Current) -> Result<(), Error> {
        let native = match &current.held {
            Held::Doubtful(Some((_, value))) => revpos(value),
            _ => None,
        };
        self.settle_by(current, native, Held::Doubtful(None))
    }

    /// Decides by the generation of CouchDB's attachment, whose value may go on; `left_out` is the state after the pointer was chosen.
    fn settle_by(&mut self, current: &mut Current, native: Option<u64>, left_out: Held) -> Result<(), Error> {
        let (name, value) = match std::mem::replace(&mut current.held, Held::Doubtful(None)) {
            Held::Doubtful(Some(doubtful)) => doubtful,
            Held::Doubtful(None) | Held::LeftOut => return Ok(()),
            all @ Held::All(_) => {
                current.held = all;
                return Ok(());
            }
        };
        match current.winner(&name, native) {
            Some(at) => {
                current.held = left_out;
                let outside = current.outside.remove(at);
                self.show(current, outside)
            }
            None => {
                current.drop_pointer(&name);
                self.write_name(current, &name);
                self.pass(&value.into())
            }
        }
    }

    /// Writes the entries that are still held, with the pointers that come before each of them.
    pub(super) fn settle_all(&mut self, current: &mut Current) -> Result<(), Error> {
        let Held::All(entries) = &mut current.held else { return self.settle(current) };
        let mut entries = std::mem::take(entries);
        entries.retain(|(name, value)| current.winner(name, revpos(value)).is_none());
        entries.iter().for_each(|(name, _)| current.drop_pointer(name));
        for (name, value) in entries {
            for outside in pointer::ahead_of(&mut current.outside, revpos(&value).unwrap_or_default()) {
                self.show(current, outside)?;
            }
            self.write_name(current, &name);
            self.pass(&value.into())?;
        }
        Ok(())
    }

    pub(super) fn show_rest(&mut self, current: &mut Current) -> Result<(), Error> {
        for outside in std::mem::take(&mut current.outside) {
            self.show(current, outside)?;
        }
        Ok(())
    }

    fn show(&mut self, current: &mut Current, outside: Outside) -> Result<(), Error> {
        let name = serde_json::to_vec(&outside.name)?;
        self.write_name(current, &name);
        let stub = outside.stub(current.requested.encoding);
        if !current.requested.wants(outside.revpos(), current.known) {
            self.write(serde_json::to_vec(&stub)?);
            return Ok(());
        }
        let (encoding, encoded_length) = (stub.encoding, stub.encoded_length);
        let mut before =
            serde_json::to_vec(&Shown { length: None, stub: false, encoding: None, encoded_length: None, ..stub })?;
        before.pop();
        before.extend_from_slice(br#","data":""#);
        self.write(before);
        self.pieces.push_back(Piece::Data(Box::new(Inline { document: Arc::clone(&current.document), outside })));
        let mut after = String::from("\"");
        if let Some(encoding) = encoding {
            after.push_str(&format!(r#","encoding":"{encoding}""#));
        }
        if let Some(length) = encoded_length {
            after.push_str(&format!(r#","encoded_length":{length}"#));
        }
        after.push('}');
        self.write(after);
        Ok(())
    }
}

/// Returns the generation in an entry of CouchDB's.
fn revpos(entry: &[u8]) -> Option<u64> {
    Document::parse(entry).ok()?.value("revpos")?.as_u64()
}

/// Returns the generation in the beginning of an entry: CouchDB writes the data after it (`couch_att:to_json`).
fn revpos_before_data(entry: &[u8]) -> Option<u64> {
    // Within a text, the quotes would be escaped.
    let end = entry.windows(DATA.len()).position(|window| window == DATA)?;
    revpos(&[entry.get(..end)?, b"}"].concat())
}

const DATA: &[u8] = br#","data":"#;
/// The most bytes of CouchDB's entries that are held so that a document's attachments come in their order: enough for hundreds of stubs.
const MOST_HELD: usize = 64 << 10;
