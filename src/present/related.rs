//! One document as `multipart/related`, byte for byte the way CouchDB sends it (`couch_httpd_multipart`): the document as JSON, then the attachments
//! that follow, in the same order.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body as HttpBody;
use serde_json::Value;
use stowage_couch::{self as couch, Document};
use stowage_http::body::{Body, BoxError, TooLarge};
use stowage_http::headers::one_line_text;
use stowage_http::multipart::{self, Parts};
use stowage_http::written::Out;

use super::edit::{pointers, shown};
use super::state::Inline;
use super::view::View;
use crate::error::Error;
use crate::pointer::{self, Outside, Shown};

/// A document followed by its attachments.
pub(super) struct Related {
    view: Arc<View>,
    pub(super) json: Bytes,
    /// The document's id and revision.
    pub(super) name: (String, String),
    /// Whether the presented document has any attachment.
    pub(super) has_attachments: bool,
    parts: Vec<Part>,
    /// The first attachment from a storage, opened before the head goes out.
    opened: Option<Body>,
}

/// An attachment that follows.
struct Part {
    head: Head,
    from: From,
}

enum From {
    /// CouchDB's own response.
    CouchDb,
    /// Skipped: CouchDB's attachment is older than the pointer of the same name.
    Nowhere,
    /// A storage.
    Outside(Box<Inline>),
}

/// A part's headers.
struct Head {
    name: String,
    content_type: String,
    gzip: bool,
    /// The length as sent.
    length: u64,
}

impl Head {
    fn text(&self) -> String {
        // CouchDB inserts both unescaped, and they may contain a line break.
        let (name, content_type) = (one_line_text(&self.name), one_line_text(&self.content_type));
        let length = self.length;
        let packed = if self.gzip { "Content-Encoding: gzip\r\n" } else { "" };
        format!(
            "Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{packed}\r\n"
        )
    }
}

impl Related {
    /// Converts a document that CouchDB sends with its attachments in separate parts; `None` if nothing in it changes.
    pub(super) async fn of(view: &Arc<View>, bytes: &[u8]) -> Result<Option<Self>, Error> {
        let (mut document, mut outside) = pointers(&view.terms, bytes)?;
        if outside.is_empty() && !view.terms.hides_history {
            return Ok(None);
        }
        let mut told = shown(&view.terms, &document, &outside)?;
        let natives = document.object("_attachments").unwrap_or_default();
        document.remove("_attachments");
        let document = Arc::new(document);
        let native = |name: &str| natives.object(name);
        outside.retain(|outside| {
            let revpos = native(&outside.name).and_then(|native| native.value("revpos")?.as_u64());
            revpos.is_none_or(|revpos| outside.wins_over(revpos))
        });
        let id = document.text("_id").unwrap_or_default();
        let rev = document.rev().unwrap_or_default();
        let requested = view.terms.requested_rows.of_document(&id, &rev);
        let known = requested.known(&document);
        let wants = |revpos| requested.wants(revpos, known);
        let (entries, parts) = listed(view, &document, &natives, outside, wants).await?;
        if !entries.is_empty() {
            told.set_object("_attachments", &entries)?;
        }
        let name = (id, rev);
        let has_attachments = !entries.is_empty();
        Ok(Some(Self {
            view: Arc::clone(view),
            name,
            json: told.to_bytes()?.into(),
            has_attachments,
            parts,
            opened: None,
        }))
    }

    /// Returns whether no attachment follows, so that the document is sent alone.
    pub(super) fn is_alone(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.from, From::Nowhere))
    }

    /// Opens the first attachment from a storage up front, so that a missing object determines the status.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        let outside = self.parts.iter().find_map(|part| match &part.from {
            From::Outside(inline) => Some(inline),
            From::CouchDb | From::Nowhere => None,
        });
        if let Some(inline) = outside {
            self.opened = Some(self.view.open(inline).await?);
        }
        Ok(())
    }

    /// Returns the number of bytes that [`Self::write`] writes.
    pub(super) fn length(&self, boundary: &str) -> u64 {
        let delimiter = boundary.len() as u64 + 4;
        let sent = self.parts.iter().filter(|part| !matches!(part.from, From::Nowhere));
        let parts: u64 = sent.map(|part| delimiter + 2 + part.head.text().len() as u64 + part.head.length).sum();
        (first(boundary).len() + self.json.len()) as u64 + parts + delimiter + 2
    }

    /// Writes the document and its attachments; `natives` are the parts after the document in CouchDB's response.
    pub(super) async fn write<B>(
        mut self,
        out: &mut Out,
        boundary: &str,
        mut natives: Option<&mut Parts<B>>,
    ) -> Result<(), BoxError>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        out.send(first(boundary)).await;
        out.send(self.json).await;
        for part in self.parts {
            if !matches!(part.from, From::Nowhere) {
                out.send(format!("\r\n--{boundary}\r\n{}", part.head.text())).await;
            }
            match part.from {
                From::Outside(inline) => {
                    let body = match self.opened.take() {
                        Some(body) => body,
                        None => self.view.open(&inline).await?,
                    };
                    out.send_all(body).await?;
                }
                From::CouchDb => {
                    let natives = natives.as_deref_mut().ok_or("CouchDB sent no parts")?;
                    if pass(natives, Some(out)).await? != part.head.length {
                        return Err("CouchDB sent another attachment than it announced".into());
                    }
                }
                From::Nowhere => {
                    if let Some(natives) = natives.as_deref_mut() {
                        pass(natives, None).await?;
                    }
                }
            }
        }
        out.send(format!("\r\n--{boundary}--")).await;
        Ok(())
    }
}

/// Returns the entries of all attachments in their order, and the parts that follow for them.
async fn listed(
    view: &View,
    document: &Arc<Document>,
    natives: &Document,
    mut outside: Vec<Outside>,
    wants: impl Fn(u64) -> bool,
) -> Result<(Document, Vec<Part>), Error> {
    let (mut entries, mut parts) = (Document::default(), Vec::new());
    let replaced: Vec<String> = outside.iter().map(|outside| outside.name.clone()).collect();
    // `None` at the end stands for what comes after all of CouchDB's.
    for name in natives.keys().map(Some).chain([None]) {
        let is_replaced = name.is_some_and(|name| replaced.iter().any(|other| other == name));
        let ahead = match name {
            Some(_) if is_replaced => Vec::new(),
            Some(name) => pointer::ahead_of(&mut outside, pointer::revpos(natives, name)),
            None => std::mem::take(&mut outside),
        };
        for outside in ahead {
            let follows = wants(outside.revpos());
            let name = outside.name.clone();
            let (entry, part) = entry(view, document, outside, follows).await?;
            entries.set(&name, &entry)?;
            parts.extend(part);
        }
        let Some((name, raw)) = name.and_then(|name| Some((name, natives.raw(name)?))) else { continue };
        parts.extend(natives.object(name).and_then(|entry| native_part(name, &entry, is_replaced)));
        if !is_replaced {
            entries.set_raw(name, raw);
        }
    }
    Ok((entries, parts))
}

/// Returns the text before the document.
fn first(boundary: &str) -> String {
    format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n")
}

/// Passes on or skips the next part, and returns its length.
async fn pass<B>(natives: &mut Parts<B>, mut out: Option<&mut Out>) -> Result<u64, BoxError>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    natives.next().await.map_err(boxed)?.ok_or("CouchDB sent fewer attachments than it announced")?;
    let mut length = 0;
    while let Some(data) = natives.data().await.map_err(boxed)? {
        length += data.len() as u64;
        if let Some(out) = &mut out {
            out.send(data).await;
        }
    }
    Ok(length)
}

/// Returns the entry of a pointer, and the part that follows for it.
async fn entry(
    view: &View,
    document: &Arc<Document>,
    outside: Outside,
    follows: bool,
) -> Result<(Value, Option<Part>), Error> {
    if !follows {
        return Ok((serde_json::to_value(outside.stub(true))?, None));
    }
    let inline = Inline { document: Arc::clone(document), outside };
    let length = match inline.length() {
        Some(length) => length,
        None => view.measure(&inline).await?,
    };
    let gzip = inline.is_gzip();
    let stub = inline.outside.stub(true);
    let content_type = stub.content_type.to_owned();
    let head = Head { name: inline.outside.name.clone(), content_type, gzip, length };
    // `length` is that of the unpacked bytes, if it is known.
    let unpacked = stub.length.filter(|_| gzip);
    let shown = Shown { length: unpacked.or(Some(length)), stub: false, follows: true, ..stub };
    let shown = serde_json::to_value(shown)?;
    Ok((shown, Some(Part { head, from: From::Outside(Box::new(inline)) })))
}

/// Returns the part that follows for an attachment in CouchDB.
fn native_part(name: &str, entry: &Document, is_replaced: bool) -> Option<Part> {
    if entry.value("follows") != Some(Value::Bool(true)) {
        return None;
    }
    let number = |key: &str| entry.value(key).and_then(|value| value.as_u64());
    let head = Head {
        name: name.to_owned(),
        content_type: entry.text("content_type").unwrap_or_default(),
        gzip: entry.text("encoding").as_deref() == Some("gzip"),
        length: number("encoded_length").or_else(|| number("length")).unwrap_or_default(),
    };
    Some(Part { head, from: if is_replaced { From::Nowhere } else { From::CouchDb } })
}

/// Reads a part that is JSON.
pub(super) async fn json<B>(parts: &mut Parts<B>, limit: u64) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let broken = |error| Error::from(couch::Error::Body(boxed(error)));
    let mut text = Vec::new();
    while let Some(data) = parts.data().await.map_err(broken)? {
        if (text.len() + data.len()) as u64 > limit {
            return Err(couch::Error::Body(TooLarge.into()).into());
        }
        text.extend_from_slice(&data);
    }
    Ok(text.into())
}

/// Converts a parser's error to a body's.
pub(super) fn boxed(error: multipart::Error<BoxError>) -> BoxError {
    match error {
        multipart::Error::Body(error) => error,
        other => other.to_string().into(),
    }
}
