//! Adapters that observe a body as it streams through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
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

/// Frames of a body that are kept in memory, in order.
///
/// Small frames are copied into common buffers: kept as it is, a frame of one byte holds the buffer that it was read into, which no
/// budget counts. Large frames are kept without a copy, and so is the first one, because most bodies have no other.
#[derive(Debug, Default)]
pub struct Frames {
    kept: Vec<Bytes>,
    /// The small frames behind those that are kept.
    small: BytesMut,
}

impl Frames {
    /// Appends a frame.
    pub fn push(&mut self, data: Bytes) {
        let is_first = self.kept.is_empty();
        if is_first || data.len() >= SMALL || self.small.len() + data.len() > MERGED {
            self.close();
        }
        if is_first || data.len() >= SMALL {
            self.kept.push(data);
        } else {
            self.small.extend_from_slice(&data);
        }
    }

    /// Returns the frames.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Bytes> {
        self.close();
        self.kept
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.kept.push(std::mem::take(&mut self.small).freeze());
        }
    }
}

/// The size in bytes from which a frame is kept without a copy.
const SMALL: usize = 4 << 10;
/// The largest buffer of small frames, in bytes.
const MERGED: usize = 64 << 10;

/// A body that records what is read from it until told to stop.
#[derive(Debug)]
pub struct Recorded<B> {
    body: B,
    kept: Option<Frames>,
}

impl<B> Recorded<B> {
    /// Starts recording.
    pub fn new(body: B) -> Self {
        Self { body, kept: Some(Frames::default()) }
    }

    /// Discards the recording and stops.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Returns the recorded frames and the rest of the body.
    pub fn into_parts(self) -> (Vec<Bytes>, B) {
        (self.kept.map(Frames::into_vec).unwrap_or_default(), self.body)
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
        if let (Some(kept), Some(Ok(frame))) = (&mut this.kept, &frame)
            && let Some(data) = frame.data_ref()
        {
            kept.push(data.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_merged_and_large_ones_are_not_copied() {
        let (mut frames, large) = (Frames::default(), Bytes::from(vec![b'x'; SMALL]));
        for _ in 0..=100_000 {
            frames.push(Bytes::from_static(b"a"));
        }
        frames.push(large.clone());
        frames.push(Bytes::from_static(b"b"));
        let frames = frames.into_vec();
        let lengths: Vec<usize> = frames.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [1, MERGED, 100_000 - MERGED, SMALL, 1]);
        assert_eq!(frames[3].as_ptr(), large.as_ptr());
        assert!(frames[1].iter().chain(&frames[2]).all(|byte| *byte == b'a'));
        assert_eq!(frames[4], "b");
    }
}
