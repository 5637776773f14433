//! Withholds the last frame of a body until the whole body is verified.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use stowage_http::body::{Body, BoxError};
use stowage_http::range::Exact;
use stowage_http::written::written;

/// A check that runs on a body as it streams through.
pub(crate) trait Verdict: Send + 'static {
    /// Processes the next bytes.
    fn update(&mut self, _: &[u8]) {}

    /// Returns the verdict once the body has ended without error.
    fn end(self) -> Result<(), BoxError>
    where
        Self: Sized,
    {
        Ok(())
    }
}

/// Only requires the body to end without error.
impl Verdict for () {}

/// Wraps a body so that its last frame is withheld until it has ended without error and the verdict is good.
///
/// A connection that sends a body, or a client that counts, stops at the announced length: it would never reach the end after the last
/// frame, and never see a failure there.
pub(crate) fn verified(mut body: Body, mut verdict: impl Verdict) -> Body {
    let length = body.size_hint().exact();
    let verified = written(move |mut out| async move {
        let mut last = Bytes::new();
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            if !data.is_empty() {
                verdict.update(&data);
                out.send(std::mem::replace(&mut last, data)).await;
            }
        }
        verdict.end()?;
        out.send(last).await;
        Ok(())
    });
    Exact::announced(verified, length)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// A connection that delivers the announced length and then fails.
    #[tokio::test]
    async fn the_last_frame_never_passes_before_a_failure() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"01"))), Ok(Frame::data(Bytes::from_static(b"23")))];
        let frames = frames.into_iter().chain([Err(BoxError::from("refused"))]);
        let mut body = verified(Body::boxed(StreamBody::new(stream::iter(frames))), ());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "01");
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "refused");
        assert!(body.frame().await.is_none());
    }
}
