//! The parts of a multipart/related request: the document first, then its attachments' bytes in the order of the entries with `follows`, whatever the
//! parts' own headers say. CouchDB (`couch_httpd_multipart`) treats the parts as one stream of bytes, from which each attachment takes the length in
//! its entry.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError, ClientGone, cause};
use stowage_http::inspect::Recorded;
use stowage_http::multipart::{self, Parts, end_of_first};
use stowage_storage as storage;

use crate::error::Error;
use crate::gateway::Gateway;
use crate::upstream::held::{Held, UNCOUNTED, memory_of};
use crate::upstream::replay::{Replay, joined};

/// A request whose document has been read.
pub(super) struct Related {
    parts: Parts<Recorded<Body>>,
    boundary: String,
}

/// A request, as far as it was read.
pub(super) enum Opened {
    /// The document, and what follows.
    Document(Held, Box<Related>),
    /// A request whose document exceeds `limits.document_bytes`: its original body.
    Long(Body),
}

impl Related {
    /// Returns the boundary between the parts.
    pub(super) fn boundary(&self) -> &str {
        &self.boundary
    }

    /// Reads the document, which is the first part.
    ///
    /// # Errors
    /// Returns CouchDB's refusal of anything else.
    pub(super) async fn open(gateway: &Gateway, body: Body, boundary: &str) -> Result<Opened, Error> {
        let limit = gateway.limits.document_bytes;
        let most = body.size_hint().upper().map_or(limit, |upper| upper.min(limit));
        let mut parts = Parts::of_request(Recorded::new(body), boundary);
        let headers = parts.next().await.map_err(failed)?.ok_or(Unfit::Cut)?;
        if multipart::media_type(&headers) != "application/json" {
            let reason = "Content-Type must be application/json";
            return Err(Error::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type", reason));
        }
        let (mut text, mut share) = (BytesMut::new(), None);
        while let Some(data) = parts.data().await.map_err(failed)? {
            if text.len() as u64 + data.len() as u64 > limit {
                let (frames, body) = parts.into_body().into_parts();
                return Ok(Opened::Long(Body::boxed(Replay { frames: frames.into(), body, share })));
            }
            text.put(data);
            if text.len() as u64 > UNCOUNTED && share.is_none() {
                share = gateway.budget.share(memory_of(most)).await;
            }
        }
        // How long the document would be was unknown. The parts that follow are not held.
        if let Some(share) = &mut share {
            share.shrink(memory_of(text.len() as u64));
        }
        let related = Box::new(Self { parts, boundary: boundary.to_owned() });
        Ok(Opened::Document(Held { bytes: text.freeze(), share }, related))
    }

    /// Returns the request's original body.
    pub(super) fn rewound(self) -> Body {
        let (frames, body) = self.parts.into_body().into_parts();
        Body::boxed(Replay { frames: frames.into(), body, share: None })
    }

    /// Returns the request's body with another document, followed by the rest as it arrives.
    pub(super) fn with_document(self, document: &[u8]) -> Body {
        let head = format!("--{}\r\nContent-Type: application/json\r\n\r\n", self.boundary);
        let (kept, body) = self.parts.into_body().into_parts();
        let kept = joined(kept.into());
        let rest = end_of_first(&kept, &self.boundary).map(|end| kept.slice(end..)).unwrap_or_default();
        let frames = [head.into(), Bytes::copy_from_slice(document), rest];
        Body::boxed(Replay { frames: frames.into(), body, share: None })
    }

    /// Returns the parts that follow, and frees what was recorded.
    pub(super) fn following(mut self) -> Following {
        self.parts.change_body(Recorded::forget);
        Following(Arc::new(Mutex::new(self.parts)))
    }
}

/// The attachments' parts, consumed one after the other.
#[derive(Clone)]
pub(super) struct Following(Arc<Mutex<Parts<Recorded<Body>>>>);

impl Following {
    fn parts(&self) -> MutexGuard<'_, Parts<Recorded<Body>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the parts of a whole request, including its document.
    pub(super) fn of(body: Body, boundary: &str) -> Self {
        let mut parts = Parts::of_request(Recorded::new(body), boundary);
        parts.change_body(Recorded::forget);
        Self(Arc::new(Mutex::new(parts)))
    }

    /// Skips the document.
    pub(super) async fn document(&self) -> Result<(), Error> {
        let head = std::future::poll_fn(|cx| self.parts().poll_next(cx)).await.map_err(failed)?;
        if head.is_none() {
            return Err(Unfit::Cut.into());
        }
        while std::future::poll_fn(|cx| self.parts().poll_data(cx)).await.map_err(failed)?.is_some() {}
        Ok(())
    }

    /// Returns the body of the next attachment, of `length` bytes. It may span several parts.
    pub(super) fn next(&self, length: u64) -> Body {
        Body::boxed(Attachment { following: self.clone(), left: length, ended: length == 0 })
    }

    /// Reads the rest of the request. CouchDB ignores parts that no entry refers to, and how they end.
    pub(super) async fn end(&self) -> Result<(), Error> {
        loop {
            match std::future::poll_fn(|cx| self.parts().poll_next(cx)).await {
                Ok(Some(_)) => {}
                Err(multipart::Error::Body(error)) => return Err(broken(error)),
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

/// The bytes of one attachment: exactly as many as in its entry, up to the end of a part.
struct Attachment {
    following: Following,
    left: u64,
    ended: bool,
}

impl Attachment {
    /// Polls the current part's data; `None` at its end.
    fn poll_parts(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, multipart::Error<BoxError>>> {
        self.following.parts().poll_data(cx)
    }
}

impl HttpBody for Attachment {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while !this.ended {
            match ready!(this.poll_parts(cx)) {
                Ok(Some(data)) => {
                    let left = this.left.checked_sub(data.len() as u64);
                    this.left = left.unwrap_or_default();
                    return Poll::Ready(Some(left.map(|_| Frame::data(data)).ok_or_else(|| Unfit::Longer.into())));
                }
                Err(multipart::Error::Body(error)) => return Poll::Ready(Some(Err(error))),
                // CouchDB does not read beyond the last byte.
                Ok(None) | Err(_) if this.left == 0 => this.ended = true,
                Ok(None) => match ready!(this.following.parts().poll_next(cx)) {
                    Ok(Some(_)) => {}
                    Ok(None) => return Poll::Ready(Some(Err(Unfit::Shorter.into()))),
                    Err(error) => return Poll::Ready(Some(Err(boxed(error)))),
                },
                Err(error) => return Poll::Ready(Some(Err(boxed(error)))),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The error for a part that does not match its entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unfit {
    Longer,
    Shorter,
    /// The request ended before its last delimiter.
    Cut,
    /// A part's headers do not end.
    Headers,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Longer => "attachment longer than expected",
            Self::Shorter => "attachment shorter than expected",
            Self::Cut => "the multipart body ended before its last delimiter",
            Self::Headers => "bad part header",
        })
    }
}

impl std::error::Error for Unfit {
    /// The client's fault, not that of the storage that the part was sent to.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&ClientGone::Unfit)
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::bad_request(unfit.to_string())
    }
}

/// Returns CouchDB's error for a storage failure that the parts caused.
pub(super) fn told(error: Error) -> Error {
    match &error {
        Error::Storage(_, inner) => cause::<Unfit>(inner).copied().map_or(error, Error::from),
        _ => error,
    }
}

fn boxed(error: multipart::Error<BoxError>) -> BoxError {
    match error {
        multipart::Error::Body(error) => error,
        multipart::Error::Cut => Unfit::Cut.into(),
        multipart::Error::Headers => Unfit::Headers.into(),
    }
}

fn failed(error: multipart::Error<BoxError>) -> Error {
    match error {
        multipart::Error::Body(error) => broken(error),
        multipart::Error::Cut => Unfit::Cut.into(),
        multipart::Error::Headers => Unfit::Headers.into(),
    }
}

/// Maps an error while reading the client's body.
pub(super) fn broken(error: BoxError) -> Error {
    if cause::<ClientGone>(&*error).is_some() {
        return Error::from(stowage_couch::Error::Body(error));
    }
    Error::Storage("".into(), storage::Error::of_body(error))
}
