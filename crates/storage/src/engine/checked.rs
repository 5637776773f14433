//! A download compared with the digest that its storage announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use md5::{Digest, Md5};
use sha2::Sha256;
use stowage_http::body::{Body, BoxError};

/// A digest of a whole object, as headers announce it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Announced {
    Sha256([u8; 32]),
    Md5([u8; 16]),
}

impl Announced {
    /// `Repr-Digest` (RFC 9530 section 3), `Digest` (RFC 3230) or `Content-MD5` (RFC 1864) of an answer with the whole
    /// object; what is none of these or cannot be read says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let listed = |text: &str, algorithm: &str| {
            let mut items = text.split(',').filter_map(|item| item.trim().split_once('='));
            items.find(|(name, _)| name.eq_ignore_ascii_case(algorithm)).map(|(_, value)| value.to_owned())
        };
        let repr = text("repr-digest").and_then(|text| {
            let value = listed(text, "sha-256")?;
            Some(value.strip_prefix(':')?.strip_suffix(':')?.to_owned())
        });
        let sha256 = repr.or_else(|| listed(text("digest")?, "sha-256"));
        if let Some(digest) = sha256.and_then(|value| STANDARD.decode(value).ok()?.try_into().ok()) {
            return Some(Self::Sha256(digest));
        }
        let md5 = text("digest").and_then(|text| listed(text, "md5"));
        let md5 = md5.or_else(|| text("content-md5").map(|text| text.trim().to_owned()));
        Some(Self::Md5(STANDARD.decode(md5?).ok()?.try_into().ok()?))
    }
}

/// Passes the last frame on only when all bytes together have the announced digest.
#[derive(Debug)]
pub(crate) struct Checked {
    body: Body,
    hasher: Option<Hasher>,
    last: Option<Bytes>,
}

#[derive(Debug)]
enum Hasher {
    Sha256(Sha256, [u8; 32]),
    Md5(Md5, [u8; 16]),
}

impl Hasher {
    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher, _) => hasher.update(data),
            Self::Md5(hasher, _) => hasher.update(data),
        }
    }

    fn fits(self) -> bool {
        match self {
            Self::Sha256(hasher, announced) => <[u8; 32]>::from(hasher.finalize()) == announced,
            Self::Md5(hasher, announced) => <[u8; 16]>::from(hasher.finalize()) == announced,
        }
    }
}

impl Checked {
    pub(crate) fn new(body: Body, announced: Announced) -> Self {
        let hasher = match announced {
            Announced::Sha256(digest) => Hasher::Sha256(Sha256::new(), digest),
            Announced::Md5(digest) => Hasher::Md5(Md5::new(), digest),
        };
        Self { body, hasher: Some(hasher), last: None }
    }
}

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while let Some(hasher) = &mut this.hasher {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                if this.hasher.take().is_some_and(|hasher| !hasher.fits()) {
                    this.last = None;
                    return Poll::Ready(Some(Err("the storage's digest does not fit what it sent".into())));
                }
                break;
            };
            let Ok(data) = frame?.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            hasher.update(&data);
            if let Some(before) = this.last.replace(data) {
                return Poll::Ready(Some(Ok(Frame::data(before))));
            }
        }
        Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.hasher.is_none() && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.last.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderMap;
    use http::header::HeaderName;
    use md5::{Digest, Md5};
    use sha2::Sha256;

    use super::{Announced, Checked};
    use stowage_http::body::{Body, collect};

    fn announced(headers: &[(&'static str, String)]) -> Option<Announced> {
        let pairs = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Announced::of(&pairs.collect::<HeaderMap>())
    }

    #[tokio::test]
    async fn announced_digests_are_compared() {
        let (sha256, md5) = (STANDARD.encode(Sha256::digest("abc")), STANDARD.encode(Md5::digest("abc")));
        for (name, value) in [
            ("repr-digest", format!("sha-512=:AAAA:, sha-256=:{sha256}:")),
            ("digest", format!("SHA-256={sha256}")),
            ("digest", format!("unixsum=5,MD5={md5}")),
            ("content-md5", md5.clone()),
        ] {
            let announced = announced(&[(name, value.clone())]).expect("a digest");
            let body = |text: &'static str| collect(Body::boxed(Checked::new(Body::full(text), announced.clone())), 99);
            assert_eq!(body("abc").await.unwrap(), "abc", "{name}: {value}");
            for wrong in ["abd", "ab", "", "abcd"] {
                assert!(body(wrong).await.is_err(), "{name}: {value} {wrong}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for (name, value) in
            [("repr-digest", "sha-256=abc"), ("digest", "sha-256=x"), ("content-md5", "AAAA"), ("etag", "x")]
        {
            assert_eq!(announced(&[(name, value.to_owned())]), None, "{name}: {value}");
        }
        assert_eq!(announced(&[]), None);
    }
}
