//! The parts of a multipart/related request: the document first, then the bytes of its attachments in the order of the
//! entries that say `follows`, whatever the parts' own headers say (`couch_httpd_multipart` of CouchDB).

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::super::Gateway;
use super::body::{Held, Replay, UNCOUNTED, memory_of};
use crate::error::Error;
use crate::http::body::{Body, BoxError, ClientGone, cause};
use crate::http::multipart::{self, Parts, end_of_first};
use crate::storage;

/// A request of which the document has been read.
pub(super) struct Related {
    parts: Parts<Tape>,
    boundary: String,
}

/// What the first part is.
pub(super) enum First {
    Document(Held, Box<Related>),
    /// Nothing that the gateway understands: the body as it came.
    Other(Body),
    /// The document is longer than `limits.document_bytes`.
    TooLong,
}

/// The body that the parts were read from; there is always one, because nobody asks twice.
fn as_it_came(parts: Parts<Tape>) -> Body {
    parts.into_body().map_or_else(|_| Body::empty(), Tape::rewound)
}

impl Related {
    /// What stands between the parts.
    pub(super) fn boundary(&self) -> &str {
        &self.boundary
    }

    /// Reads the document.
    pub(super) async fn open(gateway: &Gateway, body: Body, boundary: &str) -> Result<First, Error> {
        let limit = gateway.limits.document_bytes;
        let most = body.size_hint().upper().map_or(limit, |upper| upper.min(limit));
        let mut parts = Parts::new(Tape { body, kept: Some(VecDeque::new()) }, boundary);
        match parts.next().await {
            Ok(Some(headers)) => {
                let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if !kind.starts_with("application/json") {
                    return Ok(First::Other(as_it_came(parts)));
                }
            }
            Err(multipart::Error::Body(error)) => return Err(broken(error)),
            Ok(None) | Err(_) => return Ok(First::Other(as_it_came(parts))),
        }
        let (mut text, mut share) = (BytesMut::new(), None);
        loop {
            match parts.data().await {
                Ok(Some(data)) if text.len() as u64 + data.len() as u64 > limit => return Ok(First::TooLong),
                Ok(Some(data)) => text.put(data),
                Ok(None) => break,
                Err(multipart::Error::Body(error)) => return Err(broken(error)),
                Err(_) => return Ok(First::Other(as_it_came(parts))),
            }
            if text.len() as u64 > UNCOUNTED && share.is_none() {
                share = gateway.budget.share(memory_of(most)).await;
            }
        }
        let related = Box::new(Self { parts, boundary: boundary.to_owned() });
        Ok(First::Document(Held { bytes: text.freeze(), share }, related))
    }

    /// The request as it came.
    pub(super) fn rewound(self) -> Body {
        as_it_came(self.parts)
    }

    /// The request with another document, and the rest as it comes.
    pub(super) fn with_document(self, document: &[u8]) -> Body {
        let head = format!("--{}\r\nContent-Type: application/json\r\n\r\n", self.boundary);
        let Ok(tape) = self.parts.into_body() else { return Body::empty() };
        let kept: Bytes = tape.kept.into_iter().flatten().flatten().collect();
        let rest = end_of_first(&kept, &self.boundary).map(|end| kept.slice(end..)).unwrap_or_default();
        let frames = [head.into(), Bytes::copy_from_slice(document), rest];
        Body::boxed(Replay { frames: frames.into(), body: tape.body, share: None })
    }

    /// The parts that follow; what was read is forgotten.
    pub(super) fn following(mut self) -> Following {
        self.parts.change_body(|tape| tape.kept = None);
        Following(Arc::new(Mutex::new(self.parts)))
    }
}

/// A body that remembers what was read of it.
struct Tape {
    body: Body,
    kept: Option<VecDeque<Bytes>>,
}

impl Tape {
    fn rewound(self) -> Body {
        Body::boxed(Replay { frames: self.kept.unwrap_or_default(), body: self.body, share: None })
    }
}

impl HttpBody for Tape {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let (Some(kept), Some(Ok(frame))) = (&mut this.kept, &frame) {
            kept.extend(frame.data_ref().cloned());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The attachments' parts, taken one after the other.
#[derive(Clone)]
pub(super) struct Following(Arc<Mutex<Parts<Tape>>>);

impl Following {
    fn parts(&self) -> MutexGuard<'_, Parts<Tape>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parts of a whole request, from before its document.
    pub(super) fn of(body: Body, boundary: &str) -> Self {
        Self(Arc::new(Mutex::new(Parts::new(Tape { body, kept: None }, boundary))))
    }

    /// Goes to the document.
    pub(super) async fn document(&self) -> Result<(), Error> {
        match std::future::poll_fn(|cx| self.parts().poll_next(cx)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Unfit::Cut.into()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Goes to the next part.
    pub(super) async fn next(&self, length: u64) -> Result<Body, Error> {
        match std::future::poll_fn(|cx| self.parts().poll_next(cx)).await {
            Ok(Some(_)) => Ok(Body::boxed(Part { following: self.clone(), left: length, ended: false })),
            Ok(None) => Err(Unfit::Shorter.into()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Looks whether the request ends as it should. Parts that nobody waits for are passed over.
    pub(super) async fn end(&self) -> Result<(), Error> {
        loop {
            match std::future::poll_fn(|cx| self.parts().poll_next(cx)).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// One part, which has to be exactly as long as its entry says.
struct Part {
    following: Following,
    left: u64,
    ended: bool,
}

impl HttpBody for Part {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let data = ready!(this.following.parts().poll_data(cx));
        Poll::Ready(match data {
            Ok(Some(data)) => Some(match this.left.checked_sub(data.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Ok(Frame::data(data))
                }
                None => Err(Unfit::Longer.into()),
            }),
            Ok(None) if this.left > 0 => Some(Err(Unfit::Shorter.into())),
            Ok(None) => {
                this.ended = true;
                None
            }
            Err(error) => Some(Err(boxed(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A part does not fit its entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unfit {
    Longer,
    Shorter,
    /// The request ended before its last delimiter, or in what are no headers.
    Cut,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Longer => "attachment longer than expected",
            Self::Shorter => "attachment shorter than expected",
            Self::Cut => "the multipart body ended before its last delimiter",
        })
    }
}

impl std::error::Error for Unfit {
    /// The client's doing, not the storage's that the part was on its way to.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&ClientGone::Unfit)
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "bad_request", unfit.to_string())
    }
}

/// CouchDB's word for a storage's failure that the parts are the cause of.
pub(super) fn told(error: Error) -> Error {
    match &error {
        Error::Storage(_, inner) => cause::<Unfit>(inner).copied().map_or(error, Error::from),
        _ => error,
    }
}

fn boxed(error: multipart::Error<BoxError>) -> BoxError {
    match error {
        multipart::Error::Body(error) => error,
        multipart::Error::Cut | multipart::Error::Headers => Unfit::Cut.into(),
    }
}

fn failed(error: multipart::Error<BoxError>) -> Error {
    match error {
        multipart::Error::Body(error) => broken(error),
        multipart::Error::Cut | multipart::Error::Headers => Unfit::Cut.into(),
    }
}

/// The client's body failed while the gateway read it.
pub(super) fn broken(error: BoxError) -> Error {
    if cause::<ClientGone>(&*error).is_some() {
        return Error::from(crate::couch::Error::Body(error));
    }
    Error::Storage("".into(), storage::Error::of_body(error))
}
