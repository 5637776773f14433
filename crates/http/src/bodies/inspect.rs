//! Adapters that observe a body as it streams through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BoxError};

/// Result of polling a body.
pub type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Wraps a body without changing its length. `look` sees the result of each poll and whether it was the last, and may replace the
/// result; it is dropped with the body.
pub fn inspected<B, F>(body: B, look: F) -> Body
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    F: FnMut(&mut Context<'_>, Polled, bool) -> Polled + Send + Unpin + 'static,
{
    Body::boxed(Inspected { body, look })
}

struct Inspected<B, F> {
    body: B,
    look: F,
}

impl<B, F> HttpBody for Inspected<B, F>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    F: FnMut(&mut Context<'_>, Polled, bool) -> Polled + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        (this.look)(cx, polled, this.body.is_end_stream())
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that records what is read from it until told to stop.
#[derive(Debug)]
pub struct Recorded<B> {
    body: B,
    kept: Option<Vec<Bytes>>,
}

impl<B> Recorded<B> {
    /// Starts recording.
    pub const fn new(body: B) -> Self {
        Self { body, kept: Some(Vec::new()) }
    }

    /// Discards the recording and stops.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Returns the recorded frames and the rest of the body.
    pub fn into_parts(self) -> (Vec<Bytes>, B) {
        (self.kept.unwrap_or_default(), self.body)
    }
}

impl<B> HttpBody for Recorded<B>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
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
