//! A multipart body as `multer` reads it well.
//!
//! Left to itself it takes the blank line of the *next* part for the end of the headers of a part that has none (the form
//! of CouchDB's own documentation), takes in whatever is ready before it gives a byte, and searches bytes before the first
//! delimiter, and headers, without a bound. Here each part gets a header, one frame comes at a time, and only so many
//! bytes come between two parts.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::Body;

use super::Error;

/// The most bytes that may come before the first part, and that the headers of a part may have, beside what comes with
/// them in one frame.
pub(super) const HEADERS: usize = 16 * 1024;

/// How many bytes behind the last delimiter are still read, so that the connection can be used again.
const EPILOGUE: usize = 16 * 1024;

/// The header of a part that has none.
pub(super) const NONE: &str = "x-stowage-none";

/// A body that the parser reads, and that can be had back.
pub(super) struct Shared<B: Body>(Arc<Mutex<Source<B>>>);

impl<B: Body> Shared<B> {
    pub(super) fn new(source: Source<B>) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Source<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The parser has been given less than it wanted; [`Source::why`] knows the reason.
#[derive(Debug)]
pub(super) struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body cannot be read on")
    }
}

impl std::error::Error for Refused {}

pub(super) struct Source<B: Body> {
    pub(super) body: Option<B>,
    failed: Option<B::Error>,
    /// CR, LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// What may be the beginning of a delimiter whose end is still to come.
    held: BytesMut,
    /// Bytes since the last that belonged to a part.
    pub(super) between: usize,
    /// A frame was given, and the parser is to look at it before it takes another.
    gave: bool,
    /// Bytes behind the last delimiter.
    passed: usize,
}

impl<B> Source<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very beginning, where no line ends before it.
        let held = BytesMut::from(&b"\r\n"[..]);
        Self { body: Some(body), failed: None, delimiter, held, between: 0, gave: false, passed: 0 }
    }

    /// Why the parser could not go on.
    pub(super) fn why(&mut self, error: &multer::Error) -> Error<B::Error> {
        if let Some(failed) = self.failed.take() {
            return Error::Body(failed);
        }
        match error {
            multer::Error::ReadHeaderFailed(_)
            | multer::Error::DecodeHeaderName { .. }
            | multer::Error::DecodeHeaderValue { .. }
            | multer::Error::IncompleteHeaders
            | multer::Error::StreamReadFailed(_) => Error::Headers,
            _ => Error::Cut,
        }
    }

    /// The next bytes for the parser.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refused>>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.between > HEADERS {
            return Poll::Ready(Some(Err(Refused)));
        }
        let bytes = loop {
            match ready!(self.poll_frame(cx)) {
                Err(error) => {
                    self.failed = Some(error);
                    return Poll::Ready(Some(Err(Refused)));
                }
                Ok(None) if self.held.is_empty() => return Poll::Ready(None),
                Ok(None) => break self.held.split().freeze(),
                Ok(Some(data)) => {
                    self.between += data.len();
                    let bytes = self.with_headers(data);
                    if !bytes.is_empty() {
                        break bytes;
                    }
                }
            }
        };
        self.gave = true;
        Poll::Ready(Some(Ok(bytes)))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, B::Error>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    }

    /// The bytes as far as they are complete, with a header behind each delimiter that a blank line follows at once.
    fn with_headers(&mut self, data: Bytes) -> Bytes {
        let data = if self.held.is_empty() { data } else { joined(std::mem::take(&mut self.held), &data) };
        let mut out = BytesMut::new();
        let (mut from, mut look) = (0, 0);
        while let Some(at) = find(data.get(look..).unwrap_or_default(), &self.delimiter).map(|at| at + look) {
            let behind = at + self.delimiter.len();
            match blank_line(data.get(behind..).unwrap_or_default()) {
                Line::Blank(line) => {
                    let end = behind + line;
                    out.extend_from_slice(data.get(from..end).unwrap_or_default());
                    out.extend_from_slice(NONE.as_bytes());
                    out.extend_from_slice(b": 1\r\n");
                    (from, look) = (end, end);
                }
                Line::Other => look = behind,
                Line::Unknown => return self.keep(&data, from, at, out),
            }
        }
        let end = data.len() - self.begun(data.get(look..).unwrap_or_default());
        self.keep(&data, from, end, out)
    }

    /// Gives what is before `end` and keeps the rest.
    fn keep(&mut self, data: &Bytes, from: usize, end: usize, mut out: BytesMut) -> Bytes {
        self.held.extend_from_slice(data.get(end..).unwrap_or_default());
        if out.is_empty() {
            return data.slice(from..end);
        }
        out.extend_from_slice(data.get(from..end).unwrap_or_default());
        out.freeze()
    }

    /// How many of the last bytes may be the beginning of a delimiter.
    fn begun(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.delimiter.len() - 1);
        let begins = |count: &usize| self.delimiter.get(..*count).is_some_and(|begin| bytes.ends_with(begin));
        (1..=most).rev().find(begins).unwrap_or(0)
    }

    /// Passes over what follows the last delimiter, as far as that is little.
    pub(super) fn poll_epilogue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
        while self.passed < EPILOGUE {
            match ready!(self.poll_frame(cx))? {
                None => break,
                Some(data) => self.passed += data.len(),
            }
        }
        self.passed = EPILOGUE;
        Poll::Ready(Ok(()))
    }
}

impl<B> Stream for Shared<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Item = Result<Bytes, Refused>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lock().poll_bytes(cx)
    }
}

/// What follows a delimiter.
enum Line {
    /// The end of its line, so many bytes long, and then an empty line.
    Blank(usize),
    Other,
    /// Too few bytes to tell.
    Unknown,
}

fn blank_line(bytes: &[u8]) -> Line {
    const ENDS: &[u8] = b"\r\n\r\n";
    let padding = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let rest = bytes.get(padding..).unwrap_or_default();
    if rest.starts_with(ENDS) {
        return Line::Blank(padding + 2);
    }
    // Padding without end is none.
    if ENDS.starts_with(rest) && padding <= HEADERS { Line::Unknown } else { Line::Other }
}

fn joined(mut held: BytesMut, data: &[u8]) -> Bytes {
    held.extend_from_slice(data);
    held.freeze()
}

/// Where `wanted` begins in `bytes`. Its first byte is rare in them, which is what makes this fast.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == first)?;
        if bytes.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}
