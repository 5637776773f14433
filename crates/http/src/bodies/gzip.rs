//! Decompression of gzip (RFC 1952): of requests, and of gzipped attachments for clients that do not accept gzip.
//!
//! A gzip stream may consist of several members; the content is all of them in sequence.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::write::GzDecoder;
use http_body::{Body as HttpBody, Frame};

use crate::body::{Body, BoxError};

/// Decompresses a body as it streams, a few KiB of input at a time, which bounds memory even at extreme compression ratios.
#[derive(Debug)]
pub struct Gunzip {
    body: Body,
    /// Received input that is not yet decompressed.
    rest: BytesMut,
    state: State,
    /// Whether bytes outside a member are an error.
    strict: bool,
    /// The first output, already read by [`Self::begun`].
    first: Option<Bytes>,
    failed: Option<BoxError>,
}

#[derive(Debug)]
enum State {
    /// Before a member; `true` before the first one.
    Before(bool),
    Inside(Box<GzDecoder<Vec<u8>>>),
    /// The input was not gzip from the start and passes through unchanged.
    Plain,
    /// Skips trailing bytes after the last member.
    Behind,
    End,
}

/// The input is not gzip, or is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the gzip is damaged: {0}")]
pub struct Damaged(io::Error);

impl Gunzip {
    /// Decompresses a gzipped request. Anything but complete members is an error, as in CouchDB (`zlib:gunzip/1`).
    #[must_use]
    pub fn strict(body: Body) -> Self {
        Self::new(body, true)
    }

    /// Decompresses a stored attachment. CouchDB accepts anything declared as gzip, so this reads as much as is valid: trailing bytes
    /// after the last member are skipped, and input that is not gzip at all passes through unchanged.
    #[must_use]
    pub fn tolerant(body: Body) -> Self {
        Self::new(body, false)
    }

    fn new(body: Body, strict: bool) -> Self {
        Self { body, rest: BytesMut::new(), state: State::Before(true), strict, first: None, failed: None }
    }

    /// Reads up to the first bytes of output, so that a response head sent afterwards is followed by some data.
    ///
    /// # Errors
    /// The body's errors, and [`Damaged`] if the gzip is already invalid there.
    pub async fn begun(mut self) -> Result<Self, BoxError> {
        self.first = poll_fn(|cx| self.poll_plain(cx)).await?;
        Ok(self)
    }

    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        loop {
            if let Some(plain) = self.step().map_err(Damaged)? {
                return Poll::Ready(Ok(Some(plain)));
            }
            if matches!(self.state, State::End) {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => self.rest.extend_from_slice(&frame?.into_data().unwrap_or_default()),
                None => return Poll::Ready(self.end().map_err(|error| Damaged(error).into())),
            }
        }
    }

    /// Decompresses some buffered input; returns `None` if more is needed.
    fn step(&mut self) -> io::Result<Option<Bytes>> {
        while !self.rest.is_empty() {
            match &mut self.state {
                State::Before(first) => {
                    let begin = self.rest.get(..MAGIC.len().min(self.rest.len())).unwrap_or_default();
                    if !MAGIC.starts_with(begin) {
                        self.state = if *first { State::Plain } else { State::Behind };
                        if self.strict {
                            return Err(io::Error::new(io::ErrorKind::InvalidData, "no gzip"));
                        }
                    } else if begin.len() == MAGIC.len() {
                        self.state = State::Inside(Box::new(GzDecoder::new(Vec::new())));
                    } else {
                        return Ok(None);
                    }
                }
                State::Inside(decoder) => {
                    // Small steps limit how much output a hostile body can produce at once.
                    let step = self.rest.get(..STEP.min(self.rest.len())).unwrap_or_default();
                    let read = decoder.write(step)?;
                    self.rest.advance(read);
                    let mut plain = std::mem::take(decoder.get_mut());
                    if read == 0 {
                        plain.extend(self.ended()?);
                        self.state = State::Before(false);
                    }
                    if !plain.is_empty() {
                        return Ok(Some(plain.into()));
                    }
                }
                State::Plain => return Ok(Some(self.rest.split().freeze())),
                State::Behind | State::End => self.rest.clear(),
            }
        }
        Ok(None)
    }

    /// Finishes a member, verifying its checksum.
    fn ended(&mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Inside(decoder) => decoder.finish(),
            _ => Ok(Vec::new()),
        }
    }

    /// Handles the end of the input.
    fn end(&mut self) -> io::Result<Option<Bytes>> {
        let nothing = matches!(self.state, State::Before(true));
        let plain = self.ended()?;
        if self.strict && (nothing || !self.rest.is_empty()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A single byte cannot be distinguished from the start of a member until here.
        let rest = self.rest.split();
        let plain = if nothing { rest.freeze() } else { plain.into() };
        Ok(Some(plain).filter(|plain| !plain.is_empty()))
    }
}

impl HttpBody for Gunzip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(error) = this.failed.take() {
            this.state = State::End;
            return Poll::Ready(Some(Err(error)));
        }
        if matches!(this.state, State::End) {
            return Poll::Ready(None);
        }
        match ready!(this.poll_plain(cx)) {
            Ok(plain) => Poll::Ready(plain.map(|plain| Ok(Frame::data(plain)))),
            // hyper discards unsent output, including the response head, when the body fails on the same poll; so delay the error by one.
            Err(error) => {
                this.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// Magic number of a member.
const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Input decompressed per step; it may expand a thousandfold.
const STEP: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::body::collect;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn in_pieces(bytes: &[u8], size: usize) -> Body {
        let pieces: Vec<_> =
            bytes.chunks(size).map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
    }

    async fn both(bytes: &[u8], size: usize) -> (Option<Bytes>, Option<Bytes>) {
        let request = collect(Gunzip::strict(in_pieces(bytes, size)), 9_999_999).await;
        let attachment = collect(Gunzip::tolerant(in_pieces(bytes, size)), 9_999_999).await;
        (request.ok(), attachment.ok())
    }

    #[tokio::test]
    async fn all_members_come_out_however_the_bytes_come() {
        let (one, two) = (packed(b"hello attachment\n"), packed(b"and more\n"));
        let empty = packed(b"");
        let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        for size in 1..90 {
            assert_eq!(both(&one, size).await, (text("hello attachment\n"), text("hello attachment\n")));
            let members = [&*one, &empty, &two, &empty].concat();
            let whole = text("hello attachment\nand more\n");
            assert_eq!(both(&members, size).await, (whole.clone(), whole), "pieces of {size}");
            for trailing in [&b"xyz"[..], b"\0\0\0", b"\x1f", b"\x1f\0"] {
                let bytes = [&*one, trailing].concat();
                assert_eq!(both(&bytes, size).await, (None, text("hello attachment\n")), "{trailing:?} by {size}");
            }
            for plain in ["no gzip", "\x1f", "\x1fx", ""] {
                assert_eq!(both(plain.as_bytes(), size).await, (None, text(plain)), "{plain:?} by {size}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_damaged_fails() {
        let one = packed(b"hello attachment\n");
        for end in 2..one.len() {
            assert_eq!(both(&one[..end], 7).await, (None, None), "{end}");
            let second = [&*one, &one[..end]].concat();
            assert_eq!(both(&second, 7).await, (None, None), "{end}");
        }
        let mut damaged = one.clone();
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert_eq!(both(&damaged, 7).await, (None, None));
    }

    #[tokio::test]
    async fn what_was_begun_is_whole_and_failures_come_late() {
        let long = vec![b'x'; 1 << 20];
        let begun = Gunzip::tolerant(Body::full(packed(&long))).begun().await.unwrap();
        assert_eq!(collect(begun, 9_999_999).await.unwrap(), long);
        assert!(Gunzip::tolerant(Body::full(packed(b"a")[..12].to_vec())).begun().await.is_err());
        let cut = packed(&long);
        let mut begun = Gunzip::tolerant(Body::full(cut[..cut.len() - 1].to_vec())).begun().await.unwrap();
        let mut pending = 0;
        let failed = loop {
            let frame = futures_util::poll!(std::pin::pin!(begun.frame()));
            match frame {
                Poll::Pending => pending += 1,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(other) => break other.is_some(),
            }
        };
        assert_eq!((failed, pending), (true, 1));
    }
}
