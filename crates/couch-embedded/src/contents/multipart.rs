//! Multipart bodies as CouchDB sends them.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use rouchdb_core::document::AttachmentMeta;

use crate::exchange::answer::{Answer, chunked, set};

/// A multipart body in CouchDB's framing: no line break before the first delimiter, none after the last.
#[derive(Debug)]
pub(crate) struct Multipart {
    boundary: String,
    body: Vec<u8>,
}

impl Multipart {
    pub(crate) fn new() -> Self {
        Self::with(uuid::Uuid::new_v4().simple().to_string())
    }

    fn with(boundary: String) -> Self {
        let body = format!("--{boundary}").into_bytes();
        Self { boundary, body }
    }

    /// A document within `_bulk_get`, where boundaries start with two more hyphens.
    pub(crate) fn inside_bulk_get() -> Self {
        Self::with(format!("--{}", uuid::Uuid::new_v4().simple()))
    }

    /// The framing of `_bulk_get` itself: an extra line break before the first delimiter and after the last.
    pub(crate) fn of_bulk_get() -> Self {
        let mut parts = Self::inside_bulk_get();
        parts.body.splice(0..0, *b"\r\n");
        parts
    }

    pub(crate) fn boundary(&self) -> &str {
        &self.boundary
    }

    /// Adds a part; each of its header lines ends with CRLF.
    pub(crate) fn add(&mut self, headers: &str, data: &[u8]) {
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(headers.as_bytes());
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(data);
        self.body.extend_from_slice(format!("\r\n--{}", self.boundary).as_bytes());
    }

    /// Adds a document and the bytes that follow it.
    pub(crate) fn add_document(&mut self, document: &str, attachments: &[(String, AttachmentMeta)]) {
        self.add("Content-Type: application/json\r\n", document.as_bytes());
        for (name, meta) in attachments {
            let Some(data) = &meta.data else { continue };
            // CouchDB does not escape the name.
            let headers = format!(
                "Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
                meta.content_type,
                data.len()
            );
            self.add(&headers, data);
        }
    }

    /// Ends the body.
    pub(crate) fn finish(mut self, end: &str) -> Bytes {
        self.body.extend_from_slice(end.as_bytes());
        Bytes::from(self.body)
    }

    /// Ends the body and returns it as a response of unannounced length.
    pub(crate) fn answer(self, status: StatusCode, kind: &str) -> Answer {
        let kind = format!("{kind}; boundary=\"{}\"", self.boundary);
        plain(status, &kind, self.finish("--"))
    }

    /// Like [`answer`](Self::answer), for `_bulk_get`; without any document, CouchDB ends nothing.
    pub(crate) fn answer_of_bulk_get(self, kind: &str, any: bool) -> Answer {
        let kind = format!("{kind}; boundary=\"{}\"", self.boundary);
        let body = if any { self.finish("--\r\n") } else { Bytes::new() };
        plain(StatusCode::OK, &kind, body)
    }
}

fn plain(status: StatusCode, kind: &str, body: Bytes) -> Answer {
    let mut answer = chunked(body);
    *answer.status_mut() = status;
    answer.headers_mut().remove(CACHE_CONTROL);
    set(&mut answer, CONTENT_TYPE, kind);
    answer
}
