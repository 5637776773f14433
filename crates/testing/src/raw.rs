//! An HTTP/1.1 client without opinions: it sends the given bytes and shows the response as received.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server.
#[derive(Debug)]
pub struct RawClient<S = TcpStream> {
    stream: S,
    /// Bytes read but not yet consumed.
    buffer: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawResponse {
    /// The version as sent, e.g. `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase, empty if there is none.
    pub reason: String,
    /// Names and values as sent, in order, with repeated headers listed separately.
    pub headers: Vec<(String, String)>,
    /// The body without chunk framing, as much of it as arrived.
    pub body: Vec<u8>,
    /// Whether the body reached the end announced by its framing.
    pub complete: bool,
}

impl RawResponse {
    /// Returns the response, which must have this status.
    ///
    /// # Panics
    /// If it has another one.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Returns the first value of a header; the name is case insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// Returns all values of a header.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn chunked(&self) -> bool {
        self.header_all("transfer-encoding").any(|value| value.to_ascii_lowercase().ends_with("chunked"))
    }
}

impl RawClient {
    /// Connects over plain TCP.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Closes with a reset, like a process that dies with unread bytes.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Closes, with or without a reset.
    pub fn leave(self, reset: bool) {
        if reset {
            self.reset().expect("a socket option");
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// Uses an open stream, for instance a TLS one.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Closes the sending half; responses can still be read.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Sends a request and reads its response; for HEAD, no body is expected.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> io::Result<RawResponse> {
        let request = request.as_ref();
        self.send(request).await?;
        if request.starts_with(b"HEAD ") { self.head().await } else { self.response().await }
    }

    /// Reads a response with its body: by chunks, by length, or to the end of the connection. 1xx, 204 and 304 have no body, so an
    /// interim response is returned separately.
    ///
    /// # Errors
    /// If the connection ends before the head does, or the head is not HTTP/1.
    pub async fn response(&mut self) -> io::Result<RawResponse> {
        let mut response = self.head().await?;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        let length = response.header("content-length").map(str::parse).transpose().map_err(invalid)?;
        let mut body = Vec::new();
        let read = match length {
            _ if response.chunked() => self.chunks(&mut body).await,
            Some(length) => self.exactly(length, &mut body).await,
            None => self.until_end(&mut body).await,
        };
        response.body = body;
        match read {
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
            read => response.complete = read.is_ok(),
        }
        Ok(response)
    }

    /// Reads a response head and leaves the rest; `complete` is set.
    ///
    /// # Errors
    /// If the connection ends before the head does, or the head is not HTTP/1.
    pub async fn head(&mut self) -> io::Result<RawResponse> {
        let status_line = self.line().await?;
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().unwrap_or_default().parse().map_err(invalid)?;
        if !version.starts_with("HTTP/1.") {
            return Err(invalid(status_line));
        }
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(RawResponse { version, status, reason, headers, body: Vec::new(), complete: true });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(line.clone()))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads one chunk of a chunked body; the last one is empty, after which trailers are read and dropped.
    pub async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        self.chunk_into(&mut chunk).await?;
        Ok(chunk)
    }

    /// Reads up to the next line end, which is dropped.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return String::from_utf8(line).map_err(invalid);
            }
            self.fill().await?;
        }
    }

    /// Reads to the end of the connection and returns everything that was still unread.
    ///
    /// # Errors
    /// If the connection was reset.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.until_end(&mut rest).await?;
        Ok(rest)
    }

    /// Reads exactly this many bytes.
    pub async fn take(&mut self, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.exactly(length as u64, bytes).await
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        while self.chunk_into(body).await? > 0 {}
        Ok(())
    }

    async fn chunk_into(&mut self, body: &mut Vec<u8>) -> io::Result<u64> {
        let line = self.line().await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(invalid)?;
        if size == 0 {
            while !self.line().await?.is_empty() {}
            return Ok(0);
        }
        self.exactly(size, body).await?;
        match self.line().await?.as_str() {
            "" => Ok(size),
            more => Err(invalid(format!("{more:?} after a chunk"))),
        }
    }

    async fn exactly(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let take = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            body.extend(self.buffer.drain(..take));
            left -= take as u64;
        }
        Ok(())
    }

    async fn until_end(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        body.append(&mut self.buffer);
        self.stream.read_to_end(body).await?;
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 << 10);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Encodes a body with chunked framing.
pub fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(100_000) {
        wire.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    wire
}
