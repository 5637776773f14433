//! The last frame of an upload waits for the upload's end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError};

/// Passes the last frame on only when the body has ended well.
///
/// A connection stops reading a body once it has as many bytes as were announced. Without this the end of an upload, and
/// with it its digests and the check of its length, would never be reached.
#[derive(Debug)]
pub(crate) struct ToTheEnd {
    body: Body,
    last: Option<Bytes>,
    ended: bool,
}

impl ToTheEnd {
    pub(crate) const fn new(body: Body) -> Self {
        Self { body, last: None, ended: false }
    }
}

impl HttpBody for ToTheEnd {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                this.ended = true;
                break;
            };
            let Ok(data) = frame?.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            if let Some(before) = this.last.replace(data) {
                return Poll::Ready(Some(Ok(Frame::data(before))));
            }
        }
        Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.last.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}
