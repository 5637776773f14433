//! Several documents as `multipart/mixed`: each part is a document alone, or `multipart/related` with its attachments.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use stowage_couch as couch;
use stowage_http::body::{Body, BoxError};
use stowage_http::headers::one_line_text;
use stowage_http::inspect::Recorded;
use stowage_http::multipart::{Parts, boundary};
use stowage_http::written::Out;
use uuid::Uuid;

use super::related::{Related, boxed, json};
use super::view::View;
use crate::error::Error;

/// A response with several documents.
pub(super) struct Mixed {
    view: Arc<View>,
    boundary: String,
    form: Form,
    /// The next part, read up to its document; `None` at the end.
    next: Option<Box<Ready>>,
}

/// CouchDB's framing of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `open_revs`
    OpenRevs,
    /// `_bulk_get`: an additional line break at both ends, boundaries that begin with two hyphens, and part headers that name a document with
    /// attachments.
    BulkGet,
}

struct Ready {
    headers: HeaderMap,
    content: Content,
}

enum Content {
    /// Passed on unchanged: what was read of the part, and the rest.
    Untouched(Vec<Bytes>, Parts<Body>),
    /// A document without attachments in CouchDB; it may have pointers.
    Alone(Box<Related>, Parts<Body>),
    /// A document with attachments in CouchDB, in a multipart body with this boundary.
    Related(Box<Related>, String, Box<Parts<Recorded<Inside>>>),
}

impl Mixed {
    /// Reads up to the first document, and opens its first attachment.
    pub(super) async fn new(view: Arc<View>, upstream: Body, boundary: String, form: Form) -> Result<Self, Error> {
        let mut next = read(&view, Parts::new(upstream, &boundary)).await?;
        if let Some(ready) = &mut next
            && let Content::Alone(related, _) | Content::Related(related, ..) = &mut ready.content
        {
            related.open().await?;
        }
        Ok(Self { view, boundary, form, next })
    }

    /// Writes the whole response.
    pub(super) async fn write(mut self, mut out: Out) -> Result<(), BoxError> {
        let line = if self.form == Form::BulkGet { "\r\n" } else { "" };
        out.send(format!("{line}--{}", self.boundary)).await;
        while let Some(ready) = self.next {
            let parts = ready.write(&mut out, self.form).await?;
            out.send(format!("\r\n--{}", self.boundary)).await;
            self.next = read(&self.view, parts).await?;
        }
        out.send(format!("--{line}")).await;
        Ok(())
    }
}

/// Reads the document of the next part.
async fn read(view: &Arc<View>, mut parts: Parts<Body>) -> Result<Option<Box<Ready>>, Error> {
    let Some(headers) = parts.next().await.map_err(broken)? else { return Ok(None) };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let content = match &*essence(&content_type) {
        "multipart/related" => {
            let boundary = boundary(&content_type).ok_or_else(|| broken_text("a part without a boundary"))?;
            let mut inner = Parts::new(Recorded::new(Inside(parts)), &boundary);
            inner.next().await.map_err(broken)?.ok_or_else(|| broken_text("a part without a document"))?;
            let text = json(&mut inner, view.limit()).await?;
            match Related::of(view, &text).await? {
                Some(related) => {
                    inner.change_body(Recorded::forget);
                    Content::Related(Box::new(related), boundary, Box::new(inner))
                }
                None => {
                    let (read, Inside(parts)) = inner.into_body().into_parts();
                    Content::Untouched(read, parts)
                }
            }
        }
        // A document, or the reason there is none.
        "application/json" => {
            let text = json(&mut parts, view.limit()).await?;
            match Related::of(view, &text).await? {
                Some(related) => Content::Alone(Box::new(related), parts),
                None => Content::Untouched(vec![text], parts),
            }
        }
        _ => return Err(broken_text("a part that is neither a document nor JSON")),
    };
    Ok(Some(Box::new(Ready { headers, content })))
}

impl Ready {
    /// Writes the part, and returns the rest of the parts.
    async fn write(mut self, out: &mut Out, form: Form) -> Result<Parts<Body>, BoxError> {
        match self.content {
            Content::Untouched(read, mut parts) => {
                out.send(head(&self.headers)).await;
                out.send_each(read).await;
                while let Some(data) = parts.data().await.map_err(boxed)? {
                    out.send(data).await;
                }
                Ok(parts)
            }
            Content::Alone(related, parts) if related.is_alone() => {
                out.send(head(&self.headers)).await;
                out.send(related.json).await;
                Ok(parts)
            }
            Content::Alone(related, parts) => {
                let hyphens = if form == Form::BulkGet { "--" } else { "" };
                let boundary = format!("{hyphens}{}", Uuid::new_v4().simple());
                self.headers.insert(CONTENT_TYPE, related_type(&boundary, form)?);
                if form == Form::BulkGet {
                    out.send(named(&related.name)).await;
                }
                out.send(head(&self.headers)).await;
                related.write::<Body>(out, &boundary, None).await?;
                Ok(parts)
            }
            Content::Related(related, boundary, mut inner) => {
                out.send(head(&self.headers)).await;
                related.write(out, &boundary, Some(&mut *inner)).await?;
                if inner.next().await.map_err(boxed)?.is_some() {
                    return Err("CouchDB sent more attachments than it announced".into());
                }
                let (_, Inside(parts)) = inner.into_body().into_parts();
                Ok(parts)
            }
        }
    }
}

/// Formats the head of a part the way CouchDB does.
fn head(headers: &HeaderMap) -> Vec<u8> {
    let mut text = b"\r\n".to_vec();
    for (name, value) in headers {
        let words = name.as_str().split('-').map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_ascii_uppercase() + rest
        });
        let name = words.collect::<Vec<_>>().join("-");
        text.extend_from_slice(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// Formats the headers with which `_bulk_get` names a document.
fn named((id, rev): &(String, String)) -> String {
    format!("\r\nX-Doc-Id: {}\r\nX-Rev-Id: {}", one_line_text(id), one_line_text(rev))
}

fn related_type(boundary: &str, form: Form) -> Result<HeaderValue, BoxError> {
    let quote = if form == Form::BulkGet { "" } else { "\"" };
    Ok(HeaderValue::try_from(format!("multipart/related; boundary={quote}{boundary}{quote}"))?)
}

pub(super) fn broken(error: stowage_http::multipart::Error<BoxError>) -> Error {
    couch::Error::Body(boxed(error)).into()
}

/// Returns the media type of a Content-Type without its parameters.
pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn broken_text(text: &'static str) -> Error {
    couch::Error::Body(text.into()).into()
}

/// The data of a part, as a body.
pub(super) struct Inside(Parts<Body>);

impl HttpBody for Inside {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = ready!(self.get_mut().0.poll_data(cx)).map_err(boxed).transpose();
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }
}
