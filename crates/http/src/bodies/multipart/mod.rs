//! Streaming multipart reader (RFC 2046 section 5.1) that accepts what CouchDB accepts
//! (`couch_httpd:parse_multipart_request/3`).
//!
//! CouchDB's own documentation shows parts without any headers, and PouchDB, nano and CouchDB's replicator each send another form:
//! only the delimiter counts. Bytes before the first delimiter and after the last are skipped. Attachment names appear
//! unescaped in part headers, control characters included.

mod head;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

pub use head::{boundary, media_type};

/// Why a multipart body cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// The body ended before its last delimiter.
    #[error("the multipart body ended before its last delimiter")]
    Cut,
    /// A part's headers are malformed, or they or the preamble exceed their limit.
    #[error("bad part header")]
    Headers,
    /// The underlying body failed.
    #[error("the multipart body broke off")]
    Body(#[source] E),
}

/// Returns where the first part of a multipart text ends: the position of the delimiter after it, including its line break.
#[must_use]
pub fn end_of_first(text: &[u8], boundary: &str) -> Option<usize> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let first = delimiter.get(2..)?;
    let behind = find(text, first)? + first.len();
    Some(behind + find(text.get(behind..)?, &delimiter)?)
}

/// The parts of a multipart body, in order.
///
/// Buffers a frame or two of the body. [`Self::next`] advances to the next part, skipping any unread bytes of the current one;
/// [`Self::data`] returns the part's bytes. Both are cancel safe.
pub struct Parts<B> {
    body: B,
    /// CR, LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// Received bytes that are not parsed yet.
    rest: Bytes,
    /// How many of them cannot be where the headers of the next part end.
    searched: usize,
    state: State,
    /// Bytes skipped before the first part or after the last.
    passed: usize,
    /// Whether every header line must contain a colon.
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, which needs no preceding line break.
    Before,
    /// After a delimiter.
    Delimited,
    Inside,
    /// After the last delimiter.
    Behind,
    End,
}

impl<B> fmt::Debug for Parts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<B> Parts<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Reads the parts of a response, with the boundary from its Content-Type. CouchDB emits attachment names with line breaks
    /// unescaped, so header lines may be arbitrary.
    pub fn new(body: B, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { body, delimiter, rest: Bytes::new(), searched: 0, state: State::Before, passed: 0, strict: false }
    }

    /// Reads the parts of a request. CouchDB rejects header lines without a colon.
    pub fn of_request(body: B, boundary: &str) -> Self {
        Self { strict: true, ..Self::new(body, boundary) }
    }

    /// Returns the unread rest of the body.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Gives the owner of the body access to it.
    pub fn change_body(&mut self, change: impl FnOnce(&mut B)) {
        change(&mut self.body);
    }

    /// Advances to the next part and returns its headers; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`Error`], after which the body cannot be read any further.
    pub async fn next(&mut self) -> Result<Option<HeaderMap>, Error<B::Error>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next bytes of the part, never empty; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Error`], after which the body cannot be read any further.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error<B::Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Poll variant of [`Self::next`].
    ///
    /// # Errors
    ///
    /// The same as [`Self::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Error<B::Error>>> {
        loop {
            match self.state {
                State::Before => ready!(self.poll_first(cx))?,
                State::Inside => drop(ready!(self.poll_data(cx))?),
                State::Delimited => match self.head()? {
                    Some(headers) => return Poll::Ready(Ok(Some(headers))),
                    None if self.state == State::Delimited => ready!(self.poll_more(cx))?,
                    None => {}
                },
                State::Behind => ready!(self.poll_behind(cx))?,
                State::End => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Poll variant of [`Self::data`].
    ///
    /// # Errors
    ///
    /// The same as [`Self::next`].
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        while self.state == State::Inside {
            let found = find(&self.rest, &self.delimiter);
            let end = found.unwrap_or_else(|| self.rest.len() - begun(&self.rest, &self.delimiter));
            if end > 0 {
                return Poll::Ready(Ok(Some(self.rest.split_to(end))));
            }
            if found.is_some() {
                drop(self.rest.split_to(self.delimiter.len()));
                self.state = State::Delimited;
            } else {
                ready!(self.poll_more(cx))?;
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Skips past the first delimiter.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B::Error>>> {
        loop {
            let first = self.delimiter.get(2..).unwrap_or_default();
            let (end, found) = match find(&self.rest, first) {
                Some(at) => (at + first.len(), true),
                None => (self.rest.len() - begun(&self.rest, first), false),
            };
            self.passed += self.rest.split_to(end).len();
            if found {
                self.state = State::Delimited;
                self.passed = 0;
                return Poll::Ready(Ok(()));
            }
            if self.passed > MOST_BETWEEN {
                return Poll::Ready(Err(Error::Headers));
            }
            ready!(self.poll_more(cx))?;
        }
    }

    /// Parses the headers of the next part; `None` if more bytes are needed, or this was the last delimiter.
    fn head(&mut self) -> Result<Option<HeaderMap>, Error<B::Error>> {
        if self.rest.starts_with(b"--") {
            self.state = State::Behind;
            return Ok(None);
        }
        let unsearched = self.rest.get(self.searched..).unwrap_or_default();
        let Some(end) = find(unsearched, BLANK_LINE).map(|at| self.searched + at) else {
            // The headers may arrive byte by byte: each byte is searched once.
            self.searched = (self.rest.len() + 1).saturating_sub(BLANK_LINE.len());
            return if self.rest.len() > MOST_BETWEEN { Err(Error::Headers) } else { Ok(None) };
        };
        self.searched = 0;
        let fields = head::fields(self.rest.get(..end).unwrap_or_default(), self.strict);
        let Some(headers) = fields else { return Err(Error::Headers) };
        drop(self.rest.split_to(end + BLANK_LINE.len()));
        self.state = State::Inside;
        Ok(Some(headers))
    }

    /// Skips a short epilogue after the last delimiter, so that the connection can be reused.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B::Error>>> {
        while self.passed < MOST_BETWEEN {
            match ready!(self.poll_frame(cx))? {
                None => break,
                Some(data) => self.passed += data.len(),
            }
        }
        self.state = State::End;
        Poll::Ready(Ok(()))
    }

    /// Reads more of the body; its end is an error here.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B::Error>>> {
        let Some(data) = ready!(self.poll_frame(cx))? else { return Poll::Ready(Err(Error::Cut)) };
        self.rest = if self.rest.is_empty() {
            data
        } else {
            // Grows the buffer in place, unless the bytes are still those of a frame.
            let mut rest = BytesMut::from(std::mem::take(&mut self.rest));
            rest.extend_from_slice(&data);
            rest.freeze()
        };
        Poll::Ready(Ok(()))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            if let Ok(data) = frame.map_err(Error::Body)?.into_data() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// Returns how many trailing bytes may be the start of `wanted`.
fn begun(bytes: &[u8], wanted: &[u8]) -> usize {
    let most = bytes.len().min(wanted.len().saturating_sub(1));
    let begins = |count: &usize| wanted.get(..*count).is_some_and(|begin| bytes.ends_with(begin));
    (1..=most).rev().find(begins).unwrap_or(0)
}

/// Finds `wanted` in `bytes`. Its first byte is rare in them, which makes this fast.
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

const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Limit, in bytes, of the preamble, of a part's headers, and of the epilogue, give or take a frame.
const MOST_BETWEEN: usize = 128 * 1024;

#[cfg(test)]
mod tests;
