//! Undoing gzip for clients that do not accept it, as CouchDB does for attachments that came gzipped.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body::{Body as HttpBody, Frame};

use super::body::{Body, BoxError};

/// Decompresses a body as it flows. One frame in gives one frame out, so memory is bounded by the compression of a frame.
#[derive(Debug)]
pub struct Gunzip {
    body: Body,
    decoder: Option<GzDecoder<Vec<u8>>>,
}

impl Gunzip {
    /// Decompresses `body`.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, decoder: Some(GzDecoder::new(Vec::new())) }
    }
}

impl HttpBody for Gunzip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let Some(decoder) = &mut this.decoder else { return Poll::Ready(None) };
            let plain = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => {
                    let Ok(data) = frame?.into_data() else { continue };
                    // Small steps keep what a hostile body can grow to at once small.
                    decoder.write_all(&data)?;
                    std::mem::take(decoder.get_mut())
                }
                None => {
                    let Some(decoder) = this.decoder.take() else { return Poll::Ready(None) };
                    decoder.finish()?
                }
            };
            if !plain.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(plain.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::{Body, Gunzip};
    use crate::http::body::collect;

    #[tokio::test]
    async fn what_was_packed_comes_out_and_a_cut_body_fails() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"hello attachment\n").unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(collect(Gunzip::new(Body::full(packed.clone())), 99).await.unwrap(), "hello attachment\n");
        assert!(collect(Gunzip::new(Body::full(packed[..packed.len() - 6].to_vec())), 99).await.is_err());
        assert!(collect(Gunzip::new(Body::full("no gzip")), 99).await.is_err());
    }
}
