//! Multipart bodies (RFC 2046 section 5.1), read piece by piece, as CouchDB reads what it is sent.
//!
//! CouchDB's own documentation shows parts without any header, and PouchDB, nano and its replicator each send another form:
//! what counts is the delimiter. Bytes before the first and behind the last one are passed over.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

#[cfg(test)]
mod tests;

/// The most bytes that the headers of one part may have.
const HEADERS: usize = 16 * 1024;

/// How many bytes behind the last delimiter are still read, so that the connection can be used again.
const EPILOGUE: usize = 16 * 1024;

const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Why a multipart body could not be read on.
#[derive(Debug)]
pub enum Error<E> {
    /// It ended before its last delimiter.
    Cut,
    /// The headers of a part are no headers, or too long.
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

/// The boundary that a Content-Type names, quoted or not (RFC 2045 section 5.1).
#[must_use]
pub fn boundary(content_type: &str) -> Option<String> {
    let mut rest = content_type.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = parameter(after.trim_start());
        if name.trim().eq_ignore_ascii_case("boundary") {
            return Some(value).filter(|value| !value.is_empty());
        }
        rest = after.split_once(';')?.1;
    }
}

/// A parameter's value and what comes behind it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim_end().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    (value, chars.as_str())
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Preamble,
    /// Right behind a delimiter: `--` if it was the last one.
    Delimiter,
    Headers,
    Data,
    /// Behind the last delimiter, with the count of bytes passed over.
    Epilogue(usize),
    End,
}

/// The parts of a multipart body, one after the other.
///
/// One frame of the body is held, and what may be the beginning of a delimiter. [`Self::next`] goes to the next part, and
/// passes over what was not read of the one before; [`Self::data`] gives the part's bytes. Either may be dropped while it
/// waits and called again.
pub struct Parts<B> {
    body: B,
    /// CR, LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    held: Bytes,
    at: At,
}

impl<B> fmt::Debug for Parts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("at", &self.at).field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl<B> Parts<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The parts of `body`, with the boundary that its Content-Type names.
    pub fn new(body: B, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very beginning, where no line ends before it.
        Self { body, delimiter, held: Bytes::from_static(b"\r\n"), at: At::Preamble }
    }

    /// The body as far as it is not read.
    pub fn into_body(self) -> B {
        self.body
    }

    /// The body that is read.
    pub const fn body_mut(&mut self) -> &mut B {
        &mut self.body
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

    /// [`Self::next`], for those who poll.
    ///
    /// # Errors
    ///
    /// Those of [`Self::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Error<B::Error>>> {
        loop {
            match self.at {
                At::Preamble | At::Data => while ready!(self.poll_run(cx))?.is_some() {},
                At::Delimiter => {
                    while self.held.len() < 2 {
                        ready!(self.poll_more(cx))?;
                    }
                    self.at = if self.held.starts_with(b"--") { At::Epilogue(0) } else { At::Headers };
                }
                At::Headers => {
                    let Some(end) = find(&self.held, BLANK_LINE) else {
                        if self.held.len() > HEADERS {
                            return Poll::Ready(Err(Error::Headers));
                        }
                        ready!(self.poll_more(cx))?;
                        continue;
                    };
                    let text = self.held.split_to(end);
                    self.held.advance(BLANK_LINE.len());
                    self.at = At::Data;
                    return Poll::Ready(headers(&text).ok_or(Error::Headers).map(Some));
                }
                At::Epilogue(passed) => {
                    let passed = passed + self.held.len();
                    self.held = Bytes::new();
                    self.at = At::Epilogue(passed);
                    match ready!(self.poll_more(cx)) {
                        Ok(()) if passed < EPILOGUE => {}
                        Ok(()) | Err(Error::Cut) => self.at = At::End,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                At::End => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// [`Self::data`], for those who poll.
    ///
    /// # Errors
    ///
    /// Those of [`Self::data`].
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        if self.at == At::Data { self.poll_run(cx) } else { Poll::Ready(Ok(None)) }
    }

    /// The next bytes before a delimiter; `None` once it has been passed.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        loop {
            let ready = match find(&self.held, &self.delimiter) {
                Some(0) => {
                    self.held.advance(self.delimiter.len());
                    self.at = At::Delimiter;
                    return Poll::Ready(Ok(None));
                }
                Some(at) => at,
                None => self.held.len() - self.begun(),
            };
            if ready > 0 {
                return Poll::Ready(Ok(Some(self.held.split_to(ready))));
            }
            ready!(self.poll_more(cx))?;
        }
    }

    /// How many of the last bytes held may be the beginning of a delimiter.
    fn begun(&self) -> usize {
        let most = self.held.len().min(self.delimiter.len() - 1);
        let begins = |count: &usize| self.delimiter.get(..*count).is_some_and(|begin| self.held.ends_with(begin));
        (1..=most).rev().find(begins).unwrap_or(0)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<B::Error>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let frame = frame.ok_or(Error::Cut)?.map_err(Error::Body)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.held.is_empty() {
                self.held = data;
            } else {
                let mut joined = BytesMut::with_capacity(self.held.len() + data.len());
                joined.extend_from_slice(&self.held);
                joined.extend_from_slice(&data);
                self.held = joined.freeze();
            }
            return Poll::Ready(Ok(()));
        }
    }
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

/// The headers of a part; what stands behind the delimiter on its own line is padding.
fn headers(text: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let start = find(text, b"\r\n").unwrap_or(text.len());
    for line in text.get(start..)?.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = value.strip_prefix(b":")?.trim_ascii();
        headers.append(HeaderName::from_bytes(name.trim_ascii()).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
