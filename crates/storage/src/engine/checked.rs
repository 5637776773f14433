//! Verifies a download against the digest announced by its storage.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderMap;
use md5::digest::Output;
use md5::{Digest, Md5};
use sha2::Sha256;
use stowage_http::body::{Body, BoxError};

use super::verified::{Verdict, verified};

/// The digest of a whole object, as announced in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Announced {
    Sha256([u8; 32]),
    Md5([u8; 16]),
}

impl Announced {
    /// Parses `Repr-Digest` (RFC 9530 section 3), `Digest` (RFC 3230) or `Content-MD5` (RFC 1864) of a response with the whole object;
    /// anything else or malformed is ignored.
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
        Self::md5(md5.as_deref().or_else(|| text("content-md5"))?)
    }

    /// Verifies a body; its last frame is withheld until the digest of all bytes matches.
    pub(crate) fn check(self, body: Body) -> Body {
        match self {
            Self::Sha256(announced) => verified(body, Checked(Sha256::new(), announced)),
            Self::Md5(announced) => verified(body, Checked(Md5::new(), announced)),
        }
    }

    /// Parses a base64 MD5, as in `Content-MD5`.
    pub(crate) fn md5(text: &str) -> Option<Self> {
        Some(Self::Md5(STANDARD.decode(text.trim()).ok()?.try_into().ok()?))
    }
}

/// A digest in progress, and the announced one.
#[derive(Debug)]
struct Checked<D, const BYTES: usize>(D, [u8; BYTES]);

impl<D, const BYTES: usize> Verdict for Checked<D, BYTES>
where
    D: Digest + Send + 'static,
    [u8; BYTES]: From<Output<D>>,
{
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn end(self) -> Result<(), BoxError> {
        if <[u8; BYTES]>::from(self.0.finalize()) == self.1 {
            Ok(())
        } else {
            Err("the storage's digest does not fit what it sent".into())
        }
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

    use super::Announced;
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
            let body = |text: &'static str| collect(announced.clone().check(Body::full(text)), 99);
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
