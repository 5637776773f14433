//! HTTP/1.1 messages as bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::End;

/// The framing of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

impl Framing {
    /// Determines the framing of a message with this head.
    pub(super) fn of(head: &[u8], is_request: bool) -> Self {
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        let header =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
        let status = text.split(' ').nth(1).unwrap_or_default();
        if header("transfer-encoding:").is_some() {
            Self::Chunked
        } else if let Some(length) = header("content-length:") {
            Self::Length(length.parse().expect("a length"))
        } else if is_request || matches!(status, "204" | "304") {
            Self::Length(0)
        } else {
            Self::ToTheEnd
        }
    }
}

/// A connection, and the bytes read in advance.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 << 10);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads a head, including the empty line.
    pub(super) async fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.buffer.drain(..end + 4).collect());
            }
            self.fill().await?;
        }
    }

    /// Reads a body, and forwards its first `limit` bytes; stops there.
    pub(super) async fn body(&mut self, framing: Framing, to: Option<&mut TcpStream>, limit: usize) -> io::Result<()> {
        let mut sink = Sink { to, left: limit };
        match framing {
            Framing::Length(length) => self.copy(length, &mut sink).await,
            Framing::ToTheEnd => match self.copy(usize::MAX, &mut sink).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => other,
            },
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.trim_ascii().to_owned();
                let size = usize::from_str_radix(&String::from_utf8_lossy(&digits), 16).expect("a chunk's size");
                sink.write(&line).await;
                self.copy(size + 2, &mut sink).await?;
                if size == 0 || sink.left == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn copy(&mut self, length: usize, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut left = length;
        while left > 0 && sink.left > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let take = self.buffer.len().min(left);
            sink.write(&self.buffer[..take]).await;
            self.buffer.drain(..take);
            left -= take;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.drain(..=end).collect());
            }
            self.fill().await?;
        }
    }

    pub(super) async fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Fin => {
                self.stream.shutdown().await?;
                self.dismiss().await
            }
            End::Reset => self.stream.set_zero_linger(),
            End::Silence => self.dismiss().await,
        }
    }

    /// Reads the rest from the peer, since closing with unread bytes would be a reset.
    async fn dismiss(&mut self) -> io::Result<()> {
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await.map(drop)
    }
}

struct Sink<'a> {
    to: Option<&'a mut TcpStream>,
    left: usize,
}

impl Sink<'_> {
    /// Ignores a closed receiver, which may have responded already.
    async fn write(&mut self, bytes: &[u8]) {
        let take = bytes.len().min(self.left);
        self.left -= take;
        if let Some(to) = &mut self.to
            && to.write_all(&bytes[..take]).await.is_err()
        {
            self.to = None;
        }
    }
}
