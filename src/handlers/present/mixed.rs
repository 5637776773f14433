//! Several documents as `multipart/mixed`: each part a document alone, or `multipart/related` with its attachments.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body::{Body as HttpBody, Frame};
use uuid::Uuid;

use super::related::{Related, boxed, json};
use super::view::View;
use crate::couch;
use crate::error::Error;
use crate::http::body::{Body, BoxError};
use crate::http::multipart::{Parts, boundary};
use crate::http::written::Out;

/// An answer of many documents.
pub(super) struct Mixed {
    view: Arc<View>,
    boundary: String,
    /// How many documents have come.
    row: usize,
    next: Next,
}

/// The part that comes next, read as far as its document.
enum Next {
    Document(Box<Ready>),
    End,
}

struct Ready {
    headers: HeaderMap,
    content: Content,
}

enum Content {
    /// To be passed on: what has been read of it, and the rest.
    Untouched(Vec<Bytes>, Parts<Body>),
    /// A document whose attachments, if any, are all outside.
    Alone(Related, Parts<Body>),
    /// A document with attachments of CouchDB's own, in a multipart body with this boundary.
    Related(Related, String, Box<Parts<Recorded<Inside>>>),
}

impl Mixed {
    /// Reads as far as the first document, and opens its first attachment.
    pub(super) async fn new(view: Arc<View>, upstream: Body, boundary: String) -> Result<Self, Error> {
        let parts = Parts::new(upstream, &boundary);
        let mut next = read(&view, parts, 0).await?;
        if let Next::Document(ready) = &mut next
            && let Content::Alone(related, _) | Content::Related(related, ..) = &mut ready.content
        {
            related.open().await?;
        }
        Ok(Self { view, boundary, row: 0, next })
    }

    /// Writes the whole answer.
    pub(super) async fn write(mut self, mut out: Out) -> Result<(), BoxError> {
        out.send(format!("--{}", self.boundary)).await;
        while let Next::Document(ready) = self.next {
            let parts = ready.write(&mut out).await?;
            out.send(format!("\r\n--{}", self.boundary)).await;
            self.row += 1;
            self.next = read(&self.view, parts, self.row).await?;
        }
        out.send("--").await;
        Ok(())
    }
}

/// Reads the document of the next part.
async fn read(view: &Arc<View>, mut parts: Parts<Body>, row: usize) -> Result<Next, Error> {
    let Some(headers) = parts.next().await.map_err(broken)? else { return Ok(Next::End) };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let content = if content_type.starts_with("multipart/related") {
        let boundary = boundary(&content_type).ok_or_else(|| broken_text("a part without a boundary"))?;
        let mut inner = Parts::new(Recorded::new(Inside(parts)), &boundary);
        inner.next().await.map_err(broken)?.ok_or_else(|| broken_text("a part without a document"))?;
        let text = json(&mut inner, view.limit()).await?;
        match Related::of(view, &text, row).await? {
            Some(related) => {
                inner.body_mut().forget();
                Content::Related(related, boundary, Box::new(inner))
            }
            None => {
                let recorded = inner.into_body();
                Content::Untouched(recorded.frames, recorded.body.0)
            }
        }
    } else if content_type.starts_with("application/json") && !content_type.contains("error=") {
        let text = json(&mut parts, view.limit()).await?;
        match Related::of(view, &text, row).await? {
            Some(related) => Content::Alone(related, parts),
            None => Content::Untouched(vec![text], parts),
        }
    } else {
        Content::Untouched(Vec::new(), parts)
    };
    Ok(Next::Document(Box::new(Ready { headers, content })))
}

impl Ready {
    /// Writes the part, and gives what is behind it.
    async fn write(self, out: &mut Out) -> Result<Parts<Body>, BoxError> {
        match self.content {
            Content::Untouched(read, mut parts) => {
                out.send(head(&self.headers, None)).await;
                for bytes in read {
                    out.send(bytes).await;
                }
                while let Some(data) = parts.data().await.map_err(boxed)? {
                    out.send(data).await;
                }
                Ok(parts)
            }
            Content::Alone(related, parts) if related.is_alone() => {
                out.send(head(&self.headers, None)).await;
                out.send(related.json).await;
                Ok(parts)
            }
            Content::Alone(related, parts) => {
                let boundary = Uuid::new_v4().simple().to_string();
                out.send(head(&self.headers, Some(&boundary))).await;
                related.write::<Body>(out, &boundary, None).await?;
                Ok(parts)
            }
            Content::Related(related, boundary, mut inner) => {
                out.send(head(&self.headers, None)).await;
                related.write(out, &boundary, Some(&mut *inner)).await?;
                if inner.next().await.map_err(boxed)?.is_some() {
                    return Err("CouchDB sent more attachments than it announced".into());
                }
                Ok(inner.into_body().body.0)
            }
        }
    }
}

/// The head of a part, as CouchDB writes it; with a boundary where it becomes a multipart body.
fn head(headers: &HeaderMap, boundary: Option<&str>) -> Vec<u8> {
    let mut text = b"\r\n".to_vec();
    for (name, value) in headers {
        for (index, word) in name.as_str().split('-').enumerate() {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            let hyphen = if index > 0 { "-" } else { "" };
            text.extend_from_slice(format!("{hyphen}{}{rest}", first.to_ascii_uppercase()).as_bytes());
        }
        text.extend_from_slice(b": ");
        match boundary.filter(|_| *name == CONTENT_TYPE) {
            Some(boundary) => text.extend_from_slice(format!("multipart/related; boundary=\"{boundary}\"").as_bytes()),
            None => text.extend_from_slice(value.as_bytes()),
        }
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

pub(super) fn broken(error: crate::http::multipart::Error<BoxError>) -> Error {
    couch::Error::Body(boxed(error)).into()
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

/// A body that keeps what was read of it, until that is not wanted any more.
pub(super) struct Recorded<B> {
    pub(super) body: B,
    pub(super) frames: Vec<Bytes>,
    keeps: bool,
}

impl<B> Recorded<B> {
    pub(super) const fn new(body: B) -> Self {
        Self { body, frames: Vec::new(), keeps: true }
    }

    /// Nothing is kept from now on.
    pub(super) fn forget(&mut self) {
        (self.frames, self.keeps) = (Vec::new(), false);
    }
}

impl<B> HttpBody for Recorded<B>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && this.keeps
        {
            this.frames.extend(frame.data_ref().cloned());
        }
        Poll::Ready(polled)
    }
}
