//! Undoing gzip for clients that do not accept it, as CouchDB does for attachments that came gzipped.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body::{Body as HttpBody, Frame};

use super::body::{Body, BoxError};

/// Decompresses a body as it flows, a few KiB at a time, so that memory is bounded by the compression of these.
#[derive(Debug)]
pub struct Gunzip {
    body: Body,
    /// Of the last frame, what is still to be decompressed.
    rest: Bytes,
    decoder: Option<GzDecoder<Vec<u8>>>,
}

impl Gunzip {
    /// Decompresses `body`.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), decoder: Some(GzDecoder::new(Vec::new())) }
    }
}

impl HttpBody for Gunzip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let Some(decoder) = &mut this.decoder else { return Poll::Ready(None) };
            if !this.rest.is_empty() {
                // Small steps keep what a hostile body can grow to at once small.
                let step = this.rest.split_to(STEP.min(this.rest.len()));
                decoder.write_all(&step)?;
                let plain = std::mem::take(decoder.get_mut());
                if !plain.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(plain.into()))));
                }
                continue;
            }
            let plain = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        this.rest = data;
                    }
                    continue;
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

/// How much is decompressed at once: it can grow a thousandfold.
const STEP: usize = 4096;

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
