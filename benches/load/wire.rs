//! HTTP/1.1 on a socket: only what the bench needs, so that its own ends cost less than what it measures.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

/// The buffer for a head, and for each read of a body, in bytes.
const BUFFER: usize = 256 * 1024;

/// How a body ends (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// The parsed fields of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// The head's length in the buffer, including the empty line.
    end: usize,
    /// `None` if there is neither a length nor a coding.
    pub(crate) framing: Option<Framing>,
    /// `Connection: close`
    pub(crate) close: bool,
    /// `Expect: 100-continue`
    pub(crate) expects: bool,
}

/// A keep-alive connection, at either end.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER], start: 0, filled: 0 })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads up to the end of a head; `None` if the peer closed between two messages.
    pub(crate) async fn head(&mut self) -> Outcome<Option<Head>> {
        loop {
            if let Some(head) = parse(&self.buffer[self.start..self.filled]) {
                return Ok(Some(head));
            }
            if self.filled == self.buffer.len() && self.start == 0 {
                return Err("a head does not fit".into());
            }
            if self.fill().await? == 0 {
                return if self.start == self.filled { Ok(None) } else { Err("closed inside a head".into()) };
            }
        }
    }

    /// Returns the text of a head that was read but not yet consumed.
    pub(crate) fn text(&self, head: &Head) -> &str {
        std::str::from_utf8(&self.buffer[self.start..self.start + head.end]).unwrap_or_default()
    }

    /// Consumes a head: its body is next.
    pub(crate) fn consume(&mut self, head: &Head) {
        self.start += head.end;
    }

    /// Reads the body after a consumed head, and passes each piece on. Returns its length in bytes.
    pub(crate) async fn body(&mut self, framing: Framing, mut piece: impl FnMut(&[u8])) -> Outcome<u64> {
        let mut total = 0;
        match framing {
            Framing::Length(length) => self.exactly(length, &mut piece).await?,
            Framing::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| "a chunk without a size")?;
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(total);
                }
                self.exactly(size, &mut piece).await?;
                self.line().await?;
                total += size;
            },
        }
        if let Framing::Length(length) = framing {
            total = length;
        }
        Ok(total)
    }

    async fn exactly(&mut self, length: u64, piece: &mut impl FnMut(&[u8])) -> Outcome<()> {
        let mut left = length;
        while left > 0 {
            if self.start == self.filled && self.fill().await? == 0 {
                return Err(format!("closed {left} bytes before the end of a body").into());
            }
            let there = self.filled - self.start;
            let take = usize::try_from(left).map_or(there, |left| left.min(there));
            piece(&self.buffer[self.start..self.start + take]);
            self.start += take;
            left -= take as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> Outcome<String> {
        loop {
            let there = &self.buffer[self.start..self.filled];
            if let Some(end) = there.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&there[..end]).trim_end().to_owned();
                self.start += end + 1;
                return Ok(line);
            }
            if self.fill().await? == 0 {
                return Err("closed inside a chunked body".into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.filled {
            (self.start, self.filled) = (0, 0);
        } else if self.filled == self.buffer.len() {
            self.buffer.copy_within(self.start..self.filled, 0);
            (self.start, self.filled) = (0, self.filled - self.start);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        Ok(read)
    }
}

/// Parses a head; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Option<Head> {
    let mut head = Head { end: 0, framing: None, close: false, expects: false };
    let mut rest = bytes;
    loop {
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
        head.end += length + 1;
        rest = &rest[length + 1..];
        match line.first() {
            None => return Some(head),
            Some(b'c' | b'C' | b't' | b'T' | b'e' | b'E') => note(&mut head, line),
            Some(_) => {}
        }
    }
}

fn note(head: &mut Head, line: &[u8]) {
    let value = |name: &[u8]| {
        let (start, rest) = line.split_at_checked(name.len())?;
        let rest = std::str::from_utf8(rest).ok()?;
        start.eq_ignore_ascii_case(name).then(|| rest.trim())
    };
    if let Some(length) = value(b"content-length:").and_then(|text| text.parse().ok()) {
        head.framing = Some(Framing::Length(length));
    } else if value(b"transfer-encoding:").is_some_and(|text| text.eq_ignore_ascii_case("chunked")) {
        head.framing = Some(Framing::Chunked);
    } else if value(b"connection:").is_some_and(|text| text.eq_ignore_ascii_case("close")) {
        head.close = true;
    } else if value(b"expect:").is_some() {
        head.expects = true;
    }
}
