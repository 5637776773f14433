//! An HTTP/1.1 client that shows what was received.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A response as received, with a chunked body reassembled.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Parses a head from its lines, without their ends.
    pub fn head<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut first = lines.next()?.splitn(3, ' ');
        let version = first.next().filter(|version| version.starts_with("HTTP/"))?.to_owned();
        let status = first.next()?.parse().ok()?;
        let reason = first.next().unwrap_or_default().to_owned();
        let headers = lines.map_while(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { status, reason, version, headers: headers.collect(), body: Vec::new() })
    }
}

/// A connection, and received bytes not yet consumed.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    unused: Vec<u8>,
}

impl Connection {
    pub async fn open(authority: &str) -> Self {
        let socket = TcpStream::connect(authority).await.expect("the server accepts");
        Self { socket, unused: Vec::new() }
    }

    /// Sends bytes; if the server has already closed, its response shows that.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    async fn more(&mut self) -> Result<bool, String> {
        let mut piece = vec![0; 64 * 1024];
        let count = self.socket.read(&mut piece).await.map_err(|error| error.to_string())?;
        self.unused.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Waits until something was received.
    pub async fn wait_for_bytes(&mut self) {
        if self.unused.is_empty() {
            let _ = self.more().await;
        }
    }

    /// Returns whether the server ends the connection without sending more.
    pub async fn ended(&mut self) -> bool {
        self.unused.is_empty() && !matches!(self.more().await, Ok(true))
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.unused.len() < count {
            if !self.more().await? {
                return Err(format!("cut off: {} of {count} bytes", self.unused.len()));
            }
        }
        Ok(self.unused.drain(..count).collect())
    }

    /// Reads a line, without its end.
    pub async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.unused.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unused.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if !self.more().await? {
                return Err("cut off in a line".into());
            }
        }
    }

    /// Reads the head of the next final response.
    pub async fn next_head(&mut self) -> Result<Answer, String> {
        loop {
            let mut lines = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                lines.push(line);
            }
            let answer = Answer::head(lines.iter().map(String::as_str)).ok_or("no HTTP answer")?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// Reads a chunk of a chunked body; empty at the end.
    pub async fn chunk(&mut self) -> Result<Vec<u8>, String> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("no chunk size: {size}"))?;
        let data = self.take(size).await?;
        self.line().await?;
        Ok(data)
    }

    /// Reads the next final response.
    pub async fn answer(&mut self, head_only: bool) -> Result<Answer, String> {
        let mut answer = self.next_head().await?;
        if head_only || answer.status == 304 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            loop {
                let data = self.chunk().await?;
                if data.is_empty() {
                    return Ok(answer);
                }
                answer.body.extend_from_slice(&data);
            }
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| "no length")?;
            answer.body = self.take(length).await?;
            return Ok(answer);
        }
        while self.more().await? {}
        answer.body = std::mem::take(&mut self.unused);
        Ok(answer)
    }
}
