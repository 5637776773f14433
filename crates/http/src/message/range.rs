//! `Range` as CouchDB interprets it, `Content-Range`, and cutting a whole body to a range.
//!
//! CouchDB accepts what mochiweb parses: `bytes=` and a list of `a-b`, `a-`, `-n` (and `a`, meaning `a-`); anything else is ignored
//! and the whole attachment is sent, as RFC 9110 section 14.2 permits. A suffix range never includes the first byte, a bug in
//! `chttpd_db:parse_ranges/3`; it is harmless, because the response states which bytes it contains.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BoxError};

/// Bytes `first` to `last`, inclusive, of a body longer than `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub first: u64,
    /// Last byte, inclusive.
    pub last: u64,
}

impl ByteRange {
    /// Returns the length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Returns the `Range` header value that requests it.
    #[must_use]
    pub fn header(self) -> String {
        format!("bytes={}-{}", self.first, self.last)
    }
}

/// What a `Range` header requests of a body with a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The whole body: 200.
    Whole,
    /// One range: 206.
    Part(ByteRange),
    /// Several ranges: 206 with `multipart/byteranges`.
    Parts(Vec<ByteRange>),
    /// Out of range: 416.
    Unsatisfiable,
}

/// Parses a `Range` header for a body of `total` bytes.
#[must_use]
pub fn requested(header: Option<&str>, total: u64) -> Requested {
    let Some(specs) = header.and_then(parse) else { return Requested::Whole };
    let mut parts = Vec::with_capacity(specs.len());
    for spec in specs {
        let range = match spec {
            Spec::From(0) => return Requested::Whole,
            Spec::From(first) => span(first, total.checked_sub(1), total),
            Spec::Between(first, last) => span(first, Some(last), total),
            Spec::Suffix(0) => None,
            // CouchDB first clips the count to `total - 1`, as if it were a last byte, and then counts back by that.
            Spec::Suffix(count) => span(total.saturating_sub(count).max(1), total.checked_sub(1), total),
        };
        let Some(range) = range else { return Requested::Unsatisfiable };
        parts.push(range);
    }
    match parts.as_slice() {
        [] => Requested::Whole,
        [one] => Requested::Part(*one),
        many if many.len() >= MOST_PARTS => Requested::Whole,
        _ => Requested::Parts(parts),
    }
}

/// Parses `Content-Range: bytes first-last/total`; the total is `None` if the server does not know it.
#[must_use]
pub fn content_range(value: &str) -> Option<(ByteRange, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    let sound = first <= last && total.is_none_or(|total| last < total);
    sound.then_some((ByteRange { first, last }, total))
}

enum Spec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

fn parse(header: &str) -> Option<Vec<Spec>> {
    let list = header.strip_prefix("bytes=")?;
    list.split(',').map(str::trim).filter(|spec| !spec.is_empty()).map(parse_one).collect()
}

fn parse_one(spec: &str) -> Option<Spec> {
    if let Some(count) = spec.strip_prefix('-') {
        return count.parse().ok().map(Spec::Suffix);
    }
    match spec.split_once('-') {
        None | Some((_, "")) => spec.trim_end_matches('-').parse().ok().map(Spec::From),
        Some((first, last)) => Some(Spec::Between(first.parse().ok()?, last.parse().ok()?)),
    }
}

fn span(first: u64, last: Option<u64>, total: u64) -> Option<ByteRange> {
    let last = last?.min(total.checked_sub(1)?);
    (first <= last).then_some(ByteRange { first, last })
}

/// CouchDB sends the whole attachment if at least this many ranges are requested.
const MOST_PARTS: usize = 10;

/// Passes on only the bytes of a range of a whole body, and ends without reading further.
#[derive(Debug)]
pub struct Cut {
    body: Body,
    skip: u64,
    left: u64,
}

impl Cut {
    /// Cuts `body`, which begins at byte 0, to `range`.
    #[must_use]
    pub const fn new(body: Body, range: ByteRange) -> Self {
        Self { body, skip: range.first, left: range.len() }
    }
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while this.left > 0 {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                return Poll::Ready(Some(Err("the body ended before the end of the range".into())));
            };
            let Ok(mut data) = frame?.into_data() else { continue };
            let skipped = this.skip.min(data.len() as u64);
            this.skip -= skipped;
            let rest = data.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
            if rest.is_empty() {
                continue;
            }
            let taken = rest.slice(..usize::try_from(this.left).unwrap_or(usize::MAX).min(rest.len()));
            this.left -= taken.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(taken))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Fails a body that is not exactly as long as announced: a truncated body must never look complete.
#[derive(Debug)]
pub struct Exact {
    body: Body,
    left: u64,
    ended: bool,
}

impl Exact {
    /// `length` is the announced length in bytes.
    #[must_use]
    pub const fn new(body: Body, length: u64) -> Self {
        Self { body, left: length, ended: false }
    }

    /// Checks the body's length if one was announced.
    #[must_use]
    pub fn announced(body: Body, length: Option<u64>) -> Body {
        match length {
            Some(length) => Body::boxed(Self::new(body, length)),
            None => body,
        }
    }
}

impl HttpBody for Exact {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                this.ended = true;
                if this.left > 0 {
                    return Poll::Ready(Some(Err("the stored object is shorter than its document says".into())));
                }
                continue;
            };
            let Ok(data) = frame?.into_data() else { continue };
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                this.ended = true;
                return Poll::Ready(Some(Err("the stored object is longer than its document says".into())));
            };
            this.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.left == 0 && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;

    use super::{Body, ByteRange, Cut, Exact, Requested, content_range, requested};
    use crate::body::collect;

    const fn part(first: u64, last: u64) -> Requested {
        Requested::Part(ByteRange { first, last })
    }

    #[test]
    fn as_couchdb_reads_them() {
        let cases = [
            ("bytes=0-9", part(0, 9)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=2040-", part(2040, 2047)),
            ("bytes=2040", part(2040, 2047)),
            ("bytes=-5", part(2043, 2047)),
            ("bytes=-2047", part(1, 2047)),
            ("bytes=-2048", part(1, 2047)),
            ("bytes=-5000", part(1, 2047)),
            ("bytes=0-", Requested::Whole),
            ("bytes=0-999999", part(0, 2047)),
            ("bytes=2048-", Requested::Unsatisfiable),
            ("bytes=99999-", Requested::Unsatisfiable),
            ("bytes=9-0", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("items=0-1", Requested::Whole),
            ("bytes=x", Requested::Whole),
            ("bytes=x-y", Requested::Whole),
            ("bytes=1 - 2", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=0-1,2048-", Requested::Unsatisfiable),
            ("bytes=", Requested::Whole),
            ("bytes=1-2,x", Requested::Whole),
            ("bytes=0-1, 9-3", Requested::Unsatisfiable),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9", Requested::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(requested(Some(header), 2048), expected, "{header}");
        }
        let two = vec![ByteRange { first: 0, last: 1 }, ByteRange { first: 4, last: 5 }];
        for header in ["bytes=0-1,4-5", "bytes=0-1, 4-5"] {
            assert_eq!(requested(Some(header), 2048), Requested::Parts(two.clone()));
        }
        assert_eq!(requested(Some("bytes=0-9"), 0), Requested::Unsatisfiable);
        assert_eq!(requested(Some("bytes=-2"), 1), Requested::Unsatisfiable);
        assert_eq!(requested(None, 2048), Requested::Whole);
    }

    proptest! {
        #[test]
        fn what_is_cut_lies_inside(header in "(bytes=)?[-0-9, x]{0,20}", length in 0_u64..50) {
            let parts = match requested(Some(&header), length) {
                Requested::Part(part) => vec![part],
                Requested::Parts(parts) => parts,
                Requested::Whole | Requested::Unsatisfiable => Vec::new(),
            };
            prop_assert!(parts.iter().all(|part| part.first <= part.last && part.last < length));
        }
    }

    #[test]
    fn content_ranges_are_checked() {
        assert_eq!(content_range("bytes 0-9/2048"), Some((ByteRange { first: 0, last: 9 }, Some(2048))));
        assert_eq!(content_range("bytes 5-9/*"), Some((ByteRange { first: 5, last: 9 }, None)));
        for nonsense in ["bytes 9-0/10", "bytes 0-10/10", "bytes */10", "0-9/10", "bytes a-b/c", ""] {
            assert_eq!(content_range(nonsense), None, "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_cut_gives_the_range_and_fails_on_a_short_body() {
        let range = ByteRange { first: 2, last: 4 };
        let cut = |text: &'static str| Cut::new(Body::full(text), range);
        assert_eq!(collect(cut("0123456"), 99).await.unwrap(), "234");
        assert_eq!(collect(cut("01234"), 99).await.unwrap(), "234");
        assert!(collect(cut("0123"), 99).await.is_err());
        assert!(collect(cut(""), 99).await.is_err());
    }

    #[tokio::test]
    async fn an_exact_body_is_neither_short_nor_long() {
        assert_eq!(collect(Exact::new(Body::full("abc"), 3), 99).await.unwrap(), "abc");
        assert!(collect(Exact::new(Body::full("abc"), 4), 99).await.is_err());
        assert!(collect(Exact::new(Body::full("abc"), 2), 99).await.is_err());
        assert_eq!(collect(Exact::new(Body::empty(), 0), 99).await.unwrap(), "");
    }
}
