//! Multipart bodies (RFC 2046 section 5.1), read piece by piece, as CouchDB reads what it is sent
//! (`couch_httpd:parse_multipart_request/3`).
//!
//! CouchDB's own documentation shows parts without any header, and PouchDB, nano and its replicator each send another form:
//! what counts is the delimiter. Bytes before the first and behind the last one are passed over. In their headers the
//! names of attachments stand as they are, control characters and all.

mod head;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

pub use head::{boundary, media_type};

/// Why a multipart body could not be read on.
#[derive(Debug)]
pub enum Error<E> {
    /// It ended before its last delimiter.
    Cut,
    /// The headers of a part are none, or they or what comes before the first part have no end.
    Headers,
    /// The body itself failed.
    Body(E),
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the multipart body ended before its last delimiter",
            Self::Headers => "bad part header",
            Self::Body(_) => "the multipart body broke off",
        })
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => Some(error),
            Self::Cut | Self::Headers => None,
        }
    }
}

/// Where in a multipart text the first part ends: the position of the delimiter behind it, from its line break on.
#[must_use]
pub fn end_of_first(text: &[u8], boundary: &str) -> Option<usize> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let first = delimiter.get(2..)?;
    let behind = find(text, first)? + first.len();
    Some(behind + find(text.get(behind..)?, &delimiter)?)
}

/// The parts of a multipart body, one after the other.
///
/// A frame or two of the body are held. [`Self::next`] goes to the next part, and passes over what was not read of the one
/// before; [`Self::data`] gives the part's bytes. Either may be dropped while it waits and called again.
pub struct Parts<B> {
    body: B,
    /// CR, LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// What has come and is still to be read.
    rest: Bytes,
    state: State,
    /// Bytes before the first part, or behind the last one.
    passed: usize,
    /// Whether each line of a head has to have a colon.
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, which needs no line before it.
    Before,
    /// Behind a delimiter.
    Delimited,
    Inside,
    /// Behind the last delimiter.
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
    /// The parts of an answer, with the boundary that its Content-Type names. CouchDB puts a name with a line break in as it
    /// is, and then a line of a head may be anything.
    pub fn new(body: B, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { body, delimiter, rest: Bytes::new(), state: State::Before, passed: 0, strict: false }
    }

    /// The parts of a request. CouchDB refuses a line of a head that has no colon.
    pub fn of_request(body: B, boundary: &str) -> Self {
        Self { strict: true, ..Self::new(body, boundary) }
    }

    /// The body as far as it is not read.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Changes the body, for the code that made it.
    pub fn change_body(&mut self, change: impl FnOnce(&mut B)) {
        change(&mut self.body);
    }

    /// Goes to the next part and gives its headers; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// [`Error`]; after one the body cannot be read on.
    pub async fn next(&mut self) -> Result<Option<HeaderMap>, Error<B::Error>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next bytes of the part, never empty; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Error`]; after one the body cannot be read on.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error<B::Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// [`Self::next`], for code that polls.
    ///
    /// # Errors
    ///
    /// Those of [`Self::next`].
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

    /// [`Self::data`], for code that polls.
    ///
    /// # Errors
    ///
    /// Those of [`Self::next`].
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

    /// Goes behind the first delimiter.
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

    /// The headers of the part that begins; `None` where more bytes are needed, or this was the last delimiter.
    fn head(&mut self) -> Result<Option<HeaderMap>, Error<B::Error>> {
        if self.rest.starts_with(b"--") {
            self.state = State::Behind;
            return Ok(None);
        }
        let Some(end) = find(&self.rest, BLANK_LINE) else {
            return if self.rest.len() > MOST_BETWEEN { Err(Error::Headers) } else { Ok(None) };
        };
        let fields = head::fields(self.rest.get(..end).unwrap_or_default(), self.strict);
        let Some(headers) = fields else { return Err(Error::Headers) };
        drop(self.rest.split_to(end + BLANK_LINE.len()));
        self.state = State::Inside;
        Ok(Some(headers))
    }

    /// Passes over what follows the last delimiter, as far as that is little, so that the connection can be used again.
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

    /// Takes in more of the body; that there is none is an error.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B::Error>>> {
        let Some(data) = ready!(self.poll_frame(cx))? else { return Poll::Ready(Err(Error::Cut)) };
        self.rest = if self.rest.is_empty() {
            data
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + data.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&data);
            joined.freeze()
        };
        Poll::Ready(Ok(()))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(Error::Body(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    }
}

/// How many of the last bytes may be the beginning of what is looked for.
fn begun(bytes: &[u8], wanted: &[u8]) -> usize {
    let most = bytes.len().min(wanted.len().saturating_sub(1));
    let begins = |count: &usize| wanted.get(..*count).is_some_and(|begin| bytes.ends_with(begin));
    (1..=most).rev().find(begins).unwrap_or(0)
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

const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// The most bytes that may come before the first part, that the headers of a part may have, and that are read behind the last
/// delimiter; beside what comes with them in one frame.
const MOST_BETWEEN: usize = 128 * 1024;

#[cfg(test)]
mod tests;
