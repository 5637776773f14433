//! The attachments of a presented document, as they come: CouchDB's own, and stubs for pointers.

use std::sync::Arc;

use bytes::Bytes;
use stowage_couch::{Document, unquoted};

use super::edit::{Editor, Piece};
use super::requested::Requested;
use super::view::Inline;
use crate::error::Error;
use crate::pointer::{Outside, Shown};

/// A document with pointers, while its `_attachments` are being read.
pub(super) struct Current {
    pub(super) document: Arc<Document>,
    pub(super) requested: Requested,
    pub(super) known: Option<u64>,
    /// The pointers that have not been presented yet.
    pub(super) outside: Vec<Outside>,
    /// Whether an entry has been written.
    pub(super) written: bool,
    /// An entry of CouchDB's with the name of a pointer: its value determines which of them counts.
    pub(super) doubtful: Option<(Bytes, Vec<u8>)>,
}

impl Editor {
    pub(super) fn entry(&mut self, name: Bytes) -> Result<(), Error> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        self.settle(&mut current)?;
        let plain = unquoted(&name);
        if current.outside.iter().any(|outside| outside.name == plain) {
            current.doubtful = Some((name, Vec::new()));
        } else {
            self.write_name(&mut current, &name);
        }
        self.current = Some(current);
        Ok(())
    }

    fn write_name(&mut self, current: &mut Current, name: &[u8]) {
        let comma: &[u8] = if current.written { b"," } else { b"" };
        current.written = true;
        self.write([comma, name, b":"].concat());
    }

    /// Decides between an attachment in CouchDB and a pointer of the same name.
    pub(super) fn settle(&mut self, current: &mut Current) -> Result<(), Error> {
        let Some((name, value)) = current.doubtful.take() else { return Ok(()) };
        let plain = unquoted(&name);
        let Some(at) = current.outside.iter().position(|outside| outside.name == plain) else { return Ok(()) };
        let outside = current.outside.remove(at);
        let native = Document::parse(&value).ok().and_then(|native| native.value("revpos")?.as_u64());
        if native.is_none_or(|native| outside.wins_over(native)) {
            return self.show(current, outside);
        }
        self.write_name(current, &name);
        self.write(value);
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
