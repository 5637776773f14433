//! Multipart bodies (RFC 2046 section 5.1), read piece by piece, as CouchDB reads what it is sent.
//!
//! CouchDB's own documentation shows parts without any header, and PouchDB, nano and its replicator each send another form:
//! what counts is the delimiter. Bytes before the first and behind the last one are passed over. `multer` reads the parts;
//! `source` gives it the body in a form, and in amounts, that it reads well.

mod source;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream as _;
use http::HeaderMap;
use http_body::Body;
use multer::{Field, Multipart};

use source::{NONE, Shared, Source, find};

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

/// Where in a multipart text the first part ends: the position of the delimiter behind it, from its line break on.
#[must_use]
pub fn end_of_first(text: &[u8], boundary: &str) -> Option<usize> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let (first, from) = match text.starts_with(delimiter.get(2..)?) {
        true => (0, delimiter.len() - 2),
        false => (find(text, &delimiter)?, delimiter.len()),
    };
    let behind = first + from;
    Some(behind + find(text.get(behind..)?, &delimiter)?)
}

/// The parts of a multipart body, one after the other.
///
/// A frame or two of the body are held. [`Self::next`] goes to the next part, and passes over what was not read of the one
/// before; [`Self::data`] gives the part's bytes. Either may be dropped while it waits and called again.
pub struct Parts<B: Body> {
    parts: Multipart<'static>,
    part: Option<Field<'static>>,
    source: Shared<B>,
    /// The last delimiter has been read.
    ended: bool,
}

impl<B: Body> fmt::Debug for Parts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<B> Parts<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    /// The parts of `body`, with the boundary that its Content-Type names.
    pub fn new(body: B, boundary: &str) -> Self {
        let source = Shared::new(Source::new(body, boundary));
        Self { parts: Multipart::new(source.clone(), boundary), part: None, source, ended: false }
    }

    /// The body as far as it is not read.
    ///
    /// # Errors
    ///
    /// Never: nobody else takes it.
    pub fn into_body(self) -> Result<B, Error<B::Error>> {
        self.source.lock().body.take().ok_or(Error::Cut)
    }

    /// Changes the body, for those who made it.
    pub fn change_body(&mut self, change: impl FnOnce(&mut B)) {
        if let Some(body) = &mut self.source.lock().body {
            change(body);
        }
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
        while ready!(self.poll_data(cx))?.is_some() {}
        if !self.ended {
            match ready!(self.parts.poll_next_field(cx)) {
                Err(error) => return Poll::Ready(Err(self.source.lock().why(&error))),
                Ok(Some(part)) => {
                    self.source.lock().between = 0;
                    let mut headers = part.headers().clone();
                    headers.remove(NONE);
                    self.part = Some(part);
                    return Poll::Ready(Ok(Some(headers)));
                }
                Ok(None) => self.ended = true,
            }
        }
        ready!(self.source.lock().poll_epilogue(cx)).map_err(Error::Body)?;
        Poll::Ready(Ok(None))
    }

    /// [`Self::data`], for those who poll.
    ///
    /// # Errors
    ///
    /// Those of [`Self::next`].
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error<B::Error>>> {
        loop {
            let Some(part) = &mut self.part else { return Poll::Ready(Ok(None)) };
            match ready!(Pin::new(part).poll_next(cx)) {
                Some(Ok(data)) => {
                    self.source.lock().between = 0;
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(self.source.lock().why(&error))),
                // The part's share in the parser has to be gone before the next one is asked for.
                None => self.part = None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
