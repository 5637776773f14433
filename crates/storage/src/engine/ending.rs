//! The last frame of a body waits for the verdict on the whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError};

/// What is found out about a body while it passes.
pub(crate) trait Verdict: Send + Unpin + 'static {
    /// Takes note of the next bytes.
    fn update(&mut self, _: &[u8]) {}

    /// What is to be said once the body has ended well.
    fn end(self) -> Result<(), BoxError>
    where
        Self: Sized,
    {
        Ok(())
    }
}

/// That the body has ended well is enough.
impl Verdict for () {}

/// Passes the last frame on only when the body has ended well, and the verdict on it is good.
///
/// A connection that sends a body, or a client that counts, stops at as many bytes as were announced: the end behind the last
/// frame would never be reached, and a failure there never be seen.
#[derive(Debug)]
pub(crate) struct ToTheEnd<V = ()> {
    body: Body,
    last: Option<Bytes>,
    /// `None` once the body is over.
    verdict: Option<V>,
}

impl<V> ToTheEnd<V> {
    pub(crate) const fn new(body: Body, verdict: V) -> Self {
        Self { body, last: None, verdict: Some(verdict) }
    }

    fn fail(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.last = None;
        self.verdict = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl<V: Verdict> HttpBody for ToTheEnd<V> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while let Some(verdict) = &mut this.verdict {
            let data = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return this.fail(error),
                None => match this.verdict.take().map_or(Ok(()), Verdict::end) {
                    Ok(()) => break,
                    Err(error) => return this.fail(error),
                },
            };
            if data.is_empty() {
                continue;
            }
            verdict.update(&data);
            if let Some(before) = this.last.replace(data) {
                return Poll::Ready(Some(Ok(Frame::data(before))));
            }
        }
        Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.verdict.is_none() && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.last.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A connection that has as many bytes as were announced, and fails then.
    #[tokio::test]
    async fn the_last_frame_never_passes_before_a_failure() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"01"))), Ok(Frame::data(Bytes::from_static(b"23")))];
        let frames = frames.into_iter().chain([Err(BoxError::from("refused"))]);
        let mut body = ToTheEnd::new(Body::boxed(StreamBody::new(stream::iter(frames))), ());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "01");
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "refused");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
}
