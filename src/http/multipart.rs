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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    type Read = Vec<(HeaderMap, Vec<u8>)>;

    /// Reads a body that comes in pieces of `size` bytes.
    async fn read(body: &[u8], boundary: &str, size: usize) -> Result<Read, Error<Infallible>> {
        let frames = body.chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
        let mut parts = Parts::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())), boundary);
        let mut whole = Vec::new();
        while let Some(headers) = parts.next().await? {
            let mut data = Vec::new();
            while let Some(piece) = parts.data().await? {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            whole.push((headers, data));
        }
        Ok(whole)
    }

    fn data(read: Read) -> Vec<Vec<u8>> {
        read.into_iter().map(|(_, data)| data).collect()
    }

    #[tokio::test]
    async fn parts_are_read_however_the_bytes_come() {
        let body =
            b"passed over\r\n--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b  \r\n\r\nno\r\nheader\r\n--b\r\n\
            A: 1\r\nA: 2\r\n\r\n\r\n--b\r\n\r\n\r\r\n-\r\n--a\r\n--b--\r\nbehind";
        for size in 1..=body.len() {
            let read = read(body, "b", size).await.unwrap();
            assert_eq!(read[0].0["content-type"], "application/json");
            assert_eq!(read[2].0.get_all("a").iter().count(), 2);
            let expected: [&[u8]; 4] = [b"{}", b"no\r\nheader", b"", b"\r\r\n-\r\n--a"];
            assert_eq!(data(read), expected, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_not_read_of_a_part_is_passed_over() {
        let body = http_body_util::Full::new(Bytes::from_static(b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"));
        let mut parts = Parts::new(body, "b");
        assert!(parts.data().await.unwrap().is_none());
        assert!(parts.next().await.unwrap().is_some());
        assert!(parts.next().await.unwrap().is_some());
        assert_eq!(parts.data().await.unwrap().unwrap(), "two");
        assert!(parts.next().await.unwrap().is_none());
        assert!(parts.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_body_cut_anywhere_is_an_error() {
        let body = b"--b\r\nA: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
        for end in 0..body.len() {
            assert!(matches!(read(&body[..end], "b", 5).await, Err(Error::Cut)), "{end}");
        }
    }

    #[tokio::test]
    async fn headers_are_bounded_and_have_to_be_some() {
        let endless = [b"--b\r\nA: ".as_slice(), &[b'x'; 2 * HEADERS]].concat();
        assert!(matches!(read(&endless, "b", 1000).await, Err(Error::Headers)));
        for wrong in ["nothing", "\u{e9}: 1", "a b: 1"] {
            let body = format!("--b\r\n{wrong}\r\n\r\none\r\n--b--");
            assert!(matches!(read(body.as_bytes(), "b", 1000).await, Err(Error::Headers)), "{wrong}");
        }
    }

    #[test]
    fn a_boundary_may_be_quoted() {
        let cases = [
            ("multipart/related; boundary=abc", Some("abc")),
            ("multipart/related;boundary=\"a;b=c\"", Some("a;b=c")),
            ("multipart/related; type=\"application/json; x\" ; Boundary = abc ; y=z", Some("abc")),
            ("multipart/related; boundary=\"a\\\"b\"", Some("a\"b")),
            ("multipart/related; boundary=\"\"", None),
            ("multipart/related; type=x", None),
            ("multipart/related", None),
            ("boundary=abc", None),
        ];
        for (given, expected) in cases {
            assert_eq!(boundary(given).as_deref(), expected, "{given}");
        }
    }

    #[expect(clippy::result_large_err, reason = "proptest's own error")]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn parts_come_back_as_they_were_sent(
                parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-bx".to_vec()), 0..40), 1..5),
                size in 1_usize..50,
            ) {
                let parts: Vec<_> = parts.into_iter().filter(|part| find(&[b"\r\n", part.as_slice()].concat(), b"\r\n--b").is_none()).collect();
                let mut body = b"--b".to_vec();
                for part in &parts {
                    body.extend_from_slice(b"\r\n\r\n");
                    body.extend_from_slice(part);
                    body.extend_from_slice(b"\r\n--b");
                }
                body.extend_from_slice(b"--");
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                prop_assert_eq!(data(runtime.block_on(read(&body, "b", size)).unwrap()), parts);
            }
        }
    }
}
