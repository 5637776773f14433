//! A body that ends well only if its MD5 is the one that was announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use md5::{Digest, Md5};
use stowage_http::body::{Body, BoxError};

/// Passes bytes on. The last frame is kept back until the MD5 of all is known: a body of the right length that ends in an
/// error would else look whole to whoever counts.
#[derive(Debug)]
pub(super) struct Checked {
    body: Body,
    last: Option<Bytes>,
    digest: Md5,
    /// In base64; gone once it was compared.
    announced: Option<String>,
}

impl Checked {
    /// `announced` is in base64, as in `Content-MD5`.
    pub(super) fn new(body: Body, announced: String) -> Self {
        Self { body, last: None, digest: Md5::new(), announced: Some(announced) }
    }
}

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while this.announced.is_some() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                let digest = STANDARD.encode(std::mem::take(&mut this.digest).finalize());
                if this.announced.take().is_some_and(|announced| announced != digest) {
                    this.last = None;
                    return Poll::Ready(Some(Err("the stored bytes are not those of their checksum".into())));
                }
                break;
            };
            let data = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    this.announced = None;
                    this.last = None;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            if data.is_empty() {
                continue;
            }
            this.digest.update(&data);
            if let Some(before) = this.last.replace(data) {
                return Poll::Ready(Some(Ok(Frame::data(before))));
            }
        }
        Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.announced.is_none() && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.last.as_ref().map_or(0, Bytes::len) as u64;
        self.body.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Checked};
    use stowage_http::body::collect;

    /// MD5 of `abc` (RFC 1321, appendix A.5) in base64.
    const ABC: &str = "kAFQmDzST7DWlj99KOF/cg==";

    #[tokio::test]
    async fn only_the_announced_bytes_end_well() {
        let read = |text: &'static str| collect(Checked::new(Body::full(text), ABC.to_owned()), 99);
        assert_eq!(read("abc").await.unwrap(), "abc");
        assert!(read("abd").await.is_err());
        assert!(read("").await.is_err());
        let empty = Checked::new(Body::empty(), "1B2M2Y8AsgTpgAmY7PhCfg==".to_owned());
        assert_eq!(collect(empty, 99).await.unwrap(), "");
    }
}
